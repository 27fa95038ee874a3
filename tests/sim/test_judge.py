"""Whether the judge finds who passes limits and ramps: controllers that are bad on purpose."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.grid import GridEvent, LimitSignal
from controller.domain.power import NO_LIMIT, ZERO, Limit, Power
from controller.domain.site import Site
from simulators.physics.miner import MinerState
from tests.sim.careless import careless
from tests.sim.clockwork import Clockwork
from tests.sim.judge import Due
from tests.sim.judged import kinds_of
from tests.sim.played import Result, play
from tests.sim.process import checked
from tests.sim.usable import best_sum
from tests.sim.world import World

SEED = 330
"""A site with a slow ramp, curtailed to under a half from 96 s to 269 s; without faults, unless named."""
SILENT_SEED = 5
"""Machines restart, and switches fail."""
NOTHING_SEED = 29
"""Curtailed to nothing at all from 262 s to 351 s."""


def bad(change_inputs: dict[str, object], change_plan: dict[str, object]) -> Result:
    """Ten minutes of a controller that is fine, but for what it is told or what it does."""

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = checked(site, state, replace(inputs, **change_inputs))  # type: ignore[arg-type]
        return after, replace(plan, **change_plan)  # type: ignore[arg-type]

    return play(SEED, 600.0, devices=24, only=(), decide=decide)


def kinds(result: Result) -> set[str]:
    return {breach.split()[0] for breach in result.breaches}


def test_a_controller_that_commands_nothing_passes_its_limits() -> None:
    assert "cap" in kinds(bad({}, {"commands": ()}))


def test_a_controller_that_hears_no_events_passes_their_limits() -> None:
    assert "cap" in kinds(bad({"events": ()}, {}))


def test_a_controller_that_never_takes_the_site_over_is_found_out() -> None:
    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = step(site, replace(state, first_s=None, ready_s=None), inputs)
        return after, replace(plan, ready=False, commands=())

    assert kinds(play(SEED, 120.0, devices=24, only=(), decide=decide)) == {"charge"}


def test_a_controller_that_draws_what_it_likes_under_a_limit_of_nothing_is_found_out() -> None:
    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        heard = tuple(event for event in inputs.events if not asks_nothing(event))
        return step(site, state, replace(inputs, events=heard))

    def asks_nothing(event: GridEvent) -> bool:
        return LimitSignal(ZERO) in [signal for interval in event.intervals for signal in interval.signals]

    assert "cap" in kinds(play(NOTHING_SEED, 800.0, devices=24, only=(), decide=decide))
    assert not kinds(play(NOTHING_SEED, 800.0, devices=24, only=()))


def test_a_controller_that_knows_no_ramp_limit_breaks_it() -> None:
    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        root = replace(site.root, ramp_up_per_s=NO_LIMIT)
        policy = replace(site.policy, starts_per_tick=1000)
        unbound = replace(site, nodes=(root, *site.nodes[1:]), policy=policy)
        return checked(unbound, state, inputs)

    assert "ramp" in kinds(play(SEED, 600.0, devices=24, only=(), decide=decide))


def test_a_controller_that_rises_at_four_times_its_ramp_breaks_it() -> None:
    """What was on its way, and one machine, are no small part of so small a site."""

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        ramp = site.root.ramp_up_per_s
        assert isinstance(ramp, Limit)
        root = replace(site.root, ramp_up_per_s=Limit(Power(4 * ramp.power.watts)))
        return step(replace(site, nodes=(root, *site.nodes[1:])), state, inputs)

    assert "ramp" in kinds(play(SEED, 600.0, devices=24, only=(), decide=decide))
    assert not kinds(play(SEED, 600.0, devices=24, only=()))


def test_a_controller_that_believes_the_last_reading_of_the_silent_passes_its_limits() -> None:
    only = ("switch_failure", "hangs", "reboots", "forgetful_reboots")

    assert "cap" in kinds(play(SILENT_SEED, 1800.0, devices=24, only=only, decide=careless))
    assert not kinds(play(SILENT_SEED, 1800.0, devices=24, only=only))


def test_a_breaker_that_opens_below_a_limit_that_is_kept_has_no_excuse() -> None:
    world = World(SEED, 200.0, devices=24, only=())
    node = world.plant.nodes["brk-0"]
    node.config = node.config.model_copy(update={"breaker_w": 0.3 * node.power_w})

    world.run()

    assert {breach.where for breach in world.court.verdict.breaches if not breach.excuse} == {"brk-0"}


def test_watts_that_a_starting_machine_was_given_are_usable_by_nobody_else() -> None:
    world = World(SEED, 200.0, devices=24, only=())
    world.run()
    usable, miner = world.court.usable, next(iter(world.plant.miners.values()))
    assert usable.held_w() == 0

    miner.sleep()
    world.plant.advance(260.0)
    miner.wake()
    world.plant.advance(262.0)

    assert miner.state is MinerState.STARTING
    assert usable.held_w() == pytest.approx(miner.said_setting_w * miner.bias - miner.watts)


def test_a_miner_that_boots_as_its_breaker_closes_moves_by_nobodys_order() -> None:
    world = World(SEED, 200.0, devices=24, only=())
    below = {name: miner for name, miner in world.plant.miners.items() if miner.node == "brk-0"}
    world.clock.at(150.0, lambda: world.plant.set_fault("brk-0", "breaker_open", True))
    world.clock.at(160.0, lambda: world.orders.update(world.plant.miners))
    world.clock.at(170.0, lambda: world.plant.set_fault("brk-0", "breaker_open", False))

    world.run()

    assert below
    assert world.orders & below.keys() == set()
    assert world.orders - below.keys()


def test_a_tighter_limit_is_due_once_it_has_held_for_the_response_time() -> None:
    due = Due(response_s=30)
    seen = []
    for second in range(100):
        due.holds(float(second), 1000 if second < 60 else 400)
        seen.append(due.watts)

    assert seen[89] == 1000
    assert seen[91] == 400


def test_a_looser_limit_holds_at_once_and_a_short_tightening_is_never_due() -> None:
    due = Due(response_s=30)
    seen = []
    for second in range(100):
        due.holds(float(second), 400 if 50 <= second < 70 else 1000)
        seen.append(due.watts)

    assert set(seen[31:]) == {1000}
    assert seen[0] == math.inf


@pytest.mark.parametrize(
    ("machines", "room_w", "best_w"),
    [
        ([[30, 700, 1000]] * 3, 3000, 3000),
        ([[30, 700, 1000]] * 3, 2900, 2700),
        ([[30, 700, 1000]] * 3, 2000, 1730),
        ([[30, 700, 1000]] * 3, 20, 90),
        ([[30, 1000], [30, 600]], 1100, 1030),
    ],
)
def test_a_breaker_carries_the_best_sum_of_points_that_fits(
    machines: list[list[float]], room_w: float, best_w: float
) -> None:
    assert best_sum(machines, room_w) == pytest.approx(best_w, abs=16)


def test_actions_come_in_the_order_of_their_moments_and_of_their_asking() -> None:
    clock, done = Clockwork(), []
    clock.at(2.0, lambda: done.append("late"))
    clock.at(1.0, lambda: done.append("first"))
    clock.at(1.0, lambda: clock.after(0.0, lambda: done.append("next")))
    for actions in clock.moments(3.0):
        for action in actions:
            action()

    assert done == ["first", "next", "late"]


def test_a_seed_plays_the_same_way_twice() -> None:
    assert play(3, 300.0, devices=24) == play(3, 300.0, devices=24)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_site_that_carries_what_nobody_can_take_is_excused_whatever_its_load_does_in_a_moment(
    share: float,
) -> None:
    world = World(NOTHING_SEED, 60.0, devices=24, only=())
    world.run()
    for name in world.plant.miners:
        world.plant.set_fault(name, "dead", True)
    world.court.possible.look()
    world.court.judge.due = Due(0.0)
    for later_s in (0.0, 1.0):
        world.court.judge.due.holds(world.clock.now_s + later_s, 0.0)

    world.plant.nodes["site"].load_w *= share
    world.court.judge.step(0.5)

    assert world.court.judge.due.watts == 0
    assert kinds_of(world) == {}
