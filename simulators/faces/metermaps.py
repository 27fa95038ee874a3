"""How meters on the market lay out their registers: for each map the first address and the words from there.

Only what a reader needs is filled in; all else says that it is not implemented, as the maps prescribe.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, log10

from simulators.physics.electrical import Meter
from simulators.signals import MeterMap

SUNSPEC_BASE = 40_000
MARKER = (0x5375, 0x6E53)
END = (0xFFFF, 0)
COMMON_WORDS = 66
INTEGER_WORDS, FLOAT_WORDS = 105, 124
"""Lengths of the models 201-204 and 211-214, without their headers."""
NOT_IMPLEMENTED = 0x8000
NOT_A_NUMBER = (0x7FC0, 0x0000)
LARGEST_COUNT = 32_766


@dataclass(frozen=True, slots=True)
class Layout:
    """`words` is what stands from register `first` on; it has the same length for every reading."""

    first: int
    words: Callable[[Meter], list[int]]


def words_of(layout: str, *values: float) -> list[int]:
    packed = struct.pack(layout, *values)
    return list(struct.unpack(f">{len(packed) // 2}H", packed))


def _plain(meter: Meter) -> list[int]:
    return words_of(">fiH", meter.value_w, round(meter.value_w), meter.samples & 0xFFFF)


def _schneider(meter: Meter) -> list[int]:
    return words_of(">f", meter.value_w / 1000)


def _eastron(meter: Meter) -> list[int]:
    return words_of(">f", meter.value_w)


def _gavazzi(meter: Meter) -> list[int]:
    return words_of(">i", round(meter.value_w * 10))[::-1]


def _sunspec(model: int) -> Callable[[Meter], list[int]]:
    body = _float_model if model > 210 else _integer_model

    def words(meter: Meter) -> list[int]:
        values = body(meter)
        return [*MARKER, 1, COMMON_WORDS, *_common(meter), model, len(values), *values, *END]

    return words


def _common(meter: Meter) -> list[int]:
    """Manufacturer, model, options, version, serial number, Modbus address and a word to make it even."""
    texts = struct.pack("32s32s16s16s32s", b"Simulated", b"Meter", b"", b"1", meter.id.encode()[:32])
    return [*struct.unpack(f">{len(texts) // 2}H", texts), meter.config.unit or 0, NOT_IMPLEMENTED]


def _integer_model(meter: Meter) -> list[int]:
    """Counts of sixteen bits: a large site needs a scale factor, which rises with its power."""
    exponent = max(0, ceil(log10(max(1.0, abs(meter.value_w)) / LARGEST_COUNT)))
    words = [NOT_IMPLEMENTED] * INTEGER_WORDS
    words[16:17] = words_of(">h", round(meter.value_w / 10**exponent))
    words[20:21] = words_of(">h", exponent)
    return words


def _float_model(meter: Meter) -> list[int]:
    words = [*NOT_A_NUMBER * (FLOAT_WORDS // 2)]
    words[26:28] = words_of(">f", meter.value_w)
    return words


LAYOUTS: Mapping[MeterMap, Layout] = {
    MeterMap.PLAIN: Layout(0, _plain),
    MeterMap.SCHNEIDER: Layout(3059, _schneider),
    MeterMap.EASTRON: Layout(0x34, _eastron),
    MeterMap.GAVAZZI: Layout(0x28, _gavazzi),
    MeterMap.SUNSPEC_INTEGER: Layout(SUNSPEC_BASE, _sunspec(203)),
    MeterMap.SUNSPEC_FLOAT: Layout(SUNSPEC_BASE, _sunspec(213)),
}
