"""What a power cap costs, learned from jobs that say how far they are."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from controller.decide.device import DeviceState
from controller.decide.inputs import Sample
from controller.decide.truth import observe
from controller.decide.words import Truth
from controller.domain.devices import Quality, Reading
from controller.domain.power import Limit, Power
from drivers.gpu_config import GpuHostConfig
from drivers.gpu_curve import Curve, Workload, at, known
from drivers.gpu_learning import KINDS, PER_POINT, RUNS_PER_KIND, Learner, Working
from drivers.gpu_reading import device_spec
from drivers.gpu_sample import Limits
from drivers.localqueue_progress import progress
from simulators.groups import GpuGroup
from simulators.physics.gpu import Gpu

MODEL = "NVIDIA H100 80GB HBM3"
PRIOR = known(MODEL, Workload.LLM_TRAINING)
TRUE = known("Tesla V100", Workload.TRAINING)
GPUS = ("dgx-gpu0", "dgx-gpu1")


class Site:
    """Simulated GPUs under one job of theirs, and a learner that looks on twice a second."""

    def __init__(
        self, learner: Learner, *, true: Curve = TRUE, kind: str = "bert", job: str = "job-1"
    ) -> None:
        self.learner, self.kind, self.job = learner, kind, job
        group = GpuGroup(
            name="dgx",
            model=MODEL,
            uuids=GPUS,
            node="site",
            min_w=200,
            max_w=700,
            idle_w=70,
            performance=((0.0, 0.0), *true),
        )
        self.gpus = [Gpu(group, index) for index in range(2)]
        self.now_s, self.units = 1000.0, 0.0

    def run(self, seconds: float, *, limit_w: float, reports: bool = True, stopped: bool = False) -> None:
        for _ in range(round(seconds / 0.5)):
            for name, gpu in zip(GPUS, self.gpus, strict=True):
                gpu.set_limit(limit_w)
                gpu.work(700.0)
                gpu.move(self.now_s)
                self.learner.limited(name, MODEL, gpu.limit_w / 700, PRIOR)
            self.now_s += 0.5
            if stopped:
                continue
            self.units += 0.5 * 17.0 * min(gpu.rate for gpu in self.gpus)
            told = self.units if reports else None
            self.learner.saw([Working(job=self.job, kind=self.kind, gpus=GPUS, units=told)], self.now_s)

    def sweep(self, *, minutes: float = 4.0) -> None:
        for limit_w in (700, 560, 420, 350, 280):
            self.run(60 * minutes, limit_w=limit_w)


def off(curve: Curve) -> float:
    return max(abs(at(curve, cap) - at(TRUE, cap)) for cap in (0.4, 0.5, 0.6, 0.8, 1.0))


def test_the_true_curve_of_simulated_gpus_is_learned_from_one_job_at_five_limits() -> None:
    site = Site(Learner())

    site.sweep()

    assert off(site.learner.curve("dgx-gpu0", PRIOR)) < 0.01
    assert off(PRIOR) > 0.15


def test_what_is_learned_of_one_kind_says_nothing_of_another() -> None:
    site = Site(Learner())
    site.sweep()

    site.kind, site.job = "llama", "job-2"
    site.run(5, limit_w=700)

    assert site.learner.curve("dgx-gpu0", PRIOR) == PRIOR


@pytest.mark.parametrize("how", [{"reports": False}, {"stopped": True}], ids=["says nothing", "does not run"])
def test_a_job_that_reports_nothing_teaches_nothing(how: dict[str, bool]) -> None:
    site = Site(Learner())

    for limit_w in (700, 560, 420, 350, 280):
        site.run(120, limit_w=limit_w, **how)

    assert site.learner.curve("dgx-gpu0", PRIOR) == PRIOR
    assert not site.learner.news


def test_time_in_which_a_job_was_stopped_is_not_counted_as_slow_work() -> None:
    site = Site(Learner())

    for limit_w in (700, 560, 420, 350, 280):
        for _ in range(6):
            site.run(40, limit_w=limit_w)
            site.run(30, limit_w=limit_w, stopped=True)

    assert off(site.learner.curve("dgx-gpu0", PRIOR)) < 0.01


def test_limits_that_change_all_the_time_teach_nothing_wrong() -> None:
    site = Site(Learner())

    for turn in range(200):
        site.run(10, limit_w=(700, 350)[turn % 2])

    assert not site.learner.news


def test_a_job_that_begins_anew_from_a_checkpoint_is_measured_anew() -> None:
    site = Site(Learner())

    for limit_w in (700, 560, 420, 350, 280):
        for _ in range(4):
            site.run(60, limit_w=limit_w)
            site.units *= 0.5

    assert off(site.learner.curve("dgx-gpu0", PRIOR)) < 0.02


def test_what_was_learned_outlives_a_restart() -> None:
    before = Site(Learner())
    before.sweep()

    after = Site(Learner(), job="job-9")
    after.learner.load(before.learner.dump())
    after.run(5, limit_w=700)

    assert off(after.learner.curve("dgx-gpu0", PRIOR)) < 0.01
    assert not before.learner.news


BEYOND = '{"points": [{"model": "m", "kind": "k", "run": "r", "cap": 1, "units_per_s": 1e300}]}'


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 2, "points": []}', '{"points": [{"cap": -1}]}', BEYOND]
)
def test_a_file_that_is_not_what_was_written_is_refused_whole(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        Learner().load(text)


def test_what_is_kept_is_bounded_whatever_jobs_there_are() -> None:
    learner = Learner()
    now_s = 0.0
    for at_ in range(3 * KINDS):
        for name in GPUS:
            learner.limited(name, MODEL, 1.0, PRIOR)
        for _ in range(60):
            now_s += 2.0
            learner.saw([Working(job=f"job-{at_}", kind=f"kind-{at_}", gpus=GPUS, units=now_s)], now_s)

    assert learner.dump().count("units_per_s") <= KINDS * RUNS_PER_KIND * PER_POINT
    assert len({kind for _, kind in learner._kinds}) == KINDS


@pytest.mark.parametrize("units", [math.inf, -math.inf, math.nan])
def test_progress_that_is_no_number_teaches_nothing(units: float) -> None:
    learner = Learner()
    learner.limited("dgx-gpu0", MODEL, 1.0, PRIOR)

    for at_s in range(200):
        learner.saw([Working(job="j", kind="k", gpus=("dgx-gpu0",), units=units)], float(at_s))

    assert not learner.news


def test_a_job_that_claims_to_work_at_a_rate_that_nothing_has_costs_no_curve() -> None:
    """No number that a tenant writes may end in a curve that is none."""
    learner = Learner()
    now_s = 0.0
    for cap, step in ((0.4, 1e-300), (0.7, 1e-300), (1.0, 1e300)):
        units = 0.0
        for _ in range(90):
            now_s, units = now_s + 2.0, units + step
            learner.limited("dgx-gpu0", MODEL, cap, PRIOR)
            learner.saw([Working(job="job-1", kind="odd", gpus=("dgx-gpu0",), units=units)], now_s)

    curve = learner.curve("dgx-gpu0", PRIOR)

    assert all(math.isfinite(value) for corner in curve for value in corner)


def test_what_is_learned_at_a_limit_far_above_the_default_one_is_kept() -> None:
    """A laptop's board of 80 W may be at 175 W, and nobody set that."""
    learner, after = Learner(), Learner()
    for step in range(60):
        learner.limited("dgx-gpu0", MODEL, 175 / 80, PRIOR)
        learner.saw([Working(job="job-1", kind="odd", gpus=("dgx-gpu0",), units=1.0 * step)], 2.0 * step)

    after.load(learner.dump())

    assert after.dump().count("units_per_s") > 0


def test_a_learned_curve_changes_what_points_are_worth_and_never_their_watts() -> None:
    config = GpuHostConfig(id="dgx", node="rack", uuids=("GPU-1",), min_w=200, max_w=700, default_w=700)
    limits = Limits(min_w=200, max_w=700, default_w=700)

    before, after = (device_spec("dgx-gpu0", config, limits, curve) for curve in (PRIOR, TRUE))

    assert [(point.name, point.power) for point in after.points] == [(p.name, p.power) for p in before.points]
    assert [point.rate for point in after.points] != [point.rate for point in before.points]
    assert (after.ceiling, after.thermal) == (before.ceiling, before.thermal)


def test_a_new_curve_leaves_a_gpu_where_it_is_and_as_proven_as_it_was() -> None:
    config = GpuHostConfig(id="dgx", node="rack", uuids=("GPU-1",), min_w=200, max_w=700, default_w=700)
    limits = Limits(min_w=200, max_w=700, default_w=700)
    old, new = (device_spec("dgx-gpu0", config, limits, curve) for curve in (PRIOR, TRUE))
    reading = Reading(device="dgx-gpu0", draw=Power(390), quality=Quality.MEASURED, setting=Limit(Power(400)))
    before = observe(old, DeviceState(), Sample(1.0, reading), None, 1.0)

    after = observe(new, before, Sample(2.0, reading), None, 2.0)

    assert (before.truth, after.truth) == (Truth.CONFIRMED, Truth.CONFIRMED)
    assert after.point is not None
    assert (after.point.power, after.worst, after.since_s) == (Power(400), Power(400), before.since_s)
    assert any(point.is_at(after.point) for point in new.points)


# The file that a job writes


@pytest.mark.parametrize(
    ("text", "told"),
    [("12.5\n", 12.5), ("7 steps", 7.0), ("", None), ("soon", None), ("inf", None), ("1" * 500, None)],
)
def test_the_first_word_of_the_file_is_the_progress_if_it_is_a_number(
    tmp_path: Path, text: str, told: float | None
) -> None:
    (tmp_path / "job-1").write_text(text)

    said = progress(tmp_path / "job-1")

    assert said == (told if told is not None or text != "1" * 500 else float("1" * 64))


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/proc/uptime")

    said = [progress(tmp_path / name) for name in ("pipe", "link", "nothing", ".")]

    assert said == [None] * 4
