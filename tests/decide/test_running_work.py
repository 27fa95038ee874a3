"""What must not cost a running job its work: best effort, and a dwell."""

from __future__ import annotations

from typing import Any

import pytest

from controller.decide.device import Stuck
from controller.decide.words import Reason
from controller.domain.devices import OperatingPoint
from controller.domain.jobs import FlexTier, Job, JobAction, JobState, OnShortage
from controller.domain.power import Power
from tests.decide.builders import (
    GPU_POINTS,
    NOW_S,
    at_point,
    device,
    event,
    gpu,
    inputs,
    job,
    miner,
    node,
    node_of,
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

RIGID, SLIGHT = FlexTier.RIGID, FlexTier.SLIGHT


def farm(*jobs: Job, gpus: int = 0, miners: int = 0, run_s: int = 150, **gpu_is: Any) -> World:
    """GPUs, one for each job at least, and miners, that have worked for a while."""
    jobs_queue = Queue("q", tuple(f"g{at}" for at in range(max(gpus, len(jobs)))))
    for one in jobs:
        jobs_queue.submit(one)
    machines = [asleep(gpu(name, **gpu_is)) for name in jobs_queue.gpus]
    machines += [asleep(miner(f"m{at}", dwell_s=60.0)) for at in range(miners)]
    world = World(site(meter="main"), machines, queues=[jobs_queue])
    world.run(run_s)
    return world


def set_aside(world: World, limit_w: int = 500, *, best_effort: bool = True) -> list[str]:
    """The jobs that have to leave for a limit."""
    world.events = (event(limit_w=limit_w, start_s=world.now_s, best_effort=best_effort),)
    world.run(120)
    aside = (JobAction.SUSPEND, JobAction.REQUEUE)
    return [command.job for command in world.queues["q"].told if command.action in aside]


# Boards whose watts stand still


def test_no_job_is_set_aside_for_what_its_own_gpu_draws_and_does_not_say() -> None:
    """Both boards say all the time what they drew before their jobs began, and the meter shows the rest."""
    jobs_queue = Queue("q", ("g0", "g1"))
    machines = [asleep(gpu(name, node="rack"), claims_w=60) for name in jobs_queue.gpus]
    here = site(node("rack", limit_w=1_500, fixed_w=50, meter="rack"), meter="main")
    world = World(here, machines, queues=[jobs_queue])
    world.run(30)
    for name in ("one", "other"):
        jobs_queue.submit(job(name, flex=RIGID))

    world.run(300)

    assert [command.action for command in jobs_queue.told] == [JobAction.START, JobAction.START]
    assert world.watts("rack") == 1_450
    assert world.breaches == []


def test_load_of_nobody_counts_in_full_beside_gpus_that_nothing_runs_on() -> None:
    here = site(node("rack", meter="rack"))
    world = World(here, [asleep(gpu("g0", node="rack")), asleep(gpu("g1", node="rack"))])
    world.other_w["rack"] = 500.0

    plan = world.run(180)

    assert 490 <= node_of(plan, "rack").unexplained.watts <= 510


# Best effort


def test_no_cheap_job_is_set_aside_for_more_than_the_least_of_a_dear_one() -> None:
    assert set_aside(farm(job("dear", usd=10.0), job("cheap", usd=0.5))) == []


def test_no_job_is_set_aside_as_another_ends_where_a_meter_shows_more_than_boards_say() -> None:
    """Boards say seven eighths of what they draw. The GPU of the job that ended counts at its limit yet, and
    what it was seen to draw beyond that is still kept for it."""
    world = farm(job("ends", flex=RIGID), job("stays", flex=RIGID))
    for machine in world.machines.values():
        machine.tells = 7 / 8
    world.run(300)
    assert set_aside(world) == []

    del world.queues["q"].jobs["ends"]
    world.run(60)

    assert [command.action for command in world.queues["q"].told] == [JobAction.START, JobAction.START]


@pytest.mark.parametrize("on_shortage", OnShortage)
def test_no_wide_job_is_set_aside_for_more_than_the_least_of_a_dear_one_beside_it(
    on_shortage: OnShortage,
) -> None:
    """300 W for the dear one, three times 600, and 200 for the fifth GPU: together they earn the most."""
    dear = job("dear", usd=2.95, flex=FlexTier.BROAD)
    wide = job("wide", 3, usd=1.2, flex=SLIGHT, on_shortage=on_shortage)
    world = farm(dear, wide, gpus=5)

    world.events = (event(limit_w=2_316, start_s=world.now_s),)
    world.run(120)

    assert {status.state for status in world.queues["q"].jobs.values()} == {JobState.RUNNING}
    assert world.watts() <= 2_316


def test_a_small_dear_job_gives_way_to_a_wide_one_that_earns_more() -> None:
    """Eight times 400 W beside 200 for the ninth GPU: they earn seven times as much."""
    wide, small = job("wide", 8, usd=1.9), job("small", usd=2.0)
    world = farm(wide, small, gpus=9)

    world.events = (event(limit_w=3_500, start_s=world.now_s),)
    world.run(120)

    assert world.queues["q"].jobs["wide"].state is JobState.RUNNING
    assert world.watts() <= 3_500


def test_a_wide_job_is_set_aside_where_what_it_takes_from_others_earns_more() -> None:
    dear = [job(f"dear{at}", usd=9.0, flex=FlexTier.BROAD) for at in range(3)]
    cheap = job("cheap", 3, usd=0.1, flex=SLIGHT, on_shortage=OnShortage.SUSPEND)
    world = farm(*dear, cheap, gpus=6)

    world.events = (event(limit_w=3 * 300 + 3 * 600 + 50, start_s=world.now_s),)
    world.run(120)

    assert world.queues["q"].jobs["cheap"].state is JobState.SUSPENDED


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


@pytest.mark.parametrize("margin", [0.01, 0.07])
def test_no_job_is_set_aside_for_a_rounding_whatever_margin_is_kept(margin: float) -> None:
    """1,023 W are 93 % of 1,100 W, and less than a floating point number says that these are."""
    points = (GPU_POINTS[0], OperatingPoint(name="full", power=Power(1_023), rate=2.0))
    spec = gpu("g0", points=points, ceiling=Power(1_023))
    works = queue(working(job(flex=RIGID), "g0"), gpus=["g0"])
    soft = event(limit_w=100, start_s=NOW_S - 600, best_effort=True)
    said = inputs(spec, readings=[at_point(spec, points[1])], queues=(works,), events=(soft,))

    _, plan = decide(site(limit_w=20_000, margin=margin), running({"g0": device(points[1])}), said)

    assert (plan.job_commands, plan.commands) == ((), ())


def test_no_job_is_set_aside_for_what_a_gpu_beside_it_draws_above_its_limit() -> None:
    """One that was caught drawing 840 W at 700 counts so in the plan, and in what is spared for that."""
    specs, full = [gpu("g0"), gpu("g1")], GPU_POINTS[-1]
    works = queue(*(working(job(spec.id, flex=RIGID), spec.id) for spec in specs), gpus=["g0", "g1"])
    stuck = Stuck(GPU_POINTS[0].power, Power(840), NOW_S - 30)
    known = {"g0": device(full, worst_w=840, draw_w=840, lies=1, stuck=stuck), "g1": device(full)}
    said = [reading("g0", draw_w=840, setting_w=700), at_point(specs[1], full)]
    soft = event(limit_w=100, start_s=NOW_S - 600, best_effort=True)

    _, plan = decide(
        site(limit_w=20_000), running(known), inputs(*specs, readings=said, queues=(works,), events=(soft,))
    )

    assert plan.job_commands == ()


def test_who_lied_below_a_limit_is_told_again_as_often_where_that_is_best_effort() -> None:
    def told_s(*, best_effort: bool) -> list[float]:
        world = farm(miners=3)
        for machine in world.machines.values():
            machine.lies = True
        begins_s = world.now_s
        world.events = (event(limit_w=100, start_s=begins_s, best_effort=best_effort),)
        return [world.now_s - begins_s for _ in range(200) if world.run(1).commands]

    assert told_s(best_effort=True) == told_s(best_effort=False)


# A dwell


def test_a_running_job_is_not_set_aside_for_a_cheaper_one_whose_gpu_was_raised_a_moment_ago() -> None:
    world = farm(job("dear", usd=9.0, flex=RIGID), gpus=2, dwell_s=5.0)
    world.queues["q"].submit(job("cheap", usd=0.5, flex=RIGID))
    world.run(2)
    assert world.machines["g1"].at.name == "700w"

    assert "dear" not in set_aside(world, 1_000, best_effort=False)


def test_no_job_is_set_aside_to_spare_a_miner_that_was_started_a_moment_ago() -> None:
    world = farm(job("a", usd=9.0), job("b", usd=9.0), miners=1, run_s=80, dwell_s=5.0)
    assert world.machines["m0"].at.name == "full"

    assert set_aside(world, 4_000, best_effort=False) == []


def test_no_job_is_set_aside_where_to_lower_a_gpu_that_dwells_would_do() -> None:
    """1.2 kW feed both at 600 W. One of them was raised to 700 W a moment ago."""
    world = farm(job("first", flex=SLIGHT), gpus=2, dwell_s=5.0)
    world.queues["q"].submit(job("second", flex=SLIGHT))
    world.run(8)
    assert world.machines["g1"].at.name == "700w"

    assert set_aside(world, 1_200, best_effort=False) == []


# Boards that say that they draw more than their limit


def test_a_board_that_draws_more_than_its_limit_is_lowered_at_once_for_a_lower_limit_above_it() -> None:
    gpus = Queue("q", ("g",))
    gpus.submit(job())
    world = World(site(node("rack")), [asleep(gpu("g", "rack"))], queues=[gpus])
    world.run(60)
    world.machines["g"].tells = 1.25
    world.run(120)

    world.site = site(node("rack", limit_w=500))
    lowered = told(world.run(1))
    world.run(30)

    assert lowered == {"g": "200w"}
    assert world.watts("rack") <= 500
    assert reasons(world.plan)["g"] is not Reason.LYING
