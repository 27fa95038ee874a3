"""What miners and GPUs have in common: watts that follow orders with a lag, and exact accounts of both."""

from __future__ import annotations

from math import exp
from random import Random

NEAR_W = 0.5
NEAR_C = 0.01
"""Closer to its target than this, a quantity has arrived."""


def seeded(seed: int, what: str) -> Random:
    """A generator of its own for each part, so that adding one part changes no other."""
    return Random(f"{seed}/{what}")


def approach(value: float, target: float, dt_s: float, tau_s: float, near: float) -> float:
    """First-order: exact for any step, and it arrives."""
    rest = (value - target) * exp(-dt_s / tau_s)
    return target + rest if abs(rest) > near else target


class Machine:
    """Keeps `watts` and `rate` (TH/s, or the fraction of full throughput) constant between steps.

    While `moving` is false nothing changes by itself, and `move` need not be called; every order sets it.
    """

    __slots__ = (
        "_accounted_s",
        "energy_j",
        "fed",
        "id",
        "moving",
        "node",
        "output",
        "powered",
        "rate",
        "rise_c",
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
        self.moving = True
        self.powered = True
        self.fed = True
        """Its outlet is closed: it has power while there is voltage at its node."""
        self._accounted_s = 0.0

    @property
    def rated_w(self) -> float:
        raise NotImplementedError

    def move(self, now_s: float, dt_s: float) -> None:
        """Set what holds from `now_s` for `dt_s`."""
        raise NotImplementedError

    def warm(self, dt_s: float, inlet_c: float) -> None:
        raise NotImplementedError

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
