"""Ratings, events and margins become a bound per node."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.decide.limits import Limits, Moment, Reach, limits_now, rated_w
from controller.decide.plan import UNLIMITED_W, CapReason
from controller.decide.timeline import GridNow
from controller.domain.power import NO_LIMIT
from tests.decide.builders import NOW_S, UTC_S, bound, node, site


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
    return limits_now(here, rated_w(here), grid, Moment(now_s=NOW_S, utc_s=UTC_S))


def test_the_cap_is_the_lower_of_rating_and_event_and_says_which() -> None:
    by_event, by_rating = limits(8_000), limits(12_000)

    assert (by_event.cap, by_event.cap_reason, by_event.cap_event) == (bound(8_000), CapReason.EVENT, "e")
    assert (by_rating.cap, by_rating.cap_reason, by_rating.cap_event) == (bound(10_000), CapReason.RATING, "")


def test_without_rating_and_event_there_is_no_cap_and_nothing_that_sets_it() -> None:
    free = limits(None, CapReason.NONE, rating_w=None)

    assert (free.cap, free.cap_reason, free.usable_w[0]) == (NO_LIMIT, CapReason.NONE, UNLIMITED_W)


def test_a_cap_of_nothing_is_a_cap() -> None:
    zero = limits(0)

    assert (zero.cap, zero.usable_w[0]) == (bound(0), 0)


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

    found = limits_now(here, rated_w(here), grid, Moment(now_s=NOW_S, utc_s=UTC_S))

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
        found = limits_now(here, rated_w(here), grid, Moment(now_s=NOW_S, utc_s=UTC_S), works)

        assert found.usable_w.tolist() == works.tolist()


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


RAMPED = site(limit_w=50_000, ramp_down_w=1_000)


def cap_on_the_ramp(grid: GridNow, *, reached_s: float = NOW_S - 2.0) -> Limits:
    """The limits of a site that could draw 30 kW at `reached_s`."""
    reach = Reach(power_w=(30_000,), at_s=reached_s)
    return limits_now(RAMPED, rated_w(RAMPED), grid, Moment(now_s=NOW_S, utc_s=UTC_S, reach=reach))


def sudden(cap_w: int | None, reason: CapReason = CapReason.EVENT, *, due_by_s: float = 60.0) -> GridNow:
    return asked(cap_w, reason, due_by_s=due_by_s)


def test_on_its_ramp_a_site_is_held_to_its_rating_and_at_the_end_of_it_to_the_event() -> None:
    falling, there = cap_on_the_ramp(sudden(10_000)), cap_on_the_ramp(sudden(29_000))

    assert (falling.cap, falling.due) == (bound(28_000), bound(50_000))
    assert (there.cap, there.due) == (bound(29_000), bound(29_000))


def test_a_ramp_is_for_limits_in_their_time_only() -> None:
    assert cap_on_the_ramp(sudden(10_000, due_by_s=0.0)).cap == bound(10_000)
    assert cap_on_the_ramp(sudden(None, CapReason.NONE)).cap == bound(50_000)


def test_a_set_point_below_a_limit_on_its_ramp_is_followed_and_leaves_the_ramp_as_it_is() -> None:
    falling = replace(sudden(10_000), target=bound(8_000), target_events=("t",))

    followed = cap_on_the_ramp(falling)

    assert (followed.cap, followed.cap_reason, followed.cap_event) == (bound(8_000), CapReason.TARGET, "t")
    assert (followed.goal_w, int(followed.bound_w[0])) == (8_000, 28_000)


def test_a_set_point_is_followed_until_the_ramp_of_a_lower_limit_reaches_it() -> None:
    falling = replace(sudden(10_000), target=bound(29_000), target_events=("t",))

    above, below = cap_on_the_ramp(falling, reached_s=NOW_S), cap_on_the_ramp(falling)

    assert (above.cap, above.cap_reason) == (bound(29_000), CapReason.TARGET)
    assert (below.cap, below.cap_reason) == (bound(28_000), CapReason.EVENT)


def test_a_clock_that_went_back_raises_no_cap() -> None:
    assert cap_on_the_ramp(sudden(10_000), reached_s=NOW_S + 5).cap == bound(30_000)
