"""P2: whether machines are brought down for heat as they must be, and who is to blame where one trips."""

from __future__ import annotations

from controller.domain.devices import DeviceSpec
from simulators.physics.gpu import Gpu
from simulators.physics.miner import Miner
from simulators.plant import Plant
from tests.sim.doubts import Doubts
from tests.sim.floor import DERATE_C, TRIP_C, ZONE_DERATE_C, ZONE_TRIP_C, Floor
from tests.sim.possible import Possible
from tests.sim.verdict import Verdict

GPU_DERATE_C = 8.0
"""A GPU derates from so far below its own slowdown on."""
OBEYS_S = 60.0
"""Heat is read, an order sent, and again if it was lost."""
ROUND_C, SLACK, SLACK_W = 1.0, 0.06, 100.0
"""Firmware tells whole degrees; a machine may draw so much beyond its point."""


class Heat:
    """`look` must be called every `every_s`. Of a machine that draws more than its heat allows although it
    could be told, nothing is excused: neither that it does so for long, nor that it trips."""

    def __init__(
        self,
        floor: Floor,
        plant: Plant,
        possible: Possible,
        doubts: Doubts,
        verdict: Verdict,
        every_s: float,
    ) -> None:
        self._plant = plant
        self._possible = possible
        self._doubts = doubts
        self._verdict = verdict
        self._every_s = every_s
        self._specs = {spec.id: spec for spec in floor.specs}
        self._trips = dict.fromkeys(plant.machines, 0)
        self._over_s: dict[str, float] = {}
        """For how long each machine that could be told has drawn more than its heat allows."""

    def look(self, *, in_charge: bool) -> None:
        now_s = self._plant.now_s
        for name, machine in self._plant.machines.items():
            over_s = self._over_s.get(name, 0.0)
            excuse = self._excuse(name) or ("" if in_charge else "nobody in charge")
            if machine.trips > self._trips[name]:
                self._trips[name] = machine.trips
                self._verdict.note(now_s, "heat", name, excuse="" if over_s > OBEYS_S / 2 else excuse)
            if machine.watts <= self._allowed_w(self._specs[name], machine):
                self._over_s.pop(name, None)
            elif not excuse:
                self._over_s[name] = over_s + self._every_s
                if self._over_s[name] > OBEYS_S:
                    self._verdict.note(now_s, "hot", name)

    def _excuse(self, name: str) -> str:
        """Why it cannot be brought down, or nobody can know that it must."""
        held_by = self._possible.held_up_by(name)
        return held_by or ("doubtful" if self._doubts.within(name, OBEYS_S) else "")

    def _allowed_w(self, spec: DeviceSpec, machine: Miner | Gpu) -> float:
        """The most that it may draw at its heat, or at that of its zone while that is told."""
        if isinstance(machine, Gpu):
            trip_c = machine.group.slowdown_c
            share = _share(machine.temperature_c, trip_c - GPU_DERATE_C, trip_c)
        else:
            share = _share(machine.temperature_c, DERATE_C, TRIP_C)
        if machine.zone is not None and self._possible.is_told(machine.zone):
            share = max(share, _share(self._plant.zones[machine.zone].inlet_c, ZONE_DERATE_C, ZONE_TRIP_C))
        lowest_w, highest_w = spec.floor.power.watts, spec.points[-1].power.watts
        return (lowest_w + (highest_w - lowest_w) * (1 - share)) * (1 + SLACK) + SLACK_W


def _share(value_c: float, derate_c: float, trip_c: float) -> float:
    return min(1.0, max(0.0, (value_c - ROUND_C - derate_c) / (trip_c - derate_c)))
