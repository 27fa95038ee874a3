"""Which machines run for money: stop what costs more than it earns, and do not wear it while prices hover.

A verdict is about money only. Limits, heat and events may keep a machine down whatever stands here, and
lowering one is always allowed: this says no more than that a start, or going on, pays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from controller.decide.arrays import Flags, Floats, Ints
from controller.domain.devices import DeviceKind, DeviceSpec
from controller.domain.power import ZERO
from controller.domain.site import Thresholds

LEAST_LIFT = 1e-6
"""USD per kWh."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdicts:
    """Per device: whether it may run for money; whether it does run, and since when it does or does not, in
    seconds of the monotonic clock. What wears a machine is its own changes: they are what is counted.

    `goes_on` are those that run for money, or did until something else stopped them, or came to earn more
    than where a band of thresholds ends: they are run, whatever their start costs. `timed` are those of whom
    the opposite would be said, were it not for their least times.
    """

    may_run: Flags
    running: Flags
    goes_on: Flags
    since_s: Floats
    timed: Flags = field(default_factory=lambda: np.zeros(0, np.bool_))  # recordings of before have none

    def __eq__(self, other: object) -> bool:
        """Equal states are told by comparing them, which arrays do not do as one."""
        return (
            isinstance(other, Verdicts)
            and np.array_equal(self.may_run, other.may_run)
            and np.array_equal(self.running, other.running)
            and np.array_equal(self.goes_on, other.goes_on)
            and np.array_equal(self.timed, other.timed)
            and np.array_equal(self.since_s, other.since_s)
        )

    __hash__ = None  # type: ignore[assignment]  # as that of every class that compares arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """`Thresholds` of many devices, one element each."""

    stop_below: Floats
    start_above: Floats
    least_on_s: Floats
    least_off_s: Floats


def best_ths_per_kw(specs: Sequence[DeviceSpec]) -> Floats:
    """TH/s per kW of each miner at the best of its points above the floor, whatever the prices are: hashing
    is never paid less than nothing, so the kWh that earns most is the one that hashes most.

    NaN for what is no miner, or has no such point. Made anew only when the specs change.
    """
    best = np.full(len(specs), np.nan)
    for at, spec in enumerate(specs):
        if spec.kind is DeviceKind.ASIC:
            points = [point for point in spec.points[1:] if point.power > ZERO]
            best[at] = max((point.rate / point.power.in_kw for point in points), default=np.nan)
    return best


def judge(
    before: Verdicts | None,
    ths_per_kw: Floats,
    running: Flags,
    now_s: float,
    *,
    usd_per_ths_day: float,
    usd_per_kwh: float,
    thresholds: Thresholds,
) -> Verdicts:
    """The verdicts of this tick, of devices in the order of `ths_per_kw`.

    `running` is who is above its floor, or not known to be there. Whoever stands in the first tick may have
    been stopped for any reason, so only what would be stopped now begins as stopped. What is no miner always
    may run.
    """
    margin = ths_per_kw * (usd_per_ths_day / 24) - usd_per_kwh
    if before is None:
        return begin(running | ~(margin < thresholds.stop_below), running, now_s)
    return advance(before, running, now_s, margin, bands(thresholds, len(margin)))


def bands(thresholds: Thresholds, devices: int) -> Bands:
    """The same thresholds for so many devices."""
    return Bands(
        stop_below=np.full(devices, thresholds.stop_below),
        start_above=np.full(devices, thresholds.start_above),
        least_on_s=np.full(devices, thresholds.least_on_s),
        least_off_s=np.full(devices, thresholds.least_off_s),
    )


def begin(may_run: Flags, running: Flags, now_s: float) -> Verdicts:
    """The first verdicts. Nobody knows when a machine was started or stopped: it may have been just now."""
    return Verdicts(
        may_run=may_run,
        running=running,
        goes_on=may_run,
        timed=np.zeros_like(running),
        since_s=np.full(running.shape, now_s),
    )


def moved(before: Verdicts, was: Ints, running: Flags, now_s: float) -> Verdicts:
    """`before` in the order of now, where `was` is the place that each device had in it. Who is new, with a
    place of -1, is judged next as all are in a first tick."""
    stays, since_s = was >= 0, np.full(running.shape, now_s)
    may_run, goes_on, ran = np.ones_like(running), np.ones_like(running), running.copy()
    may_run[stays], goes_on[stays] = before.may_run[was[stays]], before.goes_on[was[stays]]
    ran[stays], since_s[stays] = before.running[was[stays]], before.since_s[was[stays]]
    timed = np.zeros_like(running)  # who is, is judged anew in every tick
    return Verdicts(may_run=may_run, running=ran, goes_on=goes_on, timed=timed, since_s=since_s)


def taken_up(begun: Verdicts, specs: Sequence[DeviceSpec], stands_s: Mapping[str, float]) -> Verdicts:
    """The first verdicts of a process that knows since when those stand whom the one before stopped for
    money. Who runs by now was started by somebody."""
    stood_s = np.array([stands_s.get(spec.id, np.nan) for spec in specs])
    stands = ~begun.running & ~np.isnan(stood_s)
    may_run = begun.may_run & ~stands
    since_s = np.where(stands, stood_s, begun.since_s)
    return replace(begun, may_run=may_run, goes_on=may_run, since_s=since_s)


def advance(before: Verdicts, running: Flags, now_s: float, margin: Floats, limits: Bands) -> Verdicts:
    """The next verdicts. `margin` is what a kWh earns beyond its cost at the best point of each device,
    without what a change costs; see `margins`."""
    since_s = np.where(running == before.running, before.since_s, now_s)
    for_s = now_s - since_s
    may_run = may_run_for_money(before.may_run, running, for_s, margin, limits)
    timed = may_run != may_run_for_money(before.may_run, running, np.full_like(for_s, np.inf), margin, limits)
    # Without a band a start has to pay for itself soon: that is the hysteresis then.
    enough = ~before.may_run & (limits.start_above > limits.stop_below)
    goes_on = may_run & (running | before.goes_on | enough)
    return Verdicts(may_run=may_run, running=running, goes_on=goes_on, timed=timed, since_s=since_s)


def may_run_for_money(may_run: Flags, running: Flags, for_s: Floats, margin: Floats, limits: Bands) -> Flags:
    """Stop below the band, start above it, and within it leave what was said before.

    A machine that has not run, or not stood, for its least time (`for_s`) is neither stopped nor started; one
    that is as it is for other reasons wears nothing by another verdict. A margin that is no number changes
    nothing.
    """
    stops = (margin < limits.stop_below) & (~running | (for_s >= limits.least_on_s))
    starts = (margin > limits.start_above) & (running | (for_s >= limits.least_off_s))
    return (may_run & ~stops) | (~may_run & starts)


def permitted(verdicts: Verdicts, *, meets_target: bool) -> Flags:
    """Who may be above its floor now. A set-point asks for the energy, so under one everybody may."""
    return np.ones_like(verdicts.may_run) if meets_target else verdicts.may_run


def held(verdicts: Verdicts, *, meets_target: bool, reduction_paid: bool) -> Flags:
    """Who is held to running although another point would earn more. What an event pays for a reduction is
    weighed against running like any other price."""
    if reduction_paid:
        return np.zeros_like(verdicts.may_run)
    return permitted(verdicts, meets_target=meets_target) & (verdicts.running | verdicts.goes_on)


def lifts(start: Ints, watts: Ints, worth: Floats, held: Flags) -> Floats:
    """USD per hour to add to the points above the floor of each device that is `held` to running.

    The points of device i are those of `watts` and `worth` from `start[i]` to just before `start[i + 1]`,
    floor first. The lift keeps the best of them above the floor by next to nothing, so that money alone does
    not stop what its verdict lets run; such machines are still the first to give their watts where a limit
    needs them, and of them those that lose most with a kWh.
    """
    first = start[:-1]
    if not len(first):
        return np.zeros(0)
    above = worth.copy()
    above[first] = -np.inf
    best = np.maximum.reduceat(above, first)
    gap = worth[first] - best
    lifted = held & np.isfinite(gap) & (gap >= 0.0)
    if not lifted.any():
        return np.zeros(len(first))
    best_w = np.maximum.reduceat(np.where(above >= best.repeat(start[1:] - first), watts, 0), first)
    kilowatts = np.maximum(1, best_w - watts[first]) / 1000
    lost = np.where(lifted, gap, 0.0)
    return np.where(lifted, lost + LEAST_LIFT * kilowatts / (1 + lost / kilowatts), 0.0)


def margins(earned_usd_per_hour: Floats, watts: Floats) -> Floats:
    """USD per kWh, of what machines earn per hour less their energy, at the watts they draw for it.

    One that draws nothing has no bound on what it earns per kWh, either way; one that earns nothing with it
    has a margin of nothing.
    """
    kilowatts = watts / 1000.0
    with np.errstate(divide="ignore", invalid="ignore"):
        margin: Floats = earned_usd_per_hour / kilowatts
    return np.where((kilowatts == 0.0) & (earned_usd_per_hour == 0.0), 0.0, margin)
