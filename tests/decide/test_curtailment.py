"""Whole ticks at prices that hover, jump and turn negative: who runs for money, and how often it changes."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from controller.decide.words import Reason
from controller.domain.devices import DeviceSpec, OperatingPoint
from controller.domain.power import Power
from controller.domain.site import Prices, Site, Thresholds
from tests.decide.builders import FULL, event, miner, reasons, site
from tests.decide.world import World, asleep, awake, prices

BREAK_EVEN = 150 * 0.05 / 24 / 2.4
"""USD per kWh at which the best point of a miner, its low one, earns what it costs."""
BAND = Thresholds(stop_below=0.0, start_above=0.01, least_on_s=120.0, least_off_s=60.0)


def place(band: Thresholds = BAND, limit_w: int | None = None) -> Site:
    plain = site(limit_w=limit_w)
    return replace(plain, policy=replace(plain.policy, profit=band))


def is_awake(world: World) -> bool:
    return world.machines["m"].at.power.watts > 30


def test_a_price_that_hovers_around_break_even_changes_a_machine_only_after_its_least_times() -> None:
    world = World(place(), [awake(miner())])
    changed_s: list[float] = []
    was = True

    for second in range(1_200):
        world.prices = prices(usd_per_kwh=BREAK_EVEN + 0.03 * math.sin(second / 5))
        world.tick()
        if is_awake(world) is not was:
            was = not was
            changed_s.append(world.now_s)

    steps = [later - sooner for sooner, later in pairwise(changed_s)]
    assert changed_s
    assert min(steps[::2]) >= 60
    assert min(steps[1::2]) >= 120


def test_within_the_band_a_machine_that_runs_goes_on_and_one_that_was_stopped_stays_down() -> None:
    world = World(place(), [awake(miner())])
    within = prices(usd_per_kwh=BREAK_EVEN - 0.005)

    world.prices = within
    world.run(200)
    runs = is_awake(world)
    world.prices = prices(usd_per_kwh=BREAK_EVEN + 0.05)
    world.run(200)
    stopped = is_awake(world)
    world.prices = within
    world.run(200)
    stays = is_awake(world)
    world.prices = prices(usd_per_kwh=BREAK_EVEN - 0.02)
    world.run(60)

    assert (runs, stopped, stays, is_awake(world)) == (True, False, False, True)
    assert reasons(world.plans[-100])["m"] is Reason.UNPROFITABLE


def test_a_limit_may_lower_a_machine_at_any_moment_of_its_least_time() -> None:
    world = World(place(limit_w=4_000), [awake(miner())])
    world.run(5)

    world.events = (event(limit_w=100),)
    world.run(15)

    assert world.watts() <= 100


@pytest.mark.parametrize("started_ago_s", [10, 20, 40])
def test_a_limit_that_comes_while_machines_start_leaves_those_that_hash_and_stops_the_others(
    started_ago_s: int,
) -> None:
    """They dwell, and draw nothing yet: kept instead, they leave a site that stands still for minutes."""
    spec = replace(miner(points=(miner().points[0], miner().points[2])), dwell_s=60.0, settle_up_s=180.0)
    hashing = [replace(spec, id=f"hashing-{at}") for at in range(6)]
    starting = [replace(spec, id=f"starting-{at}") for at in range(6)]
    world = World(site(), [*(awake(it) for it in hashing), *(asleep(it, rise_s=100.0) for it in starting)])
    hold_w, released_s = 6 * 3_500 + 6 * 30, world.now_s + 61
    world.events = (event("first", start_s=world.now_s, end_s=released_s, limit_w=hold_w),)
    world.run(61 + started_ago_s)
    began = [name for name, machine in world.machines.items() if machine.at.power.watts > 30]

    world.events = (event("second", start_s=world.now_s, end_s=world.now_s + 1_800, limit_w=hold_w),)
    world.run(20)

    runs = [name for name, machine in world.machines.items() if machine.at.power.watts > 30]
    assert len(began) == 12
    assert runs == [it.id for it in hashing]


def test_a_start_is_not_called_back_for_a_better_machine_while_it_dwells() -> None:
    """Nobody has to give watts for a limit, so what is not drawn yet is no reason to take it."""
    spec = replace(miner(points=(miner().points[0], miner().points[2])), dwell_s=60.0, settle_up_s=180.0)
    better = replace(spec, id="better", points=(spec.floor, replace(spec.points[1], rate=600.0)), dwell_s=0.0)
    world = World(site(limit_w=3_600), [asleep(spec, rise_s=100.0)])
    while not is_awake(world):
        world.tick()
    world.run(5)

    world.add(asleep(better))
    world.run(40)
    stays = is_awake(world)
    world.run(60)

    assert (stays, is_awake(world)) == (True, False)


def test_of_two_machines_the_one_that_is_only_held_on_gives_its_watts_first() -> None:
    old = miner("old", points=(miner().points[0], replace(miner().points[2], rate=100.0)))
    world = World(place(), [awake(old), awake(miner())])
    world.prices = prices(usd_per_kwh=0.08)
    world.run(5)

    world.events = (event(limit_w=3_600),)
    world.run(15)

    assert (world.machines["old"].at.name, world.machines["m"].at.name) == ("sleep", "full")


def kind(name: str, watts: int, ths_per_kw: float) -> list[DeviceSpec]:
    """Six miners of one working point."""
    on = OperatingPoint(name="on", power=Power(watts), rate=ths_per_kw * watts / 1000)
    spec = miner(name, points=(miner().points[0], on), ceiling=on.power)
    return [replace(spec, id=f"{name}-{at}") for at in range(6)]


def at_work(world: World) -> list[str]:
    return [name for name, machine in world.machines.items() if machine.at.power.watts > 30]


@pytest.mark.parametrize("worse_w", [3_000, 4_000])
def test_of_machines_that_are_held_to_run_at_a_loss_those_that_lose_most_give_their_watts(
    worse_w: int,
) -> None:
    better = kind("better", 3_500, 47.0)
    world = World(place(replace(BAND, stop_below=-0.2)), map(awake, [*kind("worse", worse_w, 27.0), *better]))
    world.prices = prices(usd_per_kwh=0.15)
    world.run(5)

    world.events = (event(limit_w=22_000),)
    world.run(15)

    assert at_work(world) == [spec.id for spec in better]


@pytest.mark.parametrize("worse_w", [3_000, 4_000])
def test_of_machines_that_ran_before_a_limit_those_that_earn_more_come_back_first(worse_w: int) -> None:
    """Neither earns back its start within the horizon: without the limit's end both would be left alone."""
    better = kind("better", 3_500, 32.0)
    world = World(place(), map(awake, [*kind("a-worse", worse_w, 29.0), *better]))
    world.prices = prices(usd_per_kwh=0.06)
    world.run(150)

    ends_s = world.now_s + 60
    world.events = (
        event("first", start_s=world.now_s, end_s=ends_s, limit_w=400),
        event("second", start_s=ends_s, limit_w=22_000),
    )
    world.run(200)

    assert at_work(world) == [spec.id for spec in better]


@pytest.mark.parametrize("usd_per_kwh", [-0.02, -5.0])
def test_a_negative_price_wakes_a_machine_that_hashing_does_not_pay(usd_per_kwh: float) -> None:
    world = World(place(), [asleep(miner())])
    world.prices = prices(usd_per_ths_day=0.0)
    world.run(100)
    before = is_awake(world)

    world.prices = prices(usd_per_ths_day=0.0, usd_per_kwh=usd_per_kwh)
    world.run(10)

    assert (before, world.machines["m"].at.name) == (False, "full")


def test_a_set_point_is_met_by_machines_that_earn_nothing_and_were_stopped_for_it() -> None:
    world = World(place(), [awake(miner())])
    world.prices = prices(usd_per_ths_day=0.0)
    world.run(200)
    stopped = is_awake(world)

    world.events = (event(target_w=3_500),)
    world.run(10)

    assert (stopped, world.watts()) == (False, 3_500)


@pytest.mark.parametrize(("lasts_s", "old", "young"), [(240.0, "full", "low"), (math.inf, "sleep", "full")])
def test_a_short_event_lowers_machines_where_a_long_one_stops_the_worst(
    lasts_s: float, old: str, young: str
) -> None:
    worst = miner("old", points=(miner().points[0], replace(miner().points[2], rate=140.0)))
    world = World(place(), [awake(worst), *(awake(miner(name)) for name in "abc")])
    world.run(5)

    world.events = (event(limit_w=10_700, start_s=world.now_s, end_s=world.now_s + lasts_s),)
    world.run(15)

    assert world.machines["old"].at.name == old
    assert {world.machines[name].at.name for name in "abc"} == {young}


@pytest.mark.parametrize("band", [BAND, Thresholds()])
def test_machines_that_earn_a_little_come_back_after_an_event(band: Thresholds) -> None:
    """Their start costs more than they earn in a quarter of an hour, but a limit had stopped them."""
    world = World(place(band), [awake(miner(f"m{at}")) for at in range(4)])
    world.prices = prices(usd_per_kwh=0.9 * BREAK_EVEN)
    world.run(150)
    before_w = world.watts()

    world.events = (event(limit_w=200, start_s=world.now_s, end_s=world.now_s + 60),)
    world.run(50)
    during_w = world.watts()
    world.run(10)
    world.run(200)

    assert during_w <= 200
    assert world.watts() >= 0.95 * before_w


def test_a_machine_that_was_stopped_for_money_must_earn_back_its_start() -> None:
    world = World(place(Thresholds()), [awake(miner())])
    world.prices = prices(usd_per_kwh=1.1 * BREAK_EVEN)
    world.run(150)
    stopped = is_awake(world)

    world.prices = prices(usd_per_kwh=0.95 * BREAK_EVEN)
    world.run(200)
    little = is_awake(world)
    world.prices = prices(usd_per_kwh=0.7 * BREAK_EVEN)
    world.run(60)

    assert (stopped, little, is_awake(world)) == (False, False, True)


def test_a_machine_that_was_stopped_for_money_runs_again_above_the_band_though_its_start_pays_late() -> None:
    band = Thresholds(start_above=0.005, least_on_s=900.0, least_off_s=900.0)
    world = World(place(band), [awake(miner())])
    world.prices = prices(usd_per_kwh=BREAK_EVEN + 0.05)
    world.run(1_000)
    stopped = is_awake(world)
    world.prices = prices(usd_per_kwh=BREAK_EVEN - 0.004)
    world.run(1_000)
    little = is_awake(world)
    world.prices = prices(usd_per_kwh=BREAK_EVEN - 0.006)
    world.run(200)

    assert (stopped, little, is_awake(world)) == (False, False, True)


def test_machines_stop_for_an_event_that_pays_more_for_it_than_hashing_does() -> None:
    world = World(place(), [awake(miner())])
    world.run(30)

    world.prices = Prices(usd_per_kwh_reduced=1.0)
    world.events = (event(limit_w=20_000, start_s=world.now_s),)
    world.run(200)

    assert not is_awake(world)


@pytest.mark.parametrize(("limit_w", "runs"), [(3_999, False), (4_000, True), (9_000, True)])
def test_a_limit_that_leaves_all_that_the_site_may_draw_asks_for_no_reduction(
    limit_w: int, runs: bool
) -> None:
    """As the envelope of a network operator that has nothing to complain of."""
    world = World(place(limit_w=4_000), [awake(miner())])
    world.run(30)

    world.prices = Prices(usd_per_kwh_reduced=1.0)
    world.events = (event(limit_w=limit_w, start_s=world.now_s),)
    world.run(200)

    assert is_awake(world) is runs


def test_nobody_pays_for_a_reduction_that_the_site_asked_of_itself() -> None:
    world = World(place(), [awake(miner())])
    world.run(30)

    world.prices = Prices(usd_per_kwh_reduced=1.0)
    world.events = (event(limit_w=20_000, start_s=world.now_s, is_own=True),)
    world.run(200)

    assert is_awake(world)


def test_what_the_grants_earn_is_not_less_for_what_an_event_pays_besides() -> None:
    world = World(place(), [awake(miner())])
    world.prices = Prices(usd_per_kwh_reduced=0.05)
    world.run(30)
    before_usd = world.plan.value_per_hour

    world.events = (event(limit_w=20_000, start_s=world.now_s),)
    world.run(30)

    assert world.watts() == 3_500
    assert world.plan.value_per_hour == pytest.approx(before_usd)


def test_what_the_grants_earn_under_a_set_point_is_less_what_their_energy_costs() -> None:
    """Nobody said that the set-point is paid for: the supplier bills what is drawn."""
    world = World(place(), [awake(miner())])
    world.run(30)
    before_usd = world.plan.value_per_hour

    world.events = (event(target_w=3_500),)
    world.run(30)

    assert world.watts() == 3_500
    assert world.plan.value_per_hour == pytest.approx(before_usd)


def test_under_a_set_point_the_price_of_its_event_is_what_energy_costs() -> None:
    world = World(place(), [awake(miner())])
    world.events = (event(target_w=3_500, usd_per_kwh=0.02),)
    world.run(30)

    assert world.plan.value_per_hour == pytest.approx(200 * 0.05 / 24 - 3.5 * 0.02)


def test_a_machine_that_would_be_told_otherwise_but_for_its_least_time_is_said_to_dwell() -> None:
    dear, cheap = prices(usd_per_kwh=BREAK_EVEN + 0.05), prices(usd_per_kwh=BREAK_EVEN - 0.05)
    within = prices(usd_per_kwh=BREAK_EVEN - 0.005)
    world = World(place(), [awake(miner())])
    said: list[tuple[bool, Reason]] = []

    for now, seconds in ((cheap, 30), (dear, 60), (dear, 50), (cheap, 20), (within, 15), (cheap, 60)):
        world.prices = now
        world.run(seconds)
        said.append((is_awake(world), reasons(world.plan)["m"]))

    assert said == [
        (True, Reason.FULL),
        (True, Reason.DWELLING),
        (False, Reason.UNPROFITABLE),
        (False, Reason.DWELLING),
        (False, Reason.UNPROFITABLE),
        (True, Reason.FULL),
    ]


def test_a_machine_at_its_top_that_loses_money_is_not_full_while_its_dwell_keeps_it_there() -> None:
    world = World(place(Thresholds()), [asleep(miner(points=(miner().points[0], FULL), dwell_s=60.0))])
    while not is_awake(world):
        world.tick()
    world.prices = prices(usd_per_kwh=5.0)

    world.run(40)

    assert (is_awake(world), reasons(world.plan)["m"]) == (True, Reason.DWELLING)
