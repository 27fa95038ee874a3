"""What GPUs of one job have beside one another: each step of it waits for the slowest of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.decide.words import Reason
from controller.domain.devices import OperatingPoint, ThermalLimits
from controller.domain.jobs import FlexTier, Job
from controller.domain.power import Power
from controller.domain.site import Site
from tests.decide.builders import (
    GPU_POINTS,
    at_point,
    device,
    event,
    gpu,
    inputs,
    job,
    miner,
    node,
    queue,
    reading,
    reasons,
    running,
    site,
    told,
    working,
)
from tests.decide.steps import decide
from tests.decide.world import Queue, World, asleep

HOT = ThermalLimits(derate_c=80.0, trip_c=90.0)
"""Heat takes 50 of the 500 W above the floor of a GPU with each degree."""
LARGE = tuple(
    OperatingPoint(name=f"{watts}w", power=Power(watts), rate=rate)
    for watts, rate in ((300, 0.4), (500, 0.62), (700, 0.8), (850, 0.9), (1_000, 1.0))
)


def farm(
    *jobs: Job,
    gpus: int = 4,
    miners: int = 0,
    at: Site | None = None,
    behind: dict[str, str] | None = None,
    large: tuple[str, ...] = (),
    **gpu_is: Any,
) -> World:
    """Jobs that have worked on cool GPUs for a while. `behind` which node some stand."""
    jobs_queue = Queue("q", tuple(f"g{at}" for at in range(gpus)))
    for one in jobs:
        jobs_queue.submit(one)
    machines = [
        asleep(
            gpu(
                name,
                (behind or {}).get(name, "site"),
                thermal=HOT,
                **({"points": LARGE, "ceiling": Power(1_000)} if name in large else {}),
                **gpu_is,
            ),
            hottest_c=50.0,
        )
        for name in jobs_queue.gpus
    ]
    machines += [asleep(miner(f"m{at}", dwell_s=60.0)) for at in range(miners)]
    world = World(site(meter="main") if at is None else at, machines, queues=[jobs_queue])
    world.run(150)
    return world


def limited(world: World, limit_w: int) -> World:
    world.events = (event(limit_w=limit_w, start_s=world.now_s),)
    world.run(120)
    return world


def watts_of(world: World, name: str) -> list[int]:
    """Of each GPU that works for the job of that name."""
    held = world.queues["q"].jobs[name].gpus
    return [world.machines[one].at.power.watts for one in held]


# Where watts are short


@pytest.mark.parametrize(("limit_w", "each_w"), [(2_790, 600), (2_250, 500), (2_000, 500), (1_999, 400)])
def test_no_gpu_of_a_job_stands_a_step_above_the_others(limit_w: int, each_w: int) -> None:
    world = limited(farm(job("wide", 4)), limit_w)

    assert watts_of(world, "wide") == [each_w] * 4


def test_what_a_wide_job_cannot_use_in_all_of_its_gpus_goes_to_a_small_one() -> None:
    """Four times 500 leave 200 W; the small job pays less, and takes a step of 100 more than before."""
    world = limited(farm(job("wide", 4), job("small", usd=1.0), gpus=5), 2_700)

    assert (watts_of(world, "wide"), watts_of(world, "small")) == ([500] * 4, [700])


def test_jobs_of_one_gpu_each_are_given_watts_one_by_one() -> None:
    world = limited(farm(*(job(f"j{at}") for at in range(4))), 2_250)

    assert sorted(watts_of(world, f"j{at}")[0] for at in range(4)) == [500, 500, 600, 600]


def test_a_job_on_gpus_of_two_models_has_the_same_share_of_each() -> None:
    """800 and 880 thousandths of their pace: so 700 and 500 W, where the larger ones have the next step."""
    world = limited(farm(job("wide", 4), large=("g0", "g1")), 2_500)

    assert sorted(watts_of(world, "wide")) == [500, 500, 700, 700]


# Where one GPU cannot have more


def test_what_a_hot_gpu_slows_is_worth_no_more_watts_in_the_others() -> None:
    world = limited(farm(job("wide", 4), miners=1), 4_000)
    assert (watts_of(world, "wide"), world.machines["m0"].at.name) == ([700] * 4, "sleep")

    world.machines["g0"].hottest_c = 86.0
    world.run(180)

    assert watts_of(world, "wide") == [400] * 4
    assert world.machines["m0"].at.name == "low"


def test_no_gpu_draws_for_nothing_beside_a_hot_one_though_nobody_else_wants_its_watts() -> None:
    world = farm(job("wide", 4))

    world.machines["g0"].hottest_c = 84.0
    world.run(60)

    assert watts_of(world, "wide") == [500] * 4


def test_a_job_has_all_of_its_watts_again_once_its_hot_gpu_has_cooled() -> None:
    world = farm(job("wide", 4))
    world.machines["g0"].hottest_c = 86.0
    world.run(60)

    world.machines["g0"].hottest_c = 60.0
    world.run(30)

    assert watts_of(world, "wide") == [700] * 4


def test_what_a_gpu_behind_a_small_breaker_slows_is_given_to_another_wide_job() -> None:
    here = site(node("breaker", limit_w=450), meter="main", limit_w=4_400)
    world = farm(job("dear", 4), job("cheap", 4, usd=1.9), gpus=8, at=here, behind={"g0": "breaker"})

    assert watts_of(world, "cheap") == [400] * 4
    assert watts_of(world, "dear") == [700] * 4
    assert world.breaches == []


def test_a_dear_job_that_a_breaker_slows_leaves_its_watts_to_a_cheap_one() -> None:
    """The greedy order would give all to the dear one first."""
    here = site(node("breaker", limit_w=1_700), meter="main", limit_w=4_400)
    behind = {f"g{at}": "breaker" for at in range(4)}
    world = farm(job("dear", 8, usd=9.0), job("cheap", usd=0.5), gpus=9, at=here, behind=behind)

    assert watts_of(world, "dear") == [400] * 8
    assert watts_of(world, "cheap") == [700]


@pytest.mark.parametrize("how", ["refuses", "lies"])
def test_no_gpu_is_raised_for_long_beside_one_that_does_not_come_up(how: str) -> None:
    world = limited(farm(job("wide", 4)), 1_600)

    setattr(world.machines["g0"], how, True)
    world.events = ()
    world.run(180)
    held = watts_of(world, "wide")
    setattr(world.machines["g0"], how, False)
    world.run(180)

    assert (held, watts_of(world, "wide")) == ([400] * 4, [700] * 4)


def test_a_job_is_not_slowed_for_a_gpu_that_is_silent() -> None:
    """It draws on as it did, as far as anybody knows."""
    world = farm(job("wide", 4))

    world.machines["g0"].silent = True
    world.run(120)

    assert watts_of(world, "wide") == [700] * 4


def test_a_job_is_not_slowed_to_the_limit_of_a_gpu_whose_share_of_the_work_wants_no_more() -> None:
    specs = [gpu(f"g{at}") for at in range(4)]
    state = running({spec.id: device(GPU_POINTS[-1]) for spec in specs[1:]})
    little = {"g0": device(GPU_POINTS[-1], draw_w=330, demand_w=330.0)}
    state = replace(state, devices={**state.devices, **little})
    said = [reading("g0", 330, 700), *(at_point(spec, GPU_POINTS[-1]) for spec in specs[1:])]
    works = queue(working(job("wide", 4), *(spec.id for spec in specs)), gpus=[spec.id for spec in specs])

    _, plan = decide(site(limit_w=2_300), state, inputs(*specs, readings=said, queues=(works,)))

    assert told(plan) == {"g0": "400w", "g1": "600w", "g2": "600w", "g3": "600w"}


def test_a_job_that_heat_slows_below_its_tier_is_not_ended_for_the_others() -> None:
    world = farm(job("wide", 4, flex=FlexTier.RIGID))

    world.machines["g0"].hottest_c = 87.0
    world.run(60)

    assert watts_of(world, "wide") == [300, 700, 700, 700]
    assert len(world.queues["q"].told) == 1


# How it is gone about


def test_a_gpu_that_changed_a_moment_ago_is_not_lowered_for_a_slower_one() -> None:
    world = farm(job("wide", 2), gpus=2, dwell_s=60.0)
    world.machines["g0"].hottest_c = 81.0
    world.run(40)
    assert watts_of(world, "wide") == [600, 600]
    world.machines["g0"].hottest_c = 86.0

    world.run(20)
    early = watts_of(world, "wide")
    world.run(60)

    assert (early, watts_of(world, "wide")) == ([400, 600], [400, 400])


def test_a_temperature_that_wavers_between_two_steps_moves_no_job_up_and_down() -> None:
    world = farm(job("wide", 4))
    changes = world.changes()

    for second in range(300):
        world.machines["g0"].hottest_c = 83.9 + 0.4 * (second % 3)
        world.tick()

    assert world.changes() - changes <= 12


@pytest.mark.parametrize("limit_w", range(1_600, 2_800, 150))
@pytest.mark.parametrize("dwell_s", [0.0, 5.0])
def test_a_limit_moves_each_gpu_of_a_job_once_and_no_more(limit_w: int, dwell_s: float) -> None:
    world = farm(job("wide", 4), job("other", 3, usd=1.7), gpus=7, miners=2, dwell_s=dwell_s)
    world.events = (event(limit_w=limit_w + 2_000, start_s=world.now_s),)
    world.run(60)
    changes = world.changes()

    world.run(240)

    assert world.changes() == changes


def test_a_gpu_that_waits_for_a_slower_one_says_so_and_the_slower_one_why() -> None:
    world = farm(job("wide", 3), gpus=3)

    world.machines["g0"].hottest_c = 86.0
    plan = world.run(60)

    assert reasons(plan) == {"g0": Reason.THERMAL, "g1": Reason.PACED, "g2": Reason.PACED}


def test_gpus_of_a_job_that_lacks_watts_for_all_of_them_are_limited_by_the_node_that_lacks_them() -> None:
    plan = limited(farm(job("wide", 4)), 2_250).plan

    assert {(grant.reason, grant.limited_by) for grant in plan.grants} == {(Reason.LIMITED, "site")}


def test_gpus_beside_one_behind_a_small_breaker_are_not_said_to_lack_room_themselves() -> None:
    here = site(node("breaker", limit_w=450), meter="main")
    plan = farm(job("wide", 2), gpus=2, at=here, behind={"g0": "breaker"}).plan

    assert [(grant.reason, grant.limited_by) for grant in plan.grants] == [
        (Reason.LIMITED, "breaker"),
        (Reason.PACED, ""),
    ]


def test_the_jobs_of_two_queues_are_two_though_they_are_alike() -> None:
    queues = [Queue(name, gpus) for name, gpus in (("one", ("g0", "g1")), ("two", ("g2", "g3")))]
    for one in queues:
        one.submit(job("1", 2))
    world = World(
        site(), [asleep(gpu(f"g{at}", thermal=HOT), hottest_c=50.0) for at in range(4)], queues=queues
    )
    world.run(60)

    world.machines["g0"].hottest_c = 86.0
    world.run(60)

    assert [world.machines[f"g{at}"].at.power.watts for at in range(4)] == [400, 400, 700, 700]
