"""From the journal to evidence: reads what was told, measured and commanded around an event; has it judged.

It reads through `history` alone and never writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from controller.decide.plan import AlarmKind, Reason
from controller.run.history import EventRow, History
from controller.run.journalschema import Bookkeeping
from controller.settlement.baseline import baseline_of
from controller.settlement.course import Course, Told, asking, course_of, in_force
from controller.settlement.days import Calendar
from controller.settlement.dynamics import dynamics_of
from controller.settlement.evidence import NOT_CHECKED, Audit, Commands, Evidence
from controller.settlement.likedays import History as Past
from controller.settlement.metering import Metering, Reading, Span, held
from controller.settlement.methods import (
    Baseline,
    Lack,
    MatchDay,
    MeterBefore,
    Method,
    NoBaseline,
    SameDay,
    XOfY,
)
from controller.settlement.performance import Excuse, Terms, judged

OWN = "own"
"""What the journal calls the site's own rules and people: their events disturb no operator's like days."""
MINUTE_S = 60.0
DAY_S = 86_400.0
CLOCK_S = 3600.0
AROUND_S = 3600.0
"""How long before and after an event its meter is shown, and its return looked for."""
LINK_LOST = AlarmKind.LINK_LOST.value
STARTED = Bookkeeping.STARTED
LONGEST_LOSS_S = 7 * DAY_S
OUR_REASONS = frozenset({Reason.LIMITED.value, Reason.FOLLOWING.value})
"""Reasons of commands that follow from a limit or a set-point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which event is asked for, and by which agreements it is judged.

    `node` is where an event without a node of its own is metered. A sample of the meter holds for
    `meter_holds_s` at most; the site goes down `lead_s` before an event.
    """

    event: str
    node: str
    terms: Terms
    calendar: Calendar
    baseline_calendar: Calendar
    method: Method
    now_utc_s: float
    version_utc_s: float | None
    site: str
    zone_name: str
    program: str
    meter_holds_s: float
    lead_s: float


def gather(history: History, question: Question, audit: Audit = NOT_CHECKED) -> Evidence:
    """`CourseError` if the event or its version is not known, `PerformanceError` if it cannot be cut so
    finely, `HistoryError` if the journal cannot be read."""
    rows = history.event(question.event)
    operator = rows[0].operator if rows else ""
    course = course_of(
        question.event,
        operator,
        [told(row) for row in rows],
        now_utc_s=question.now_utc_s,
        version_utc_s=question.version_utc_s,
    )
    node = course.node or question.node
    after_utc_s = course.span.end_utc_s + AROUND_S
    around = Span(course.span.start_utc_s - AROUND_S, after_utc_s)
    meter = metered(history, node, around, question.meter_holds_s)
    others = tuple(disturbances(history, question.now_utc_s))
    baseline = baseline_now(history, question, course, node, meter, others)
    next_utc_s = min(
        (span.start_utc_s for span in others if span.start_utc_s >= course.span.end_utc_s),
        default=after_utc_s,
    )
    return Evidence(
        site=question.site,
        node=node,
        zone=question.calendar.zone,
        zone_name=question.zone_name,
        made_utc_s=question.now_utc_s,
        program=question.program,
        course=course,
        terms=question.terms,
        baseline=baseline,
        baseline_interval_s=question.baseline_calendar.interval_s,
        intervals=judged(
            course, meter, baseline, question.terms, question.calendar, tuple(_excuses(history, course))
        ),
        dynamics=dynamics_of(
            course,
            meter,
            question.terms,
            lead_s=question.lead_s,
            restore_until_utc_s=min(after_utc_s, next_utc_s, question.now_utc_s),
        ),
        commands=_commands(history, course, question.lead_s),
        meter=meter,
        audit=audit,
        notes=(*_notes(course, meter), *_losses(history, around)),
    )


def told(row: EventRow) -> Told:
    return Told(
        utc_s=row.utc_s, status=row.status, version_utc_s=row.version_utc_s, event=row.version, why=row.why
    )


def metered(history: History, node: str, around: Span, holds_s: float) -> Metering:
    """What the node's meter showed: every tick of the site, the minutes of a node below it."""
    window = (node, around.start_utc_s, around.end_utc_s)
    samples = [
        (row.utc_s, None if row.metered is None else row.metered.watts) for row in history.samples(*window)
    ]
    if len(samples) > around.length_s / MINUTE_S * 2:  # more than the one a minute of other nodes
        return held(samples, holds_s)
    minutes = Metering.of(_minutes(history, [around], node))
    return minutes if minutes.readings else held(samples, holds_s)


def disturbances(history: History, now_utc_s: float, *, but: Iterable[str] = (OWN,)) -> Iterator[Span]:
    """When events of grid operators moved the site, whatever their end was."""
    left_out = frozenset(but)
    by_event: dict[str, list[Told]] = {}
    for row in history.events():
        if row.operator not in left_out:
            by_event.setdefault(row.id, []).append(told(row))
    for rows in by_event.values():
        found = ((event, span) for span, event in in_force(rows, now_utc_s))
        yield from (span for _, span in asking(found))


def baseline_now(
    history: History,
    question: Question,
    course: Course,
    node: str,
    meter: Metering,
    others: tuple[Span, ...],
) -> Baseline | NoBaseline:
    method, calendar = question.method, question.baseline_calendar
    if not course.phases:
        detail = "the event never asked the site for anything"
        return NoBaseline(method=method.name, lack=Lack.NO_SUCH_THING, detail=detail)
    usage = meter
    if not isinstance(method, MeterBefore):
        usage = Metering.of(_minutes(history, wanted(method, calendar, course.span), node))
    past = Past(
        calendar=calendar, usage=usage, event=course.span, others=others, now_utc_s=question.now_utc_s
    )
    return baseline_of(method, past)


def wanted(method: Method, calendar: Calendar, event: Span) -> list[Span]:
    """The times that a method looks at: of a year of minutes, an hour or two of some days."""
    grain_s = float(calendar.interval_s)
    match method:
        case XOfY():
            window = method.adjustment
            before_s = 0.0 if window is None else window.window_s + window.gap_s
            return _of_days(calendar, event, method.look_back_days, before_s + grain_s, grain_s)
        case MatchDay():
            whole = calendar.span_of(calendar.day_of(event.start_utc_s))
            before_s = event.start_utc_s - whole.start_utc_s + grain_s
            after_s = max(whole.end_utc_s - event.end_utc_s, 0.0) + grain_s
            return _of_days(calendar, event, method.look_back_days, before_s, after_s)
        case SameDay():
            reach_s = method.skip_s + max(method.before_s, method.after_s)
            return [Span(event.start_utc_s - reach_s, event.end_utc_s + reach_s)]
        case _:
            return [event]


def _of_days(calendar: Calendar, event: Span, days: int, before_s: float, after_s: float) -> list[Span]:
    """The same hours of every day, with an hour more on both sides for a change of the clock in between."""
    day = calendar.day_of(event.start_utc_s)
    whole = Span(event.start_utc_s - before_s - CLOCK_S, event.end_utc_s + after_s + CLOCK_S)
    if whole.length_s >= DAY_S:
        return [Span(whole.start_utc_s - days * DAY_S, whole.end_utc_s)]
    midnight_utc_s = calendar.span_of(day).start_utc_s
    spans = []
    for days_ago in range(days + 1):
        earlier_s = midnight_utc_s - calendar.span_of(day - timedelta(days=days_ago)).start_utc_s
        spans.append(Span(whole.start_utc_s - earlier_s, whole.end_utc_s - earlier_s))
    return spans


def _minutes(history: History, spans: Iterable[Span], node: str) -> Iterator[Reading]:
    for span in spans:
        for row in history.usage(node, span.start_utc_s - MINUTE_S, span.end_utc_s):
            minute = Span(row.minute_utc_s, row.minute_utc_s + MINUTE_S)
            yield Reading(minute, row.mean.watts, min(row.measured_s, MINUTE_S))


def _excuses(history: History, course: Course) -> Iterator[Excuse]:
    """When the link to an operator whose commands count was lost. A controller that starts has no alarm yet:
    it raises anew what still holds."""
    end_utc_s = course.span.end_utc_s
    window = (course.span.start_utc_s - LONGEST_LOSS_S, end_utc_s)
    changes = [(row.utc_s, row.is_raised) for row in history.alarms(*window) if row.kind == LINK_LOST]
    changes += [(row.utc_s, False) for row in history.bookkeeping(*window) if row.what == STARTED]
    since_utc_s: float | None = None
    for utc_s, is_lost in sorted(changes):
        if is_lost and since_utc_s is None:
            since_utc_s = utc_s
        elif not is_lost and since_utc_s is not None:
            yield Excuse(Span(since_utc_s, utc_s), LINK_LOST)
            since_utc_s = None
    if since_utc_s is not None:
        yield Excuse(Span(since_utc_s, end_utc_s), LINK_LOST)


def _commands(history: History, course: Course, lead_s: float) -> Commands:
    if not course.phases:
        return Commands()
    start_utc_s = max(course.span.start_utc_s - lead_s, min(course.received_utc_s, course.span.start_utc_s))
    counts = dict.fromkeys(("commanded", "acknowledged", "refused", "failed"), 0)
    first_utc_s: float | None = None
    for row in history.commands(start_utc_s, course.span.end_utc_s):
        if row.kind not in counts:
            continue
        counts[row.kind] += 1
        ours = row.kind == "commanded" and row.detail.partition(" ")[0] in OUR_REASONS
        if ours and first_utc_s is None:
            first_utc_s = row.utc_s
    lying = sum(
        row.kind == AlarmKind.DEVICE_LYING and row.is_raised
        for row in history.alarms(start_utc_s, course.span.end_utc_s)
    )
    return Commands(
        sent=counts["commanded"],
        acknowledged=counts["acknowledged"],
        refused=counts["refused"],
        failed=counts["failed"],
        lying=lying,
        first_utc_s=first_utc_s,
    )


def _notes(course: Course, meter: Metering) -> tuple[str, ...]:
    notes = []
    if not course.phases:
        notes.append("the event never asked the site for a limit or a set-point while it was in force")
    elif not meter.within(course.span):
        notes.append("the meter was not read in the event, or the journal does not reach back so far")
    if len(course.versions) > 1:
        notes.append(f"{len(course.versions)} versions were accepted; each interval names the one in force")
    return tuple(notes)


def _losses(history: History, around: Span) -> Iterator[str]:
    """What the journal itself says of rows that are not in it."""
    for row in history.bookkeeping(around.start_utc_s, around.end_utc_s):
        if row.what == Bookkeeping.LOST:
            yield f"the journal lost {row.rows or 0} rows of {row.subject}: {row.detail}"


def known_events(history: History) -> list[tuple[EventRow, int]]:
    """The newest word on every event, and how many versions of it were accepted; latest first."""
    newest: dict[str, EventRow] = {}
    versions: dict[str, set[float]] = {}
    for row in history.events():
        newest[row.id] = replace(
            row, version=row.version or (newest[row.id].version if row.id in newest else None)
        )
        if row.version is not None:
            versions.setdefault(row.id, set()).add(row.version.version_utc_s)
    return [
        (row, len(versions.get(row.id, ())))
        for row in sorted(newest.values(), key=lambda row: (-row.utc_s, row.id))
    ]
