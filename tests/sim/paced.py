"""How fast a site may come up by its own rules: the ramps of places within it, and how many miners may be
started at once. What lies beyond that nobody could use yet, however much of a limit is free again."""

from __future__ import annotations

import math
from collections.abc import Mapping

from controller.domain.power import Limit
from simulators.plant import Plant
from tests.sim.floor import Floor
from tests.sim.usable import NOTHING, Usable


class Paced:
    """Must be asked every `every_s`. The pace begins anew with each limit of the site, and goes on from there
    whatever the controller makes of it. (The ramp of the site itself is `recovery.Use`'s.)"""

    def __init__(self, floor: Floor, plant: Plant, usable: Usable, every_s: float) -> None:
        self._plant = plant
        self._usable = usable
        self._root = floor.site.root.id
        policy = floor.site.policy
        self._starts = policy.starts_per_tick / policy.tick_s * every_s
        self._rise_w = {
            node.id: node.ramp_up_per_s.power.watts * every_s
            for node in floor.site.nodes[1:]
            if isinstance(node.ramp_up_per_s, Limit)
        }
        self._reach_w: dict[str, float] = dict.fromkeys(self._rise_w, math.inf)
        self._may_start = 0.0

    def most_w(self, cap_w: float, asked_w: Mapping[str, float] = NOTHING) -> float:
        """What the site could draw when it was looked at, as `Usable.most_w`."""
        awake = self._usable.loads(asked_w, starts=0)
        self._may_start = min(self._may_start, awake.to_start) + self._starts
        if self._sum_w(awake.summed()) >= cap_w:
            self._may_start = 0.0
        loads = self._usable.loads(asked_w, starts=int(self._may_start))
        paced_w, whole_w = loads.summed(self._reach_w), loads.summed()
        share = min(1.0, cap_w / max(1.0, self._sum_w(whole_w)))
        for node, rise_w in self._rise_w.items():
            has_w = min(whole_w[node] * share, self._reach_w[node])
            self._reach_w[node] = max(has_w, self._plant.node_power_w(node)) + rise_w
        return min(self._sum_w(paced_w), cap_w)

    def _sum_w(self, loads_w: Mapping[str, float]) -> float:
        return loads_w[self._root]
