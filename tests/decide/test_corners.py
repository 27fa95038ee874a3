"""Events that overlap, set-points beside limits, jobs that do not fit: where something once went wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.merit import merit_order
from controller.decide.pace import RAMP_WINDOW_S
from controller.decide.plan import Plan
from controller.decide.timeline import grid_now
from controller.decide.value import Valuation
from controller.decide.words import AlarmKind
from controller.domain.grid import EventStatus, GridEvent, LimitSignal
from controller.domain.jobs import FlexTier, Job, JobAction, JobState, JobStatus, OnShortage
from controller.domain.power import Power
from controller.domain.site import Prices
from tests.decide.builders import (
    GPU_POINTS,
    NOW_S,
    SLEEP,
    UTC_S,
    at_point,
    device,
    event,
    gpu,
    inputs,
    interval,
    job,
    miner,
    node,
    queue,
    reading,
    running,
    site,
    working,
)
from tests.decide.steps import decide
from tests.decide.world import Queue, World, asleep, awake, prices

# --- events


def ramped() -> World:
    """350 kW of miners below a connection that may fall by 1 kW/s."""
    world = World(
        site(limit_w=500_000, ramp_down_w=1_000, meter="main"),
        [awake(miner(f"m{at:02}"), delay_s=0.3) for at in range(100)],
    )
    world.run(20)
    return world


def slow(world: World) -> GridEvent:
    return event("slow", limit_w=100_000, start_s=world.now_s, ramp_deadline_s=600.0)


def test_an_emergency_limit_is_kept_at_once_while_another_event_still_ramps_down() -> None:
    world = ramped()
    world.events = (slow(world),)
    world.run(60)

    world.events += (event("now", limit_w=200_000, start_s=world.now_s),)
    world.run(15)

    assert world.watts() <= 200_000


@pytest.mark.parametrize("target_w", [80_000, 150_000])
def test_a_set_point_is_followed_along_the_ramp_that_leads_down_to_a_limit(target_w: int) -> None:
    world = ramped()
    world.events = (slow(world), event("set", target_w=target_w, start_s=world.now_s))
    drawn_w = [world.watts()]
    for _ in range(280):
        world.tick()
        drawn_w.append(world.watts())

    ten_s = [before - after for before, after in zip(drawn_w, drawn_w[10:], strict=False)]

    assert max(ten_s) <= 10 * 1_000 + 5_000 + 3_500
    assert drawn_w[-1] <= max(100_000, target_w)


def test_a_limit_in_force_that_is_passed_is_an_alarm_while_another_event_ramps_down() -> None:
    world = ramped()
    world.events = (slow(world), event("now", limit_w=200_000, start_s=world.now_s))

    plan = world.run(15)

    passed = AlarmKind.CAP_PASSED in {alarm.kind for alarm in plan.alarms}
    assert world.watts() <= 200_000 or passed


def test_a_new_version_with_a_lower_interval_ramps_down_as_an_event_of_its_own_does() -> None:
    world = ramped()
    start_s = world.now_s
    first = event("e", limit_w=300_000, start_s=start_s, ramp_deadline_s=60.0)
    world.events = (first,)
    world.run(200)
    before_w, next_s = world.watts(), world.now_s + 5
    lower = interval(next_s, next_s + 3_000, LimitSignal(Power(200_000)))

    world.events = (
        replace(first, intervals=(interval(start_s, next_s, LimitSignal(Power(300_000))), lower)),
    )
    world.run(4)

    assert before_w - world.watts() <= (4 + RAMP_WINDOW_S) * 1_000


def test_a_node_that_draws_more_than_an_event_allows_there_is_an_alarm() -> None:
    here = site(node("row", meter="row"), limit_w=50_000)
    spec = miner("m", "row")
    said = inputs(
        spec,
        readings=[reading()],
        metered_w={"row": 3_500},
        events=(event(limit_w=1_000, node="row", start_s=NOW_S - 60),),
    )

    _, plan = decide(here, running({"m": device()}), said)

    assert [(alarm.kind, alarm.subject) for alarm in plan.alarms] == [(AlarmKind.CAP_PASSED, "row")]


def test_an_event_at_a_node_that_the_site_file_no_longer_has_does_not_end_the_process() -> None:
    spec = miner()
    said = inputs(spec, readings=[reading()], events=(event(limit_w=40, node="row-renamed"),))

    _, plan = decide(site(limit_w=50_000), running({"m": device()}), said)

    assert plan.ready


def poor_miners(*events: GridEvent) -> World:
    """Four miners that cost more than they earn."""
    world = World(
        site(limit_w=50_000, margin=0.0, meter="main"),
        [asleep(miner(f"m{at}", settle_up_s=30.0), rise_s=5.0) for at in range(4)],
    )
    world.prices = prices(usd_per_ths_day=0.02)
    world.run(30)
    world.events = events
    world.run(200)
    return world


@pytest.mark.parametrize("limit_w", [7_000, 8_000, 8_001])
def test_a_set_point_is_met_as_far_as_a_limit_lets_it(limit_w: int) -> None:
    world = poor_miners(event("wants", target_w=8_000), event("cap", limit_w=limit_w))

    assert limit_w - 2_000 <= world.watts() <= limit_w


def test_what_is_told_as_possible_of_a_set_point_is_what_the_site_comes_to() -> None:
    world = poor_miners(event("wants", target_w=8_000), event("cap", limit_w=7_000))

    told = next(standing for standing in world.plan.standings if standing.event == "wants")
    assert told.status is EventStatus.INFEASIBLE
    assert abs(told.possible.watts - world.watts()) <= 2_000


def test_nothing_is_said_to_change_before_the_start_of_an_event_without_a_limit() -> None:
    asks = event(usd_per_kwh=0.3, start_s=NOW_S + 100)

    now = grid_now((asks,), UTC_S, frozenset(), site(event_lead_s=20.0))

    assert now.next_change_utc_s == UTC_S + 100


# --- money


def test_what_an_event_pays_for_at_one_node_lowers_nothing_at_another() -> None:
    rows = (node("a", limit_w=20_000), node("b", limit_w=20_000))
    world = World(site(*rows, limit_w=50_000, margin=0.0), [awake(miner("ma", "a")), awake(miner("mb", "b"))])
    world.prices = Prices(usd_per_ths_day=0.2, usd_per_kwh_reduced=0.4)
    world.run(60)

    world.events = (event(limit_w=2_500, node="a", start_s=world.now_s),)
    world.run(60)

    assert world.machines["mb"].at.name == "full"


# --- jobs


def gpus_with(limit_w: int, *jobs: Job, gpus: int) -> tuple[World, Queue]:
    names = tuple(f"g{at}" for at in range(gpus))
    jobs_queue = Queue("q", names)
    for it in jobs:
        jobs_queue.submit(it)
    world = World(
        site(limit_w=limit_w, margin=0.0), [asleep(gpu(name)) for name in names], queues=[jobs_queue]
    )
    return world, jobs_queue


def at_work(jobs_queue: Queue) -> int:
    return sum(status.state is JobState.RUNNING for status in jobs_queue.jobs.values())


SMALL = tuple(job(f"small{at}", usd=2.0) for at in range(8))


def test_a_job_too_large_for_the_watts_there_are_keeps_no_small_ones_from_them() -> None:
    """Seven small ones fit 3.1 kW. The large one in front of them needs 3.2 kW, and none is ever started."""
    world, jobs_queue = gpus_with(3_100, job("large", gpus=8, usd=3.0), *SMALL, gpus=8)

    world.run(300)

    assert at_work(jobs_queue) == 7


def test_when_an_event_sets_a_large_job_aside_the_small_ones_behind_it_use_what_is_left() -> None:
    world, jobs_queue = gpus_with(5_600, job("large", gpus=8, usd=3.0), *SMALL, gpus=8)
    world.run(60)
    assert at_work(jobs_queue) == 1

    world.events = (event(limit_w=3_100, start_s=world.now_s),)
    world.run(300)

    assert at_work(jobs_queue) == 7


def test_a_best_effort_limit_breaks_no_work_and_is_met_once_the_work_is_done() -> None:
    """Seven jobs that need 400 W each do not fit 2 kW. A miner is stopped for it, no job is."""
    jobs_queue = Queue("q", tuple(f"g{at}" for at in range(7)))
    machines = [*(awake(gpu(name)) for name in jobs_queue.gpus), awake(miner("m0"))]
    world = World(site(limit_w=12_000, meter="main"), machines, queues=[jobs_queue])
    for one in SMALL[:7]:
        jobs_queue.submit(one)
    world.run(60)

    world.events = (event(limit_w=2_000, start_s=world.now_s, best_effort=True),)
    busy = world.run(120)
    working, drawn_w = at_work(jobs_queue), round(world.watts())
    jobs_queue.jobs = dict(list(jobs_queue.jobs.items())[:4])
    done = world.run(120)

    assert (working, drawn_w) == (7, 7 * 400 + 30)
    assert [one.status for one in busy.standings] == [EventStatus.STARTED]
    assert [one.status for one in done.standings] == [EventStatus.COMPLIANT]


def test_a_limit_beside_one_that_is_best_effort_is_kept_whatever_it_breaks() -> None:
    world, jobs_queue = gpus_with(12_000, *SMALL[:7], gpus=8)
    world.run(60)

    soft = event("soft", limit_w=1_000, start_s=world.now_s, best_effort=True)
    world.events = (soft, event("firm", limit_w=2_000, start_s=world.now_s))
    world.run(120)

    assert world.watts() <= 2_000
    assert at_work(jobs_queue) == 2


def test_a_best_effort_limit_at_a_node_breaks_no_work_there() -> None:
    hall = node("hall")
    queue_of = Queue("q", ("g0", "g1"))
    world = World(
        site(hall, limit_w=12_000),
        [awake(gpu("g0", "hall")), awake(gpu("g1", "hall")), awake(miner("m0", "hall"))],
        queues=[queue_of],
    )
    for one in SMALL[:2]:
        queue_of.submit(one)
    world.run(60)

    world.events = (event(limit_w=500, start_s=world.now_s, node="hall", best_effort=True),)
    plan = world.run(120)

    assert at_work(queue_of) == 2
    assert world.machines["m0"].at == SLEEP
    assert plan.alarms == ()


def test_of_two_queues_that_claim_one_gpu_the_needier_job_is_spared_whichever_is_named_first() -> None:
    spec = gpu("g0")
    needy = queue(working(job("needy", flex=FlexTier.RIGID), "g0"), name="q0")
    modest = queue(working(job("modest", flex=FlexTier.BROAD), "g0"), name="q1")
    soft = event(limit_w=100, best_effort=True)

    limits = [
        decide(
            site(limit_w=12_000),
            running(),
            inputs(spec, readings=[at_point(spec, GPU_POINTS[-1])], queues=queues, events=(soft,)),
        )[1].cap
        for queues in ((needy, modest), (modest, needy))
    ]

    assert limits[0] == limits[1]


def test_the_gap_counts_what_jobs_that_wait_would_earn() -> None:
    waits, _ = gpus_with(3_100, job("large", gpus=8, usd=3.0), *SMALL, gpus=8)
    works, _ = gpus_with(3_100, *SMALL, gpus=8)

    found, best = waits.run(100), works.run(100)

    missed = (best.value_per_hour - found.value_per_hour) / best.value_per_hour
    assert found.gap >= missed - 1e-9


def test_a_gpu_whose_floor_does_not_feed_its_job_earns_nothing_there() -> None:
    """700 W: 400 and 300 W earn 5.0 USD per hour, 500 and 200 W with one job waiting 4.4."""
    world, jobs_queue = gpus_with(
        700, job("dear", usd=5.0, flex=FlexTier.BROAD), job("cheap", usd=2.0, flex=FlexTier.BROAD), gpus=2
    )

    plan = world.run(60)

    assert (at_work(jobs_queue), round(plan.value_per_hour, 2)) == (2, 5.0)


def test_a_running_job_is_not_suspended_for_less_than_it_earns() -> None:
    specs = (gpu("g0"), gpu("g1"))
    jobs = queue(
        *(
            JobStatus(
                job=job(name, usd=usd, flex=FlexTier.BROAD, on_shortage=OnShortage.SUSPEND),
                state=JobState.RUNNING,
                gpus=(held,),
            )
            for name, usd, held in (("dear", 5.0, "g0"), ("cheap", 2.0, "g1"))
        ),
        gpus=["g0", "g1"],
    )
    said = inputs(*specs, readings=[at_point(spec, GPU_POINTS[5]) for spec in specs], queues=(jobs,))

    _, plan = decide(site(limit_w=700), running({spec.id: device(GPU_POINTS[5]) for spec in specs}), said)

    assert JobAction.SUSPEND not in {command.action for command in plan.job_commands}


def test_a_gpu_whose_job_is_suspended_is_told_to_earn_nothing() -> None:
    spec = gpu()
    jobs = queue(JobStatus(job=job(usd=2.0), state=JobState.SUSPENDED, gpus=("g",)), gpus=["g"])
    said = inputs(spec, readings=[at_point(spec, spec.floor)], queues=(jobs,))
    _, plan = decide(site(limit_w=250), running({"g": device(spec.floor)}), said)

    [merit] = merit_order(plan, (spec,), valuation(plan), (jobs,))

    assert merit.usd_per_hour <= 0


def valuation(plan: Plan) -> Valuation:
    return Valuation(prices=Prices(), usd_per_kwh=0.05, horizon_s=900.0, shed_s=900.0)
