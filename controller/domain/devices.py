"""What draws power, what it can be told, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from controller.domain.power import NO_LIMIT, Bound, Power


class DeviceKind(StrEnum):
    ASIC = "asic"
    GPU = "gpu"


RATE_WAVERS = 1.1
"""The rate that firmware tells of the last seconds may be this many times what the machine hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """One state a device can be put in.

    `power` is the most the device draws there; `rate` is what it produces there: TH/s for an ASIC, the
    fraction 0..1 of its full throughput for a GPU.
    """

    name: str
    power: Power
    rate: float

    def is_at(self, other: OperatingPoint | None) -> bool:
        """Whether both are one state of the device: what it produces there may be known better by now."""
        return other is self or (
            other is not None and other.name == self.name and other.power.watts == self.power.watts
        )


def draw_by_hash(rate_ths: float, at: OperatingPoint, points: Sequence[OperatingPoint]) -> Power:
    """An estimate for a machine that tells no watts: standby, and for the hash what `at` needs for it, the
    point that the machine says it is at; the whole point where nothing hashes, for it may be starting.

    One that hashes more than that point can is at another, whatever it says: it has yet to change, or lies.
    The strongest of its `points` is then the measure, as it is where a machine at rest hashes. The first of
    them is standby.
    """
    if rate_ths <= 0:
        return at.power
    standby_w = points[0].power.watts
    strongest = max(points, key=lambda point: point.rate)
    full = at if rate_ths <= RATE_WAVERS * at.rate else strongest
    return Power.up(standby_w + (full.power.watts - standby_w) * rate_ths / full.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalLimits:
    """Temperatures in Celsius: a warning at `warn_c`, derating from `derate_c` on, the floor at `trip_c`."""

    derate_c: float
    trip_c: float
    warn_c: float | None = None

    def __post_init__(self) -> None:
        if not self.derate_c < self.trip_c:
            raise ValueError(f"derate_c {self.derate_c} must lie below trip_c {self.trip_c}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """What a device can do. `points` ascend in power; the first is its floor.

    `ceiling` is the most it can draw by itself, whatever it was told. `settle_down_s` and `settle_up_s` are
    the times within which a change must show in measured watts; `restart_s` is the output, in seconds of
    the new point's rate, that a start costs; `starts_per_hour` is how often it may be started in any hour.
    `has_outlet` says that its power can be taken from it at a switched outlet; where that is off and only a
    person may switch it on, `left_off` says why, and the device offers nothing but its floor. `model` is a
    GPU's, where the site prices it by its model. `keeps_limit` says that the firmware keeps a confirmed limit
    through a reboot, so that the device may be counted at that limit while it is silent; `keeps_sleep` says
    the same of being at its floor only. `boots_s` is the least time from a restart to a watt more than
    before: a device that restarted unseen cannot have risen sooner.
    """

    id: str
    kind: DeviceKind
    node: str
    points: tuple[OperatingPoint, ...]
    ceiling: Power
    zone: str | None = None
    model: str = ""
    thermal: ThermalLimits | None = None
    board_thermal: ThermalLimits | None = None
    memory_thermal: ThermalLimits | None = None
    keeps_limit: bool = False
    keeps_sleep: bool = False
    boots_s: float = 0.0
    stale_after_s: float = 15.0
    dwell_s: float = 60.0
    settle_down_s: float = 15.0
    settle_up_s: float = 180.0
    restart_s: float = 120.0
    starts_per_hour: int = 1000
    has_outlet: bool = False
    left_off: str = ""

    def __post_init__(self) -> None:
        powers = [point.power for point in self.points]
        if not powers or powers != sorted(set(powers)):
            raise ValueError(f"device {self.id}: operating points must ascend in power, got {powers}")
        if powers[-1] > self.ceiling:
            raise ValueError(f"device {self.id}: point {powers[-1]} lies above the ceiling {self.ceiling}")

    @property
    def floor(self) -> OperatingPoint:
        return self.points[0]


class Quality(StrEnum):
    """What a draw is worth: measured at the device, or estimated from what it says it is doing."""

    MEASURED = "measured"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one device said of itself in one poll. A value it did not give is None, never a default.

    `setting` is the limit that the firmware reports to be in force (a sleeping machine: its sleep power).
    `hottest_c` is the hottest chip, of a GPU the core. `margin_c` is the distance to the device's own
    slowdown, where it tells that instead of a threshold.
    """

    device: str
    draw: Power
    quality: Quality
    setting: Bound = NO_LIMIT
    rate: float = 0.0
    hottest_c: float | None = None
    board_c: float | None = None
    memory_c: float | None = None
    margin_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """`frequency_hz` is the grid's, where the meter tells it."""

    meter: str
    power: Power
    frequency_hz: float | None = None


class Cooling(StrEnum):
    PROVEN = "proven"
    NOT_PROVEN = "not_proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneReading:
    """Temperatures of a cooling zone, and whether its fans or pumps are proven to run."""

    zone: str
    inlet_c: float
    cooling: Cooling = Cooling.PROVEN
    coolant_c: float | None = None


class Means(StrEnum):
    """How a device is brought to a point: by telling it, or by taking its power at the outlet."""

    COMMAND = "command"
    OUTLET = "outlet"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPoint:
    """Put `device` at `point`; the driver has `deadline_s` seconds to get an answer out of it.

    By `OUTLET` a device is only ever brought to its floor: it is the last resort.
    """

    device: str
    point: OperatingPoint
    deadline_s: float = 10.0
    means: Means = Means.COMMAND


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The device said yes. Whether anything happened, only watts tell."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The device said no."""

    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """No usable answer: whether the command took effect is unknown."""

    why: str


Outcome = Acknowledged | Refused | Failed
