"""What goes into a decision and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from controller.domain.devices import (
    DeviceSpec,
    MeterReading,
    OperatingPoint,
    Outcome,
    Reading,
    SetPoint,
    ZoneReading,
)
from controller.domain.grid import EventStatus, GridEvent, Link
from controller.domain.jobs import JobCommand, QueueReading
from controller.domain.power import Bound, Power
from controller.domain.prices import PriceKey
from controller.domain.site import Prices

T = TypeVar("T")


class Reason(StrEnum):
    """Why a device has its grant. A public contract: dashboards and tests read these strings."""

    FULL = "full"
    """at the point that earns most"""
    LIMITED = "limited"
    """a node above it has no room for more"""
    WAITING = "waiting"
    """may have more, once the watts for it are measured to be free"""
    RAMPING = "ramping"
    """may have more, and waits for its turn in the ramp"""
    THERMAL = "thermal"
    """too warm, or in a zone that is, or whose cooling is not proven"""
    DWELLING = "dwelling"
    """changed a moment ago, and is left alone until its dwell is over"""
    UNPROFITABLE = "unprofitable"
    """more would cost more than it earns"""
    IDLE = "idle"
    """a GPU without a job"""
    HELD = "held"
    """nothing is raised now: starting up, or too many devices silent at once"""
    STALE = "stale"
    """it answered once and is silent now: counted at its worst"""
    UNREACHABLE = "unreachable"
    """it has not answered yet: counted at its worst"""
    LYING = "lying"
    """it said yes and its watts did not move: its watts are taken from others"""
    REFUSING = "refusing"
    """asked for less, it said no or did not answer: its watts are taken from others"""


class Truth(StrEnum):
    """How far the last command to a device is proven."""

    COMMANDED = "commanded"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    CONFIRMED = "confirmed"
    LYING = "lying"
    UNREACHABLE = "unreachable"
    STALE = "stale"


class CapReason(StrEnum):
    """What sets the site's cap now. A public contract, like `Reason`."""

    NONE = "none"
    RATING = "rating"
    EVENT = "event"
    TARGET = "target"
    LINK_LOST = "link_lost"


class AlarmKind(StrEnum):
    """A public contract, like `Reason`."""

    INFEASIBLE = "infeasible"
    CAP_PASSED = "cap_passed"
    METER_STALE = "meter_stale"
    DEVICE_SILENT = "device_silent"
    DEVICE_LYING = "device_lying"
    LINK_LOST = "link_lost"
    NETWORK_FAULT = "network_fault"
    COOLING = "cooling"
    UNEXPLAINED = "unexplained"
    PRICE_STALE = "price_stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    kind: AlarmKind
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Sample(Generic[T]):
    """A value and the moment it arrived, in seconds of the monotonic clock."""

    at_s: float
    value: T


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceNow:
    """A price in force, in the first unit of its market, and where it is from.

    `age_s` is None for a constant; `passed` says of each source that should have come first why it did not.
    """

    key: PriceKey
    value: float
    source: str
    age_s: float | None
    passed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything one tick may know. Times in `_s` are monotonic; `utc_s` only orders events.

    `prices` is what points are valued with; `prices_now` says where each of them is from.
    """

    now_s: float
    utc_s: float
    specs: tuple[DeviceSpec, ...]
    readings: Mapping[str, Sample[Reading]] = field(default_factory=dict)
    meters: Mapping[str, Sample[MeterReading]] = field(default_factory=dict)
    zones: Mapping[str, Sample[ZoneReading]] = field(default_factory=dict)
    outcomes: Mapping[str, Sample[Outcome]] = field(default_factory=dict)
    queues: tuple[QueueReading, ...] = ()
    events: tuple[GridEvent, ...] = ()
    link: Link = Link.NONE
    prices: Prices = field(default_factory=Prices)
    prices_now: tuple[PriceNow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one device may do until the next plan, and why.

    `power` is what the grant counts for, `worst` the most the device may draw at this moment; `wanted` is
    the point it would have if every change were immediate; `limited_by` names the node in its way.
    """

    device: str
    point: OperatingPoint
    power: Power
    worst: Power
    draw: Power
    age_s: float
    wanted: OperatingPoint
    reason: Reason
    truth: Truth
    limited_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """`metered` is None where no fresh meter reading exists. `unexplained` is load no device claims."""

    node: str
    limit: Bound
    granted: Power
    worst: Power
    unexplained: Power
    metered: Power | None = None
    feasible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an event in force stands; `possible` is the least the site can be brought to."""

    event: str
    version_utc_s: float
    status: EventStatus
    cap: Bound
    possible: Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`commands` come in the order in which they must be sent: what lowers before what raises.

    `raised` are the devices whose worst case grows by this plan. Until `ready` nothing is commanded.
    `least` is what the whole site can be brought down to.
    `value_per_hour` is what the grants earn in USD; `gap` is how far that can at most lie below the best
    possible, as a fraction.
    """

    now_s: float
    cap: Bound
    cap_reason: CapReason
    cap_event: str
    grants: tuple[Grant, ...]
    nodes: tuple[NodeState, ...]
    ready: bool
    least: Power
    commands: tuple[SetPoint, ...] = ()
    raised: tuple[str, ...] = ()
    job_commands: tuple[JobCommand, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    standings: tuple[Standing, ...] = ()
    value_per_hour: float = 0.0
    gap: float = 0.0
    next_change_utc_s: float = float("inf")
