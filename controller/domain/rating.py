"""From what is printed on a breaker or a transformer to the watts it may carry."""

from __future__ import annotations

import math
from enum import IntEnum

from controller.domain.power import Power

CONTINUOUS_SHARE = 0.8
"""A load that lasts three hours or more may use 80 % of a breaker (NEC 210.20(A), 215.3)."""


class Phases(IntEnum):
    """One phase against neutral or line against line; all that hangs between the same two lines of a
    three-phase feed; or three phases.
    """

    ONE = 1
    PAIR = 2
    THREE = 3


SHARE = {Phases.ONE: 1.0, Phases.PAIR: 1 / math.sqrt(3), Phases.THREE: math.sqrt(3)}
"""Of V x A. A line carries the loads of two pairs of lines, 120 degrees apart: sqrt(3) times the current of
each where they are equal. With that share for each pair no line carries too much, be they ever so unequal."""


def breaker_power(
    amps: float,
    volts: float,
    phases: Phases,
    *,
    power_factor: float = 1.0,
    continuous_share: float = CONTINUOUS_SHARE,
) -> Power:
    """The real power that a breaker of `amps` may carry continuously, rounded down.

    `volts` is line to line where there are three phases or two of their lines, else the voltage of the
    circuit. Apparent power is sqrt(3) x V x A for three phases and V x A for one (IEC 60050-131-11-41,
    141-02-01); for two lines of three `amps` are those of the feed.
    """
    return Power.down(amps * volts * SHARE[phases] * power_factor * continuous_share)


def apparent_power(kva: float, *, power_factor: float = 1.0) -> Power:
    """The real power of a transformer of `kva` at `power_factor`, rounded down."""
    return Power.kw(kva * power_factor)
