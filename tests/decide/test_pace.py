"""How fast a site may change: ramps both ways, starts per hour; nodes out of service; the last resort."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from controller.decide.choose import choose
from controller.decide.device import DeviceState
from controller.decide.economics import valuation_now
from controller.decide.freedom import freedom
from controller.decide.limits import limits_now
from controller.decide.pace import Pace, Purse, Saved, pace_now
from controller.decide.snapshot import State, look
from controller.decide.timeline import grid_now
from controller.decide.words import AlarmKind, Reason, Truth
from controller.domain.devices import ThermalLimits
from controller.domain.grid import EventStatus
from controller.domain.power import Limit, Power
from controller.domain.site import Service, Site, Zone
from tests.decide.builders import (
    FULL,
    LOW,
    NOW_S,
    SLEEP,
    at_point,
    bound,
    device,
    event,
    inputs,
    miner,
    node,
    reasons,
    running,
    site,
    told,
)
from tests.decide.steps import decide
from tests.decide.world import World, asleep, awake

LARGEST = Power(3_500)


def pace(here: Site, saved: Saved, now_s: float = NOW_S) -> Pace:
    return pace_now(here, saved, now_s, largest=LARGEST, held=False)


# Saving


def test_a_ramp_gives_its_watts_per_second_and_saves_a_little_of_what_was_not_used() -> None:
    here = site(ramp_up_w=2_000)
    empty = Saved(at_s=NOW_S - 1)

    assert pace(here, empty).rise_w == {0: 2_000}
    assert pace(here, empty, NOW_S + 1_000).rise_w == {0: 10_000}


def test_a_ramp_has_given_nothing_in_the_first_tick_nor_where_the_clock_went_back() -> None:
    here = site(ramp_up_w=2_000)

    assert pace(here, Saved()).rise_w == {0: 0}
    assert pace(here, Saved(at_s=NOW_S - 0.5)).rise_w == {0: 1_000}
    assert pace(here, Saved(at_s=NOW_S + 3, rise_w={0: 500.0})).rise_w == {0: 500}


def test_a_slow_ramp_saves_up_for_one_change_of_the_largest_machine() -> None:
    here = site(ramp_up_w=10)

    assert pace(here, Saved(at_s=0.0), NOW_S + 1_000).rise_w == {0: pytest.approx(4_200)}


@pytest.mark.parametrize("tick_s", [3.0, 5.0, 30.0])
def test_of_what_a_ramp_gives_in_a_tick_nothing_is_lost_beside_what_was_too_little_for_a_change(
    tick_s: float,
) -> None:
    here = site(ramp_up_w=2_000, tick_s=tick_s)

    left = Saved(at_s=NOW_S - tick_s, rise_w={0: 3_400.0})

    assert pace(here, left).rise_w == {0: 3_400 + 2_000 * tick_s}


def test_only_nodes_that_have_a_ramp_are_held_to_one() -> None:
    here = site(node("pdu", ramp_down_w=100), node("free"))

    found = pace(here, Saved(at_s=NOW_S - 1))

    assert (found.rise_w, found.fall_w) == ({}, {1: 100})


def test_what_is_spent_below_is_spent_above_and_who_cannot_pay_keeps_its_turn() -> None:
    purse = Purse({0: 1_000.0, 1: 600.0})

    assert purse.pays((1, 0), 500)
    assert not purse.pays((1, 0), 200)
    assert not purse.pays((1, 0), 50)
    assert purse.pays((2, 0), 500)
    assert purse.left_w == {0: 0.0, 1: 100.0}


def test_who_adds_nothing_need_not_wait_for_its_turn() -> None:
    purse = Purse({0: 0.0})
    assert not purse.pays((0,), 10)

    assert purse.pays((0,), 0)


def test_what_must_be_may_leave_a_debt_that_time_pays() -> None:
    purse = Purse({0: 100.0})

    purse.take((0,), 3_000)
    later = pace(site(ramp_down_w=1_000), Saved(at_s=NOW_S - 2, fall_w=purse.left_w))

    assert later.fall_w == {0: -900.0}


def test_starts_that_nobody_needed_do_not_add_up_to_many_at_once() -> None:
    here = site(starts_per_tick=3)

    assert pace(here, Saved(at_s=NOW_S - 600, starts=3.0)).starts == 3.0


def test_a_tick_that_comes_before_its_time_may_start_as_much_less() -> None:
    here = site(starts_per_tick=6, tick_s=2.0)

    assert pace(here, Saved(at_s=NOW_S - 0.5, starts=1.0)).starts == 2.5


# Ramps in a site


def falls(world: World, node_name: str, seconds: int) -> list[float]:
    """How far the true watts of a node fell in each second."""
    drawn = []
    for _ in range(seconds):
        world.tick()
        drawn.append(world.watts(node_name))
    return [before - after for before, after in pairwise(drawn)]


def test_machines_that_no_longer_earn_are_lowered_along_the_ramp_of_their_own_node_only() -> None:
    halls = (node("slow", ramp_down_w=1_000), node("free"))
    machines = [awake(miner(f"{hall.id}-{at}", hall.id)) for hall in halls for at in range(4)]
    world = World(site(*halls), machines)
    world.run(30)
    world.prices = type(world.prices)(usd_per_ths_day=0.0, usd_per_kwh=0.05)

    fell = falls(world, "slow", 30)

    assert world.watts("free") == 4 * SLEEP.power.watts
    assert world.watts("slow") == 4 * SLEEP.power.watts
    assert max(sum(fell[at : at + 10]) for at in range(20)) <= 10 * 1_000 + 5_000


def test_a_limit_that_is_passed_is_obeyed_at_once_whatever_the_ramp() -> None:
    machines = [awake(miner(f"m{at}")) for at in range(4)]
    world = World(site(limit_w=14_000, ramp_down_w=1), machines)
    world.run(20)
    world.events = (event(start_s=world.now_s, limit_w=4_000),)

    world.run(3)

    assert world.watts() <= 4_000


def test_an_event_known_in_time_is_reached_along_the_ramp_just_as_it_begins() -> None:
    machines = [awake(miner(f"m{at}")) for at in range(10)]
    world = World(site(limit_w=36_000, ramp_down_w=500, event_lead_s=3.0), machines)
    world.run(20)
    start_s = world.now_s + 100
    world.events = (event(start_s=start_s, limit_w=7_100),)

    fell = falls(world, "site", 100)

    assert world.breaches == []
    assert world.watts() <= 7_100
    assert fell[:20] == [0.0] * 20, "with an hour's notice nothing is given away early"
    assert max(sum(fell[at : at + 20]) for at in range(80)) <= 20 * 500 + 3_500


@pytest.mark.parametrize("place", ["", "hall"])
def test_a_limit_that_a_ramp_is_too_slow_for_is_met_by_its_deadline_all_the_same(place: str) -> None:
    machines = [awake(miner(f"m{at}", "hall", settle_down_s=15.0), delay_s=8.0) for at in range(10)]
    here = site(node("hall", ramp_down_w=100), ramp_down_w=100, event_lead_s=20.0)
    world = World(here, machines)
    world.run(20)
    world.events = (event(start_s=world.now_s, limit_w=7_100, ramp_deadline_s=60.0, node=place),)

    fell = falls(world, "hall", 60)

    assert sum(fell[:35]) <= 35 * 100 + 3_500 * 1.2
    assert world.watts("hall") <= 7_100


def test_a_controller_that_restarts_on_the_way_down_goes_on_along_the_ramp() -> None:
    world = World(
        site(limit_w=80_000, ramp_down_w=500, meter="mains"), [awake(miner(f"m{at}")) for at in range(20)]
    )
    world.run(20)
    world.events = (event(start_s=world.now_s, limit_w=4_000, ramp_deadline_s=150.0),)
    world.run(20)
    world.state = State()

    fell = falls(world, "site", 129)
    world.run(3)

    assert max(sum(fell[at : at + 10]) for at in range(119)) <= 10 * 500 + 5_000
    assert world.watts() <= 4_000


def test_on_its_ramp_a_site_does_not_comply_yet_and_breaks_nothing() -> None:
    machines = [awake(miner(f"m{at}")) for at in range(4)]
    world = World(site(limit_w=15_000, ramp_down_w=500, meter="mains"), machines)
    world.run(20)
    world.events = (event(start_s=world.now_s, limit_w=4_000, ramp_deadline_s=60.0),)

    plans = [world.tick() for _ in range(60)]

    assert [alarm for plan in plans for alarm in plan.alarms] == []
    assert plans[5].standings[0].status is EventStatus.STARTED
    assert (plans[-1].standings[0].status, world.watts() <= 4_000) == (EventStatus.COMPLIANT, True)


def test_an_event_at_a_node_limits_that_node_only() -> None:
    halls = (node("east"), node("west"))
    machines = [awake(miner(f"{hall.id}-{at}", hall.id)) for hall in halls for at in range(3)]
    world = World(site(*halls), machines)
    world.run(20)
    world.events = (event(start_s=world.now_s, limit_w=4_000, node="east"),)

    plan = world.run(10)

    assert world.watts("east") <= 4_000
    assert world.watts("west") == 3 * FULL.power.watts
    assert [state.limit for state in plan.nodes] == [bound(None), bound(4_000), bound(None)]


@pytest.mark.parametrize("here", [site(node("hall", ramp_down_w=500)), site(node("hall"), ramp_down_w=500)])
@pytest.mark.parametrize(("notice_s", "deadline_s"), [(0.0, 150.0), (150.0, 0.0)])
def test_an_event_at_a_node_is_reached_along_the_ramp_of_that_node_and_of_those_above_it(
    here: Site, notice_s: float, deadline_s: float
) -> None:
    machines = [awake(miner(f"m{at}", "hall")) for at in range(20)]
    world = World(here, machines)
    world.run(20)
    start_s = world.now_s + notice_s
    world.events = (event(start_s=start_s, limit_w=4_000, ramp_deadline_s=deadline_s, node="hall"),)

    fell = falls(world, "hall", 149)
    world.run(3)

    assert max(sum(fell[at : at + 10]) for at in range(139)) <= 10 * 500 + 3_500
    assert world.watts("hall") <= 4_000


# Starts


@pytest.mark.parametrize("apart_s", [0.2, 0.4, 0.999, 1.0, 1.001])
def test_ticks_that_messages_wake_start_no_more_machines_than_ordinary_ones(apart_s: float) -> None:
    specs = [miner(f"m{at:02}") for at in range(40)]
    said = [at_point(spec, SLEEP) for spec in specs]
    state, begun = running({spec.id: device(SLEEP) for spec in specs}), 0

    for tick in range(int(6 / apart_s) + 1):
        now_s = NOW_S + tick * apart_s
        state, plan = decide(site(starts_per_tick=3), state, inputs(*specs, now_s=now_s, readings=said))
        begun += len(plan.commands)

    assert 18 <= begun <= 22


def test_a_machine_is_started_only_so_often_in_an_hour_and_says_that_it_rests() -> None:
    spec = miner("a", starts_per_hour=2)
    worn = device(SLEEP, started_s=(NOW_S - 3_000, NOW_S - 60))
    said = inputs(spec, readings=[at_point(spec, SLEEP)])

    _, plan = decide(site(), running({"a": worn}), said)
    rested = worn._replace(started_s=(NOW_S - 3_600, NOW_S - 60))
    after, later = decide(site(), running({"a": rested}), said)

    assert (told(plan), reasons(plan)) == ({}, {"a": Reason.RESTING})
    assert told(later) == {"a": "full"}
    assert after.devices["a"].started_s == (NOW_S - 60, NOW_S)


# Nodes out of service


def test_a_draining_node_brings_all_below_it_to_its_lowest() -> None:
    here = site(node("row", service=Service.DRAINING), node("shelf", "row"))
    specs = (miner("a", "shelf"), miner("b"))

    _, plan = decide(
        here,
        running({spec.id: device(FULL) for spec in specs}),
        inputs(*specs, readings=[at_point(spec, FULL) for spec in specs]),
    )

    assert told(plan) == {"a": "sleep"}
    assert reasons(plan) == {"a": Reason.DRAINING, "b": Reason.FULL}


def test_below_an_isolated_node_silence_counts_nothing_and_is_no_alarm() -> None:
    here = site(node("phase-2", service=Service.ISOLATED), limit_w=4_000)
    specs = (miner("a", "phase-2"), miner("b"))

    _, plan = decide(
        here, running({"b": device(SLEEP)}), inputs(specs[0], specs[1], readings=[at_point(specs[1], SLEEP)])
    )

    assert told(plan) == {"b": "full"}
    assert (reasons(plan)["a"], plan.nodes[1].worst, plan.alarms) == (Reason.ISOLATED, Power(0), ())


def test_what_answers_below_an_isolated_node_counts_and_is_an_alarm() -> None:
    here = site(node("phase-2", service=Service.ISOLATED), limit_w=4_000)
    specs = (miner("a", "phase-2"), miner("b"))

    _, plan = decide(
        here,
        running({"a": device(FULL), "b": device(SLEEP)}),
        inputs(*specs, readings=[at_point(specs[0], FULL), at_point(specs[1], SLEEP)]),
    )

    assert told(plan) == {"a": "sleep"}
    assert [(alarm.kind, alarm.subject) for alarm in plan.alarms] == [(AlarmKind.ENERGISED, "a")]


def test_fixed_load_without_voltage_takes_no_watts_from_others_and_convicts_no_meter() -> None:
    phases = (node("phase-2", service=Service.ISOLATED), node("fans", "phase-2", fixed_w=5_000))
    world = World(site(*phases, limit_w=8_000, meter="main"), [awake(miner("a")), awake(miner("b"))])
    world.other_w["fans"] = 0.0

    world.run(30)

    assert world.watts() == 2 * FULL.power.watts
    assert world.plan.alarms == ()


def test_that_meters_and_fans_without_voltage_are_silent_is_no_alarm() -> None:
    here = site(
        node("phase-2", meter="m2", service=Service.ISOLATED),
        zones=[Zone(id="hall-2", derate_c=30.0, trip_c=40.0)],
    )
    specs = (miner("a", "phase-2", zone="hall-2"), miner("b"))

    _, dark = decide(here, running(), inputs(*specs, readings=[at_point(specs[1], FULL)]))
    _, lit = decide(here, running(), inputs(*specs, readings=[at_point(spec, FULL) for spec in specs]))

    assert dark.alarms == ()
    assert {alarm.kind for alarm in lit.alarms} == {AlarmKind.ENERGISED, AlarmKind.COOLING}


def test_machines_without_voltage_do_not_hide_that_most_of_the_others_fell_silent() -> None:
    phases = (node("phase-1"), node("phase-2", service=Service.ISOLATED))
    off = [asleep(miner(f"off{at}", "phase-2"), silent=True) for at in range(20)]
    world = World(site(*phases), [*(awake(miner(f"on{at}", "phase-1")) for at in range(5)), *off])
    world.run(5)
    for name in ("on0", "on1", "on2"):
        world.machines[name].silent = True

    world.run(20)

    assert AlarmKind.NETWORK_FAULT in {alarm.kind for alarm in world.plan.alarms}


def test_a_silent_machine_without_voltage_is_not_looked_at_anew_in_every_tick() -> None:
    world = World(
        site(node("phase-2", service=Service.ISOLATED)), [asleep(miner("a", "phase-2"), silent=True)]
    )
    world.run(3)
    known = world.state.devices["a"]

    world.run(3)

    assert world.state.devices["a"] is known


@pytest.mark.parametrize("was", [device(None, Truth.UNREACHABLE), device(FULL, Truth.STALE)])
def test_a_limit_that_cannot_be_kept_does_not_end_the_process_where_silent_machines_have_no_voltage(
    was: DeviceState,
) -> None:
    here = site(node("phase-2", service=Service.ISOLATED), limit_w=1_000, fixed_w=1_500)
    specs = (miner("a", "phase-2"), miner("b"))
    state = running({"a": was, "b": device(FULL)})

    _, plan = decide(here, state, inputs(*specs, readings=[at_point(specs[1], FULL)]))

    assert (told(plan), plan.nodes[0].feasible) == ({"b": "sleep"}, False)


def test_machines_without_voltage_do_not_hold_up_the_start() -> None:
    here = site(node("phase-2", service=Service.ISOLATED))
    specs = (miner("a", "phase-2"), miner("b"))

    _, plan = decide(here, type(running())(), inputs(*specs, readings=[at_point(specs[1], FULL)]))

    assert plan.ready


# The last resort


def test_of_machines_that_refuse_to_go_lower_as_few_are_stopped_as_are_too_much_for_their_breaker() -> None:
    small = SLEEP, replace(LOW, power=Power(1_800)), replace(FULL, power=Power(2_600))
    machines = [awake(miner("a", "pdu", points=small), refuses_limits=True)]
    machines += [awake(miner(name, "pdu"), refuses_limits=True) for name in "bc"]
    world = World(site(node("pdu", limit_w=6_700)), machines)

    world.run(60)

    assert world.watts("pdu") == 2_600 + FULL.power.watts + SLEEP.power.watts
    assert sum(told.point == SLEEP for plan in world.plans for told in plan.commands) == 1


def test_a_machine_that_refuses_to_go_lower_goes_on_where_others_make_just_the_room_for_it() -> None:
    large = SLEEP, LOW, replace(FULL, power=Power(4_900))
    machines = [awake(miner("a", "pdu", points=large, ceiling=Power(5_000)), refuses_limits=True)]
    world = World(site(node("pdu", limit_w=4_930)), [*machines, awake(miner("b", "pdu"))])

    world.run(60)

    assert world.watts("pdu") == 4_900 + SLEEP.power.watts
    assert {told.device for plan in world.plans for told in plan.commands if told.point == SLEEP} == {"b"}


def test_a_machine_that_refuses_to_go_lower_is_stopped_once_heat_forbids_what_it_was_asked_for() -> None:
    hot = ThermalLimits(derate_c=80.0, trip_c=90.0)
    world = World(site(), [awake(miner("a", thermal=hot), refuses_limits=True)])
    world.machines["a"].hottest_c = 82.0
    world.run(60)
    assert world.watts() == FULL.power.watts

    world.machines["a"].hottest_c = 90.0
    world.run(2)

    assert world.watts() == SLEEP.power.watts


@pytest.mark.parametrize("share", [0.97, 1.0])
def test_a_machine_that_was_caught_ignoring_its_limit_is_stopped_at_once_where_nobody_makes_room(
    share: float,
) -> None:
    ignores = awake(miner("a", "pdu", settle_down_s=10.0), ignores_limits=True, share=share)
    world = World(site(node("pdu", limit_w=3_000)), [ignores, awake(miner("b"))])

    world.run(10)
    waited = world.watts("pdu")
    world.run(4)

    assert (waited, world.watts("pdu")) == (share * FULL.power.watts, share * SLEEP.power.watts)


def test_a_machine_that_was_caught_ignoring_its_limit_goes_on_where_others_make_room_for_it() -> None:
    machines = [awake(miner("a", "pdu"), ignores_limits=True), awake(miner("b", "pdu"))]
    world = World(site(node("pdu", limit_w=5_000)), machines)

    world.run(60)

    assert world.watts("pdu") == FULL.power.watts + SLEEP.power.watts
    assert {told.device for plan in world.plans for told in plan.commands if told.point == SLEEP} == {"b"}


def test_a_liar_that_a_limit_waits_for_has_its_power_taken_and_rests() -> None:
    machines = [awake(miner("a", has_outlet=True), lies=True), awake(miner("b"), lies=True)]
    world = World(site(limit_w=4_000, retry_s=5.0), machines)

    world.run(120)

    means = {(told.device, told.means.value) for plan in world.plans for told in plan.commands}
    assert ("a", "outlet") in means
    assert ("b", "outlet") not in means
    assert world.watts() == SLEEP.power.watts + FULL.power.watts
    world.site = site(limit_w=40_000)
    world.run(60)
    assert reasons(world.plan) == {"a": Reason.RESTING, "b": Reason.FULL}


def test_a_liar_whose_watts_nobody_needs_keeps_its_power() -> None:
    machines = [awake(miner("a", has_outlet=True), lies=True), awake(miner("b"))]
    world = World(site(limit_w=4_000, retry_s=5.0), machines)

    world.run(120)

    assert {told.means.value for plan in world.plans for told in plan.commands} == {"command"}


def test_a_silent_machine_has_its_power_taken_only_where_all_others_at_their_lowest_are_too_much() -> None:
    def outlets_used(limit_w: int) -> set[str]:
        machines = [awake(miner("a", has_outlet=True)), awake(miner("b"))]
        world = World(site(limit_w=8_000), machines)
        world.run(5)
        world.machines["a"].silent = True
        world.site = site(limit_w=limit_w, retry_s=5.0)
        world.run(120)
        return {told.device for plan in world.plans for told in plan.commands if told.means == "outlet"}

    assert outlets_used(4_000) == set()
    assert outlets_used(3_500) == {"a"}


@pytest.mark.parametrize(("due_w", "cut"), [(8_000, set()), (3_000, {"a"})])
def test_a_silent_machine_keeps_its_power_below_a_set_point_that_is_too_low_for_the_others(
    due_w: int, cut: set[str]
) -> None:
    """It may well draw nothing, and nothing trips where a set-point is passed."""
    world = World(site(limit_w=8_000), [awake(miner("a", has_outlet=True)), awake(miner("b"))])
    world.run(5)
    world.machines["a"].silent = True
    world.run(100)
    heard = world.inputs()
    seen = look(world.site, world.state, heard)
    grid = grid_now((event(limit_w=due_w),), heard.utc_s, frozenset(), world.site)
    limits = limits_now(seen.ground, grid)
    all_of_them = np.ones(len(seen.fleet), dtype=np.bool_)
    may = freedom(seen, limits, all_of_them, all_of_them, heard.now_s)

    chosen = choose(seen, limits.aimed_at(3_000), (), {}, valuation_now(world.site, heard, grid), may)

    assert chosen.cut == cut


@pytest.mark.parametrize(("share", "cut"), [(0.0, set()), (1.0, {"a"})])
def test_nobody_switches_the_outlet_of_a_silent_machine_whose_meter_shows_that_it_draws_nothing(
    share: float, cut: set[str]
) -> None:
    """A breaker opened; the ramp of the site is too slow for others to come down while it boots again."""
    here = site(node("row", limit_w=8_000, meter="m"), limit_w=8_000, ramp_down_w=50, retry_s=5.0)
    world = World(here, [awake(miner("a", node="row", has_outlet=True, boots_s=20.0)), awake(miner("b"))])
    world.run(5)
    world.machines["a"].silent, world.machines["a"].share = True, share
    world.run(30)
    world.site = replace(here, nodes=(here.root, replace(here.nodes[1], limit=Limit(Power(3_000)))))

    world.run(120)

    assert {told.device for plan in world.plans for told in plan.commands if told.means == "outlet"} == cut


def test_a_machine_that_was_switched_off_does_not_show_that_a_dark_place_has_voltage() -> None:
    """Its outlet answers for it."""
    here = site(node("row", limit_w=8_000, meter="m"), limit_w=8_000, ramp_down_w=50, retry_s=5.0)
    machines = [miner(name, node="row", has_outlet=True, boots_s=20.0) for name in "ac"]
    world = World(here, [awake(machines[0]), awake(machines[1], lies=True)])
    small = replace(here, nodes=(here.root, replace(here.nodes[1], limit=Limit(Power(3_000)))))
    world.site = small
    world.run(60)
    for machine in world.machines.values():
        machine.share = 0.0
    world.machines["a"].silent = True
    world.run(30)
    before = len(world.plans)

    world.run(120)

    assert world.state.devices["c"].given_up_s > 0
    assert world.plan.grants.of("a").truth is Truth.STALE
    late = [told for plan in world.plans[before:] for told in plan.commands if told.means == "outlet"]
    assert late == []


def test_nobody_switches_the_outlet_of_a_silent_machine_where_there_is_no_voltage() -> None:
    """It draws nothing, and is not what others at their lowest are too much with."""
    world = World(
        site(node("row"), limit_w=8_000), [awake(miner("a", node="row", has_outlet=True)), awake(miner("b"))]
    )
    world.run(5)
    world.machines["a"].silent = world.machines["b"].silent = True
    world.run(100)
    world.site = site(node("row", service=Service.ISOLATED), limit_w=3_500, retry_s=5.0)

    world.run(120)

    assert AlarmKind.INFEASIBLE in {alarm.kind for alarm in world.plan.alarms}
    assert {told.means.value for plan in world.plans for told in plan.commands} <= {"command"}


def test_a_machine_that_is_silent_for_long_is_still_silent_as_its_power_is_taken() -> None:
    world = World(site(limit_w=8_000, retry_s=5.0), [awake(miner("a", has_outlet=True)), awake(miner("b"))])
    world.run(5)
    world.machines["a"].silent = True
    world.run(100)
    world.site = site(limit_w=3_500, retry_s=5.0)

    plan = world.tick()
    world.run(60)

    assert [told.means.value for told in plan.commands if told.device == "a"] == ["outlet"]
    assert plan.grants.of("a").truth is Truth.STALE
    assert plan.grants.of("a").power == world.machines["a"].spec.ceiling
    assert world.watts() <= 3_500


def test_a_miner_that_is_told_to_start_in_vain_is_given_up_and_its_watts_go_to_others() -> None:
    machines = [asleep(miner("a", settle_up_s=20.0), lies=True), asleep(miner("b", settle_up_s=20.0))]
    world = World(site(limit_w=4_000, retry_s=5.0), machines)
    world.machines["a"].tells_setting = False

    world.run(200)

    assert reasons(world.plan)["a"] is Reason.RESTING
    assert world.watts() == SLEEP.power.watts + FULL.power.watts
