"""Demand averaged over the periods that events ask for: one mean per event and period.

A pure fold over the site's reports; it keeps one open window per event and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from controller.domain.grid import GridEvent
from controller.domain.power import NO_LIMIT, Bound, Power
from controller.grid.openadr import REPORTED
from controller.grid.site import DataQuality, Part, SiteReport

_SLACK_S = 0.25
"""A window closes this much early rather than a whole tick late, for ticks are never exactly on time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """The site over one report period of one event; `index` counts the periods of that event."""

    event: str
    index: int
    start_utc_s: float
    end_utc_s: float
    demand: Power
    quality: DataQuality
    setpoint: Bound = NO_LIMIT
    baseline: Power | None = None
    shed_available: Power | None = None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The period an event is in, and the reports that fell into it."""

    index: int
    start_utc_s: float
    reports: int = 0
    sum_w: int = 0
    measured: int = 0
    estimated: int = 0
    last: SiteReport | None = None


Windows = Mapping[str, Window]
NO_WINDOWS: Windows = MappingProxyType({})


def observe(
    windows: Windows, events: Iterable[GridEvent], report: SiteReport
) -> tuple[Windows, tuple[Average, ...]]:
    """Add one tick to every window; the averages are those of the windows that are full, or whose event is
    over. A window opens with the first tick inside its event and takes the ticks after that one."""
    now_utc_s = report.now_utc_s
    periods_s = {
        event.id: request.every_s
        for event in events
        for request in event.reports
        if request.payload == REPORTED and event.start_utc_s <= now_utc_s < event.end_utc_s
    }
    following: dict[str, Window] = {}
    averages: list[Average] = []
    for event_id in sorted({*windows, *periods_s}):
        window, every_s = windows.get(event_id), periods_s.get(event_id)
        index = 0
        if window is not None and window.start_utc_s <= now_utc_s:
            index = window.index
            window = window if every_s is None else _with(window, report)
            elapsed_s = now_utc_s - window.start_utc_s
            if every_s is not None and elapsed_s < every_s - min(_SLACK_S, every_s / 10):
                following[event_id] = window
                continue
            if window.last is not None:
                averages.append(_average(event_id, window, window.last))
                index += 1
        if every_s is not None:
            following[event_id] = Window(index=index, start_utc_s=now_utc_s)
    return MappingProxyType(following), tuple(averages)


def _with(window: Window, report: SiteReport) -> Window:
    missing = report.quality is DataQuality.MISSING
    return replace(
        window,
        reports=window.reports + 1,
        sum_w=window.sum_w + (0 if missing else report.demand.watts),
        measured=window.measured + (0 if missing else 1),
        estimated=window.estimated + (1 if report.quality is DataQuality.ESTIMATED else 0),
        last=report,
    )


def _average(event_id: str, window: Window, last: SiteReport) -> Average:
    """The mean of what was measured. With gaps or estimates in it, it is an estimate."""
    whole = window.measured == window.reports and not window.estimated
    quality = DataQuality.OK if whole else DataQuality.ESTIMATED
    return Average(
        event=event_id,
        index=window.index,
        start_utc_s=window.start_utc_s,
        end_utc_s=last.now_utc_s,
        demand=Power.up(window.sum_w / max(window.measured, 1)),
        quality=quality if window.measured else DataQuality.MISSING,
        setpoint=last.setpoint,
        baseline=last.baseline,
        shed_available=last.shed_available,
        parts=last.parts,
    )
