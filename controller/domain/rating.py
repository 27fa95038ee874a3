"""From what is printed on a breaker or a transformer to the watts it may carry."""

from __future__ import annotations

import math
from enum import IntEnum

from controller.domain.power import Power

CONTINUOUS_SHARE = 0.8
"""A load that lasts three hours or more may use 80 % of a breaker (NEC 210.20(A), 215.3)."""


class Phases(IntEnum):
    """One phase against neutral or line against line, or three phases."""

    ONE = 1
    THREE = 3


def breaker_power(
    amps: float,
    volts: float,
    phases: Phases,
    *,
    power_factor: float = 1.0,
    continuous_share: float = CONTINUOUS_SHARE,
) -> Power:
    """The real power that a breaker of `amps` may carry continuously, rounded down.

    `volts` is line to line where there are three phases, else the voltage of the circuit. Apparent power
    is sqrt(3) x V x A for three phases and V x A for one (IEC 60050-131-11-41, 141-02-01).
    """
    apparent_va = amps * volts * (math.sqrt(3) if phases is Phases.THREE else 1.0)
    return Power.down(apparent_va * power_factor * continuous_share)


def apparent_power(kva: float, *, power_factor: float = 1.0) -> Power:
    """The real power of a transformer of `kva` at `power_factor`, rounded down."""
    return Power.kw(kva * power_factor)
