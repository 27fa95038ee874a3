"""Heat -> how much of its range a device may use. A derate comes at once and goes with hysteresis."""

from __future__ import annotations

import numpy as np

from controller.decide.fleet import Floats, Ints
from controller.decide.plan import Sample
from controller.domain.devices import Cooling, DeviceSpec, Reading, ZoneReading
from controller.domain.power import Power
from controller.domain.site import Zone

HYSTERESIS_C = 3.0
MARGIN_DERATE_C = 8.0
"""A device that tells its distance to slowdown instead of a temperature derates from this distance on."""
ZONE_STALE_AFTER_S = 60.0


def derate(value_c: float, start_c: float, trip_c: float, before: float) -> float:
    """The share 0..1 of its range that a device must give up at `value_c`, when it gave up `before`."""
    share = _share(value_c, start_c, trip_c)
    return share if share >= before else min(before, _share(value_c + HYSTERESIS_C, start_c, trip_c))


def device_derate(spec: DeviceSpec, reading: Reading, before: float) -> float:
    """From the margin to slowdown where the device tells it, else from its hottest chip.

    One that works and tells neither is as hot as it was; asleep, many tell neither and are cool.
    """
    if reading.margin_c is not None:
        return derate(-reading.margin_c, -MARGIN_DERATE_C, 0.0, before)
    if spec.thermal is not None and reading.hottest_c is not None:
        return derate(reading.hottest_c, spec.thermal.derate_c, spec.thermal.trip_c, before)
    asleep = spec.floor.rate == 0 and reading.draw <= spec.floor.power + spec.floor.power
    return 0.0 if asleep else before


def zone_derate(zone: Zone, sample: Sample[ZoneReading] | None, before: float, now_s: float) -> float:
    """As for a device. A zone that was never heard from keeps what it had."""
    if sample is None or now_s - sample.at_s > ZONE_STALE_AFTER_S:
        return before
    return derate(sample.value.inlet_c, zone.derate_c, zone.trip_c, before)


def cooling_proven(sample: Sample[ZoneReading] | None, now_s: float) -> bool:
    """Only a fresh proof is a proof."""
    if sample is None or now_s - sample.at_s > ZONE_STALE_AFTER_S:
        return False
    return sample.value.cooling is Cooling.PROVEN


def allowed(spec: DeviceSpec, share: float) -> Power:
    """The most a device may be granted when it gives up `share` of its range."""
    reach = spec.points[-1].power.watts - spec.floor.power.watts
    return spec.floor.power + Power.down(reach * (1 - share))


def allowed_w(floor_w: Ints, top_w: Ints, share: Floats) -> Ints:
    """`allowed` of many devices at once."""
    return floor_w + np.floor((top_w - floor_w) * (1 - share)).astype(np.int64)


def _share(value_c: float, start_c: float, trip_c: float) -> float:
    return min(1.0, max(0.0, (value_c - start_c) / (trip_c - start_c)))
