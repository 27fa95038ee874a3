"""Whether the judge finds a controller that does not hear one of several operators."""

from __future__ import annotations

from dataclasses import replace

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.grid import Link
from controller.domain.power import Limit, Power
from controller.domain.site import LinkLost, Site
from tests.sim.floor import draw_floor
from tests.sim.judged import DEVICES, kinds_of, said
from tests.sim.operator import SECOND
from tests.sim.process import Decide, checked
from tests.sim.swarm import draw_swarm
from tests.sim.world import World

SEED, DURATION_S = 8, 420.0
SILENT_S = 250.0
NODE = "brk-0"
CONTRACTS = (
    LinkLost(operator="third", limit=Power(2_500), node=NODE),
    LinkLost(operator="fourth", limit=Power.kw(25)),
)


def deaf(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that hears one operator and takes the other one for it."""
    up = any(link is Link.UP for link in inputs.links.values())
    return step(site, state, replace(inputs, links=dict.fromkeys(inputs.links, Link.UP if up else Link.LOST)))


def loyal(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that obeys the first of its operators."""
    return step(
        site, state, replace(inputs, events=tuple(event for event in inputs.events if not event.operator))
    )


def found(decide: Decide, *, silent: bool) -> set[str]:
    """Two operators; the second one asks for little, or falls silent for good."""
    asks = replace(said(Power.kw(20), from_s=SILENT_S, until_s=400.0), operator=SECOND)
    messages = () if silent else (asks,)
    world = World(SEED, DURATION_S, DEVICES, exactly=["operators"], decide=decide, messages=messages)
    world.swarm = replace(world.swarm, operator_silences=())
    if silent:
        world.clock.at(SILENT_S, lambda: world.grid.deafen(1, SECOND))
    world.run()
    return set(kinds_of(world))


def test_a_controller_that_misses_no_operator_while_it_hears_another_one_is_found_out() -> None:
    assert "cap" in found(deaf, silent=True)
    assert not found(checked, silent=True)


def test_a_controller_that_obeys_one_operator_of_two_is_found_out() -> None:
    assert "cap" in found(loyal, silent=False)
    assert not found(checked, silent=False)


def many(decide: Decide, silent: str) -> dict[str, set[str]]:
    """Four operators or five, two of which have contracts for their silence; one falls silent for good."""
    floor = draw_floor(SEED, DEVICES)
    policy = replace(floor.site.policy, link_lost=CONTRACTS, link_lost_limit=Limit(Power.kw(60)))
    floor = replace(floor, site=replace(floor.site, policy=policy))
    world = World(
        SEED, DURATION_S, DEVICES, exactly=["more_operators"], decide=decide, messages=(), floor=floor
    )
    world.swarm = replace(world.swarm, operator_silences=(), calm_s=DURATION_S - 10.0)
    world.clock.at(SILENT_S, lambda: world.grid.deafen(1, silent))
    world.run()
    return kinds_of(world)


def test_a_controller_that_forgets_a_contract_for_a_place_is_found_out_there() -> None:
    assert many(deaf, "third") == {"event": {NODE}}
    assert not many(checked, "third")


def test_a_controller_that_forgets_one_contract_of_many_is_found_out() -> None:
    assert "cap" in many(deaf, "fourth")
    assert not many(checked, "fourth")


def test_each_of_many_operators_asks_for_something_and_is_missed_at_times() -> None:
    floor = draw_floor(SEED, DEVICES)
    swarm = draw_swarm(SEED, floor, 3_600.0, exactly=["more_operators", "operators"])

    assert len(swarm.operators) in (4, 5)
    assert {message.operator for message in swarm.messages} == set(swarm.operators)
    assert {silence.operator for silence in swarm.operator_silences} == set(swarm.operators[1:])
