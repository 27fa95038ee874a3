"""Keys for tests, made anew for each run."""

from __future__ import annotations

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from controller.grid.signatures import PrivateKey, algorithm_of

KEY_ID = "operator-1"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def jws(
    content: bytes | dict[str, Any],
    *,
    key: PrivateKey = EC_KEY,
    key_id: str | None = KEY_ID,
    **header: Any,
) -> str:
    """`content` signed as an operator signs it; a header of None is left out."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = {name: value for name, value in header.items() if value is not None}
    headers |= {} if key_id is None else {"kid": key_id}
    return jwt.PyJWS().encode(raw, key, algorithm=algorithm_of(key), headers=headers)
