"""Devices of one job are given no more than helps the slowest of them, and watts go to who earns by them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from controller.decide.allocate import Allocation, Menu, allocate
from controller.decide.lockstep import Lockstep
from controller.decide.recall import Recalling
from tests.decide.strategies import bounded
from tests.decide.test_allocate import FREE, TREE, Device, blocked_by, load_w, menu, near, rooms, watts

PACES = (0.0, 0.62, 0.76, 0.88, 1.0)
"""At 200, 300, 400, 500 and 700 W: at the lowest a job is set aside."""
SEEDS = st.integers(0, 10**9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One that works for the job of that number (-1: for one of its own)."""

    job: int
    usd: float = 2.0
    node: str = "site"
    powers: tuple[int, ...] = (200, 300, 400, 500, 700)
    paces: tuple[float, ...] = PACES
    moves: bool = True

    @property
    def device(self) -> Device:
        values = tuple(self.usd * pace for pace in self.paces)
        return Device(watts=self.powers, values=values, node=self.node, group=self.job)

    def up_to(self, most_w: int) -> Gpu:
        """What heat allows no more than that."""
        count = sum(watts <= most_w for watts in self.powers)
        return replace(self, powers=self.powers[:count], paces=self.paces[:count])


def asked(gpus: Sequence[Gpu]) -> Menu:
    wide = [row for row, one in enumerate(gpus) if one.job >= 0]
    paces = np.array([pace for one in gpus for pace in one.paces])
    together = Lockstep(
        device=np.array(wide, np.intp),
        job=np.array([gpus[row].job for row in wide], np.intp),
        moves=np.array([gpus[row].moves for row in wide], np.bool_),
        share=paces,
        at_most=paces,
    )
    return replace(menu([one.device for one in gpus]), lockstep=together if wide else None)


def give(*gpus: Gpu, **room_w: int) -> Allocation:
    return allocate(asked(gpus), rooms(**room_w), TREE)


def given_w(made: Allocation, gpus: Sequence[Gpu]) -> list[int]:
    return watts(made, *(one.device for one in gpus))


# Examples


@pytest.mark.parametrize(("room_w", "each_w"), [(2_000, 500), (1_999, 400), (1_600, 400), (2_100, 500)])
def test_all_of_a_job_are_given_the_same_and_the_rest_is_left(room_w: int, each_w: int) -> None:
    gpus = [Gpu(job=0)] * 4

    made = give(*gpus, site=room_w)

    assert given_w(made, gpus) == [each_w] * 4
    assert made.room_w[0] == room_w - 4 * each_w
    assert blocked_by(made) == ["site"] * 4
    assert not made.paced.any()


def test_what_one_breaker_leaves_a_job_frees_watts_for_another_that_has_too_few_for_all_by_itself() -> None:
    """The dear one would have 700 W three times, of which it could use 300 each."""
    dear = [Gpu(job=0, usd=9.0, node="breaker"), *[Gpu(job=0, usd=9.0)] * 3]
    cheap = [Gpu(job=1)] * 4

    made = give(*dear, *cheap, site=4 * 300 + 4 * 700, breaker=350)

    assert given_w(made, [*dear, *cheap]) == [300] * 4 + [700] * 4
    assert blocked_by(made) == ["breaker", *["site"] * 3, *[None] * 4]


def test_who_has_room_itself_is_paced_by_the_one_that_has_none() -> None:
    made = give(Gpu(job=0, node="breaker"), Gpu(job=0), breaker=350)

    assert blocked_by(made) == ["breaker", None]
    assert made.paced.tolist() == [False, True]


def test_a_device_that_earns_more_with_freed_watts_is_given_them_before_a_job_that_earns_less() -> None:
    hot = [Gpu(job=0, usd=9.0).up_to(300), Gpu(job=0, usd=9.0)]
    single, cheap = Gpu(job=-1, usd=3.0), [Gpu(job=1, usd=0.1)] * 2

    made = give(*hot, single, *cheap, site=2 * 300 + 700 + 2 * 300)

    assert given_w(made, [*hot, single, *cheap]) == [300, 300, 700, 300, 300]


def test_freed_watts_go_to_the_job_that_gains_most_by_them_beside_a_node_that_carries_too_much() -> None:
    """Whoever earns more already gains less by a step."""
    dear = [Gpu(job=0, usd=9.0, node="breaker"), Gpu(job=0, usd=9.0).up_to(500)]
    slow = [Gpu(job=1, usd=1.0, paces=(0.0, 0.4, 0.7, 0.9, 1.0))] * 2
    fast = [Gpu(job=2, paces=(0.0, 0.9, 0.92, 0.94, 1.0))] * 2
    stuck = Gpu(job=-1, node="other")

    made = give(*fast, *slow, *dear, stuck, site=4 * 300 + 300 + 500 + 200, breaker=350, other=150)

    assert given_w(made, [*fast, *slow, *dear, stuck]) == [300, 300, 400, 400, 300, 300, 200]
    assert made.room_w[[TREE.index["site"], TREE.index["other"]]].tolist() == [0, -50]


def test_a_job_on_devices_of_two_kinds_has_the_same_pace_of_both() -> None:
    gpus = [Gpu(job=0), Gpu(job=0, powers=(300, 500, 700, 850, 1_000), paces=(0.0, 0.6, 0.8, 0.9, 1.0))]

    assert given_w(give(*gpus, site=1_200), gpus) == [500, 700]
    assert given_w(give(*gpus, site=1_350), gpus) == [500, 850]


def test_of_a_job_that_lacks_its_least_on_one_device_nobody_is_lowered() -> None:
    """Who decides whether it is set aside must see what the others hold."""
    gpus = [Gpu(job=0, node="breaker"), Gpu(job=0)]

    assert given_w(give(*gpus, breaker=250), gpus) == [200, 700]


def test_a_device_that_stays_is_not_lowered_and_others_are_raised_no_further_than_it() -> None:
    above, below = Gpu(job=0, moves=False), Gpu(job=0, moves=False).up_to(400)

    assert given_w(give(above, Gpu(job=0).up_to(400)), [above, below]) == [700, 400]
    assert given_w(give(below, Gpu(job=0)), [below, above]) == [400, 400]


def test_what_a_slower_one_makes_worthless_is_not_counted_as_missed() -> None:
    made = give(Gpu(job=0).up_to(400), Gpu(job=0))

    assert made.value == pytest.approx(2 * 2.0 * 0.76)
    assert made.gap < 1e-9


def test_another_pace_is_another_question() -> None:
    one = asked([Gpu(job=0).up_to(400), Gpu(job=0)])
    assert one.lockstep is not None
    other = replace(one, lockstep=replace(one.lockstep, moves=np.array([True, False])))
    before = Recalling(None, one.node, TREE)
    before.allocate(one, rooms())

    made = Recalling(before.recall, one.node, TREE).allocate(other, rooms())

    assert made.index.tolist() == allocate(other, rooms(), TREE).index.tolist() == [2, 4]


# For all small instances


def drawn(seed: int, *, jobs: int = 3) -> tuple[list[Gpu], NDArray[np.int64]]:
    """Jobs of up to three devices, and single ones. No two watts earn the same."""
    draw = random.Random(seed)
    gpus: list[Gpu] = []
    for number in range(draw.randint(1, jobs)):
        usd = draw.uniform(0.5, 9)
        for _ in range(draw.randint(1, 3)):
            node, most_w = draw.choice(TREE.ids), draw.choice([300, 400, 500, 700, 700, 700])
            powers = tuple(watts + draw.randint(0, 30) for watts in (200, 300, 400, 500, 700))
            gpu = Gpu(job=number, usd=usd, node=node, powers=powers, moves=draw.random() < 0.9)
            gpus.append(gpu.up_to(most_w + 30))
    for _ in range(draw.randint(0, 2)):
        gpus.append(Gpu(job=-1, usd=draw.uniform(0.5, 9), node=draw.choice(TREE.ids)))
    room_w = [draw.choice([FREE, draw.randint(0, 700 * len(gpus))]) for _ in TREE.ids]
    return gpus, np.array(room_w)


def paces(gpus: Sequence[Gpu], index: Sequence[int]) -> dict[int, float]:
    found: dict[int, float] = {}
    for one, at in zip(gpus, index, strict=True):
        found[one.job] = min(one.paces[at], found.get(one.job, 1.0)) if one.job >= 0 else 0.0
    return found


@bounded(300)
@given(SEEDS)
def test_nobody_keeps_watts_without_which_it_would_keep_up_with_the_slowest(seed: int) -> None:
    gpus, room_w = drawn(seed)

    index = allocate(asked(gpus), room_w, TREE).index.tolist()

    pace = paces(gpus, index)
    for one, at in zip(gpus, index, strict=True):
        if one.moves and pace[one.job] > 0 and at > 0:
            assert one.paces[at - 1] < pace[one.job]


@bounded(300)
@given(SEEDS)
def test_no_node_carries_more_than_it_may_and_what_is_left_is_told(seed: int) -> None:
    gpus, room_w = drawn(seed)
    devices = [one.device for one in gpus]
    lowest_w = room_w - load_w(devices, [0] * len(gpus))

    made = allocate(asked(gpus), room_w, TREE)

    assert made.room_w.tolist() == (room_w - load_w(devices, made.index.tolist())).tolist()
    assert (made.room_w >= np.minimum(lowest_w, 0)).all()


@bounded(300)
@given(SEEDS)
def test_no_job_has_room_left_to_go_faster_in_all_of_its_devices(seed: int) -> None:
    gpus, room_w = drawn(seed)
    devices = [one.device for one in gpus]

    made = allocate(asked(gpus), room_w, TREE)

    index = made.index.tolist()
    for job, pace in paces(gpus, index).items():
        faster = [
            next((at for at, its in enumerate(one.paces) if its > pace), None) if one.job == job else None
            for one in gpus
        ]
        if pace == 0 or any(to is None and one.job == job for one, to in zip(gpus, faster, strict=True)):
            continue
        then = [at if to is None else max(at, to) for at, to in zip(index, faster, strict=True)]
        assert (load_w(devices, then) > room_w).any()


@bounded(200)
@given(SEEDS)
def test_the_order_of_devices_and_numbers_of_jobs_change_nothing(seed: int) -> None:
    gpus, room_w = drawn(seed)
    order = list(range(len(gpus)))
    random.Random(seed).shuffle(order)
    most = max(one.job for one in gpus)
    shuffled = [replace(gpus[at], job=most - gpus[at].job if gpus[at].job >= 0 else -1) for at in order]

    made, other = allocate(asked(gpus), room_w, TREE), allocate(asked(shuffled), room_w, TREE)

    assert other.index.tolist() == made.index[order].tolist()
    assert other.blocked_by.tolist() == made.blocked_by[order].tolist()
    assert other.paced.tolist() == made.paced[order].tolist()


@bounded(60)
@given(SEEDS)
def test_no_way_to_give_all_of_a_job_the_same_pace_is_worth_more_than_the_bound(seed: int) -> None:
    gpus, room_w = drawn(seed, jobs=2)
    devices = [one.device for one in gpus]

    def worth(index: Sequence[int]) -> float:
        pace = paces(gpus, index)
        return sum(
            one.usd * (pace[one.job] if one.job >= 0 else one.paces[at])
            for one, at in zip(gpus, index, strict=True)
        )

    every = product(*(range(len(one.paces)) for one in gpus))
    best = max((worth(index) for index in every if (load_w(devices, index) <= room_w).all()), default=None)

    if best is not None:
        assert best <= allocate(asked(gpus), room_w, TREE).bound + near(best)
