"""How well a draw followed a regulation signal: PJM's performance score, of accuracy, delay and precision.

Manual 12, 4.5.6, as open implementations of it have it: every sample is of ten seconds, signal and response
are in -1..1 of the band, and correlation and delay are looked for together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLE_S = 10.0
WINDOW, SHIFTS = 30, 31
"""Five minutes of signal, each held against the response up to five minutes later."""
LEAST_SAMPLES = WINDOW + SHIFTS - 1
FLAT = 0.001
"""A signal that varies by less in a window is flat: there slopes are compared, and there is no delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`prompt` is the precision without any shift; `strict` is the score with that."""

    accuracy: float
    delay: float
    precision: float
    prompt: float

    @property
    def total(self) -> float:
        return (self.accuracy + self.delay + self.precision) / 3

    @property
    def strict(self) -> float:
        return (self.accuracy + self.delay + self.prompt) / 3


def score(signal: Floats, response: Floats) -> Score:
    """PJM's, of at least `LEAST_SAMPLES`: a window of five minutes every ten seconds, each at the shift of up
    to five minutes where correlation and delay together are best; precision over the whole at the better of
    no shift and one sample's. Nothing was asked for by a signal that is zero throughout: then precision is 1
    for a response that is zero as well, and else 0."""
    asked = _windows(signal[: len(signal) - SHIFTS + 1])
    given = _windows(response)
    accuracies, delays = _best(asked, given)
    errors = [_error(signal, response, shift) for shift in (0, 1)]
    return Score(
        accuracy=float(np.mean(accuracies)),
        delay=float(np.mean(delays)),
        precision=max(0.0, 1 - min(errors)),
        prompt=max(0.0, 1 - errors[0]),
    )


def _windows(samples: Floats) -> Floats:
    return np.lib.stride_tricks.sliding_window_view(samples, WINDOW)


def _error(signal: Floats, response: Floats, shift: int) -> float:
    """The mean miss of a response so much later, as a share of the mean that was asked for."""
    miss = float(np.abs(response[shift:] - signal[: len(signal) - shift]).mean())
    size = float(np.abs(signal).mean())
    return miss / size if size > 0 else float(miss > 0)


def _best(asked: Floats, given: Floats) -> tuple[Floats, Floats]:
    """Accuracy and delay of each window: those of the shift at which their sum is the largest, the earliest
    one of equals; nothing where no shift correlates."""
    count = len(asked)
    accuracies, delays = np.zeros(count), np.zeros(count)
    for shift in range(SHIFTS):
        correlation = _correlation(asked, given[shift : shift + count])
        delay = 1.0 if shift <= 1 else abs((10 * shift - 300) / 300)
        better = (correlation > 0) & (correlation + delay > accuracies + delays)
        accuracies[better] = np.minimum(correlation[better], 1.0)
        delays[better] = delay
    flat = asked.std(axis=1) < FLAT
    slopes = np.abs(_slope(asked) - _slope(given[:count]))
    accuracies[flat], delays[flat] = np.maximum(0.0, 1 - slopes[flat]), 1.0
    return accuracies, delays


def _correlation(some: Floats, others: Floats) -> Floats:
    """Pearson's, row by row; 0 where one of them does not vary."""
    some = some - some.mean(axis=1, keepdims=True)
    others = others - others.mean(axis=1, keepdims=True)
    norms = np.sqrt((some**2).sum(axis=1) * (others**2).sum(axis=1))
    products = (some * others).sum(axis=1)
    found: Floats = np.divide(products, norms, out=np.zeros(len(some)), where=norms > 1e-12)
    return found


def _slope(rows: Floats) -> Floats:
    """Of the least-squares line through each row, per sample."""
    times = np.arange(WINDOW) - (WINDOW - 1) / 2
    slopes: Floats = np.asarray((rows * times).sum(axis=1) / float((times**2).sum()), dtype=np.float64)
    return slopes
