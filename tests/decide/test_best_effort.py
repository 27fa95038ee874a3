"""A limit that is best effort breaks no work, whatever jobs are worth and machines do."""

from __future__ import annotations

import pytest

from controller.domain.jobs import Job, JobAction
from tests.decide.builders import event, gpu, job, miner, site
from tests.decide.world import Queue, World, asleep


def farm(*jobs: Job, miners: int = 0) -> World:
    """A GPU for each job, and miners, that have worked for a while."""
    jobs_queue = Queue("q", tuple(f"g{at}" for at in range(len(jobs))))
    for one in jobs:
        jobs_queue.submit(one)
    machines = [asleep(gpu(name)) for name in jobs_queue.gpus]
    machines += [asleep(miner(f"m{at}", dwell_s=60.0)) for at in range(miners)]
    world = World(site(meter="main"), machines, queues=[jobs_queue])
    world.run(150)
    return world


def set_aside(world: World) -> list[str]:
    """The jobs that have to leave for a limit of 500 W that is best effort."""
    world.events = (event(limit_w=500, start_s=world.now_s, best_effort=True),)
    world.run(120)
    aside = (JobAction.SUSPEND, JobAction.REQUEUE)
    return [command.job for command in world.queues["q"].told if command.action in aside]


def test_no_cheap_job_is_set_aside_for_more_than_the_least_of_a_dear_one() -> None:
    assert set_aside(farm(job("dear", usd=10.0), job("cheap", usd=0.5))) == []


@pytest.mark.parametrize("how", ["deaf", "lies"])
def test_no_job_is_set_aside_for_a_miner_that_does_not_obey(how: str) -> None:
    world = farm(*(job(f"j{at}") for at in range(4)), miners=2)
    setattr(world.machines["m0"], how, True)

    assert set_aside(world) == []


def test_no_job_is_set_aside_for_a_miner_that_takes_most_of_its_time_to_stop() -> None:
    world = farm(*(job(f"j{at}") for at in range(4)), miners=2)
    world.machines["m0"].delay_s = 0.7 * world.machines["m0"].spec.settle_down_s

    assert set_aside(world) == []


def test_no_job_is_set_aside_whose_gpu_draws_a_few_percent_more_than_its_limit() -> None:
    world = farm(*(job(f"j{at}") for at in range(4)))
    world.noise = 0.04

    assert set_aside(world) == []
