"""Whether the judge finds that what operators ask of places, and by best effort, is not done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.grid import GridEvent, LimitSignal, RelativeTargetSignal
from controller.domain.power import ZERO, Power
from controller.domain.site import Site
from tests.sim.judged import DEVICES, found, said
from tests.sim.lane import Told
from tests.sim.process import Decide
from tests.sim.world import World

SEED = 14
RACK, BREAKER = "gpu-rack-0", "brk-0"


def told(change: Callable[[GridEvent], GridEvent | None]) -> Decide:
    """A controller that is fine, but for what it hears of each event."""

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        heard = tuple(event for event in map(change, inputs.events) if event is not None)
        return step(site, state, replace(inputs, events=heard))

    return decide


def of_the_whole_site(event: GridEvent) -> GridEvent | None:
    return None if event.node else event


def that_is_firm(event: GridEvent) -> GridEvent | None:
    return None if event.best_effort else event


def that_is_a_limit(event: GridEvent) -> GridEvent | None:
    signals = [signal for interval in event.intervals for signal in interval.signals]
    return event if any(isinstance(signal, LimitSignal) for signal in signals) else None


def as_if_firm(event: GridEvent) -> GridEvent:
    return replace(event, best_effort=False)


@pytest.mark.parametrize("node", [RACK, BREAKER])
def test_a_controller_that_hears_only_of_the_whole_site_passes_the_limits_of_places(node: str) -> None:
    asked = said(Power.kw(1), node=node)

    assert found(SEED, asked, decide=told(of_the_whole_site)) == {"event": {node}}
    assert not found(SEED, asked)


def test_a_controller_that_makes_no_effort_is_found_out() -> None:
    asked = said(Power.kw(20), best_effort=True, until_s=600.0)

    assert "effort" in found(SEED, asked, decide=told(that_is_firm))
    assert not found(SEED, asked)


def test_a_controller_that_gives_jobs_up_for_an_effort_is_found_out() -> None:
    asked = said(ZERO, best_effort=True, until_s=600.0)

    assert "needless" in found(SEED, asked, decide=told(as_if_firm))
    assert not found(SEED, asked)


def test_a_controller_that_hears_no_relative_set_point_is_found_out() -> None:
    asked = said(RelativeTargetSignal(Power(-30_000)), from_s=300.0, until_s=590.0)

    assert "target" in found(SEED, asked, decide=told(that_is_a_limit))
    assert not found(SEED, asked)


def test_only_miners_that_were_told_something_a_moment_ago_dwell() -> None:
    world = World(SEED, 60.0, DEVICES, only=())
    (one, miner), (other, _), *_ = sorted(world.plant.miners.items())
    world.shell.told = {one: Told(-50.0, 3000, 30), other: Told(-70.0, 3000, 30)}
    site = world.floor.site.root.id

    dwelling_w = world.court.possible.dwelling_w(site, 60.0)
    world.plant.set_fault(one, "refuses", True)
    world.court.possible.look()

    assert 0.9 * miner.watts < dwelling_w < miner.watts
    assert world.court.possible.dwelling_w(site, 60.0) == 0.0
