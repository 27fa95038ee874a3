"""The set-points that were in force, of events and of streams, from the journal: what each stood on, and what
kept it from being followed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.domain.grid import GridEvent
from controller.domain.power import Limit, Power
from controller.grid.basepoint import STREAM_PRIORITY
from controller.run.journal.history import History
from controller.run.journal.rows import SetPointRow
from controller.run.settling.baselines import KNOWN_FOR_S, OWN, told
from controller.settlement.course import Ask, Course, Told, ask_of, course_of, frozen, in_force
from controller.settlement.grounds import Rank, SetPoint, rank_of
from controller.settlement.metering import Span
from controller.settlement.parts import parts_of
from controller.settlement.performance import Excuse, PerformanceError

LONGEST_VALID_S = 86_400.0
"""No set-point of a stream is good for longer."""
MOST_POINTS = 200_000
"""Four days of one every two seconds."""
OUTRANKED, LIMITED = "outranked", "limited"
"""Words of an excuse: another set-point counted, or another grid operator's limit lay below it."""


def points_in_force(history: History, stream: str, span: Span) -> Iterator[tuple[Span, SetPointRow]]:
    """The set-points of a stream with the parts of `span` in which they counted: each from its time or its
    receipt until its end or the receipt of the next one. None counts again after a newer one: it came by a
    clock of ours that was set back since. `PerformanceError` if there are too many."""
    window = (span.start_utc_s - LONGEST_VALID_S, span.end_utc_s)
    held: SetPointRow | None = None
    for turn, row in enumerate(history.set_points(*window)):
        if turn > MOST_POINTS:
            raise PerformanceError(f"{stream}: more than {MOST_POINTS} set-points: a shorter span is needed")
        is_newer = held is None or row.version_utc_s >= held.version_utc_s
        if row.stream == stream and is_newer:
            if held is not None and (found := _counted(held, row.utc_s, span)) is not None:
                yield found, held
            held = row
    if held is not None and (found := _counted(held, span.end_utc_s, span)) is not None:
        yield found, held


def _counted(row: SetPointRow, until_utc_s: float, span: Span) -> Span | None:
    start_utc_s, end_utc_s = max(row.start_utc_s, row.utc_s), min(row.end_utc_s, until_utc_s)
    return Span(start_utc_s, end_utc_s).clipped(span) if start_utc_s < end_utc_s else None


@dataclass(frozen=True, slots=True)
class Beside:
    """What another event asked of the whole site for as long as it was in force."""

    name: str
    operator: str
    version: GridEvent
    span: Span
    ask: Ask
    drawn_before: Power | None


def asked_beside(history: History, event: str, span: Span, now_utc_s: float) -> Iterator[Beside]:
    """All that other events asked for in the course of `span`, streams left out."""
    by_event: dict[tuple[str, str], list[Told]] = {}
    for row in history.events(span.start_utc_s - KNOWN_FOR_S, now_utc_s):
        if row.id != event:
            by_event.setdefault((row.id, row.operator), []).append(told(row))
    for (name, operator), rows in by_event.items():
        for part in parts_of(rows):
            for held, version in in_force(part, now_utc_s):
                for ask, inside in _asks(version, held):
                    if version.node == "" and inside.overlaps(span):
                        yield Beside(name, operator, version, inside, ask, frozen(part, inside))


def _asks(version: GridEvent, held: Span) -> Iterator[tuple[Ask, Span]]:
    for interval in version.intervals:
        inside = Span(interval.start_utc_s, interval.end_utc_s).clipped(held)
        ask = ask_of(interval)
        if inside is not None and not ask.is_nothing:
            yield ask, inside


def set_points_beside(
    history: History, event: str, span: Span, now_utc_s: float, priorities: Mapping[str, int]
) -> Iterator[SetPoint]:
    """Those of all other events and streams in the course of `span`. `priorities` are those of streams, by
    operator: the journal does not hold them."""
    yield from _of_events(asked_beside(history, event, span, now_utc_s))
    yield from _of_streams(history, event, span, priorities)


def _of_events(others: Iterable[Beside]) -> Iterator[SetPoint]:
    for other in others:
        if other.ask.target is not None or other.ask.relative is not None:
            yield SetPoint(
                span=other.span,
                rank=rank_of(other.version, other.name),
                target=other.ask.target,
                change=other.ask.relative,
                drawn_before=other.drawn_before,
            )


def _of_streams(
    history: History, event: str, span: Span, priorities: Mapping[str, int]
) -> Iterator[SetPoint]:
    window = (span.start_utc_s - LONGEST_VALID_S, span.end_utc_s)
    streams = {point.stream: point.operator for point in history.set_points(*window)}
    for name, operator in sorted(streams.items()):
        priority = priorities.get(operator, STREAM_PRIORITY)
        for inside, point in points_in_force(history, name, span) if name != event else ():
            yield SetPoint(span=inside, rank=(priority, -point.version_utc_s, name), target=point.target)


def ranked(course: Course) -> Iterator[tuple[Span, Rank, Power]]:
    """The set-points of an event with the rank of the version that each is of."""
    versions = [row.event for row in course.history if row.event is not None]
    ranks = {version.version_utc_s: rank_of(version, course.event) for version in versions}
    for phase in course.phases:
        if phase.ask.target is not None:
            yield phase.span, ranks[phase.version_utc_s], phase.ask.target


def overruled(
    history: History,
    event: str,
    asked: Sequence[tuple[Span, Rank, Power]],
    now_utc_s: float,
    priorities: Mapping[str, int],
) -> Iterator[Excuse]:
    """When a set-point could not be followed by the contract: another one came first by its rank, or a grid
    operator limited the site below it. The site's own limits excuse nothing."""
    if not asked:
        return
    span = Span(asked[0][0].start_utc_s, asked[-1][0].end_utc_s)
    others = tuple(asked_beside(history, event, span, now_utc_s))
    set_points = (*_of_events(others), *_of_streams(history, event, span, priorities))
    limits = [
        (other.span, other.ask.limit.power)
        for other in others
        if other.operator != OWN and isinstance(other.ask.limit, Limit)
    ]
    outranked = (
        own.clipped(other.span)
        for other in set_points
        for own, rank, _ in _reached(asked, other.span)
        if rank > other.rank
    )
    above = (
        own.clipped(held)
        for held, most in limits
        for own, _, target in _reached(asked, held)
        if target > most
    )
    yield from (Excuse(inside, OUTRANKED) for inside in _merged(outranked))
    yield from (Excuse(inside, LIMITED) for inside in _merged(above))


def _reached(asked: Sequence[tuple[Span, Rank, Power]], span: Span) -> Sequence[tuple[Span, Rank, Power]]:
    """Those that have a part in `span`; all of them ascend."""
    first = bisect_right(asked, span.start_utc_s, key=lambda one: one[0].end_utc_s)
    last = bisect_left(asked, span.end_utc_s, key=lambda one: one[0].start_utc_s)
    return asked[first:last]


def _merged(spans: Iterable[Span | None]) -> list[Span]:
    """Those that touch as one: a stream of seconds is one thing to whoever is outranked by it."""
    found: list[Span] = []
    for span in sorted(span for span in spans if span is not None):
        if found and span.start_utc_s <= found[-1].end_utc_s:
            found[-1] = Span(found[-1].start_utc_s, max(span.end_utc_s, found[-1].end_utc_s))
        else:
            found.append(span)
    return found


def grounded_course(
    history: History,
    event: str,
    operator: str,
    known: Sequence[Told],
    *,
    now_utc_s: float,
    version_utc_s: float | None = None,
    stream_priorities: Mapping[str, int],
) -> Course:
    """The course of an event; its relative set-points stand on those beside it, where there were any.
    `CourseError` as `course_of`."""
    course = course_of(event, operator, known, now_utc_s=now_utc_s, version_utc_s=version_utc_s)
    if all(phase.ask.relative is None for phase in course.phases):
        return course
    beside = tuple(set_points_beside(history, event, course.span, now_utc_s, stream_priorities))
    return course_of(event, operator, known, now_utc_s=now_utc_s, version_utc_s=version_utc_s, others=beside)
