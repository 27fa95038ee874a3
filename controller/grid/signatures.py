"""Signed messages: JWS compact (RFC 7515) opened and made, so that a broker is trusted with delivery only.

Nothing here raises anything but `MessageError` on what a stranger wrote. A signature is bound to one reader
and to one moment: a message for another site, or one from too long ago, is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from controller.grid.results import MAX_AHEAD_S, MAX_PAYLOAD_BYTES, Reason
from controller.grid.strictjson import MessageError, shown

LEAST_RSA_BITS = 2048

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_NO_TIME_S = 1e12
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_JWS = jwt.PyJWS()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whose signature counts, by the id of the key, and for how long after it was made.

    With `reader` set the header must name it (`aud`) and the moment of signing (`iat`, Unix seconds): then
    neither another site's messages nor old ones pass. Without, both are checked where they are given.
    """

    keys: Mapping[str, PublicKey]
    max_age_s: float
    reader: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """`key_id` tells the reader which of our keys made the signature."""

    key: PrivateKey
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsealed:
    """What was signed, and when, where the header says so. `statement` is the same for the same header and
    content whoever wraps it, and however often it is signed."""

    content: bytes
    made_utc_s: float | None
    statement: str


def opened(token: bytes | str, trust: Trust, *, now_utc_s: float) -> bytes:
    """What was signed. `MessageError` unless a trusted key signed it, for this reader, not too long ago."""
    return unsealed(token, trust, now_utc_s=now_utc_s).content


def unsealed(token: bytes | str, trust: Trust, *, now_utc_s: float) -> Unsealed:
    """`opened`, with what else the signature says."""
    text = token if isinstance(token, str) else token.decode("ascii", errors="replace")
    if len(text) > MAX_PAYLOAD_BYTES:
        raise MessageError(Reason.TOO_LARGE, f"{len(text)} bytes, at most {MAX_PAYLOAD_BYTES}")
    if not _COMPACT.fullmatch(text):
        raise MessageError(Reason.BAD_SIGNATURE, "not signed: no JWS in its compact form")
    try:
        header = _JWS.get_unverified_header(text)
        key_id = header.get("kid")
        key = trust.keys.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise MessageError(Reason.BAD_SIGNATURE, f"kid: {shown(key_id)} is no key of this operator")
        if "crit" in header or "b64" in header:
            raise MessageError(Reason.BAD_SIGNATURE, "the header has extensions that are not known here")
        content: bytes = _JWS.decode_complete(text, key=key, algorithms=[algorithm_of(key)])["payload"]
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise MessageError(Reason.BAD_SIGNATURE, str(error)[:120]) from None
    _check_reader(header, trust)
    _check_moment(header, trust, now_utc_s)
    statement = hashlib.sha256(text.rpartition(".")[0].encode("ascii")).hexdigest()
    return Unsealed(content=content, made_utc_s=header.get("iat"), statement=statement)


def signed(content: bytes, signer: Signer, *, now_utc_s: float) -> str:
    """`content` as JWS compact, stamped with the moment."""
    return _JWS.encode(
        content,
        signer.key,
        algorithm=algorithm_of(signer.key),
        headers={"kid": signer.key_id, "iat": int(now_utc_s)},
    )


def algorithm_of(key: PublicKey | PrivateKey) -> str:
    """The one algorithm that a key is used with: a sender cannot choose a weaker one."""
    match key:
        case ec.EllipticCurvePublicKey() | ec.EllipticCurvePrivateKey():
            return "ES256"
        case rsa.RSAPublicKey() | rsa.RSAPrivateKey():
            return "RS256"
        case _:
            return "EdDSA"


def public_key(pem: bytes) -> PublicKey:
    """`ValueError` says why the key cannot be used."""
    try:
        return _usable(load_pem_public_key(pem))
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None


def private_key(pem: bytes) -> PrivateKey:
    """`ValueError` says why the key cannot be used; it must not be encrypted."""
    try:
        key = load_pem_private_key(pem, password=None)
        _usable(key.public_key())
    except (UnsupportedAlgorithm, TypeError) as error:
        raise ValueError(str(error)) from None
    assert isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey)
    return key


def _usable(key: object) -> PublicKey:
    match key:
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1):
            return key
        case rsa.RSAPublicKey() if key.key_size >= LEAST_RSA_BITS:
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case _:
            raise ValueError(f"a P-256, Ed25519 or RSA key of {LEAST_RSA_BITS} bits or more is needed")


def _check_reader(header: Mapping[str, Any], trust: Trust) -> None:
    if trust.reader is not None and header.get("aud") != trust.reader:
        raise MessageError(Reason.NOT_ADDRESSED, f"aud: {shown(header.get('aud'))} is not {trust.reader}")


def _check_moment(header: Mapping[str, Any], trust: Trust, now_utc_s: float) -> None:
    made_utc_s = header.get("iat")
    if made_utc_s is None and trust.reader is None:
        return
    if (
        isinstance(made_utc_s, bool)
        or not isinstance(made_utc_s, int | float)
        or not abs(made_utc_s) < _NO_TIME_S
    ):
        raise MessageError(Reason.BAD_SIGNATURE, f"iat: {shown(made_utc_s)} is no time")
    if made_utc_s > now_utc_s + MAX_AHEAD_S:
        raise MessageError(Reason.FROM_THE_FUTURE, f"iat: signed {made_utc_s - now_utc_s:.1f} s ahead of us")
    if not made_utc_s >= now_utc_s - trust.max_age_s:
        age_s = now_utc_s - made_utc_s
        raise MessageError(Reason.STALE, f"iat: signed {age_s:.0f} s ago, at most {trust.max_age_s:g}")
