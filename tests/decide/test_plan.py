"""A plan's grants and nodes are arrays inside and sequences of values to whoever reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from controller.decide.plan import Grant, Grants, NodeState, NodeStates
from controller.decide.words import Reason, Truth
from controller.domain.power import NO_LIMIT, Power
from tests.decide.builders import FULL, LOW, SLEEP, bound, grants_of, miner, nodes_of

GRANTED = tuple(
    Grant(
        device=name,
        point=point,
        power=Power(watts),
        worst=Power(watts + 1),
        draw=Power(watts - 1),
        age_s=age_s,
        wanted=wanted,
        reason=reason,
        truth=truth,
        limited_by=by,
    )
    for name, point, watts, age_s, wanted, reason, truth, by in (
        ("a", SLEEP, 30, 0.5, FULL, Reason.LIMITED, Truth.CONFIRMED, "pdu"),
        ("b", LOW, 2_400, 1.5, LOW, Reason.FULL, Truth.LYING, ""),
        ("c", FULL, 3_500, 2.5, SLEEP, Reason.STALE, Truth.STALE, "site"),
    )
)
STATES = (
    NodeState(
        node="site",
        limit=bound(5_000),
        granted=Power(4),
        worst=Power(5),
        drawn=Power(7),
        unexplained=Power(6),
        feasible=False,
    ),
    NodeState(
        node="pdu",
        limit=NO_LIMIT,
        granted=Power(1),
        worst=Power(2),
        drawn=Power(8),
        unexplained=Power(3),
        metered=Power(0),
    ),
    NodeState(
        node="shelf", limit=bound(0), granted=Power(0), worst=Power(0), drawn=Power(0), unexplained=Power(0)
    ),
)


def granted(said: Sequence[Grant] = GRANTED) -> Grants:
    return grants_of([miner(one.device) for one in said], said, ("site", "pdu"))


BOTH = pytest.mark.parametrize(("held", "said"), [(granted(), GRANTED), (nodes_of(*STATES), STATES)])


@BOTH
def test_what_was_put_into_a_plan_is_what_is_read_from_it(held: Sequence[Any], said: Sequence[Any]) -> None:
    assert tuple(held) == said
    assert (len(held), held[0], held[-1]) == (3, said[0], said[2])


@BOTH
@pytest.mark.parametrize(
    "part", [slice(None), slice(1, None), slice(0, 2), slice(-1, None), slice(None, None, -1), slice(5, 9)]
)
def test_a_part_of_a_plan_is_that_part(held: Sequence[Any], said: Sequence[Any], part: slice) -> None:
    assert tuple(held[part]) == said[part]


@BOTH
@pytest.mark.parametrize("at", [3, -4])
def test_a_row_that_is_not_there_is_an_error_and_not_another_row(
    held: Sequence[Any], said: Sequence[Any], at: int
) -> None:
    with pytest.raises(IndexError):
        held[at]


def test_a_device_is_found_by_its_id_and_a_stranger_is_an_error() -> None:
    assert granted().of("b") == GRANTED[1]
    with pytest.raises(KeyError):
        granted().of("z")


@pytest.mark.parametrize(
    "change",
    [
        {"power": Power(2_401)},
        {"wanted": FULL},
        {"age_s": 1.6},
        {"reason": Reason.IDLE},
        {"limited_by": "pdu"},
    ],
)
def test_grants_are_equal_only_where_every_grant_is(change: dict[str, Any]) -> None:
    other = granted((GRANTED[0], replace(GRANTED[1], **change), GRANTED[2]))

    assert granted() == granted()
    assert granted() != other
    assert granted() != granted(GRANTED[:2])


@pytest.mark.parametrize("change", [{"limit": NO_LIMIT}, {"feasible": True}, {"metered": Power(0)}])
def test_nodes_are_equal_only_where_every_node_is(change: dict[str, Any]) -> None:
    other = nodes_of(replace(STATES[0], **change), *STATES[1:])

    assert nodes_of(*STATES) == nodes_of(*STATES)
    assert nodes_of(*STATES) != other


@pytest.mark.parametrize("held", [granted(), nodes_of(*STATES)])
def test_a_plans_sequences_equal_nothing_but_their_like_and_are_no_keys(held: Grants | NodeStates) -> None:
    assert held != list(held)
    with pytest.raises(TypeError):
        hash(held)


def test_a_device_says_why_and_which_node_is_in_its_way_if_one_is() -> None:
    held = granted((*GRANTED[:2], replace(GRANTED[2], reason=Reason.LIMITED)))

    assert [held.why(name) for name in "abc"] == ["limited pdu", "full", "limited site"]
