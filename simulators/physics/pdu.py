"""A rack PDU: outlets that feed machines, each with a relay of its own."""

from __future__ import annotations

from collections.abc import Mapping

from simulators.config import PduConfig
from simulators.physics.faults import PduFaults
from simulators.physics.machine import Machine


class Pdu:
    """`machines` are by outlet number, until cords are plugged in elsewhere. What a relay was last told is
    not always what it does."""

    __slots__ = ("_told_closed", "config", "faults", "id", "machines", "orders")

    def __init__(self, config: PduConfig, machines: Mapping[int, Machine]) -> None:
        self.config = config
        self.id = config.id
        self.machines = dict(machines)
        self.faults = PduFaults()
        self.orders = 0
        self._told_closed = dict.fromkeys(machines, True)

    def order(self, outlet: int, *, closed: bool) -> None:
        """The order is taken, and told as done; its relay has yet to act."""
        self.orders += 1
        if not self.faults.ignores_orders:
            self._told_closed[outlet] = closed

    def act(self, outlet: int) -> None:
        """As it was last told; a welded relay stays closed, and one that ignores its orders as it was."""
        self.machines[outlet].fed = self._told_closed[outlet] or self.faults.welded

    def says_closed(self, outlet: int) -> bool:
        return self._told_closed[outlet]

    def watts(self, outlet: int) -> float:
        return self.machines[outlet].watts

    @property
    def total_w(self) -> float:
        return sum(machine.watts for machine in self.machines.values())
