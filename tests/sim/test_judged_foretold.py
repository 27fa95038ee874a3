"""Whether the judge finds a controller whose operators hear too late, or in vain, of what cannot be had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Outlook, Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.grid import EventStatus
from controller.domain.power import ZERO, Power
from controller.domain.site import Site
from tests.sim.judged import DEVICES, DURATION_S, found, kinds_of, said
from tests.sim.world import World

SEED = 14
RACK = "gpu-rack-0"


def mute(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that waits until events have begun."""
    after, plan = step(site, state, inputs)
    return after, replace(plan, outlooks=())


def gloomy(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that says of everything that it cannot be had."""
    after, plan = step(site, state, inputs)
    return after, replace(plan, outlooks=tuple(map(_infeasible, plan.outlooks)))


def _infeasible(outlook: Outlook) -> Outlook:
    return replace(outlook, status=EventStatus.INFEASIBLE)


@pytest.mark.parametrize("node", ["", RACK])
def test_a_controller_that_does_not_say_in_time_what_cannot_be_had_is_found_out(node: str) -> None:
    asked = said(ZERO, node=node)

    assert "untold" in found(SEED, asked, decide=mute)
    assert "untold" not in found(SEED, asked)


@pytest.mark.parametrize(("late_s", "is_late"), [(4.0, False), (12.0, True)])
def test_what_cannot_be_had_any_more_is_to_be_said_within_seconds(late_s: float, is_late: bool) -> None:
    rises_s = 200.0

    def late(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        return (mute if rises_s <= inputs.now_s <= rises_s + late_s else step)(site, state, inputs)

    asked = said(Power(500), node=RACK)
    world = World(SEED, DURATION_S, DEVICES, only=(), decide=late, messages=[asked])
    node = world.plant.nodes[RACK]

    def rises() -> None:
        node.config = node.config.model_copy(update={"load_w": 760.0})

    world.clock.at(rises_s, rises)
    world.run()

    assert ("untold" in kinds_of(world)) is is_late


def test_a_controller_that_says_in_vain_that_nothing_can_be_had_is_found_out() -> None:
    asked = said(Power.kw(40), from_s=900.0, until_s=950.0)

    assert "wolf" in found(SEED, asked, decide=gloomy, duration_s=850.0)
    assert not found(SEED, asked, duration_s=850.0)
