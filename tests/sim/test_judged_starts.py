"""Whether the judge finds machines that are started more often than they may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.devices import DeviceKind, SetPoint
from controller.domain.power import Power
from controller.domain.site import Site
from tests.sim.floor import Floor, draw_floor
from tests.sim.judged import DEVICES, kinds_of, said
from tests.sim.process import Decide, checked
from tests.sim.world import World

SEED, DURATION_S = 14, 700.0
TWICE = [said(Power.kw(5), from_s=at_s, until_s=at_s + 60.0) for at_s in (200.0, 420.0)]


def once_an_hour() -> Floor:
    floor = draw_floor(SEED, DEVICES)
    once = [
        replace(spec, starts_per_hour=1) if spec.kind is DeviceKind.ASIC else spec for spec in floor.specs
    ]
    return replace(floor, specs=tuple(once))


def found(decide: Decide) -> set[str]:
    """All miners have to stop twice, and may be started once an hour."""
    world = World(SEED, DURATION_S, DEVICES, only=(), decide=decide, messages=TWICE, floor=once_an_hour())
    world.run()
    return set(kinds_of(world))


def tireless(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    specs = tuple(replace(spec, starts_per_hour=1000) for spec in inputs.specs)
    return step(site, state, replace(inputs, specs=specs))


def test_a_controller_that_starts_machines_as_often_as_it_likes_is_found_out() -> None:
    assert "starts" in found(tireless)
    assert not found(checked)


def test_a_machine_whose_reading_stands_still_rests_as_well_once_it_was_told_to_start() -> None:
    world = World(SEED, 30.0, DEVICES, only=(), floor=once_an_hour())
    world.run()
    spec = next(spec for spec in world.floor.specs if spec.id in world.plant.miners and len(spec.points) > 1)
    world.plant.set_fault(spec.id, "frozen_reads", True)
    assert world.plan is not None

    for point in (spec.floor, spec.points[-1]):
        world.court.starts.told(replace(world.plan, commands=(SetPoint(device=spec.id, point=point),)))

    assert world.court.starts.rests(spec.id)


@pytest.mark.parametrize("was", ["running", "asleep", "booting"])
def test_a_machine_that_slept_before_it_was_told_anything_rests_once_it_was_started(was: str) -> None:
    """It lay below a phase that was not energised yet, or it booted as it was told to start: a controller
    goes by what it read before."""
    world = World(SEED, 5.0, DEVICES, only=(), floor=once_an_hour())
    spec = next(spec for spec in world.floor.specs if spec.id in world.plant.miners and len(spec.points) > 1)
    world.run()
    assert world.plan is not None
    if was == "asleep":
        world.plant.miners[spec.id].sleep()
    world.plant.advance(world.plant.now_s + 60.0)
    if was == "booting":
        world.plant.miners[spec.id].reboot(world.plant.now_s)
    runs = replace(world.plan, commands=(SetPoint(device=spec.id, point=spec.points[-1]),))

    world.court.starts.told(runs)
    world.court.starts.told(runs)

    assert world.court.starts.rests(spec.id) is (was != "running")
