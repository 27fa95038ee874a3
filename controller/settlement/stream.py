"""How a site followed a stream of set-points, interval by interval.

Every moment is judged by the set-point that was in force at it. Time without a set-point, and time that was
not measured, is told and judged by nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from controller.domain.power import Power
from controller.settlement.days import Calendar
from controller.settlement.metering import LEAST_SHARE, WHOLE_SHARE, Metering, Quality, Span
from controller.settlement.performance import (
    MOST_INTERVALS,
    Compliance,
    Excuse,
    PerformanceError,
    Terms,
    is_within,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A set-point while it was in force. It counts from `due_utc_s` on."""

    span: Span
    target: Power
    due_utc_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One interval. `asked_s` of it had a set-point, of which `measured_s` were measured; `due_s` counted, of
    which `judged_s` were measured.

    Means, energies and quality are over the time with a set-point. Errors are draw less set-point, over what
    is judged: their mean, the mean of their size, the largest, and the sum of their squares times seconds.
    None is what nothing shows.
    """

    span: Span
    asked_s: float
    due_s: float
    measured_s: float
    target_w: float | None
    mean_w: float | None
    error_w: float | None
    abs_error_w: float | None
    worst_w: float | None
    squares: float
    judged_s: float
    asked_kwh: float
    used_kwh: float | None
    quality: Quality
    compliance: Compliance
    excuse: str


def due(asked: Iterable[Asked]) -> Iterator[Asked]:
    """Set-points, each due by its own deadline, with the moment from which it counts: that deadline after it
    was first asked for, where it held for longer than that, repetitions included. Of a stream that is quicker
    than its deadline every moment counts: nothing would ever be judged."""
    for held in _unchanged(asked):
        first = held[0]
        due_utc_s = first.due_utc_s if first.due_utc_s < held[-1].span.end_utc_s else first.span.start_utc_s
        yield from (replace(one, due_utc_s=due_utc_s) for one in held)


def _unchanged(asked: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Stretches in which the same was asked for without a pause."""
    held: list[Asked] = []
    for one in asked:
        if held and (held[-1].span.end_utc_s, held[-1].target) != (one.span.start_utc_s, one.target):
            yield held
            held = []
        held.append(one)
    if held:
        yield held


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """How a site kept to the `limit` that was agreed for when no set-point is in force: `due_s` of it
    counted, of which `measured_s` were measured, and `over_s` were above it, by `over_w` at worst."""

    limit: Power
    due_s: float
    measured_s: float
    over_s: float
    over_w: float


def silences(asked: Sequence[Asked], span: Span) -> Iterator[Span]:
    """When there was no set-point."""
    end_utc_s = span.start_utc_s
    for one in asked:
        if one.span.start_utc_s > end_utc_s:
            yield Span(end_utc_s, one.span.start_utc_s)
        end_utc_s = max(end_utc_s, one.span.end_utc_s)
    if span.end_utc_s > end_utc_s:
        yield Span(end_utc_s, span.end_utc_s)


def silence_of(
    asked: Sequence[Asked], meter: Metering, span: Span, limit: Power, deadline_s: float
) -> Silence:
    """Each silence counts from `deadline_s` after its beginning on."""
    due_s, measured_s, over_s, over_w = 0.0, 0.0, 0.0, 0.0
    for silence in silences(asked, span):
        start_utc_s = silence.start_utc_s + deadline_s
        if start_utc_s >= silence.end_utc_s:
            continue
        counts = Span(start_utc_s, silence.end_utc_s)
        due_s += counts.length_s
        for reading in meter.within(counts):
            seconds = reading.measured_in(counts)
            if seconds > 0:
                measured_s += seconds
                over_s += seconds if reading.watts > limit.watts else 0.0
                over_w = max(over_w, reading.watts - limit.watts)
    return Silence(limit=limit, due_s=due_s, measured_s=measured_s, over_s=over_s, over_w=over_w)


def period_of(asked: Sequence[Asked]) -> float | None:
    steps = sorted(later.span.start_utc_s - earlier.span.start_utc_s for earlier, later in pairwise(asked))
    return steps[len(steps) // 2] if steps else None


def followed(
    asked: Sequence[Asked],
    meter: Metering,
    span: Span,
    *,
    terms: Terms,
    calendar: Calendar,
    excuses: Sequence[Excuse] = (),
) -> tuple[Followed, ...]:
    """`asked` ascends and does not overlap. `PerformanceError` if there are too many intervals."""
    if span.length_s / calendar.interval_s > MOST_INTERVALS:
        raise PerformanceError(f"more than {MOST_INTERVALS} intervals: a longer --interval is needed")
    starts = [one.span.start_utc_s for one in asked]
    found = []
    for whole in calendar.intervals_in(span):
        inside = whole.clipped(span)
        if inside is not None:
            first = max(bisect_right(starts, inside.start_utc_s) - 1, 0)
            own = asked[first : bisect_left(starts, inside.end_utc_s)]
            found.append(_interval(inside, own, meter, terms, excuses))
    return tuple(found)


@dataclass(slots=True)
class _Sums:
    """Over pieces of one reading under one set-point each, in watts and seconds."""

    asked_s: float = 0.0
    due_s: float = 0.0
    asked_ws: float = 0.0
    due_ws: float = 0.0
    measured_s: float = 0.0
    used_ws: float = 0.0
    judged_s: float = 0.0
    error_ws: float = 0.0
    abs_error_ws: float = 0.0
    squares: float = 0.0
    worst_w: float = 0.0

    def take(self, one: Asked, inside: Span, meter: Metering) -> None:
        self.asked_s += inside.length_s
        self.asked_ws += one.target.watts * inside.length_s
        counts = Span(max(inside.start_utc_s, one.due_utc_s), inside.end_utc_s)
        due_s = max(counts.length_s, 0.0)
        self.due_s += due_s
        self.due_ws += one.target.watts * due_s
        for reading in meter.within(inside):
            measured_s = reading.measured_in(inside)
            self.measured_s += measured_s
            self.used_ws += measured_s * reading.watts
            if due_s > 0 and (judged_s := reading.measured_in(counts)) > 0:
                self._judge(judged_s, reading.watts - one.target.watts)

    def _judge(self, seconds: float, error_w: float) -> None:
        self.judged_s += seconds
        self.error_ws += seconds * error_w
        self.abs_error_ws += seconds * abs(error_w)
        self.squares += seconds * error_w**2
        self.worst_w = max(self.worst_w, error_w, key=abs)


def _interval(
    span: Span, asked: Sequence[Asked], meter: Metering, terms: Terms, excuses: Sequence[Excuse]
) -> Followed:
    sums = _Sums()
    for one in asked:
        if (inside := one.span.clipped(span)) is not None:
            sums.take(one, inside, meter)
    is_measured = sums.measured_s >= LEAST_SHARE * sums.asked_s > 0
    mean_w = sums.used_ws / sums.measured_s if is_measured else None
    is_judged = sums.judged_s > 0
    return Followed(
        span=span,
        asked_s=sums.asked_s,
        due_s=sums.due_s,
        measured_s=min(sums.measured_s, sums.asked_s),
        target_w=sums.asked_ws / sums.asked_s if sums.asked_s > 0 else None,
        mean_w=mean_w,
        error_w=sums.error_ws / sums.judged_s if is_judged else None,
        abs_error_w=sums.abs_error_ws / sums.judged_s if is_judged else None,
        worst_w=sums.worst_w if is_judged else None,
        squares=sums.squares,
        judged_s=sums.judged_s,
        asked_kwh=sums.asked_ws / 3.6e6,
        used_kwh=None if mean_w is None else mean_w * sums.asked_s / 3.6e6,
        quality=_quality(sums, meter, span),
        compliance=_verdict(sums, terms),
        excuse=next((excuse.word for excuse in excuses if excuse.span.overlaps(span)), ""),
    )


def _quality(sums: _Sums, meter: Metering, span: Span) -> Quality:
    """Where nothing was asked for, that of the interval."""
    if sums.asked_s <= 0:
        return meter.measure(span).quality
    return quality_of(sums.measured_s, sums.asked_s)


def quality_of(measured_s: float, length_s: float) -> Quality:
    if measured_s < LEAST_SHARE * length_s or length_s <= 0:
        return Quality.MISSING
    return Quality.OK if measured_s >= WHOLE_SHARE * length_s else Quality.ESTIMATED


def _verdict(sums: _Sums, terms: Terms) -> Compliance:
    """The mean draw of what was due lies within the tolerance of the mean set-point."""
    if sums.asked_s <= 0:
        return Compliance.NOT_JUDGED
    if sums.due_s <= 0:
        return Compliance.RAMPING
    if sums.judged_s < LEAST_SHARE * sums.due_s:
        return Compliance.UNKNOWN
    target = Power(round(sums.due_ws / sums.due_s))
    drawn_w = target.watts + sums.error_ws / sums.judged_s
    return Compliance.COMPLIANT if is_within(drawn_w, target, terms) else Compliance.NOT_COMPLIANT
