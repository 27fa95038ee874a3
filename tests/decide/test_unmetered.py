"""Nodes without a meter: what the nearest meter above shows beyond claims is divided by claims."""

from __future__ import annotations

import numpy as np
import pytest

from controller.decide.beyond import Beyond
from controller.decide.ground import ground_of
from controller.decide.handed import handed_on, taken_up
from controller.decide.invariants import check
from controller.decide.metering import NodeMemory
from controller.decide.plan import UNLIMITED_W
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.decide.unmetered import hidden_shares, spared, with_hidden_w
from controller.decide.words import AlarmKind
from controller.domain.jobs import FlexTier, JobAction
from tests.decide.builders import UTC_S, event, gpu, job, miner, node, node_of, site
from tests.decide.sites import Chaos
from tests.decide.world import Machine, Queue, World, asleep, awake

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


def test_machines_that_claim_too_little_do_not_pass_a_breaker_whose_meter_was_never_heard() -> None:
    world = world_of(hides=0.15, metered=True)
    world.dead_meters = {"a-meter"}

    world.run(A_QUARTER_HOUR_S)

    assert world.watts("a") <= BREAKER_W


@pytest.mark.parametrize("ratio", [-1.0, 0.0, 0.4, 0.6])
def test_machines_that_claim_too_little_do_not_pass_a_breaker_whose_meter_shows_what_cannot_be(
    ratio: float,
) -> None:
    """Its current transformers are the wrong way round, not connected, or others than it was told."""
    world = world_of(hides=0.15, metered=True)
    world.meter_ratios = {"a-meter": ratio}

    world.run(A_QUARTER_HOUR_S)

    assert world.watts("a") <= BREAKER_W


@pytest.mark.parametrize("ratio", [-1.0, 0.001, 0.6])
@pytest.mark.parametrize("wrong", ["site-meter", "tx-meter"])
def test_what_a_meter_had_shown_of_breakers_below_it_counts_on_when_it_shows_what_cannot_be(
    wrong: str, ratio: float
) -> None:
    below = [node(name, "tx", limit_w=BREAKER_W) for name in ("a", "b")]
    here = site(node("tx", meter="tx-meter"), *below, meter="site-meter", margin=0.01)
    world = World(here, [_machine(name, at, 0.15) for name in ("a", "b") for at in range(10)], poll_s=2.0)
    world.run(A_QUARTER_HOUR_S)

    world.meter_ratios = {wrong: ratio}
    world.run(A_QUARTER_HOUR_S)

    assert world.watts("a") <= BREAKER_W


def test_a_meter_that_is_not_heard_for_a_moment_takes_no_watts_from_its_breaker() -> None:
    """Load of nobody's stands beside two breakers that are full, by their own meters."""
    world = world_of(hides=0.0, other_w=20_000.0, metered=True)
    world.run(A_QUARTER_HOUR_S)
    world.dead_meters = {"a-meter"}

    world.run(60)

    assert world.watts("a") == SIX_AT_FULL_W


def test_a_meter_that_is_heard_after_the_machines_takes_no_watts_from_its_breaker_meanwhile() -> None:
    world = world_of(hides=0.0, other_w=20_000.0, metered=True)
    world.run(A_QUARTER_HOUR_S)
    kept = handed_on(world.site, world.state, world.now_s, UTC_S)
    world.state, world.readings, world.meters = taken_up(kept, world.site, world.now_s, UTC_S), {}, {}
    world.dead_meters = {"a-meter"}

    world.run(int(world.site.policy.start_grace_s) - 1)

    assert world.watts("a") == SIX_AT_FULL_W


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

    assert world.watts("a") >= BREAKER_W * 0.99 / 1.2 - 2_400


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


def shares(*, b_is_metered: bool = False, **beyond: Beyond) -> dict[str, float]:
    """By node of a metered site with two breakers, below each of which devices can claim 20 kW, when that is
    drawn beyond claims."""
    here = site(node("a"), node("b", meter="b-meter" if b_is_metered else None), meter="site-meter")
    memory = {name: NodeMemory(beyond=it) for name, it in beyond.items()}
    found = hidden_shares(ground_of(here), memory, np.array([40_000, 20_000, 20_000]))
    return dict(zip(("site", "a", "b"), found.tolist(), strict=True))


@pytest.mark.parametrize(("most_w", "hidden"), [(40_000, 0.1), (32_000, 0.125), (1_000, 4 / 30)])
def test_what_is_hidden_is_a_share_of_the_most_that_was_claimed_or_of_three_quarters_of_what_can_be(
    most_w: int, hidden: float
) -> None:
    found = shares(site=Beyond(fixed_w=4_000.0, most_w=most_w))

    assert found == pytest.approx({"site": 0.0, "a": hidden, "b": hidden})


def test_a_breaker_with_a_meter_hides_nothing_and_leaves_all_that_is_hidden_above_it_to_the_others() -> None:
    """What its own meter shows beyond claims counts there as it is shown."""
    above, own = Beyond(fixed_w=3_000.0, most_w=40_000), Beyond(fixed_w=1_000.0, most_w=20_000)

    found = shares(b_is_metered=True, site=above, b=own)

    assert found == pytest.approx({"site": 0.0, "a": 0.15, "b": 0.0})


def test_devices_may_claim_what_a_breaker_may_carry_but_for_other_load_less_what_they_hide() -> None:
    usable_w = np.array([32_001, 32_001, 1_000, UNLIMITED_W])
    hidden, other_w = np.array([0.25, 0.0, 0.25, 0.25]), np.array([2_000, 2_000, 4_000, 0])

    assert spared(usable_w, hidden, other_w).tolist() == [26_000, 32_001, 1_000, UNLIMITED_W]


def test_what_bounds_leave_to_claims_is_found_again_to_the_watt_whatever_is_hidden() -> None:
    claimed_w = np.arange(900, 3_000)

    for share in (0.0, 1.8e-5, 0.01, 0.1, 0.25, 1 / 3):
        shares, other_w = np.full(len(claimed_w), share), np.full(len(claimed_w), 1_000)
        bound_w = with_hidden_w(claimed_w, shares, other_w)

        assert (spared(bound_w, shares, other_w) == claimed_w).all()
        assert (spared(bound_w - 1, shares, other_w) < claimed_w).all()


def test_a_best_effort_limit_breaks_no_work_where_more_is_drawn_than_is_claimed() -> None:
    jobs = Queue("q", ("g0", "g1"))
    here = site(node("a"), node("b", meter="b-meter"), meter="site-meter")
    machines = [*(_machine(where, at, 0.1) for where in "ab" for at in range(4))]
    world = World(here, [*machines, *(asleep(gpu(name, "a")) for name in jobs.gpus)], queues=[jobs])
    for name in jobs.gpus:
        jobs.submit(job(f"on-{name}", flex=FlexTier.RIGID))
    world.run(A_QUARTER_HOUR_S)

    world.events = (event(limit_w=500, start_s=world.now_s, node="a", best_effort=True),)
    world.run(120)

    assert world.watts("a") < 2_000
    assert [command.action for command in jobs.told] == [JobAction.START, JobAction.START]
