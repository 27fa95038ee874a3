"""Whether what a site could use is held back by its own rules and by heat, and by nothing that its controller
does."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.domain.power import Limit, Power
from controller.domain.site import Prices
from tests.sim.floor import Floor
from tests.sim.paced import Paced
from tests.sim.usable import Usable
from tests.sim.world import World

SEED, EVERY_S = 8, 5.0
PRICES = Prices()
RAMP_W = 50


def settled() -> World:
    world = World(SEED, 200.0, devices=24, only=())
    world.run()
    return world


def with_ramp(floor: Floor, node: str) -> Floor:
    nodes = tuple(
        replace(at, ramp_up_per_s=Limit(Power(RAMP_W))) if at.id == node else at for at in floor.site.nodes
    )
    return replace(floor, site=replace(floor.site, nodes=nodes))


def with_starts(floor: Floor, per_tick: int) -> Floor:
    return replace(
        floor, site=replace(floor.site, policy=replace(floor.site.policy, starts_per_tick=per_tick))
    )


def looks(usable: Usable, paced: Paced, count: int, cap_w: float = math.inf) -> list[float]:
    usable.look(PRICES, PRICES.usd_per_kwh)
    return [paced.most_w(cap_w) for _ in range(count)]


def test_a_place_with_a_ramp_could_draw_more_only_as_that_allows_whatever_its_controller_does() -> None:
    world = settled()
    plant, usable = world.plant, world.court.usable
    node = next(miner.node for miner in plant.miners.values())
    paced = Paced(with_ramp(world.floor, node), plant, usable, EVERY_S)
    (before_w,) = looks(usable, paced, 1)
    for miner in plant.miners.values():
        if miner.node == node:
            miner.sleep()
    plant.advance(world.clock.now_s + 60.0)

    looks(usable, paced, 60, cap_w=1.0)
    first_w, second_w, third_w = looks(usable, paced, 3)

    assert [second_w - first_w, third_w - second_w] == pytest.approx([RAMP_W * EVERY_S] * 2)
    assert looks(usable, paced, 1_000)[-1] == pytest.approx(before_w, rel=0.01)


def test_a_limit_that_takes_half_leaves_a_place_its_half_to_rise_from() -> None:
    world = settled()
    plant, usable = world.plant, world.court.usable
    node = next(miner.node for miner in plant.miners.values())
    paced = Paced(with_ramp(world.floor, node), plant, usable, EVERY_S)
    usable.look(PRICES, PRICES.usd_per_kwh)
    whole_w = usable.loads().summed()[node]
    for miner in plant.miners.values():
        if miner.node == node:
            miner.sleep()
    plant.advance(world.clock.now_s + 60.0)
    (before_w,) = looks(usable, paced, 1)

    looks(usable, paced, 60, cap_w=before_w / 2)
    (after_w,) = looks(usable, paced, 1)

    assert 0.4 < (before_w - after_w) / whole_w < 0.5


def test_no_more_miners_could_be_started_at_once_than_the_site_says() -> None:
    world = settled()
    plant, usable = world.plant, world.court.usable
    paced = Paced(with_starts(world.floor, 1), plant, usable, EVERY_S)
    per_look = EVERY_S / world.floor.site.policy.tick_s
    for miner in plant.miners.values():
        miner.sleep()
    plant.advance(world.clock.now_s + 60.0)
    largest_w = max(miner.rated_w for miner in plant.miners.values()) * 1.1

    looks(usable, paced, 1, cap_w=1.0)
    found = looks(usable, paced, 60)

    assert 0 < found[0] - plant.site_power_w <= per_look * largest_w
    assert found[-1] == usable.most_w(math.inf)


def test_without_such_rules_all_could_be_used_at_once() -> None:
    world = settled()
    plant, usable = world.plant, world.court.usable
    paced = Paced(with_starts(world.floor, 1_000), plant, usable, EVERY_S)
    for miner in plant.miners.values():
        miner.sleep()
    plant.advance(world.clock.now_s + 60.0)

    looks(usable, paced, 1, cap_w=1.0)

    assert looks(usable, paced, 1) == [usable.most_w(math.inf)]


def in_a_zone_of_38_c(world: World, supply_c: float) -> float:
    """What could be used there where so warm air is supplied; 36 C begin to take of the machines' range."""
    for zone in world.plant.zones.values():
        zone.faults.supply_offset_c = supply_c - zone.config.supply_c
        zone.inlet_c = 38.0
    for miner in world.plant.miners.values():
        miner.inlet_c = 38.0
    usable = world.court.usable
    return looks(usable, Paced(with_starts(world.floor, 1_000), world.plant, usable, EVERY_S), 1)[0]


@pytest.mark.parametrize(("supply_c", "is_less"), [(24.0, False), (34.0, False), (37.0, True)])
def test_what_a_warm_zone_allows_only_until_machines_run_there_is_of_no_use(
    supply_c: float, is_less: bool
) -> None:
    cools, warms = settled(), settled()
    for world in (cools, warms):
        for miner in world.plant.miners.values():
            miner.sleep()
        world.plant.advance(world.clock.now_s + 60.0)

    assert (in_a_zone_of_38_c(warms, supply_c) < in_a_zone_of_38_c(cools, 24.0)) == is_less


def test_machines_that_run_in_a_zone_that_grows_warm_are_usable_until_they_must_come_down() -> None:
    assert in_a_zone_of_38_c(settled(), 37.0) == in_a_zone_of_38_c(settled(), 24.0)
