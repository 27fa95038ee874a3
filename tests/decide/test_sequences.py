"""Sequences after which the core once counted too little, kept watts for nothing, or never came to rest."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from controller.decide import telling
from controller.decide.device import DeviceState, Stuck
from controller.decide.inputs import Sample
from controller.decide.invariants import BrokenInvariantError, check
from controller.decide.step import step
from controller.decide.words import AlarmKind, Reason, Truth
from controller.domain.devices import Acknowledged, Failed, MeterReading, OperatingPoint, SetPoint
from controller.domain.power import Power
from tests.decide.builders import (
    FULL,
    LOW,
    NOW_S,
    SLEEP,
    at_point,
    device,
    event,
    gpu,
    grant_of,
    inputs,
    miner,
    node,
    node_of,
    reading,
    running,
    site,
)
from tests.decide.builders import told as told_by
from tests.decide.observing import see, told
from tests.decide.steps import decide
from tests.decide.world import World, asleep, awake

pytestmark = pytest.mark.long


def point(watts: int, rate: float) -> OperatingPoint:
    return OperatingPoint(name=f"{watts}w", power=Power(watts), rate=rate)


def test_a_miner_that_lied_once_and_draws_more_than_its_points_say_is_not_sent_up_and_down_for_ever() -> None:
    """What it draws too much is learned, as of any other: else it counts for less wherever it is not."""
    modest = miner("a", points=(SLEEP, point(2_135, 111.7), point(3_050, 148.6)), dwell_s=20.0)
    hungry = miner("b", points=(SLEEP, point(2_380, 134.6), point(3_400, 179.0)), dwell_s=20.0)
    world = World(site(limit_w=4_596), [awake(modest), awake(hungry, share=1.08)])
    world.events = (event("e", end_s=world.now_s + 60, limit_w=200),)
    world.machines["b"].lies = True
    world.run(40)
    world.machines["b"].lies = False
    world.run(400)
    lies, before = world.state.devices["b"].lies, world.changes()

    world.run(400)

    assert lies > 0
    assert world.changes() - before == 0


def test_a_limit_is_that_of_the_point_nearest_to_it_where_points_lie_close_together() -> None:
    """A GPU of 1,200 W in steps of 25 W: two percent are more than half a step."""
    close = gpu(
        points=tuple(point(watts, watts / 1_200) for watts in range(200, 1_201, 25)), ceiling=Power(1_200)
    )
    top, below = close.points[-1], close.points[-2]
    lowered = telling.commanded(close, device(top, draw_w=90), below, NOW_S - 2)

    met = see(DeviceState(), reading("g", draw_w=90, setting_w=1_200), spec=close)
    unmoved = see(lowered, reading("g", draw_w=90, setting_w=1_200), spec=close)

    assert (met.point, met.worst) == (top, Power(1_200))
    assert (unmoved.truth, unmoved.worst) == (Truth.COMMANDED, Power(1_200))


def test_a_liar_without_work_that_comes_back_from_silence_counts_for_all_that_work_would_have_it_draw() -> (
    None
):
    liar = told(SLEEP, FULL, NOW_S - 100, truth=Truth.LYING, at_s=NOW_S - 60)
    idle = reading(draw_w=400, setting_w=30)
    silent = see(liar, idle, heard_s=NOW_S - 60, now_s=NOW_S - 5)

    back = see(silent, idle)
    falling = see(silent, reading(draw_w=30, setting_w=30))

    assert silent.truth is Truth.STALE
    assert (back.point, back.worst) == (SLEEP, Power(3_500))
    assert falling.worst == Power(30)


def test_watts_that_never_rose_do_not_show_that_a_raise_was_called_back() -> None:
    """It reports no limit, and the order that called it back may have been lost: it may still rise."""
    raised = told(FULL, LOW, NOW_S - 9, truth=Truth.ACKNOWLEDGED)
    called_back = telling.commanded(miner(), raised, LOW, NOW_S - 2)
    as_before = reading(draw_w=2_400)

    lost = see(called_back, as_before, outcome=Failed("timeout"))
    heard = see(called_back, as_before, outcome=Acknowledged())
    reports = see(called_back, reading(draw_w=2_399, setting_w=2_400))
    later = see(lost, as_before, heard_s=NOW_S + 59, now_s=NOW_S + 59)

    assert (lost.truth, lost.worst) == (Truth.COMMANDED, Power(3_500))
    assert (heard.truth, heard.worst) == (Truth.CONFIRMED, Power(2_400))
    assert (reports.truth, reports.worst) == (Truth.CONFIRMED, Power(2_400))
    assert (later.truth, later.worst) == (Truth.CONFIRMED, Power(2_400))


@pytest.mark.parametrize("fault", ["refuses", "deaf", "lies"])
def test_a_sleeping_miner_that_cannot_be_started_does_not_keep_its_watts_from_others_for_ever(
    fault: str,
) -> None:
    """Whether it says yes, no, or nothing: a machine whose write access was closed refuses for good."""
    better = tuple(replace(at, rate=at.rate * 1.3) for at in miner().points)
    asleep_still, other = asleep(miner("a", points=better)), awake(miner("b"))
    other.at = LOW
    setattr(asleep_still, fault, True)
    world = World(site(limit_w=6_000), [asleep_still, other])

    world.run(400)

    assert (other.at, world.state.devices["a"].worst) == (FULL, SLEEP.power)


def kept_low(fault: str, *, tells_setting: bool) -> World:
    """Room for one of two miners at full: `a` is better, runs at low and does not go up."""
    better = tuple(replace(at, rate=at.rate * 1.3) for at in miner().points)
    stays, other = awake(miner("a", points=better)), awake(miner("b"))
    stays.at, other.at = better[1], LOW
    stays.tells_setting = tells_setting
    setattr(stays, fault, True)
    return World(site(limit_w=6_000), [stays, other])


@pytest.mark.parametrize("tells_setting", [True, False])
@pytest.mark.parametrize("fault", ["refuses", "deaf", "lies"])
def test_a_running_miner_that_does_not_go_up_does_not_keep_the_watts_for_that_from_others_for_ever(
    fault: str, tells_setting: bool
) -> None:
    world = kept_low(fault, tells_setting=tells_setting)

    world.run(200)
    before = len(world.plans)
    world.run(700)

    assert (world.machines["b"].at, world.state.devices["a"].worst) == (FULL, LOW.power)
    assert {grant_of(plan, "a").reason for plan in world.plans[before:]} == {Reason.RESTING}
    assert [plan.commands for plan in world.plans[before:] if plan.commands] == []


def test_a_miner_that_did_not_go_up_is_told_to_again_after_a_quarter_of_an_hour() -> None:
    world = kept_low("refuses", tells_setting=True)
    world.run(200)
    world.machines["a"].refuses = False

    world.run(800)

    assert (world.machines["a"].at.name, world.machines["b"].at) == ("full", LOW)


def test_a_raise_that_was_called_back_counts_until_it_may_be_over_though_nobody_wants_its_watts() -> None:
    """It reports no limit, hears the raise late and the call back never: to forgive it would free watts that
    it may yet take."""
    late, other = awake(miner("a")), awake(miner("b"))
    late.at = other.at = LOW
    late.tells_setting, late.deaf = False, True
    world = World(site(limit_w=6_000), [late, other])
    world.events = (event("e", start_s=world.now_s + 6, limit_w=5_000),)
    world.run(40)
    called_back = world.state.devices["a"].point

    late.go(FULL, world.now_s)
    world.run(40)

    assert called_back == LOW
    assert world.breaches == []


def freeze_at_the_draw_of_an_event(world: World, seconds: int) -> None:
    """Beside 9 kW that no machine claims; the event ends, and machines come back."""
    world.other_w["site"] = 9_000.0
    world.events = (event("e", start_s=world.now_s + 150, end_s=world.now_s + 300, limit_w=60_000),)
    world.run(290)
    frozen_at = MeterReading(meter="m", power=world.meters["m"].value.power)
    world.dead_meters.add("m")
    world.breaches.clear()
    for _ in range(seconds):
        world.meters["m"] = Sample(world.now_s + 1.0, frozen_at)
        world.tick()


def test_a_meter_that_stands_still_below_what_moving_meters_below_it_show_does_not_free_what_it_taught() -> (
    None
):
    """The site's meter is stuck at the draw of an event; the hall's shows that all is back."""
    here = site(node("hall", meter="h"), limit_w=75_000, meter="m")
    world = World(here, [awake(miner(f"m{at:02}", "hall")) for at in range(20)], noise=0.002)

    freeze_at_the_draw_of_an_event(world, 200)

    assert world.breaches == []
    assert world.watts() > 70_000
    assert node_of(world.plan, "site").metered is None


def test_what_a_meter_taught_is_kept_where_machines_rise_while_it_stands_still() -> None:
    """The only meter froze at the draw of an event: 9 kW that no machine claims are there after it, too."""
    world = World(
        site(limit_w=75_000, meter="m"), [awake(miner(f"m{at:02}")) for at in range(20)], noise=0.002
    )

    freeze_at_the_draw_of_an_event(world, 300)

    assert world.breaches == []
    assert world.watts() > 70_000
    assert [(alarm.kind, alarm.subject) for alarm in world.plan.alarms] == [(AlarmKind.METER_STALE, "m")]


def test_a_machine_that_counts_for_more_than_any_point_does_not_stop_all_raises_below_a_ramp() -> None:
    """It lied about its limit at 4,900 W, more than a ramp saves up for the largest machine."""
    better = tuple(replace(at, rate=at.rate * 1.3) for at in miner().points)
    specs = (miner("a", points=better), miner("b"))
    caught = device(SLEEP, stuck=Stuck(SLEEP.power, Power(4_900), NOW_S - 1))
    state = running({"a": caught, "b": device(SLEEP)})
    here = site(limit_w=20_000, ramp_up_w=500)

    first: dict[str, str] = {}
    for second in range(60):
        given = inputs(*specs, now_s=NOW_S + second, readings=[at_point(spec, SLEEP) for spec in specs])
        state, plan = decide(here, state, given)
        first = first or told_by(plan)

    assert first == {"a": "full"}


def test_a_plan_that_tells_one_device_two_things_or_what_it_does_not_count_is_not_sent() -> None:
    here, specs = site(limit_w=7_000), (miner("a"), miner("b"), miner("c"))
    before = running({"a": device(FULL), "b": device(FULL), "c": device(SLEEP)})
    given = inputs(
        *specs, readings=[at_point(specs[0], FULL), at_point(specs[1], FULL), at_point(specs[2], SLEEP)]
    )
    after, plan = step(here, before, given)
    twice = (SetPoint(device="a", point=LOW), SetPoint(device="a", point=SLEEP))
    unheard = (*plan.commands, SetPoint(device="c", point=FULL))

    with pytest.raises(BrokenInvariantError, match="a is told two things at once"):
        check(here, before, given, after, replace(plan, commands=twice))
    with pytest.raises(BrokenInvariantError, match="c is told full and counts 30 W at worst"):
        check(here, before, given, after, replace(plan, commands=unheard))


def test_a_miner_that_was_started_while_its_pool_is_gone_is_no_liar_for_being_read_every_few_seconds() -> (
    None
):
    idle = asleep(miner("a"))
    world = World(site(limit_w=5_000), [idle], poll_s=5.0)
    while not world.tick().commands:
        pass
    idle.claims_w = 400

    truths = {grant.truth for _ in range(100) for grant in world.tick().grants}

    assert Truth.LYING not in truths
    assert world.state.devices["a"].lies == 0


def test_a_miner_that_took_its_limit_and_draws_too_little_is_told_again_rarely_and_ever_less_often() -> None:
    """Firmware that lost a limit on its way in comes up; one that cannot is not made to retune for ever."""
    short = awake(miner("a", restart_s=120.0, dwell_s=60.0))
    short.share = 0.7
    well, idle = awake(miner("b")), awake(miner("c"))
    idle.claims_w = 400
    world = World(site(limit_w=12_000), [short, well, idle], poll_s=5.0)

    world.run(5_400)

    told_s = [
        plan.now_s - NOW_S for plan in world.plans for command in plan.commands if command.device == "a"
    ]
    between_s = [after - before for before, after in pairwise([0.0, *told_s])]
    assert [round(pause_s, -2) for pause_s in between_s] == [100, 500, 1_900]


def test_a_miner_that_comes_up_when_it_is_told_again_is_where_it_should_be() -> None:
    short = awake(miner("a"))
    short.claims_w = 2_400
    world = World(site(limit_w=5_000), [short])
    world.run(110)
    untold = [command for plan in world.plans for command in plan.commands]
    world.run(20)
    told_again = [command.point for plan in world.plans for command in plan.commands]
    short.claims_w = None
    world.run(100)

    assert (untold, told_again) == ([], [FULL])
    assert world.state.devices["a"].truth is Truth.CONFIRMED


@pytest.mark.parametrize(
    ("tells_setting", "told_s"),
    [(True, [5, 45, 125, 285, 605, 1_245]), (False, [5, 25, 65, 145, 305, 625, 1_265])],
)
def test_a_miner_that_took_its_limit_and_draws_too_much_is_told_again_ever_less_often(
    tells_setting: bool, told_s: list[int]
) -> None:
    """It counts for what it draws, and an alarm says so."""
    hungry, other = awake(miner("a"), share=1.15), awake(miner("b"))
    hungry.tells_setting = tells_setting
    world = World(site(limit_w=8_000), [hungry, other], poll_s=5.0)

    world.run(1_800)

    found_s = [plan.now_s - NOW_S for plan in world.plans if told_by(plan) == {"a": "full"}]
    assert found_s == [pytest.approx(at_s, abs=6) for at_s in told_s]
    assert {grant_of(plan, "a").worst for plan in world.plans[5:]} == {Power(4_025)}
    assert [alarm.detail for alarm in world.plan.alarms] == ["told full, draws 4025 W"]


def test_a_miner_that_draws_too_much_is_tried_lower_after_a_quarter_of_an_hour_where_that_is_worth_more() -> (
    None
):
    better = tuple(replace(at, rate=at.rate * 1.3) for at in miner().points)
    hungry, other = awake(miner("a"), share=1.15), awake(miner("b", points=better))
    world = World(site(limit_w=8_000), [hungry, other])
    world.run(30)
    world.events = (event("e", start_s=world.now_s, limit_w=6_500),)
    world.run(100)
    kept = hungry.at, other.at.name

    world.run(900)

    assert kept == (FULL, "low")
    assert (hungry.at, other.at.name) == (LOW, "full")
    assert world.state.devices["a"].worst == Power(2_760)


def test_watts_of_a_miner_that_says_it_never_started_go_to_nobody_while_the_meter_shows_them() -> None:
    """Its readings stand still, and the order that called it back was lost: it draws all of its watts."""
    started, other = asleep(miner("a", settle_up_s=20.0), frozen=True), asleep(miner("b"))
    world = World(site(limit_w=5_000, meter="m"), [started, other], meter_lag_s=2.0)
    while started.at == SLEEP:
        world.tick()
    started.deaf = True

    world.run(120)

    assert (started.at, world.state.devices["a"].point) == (LOW, SLEEP)
    assert (other.at, world.breaches) == (LOW, [])
