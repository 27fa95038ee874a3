"""Whether the judge finds that a place which is to be switched off is not drained."""

from __future__ import annotations

from dataclasses import replace

from controller.decide.plan import Inputs, Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.site import Service, Site
from tests.sim.judged import DEVICES, kinds_of
from tests.sim.process import Decide, checked
from tests.sim.world import World

SEED, DURATION_S = 14, 1_200.0


def undrained(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that lets run what is not yet without voltage."""
    nodes = tuple(
        replace(node, service=Service.IN_SERVICE) if node.service is Service.DRAINING else node
        for node in site.nodes
    )
    return step(replace(site, nodes=nodes), state, inputs)


def found(decide: Decide) -> set[str]:
    world = World(SEED, DURATION_S, DEVICES, exactly=["maintenance"], decide=decide, messages=[])
    world.run()
    return set(kinds_of(world))


def test_a_controller_that_does_not_drain_a_place_is_found_out() -> None:
    assert "drain" in found(undrained)
    assert not found(checked)
