"""Cooling zones: inlet air that warms with the heat in the zone, far more so when the fans stand still."""

from __future__ import annotations

from simulators.config import ZoneConfig
from simulators.physics.faults import ZoneFaults
from simulators.physics.machine import NEAR_C, Machine, approach


class Zone:
    __slots__ = ("config", "faults", "id", "inlet_c", "machines", "rated_w")

    def __init__(self, config: ZoneConfig, machines: list[Machine]) -> None:
        self.config = config
        self.id = config.id
        self.faults = ZoneFaults()
        self.machines = machines
        self.rated_w = sum(machine.rated_w for machine in machines)
        self.inlet_c = self._target_c()

    @property
    def fans_proven(self) -> bool:
        return not self.faults.fans_stopped

    @property
    def coolant_c(self) -> float:
        """What the plant supplies to the zone."""
        return self.config.supply_c + self.faults.supply_offset_c

    def warm(self, dt_s: float) -> None:
        self.inlet_c = approach(self.inlet_c, self._target_c(), dt_s, self.config.settle_s, NEAR_C)

    def _target_c(self) -> float:
        heat = sum(machine.watts for machine in self.machines) / self.rated_w if self.rated_w else 0.0
        rise_c = self.config.rise_fans_stopped_c if self.faults.fans_stopped else self.config.rise_c
        return self.coolant_c + rise_c * heat
