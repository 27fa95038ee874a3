"""The site averaged over the periods that events ask for: one mean per event and period.

A pure fold over the site's reports; it keeps one open window per event and period length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from controller.domain.grid import EventInterval, EventStatus, GridEvent, ReportRequest
from controller.domain.power import NO_LIMIT, Bound, Power
from controller.grid.site import DataQuality, OperatingState, Part, SiteReport

_SLACK_S = 0.25
"""A window closes this much early rather than a whole tick late, for ticks are never exactly on time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """The site over one report period of one event. `index` numbers the period, `payloads` were asked;
    `status` and `possible` are where the event stood at its end."""

    event: str
    index: int
    start_utc_s: float
    end_utc_s: float
    demand: Power
    quality: DataQuality
    setpoint: Bound = NO_LIMIT
    state: OperatingState = OperatingState.RUNNING_NORMAL
    baseline: Power | None = None
    shed_available: Power | None = None
    rise_available: Power | None = None
    parts: tuple[Part, ...] = ()
    status: EventStatus | None = None
    possible: Power | None = None
    payloads: frozenset[str] = frozenset()

    @property
    def usage_kwh(self) -> float:
        """Energy drawn, taken from the mean: what was not measured counts as what was."""
        return self.demand.in_kw * (self.end_utc_s - self.start_utc_s) / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What one report period of one event is to be: the requests of an event that share their length."""

    every_s: float
    times: float
    payloads: frozenset[str]
    label: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The period an event is in, and the reports that fell into it. `index` counts the periods so far."""

    index: int
    start_utc_s: float
    period: Period
    reports: int = 0
    sum_w: int = 0
    measured: int = 0
    estimated: int = 0
    last: SiteReport | None = None


Key = tuple[str, float]
"""An event, and the length of one of its report periods."""

Windows = Mapping[Key, Window]
NO_WINDOWS: Windows = MappingProxyType({})


def observe(
    windows: Windows, events: Iterable[GridEvent], report: SiteReport
) -> tuple[Windows, tuple[Average, ...]]:
    """Add one tick to every window; the averages are those of the windows that are full, or whose event is
    over. A window opens with the first tick inside its event and takes the ticks after that one."""
    now_utc_s = report.now_utc_s
    wanted = {
        (event.id, period.every_s): period
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
            if period is not None and elapsed_s < key[1] - min(_SLACK_S, key[1] / 10):
                following[key] = window
                continue
            if window.last is not None and index < window.period.times:
                averages.append(_average(key[0], window, window.last))
                index += 1
        if period is not None:
            following[key] = Window(index=index, start_utc_s=now_utc_s, period=period)
    return MappingProxyType(following), tuple(averages)


def _periods(event: GridEvent, now_utc_s: float) -> list[Period]:
    by_length: dict[float, list[ReportRequest]] = {}
    for request in event.reports:
        by_length.setdefault(request.every_s, []).append(request)
    label = _label_at(event.intervals, now_utc_s)
    return [
        Period(
            every_s=every_s,
            times=max(request.times for request in requests),
            payloads=frozenset(request.payload for request in requests),
            label=label if all(request.labelled for request in requests) else None,
        )
        for every_s, requests in by_length.items()
    ]


def _label_at(intervals: tuple[EventInterval, ...], now_utc_s: float) -> int | None:
    """The label of the interval that holds now; a gap between intervals has none."""
    for interval in intervals:
        if interval.start_utc_s <= now_utc_s < interval.end_utc_s:
            return interval.label
    return None


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
    label = window.period.label
    stands = next((one for one in last.progress if one.event == event_id), None)
    return Average(
        event=event_id,
        index=window.index if label is None else label,
        start_utc_s=window.start_utc_s,
        end_utc_s=last.now_utc_s,
        demand=Power.up(window.sum_w / max(window.measured, 1)),
        quality=quality if window.measured else DataQuality.MISSING,
        setpoint=last.setpoint,
        state=last.state,
        baseline=last.baseline,
        shed_available=last.shed_available,
        rise_available=last.rise_available,
        parts=last.parts,
        status=None if stands is None else stands.status,
        possible=None if stands is None else stands.possible,
        payloads=window.period.payloads,
    )
