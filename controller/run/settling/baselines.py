"""What a site would have drawn without an event, from the journal: it reads only what the method looks at.

An event that goes on is taken until its scheduled end: its baseline is the same while it lasts and after.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

from controller.domain.grid import EventStatus, GridEvent
from controller.run.journal.happenings import OBSERVED
from controller.run.journal.history import History
from controller.run.journal.rows import EventRow
from controller.run.journal.schema import Bookkeeping
from controller.settlement.baseline import baseline_of
from controller.settlement.course import Told, asking, course_of, in_force
from controller.settlement.days import Calendar
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

STARTED = Bookkeeping.STARTED
OWN = "own"
"""What the journal calls the site's own rules and people: their events disturb no operator's like days."""
MINUTE_S = 60.0
DAY_S = 86_400.0
CLOCK_S = 3600.0
KNOWN_FOR_S = 500 * DAY_S
FINE_S = 2 * DAY_S + 2 * CLOCK_S
"""Two days, with what is read around them. What is longer is read by the minute: the ticks of a month would
not fit the memory of a small machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How a baseline is made. `node` is where an event without a node of its own is metered; a sample of the
    meter holds for `meter_holds_s` at most."""

    method: Method
    calendar: Calendar
    node: str
    meter_holds_s: float


def baseline_for(
    history: History, agreement: Agreement, event: str, rows: Sequence[Told], now_utc_s: float
) -> Baseline | NoBaseline:
    """`CourseError` if nothing was told of the event, `HistoryError` if the journal cannot be read."""
    method, calendar = agreement.method, agreement.calendar
    course = course_of(event, "", rows, now_utc_s=_until(rows, now_utc_s))
    if not course.phases:
        detail = "the event never asked the site for anything"
        return NoBaseline(method=method.name, lack=Lack.NO_SUCH_THING, detail=detail)
    node = course.node or agreement.node
    others = tuple(disturbances(history, course.span.start_utc_s, now_utc_s))
    nothing = Past(
        calendar=calendar, usage=Metering.of(()), event=course.span, others=others, now_utc_s=now_utc_s
    )
    at_first = baseline_of(method, nothing)
    if isinstance(at_first, NoBaseline) and at_first.lack in (Lack.NOT_OVER, Lack.NO_SUCH_THING):
        return at_first  # nothing need be read for it
    looked_at = wanted(method, calendar, course.span)
    if isinstance(method, MeterBefore):
        usage = metered(history, node, looked_at[0], agreement.meter_holds_s)
    else:
        usage = Metering.of(_minutes(history, looked_at, node))
    past = Past(calendar=calendar, usage=usage, event=course.span, others=others, now_utc_s=now_utc_s)
    return baseline_of(method, past)


def _until(rows: Sequence[Told], now_utc_s: float) -> float:
    """The scheduled end of an event that goes on; of one that is open a day from now."""
    ends = [row.event.end_utc_s for row in rows if row.event is not None]
    return max(now_utc_s, min(max(ends, default=now_utc_s), now_utc_s + DAY_S))


def told(row: EventRow) -> Told:
    return Told(
        utc_s=row.utc_s,
        status=row.status,
        version_utc_s=row.version_utc_s,
        event=row.version,
        why=row.why,
        possible=row.possible,
        drawn_before=row.drawn_before,
    )


def metered(history: History, node: str, around: Span, holds_s: float) -> Metering:
    """What the node's meter showed: every tick of the site, the minutes of a node below it, and of the site
    where its ticks are dropped already. A tick holds for three of its kind at least: `holds_s` is what a site
    file says now, which may be at hand no more, or be another one."""
    window = (node, around.start_utc_s, around.end_utc_s)
    samples: list[tuple[float, int | None]] = []
    if around.length_s <= FINE_S:
        samples = [
            (row.utc_s, None if row.metered is None else row.metered.watts)
            for row in history.samples(*window)
        ]
    step_s = _step_s([utc_s for utc_s, _ in samples])
    if step_s is not None and step_s <= MINUTE_S / 2:
        # The minute in which the ticks begin comes whole where they show less than half of it.
        before = Span(around.start_utc_s + MINUTE_S, samples[0][0] - MINUTE_S / 2)
        return Metering.of(
            [*_minutes(history, [before], node), *held(samples, max(holds_s, 3 * step_s)).readings]
        )
    minutes = Metering.of(_minutes(history, [around], node))
    return minutes if minutes.readings else held(samples, holds_s)


def _step_s(times: Sequence[float]) -> float | None:
    """The usual time between two. The site is sampled at every tick, a node below it once a minute."""
    steps = sorted(later - earlier for earlier, later in pairwise(times))
    return steps[len(steps) // 2] if steps else None


def disturbances(history: History, start_utc_s: float, now_utc_s: float) -> Iterator[Span]:
    """When events of grid operators moved the site until now, whatever their end was, or may have where the
    site was only observed. Of those that became known more than `KNOWN_FOR_S` before `start_utc_s` nothing is
    read."""
    by_event: dict[str, list[Told]] = {}
    for row in history.events(start_utc_s - KNOWN_FOR_S, now_utc_s):
        if row.operator != OWN:
            by_event.setdefault(row.id, []).append(told(row))
    for rows in (*by_event.values(), *_watched(history, start_utc_s - KNOWN_FOR_S, now_utc_s)):
        found = ((event, span) for span, event in in_force(rows, now_utc_s))
        yield from (span for _, span in asking(found))


def _watched(history: History, from_utc_s: float, to_utc_s: float) -> Iterator[list[Told]]:
    """The events that were refused while the site was only observed, as if they had been accepted. Of one
    without an end the next controller knows whether it goes on."""
    by_event: dict[str, list[Told]] = {}
    for row in history.observed(from_utc_s, to_utc_s):
        status = EventStatus.RECEIVED if row.status == OBSERVED else EventStatus.CANCELLED
        by_event.setdefault(row.id, []).append(replace(told(row), status=status))
    if not by_event:
        return
    rows = history.bookkeeping(from_utc_s, to_utc_s)
    starts = [Told(utc_s=row.utc_s, status=EventStatus.CANCELLED) for row in rows if row.what == STARTED]
    for rows_of_one in by_event.values():
        yield list(_until_started(sorted((*rows_of_one, *starts), key=lambda row: row.utc_s)))


def _until_started(rows: Sequence[Told]) -> Iterator[Told]:
    newest: GridEvent | None = None
    for row in rows:
        newest = row.event or newest
        if row.version_utc_s is not None or (newest is not None and newest.end_utc_s == math.inf):
            yield row


def wanted(method: Method, calendar: Calendar, event: Span) -> list[Span]:
    """The times that a method looks at: of a year of minutes, an hour or two of some days."""
    grain_s = float(calendar.interval_s)
    match method:
        case XOfY():
            window = method.adjustment
            before_s = 0.0 if window is None else window.window_s + window.gap_s
            return _of_days(calendar, event, method.look_back_days, before_s + grain_s, grain_s)
        case MatchDay():
            last_utc_s = math.nextafter(event.end_utc_s, -math.inf)
            first, last = (calendar.day_of(utc_s) for utc_s in (event.start_utc_s, last_utc_s))
            before_s = event.start_utc_s - calendar.span_of(first).start_utc_s + grain_s
            after_s = calendar.span_of(last).end_utc_s - event.end_utc_s + grain_s
            return _of_days(calendar, event, method.look_back_days, before_s, after_s)
        case SameDay():
            reach_s = method.skip_s + max(method.before_s, method.after_s)
            return [Span(event.start_utc_s - reach_s, event.end_utc_s + reach_s)]
        case MeterBefore():
            start_utc_s = event.start_utc_s - method.gap_s - method.length_s
            return [Span(start_utc_s - MINUTE_S, event.start_utc_s + MINUTE_S)]
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
