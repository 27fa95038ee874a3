"""What a meter showed, as stretches of time with a mean, and what follows from them for any other stretch.

Nothing is filled in: time that was not measured stays unmeasured, and is counted.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import Self

WHOLE_SHARE = 0.99
"""An interval measured for this share of its length is as good as whole."""
LEAST_SHARE = 0.8
"""One measured for less than this says nothing about itself."""
COARSE_S = 10.0
"""A reading longer than this that reaches out of an interval tells only roughly what was drawn inside."""


class Quality(StrEnum):
    """How far the energy of an interval was measured; the words of OpenADR's DATA_QUALITY."""

    OK = "OK"
    ESTIMATED = "ESTIMATED"
    MISSING = "MISSING"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """From `start_utc_s` until just before `end_utc_s`, Unix seconds."""

    start_utc_s: float
    end_utc_s: float

    @property
    def length_s(self) -> float:
        return self.end_utc_s - self.start_utc_s

    def overlaps(self, other: Span) -> bool:
        return self.start_utc_s < other.end_utc_s and other.start_utc_s < self.end_utc_s

    def clipped(self, other: Span) -> Span | None:
        """What both cover."""
        start_utc_s = max(self.start_utc_s, other.start_utc_s)
        end_utc_s = min(self.end_utc_s, other.end_utc_s)
        return Span(start_utc_s, end_utc_s) if start_utc_s < end_utc_s else None


def never_back(times: Sequence[float]) -> list[float]:
    """Times of words in the order in which they were written, each no later than the next: our clock may have
    been set back between them."""
    return list(accumulate(reversed(times), min))[::-1]


@dataclass(frozen=True, slots=True)
class Reading:
    """`watts` is the mean over the `measured_s` seconds of the span that were measured."""

    span: Span
    watts: float
    measured_s: float

    def measured_in(self, span: Span) -> float:
        """The seconds of `span` that were measured: its share of the reading's."""
        inside = self.span.clipped(span)
        return 0.0 if inside is None else self.measured_s * inside.length_s / self.span.length_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A span as the meter saw it. `mean_w` and `peak_w` are of what was measured, None where nothing was;
    `rough_s` of the `measured_s` are from coarse readings that reach out of the span."""

    span: Span
    measured_s: float
    rough_s: float
    mean_w: float | None
    peak_w: float | None

    @property
    def quality(self) -> Quality:
        share = self.measured_s / self.span.length_s
        if self.mean_w is None or share < LEAST_SHARE:
            return Quality.MISSING
        is_whole = share >= WHOLE_SHARE and self.rough_s <= (1 - WHOLE_SHARE) * self.span.length_s
        return Quality.OK if is_whole else Quality.ESTIMATED

    @property
    def used_kwh(self) -> float | None:
        """Energy of the whole span, taken from the mean; none where too little was measured."""
        if self.mean_w is None or self.quality is Quality.MISSING:
            return None
        return self.mean_w * self.span.length_s / 3.6e6


@dataclass(frozen=True, slots=True)
class Metering:
    """Readings that ascend and do not overlap; `of` takes them in any order. Where two cover the same time
    the one that began first counts: a second copy of a reading is none more."""

    readings: tuple[Reading, ...]
    _starts: tuple[float, ...] = field(repr=False)

    @classmethod
    def of(cls, readings: Iterable[Reading]) -> Self:
        kept: list[Reading] = []
        for reading in sorted(readings, key=lambda r: (r.span, r.watts, r.measured_s)):
            if not kept or reading.span.start_utc_s >= kept[-1].span.end_utc_s:
                kept.append(reading)
        return cls(tuple(kept), tuple(reading.span.start_utc_s for reading in kept))

    def within(self, span: Span) -> Sequence[Reading]:
        """The readings that have a part in `span`."""
        first = max(bisect_right(self._starts, span.start_utc_s) - 1, 0)
        last = bisect_left(self._starts, span.end_utc_s)
        return [reading for reading in self.readings[first:last] if reading.span.overlaps(span)]

    def measure(self, span: Span) -> Measure:
        """`span` from the readings in it, each by the share of it that falls inside."""
        energy_ws, measured_s, rough_s = 0.0, 0.0, 0.0
        peak_w: float | None = None
        for reading in self.within(span):
            seconds = reading.measured_in(span)
            if seconds <= 0:
                continue
            energy_ws += reading.watts * seconds
            measured_s += seconds
            if reading.span.clipped(span) != reading.span and reading.span.length_s > COARSE_S:
                rough_s += seconds
            peak_w = reading.watts if peak_w is None else max(peak_w, reading.watts)
        # A float's noise aside: a draw that stood at a limit is not above it.
        mean_w = None if peak_w is None else min(energy_ws / measured_s, peak_w)
        return Measure(
            span=span,
            measured_s=min(measured_s, span.length_s),
            rough_s=rough_s,
            mean_w=mean_w,
            peak_w=peak_w,
        )

    def mean_w(self, span: Span) -> float | None:
        """The mean of a span that was measured well enough, else None."""
        measure = self.measure(span)
        return None if measure.quality is Quality.MISSING else measure.mean_w


def held(samples: Iterable[tuple[float, int | None]], most_s: float) -> Metering:
    """Samples of a meter, each holding until the next, and for `most_s` at most. One without a value ends the
    one before it and begins nothing."""
    ordered = sorted(samples, key=lambda sample: sample[0])
    readings = []
    for place, (at_utc_s, watts) in enumerate(ordered):
        later_utc_s = ordered[place + 1][0] if place + 1 < len(ordered) else at_utc_s + most_s
        end_utc_s = min(later_utc_s, at_utc_s + most_s)
        if watts is not None and end_utc_s > at_utc_s:
            readings.append(Reading(Span(at_utc_s, end_utc_s), float(watts), end_utc_s - at_utc_s))
    return Metering.of(readings)
