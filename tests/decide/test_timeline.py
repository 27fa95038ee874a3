"""Overlapping events become one limit, one target and one price."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from controller.decide.schedule import Coming, interval_at
from controller.decide.timeline import GridNow, grid_now
from controller.decide.words import CapReason
from controller.domain.grid import GridEvent, LimitSignal, PriceSignal, RelativeTargetSignal, TargetSignal
from controller.domain.power import NO_LIMIT, Power
from controller.domain.site import LinkLost
from tests.decide.builders import NOW_S, UTC_S, bound, event, interval, node, site

SHIFT_S = UTC_S - NOW_S
LOST = frozenset({""})


def at(
    now_s: float, *events: GridEvent, lost: Set[str] = frozenset(), lead_s: float = 20.0, **policy: Any
) -> GridNow:
    return grid_now(
        events,
        SHIFT_S + now_s,
        lost,
        site(node("hall", ramp_down_w=100), node("row"), event_lead_s=lead_s, **policy),
    )


def test_without_events_nothing_is_asked() -> None:
    assert at(NOW_S) == GridNow()


@pytest.mark.parametrize(
    ("now_s", "cap_w", "due_w"),
    [
        (79.0, None, None),
        (80.0, 500, None),
        (99.9, 500, None),
        (100.0, 500, 500),
        (199.9, 500, 500),
        (200.0, None, None),
    ],
)
def test_a_limit_is_gone_by_early_and_due_from_its_start_until_just_before_its_end(
    now_s: float, cap_w: int | None, due_w: int | None
) -> None:
    grid = at(now_s, event(limit_w=500, start_s=100.0, end_s=200.0))

    assert (grid.limit, grid.due) == (bound(cap_w), bound(due_w))


def test_an_event_is_active_in_its_window_and_not_in_its_lead() -> None:
    dr = event(limit_w=500, start_s=100.0, end_s=200.0)

    assert (at(90.0, dr).active, at(100.0, dr).active, at(200.0, dr).active) == ((), (dr,), ())


def test_the_lowest_limit_holds_whatever_the_priorities() -> None:
    strict = event("strict", limit_w=300, priority=9)
    urgent = event("urgent", limit_w=500, priority=1)

    grid = at(NOW_S, urgent, strict)

    assert (grid.limit, grid.limit_event) == (bound(300), "strict")


def test_a_limit_of_nothing_is_a_limit() -> None:
    assert at(NOW_S, event(limit_w=0)).limit == bound(0)


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        (event("a", target_w=1, priority=2), event("b", target_w=2, priority=1), 2),
        (event("a", target_w=1, version_utc_s=5.0), event("b", target_w=2, version_utc_s=6.0), 2),
        (event("b", target_w=2), event("a", target_w=1), 1),
    ],
)
def test_of_targets_the_lowest_priority_number_wins_then_the_newest_then_the_id(
    first: GridEvent, second: GridEvent, winner: int
) -> None:
    for events in permutations((first, second)):
        assert at(NOW_S, *events).target == bound(winner)


def test_of_prices_the_lowest_priority_number_wins() -> None:
    events = (event("a", usd_per_kwh=0.5, priority=2), event("b", usd_per_kwh=-0.1, priority=1))

    assert at(NOW_S, *events).usd_per_kwh == -0.1


def test_a_target_and_a_limit_hold_beside_each_other() -> None:
    target = event("target", target_w=700)

    above = at(NOW_S, target, event("limit", limit_w=900))
    below = at(NOW_S, target, event("limit", limit_w=600))

    assert (above.target, above.limit, above.limit_event) == (bound(700), bound(900), "limit")
    assert (below.target, below.limit, below.limit_event) == (bound(700), bound(600), "limit")


def test_a_target_is_met_no_earlier_than_it_starts() -> None:
    assert at(90.0, event(target_w=700, start_s=100.0)).target == NO_LIMIT


def test_each_interval_of_an_event_holds_in_its_own_time_and_none_in_between() -> None:
    steps = replace(
        event(),
        intervals=(
            interval(100.0, 200.0, LimitSignal(Power(500)), PriceSignal(0.2)),
            interval(300.0, 400.0, LimitSignal(Power(300)), TargetSignal(Power(250))),
        ),
    )

    asked = [at(now_s, steps, lead_s=0.0) for now_s in (99.0, 150.0, 250.0, 350.0, 450.0)]

    assert [grid.limit for grid in asked] == [NO_LIMIT, bound(500), NO_LIMIT, bound(300), NO_LIMIT]
    assert [grid.target for grid in asked] == [NO_LIMIT, NO_LIMIT, NO_LIMIT, bound(250), NO_LIMIT]
    assert [at(now_s, steps).usd_per_kwh for now_s in (150.0, 350.0)] == [0.2, None]


def test_a_lower_interval_is_prepared_while_the_one_before_it_still_holds() -> None:
    steps = replace(
        event(),
        intervals=(
            interval(100.0, 200.0, LimitSignal(Power(500))),
            interval(200.0, 300.0, LimitSignal(Power(300))),
        ),
    )

    grid = at(185.0, steps)

    assert (grid.limit, grid.due) == (bound(300), bound(500))


def test_a_cancelled_event_asks_nothing() -> None:
    assert at(NOW_S, replace(event(limit_w=5), intervals=())) == GridNow()


def test_an_open_ended_event_never_ends() -> None:
    assert at(1e12, event(limit_w=5)).limit == bound(5)


def test_on_a_lost_link_the_contract_limit_holds_where_no_accepted_event_does() -> None:
    contract = bound(400)

    alone = at(NOW_S, lost=LOST, link_lost_limit=contract)
    during = at(NOW_S, event(limit_w=900), lost=LOST, link_lost_limit=contract)
    up = at(NOW_S, link_lost_limit=contract)

    assert (alone.limit, alone.limit_reason) == (contract, CapReason.LINK_LOST)
    assert (during.limit, up.limit) == (bound(900), NO_LIMIT)


def test_on_a_lost_link_without_a_contract_limit_nothing_new_is_asked() -> None:
    assert at(NOW_S, lost=LOST).limit == NO_LIMIT


def test_the_next_change_is_the_next_edge_of_any_event_lead_included() -> None:
    dr = event(limit_w=5, start_s=100.0, end_s=200.0)

    edges = [at(now_s, dr).next_change_utc_s - SHIFT_S for now_s in (0.0, 80.0, 100.0, 200.0)]

    assert edges == [80.0, 100.0, 200.0, float("inf")]


def test_the_interval_of_a_moment_is_the_one_it_lies_in() -> None:
    dr = event(limit_w=5, start_s=100.0, end_s=200.0)

    assert interval_at(dr, SHIFT_S + 100.0) == dr.intervals[0]
    assert interval_at(dr, SHIFT_S + 200.0) is None


def test_on_a_lost_link_the_contract_limit_holds_until_the_next_event_has_really_begun() -> None:
    looser = event(limit_w=900, start_s=100.0)

    leading = at(90.0, looser, lost=LOST, link_lost_limit=bound(400))
    begun = at(100.0, looser, lost=LOST, link_lost_limit=bound(400))

    assert (leading.limit, leading.due, leading.limit_reason) == (bound(400), bound(400), CapReason.LINK_LOST)
    assert (begun.limit, begun.due) == (bound(900), bound(900))


def test_an_accepted_target_goes_on_over_a_lost_link() -> None:
    grid = at(NOW_S, event(target_w=700), lost=LOST, link_lost_limit=bound(400))

    assert (grid.target, grid.limit, grid.due) == (bound(700), NO_LIMIT, NO_LIMIT)


def test_the_sites_own_curtailment_does_not_replace_the_contract_limit_of_a_lost_link() -> None:
    own = event(limit_w=900, is_own=True)

    grid = at(NOW_S, own, lost=LOST, link_lost_limit=bound(400))

    assert (grid.limit, grid.due, grid.limit_reason) == (bound(400), bound(400), CapReason.LINK_LOST)


@pytest.mark.parametrize("other", [event("b", limit_w=900), event("b", target_w=900, priority=1)])
def test_what_another_operator_asks_for_does_not_replace_the_contract_limit_of_a_lost_link(
    other: GridEvent,
) -> None:
    other = replace(other, operator="b")

    silent = at(NOW_S, other, lost={"a"}, link_lost_limit=bound(400))
    silent_too = at(NOW_S, other, lost={"a", "b"}, link_lost_limit=bound(400))
    known = at(NOW_S, other, lost={"b"}, link_lost_limit=bound(400))

    assert (silent.limit, silent.due, silent.limit_reason) == (bound(400), bound(400), CapReason.LINK_LOST)
    assert (silent_too.limit, silent_too.limit_reason) == (bound(400), CapReason.LINK_LOST)
    assert known.limit_reason is not CapReason.LINK_LOST


def test_each_silent_operator_has_the_limit_of_its_own_contract_or_else_the_common_one() -> None:
    contracts: dict[str, Any] = {
        "link_lost_limit": bound(400),
        "link_lost": (LinkLost(operator="a", limit=Power(600)), LinkLost(operator="b", limit=Power(500))),
    }

    own = at(NOW_S, lost={"a"}, **contracts)
    lower = at(NOW_S, lost={"a", "b"}, **contracts)
    common = at(NOW_S, lost={"a", "b", "c"}, **contracts)

    assert [grid.limit for grid in (own, lower, common)] == [bound(600), bound(500), bound(400)]
    assert {grid.limit_reason for grid in (own, lower, common)} == {CapReason.LINK_LOST}
    assert at(NOW_S, lost={"c"}, link_lost=contracts["link_lost"]).limit == NO_LIMIT


def test_a_contract_for_a_node_limits_that_node_alone_and_gives_way_to_what_its_operator_asks_there() -> None:
    contract: dict[str, Any] = {"link_lost": (LinkLost(operator="a", limit=Power(600), node="row"),)}
    there = replace(event("e", limit_w=900, node="row"), operator="a")
    elsewhere = [
        replace(event("e", limit_w=900, node="hall"), operator="a"),
        replace(event("e", limit_w=900), operator="a"),
        replace(event("e", limit_w=900, node="row"), operator="b"),
    ]

    alone = at(NOW_S, lost={"a"}, **contract)
    asked = at(NOW_S, there, lost={"a"}, **contract)
    heard = at(NOW_S, lost={"b"}, **contract)

    assert (alone.limit, alone.nodes, alone.owed_at_nodes) == (
        NO_LIMIT,
        {"row": bound(600)},
        {"row": bound(600)},
    )
    assert (asked.nodes, heard.nodes) == ({"row": bound(900)}, {})
    assert [at(NOW_S, one, lost={"a"}, **contract).nodes["row"] for one in elsewhere] == [bound(600)] * 3


def test_best_effort_at_a_node_does_not_loosen_its_contract() -> None:
    soft = replace(event("e", limit_w=100, node="row", best_effort=True), operator="b")

    grid = at(NOW_S, soft, lost={"a"}, link_lost=(LinkLost(operator="a", limit=Power(600), node="row"),))

    assert (grid.nodes, grid.firm) == ({"row": bound(100)}, {"row": bound(600)})


def test_a_silent_operators_set_point_goes_on_also_where_another_one_comes_first() -> None:
    first = event("b", target_w=700, priority=1, operator="b")
    second = event("a", target_w=900, priority=2, operator="a")

    grid = at(NOW_S, first, second, lost={"a"}, link_lost_limit=bound(400))

    assert (grid.target, grid.limit) == (bound(700), NO_LIMIT)


def test_a_relative_set_point_without_ground_does_not_replace_the_contract_limit_of_a_lost_link() -> None:
    change = event("e", RelativeTargetSignal(Power(-100)))

    unknown = at(NOW_S, change, lost=LOST, link_lost_limit=bound(400))
    known = at(NOW_S, replace(change, drawn_before=Power(900)), lost=LOST, link_lost_limit=bound(400))

    assert (unknown.limit, known.limit) == (bound(400), NO_LIMIT)


def test_a_price_does_not_replace_the_contract_limit_of_a_lost_link() -> None:
    grid = at(NOW_S, event(usd_per_kwh=0.3), lost=LOST, link_lost_limit=bound(400))

    assert (grid.limit, grid.due) == (bound(400), bound(400))


# Ramps and nodes


@pytest.mark.parametrize(("now_s", "ahead_s"), [(20.0, 60.0), (79.5, 0.5), (80.0, None), (200.0, None)])
def test_a_limit_is_known_to_be_coming_until_its_lead_time_begins(
    now_s: float, ahead_s: float | None
) -> None:
    coming = event(limit_w=500, start_s=100.0, end_s=200.0)

    found = at(now_s, coming).coming

    assert found == (() if ahead_s is None else (Coming(ahead_s, "site", Power(500)),))


def test_of_limits_that_are_coming_the_next_is_the_first_and_best_effort_is_none() -> None:
    late, soon = event(limit_w=500, start_s=100.0, node="row"), event(limit_w=900, start_s=90.0, node="hall")
    soft = event("soft", limit_w=100, start_s=95.0, best_effort=True)

    assert [one.node for one in at(20.0, late, soft, soon).coming] == ["hall", "row"]


def test_where_nothing_ramps_down_nobody_asks_what_is_coming() -> None:
    coming = event(limit_w=500, start_s=100.0, end_s=200.0)

    assert grid_now([coming], UTC_S - 80.0, frozenset(), site(node("row"))).coming == ()


def test_of_what_limits_a_place_now_it_is_known_when_no_ramp_may_delay_it_and_best_effort_is_never_owed() -> (
    None
):
    limit = event(limit_w=500, start_s=100.0, ramp_deadline_s=60.0)
    higher = event("higher", limit_w=900, start_s=100.0)
    soft = event("soft", limit_w=400, start_s=100.0, best_effort=True)
    here = event("here", limit_w=100, start_s=100.0, ramp_deadline_s=30.0, node="row")
    assert at(70.0, limit).owed_in_s == {}
    assert at(110.0, limit, higher, here).owed_in_s == {"site": 30.0, "row": 0.0}
    assert at(110.0, limit, soft).owed_in_s == {"site": float("inf")}
    assert at(110.0, limit, lost=LOST, link_lost_limit=bound(400)).owed_in_s == {"site": 30.0}
    assert at(110.0, lost=LOST, link_lost_limit=bound(400)).owed_in_s == {"site": 0.0}


def test_an_event_at_a_node_asks_nothing_of_the_site_nor_of_another_node() -> None:
    there = event(limit_w=500, start_s=100.0, end_s=200.0, node="row")

    found = [at(now_s, there) for now_s in (20.0, 100.0, 200.0)]

    assert (found[1].limit, found[1].nodes) == (NO_LIMIT, {"row": bound(500)})
    assert (found[0].nodes, found[2].nodes) == ({}, {})


def test_an_event_at_the_root_is_one_for_the_site() -> None:
    grid = at(NOW_S, event(limit_w=500, node="site"))

    assert (grid.limit, grid.nodes) == (bound(500), {})


def test_an_event_is_due_in_full_its_ramp_deadline_after_its_start_and_each_interval_for_itself() -> None:
    first, second = (
        interval(100.0, 200.0, LimitSignal(Power(900))),
        interval(200.0, 300.0, LimitSignal(Power(500))),
    )
    stepped = replace(event(ramp_deadline_s=30.0), intervals=(first, second))

    assert at(150.0, stepped).due_by_utc_s == SHIFT_S + 130.0
    assert at(200.0, stepped).due_by_utc_s == SHIFT_S + 230.0
    assert at(300.0, stepped).due_by_utc_s == float("-inf")


@pytest.mark.parametrize(
    ("deadline_s", "ahead_s"), [(0.0, 20.0), (20.0, 20.0), (30.0, 10.0), (40.0, 0.0), (90.0, 0.0)]
)
def test_a_limit_that_need_not_be_met_at_once_is_planned_with_by_as_much_less_before_its_start(
    deadline_s: float, ahead_s: float
) -> None:
    slow = event(limit_w=500, start_s=100.0, ramp_deadline_s=deadline_s)

    assert at(100.0 - ahead_s - 0.1, slow).limit == NO_LIMIT
    assert at(100.0 - ahead_s, slow).limit == bound(500)


def test_a_limit_at_a_node_waits_for_no_ramp_from_a_lead_before_its_ramp_deadline_on() -> None:
    there = event(limit_w=500, start_s=100.0, ramp_deadline_s=30.0, node="hall")

    assert at(109.9, there).owed_at_nodes == {}
    assert at(110.0, there).owed_at_nodes == {"hall": bound(500)}


def test_where_something_is_asked_by_best_effort_it_is_known_what_limits_that_place_besides() -> None:
    soft = event("soft", limit_w=100, best_effort=True)
    within = replace(soft, id="within", node="hall")
    firm, there = event("firm", limit_w=500), event("there", limit_w=300, node="hall")

    assert at(NOW_S, firm, there).firm == {}
    assert at(NOW_S, soft).firm == {"site": NO_LIMIT}
    assert at(NOW_S, soft, firm, there).firm == {"site": bound(500)}
    assert at(NOW_S, within, firm, there).firm == {"hall": bound(300)}
    assert at(NOW_S, replace(soft, node="site"), within, firm).firm == {"site": bound(500), "hall": NO_LIMIT}


def test_on_a_lost_link_the_contract_limit_is_one_that_best_effort_does_not_replace_before_it_begins() -> (
    None
):
    soft = event("soft", limit_w=100, start_s=NOW_S + 10, best_effort=True)
    within = replace(soft, id="within", node="hall")

    grid = at(NOW_S, soft, within, lost=LOST, link_lost_limit=bound(400))

    assert grid.firm == {"site": bound(400), "hall": NO_LIMIT}
