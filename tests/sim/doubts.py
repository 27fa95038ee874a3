"""Whom a careful controller has had reason not to trust of late, so that it counts them at their worst."""

from __future__ import annotations

import math
from collections.abc import Iterable

from simulators.plant import Plant
from tests.sim.floor import Floor
from tests.sim.possible import Possible
from tests.sim.shell import Shell

KILOWATTS = 0.001
FAILED_S = 30.0
"""An order that failed, or came late, leaves so long in doubt what a machine does."""


class Doubts:
    """`look` must be called every few seconds. Nodes are in doubt by their meters."""

    def __init__(self, floor: Floor, plant: Plant, possible: Possible, shell: Shell) -> None:
        self._plant = plant
        self._possible = possible
        self._shell = shell
        self._stale_s = {spec.id: spec.stale_after_s for spec in floor.specs}
        self._at_s: dict[str, float] = {}

    def look(self) -> None:
        self._at_s |= dict.fromkeys(self._found(), self._plant.now_s)

    def within(self, name: str, last_s: float) -> bool:
        return self._plant.now_s - self._at_s.get(name, -math.inf) <= last_s

    def is_stale(self, name: str) -> bool:
        """Whether nothing was heard of a machine for so long that it counts as silent."""
        sample = self._shell.heard.readings.get(name)
        return sample is None or self._plant.now_s - sample.at_s > self._stale_s[name]

    def _found(self) -> Iterable[str]:
        now_s = self._plant.now_s
        unsure_s = (self._shell.failed_s, self._shell.late_s)
        for name in self._stale_s:
            is_unsure = any(now_s - at_s.get(name, -math.inf) <= FAILED_S for at_s in unsure_s)
            if self.is_stale(name) or is_unsure or self._possible.held_by(name) or self.misreports(name):
                yield name
        for meter in self._plant.meters.values():
            faults = meter.faults
            if faults.dead or faults.frozen_reads or faults.reported_power_factor != 1:
                yield meter.node.id

    def misreports(self, name: str) -> bool:
        """Whether what it says is not so, or what its outlet says of another machine. A board that tells
        kilowatts for watts says what cannot be: that is known."""
        faults = self._plant.machines[name].faults
        known = () if name in self._plant.miners else (KILOWATTS,)
        if self._shell.is_crossed(name):
            return True
        return faults.frozen_reads or faults.reported_power_factor not in (1.0, *known)
