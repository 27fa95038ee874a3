"""What an operator asked of a site in the course of one event: which version held when, and from when on.

Made from what was told about the event, in the order in which it happened, so that an update in the middle
of an event, or its cancellation, is part of the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from controller.domain.grid import (
    EventInterval,
    EventStatus,
    GridEvent,
    LimitSignal,
    RelativeTargetSignal,
    TargetSignal,
)
from controller.domain.power import NO_LIMIT, ZERO, Bound, Limit, Power, tightest
from controller.settlement.grounds import Rank, SetPoint, grounds, rank_of
from controller.settlement.metering import Span, never_back

AMENDED = "AMENDED"
"""The same version came again with another content, which counts from then on."""

SAME_S = 1e-6
"""Two versions of an id that lie closer to each other are one."""


class CourseError(Exception):
    """There is no such course: the message says what is known instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One thing that happened to an event. A version that became known comes with what was read then.
    `status` is a word of `EventStatus`, `AMENDED` or `DRAWN_BEFORE`. `possible` is what its sender was told
    can be had instead, `drawn_before` what was frozen of the draw before it."""

    utc_s: float
    status: str
    version_utc_s: float | None = None
    event: GridEvent | None = None
    why: str = ""
    possible: Power | None = None
    drawn_before: Power | None = None


class Ending(StrEnum):
    """How an event ended, or has not yet. `OVER`: its time is over, and no controller was there to say so.
    `SUPERSEDED`: by a version for a later time."""

    RUNNING = "running"
    OVER = "over"
    COMPLETED = "completed"
    CANCELLED = "cancelled_by_operator"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What was to be kept: no more than `limit`, just `target`. A `relative` set-point is `ground` and that;
    its `target` is not known as long as `ground` is not."""

    limit: Bound = NO_LIMIT
    target: Power | None = None
    relative: Power | None = None
    ground: Power | None = None

    @property
    def is_nothing(self) -> bool:
        return self == Ask()

    def is_met_by(self, earlier: Ask) -> bool:
        """Whether a site that did what was asked before has nothing to change now."""
        if self.relative is not None:
            return (self.limit, self.relative) == (earlier.limit, earlier.relative)
        if self.target is not None:
            return self == earlier
        return isinstance(earlier.limit, Limit) and tightest(self.limit, earlier.limit) == earlier.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One ask of one version while it was in force; it must be kept from `due_utc_s` on."""

    span: Span
    ask: Ask
    due_utc_s: float
    version_utc_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """`phases` ascend and do not overlap, and end at the time of asking. Empty: nothing was ever asked.

    `start_utc_s` is the first ask's as it was scheduled, which may lie before it was received.
    """

    event: str
    operator: str
    node: str
    versions: tuple[float, ...]
    received_utc_s: float
    start_utc_s: float
    phases: tuple[Phase, ...]
    ending: Ending
    ended_utc_s: float | None
    history: tuple[Told, ...]

    @property
    def span(self) -> Span:
        """From the first ask in force to the last; of a course without any it is empty."""
        if not self.phases:
            return Span(self.start_utc_s, self.start_utc_s)
        return Span(self.phases[0].span.start_utc_s, self.phases[-1].span.end_utc_s)


ENDS = {
    EventStatus.COMPLETED: Ending.COMPLETED,
    EventStatus.CANCELLED: Ending.CANCELLED,
    EventStatus.EXPIRED: Ending.EXPIRED,
    EventStatus.SUPERSEDED: Ending.SUPERSEDED,
}
"""The words after which a version holds no longer."""
_BY_OPERATOR = frozenset({EventStatus.CANCELLED, EventStatus.SUPERSEDED})


def course_of(
    event_id: str,
    operator: str,
    told: Sequence[Told],
    *,
    now_utc_s: float,
    version_utc_s: float | None = None,
    others: Sequence[SetPoint] = (),
) -> Course:
    """The course of an event until `now_utc_s`; with a version, of that version's part in it. `others` are
    the set-points beside it, which a relative one may be on top of.

    `CourseError` if nothing was told, or not of that version.
    """
    history = in_order(told)
    if not history:
        raise CourseError(f"{event_id}: nothing is known of it")
    known = [row for row in history if row.event is not None]
    versions = tuple(dict.fromkeys(row.event.version_utc_s for row in known if row.event is not None))
    if version_utc_s is not None and version_utc_s not in versions:
        raise CourseError(f"{event_id}: no version {version_utc_s:.3f} of it was ever accepted")
    named = [row.event for row in known if row.event and version_utc_s in (None, row.event.version_utc_s)]
    node = named[-1].node if named else ""
    phases: list[Phase] = []
    for span, event in _in_force(history, now_utc_s):
        if version_utc_s in (None, event.version_utc_s):
            scheduled = tuple(_phases(event, span, phases[-1] if phases else None))
            rank = rank_of(event, event_id)
            phases += (piece for phase in scheduled for piece in _grounded(phase, rank, history, others))
            node = event.node if scheduled else node
    ending, ended_utc_s = _ending(history, now_utc_s)
    received_utc_s = next((row.utc_s for row in known if row.event in named), history[0].utc_s)
    return Course(
        event=event_id,
        operator=operator,
        node=node,
        versions=versions,
        received_utc_s=received_utc_s,
        start_utc_s=named[-1].start_utc_s if named else received_utc_s,
        phases=tuple(phases),
        ending=ending,
        ended_utc_s=ended_utc_s,
        history=history,
    )


def asking(events: Iterable[tuple[GridEvent, Span]]) -> Iterator[tuple[GridEvent, Span]]:
    """The times in which events moved a site: those in force in which they limit or set its draw."""
    for event, span in events:
        for interval in event.intervals:
            inside = Span(interval.start_utc_s, interval.end_utc_s).clipped(span)
            if inside is not None and not ask_of(interval).is_nothing:
                yield event, inside


def in_force(told: Sequence[Told], now_utc_s: float) -> Iterator[tuple[Span, GridEvent]]:
    """Each version of an event with the time in which it was the one that counted."""
    yield from _in_force(in_order(told), now_utc_s)


def in_order(told: Iterable[Told]) -> tuple[Told, ...]:
    """As it came: no version counts again after a newer one, whatever our clock showed."""
    rows = tuple(told)
    times = never_back([row.utc_s for row in rows])
    return tuple(
        row if row.utc_s == utc_s else replace(row, utc_s=utc_s)
        for row, utc_s in zip(rows, times, strict=True)
    )


def ask_of(interval: EventInterval) -> Ask:
    limits = [Limit(s.power) for s in interval.signals if isinstance(s, LimitSignal)]
    targets = [s.power for s in interval.signals if isinstance(s, TargetSignal)]
    relatives = [s.power for s in interval.signals if isinstance(s, RelativeTargetSignal)]
    return Ask(
        limit=tightest(*limits),
        target=targets[0] if targets else None,
        relative=relatives[0] if relatives else None,
    )


def _in_force(history: Sequence[Told], now_utc_s: float) -> Iterator[tuple[Span, GridEvent]]:
    """From its receipt until the next version, the cancellation, or now. One that came too late never was,
    but ends the one before. One that a snapshot left out and a later one lists again comes back as it was.
    One that was accepted is refused only by a site that takes it back, being commanded no more."""
    newest: GridEvent | None = None
    event: GridEvent | None = None
    since_utc_s = -math.inf
    for row in history:
        newest = row.event or newest
        match row.status:
            case EventStatus.RECEIVED:
                following = newest
            case EventStatus.CANCELLED | EventStatus.EXPIRED | EventStatus.SUPERSEDED:
                following = None
            case EventStatus.REJECTED if event is not None and _takes_back(row, event):
                following = None
            case _ if row.status == AMENDED and event is not None:
                following = newest
            case _:
                continue
        until_utc_s = min(row.utc_s, now_utc_s)
        if event is not None and since_utc_s < until_utc_s:
            yield Span(since_utc_s, until_utc_s), event
        event, since_utc_s = following, row.utc_s
    if event is not None and since_utc_s < now_utc_s:
        yield Span(since_utc_s, now_utc_s), event


def _takes_back(row: Told, event: GridEvent) -> bool:
    """The journal keeps the version of a row to the microsecond, and that of an event as it came."""
    return row.version_utc_s is not None and abs(row.version_utc_s - event.version_utc_s) < SAME_S


def _phases(event: GridEvent, held: Span, before: Phase | None) -> Iterator[Phase]:
    for interval in event.intervals:
        ask = ask_of(interval)
        span = Span(interval.start_utc_s, interval.end_utc_s).clipped(held)
        if span is None or ask.is_nothing:
            continue
        due_utc_s = span.start_utc_s + event.ramp_deadline_s
        goes_on = before is not None and before.span.end_utc_s == span.start_utc_s
        if before is not None and goes_on and ask.is_met_by(before.ask):
            due_utc_s = min(due_utc_s, max(before.due_utc_s, span.start_utc_s))
        before = Phase(span=span, ask=ask, due_utc_s=due_utc_s, version_utc_s=event.version_utc_s)
        yield before


def _grounded(
    phase: Phase, rank: Rank, history: Sequence[Told], others: Sequence[SetPoint]
) -> Iterator[Phase]:
    """A phase with what it is relative to, cut where that changes; its deadline stays the same."""
    change = phase.ask.relative
    if change is None:
        yield phase
        return
    for span, ground in grounds(phase.span, rank, frozen(history, phase.span), others):
        target = phase.ask.target if ground is None else max(ground + change, ZERO)
        yield replace(phase, span=span, ask=replace(phase.ask, target=target, ground=ground))


def frozen(history: Sequence[Told], span: Span) -> Power | None:
    """What the site froze of its draw before an event, as it held in `span`: the word is written a moment
    after the event begins."""
    known = [row for row in history if row.drawn_before is not None]
    during = [row for row in known if row.utc_s < span.end_utc_s]
    nearest = during[-1:] or known[:1]
    return nearest[0].drawn_before if nearest else None


def _ending(history: Sequence[Told], now_utc_s: float) -> tuple[Ending, float | None]:
    """The first word that ended it, unless it came back: an event that is over is cancelled by nobody, and
    not moved by a version that comes too late."""
    ending: Ending | None = None
    ended_utc_s: float | None = None
    newest: GridEvent | None = None
    for row in history:
        is_over = newest is not None and newest.end_utc_s <= row.utc_s
        is_late = is_over and (row.event is not None or row.status in _BY_OPERATOR)
        newest = row.event or newest
        if row.status in (EventStatus.RECEIVED, EventStatus.STARTED, EventStatus.COMPLIANT):
            ending, ended_utc_s = None, None
        elif row.status in ENDS and ending in (None, Ending.SUPERSEDED) and not is_late:
            ending, ended_utc_s = ENDS[EventStatus(row.status)], row.utc_s
        elif row.status == EventStatus.REJECTED and newest is not None and _takes_back(row, newest):
            ending, ended_utc_s = Ending.REJECTED, row.utc_s
    if ending is not None:
        return ending, ended_utc_s
    if newest is None:
        return Ending.REJECTED, None
    return (Ending.OVER if newest.end_utc_s <= now_utc_s else Ending.RUNNING), None
