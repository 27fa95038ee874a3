"""Ramps below and above an event: what is told to fall or to rise is a part of every ramp on its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from controller.decide.words import AlarmKind, Reason
from controller.domain.devices import DeviceSpec, ThermalLimits
from controller.domain.jobs import Job, JobAction, JobState, JobStatus
from controller.domain.power import Limit, Power
from controller.domain.site import Node
from tests.decide.builders import FULL, LOW, NOW_S, SLEEP, event, gpu, job, miner, node, reasons, site
from tests.decide.world import Queue, World, asleep, awake, prices


def machines(place: str, count: int) -> list[DeviceSpec]:
    return [miner(f"{place}-{at:02}", place) for at in range(count)]


def halls(*places: Node, each: int = 10, **root: Any) -> World:
    """Ten miners of 3.5 kW below each of `places`, all at full."""
    world = World(
        site(*places, **root), [awake(spec) for place in places for spec in machines(place.id, each)]
    )
    world.run(30)
    return world


def passed_w(
    world: World, ramps: Mapping[str, int], seconds: int, way: int = -1, largest_w: int = FULL.power.watts
) -> dict[str, float]:
    """By how many watts the ramp of each node was passed at worst in so many seconds: a bucket that fills by
    its watts each second. `way` is -1 for ramps down, 1 for ramps up. A ramp may save up for the largest
    machine, and the last one must be down in time."""
    drawn = {place: [world.watts(place)] for place in ramps}
    for _ in range(seconds):
        world.tick()
        for place in ramps:
            drawn[place].append(world.watts(place))
    found = {}
    for place, per_s_w in ramps.items():
        most_w = room_w = max(1.2 * largest_w, 5 * per_s_w) + largest_w
        least_w = most_w
        for before, after in pairwise(drawn[place]):
            room_w = min(most_w, room_w + per_s_w - max(0.0, way * (after - before)))
            least_w = min(least_w, room_w)
        found[place] = max(0.0, -least_w)
    return found


# Down


@pytest.mark.parametrize(("notice_s", "deadline_s"), [(0.0, 120.0), (120.0, 0.0)])
def test_an_event_for_the_site_keeps_the_slower_ramp_of_a_node_below(
    notice_s: float, deadline_s: float
) -> None:
    world = halls(node("slow", ramp_down_w=500), node("free"), ramp_down_w=10_000)
    start_s = world.now_s + notice_s
    world.events = (event(start_s=start_s, limit_w=4_000, ramp_deadline_s=deadline_s),)

    passed = passed_w(world, {"slow": 500, "site": 10_000}, 121)

    assert passed == {"slow": 0.0, "site": 0.0}
    assert world.watts() <= 4_000


@pytest.mark.parametrize(("notice_s", "deadline_s"), [(0.0, 120.0), (120.0, 0.0)])
def test_an_event_at_a_node_keeps_the_ramp_of_a_node_below_it(notice_s: float, deadline_s: float) -> None:
    here = (node("hall"), node("row", "hall", ramp_down_w=500))
    world = World(site(*here), [awake(spec) for spec in machines("row", 10)])
    world.run(30)
    start_s = world.now_s + notice_s
    world.events = (event(start_s=start_s, limit_w=1_000, ramp_deadline_s=deadline_s, node="hall"),)

    passed = passed_w(world, {"row": 500}, 121)

    assert passed == {"row": 0.0}
    assert world.watts("hall") <= 1_000


@pytest.mark.parametrize(("notice_s", "deadline_s"), [(0.0, 150.0), (150.0, 0.0)])
def test_events_at_two_nodes_share_the_ramp_of_the_node_above_them(
    notice_s: float, deadline_s: float
) -> None:
    world = halls(node("east"), node("west"), ramp_down_w=500)
    start_s = world.now_s + notice_s
    world.events = tuple(
        event(place, start_s=start_s, limit_w=1_000, ramp_deadline_s=deadline_s, node=place)
        for place in ("east", "west")
    )

    passed = passed_w(world, {"site": 500}, 151)

    assert passed == {"site": 0.0}
    assert (world.watts("east") <= 1_000, world.watts("west") <= 1_000) == (True, True)


def test_a_site_that_comes_down_along_its_ramp_in_time_is_above_a_limit_that_it_has_not_passed() -> None:
    world = halls(node("east"), node("west"), ramp_down_w=500, meter="main")
    world.events = (event(start_s=world.now_s, limit_w=10_000, ramp_deadline_s=120.0),)

    world.run(60)

    assert world.plan.nodes[0].limit == Limit(Power(10_000))
    assert world.watts() > 30_000
    assert AlarmKind.CAP_PASSED not in {alarm.kind for alarm in world.plan.alarms}


def test_an_event_for_the_site_and_one_within_it_share_its_ramp() -> None:
    world = halls(node("east"), node("west"), ramp_down_w=500)
    world.events = (
        event("whole", start_s=world.now_s, limit_w=40_000, ramp_deadline_s=120.0),
        event("within", start_s=world.now_s, limit_w=10_000, ramp_deadline_s=120.0, node="east"),
    )

    passed = passed_w(world, {"site": 500}, 121)

    assert passed == {"site": 0.0}
    assert (world.watts("east") <= 10_000, world.watts() <= 40_000) == (True, True)


def test_what_no_ramp_holds_back_falls_at_once_beside_a_slow_ramp() -> None:
    world = halls(node("slow", ramp_down_w=500), node("free"))
    world.events = (event(start_s=world.now_s, limit_w=1_000, ramp_deadline_s=120.0),)

    world.run(4)

    assert world.watts("free") == 10 * SLEEP.power.watts
    assert world.watts("slow") > 20_000


def test_what_is_owed_is_lowered_at_once_whatever_ramps_there_are_below() -> None:
    world = halls(node("slow", ramp_down_w=500), node("east"), ramp_down_w=500)
    world.events = (
        event("whole", start_s=world.now_s, limit_w=20_000),
        event("within", start_s=world.now_s, limit_w=2_000, node="east"),
    )

    world.run(3)

    assert (world.watts() <= 20_000, world.watts("east") <= 2_000) == (True, True)


def test_a_limit_that_comes_sooner_than_its_ramp_leads_there_is_kept_when_it_is_owed() -> None:
    world = halls(node("slow", ramp_down_w=500), node("free"))
    world.events = (event(start_s=world.now_s, limit_w=4_000, ramp_deadline_s=30.0),)

    world.run(30)
    half_way_w = world.watts("slow")
    world.run(3)

    assert half_way_w > 10_000
    assert world.watts() <= 4_000


def test_a_breaker_does_not_wait_for_a_ramp_that_an_event_uses_up() -> None:
    world = halls(node("slow", ramp_down_w=500), ramp_down_w=500)
    world.events = (event(start_s=world.now_s, limit_w=1_000, ramp_deadline_s=120.0),)
    world.run(20)

    world.site = site(node("slow", ramp_down_w=500, limit_w=10_000), ramp_down_w=500)
    world.run(3)

    assert world.watts("slow") <= 10_000


def test_heat_does_not_wait_for_a_ramp_that_an_event_uses_up() -> None:
    hot = ThermalLimits(derate_c=80.0, trip_c=90.0)
    specs = [miner(f"m{at:02}", thermal=hot if at == 9 else None) for at in range(10)]
    world = World(site(ramp_down_w=500), [awake(spec) for spec in specs])
    world.run(30)
    world.events = (event(start_s=world.now_s, limit_w=1_000, ramp_deadline_s=120.0),)
    world.run(3)

    world.machines["m09"].hottest_c = 90.0
    world.run(2)

    assert world.machines["m09"].at == SLEEP


def test_before_an_event_that_is_known_in_time_nothing_is_given_away_early() -> None:
    """The slow hall has its 70 s, and the other one none."""
    world = halls(node("slow", ramp_down_w=500), node("free"), ramp_down_w=50_000)
    world.events = (event(start_s=world.now_s + 200, limit_w=4_000),)

    world.run(110)
    early = world.watts()
    world.run(85)
    late = world.watts("free")

    assert (early, late) == (20 * FULL.power.watts, 10 * FULL.power.watts)


def test_nothing_is_raised_into_what_an_event_takes_along_a_ramp() -> None:
    world = halls(node("slow", ramp_down_w=500), node("free"))
    world.events = (event(start_s=world.now_s, limit_w=1_000, ramp_deadline_s=120.0),)

    raised = [name for _ in range(120) for name in world.tick().raised]

    assert raised == []


def test_jobs_are_set_aside_along_the_ramp_of_their_node_and_not_before_their_watts_may_fall() -> None:
    names = tuple(f"g{at:02}" for at in range(40))
    jobs_queue = Queue("q", names)
    for name in names:
        jobs_queue.jobs[name] = JobStatus(job=job(name), state=JobState.RUNNING, gpus=(name,))
    world = World(
        site(node("row", ramp_down_w=100)), [awake(gpu(name, "row")) for name in names], queues=[jobs_queue]
    )
    world.run(30)
    world.events = (event(start_s=world.now_s, limit_w=40 * 200, ramp_deadline_s=280.0),)

    passed, aside = {}, []
    for _ in range(28):
        passed = passed_w(world, {"row": 100}, 10)
        aside.append(sum(one.action is not JobAction.START for one in jobs_queue.told))

    assert passed == {"row": 0.0}
    assert aside[0] <= 8
    assert aside[-1] == 40
    assert world.watts() <= 40 * 200


def test_who_waits_for_a_ramp_says_so_and_no_alarm_is_raised() -> None:
    world = halls(node("slow", ramp_down_w=500), meter="mains")
    world.events = (event(start_s=world.now_s, limit_w=1_000, ramp_deadline_s=120.0),)

    plans = [world.tick() for _ in range(60)]

    assert Reason.RAMPING in reasons(plans[10]).values()
    assert [alarm for plan in plans for alarm in plan.alarms] == []


def poor(place: str, count: int) -> list[DeviceSpec]:
    """Machines that earn a third of what `machines` do: whatever is to fall, a plan takes of them first."""
    points = tuple(replace(point, rate=point.rate / 3) for point in (SLEEP, LOW, FULL))
    return [miner(f"{place}-{at:02}", place, points=points) for at in range(count)]


def slow_and_other(other: Node, **root: Any) -> World:
    """Ten poor miners below a slow ramp, ten good ones below `other`, all at full."""
    specs = [*poor("slow", 10), *machines(other.id, 10)]
    world = World(site(node("slow", ramp_down_w=500), other, **root), [awake(spec) for spec in specs])
    world.prices = prices(usd_per_ths_day=0.15)
    world.run(30)
    assert world.watts() == 20 * FULL.power.watts
    return world


@pytest.mark.parametrize("deadline_s", [0.0, 30.0])
def test_what_a_slow_ramp_cannot_give_in_time_is_given_where_no_ramp_is(deadline_s: float) -> None:
    world = slow_and_other(node("free"))
    world.events = (event(start_s=world.now_s, limit_w=40_000, ramp_deadline_s=deadline_s),)

    passed = passed_w(world, {"slow": 500}, 40)

    assert passed == {"slow": 0.0}
    assert world.watts() <= 40_000


@pytest.mark.parametrize(("notice_s", "deadline_s"), [(0.0, 30.0), (30.0, 0.0), (20.0, 10.0)])
def test_a_faster_ramp_begins_in_time_to_give_what_a_slower_one_cannot(
    notice_s: float, deadline_s: float
) -> None:
    ramps = {"slow": 500, "quick": 1_000}
    world = slow_and_other(node("quick", ramp_down_w=1_000))
    start_s = world.now_s + notice_s
    world.events = (event(start_s=start_s, limit_w=35_000, ramp_deadline_s=deadline_s),)

    passed = passed_w(world, ramps, 32)

    assert passed == dict.fromkeys(ramps, 0.0)
    assert world.watts() <= 35_000


def test_once_others_gave_what_was_owed_the_slow_ramp_goes_on_and_they_come_back() -> None:
    world = slow_and_other(node("free"))
    world.events = (event(start_s=world.now_s, limit_w=40_000),)

    passed = passed_w(world, {"slow": 500}, 600)

    assert passed == {"slow": 0.0}
    assert world.watts("free") > 30_000
    assert [breach for breach in world.breaches if breach[0] > NOW_S + 33] == []


def test_what_is_owed_is_first_taken_where_ramps_have_room_for_it() -> None:
    """One limit is owed now, a lower one has time: both halls are to fall, and the free one can at once."""
    world = halls(node("a-slow", ramp_down_w=500), node("free"))
    world.events = (
        event("now", start_s=world.now_s, limit_w=40_000),
        event("later", start_s=world.now_s, limit_w=1_000, ramp_deadline_s=120.0),
    )

    passed = passed_w(world, {"a-slow": 500}, 121)

    assert passed == {"a-slow": 0.0}
    assert world.watts() <= 1_000


def test_where_nobody_else_can_give_it_a_slow_ramp_gives_way_to_what_is_owed() -> None:
    world = slow_and_other(node("free"))
    world.events = (event(start_s=world.now_s, limit_w=4_000, ramp_deadline_s=10.0),)

    world.run(13)

    assert world.watts() <= 4_000


def test_a_machine_that_cannot_fall_any_more_waits_for_no_ramp() -> None:
    useless = miner("slow-99", "slow", points=tuple(replace(point, rate=0.0) for point in (SLEEP, LOW, FULL)))
    here = (node("slow", ramp_down_w=500), node("free"))
    specs = [*poor("slow", 10), *machines("free", 10)]
    world = World(site(*here), [asleep(useless), *(awake(spec) for spec in specs)])
    world.prices = prices(usd_per_ths_day=0.15)
    world.run(30)
    world.events = (event(start_s=world.now_s, limit_w=30_000, ramp_deadline_s=30.0),)

    found = reasons(world.run(1))

    assert (found["slow-99"], Reason.RAMPING in found.values()) == (Reason.UNPROFITABLE, True)


# Up


def test_after_an_event_a_node_comes_back_no_faster_than_its_own_ramp_whatever_that_of_the_site_is() -> None:
    here = (node("slow", ramp_up_w=500), node("free"))
    world = World(
        site(*here, ramp_up_w=5_000), [asleep(spec) for place in here for spec in machines(place.id, 10)]
    )
    world.events = (event(start_s=world.now_s, end_s=world.now_s + 20, limit_w=1_000),)
    world.run(19)

    passed = passed_w(world, {"slow": 500, "site": 5_000}, 100, way=1)

    assert passed == {"slow": 0.0, "site": 0.0}
    assert world.watts() == 20 * FULL.power.watts


def test_after_events_at_two_nodes_both_come_back_along_the_ramp_of_the_node_above_them() -> None:
    here = (node("east"), node("west"))
    world = World(
        site(*here, ramp_up_w=500), [asleep(spec) for place in here for spec in machines(place.id, 10)]
    )
    world.events = tuple(
        event(place.id, start_s=world.now_s, end_s=world.now_s + 20, limit_w=1_000, node=place.id)
        for place in here
    )
    world.run(19)

    passed = passed_w(world, {"site": 500}, 160, way=1)

    assert passed == {"site": 0.0}
    assert world.watts() == 20 * FULL.power.watts


def gpu_row(count: int, *jobs: Job, site_ramp_w: int | None = None) -> tuple[World, Queue]:
    """GPUs without work behind a ramp up, and the jobs that are there to be had for half a minute later."""
    names = tuple(f"g{at:02}" for at in range(count))
    jobs_queue = Queue("q", names)
    idle = [asleep(gpu(name, "row")) for name in names]
    here = site(node("row", ramp_up_w=200), ramp_up_w=site_ramp_w)
    world = World(here, idle, queues=[jobs_queue])
    world.run(30)
    for one in jobs:
        jobs_queue.submit(one)
    return world, jobs_queue


def test_jobs_start_along_the_ramp_of_their_node() -> None:
    world, _ = gpu_row(16, *(job(f"j{at}", 2) for at in range(8)))

    passed = passed_w(world, {"row": 200}, 120, way=1, largest_w=700)

    assert passed == {"row": 0.0}
    assert world.watts("row") == 16 * 700


@pytest.mark.parametrize("site_ramp_w", [None, 10_000])
def test_a_job_that_is_more_than_a_ramp_can_save_starts_low_and_is_raised_along_it(
    site_ramp_w: int | None,
) -> None:
    """The lowest ramp on its way counts, be there room in all others."""
    world, _ = gpu_row(16, job("large", 8), job("second", 8, usd=1.0), site_ramp_w=site_ramp_w)

    passed = passed_w(world, {"row": 200}, 90, way=1, largest_w=700)

    assert passed == {"row": 0.0}
    assert world.watts("row") == 16 * 700


def test_a_job_that_would_start_low_waits_for_the_watts_that_it_is_to_be_raised_to() -> None:
    names = tuple(f"g{at:02}" for at in range(8))
    jobs_queue = Queue("q", names)
    machine = awake(miner("m", settle_down_s=30.0), delay_s=12.0)
    idle = [asleep(gpu(name, "row")) for name in names]
    row = node("row", ramp_up_w=200)
    world = World(site(row, limit_w=8 * 700 + 30), [*idle, machine], queues=[jobs_queue])
    world.run(30)
    jobs_queue.submit(job("large", 8))

    while not any(plan.job_commands for plan in world.plans):
        world.tick()

    assert machine.at == SLEEP


def test_a_job_that_is_more_than_a_ramp_can_save_is_told_once() -> None:
    world, jobs_queue = gpu_row(8, job("large", 8))

    world.run(60)

    assert [one.action for one in jobs_queue.told] == [JobAction.START]
