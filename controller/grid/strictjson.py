"""JSON from strangers: size, depth, repeated keys and numbers are checked before anything believes them.

Nothing here raises anything but `MessageError`, whatever the bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

from controller.grid.results import MAX_PAYLOAD_BYTES, Reason

MAX_DEPTH = 16

# A string, closed or not, is one token, so brackets inside it do not count and the scan stays linear.
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class MessageError(Exception):
    """Why a message cannot be used. Raised and caught inside this package only; it leaves it as a value."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def decode(payload: bytes) -> Any:
    """The value `payload` holds: finite numbers, unique keys, at most `MAX_DEPTH` levels."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageError(Reason.TOO_LARGE, f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES}")
    _check_depth(payload)
    try:
        value = json.loads(
            payload.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
        if b"\\u" in payload:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is in no character set
        return value
    except ValueError as error:  # bad UTF-8, bad JSON and integers of thousands of digits alike
        raise MessageError(Reason.NOT_JSON, str(error)[:120]) from None


def shown(value: object) -> str:
    """`value` for a report or a log: printable ASCII and short, whatever it is."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _check_depth(payload: bytes) -> None:
    depth = 0
    for token in _TOKENS.finditer(payload):
        first = token.group()[:1]
        if first in b"[{":
            depth += 1
        elif first in b"]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise MessageError(Reason.TOO_DEEP, f"more than {MAX_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        repeated = next(key for key, count in counts.items() if count > 1)
        raise MessageError(Reason.DUPLICATE_KEY, f"key {shown(repeated)} appears twice")
    return result


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MessageError(Reason.BAD_VALUE, f"number {shown(text)} is not finite")
    return number


def _no_constant(text: str) -> NoReturn:
    raise MessageError(Reason.BAD_VALUE, f"number {text} is not finite")
