"""What the air of a warm zone takes of all its machines together, where single ones cannot give just that."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from controller.decide import columns
from controller.decide.device import DeviceState
from controller.decide.fleet import fleet_of
from controller.decide.inputs import Sample
from controller.decide.plan import UNLIMITED_W
from controller.decide.tree import tree_of
from controller.decide.warmth import cool_w
from controller.decide.words import Truth
from controller.domain.devices import DeviceSpec, OperatingPoint, ThermalLimits, ZoneReading
from controller.domain.power import Power
from controller.domain.site import Service, Zone
from tests.decide.builders import FULL, LOW, NOW_S, SLEEP, device, gpu, miner, node, site
from tests.decide.world import Machine, World, asleep, awake

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


@pytest.mark.parametrize(("inlet_c", "runs"), [(40.0, 28), (42.0, 24), (44.0, 16)])
@pytest.mark.parametrize("begins", [awake, asleep])
def test_what_air_leaves_goes_to_machines_whose_breakers_can_feed_it(
    inlet_c: float, runs: int, begins: Callable[[DeviceSpec], Machine]
) -> None:
    """Of forty machines on four breakers each breaker carries seven. The best stand at the first ones."""
    breakers = [node(name, limit_w=28_000) for name in "abcd"]
    specs = [
        miner(f"{name}{at}", name, points=(SLEEP, replace(FULL, rate=200.0 - rank)), zone="hall")
        for rank, name in enumerate("abcd")
        for at in range(10)
    ]
    world = World(site(*breakers, zones=[HALL], margin=0.01), map(begins, specs))
    warm(world, inlet_c)

    world.run(200)

    assert running(world) == runs


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


def allowed(
    share: dict[str, float],
    spare_w: dict[str, int] | None = None,
    **known: tuple[DeviceSpec, DeviceState],
) -> dict[str, int]:
    """What each device may have where its zone takes such a share of the range of its machines, and nodes
    have so much left beside all of them at their worst."""
    rows = (node("drained", service=Service.DRAINING), node("off", service=Service.ISOLATED))
    zones = [Zone(id=name, derate_c=38.0, trip_c=48.0) for name in share]
    here = site(*rows, node("x"), node("y"), zones=zones)
    tree = tree_of(here)
    fleet = fleet_of(here, tree, [spec for spec, _ in known.values()])
    mirrored = columns.empty(len(fleet))
    mirrored.put(fleet, {spec.id: state for spec, state in known.values()})
    taken = np.array([share[spec.zone or ""] for spec in fleet.specs])
    left_w = np.array([(spare_w or {}).get(name, UNLIMITED_W) for name in tree.ids])
    found = cool_w(fleet, mirrored, taken, NOW_S, tree, left_w)
    return dict(zip(known, found.tolist(), strict=True))


ASLEEP, HALF_W = device(SLEEP), SLEEP.power.watts + RANGE_W // 2


@pytest.mark.parametrize(
    ("other", "state"),
    [
        (machine(1), device(SLEEP, Truth.STALE)),
        (machine(1), device(SLEEP, Truth.LYING)),
        (miner("m1", "drained", points=ONLY_ON_OR_OFF, zone="hall"), ASLEEP),
        (miner("m1", "off", points=ONLY_ON_OR_OFF, zone="hall"), ASLEEP),
        (gpu("m1", zone="hall", points=ONLY_ON_OR_OFF, ceiling=FULL.power), ASLEEP),
    ],
    ids=["silent", "lying", "to be switched off", "without voltage", "a GPU"],
)
def test_who_may_draw_all_the_same_lends_nobody_its_share_and_is_lent_none(
    other: DeviceSpec, state: DeviceState
) -> None:
    found = allowed({"hall": 0.5}, m0=(machine(0), ASLEEP), m1=(other, state))

    assert found == {"m0": HALF_W, "m1": HALF_W}


def test_a_zone_lends_nothing_to_another_one() -> None:
    east, west = (miner(name, points=ONLY_ON_OR_OFF, zone=name) for name in ("east", "west"))

    found = allowed({"east": 0.5, "west": 0.5}, east=(east, ASLEEP), west=(west, ASLEEP))

    assert found == {"east": HALF_W, "west": HALF_W}


@pytest.mark.parametrize(
    ("m0", "m1"),
    [
        ((machine(0), device(SLEEP, rests_s=NOW_S + 1)), (machine(1), device(SLEEP, rests_s=NOW_S))),
        ((machine(0), ASLEEP), (machine(1, (SLEEP, replace(FULL, rate=201.0))), ASLEEP)),
    ],
    ids=["who may be started", "who makes most of a watt"],
)
def test_what_all_leave_lifts_first(
    m0: tuple[DeviceSpec, DeviceState], m1: tuple[DeviceSpec, DeviceState]
) -> None:
    assert allowed({"hall": 0.5}, m0=m0, m1=m1) == {"m0": HALF_W, "m1": FULL.power.watts}


def test_a_machine_may_have_no_more_than_its_own_heat_leaves_it_however_cool_its_zone_is() -> None:
    hot = device(FULL, derates=(0.5, 0.0, 0.0, 0.0))

    assert allowed({"hall": 0.0}, m0=(machine(0), hot)) == {"m0": HALF_W}
    assert allowed({"hall": 0.1}, m0=(machine(0), hot)) == {"m0": HALF_W}


def at(breaker: str, name: str, zone: str = "hall", rate: float = 200.0) -> DeviceSpec:
    return miner(name, breaker, points=(SLEEP, replace(FULL, rate=rate)), zone=zone)


def test_a_better_machine_is_lifted_behind_a_full_breaker_too_where_air_leaves_enough_for_it() -> None:
    """There it may take the place of one that runs."""
    best, other = at("x", "m1", rate=220.0), at("x", "m2")

    found = allowed(
        {"hall": 0.3}, {"x": 0}, m0=(at("x", "m0"), device(FULL)), m1=(best, ASLEEP), m2=(other, ASLEEP)
    )

    assert found["m1"] == FULL.power.watts


def test_a_breaker_that_feeds_two_zones_feeds_what_was_lifted_in_the_first_no_second_time() -> None:
    half, room_w = {"east": 0.5, "west": 0.5}, {"x": RANGE_W, "y": RANGE_W}
    machines = {
        "e0": (at("x", "m0", "east", rate=210.0), ASLEEP),
        "e1": (at("y", "m1", "east"), ASLEEP),
        "w0": (at("x", "m2", "west", rate=210.0), ASLEEP),
        "w1": (at("y", "m3", "west"), ASLEEP),
    }

    found = allowed(half, room_w, **machines)

    assert [name for name, watts in found.items() if watts == FULL.power.watts] == ["e0", "w1"]


# Who cannot use what air leaves


def at_half(*machines: Machine, minutes: int) -> World:
    """Air leaves half of what ten machines can draw, less one point's rest: five may run."""
    world = World(site(zones=[HALL], meter="site-meter"), machines)
    warm(world, 43.0)
    world.run(60 * minutes)
    return world


def best(at: int) -> DeviceSpec:
    """A machine that makes most of a watt, and so has first what air leaves."""
    return replace(machine(at, (SLEEP, replace(FULL, rate=210.0))), starts_per_hour=20)


@pytest.mark.parametrize("fault", ["lies", "refuses"])
def test_machines_that_do_not_come_up_in_warm_air_are_given_up_for_those_that_do(fault: str) -> None:
    """They were told to stop before they were told a second time, and so to start again each four minutes."""
    broken = [asleep(best(at), **{fault: True}) for at in range(3)]
    world = at_half(*broken, *(asleep(machine(at)) for at in range(3, 10)), minutes=14)

    assert world.watts() > 5 * FULL.power.watts
    starts = [told for plan in world.plans for told in plan.commands if told.device == "m0"]
    assert sum(told.point != SLEEP for told in starts) <= 3


def test_machines_without_work_leave_what_a_warm_zone_has_to_those_that_have_some() -> None:
    world = at_half(*(awake(best(0)), *(awake(machine(at)) for at in range(1, 10))), minutes=5)
    assert world.machines["m0"].at != SLEEP

    world.machines["m0"].without_work, world.machines["m0"].idle_w = True, 300
    world.run(300)

    assert world.machines["m0"].at == SLEEP
    assert running(world) == 5


def test_where_the_pool_is_gone_no_machine_of_a_warm_zone_is_started_in_the_place_of_another() -> None:
    world = at_half(*(awake(machine(at)) for at in range(10)), minutes=5)
    ran = len(world.plans)

    for one in world.machines.values():
        one.without_work, one.idle_w = True, 300
    world.run(1_800)

    assert not [told for plan in world.plans[ran:] for told in plan.commands]


def test_what_air_leaves_too_little_of_for_a_large_machine_goes_to_smaller_ones() -> None:
    """At 44 C air leaves 7.9 kW of 19.5 kW: one machine of 9 kW cannot run, two of 3.5 kW can."""
    large = OperatingPoint(name="large", power=Power(9_000), rate=700.0)
    tank = replace(miner("m0", ceiling=Power(9_200), points=(SLEEP, large)), zone="hall")
    world = World(site(zones=[HALL]), [asleep(tank), *(asleep(machine(at)) for at in range(1, 4))])
    warm(world, 44.0)

    world.run(120)

    assert world.machines["m0"].at == SLEEP
    assert running(world) == 2
