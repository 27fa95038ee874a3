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
from tests.sim.judged import found, said

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


def test_a_controller_that_says_in_vain_that_nothing_can_be_had_is_found_out() -> None:
    asked = said(Power.kw(40), from_s=900.0, until_s=950.0)

    assert "wolf" in found(SEED, asked, decide=gloomy, duration_s=850.0)
    assert not found(SEED, asked, duration_s=850.0)
