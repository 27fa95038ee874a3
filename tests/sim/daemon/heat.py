"""Whether machines are brought down for their heat, and who is to blame where one trips for it."""

from __future__ import annotations

from math import inf
from typing import Protocol

from simulators.physics.gpu import Gpu
from simulators.physics.miner import Miner
from simulators.plant import Plant
from tests.sim.daemon.fittings import DERATE_C, TRIP_C, ZONE_DERATE_C, ZONE_TRIP_C
from tests.sim.daemon.memory import Network

SENSORS_HOST = "127.0.0.1"
GPU_DERATE_C = 8.0
"""A GPU derates from so far below its own slowdown on."""
TOLD_S = 45.0
"""Heat is read, an order sent, and carried out; and sent again to who was silent or refused a moment ago."""
ROUND_C, SLACK, SLACK_W = 1.0, 0.06, 100.0
"""Firmware tells whole degrees; a machine may draw so much beyond its point."""
PROOF_S, PROOF_LASTS_S = 4.0, 60.0
"""Until it is known that fans stand still, and what was sent before has arrived; and for how long a sensor
that says nothing more is believed."""


class Reach(Protocol):
    """Whether an order sent to a machine now would get there and be carried out."""

    def __call__(self, miner: Miner, /) -> bool: ...


class Heat:
    """`look` every `step_s`, and `told` of every order; `found` is what was wrong, in words. A machine that
    could be told for `TOLD_S` and draws more than its heat allows has no excuse, nor if it then trips."""

    def __init__(self, plant: Plant, network: Network, obeys: Reach, step_s: float) -> None:
        self.found: list[str] = []
        self._plant = plant
        self._network = network
        self._obeys = obeys
        self._step_s = step_s
        self._away_s = dict.fromkeys(plant.machines, 0.0)
        self._over_s = dict.fromkeys(plant.machines, 0.0)
        self._trips = dict.fromkeys(plant.machines, 0)
        self._hot: set[str] = set()
        """Who was so hot that it may have been lowered for it."""
        self._told_s = dict.fromkeys(plant.zones, 0.0)
        self._said_proven = dict.fromkeys(plant.zones, True)
        self._proven_s = dict.fromkeys(plant.zones, 0.0)
        """When fans were last known to run, as far as anybody can know."""

    def look(self, now_s: float, *, in_charge: bool) -> None:
        if not self._plant.zones:
            return
        shares = {name: self._share_of(name) for name in self._plant.zones}
        for name, zone in self._plant.zones.items():
            if self._is_told(name):
                self._told_s[name] = now_s
                self._said_proven[name] = zone.fans_proven
            if self._said_proven[name] and now_s - self._told_s[name] <= PROOF_LASTS_S:
                self._proven_s[name] = now_s
        for machine in self._plant.machines.values():
            if not in_charge or not self._is_known(machine):
                self._away_s[machine.id] = now_s
            is_excused = now_s - self._away_s[machine.id] < TOLD_S
            is_over = machine.watts > self._allowed_w(machine, shares) * (1 + SLACK) + SLACK_W
            self._over_s[machine.id] = self._over_s[machine.id] + self._step_s if is_over else 0.0
            if machine.trips > self._trips[machine.id] and not is_excused:
                self.found.append(f"{machine.id} tripped for its heat at {now_s:.1f} s")
            self._trips[machine.id] = machine.trips
            if isinstance(machine, Miner) and machine.temperature_c >= DERATE_C - ROUND_C:
                self._hot.add(machine.id)
            if self._over_s[machine.id] > TOLD_S and not is_excused:
                self.found.append(f"{machine.id} was left in its heat until {now_s:.1f} s")
                self._over_s[machine.id] = -inf

    def told(self, name: str, watts: float, now_s: float) -> None:
        """A controller is about to tell a machine to draw so much at most."""
        machine = self._plant.miners.get(name)
        if machine is None or machine.zone is None:
            return
        # What its firmware has in force by now: what it was told while it booted never came to it.
        before_w = machine.group.standby_w if machine.said_asleep else machine.said_setting_w
        if watts > before_w * (1 + SLACK) + SLACK_W:
            still_s = now_s - self._proven_s[machine.zone]
            if still_s > PROOF_S:
                self.found.append(
                    f"{name} was raised at {now_s:.1f} s, its fans not proven for {still_s:.1f} s"
                )

    @property
    def kept_w(self) -> float:
        """What those that were hot draw less than they may. Asleep firmware tells no temperature, and at work
        they are cooler: both are taken to be as hot for longer than these worlds last."""
        miners = (self._plant.miners[name] for name in self._hot)
        return sum(max(0.0, miner.rated_w - miner.watts) for miner in miners)

    def _is_known(self, machine: Miner | Gpu) -> bool:
        """Whether its heat can be known, and it can be told."""
        if isinstance(machine, Gpu):
            return machine.powered and not machine.faults.lost and not machine.faults.lies_about_limit
        return self._obeys(machine) and not machine.faults.frozen_reads

    def _share_of(self, zone: str) -> float:
        """What a zone's heat takes of its machines' range, while that is told."""
        inlet_c = self._plant.zones[zone].inlet_c
        return _share(inlet_c, ZONE_DERATE_C, ZONE_TRIP_C) if self._is_told(zone) else 0.0

    def _is_told(self, zone: str) -> bool:
        weather = self._network.over(SENSORS_HOST)
        return not (self._plant.zones[zone].faults.sensor_dead or weather.dark or weather.slow_s)

    def _allowed_w(self, machine: Miner | Gpu, shares: dict[str, float]) -> float:
        if isinstance(machine, Gpu):
            trip_c = machine.group.slowdown_c
            low_w, own = machine.group.min_w, _share(machine.temperature_c, trip_c - GPU_DERATE_C, trip_c)
        else:
            low_w, own = machine.group.standby_w, _share(machine.temperature_c, DERATE_C, TRIP_C)
        zone = 0.0 if machine.zone is None else shares[machine.zone]
        return low_w + (machine.rated_w - low_w) * (1 - max(own, zone))


def _share(value_c: float, derate_c: float, trip_c: float) -> float:
    return min(1.0, max(0.0, (value_c - ROUND_C - derate_c) / (trip_c - derate_c)))
