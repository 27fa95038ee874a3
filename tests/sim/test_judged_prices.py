"""Whether the judge finds a controller that runs at a loss, or waits for a price that nobody tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.site import Site
from tests.sim.floor import draw_floor
from tests.sim.judged import DEVICES, kinds_of
from tests.sim.market import Feed, draw_feed
from tests.sim.process import Decide, checked
from tests.sim.swarm import Rates
from tests.sim.world import World

SEED, DURATION_S = 8, 500.0
DEAR_S, SILENT_S = 150.0, 400.0
DEAR = Feed(
    quotes=((0.0, 0.05), *((DEAR_S + 30 * count, 0.25) for count in range(20))),
    silent=((SILENT_S, 10_000.0),),
)
MUTE = Feed(quotes=((0.0, 0.05),), silent=((0.0, 10_000.0),))


def found(decide: Decide, feed: Feed) -> set[str]:
    world = World(SEED, DURATION_S, DEVICES, only=(), decide=decide, messages=[], feed=feed)
    world.run()
    return set(kinds_of(world))


def deaf(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that goes by the prices of its file."""
    return step(site, state, replace(inputs, prices=site.prices))


def patient(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that waits until every price was told."""
    after, plan = step(site, state, inputs)
    if any(price.age_s is None for price in inputs.prices_now):
        return replace(after, ready_s=None), replace(plan, ready=False, commands=())
    return after, plan


def test_a_controller_that_runs_at_a_loss_is_found_out() -> None:
    assert "loss" in found(deaf, DEAR)
    assert not found(checked, DEAR)


def test_a_machine_whose_orders_are_refused_is_not_taken_to_run_at_a_loss() -> None:
    """It is told again, each time later, for nobody needs its watts."""
    world = World(SEED, 2 * DURATION_S, DEVICES, only=(), messages=[], feed=DEAR)
    world.clock.at(DEAR_S - 5.0, lambda: setattr(world.shell, "rates", Rates(refused_writes=0.9)))

    world.run()

    assert not kinds_of(world)


@pytest.mark.parametrize(("since_s", "expected"), [(119.0, set()), (121.0, {"loss"})])
def test_a_machine_that_a_set_point_started_for_a_moment_has_the_time_to_stop(
    since_s: float, expected: set[str]
) -> None:
    world = World(SEED, 300.0, DEVICES, only=(), messages=[])
    world.run()
    losses, prices = world.court.losses, world.floor.site.prices
    losses.look(prices, 9.0, excused=False)
    world.plant.advance(500.0)

    losses.steered()
    world.plant.advance(500.0 + since_s)
    losses.look(prices, 9.0, excused=False)

    assert kinds_of(world).keys() == expected


def test_a_controller_that_waits_for_a_price_that_nobody_tells_is_found_out() -> None:
    assert "charge" in found(patient, MUTE)
    assert not found(checked, MUTE)


def test_a_point_that_earns_less_more_than_it_costs_to_go_there_is_no_want_of_use() -> None:
    """Machines were lowered as energy cost 12.5 ct, and now, at 10.5, earn most one or two points higher: a
    hundredth more than what they lose of their output on the way."""
    quotes = tuple((30.0 * at, 0.05 if at < 2 else 0.125 if at < 8 else 0.105) for at in range(40))
    world = World(SEED, 2 * DURATION_S, DEVICES, only=(), messages=[], feed=Feed(quotes=quotes, silent=()))

    world.run()

    assert not kinds_of(world)


def test_a_feed_tells_the_usual_price_again_when_faults_end() -> None:
    floor = draw_floor(SEED, DEVICES)

    feed = draw_feed(SEED, 600.0, floor.site, floor.specs, ["price_feed"])

    assert feed is not None
    assert {usd for at_s, usd in feed.quotes if at_s >= 600.0} == {0.05}
    assert all(ends_s <= 600.0 for _, ends_s in feed.silent)
