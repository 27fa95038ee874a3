"""What is made of what a zone's sensors say: one hot reading alone, and a proof that comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from controller.decide.inputs import Sample
from controller.decide.plan import Plan
from controller.decide.words import AlarmKind
from controller.domain.devices import Cooling, DeviceSpec, ThermalLimits, ZoneReading
from controller.domain.site import Zone
from tests.decide.builders import FULL, SLEEP, miner, site
from tests.decide.world import Machine, World, asleep, awake

HALL = Zone(id="hall", derate_c=38.0, trip_c=48.0)
PROVEN, NOT_PROVEN = Cooling.PROVEN, Cooling.NOT_PROVEN


def hall(begins: Callable[[DeviceSpec], Machine] = awake) -> World:
    """Ten machines that are only on or off, in air of 25 C."""
    specs = [miner(f"m{at}", points=(SLEEP, FULL), zone="hall", dwell_s=60.0) for at in range(10)]
    world = World(site(zones=[HALL], meter="site-meter"), map(begins, specs))
    hears(world, [25.0] * 90)
    return world


def hears(world: World, inlets_c: Iterable[float], cooling: Cooling = PROVEN) -> None:
    """One reading each second."""
    for inlet_c in inlets_c:
        world.zones["hall"] = Sample(
            world.now_s + 1.0, ZoneReading(zone="hall", inlet_c=inlet_c, cooling=cooling)
        )
        world.tick()


def told(plans: Iterable[Plan]) -> list[str]:
    return [command.device for plan in plans for command in plan.commands]


@pytest.mark.parametrize("inlet_c", [60.0, 85.0])
def test_no_machine_is_stopped_for_one_hot_reading_that_the_next_does_not_confirm(inlet_c: float) -> None:
    world = hall()
    hears(world, [inlet_c, *[25.0] * 20])

    assert not told(world.plans)
    assert world.watts() == 10 * FULL.power.watts


def test_all_machines_of_a_zone_are_stopped_with_the_second_reading_beyond_its_trip() -> None:
    world = hall()
    hears(world, [60.0, 60.0, 60.0])

    assert world.watts() == 10 * SLEEP.power.watts


def test_of_two_hot_readings_the_cooler_one_counts() -> None:
    world = hall()
    hears(world, [85.0, 43.0, *[43.0] * 10])

    assert world.watts() == 5 * (FULL.power.watts + SLEEP.power.watts)


def test_a_hot_reading_that_no_other_follows_counts_after_ten_seconds() -> None:
    world = hall()
    hears(world, [60.0])
    world.run(9)
    assert world.watts() == 10 * FULL.power.watts

    world.run(3)
    assert world.watts() == 10 * SLEEP.power.watts


def test_the_first_reading_of_a_zone_counts_at_once() -> None:
    """A process that was just started may come into a fire."""
    specs = [miner(f"m{at}", points=(SLEEP, FULL), zone="hall") for at in range(2)]
    world = World(site(zones=[HALL]), map(awake, specs))
    hears(world, [60.0] * 3)

    assert world.watts() == 2 * SLEEP.power.watts


@pytest.mark.parametrize("period_s", [1, 3, 5, 9])
def test_nothing_is_started_where_a_proof_of_cooling_comes_and_goes(period_s: int) -> None:
    world = hall(asleep)
    hears(world, [25.0] * 30, NOT_PROVEN)
    for machine in world.machines.values():
        machine.go(SLEEP, world.now_s)
    before = len(world.plans)

    for second in range(600):
        hears(world, [25.0], NOT_PROVEN if second // period_s % 2 else PROVEN)

    assert not told(world.plans[before:])
    cooling = [any(one.kind is AlarmKind.COOLING for one in plan.alarms) for plan in world.plans[before:]]
    assert all(cooling)


def test_machines_are_started_ten_seconds_after_their_pump_runs_again() -> None:
    world = hall(asleep)
    hears(world, [25.0] * 30, NOT_PROVEN)
    for machine in world.machines.values():
        machine.go(SLEEP, world.now_s)
    hears(world, [25.0] * 30, NOT_PROVEN)

    hears(world, [25.0] * 9)
    assert world.watts() == 10 * SLEEP.power.watts
    hears(world, [25.0] * 3)
    assert world.watts() == 10 * FULL.power.watts
    assert not world.plan.alarms


def test_a_zone_that_derates_is_alarmed_with_its_temperature_until_it_gives_all_back() -> None:
    world = hall()
    hears(world, [43.0] * 5)
    assert [(one.kind, one.subject, one.detail) for one in world.plan.alarms] == [
        (AlarmKind.HOT, "hall", "its heat takes 50% of its machines' range: air 43.0 of 48.0 C")
    ]

    hears(world, [30.0] * 5)
    assert not world.plan.alarms


def test_a_zone_whose_coolant_derates_is_alarmed_with_that() -> None:
    wet = Zone(id="hall", derate_c=38.0, trip_c=48.0, coolant=ThermalLimits(derate_c=45.0, trip_c=55.0))
    world = World(site(zones=[wet]), [awake(miner("m0", zone="hall"))])
    world.zones["hall"] = Sample(world.now_s, ZoneReading(zone="hall", inlet_c=20.0, coolant_c=54.0))
    world.run(5)

    [alarm] = world.plan.alarms
    assert (
        alarm.detail
        == "its heat takes 90% of its machines' range: air 20.0 of 48.0 C, coolant 54.0 of 55.0 C"
    )
