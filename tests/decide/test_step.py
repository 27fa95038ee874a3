"""Whole ticks: start-up, sharing, silence, liars, pace, and the way back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.inputs import Inputs, Sample
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.words import AlarmKind, Reason, Truth
from controller.domain.devices import Cooling, DeviceSpec, OperatingPoint, ThermalLimits
from controller.domain.grid import Link
from controller.domain.jobs import FlexTier, OnShortage
from controller.domain.power import Power
from controller.domain.site import Zone
from tests.decide.builders import (
    FULL,
    GPU_POINTS,
    LOW,
    NOW_S,
    SLEEP,
    UTC_S,
    at_point,
    bound,
    device,
    event,
    gpu,
    grant_of,
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
    waiting,
    working,
    zone_reading,
)
from tests.decide.steps import decide
from tests.decide.world import Machine, Queue, World, asleep, awake, prices

HALL = Zone(id="hall", derate_c=30.0, trip_c=40.0)


def at(point: OperatingPoint, *names: str) -> tuple[State, Inputs]:
    """Miners that are all confirmed at `point` and say so."""
    specs = [miner(name) for name in names]
    state = running({name: device(point) for name in names})
    return state, inputs(*specs, readings=[at_point(spec, point) for spec in specs])


def alarms(plan: Plan) -> set[tuple[AlarmKind, str]]:
    return {(alarm.kind, alarm.subject) for alarm in plan.alarms}


def points(world: World) -> dict[str, str]:
    return {name: machine.at.name for name, machine in world.machines.items()}


# Start-up


def test_nothing_is_commanded_before_the_whole_site_was_seen() -> None:
    seen, unheard = miner("a"), miner("b")

    after, plan = decide(
        site(limit_w=50_000), State(), inputs(seen, unheard, readings=[reading("a", 2_400, 2_400)])
    )

    assert (plan.ready, plan.commands, plan.alarms, after.ready_s) == (False, (), (), None)
    assert reasons(plan) == {"a": Reason.HELD, "b": Reason.UNREACHABLE}


def test_the_site_is_taken_over_as_soon_as_everything_was_seen() -> None:
    after, plan = decide(
        site(limit_w=50_000), State(), inputs(miner("a"), readings=[reading("a", 2_400, 2_400)])
    )

    assert (plan.ready, after.ready_s, told(plan)) == (True, NOW_S, {"a": "full"})


def test_who_does_not_answer_holds_the_start_up_for_its_grace_only() -> None:
    specs = (miner("a"), miner("b"), miner("c"), miner("d"))
    said = [at_point(spec, LOW) for spec in specs[:3]]
    here = site(limit_w=50_000, start_grace_s=20.0)

    early, held = decide(here, State(first_s=NOW_S - 19.9), inputs(*specs, readings=said))
    late, free = decide(here, State(first_s=NOW_S - 20.0), inputs(*specs, readings=said))

    assert (early.ready_s, held.commands) == (None, ())
    assert (late.ready_s, set(told(free))) == (NOW_S, {"a", "b", "c"})


def test_a_meter_that_shows_the_cap_passed_ends_the_start_up_at_once() -> None:
    specs = (miner("a"), miner("b"))
    said = [at_point(specs[0], FULL)]

    _, over = decide(
        site(limit_w=6_000, meter="m"), State(), inputs(*specs, readings=said, metered_w={"m": 6_001})
    )
    _, under = decide(
        site(limit_w=6_000, meter="m"), State(), inputs(*specs, readings=said, metered_w={"m": 6_000})
    )

    assert (over.ready, told(over)) == (True, {"a": "sleep"})
    assert (under.ready, told(under)) == (False, {})


def test_machines_that_will_rise_beyond_a_limit_are_waited_for_half_of_the_grace_only() -> None:
    """The process before told one to start, and did not live to call it back."""
    specs = (miner("a"), miner("b"), miner("silent"))
    said = [at_point(specs[0], FULL), reading("b", 1_500)]
    here = site(limit_w=6_500, start_grace_s=20.0)

    early, held = decide(here, State(first_s=NOW_S - 9.9), inputs(*specs, readings=said))
    late, free = decide(here, State(first_s=NOW_S - 10.0), inputs(*specs, readings=said))
    _, fits = decide(
        site(limit_w=7_100, start_grace_s=20.0), State(first_s=NOW_S - 10.0), inputs(*specs, readings=said)
    )

    assert (early.ready_s, held.commands) == (None, ())
    assert (late.ready_s, set(told(free))) == (NOW_S, {"a", "b"})
    assert not fits.ready


def test_starting_up_over_a_running_site_within_its_limits_changes_nothing() -> None:
    machines = [awake(miner("a")), awake(miner("b")), asleep(miner("c"))]
    world = World(site(limit_w=7_100, meter="m"), machines, meter_lag_s=2.0)

    world.run(60)

    assert [command for plan in world.plans for command in plan.commands] == []


def test_jobs_are_told_nothing_before_the_site_is_taken_over() -> None:
    specs = (gpu("g"), miner("unheard"))
    jobs = queue(waiting(job()), gpus=["g"])

    _, plan = decide(site(), State(), inputs(*specs, readings=[reading("g", 60, 700)], queues=(jobs,)))

    assert plan.job_commands == ()


# Sharing


def test_an_empty_site_has_an_empty_plan() -> None:
    _, plan = decide(site(limit_w=1_000), State(), inputs())

    assert (plan.ready, list(plan.grants), plan.nodes[0].feasible) == (True, [], True)


def test_a_site_without_limit_and_without_meter_runs_at_full() -> None:
    world = World(site(), [asleep(miner("a")), asleep(miner("b"))])

    world.run(5)

    assert points(world) == {"a": "full", "b": "full"}


def test_a_cap_of_nothing_brings_everything_to_its_lowest_and_says_what_is_left() -> None:
    world = World(site(limit_w=0), [awake(miner("a")), awake(miner("b"))])

    plan = world.run(10)

    assert points(world) == {"a": "sleep", "b": "sleep"}
    assert alarms(plan) == {(AlarmKind.INFEASIBLE, "site")}
    assert plan.least == Power(60)


def test_an_infeasible_breaker_stops_nobody_outside_it() -> None:
    machines = [awake(miner("in", "breaker")), asleep(miner("out"))]
    world = World(site(node("breaker", limit_w=20), limit_w=10_000), machines)

    plan = world.run(10)

    assert points(world) == {"in": "sleep", "out": "full"}
    assert alarms(plan) == {(AlarmKind.INFEASIBLE, "breaker")}


@pytest.mark.parametrize(("usd_per_kwh", "point"), [(-1e6, "full"), (1e9, "sleep")])
def test_an_absurd_price_moves_machines_and_breaks_nothing(usd_per_kwh: float, point: str) -> None:
    world = World(site(limit_w=20_000), [awake(miner("a")), asleep(miner("b")), asleep(gpu("g"))])
    world.events = (event(usd_per_kwh=usd_per_kwh),)

    world.run(10)

    assert points(world) == {"a": point, "b": point, "g": "200w"}


def test_a_worthless_hashprice_puts_miners_to_sleep() -> None:
    world = World(site(), [awake(miner("a"))])
    world.prices = prices(usd_per_ths_day=0.0)

    plan = world.run(5)

    assert points(world) == {"a": "sleep"}
    assert reasons(plan) == {"a": Reason.UNPROFITABLE}


def test_a_set_point_is_met_even_at_a_price_at_which_nothing_earns() -> None:
    world = World(site(), [asleep(miner("a")), asleep(miner("b"))])
    world.prices = prices(usd_per_kwh=10.0)
    world.events = (event(target_w=5_000),)

    world.run(10)

    assert world.watts() == 4_800


def test_a_set_point_just_below_a_limit_does_not_use_up_the_margin_of_the_limit() -> None:
    specs = [miner(f"m{at}") for at in range(4)]
    state = running({spec.id: device(SLEEP) for spec in specs})
    asked = inputs(
        *specs,
        readings=[at_point(spec, SLEEP) for spec in specs],
        events=(event("limit", limit_w=7_120), event("target", target_w=7_110)),
    )

    _, plan = decide(site(margin=0.01), state, asked)

    assert sum(grant.wanted.power.watts for grant in plan.grants) <= 7_120 * 0.99


# Silence


def test_a_silent_miner_still_counts_against_the_cap() -> None:
    world = World(site(limit_w=7_100), [awake(miner("a")), awake(miner("b"))])
    world.run(5)

    world.machines["b"].silent = True
    plan = world.run(20)

    assert (grant_of(plan, "b").power, grant_of(plan, "b").reason) == (Power(3_700), Reason.STALE)
    assert points(world) == {"a": "low", "b": "full"}


def test_a_machine_whose_spec_changed_is_planned_by_the_new_one() -> None:
    here, before, after = site(), miner("m"), miner("m", points=(SLEEP, LOW))
    asked = inputs(before, readings=[at_point(before, SLEEP)])
    state, first = decide(here, running({"m": device(SLEEP)}), asked)

    _, then = decide(here, state, replace(asked, specs=(after,), now_s=NOW_S + 1, utc_s=UTC_S + 1))

    assert (grant_of(first, "m").wanted, grant_of(then, "m").wanted) == (FULL, LOW)


def test_machines_that_were_never_heard_hold_others_for_a_time_after_the_start_and_no_longer() -> None:
    specs = (miner("a"), miner("gone"), miner("lost"))
    asked = inputs(*specs, readings=[at_point(specs[0], SLEEP)])

    _, early = decide(site(), running({"a": device(SLEEP)}, first_s=NOW_S - 60), asked)
    _, late = decide(site(), running({"a": device(SLEEP)}, first_s=NOW_S - 1_000), asked)

    assert (told(early), told(late)) == ({}, {"a": "full"})
    assert [alarm.detail for alarm in early.alarms if alarm.kind is AlarmKind.NETWORK_FAULT] == [
        "2 of 3 devices are silent; nothing is raised"
    ]


def test_when_many_are_silent_at_once_nothing_is_raised_and_lowering_goes_on() -> None:
    machines = [asleep(miner(f"m{at}")) for at in range(5)] + [awake(miner("last"))]
    world = World(site(limit_w=4_000, meter="m"), machines, meter_lag_s=0.0)
    world.run(5)
    for name in ("m0", "m1"):
        world.machines[name].silent = True
    world.run(20)

    world.site = site(limit_w=40_000)
    held = world.run(5)
    world.site = site(limit_w=100)
    world.run(5)

    assert (AlarmKind.NETWORK_FAULT, "test") in alarms(held)
    assert {reason for name, reason in reasons(held).items() if name not in ("m0", "m1")} == {Reason.HELD}
    assert points(world)["last"] == "sleep"


def test_machines_that_stay_dead_do_not_keep_all_others_from_being_raised_for_ever() -> None:
    machines = [asleep(miner(f"m{at}")) for at in range(4)]
    world = World(site(limit_w=4_000), machines)
    world.run(5)
    for name in ("m0", "m1"):
        world.machines[name].silent = True
    world.site = site(limit_w=40_000)
    held = world.run(60)

    world.run(900)

    assert (AlarmKind.NETWORK_FAULT, "test") in alarms(held)
    assert {points(world)[name] for name in ("m2", "m3")} == {"full"}
    assert (AlarmKind.NETWORK_FAULT, "test") not in alarms(world.plan)


def test_one_dead_machine_in_a_small_site_is_no_network_fault() -> None:
    machines = [asleep(miner("a")), asleep(miner("b"), silent=True)]
    world = World(site(limit_w=20_000, start_grace_s=5.0), machines)

    plan = world.run(15)

    assert points(world) == {"a": "full", "b": "sleep"}
    assert alarms(plan) == {(AlarmKind.DEVICE_SILENT, "b")}


# Lower before raise


def test_a_raise_waits_until_the_watts_for_it_were_measured_to_be_free() -> None:
    dear, cheap = miner("dear", points=(SLEEP, replace(FULL, rate=400.0))), miner("cheap")
    world = World(site(limit_w=4_000), [asleep(dear, silent=True), awake(cheap, delay_s=5.0)])
    world.site = site(limit_w=4_000, start_grace_s=0.0)
    world.machines["dear"].silent = False

    plans = [world.tick() for _ in range(12)]

    lowered = next(at for at, plan in enumerate(plans) if told(plan).get("cheap") == "sleep")
    raised = next(at for at, plan in enumerate(plans) if told(plan).get("dear") == "full")
    waited = [reasons(plan)["dear"] for plan in plans[lowered:raised]]
    assert raised - lowered >= 5
    assert set(waited) == {Reason.WAITING}
    assert world.breaches == []


# Truth


def test_a_liars_watts_are_taken_from_somebody_else() -> None:
    machines = [awake(miner("a"), lies=True), awake(miner("b")), awake(miner("c"))]
    world = World(site(limit_w=20_000, meter="m"), machines)
    world.run(5)
    world.events = (event(limit_w=5_000, start_s=world.now_s),)

    plan = world.run(30)

    assert grant_of(plan, "a").truth is Truth.LYING
    assert reasons(plan)["a"] is Reason.LYING
    assert (AlarmKind.DEVICE_LYING, "a") in alarms(plan)
    assert world.watts() <= 5_000


def test_a_refusing_device_is_named_as_such() -> None:
    machines = [awake(miner("a")), awake(miner("b")), awake(miner("c"), refuses=True)]
    world = World(site(limit_w=20_000), machines)
    world.run(5)
    world.events = (event(limit_w=6_000, start_s=world.now_s),)

    plan = world.run(5)

    assert reasons(plan)["c"] is Reason.REFUSING
    assert (sorted((points(world)["a"], points(world)["b"])), points(world)["c"]) == (
        ["low", "sleep"],
        "full",
    )


def test_who_refused_to_stop_is_taken_to_be_where_it_is_once_nobody_needs_its_watts() -> None:
    ago_s = NOW_S - 20
    refused = device(
        SLEEP,
        Truth.REFUSED,
        worst_w=3_500,
        draw_w=3_500,
        began=Power(3_500),
        attempts=1,
        since_s=ago_s,
        asked_s=ago_s,
        sent_s=ago_s,
    )
    asked = inputs(miner(), readings=[reading("m", 3_500)])

    needed, _ = decide(site(limit_w=2_000), running({"m": refused}), asked)
    free, plan = decide(site(limit_w=10_000), running({"m": refused}), asked)

    assert needed.devices["m"].point == SLEEP
    assert (free.devices["m"].point, free.devices["m"].truth, told(plan)) == (FULL, Truth.CONFIRMED, {})


def test_a_liar_that_obeys_again_after_the_event_is_used_again() -> None:
    machines = [awake(miner(f"m{at}")) for at in range(4)]
    world = World(site(limit_w=14_000, meter="m"), machines)
    world.run(5)
    world.machines["m0"].lies = True
    world.events = (event(limit_w=5_000, start_s=world.now_s, end_s=world.now_s + 60),)
    world.run(60)
    world.machines["m0"].lies = False

    plan = world.run(120)

    assert world.watts() == 14_000
    assert alarms(plan) == set()


def test_a_device_whose_claims_are_false_is_found_by_the_meter() -> None:
    machines = [awake(miner("a")), awake(miner("b")), awake(miner("z"), lies=True)]
    world = World(site(limit_w=11_000, meter="m"), machines)
    world.run(10)
    world.events = (event(limit_w=100, start_s=world.now_s),)
    world.run(1)
    world.machines["z"].claims_w = 30
    world.machines["z"].tells_setting = False
    world.events = (event(limit_w=6_000, start_s=world.now_s),)

    plan = world.run(60)

    assert grant_of(plan, "z").draw == Power(30)
    assert world.watts() <= 6_000
    assert (AlarmKind.UNEXPLAINED, "site") in alarms(plan)


def test_a_machine_that_forgets_its_limit_is_told_again_and_somebody_else_gives_way_meanwhile() -> None:
    machines = [awake(miner("a")), asleep(miner("b"))]
    world = World(site(limit_w=3_600, meter="m"), machines)
    world.run(10)

    world.machines["b"].go(FULL, world.now_s)
    plan = world.run(10)

    assert points(world) == {"a": "full", "b": "sleep"}
    assert world.state.devices["b"].reasserts == 1
    assert alarms(plan) == set()


def test_a_machine_whose_pool_is_gone_keeps_its_watts_reserved() -> None:
    machines = [asleep(miner("a")), awake(miner("b"), tells_setting=False)]
    world = World(site(limit_w=3_600, meter="m"), machines)
    world.run(30)

    world.machines["b"].share = 0.03
    world.run(200)
    world.machines["b"].share = 1.0
    world.run(30)

    assert world.breaches == []


def test_a_miner_of_which_nothing_is_learned_any_more_is_planned_with_what_it_draws() -> None:
    specs = (miner("lied"), miner("other"))
    told = {"lied": device(LOW, worst_w=2_600, draw_w=2_600, lies=1), "other": device(FULL)}
    said = [reading("lied", draw_w=2_600, setting_w=2_400), at_point(specs[1], FULL)]

    _, kept = decide(site(limit_w=2_600 + 3_500), running(told), inputs(*specs, readings=said))
    _, plan = decide(site(limit_w=2_600 + 3_500 - 1), running(told), inputs(*specs, readings=said))

    assert kept.commands == ()
    assert plan.commands != ()


def test_gpus_that_draw_more_than_their_limit_are_planned_with_what_they_draw() -> None:
    names = [f"g{at:02}" for at in range(20)]
    gpus = Queue("q", tuple(names))
    for name in names:
        gpus.submit(job(f"job-{name}", flex=FlexTier.BROAD))
    world = World(
        site(limit_w=10_000, meter="m", margin=0.01),
        [asleep(gpu(name), share=1.07) for name in names],
        queues=[gpus],
    )

    world.run(120)

    assert [breach for breach in world.breaches if breach[0] > NOW_S + 60] == []
    assert 9_500 < world.watts() <= 10_000


def test_a_device_that_is_only_watched_is_told_nothing_whatever_it_draws() -> None:
    watched = miner("w", points=(FULL,), keeps_limit=False)
    said = reading("w", 90)

    _, plan = decide(site(), running({"w": device(FULL)}), inputs(watched, readings=[said]))
    _, later = decide(
        site(limit_w=1_000), running({"w": device(FULL, Truth.LYING)}), inputs(watched, readings=[said])
    )

    assert (plan.commands, later.commands) == ((), ())


# Heat


def test_a_hot_machine_is_brought_down_and_says_why() -> None:
    spec = miner("a", thermal=ThermalLimits(derate_c=80.0, trip_c=90.0))
    world = World(site(), [awake(spec, hottest_c=60.0)])
    world.run(3)

    world.machines["a"].hottest_c = 84.0
    plan = world.run(5)

    assert points(world) == {"a": "sleep"}
    assert reasons(plan) == {"a": Reason.THERMAL}


def test_a_machine_that_cools_down_comes_back_with_hysteresis() -> None:
    spec = miner("a", thermal=ThermalLimits(derate_c=80.0, trip_c=90.0))
    world = World(site(), [awake(spec, hottest_c=81.0)])
    world.run(610)
    lowered = points(world)

    world.machines["a"].hottest_c = 79.0
    world.run(5)
    still = points(world)
    world.machines["a"].hottest_c = 76.9
    world.run(5)

    assert (lowered, still, points(world)) == ({"a": "low"}, {"a": "low"}, {"a": "full"})


def test_nothing_is_raised_in_a_zone_whose_cooling_is_not_proven_and_nothing_is_lowered_for_it() -> None:
    specs = (miner("low", zone="hall"), miner("full", zone="hall"), miner("outside"))
    state = running({"low": device(LOW), "full": device(FULL), "outside": device(LOW)})
    said = [at_point(specs[0], LOW), at_point(specs[1], FULL), at_point(specs[2], LOW)]
    idle_fans = [zone_reading("hall", cooling=Cooling.NOT_PROVEN)]

    _, plan = decide(site(zones=[HALL]), state, inputs(*specs, readings=said, zones=idle_fans))

    assert told(plan) == {"outside": "full"}
    assert reasons(plan) == {"low": Reason.THERMAL, "full": Reason.FULL, "outside": Reason.FULL}
    assert alarms(plan) == {(AlarmKind.COOLING, "hall")}


@pytest.mark.parametrize(
    ("machine", "since_s"),
    [
        (asleep(miner("a", zone="hall", settle_up_s=180.0), deaf=True), 4),
        (awake(miner("a", zone="hall"), tells_setting=False), 70),
    ],
    ids=["did not hear it", "stops by itself"],
)
def test_a_machine_that_was_told_to_run_is_not_told_again_while_its_cooling_is_not_proven(
    machine: Machine, since_s: int
) -> None:
    world = World(site(zones=[HALL]), [machine])

    def run(seconds: int, cooling: Cooling) -> set[str]:
        for _ in range(seconds):
            world.zones = {"hall": Sample(world.now_s + 1.0, zone_reading("hall", cooling=cooling))}
            world.tick()
        return {command.point.name for plan in world.plans[-seconds:] for command in plan.commands}

    run(since_s, Cooling.PROVEN)
    machine.go(SLEEP, world.now_s)
    without = run(40, Cooling.NOT_PROVEN)
    machine.deaf = False

    assert (without, reasons(world.plan)) == (set(), {"a": Reason.THERMAL})
    assert run(65, Cooling.PROVEN) == {"full"}


# Pace


def test_a_raise_within_its_dwell_waits_for_it() -> None:
    spec = miner("a", dwell_s=60.0)
    said = inputs(spec, readings=[at_point(spec, LOW)])

    _, early = decide(site(), running({"a": device(LOW, since_s=NOW_S - 59.9)}), said)
    _, late = decide(site(), running({"a": device(LOW, since_s=NOW_S - 60.0)}), said)

    assert (told(early), reasons(early)) == ({}, {"a": Reason.DWELLING})
    assert told(late) == {"a": "full"}


def test_raises_keep_to_the_ramp_and_unused_room_is_saved_for_a_little_while_only() -> None:
    machines = [asleep(miner(f"m{at}")) for at in range(6)]
    world = World(site(ramp_up_w=1_000), machines)
    world.run(40)

    rises = [sum(3_470 for name in plan.raised) for plan in world.plans]
    assert sum(rises) == 6 * 3_470
    for at in range(len(rises)):
        assert sum(rises[at : at + 10]) <= 10 * 1_000 + 5_000


def test_no_more_machines_start_at_once_than_allowed() -> None:
    world = World(site(starts_per_tick=2), [asleep(miner(f"m{at}")) for at in range(5)])

    starts = [len(world.tick().raised) for _ in range(4)]

    assert starts == [2, 2, 1, 0]


def test_a_ramp_of_nothing_raises_nothing() -> None:
    world = World(site(ramp_up_w=0), [asleep(miner("a"))])

    plan = world.run(60)

    assert points(world) == {"a": "sleep"}
    assert reasons(plan) == {"a": Reason.RAMPING}


def test_a_slow_ramp_gets_there_in_time() -> None:
    world = World(site(ramp_up_w=100), [asleep(miner("a"))])

    world.run(40)

    assert points(world) == {"a": "full"}


# Watts for jobs


def test_hashing_gives_way_to_a_job_and_the_job_starts_once_its_watts_are_there() -> None:
    gpus = Queue("q", ("g",))
    world = World(site(limit_w=3_900, meter="m"), [awake(miner("a")), asleep(gpu("g"))], queues=[gpus])
    world.run(10)
    assert world.watts() == 3_560

    gpus.submit(job(usd=5.0, flex=FlexTier.RIGID))
    world.run(20)

    assert gpus.busy == {"g"}
    assert points(world) == {"a": "low", "g": "700w"}
    assert world.breaches == []


def test_a_shortage_sets_aside_the_cheapest_job_and_brings_it_back() -> None:
    gpus = Queue("q", ("g0", "g1"))
    gpus.submit(job("dear", usd=5.0, flex=FlexTier.RIGID))
    gpus.submit(job("cheap", usd=1.0, flex=FlexTier.RIGID))
    world = World(site(limit_w=2_000, meter="m"), [asleep(gpu("g0")), asleep(gpu("g1"))], queues=[gpus])
    world.run(10)
    both = gpus.busy
    world.events = (event(limit_w=1_000, start_s=world.now_s, end_s=world.now_s + 30),)
    world.run(20)
    during = frozenset(name for name, status in gpus.jobs.items() if status.gpus)
    world.run(40)

    assert (both, during, gpus.busy) == (
        frozenset({"g0", "g1"}),
        frozenset({"dear"}),
        frozenset({"g0", "g1"}),
    )
    assert [command.action.value for command in gpus.told] == ["start", "start", "requeue", "start"]


def test_watts_that_a_job_does_not_want_go_to_a_miner_and_come_back_when_it_does() -> None:
    specs: list[DeviceSpec] = [gpu("g"), miner("a")]
    state = running({"g": device(GPU_POINTS[5], draw_w=430, demand_w=430.0), "a": device(LOW)})
    busy, here = queue(working(job(usd=2.0), "g"), gpus=["g"]), site(limit_w=4_050)

    def tick(at_s: float, gpu_w: int, limit: OperatingPoint, miner_at: OperatingPoint) -> dict[str, str]:
        nonlocal state
        said = [reading("g", gpu_w, limit.power.watts), at_point(specs[1], miner_at)]
        given = inputs(*specs, now_s=NOW_S + at_s, readings=said, queues=(busy,))
        state, plan = decide(here, state, given)
        return told(plan)

    spared = [tick(0, 430, GPU_POINTS[5], LOW), tick(1, 430, GPU_POINTS[3], LOW)]
    wanted = [tick(300, 490, GPU_POINTS[3], FULL), tick(301, 490, GPU_POINTS[3], LOW)]

    assert spared == [{"g": "500w"}, {"a": "full"}]
    assert wanted == [{"a": "low"}, {"g": "700w"}]


@pytest.mark.parametrize(("idle", "rests_s"), [(1, 300.0), (4, 0.0)])
def test_a_miner_without_work_rests_unless_it_is_the_pool_of_many_that_is_gone(
    idle: int, rests_s: float
) -> None:
    specs = [miner(f"m{at}", points=(SLEEP, FULL)) for at in range(4)]
    lost = {spec.id: device(FULL, draw_w=400, idle_s=NOW_S - 60, at_s=NOW_S) for spec in specs[:idle]}
    state = running({spec.id: lost.get(spec.id, device(FULL)) for spec in specs})
    said = [reading(spec.id, 400) if spec.id in lost else at_point(spec, FULL) for spec in specs]

    after, plan = decide(site(limit_w=13_500), state, inputs(*specs, readings=said))

    slept = [name for name, point in told(plan).items() if point == "sleep"]
    assert slept
    assert {after.devices[name].rests_s - NOW_S for name in slept} == {rests_s}


def test_where_watts_are_not_short_a_gpu_keeps_its_limit() -> None:
    spec = gpu("g")
    state = running({"g": device(GPU_POINTS[5], draw_w=430, demand_w=430.0)})
    busy = queue(working(job(), "g"), gpus=["g"])
    given = inputs(spec, readings=[reading("g", 430, 700)], queues=(busy,))

    _, plan = decide(site(limit_w=1_000), state, given)

    assert told(plan) == {}
    assert grant_of(plan, "g").reason is Reason.FULL


def test_a_protected_job_is_left_last() -> None:
    specs: list[DeviceSpec] = [gpu("g"), miner("a", dwell_s=60.0)]
    state = running({"g": device(GPU_POINTS[5]), "a": device(FULL, since_s=NOW_S - 1)})
    held = queue(working(job(usd=0.01, flex=FlexTier.RIGID, on_shortage=OnShortage.PROTECT), "g"), gpus=["g"])
    said = [at_point(specs[0], GPU_POINTS[5]), at_point(specs[1], FULL)]

    _, plan = decide(site(limit_w=800), state, inputs(*specs, readings=said, queues=(held,)))

    assert (told(plan), plan.job_commands) == ({"a": "sleep"}, ())


# Nothing by accident


def test_a_lost_link_is_an_alarm_and_the_contract_limit_holds() -> None:
    state, said = at(FULL, "a", "b")
    here = site(limit_w=20_000, link_lost_limit=bound(3_600))

    _, plan = decide(here, state, replace(said, links={"": Link.LOST}))

    assert plan.cap == bound(3_600)
    assert set(told(plan).values()) <= {"sleep", "low"}
    assert (AlarmKind.LINK_LOST, "test") in alarms(plan)


def test_the_operator_of_the_grid_table_has_a_name_in_the_alarm_of_its_link() -> None:
    state, said = at(FULL, "a")

    _, plan = decide(site(limit_w=20_000), state, replace(said, links={"": Link.LOST, "iso": Link.LOST}))

    [lost] = [alarm.detail for alarm in plan.alarms if alarm.kind is AlarmKind.LINK_LOST]
    assert lost.startswith("no heartbeat of grid, iso, or no snapshot")


def test_a_point_list_that_lost_its_floor_does_not_stop_a_dwelling_device() -> None:
    spec = miner("a", points=(LOW, FULL), dwell_s=60.0)
    state = running({"a": device(SLEEP, since_s=NOW_S - 5, at_s=NOW_S)})

    _, plan = decide(site(limit_w=10_000), state, inputs(spec, readings=[reading("a", 30, 30)]))

    assert grant_of(plan, "a").point == LOW


def test_a_device_that_is_taken_out_is_forgotten() -> None:
    state, said = at(FULL, "a", "b")

    after, plan = decide(site(), state, replace(said, specs=said.specs[:1]))

    assert list(after.devices) == ["a"]
    assert [grant.device for grant in plan.grants] == ["a"]


def test_a_first_reading_that_is_old_already_is_silence() -> None:
    old = Sample(NOW_S - 100, reading("a", 30, 30))
    spec = miner("a")
    given = Inputs(now_s=NOW_S, utc_s=UTC_S, specs=(spec,), readings={"a": old})

    _, plan = decide(site(limit_w=10_000), running(), given)

    assert (grant_of(plan, "a").truth, grant_of(plan, "a").power) == (Truth.STALE, spec.ceiling)


def test_an_event_is_met_at_its_start_and_the_watts_come_back_after_its_end() -> None:
    machines: list[Machine] = [awake(miner(f"m{at}"), delay_s=3.0) for at in range(4)]
    world = World(site(limit_w=14_000, meter="m", event_lead_s=20.0), machines, meter_lag_s=2.0)
    world.run(5)
    start_s = world.now_s + 40
    world.events = (event(limit_w=6_000, start_s=start_s, end_s=start_s + 60),)

    world.run(15)
    before_lead = world.watts()
    world.run(25)
    at_start = world.watts()
    world.run(90)

    assert (before_lead, at_start <= 6_000, world.watts()) == (14_000, True, 14_000)
    assert world.breaches == []
