"""What miners and GPUs have in common: watts that follow orders with a lag, and exact accounts of both."""

from __future__ import annotations

from math import exp, inf
from random import Random

NEAR_W = 0.5
NEAR_C = 0.01
"""Closer to its target than this, a quantity has arrived."""
NEAR_TRIP_C = 10.0
"""Closer to its own thermal protection than this, a machine's heat is followed every second."""


STEP_S = 0.1
"""Watts that move fast are followed in such steps; `STRIDES_S` are for the last watts of a change."""
STRIDES_S = ((100.0, STEP_S), (20.0, 0.3), (0.0, 1.0))


def seeded(seed: int, what: str) -> Random:
    """A generator of its own for each part, so that adding one part changes no other."""
    return Random(f"{seed}/{what}")


def approach(value: float, target: float, dt_s: float, tau_s: float, near: float) -> float:
    """First-order: exact for any step, and it arrives."""
    rest = (value - target) * exp(-dt_s / tau_s)
    return target + rest if abs(rest) > near else target


def stride_s(rest_w: float) -> float:
    """How far to step when a change of so many watts is left: a step is exact, but its watts come at once."""
    rest_w = abs(rest_w)
    return next(step_s for above_w, step_s in STRIDES_S if rest_w >= above_w)


class Machine:
    """Keeps `watts` and `rate` (TH/s, or the fraction of full throughput) constant between steps.

    While `moving` is false no watts change by themselves before `due_s`, and `move` need not be called; every
    order sets it, and enters the machine into the `movers` of its plant. A moving machine is moved again at
    `next_s`. The rate follows the watts more slowly: `settle` is called once a second while it is `settling`.
    """

    __slots__ = (
        "_accounted_s",
        "_moving",
        "_warmed_s",
        "due_s",
        "energy_j",
        "fed",
        "id",
        "movers",
        "next_s",
        "node",
        "orders",
        "output",
        "powered",
        "rate",
        "rise_c",
        "settling",
        "temperature_c",
        "trips",
        "watts",
        "zone",
    )

    def __init__(self, *, device: str, node: str, zone: str | None, rise_c: float) -> None:
        self.id = device
        self.node = node
        self.zone = zone
        self.rise_c = rise_c
        self.watts = 0.0
        self.rate = 0.0
        self.temperature_c = 0.0
        self.energy_j = 0.0
        self.output = 0.0
        """Terahashes, or seconds of full throughput."""
        self.trips = 0
        self.orders = 0
        """How often it was told anything, whatever it then did."""
        self.movers: dict[str, Machine] = {}
        self.moving = True
        self.settling = False
        self.due_s = inf
        """When it does something by itself though nothing moves now: a boot that ends, an order to come."""
        self.powered = True
        self.fed = True
        """Its outlet is closed: it has power while there is voltage at its node."""
        self._accounted_s = 0.0
        self._warmed_s = 0.0

    @property
    def moving(self) -> bool:
        return self._moving

    @moving.setter
    def moving(self, moving: bool) -> None:
        self._moving = moving
        if moving:
            self.next_s = -inf
            self.movers[self.id] = self

    @property
    def rated_w(self) -> float:
        raise NotImplementedError

    def move(self, now_s: float) -> None:
        """Set what holds from `now_s` until `next_s`."""
        raise NotImplementedError

    def settle(self, now_s: float, dt_s: float) -> None:
        """Let the rate follow for `dt_s` while the watts stay."""

    def warm(self, now_s: float, inlet_c: float) -> None:
        """Let the heat follow the watts until `now_s`, from the last time on."""
        raise NotImplementedError

    @property
    def near_trip(self) -> bool:
        """Its own thermal protection may act within seconds, or has acted."""
        raise NotImplementedError

    def _heat(self, now_s: float, inlet_c: float, tau_s: float) -> None:
        target_c = inlet_c + self.rise_c * self.watts / self.rated_w
        self.temperature_c = approach(self.temperature_c, target_c, now_s - self._warmed_s, tau_s, NEAR_C)
        self._warmed_s = now_s

    def begin_warm(self, inlet_c: float) -> None:
        """As warm as its watts make it in the long run."""
        self.temperature_c = inlet_c + self.rise_c * self.watts / self.rated_w

    def power_off(self, now_s: float) -> None:
        """The circuit went dead."""
        self.account(now_s)
        self.powered = False
        self.watts = self.rate = 0.0

    def power_on(self, now_s: float) -> None:
        """Voltage is back at `now_s`."""
        self.account(now_s)
        self.powered = True
        self.moving = True

    def account(self, now_s: float) -> None:
        """Book the energy and work since the last time, at the watts and rate that held until now."""
        span_s = now_s - self._accounted_s
        self.energy_j += self.watts * span_s
        self.output += self.rate * span_s
        self._accounted_s = now_s
