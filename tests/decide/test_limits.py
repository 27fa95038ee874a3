"""Ratings, events and margins become a bound per node."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.decide.ground import ground_of
from controller.decide.limits import Limits, limits_now
from controller.decide.plan import UNLIMITED_W
from controller.decide.schedule import Coming
from controller.decide.timeline import GridNow
from controller.decide.words import CapReason
from controller.domain.power import NO_LIMIT, Power
from tests.decide.builders import UTC_S, bound, node, site


def asked(cap_w: int | None, reason: CapReason, *, due_by_s: float = 0.0) -> GridNow:
    """What the grid asks with one event of `reason`, which is owed in full after `due_by_s`."""
    if reason is CapReason.TARGET:
        return GridNow(target=bound(cap_w), target_events=("e",))
    return GridNow(
        limit=bound(cap_w),
        due=bound(cap_w),
        owed=bound(cap_w if due_by_s <= 0 else None),
        limit_reason=reason,
        limit_event="e",
        due_by_utc_s=UTC_S + due_by_s,
    )


def limits(
    cap_w: int | None,
    reason: CapReason = CapReason.EVENT,
    *,
    rating_w: int | None = 10_000,
    margin: float = 0.01,
) -> Limits:
    grid = asked(cap_w, reason)
    here = site(node("pdu", limit_w=4_000), limit_w=rating_w, margin=margin)
    return limits_now(ground_of(here), grid)


def test_the_cap_is_the_lower_of_rating_and_event_and_says_which() -> None:
    by_event, by_rating = limits(8_000), limits(12_000)

    assert (by_event.cap, by_event.cap_reason, by_event.cap_event) == (bound(8_000), CapReason.EVENT, "e")
    assert (by_rating.cap, by_rating.cap_reason, by_rating.cap_event) == (bound(10_000), CapReason.RATING, "")


def test_without_rating_and_event_there_is_no_cap_and_nothing_that_sets_it() -> None:
    free = limits(None, CapReason.NONE, rating_w=None)

    assert (free.cap, free.cap_reason, free.usable_w[0]) == (NO_LIMIT, CapReason.NONE, UNLIMITED_W)


@pytest.mark.parametrize(("usable_w", "goal_w"), [(8_000, 6_000), (5_000, 5_000)])
def test_a_ramp_that_leads_down_to_more_than_a_set_point_leaves_the_set_point_where_it_is(
    usable_w: int, goal_w: int
) -> None:
    after = limits(6_000, CapReason.TARGET).lowered({0: usable_w})

    assert (after.usable_w[0], after.goal_w, after.aim_w) == (usable_w, goal_w, goal_w)


def test_limits_that_are_lowered_lower_neither_what_they_were_made_of_nor_raise_an_aim() -> None:
    before = limits(8_000, CapReason.TARGET).aimed_at(3_000)

    after = before.lowered({0: 5_000, 1: 9_000})

    assert (after.usable_w.tolist(), after.goal_w, after.aim_w) == ([5_000, 3_960], 5_000, 3_000)
    assert (before.usable_w.tolist(), before.goal_w) == ([9_900, 3_960], 8_000)


def test_a_cap_of_nothing_is_a_cap() -> None:
    zero = limits(0)
    below = limits_now(ground_of(site(node("pdu"))), GridNow(nodes={"pdu": bound(0)}))

    assert (zero.cap, zero.usable_w[0]) == (bound(0), 0)
    assert below.bound_w.tolist() == [UNLIMITED_W, 0]


def test_the_margin_is_kept_from_every_limit_and_rounded_down() -> None:
    kept = limits(7_777)

    assert kept.usable_w.tolist() == [7_699, 3_960]
    assert kept.bound_w.tolist() == [7_777, 4_000]
    assert (kept.goal_w, kept.aim_w) == (7_699, 7_699)


@pytest.mark.parametrize(("target_w", "goal_w"), [(8_000, 8_000), (9_950, 9_900)])
def test_a_set_point_is_met_and_the_rating_above_it_still_keeps_its_margin(
    target_w: int, goal_w: int
) -> None:
    follows = limits(target_w, CapReason.TARGET)

    assert (follows.goal_w, follows.usable_w[0], follows.bound_w[0]) == (goal_w, 9_900, 10_000)


def test_only_a_set_point_below_every_limit_is_followed() -> None:
    assert limits(8_000, CapReason.TARGET).follows
    assert not limits(12_000, CapReason.TARGET).follows
    assert not limits(8_000, CapReason.EVENT).follows


@pytest.mark.parametrize(("asked_w", "bound_w"), [(3_000, 3_000), (5_000, 4_000)])
def test_a_node_is_held_to_the_lower_of_its_rating_and_what_an_event_asks_there(
    asked_w: int, bound_w: int
) -> None:
    here = site(node("pdu", limit_w=4_000), node("shelf"), limit_w=10_000)
    grid = GridNow(nodes={"pdu": bound(asked_w)})

    found = limits_now(ground_of(here), grid)

    assert found.bound_w.tolist() == [10_000, bound_w, UNLIMITED_W]


@pytest.mark.parametrize("margin", [0.0, 0.01, 0.07])
def test_a_best_effort_limit_leaves_what_works_to_the_watt_and_no_more_whatever_margin_is_kept(
    margin: float,
) -> None:
    here = site(node("pdu"), limit_w=10_000, margin=margin)
    soft = {"site": NO_LIMIT, "pdu": NO_LIMIT}
    grid = replace(asked(100, CapReason.EVENT), nodes={"pdu": bound(100)}, firm=soft)

    for works_w in range(2_000, 2_100):
        works = np.array([works_w, works_w - 50])
        found = limits_now(ground_of(here), grid, works)

        assert found.usable_w.tolist() == works.tolist()


def test_a_best_effort_limit_leaves_no_more_than_the_firm_ones_beside_it() -> None:
    grid = replace(asked(100, CapReason.EVENT), firm={"site": bound(1_500)})

    found = limits_now(ground_of(site(node("pdu"), limit_w=10_000)), grid, np.array([2_000, 0]))

    assert found.bound_w.tolist() == [1_500, UNLIMITED_W]


def test_no_aim_passes_what_may_be_used() -> None:
    follows = limits(8_000, CapReason.TARGET)

    assert (follows.aimed_at(9_000).aim_w, follows.aimed_at(9_950).aim_w) == (9_000, 9_900)


def test_the_moment_holds_the_site_to_its_rating_even_without_an_event() -> None:
    assert limits(None).due == bound(10_000)
    assert limits(12_000).due == bound(10_000)


def test_room_is_what_a_load_leaves_and_negative_where_it_is_too_much() -> None:
    free = limits(None, rating_w=None, margin=0.0)

    room = free.room_w(np.array([9_000, 4_500]))

    assert room.tolist() == [UNLIMITED_W, -500]


def test_an_aim_leaves_the_root_less_room_and_no_other_node() -> None:
    load_w = np.array([5_000, 1_000])

    aimed = limits(8_000, CapReason.TARGET, margin=0.0).aimed_at(6_000)
    free = limits(None, rating_w=None, margin=0.0)

    assert aimed.room_w(load_w).tolist() == [5_000, 3_000]
    assert aimed.aimed_room_w(load_w).tolist() == [1_000, 3_000]
    assert free.aimed_room_w(load_w).tolist() == [UNLIMITED_W, 3_000]


RAMPED = site(node("row"), limit_w=50_000, ramp_down_w=1_000)


def on_a_ramp(grid: GridNow) -> Limits:
    return limits_now(ground_of(RAMPED), grid)


def test_what_there_is_time_for_on_a_ramp_is_planned_with_and_holds_once_it_is_owed() -> None:
    early = on_a_ramp(asked(10_000, CapReason.EVENT, due_by_s=60.0))
    late = on_a_ramp(asked(10_000, CapReason.EVENT, due_by_s=0.0))

    assert (early.cap, early.due, early.held_w[0]) == (bound(10_000), bound(50_000), 50_000)
    assert (late.cap, late.due, late.held_w[0]) == (bound(10_000), bound(10_000), 10_000)


def test_where_nothing_has_a_ramp_a_limit_holds_as_soon_as_it_is_planned_with() -> None:
    here = site(node("row"), limit_w=50_000)
    early = replace(asked(10_000, CapReason.EVENT, due_by_s=60.0), nodes={"row": bound(900)})

    assert limits_now(ground_of(here), early).held_w.tolist() == [10_000, 900]


def test_what_is_owed_within_a_site_with_a_ramp_holds_there() -> None:
    grid = GridNow(nodes={"row": bound(900)}, owed_at_nodes={"row": bound(2_000)})

    found = on_a_ramp(grid)

    assert (found.bound_w.tolist(), found.held_w.tolist()) == ([50_000, 900], [50_000, 2_000])


def test_what_is_owed_on_a_ramp_and_what_is_coming_keep_their_margin() -> None:
    here = site(node("row"), limit_w=50_000, ramp_down_w=1_000, margin=0.01)
    early = replace(asked(10_000, CapReason.EVENT, due_by_s=60.0), coming=(Coming(30.0, "row", Power(950)),))

    found = limits_now(ground_of(here), early)

    assert (found.usable_w[0], found.to_hold_w[0]) == (9_900, 49_500)
    assert found.coming == ((30.0, 1, 940),)


@pytest.mark.parametrize(("cap_w", "owed_in_s"), [(49_999, {0: 60.0}), (50_000, {}), (60_000, {})])
def test_no_event_gives_time_for_what_a_place_is_rated_for(cap_w: int, owed_in_s: dict[int, float]) -> None:
    event = asked(cap_w, CapReason.EVENT, due_by_s=60.0)

    assert on_a_ramp(replace(event, owed_in_s={"site": 60.0})).owed_in_s == owed_in_s


def test_only_where_ramps_lead_down_it_matters_what_is_coming() -> None:
    grid = GridNow(coming=(Coming(30.0, "row", Power(900)),))
    level = limits_now(ground_of(site(node("row"))), grid)

    assert (level.coming, on_a_ramp(grid).coming) == ((), ((30.0, 1, 900),))


@pytest.mark.parametrize(("target_w", "reason"), [(8_000, CapReason.TARGET), (29_000, CapReason.EVENT)])
def test_a_set_point_is_followed_only_below_the_limit_that_a_ramp_leads_to(
    target_w: int, reason: CapReason
) -> None:
    falling = asked(10_000, CapReason.EVENT, due_by_s=60.0)

    found = on_a_ramp(replace(falling, target=bound(target_w), target_events=("t",)))

    assert (found.cap, found.cap_reason) == (bound(min(target_w, 10_000)), reason)
