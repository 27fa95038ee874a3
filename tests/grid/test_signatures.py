"""Signed messages: what passes, and everything that must not."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from controller.grid.results import Reason
from controller.grid.signatures import (
    PrivateKey,
    Signer,
    Trust,
    opened,
    private_key,
    public_key,
    signed,
)
from controller.grid.strictjson import MessageError
from tests.grid.keys import EC_KEY, ED_KEY, KEY_ID, OTHER_KEY, RSA_KEY, jws

NOW_S = 1_795_453_200.0
CONTENT = b'{"kw":5}'
TRUST = Trust(keys={KEY_ID: EC_KEY.public_key()}, max_age_s=600, reader="site-1")


def refusal(token: str | bytes, trust: Trust = TRUST, now_utc_s: float = NOW_S) -> Reason:
    with pytest.raises(MessageError) as raised:
        opened(token, trust, now_utc_s=now_utc_s)
    return raised.value.reason


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY, ED_KEY], ids=["ES256", "RS256", "EdDSA"])
def test_what_a_trusted_key_signed_for_us_now_is_opened(key: PrivateKey) -> None:
    trust = Trust(keys={KEY_ID: key.public_key()}, max_age_s=600, reader="site-1")

    token = jws(CONTENT, key=key, aud="site-1", iat=NOW_S)

    assert opened(token, trust, now_utc_s=NOW_S) == CONTENT


def test_what_we_sign_can_be_opened_with_our_public_key() -> None:
    token = signed(CONTENT, Signer(key=EC_KEY, key_id=KEY_ID), now_utc_s=NOW_S)

    trust = Trust(keys={KEY_ID: EC_KEY.public_key()}, max_age_s=600)
    assert opened(token, trust, now_utc_s=NOW_S) == CONTENT


@pytest.mark.parametrize("token", [b"", b"{}", b"a.b", b"a.b.c", b"\xff.\xff.\xff", b"." * 70_000, CONTENT])
def test_what_is_not_signed_is_refused(token: bytes) -> None:
    assert refusal(token) in (Reason.BAD_SIGNATURE, Reason.TOO_LARGE)


def test_the_signature_of_a_stranger_is_refused_under_any_name() -> None:
    assert refusal(jws(CONTENT, key=OTHER_KEY, aud="site-1", iat=NOW_S)) is Reason.BAD_SIGNATURE
    assert refusal(jws(CONTENT, key_id="other", aud="site-1", iat=NOW_S)) is Reason.BAD_SIGNATURE
    assert refusal(jws(CONTENT, key_id=None, aud="site-1", iat=NOW_S)) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("part", [0, 1, 2])
def test_one_changed_character_breaks_it(part: int) -> None:
    parts = jws(CONTENT, aud="site-1", iat=NOW_S).split(".")
    first = parts[part][0]
    parts[part] = ("A" if first != "A" else "B") + parts[part][1:]

    assert refusal(".".join(parts)) is Reason.BAD_SIGNATURE


def test_the_sender_cannot_choose_no_algorithm_or_a_weaker_one() -> None:
    """`alg: none`, and the public key taken for the secret of a MAC: the two classics."""
    header = {"alg": "none", "kid": KEY_ID, "aud": "site-1", "iat": NOW_S}
    encoded = [
        base64.urlsafe_b64encode(part).rstrip(b"=").decode()
        for part in (json.dumps(header).encode(), CONTENT)
    ]
    secret = b"x" * 64
    mac = jwt.PyJWS().encode(CONTENT, secret, "HS256", headers=header | {"alg": "HS256"})

    assert refusal(f"{encoded[0]}.{encoded[1]}.AA") is Reason.BAD_SIGNATURE
    assert refusal(mac) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"crit": []}])
def test_extensions_that_must_be_understood_are_refused(header: dict[str, Any]) -> None:
    assert refusal(jws(CONTENT, aud="site-1", iat=NOW_S, **header)) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("reader", ["site-2", None, ["site-1"], 1])
def test_a_message_for_another_site_is_refused(reader: Any) -> None:
    assert refusal(jws(CONTENT, aud=reader, iat=NOW_S)) is Reason.NOT_ADDRESSED


@pytest.mark.parametrize(
    ("made_utc_s", "reason"),
    [
        (NOW_S - 601, Reason.STALE),
        (-1e300, Reason.BAD_SIGNATURE),
        (10**400, Reason.BAD_SIGNATURE),
        (NOW_S + 6, Reason.FROM_THE_FUTURE),
        (1e300, Reason.BAD_SIGNATURE),
        (1e11, Reason.FROM_THE_FUTURE),
        (None, Reason.BAD_SIGNATURE),
        ("now", Reason.BAD_SIGNATURE),
        (True, Reason.BAD_SIGNATURE),
    ],
)
def test_a_replay_or_a_wrong_clock_is_refused(made_utc_s: Any, reason: Reason) -> None:
    assert refusal(jws(CONTENT, aud="site-1", iat=made_utc_s)) is reason


@pytest.mark.parametrize("age_s", [-5.0, 0.0, 600.0])
def test_the_clocks_may_differ_a_little(age_s: float) -> None:
    assert opened(jws(CONTENT, aud="site-1", iat=NOW_S - age_s), TRUST, now_utc_s=NOW_S) == CONTENT


def pem_of(key: PrivateKey) -> tuple[bytes, bytes]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY, ED_KEY])
def test_keys_are_read_from_pem(key: PrivateKey) -> None:
    private, public = pem_of(key)

    token = signed(CONTENT, Signer(key=private_key(private), key_id=KEY_ID), now_utc_s=NOW_S)
    trust = Trust(keys={KEY_ID: public_key(public)}, max_age_s=600)

    assert opened(token, trust, now_utc_s=NOW_S) == CONTENT


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP384R1())]
)
def test_a_weak_or_strange_key_is_refused(key: PrivateKey) -> None:
    private, public = pem_of(key)

    with pytest.raises(ValueError, match="is needed"):
        public_key(public)
    with pytest.raises(ValueError, match="is needed"):
        private_key(private)


@pytest.mark.parametrize(
    "pem", [b"", b"rubbish", b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----"]
)
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        public_key(pem)
    with pytest.raises(ValueError, match=r"."):
        private_key(pem)
