"""How well the site is used, and how soon all is well again once faults have stopped; from the plant's truth.

`usable` at a moment is the lesser of the cap in force (contract, event, set-point, lost link) and what the
machines could draw then: every node's limit counts; machines that nobody could raise (hung, dark, without
work, lying, behind a dead switch, uncooled) count at what they draw; all others at the point that earns most
at the present prices, the way there paid for, and that their heat allows, or at the best sum of points that
their breaker has room for; and it rises no faster than the site's own rules let it (`paced`). Nothing is
taken off for what the controller keeps free by its own choice: margins, watts reserved for machines it cannot
see, the lowest limit of an idle GPU, going down before an event. A start takes its time, and meanwhile its
watts can be promised to nobody else: what is used of the rest is told beside it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from statistics import fmean

from controller.decide.device import TOLERANCE, TOLERANCE_W
from controller.decide.plan import Plan
from controller.decide.words import TRUTHS, AlarmKind, Truth
from controller.domain.power import Bound, Limit
from simulators.physics.miner import Miner, MinerState
from simulators.plant import Plant
from tests.sim.floor import SLEEP

ENOUGH = 0.95
ONE_STEP_W = 1000.0
"""Machines go in steps: a site is as full as it can be with the step of one machine to spare."""
LOOK_EVERY_S = 5.0
WITHIN_S = 600.0
"""From the end of the last fault until all machines obey, no alarm stands, every job that could run does, and
95 % of the usable is used."""
LASTS_S = 60.0
"""Low for a moment is a site in which a job ended, or one machine is exchanged for a better one. What counts
is low now and over so long on average, as settlement counts it."""
PROVEN_WITHIN_S = 180.0
"""A machine may take two minutes to start."""
POINT_SLACK = TOLERANCE
POINT_SLACK_W = float(TOLERANCE_W)
"""So much more than its point a machine may draw by its make: a controller learns it, and counts with it."""


@dataclass(slots=True)
class Use:
    """Energy used and usable while faults lasted; each moment counts at most as fully used. `held_w` of what
    is usable `now_w` are given to machines that are starting; the last two are the energies beside that."""

    ramp_up_per_s: Bound
    used_w: float = 0.0
    usable_w: float = 0.0
    now_w: float = 0.0
    held_w: float = 0.0
    used_beside_w: float = 0.0
    usable_beside_w: float = 0.0
    _rising_w: float = math.inf

    def look(self, most_w: float, held_w: float) -> None:
        """`most_w` is what the site could draw at once."""
        ramp = self.ramp_up_per_s
        if isinstance(ramp, Limit):
            most_w = min(most_w, self._rising_w + ramp.power.watts * LOOK_EVERY_S)
        self._rising_w = self.now_w = most_w
        self.held_w = min(held_w, most_w)

    def count(self, draw_w: float) -> None:
        beside_w = self.now_w - self.held_w
        self.used_w += min(draw_w, self.now_w)
        self.usable_w += self.now_w
        self.used_beside_w += min(draw_w, beside_w)
        self.usable_beside_w += beside_w

    @property
    def share(self) -> float:
        return self.used_w / self.usable_w if self.usable_w else 1.0

    @property
    def share_beside(self) -> float:
        return self.used_beside_w / self.usable_beside_w if self.usable_beside_w else 1.0


@dataclass(slots=True)
class Recovery:
    """`over_s` is when something was last amiss after the faults, `amiss` what that was; `is_amiss` now."""

    calm_s: float
    over_s: float = 0.0
    is_amiss: bool = False
    amiss: str = ""
    unproven_s: dict[str, float] = field(default_factory=dict)
    waits_s: dict[str, float] = field(default_factory=dict)
    waited_for: dict[str, float] = field(default_factory=dict)
    lacking_w: deque[float] = field(default_factory=lambda: deque(maxlen=round(LASTS_S / LOOK_EVERY_S)))
    rests: Callable[[str], bool] = lambda _: False
    """Whether a miner was started as often as it may be."""
    is_given_up: Callable[[str], bool] = lambda _: False
    """Whether it rests as its power was to be taken, though it may have it still."""
    rested_s: dict[str, float] = field(default_factory=dict)
    """When each miner last had to rest,"""
    unfed_s: dict[str, float] = field(default_factory=dict)
    """... or had no power by its outlet."""

    @property
    def took_s(self) -> float:
        return max(0.0, self.over_s - self.calm_s)

    def look(self, plant: Plant, usable_w: float, plan: Plan, could_run: Collection[str] = ()) -> None:
        """`could_run` are the jobs that do not run although GPUs with room for them are free."""
        comes = self._comes(plant)
        found = [*_amiss(plant, plan, comes), *self._unproven(plant.now_s, plan)]
        found += self._kept_waiting(plant.now_s, could_run)
        waited_for = (
            miner for name, miner in plant.miners.items() if name in comes or self.is_given_up(name)
        )
        coming_w = sum(max(0.0, miner.rated_w * miner.bias - miner.watts) for miner in waited_for)
        self.lacking_w.append(ENOUGH * (usable_w - coming_w) - ONE_STEP_W - plant.site_power_w)
        if min(self.lacking_w[-1], fmean(self.lacking_w)) > 0:
            found.append(f"used {plant.site_power_w:.0f} W of {usable_w:.0f} W")
        for what in found:
            self.waited_for[what.split()[0]] = plant.now_s - self.calm_s
        self.is_amiss = bool(found)
        if found:
            self.over_s, self.amiss = plant.now_s, "; ".join(found[:4])

    def _comes(self, plant: Plant) -> dict[str, Miner]:
        """The miners that had to rest, or were without power, until a moment ago. They boot and start, and
        nobody else can be given their watts meanwhile; how long they rest is not a question of recovery."""
        now_s = plant.now_s
        for miner in plant.miners.values():
            if not miner.fed:
                self.unfed_s[miner.id] = now_s
            elif miner.state is MinerState.ASLEEP and self.rests(miner.id):
                self.rested_s[miner.id] = now_s

        def comes(name: str) -> bool:
            ended_s = (then.get(name, -math.inf) for then in (self.rested_s, self.unfed_s))
            return any(0 < now_s - then_s <= PROVEN_WITHIN_S for then_s in ended_s)

        return {miner.id: miner for miner in plant.miners.values() if comes(miner.id)}

    def _kept_waiting(self, now_s: float, could_run: Collection[str]) -> Iterator[str]:
        """A job begins once GPUs were raised for it, one after the other."""
        self.waits_s = {job: self.waits_s.get(job, now_s) for job in could_run}
        for job, since_s in self.waits_s.items():
            if now_s - since_s > PROVEN_WITHIN_S:
                yield f"job {job} does not run"

    def _unproven(self, now_s: float, plan: Plan) -> Iterator[str]:
        """A command takes its time; one that is still not proven after `PROVEN_WITHIN_S` is amiss."""
        for name, truth in _truths(plan):
            if truth is Truth.CONFIRMED:
                self.unproven_s.pop(name, None)
            elif now_s - self.unproven_s.setdefault(name, now_s) > PROVEN_WITHIN_S:
                yield f"truth {truth.value} {name}"


def _amiss(plant: Plant, plan: Plan, comes: Collection[str]) -> list[str]:
    """Alarms that stand, machines that do not answer or obey, machines that are not where they should be. Who
    `comes`, with its power back, boots and says nothing yet."""
    found = [
        f"alarm {alarm.kind.value} {alarm.subject}: {alarm.detail}"
        for alarm in plan.alarms
        if alarm.kind is not AlarmKind.DEVICE_SILENT or alarm.subject not in comes
    ]
    for (name, truth), spec, at in zip(
        _truths(plan), plan.grants.specs, plan.grants.at.tolist(), strict=True
    ):
        if truth is not Truth.CONFIRMED:
            boots = truth is Truth.STALE and name in comes
            if not boots and truth not in (Truth.COMMANDED, Truth.ACKNOWLEDGED):
                found.append(f"truth {truth.value} {name}")
            continue
        miner = plant.miners.get(name)
        if miner is None and plant.gpus[name].limit_w != spec.points[at].power.watts:
            found.append(f"limit {name} is {plant.gpus[name].limit_w:.0f} W at {spec.points[at].name}")
        if miner is None or miner.moving:
            continue
        state, point = miner.state, spec.points[at]
        if state is MinerState.REBOOTING or (state is MinerState.DARK and not miner.fed):
            continue  # whose power was taken is given it back later: `Cuts`
        asleep = state is MinerState.ASLEEP
        if asleep != (point.name == SLEEP) and point.name != "on":
            found.append(f"state {name} is {state} at {point.name}")
        elif not asleep and miner.watts > point.power.watts * miner.bias * (1 + POINT_SLACK) + POINT_SLACK_W:
            found.append(f"watts {name} draws {miner.watts:.0f} W at {point.name}")
    return found


def _truths(plan: Plan) -> Iterator[tuple[str, Truth]]:
    for spec, code in zip(plan.grants.specs, plan.grants.truth.tolist(), strict=True):
        yield spec.id, TRUTHS[code]
