"""The score of a stream of set-points that is a regulation signal: as a whole, and hour by hour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from controller.domain.power import Power
from controller.settlement import regulation
from controller.settlement.metering import WHOLE_SHARE, Metering, Span
from controller.settlement.regulation import LEAST_SAMPLES, SAMPLE_S, SHIFTS, Floats, Score
from controller.settlement.stream import Asked, period_of

SCORED_S = 10.0
"""A stream whose set-points come no more rarely than this is a regulation signal, and gets its score."""
HOUR_S = 3600.0
LATEST_S = (SHIFTS - 1) * SAMPLE_S
"""A response may come so much later: to score a span, so much more has to be known."""


@dataclass(frozen=True, slots=True)
class NoScore:
    """Why there is no score of a regulation signal."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """The score of one hour, by the samples of five minutes more."""

    span: Span
    score: Score | NoScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Regulation:
    """The score of the whole span and of its hours. `base_w` is the draw that the signal swings about,
    `band_w` how far it goes from it."""

    base_w: float
    band_w: float
    score: Score | NoScore
    hours: tuple[Hour, ...] = ()


def regulation_of(
    asked: Sequence[Asked], meter: Metering, span: Span, *, base: Power | None = None
) -> Regulation | NoScore:
    """The score of a signal that comes at least every `SCORED_S`. It swings about `base`, or about its own
    mean where that is not said, as a signal does that asks for no energy on the mean. `asked` and `meter` may
    go on after the span: its last hour is scored by that as the others are by what follows them."""
    period_s = period_of(asked)
    if period_s is None or period_s > SCORED_S:
        every = "there is one at most" if period_s is None else f"they come every {period_s:.0f} s"
        return NoScore(f"set-points are scored where they come every {SCORED_S:.0f} s or quicker: {every}")
    count = math.ceil(span.length_s / SAMPLE_S)
    times: Floats = span.start_utc_s + SAMPLE_S * np.arange(count + SHIFTS - 1, dtype=np.float64)
    signal_w = _sampled(times, [(one.span, one.target.watts) for one in asked])
    drawn_w = _sampled(times, [(one.span, one.watts) for one in meter.readings])
    own = [(held, one.target.watts) for one in asked if (held := one.span.clipped(span)) is not None]
    base_w = float(base.watts) if base is not None else _mean_w(own)
    band_w = max(1.0, *(abs(watts - base_w) for _, watts in own))
    until = count + _known(signal_w[count:] + drawn_w[count:])
    signal, response = (signal_w[:until] - base_w) / band_w, (drawn_w[:until] - base_w) / band_w
    return Regulation(
        base_w=base_w,
        band_w=band_w,
        score=_scored(signal[:count], response[:count]),
        hours=tuple(_hours(span, signal, response)),
    )


def _known(samples: Floats) -> int:
    """How many there are before the first that is none."""
    unknown = np.flatnonzero(np.isnan(samples))
    return int(unknown[0]) if len(unknown) else len(samples)


def _mean_w(own: Sequence[tuple[Span, int]]) -> float:
    return sum(watts * held.length_s for held, watts in own) / sum(held.length_s for held, _ in own)


def _hours(span: Span, signal: Floats, response: Floats) -> Iterator[Hour]:
    """Each hour from the beginning of the span on, by its samples and those of the five minutes after it."""
    each = round(HOUR_S / SAMPLE_S)
    for turn in range(int(span.length_s // HOUR_S)):
        start_utc_s = span.start_utc_s + turn * HOUR_S
        part = slice(turn * each, turn * each + each + SHIFTS - 1)
        yield Hour(span=Span(start_utc_s, start_utc_s + HOUR_S), score=_scored(signal[part], response[part]))


def _sampled(times: Floats, steps: Sequence[tuple[Span, float]]) -> Floats:
    """The value at each moment; not a number where there is none."""
    if not steps:
        return np.full(len(times), np.nan)
    starts = np.array([span.start_utc_s for span, _ in steps])
    ends = np.array([span.end_utc_s for span, _ in steps])
    at = np.searchsorted(starts, times, side="right") - 1
    values = np.array([value for _, value in steps], dtype=np.float64)[at]
    return np.where((at >= 0) & (times < ends[at]), values, np.nan)


def _scored(signal: Floats, response: Floats) -> Score | NoScore:
    if len(signal) < LEAST_SAMPLES:
        return NoScore(f"{LEAST_SAMPLES * SAMPLE_S / 60:.0f} minutes are needed")
    unasked, unmeasured = int(np.isnan(signal).sum()), int(np.isnan(response).sum())
    if unasked or unmeasured > (1 - WHOLE_SHARE) * len(response):
        return NoScore(f"of {len(signal)} samples {unasked} have no set-point, {unmeasured} no reading")
    return regulation.score(signal, _held(response))


def _held(response: Floats) -> Floats:
    """The few samples without a reading as the one before them, the first as the one after."""
    known = np.flatnonzero(~np.isnan(response))
    at = np.searchsorted(known, np.arange(len(response)), side="right") - 1
    found: Floats = response[known[np.maximum(at, 0)]]
    return found
