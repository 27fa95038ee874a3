"""The electrical tree: other load that wanders, breakers with a time-current curve, meters with errors."""

from __future__ import annotations

from collections import deque
from math import exp, sqrt

from simulators.config import MeterConfig, NodeConfig
from simulators.physics.faults import MeterFaults, NodeFaults
from simulators.physics.machine import Machine, seeded

WANDER_TAU_S = 120.0
HOLDS = 1.13
"""Times its rating that a breaker carries for ever (IEC 60898-1, table 7, test a: 1 h without a trip)."""
BREAKER_TAU_S = 250.0
"""Thermal time constant: with the bimetal's heat first order in the square of the current (IEC 60255-149),
a cold breaker trips after 55 s at 2.55 times its rating (table 7, test c: 1 s to 60 s, up to 32 A) and after
13 s at 5 times (test d, type C: 0.1 s to 15 s)."""
MAGNETIC = 5.0
"""Above this times its rating a breaker of type C may open at once (table 7, tests d and e: at 5 times not
yet, at 10 times within 0.1 s); the earliest allowed is taken. Voltage and power factor being constant here,
watts stand for amperes."""


class Node:
    """`power_w` is what flows through the node: its own load and everything below it.

    Its breaker opens by its time-current curve: inverse in time above `HOLDS` by heat, at once above
    `MAGNETIC`. It stays warm from what it carried before, and cools while it is open.
    """

    __slots__ = (
        "_accounted_s",
        "_heat",
        "_random",
        "_share",
        "children",
        "config",
        "energy_j",
        "faults",
        "id",
        "live",
        "load_w",
        "machines",
        "parent",
        "power_w",
        "trips",
    )

    def __init__(self, config: NodeConfig, parent: Node | None, seed: int) -> None:
        self.config = config
        self.id = config.id
        self.parent = parent
        self.children: list[Node] = []
        self.machines: list[Machine] = []
        if parent is not None:
            parent.children.append(self)
        self.faults = NodeFaults()
        self.load_w = config.load_w
        self.power_w = 0.0
        self.energy_j = 0.0
        self.trips = 0
        self.live = True
        self._accounted_s = 0.0
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

    @property
    def wanders(self) -> bool:
        return self.config.load_w > 0 and self.config.load_wander > 0

    def summed_w(self) -> float:
        """Its load, its machines and the nodes below it, as they are now."""
        watts = self.load_w + self.faults.foreign_w if self.live else 0.0
        for machine in self.machines:
            watts += machine.watts
        for child in self.children:
            watts += child.power_w
        return watts

    def carry(self, watts: float, now_s: float) -> None:
        """From `now_s` on `watts` flow here."""
        self.account(now_s)
        self.power_w = watts

    @property
    def overloaded(self) -> bool:
        """Its breaker will open if this goes on."""
        rating_w = self.config.breaker_w
        return rating_w is not None and self.power_w > HOLDS * rating_w

    def account(self, now_s: float) -> None:
        """Book the energy and heat since the last time, at the watts that flowed until now; open the breaker
        when it has become too hot, or carried too much at once."""
        span_s = now_s - self._accounted_s
        self._accounted_s = now_s
        self.energy_j += self.power_w * span_s
        rating_w = self.config.breaker_w
        if rating_w is None or span_s <= 0:
            return
        times = self.power_w / rating_w
        self._heat = times**2 + (self._heat - times**2) * exp(-span_s / BREAKER_TAU_S)
        if (self._heat > HOLDS**2 or times > MAGNETIC) and not self.faults.breaker_open:
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

    @property
    def due_ms(self) -> int:
        """When it next takes a sample, or shows one."""
        return min(self._next_ms, self._pending[0][0]) if self._pending else self._next_ms

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
