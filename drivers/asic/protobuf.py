"""Single values out of protobuf messages, by the names that pyasic's generated messages give them.

betterproto builds the whole message in Python, 4 ms for a reply of three hashboards; this reads past what
nobody asked for. It must never read beyond the bytes that came, nor take broken ones for a value.
"""

from __future__ import annotations

import struct
from typing import Any

MAX_VARINT_BITS = 64
WHOLE_NUMBERS = ("uint32", "uint64", "enum", "bool")

_DOUBLE = struct.Struct("<d")


class Field:
    """`path` names a number or a text below `message`, like "power_stats.approximated_consumption.watt"."""

    def __init__(self, message: Any, path: str) -> None:
        *parents, last = path.split(".")
        self._parents = []
        for name in parents:
            schema = message._betterproto
            self._parents.append(int(schema.meta_by_field_name[name].number))
            message = schema.cls_by_field[name]
        meta = message._betterproto.meta_by_field_name[last]
        self._number = int(meta.number)
        self._kind = str(meta.proto_type)
        self.path = path

    def number(self, message: bytes) -> float | None:
        """The value, or None: a zero is not sent, and neither is what the machine does not know."""
        values = self.numbers(message)
        return values[-1] if values else None

    def numbers(self, message: bytes) -> list[float]:
        """Of each of the repeated messages on the way that has one, its value."""
        return [self._as_number(value) for value in self._values(message)]

    def text(self, message: bytes) -> str:
        """The text; an empty one is not sent."""
        values = self._values(message)
        if not values:
            return ""
        if not isinstance(values[-1], bytes):
            raise ValueError(f"{self.path} is no text")
        return values[-1].decode()

    def _values(self, message: bytes) -> list[int | bytes]:
        messages: list[int | bytes] = [message]
        for number in (*self._parents, self._number):
            messages = [value for inside in messages for value in _values_of(number, inside)]
        return messages

    def _as_number(self, value: int | bytes) -> float:
        if isinstance(value, int) and self._kind in WHOLE_NUMBERS:
            return value
        if isinstance(value, bytes) and self._kind == "double" and len(value) == _DOUBLE.size:
            return float(_DOUBLE.unpack(value)[0])
        raise ValueError(f"{self.path} is no {self._kind}")


def _values_of(number: int, message: int | bytes) -> list[int | bytes]:
    """Every value that field has in `message`, the others passed over."""
    if isinstance(message, int):
        raise ValueError("a number in the place of a message")
    values: list[int | bytes] = []
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value: int | bytes
        match key & 7:
            case 0:
                value, at = _varint(message, at)
            case 1:
                value, at = _bytes(message, at, 8)
            case 2:
                length, at = _varint(message, at)
                value, at = _bytes(message, at, length)
            case 5:
                value, at = _bytes(message, at, 4)
            case wire_type:
                raise ValueError(f"wire type {wire_type}")
        if key >> 3 == number:
            values.append(value)
    return values


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for bits in range(0, MAX_VARINT_BITS, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << bits
        if byte < 0x80:
            return value, at
    raise ValueError("a number without an end")


def _bytes(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    end = at + length
    if end > len(data):
        raise ValueError(f"{length} bytes announced, {len(data) - at} there")
    return data[at:end], end
