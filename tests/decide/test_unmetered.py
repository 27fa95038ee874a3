"""Nodes without a meter: what the nearest meter above shows beyond claims is divided by claims."""

from __future__ import annotations

import pytest

from controller.decide.invariants import check
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.decide.unmetered import MOST_HIDDEN
from controller.decide.words import AlarmKind
from tests.decide.builders import miner, node, node_of, site
from tests.decide.sites import Chaos
from tests.decide.world import Machine, World, awake

BREAKER_W = 32_000
SIX_AT_FULL_W = 6 * 3_500 + 4 * 2_400
"""With a seventh ten machines would claim 31,700 W, and 1 % of the breaker stays unused."""
A_QUARTER_HOUR_S = 900


def world_of(*, hides: float, other_w: float = 0.0, fixed_w: int = 0, metered: bool = False) -> World:
    """Two breakers below a metered site, with ten machines each that draw more by `hides` than they claim."""
    breakers = [
        node(name, limit_w=BREAKER_W, meter=f"{name}-meter" if metered else None) for name in ("a", "b")
    ]
    here = site(*breakers, meter="site-meter", fixed_w=fixed_w, margin=0.01)
    world = World(here, [_machine(name, at, hides) for name in ("a", "b") for at in range(10)], poll_s=2.0)
    world.other_w["site"] = other_w
    return world


def _machine(where: str, at: int, hides: float) -> Machine:
    return awake(miner(f"{where}{at}", where), share=1 + hides, tells=1 / (1 + hides))


@pytest.mark.parametrize("hides", [0.05, 0.10, 0.15])
def test_machines_that_claim_too_little_do_not_pass_a_breaker_without_a_meter(hides: float) -> None:
    world = world_of(hides=hides)

    world.run(A_QUARTER_HOUR_S)

    assert world.watts("a") <= BREAKER_W
    assert world.watts("b") <= BREAKER_W


def test_what_a_breaker_without_a_meter_carries_is_told_as_the_meter_above_shows_it() -> None:
    world = world_of(hides=0.10)

    plan = world.run(A_QUARTER_HOUR_S)

    assert node_of(plan, "a").drawn.watts == pytest.approx(world.watts("a"), rel=0.01)
    assert world.watts("a") - 350 <= node_of(plan, "a").granted.watts <= BREAKER_W


def test_load_that_the_site_file_names_takes_no_room_at_breakers_without_a_meter() -> None:
    world = world_of(hides=0.0, other_w=4_000.0, fixed_w=4_000)

    world.run(A_QUARTER_HOUR_S)

    assert world.watts("a") == SIX_AT_FULL_W


@pytest.mark.parametrize("other_w", [20_000.0, 200_000.0])
def test_load_of_nobodys_takes_no_more_than_a_fifth_of_what_a_breaker_without_a_meter_may_carry(
    other_w: float,
) -> None:
    world = world_of(hides=0.0, other_w=other_w)

    world.run(A_QUARTER_HOUR_S)

    assert world.watts("a") >= BREAKER_W * 0.99 / (1 + MOST_HIDDEN) - 2_400


def test_breakers_with_a_meter_go_by_that_alone() -> None:
    world = world_of(hides=0.0, other_w=20_000.0, metered=True)

    world.run(A_QUARTER_HOUR_S)

    assert world.watts("a") == SIX_AT_FULL_W


def test_what_lower_meters_do_not_explain_is_hidden_where_none_measures() -> None:
    """Ten of twenty machines draw more than they claim, and only their breaker has no meter."""
    here = site(node("a", limit_w=BREAKER_W), node("b", limit_w=BREAKER_W, meter="b-meter"), meter="m")
    world = World(here, [_machine(name, at, 0.1) for name in ("a", "b") for at in range(10)], poll_s=2.0)

    world.run(A_QUARTER_HOUR_S)

    assert world.watts("a") <= BREAKER_W


def test_load_of_nobodys_is_told_of_a_place_that_has_a_meter_and_no_limit() -> None:
    """Breakers below it are used for less for that."""
    world = world_of(hides=0.0, other_w=20_000.0)

    plan = world.run(200)

    assert [alarm.subject for alarm in plan.alarms if alarm.kind is AlarmKind.UNEXPLAINED] == ["site"]


def test_what_the_silent_count_too_much_hides_nothing() -> None:
    """A dark place told more than it grants: the plan was refused, and the process ended."""
    chaos, state = Chaos(20_292), State()

    for _ in range(25):
        now = chaos.inputs()
        after, plan = step(chaos.site, state, now)
        check(chaos.site, state, now, after, plan)
        state = after
