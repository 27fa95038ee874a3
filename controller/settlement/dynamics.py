"""How fast a site answered an event, how far it went over, and how it came back: from the meter's readings.

Times are as fine as the readings are; whoever prints them says how fine that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.domain.power import Limit, tightest
from controller.settlement.course import Course, Phase
from controller.settlement.metering import Metering, Reading, Span
from controller.settlement.performance import Terms, is_within

RESTORED_SHARE = 0.95
"""A site is back when it draws this share of what it drew before the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """From 90 to 10 % of a step or back, as rise times are told (IEEE Std 181)."""

    kw_per_s: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamics:
    """None is what the readings do not show. `before_w` is the mean of the minute before the site could have
    begun to go down. `response_s` counts from the event's start, or from its receipt if that was later, to
    the first reading that complied. `over_w` and `over_s` are of the time in which compliance was due."""

    before_w: float | None
    response_s: float | None
    down: Ramp | None
    over_w: float | None
    over_s: float
    restore_s: float | None
    up: Ramp | None
    grain_s: float | None


def dynamics_of(
    course: Course,
    meter: Metering,
    terms: Terms,
    *,
    lead_s: float,
    restore_until_utc_s: float,
    others: Sequence[Span] = (),
) -> Dynamics:
    """`lead_s`: a site goes down so long before an event, so its level is read before that, where none of the
    `others` moved it. Its return is looked for until `restore_until_utc_s`."""
    if not course.phases:
        return _NOTHING
    first = course.phases[0]
    minute = _span(first.span.start_utc_s - lead_s - 60, 60)
    before_w = None if any(other.overlaps(minute) for other in others) else meter.mean_w(minute)
    met = _first_met(course, meter, terms)
    over_w, over_s = _overshoot(course, meter, terms)
    since = Span(first.span.start_utc_s - lead_s - 60, course.span.end_utc_s)
    after = Span(course.span.end_utc_s, max(restore_until_utc_s, course.span.end_utc_s))
    back = None
    if before_w is not None:
        back = next(
            (r for r in _inside(meter, after) if r.watts >= RESTORED_SHARE * before_w),
            None,
        )
    return Dynamics(
        before_w=before_w,
        response_s=None if met is None else max(met.span.start_utc_s - first.span.start_utc_s, 0.0),
        down=None if met is None or before_w is None else _down(meter, since, before_w, met),
        over_w=over_w,
        over_s=over_s,
        restore_s=None if back is None else max(back.span.start_utc_s - after.start_utc_s, 0.0),
        up=None if back is None else _up(meter, after, back),
        grain_s=_grain_s(meter, course.span),
    )


_NOTHING = Dynamics(
    before_w=None,
    response_s=None,
    down=None,
    over_w=None,
    over_s=0.0,
    restore_s=None,
    up=None,
    grain_s=None,
)


def _span(start_utc_s: float, length_s: float) -> Span:
    return Span(start_utc_s, start_utc_s + length_s)


def _inside(meter: Metering, span: Span) -> list[Reading]:
    """The readings that say something about `span`: one that reaches into it counts from its edge on."""
    return [
        Reading(inside, reading.watts, reading.measured_in(inside))
        for reading in meter.within(span)
        if (inside := reading.span.clipped(span)) is not None
    ]


def _is_met(phase: Phase, watts: float, terms: Terms) -> bool | None:
    """None where the phase asks for nothing that one reading can show."""
    limit = tightest(phase.ask.limit, terms.firm_service_level)
    if phase.ask.target is not None:
        is_low_enough = not isinstance(limit, Limit) or watts <= limit.power.watts
        return is_low_enough and is_within(watts, phase.ask.target, terms)
    return watts <= limit.power.watts if isinstance(limit, Limit) else None


def _first_met(course: Course, meter: Metering, terms: Terms) -> Reading | None:
    for phase in course.phases:
        for reading in _inside(meter, phase.span):
            if _is_met(phase, reading.watts, terms):
                return reading
    return None


def _overshoot(course: Course, meter: Metering, terms: Terms) -> tuple[float | None, float]:
    """How far above the limit at worst, and for how long, once it was due; None where nothing was limited."""
    worst_w: float | None = None
    seconds = 0.0
    for phase in course.phases:
        limit = tightest(phase.ask.limit, terms.firm_service_level)
        due = phase.span.clipped(Span(phase.due_utc_s, phase.span.end_utc_s))
        if not isinstance(limit, Limit) or due is None:
            continue
        for reading in _inside(meter, due):
            over_w = max(reading.watts - limit.power.watts, 0.0)
            worst_w = max(worst_w or 0.0, over_w)
            seconds += reading.measured_s if over_w > 0 else 0.0
    return worst_w, seconds


def _down(meter: Metering, since: Span, before_w: float, met: Reading) -> Ramp | None:
    """From the last reading near the level before to the first one near the level that complied."""
    step_w = before_w - met.watts
    readings = [r for r in _inside(meter, since) if r.span.start_utc_s <= met.span.start_utc_s]
    if step_w <= 0:
        return None
    high = [r for r in readings if r.watts >= before_w - 0.1 * step_w]
    if not high:
        return None
    begins = high[-1]
    later = (r for r in readings if r.span.start_utc_s > begins.span.start_utc_s)
    ends = next((r for r in later if r.watts <= before_w - 0.9 * step_w), met)
    return _ramp(begins, ends)


def _up(meter: Metering, after: Span, back: Reading) -> Ramp | None:
    readings = [r for r in _inside(meter, after) if r.span.start_utc_s <= back.span.start_utc_s]
    low_w = readings[0].watts
    step_w = back.watts - low_w
    if step_w <= 0:
        return None
    begins = [r for r in readings if r.watts <= low_w + 0.1 * step_w][-1]
    later = (r for r in readings if r.span.start_utc_s > begins.span.start_utc_s)
    ends = next((r for r in later if r.watts >= low_w + 0.9 * step_w), back)
    return _ramp(begins, ends)


def _ramp(begins: Reading, ends: Reading) -> Ramp | None:
    """Between the beginnings of two readings: a step between neighbours took the length of one at most."""
    seconds = ends.span.start_utc_s - begins.span.start_utc_s
    if seconds <= 0:
        return None
    return Ramp(kw_per_s=abs(ends.watts - begins.watts) / 1000 / seconds, seconds=seconds)


def _grain_s(meter: Metering, span: Span) -> float | None:
    """The usual length of a reading."""
    lengths = sorted(reading.span.length_s for reading in meter.within(span))
    return lengths[len(lengths) // 2] if lengths else None
