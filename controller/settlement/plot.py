"""The plot of an event as numbers: points and ticks in the units of an SVG, which the page only writes down.

A shade, three step lines and a line with gaps where nothing was measured: light chart libraries draw neither
steps nor gaps, and heavy ones weigh more than the controller.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from controller.domain.power import Limit, Power
from controller.settlement.evidence import Evidence
from controller.settlement.metering import Metering, Reading, Span
from controller.settlement.methods import Baseline

WIDTH, HEIGHT = 720.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 8.0, 8.0, 26.0
COLUMNS = 500
"""Readings are drawn as the lowest and the highest of so many columns: a peak is never averaged away."""
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Box:
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Paths in the syntax of SVG; all text in it is ours."""

    demand: str
    limit: str
    target: str
    baseline: str
    events: tuple[Box, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    view: Span
    most_w: float

    def x(self, utc_s: float) -> float:
        share = (utc_s - self.view.start_utc_s) / self.view.length_s
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def y(self, watts: float) -> float:
        share = min(max(watts / self.most_w, 0.0), 1.0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def plot_of(evidence: Evidence) -> Plot:
    course = evidence.course
    steps: Iterable[tuple[Span, Power]] = ()
    if isinstance(evidence.baseline, Baseline):
        inside = ((step.span.clipped(course.span), step.power) for step in evidence.baseline.steps)
        steps = [(span, power) for span, power in inside if span is not None]
    items = evidence.intervals
    return plotted(
        _view(course.span),
        evidence.zone,
        evidence.meter,
        limits=[(item.span, item.limit.power) for item in items if isinstance(item.limit, Limit)],
        targets=[(item.span, item.target) for item in items if item.target is not None],
        baselines=steps,
        events=[phase.span for phase in course.phases],
    )


def plotted(
    view: Span,
    zone: tzinfo,
    meter: Metering,
    *,
    limits: Iterable[tuple[Span, Power]] = (),
    targets: Iterable[tuple[Span, Power]] = (),
    baselines: Iterable[tuple[Span, Power]] = (),
    events: Iterable[Span] = (),
) -> Plot:
    lines = [[(span, power) for span, power in line] for line in (limits, targets, baselines)]
    levels = [power.watts for line in lines for _, power in line]
    most_w = max([*levels, *(reading.watts for reading in meter.within(view)), 1000.0])
    step_w = _round_step(most_w / 4)
    scale = Scale(view, step_w * math.ceil(most_w * 1.04 / step_w))
    limit, target, baseline = (" ".join(_stairs(line, scale)) for line in lines)
    return Plot(
        demand=" ".join(_demand(meter, scale)),
        limit=limit,
        target=target,
        baseline=baseline,
        events=tuple(_boxes(events, scale)),
        across=tuple(_across(scale, zone)),
        up=tuple(Tick(scale.y(step_w * n), f"{step_w * n / 1000:g}") for n in range(_count(scale, step_w))),
    )


def _view(event: Span) -> Span:
    """Some time before and after the event, in proportion to it."""
    room_s = min(max(event.length_s * 0.3, 60.0), 3600.0)
    return Span(event.start_utc_s - room_s, event.end_utc_s + room_s)


def _demand(meter: Metering, scale: Scale) -> Iterator[str]:
    """Column by column from low to high; the line is broken where nothing was measured."""
    width_s = scale.view.length_s / COLUMNS
    is_down = False
    for column in range(COLUMNS):
        start_utc_s = scale.view.start_utc_s + column * width_s
        watts = [reading.watts for reading in meter.within(Span(start_utc_s, start_utc_s + width_s))]
        if not watts:
            is_down = False
            continue
        x = scale.x(start_utc_s + width_s / 2)
        ends = (watts[0], min(watts), max(watts), watts[-1])
        for place, level in enumerate(dict.fromkeys(ends)):
            yield f"{'L' if is_down or place else 'M'}{x:.1f},{scale.y(level):.1f}"
        is_down = True


def _stairs(steps: Sequence[tuple[Span, Power]], scale: Scale) -> Iterator[str]:
    """Of more steps than could be told apart only the lowest and highest of each column are drawn."""
    if len(steps) > 2 * COLUMNS:
        readings = (Reading(span, power.watts, span.length_s) for span, power in steps)
        yield from _demand(Metering.of(readings), scale)
        return
    end_utc_s = -math.inf
    for span, power in steps:
        y = scale.y(power.watts)
        yield f"{'L' if span.start_utc_s <= end_utc_s else 'M'}{scale.x(span.start_utc_s):.1f},{y:.1f}"
        yield f"H{scale.x(span.end_utc_s):.1f}"
        end_utc_s = span.end_utc_s


def _boxes(spans: Iterable[Span], scale: Scale) -> Iterator[Box]:
    for span in spans:
        x = scale.x(span.start_utc_s)
        yield Box(round(x, 1), round(scale.x(span.end_utc_s) - x, 1))


def _across(scale: Scale, zone: tzinfo) -> Iterator[Tick]:
    """At round times of the site's own clock, ten at most."""
    view = scale.view
    step_s = next((step for step in STEPS_S if view.length_s / step <= 8), STEPS_S[-1])
    step_s *= math.ceil(view.length_s / step_s / 8)
    offset = datetime.fromtimestamp(view.start_utc_s, zone).utcoffset()
    offset_s = offset.total_seconds() if offset is not None else 0.0
    utc_s = math.ceil((view.start_utc_s + offset_s) / step_s) * step_s - offset_s
    form = "%H:%M:%S" if step_s < 60 else "%H:%M" if step_s < 86_400 else "%d %b"
    while utc_s <= view.end_utc_s:
        yield Tick(round(scale.x(utc_s), 1), datetime.fromtimestamp(utc_s, zone).strftime(form))
        utc_s += step_s


def _count(scale: Scale, step_w: float) -> int:
    return round(scale.most_w / step_w) + 1


def _round_step(rough: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    base = float(10 ** math.floor(math.log10(rough)))
    return next(base * n for n in (1, 2, 5, 10) if base * n >= rough)
