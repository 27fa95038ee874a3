"""The operating points of machines that offer a list, and of those that take any power limit."""

from __future__ import annotations

from collections.abc import Iterable

from controller.domain.devices import OperatingPoint
from controller.domain.power import Power
from drivers.asic.adapter import SLEEP, Plate
from drivers.base import DriverError

LEAST_SHARE = 0.7
"""The lowest limit offered of a machine of which nothing else is known, as a share of its rating."""
STEPS = 6


def ladder(plate: Plate, least_w: int | None = None) -> tuple[OperatingPoint, ...]:
    """Sleep, and limits in equal steps from the lowest to the rating; `least_w` is that of a machine whose
    `min_w` nobody gave."""
    least_w = plate.min_w or least_w or round(LEAST_SHARE * plate.rated_w)
    rungs = {least_w + (plate.rated_w - least_w) * step // STEPS for step in range(STEPS + 1)}
    return (plate.sleep, *(plate.point(f"{power_w}w", power_w) for power_w in sorted(rungs)))


def usable_points(found: Iterable[OperatingPoint], plate: Plate) -> tuple[OperatingPoint, ...]:
    """Sleep and what was found inside what the operator configured; of equal power the better one."""
    allowed = {point.name for point in plate.points}
    least = max(plate.min_w or 0, plate.sleep.power.watts + 1)
    by_power: dict[Power, OperatingPoint] = {}
    for point in sorted(found, key=lambda point: (point.rate, point.name)):
        if least <= point.power.watts <= plate.ceiling_w and (not allowed or point.name in allowed):
            by_power[point.power] = point
    if not allowed or SLEEP in allowed:
        by_power[plate.sleep.power] = plate.sleep
    if not by_power:
        raise DriverError(f"none of the configured points {sorted(allowed)} is one of this machine")
    return tuple(by_power[power] for power in sorted(by_power))
