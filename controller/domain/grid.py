"""Instructions of a grid operator, in one form whatever dialect they came in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from controller.domain.power import Power


@dataclass(frozen=True, slots=True)
class LimitSignal:
    """Draw no more than `power` at the site meter."""

    power: Power


@dataclass(frozen=True, slots=True)
class TargetSignal:
    """Draw `power`, inside the cap."""

    power: Power


@dataclass(frozen=True, slots=True)
class RelativeTargetSignal:
    """Draw what was drawn before the event began, plus `power`, which may be negative."""

    power: Power


@dataclass(frozen=True, slots=True)
class PriceSignal:
    usd_per_kwh: float


@dataclass(frozen=True, slots=True)
class CarbonSignal:
    """Emissions of the energy drawn: information, never a command."""

    grams_per_kwh: float


class Alert(StrEnum):
    """Warnings of a grid operator, in the words of OpenADR."""

    GRID_EMERGENCY = "ALERT_GRID_EMERGENCY"
    BLACK_START = "ALERT_BLACK_START"
    POSSIBLE_OUTAGE = "ALERT_POSSIBLE_OUTAGE"
    FLEX_ALERT = "ALERT_FLEX_ALERT"
    FIRE = "ALERT_FIRE"
    FREEZING = "ALERT_FREEZING"
    WIND = "ALERT_WIND"
    TSUNAMI = "ALERT_TSUNAMI"
    AIR_QUALITY = "ALERT_AIR_QUALITY"
    OTHER = "ALERT_OTHER"


@dataclass(frozen=True, slots=True)
class AlertSignal:
    """Information for people. Where an alert limits the site, a `LimitSignal` stands beside it."""

    alert: Alert
    text: str


class Capacity(StrEnum):
    """What has been agreed about how much the site may import."""

    SUBSCRIPTION = "IMPORT_CAPACITY_SUBSCRIPTION"
    RESERVATION = "IMPORT_CAPACITY_RESERVATION"
    AVAILABLE = "IMPORT_CAPACITY_AVAILABLE"


@dataclass(frozen=True, slots=True)
class CapacitySignal:
    """Information: no limit follows from it."""

    capacity: Capacity
    power: Power


Signal = (
    LimitSignal
    | TargetSignal
    | RelativeTargetSignal
    | PriceSignal
    | CarbonSignal
    | AlertSignal
    | CapacitySignal
)


ASKING = (LimitSignal, TargetSignal, RelativeTargetSignal, PriceSignal)
"""What a site answers by what it draws. All other signals are information."""

PAUSE_S = 60.0
"""An event that asks for nothing for no longer than this, as between two versions of it, goes on: a site does
not come back to what it would draw by itself in less."""


class Right(StrEnum):
    """What an operator may do: limit the site, set its draw, set prices, be told how it runs."""

    LIMIT = "limit"
    TARGET = "target"
    PRICE = "price"
    READ = "read"


ALL_RIGHTS = frozenset(Right)
COMMANDS = frozenset({Right.LIMIT, Right.TARGET})
"""Who may do one of these is missed while it is not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInterval:
    """Signals in force from `start_utc_s` until just before `end_utc_s` (Unix seconds; `inf` = open end).
    `label` is the sender's own number for the interval; it orders nothing."""

    start_utc_s: float
    end_utc_s: float
    signals: tuple[Signal, ...]
    label: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCycle:
    """Reports at the ends of an event's intervals: the first at that of `first` (counted from 0), then every
    `every` of them, each on the last `count` intervals (0: on all since the report before)."""

    first: int
    every: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """A report of `payload` every `every_s` seconds while the event is active, or with the event's intervals
    where there is a `cycle`; at most `times` of them. `labelled` reports carry the labels of the event's
    intervals, others are numbered by the site. It is about a `node` of the site, or about all of it and each
    of its parts; `alone`, without the parts.
    """

    payload: str
    every_s: float = math.inf
    times: float = math.inf
    labelled: bool = False
    cycle: ReportCycle | None = None
    node: str = ""
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GridEvent:
    """One version of one instruction. `version_utc_s` orders the versions of an id; lower `priority` wins.

    Intervals ascend and do not overlap; an event without intervals is cancelled. `ramp_deadline_s` is the
    time from an interval's start to full compliance. `node` is the place in the electrical tree that the
    signals are about; empty, it is the whole site. What is `best_effort` may be met late: no job that runs
    is set aside for it. `drawn_before` is what relative set-points are relative to, once that is known; no
    message says it. `operator` names whose it is, as the site file does ("" is `[grid]`). What the site's own
    rules or people ask for `is_own`: no operator pays for it.
    """

    id: str
    version_utc_s: float
    source: str
    intervals: tuple[EventInterval, ...]
    priority: int = 1_000_000
    ramp_deadline_s: float = 0.0
    name: str = ""
    node: str = ""
    reports: tuple[ReportRequest, ...] = ()
    best_effort: bool = False
    drawn_before: Power | None = None
    operator: str = ""
    is_own: bool = False

    @property
    def steers_from_utc_s(self) -> float:
        """When the event begins to ask for a set-point; infinite if it never does."""
        starts = (
            piece.start_utc_s
            for piece in self.intervals
            if any(isinstance(signal, TargetSignal | RelativeTargetSignal) for signal in piece.signals)
        )
        return min(starts, default=math.inf)

    @property
    def start_utc_s(self) -> float:
        return self.intervals[0].start_utc_s if self.intervals else 0.0

    @property
    def end_utc_s(self) -> float:
        return self.intervals[-1].end_utc_s if self.intervals else 0.0

    @property
    def asks(self) -> bool:
        """Whether it asks the site to do anything. One that only informs, or wants reports, does not."""
        return any(isinstance(signal, ASKING) for piece in self.intervals for signal in piece.signals)


class EventStatus(StrEnum):
    """Where an event stands, as its sender is told."""

    RECEIVED = "RECEIVED"
    REJECTED = "REJECTED"
    STARTED = "STARTED"
    COMPLIANT = "COMPLIANT"
    INFEASIBLE = "INFEASIBLE"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"
    EXPIRED = "EXPIRED"


class Link(StrEnum):
    """The state of the link to the grid operator. A site without one is `NONE`.

    `LOST` lasts from a missed heartbeat until heartbeats are back *and* a fresh snapshot of events came.
    """

    NONE = "none"
    UP = "up"
    LOST = "lost"
