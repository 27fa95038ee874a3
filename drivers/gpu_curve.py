"""Power caps and throughput of a GPU: known curves by model and workload, and curves fitted to measurements.

A curve maps a limit, as a fraction of the board's default limit, to a fraction of full throughput. It says
what a cap costs and never how many watts are drawn: a wrong one loses money and breaks no limit. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from statistics import fmean, median
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Curve = tuple[tuple[float, float], ...]
Floats = NDArray[np.float64]

BIN = 0.05
PER_BIN = 3
"""Measurements of one run at one cap before they count: the median of them stands against one outlier."""
LEAST_BINS = 3
LEAST_SPAN = 0.25
"""A curve is learned from at least so many caps, so far apart."""
PULL_OF_PRIOR = 0.02
LEAST_RATE = 1e-6
TOP = 1.0


class Workload(StrEnum):
    LLM_TRAINING = "llm-training"
    LLM_FINE_TUNING = "llm-fine-tuning"
    LLM_INFERENCE = "llm-inference"
    TRAINING = "training"
    FRAGILE = "fragile"
    DECODE = "decode"


# Eight LLM workloads on A100s of 400 W: arXiv 2507.00909, data/dvfs_sweep.csv of
# github.com/ai-emerald/emerald-ai-demo-may-2025 (Apache-2.0), means by kind. Inference is bound by prefill.
_A100: Mapping[Workload, Curve] = MappingProxyType(
    {
        Workload.LLM_TRAINING: (
            (0.25, 0.186), (0.5, 0.629), (0.625, 0.784), (0.75, 0.867), (0.875, 0.923), (1.0, 1.0),
        ),
        Workload.LLM_FINE_TUNING: (
            (0.25, 0.234), (0.5, 0.796), (0.625, 0.891), (0.75, 0.944), (0.875, 0.974), (1.0, 1.0),
        ),
        Workload.LLM_INFERENCE: (
            (0.25, 0.225), (0.5, 0.781), (0.625, 0.871), (0.75, 0.931), (0.875, 0.976), (1.0, 1.0),
        ),
    }
)  # fmt: skip

# Training of six networks on V100s of 250 W (68 configurations) and on A40s of 300 W (53): medians, and as
# FRAGILE the tenth percentiles. github.com/ml-energy/zeus (Apache-2.0), summary_power_{v100,a40}.csv.
_V100: Mapping[Workload, Curve] = MappingProxyType(
    {
        Workload.TRAINING: (
            (0.4, 0.725), (0.5, 0.853), (0.6, 0.899), (0.7, 0.941), (0.8, 0.965), (0.9, 0.987), (1.0, 1.0),
        ),
        Workload.FRAGILE: (
            (0.4, 0.525), (0.5, 0.689), (0.6, 0.828), (0.7, 0.896), (0.8, 0.937), (0.9, 0.973), (1.0, 1.0),
        ),
    }
)  # fmt: skip
_A40: Mapping[Workload, Curve] = MappingProxyType(
    {
        Workload.TRAINING: (
            (0.33, 0.354), (0.42, 0.509), (0.5, 0.751), (0.58, 0.929), (0.67, 0.956), (0.75, 0.985),
            (0.83, 0.989), (0.92, 0.995), (1.0, 1.0),
        ),
        Workload.FRAGILE: (
            (0.5, 0.579), (0.58, 0.78), (0.67, 0.9), (0.75, 0.942), (0.92, 0.949), (1.0, 1.0),
        ),
    }
)  # fmt: skip

# H200s that decode draw 137 to 300 of 700 W (arXiv 2605.11999): above that no cap binds.
_ANY: Mapping[Workload, Curve] = MappingProxyType(
    {**_A100, **_V100, Workload.DECODE: ((0.43, 1.0), (1.0, 1.0))}
)

KNOWN: Mapping[str, Mapping[Workload, Curve]] = MappingProxyType({"A100": _A100, "V100": _V100, "A40": _A40})
"""By a word of the model's name. No curves of newer boards are published with their data: they get those of
the A100 for language models and of the V100 for the rest."""


def known(model: str, workload: Workload) -> Curve:
    """The curve to begin with, before anything was measured."""
    words = set(model.replace("-", " ").split())
    for name, curves in KNOWN.items():
        if name in words and workload in curves:
            return curves[workload]
    return _ANY[workload]


def throughput(curve: Sequence[tuple[float, float]], default_w: int, limit_w: float) -> float:
    """Piecewise linear through (0, 0) and the curve's corners, flat beyond the last."""
    return at(curve, limit_w / default_w)


def at(curve: Sequence[tuple[float, float]], cap: float) -> float:
    corners = [(0.0, 0.0), *curve]
    right = bisect_right(corners, cap, key=lambda corner: corner[0])
    if right == len(corners):
        return corners[-1][1]
    (x0, y0), (x1, y1) = corners[right - 1], corners[right]
    return y0 + (y1 - y0) * (cap - x0) / (x1 - x0)


@dataclass(frozen=True, slots=True)
class Measured:
    """Work that `run` did per second, in units of its own, at a limit of `cap` of the default one."""

    run: str
    cap: float
    units_per_s: float


def binned(cap: float) -> int:
    return round(cap / BIN)


def fitted(measured: Iterable[Measured], prior: Curve) -> Curve | None:
    """The rising concave curve nearest to what was measured; None while that is too little to tell.

    Runs count their work in units of their own: a run shows the shape of the curve through the caps at which
    it was seen, and one seen at one cap shows nothing. Beyond the measured caps the shape is the prior's.
    """
    measured = tuple(measured)
    runs = _medians(measured)
    bins = sorted({bin_ for points in runs.values() for bin_ in points})
    if len(bins) < LEAST_BINS or (bins[-1] - bins[0]) * BIN < LEAST_SPAN - BIN / 2:
        return None
    caps = np.array([fmean(one.cap for one in measured if binned(one.cap) == bin_) for bin_ in bins])
    before = np.array([max(at(prior, cap), LEAST_RATE) for cap in caps])
    heights, weights = _heights(runs, dict(zip(bins, before, strict=True)))
    values = _concave(caps, heights, weights)
    if values[-1] <= 0:
        return None
    values = values * (before[-1] / values[-1])
    return _joined(caps, values, prior)


def _medians(measured: Iterable[Measured]) -> dict[str, dict[int, float]]:
    """By run and cap, where there is enough; runs seen at one cap alone are left out."""
    found: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in measured:
        found[one.run][binned(one.cap)].append(one.units_per_s)
    runs = {
        run: {bin_: median(rates) for bin_, rates in bins.items() if len(rates) >= PER_BIN}
        for run, bins in found.items()
    }
    return {run: points for run, points in runs.items() if len(points) > 1 and all(points.values())}


def _heights(runs: Mapping[str, Mapping[int, float]], before: Mapping[int, float]) -> tuple[Floats, Floats]:
    """At each cap the median of all runs, in one unit, and how many runs that is.

    A run's unit and the curve's distance from what was known `before` are found together, by least squares
    of logarithms: what runs saw in common ties them together; where nothing does, what was known does.
    """
    names: list[str | int] = [*runs, *before]
    columns = {name: place for place, name in enumerate(names)}
    seen = [(run, bin_, rate) for run, points in runs.items() for bin_, rate in points.items()]
    matrix = np.zeros((len(seen) + len(before), len(columns)))
    target = np.zeros(len(matrix))
    for row, (run, bin_, rate) in enumerate(seen):
        matrix[row, columns[run]] = matrix[row, columns[bin_]] = 1.0
        target[row] = np.log(rate / before[bin_])
    for row, bin_ in enumerate(before, len(seen)):
        matrix[row, columns[bin_]] = PULL_OF_PRIOR
    units = np.exp(np.linalg.lstsq(matrix, target, rcond=None)[0])
    scaled: defaultdict[int, list[float]] = defaultdict(list)
    for run, bin_, rate in seen:
        scaled[bin_].append(rate / float(units[columns[run]]))
    return (
        np.array([median(scaled[bin_]) for bin_ in before]),
        np.array([float(len(scaled[bin_])) for bin_ in before]),
    )


def _concave(caps: Floats, heights: Floats, weights: Floats) -> Floats:
    """Least squares over b + sum of a_k min(cap, k), all coefficients at least 0: rising and concave."""
    columns = [np.ones_like(caps), *(np.minimum(caps, knot) - caps[0] for knot in caps[1:])]
    basis = np.stack(columns, axis=1)
    root = np.sqrt(weights)
    return basis @ _nonnegative(basis * root[:, None], heights * root)


def _nonnegative(matrix: Floats, target: Floats) -> Floats:
    """Non-negative least squares by Lawson and Hanson's active set."""
    size = matrix.shape[1]
    found, free = np.zeros(size), np.zeros(size, dtype=bool)
    for _ in range(3 * size):
        gradient = matrix.T @ (target - matrix @ found)
        gradient[free] = -np.inf
        if gradient.max() <= 1e-10:
            break
        free[gradient.argmax()] = True
        while True:
            trial = np.zeros(size)
            trial[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
            below = free & (trial <= 0)
            if not below.any():
                break
            step = (found[below] / (found[below] - trial[below])).min()
            found = found + step * (trial - found)
            free &= found > 1e-12
        found = trial
    return found


def _joined(caps: Floats, values: Floats, prior: Curve) -> Curve:
    """The fit where it was measured, and the prior's shape on both sides of that, never falling."""
    low, high = float(caps[0]), float(caps[-1])
    scale = float(values[0]) / max(at(prior, low), LEAST_RATE)
    below = [(cap, min(rate * scale, float(values[0]))) for cap, rate in prior if cap < low - BIN / 2]
    above = [(cap, rate) for cap, rate in prior if cap > high + BIN / 2]
    fit = [(float(cap), float(value)) for cap, value in zip(caps, values, strict=True)]
    corners = [*below, *fit, *above]
    if corners[-1][0] < TOP:
        corners.append((TOP, at(prior, TOP)))
    rates = accumulate((rate for _, rate in corners), max)
    return tuple((cap, rate) for (cap, _), rate in zip(corners, rates, strict=True))
