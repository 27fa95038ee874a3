"""The written form of evidence and the seals over it, as EVIDENCE.md defines them: pure functions of rows.

Who writes and who verifies both come here; a verifier of somebody else needs that document only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

FORM = "wattshift-seal-1"
"""The first element of what a seal's hash is taken of. Another form of rows or seals has another word."""
GENESIS = "0" * 64
"""What the first seal of a journal names as the one before it."""

Row = tuple[object, ...]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_ANCHOR = re.compile(r"(\d{1,18}):([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rows of one table under one seal: `first_id` to `last_id` without a hole, and their SHA-256."""

    name: str
    first_id: int
    last_id: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What was written from `first_us` to `last_us`, bound to everything before it by `previous`."""

    seq: int
    previous: str
    first_us: int
    last_us: int
    parts: tuple[Part, ...]

    @property
    def hash(self) -> str:
        parts = sorted((part.name, part.first_id, part.last_id, part.digest) for part in self.parts)
        text = _encode([FORM, self.seq, self.previous, self.first_us, self.last_us, parts])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, order=True)
class Anchor:
    """A seal that somebody outside has seen: its number and its hash."""

    seq: int
    hash: str

    @classmethod
    def of(cls, text: str) -> Anchor:
        """From "SEQ:HASH"; `ValueError` if it is anything else."""
        match = _ANCHOR.fullmatch(text.strip().lower())
        if match is None:
            raise ValueError(f"anchor {text!r}: SEQ:HASH is needed, HASH as 64 hexadecimal digits")
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


def line(row: Iterable[object]) -> bytes:
    """One row, its id first, as it is sealed: a JSON array of integers, text and null, and a line feed."""
    return _encode(tuple(row)).encode() + b"\n"


def digest_of(rows: Iterable[Iterable[object]]) -> tuple[int, str]:
    """How many rows there are, and their SHA-256; an empty text where one has no written form."""
    count, digest, is_written = 0, hashlib.sha256(), True
    for row in rows:
        count += 1
        try:
            digest.update(line(row))
        except (TypeError, ValueError):  # bytes, or text that is no Unicode
            is_written = False
    return count, digest.hexdigest() if is_written else ""


def writable(row: Row) -> Row:
    """`row` as a file gives it back: integers, text and None. Where text is no Unicode (a lone surrogate) it
    has a question mark."""
    return tuple(value if type(value) is int or value is None else _text(value) for value in row)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"evidence is whole numbers and text, not {value!r}")
    return str(value) if value.isascii() else value.encode(errors="replace").decode()
