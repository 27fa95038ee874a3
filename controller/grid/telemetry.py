"""The site averaged over the periods that events ask for: one mean per event, place and period.

A pure fold over the site's reports; it keeps one open window per event, place and period length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from controller.domain.grid import EventInterval, GridEvent, ReportRequest
from controller.grid.site import SiteReport
from controller.grid.tally import NO_TALLY, Average, Scope, Tally, average

SLACK_S = 0.25
"""A window closes this much early rather than a whole tick late, for ticks are never exactly on time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What one report period of one event is to be: the requests of an event that share their length."""

    every_s: float
    times: float
    scope: Scope
    label: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The period an event is in, and the reports that fell into it. `index` counts the periods so far."""

    index: int
    start_utc_s: float
    period: Period
    tally: Tally = NO_TALLY


Key = tuple[str, float, str]
"""An event, the length of one of its report periods, and the node that the report is about."""

Windows = Mapping[Key, Window]
NO_WINDOWS: Windows = MappingProxyType({})


def observe(
    windows: Windows, events: Iterable[GridEvent], report: SiteReport
) -> tuple[Windows, tuple[Average, ...]]:
    """Add one tick to every window; the averages are those of the windows that are full, or whose event is
    over. A window opens with the first tick inside its event and takes the ticks after that one."""
    now_utc_s = report.now_utc_s
    wanted = {
        (event.id, period.every_s, period.scope.node): period
        for event in events
        if event.reports and event.start_utc_s <= now_utc_s < event.end_utc_s
        for period in _periods(event, now_utc_s)
    }
    following: dict[Key, Window] = {}
    averages: list[Average] = []
    for key in sorted({*windows, *wanted}):
        window, period = windows.get(key), wanted.get(key)
        index = 0
        if window is not None and window.start_utc_s <= now_utc_s:
            index = window.index
            window = window if period is None else _with(window, report)
            elapsed_s = now_utc_s - window.start_utc_s
            if period is not None and elapsed_s < key[1] - min(SLACK_S, key[1] / 10):
                following[key] = window
                continue
            if window.tally.last is not None and index < window.period.times:
                averages.append(_average(window, window.tally.last))
                index += 1
        if period is not None:
            following[key] = Window(index=index, start_utc_s=now_utc_s, period=period)
    return MappingProxyType(following), tuple(averages)


def _periods(event: GridEvent, now_utc_s: float) -> list[Period]:
    by_length: dict[tuple[float, str], list[ReportRequest]] = {}
    for request in event.reports:
        if request.cycle is None:
            by_length.setdefault((request.every_s, request.node), []).append(request)
    label = _label_at(event.intervals, now_utc_s)
    return [
        Period(
            every_s=every_s,
            times=max(request.times for request in requests),
            scope=scope_of(event, requests),
            label=label if all(request.labelled for request in requests) else None,
        )
        for (every_s, _), requests in by_length.items()
    ]


def scope_of(event: GridEvent, requests: list[ReportRequest]) -> Scope:
    """What requests that share a report are about."""
    return Scope(
        event=event.id,
        node=requests[0].node,
        alone=all(request.alone for request in requests),
        payloads=frozenset(request.payload for request in requests),
    )


def _label_at(intervals: tuple[EventInterval, ...], now_utc_s: float) -> int | None:
    """The label of the interval that holds now; a gap between intervals has none."""
    for interval in intervals:
        if interval.start_utc_s <= now_utc_s < interval.end_utc_s:
            return interval.label
    return None


def _with(window: Window, report: SiteReport) -> Window:
    tally = window.tally.plus(report, window.period.scope.node, window.start_utc_s)
    return replace(window, tally=tally)


def _average(window: Window, last: SiteReport) -> Average:
    label = window.period.label
    return average(
        window.period.scope,
        window.tally,
        last,
        index=window.index if label is None else label,
        start_s=window.start_utc_s,
        end_s=last.now_utc_s,
    )
