"""The electrical tree: other load that wanders, breakers with a time-current curve, meters with errors."""

from __future__ import annotations

from collections import deque
from math import sqrt

from simulators.config import MeterConfig, NodeConfig
from simulators.physics.faults import MeterFaults, NodeFaults
from simulators.physics.machine import seeded

WANDER_TAU_S = 120.0
BREAKER_TAU_S = 300.0
BREAKER_TRIP = 1.25
"""Heat (power over rating, squared) at which a thermal breaker opens: 1.12 times its rating, held long."""


class Node:
    """`power_w` is what flows through the node: its own load and everything below it."""

    __slots__ = (
        "_heat",
        "_random",
        "_share",
        "config",
        "energy_j",
        "faults",
        "id",
        "live",
        "load_w",
        "parent",
        "power_w",
        "trips",
    )

    def __init__(self, config: NodeConfig, parent: Node | None, seed: int) -> None:
        self.config = config
        self.id = config.id
        self.parent = parent
        self.faults = NodeFaults()
        self.load_w = config.load_w
        self.power_w = 0.0
        self.energy_j = 0.0
        self.trips = 0
        self.live = True
        self._heat = 0.0
        self._share = 0.0
        self._random = seeded(seed, config.id)

    def wander(self, dt_s: float) -> None:
        """The other load drifts around its mean and never far from it."""
        wander = self.config.load_wander
        self._share += -self._share * dt_s / WANDER_TAU_S
        self._share += wander * sqrt(2 * dt_s / WANDER_TAU_S) * self._random.gauss(0.0, 1.0)
        self._share = min(max(self._share, -3 * wander), 3 * wander)
        self.load_w = self.config.load_w * max(0.0, 1.0 + self._share)

    def find_live(self) -> bool:
        """Whether there is voltage below this node; parents first."""
        self.live = not self.faults.breaker_open and (self.parent is None or self.parent.live)
        return self.live

    def account(self, dt_s: float) -> None:
        """Book the energy of one step, and open the breaker when it has become too hot."""
        self.energy_j += self.power_w * dt_s
        rating_w = self.config.breaker_w
        if rating_w is None or self.faults.breaker_open:
            self._heat = 0.0
            return
        self._heat += ((self.power_w / rating_w) ** 2 - self._heat) * dt_s / BREAKER_TAU_S
        if self._heat >= BREAKER_TRIP:
            self.faults.breaker_open = True
            self.trips += 1


class Meter:
    """Shows the power of a node every `period_s`, with noise, `delay_s` late. `value_w` is what it shows."""

    __slots__ = ("_next_ms", "_pending", "_random", "config", "faults", "id", "node", "samples", "value_w")

    def __init__(self, config: MeterConfig, node: Node, seed: int) -> None:
        self.config = config
        self.id = config.id
        self.node = node
        self.faults = MeterFaults()
        self.value_w = 0.0
        self.samples = 0
        self._pending: deque[tuple[int, float]] = deque()
        self._next_ms = 0
        self._random = seeded(seed, config.id)

    def sample(self, now_ms: int) -> None:
        if now_ms >= self._next_ms:
            self._next_ms += round(self.config.period_s * 1000)
            noisy_w = self.node.power_w * (1.0 + self.config.noise * self._random.gauss(0.0, 1.0))
            self._pending.append((now_ms + round(self.config.delay_s * 1000), noisy_w))
        while self._pending and self._pending[0][0] <= now_ms:
            shown_w = self._pending.popleft()[1]
            if not self.faults.frozen_reads:
                self.value_w = shown_w * self.faults.reported_power_factor
                self.samples += 1
