"""Curves of throughput against the power cap: the known ones, and what is fitted to measurements."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.gpu_curve import KNOWN, Curve, Measured, Workload, at, fitted, known

DATA = Path(os.environ.get("WATTSHIFT_DATA") or Path(__file__).parents[3] / "shared" / "data")
PRIOR = known("NVIDIA H100 80GB HBM3", Workload.LLM_TRAINING)
CAPS = (0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)


def measured(
    curve: Curve,
    *,
    caps: Sequence[float] = CAPS,
    run: str = "job-1",
    full: float = 42.0,
    each: int = 5,
    noise: float = 0.0,
    outliers: float = 0.0,
    seed: int = 1,
) -> list[Measured]:
    """A run whose true curve is `curve`, at `full` units per second; outliers are of any size."""
    random = Random(seed)
    return [
        Measured(
            run,
            cap,
            full
            * at(curve, cap)
            * (random.uniform(0, 5) if random.random() < outliers else random.gauss(1, noise)),
        )
        for cap in caps
        for _ in range(each)
    ]


def error(found: Curve | None, true: Curve, caps: Iterable[float] = CAPS) -> float:
    assert found is not None
    return max(abs(at(found, cap) - at(true, cap)) for cap in caps)


V100 = known("Tesla V100-SXM2-32GB", Workload.TRAINING)


@pytest.mark.parametrize("seed", range(5))
def test_a_fit_finds_the_true_curve_through_noise_and_outliers(seed: int) -> None:
    samples = measured(V100, each=9, noise=0.02, outliers=0.15, seed=seed)

    assert error(fitted(samples, PRIOR), V100) < 0.05
    assert error(PRIOR, V100) > 0.15


def test_runs_that_count_in_different_units_show_one_curve_together() -> None:
    low = measured(V100, caps=(0.4, 0.5, 0.6), run="job-1", full=3.0)
    high = measured(V100, caps=(0.6, 0.8, 1.0), run="job-2", full=9_000.0)

    assert error(fitted([*low, *high], PRIOR), V100, (0.4, 0.5, 0.6, 0.8, 1.0)) < 0.02


@pytest.mark.parametrize(
    "samples",
    [
        [],
        measured(V100, caps=(1.0,), each=50),
        measured(V100, caps=(0.9, 0.95, 1.0)),
        measured(V100, each=2),
        [
            *measured(V100, caps=(0.5,), run="a"),
            *measured(V100, caps=(0.75,), run="b"),
            *measured(V100, caps=(1.0,)),
        ],
    ],
    ids=["nothing", "one cap", "too near together", "too few of each", "no run at two caps"],
)
def test_too_little_shows_nothing(samples: list[Measured]) -> None:
    assert fitted(samples, PRIOR) is None


def test_beyond_the_caps_that_were_seen_the_curve_keeps_its_prior_shape() -> None:
    found = fitted(measured(V100, caps=(0.6, 0.7, 0.8, 0.9)), PRIOR)

    assert found is not None
    assert at(found, 1.0) == at(PRIOR, 1.0)
    assert at(found, 0.25) == pytest.approx(at(PRIOR, 0.25) * at(found, 0.6) / at(PRIOR, 0.6), rel=0.1)


@given(
    st.lists(
        st.tuples(st.floats(0.2, 1.2), st.floats(1e-6, 1e6)),
        min_size=3,
        max_size=12,
        unique_by=lambda p: p[0],
    )
)
def test_whatever_was_measured_a_fitted_curve_rises_and_is_full_at_the_top(
    points: list[tuple[float, float]],
) -> None:
    samples = [Measured("job", cap, rate) for cap, rate in points for _ in range(3)]

    found = fitted(samples, PRIOR)

    if found is not None:
        caps, rates = zip(*found, strict=True)
        assert list(caps) == sorted(caps)
        assert list(rates) == sorted(rates)
        assert all(0 <= rate <= 1.001 for rate in rates)


@pytest.mark.parametrize(("model", "curves"), KNOWN.items())
def test_known_curves_rise_to_full_throughput_at_the_default_limit(
    model: str, curves: dict[Workload, Curve]
) -> None:
    for curve in curves.values():
        assert all(x0 < x1 and y0 <= y1 for (x0, y0), (x1, y1) in pairwise(curve))
        assert curve[-1] == (1.0, 1.0)


def test_a_board_gets_the_curve_of_its_model_and_a_new_one_that_of_the_nearest() -> None:
    assert known("NVIDIA A100-SXM4-40GB", Workload.LLM_TRAINING) == PRIOR
    assert known("NVIDIA A40", Workload.TRAINING) != V100
    assert known("NVIDIA H200", Workload.TRAINING) == V100
    assert known("NVIDIA H200", Workload.DECODE)[0] == (0.43, 1.0)


@pytest.mark.skipif(not DATA.exists(), reason="the recorded sweeps are not here")
@pytest.mark.parametrize("seed", [1, 2])
def test_recorded_llm_sweeps_are_learned_from_noisy_progress(seed: int) -> None:
    """Eight workloads on A100s: each recorded rate, told with 3 % noise and one outlier in ten."""
    for workload, points in recorded_llm().items():
        random = Random(seed)
        samples = [
            Measured(workload, cap, rate * (0.2 if random.random() < 0.1 else random.gauss(1, 0.03)))
            for cap, rate in points.items()
            for _ in range(9)
        ]
        found = fitted(samples, PRIOR)
        assert found is not None
        off = max(abs(at(found, cap) - rate / points[1.0]) for cap, rate in points.items())
        assert off < 0.06, (workload, off)


def recorded_llm() -> dict[str, dict[float, float]]:
    found: defaultdict[str, dict[float, float]] = defaultdict(dict)
    with (DATA / "emerald_dvfs_sweep.csv").open() as file:
        for row in csv.DictReader(file):
            found[row["Workload"]][float(row["GPU power cap"]) / 400] = float(row["throughput"])
    return found


@pytest.mark.skipif(not DATA.exists(), reason="the recorded sweeps are not here")
@pytest.mark.parametrize(("board", "default_w"), [("v100", 250), ("a40", 300)])
def test_the_known_curves_of_training_are_the_recorded_medians(board: str, default_w: int) -> None:
    recorded = recorded_training(board, default_w)

    for cap, rate in KNOWN[board.upper()][Workload.TRAINING]:
        nearest = min(recorded, key=lambda limit: abs(limit / default_w - cap))
        assert rate == pytest.approx(median(recorded[nearest]), abs=0.006), (board, cap)


def recorded_training(board: str, default_w: int) -> dict[int, list[float]]:
    """By limit in W: throughput of each configuration, of what it has at the default limit."""
    times: defaultdict[tuple[str, ...], dict[int, float]] = defaultdict(dict)
    with (DATA / f"zeus_summary_power_{board}.csv").open() as file:
        for row in csv.DictReader(file):
            key = (row["dataset"], row["network"], row["batch_size"], row["optimizer"])
            times[key][int(row["power_limit"])] = float(row["time_per_epoch"])
    found: defaultdict[int, list[float]] = defaultdict(list)
    for by_limit in times.values():
        for limit_w, seconds in by_limit.items():
            found[limit_w].append(by_limit[default_w] / seconds)
    return found
