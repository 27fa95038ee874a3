"""The payloads of OpenADR intervals as signals: power and price with declared units, or a refusal.

A value is never guessed: no unit, a second value, a sign or a size that cannot be meant, a word that was not
agreed refuse the event. What commands nothing and is not understood is left out and named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from controller.domain.grid import (
    Alert,
    AlertSignal,
    Capacity,
    CapacitySignal,
    CarbonSignal,
    LimitSignal,
    PriceSignal,
    RelativeTargetSignal,
    Signal,
    TargetSignal,
)
from controller.domain.power import Power
from controller.domain.prices import MARKETS, Price
from controller.grid.isotime import duration_s
from controller.grid.results import MAX_INTERVALS, Contract, Reason
from controller.grid.strictjson import MessageError, shown
from controller.grid.wire import DescriptorWire, IntervalWire, PayloadWire

LIMIT, TARGET, PRICE, CARBON = "IMPORT_CAPACITY_LIMIT", "DISPATCH_SETPOINT", "PRICE", "GHG"
RELATIVE_TARGET, LEVEL, OFFSET = "DISPATCH_SETPOINT_RELATIVE", "SIMPLE", "CONTROL_LEVEL_OFFSET"
INSTRUCTION = "DISPATCH_INSTRUCTION"
RAMP_DEADLINE, REPORT_PERIOD = "X_RAMP_DEADLINE", "X_REPORT_PERIOD"
UNDEFINED = frozenset({"CONTROL_LEVEL_OFFSET_PERCENT", "CONTROL_SETPOINT"})
"""Commands whose meaning the standard leaves open or contradicts: to obey or to ignore one is wrong."""

MAX_DEADLINE_S = 86_400.0
MAX_GRAMS_PER_KWH = 10_000.0
MAX_TEXT = 256
NORMAL_LEVEL = 0

_KW_PER_UNIT = {"KW": 1.0, "MW": 1000.0, "W": 0.001}
_KWH_PER_UNIT = {"KWH": 1.0, "MWH": 1000.0}
_ABSURD_POWER = 1e12
_OFFSETS = range(-10, 11)

Word = TypeVar("Word", int, str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One payload where it stands: `key` names the place, `units` what the event declares."""

    key: str
    payload: PayloadWire
    units: Mapping[str, DescriptorWire]
    contract: Contract


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
    key: str, payloads: Sequence[PayloadWire], units: Mapping[str, DescriptorWire], contract: Contract
) -> tuple[tuple[Signal, ...], ...]:
    """The signals of one interval, one tuple for each equal slice of it: several if values are packed."""
    steady: list[Signal] = []
    packed: list[Sequence[Signal]] = []
    seen: set[str] = set()
    for payload in payloads:
        if payload.type in UNDEFINED:
            raise MessageError(Reason.NOT_AGREED, f"{key}: {payload.type} has no agreed meaning here")
        read = _READERS.get(payload.type)
        if read is None and payload.type not in (RAMP_DEADLINE, REPORT_PERIOD):
            continue
        if payload.type in seen:
            raise MessageError(Reason.BAD_VALUE, f"{key}: {payload.type} appears twice in one interval")
        seen.add(payload.type)
        if read is None:
            continue
        place = f"{key}: {payload.type}"
        signals = read(Written(key=place, payload=payload, units=units, contract=contract))
        if payload.type in (PRICE, CARBON):
            packed.append(signals)
        else:
            steady += signals
    if {TARGET, RELATIVE_TARGET} <= seen:
        raise MessageError(Reason.BAD_VALUE, f"{key}: {TARGET} and {RELATIVE_TARGET} contradict each other")
    return _sliced(key, steady, [signals for signals in packed if signals])


def _sliced(key: str, steady: list[Signal], packed: list[Sequence[Signal]]) -> tuple[tuple[Signal, ...], ...]:
    """Series of different lengths side by side: as many slices as put an edge at every edge of each."""
    count = math.lcm(*(len(signals) for signals in packed)) if packed else 1
    if count > MAX_INTERVALS:
        raise MessageError(Reason.TOO_MANY_INTERVALS, f"{key}: {count} slices, at most {MAX_INTERVALS}")
    return tuple(
        (*steady, *(signals[index * len(signals) // count] for signals in packed)) for index in range(count)
    )


def deadline_s(intervals: Iterable[IntervalWire], default_s: float) -> float:
    """The tightest ramp deadline of the event, or `default_s` if it has none. A limit that is never owed is
    none, and cannot be meant."""
    shortest_s = _shortest_s(RAMP_DEADLINE, intervals, default_s)
    if shortest_s > MAX_DEADLINE_S:
        raise MessageError(
            Reason.BAD_DURATION, f"{RAMP_DEADLINE}: {shortest_s:g} s, at most {MAX_DEADLINE_S:g}"
        )
    return shortest_s


def report_period_s(intervals: Iterable[IntervalWire], default_s: float) -> float:
    """The shortest report period of the event, or `default_s` if it has none."""
    return _shortest_s(REPORT_PERIOD, intervals, default_s)


def left_out(
    intervals: Iterable[IntervalWire], units: Mapping[str, DescriptorWire], contract: Contract
) -> tuple[str, ...]:
    """What the event says and nothing here follows from."""
    types = {payload.type for interval in intervals for payload in interval.payloads}
    named = types - _READERS.keys() - {RAMP_DEADLINE, REPORT_PERIOD}
    if CARBON in types and _declared(units, CARBON) != "GHG":
        named.add(CARBON)
    limiting = {alert.value for alert in (Alert.GRID_EMERGENCY, Alert.BLACK_START)}
    agreed = {alert.value for alert in contract.alerts}
    named |= types & limiting - agreed
    return tuple(sorted(named))


def _limit(written: Written) -> Sequence[Signal]:
    return (LimitSignal(_power(written)),)


def _target(written: Written) -> Sequence[Signal]:
    return (TargetSignal(_power(written)),)


def _relative_target(written: Written) -> Sequence[Signal]:
    """A change against what the site drew before: the schema has no sign, the prose needs one."""
    if not written.contract.follows_relative:
        raise MessageError(Reason.NOT_AGREED, f"{written.key}: relative set-points are not followed here")
    return (RelativeTargetSignal(_power(written, may_be_negative=True)),)


def _level(written: Written) -> Sequence[Signal]:
    level = _agreed_integer(written, range(4))
    return () if level == NORMAL_LEVEL else (LimitSignal(_agreed(written, level, written.contract.levels)),)


def _offset(written: Written) -> Sequence[Signal]:
    """A higher offset means less load; zero is the normal level."""
    offset = _agreed_integer(written, _OFFSETS)
    return (
        () if offset == NORMAL_LEVEL else (LimitSignal(_agreed(written, offset, written.contract.offsets)),)
    )


def _instruction(written: Written) -> Sequence[Signal]:
    words = written.payload.values
    if not words or not all(isinstance(word, str) for word in words):
        raise MessageError(Reason.BAD_VALUE, f"{written.key}: {shown(words)} are no words")
    return (LimitSignal(min(_agreed(written, word, written.contract.instructions) for word in words)),)


def _prices(written: Written) -> Sequence[Signal]:
    unit = _unit(written)
    currency = written.units[PRICE].currency
    if unit not in _KWH_PER_UNIT or currency != "USD":
        raise MessageError(
            Reason.BAD_UNITS, f"{written.key}: {shown(currency)} per {shown(unit)}, not USD per KWH or MWH"
        )
    market, kwh = MARKETS[Price.ENERGY], _KWH_PER_UNIT[unit]
    values = _numbers(written, market.least * kwh, market.most * kwh, f"USD per {unit}")
    return [PriceSignal(value / kwh) for value in values]


def _carbon(written: Written) -> Sequence[Signal]:
    if _declared(written.units, CARBON) != "GHG":
        return ()  # information whose unit is anybody's guess: named as left out
    return [CarbonSignal(float(value)) for value in _numbers(written, 0, MAX_GRAMS_PER_KWH, "g per KWH")]


def _alert(written: Written) -> Sequence[Signal]:
    alert = Alert(written.payload.type)
    text = " ".join(value for value in written.payload.values if isinstance(value, str))[:MAX_TEXT]
    power = written.contract.alerts.get(alert)
    signal = AlertSignal(alert, text)
    return (signal,) if power is None else (signal, LimitSignal(power))


def _capacity(written: Written) -> Sequence[Signal]:
    """A contract may be for more than the site can draw, so the nameplate does not bound it."""
    return (CapacitySignal(Capacity(written.payload.type), _power(written, within_nameplate=False)),)


_READERS: Mapping[str, Callable[[Written], Sequence[Signal]]] = {
    LIMIT: _limit,
    TARGET: _target,
    RELATIVE_TARGET: _relative_target,
    LEVEL: _level,
    OFFSET: _offset,
    INSTRUCTION: _instruction,
    PRICE: _prices,
    CARBON: _carbon,
    **{alert.value: _alert for alert in Alert},
    **{capacity.value: _capacity for capacity in Capacity},
}


def _power(written: Written, *, may_be_negative: bool = False, within_nameplate: bool = True) -> Power:
    unit = _unit(written)
    if unit not in _KW_PER_UNIT:
        raise MessageError(
            Reason.BAD_UNITS, f"{written.key}: units {shown(unit)}, known are {', '.join(_KW_PER_UNIT)}"
        )
    value = _number(written.key, _only(written))
    if value < 0 and not may_be_negative:
        raise MessageError(Reason.BAD_VALUE, f"{written.key}: {shown(value)} is negative")
    power = Power.kw(value * _KW_PER_UNIT[unit]) if abs(value) < _ABSURD_POWER else None
    most = written.contract.nameplate
    if power is None or (within_nameplate and abs(power.watts) > most.watts):
        raise MessageError(
            Reason.ABOVE_NAMEPLATE, f"{written.key}: {shown(value)} {unit}, the site has {most}"
        )
    return power


def _agreed(written: Written, word: Word, table: Mapping[Word, Power]) -> Power:
    if word not in table:
        raise MessageError(Reason.NOT_AGREED, f"{written.key}: no limit was agreed for {shown(word)}")
    return table[word]


def _agreed_integer(written: Written, allowed: range) -> int:
    value = _only(written)
    if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
        place = f"{allowed.start}..{allowed.stop - 1}"
        raise MessageError(Reason.BAD_VALUE, f"{written.key}: {shown(value)} is no whole number in {place}")
    return value


def _only(written: Written) -> object:
    values = written.payload.values
    if len(values) != 1:
        raise MessageError(Reason.BAD_VALUE, f"{written.key}: {len(values)} values, one is needed")
    return values[0]


def _numbers(written: Written, least: float, most: float, unit: str) -> list[int | float]:
    if not written.payload.values:
        raise MessageError(Reason.BAD_VALUE, f"{written.key}: no value")
    values = [_number(written.key, value) for value in written.payload.values]
    for value in values:
        if not least <= value <= most:
            raise MessageError(Reason.BAD_VALUE, f"{written.key}: {shown(value)} {unit} is absurd")
    return values


def _declared(units: Mapping[str, DescriptorWire], payload_type: str) -> str | None:
    descriptor = units.get(payload_type)
    return None if descriptor is None else descriptor.units


def _unit(written: Written) -> str:
    unit = _declared(written.units, written.payload.type)
    if unit is None:
        raise MessageError(Reason.NO_UNITS, f"{written.key}: payloadDescriptors declare no units")
    return unit


def _number(key: str, value: object) -> int | float:
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
