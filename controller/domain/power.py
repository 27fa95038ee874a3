"""Power in whole watts, and the bound that may or may not exist.

Whole watts make sums exact: "grants <= cap" is a fact, not a tolerance. Zero is a number here and the
absence of a limit is a type of its own, so "curtail to 0 W" can never be read as freedom.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Power:
    """Electrical power in whole watts. It adds to and compares with `Power` only."""

    watts: int

    def __post_init__(self) -> None:
        if type(self.watts) is not int:
            raise TypeError(f"Power takes whole watts as int, got {self.watts!r}")

    @classmethod
    def up(cls, watts: float) -> Power:
        """Round up: for measured draws and everything else that must not be understated."""
        return cls(math.ceil(watts))

    @classmethod
    def down(cls, watts: float) -> Power:
        """Round down: for limits and everything else that must not be overstated."""
        return cls(math.floor(watts))

    @classmethod
    def kw(cls, kilowatts: float) -> Power:
        """A limit written in kilowatts, rounded down to the watt (0.001 W of float noise aside)."""
        return cls(math.floor(kilowatts * 1000 + 1e-3))

    @property
    def in_kw(self) -> float:
        return self.watts / 1000

    def scaled(self, factor: float) -> Power:
        """This power times `factor`, rounded down."""
        return Power.down(self.watts * factor)

    def __add__(self, other: Power) -> Power:
        return Power(self.watts + other.watts) if isinstance(other, Power) else NotImplemented

    def __sub__(self, other: Power) -> Power:
        return Power(self.watts - other.watts) if isinstance(other, Power) else NotImplemented

    def __bool__(self) -> bool:
        raise TypeError("a Power has no truth value: compare it with ZERO")

    def __str__(self) -> str:
        return f"{self.watts} W" if abs(self.watts) < 10_000 else f"{self.in_kw:.1f} kW"


ZERO = Power(0)


def total(powers: Iterable[Power]) -> Power:
    return Power(sum(power.watts for power in powers))


@dataclass(frozen=True, slots=True)
class Limit:
    """An upper bound that exists."""

    power: Power


@dataclass(frozen=True, slots=True)
class NoLimit:
    """The absence of a bound."""


Bound = Limit | NoLimit
NO_LIMIT = NoLimit()


def tightest(*bounds: Bound) -> Bound:
    """The lowest of the limits among `bounds`; `NoLimit` only if none of them limits."""
    limits = [bound for bound in bounds if isinstance(bound, Limit)]
    return min(limits, key=lambda limit: limit.power) if limits else NO_LIMIT
