"""Whether a place that is to be taken out of service is brought to its lowest in time, and whether it is told
that one has voltage which should have none."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Set

from controller.decide.plan import Plan
from controller.decide.words import AlarmKind
from controller.domain.devices import DeviceSpec
from controller.domain.power import Limit
from tests.sim.case import Case
from tests.sim.maintenance import DRAINED_WITHIN_S

SLACK, SLACK_W = 1.1, 60.0
DOUBTED_S = 60.0
TOLD_S = 60.0
"""A machine boots, is read, and the next plan tells of it."""


class Drain:
    """`look` must be called every few seconds."""

    def __init__(self, case: Case) -> None:
        self._plant = case.plant
        self._doubts = case.doubts
        self._verdict = case.verdict
        self._specs = case.floor.specs
        self._ways = case.ways
        self._slow = {node.id for node in case.floor.site.nodes if isinstance(node.ramp_down_per_s, Limit)}
        self._since_s: dict[str, float] = {}
        self._dark_s: dict[str, float] = {}
        self._told_s = 0.0
        self.isolated: Callable[[], Set[str]] = frozenset
        """The nodes declared to have no voltage."""

    @property
    def closed(self) -> Collection[str]:
        """The places that are not in service."""
        return self._since_s.keys()

    def begins(self, node: str) -> None:
        self._since_s[node] = self._plant.now_s

    def ends(self, node: str) -> None:
        self._since_s.pop(node, None)

    def is_closed(self, node: str) -> bool:
        return any(above in self._since_s for above in self._ways[node])

    def told(self, plan: Plan) -> None:
        """It tells of what has voltage and should have none, or there is nothing of that kind to be told."""
        energised = [alarm.subject for alarm in plan.alarms if alarm.kind is AlarmKind.ENERGISED]
        if energised or not any(map(self._answers, self._dark())):
            self._told_s = self._plant.now_s

    def _dark(self) -> list[DeviceSpec]:
        """The machines that should have no voltage."""
        isolated = self.isolated()
        if not isolated:
            return []
        return [spec for spec in self._specs if not isolated.isdisjoint(self._ways[spec.node])]

    def _answers(self, spec: DeviceSpec) -> bool:
        machine = self._plant.miners.get(spec.id)
        return machine is not None and machine.reachable and not self._doubts.within(spec.id, DOUBTED_S)

    def look(self, *, in_charge: bool) -> None:
        self._dark_s |= {
            name: self._plant.now_s for name, machine in self._plant.machines.items() if not machine.powered
        }
        if not self._since_s or not in_charge:
            return
        if self._plant.now_s - self._told_s > TOLD_S:
            self._verdict.note(self._plant.now_s, "energised", min(self._since_s))
        for spec in self._specs:
            way = self._ways[spec.node]
            since_s = min((self._since_s.get(above, math.inf) for above in way), default=math.inf)
            since_s = max(since_s, self._dark_s.get(spec.id, 0.0))
            late = self._plant.now_s - since_s > DRAINED_WITHIN_S and not self._slow.intersection(way)
            machine = self._plant.machines[spec.id]
            most_w = spec.floor.power.watts * SLACK + SLACK_W
            if late and machine.watts > most_w and not self._doubts.within(spec.id, DOUBTED_S):
                self._verdict.note(self._plant.now_s, "drain", spec.id, machine.watts - most_w)
