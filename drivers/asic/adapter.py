"""What a family of miners must answer for, so that one driver serves them all.

An adapter speaks one firmware's dialect to one machine and judges what it hears: it returns only values
that the machine has just given, and raises for everything else. It keeps no connection open between calls,
unless it is a `KeepsConnection`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from pydantic import SecretStr

from controller.domain.devices import RATE_WAVERS, OperatingPoint, Reading, draw_by_hash
from controller.domain.power import Bound, Limit, Power
from drivers.base import DriverError

SLEEP = "sleep"
"""The name of the point at which a machine does not hash, in every family."""

ABSURD = 1e15
"""Nothing that a machine tells is as large in the unit that it tells it in."""

RATE_EXPONENT = 0.8
"""Hash rate grows with about this power of the watts (0.75 to 0.82 on machines of several makes)."""


class RefusedError(DriverError):
    """The machine answered, and its answer was no: what was asked has not been done."""

    def __init__(self, why: str, code: int | None = None) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Plate:
    """What the operator says of one machine. `min_w` is the least it draws while it hashes.

    `exchange_s` is the deadline of one exchange, `busy_wait_s` the pause before asking a busy machine again;
    `state_dir` is where a family that must remember something beyond our own life keeps it.
    """

    device: str
    host: str
    rated_w: int
    rated_ths: float
    sleep_w: int
    ceiling_w: int
    min_w: int | None = None
    points: tuple[OperatingPoint, ...] = ()
    username: str | None = None
    password: SecretStr | None = None
    state_dir: Path | None = None
    exchange_s: float = 3.0
    busy_wait_s: float = 2.0

    @property
    def sleep(self) -> OperatingPoint:
        """The configured sleep point, or the one that `sleep_w` describes."""
        named = {point.name: point for point in self.points}
        return named.get(SLEEP, OperatingPoint(name=SLEEP, power=Power(self.sleep_w), rate=0.0))

    def point(self, name: str, power_w: int) -> OperatingPoint:
        """A point whose rate follows from the rating."""
        rate = self.rated_ths * (power_w / self.rated_w) ** RATE_EXPONENT
        return OperatingPoint(name=name, power=Power(power_w), rate=round(rate, 3))

    @property
    def asleep(self) -> Limit:
        return Limit(self.sleep.power)


def allowed_draw(limit: Bound, rate_ths: float, points: Sequence[OperatingPoint], plate: Plate) -> Power:
    """What a machine that tells no watts is taken to draw: all that its limit allows, and more where it
    hashes more than it can there, by its `points`.

    `rate_ths` is of the last seconds: an average would go on for minutes after a machine came down.
    """
    ceiling = Power(plate.ceiling_w)
    if not isinstance(limit, Limit):
        return ceiling
    named = (point for point in points if point.power == limit.power)
    at = next(named, plate.point("", limit.power.watts))
    if rate_ths <= RATE_WAVERS * at.rate:
        return limit.power
    full = plate.point("", plate.rated_w)
    return max(limit.power, min(ceiling, draw_by_hash(rate_ths, at, (plate.sleep, *points, full))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who a machine says it is. `points` are the only ones it has, where it can list them."""

    mac: str | None
    points: tuple[OperatingPoint, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reading, and the machine it came from where the same answer says so."""

    reading: Reading
    mac: str | None = None


class Adapter(Protocol):
    """One machine, in its firmware's dialect. Any method may raise whatever a broken answer causes.

    `backend` is the class by which pyasic knows the firmware. `hello_is_proof` says that no other firmware
    answers `hello` in this way, so that it will do where pyasic recognises nothing.
    """

    backend: ClassVar[str]
    hello_is_proof: ClassVar[bool]

    def __init__(self, plate: Plate) -> None: ...

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        """The points of a machine that nobody has talked to yet, from its rating."""
        ...

    async def hello(self) -> Hello:
        """Drop all that was remembered of the machine and ask it who it is."""
        ...

    async def read(self) -> Sample: ...

    async def change(self, point: OperatingPoint) -> None:
        """Return when the machine said yes; raise `RefusedError` when it said no."""
        ...


def points_of(adapter: type[Adapter], plate: Plate) -> tuple[OperatingPoint, ...]:
    """The points that the site file gives a machine, or else those of its family."""
    return plate.points or adapter.default_points(plate)


@runtime_checkable
class KeepsConnection(Protocol):
    """An adapter whose protocol costs more to begin than to speak, so that its connection outlives a call."""

    def close(self) -> None:
        """Drop it, and whatever the machine handed out for it. The next call connects anew."""
        ...


def number(value: object) -> float | None:
    """A number that can be reckoned with, or one written as a string; anything else is None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        parsed = float(value)
    except (ValueError, OverflowError):
        return None
    return parsed if abs(parsed) < ABSURD else None


def hottest(values: list[float | None]) -> float | None:
    """The highest of the sensors that work: one that reads 0 or less is broken or absent."""
    return max((value for value in values if value is not None and value > 0), default=None)


def mac_address(value: object) -> str | None:
    """One spelling for all firmware, so that addresses compare."""
    return value.strip().upper().replace("-", ":") if isinstance(value, str) and value.strip() else None
