"""The set-points that were in force, of events and of streams, from the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from controller.grid.basepoint import STREAM_PRIORITY
from controller.run.baselines import KNOWN_FOR_S, told
from controller.run.history import History, SetPointRow
from controller.settlement.course import Course, Told, ask_of, course_of, frozen, in_force
from controller.settlement.grounds import SetPoint, rank_of
from controller.settlement.metering import Span
from controller.settlement.performance import PerformanceError

LONGEST_VALID_S = 86_400.0
"""No set-point of a stream is good for longer."""
MOST_POINTS = 200_000
"""Four days of one every two seconds."""


def points_in_force(history: History, stream: str, span: Span) -> Iterator[tuple[Span, SetPointRow]]:
    """The set-points of a stream with the parts of `span` in which they counted: each from its time or its
    receipt until its end or the receipt of the next one. `PerformanceError` if there are too many."""
    window = (span.start_utc_s - LONGEST_VALID_S, span.end_utc_s)
    held: SetPointRow | None = None
    for turn, row in enumerate(history.set_points(*window)):
        if turn > MOST_POINTS:
            raise PerformanceError(f"{stream}: more than {MOST_POINTS} set-points: a shorter span is needed")
        if row.stream == stream:
            if held is not None and (found := _counted(held, row.utc_s, span)) is not None:
                yield found, held
            held = row
    if held is not None and (found := _counted(held, span.end_utc_s, span)) is not None:
        yield found, held


def _counted(row: SetPointRow, until_utc_s: float, span: Span) -> Span | None:
    start_utc_s, end_utc_s = max(row.start_utc_s, row.utc_s), min(row.end_utc_s, until_utc_s)
    return Span(start_utc_s, end_utc_s).clipped(span) if start_utc_s < end_utc_s else None


def set_points_beside(
    history: History, event: str, span: Span, now_utc_s: float, priorities: Mapping[str, int]
) -> Iterator[SetPoint]:
    """Those of all other events and streams in the course of `span`. `priorities` are those of streams, by
    operator: the journal does not hold them."""
    by_event: dict[str, list[Told]] = {}
    for row in history.events(span.start_utc_s - KNOWN_FOR_S, now_utc_s):
        if row.id != event:
            by_event.setdefault(row.id, []).append(told(row))
    for name, rows in by_event.items():
        for held, version in in_force(rows, now_utc_s):
            for interval in version.intervals:
                ask = ask_of(interval)
                inside = Span(interval.start_utc_s, interval.end_utc_s).clipped(held)
                if inside is None or not inside.overlaps(span):
                    continue
                if ask.target is None and ask.relative is None:
                    continue
                yield SetPoint(
                    span=inside,
                    rank=rank_of(version, name),
                    target=ask.target,
                    change=ask.relative,
                    drawn_before=frozen(rows, inside),
                )
    window = (span.start_utc_s - LONGEST_VALID_S, span.end_utc_s)
    streams = {point.stream: point.operator for point in history.set_points(*window)}
    for name, operator in sorted(streams.items()):
        priority = priorities.get(operator, STREAM_PRIORITY)
        for inside, point in points_in_force(history, name, span):
            yield SetPoint(span=inside, rank=(priority, -point.version_utc_s, name), target=point.target)


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
