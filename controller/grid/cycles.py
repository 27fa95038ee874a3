"""Reports that count in the intervals of an event: at the end of every so many of them, on the last so many.

A pure fold over the site's reports. Of reports whose time was over when the event was first seen, the latest
is made at once; what nobody measured is told as missing. An event that is cancelled is reported on no more.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from controller.domain.grid import EventInterval, GridEvent, ReportCycle, ReportRequest
from controller.grid.requests import MAX_REPORTED
from controller.grid.site import SiteReport
from controller.grid.tally import NO_TALLY, Average, Tally, average
from controller.grid.telemetry import SLACK_S, scope_of

Span = tuple[float, float, str]
"""Start and end of an interval, and the node that was looked at in it."""
Group = tuple[ReportCycle, float, str, bool]
"""Requests that share a report: cycle, times, node, and whether the event's own labels are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One event on its way. `tallies` are by interval and node, `until_utc_s` is the end of what was reported
    last, by the requests that share it. Both outlive a new version that leaves the intervals where they are.
    """

    event: GridEvent
    tallies: Mapping[Span, Tally] = field(default_factory=dict)
    until_utc_s: Mapping[Group, float] = field(default_factory=dict)


Courses = Mapping[str, Course]
NO_COURSES: Courses = MappingProxyType({})


def observe(
    courses: Courses, events: Iterable[GridEvent], report: SiteReport
) -> tuple[Courses, tuple[tuple[Average, ...], ...]]:
    """Add one tick to every interval it belongs to; each tuple of averages is one report."""
    now_utc_s = report.now_utc_s
    following: dict[str, Course] = {}
    reports: list[tuple[Average, ...]] = []
    for event in _on_their_way(courses, events, now_utc_s):
        course = replace(courses.get(event.id, Course(event=event)), event=event)
        groups = _groups(event)
        nodes = frozenset(group[2] for group in groups)
        course = replace(course, tallies=_tallied(course, nodes, report))
        for group, requests in groups.items():
            course, made = _reported(course, group, requests, report)
            reports += [made] if made else []
        if now_utc_s < event.end_utc_s:
            following[event.id] = course
    return MappingProxyType(following), tuple(reports)


def _on_their_way(courses: Courses, events: Iterable[GridEvent], now_utc_s: float) -> list[GridEvent]:
    """The events that have begun and ask for such reports, and those that have just come to their end."""
    begun = {
        event.id: event
        for event in events
        if event.start_utc_s <= now_utc_s and any(request.cycle is not None for request in event.reports)
    }
    ended = {
        name: course.event
        for name, course in courses.items()
        if name not in begun and course.event.end_utc_s <= now_utc_s
    }
    return [event for _, event in sorted((begun | ended).items())]


def _groups(event: GridEvent) -> dict[Group, list[ReportRequest]]:
    groups: dict[Group, list[ReportRequest]] = {}
    for request in event.reports:
        if request.cycle is not None:
            key = (request.cycle, request.times, request.node, request.labelled)
            groups.setdefault(key, []).append(request)
    return groups


def _tallied(course: Course, nodes: frozenset[str], report: SiteReport) -> dict[Span, Tally]:
    """A tick says what was drawn until then: at an edge, or a little after it, it belongs to the interval
    that ends there."""
    tallies = dict(course.tallies)
    pieces = course.event.intervals
    slack_s = _slack_s(pieces)
    at = bisect_right(pieces, report.now_utc_s - slack_s, key=lambda piece: piece.start_utc_s) - 1
    if at >= 0 and report.now_utc_s <= pieces[at].end_utc_s + slack_s:
        for node in nodes:
            start_utc_s, end_utc_s = pieces[at].start_utc_s, pieces[at].end_utc_s
            span = (start_utc_s, end_utc_s, node)
            tallies[span] = tallies.get(span, NO_TALLY).plus(report, node, start_utc_s)
    if (beyond := len(tallies) - MAX_REPORTED * len(nodes)) > 0:
        for span in sorted(tallies)[:beyond]:
            del tallies[span]
    return tallies


def _reported(
    course: Course, group: Group, requests: list[ReportRequest], now: SiteReport
) -> tuple[Course, tuple[Average, ...]]:
    """The report that is due and was not made yet: of several the latest."""
    cycle, times, node, labelled = group
    pieces = course.event.intervals
    over = bisect_right(pieces, now.now_utc_s + _slack_s(pieces), key=lambda piece: piece.end_utc_s)
    last = _due(cycle, times, over, len(pieces))
    told_utc_s = course.until_utc_s.get(group, -math.inf)
    if last is None or pieces[last].end_utc_s <= told_utc_s:
        return course, ()
    count = cycle.count or _since_before(cycle, last)
    count = min(count, MAX_REPORTED)
    scope = scope_of(course.event, requests)
    made = tuple(
        average(
            scope,
            course.tallies.get((piece.start_utc_s, piece.end_utc_s, node), NO_TALLY),
            now,
            index=piece.label if labelled else at,
            start_s=piece.start_utc_s,
            end_s=piece.end_utc_s,
        )
        for at, piece in enumerate(pieces)
        if last - count < at <= last
    )
    until_utc_s = {**course.until_utc_s, group: pieces[last].end_utc_s}
    return replace(course, until_utc_s=until_utc_s), made


def _due(cycle: ReportCycle, times: float, over: int, pieces: int) -> int | None:
    """The last interval of the latest report whose time has come, when `over` of `pieces` have ended. What is
    left when the event ends is a report as well, if another one may be made."""
    if over <= cycle.first:
        return None
    turns = (over - 1 - cycle.first) // cycle.every
    last = cycle.first + int(min(turns, times - 1)) * cycle.every
    return over - 1 if over == pieces and turns + 1 < times else last


def _since_before(cycle: ReportCycle, last: int) -> int:
    """How many intervals there are since the report before: all of them, for the first."""
    if last <= cycle.first:
        return last + 1
    return (last - cycle.first) % cycle.every or cycle.every


def _slack_s(pieces: tuple[EventInterval, ...]) -> float:
    return min(SLACK_S, (pieces[0].end_utc_s - pieces[0].start_utc_s) / 10)
