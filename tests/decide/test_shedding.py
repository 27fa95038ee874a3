"""Which jobs leave where a limit sets many aside at once, and how soon that is known."""

from __future__ import annotations

import random

import pytest

from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.domain.jobs import Job, JobAction, OnShortage
from tests.decide.builders import (
    GPU_POINTS,
    at_point,
    device,
    gpu,
    inputs,
    job,
    node,
    queue,
    running,
    site,
    working,
)
from tests.decide.steps import decide

RACKS = ("north", "south")
FLOOR_W, NEED_W = 200, 200
"""Of each GPU: what it draws at its lowest, and what a job of a moderate tier needs beyond."""


def crowd(*, on_shortage: OnShortage = OnShortage.REQUEUE) -> list[Job]:
    """Thirty for each rack, one to seven GPUs wide, that pay more and more."""
    return [
        job(f"{rack}{at:02}", 1 + at * 5 % 7, 1 + at / 10, on_shortage=on_shortage)
        for rack in RACKS
        for at in range(30)
    ]


def limited(jobs: list[Job], limit_w: int, *, shuffled: int = 0) -> tuple[State, Plan]:
    """All of them run, each in its rack, and each rack may draw no more than so much from now on."""
    gpus = {one.id: [f"{one.id}g{at}" for at in range(one.gpus)] for one in jobs}
    specs = [gpu(name, node=one.id[:5]) for one in jobs for name in gpus[one.id]]
    statuses = [working(one, *gpus[one.id]) for one in jobs]
    random.Random(shuffled).shuffle(statuses)
    return decide(
        site(*(node(rack, limit_w=limit_w) for rack in RACKS)),
        running({spec.id: device(GPU_POINTS[-1]) for spec in specs}),
        inputs(
            *specs,
            readings=[at_point(spec, GPU_POINTS[-1]) for spec in specs],
            queues=(queue(*statuses, gpus=[spec.id for spec in specs]),),
        ),
    )


def ended(plan: Plan) -> set[str]:
    aside = (JobAction.SUSPEND, JobAction.REQUEUE)
    return {command.job for command in plan.job_commands if command.action in aside}


def part_w(jobs: list[Job], share: float) -> int:
    """A limit of each rack that is enough for such a share of what its jobs need."""
    gpus = sum(one.gpus for one in jobs) // len(RACKS)
    return round(gpus * (FLOOR_W + share * NEED_W))


@pytest.mark.parametrize("on_shortage", OnShortage)
@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_many_jobs_are_set_aside_in_few_allocations(share: float, on_shortage: OnShortage) -> None:
    jobs = crowd(on_shortage=on_shortage)

    state, plan = limited(jobs, part_w(jobs, share))

    assert state.recall is not None
    assert len(state.recall.answers) <= 4
    assert 20 < len(ended(plan)) < len(jobs)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_no_job_of_many_is_set_aside_where_there_is_room_for_it(share: float) -> None:
    jobs = crowd()
    limit_w = part_w(jobs, share)

    _, plan = limited(jobs, limit_w)

    left = ended(plan)
    for rack in RACKS:
        here = [one for one in jobs if one.id.startswith(rack)]
        stay = sum(one.gpus for one in here if one.id not in left)
        room_w = limit_w - part_w(jobs, 0.0) - NEED_W * stay
        assert 0 <= room_w < NEED_W * min(one.gpus for one in here if one.id in left)


def test_of_many_jobs_those_that_are_protected_leave_last() -> None:
    cheap = crowd(on_shortage=OnShortage.PROTECT)[:10]
    others = {one.id: one for one in crowd()} | {one.id: one for one in cheap}
    jobs = list(others.values())

    _, plan = limited(jobs, part_w(jobs, 0.5))

    assert len(ended(plan)) > 20
    assert not ended(plan).intersection(one.id for one in cheap)


def test_which_of_many_jobs_leave_is_the_same_in_whatever_order_they_are_told() -> None:
    jobs = crowd()
    limit_w = part_w(jobs, 0.2)

    assert len({frozenset(ended(limited(jobs, limit_w, shuffled=at)[1])) for at in range(5)}) == 1
