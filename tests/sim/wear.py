"""Whether thresholds and least times are kept: no machine is stopped or started for money before its time,
none runs for long what earns less than its owner wants."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from controller.decide.plan import Plan
from controller.domain.site import Prices, Thresholds
from simulators.physics.miner import MinerState
from tests.sim.case import Case
from tests.sim.floor import DERATE_C, ZONE_DERATE_C
from tests.sim.starts import TOLD_S
from tests.sim.thresholds import best_earned, is_for_money

SLACK_S = 45.0
"""Orders are lost and sent again: between two changes may lie so much less than between the two decisions."""
STOPS_S, SURELY_S = 120.0, 60.0
NEAR = 0.0005
"""USD per kWh: so near to a threshold nobody is held to it."""
DOUBTED_S = 300.0
WARM_C = 4.0
RUNS = frozenset({MinerState.HASHING, MinerState.STARTING, MinerState.IDLE})


@dataclass(slots=True)
class _Life:
    """Of one machine: whether it runs and since when, if that is known; when it last had to be stopped by its
    threshold, since when it may surely be started, and since when it surely has to be stopped."""

    runs: bool = False
    since_s: float = math.inf
    by_order: bool = False
    low_s: float = -math.inf
    high_since_s: float = math.inf
    low_since_s: float = math.inf
    amiss_s: float = -math.inf
    """When it last was one that had to be told something else for another reason than money."""
    floor_s: float = -math.inf
    """When it was last meant to stand: whoever finds it running after that may take it as just started."""


class Wear:
    """`told` with every plan, before its orders are sent, `second` once a second. `room` says whether
    there is some for all that a machine may draw at every place above it: then no limit stops it."""

    def __init__(self, case: Case, room: Callable[[str], bool]) -> None:
        self._plant = case.plant
        self._possible = case.possible
        self._doubts = case.doubts
        self._verdict = case.verdict
        self._ordered_s = case.shell.ordered_s
        self._room = room
        self._limits: Thresholds = case.floor.site.policy.profit
        self.is_on = self._limits != Thresholds()
        specs = [spec for spec in case.floor.specs if is_for_money(spec) and self.is_on]
        self._best = {spec.id: best_earned(spec, 1.0) for spec in specs}
        self._lives = {spec.id: _Life() for spec in specs}
        self._began_s = 0.0
        self._steered_s = -math.inf

    def begins(self) -> None:
        """A new process: nobody knows when a machine was started or stopped, or what was said of it."""
        self._began_s = self._plant.now_s
        for life in self._lives.values():
            life.low_s, life.high_since_s, life.low_since_s = -math.inf, math.inf, math.inf
            life.by_order = False

    def told(self, plan: Plan, prices: Prices, usd_per_kwh: float, *, steered: bool, limited: bool) -> None:
        """`steered` by a set-point, everybody may run; while an operator has `limited` the site, machines may
        be stopped for what that pays."""
        now_s = self._plant.now_s
        if steered or limited or not plan.ready:
            self._steered_s = now_s
        for spec, at in zip(plan.grants.specs, plan.grants.at.tolist(), strict=True):
            if at == 0 and spec.id in self._lives:
                self._lives[spec.id].floor_s = now_s
        for name, life in self._lives.items():
            margin = self._best[name] * prices.usd_per_ths_day - usd_per_kwh
            if margin < self._limits.stop_below:
                life.low_s = now_s
            high = margin > self._limits.start_above + NEAR
            low = margin < self._limits.stop_below - NEAR
            life.high_since_s = min(life.high_since_s, now_s) if high else math.inf
            life.low_since_s = min(life.low_since_s, now_s) if low and not steered else math.inf

    def second(self) -> None:
        now_s = self._plant.now_s
        for name, life in self._lives.items():
            state = self._plant.miners[name].state
            if self._is_amiss(name, state):
                life.amiss_s = now_s
            runs = state in RUNS
            if runs != life.runs:
                self._changed(name, life)
                by_order = now_s - self._ordered_s(name) <= TOLD_S
                life.runs, life.since_s, life.by_order = runs, now_s, by_order
            elif runs and self._loses(life) and not self._possible.held_by(name, within_s=STOPS_S):
                self._verdict.note(now_s, "loss", name, dt_s=1.0)

    def rests(self, name: str) -> bool:
        """Whether it is not to be counted on that a machine that stands is started."""
        life = self._lives.get(name)
        if life is None:
            return False
        since_s = max(life.high_since_s, self._began_s + self._limits.least_off_s)
        if not life.runs:
            since_s = max(since_s, life.since_s + self._limits.least_off_s)
        return self._plant.now_s - since_s < SURELY_S

    def _changed(self, name: str, life: _Life) -> None:
        """It runs no more, or runs again, by an order of this process, which gave the last one, too."""
        now_s = self._plant.now_s
        ordered = life.by_order and now_s - self._ordered_s(name) <= TOLD_S
        for_s = now_s - life.since_s
        if not ordered or now_s - life.amiss_s <= DOUBTED_S or now_s - self._steered_s <= max(for_s, SLACK_S):
            return
        if life.runs:
            if for_s < self._limits.least_on_s - SLACK_S and self._room(name):
                self._verdict.note(now_s, "worn", name)
        elif life.since_s < life.low_s and for_s < self._limits.least_off_s - SLACK_S:
            self._verdict.note(now_s, "worn", name)

    def _loses(self, life: _Life) -> bool:
        since_s = max(life.low_since_s, life.since_s + self._limits.least_on_s)
        begun_s = max(self._began_s, life.floor_s)
        since_s = max(since_s, begun_s + self._limits.least_on_s, life.amiss_s)
        return self._plant.now_s - since_s > STOPS_S

    def _is_amiss(self, name: str, state: MinerState) -> bool:
        miner = self._plant.miners[name]
        if state not in RUNS and state is not MinerState.ASLEEP:
            return True
        if state is MinerState.IDLE or self._doubts.within(name, 0.0) or self._possible.held_by(name):
            return True
        zone = miner.zone
        hot = zone is not None and (
            miner.inlet_c >= ZONE_DERATE_C - WARM_C or not self._possible.is_cooled(zone)
        )
        return hot or miner.temperature_c >= DERATE_C - WARM_C
