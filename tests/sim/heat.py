"""P2: whether machines are brought down for heat as they must be, and who is to blame where one trips."""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.domain.devices import DeviceSpec
from simulators.physics.gpu import Gpu
from simulators.physics.miner import Miner
from tests.sim.case import Case
from tests.sim.floor import DERATE_C, TRIP_C, ZONE_DERATE_C, ZONE_TRIP_C

GPU_DERATE_C = 8.0
"""A GPU derates from so far below its own slowdown on."""
OBEYS_S = 60.0
"""Heat is read, an order sent, and again if it was lost."""
ROUND_C, SLACK, SLACK_W = 1.0, 0.06, 100.0
"""Firmware tells whole degrees; a machine may draw so much beyond its point."""


class Heat:
    """`look` must be called every `every_s`. Of a machine that draws more than its heat allows although it
    could be told, nothing is excused: neither that it does so for long, nor that it trips."""

    def __init__(self, case: Case, every_s: float) -> None:
        self._plant = case.plant
        self._possible = case.possible
        self._doubts = case.doubts
        self._verdict = case.verdict
        self._every_s = every_s
        machines = case.plant.machines
        self._all = [_range_of(machine, case.specs[name]) for name, machine in machines.items()]
        self._trips = dict.fromkeys(machines, 0)
        self._over_s: dict[str, float] = {}
        """For how long each machine that could be told has drawn more than its heat allows."""

    def look(self, *, in_charge: bool) -> None:
        zones = self._shares_of_zones()
        left_w = {name: self._left_w(name, share) for name, share in zones.items()}
        for own in self._all:
            machine = own.machine
            is_within = own.draws_at_most(_share(machine.temperature_c, own.derate_c, own.trip_c))
            is_within &= own.draws_at_most(zones[machine.zone]) or left_w[machine.zone] >= 0
            if not is_within or machine.trips > self._trips[machine.id]:
                self._judge(machine, is_within=is_within, in_charge=in_charge)
            else:
                self._over_s.pop(machine.id, None)

    def _judge(self, machine: Miner | Gpu, *, is_within: bool, in_charge: bool) -> None:
        now_s, name = self._plant.now_s, machine.id
        over_s = self._over_s.get(name, 0.0)
        excuse = self._excuse(name) or ("" if in_charge else "nobody in charge")
        if machine.trips > self._trips[name]:
            self._trips[name] = machine.trips
            self._verdict.note(now_s, "heat", name, excuse="" if over_s > OBEYS_S / 2 else excuse)
        if is_within:
            self._over_s.pop(name, None)
        elif not excuse:
            self._over_s[name] = over_s + self._every_s
            if self._over_s[name] > OBEYS_S:
                self._verdict.note(now_s, "hot", name)

    def _left_w(self, zone: str | None, share: float) -> float:
        """What the heat of a zone leaves to the machines there that can be told, beyond what they draw: one
        that is only on or off may run for others that do not, whether those can be told or not."""
        if share == 0:
            return math.inf
        left_w = {
            own.machine.id: own.most_w(share) * (1 + SLACK) - own.machine.watts
            for own in self._all
            if own.machine.zone == zone
        }
        return sum(watts for name, watts in left_w.items() if watts > 0 or not self._excuse(name))

    def _excuse(self, name: str) -> str:
        """Why it cannot be brought down, or nobody can know that it must."""
        held_by = self._possible.held_up_by(name)
        return held_by or ("doubtful" if self._doubts.within(name, OBEYS_S) else "")

    def _shares_of_zones(self) -> dict[str | None, float]:
        """What each zone's heat takes of its machines' range, while that is told; of no zone, nothing."""
        shares: dict[str | None, float] = {None: 0.0}
        for name, zone in self._plant.zones.items():
            is_told = self._possible.is_told(name)
            shares[name] = _share(zone.inlet_c, ZONE_DERATE_C, ZONE_TRIP_C) if is_told else 0.0
        return shares


@dataclass(frozen=True, slots=True)
class _Range:
    """What a machine draws at least and at most, and between which degrees heat takes that range of it."""

    machine: Miner | Gpu
    derate_c: float
    trip_c: float
    lowest_w: int
    highest_w: int

    def most_w(self, share: float) -> float:
        """What it may draw where so much of its range is taken."""
        return self.lowest_w + (self.highest_w - self.lowest_w) * (1 - share)

    def draws_at_most(self, share: float) -> bool:
        return self.machine.watts <= self.most_w(share) * (1 + SLACK) + SLACK_W


def _range_of(machine: Miner | Gpu, spec: DeviceSpec) -> _Range:
    derate_c, trip_c = DERATE_C, TRIP_C
    if isinstance(machine, Gpu):
        derate_c, trip_c = machine.group.slowdown_c - GPU_DERATE_C, machine.group.slowdown_c
    return _Range(machine, derate_c, trip_c, spec.floor.power.watts, spec.points[-1].power.watts)


def _share(value_c: float, derate_c: float, trip_c: float) -> float:
    return min(1.0, max(0.0, (value_c - ROUND_C - derate_c) / (trip_c - derate_c)))
