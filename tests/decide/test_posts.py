"""What jobs need of their GPUs, for all of them at once."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from controller.decide.fleet import fleet_of
from controller.decide.posts import Work, enough_index, floor_index, posts
from controller.decide.tree import tree_of
from controller.domain.jobs import FlexTier, JobState
from tests.decide.builders import GPU_POINTS, gpu, job, miner, site


@pytest.mark.parametrize("seed", range(5))
def test_a_gpu_among_thousands_needs_for_its_job_what_it_needs_alone(seed: int) -> None:
    draw = random.Random(seed)
    ladders = (GPU_POINTS, GPU_POINTS[-1:], (replace(GPU_POINTS[0], rate=0.96), GPU_POINTS[-1]))
    gpus = (gpu(f"g{at:02}", points=draw.choice(ladders)) for at in range(40))
    here, specs = site(), [miner("a0"), *gpus]
    fleet = fleet_of(here, tree_of(here), specs)
    working = {
        spec.id: Work(job=job(flex=draw.choice(tuple(FlexTier))), state=JobState.QUEUED) for spec in specs[1:]
    }
    demand_w = np.array([draw.choice((0.0, 273.0, 455.0, 700.0, math.inf)) for _ in specs])

    found = posts(fleet, ((work, (name,)) for name, work in working.items()))

    for name, least, enough in zip(
        working, found.least(fleet).tolist(), found.enough(fleet, demand_w).tolist(), strict=True
    ):
        row, its = fleet.row[name], working[name].job
        assert least == floor_index(fleet.specs[row], its)
        assert enough == enough_index(fleet.specs[row], its, float(demand_w[row]))


def test_heat_lowers_what_a_job_needs_only_once_it_runs() -> None:
    here, specs = site(), [gpu(f"g{at}") for at in range(5)]
    fleet = fleet_of(here, tree_of(here), specs)
    rigid, moderate = job(flex=FlexTier.RIGID), job(flex=FlexTier.MODERATE)
    states = (JobState.RUNNING, JobState.QUEUED, JobState.RUNNING, JobState.RUNNING)
    works = [*(Work(job=rigid, state=it) for it in states), Work(job=moderate, state=JobState.RUNNING)]
    found = posts(fleet, ((work, (spec.id,)) for work, spec in zip(works, specs, strict=True)))

    needed_w = found.needed_w(fleet, np.array([450, 450, 200, 300, 700]))

    assert needed_w.tolist() == [400, 700, 700, 300, 400]  # the third has its floor alone: it is set aside


def test_a_gpu_that_is_not_in_the_fleet_is_nobodys_post() -> None:
    here = site()
    fleet = fleet_of(here, tree_of(here), [gpu("g0"), gpu("g1")])
    wide, narrow = Work(job=job(gpus=2), state=JobState.RUNNING), Work(job=job(), state=JobState.RUNNING)

    found = posts(fleet, [(wide, ("gone", "g1")), (narrow, ("lost",))])

    assert found
    assert (found.row.tolist(), found.of.tolist()) == ([1], [0])
    assert not posts(fleet, [(narrow, ("lost",))])
