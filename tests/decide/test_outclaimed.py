"""Meters that show less than is drawn: a current transformer of another ratio, or the wrong way round."""

from __future__ import annotations

import pytest

from controller.decide.plan import Alarm
from controller.decide.words import AlarmKind
from controller.domain.grid import EventStatus
from tests.decide.builders import event, miner, node, node_of, site
from tests.decide.world import Machine, World, asleep, awake

RATIO = 0.6
"""Current transformers of 400 A that are read as if they were of 250 A, or so."""


def hall(machines: int = 40, limit_w: int = 200_000, **changes: object) -> World:
    """Miners that take forty seconds to start, below a meter that lags and is a little noisy."""
    fleet = [awake(miner(f"m{at:02}", dwell_s=60.0), rise_s=40.0, **changes) for at in range(machines)]
    here = site(limit_w=limit_w, meter="main", margin=0.01)
    return World(here, fleet, meter_lag_s=2.0, noise=0.003)


def misread(machines: int = 40, **changes: object) -> World:
    world = hall(machines, **changes)  # type: ignore[arg-type]  # of a machine
    world.meter_ratios["main"] = RATIO
    return world


def of_meters(world: World) -> list[Alarm]:
    return [alarm for alarm in world.plan.alarms if alarm.kind is AlarmKind.METER_STALE]


def test_a_meter_of_another_ratio_is_told_with_what_it_shows_and_what_machines_say() -> None:
    world = misread()
    world.noise = 0.0

    world.run(120)

    detail = "shows what cannot be at site: 84.0 kW, and machines there draw 140.0 kW by their own word"
    assert of_meters(world) == [Alarm(kind=AlarmKind.METER_STALE, subject="main", detail=detail)]


def test_a_meter_of_another_ratio_proves_no_compliance_and_draws_no_set_point_up() -> None:
    world = misread()
    world.run(120)

    world.events = (event(target_w=70_000),)
    world.run(300)

    assert world.watts() <= 1.01 * 70_000
    assert [standing.status for standing in world.plan.standings] == [EventStatus.STARTED]


def test_what_a_meter_had_shown_of_nobodys_load_outlives_its_ratio() -> None:
    world = hall(limit_w=100_000)
    world.other_w["site"] = 10_000.0
    world.run(300)
    world.breaches.clear()

    world.meter_ratios["main"] = RATIO
    world.run(300)

    assert world.breaches == []


def test_a_meter_of_another_ratio_does_not_vouch_for_the_silent() -> None:
    world = misread(25, limit_w=100_000)
    sleepers = [asleep(miner(f"s{at:02}", dwell_s=60.0), rise_s=40.0) for at in range(20)]
    world.events = (event(limit_w=30_000),)
    for machine in sleepers:
        world.add(machine)
    world.run(100)
    for machine in sleepers:
        machine.silent = True
    world.events = ()
    world.run(100)
    world.breaches.clear()

    for machine in sleepers:
        machine.go(machine.spec.points[-1], world.now_s)
    world.run(100)

    assert world.breaches == []


@pytest.mark.parametrize("tells", [0.8, 1.2])
def test_a_meter_is_believed_against_machines_that_all_claim_a_fifth_too_much_or_too_little(
    tells: float,
) -> None:
    world = hall(tells=tells)

    world.run(300)

    assert of_meters(world) == []
    assert node_of(world.plan, "site").metered is not None


def test_a_meter_is_believed_against_one_machine_of_a_few_that_says_anything() -> None:
    world = hall(5)
    liar: Machine = asleep(miner("liar"), claims_w=3_500)
    world.add(liar)

    world.run(300)

    assert of_meters(world) == []


def test_a_meter_of_another_ratio_is_believed_again_once_mended_and_not_for_a_night_of_sleep() -> None:
    world = misread()
    world.run(120)
    world.events = (event(limit_w=3_000),)
    world.run(600)
    at_night = of_meters(world)

    world.events = ()
    world.meter_ratios.clear()
    world.run(300)

    assert (len(at_night), of_meters(world)) == (1, [])


def test_silent_machines_are_not_taken_to_be_off_by_a_meter_that_is_the_wrong_way_round() -> None:
    row = [awake(miner(f"r{at:02}", "row", boots_s=60.0)) for at in range(10)]
    world = World(site(node("row", meter="row"), limit_w=60_000, margin=0.01), row)
    world.meter_ratios["row"] = -1.0
    world.run(60)

    for machine in row:
        machine.silent = True
    for at in range(10):
        world.add(asleep(miner(f"m{at:02}")))
    world.run(300)

    detail = "shows -35.0 kW at row: it is the wrong way round, or power is fed in behind it"
    assert of_meters(world) == [Alarm(kind=AlarmKind.METER_STALE, subject="row", detail=detail)]
    assert world.breaches == []
