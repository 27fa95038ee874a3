"""From the journal to evidence: reads what was told, measured and commanded around an event; has it judged.

It reads through `history` alone and never writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from itertools import islice

from controller.decide.words import AlarmKind
from controller.domain.eventnames import FIRST
from controller.domain.grid import GridEvent
from controller.domain.power import NO_LIMIT
from controller.run.journal.history import History
from controller.run.journal.rows import EventRow
from controller.run.journal.schema import OPERATOR_LINK_LOST, Bookkeeping
from controller.run.settling.baselines import DAY_S, OWN, Agreement, baseline_for, disturbances, metered, told
from controller.run.settling.commands import commands_in, jobs_in
from controller.run.settling.setpoints import grounded_course, overruled, ranked
from controller.settlement.course import Course, CourseError, Told
from controller.settlement.days import Calendar
from controller.settlement.dynamics import dynamics_of
from controller.settlement.evidence import NOT_CHECKED, Audit, Evidence
from controller.settlement.figures import local
from controller.settlement.metering import Metering, Span, never_back
from controller.settlement.parts import Part, has_asked, parts_of
from controller.settlement.performance import Excuse, Terms, judged

AROUND_S = 3600.0
"""How long before and after an event its meter is shown, and its return looked for."""
MOST_JOBS = 1_000
"""Words to jobs, and of their queues, that a report lists."""
DROPPED = "what was told of this event before is dropped, if there was anything"
LINK_LOST = AlarmKind.LINK_LOST.value
STARTED = Bookkeeping.STARTED
LONGEST_LOSS_S = 7 * DAY_S
BESIDE = ("alarms", "commands", "setpoints")
"""Tables that a report needs beside events and energy, and that may be kept for a shorter time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which event is asked for, and by what it is judged. The site goes down `lead_s` before an event.
    `stream_priorities` are those of base points, by operator, which the journal does not hold. Of an id that
    was used again it is the `part` of that number, from 1 on, else that with the version, else the last that
    has begun."""

    event: str
    agreement: Agreement
    terms: Terms
    calendar: Calendar
    now_utc_s: float
    version_utc_s: float | None
    part: int | None
    site: str
    zone_name: str
    program: str
    lead_s: float
    stream_priorities: Mapping[str, int] = field(default_factory=dict)


def gather(history: History, question: Question, audit: Audit = NOT_CHECKED) -> Evidence:
    """`CourseError` if the event, its part or its version is not known, `PerformanceError` if it cannot be
    cut so finely, `HistoryError` if the journal cannot be read."""
    rows = history.event(question.event)
    operator = rows[0].operator if rows else ""
    parts = parts_of(told(row) for row in rows)
    number = _number(question, parts)
    known = parts[number - 1]
    course = _course(history, question, operator, known)
    node = course.node or question.agreement.node
    terms = replace(question.terms, firm_service_level=NO_LIMIT) if course.node else question.terms
    around = Span(course.span.start_utc_s - AROUND_S, course.span.end_utc_s + AROUND_S)
    meter = metered(history, node, around, question.agreement.meter_holds_s)
    others = tuple(disturbances(history, course.span.start_utc_s, question.now_utc_s))
    baseline = baseline_for(history, question.agreement, question.event, known, question.now_utc_s)
    is_whole = history.is_whole("events", rows[0].utc_s)
    jobs = tuple(islice(jobs_in(history, course, question.lead_s), MOST_JOBS + 1))
    free_until_utc_s = min(around.end_utc_s, _held_utc_s(course, others), question.now_utc_s)
    return Evidence(
        site=question.site,
        node=node,
        zone=question.calendar.zone,
        zone_name=question.zone_name,
        made_utc_s=question.now_utc_s,
        program=question.program,
        course=course,
        part=number,
        parts=len(parts),
        terms=terms,
        baseline=baseline,
        baseline_interval_s=question.agreement.calendar.interval_s,
        intervals=judged(
            course,
            meter,
            baseline,
            terms,
            question.calendar,
            (*excuses(history, course.span, operator), *_overruled(history, question, course)),
        ),
        dynamics=dynamics_of(
            course,
            meter,
            terms,
            lead_s=question.lead_s,
            others=others,
            restore_until_utc_s=free_until_utc_s,
        ),
        commands=commands_in(history, course, question.lead_s),
        jobs=jobs[:MOST_JOBS],
        meter=meter,
        audit=audit,
        notes=(
            *losses(history, around),
            *(() if is_whole else (DROPPED,)),
            *_starts(history, course.span, question.calendar.zone),
            *_uses(number, len(parts), is_all=history.is_whole("events", -math.inf)),
            *_notes(course, meter, is_whole=is_whole),
            *_left_out(len(jobs)),
        ),
    )


def _left_out(jobs: int) -> Iterator[str]:
    if jobs > MOST_JOBS:
        yield f"only the first {MOST_JOBS} words to jobs and of their queues are listed"


def _held_utc_s(course: Course, others: Sequence[Span]) -> float:
    """When the site was first held by another event, once this one had let it go."""
    end_utc_s = course.span.end_utc_s
    later = (max(other.start_utc_s, end_utc_s) for other in others if other.end_utc_s > end_utc_s)
    return min(later, default=math.inf)


def _number(question: Question, parts: Sequence[Part]) -> int:
    if question.part is not None:
        if not 1 <= question.part <= len(parts):
            raise CourseError(f"{question.event}: no part {question.part} of it: there are {len(parts)}")
        return question.part
    wanted = [number for number, part in enumerate(parts, 1) if _is_wanted(question, part)]
    return max(wanted, default=len(parts))


def _is_wanted(question: Question, part: Part) -> bool:
    if question.version_utc_s is None:
        return has_asked(part, question.now_utc_s)
    versions = (row.event for row in part if row.event is not None)
    return any(version.version_utc_s == question.version_utc_s for version in versions)


def _uses(number: int, parts: int, *, is_all: bool) -> Iterator[str]:
    """A version names a part for good; its number counts what retention has left."""
    if parts > 1:
        known = "" if is_all else ", as far as the journal reaches back"
        yield f"the id was used {parts} times{known}, and this is part {number}: --part says which"


def _course(history: History, question: Question, operator: str, known: Sequence[Told]) -> Course:
    return grounded_course(
        history,
        question.event,
        operator,
        known,
        now_utc_s=question.now_utc_s,
        version_utc_s=question.version_utc_s,
        stream_priorities=question.stream_priorities,
    )


def _overruled(history: History, question: Question, course: Course) -> Iterator[Excuse]:
    """Nodes are limited only: a set-point is of the whole site."""
    asked = list(ranked(course))
    yield from overruled(history, question.event, asked, question.now_utc_s, question.stream_priorities)


def excuses(history: History, span: Span, operator: str) -> Iterator[Excuse]:
    """When the link to this operator was lost. A controller that starts has no alarm yet: it raises anew what
    still holds."""
    end_utc_s = span.end_utc_s
    window = (span.start_utc_s - LONGEST_LOSS_S, end_utc_s)
    changes = [(row.utc_s, False) for row in history.bookkeeping(*window) if row.what == STARTED]
    changes += _link_changes(history, window, operator)
    since_utc_s: float | None = None
    for utc_s, is_lost in sorted(changes, key=lambda change: change[0]):
        if is_lost and since_utc_s is None:
            since_utc_s = utc_s
        elif not is_lost and since_utc_s is not None:
            yield Excuse(Span(since_utc_s, utc_s), LINK_LOST)
            since_utc_s = None
    if since_utc_s is not None:
        yield Excuse(Span(since_utc_s, end_utc_s), LINK_LOST)


def _link_changes(
    history: History, window: tuple[float, float], operator: str
) -> Iterator[tuple[float, bool]]:
    """A journal that does not tell the operators' links apart has the site's own alarm for all of them."""
    rows = [row for row in history.alarms(*window) if row.kind in (LINK_LOST, OPERATOR_LINK_LOST)]
    meant = []
    tells_apart = any(row.kind == OPERATOR_LINK_LOST for row in rows)
    for row in rows:
        if tells_apart:
            is_meant = row.kind == OPERATOR_LINK_LOST and row.subject == (operator or FIRST)
        else:
            is_meant = operator != OWN
        if is_meant:
            meant.append(row)
    times = never_back([row.utc_s for row in meant])
    yield from ((utc_s, row.is_raised) for utc_s, row in zip(times, meant, strict=True))


def _notes(course: Course, meter: Metering, *, is_whole: bool) -> tuple[str, ...]:
    notes = []
    if not course.phases:
        known = "while it was in force" if is_whole else "that the journal still has"
        notes.append(f"the event never asked the site for a limit or a set-point {known}")
    elif not meter.within(course.span):
        notes.append("the meter was not read in the event, or the journal does not reach back so far")
    if any(phase.ask.relative is not None and phase.ask.ground is None for phase in course.phases):
        notes.append("a relative set-point of which it was not kept what it is relative to is not judged")
    if len(course.versions) > 1:
        notes.append(f"{len(course.versions)} versions were accepted; each interval names the one in force")
    return tuple(notes)


def _starts(history: History, span: Span, zone: tzinfo) -> Iterator[str]:
    """What was not measured before it had nobody to measure it."""
    rows = history.bookkeeping(span.start_utc_s, span.end_utc_s)
    times = [row.utc_s for row in rows if row.what == STARTED]
    if times:
        again = "" if len(times) == 1 else f"{len(times)} times, first "
        yield f"a controller started in the event, {again}at {local(times[0], zone, '%H:%M:%S')}"


def losses(history: History, around: Span) -> Iterator[str]:
    """What the journal itself says of rows that are not in it."""
    for row in history.bookkeeping(around.start_utc_s, around.end_utc_s):
        if row.what == Bookkeeping.LOST:
            yield f"the journal lost {row.rows or 0} rows of {row.subject}: {row.detail}"
    dropped = [name for name in BESIDE if not history.is_whole(name, around.start_utc_s)]
    if dropped:
        yield f"retention may have dropped {', '.join(dropped)} of that time: what they would say is missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEvent:
    """One part of an event's id: the last word on it, the newest of its accepted `versions`, and which part
    of how many it is. `event` is the operator's own name of it."""

    id: str
    event: str
    status: str
    utc_s: float
    version: GridEvent | None
    versions: int
    part: int
    parts: int


def known_events(history: History) -> list[KnownEvent]:
    """Every part of every event; latest first."""
    by_id: dict[str, list[EventRow]] = {}
    for row in history.events():
        by_id.setdefault(row.id, []).append(row)
    known = [
        _known(rows[0], part, number, len(parts))
        for rows in by_id.values()
        for parts in (parts_of(told(row) for row in rows),)
        for number, part in enumerate(parts, 1)
    ]
    return sorted(known, key=lambda event: (-event.utc_s, event.id, -event.part))


def _known(row: EventRow, part: Part, number: int, parts: int) -> KnownEvent:
    accepted = [one.event for one in part if one.event is not None]
    return KnownEvent(
        id=row.id,
        event=row.event,
        status=part[-1].status,
        utc_s=part[-1].utc_s,
        version=accepted[-1] if accepted else None,
        versions=len({version.version_utc_s for version in accepted}),
        part=number,
        parts=parts,
    )
