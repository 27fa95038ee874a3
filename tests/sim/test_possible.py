"""Who cannot be moved, and what nobody could know: what the judges excuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.inputs import Sample
from controller.domain.devices import DeviceKind, Quality, Reading
from controller.domain.power import Power
from simulators.physics.miner import MinerState
from tests.sim.floor import draw_floor
from tests.sim.lane import Lost, Told
from tests.sim.possible import LOST_KNOWN_S, Possible
from tests.sim.world import World

SEED = 330
"""A site of 24 machines; without faults, unless named."""
ANTMINER_SEED = 331
"""Some machines tell no watts."""


@pytest.mark.parametrize(("orders", "excused"), [(2, ""), (3, "unheard")])
def test_a_machine_that_three_orders_in_a_row_did_not_reach_cannot_be_moved(
    orders: int, excused: str
) -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name = min(world.plant.miners)
    world.shell.lost[name] = Lost(orders, 0.0)

    world.court.possible.look()

    assert world.court.possible.held_by(name) == excused


@pytest.mark.parametrize(("factor", "excused"), [(1_000.0, "silent"), (1.25, ""), (0.001, "")])
def test_a_board_whose_watts_nobody_believes_is_as_good_as_silent(factor: float, excused: str) -> None:
    world = World(SEED, 60.0, devices=24, only=())
    world.run()
    name = min(world.plant.gpus)
    world.plant.set_fault(name, "reported_power_factor", factor)

    world.court.possible.look()

    assert world.court.possible.held_by(name) == excused


def test_a_miner_that_lies_about_limits_can_be_brought_down_but_not_while_it_was_just_silent() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name = min(world.plant.miners)
    world.plant.set_fault(name, "lies_about_limit", True)

    world.court.possible.look()
    heard = world.court.possible.held_by(name), world.court.possible.held_up_by(name)
    world.shell.silenced.add(name)
    world.court.possible.look()
    world.shell.silenced.discard(name)
    world.court.possible.look()

    assert heard == ("liar", "")
    assert world.court.possible.held_up_by(name) == "silent"


def test_a_silent_miner_cannot_be_brought_down_whatever_it_lies_about() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name = min(world.plant.miners)
    world.plant.set_fault(name, "lies_about_limit", True)
    world.plant.set_fault(name, "hangs", True)

    world.court.possible.look()

    assert world.court.possible.held_up_by(name) == "silent"


def test_a_machine_that_is_not_sent_any_more_orders_can_be_moved() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name = min(world.plant.miners)
    world.shell.lost[name] = Lost(9, -LOST_KNOWN_S - 1)

    world.court.possible.look()

    assert world.court.possible.held_by(name) == ""


@pytest.mark.parametrize(
    ("silent_from_s", "looked_s", "unforeseen"),
    [(99, 15, True), (99, 20, False), (10, 30, True), (10, 40, False), (20, 30, False)],
)
def test_what_a_liar_takes_is_unforeseen_until_it_was_read_or_is_stale(
    silent_from_s: int, looked_s: int, unforeseen: bool
) -> None:
    """It takes more than it was told from the start, its readings are stale after 15 s, 17 s are given."""
    world = World(SEED, 60.0, devices=24, only=())
    name, miner = min(world.plant.miners.items())
    possible = Possible(world.floor, world.plant, world.shell)
    world.shell.told[name] = Told(-100.0, 30, 30)

    def at(second: int) -> float:
        for _ in world.plant.steps(float(second)):
            pass
        if second >= silent_from_s:
            world.shell.silenced.add(name)
        return possible.unforeseen_w(miner.node, within_s=17.0)

    assert [at(second) > 0 for second in range(looked_s + 1)][-1] is unforeseen


@pytest.mark.parametrize("quality", [Quality.MEASURED, Quality.ESTIMATED])
@pytest.mark.parametrize(("says_w", "looked_s", "unforeseen"), [(30, 50, True), (3000, 20, False)])
def test_what_a_liar_takes_is_unforeseen_while_its_reading_stays_where_it_was_told_to_be(
    says_w: int, looked_s: int, unforeseen: bool, quality: Quality
) -> None:
    """It stands still, or is reckoned by the hash, which comes later."""
    floor = draw_floor(SEED, 24)
    name = min(spec.id for spec in floor.specs if spec.kind is DeviceKind.ASIC)
    floor = replace(floor, quality={**floor.quality, name: quality})
    world = World(SEED, 60.0, devices=24, only=(), floor=floor)
    miner, possible = world.plant.miners[name], world.court.possible
    world.shell.told[name] = Told(-100.0, 30, 30)
    world.plant.set_fault(name, "frozen_reads", quality is Quality.MEASURED)
    stuck = Reading(device=name, draw=Power(says_w), quality=quality)
    world.shell.heard.readings[name] = Sample(0.0, stuck)

    def unforeseen_at(second: int) -> bool:
        world.plant.advance(float(second))
        return possible.unforeseen_w(miner.node, within_s=17.0) > 0

    assert [unforeseen_at(second) for second in range(looked_s + 1)][-1] is unforeseen


@pytest.mark.parametrize("stands_by", ["pool_loss", "breaker_open"])
def test_what_a_miner_takes_that_comes_up_by_itself_has_to_be_seen_before_others_can_come_down(
    stands_by: str,
) -> None:
    world = World(SEED, 60.0, devices=24, only=())
    plant, possible = world.plant, world.court.possible
    name, miner = min(plant.miners.items())
    at = name if stands_by == "pool_loss" else miner.node
    plant.set_fault(at, stands_by, True)
    plant.advance(30.0)
    possible.look()
    standing = [one for one in plant.miners.values() if at in (one.id, one.node)]
    stood_w = sum(one.watts for one in standing)
    plant.set_fault(at, stands_by, False)
    boots_s = miner.group.reboot_s if miner.state is MinerState.REBOOTING else 0.0
    plant.advance(30.0 + 0.9 * boots_s)
    possible.look()

    def taken_after(seconds: float) -> float:
        plant.advance(30.0 + boots_s + seconds)
        return possible.came_up_w(miner.node, within_s=17.0)

    assert taken_after(2.0) == pytest.approx(sum(one.watts for one in standing) - stood_w)
    assert taken_after(20.0) == 0


def test_a_new_process_cannot_know_of_an_order_that_its_machine_does_not_show() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    (still, miner), (other, _), *_ = sorted(world.plant.miners.items())
    world.plant.set_fault(still, "frozen_reads", True)
    shown_w = round(miner.report(0.0).setting_w)
    told = Told(-100.0, shown_w + 1000, shown_w + 1000)
    world.shell.told = {still: told, other: told}
    world.shell.start()
    assert world.shell.told == {still: Told(0.0, shown_w, shown_w), other: told}


def test_a_boot_that_a_reading_hides_which_stands_still_is_unforeseen_after_a_silence_too() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name, miner = min(world.plant.miners.items())
    world.shell.silenced.add(name)
    world.court.possible.look()
    world.shell.silenced.discard(name)
    world.shell.told[name] = Told(-100.0, 30, 30)
    world.plant.set_fault(name, "frozen_reads", True)
    stuck = Reading(device=name, draw=Power(30), quality=Quality.MEASURED)
    world.shell.heard.readings[name] = Sample(0.0, stuck)

    assert world.court.possible.unforeseen_w(miner.node, within_s=17.0) > 0


@pytest.mark.parametrize(("thawed_s", "unforeseen"), [(10.0, True), (20.0, False)])
def test_a_boot_that_a_reading_hid_has_to_be_seen_once_that_moves_again(
    thawed_s: float, unforeseen: bool
) -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name, miner = min(world.plant.miners.items())
    possible = world.court.possible
    world.shell.told[name] = Told(-100.0, 30, 30)
    world.shell.silenced.add(name)
    possible.look()
    world.shell.silenced.discard(name)
    world.plant.set_fault(name, "frozen_reads", True)
    stuck = Reading(device=name, draw=Power(30), quality=Quality.MEASURED)
    world.shell.heard.readings[name] = Sample(0.0, stuck)
    assert possible.unforeseen_w(miner.node, within_s=17.0) > 0

    world.plant.set_fault(name, "frozen_reads", False)
    world.plant.advance(thawed_s)

    assert (possible.unforeseen_w(miner.node, within_s=17.0) > 0) is unforeseen


def test_what_a_liar_without_a_power_meter_takes_when_it_has_work_again_is_unforeseen() -> None:
    world = World(ANTMINER_SEED, 60.0, devices=24, only=())
    plant, possible = world.plant, Possible(world.floor, world.plant, world.shell)
    name = min(name for name, quality in world.floor.quality.items() if quality is Quality.ESTIMATED)
    miner = plant.miners[name]
    plant.set_fault(name, "lies_about_stop", True)
    plant.set_fault(name, "pool_loss", True)
    miner.sleep()
    world.shell.told[name] = Told(-100.0, 30, 30)

    def unforeseen_at(second: float) -> bool:
        plant.advance(second)
        return possible.unforeseen_w(miner.node, within_s=17.0) > 0

    assert [unforeseen_at(second) for second in (5.0, 60.0)] == [True, False]
    plant.set_fault(name, "pool_loss", False)
    assert [unforeseen_at(second) for second in (65.0, 90.0)] == [True, False]
