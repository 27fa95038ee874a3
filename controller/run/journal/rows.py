"""What the journal says when it is read: a value for each row of evidence, with times as Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.eventnames import named
from controller.domain.grid import GridEvent
from controller.domain.jobs import JobAction
from controller.domain.power import ZERO, Bound, Power

_JOB_ACTIONS = frozenset(action.value for action in JobAction)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One thing that happened to an event. `status` is the word its sender is told. Where a version became
    known (RECEIVED, or EXPIRED at once) `version` is that version, as it was understood then. `possible` is
    what its sender was told can be had instead (INFEASIBLE), `drawn_before` what the site drew before it
    began to follow a relative set-point (DRAWN_BEFORE).

    `operator` is empty for the operator of `[grid]` and "own" for the site's own rules and people.
    """

    utc_s: float
    operator: str
    event: str
    version_utc_s: float | None
    status: str
    why: str
    version: GridEvent | None
    possible: Power | None = None
    drawn_before: Power | None = None

    @property
    def id(self) -> str:
        """The event's id as plans, alarms and metrics name it."""
        return named(self.operator, self.event)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPointRow:
    """One set-point of a stream (base points), good until `end_utc_s` unless a newer one came."""

    utc_s: float
    operator: str
    event: str
    version_utc_s: float
    start_utc_s: float
    end_utc_s: float
    target: Power

    @property
    def stream(self) -> str:
        """The stream's id as plans and metrics name it."""
        return named(self.operator, self.event)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRow:
    """A stream by the name that plans and metrics give it, and from when to when its set-points came."""

    id: str
    points: int
    first_utc_s: float
    last_utc_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRow:
    """A node at one tick: what its meter showed (None: no fresh reading), its limit, what was granted."""

    utc_s: float
    metered: Power | None
    limit: Bound
    granted: Power
    worst: Power


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """A clock minute of a metered node: energy in watt-seconds and mean power over the `measured_s` seconds
    of it that were measured, and the mean limit of those seconds."""

    minute_utc_s: float
    node: str
    mean: Power
    energy_ws: int
    measured_s: float
    limit: Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """`kind` is "commanded", or the outcome: "acknowledged", "refused", "failed", and of a job "confirmed".
    A job is named by its queue and its id, with a slash; what it was told is the `point`, without watts."""

    utc_s: float
    device: str
    point: str
    power: Power
    kind: str
    detail: str

    @property
    def is_of_job(self) -> bool:
        return self.power == ZERO and "/" in self.device and self.point in _JOB_ACTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRow:
    """`is_raised` is False where the alarm went."""

    utc_s: float
    kind: str
    subject: str
    is_raised: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BookkeepingRow:
    """Something that happened to the journal itself: `what` is one of `journalschema.Bookkeeping`."""

    utc_s: float
    what: str
    subject: str
    rows: int | None
    detail: str
