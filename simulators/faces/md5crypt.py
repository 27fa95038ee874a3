"""The MD5-based crypt(3) of FreeBSD, which Whatsminers use to derive keys and tokens from a password."""

from __future__ import annotations

import hashlib

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ROUNDS = 1000
ORDER = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
"""The bytes of the last digest, in threes, in which the text is written."""


def md5crypt(password: str, salt: str) -> str:
    """The 22 characters that stand after the last `$` of `$1$salt$...`; a salt has at most 8 characters."""
    secret, grain = password.encode(), salt[:8].encode()
    digest = _first(secret, grain)
    for turn in range(ROUNDS):
        mixed = secret if turn % 2 else digest
        if turn % 3:
            mixed += grain
        if turn % 7:
            mixed += secret
        digest = hashlib.md5(mixed + (digest if turn % 2 else secret)).digest()
    return "".join(_text(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in ORDER) + _text(
        digest[11], 2
    )


def _first(secret: bytes, grain: bytes) -> bytes:
    inner = hashlib.md5(secret + grain + secret).digest()
    mixed = secret + b"$1$" + grain
    mixed += (inner * (len(secret) // 16 + 1))[: len(secret)]
    bits = len(secret)
    while bits:
        mixed += b"\0" if bits & 1 else secret[:1]
        bits >>= 1
    return hashlib.md5(mixed).digest()


def _text(value: int, characters: int) -> str:
    return "".join(ALPHABET[value >> 6 * at & 63] for at in range(characters))
