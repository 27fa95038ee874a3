"""What the site's meter lets the plan know of machines that say nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from controller.decide.device import DeviceState
from controller.decide.inputs import Sample
from controller.decide.plan import Plan
from controller.decide.silence import dark_nodes, in_the_way
from controller.decide.snapshot import State, look
from controller.decide.words import AlarmKind, Truth
from controller.domain.devices import DeviceSpec
from controller.domain.power import Limit, Power
from controller.domain.site import Site
from tests.decide.builders import (
    FULL,
    NOW_S,
    SLEEP,
    at_point,
    device,
    grant_of,
    inputs,
    miner,
    node,
    node_of,
    reading,
    running,
    site,
)
from tests.decide.steps import decide
from tests.decide.world import World, asleep, awake

SPECS = tuple(miner(f"m{at:02}") for at in range(30))
HERE = site(limit_w=40_000, meter="m")
CEILING_W = miner().ceiling.watts


def seen_until(
    silent: int,
    *,
    shown_w: tuple[int, ...],
    state: State | None = None,
    here: Site = HERE,
    specs: tuple[DeviceSpec, ...] = SPECS,
    breaker_w: tuple[int, ...] = (),
) -> Plan:
    """Ten miners run and answer. Of twenty that sleep so many have been silent for 20 s, while the meter
    showed that, one reading a second, and that of the breaker what it is given to show."""
    told = {
        spec.id: device(FULL if at < 10 else SLEEP, at_s=NOW_S - (20 if at >= 30 - silent else 1))
        for at, spec in enumerate(specs)
    }
    before = running(told) if state is None else state
    plan: Plan | None = None
    for second, watts in enumerate(shown_w):
        now_s = NOW_S + second
        heard = [at_point(spec, FULL if at < 10 else SLEEP) for at, spec in enumerate(specs[: 30 - silent])]
        metered_w = {"m": watts} | ({"b": breaker_w[second]} if breaker_w else {})
        given = inputs(*specs, now_s=now_s, readings=heard, metered_w=metered_w)
        quiet = {
            spec.id: replace(given.readings["m00"], at_s=NOW_S - 20, value=at_point(spec, SLEEP))
            for spec in specs[30 - silent :]
        }
        before, plan = decide(here, before, replace(given, readings={**given.readings, **quiet}))
    assert plan is not None
    return plan


def worst_w(plan: Plan) -> int:
    return node_of(plan, "site").worst.watts


def test_the_silent_count_where_they_were_but_for_one_that_may_rise_at_once() -> None:
    plan = seen_until(6, shown_w=(35_300, 35_310))

    assert grant_of(plan, "m29").worst.watts == CEILING_W
    assert grant_of(plan, "m29").truth is Truth.STALE
    assert worst_w(plan) == 10 * 3_500 + 19 * 30 + CEILING_W


def test_of_many_silent_an_eighth_may_rise() -> None:
    some, more = seen_until(8, shown_w=(35_300, 35_310)), seen_until(9, shown_w=(35_300, 35_310))

    assert worst_w(some) == 10 * 3_500 + 19 * 30 + CEILING_W
    assert worst_w(more) == 10 * 3_500 + 18 * 30 + 2 * CEILING_W


def test_a_node_whose_machines_are_all_silent_may_be_switched_on_and_rise_as_one() -> None:
    behind = SPECS[:24] + tuple(replace(spec, node="breaker") for spec in SPECS[24:])
    tree = site(node("breaker"), limit_w=40_000, meter="m")

    all_but_one = seen_until(5, shown_w=(35_300, 35_310), here=tree, specs=behind)
    whole = seen_until(6, shown_w=(35_300, 35_310), here=tree, specs=behind)

    assert worst_w(all_but_one) == 10 * 3_500 + 19 * 30 + CEILING_W
    assert worst_w(whole) == 10 * 3_500 + 14 * 30 + 6 * CEILING_W


def test_what_a_meter_below_shows_of_the_silent_is_not_counted_off_again_above_it() -> None:
    behind = SPECS[:22] + tuple(replace(spec, node="breaker") for spec in SPECS[22:])
    tree = site(node("breaker", meter="b"), limit_w=40_000, meter="m")

    plan = seen_until(6, shown_w=(35_300, 35_310), here=tree, specs=behind, breaker_w=(239, 240))

    assert node_of(plan, "breaker").worst.watts == 7 * 30 + CEILING_W
    assert worst_w(plan) == 10 * 3_500 + 19 * 30 + CEILING_W


def test_load_that_is_no_machines_hides_no_room_that_the_silent_leave() -> None:
    fans = replace(HERE, nodes=(replace(HERE.nodes[0], fixed=Power(1_000)),))

    plan = seen_until(6, shown_w=(36_600, 36_610), here=fans)

    assert worst_w(plan) == 1_000 + 10 * 3_500 + 19 * 30 + CEILING_W


def test_of_the_silent_the_one_with_the_most_to_gain_may_rise() -> None:
    specs = (*SPECS[:26], replace(SPECS[26], ceiling=Power(6_000)), *SPECS[27:])

    plan = seen_until(6, shown_w=(35_300, 35_310), specs=specs)

    assert worst_w(plan) == 10 * 3_500 + 19 * 30 + 6_000


def test_machines_never_heard_count_for_no_more_than_one_of_them_while_the_meter_shows_none() -> None:
    state = running({spec.id: device(FULL if at < 10 else SLEEP) for at, spec in enumerate(SPECS[:26])})
    heard = [at_point(spec, FULL if at < 10 else SLEEP) for at, spec in enumerate(SPECS[:26])]
    plan: Plan | None = None
    for second in range(2):
        metered_w = {"m": 35_480 + 10 * second}
        given = inputs(*SPECS, now_s=NOW_S + second, readings=heard, metered_w=metered_w)
        state, plan = decide(HERE, state, given)

    assert plan is not None
    assert worst_w(plan) == 10 * 3_500 + 16 * 30 + CEILING_W


def test_machines_never_heard_rise_as_one_with_all_others_once_a_pool_is_back_that_was_gone() -> None:
    """A process starts while nobody has work, and three do not answer: they are idle as the others are."""
    world = World(HERE, [awake(spec) for spec in SPECS[:16]], noise=0.002)
    world.run(60)
    for machine in world.machines.values():
        machine.without_work, machine.idle_w = True, 400
    world.run(60)
    for name in ("m00", "m01", "m02"):
        world.machines[name].silent = True
        del world.readings[name]
    world.state = State()
    world.run(70)
    assert world.watts() < 8_000

    for machine in world.machines.values():
        machine.without_work = False
    began_s = world.now_s
    world.run(10)

    assert [breach for breach in world.breaches if breach[0] > began_s] == []
    assert world.watts() > 30_000


def test_of_those_that_run_at_their_ceiling_already_none_may_rise() -> None:
    top = SPECS[0].points[-1]
    specs = tuple(replace(spec, ceiling=top.power) for spec in SPECS[:10]) + SPECS[10:]
    mixed = {
        spec.id: device(FULL if at < 10 else SLEEP, at_s=NOW_S - (20 if at < 8 or at >= 24 else 1))
        for at, spec in enumerate(specs)
    }
    state, plan = running(mixed), None
    for second, watts in enumerate((35_300, 35_310)):
        heard = [at_point(spec, FULL if at < 10 else SLEEP) for at, spec in enumerate(specs)]
        given = inputs(*specs, now_s=NOW_S + second, readings=heard, metered_w={"m": watts})
        old = {
            name: replace(sample, at_s=NOW_S - 20)
            for name, sample in given.readings.items()
            if mixed[name].at_s == NOW_S - 20
        }
        state, plan = decide(HERE, state, replace(given, readings={**given.readings, **old}))

    assert plan is not None
    assert worst_w(plan) == 10 * 3_500 + 19 * 30 + CEILING_W


def test_one_silent_machine_counts_at_its_ceiling() -> None:
    assert worst_w(seen_until(1, shown_w=(35_300, 35_310))) == 10 * 3_500 + 19 * 30 + CEILING_W


def test_those_that_may_rise_take_the_margin_first() -> None:
    careful = replace(HERE, policy=replace(HERE.policy, margin=0.01))

    one = seen_until(1, shown_w=(35_300, 35_310, 35_400), here=careful)
    six = seen_until(6, shown_w=(35_300, 35_310, 35_400), here=careful)

    assert worst_w(one) == worst_w(six) == 10 * 3_500 + 19 * 30 + CEILING_W - 177


def test_what_the_meter_shows_beyond_all_that_is_known_is_one_of_the_silent_that_rises() -> None:
    quiet = worst_w(seen_until(6, shown_w=(35_300, 35_310)))
    risen = worst_w(seen_until(6, shown_w=(35_300, 35_310, 38_300)))

    assert 2_500 < risen - quiet < 3_000


def test_what_starting_machines_do_not_draw_yet_hides_no_draw_of_machines_that_were_never_heard() -> None:
    """Forty run, sixty start, and four were never heard, and run."""
    specs, sent_s = tuple(miner(f"m{at:03}") for at in range(104)), NOW_S - 9
    starting = device(FULL, Truth.ACKNOWLEDGED, worst_w=3_500, draw_w=600, since_s=sent_s, sent_s=sent_s)
    state = running({spec.id: device(FULL) if at < 40 else starting for at, spec in enumerate(specs[:100])})
    heard = [at_point(spec, FULL) for spec in specs[:40]]
    heard += [reading(spec.id, draw_w=600, setting_w=3_500) for spec in specs[40:100]]
    plan: Plan | None = None
    for second in range(2):
        metered_w = {"m": (40 + 4) * 3_500 + 60 * 600 + second}
        given = inputs(*specs, now_s=NOW_S + second, readings=heard, metered_w=metered_w)
        state, plan = decide(site(node("empty"), limit_w=500_000, meter="m"), state, given)

    assert plan is not None
    assert worst_w(plan) >= 0.99 * (100 + 4) * 3_500


def test_what_a_starting_machine_does_not_draw_yet_hides_no_draw_of_machines_that_were_heard_before() -> None:
    """Ten run, one starts, and no other can be raised."""
    specs = SPECS[:11] + tuple(replace(spec, points=(SLEEP,)) for spec in SPECS[11:])
    before = {spec.id: device(FULL if at < 10 else SLEEP) for at, spec in enumerate(specs[:24])}
    before |= {spec.id: device(SLEEP, at_s=NOW_S - 20) for spec in specs[24:]}
    before["m10"] = device(FULL, Truth.COMMANDED, draw_w=30, since_s=NOW_S - 2, sent_s=NOW_S - 2)
    here = site(limit_w=70_000, meter="m")

    plan = seen_until(6, shown_w=(35_990, 36_000), state=running(before), here=here, specs=specs)

    assert worst_w(plan) == 11 * 3_500 + 18 * 30 + CEILING_W


@pytest.mark.parametrize("shown_w", [(35_300,), (35_300, 35_300), (35_300, 100)])
def test_a_meter_that_stands_still_or_is_doubted_says_nothing_of_the_silent(shown_w: tuple[int, ...]) -> None:
    plan = seen_until(6, shown_w=shown_w)

    assert worst_w(plan) == 10 * 3_500 + 14 * 30 + 6 * CEILING_W


def test_a_machine_that_was_being_raised_when_it_fell_silent_counts_at_what_it_was_raised_to() -> None:
    raised: dict[str, DeviceState] = {
        spec.id: device(FULL) if at < 10 else device(FULL, Truth.COMMANDED, draw_w=30, sent_s=NOW_S - 30)
        for at, spec in enumerate(SPECS)
    }
    plan = seen_until(6, shown_w=(35_300, 35_310), state=running(raised))

    assert worst_w(plan) >= 10 * 3_500 + 6 * 3_500


@pytest.mark.parametrize(("limit_w", "expected"), [(3_730, set()), (3_729, {"a"})])
def test_a_silent_machine_is_in_the_way_only_of_a_limit_that_cannot_be_kept(
    limit_w: int, expected: set[str]
) -> None:
    here = site(node("pdu", limit_w=limit_w), node("other"))
    specs = (miner("a", "pdu"), miner("b", "pdu"), miner("c", "other"))
    now = inputs(*specs, readings=[at_point(specs[1], FULL)])
    state = running(
        {"a": device(FULL, at_s=NOW_S - 60), "b": device(FULL), "c": device(FULL, at_s=NOW_S - 60)}
    )

    after, plan = decide(here, state, now)

    known = after.mirror
    assert known is not None
    rows = in_the_way(known.ground.tree, known.fleet, known.columns, ~plan.nodes.feasible)
    assert {known.fleet.specs[row].id for row in rows.tolist()} == expected


@pytest.mark.parametrize(("limit_w", "drawn_w"), [(3_730, 3_500 + 30), (3_729, 30 + 30)])
def test_a_machine_that_is_not_heard_is_told_to_stop_where_all_others_at_their_lowest_are_too_much(
    limit_w: int, drawn_w: int
) -> None:
    """It may well hear: its answers are lost, or make no sense. It counts at its worst until it is seen."""
    world = World(site(limit_w=9_000), [awake(miner("a")), awake(miner("b"))])
    world.run(5)
    world.machines["a"].unheard = True
    world.run(30)

    world.site = site(limit_w=limit_w)
    plan = world.run(10)

    assert world.watts() == drawn_w
    assert grant_of(plan, "a").truth is Truth.STALE
    assert grant_of(plan, "a").worst == miner().ceiling


def test_a_machine_that_was_told_to_stop_unheard_starts_again_once_it_is_heard_and_there_is_room() -> None:
    world = World(site(limit_w=9_000), [awake(miner("a")), awake(miner("b"))])
    world.run(5)
    world.machines["a"].unheard = True
    world.run(30)
    world.site = site(limit_w=1_000)
    world.run(60)

    world.machines["a"].unheard, world.site = False, site(limit_w=9_000)
    plan = world.run(60)

    assert grant_of(plan, "a").truth is Truth.CONFIRMED
    assert world.watts() == 2 * 3_500


def test_who_does_not_hear_is_told_to_stop_no_more_often_than_who_does_not_obey() -> None:
    world = World(site(limit_w=9_000, retry_s=5.0), [awake(miner("a")), awake(miner("b"))])
    world.run(5)
    world.machines["a"].silent = True
    world.site = site(limit_w=1_000, retry_s=5.0)

    world.run(60)

    told = [command for plan in world.plans for command in plan.commands if command.device == "a"]
    assert 5 <= len(told) <= 15


@pytest.mark.parametrize(
    ("meter", "shares", "raised"), [("b", 0.0, True), ("b", 1.0, False), (None, 0.0, False)]
)
def test_machines_that_their_own_meter_shows_to_be_without_power_are_no_network_fault(
    meter: str | None, shares: float, raised: bool
) -> None:
    """A breaker opens by itself; others may rise meanwhile, and what is dark still counts at its worst."""
    here = site(node("pdu", limit_w=40_000, meter=meter), limit_w=24_000, meter="m", start_grace_s=5.0)
    dark = [awake(miner(f"d{at}", node="pdu")) for at in range(4)]
    world = World(here, [*dark, asleep(miner("a")), asleep(miner("b"))])
    world.site = replace(here, nodes=(replace(here.root, limit=Limit(Power(15_000))), *here.nodes[1:]))
    world.run(20)
    for machine in dark:
        machine.silent, machine.share = True, shares
    world.run(30)

    world.site = here
    plan = world.run(20)

    assert all(grant_of(plan, machine.spec.id).truth is Truth.STALE for machine in dark)
    assert node_of(plan, "pdu").worst.watts == 4 * CEILING_W
    assert (AlarmKind.NETWORK_FAULT in {alarm.kind for alarm in plan.alarms}) is not raised
    assert (world.machines["a"].at == FULL) is raised


def test_tick_by_tick_a_silent_machine_counts_where_it_was_until_it_can_have_restarted() -> None:
    """Nothing is heard of it at that moment: time alone makes the difference."""
    world = World(site(limit_w=9_000), [awake(miner("a", boots_s=60.0)), awake(miner("b"))])
    world.run(30)
    world.machines["a"].silent = True

    before, after = world.run(50), world.run(20)

    assert grant_of(before, "a").worst == FULL.power
    assert grant_of(after, "a").worst == miner().ceiling


@pytest.mark.parametrize(
    ("given_up_s", "sent_s", "draw_w", "metered_w", "dark"),
    [
        (900.0, 900.0, 0, 0, True),
        (900.0, 900.0, 0, 20, False),
        (900.0, 900.0, 30, 0, False),
        (900.0, 950.0, 0, 0, False),
        (-math.inf, -math.inf, 0, 0, False),
    ],
    ids=["switched off", "others sleep", "draws", "told again", "asleep"],
)
def test_who_was_switched_off_does_not_answer_for_a_place_whose_meter_shows_nothing(
    given_up_s: float, sent_s: float, draw_w: int, metered_w: int, dark: bool
) -> None:
    off = device(SLEEP, draw_w=draw_w, given_up_s=given_up_s, sent_s=sent_s)
    silent = device(SLEEP, Truth.STALE, at_s=NOW_S - 100)
    here = site(node("row", meter="m"))
    state = running({"off": off, "silent": silent})
    known = inputs(miner("off", "row"), miner("silent", "row"), readings=[reading("off", draw_w, 30)])
    heard = {**known.readings, "silent": Sample(NOW_S - 100, reading("silent", 30, 30))}
    seen = look(here, state, replace(known, readings=heard))

    found = dark_nodes(seen.tree, seen.fleet, seen.columns, {1: metered_w})

    assert found.tolist() == [False, dark]


# Machines without power, that have to boot before they draw more


def half_dark(boots_s: float, **site_is: Any) -> World:
    """Eight machines below two breakers, of which the site may feed four. One of the breakers opened a minute
    ago."""
    here = site(*(node(name, meter=f"m-{name}") for name in "ab"), limit_w=16_000, meter="m", **site_is)
    machines = [awake(miner(f"{name}{at}", name, boots_s=boots_s)) for name in "ab" for at in range(4)]
    world = World(here, machines)
    world.run(60)
    for name, machine in world.machines.items():
        if name.startswith("a"):
            machine.silent, machine.share = True, 0.0
    world.run(60)
    return world


def test_what_machines_without_power_drew_goes_to_others() -> None:
    world = half_dark(boots_s=30.0)

    assert world.watts("b") == 4 * FULL.power.watts
    assert node_of(world.plan, "a").worst.watts <= 4 * SLEEP.power.watts


def test_others_come_down_while_machines_boot_behind_a_breaker_that_was_closed() -> None:
    world = half_dark(boots_s=30.0)
    back = [machine for name, machine in world.machines.items() if name.startswith("a")]
    world.breaches.clear()

    for machine in back:
        machine.share, machine.at = 1.0, SLEEP
    world.run(30)
    for machine in back:
        machine.silent = False
        machine.go(FULL, world.now_s)
    world.run(60)

    assert world.breaches == []
    assert world.watts() >= 14_000


@pytest.mark.parametrize(
    ("boots_s", "ramp_w"), [(0.0, None), (14.0, None), (30.0, 900)], ids=["at once", "too soon", "ramp"]
)
def test_machines_without_power_count_at_their_worst_where_others_could_not_come_down_in_time(
    boots_s: float, ramp_w: int | None
) -> None:
    world = half_dark(boots_s=boots_s)
    if ramp_w is not None:
        nodes = (replace(world.site.root, ramp_down_per_s=Limit(Power(ramp_w))), *world.site.nodes[1:])
        world.site = replace(world.site, nodes=nodes)
        world.run(5)

    assert node_of(world.plan, "a").worst.watts == 4 * CEILING_W


def test_a_ramp_down_that_leaves_the_time_keeps_nothing_free_for_machines_without_power() -> None:
    world = half_dark(boots_s=30.0)
    nodes = (replace(world.site.root, ramp_down_per_s=Limit(Power(3_000))), *world.site.nodes[1:])

    world.site = replace(world.site, nodes=nodes)
    world.run(5)

    assert node_of(world.plan, "a").worst.watts <= 4 * SLEEP.power.watts


def test_machines_without_power_count_at_their_worst_once_their_meter_was_not_read_for_a_while() -> None:
    world = half_dark(boots_s=30.0, meter_stale_after_s=60.0)

    world.dead_meters.add("m-a")
    soon, later = world.run(14), world.run(4)

    assert node_of(soon, "a").worst.watts <= 4 * SLEEP.power.watts
    assert node_of(later, "a").worst.watts == 4 * CEILING_W
