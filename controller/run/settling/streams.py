"""From the journal to what can be said of a stream of set-points over a span of time.

A stream is one of base points, or an event whose versions and intervals set the site's draw one after the
other. It reads through `history` alone and never writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from controller.domain.eventnames import operator_in
from controller.domain.grid import EventStatus
from controller.domain.power import Bound, Limit, Power
from controller.grid.basepoint import STREAM_PRIORITY
from controller.run.journal.history import History
from controller.run.journal.rows import EventRow
from controller.run.settling.baselines import FINE_S, metered, told
from controller.run.settling.gathering import excuses, losses
from controller.run.settling.setpoints import grounded_course, overruled, points_in_force, ranked
from controller.settlement.course import Course, CourseError
from controller.settlement.days import Calendar
from controller.settlement.evidence import NOT_CHECKED, Audit
from controller.settlement.metering import Metering, Span
from controller.settlement.parts import parts_of
from controller.settlement.performance import Excuse, PerformanceError, Terms
from controller.settlement.scored import LATEST_S, regulation_of
from controller.settlement.stream import Asked, Silence, due, followed, period_of, silence_of
from controller.settlement.streamevidence import StreamEvidence

QUICK_S = 60.0
TOLD = frozenset({EventStatus.REJECTED.value, EventStatus.INFEASIBLE.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamQuestion:
    """Which stream is asked for, over which span, and by what it is judged. The site has `deadline_s` to
    reach a base point; the deadlines of events are their own. A regulation signal swings about `base`; when
    no base point is in force the site keeps to `silent`."""

    stream: str
    span: Span
    node: str
    meter_holds_s: float
    terms: Terms
    calendar: Calendar
    deadline_s: float
    base: Power | None
    silent: Bound
    now_utc_s: float
    site: str
    zone_name: str
    program: str
    stream_priorities: Mapping[str, int]


def gather_stream(history: History, question: StreamQuestion, audit: Audit = NOT_CHECKED) -> StreamEvidence:
    """`CourseError` if it had no set-point in that time, `PerformanceError` if it cannot be cut so finely,
    `HistoryError` if the journal cannot be read."""
    span = Span(question.span.start_utc_s, min(question.span.end_utc_s, question.now_utc_s))
    rows = history.event(question.stream)
    deadline_s = question.deadline_s
    around = _around(span, deadline_s)
    points = list(_base_points(history, question, around))
    courses: tuple[Course, ...] = ()
    if rows and not points:
        versions = [row.version for row in rows if row.version is not None]
        longest_s = max((version.ramp_deadline_s for version in versions), default=0.0)
        around = _around(span, longest_s)
        courses = tuple(_courses(history, question, rows, around.end_utc_s))
        points = [point for course in courses for point in _set_points(course, around)]
        deadline_s = max((ramp_s for course in courses for ramp_s in _ramps_s(course, span)), default=0.0)
    beyond = tuple(due(points))
    asked = tuple(_inside(beyond, span))
    if not asked:
        raise CourseError(f"{question.stream}: no set-point in that time")
    since = Span(span.start_utc_s - question.meter_holds_s, span.end_utc_s + LATEST_S)
    _check(asked, since)
    meter = metered(history, question.node, since, question.meter_holds_s)
    operator = operator_in(question.stream)
    return StreamEvidence(
        site=question.site,
        node=question.node,
        zone=question.calendar.zone,
        zone_name=question.zone_name,
        made_utc_s=question.now_utc_s,
        program=question.program,
        stream=question.stream,
        operator=operator,
        span=span,
        terms=question.terms,
        deadline_s=deadline_s,
        asked=asked,
        intervals=followed(
            asked,
            meter,
            span,
            terms=question.terms,
            calendar=question.calendar,
            excuses=(*excuses(history, span, operator), *_overruled(history, question, courses)),
        ),
        regulation=regulation_of(beyond, meter, span, base=question.base),
        meter=meter,
        silence=None if courses else _silence(history, question, beyond, meter, span),
        told=tuple(told(row) for row in rows if row.status in TOLD and _is_in(row, span)),
        audit=audit,
        notes=(*_notes(beyond, deadline_s), *losses(history, span)),
    )


def _around(span: Span, deadline_s: float) -> Span:
    """Whether a set-point held for its deadline, and since when, does not hang on the span that is asked for:
    so much more of the time on both sides says it. Of what is to come it is as it was scheduled. And the last
    hour's score hangs on what follows it."""
    return Span(span.start_utc_s - deadline_s, span.end_utc_s + max(deadline_s, LATEST_S))


def _inside(asked: Iterable[Asked], span: Span) -> Iterator[Asked]:
    for one in asked:
        if (inside := one.span.clipped(span)) is not None:
            yield replace(one, span=inside)


def _silence(
    history: History, question: StreamQuestion, beyond: Sequence[Asked], meter: Metering, span: Span
) -> Silence | None:
    """Before the first set-point of all there is nothing that could have ended. A silence may have begun
    before the span."""
    if not isinstance(question.silent, Limit):
        return None
    first_utc_s = min(
        (row.first_utc_s for row in history.streams() if row.id == question.stream), default=0.0
    )
    since = Span(max(span.start_utc_s - question.deadline_s, first_utc_s), span.end_utc_s)
    asked = tuple(_inside(beyond, since))
    return silence_of(asked, meter, since, question.silent.power, question.deadline_s)


def _overruled(history: History, question: StreamQuestion, courses: Sequence[Course]) -> Iterator[Excuse]:
    """Each set-point with its own rank: one that is older than another of its priority is outranked."""
    name, span = question.stream, question.span
    if courses:
        asked = [
            (inside, rank, target)
            for course in courses
            for held, rank, target in ranked(course)
            if (inside := held.clipped(span)) is not None
        ]
    else:
        priority = question.stream_priorities.get(operator_in(name), STREAM_PRIORITY)
        asked = [
            (inside, (priority, -point.version_utc_s, name), point.target)
            for inside, point in points_in_force(history, name, span)
        ]
    yield from overruled(history, name, asked, question.now_utc_s, question.stream_priorities)


def _base_points(history: History, question: StreamQuestion, span: Span) -> Iterator[Asked]:
    for held, point in points_in_force(history, question.stream, span):
        yield Asked(held, point.target, held.start_utc_s + question.deadline_s)


def _courses(
    history: History, question: StreamQuestion, rows: Sequence[EventRow], until_utc_s: float
) -> Iterator[Course]:
    """One for each time that the id was used."""
    for part in parts_of(told(row) for row in rows):
        yield grounded_course(
            history,
            question.stream,
            rows[0].operator,
            part,
            now_utc_s=until_utc_s,
            stream_priorities=question.stream_priorities,
        )


def _ramps_s(course: Course, span: Span) -> Iterator[float]:
    """The deadlines of the versions that were in force in `span`."""
    in_force = {phase.version_utc_s for phase in course.phases if phase.span.overlaps(span)}
    versions = (row.event for row in course.history if row.event is not None)
    yield from (version.ramp_deadline_s for version in versions if version.version_utc_s in in_force)


def _set_points(course: Course, span: Span) -> Iterator[Asked]:
    for phase in course.phases:
        inside = phase.span.clipped(span)
        if inside is not None and phase.ask.target is not None:
            yield Asked(inside, phase.ask.target, phase.due_utc_s)


def _check(asked: Sequence[Asked], span: Span) -> None:
    """Beyond some two days the meter is read by the minute, which says nothing of a set-point of seconds."""
    period_s = period_of(asked)
    if span.length_s > FINE_S and period_s is not None and period_s < QUICK_S:
        most = f"{FINE_S / 86_400:.0f} days"
        raise PerformanceError(f"set-points every {period_s:.0f} s are settled over {most} at most")


def _is_in(row: EventRow, span: Span) -> bool:
    return span.start_utc_s <= row.utc_s < span.end_utc_s


def _notes(asked: Sequence[Asked], deadline_s: float) -> Iterator[str]:
    if deadline_s > 0 and all(one.due_utc_s <= one.span.start_utc_s for one in asked):
        yield f"no set-point held for longer than the {deadline_s:g} s to reach it: every moment counts"
