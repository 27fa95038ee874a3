"""Whether jobs wait behind dearer ones that cannot run, and for how long those are overtaken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.jobs import place
from controller.decide.overtaking import OVERTAKEN_S
from controller.domain.jobs import FlexTier, Job, JobState
from tests.decide.builders import NOW_S, gpu, job, queue, site, waiting
from tests.decide.world import Queue, World, asleep


def farm(gpus: int, *jobs: Job, limit_w: int | None = None) -> World:
    names = tuple(f"g{at}" for at in range(gpus))
    queue = Queue("q", names)
    for one in jobs:
        queue.submit(one)
    return World(site(limit_w=limit_w), [asleep(gpu(name)) for name in names], queues=[queue])


def at_work(world: World) -> set[str]:
    return {name for name, it in world.queues["q"].jobs.items() if it.state.value == "running"}


@pytest.mark.parametrize("how", ["lies", "refuses", "deaf"])
def test_a_job_runs_on_what_a_dearer_one_cannot_use_as_one_of_its_gpus_does_not_come_up(how: str) -> None:
    world = farm(3, job("dear", gpus=3, usd=9.0), job("cheap", usd=1.0))
    setattr(world.machines["g1"], how, True)

    world.run(120)

    assert at_work(world) == {"cheap"}


def test_a_job_takes_gpus_that_do_not_come_up_where_nobody_else_can_use_the_others() -> None:
    world = farm(2, job("dear", gpus=2, usd=9.0))
    world.machines["g1"].refuses = True
    world.run(60)

    world.machines["g1"].refuses = False
    world.run(120)

    assert at_work(world) == {"dear"}


def wide_and_small(*, kept_s: float) -> World:
    """Four GPUs, of which two are busy for as long as anybody looks: `wide` lacks a third one. It waits for
    `kept_s` already, when a small job comes."""
    world = farm(4, job("busy", gpus=2, usd=5.0))
    world.run(20)
    world.queues["q"].submit(job("wide", gpus=3, usd=9.0))
    world.run(5)
    world.state = replace(world.state, waits={"q/wide": world.now_s - kept_s})
    world.queues["q"].submit(job("small", usd=1.0))
    world.run(20)
    return world


@pytest.mark.parametrize(
    ("waited_s", "passes"),
    [
        (0, True),
        (OVERTAKEN_S - 60, True),
        (OVERTAKEN_S, False),
        (2 * OVERTAKEN_S - 60, False),
        (2 * OVERTAKEN_S, True),
        (4 * OVERTAKEN_S - 60, True),
        (4 * OVERTAKEN_S, False),
        (6 * OVERTAKEN_S - 60, False),
        (6 * OVERTAKEN_S, True),
    ],
)
def test_a_small_job_overtakes_a_wide_one_for_half_an_hour_then_gpus_are_kept_for_it_in_turns(
    waited_s: float, passes: bool
) -> None:
    assert ("small" in at_work(wide_and_small(kept_s=waited_s))) is passes


def test_a_wide_job_that_is_overtaken_without_end_runs_once_it_was_its_turn() -> None:
    """Whenever a small job is over, the next one waits already; never are two GPUs free by themselves."""
    world = farm(2, job("0", usd=1.0))
    jobs = world.queues["q"].jobs
    world.run(20)
    world.queues["q"].submit(job("wide", gpus=2, usd=9.0))
    for at in range(1, 40):
        world.queues["q"].submit(job(str(at), usd=1.0))
        world.run(60)
        if jobs["wide"].state is JobState.RUNNING:
            break
        del jobs[min(at_work(world), key=int)]

    assert jobs["wide"].state is JobState.RUNNING
    assert world.now_s - NOW_S > OVERTAKEN_S


def test_nothing_is_kept_for_a_job_that_the_gpus_of_its_queue_are_too_few_for() -> None:
    world = farm(2, job("never", gpus=3, usd=9.0))
    world.run(5)
    world.state = replace(world.state, waits={"q/never": world.now_s - OVERTAKEN_S})

    world.queues["q"].submit(job("small", usd=1.0))
    world.run(20)

    assert at_work(world) == {"small"}


def test_nothing_is_kept_for_a_job_that_lacks_a_gpu_that_does_not_come_up() -> None:
    jobs = queue(waiting(job("wide", gpus=3, usd=9.0)), waiting(job("small")), gpus=["g0", "g1", "g2"])
    usable = {"g0": True, "g1": True, "g2": False}

    placed = place([jobs], usable, {}, lambda _: lambda gpu: True, {"q/wide", "q/small"})

    assert [(it.id, it.gpus) for it in placed] == [("q/small", ("g0",))]


def test_nothing_is_kept_for_a_job_that_could_not_have_its_watts_either() -> None:
    world = farm(2, job("busy", flex=FlexTier.BROAD), limit_w=200 + 300 + 450)
    world.run(20)
    world.queues["q"].submit(job("hungry", gpus=2, usd=9.0, flex=FlexTier.RIGID))
    world.run(5)
    world.state = replace(world.state, waits={"q/hungry": world.now_s - OVERTAKEN_S})

    world.queues["q"].submit(job("modest", usd=1.0))
    world.run(20)

    assert "modest" in at_work(world)


def test_who_is_dearer_than_a_job_that_gpus_are_kept_for_goes_first() -> None:
    world = farm(4, job("busy", gpus=2, usd=5.0))
    world.run(20)
    world.queues["q"].submit(job("wide", gpus=3, usd=9.0))
    world.run(5)
    world.state = replace(world.state, waits={"q/wide": world.now_s - OVERTAKEN_S})

    world.queues["q"].submit(job("dearest", usd=20.0))
    world.run(20)

    assert "dearest" in at_work(world)
