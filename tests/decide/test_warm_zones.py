"""What the air of a warm zone takes of all its machines together, where single ones cannot give just that."""

from __future__ import annotations

import math

import pytest

from controller.decide.inputs import Sample
from controller.domain.devices import DeviceSpec, OperatingPoint, ThermalLimits, ZoneReading
from controller.domain.site import Zone
from tests.decide.builders import FULL, LOW, SLEEP, gpu, miner, site
from tests.decide.world import World, awake

HALL = Zone(id="hall", derate_c=38.0, trip_c=48.0)
RANGE_W = FULL.power.watts - SLEEP.power.watts
ONLY_ON_OR_OFF = (SLEEP, FULL)


def machine(at: int, points: tuple[OperatingPoint, ...] = ONLY_ON_OR_OFF) -> DeviceSpec:
    return miner(f"m{at}", points=points, zone="hall", dwell_s=60.0)


def hall(*specs: DeviceSpec, inlet_c: float) -> World:
    """All run; the air stays as it is."""
    world = World(site(zones=[HALL], meter="site-meter"), [awake(spec) for spec in specs])
    warm(world, inlet_c)
    return world


def warm(world: World, inlet_c: float) -> None:
    world.zones = {"hall": Sample(math.inf, ZoneReading(zone="hall", inlet_c=inlet_c))}


def running(world: World) -> int:
    return sum(machine.at != machine.spec.floor for machine in world.machines.values())


def test_air_that_is_half_a_degree_too_warm_does_not_stop_every_machine_that_is_only_on_or_off() -> None:
    world = hall(*map(machine, range(10)), inlet_c=38.5)

    world.run(30)

    assert running(world) == 9


@pytest.mark.parametrize("points", [ONLY_ON_OR_OFF, (SLEEP, LOW, FULL)])
@pytest.mark.parametrize("inlet_c", [38.1, 39.0, 41.2, 43.0, 45.5, 47.9])
def test_machines_of_a_warm_zone_draw_together_what_it_leaves_but_for_less_than_one_point(
    points: tuple[OperatingPoint, ...], inlet_c: float
) -> None:
    world = hall(*(machine(at, points) for at in range(10)), inlet_c=inlet_c)

    world.run(30)

    left_w = 10 * (SLEEP.power.watts + RANGE_W * (48.0 - inlet_c) / 10)
    assert left_w - RANGE_W < world.watts() <= left_w


def test_at_its_trip_nothing_runs_in_a_zone() -> None:
    world = hall(*map(machine, range(10)), inlet_c=48.0)

    world.run(30)

    assert running(world) == 0


def test_machines_of_a_hall_that_settles_at_a_warm_air_are_not_started_again_and_again() -> None:
    """Ten machines warm the air of a hall by fifteen degrees, in some minutes."""
    world = hall(*map(machine, range(10)), inlet_c=30.0)
    inlet_c, starts, ran = 30.0, 0, running(world)
    for _ in range(3_600):
        inlet_c += (30.0 + 15.0 * world.watts() / 35_000 - inlet_c) / 300
        warm(world, round(inlet_c, 1))
        world.tick()
        starts, ran = starts + max(0, running(world) - ran), running(world)

    assert starts <= 10
    assert running(world) == 7


def test_who_is_hot_itself_takes_no_part_in_what_others_leave() -> None:
    own = ThermalLimits(derate_c=78.0, trip_c=88.0)
    specs = [miner(f"m{at}", points=ONLY_ON_OR_OFF, zone="hall", thermal=own) for at in range(3)]
    world = hall(*specs, inlet_c=40.0)
    world.machines["m0"].hottest_c = 80.0

    world.run(30)

    assert {name for name, one in world.machines.items() if one.at == FULL} == {"m1", "m2"}


def test_gpus_stay_within_what_the_air_leaves_each() -> None:
    world = hall(gpu("g", zone="hall"), machine(0), machine(1), inlet_c=43.0)

    world.run(30)

    assert world.machines["g"].at.power.watts <= 450
