"""P3: whether watts that the controller's own orders move keep to the ramp limits of nodes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from controller.domain.power import Limit
from controller.domain.site import Site
from simulators.physics.gpu import Gpu
from simulators.physics.miner import Miner
from tests.sim.case import Case
from tests.sim.floor import DERATE_C, ZONE_DERATE_C

RAMP_SLACK_S = 15.0
"""Orders travel for up to ten seconds, and ramp room may be saved for five: that much may come at once."""
PRESSED_S = 25.0
"""An order that a limit asked for is sent within two ticks, and is carried out within so long."""
PRESSING_S = 60.0
"""What was doubtful so short a time ago, others may still have to come down for."""
CAPPED_W = 1.0
WARM_C = 2.0
SURE, LOAD_WAVERS = 0.97, 1.1
"""Of a limit a share is kept free, and other load may count at more than it is."""


class Ramps:
    """All of them. Once a second, where there are any."""

    def __init__(self, case: Case, pressing: Pressing) -> None:
        self._plant = case.plant
        self._verdict = case.verdict
        self._all = [Ramp(case, limit, pressing.below) for limit in ramp_limits(case.floor.site)]

    def __bool__(self) -> bool:
        return bool(self._all)

    def second(self, orders: Collection[str], *, judged: bool, in_charge: bool) -> None:
        """`orders` are the machines that move because they were told. A controller that has just come to be
        `in_charge` does not know how far a ramp down has come."""
        for ramp in self._all:
            over_w = ramp.second(orders)
            if ramp.down and not in_charge:
                ramp.forgive()
            elif over_w > 0 and judged:
                what = "ramp down" if ramp.down else "ramp"
                self._verdict.note(self._plant.now_s, what, ramp.node, over_w, dt_s=1.0)


class Ramp:
    """P3 at one node, in one direction: the watts that orders have moved below it, however long they took.

    It fills like a bucket: the limit's watts with every second, up to those of orders that were on their way
    and of one machine. What machines do by themselves (a boot, a pool that returns, a job that ends) is
    nobody's ramp, also where it meets an order to come down. A ramp down gives way to limits in force:
    `pressing_w` is what they ask for at once.
    """

    def __init__(self, case: Case, limit: RampLimit, pressing_w: Callable[[str], float]) -> None:
        self.node = limit.node
        self.down = limit.down
        self._per_s_w = limit.per_s_w
        self._pressing_w = pressing_w
        self._lowered = case.shell.was_lowered
        self._pressed: deque[float] = deque([0.0], maxlen=round(PRESSED_S))
        largest_w = max(spec.points[-1].power.watts for spec in case.floor.specs) * 1.2
        self._room_w = self._most_w = limit.per_s_w * RAMP_SLACK_S + largest_w
        self._machines = case.possible.machines_below[limit.node]
        self._before_w = {machine.id: machine.watts for machine in self._machines}

    def second(self, orders: Collection[str]) -> float:
        """By how many watts the limit is passed now."""
        before_w, moved_w = self._before_w, 0.0
        for machine in self._machines:
            watts = machine.watts
            if watts != before_w[machine.id]:
                if machine.id in orders and not self._moves_by_itself(machine, before_w[machine.id]):
                    moved_w += watts - before_w[machine.id]
                before_w[machine.id] = watts
        self._room_w += self._per_s_w + (moved_w if self.down else -moved_w)
        self._room_w = min(self._most_w, self._room_w)
        if not self.down:
            return max(0.0, -self._room_w)
        self._pressed.append(self._pressing_w(self.node))
        over_w = max(0.0, -self._room_w - max(self._pressed))
        self._room_w = max(self._room_w, -over_w)  # what a limit asked for is not owed to the ramp
        return over_w

    def _moves_by_itself(self, machine: Miner | Gpu, before_w: float) -> bool:
        if self.down:
            return _fell_by_itself(machine, before_w)
        return machine.watts > before_w and self._lowered(machine.id)

    def forgive(self) -> None:
        """Nobody knows how far it has come."""
        self._room_w = self._most_w


def _fell_by_itself(machine: Miner | Gpu, before_w: float) -> bool:
    """Without power, or a GPU whose work asks for less than it may draw."""
    if not machine.powered:
        return True
    return isinstance(machine, Gpu) and machine.watts < min(before_w, machine.cap_w - CAPPED_W)


@dataclass(frozen=True, slots=True)
class RampLimit:
    node: str
    per_s_w: float
    down: bool = False


def ramp_limits(site: Site) -> list[RampLimit]:
    found: list[RampLimit] = []
    for node in site.nodes:
        for bound, down in ((node.ramp_up_per_s, False), (node.ramp_down_per_s, True)):
            if isinstance(bound, Limit):
                found.append(RampLimit(node.id, float(bound.power.watts), down))
    return found


class Pressing:
    """What heat and limits in force ask for at once below a node, at worst: whoever cannot be trusted draws
    its most.

    `limit_w` is what each node may carry at this moment.
    """

    def __init__(self, case: Case, limit_w: Callable[[str], float]) -> None:
        self._plant = case.plant
        self._most_told_w = case.shell.most_told_w
        self._doubts = case.doubts
        self._limit_w = limit_w
        self._specs = case.specs
        self._ways = case.ways
        self._at_s = -math.inf
        self._excess_w: dict[str, float] = {}

    def below(self, node: str) -> float:
        """Of all nodes that share machines with it."""
        if self._plant.now_s != self._at_s:
            self._at_s, self._excess_w = self._plant.now_s, self._reckoned()
        return sum(
            watts
            for other, watts in self._excess_w.items()
            if node in self._ways[other] or other in self._ways[node]
        )

    def _reckoned(self) -> dict[str, float]:
        worst_w = dict.fromkeys(self._ways, 0.0)
        hot_w = dict.fromkeys(self._ways, 0.0)
        for name, spec in self._specs.items():
            machine = self._plant.machines[name]
            watts = max(machine.watts, self._most_told_w(name))
            if self._doubts.within(name, PRESSING_S):
                watts = max(watts, float(spec.ceiling.watts))
            if self._is_hot(machine):
                hot_w[spec.node] += watts
            for node in self._ways[spec.node]:
                worst_w[node] += watts
        for node, place in self._plant.nodes.items():
            for above in self._ways[node]:
                worst_w[above] += place.load_w * LOAD_WAVERS
        return {
            node: hot_w[node] + max(0.0, watts - SURE * self._limit_w(node))
            for node, watts in worst_w.items()
        }

    def _is_hot(self, machine: Miner | Gpu) -> bool:
        """Heat waits for no ramp."""
        if machine.temperature_c >= DERATE_C - WARM_C:
            return True
        return machine.zone is not None and machine.inlet_c >= ZONE_DERATE_C - WARM_C
