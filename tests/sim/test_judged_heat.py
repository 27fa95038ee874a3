"""Whether the judge of heat finds machines that were left in it, and whom it excuses."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from controller.decide.inputs import Inputs, Sample
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.site import Site
from tests.sim.floor import ZONE_DERATE_C, ZONE_TRIP_C
from tests.sim.heat import ROUND_C
from tests.sim.process import Decide, checked
from tests.sim.world import World

SEED = 330
"""A site with a slow ramp, curtailed to under a half from 96 s to 269 s; without faults, unless named."""


def test_a_controller_that_feels_no_heat_has_miners_trip() -> None:
    def numb(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        zones = tuple(replace(zone, derate_c=1000.0, trip_c=2000.0) for zone in site.zones)
        cool = {
            name: Sample(sample.at_s, replace(sample.value, hottest_c=20.0, margin_c=None))
            for name, sample in inputs.readings.items()
        }
        return step(replace(site, zones=zones), state, replace(inputs, readings=cool))

    def hot(decide: Decide) -> set[str]:
        def undisturbed(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
            return decide(site, state, replace(inputs, events=()))

        world = World(SEED, 400.0, devices=24, only=(), decide=undisturbed)
        for zone in world.plant.zones:
            world.clock.at(60.0, partial(world.plant.set_fault, zone, "fans_stopped", True))
        world.run()
        return {breach.what for breach in world.court.verdict.unexcused} & {"hot", "heat"}

    assert {"hot", "heat"} <= hot(numb)
    assert not hot(checked)


@pytest.mark.parametrize(("silent_s", "excused"), [(20.0, ""), (150.0, "silent")])
def test_a_machine_that_was_silent_for_a_moment_has_no_excuse_for_the_heat_that_it_was_left_in(
    silent_s: float, excused: str
) -> None:
    """Its controller tells nobody anything; from 130 s on it draws more than its heat allows."""

    def mute(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = step(site, state, inputs)
        return after, replace(plan, commands=())

    world = World(SEED, 200.0, devices=24, only=(), decide=mute)
    name, miner = next((name, miner) for name, miner in world.plant.miners.items() if miner.watts > 2000)

    def hotter() -> None:
        miner.temperature_c = 91.0

    def trips() -> None:
        miner.trips += 1

    for second in range(130, 190):
        world.clock.at(float(second), hotter)
    world.clock.at(190.0 - silent_s, lambda: world.shell.silenced.add(name))
    world.clock.at(190.0, trips)
    world.run()

    heat = [breach.excuse for breach in world.court.verdict.breaches if breach.what == "heat"]
    assert heat == [excused]


def test_a_gpu_that_throttles_got_too_hot() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name, gpu = min(world.plant.gpus.items())
    gpu.trips += 1

    world.court.heat.look(in_charge=True)

    assert [str(breach) for breach in world.court.verdict.unexcused] == [
        f"heat at {name} from 0.0 s for 0.0 s, 0 W over"
    ]


@pytest.mark.parametrize(("others_w", "hot"), [(25.0, False), (1_900.0, True)])
def test_what_machines_in_doubt_leave_of_the_air_of_a_zone_others_may_draw(
    others_w: float, hot: bool
) -> None:
    """Half of all that the machines of the zone can draw is too much, and every other one draws more."""
    world = World(SEED, 60.0, devices=20, only=())
    world.run()
    zone = world.plant.zones["zone-0"]
    zone.inlet_c = (ZONE_DERATE_C + ZONE_TRIP_C) / 2 + ROUND_C
    for number, (name, miner) in enumerate(world.plant.miners.items()):
        miner.watts = others_w if number % 2 else 2_000.0
        if number % 2:
            world.shell.failed_s[name] = world.clock.now_s
    world.court.doubts.look()

    for _ in range(40):
        world.court.heat.look(in_charge=True)

    assert {breach.what for breach in world.court.verdict.unexcused} == ({"hot"} if hot else set())
