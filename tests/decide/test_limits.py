"""Ratings, events and margins become a bound per node."""

from __future__ import annotations

import numpy as np
import pytest

from controller.decide.limits import Limits, Moment, limits_now, rated_w
from controller.decide.plan import UNLIMITED_W, CapReason
from controller.decide.timeline import GridNow
from controller.domain.power import NO_LIMIT
from tests.decide.builders import NOW_S, UTC_S, bound, node, site


def limits(
    cap_w: int | None,
    reason: CapReason = CapReason.EVENT,
    *,
    rating_w: int | None = 10_000,
    margin: float = 0.01,
) -> Limits:
    grid = GridNow(cap=bound(cap_w), due=bound(cap_w), cap_reason=reason, cap_event="e")
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


@pytest.mark.parametrize(("target_w", "goal_w"), [(8_000, 8_000), (9_950, 9_900)])
def test_a_set_point_is_met_and_the_rating_above_it_still_keeps_its_margin(
    target_w: int, goal_w: int
) -> None:
    follows = limits(target_w, CapReason.TARGET)

    assert (follows.goal_w, follows.usable_w[0], follows.bound_w[0]) == (goal_w, 9_900, 10_000)


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
