"""The payloads of OpenADR intervals as signals: power and price with declared units, or a refusal.

A value is never guessed: no unit, a second value, a sign or a size that cannot be meant refuse the event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controller.domain.grid import LimitSignal, PriceSignal, Signal, TargetSignal
from controller.domain.power import Power
from controller.grid.isotime import duration_s
from controller.grid.results import Reason
from controller.grid.strictjson import MessageError, shown
from controller.grid.wire import DescriptorWire, IntervalWire, PayloadWire

LIMIT, TARGET, PRICE = "IMPORT_CAPACITY_LIMIT", "DISPATCH_SETPOINT", "PRICE"
RAMP_DEADLINE, REPORT_PERIOD = "X_RAMP_DEADLINE", "X_REPORT_PERIOD"
KNOWN_TYPES = frozenset({LIMIT, TARGET, PRICE, RAMP_DEADLINE, REPORT_PERIOD})

MAX_USD_PER_KWH = 1000.0
"""A price beyond this, either way, is an error of units, not a market."""

_KW_PER_UNIT = {"KW": 1.0, "MW": 1000.0, "W": 0.001}
_KWH_PER_UNIT = {"KWH": 1.0, "MWH": 1000.0}
_ABSURD_POWER = 1e12


def units_of(descriptors: Iterable[DescriptorWire]) -> Mapping[str, DescriptorWire]:
    """The declared units by payload type."""
    result: dict[str, DescriptorWire] = {}
    for descriptor in descriptors:
        if result.setdefault(descriptor.payload_type, descriptor) != descriptor:
            raise MessageError(
                Reason.BAD_UNITS, f"payloadDescriptors: {shown(descriptor.payload_type)} is declared twice"
            )
    return result


def slices(
    key: str, payloads: Sequence[PayloadWire], units: Mapping[str, DescriptorWire], nameplate: Power
) -> tuple[tuple[Signal, ...], ...]:
    """The signals of one interval, one tuple for each equal slice of it: several if prices are packed."""
    steady: list[Signal] = []
    prices: list[PriceSignal] = []
    seen: set[str] = set()
    for payload in payloads:
        if payload.type not in KNOWN_TYPES:
            continue
        if payload.type in seen:
            raise MessageError(Reason.BAD_VALUE, f"{key}: {payload.type} appears twice in one interval")
        seen.add(payload.type)
        if payload.type == LIMIT:
            steady.append(LimitSignal(_power(key, payload, units, nameplate)))
        elif payload.type == TARGET:
            steady.append(TargetSignal(_power(key, payload, units, nameplate)))
        elif payload.type == PRICE:
            prices = _prices(key, payload, units)
    return tuple((*steady, price) for price in prices) if prices else (tuple(steady),)


def deadline_s(intervals: Iterable[IntervalWire], default_s: float) -> float:
    """The tightest ramp deadline of the event, or `default_s` if it has none."""
    return _shortest_s(RAMP_DEADLINE, intervals, default_s)


def report_period_s(intervals: Iterable[IntervalWire], default_s: float) -> float:
    """The shortest report period of the event, or `default_s` if it has none."""
    return _shortest_s(REPORT_PERIOD, intervals, default_s)


def unknown_types(intervals: Iterable[IntervalWire]) -> tuple[str, ...]:
    types = {payload.type for interval in intervals for payload in interval.payloads}
    return tuple(sorted(types - KNOWN_TYPES))


def _power(key: str, payload: PayloadWire, units: Mapping[str, DescriptorWire], nameplate: Power) -> Power:
    key = f"{key}: {payload.type}"
    unit = _unit(key, payload, units)
    if unit not in _KW_PER_UNIT:
        raise MessageError(
            Reason.BAD_UNITS, f"{key}: units {shown(unit)}, known are {', '.join(_KW_PER_UNIT)}"
        )
    if len(payload.values) != 1:
        raise MessageError(Reason.BAD_VALUE, f"{key}: {len(payload.values)} values, one is needed")
    value = _number(key, payload.values[0])
    if value < 0:
        raise MessageError(Reason.BAD_VALUE, f"{key}: {shown(value)} is negative")
    power = Power.kw(value * _KW_PER_UNIT[unit]) if value < _ABSURD_POWER else None
    if power is None or power > nameplate:
        raise MessageError(Reason.ABOVE_NAMEPLATE, f"{key}: {shown(value)} {unit}, the site has {nameplate}")
    return power


def _prices(key: str, payload: PayloadWire, units: Mapping[str, DescriptorWire]) -> list[PriceSignal]:
    key = f"{key}: {payload.type}"
    unit = _unit(key, payload, units)
    currency = units[payload.type].currency
    if unit not in _KWH_PER_UNIT or currency != "USD":
        raise MessageError(
            Reason.BAD_UNITS, f"{key}: {shown(currency)} per {shown(unit)}, not USD per KWH or MWH"
        )
    if not payload.values:
        raise MessageError(Reason.BAD_VALUE, f"{key}: no value")
    most = MAX_USD_PER_KWH * _KWH_PER_UNIT[unit]
    for value in payload.values:
        if not -most <= _number(key, value) <= most:
            raise MessageError(Reason.BAD_VALUE, f"{key}: {shown(value)} USD per {unit} is absurd")
    return [PriceSignal(value / _KWH_PER_UNIT[unit]) for value in payload.values]


def _unit(key: str, payload: PayloadWire, units: Mapping[str, DescriptorWire]) -> str:
    descriptor = units.get(payload.type)
    if descriptor is None or descriptor.units is None:
        raise MessageError(Reason.NO_UNITS, f"{key}: payloadDescriptors declare no units")
    return descriptor.units


def _number(key: str, value: object) -> float:
    """An int or a float as it came: not yet converted, an int may be beyond every float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MessageError(Reason.BAD_VALUE, f"{key}: {shown(value)} is no number")
    return value


def _shortest_s(type_: str, intervals: Iterable[IntervalWire], default_s: float) -> float:
    payloads = [payload for interval in intervals for payload in interval.payloads if payload.type == type_]
    return min((_duration_s(payload) for payload in payloads), default=default_s)


def _duration_s(payload: PayloadWire) -> float:
    match payload.values:
        case [str(text)]:
            return duration_s(payload.type, text)
        case other:
            raise MessageError(Reason.BAD_DURATION, f"{payload.type}: {shown(other)} is no ISO 8601 duration")
