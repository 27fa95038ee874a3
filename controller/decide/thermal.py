"""Heat -> how much of its range a device may use. A derate comes at once and goes with hysteresis."""

from __future__ import annotations

import math

import numpy as np

from controller.decide.arrays import Floats, Ints
from controller.decide.device import COOL
from controller.decide.inputs import Sample
from controller.domain.devices import Cooling, DeviceKind, DeviceSpec, Reading, ThermalLimits, ZoneReading
from controller.domain.power import Power
from controller.domain.site import Zone

HYSTERESIS_C = 3.0
ZONE_HYSTERESIS_C = 1.0
"""Air and coolant move slowly, and differ little from one reading to the next. Each degree keeps a share
of the zone's range unused for as long as heat lasts: a tenth, where its trip is ten above its derate."""
SLOWDOWN = ThermalLimits(derate_c=-8.0, trip_c=0.0)
"""A device that tells its distance to slowdown instead of a temperature derates from this distance on."""
ZONE_STALE_AFTER_S = 60.0
COOLS_S = 600.0
"""A machine that was told to sleep for its heat, and tells no temperature there, is taken to be as hot for so
long: one without a lower point would be stopped and started all day. So is a miner that was lowered and works
on, whatever it tells: there it is cooler at once, and as hot again soon after it was raised."""


def derate(
    value_c: float, start_c: float, trip_c: float, before: float, hysteresis_c: float = HYSTERESIS_C
) -> float:
    """The share 0..1 of its range that a device or zone has to give up at `value_c`; it gave up `before`."""
    share = _share(value_c, start_c, trip_c)
    return share if share >= before else min(before, _share(value_c + hysteresis_c, start_c, trip_c))


def device_derates(
    spec: DeviceSpec, reading: Reading, before: tuple[float, ...], settled_s: float = math.inf
) -> tuple[float, ...]:
    """The share that each of its temperatures asks for, and its margin to slowdown, when they asked for
    `before`. One that is not told is as hot as it was; asleep, where many are not, until it is `settled_s`
    where it is. So long no miner at work is cooler than it was.
    """
    margin_c = None if reading.margin_c is None else -reading.margin_c
    sensors = (*_temperatures(spec, reading), (margin_c, SLOWDOWN))
    asleep = spec.floor.rate == 0 and reading.draw.watts <= 2 * spec.floor.power.watts
    cooled = settled_s > COOLS_S
    last = COOL if asleep and cooled else before
    asked = [_asked(value_c, limits, was) for (value_c, limits), was in zip(sensors, last, strict=True)]
    if cooled or asleep or spec.kind is not DeviceKind.ASIC:
        return tuple(asked)
    return tuple(map(max, asked, before))


def heat(spec: DeviceSpec, reading: Reading) -> list[tuple[float, ThermalLimits]]:
    """The temperatures that a device told, each with the limits it has for it."""
    told = _temperatures(spec, reading)
    return [(value_c, limits) for value_c, limits in told if value_c is not None and limits is not None]


def warned(spec: DeviceSpec, reading: Reading) -> bool:
    """Whether a temperature has reached what its limits call for a warning."""
    found = [
        limits.warn_c is not None and value_c >= limits.warn_c for value_c, limits in heat(spec, reading)
    ]
    return True in found


def zone_derate(zone: Zone, sample: Sample[ZoneReading] | None, before: float, now_s: float) -> float:
    """As for a device. A zone that is not heard, or does not tell its coolant, keeps what it had."""
    if sample is None or now_s - sample.at_s > ZONE_STALE_AFTER_S:
        return before
    said = sample.value
    share = derate(said.inlet_c, zone.derate_c, zone.trip_c, before, ZONE_HYSTERESIS_C)
    if zone.coolant is None:
        return share
    if said.coolant_c is None:
        return max(share, before)
    coolant = zone.coolant
    return max(share, derate(said.coolant_c, coolant.derate_c, coolant.trip_c, before, ZONE_HYSTERESIS_C))


def cooling_proven(sample: Sample[ZoneReading] | None, now_s: float) -> bool:
    """Only a fresh proof is a proof."""
    if sample is None or now_s - sample.at_s > ZONE_STALE_AFTER_S:
        return False
    return sample.value.cooling is Cooling.PROVEN


def allowed(spec: DeviceSpec, share: float) -> Power:
    """The most a device may be granted when it gives up `share` of its range."""
    reach = spec.points[-1].power.watts - spec.floor.power.watts
    return spec.floor.power + Power.down(reach * (1 - share))


def allowed_at_most(spec: DeviceSpec, share: float) -> Power:
    """The most that a device of a zone may be granted of what others leave: no more than the point above."""
    alone = allowed(spec, share)
    above = [point.power for point in spec.points if point.power > alone] if share < 1 else []
    return min(above, default=alone)


def allowed_w(floor_w: Ints, top_w: Ints, share: Floats) -> Ints:
    """`allowed` of many devices at once."""
    return floor_w + np.floor((top_w - floor_w) * (1 - share)).astype(np.int64)


def _temperatures(
    spec: DeviceSpec, reading: Reading
) -> tuple[tuple[float | None, ThermalLimits | None], ...]:
    """A chip that tells its margin to slowdown is judged by that: it knows better where its limits are."""
    return (
        (reading.hottest_c, spec.thermal if reading.margin_c is None else None),
        (reading.board_c, spec.board_thermal),
        (reading.memory_c, spec.memory_thermal),
    )


def _asked(value_c: float | None, limits: ThermalLimits | None, before: float) -> float:
    if limits is None:
        return 0.0
    return before if value_c is None else derate(value_c, limits.derate_c, limits.trip_c, before)


def _share(value_c: float, start_c: float, trip_c: float) -> float:
    return min(1.0, max(0.0, (value_c - start_c) / (trip_c - start_c)))
