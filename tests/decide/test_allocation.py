"""The allocation fits every node, is close to the best there is, and says how close."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.decide.allocation import Allocation, Choice, allocate
from tests.decide.strategies import bounded

FREE = 10**9
WAYS = {"site": ("site",), "pdu": ("pdu", "site"), "breaker": ("breaker", "pdu", "site")}


def choice(device: str, *points: tuple[int, float], node: str = "site") -> Choice:
    return Choice(
        device=device,
        node=node,
        watts=tuple(watts for watts, _ in points),
        values=tuple(value for _, value in points),
    )


def give(*choices: Choice, site: int = FREE, pdu: int = FREE, breaker: int = FREE) -> Allocation:
    return allocate(choices, {"site": site, "pdu": pdu, "breaker": breaker}, WAYS)


def watts(made: Allocation, *choices: Choice) -> dict[str, int]:
    return {one.device: one.watts[made.index[one.device]] for one in choices}


# Examples


def test_without_a_bound_every_device_has_its_best_point_and_not_its_highest() -> None:
    made = give(choice("a", (30, 0.0), (2_000, 5.0), (3_000, 4.0)))

    assert (made.index, made.blocked_by, made.value, made.gap) == ({"a": 1}, {}, 5.0, 0.0)


def test_watts_go_where_they_earn_most() -> None:
    good = choice("good", (0, 0.0), (1_000, 10.0))
    bad = choice("bad", (0, 0.0), (1_000, 9.0))

    made = give(bad, good, site=1_500)

    assert watts(made, good, bad) == {"good": 1_000, "bad": 0}
    assert made.blocked_by == {"bad": "site"}


def test_a_point_below_the_line_between_its_neighbours_is_used_only_to_fill_what_is_left() -> None:
    kinked = choice("a", (0, 0.0), (1_000, 1.0), (2_000, 10.0))

    assert watts(give(kinked, site=2_000), kinked) == {"a": 2_000}
    assert watts(give(kinked, site=1_999), kinked) == {"a": 1_000}


def test_the_lowest_full_node_on_the_way_up_is_named() -> None:
    one = choice("a", (0, 0.0), (1_000, 1.0), node="breaker")

    assert give(one, breaker=999, pdu=999).blocked_by == {"a": "breaker"}
    assert give(one, pdu=999, site=999).blocked_by == {"a": "pdu"}


def test_what_one_breaker_cannot_use_is_given_elsewhere() -> None:
    inside = choice("inside", (0, 0.0), (1_000, 9.0), node="breaker")
    outside = choice("outside", (0, 0.0), (1_000, 1.0))

    made = give(inside, outside, breaker=500, site=1_000)

    assert watts(made, inside, outside) == {"inside": 0, "outside": 1_000}


def test_where_even_the_lowest_does_not_fit_it_says_so_and_goes_on_elsewhere() -> None:
    stuck = choice("stuck", (100, 0.0), (1_000, 9.0), node="breaker")
    free = choice("free", (30, 0.0), (1_000, 1.0))

    made = give(stuck, free, breaker=50)

    assert made.infeasible == ("breaker",)
    assert made.room_w["breaker"] == -50
    assert watts(made, stuck, free) == {"stuck": 100, "free": 1_000}


def test_a_device_that_is_paid_to_draw_and_one_that_pays_for_it_go_opposite_ways() -> None:
    paid = choice("paid", (0, -1.0), (1_000, 5.0))
    pays = choice("pays", (0, 0.0), (1_000, -5.0))

    assert give(paid, pays).index == {"paid": 1, "pays": 0}


def test_nothing_to_allocate_has_no_gap() -> None:
    made = give()

    assert (made.value, made.bound, made.gap) == (0, 0, 0.0)


def test_the_gap_is_how_far_the_value_may_lie_below_the_best() -> None:
    lumpy = choice("a", (0, 0.0), (1_000, 10.0))

    made = give(lumpy, site=500)

    assert (made.value, made.bound, made.gap) == (0.0, 5.0, 1.0)


# For all small instances


@st.composite
def instances(draw: st.DrawFn) -> tuple[list[Choice], dict[str, int]]:
    choices = []
    for device in range(draw(st.integers(1, 5))):
        steps = draw(st.lists(st.integers(1, 40), min_size=0, max_size=3))
        floor = draw(st.integers(0, 10))
        powers = [floor + sum(steps[:at]) for at in range(len(steps) + 1)]
        points = [(power, draw(st.integers(-20, 60)) / 4) for power in powers]
        choices.append(choice(f"d{device}", *points, node=draw(st.sampled_from(sorted(WAYS)))))
    rooms = {node: draw(st.one_of(st.integers(0, 150), st.just(FREE))) for node in WAYS}
    return choices, rooms


def fits(choices: Sequence[Choice], index: Sequence[int], room_w: dict[str, int]) -> bool:
    load = dict.fromkeys(room_w, 0)
    for one, at in zip(choices, index, strict=True):
        for node in WAYS[one.node]:
            load[node] += one.watts[at]
    return all(load[node] <= room for node, room in room_w.items())


def best(choices: Sequence[Choice], room_w: dict[str, int]) -> float | None:
    """By trying everything; None where nothing fits."""
    values = [
        sum(one.values[at] for one, at in zip(choices, index, strict=True))
        for index in product(*(range(len(one.watts)) for one in choices))
        if fits(choices, index, room_w)
    ]
    return max(values, default=None)


@bounded(300)
@given(instances())
def test_an_allocation_fits_and_lies_between_its_bound_and_its_stated_gap_of_the_best(
    instance: tuple[list[Choice], dict[str, int]],
) -> None:
    choices, room_w = instance
    optimum = best(choices, room_w)

    made = allocate(choices, room_w, WAYS)

    index = [made.index[one.device] for one in choices]
    assert (optimum is None) is bool(made.infeasible)
    if optimum is not None:
        assert fits(choices, index, room_w)
        assert made.value <= optimum + 1e-9
        assert optimum <= made.bound + 1e-9
        assert optimum - made.value <= made.gap * abs(made.bound) + 1e-9


@bounded(200)
@given(instances())
def test_room_is_what_the_allocation_leaves(instance: tuple[list[Choice], dict[str, int]]) -> None:
    choices, room_w = instance

    made = allocate(choices, room_w, WAYS)

    for node, room in room_w.items():
        used = sum(one.watts[made.index[one.device]] for one in choices if node in WAYS[one.node])
        assert made.room_w[node] == room - used


@bounded(200)
@given(instances(), st.randoms(use_true_random=False))
def test_the_order_of_devices_changes_nothing(
    instance: tuple[list[Choice], dict[str, int]], shuffler: random.Random
) -> None:
    choices, room_w = instance
    shuffled = list(choices)
    shuffler.shuffle(shuffled)

    assert allocate(shuffled, room_w, WAYS) == allocate(choices, room_w, WAYS)


@bounded(200)
@given(instances())
def test_a_blocked_device_cannot_have_its_next_better_point(
    instance: tuple[list[Choice], dict[str, int]],
) -> None:
    choices, room_w = instance

    made = allocate(choices, room_w, WAYS)

    for one in choices:
        at = made.index[one.device]
        better = [point for point in range(at + 1, len(one.watts)) if one.values[point] > one.values[at]]
        if better:
            assert one.device in made.blocked_by
        for point in better:
            assert any(made.room_w[node] < one.watts[point] - one.watts[at] for node in WAYS[one.node])


@pytest.mark.parametrize("cap_w", [40_000, 80_000, 130_000])
def test_at_a_site_cap_over_fine_steps_the_stated_gap_is_small(cap_w: int) -> None:
    choices = [
        choice(f"d{at:03}", *((30 + 300 * step, (1 + at % 7) * (step**0.8)) for step in range(12)))
        for at in range(50)
    ]

    assert give(*choices, site=cap_w).gap < 0.01
