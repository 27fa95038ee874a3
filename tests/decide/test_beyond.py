"""What is drawn beyond claims, by how much is claimed: machines that draw more than they say come back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controller.decide.beyond import BEYOND_TAU_S, MOST_SHARE, NOTHING, Beyond, OtherLoad, Room
from controller.decide.snapshot import State
from tests.decide.builders import miner, node, site
from tests.decide.world import Machine, World, awake

TOP_W, FULL_W = 42_000, 33_000


def taught(*seen: tuple[float, int, int], known: Beyond = NOTHING) -> Beyond:
    """After so many seconds in which so many watts were beyond so many claimed, one after the other."""
    for seconds, beyond_w, claims_w in seen:
        for _ in range(round(seconds)):
            known = known._replace(most_w=max(known.most_w, claims_w))
            more_w = beyond_w - known.at(claims_w)
            known = known.taught(more_w, claims_w, TOP_W, 1.0)
    return known


# A share and a fixed part


def test_what_is_seen_at_full_claims_is_put_down_to_a_share_of_them() -> None:
    known = taught((5 * BEYOND_TAU_S, 1_650, FULL_W))

    assert known.share == pytest.approx(0.05, rel=0.02)
    assert known.fixed_w == pytest.approx(0.0, abs=0.01)


def test_what_was_seen_at_full_claims_is_kept_while_next_to_nothing_is_claimed() -> None:
    known = taught((5 * BEYOND_TAU_S, 1_650, FULL_W), (3_600, 5, 100))

    assert known.at(FULL_W) == pytest.approx(1_650, rel=0.03)


def test_what_is_gone_at_full_claims_is_unlearned() -> None:
    known = taught((5 * BEYOND_TAU_S, 1_650, FULL_W), (5 * BEYOND_TAU_S, 0, FULL_W))

    assert known.at(FULL_W) < 20


def test_what_is_gone_at_nearly_full_claims_is_unlearned_though_there_is_no_fixed_part() -> None:
    known = taught((5 * BEYOND_TAU_S, 1_650, FULL_W), (5 * BEYOND_TAU_S, 0, FULL_W * 9 // 10))

    assert known.at(FULL_W) < 50


def test_load_that_is_there_without_claims_does_not_rise_with_them() -> None:
    known = taught((5 * BEYOND_TAU_S, 1_000, 360))

    assert known.at(FULL_W) == pytest.approx(1_000, rel=0.02)


def test_load_that_was_taken_for_a_share_is_told_apart_once_claims_are_gone() -> None:
    """It is the same at full claims as before, and all of it is there without any."""
    known = taught((5 * BEYOND_TAU_S, 1_650, FULL_W), (5 * BEYOND_TAU_S, 1_650, 360))

    assert (known.at(0), known.at(FULL_W)) == pytest.approx((1_650, 1_650), rel=0.03)


def test_both_are_learned_at_a_site_that_may_draw_half_of_what_its_machines_could() -> None:
    known = taught((5 * BEYOND_TAU_S, 1_050, TOP_W // 2), (3_600, 0, 100))

    assert known.at(TOP_W // 2) == pytest.approx(1_050, rel=0.03)


def test_machines_that_claim_more_than_they_draw_hide_the_fixed_load_and_no_more() -> None:
    known = taught((5 * BEYOND_TAU_S, 1_000, 360), (5 * BEYOND_TAU_S, 0, FULL_W))

    assert known.at(360) == pytest.approx(1_000, rel=0.05)
    assert known.at(FULL_W) < 50
    assert known.at(10 * FULL_W) == 0.0


def test_what_machines_hide_that_claim_too_much_is_not_more_to_plan_with_the_lower_they_are() -> None:
    """A plan that lowers them would grant more than it counted on: a watt was enough to refuse it."""
    known = taught((5 * BEYOND_TAU_S, 1_000, 360), (5 * BEYOND_TAU_S, 0, FULL_W))

    assert known.share < 0
    assert known.planned() == Beyond(fixed_w=known.at(FULL_W))
    assert taught((5 * BEYOND_TAU_S, 1_650, FULL_W)).planned().share > 0


@pytest.mark.parametrize(
    ("claims_w", "fixed_w", "share"),
    [(FULL_W, 0.0, 1.0), (FULL_W // 2, 1.0, 0.0), (0, 1.0, -1.0), (FULL_W * 3 // 4, 0.4, 0.8)],
)
def test_what_is_seen_at_less_than_full_claims_is_the_less_put_down_to_a_share_the_less_is_claimed(
    claims_w: int, fixed_w: float, share: float
) -> None:
    """A time constant after 330 W more were seen, 63 % of them are learned: each part gets so much of that,
    and what was known at full claims stays as it was where nothing is claimed."""
    before = Beyond(fixed_w=500.0, share=0.02, most_w=FULL_W)
    learned_w = 330 * (1 - math.exp(-1))

    after = before.taught(330, claims_w, TOP_W, BEYOND_TAU_S)

    assert after.fixed_w - before.fixed_w == pytest.approx(fixed_w * learned_w)
    assert after.share - before.share == pytest.approx(share * learned_w / FULL_W)
    assert after.at(claims_w) - before.at(claims_w) == pytest.approx(learned_w)


def test_what_no_machine_claims_is_what_is_there_now_or_what_was_learned_if_that_is_more() -> None:
    other = OtherLoad(
        now_w=np.array([700, 700, 0]), fixed_w=np.array([100.0, 100.0, 0.0]), share=np.array([0.05, 0.05, 0])
    )

    assert other.at_w(np.array([12_001, 11_000, 9_000])).tolist() == [701, 700, 0]


def test_a_meter_that_shows_twice_too_much_for_a_minute_leaves_a_bounded_share() -> None:
    known = taught((5 * BEYOND_TAU_S, 660, FULL_W), (60, 33_660, FULL_W))
    wrong = known.at(FULL_W) - known.at(0)

    known = taught((5 * BEYOND_TAU_S, 660, FULL_W), known=known)

    assert wrong <= MOST_SHARE * FULL_W
    assert known.at(FULL_W) == pytest.approx(660, rel=0.35)


# Room for raises


def room(left_w: tuple[int, int], share: tuple[float, float], now_w: tuple[int, int] = (0, 0)) -> Room:
    """A site (0), a hall below it (1), both with a meter, and devices in the hall that draw 10 kW."""
    other = OtherLoad(now_w=np.array(now_w), fixed_w=np.array([0.0, 0.0]), share=np.array(share))
    return Room(np.array(left_w), other, np.array([10_000, 10_000]))


def test_a_raise_takes_what_is_drawn_beyond_it_from_every_node_above() -> None:
    alone, both = room((1_100, 1_050), (0.0, 0.05)), room((1_099, 1_050), (0.05, 0.05))

    assert alone.has((1, 0), 1_000)
    assert not alone.has((1, 0), 1_001)
    assert not both.has((1, 0), 1_000)


def test_a_raise_takes_no_more_than_itself_while_more_is_there_than_it_will_be() -> None:
    """The hall shows 600 W beyond its claims; the share accounts for 500 W of them."""
    left = room((3_050, 3_050), (0.0, 0.05), (0, 600))

    assert left.has((1, 0), 2_000)
    left.take((1, 0), 2_000)

    assert left.has((1, 0), 1_000)
    assert not left.has((1, 0), 1_001)


def test_one_raise_after_the_other_takes_what_is_drawn_beyond_both_and_no_more() -> None:
    left = room((2_100, 2_100), (0.0, 0.05))

    left.take((1, 0), 1_000)

    assert left.has((1, 0), 1_000)
    assert not left.has((1, 0), 1_001)


def test_machines_that_claim_too_much_give_no_room() -> None:
    left = room((1_000, 1_000), (-0.05, -0.05))

    assert not left.has((1, 0), 1_001)


# In a whole site


def understating(tells: float = 1 / 1.05, **changes: object) -> World:
    """Ten machines that draw more than they claim, and one meter that says so, for as long as that takes."""
    machines: list[Machine] = [
        awake(miner(f"m{at}"), share=1 / tells, tells=tells, idle_w=100, rise_s=5.0, **changes)
        for at in range(10)
    ]
    world = World(METERED, machines, meter_lag_s=1.0, noise=0.002)
    world.run(240)
    return world


METERED = site(limit_w=35_000, meter="mains")


def breaches_since(world: World, at_s: float) -> list[tuple[float, str, float]]:
    return [breach for breach in world.breaches if breach[0] >= at_s]


@pytest.mark.parametrize("tells", [1 / 1.03, 1 / 1.05])
def test_machines_that_draw_more_than_they_claim_do_not_pass_the_limit_when_all_are_started_again(
    tells: float,
) -> None:
    world = understating(tells)
    before_w = world.watts()
    world.site = site(limit_w=2_000, meter="mains")
    world.run(200)
    assert world.watts() < 1_000

    world.site = METERED
    began_s = world.now_s
    world.run(100)

    assert breaches_since(world, began_s) == []
    assert world.watts() >= 0.98 * before_w


@pytest.mark.parametrize("tells", [1 / 1.03, 1 / 1.05])
def test_machines_that_draw_more_than_they_claim_do_not_pass_the_limit_when_all_have_work_again(
    tells: float,
) -> None:
    """Nobody told them to go, and nobody is told to come: whose room was given away meanwhile?"""
    world = understating(tells)
    idle = [machine for name, machine in world.machines.items() if name != "m9"]
    for machine in idle:
        machine.without_work = True
    world.run(240)
    assert world.watts() < 6_000

    for machine in idle:
        machine.without_work = False
    began_s = world.now_s
    world.run(60)

    assert breaches_since(world, began_s) == []


def test_load_that_no_machine_draws_takes_no_more_room_once_machines_come_back() -> None:
    """The lights are 1 kW, whether machines run or not."""
    machines = [awake(miner(f"m{at}"), rise_s=5.0) for at in range(12)]
    world = World(METERED, machines, meter_lag_s=1.0, noise=0.002)
    world.other_w["site"] = 1_000.0
    world.run(240)
    before_w = world.watts()
    world.site = site(limit_w=3_000, meter="mains")
    world.run(200)

    world.site = METERED
    began_s = world.now_s
    world.run(100)

    assert breaches_since(world, began_s) == []
    assert world.watts() >= 0.98 * before_w


def test_what_a_hall_draws_beyond_its_claims_counts_once_at_every_meter_above() -> None:
    halls = [node(f"hall{at}", meter=f"hall{at}") for at in range(2)]
    machines = [
        awake(miner(f"m{at}", f"hall{at % 2}"), share=1.05, tells=1 / 1.05, rise_s=5.0) for at in range(10)
    ]
    nested = site(*halls, limit_w=35_000, meter="mains")
    world = World(nested, machines, meter_lag_s=1.0, noise=0.002)
    world.run(240)
    before_w = world.watts()
    world.site = site(*halls, limit_w=2_000, meter="mains")
    world.run(200)

    world.site = nested
    began_s = world.now_s
    world.run(100)

    assert breaches_since(world, began_s) == []
    assert world.watts() >= 0.98 * before_w


def test_a_process_that_begins_anew_learns_the_share_again() -> None:
    world = understating()
    learned = world.state.nodes["site"].beyond

    world.state = State()
    world.run(300)

    assert world.state.nodes["site"].beyond.share == pytest.approx(learned.share, abs=0.005)


def test_a_state_of_before_there_was_a_share_goes_on_by_watts() -> None:
    world = understating()
    old = {name: replace(known, beyond=NOTHING) for name, known in world.state.nodes.items()}
    world.state = replace(world.state, nodes=old)

    world.run(1)

    assert world.plan.nodes[0].unexplained.watts > 1_000
