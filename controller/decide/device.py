"""What is remembered of a device from tick to tick."""

from __future__ import annotations

import math
from typing import NamedTuple

from controller.decide.words import Truth
from controller.domain.devices import OperatingPoint, Quality
from controller.domain.power import ZERO, Power

TOLERANCE = 0.10
"""A draw within this share of a point's power counts as being at that point."""
TOLERANCE_W = 30
"""... plus this, for points near zero (sleep)."""


COOL = (0.0, 0.0, 0.0, 0.0)
"""What its chips, its board, its memory and its margin to slowdown take of a device's range: nothing."""


class Stuck(NamedTuple):
    """A machine said yes to a point above its floor, which is at `above`, and went on drawing `draw`."""

    above: Power
    draw: Power
    at_s: float


class DeviceState(NamedTuple):
    """A named tuple, which is replaced several times faster than a dataclass: thousands are in every tick.

    `point` is what the device was last told, or was found at; None until its first reading.

    `worst` is the most it may draw now; `sent_s` when it was last told something, `since_s` when its
    point last changed (dwell counts from there), `asked_s` since when it is asked for what it has not shown
    yet, or was found, `began` what it drew then. Of its `attempts` at that, `failures` got no answer, the
    last of them at `failed_s`. `started_s` are its last starts; at `given_up_s` it was last given up, or its
    outlet switched off; until `rests_s` it is not started. Since `idle_s` it runs without doing any work.
    `proofs` and `lies` count commands that watts proved and disproved, `retold` how often it was told
    its point again as it took the limit and drew too little or too much. `bias` is measured over nominal,
    `keeps` the last confirmed worst case, `stuck` what it was last caught at. `demand_w` is what the work on
    a GPU was seen to want of late, infinite where its limit may hold it back. `derates` are the shares of
    its range that each of its sensors takes, `warned` says that a temperature calls for a warning.
    """

    point: OperatingPoint | None = None
    truth: Truth = Truth.UNREACHABLE
    worst: Power = ZERO
    draw: Power = ZERO
    quality: Quality = Quality.ESTIMATED
    at_s: float = float("-inf")
    since_s: float = float("-inf")
    began: Power = ZERO
    sent_s: float = float("-inf")
    asked_s: float = float("-inf")
    attempts: int = 0
    failures: int = 0
    failed_s: float = float("-inf")
    started_s: tuple[float, ...] = ()
    given_up_s: float = float("-inf")
    rests_s: float = float("-inf")
    idle_s: float | None = None
    proofs: int = 0
    lies: int = 0
    reasserts: int = 0
    retold: int = 0
    bias: float = 1.0
    keeps: Power | None = None
    last: Power = ZERO
    stuck: Stuck | None = None
    demand_w: float = math.inf
    derates: tuple[float, ...] = COOL
    warned: bool = False

    @property
    def derate(self) -> float:
        """The share of its range that its heat takes."""
        return max(self.derates)

    @property
    def seen(self) -> bool:
        return self.truth not in (Truth.STALE, Truth.UNREACHABLE)

    def heard(self, draw: Power, quality: Quality, at_s: float) -> DeviceState:
        """With what it said last. The same as `_replace`, which takes three times as long."""
        return DeviceState._make((*self[:DRAW], draw, quality, at_s, *self[DRAW + 3 :]))

    def said_again(self, other: DeviceState) -> bool:
        """Whether the other differs in no more than when it was last heard."""
        return self[: DRAW + 2] == other[: DRAW + 2] and self[DRAW + 3 :] == other[DRAW + 3 :]

    @property
    def in_flight(self) -> bool:
        return self.truth in (Truth.COMMANDED, Truth.ACKNOWLEDGED, Truth.REFUSED)

    def counted(self, point: OperatingPoint) -> Power:
        """What `point` is reckoned to draw on this very device."""
        counts = self.reckoned(point)
        if self.stuck is not None and point.power > self.stuck.above:
            return max(counts, self.stuck.draw)
        return counts

    def reckoned(self, point: OperatingPoint) -> Power:
        """The same of a device that does what it is told."""
        return point.power if self.bias == 1.0 else Power.up(point.power.watts * self.bias)


DRAW = DeviceState._fields.index("draw")
"""Where what a device said last is kept: its draw, how that is known, and when it was heard."""


def with_slack_w(power: Power, share: float) -> int:
    """The most watts that still count as `power`."""
    return math.ceil(power.watts * (1 + share)) + (TOLERANCE_W if share == TOLERANCE else 1)
