"""Whether the judge finds that a place which is to be switched off is not drained."""

from __future__ import annotations

from dataclasses import replace

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.decide.words import AlarmKind
from controller.domain.site import Service, Site
from tests.sim.judged import DEVICES, kinds_of
from tests.sim.process import Decide, checked
from tests.sim.world import World

SEED, DURATION_S = 14, 1_200.0
EARLY_SEED = 1
"""A breaker is closed before anybody said that it is in service."""


def undrained(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that lets run what is not yet without voltage."""
    nodes = tuple(
        replace(node, service=Service.IN_SERVICE) if node.service is Service.DRAINING else node
        for node in site.nodes
    )
    return step(replace(site, nodes=nodes), state, inputs)


def unaware(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that says nothing of what has voltage and should have none."""
    after, plan = step(site, state, inputs)
    alarms = tuple(alarm for alarm in plan.alarms if alarm.kind is not AlarmKind.ENERGISED)
    return after, replace(plan, alarms=alarms)


def unbuilt(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that uses what is not in service yet."""
    nodes = tuple(replace(node, service=Service.IN_SERVICE) for node in site.nodes)
    return step(replace(site, nodes=nodes), state, inputs)


def found(decide: Decide, kind: str = "maintenance", seed: int = SEED) -> set[str]:
    world = World(seed, DURATION_S, DEVICES, exactly=[kind], decide=decide, messages=[])
    world.run()
    return set(kinds_of(world))


def test_a_controller_that_does_not_drain_a_place_is_found_out() -> None:
    assert "drain" in found(undrained)
    assert not found(checked)


def test_a_controller_that_is_silent_about_voltage_where_there_should_be_none_is_found_out() -> None:
    assert "energised" in found(unaware, "commissioning", EARLY_SEED)
    assert not found(checked, "commissioning", EARLY_SEED)


def test_a_controller_that_uses_what_is_not_in_service_yet_is_found_out() -> None:
    assert "drain" in found(unbuilt, "commissioning", EARLY_SEED)


def test_what_comes_up_where_there_should_be_no_voltage_is_unforeseen() -> None:
    world = World(SEED, 60.0, DEVICES, only=())
    miner = min(world.plant.miners.values(), key=lambda one: one.id)

    declared = world.court.possible.unforeseen_w(miner.node, within_s=17.0)
    world.court.possible.isolated = lambda: {miner.node}

    assert declared == 0
    assert world.court.possible.unforeseen_w(miner.node, within_s=17.0) >= miner.watts
