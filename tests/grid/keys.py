"""Keys for tests, made anew for each run."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

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


def self_signed() -> bytes:
    """A certificate that a broker could be trusted by, as PEM."""
    name, now = x509.Name([]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, EC_KEY.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    return made.sign(EC_KEY, SHA256()).public_bytes(Encoding.PEM)
