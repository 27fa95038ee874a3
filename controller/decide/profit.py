"""Which machines run for money: stop what costs more than it earns, and do not wear it while prices hover.

A verdict is about money only. Limits, heat and events may keep a machine down whatever stands here, and
lowering one is always allowed: this says no more than that a start, or going on, pays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.domain.site import Thresholds

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

AT_ONCE = float("-inf")
"""The moment of a change so long ago that it binds nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Per device: whether it may run for money, and since when (seconds of the monotonic clock)."""

    may_run: Flags
    since_s: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """`Thresholds` of many devices, one element each."""

    stop_below: Floats
    start_above: Floats
    least_on_s: Floats
    least_off_s: Floats


def bands(thresholds: Thresholds, devices: int) -> Bands:
    """The same thresholds for so many devices."""
    return Bands(
        stop_below=np.full(devices, thresholds.stop_below),
        start_above=np.full(devices, thresholds.start_above),
        least_on_s=np.full(devices, thresholds.least_on_s),
        least_off_s=np.full(devices, thresholds.least_off_s),
    )


def begin(running: Flags, now_s: float) -> Verdicts:
    """The verdicts of a controller that just started: as the machines are, for their least times at least.

    Nobody knows when each was last started or stopped, so all may have been a moment ago.
    """
    return Verdicts(may_run=running.astype(np.bool_), since_s=np.full(running.shape, now_s))


def advance(
    before: Verdicts,
    now_s: float,
    earned_usd_per_hour: Floats,
    watts: Floats,
    limits: Bands,
) -> Verdicts:
    """The next verdicts. `earned_usd_per_hour` and `watts` are each device's at the best of its points:
    output less energy, without what a change costs."""
    margin = margins(earned_usd_per_hour, watts)
    may_run = may_run_for_money(before.may_run, now_s - before.since_s, margin, limits)
    return Verdicts(may_run=may_run, since_s=np.where(may_run == before.may_run, before.since_s, now_s))


def may_run_for_money(running: Flags, for_s: Floats, margin: Floats, limits: Bands) -> Flags:
    """A machine that has run `for_s` stops below the band, one that has stood starts above it.

    Not before its least time, and never within the band. A margin that is no number changes nothing.
    """
    stops = running & (margin < limits.stop_below) & (for_s >= limits.least_on_s)
    starts = ~running & (margin > limits.start_above) & (for_s >= limits.least_off_s)
    return (running & ~stops) | starts


def permitted(verdicts: Verdicts, *, meets_target: bool) -> Flags:
    """Who may be above its floor now. A set-point asks for the energy, so under one everybody may."""
    return np.ones_like(verdicts.may_run) if meets_target else verdicts.may_run


def margins(earned_usd_per_hour: Floats, watts: Floats) -> Floats:
    """USD per kWh beyond the cost of its energy. A machine that draws nothing has no bound on what it earns
    per kWh, either way; one that earns nothing with it has a margin of nothing."""
    kilowatts = watts / 1000.0
    with np.errstate(divide="ignore", invalid="ignore"):
        margin: Floats = earned_usd_per_hour / kilowatts
    return np.where((kilowatts == 0.0) & (earned_usd_per_hour == 0.0), 0.0, margin)


def best_points(earned_usd_per_hour: Floats, watts: Floats) -> tuple[Floats, Floats]:
    """Of each device (a row) the point (a column) whose kWh earns most: its USD per hour, and its watts.

    The first column is the floor, where a miner sleeps: it is no way to run. Points that a device has not
    are NaN. A device without any point above its floor is NaN in both.
    """
    devices, points = earned_usd_per_hour.shape
    best, best_watts = np.full(devices, np.nan), np.full(devices, np.nan)
    best_margin = np.full(devices, -np.inf)
    for point in range(1, points):  # a few; over the devices at once, which are many
        earned, drawn = earned_usd_per_hour[:, point], watts[:, point]
        margin = margins(earned, drawn)
        better = (margin > best_margin) | (np.isnan(best_watts) & (margin == best_margin))
        best_margin = np.where(better, margin, best_margin)
        best, best_watts = np.where(better, earned, best), np.where(better, drawn, best_watts)
    return best, best_watts
