"""P3: whether watts that the controller's own orders move keep to the ramp limits of nodes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from controller.domain.power import Limit
from controller.domain.site import Site
from simulators.plant import Plant
from tests.sim.floor import Floor

RAMP_SLACK_S = 15.0
"""Orders travel for up to ten seconds, and ramp room may be saved for five: that much may come at once."""


class Ramp:
    """P3 at one node, in one direction: the watts that orders have moved below it, however long they took.

    It fills like a bucket: the limit's watts with every second, up to those of orders that were on their way
    and of one machine. What machines do by themselves (a boot, a pool that returns, a job that ends) is
    nobody's ramp.
    """

    def __init__(self, floor: Floor, plant: Plant, limit: RampLimit) -> None:
        self.node = limit.node
        self._per_s_w = limit.per_s_w
        self._sign = -1.0 if limit.down else 1.0
        largest_w = max(spec.points[-1].power.watts for spec in floor.specs) * 1.2
        self._room_w = self._most_w = limit.per_s_w * RAMP_SLACK_S + largest_w
        self._machines = [
            machine
            for machine in (*plant.miners.values(), *plant.gpus.values())
            if limit.node in _way_up(floor.site, machine.node)
        ]
        self._before_w = {machine.id: machine.watts for machine in self._machines}

    def second(self, orders: Collection[str]) -> float:
        """By how many watts the limit is passed now."""
        before_w, moved_w = self._before_w, 0.0
        for machine in self._machines:
            watts = machine.watts
            if watts != before_w[machine.id]:
                if machine.id in orders:
                    moved_w += self._sign * (watts - before_w[machine.id])
                before_w[machine.id] = watts
        self._room_w = min(self._most_w, self._room_w + self._per_s_w - moved_w)
        return max(0.0, -self._room_w)


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


def _way_up(site: Site, node: str) -> list[str]:
    parents = {place.id: place.parent for place in site.nodes}
    way = [node]
    while (above := parents[way[-1]]) is not None:
        way.append(above)
    return way
