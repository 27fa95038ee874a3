"""What heat does to jobs that run: they are slowed below what their tier allows, before work is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.inputs import Sample
from controller.domain.devices import Cooling, ThermalLimits
from controller.domain.jobs import FlexTier, Job, JobAction, JobState, OnShortage
from controller.domain.site import Zone
from tests.decide.builders import event, gpu, job, miner, site, zone_reading
from tests.decide.world import Queue, World, asleep

HOT = ThermalLimits(derate_c=80.0, trip_c=90.0)
"""Heat takes 50 of the 500 W above the floor of a GPU with each degree."""
HALL = Zone(id="hall", derate_c=30.0, trip_c=40.0)


def at_work(*jobs: Job, gpus: int = 0, miners: int = 0, zone: str | None = None) -> World:
    """Jobs that run on cool GPUs; air of `zone` is at 20 degrees."""
    jobs_queue = Queue("q", tuple(f"g{at}" for at in range(gpus or sum(one.gpus for one in jobs))))
    for one in jobs:
        jobs_queue.submit(one)
    machines = [asleep(gpu(name, thermal=HOT, zone=zone), hottest_c=50.0) for name in jobs_queue.gpus]
    machines += [asleep(miner(f"m{at}")) for at in range(miners)]
    world = World(site(zones=(HALL,), meter="main"), machines, queues=[jobs_queue])
    air(world, 20.0)
    world.run(60)
    return world


def air(world: World, inlet_c: float, cooling: Cooling = Cooling.PROVEN) -> None:
    world.zones["hall"] = Sample(world.now_s, zone_reading("hall", inlet_c, cooling))


def told(world: World) -> list[JobAction]:
    return [command.action for command in world.queues["q"].told]


@pytest.mark.parametrize("on_shortage", list(OnShortage))
@pytest.mark.parametrize(
    ("flex", "hottest_c", "goes_on_at"),
    [
        (FlexTier.RIGID, 81.0, "600w"),
        (FlexTier.SLIGHT, 83.0, "500w"),
        (FlexTier.MODERATE, 87.0, "300w"),
    ],
)
def test_a_job_on_a_gpu_too_hot_for_its_tier_goes_on_at_what_heat_allows(
    on_shortage: OnShortage, flex: FlexTier, hottest_c: float, goes_on_at: str
) -> None:
    world = at_work(job(flex=flex, on_shortage=on_shortage))

    world.machines["g0"].hottest_c = hottest_c
    world.run(120)

    assert (world.machines["g0"].at.name, told(world)) == (goes_on_at, [JobAction.START])


def test_a_job_whose_gpu_cooled_has_all_of_its_watts_again() -> None:
    world = at_work(job(flex=FlexTier.RIGID))
    world.machines["g0"].hottest_c = 85.0
    world.run(60)

    world.machines["g0"].hottest_c = 60.0
    world.run(60)

    assert (world.machines["g0"].at.name, told(world)) == ("700w", [JobAction.START])


def test_a_job_whose_gpu_is_at_its_trip_is_set_aside() -> None:
    world = at_work(job(flex=FlexTier.BROAD, on_shortage=OnShortage.PROTECT))

    world.machines["g0"].hottest_c = 90.0
    world.run(60)

    assert told(world) == [JobAction.START, JobAction.SUSPEND]


def test_no_job_of_a_hall_is_set_aside_for_a_degree_of_its_air() -> None:
    jobs = (job(f"j{at}", flex=FlexTier.RIGID, on_shortage=OnShortage.PROTECT) for at in range(4))
    world = at_work(*jobs, zone="hall")

    air(world, 31.0)
    world.run(40)

    assert told(world) == [JobAction.START] * 4
    assert world.watts() == 4 * 600


def test_a_job_that_heat_slowed_goes_on_where_it_is_no_longer_hot_and_cooling_is_not_proven() -> None:
    world = at_work(job(flex=FlexTier.RIGID), zone="hall")
    world.machines["g0"].hottest_c = 81.0
    world.run(30)

    air(world, 20.0, Cooling.NOT_PROVEN)
    world.machines["g0"].hottest_c = 60.0
    world.run(60)

    assert (world.machines["g0"].at.name, told(world)) == ("600w", [JobAction.START])


def test_a_job_that_heat_slowed_is_set_aside_for_a_limit_that_leaves_less_than_that() -> None:
    world = at_work(job(flex=FlexTier.RIGID, on_shortage=OnShortage.SUSPEND))
    world.machines["g0"].hottest_c = 81.0
    world.run(60)

    world.events = (event(limit_w=500, start_s=world.now_s + 10),)
    world.run(60)

    assert told(world) == [JobAction.START, JobAction.SUSPEND]


def test_a_job_that_waits_does_not_begin_on_a_gpu_too_hot_for_its_tier() -> None:
    world = at_work(gpus=1)
    world.machines["g0"].hottest_c = 81.0
    world.queues["q"].submit(replace(job(), flex=FlexTier.RIGID))

    world.run(60)

    assert [status.state for status in world.queues["q"].jobs.values()] == [JobState.QUEUED]
