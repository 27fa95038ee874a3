"""Instructions of a grid operator, in one form whatever dialect they came in."""

from __future__ import annotations

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
class PriceSignal:
    usd_per_kwh: float


Signal = LimitSignal | TargetSignal | PriceSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInterval:
    """Signals in force from `start_utc_s` until just before `end_utc_s` (Unix seconds; `inf` = open end)."""

    start_utc_s: float
    end_utc_s: float
    signals: tuple[Signal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRequest:
    """A report of `payload` every `every_s` seconds while the event is active."""

    payload: str
    every_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GridEvent:
    """One version of one instruction. `version_utc_s` orders the versions of an id; lower `priority` wins.

    Intervals ascend and do not overlap; an event without intervals is cancelled. `ramp_deadline_s` is the
    time from an interval's start to full compliance. `node` is the place in the electrical tree that the
    event is about; empty, it is the whole site.
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

    @property
    def start_utc_s(self) -> float:
        return self.intervals[0].start_utc_s if self.intervals else 0.0

    @property
    def end_utc_s(self) -> float:
        return self.intervals[-1].end_utc_s if self.intervals else 0.0


class EventStatus(StrEnum):
    """Where an event stands, as its sender is told."""

    RECEIVED = "RECEIVED"
    REJECTED = "REJECTED"
    STARTED = "STARTED"
    COMPLIANT = "COMPLIANT"
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
