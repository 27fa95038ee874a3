"""The allocation fits every node, is close to the best there is, and says how close."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from controller.decide import hulls
from controller.decide.allocate import Allocation, Menu, allocate
from controller.decide.curve import chords, curve_of
from controller.decide.hulls import by_falling, falling
from controller.decide.packing import AT_ONCE, Packing, first_of, greedy
from controller.decide.relaxed import relaxed
from controller.decide.tree import Tree, load, tree_of
from controller.domain.site import Node, Site
from tests.bench.fleets import breakers_only, fleet
from tests.decide.optimum import by_highs
from tests.decide.strategies import bounded

FREE = 10**12
SITE = Site(
    name="s",
    nodes=(
        Node(id="site"),
        Node(id="pdu", parent="site"),
        Node(id="breaker", parent="pdu"),
        Node(id="other", parent="site"),
    ),
)
TREE = tree_of(SITE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    watts: tuple[int, ...]
    values: tuple[float, ...]
    node: str
    group: int


def device(*points: tuple[int, float], node: str = "site", group: int = -1) -> Device:
    watts, values = zip(*points, strict=True)
    return Device(watts=watts, values=values, node=node, group=group)


def menu(devices: Sequence[Device], tree: Tree = TREE) -> Menu:
    return Menu(
        node=np.array([tree.index[one.node] for one in devices], np.intp),
        start=np.cumsum([0, *(len(one.watts) for one in devices)]),
        watts=np.array([watts for one in devices for watts in one.watts], np.int64),
        values=np.array([value for one in devices for value in one.values], np.float64),
        group=np.array([one.group for one in devices]) if any(one.group >= 0 for one in devices) else None,
    )


def rooms(**room_w: int) -> NDArray[np.int64]:
    return np.array([room_w.get(name, FREE) for name in TREE.ids])


def give(*devices: Device, **room_w: int) -> Allocation:
    return allocate(menu(devices), rooms(**room_w), TREE)


def watts(made: Allocation, *devices: Device) -> list[int]:
    return [one.watts[at] for one, at in zip(devices, made.index.tolist(), strict=True)]


def blocked_by(made: Allocation) -> list[str | None]:
    return [TREE.ids[node] if node >= 0 else None for node in made.blocked_by.tolist()]


# Examples


def test_without_a_bound_every_device_has_its_best_point_and_not_its_highest() -> None:
    made = give(device((30, 0.0), (2_000, 5.0), (3_000, 4.0)))

    assert (made.index.tolist(), blocked_by(made), made.value, made.gap) == ([1], [None], 5.0, 0.0)


def test_watts_go_where_they_earn_most() -> None:
    bad, good = device((0, 0.0), (1_000, 9.0)), device((0, 0.0), (1_000, 10.0))

    made = give(bad, good, site=1_500)

    assert watts(made, bad, good) == [0, 1_000]
    assert blocked_by(made) == ["site", None]


def test_of_equals_the_first_is_served_first() -> None:
    equal = [device((0, 0.0), (1_000, 9.0))] * 3

    assert watts(give(*equal, site=2_000), *equal) == [1_000, 1_000, 0]


def test_what_no_best_point_fits_into_goes_to_lesser_ones_by_what_a_watt_earns_there() -> None:
    """They work for jobs, and are not traded for one another."""
    large = device((0, 50.0), (1_000, 53.0), (3_000, 150.0), group=0)
    small = [device((0, 0.0), (500, 2.0), (3_000, 99.0), group=group) for group in (1, 2)]

    assert watts(give(large, *small, site=1_000), large, *small) == [0, 500, 500]


def test_a_point_below_the_line_between_its_neighbours_is_used_only_to_fill_what_is_left() -> None:
    kinked = device((0, 0.0), (1_000, 1.0), (2_000, 10.0))

    assert watts(give(kinked, site=2_000), kinked) == [2_000]
    assert watts(give(kinked, site=1_999), kinked) == [1_000]


def test_what_is_left_is_filled_with_the_best_that_fits_and_not_the_lowest() -> None:
    kinked = device((0, 0.0), (1_000, 1.0), (1_100, 0.5), (1_200, 1.5), (2_000, 10.0))

    assert watts(give(kinked, site=1_999), kinked) == [1_200]


def test_the_lowest_full_node_on_the_way_up_is_named() -> None:
    one = device((0, 0.0), (1_000, 1.0), node="breaker")

    assert blocked_by(give(one, breaker=999, pdu=999)) == ["breaker"]
    assert blocked_by(give(one, pdu=999, site=999)) == ["pdu"]


def test_what_one_breaker_cannot_use_is_given_elsewhere() -> None:
    inside = device((0, 0.0), (1_000, 9.0), node="breaker")
    outside = device((0, 0.0), (1_000, 1.0))

    made = give(inside, outside, breaker=500, site=1_000)

    assert watts(made, inside, outside) == [0, 1_000]


def test_where_even_the_lowest_does_not_fit_it_says_so_and_goes_on_elsewhere() -> None:
    stuck = device((100, 0.0), (1_000, 9.0), node="breaker")
    free = device((30, 0.0), (1_000, 1.0))

    made = give(stuck, free, breaker=50)

    assert made.room_w[TREE.index["breaker"]] == -50
    assert watts(made, stuck, free) == [100, 1_000]


def test_a_device_that_is_paid_to_draw_and_one_that_pays_for_it_go_opposite_ways() -> None:
    paid = device((0, -1.0), (1_000, 5.0))
    pays = device((0, 0.0), (1_000, -5.0))

    assert give(paid, pays).index.tolist() == [1, 0]


def test_nothing_to_allocate_has_no_gap() -> None:
    made = give(site=-5)

    assert (made.value, made.bound, made.gap, made.room_w[0]) == (0, 0, 0.0, -5)


def test_a_device_without_a_choice_draws_what_it_draws() -> None:
    fixed, other = device((700, 0.0)), device((0, 0.0), (400, 1.0))

    made = give(fixed, other, site=1_000)

    assert (watts(made, fixed, other), made.room_w[0]) == ([700, 0], 300)


def test_the_gap_is_how_far_the_value_may_lie_below_the_best() -> None:
    made = give(device((0, 0.0), (1_000, 10.0)), site=500)

    assert (made.value, made.bound, made.gap) == (0.0, 5.0, 1.0)


def test_one_machine_makes_way_for_two_that_are_worth_more_together() -> None:
    steep = device((0, 0.0), (600, 6.6), node="breaker")
    flat = device((0, 0.0), (500, 5.0), node="breaker")

    made = give(steep, flat, flat, breaker=1_000)

    assert watts(made, steep, flat, flat) == [0, 500, 500]


def test_two_trades_at_different_nodes_do_not_spend_the_same_room_twice() -> None:
    """Each breaker would trade its 600 W for 1,000 W, and the site has room for one of them."""
    pairs = [
        device((0, 0.0), points, node=node)
        for node in ("breaker", "other")
        for points in ((600, 6.6), (500, 5.0), (500, 5.0))
    ]

    made = give(*pairs, breaker=1_000, other=1_000, site=1_650)

    assert sorted(watts(made, *pairs)) == [0, 0, 0, 500, 500, 600]
    assert made.room_w.min() >= 0


def test_a_trade_that_a_breaker_further_down_forbids_is_not_made() -> None:
    """Under the PDU two for one would be worth more, but both of them stand behind one small breaker."""
    steep = device((0, 0.0), (600, 6.6), node="pdu")
    flat = device((0, 0.0), (500, 5.0), node="breaker")

    made = give(steep, flat, flat, breaker=900, pdu=1_000)

    assert watts(made, steep, flat, flat) == [600, 0, 0]


def test_a_premium_does_not_blur_what_the_rest_earns() -> None:
    protected = device((0, 0.0), (700, 1e6))
    few = [device((0, 0.0), points) for points in ((600, 6.6), (500, 5.0), (500, 5.0))]

    made = give(protected, *few, site=1_700)

    assert watts(made, protected, *few) == [700, 0, 500, 500]


def test_what_pays_less_than_standing_still_does_not_end_a_search_for_better() -> None:
    """At 1,000 W the next candidate is worse; the one after it is better, and does not fit."""
    dented = device((0, 0.0), (1_000, 9.0), (1_100, 8.0), (2_000, 10.0), node="breaker")

    made = give(dented, breaker=1_999)

    assert watts(made, dented) == [1_000]
    assert blocked_by(made) == ["breaker"]


# Groups


def test_devices_of_a_group_are_served_together() -> None:
    """Two jobs on two GPUs each, named crosswise: the room is for one job, not for half of each."""
    gpus = [device((100, 0.0), (700, 6.0 + at / 1_000), group=at % 2) for at in range(4)]

    assert watts(give(*gpus, site=1_600), *gpus) in ([700, 100, 700, 100], [100, 700, 100, 700])


def test_a_group_is_not_taken_apart_for_a_trade() -> None:
    """The dearest two are of different groups, and worth 0.2 % more."""
    gpus = [device((100, 0.0), (700, 6.10 + at / 100), group=at % 2) for at in range(4)]

    assert watts(give(*gpus, site=1_600), *gpus) in ([700, 100, 700, 100], [100, 700, 100, 700])


def test_a_group_that_is_worth_more_is_served_before_others() -> None:
    gpus = [device((100, 0.0), (700, 5.0 + at % 2), group=at % 2) for at in range(4)]

    assert watts(give(*gpus, site=1_600), *gpus) == [100, 700, 100, 700]


def test_a_group_does_not_go_before_a_single_device_that_earns_more() -> None:
    gpu, miner = device((100, 0.0), (700, 6.0), group=3), device((0, 0.0), (600, 7.0))

    assert watts(give(gpu, miner, site=700), gpu, miner) == [100, 600]


# Order


@pytest.mark.parametrize("count", [1, 200, 20_000])
@pytest.mark.parametrize("seed", range(3))
def test_slopes_fall_to_a_billionth_and_equal_ones_stand_as_they_did(count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    slope = draw.choice([1e-9, 0.3, 0.3 * (1 + 1e-9), 2.0, 1e6], count)

    order = by_falling(slope)
    close = by_falling(slope * (1 + draw.integers(0, 4, count) * 2.0**-40))

    assert order.tolist() == sorted(range(count), key=lambda at: (-slope[at], at))
    assert slope[close].tolist() == slope[order].tolist()


# Hulls


def chain(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The rising part of the upper hull, one point after the other."""
    kept: list[tuple[int, float]] = []
    for watts, value in points:
        while len(kept) > 1 and (value - kept[-1][1]) * (kept[-1][0] - kept[-2][0]) >= (
            kept[-1][1] - kept[-2][1]
        ) * (watts - kept[-1][0]):
            kept.pop()
        kept.append((watts, value))
    return [kept[0], *(one for before, one in pairwise(kept) if one[1] > before[1])]


@bounded(200)
@given(
    st.lists(
        st.dictionaries(st.integers(0, 40), st.integers(-30, 30), min_size=1, max_size=15),
        min_size=1,
        max_size=6,
    )
)
def test_steps_lead_along_the_rising_part_of_each_upper_hull(tables: list[dict[int, int]]) -> None:
    """Whole numbers, so that many points lie on a line between others: those are no corners."""
    devices = [sorted((watts, float(value)) for watts, value in table.items()) for table in tables]
    of = menu([device(*points) for points in devices])

    steps = hulls.hulls(of.start, of.watts, of.values)

    found = [[points[0]] for points in devices]
    for one, end, step_w in zip(steps.device.tolist(), steps.end.tolist(), steps.watts.tolist(), strict=True):
        found[one].append((int(of.watts[end]), float(of.values[end])))
        assert found[one][-1][0] - found[one][-2][0] == step_w
    assert found == [chain(points) for points in devices]


def test_of_many_devices_each_has_its_own_hull() -> None:
    count = 2 * hulls.AT_ONCE + 1
    kinked = device((0, 0.0), (1, 1.0), (2, 10.0), (3, 11.0), (4, 10.0))

    steps = hulls.hulls(*(getattr(menu([kinked] * count), name) for name in ("start", "watts", "values")))

    assert steps.device.tolist() == np.arange(count).repeat(2).tolist()
    assert (steps.end % 5).tolist() == [2, 3] * count
    assert (steps.watts.tolist(), steps.slope.tolist()) == ([2, 1] * count, [5.0, 1.0] * count)


def test_of_more_steps_than_are_looked_at_at_once_the_first_come_first_in_their_order() -> None:
    which = np.arange(10 * AT_ONCE)
    key = np.random.default_rng(1).permutation(len(which)).astype(np.uint64)

    part, rest = first_of(which, key)

    assert key[part].tolist() == list(range(AT_ONCE))
    assert sorted([*part.tolist(), *rest.tolist()]) == which.tolist()


# For all small instances


def drawn(seed: int, *, devices: int = 6, points: int = 4) -> tuple[list[Device], NDArray[np.int64]]:
    """No two devices alike, so that no tie is broken by their order."""
    draw = random.Random(seed)
    made = []
    for _ in range(draw.randint(1, devices)):
        powers = sorted(draw.sample(range(200), draw.randint(1, points)))
        values = [draw.uniform(-5, 15) + (draw.random() < 0.1) * 1e6 for _ in powers]
        made.append(device(*zip(powers, values, strict=True), node=draw.choice(TREE.ids)))
    least = sum(one.watts[0] for one in made)
    room_w = [draw.choice([FREE, least + draw.randint(-20, 400), draw.randint(0, 500)]) for _ in TREE.ids]
    return made, np.array(room_w)


def load_w(devices: Sequence[Device], index: Sequence[int]) -> NDArray[np.int64]:
    load = np.zeros(len(TREE.ids) + 1, np.int64)
    for one, at in zip(devices, index, strict=True):
        load[TREE.way[TREE.index[one.node]]] += one.watts[at]
    return load[:-1]


def best(devices: Sequence[Device], room_w: NDArray[np.int64]) -> float | None:
    """By trying everything; None where nothing fits."""
    values = [
        sum(one.values[at] for one, at in zip(devices, index, strict=True))
        for index in product(*(range(len(one.watts)) for one in devices))
        if (load_w(devices, index) <= room_w).all()
    ]
    return max(values, default=None)


def near(value: float) -> float:
    return 1e-9 * (1 + abs(value))


@bounded(200)
@given(st.integers(0, 10**9))
def test_an_allocation_fits_and_lies_between_its_bound_and_its_stated_gap_of_the_best(seed: int) -> None:
    devices, room_w = drawn(seed, devices=5)
    optimum = best(devices, room_w)

    made = allocate(menu(devices), room_w, TREE)

    assert (optimum is None) is bool(made.room_w.min() < 0)
    if optimum is not None:
        assert made.value <= optimum + near(optimum)
        assert optimum <= made.bound + near(optimum)
        assert optimum - made.value <= made.gap * abs(made.bound) + near(optimum)


@bounded(300)
@given(st.integers(0, 10**9))
def test_room_is_what_the_allocation_leaves_and_value_what_it_earns(seed: int) -> None:
    devices, room_w = drawn(seed)

    made = allocate(menu(devices), room_w, TREE)

    index = made.index.tolist()
    assert made.room_w.tolist() == (room_w - load_w(devices, index)).tolist()
    assert made.value == pytest.approx(
        sum(one.values[at] for one, at in zip(devices, index, strict=True)), rel=1e-12
    )
    assert made.value <= made.bound
    assert made.gap >= 0


@bounded(300)
@given(st.integers(0, 10**9))
def test_no_node_that_could_carry_the_lowest_points_carries_more_than_it_may(seed: int) -> None:
    devices, room_w = drawn(seed)
    lowest = room_w - load_w(devices, [0] * len(devices))

    made = allocate(menu(devices), room_w, TREE)

    assert (made.room_w >= np.minimum(lowest, 0)).all()


@bounded(200)
@given(st.integers(0, 10**9))
def test_the_order_of_devices_changes_nothing(seed: int) -> None:
    devices, room_w = drawn(seed, devices=12)
    order = list(range(len(devices)))
    random.Random(seed).shuffle(order)

    made = allocate(menu(devices), room_w, TREE)
    other = allocate(menu([devices[at] for at in order]), room_w, TREE)

    assert other.index.tolist() == made.index[order].tolist()
    assert other.blocked_by.tolist() == made.blocked_by[order].tolist()
    assert other.room_w.tolist() == made.room_w.tolist()


@bounded(200)
@given(st.integers(0, 10**9))
def test_a_device_is_blocked_where_its_next_better_point_does_not_fit_and_no_other_better_one_does(
    seed: int,
) -> None:
    devices, room_w = drawn(seed)

    made = allocate(menu(devices), room_w, TREE)

    for one, at, node in zip(devices, made.index.tolist(), made.blocked_by.tolist(), strict=True):
        better = [to for to in range(at + 1, len(one.watts)) if one.values[to] > one.values[at]]
        way = [place for place in TREE.way[TREE.index[one.node]].tolist() if place != TREE.none]
        full = [
            [place for place in way if made.room_w[place] < one.watts[to] - one.watts[at]] for to in better
        ]
        assert all(full)
        assert node == (full[0][0] if full else -1)


@bounded(60)
@given(st.integers(0, 10**9))
def test_the_bound_is_the_optimum_of_the_relaxed_problem(seed: int) -> None:
    devices, room_w = drawn(seed, devices=9)
    room_w = np.maximum(room_w, load_w(devices, [0] * len(devices)))

    made = allocate(menu(devices), room_w, TREE)

    optimum = by_highs(menu(devices), room_w, TREE, whole=False)
    assert made.bound == pytest.approx(optimum, rel=1e-7, abs=1e-7)


@bounded(200)
@given(st.integers(0, 10**9), st.integers(0, 3), st.integers(0, 300))
def test_more_room_never_lowers_the_bound(seed: int, node: int, more_w: int) -> None:
    devices, room_w = drawn(seed)
    wider = room_w.copy()
    wider[node] += more_w

    narrow, wide = allocate(menu(devices), room_w, TREE), allocate(menu(devices), wider, TREE)

    assert wide.bound >= narrow.bound - near(narrow.bound)


# Large ones


def test_what_is_given_is_left_as_it_is_and_the_same_again_gives_the_same() -> None:
    instance = fleet(300, 1)
    of = instance.menu
    for array in (of.node, of.start, of.watts, of.values, instance.room_w):
        array.setflags(write=False)

    made = [allocate(instance.menu, instance.room_w, instance.tree) for _ in range(2)]

    assert made[0].index.tolist() == made[1].index.tolist()
    assert made[0].value == made[1].value


def one_step_after_the_other(of: Menu, room_w: NDArray[np.int64], tree: Tree) -> list[int]:
    """What taking whole steps by falling slope comes to when nothing is told in advance."""
    steps = hulls.hulls(of.start, of.watts, of.values)
    at: list[int] = of.start[:-1].tolist()
    stopped: set[int] = set()
    room = [*room_w.tolist(), FREE * FREE]
    ways = tree.way.tolist()
    for one, lowest in enumerate(of.watts[of.start[:-1]].tolist()):
        for place in ways[of.node[one]]:
            room[place] -= lowest
    for step in sorted(range(len(steps.slope)), key=lambda step: (-steps.slope[step], step)):
        one, step_w = int(steps.device[step]), int(steps.watts[step])
        if one not in stopped and all(room[place] >= step_w for place in ways[of.node[one]]):
            at[one] = int(steps.end[step])
            for place in ways[of.node[one]]:
                room[place] -= step_w
        else:
            stopped.add(one)
    return at


@pytest.mark.parametrize("size", [300, 3_000])
@pytest.mark.parametrize("seed", range(4))
def test_taking_sure_steps_first_comes_to_the_same_as_one_after_the_other(size: int, seed: int) -> None:
    instance = fleet(size, seed)
    of, low = instance.menu, instance.menu.start[:-1]
    steps = hulls.hulls(of.start, of.watts, of.values)
    steps = steps.take(by_falling(steps.slope))
    room_w = instance.room_w - load(instance.tree, of.node, of.watts[low])
    made = Packing(
        tree=instance.tree,
        node=of.node,
        watts=of.watts,
        values=of.values,
        low=low,
        top=low,
        at=low.copy(),
        room_w=instance.tree.padded(room_w),
    )

    taken_w = relaxed(steps.watts, of.node[steps.device], room_w, instance.tree)
    greedy(made, steps, taken_w == steps.watts)

    assert made.at.tolist() == one_step_after_the_other(of, instance.room_w, instance.tree)


@pytest.mark.parametrize("digits", [1, 15], ids=["many alike", "none alike"])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_counted_by_rank_is_what_would_be_taken_in_order(seed: int, digits: int) -> None:
    instance = fleet(3_000, seed)
    of = instance.menu
    steps = hulls.hulls(of.start, of.watts, of.values)
    slope = np.round(1 + 10 * steps.slope, digits)
    order = by_falling(slope)
    room_w = instance.room_w - load(instance.tree, of.node, of.watts[of.start[:-1]])
    node = of.node[steps.device]

    taken_w = relaxed(steps.watts, node, room_w, instance.tree, falling(slope))

    in_order_w = relaxed(steps.watts[order], node[order], room_w, instance.tree)
    assert taken_w[order].tolist() == in_order_w.tolist()
    assert 0 < taken_w.sum() < steps.watts.sum()


@pytest.mark.parametrize("seed", range(4))
def test_the_gap_of_a_large_site_is_small(seed: int) -> None:
    instance = fleet(1_000, seed)

    made = allocate(instance.menu, instance.room_w, instance.tree)

    assert made.room_w.min() >= 0
    assert made.gap < 0.0010


def test_machines_that_are_on_or_off_behind_full_breakers_are_packed_as_well_as_can_be() -> None:
    instance = breakers_only(40, 0)

    made = allocate(instance.menu, instance.room_w, instance.tree)

    optimum = by_highs(instance.menu, instance.room_w, instance.tree, whole=True)
    assert made.value == pytest.approx(optimum, rel=1e-6)


# The curve of a subtree


def test_a_curve_begins_at_the_lowest_points_and_ends_where_nothing_more_fits_or_pays() -> None:
    inside = device((100, -1.0), (1_100, 9.0), (1_200, 8.0), node="breaker")
    outside = device((30, 0.0), (1_000, 1.0))

    curve = curve_of(menu([inside, outside]), rooms(pdu=600), TREE, TREE.index["pdu"])

    assert (curve[0].tolist(), curve[1].tolist()) == ([100, 600], [-1.0, 4.0])


def test_what_is_above_a_node_does_not_bound_its_curve() -> None:
    inside = device((100, 0.0), (1_100, 10.0), node="breaker")

    curve = curve_of(menu([inside]), rooms(site=10), TREE, TREE.index["pdu"])

    assert curve[0].tolist() == [100, 1_100]


def test_a_node_without_devices_has_a_curve_of_nothing() -> None:
    curve = curve_of(menu([device((0, 0.0), (5, 1.0))]), rooms(), TREE, TREE.index["other"])

    assert (curve[0].tolist(), curve[1].tolist()) == ([0], [0.0])


@bounded(200)
@given(st.integers(0, 10**9), st.integers(0, 400))
def test_a_curve_says_what_the_bound_is_at_every_room_of_its_node(seed: int, more_w: int) -> None:
    devices, room_w = drawn(seed, devices=8)
    room_w = np.maximum(room_w, load_w(devices, [0] * len(devices)))
    least_w = sum(one.watts[0] for one in devices)
    narrower = room_w.copy()
    narrower[0] = min(room_w[0], least_w + more_w)

    powers, values = curve_of(menu(devices), room_w, TREE, 0)

    bound = allocate(menu(devices), narrower, TREE).bound
    assert np.interp(narrower[0], powers, values) == pytest.approx(bound, rel=1e-9, abs=1e-9)
    assert powers[-1] <= room_w[0]
    assert (np.diff(np.diff(values) / np.diff(powers)) <= near(float(values[-1]))).all()


def test_chords_lie_below_their_curve_and_close_to_it() -> None:
    instance = fleet(1_000, 0)
    powers, values = curve_of(instance.menu, instance.room_w, instance.tree, 0)

    ends_w, ends = chords((powers, values), 32)

    below = values - np.interp(powers, ends_w, ends)
    assert len(ends_w) <= 33
    assert (ends_w[0], ends_w[-1]) == (powers[0], powers[-1])
    assert (below >= -near(float(values[-1]))).all()
    assert below.max() < 0.001 * (values[-1] - values[0])


def test_a_curve_with_few_points_is_its_own_chords() -> None:
    curve = (np.array([0, 10, 20]), np.array([0.0, 2.0, 3.0]))

    assert chords(curve, 2) is curve
    assert chords(curve, 1)[0].tolist() == [0, 20]


def test_chords_meet_where_the_curve_bends() -> None:
    watts = np.arange(11)

    ends_w, ends = chords((watts, np.minimum(2.0 * watts, watts + 6.0)), 2)

    assert (ends_w.tolist(), ends.tolist()) == ([0, 6, 10], [0.0, 12.0, 16.0])


@pytest.mark.parametrize("slope", [1.0, 0.1], ids=["exact", "rounded"])
def test_a_straight_curve_has_its_ends_for_a_chord(slope: float) -> None:
    ends_w, _ = chords((np.arange(5), np.linspace(0.0, 4 * slope, 5)), 2)

    assert {0, 4} <= set(ends_w.tolist())
