"""Whether the judge finds what falls faster than a ramp limit, and leaves alone what must."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.grid import TargetSignal
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.domain.site import Site
from simulators.physics.miner import MinerState
from tests.sim.floor import Floor, draw_floor
from tests.sim.judged import DEVICES, kinds_of, said
from tests.sim.lane import Told
from tests.sim.operator import Message
from tests.sim.process import Decide, checked
from tests.sim.world import World

SEED = 14
RESPONSE_S = 60.0
"""What this seed gives a site to come down."""
SLOW, SHARE = 0.005, 0.4
"""A ramp down in shares of a place's rating each second, and what it is brought down to."""


def rated(node: str) -> Power:
    limit = next(place.limit for place in floor().site.nodes if place.id == node)
    assert isinstance(limit, Limit)
    return limit.power


def floor() -> Floor:
    return draw_floor(SEED, DEVICES)


def with_ramp(site: Site, node: str, per_s: Bound) -> Site:
    return replace(
        site,
        nodes=tuple(
            replace(place, ramp_down_per_s=per_s) if place.id == node else place for place in site.nodes
        ),
    )


def found(node: str, message: Message, decide: Decide = checked) -> dict[str, set[str]]:
    slow = Limit(Power(int(SLOW * rated(node).watts)))
    ramped = replace(floor(), site=with_ramp(floor().site, node, slow))
    world = World(SEED, 600.0, DEVICES, only=(), decide=decide, messages=[message], floor=ramped)
    world.run()
    return kinds_of(world)


def at_once(node: str) -> Decide:
    """A controller that knows of no ramp there."""

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        return step(with_ramp(site, node, NO_LIMIT), state, inputs)

    return decide


@pytest.mark.parametrize("node", ["site", "pdu-0-0"])
def test_a_controller_that_falls_at_once_for_an_event_known_in_time_breaks_its_ramp(node: str) -> None:
    asked = said(Power(int(SHARE * rated(node).watts)), node="" if node == "site" else node)

    assert "ramp down" in found(node, asked, at_once(node))
    assert not found(node, asked)


def test_a_controller_that_falls_at_once_to_a_set_point_breaks_its_ramp() -> None:
    asked = said(TargetSignal(Power(int(SHARE * rated("site").watts))))

    assert "ramp down" in found("site", asked, at_once("site"))
    assert not found("site", asked)


def test_no_machine_trips_by_heat_for_a_ramp_nor_is_what_falls_for_heat_blamed_on_it() -> None:
    slow = Limit(Power(int(0.0008 * rated("site").watts)))
    ramped = replace(floor(), site=with_ramp(floor().site, "site", slow))
    world = World(SEED, 400.0, DEVICES, only=(), messages=[], floor=ramped)
    for zone in world.plant.zones:
        world.clock.at(100.0, partial(world.plant.set_fault, zone, "fans_stopped", True))

    world.run()

    assert not kinds_of(world)


def test_what_falls_at_once_for_a_limit_without_notice_is_nobodys_fault() -> None:
    asked = said(Power(int(SHARE * rated("site").watts)), said_s=349.0, response_s=RESPONSE_S)

    assert not found("site", asked, at_once("site"))
    assert not found("site", asked)


def test_a_controller_that_stays_on_a_ramp_up_to_the_deadline_of_an_event_misses_it() -> None:
    asked = said(Power(int(SHARE * rated("site").watts)), said_s=349.0, response_s=RESPONSE_S)

    def late(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        return step(replace(site, policy=replace(site.policy, event_lead_s=0.0)), state, inputs)

    assert "cap" in found("site", asked, late)


def slow_world(duration_s: float) -> World:
    slow = Limit(Power(int(SLOW * rated("site").watts)))
    here = replace(
        floor().site,
        nodes=tuple(
            replace(place, ramp_up_per_s=slow) if place.id == "site" else place
            for place in floor().site.nodes
        ),
    )
    return World(SEED, duration_s, DEVICES, only=(), messages=[], floor=replace(floor(), site=here))


def test_machines_that_are_told_less_while_they_boot_behind_a_breaker_are_nobodys_ramp() -> None:
    """All that were there come up at once, as it is closed."""
    world = slow_world(500.0)

    def told() -> None:
        starting = [name for name, it in world.plant.miners.items() if it.state is MinerState.STARTING]
        for name in starting:
            world.shell.told[name] = Told(world.clock.now_s, 2_000, 30)
        world.orders.update(starting)

    world.clock.at(250.0, partial(world.plant.set_fault, "tx-0", "breaker_open", True))
    world.clock.at(280.0, partial(world.plant.set_fault, "tx-0", "breaker_open", False))
    for second in range(281, 500):
        world.clock.at(float(second), told)
    world.run()

    assert "ramp" not in kinds_of(world)


def test_a_pool_that_returns_while_machines_are_told_to_come_down_is_nobodys_ramp() -> None:
    """All were told less a moment before they find work again, as much as ever."""
    world = slow_world(400.0)
    miners = tuple(world.plant.miners)

    def pool(gone: bool) -> None:
        for name in miners:
            world.plant.set_fault(name, "pool_loss", gone)

    def told(watts: int) -> None:
        for name in miners:
            world.shell.told[name] = Told(world.clock.now_s, watts, 3_000)
        world.orders.update(miners)

    world.clock.at(250.0, partial(pool, True))
    world.clock.at(300.0, partial(told, 2_000))
    world.clock.at(300.0, partial(pool, False))
    world.run()

    assert "ramp" not in kinds_of(world)
