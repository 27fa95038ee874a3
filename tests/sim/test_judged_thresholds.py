"""Whether the judge finds a controller that wears machines while a price hovers, or misses its thresholds."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.site import Prices, Site, Thresholds
from tests.sim.fittings import fitted
from tests.sim.floor import Floor, draw_floor
from tests.sim.judged import DEVICES, kinds_of
from tests.sim.market import Feed, draw_feed
from tests.sim.process import Decide, checked
from tests.sim.thresholds import KIND, best_earned, hovering, is_for_money
from tests.sim.world import World

SEED, DURATION_S = 8, 700.0
LIMITS = Thresholds(stop_below=0.01, start_above=0.02, least_on_s=300.0, least_off_s=300.0)
CHEAP, DEAR = 0.02, 0.2
FLAPS = Feed(quotes=tuple((30.0 * at, (CHEAP, DEAR)[at // 3 % 2]) for at in range(100)), silent=())


def floor() -> Floor:
    drawn = draw_floor(SEED, DEVICES)
    return replace(drawn, site=replace(drawn.site, policy=replace(drawn.site.policy, profit=LIMITS)))


def found(decide: Decide, feed: Feed) -> set[str]:
    world = World(SEED, DURATION_S, DEVICES, only=(), decide=decide, messages=[], feed=feed, floor=floor())
    world.run()
    return set(kinds_of(world))


def limited_by(limits: Thresholds) -> Decide:
    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        return step(replace(site, policy=replace(site.policy, profit=limits)), state, inputs)

    return decide


def little_profit() -> Feed:
    """Every machine earns something, and the best of them less than its owner wants."""
    earned = [best_earned(spec, 0.05) for spec in floor().specs if is_for_money(spec)]
    quotes = tuple((30.0 * at, CHEAP if at < 3 else max(earned) - 0.005) for at in range(100))
    return Feed(quotes=quotes, silent=())


def test_a_controller_that_follows_every_price_wears_its_machines() -> None:
    hasty = replace(LIMITS, least_on_s=0.0, least_off_s=0.0)

    assert "worn" in found(limited_by(hasty), FLAPS)
    assert not found(checked, FLAPS)


def test_a_controller_that_runs_for_less_than_its_owner_wants_is_found_out() -> None:
    greedless = replace(LIMITS, stop_below=-1.0)

    assert "loss" in found(limited_by(greedless), little_profit())
    assert not found(checked, little_profit())


def test_a_price_hovers_around_what_some_machine_earns_until_faults_end() -> None:
    site = fitted(SEED, draw_floor(SEED, DEVICES), [KIND])
    feed = draw_feed(SEED, 3_600.0, site.site, site.specs, [KIND])
    earned = [best_earned(spec, 0.05) for spec in site.specs if is_for_money(spec)]

    assert site.site.policy.profit != Thresholds()
    assert feed is not None
    told = [usd for at_s, usd in feed.quotes if at_s < 3_600.0]
    assert told == list(islice(hovering(SEED, site.site, site.specs, 30.0), len(told)))
    assert min(abs(usd - one) for usd in told for one in earned) < 0.03
    assert {usd for at_s, usd in feed.quotes if at_s >= 3_600.0} == {0.05}


@pytest.mark.parametrize("meant_to_stand", [False, True])
def test_a_machine_that_was_told_to_stop_and_did_not_hear_it_may_run_as_one_that_was_started_then(
    meant_to_stand: bool,
) -> None:
    world = World(SEED, 5.0, DEVICES, only=(), floor=floor())
    world.run()
    plant, plan, wear = world.plant, world.plan, world.court.wear
    assert plan is not None
    stands = replace(plan, grants=replace(plan.grants, at=np.zeros_like(plan.grants.at)))

    for second in range(500):
        plant.advance(plant.now_s + 1.0)
        meant = stands if meant_to_stand and second == 200 else plan
        wear.told(meant, Prices(), DEAR, steered=False, limited=False)
        wear.second()

    assert ("loss" in kinds_of(world)) is not meant_to_stand
