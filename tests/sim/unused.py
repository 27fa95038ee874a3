"""Whether watts are left unused without need: what the site surely could have drawn for minutes, it draws.

What may hold watts back is counted in watts, machine by machine and place by place, so that trouble with one
machine excuses what that machine costs and nothing else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from controller.decide.doubt import GIVEN_UP_S, IDLE_REST_S
from controller.domain.devices import DeviceKind, DeviceSpec
from controller.domain.power import Limit
from controller.domain.site import Prices
from simulators.physics.gpu import Gpu
from simulators.physics.miner import Miner, MinerState
from tests.sim.case import Case
from tests.sim.floor import DERATE_C, ZONE_DERATE_C
from tests.sim.recovery import LOOK_EVERY_S, ONE_STEP_W
from tests.sim.usable import LOOKED_S, STUCK

ENOUGH, MET = 0.96, 0.95
"""Of what is surely to be had so much is used, of a set-point as much: margins take a percent at each node of
a way, and a set-point has none."""
SURE = 0.97
"""Of a limit so much is left by margins, and by what a meter shows too much."""
REACHED_S = 240.0
"""A machine dwells, is told, told again, and starts in so long; also for what others lost by themselves."""
STARTS_S = 120.0
"""Of that time so much passes before what a ramp up allowed first is drawn."""
LASTS_S = 60.0
"""Low for a moment is a site in which one machine is exchanged for a better one."""
DOUBTED_S = 300.0
"""What a machine or a meter was thought to carry while it could not be trusted is forgotten slowly."""
SILENT_S, HOT_S, SPARE_S = 300.0, 660.0, 60.0
"""How long a machine that was silent, or hot, is not counted on; beyond all times so much for orders."""
WARM_C = 4.0
LOAD_WAVERS = 0.15
"""Other load may draw so much more than its mean."""
NETWORK_SHARE = 0.7
"""Of the share of silent machines from which on nothing is raised at all."""
SOON_S, RAMPED_SOON_S = 60.0, 300.0
"""So long before a limit a site may go down for it; longer where ramps hold it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What may be drawn by the word of operators, the lowest of now and of soon; places within by `at_w`. A
    set-point asks for the draw itself, and nothing is kept free below it."""

    limit_w: float
    target_w: float
    at_w: Mapping[str, float]


class Unused:
    """`look` must be called every `LOOK_EVERY_S`."""

    def __init__(self, case: Case) -> None:
        floor = case.floor
        self._case = case
        self._plant = case.plant
        self._possible = case.possible
        self._doubts = case.doubts
        self._usable = case.usable
        self._verdict = case.verdict
        self._hot_c = {spec.id: _hot_c(spec) for spec in floor.specs}
        self._root = floor.site.root.id
        self._ways = case.ways
        with_miners = {node for miner in case.plant.miners.values() for node in self._ways[miner.node]}
        self._metered = {node.id for node in floor.site.nodes if node.meter is not None} & with_miners
        self._suspect = NETWORK_SHARE * floor.site.policy.network_fault_share * len(floor.specs)
        self._until_s: dict[str, float] = {}
        """Until when each machine is not counted on."""
        self._kept_s: dict[str, float] = {}
        """Until when watts are kept free for it."""
        self._drew_w: dict[str, float] = {}
        self._lately_w: dict[str, deque[float]] = {}
        """What each machine drew that is stuck, hot, or at a place that is limited: since that is so, and
        just before."""
        self._looks = round(REACHED_S / LOOK_EVERY_S)
        self._sure_w: deque[float] = deque(maxlen=self._looks)
        self._drawn_w: deque[float] = deque(maxlen=self._looks)
        """What was drawn at the same moments."""
        ramp = floor.site.root.ramp_up_per_s
        self._risen_w = ramp.power.watts * (REACHED_S - STARTS_S) if isinstance(ramp, Limit) else math.inf
        self._draws_w: deque[float] = deque(maxlen=round(LASTS_S / LOOK_EVERY_S))
        ramped = any(
            isinstance(ramp, Limit)
            for node in floor.site.nodes
            for ramp in (node.ramp_up_per_s, node.ramp_down_per_s)
        )
        self._prices: tuple[float | None, Prices] | None = None
        self.soon_s = RAMPED_SOON_S if ramped else SOON_S
        self.is_network_suspect = False
        """Whether so many machines are silent that nothing may be raised at all."""

    def hears(self, usd_per_kwh: float | None, prices: Prices, limit_w: float) -> None:
        """What events ask for energy, the prices in force, and what the site may draw, twice a second: what
        holds for a single second stops machines, and they have to start again."""
        if (usd_per_kwh, prices) != self._prices or limit_w < self._plant.site_power_w:
            self._prices = usd_per_kwh, prices
            self._sure_w.clear()

    def look(self, demand: Demand, *, in_charge: bool) -> None:
        """Right after `Usable.look`."""
        now_s, draw_w = self._plant.now_s, self._plant.site_power_w
        self.is_network_suspect = self._note_troubles() >= self._suspect
        self._note_losses(demand.at_w)
        if not in_charge or self.is_network_suspect:
            self._sure_w.clear()
            self._draws_w.clear()
            return
        if not self._sure_w:
            self._drawn_w.clear()
        self._sure_w.append(self.surely_w(demand))
        self._drawn_w.append(draw_w)
        self._draws_w.append(draw_w)
        if len(self._sure_w) < self._looks:
            return
        had_w = max(draw_w, fmean(self._draws_w)) + self._lost_w()
        lacking_w = min(*self._sure_w, self._drawn_w[0] + self._risen_w) - ONE_STEP_W - had_w
        if lacking_w > 0:
            self._verdict.note(now_s, "unused", self._root, lacking_w, dt_s=LOOK_EVERY_S)

    def surely_w(self, demand: Demand) -> float:
        """What the site surely can draw, as its machines were when they were looked at."""
        at_w = {node: SURE * watts for node, watts in self._usable.limits_w.items()}
        for node, watts in demand.at_w.items():
            at_w[node] = min(at_w[node], SURE * watts)
        for node in at_w:
            if self._doubts.within(node, DOUBTED_S):
                at_w[node] *= SURE
        hard_w = self._usable.most_w(SURE * demand.limit_w, at_w, self._kept_w())
        return min(ENOUGH * hard_w, MET * demand.target_w)

    def _kept_w(self) -> dict[str, float]:
        """What is kept free of machines that are not counted on, of GPUs below limits, of other load."""
        now_s = self._plant.now_s
        kept = {name: LOAD_WAVERS * node.load_w for name, node in self._plant.nodes.items()}
        for name, machine in self._plant.machines.items():
            if now_s <= self._until_s.get(name, -math.inf):
                is_kept = now_s <= self._kept_s.get(name, -math.inf)
                kept[name] = max(0.0, self._case.worst_w(name) - machine.watts) if is_kept else 0.0
            elif isinstance(machine, Gpu):
                limit_w = machine.limit_w if machine.working else machine.group.min_w
                kept[machine.node] += max(0.0, limit_w - machine.watts)
        return kept

    def _note_losses(self, at_w: Mapping[str, float]) -> None:
        for name, machine in self._plant.machines.items():
            stuck = isinstance(machine, Miner) and machine.state in STUCK
            if stuck or self._is_hot(machine) or not at_w.keys().isdisjoint(self._ways[machine.node]):
                before_w = self._drew_w.get(name, machine.watts)
                lately_w = self._lately_w.setdefault(name, deque([before_w], maxlen=1 + self._looks))
                lately_w.append(machine.watts)
            else:
                self._lately_w.pop(name, None)
            self._drew_w[name] = machine.watts

    def _lost_w(self) -> float:
        """What others have not had the time yet to draw in the place of machines that stopped by themselves,
        or had to go down."""
        return sum(max(lately_w) - lately_w[-1] for lately_w in self._lately_w.values())

    def _note_troubles(self) -> int:
        """How many machines are silent now."""
        now_s, silent = self._plant.now_s, 0
        for name, machine in self._plant.machines.items():
            held_by = self._possible.held_by(name, within_s=LOOKED_S)
            lasts_s = self._lasts_s(name, machine, held_by)
            if lasts_s:
                self._until_s[name] = max(self._until_s.get(name, 0.0), now_s + lasts_s)
            if lasts_s and lasts_s != HOT_S:
                self._kept_s[name] = now_s + SPARE_S
            silent += held_by == "silent" and not self._is_shown_dark(machine)
        return silent

    def _is_shown_dark(self, machine: Miner | Gpu) -> bool:
        """Whether a working meter of a place above it shows that there is no voltage."""
        return any(
            not self._plant.nodes[node].live
            and node in self._metered
            and not self._doubts.within(node, LOOKED_S)
            for node in self._ways[machine.node]
        )

    def _lasts_s(self, name: str, machine: Miner | Gpu, held_by: str) -> float:
        """How long from now on it is not to be counted on that a machine goes up, which is `held_by` that."""
        if held_by and held_by != "silent":
            return GIVEN_UP_S + SPARE_S
        if self._is_hot(machine):
            return HOT_S
        if isinstance(machine, Miner):
            if machine.state is MinerState.TRIPPED or machine.faults.lies_about_resume:
                return GIVEN_UP_S + SPARE_S
            if machine.state is MinerState.IDLE:
                return IDLE_REST_S + SPARE_S
        return SILENT_S if held_by or self._doubts.within(name, LOOKED_S) else 0.0

    def _is_hot(self, machine: Miner | Gpu) -> bool:
        if machine.temperature_c >= self._hot_c[machine.id]:
            return True
        zone = machine.zone
        if zone is None:
            return False
        return machine.inlet_c >= ZONE_DERATE_C - WARM_C or not self._possible.is_cooled(zone)


def _hot_c(spec: DeviceSpec) -> float:
    """From which temperature on it is not to be counted on that a machine goes up."""
    derate_c = spec.thermal.derate_c if spec.thermal is not None else DERATE_C
    return derate_c - WARM_C if spec.kind is DeviceKind.ASIC else derate_c
