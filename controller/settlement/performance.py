"""How a site did in an event, interval by interval: what was asked, drawn and given up, and if it complied.

What was not measured is unknown, and unknown is not compliant. What has an excuse is told apart, and stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from controller.domain.power import NO_LIMIT, ZERO, Bound, Limit, Power, tightest
from controller.settlement.course import Ask, Course, Phase
from controller.settlement.days import Calendar
from controller.settlement.metering import Measure, Metering, Quality, Span
from controller.settlement.methods import Baseline, NoBaseline

MOST_INTERVALS = 50_000


class PerformanceError(Exception):
    """The report cannot be made as it was asked for; the message says what to ask for instead."""


class Rule(StrEnum):
    """By what an interval was judged. `LIMIT`: its mean is not above the event's limit. `FIRM_SERVICE_LEVEL`:
    nor above the level of the contract. `TARGET`: it lies within the tolerance of the set-point."""

    LIMIT = "limit"
    FIRM_SERVICE_LEVEL = "firm_service_level"
    TARGET = "target"
    NONE = "none"


class Compliance(StrEnum):
    """`RAMPING`: before the ramp deadline. `NOT_JUDGED`: nothing was asked that could be kept."""

    COMPLIANT = "compliant"
    NOT_COMPLIANT = "not_compliant"
    UNKNOWN = "unknown"
    RAMPING = "ramping"
    NOT_JUDGED = "not_judged"


@dataclass(frozen=True, slots=True)
class Excuse:
    """Something outside the site's power that may explain an interval; `word` is one of a fixed few."""

    span: Span
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an event is judged by. A target is met within the larger of a share of itself and a power."""

    interval_s: int = 60
    tolerance_share: float = 0.05
    tolerance: Power = ZERO
    firm_service_level: Bound = NO_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One interval. The `target` of a relative set-point is its `ground` and the `change`. A reduction is
    what was not drawn of the baseline: negative where more was drawn."""

    span: Span
    measure: Measure
    limit: Bound
    target: Power | None
    change: Power | None
    ground: Power | None
    baseline: Power | None
    rule: Rule
    compliance: Compliance
    excuse: str
    over_limit_s: float
    version_utc_s: float

    @property
    def quality(self) -> Quality:
        return self.measure.quality

    @property
    def mean_w(self) -> float | None:
        return None if self.quality is Quality.MISSING else self.measure.mean_w

    @property
    def reduction_w(self) -> float | None:
        mean_w = self.mean_w
        return None if self.baseline is None or mean_w is None else self.baseline.watts - mean_w

    @property
    def reduced_kwh(self) -> float | None:
        reduction_w = self.reduction_w
        return None if reduction_w is None else reduction_w * self.span.length_s / 3.6e6


def judged(
    course: Course,
    meter: Metering,
    baseline: Baseline | NoBaseline,
    terms: Terms,
    calendar: Calendar,
    excuses: Sequence[Excuse] = (),
) -> tuple[Judged, ...]:
    """Every interval of the event, cut where what was asked changed or became due."""
    found: list[Judged] = []
    for phase in course.phases:
        for span in _cut(phase, calendar):
            found.append(_judge(phase, span, meter, baseline, terms, excuses))
            if len(found) > MOST_INTERVALS:
                raise PerformanceError(f"more than {MOST_INTERVALS} intervals: a longer --interval is needed")
    return tuple(found)


def _cut(phase: Phase, calendar: Calendar) -> Iterator[Span]:
    """The calendar's intervals, clipped to the phase and cut at its deadline."""
    due_utc_s = phase.due_utc_s
    for whole in _intervals(phase.span, calendar):
        if whole.start_utc_s < due_utc_s < whole.end_utc_s:
            yield Span(whole.start_utc_s, due_utc_s)
            yield Span(due_utc_s, whole.end_utc_s)
        else:
            yield whole


def _intervals(span: Span, calendar: Calendar) -> Iterator[Span]:
    if span.length_s / calendar.interval_s > MOST_INTERVALS:
        raise PerformanceError(f"more than {MOST_INTERVALS} intervals: a longer --interval is needed")
    for interval in calendar.intervals_in(span):
        if (inside := interval.clipped(span)) is not None:
            yield inside


def _judge(
    phase: Phase,
    span: Span,
    meter: Metering,
    baseline: Baseline | NoBaseline,
    terms: Terms,
    excuses: Iterable[Excuse],
) -> Judged:
    measure = meter.measure(span)
    would_be = baseline.over(span) if isinstance(baseline, Baseline) else None
    target = phase.ask.target
    limit = tightest(phase.ask.limit, terms.firm_service_level)
    rule, compliance = _verdict(phase.ask, target, limit, measure, terms)
    if span.end_utc_s <= phase.due_utc_s and rule is not Rule.NONE:
        compliance = Compliance.RAMPING
    return Judged(
        span=span,
        measure=measure,
        limit=limit,
        target=target,
        change=phase.ask.relative,
        ground=phase.ask.ground,
        baseline=would_be,
        rule=rule,
        compliance=compliance,
        excuse=next((excuse.word for excuse in excuses if excuse.span.overlaps(span)), ""),
        over_limit_s=_over_s(meter, span, limit),
        version_utc_s=phase.version_utc_s,
    )


def _verdict(
    ask: Ask, target: Power | None, limit: Bound, measure: Measure, terms: Terms
) -> tuple[Rule, Compliance]:
    """A limit outranks a target: who passes it does not comply, whatever the target."""
    is_limited = isinstance(limit, Limit)
    bound = Rule.LIMIT if limit == ask.limit else Rule.FIRM_SERVICE_LEVEL
    rule = Rule.TARGET if target is not None else bound if is_limited else Rule.NONE
    if rule is Rule.NONE:
        return rule, Compliance.NOT_JUDGED
    if measure.quality is Quality.MISSING or measure.mean_w is None:
        return rule, Compliance.UNKNOWN
    if isinstance(limit, Limit) and measure.mean_w > limit.power.watts:
        return bound, Compliance.NOT_COMPLIANT
    if target is not None and not is_within(measure.mean_w, target, terms):
        return rule, Compliance.NOT_COMPLIANT
    return rule, Compliance.COMPLIANT


def is_within(watts: float, target: Power, terms: Terms) -> bool:
    most_w = max(abs(target.watts) * terms.tolerance_share, terms.tolerance.watts)
    return abs(watts - target.watts) <= most_w


def _over_s(meter: Metering, span: Span, limit: Bound) -> float:
    if not isinstance(limit, Limit):
        return 0.0
    return math.fsum(r.measured_in(span) for r in meter.within(span) if r.watts > limit.power.watts)
