"""Which jobs leave where a limit sets many aside at once, and how soon that is known."""

from __future__ import annotations

import random

import numpy as np
import pytest

from controller.decide.jobs import Placement
from controller.decide.plan import Plan
from controller.decide.shedding import Shortage
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
    waiting,
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


# Of those that lack watts at one node


def leave(
    jobs: dict[str, tuple[float, int]],
    *,
    room_w: int,
    fills_w: int,
    gone: str = "",
    waits: str = "",
    suspends: str = "",
) -> set[str]:
    """Of jobs that earn so much and need so many watts: all run, but the one that `waits`, and begin anew if
    they leave, but the one that `suspends`."""
    aside = {suspends: OnShortage.SUSPEND}
    rows = [
        job(name, usd=usd, on_shortage=aside.get(name, OnShortage.REQUEUE)) for name, (usd, _) in jobs.items()
    ]
    statuses = [waiting(one) if one.id == waits else working(one, one.id) for one in rows]
    lack = Shortage(
        jobs=[Placement(queue="q", status=it, gpus=(it.job.id,)) for it in statuses],
        needs_w=[{0: needs_w} for _, needs_w in jobs.values()],
        room_w=np.array([room_w]),
        fills_w=np.array([fills_w]),
    )
    return {one.status.job.id for one in lack.beyond({f"q/{gone}"})}


THREE = {"a": (6.0, 600), "b": (3.0, 400), "c": (0.5, 100)}


@pytest.mark.parametrize(
    ("room_w", "fills_w", "left"),
    [
        (1_000, 99, {"c"}),
        (1_000, 100, set()),
        (1_050, 49, {"c"}),
        (1_050, 50, set()),
        (999, 0, {"b"}),
        (600, 100, {"b"}),
    ],
)
def test_a_job_leaves_if_it_lacks_more_beside_those_that_earn_more_than_others_have_as_left_over(
    room_w: int, fills_w: int, left: set[str]
) -> None:
    assert leave(THREE, room_w=room_w, fills_w=fills_w) == left


def test_who_may_have_room_by_what_others_have_as_left_over_leaves_none_of_that_for_the_next() -> None:
    assert leave({**THREE, "d": (0.3, 100)}, room_w=1_000, fills_w=100) == {"d"}


def test_what_a_job_that_is_gone_gives_back_is_there_for_the_others() -> None:
    assert leave(THREE, room_w=500, fills_w=0, gone="a") == set()


def test_a_job_that_would_begin_leaves_before_one_that_runs_whatever_it_earns() -> None:
    assert leave(THREE, room_w=600, fills_w=0, waits="a") == {"a"}


def test_of_jobs_that_earn_alike_the_one_that_loses_nothing_by_it_leaves() -> None:
    alike = {"a": (2.0, 400), "b": (2.0, 400)}

    assert leave(alike, room_w=400, fills_w=0, suspends="b") == {"b"}
    assert leave(alike, room_w=400, fills_w=0, suspends="a") == {"a"}
