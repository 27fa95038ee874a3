"""What is not worked out twice comes to the same as if it were."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from controller.decide import recall
from controller.decide.allocate import Menu, allocate
from controller.decide.inputs import Inputs, Sample
from controller.decide.recall import Recall, Recalling
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.decide.tree import load
from controller.domain.devices import Quality, Reading
from tests.decide.builders import FULL, NOW_S, at_point, device, inputs, miner, reading, running, site
from tests.decide.sites import Chaos
from tests.decide.strategies import bounded
from tests.decide.test_allocate import TREE, drawn, menu, rooms

SEEDS = st.integers(0, 2**32)


def recalled(of: Menu, room_w: NDArray[np.int64]) -> Recall:
    asked = Recalling(None, of.node, TREE)
    asked.allocate(of, room_w)
    return asked.recall


@bounded(200)
@given(SEEDS)
def test_an_answer_that_is_recalled_is_the_one_that_would_be_worked_out(seed: int) -> None:
    draw = random.Random(seed)
    devices, room_w = drawn(seed, devices=9)
    of = menu(devices)
    most_w = load(TREE, of.node, of.watts[of.start[1:] - 1])
    before = recalled(of, room_w)
    change_w = np.array([draw.choice([0, 0, draw.randint(-50, 50)]) for _ in room_w])
    other_w = np.where(draw.random() < 0.5, room_w + change_w, np.maximum(room_w, most_w + change_w**2))
    fresh = allocate(of, other_w, TREE)

    made = Recalling(before, of.node, TREE).allocate(of, other_w)

    assert made.index.tolist() == fresh.index.tolist()
    assert made.blocked_by.tolist() == fresh.blocked_by.tolist()
    assert made.room_w.tolist() == fresh.room_w.tolist()
    assert (made.value, made.bound) == (fresh.value, fresh.bound)


FOUR = Menu(
    node=np.array([TREE.index[name] for name in ("pdu", "pdu", "other", "other")]),
    start=np.array([0, 2, 4, 6, 8]),
    watts=np.array([0, 500, 0, 500, 0, 500, 0, 500]),
    values=np.array([0.0, 1.0, 0.0, 1.005, 0.0, 1.0, 0.0, 1.005]),
)
FOR_TWO = rooms(site=1_000, pdu=1_000, other=1_000)


@pytest.mark.parametrize(
    ("changed", "room_w"),
    [
        (replace(FOUR, group=np.array([0, 0, 1, 1])), FOR_TWO),
        (replace(FOUR, values=np.array([0.0, 2.0, 0.0, 1.0, 0.0, 2.0, 0.0, 1.0])), FOR_TWO),
        (replace(FOUR, watts=np.array([0, 500, 0, 501, 0, 500, 0, 501])), FOR_TWO),
        (FOUR, rooms(site=999, pdu=1_000, other=1_000)),
        (replace(FOUR, node=FOUR.node[::-1].copy()), rooms(site=1_000, pdu=1_000, other=0)),
    ],
    ids=["jobs", "other values", "other watts", "less room", "other places"],
)
def test_another_question_is_worked_out_anew(changed: Menu, room_w: NDArray[np.int64]) -> None:
    asked_w = FOR_TWO if changed is FOUR else room_w
    before, fresh = recalled(FOUR, asked_w), allocate(changed, room_w, TREE)

    made = Recalling(before, changed.node, TREE).allocate(changed, room_w)

    assert made.index.tolist() == fresh.index.tolist()
    assert made.index.tolist() != allocate(FOUR, asked_w, TREE).index.tolist()


def test_a_node_with_room_for_all_below_it_may_have_more_and_nothing_is_worked_out_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    devices, room_w = drawn(1)
    of = menu(devices)
    most_w = load(TREE, of.node, of.watts[of.start[1:] - 1])
    before = recalled(of, np.maximum(room_w, most_w))

    def worked_out(*_: object) -> None:
        raise AssertionError("worked out again")

    monkeypatch.setattr(recall, "allocate", worked_out)
    made = Recalling(before, of.node, TREE).allocate(of, np.maximum(room_w, most_w) + 7)

    assert (made.room_w >= 7).all()


def saying_the_same(inputs: Inputs, before: Mapping[str, Sample[Reading]], draw: random.Random) -> Inputs:
    """What most devices said last they say again now."""
    again = {
        name: Sample(sample.at_s, before[name].value)
        for name, sample in inputs.readings.items()
        if name in before and draw.random() < 0.8
    }
    return replace(inputs, readings={**inputs.readings, **again})


@bounded(100)
@given(SEEDS, st.sampled_from([0.0, 60.0]))
def test_whoever_recalls_nothing_comes_to_the_same_state_and_plan(seed: int, apart_s: float) -> None:
    chaos, state, draw = Chaos(seed), State(), random.Random(seed)
    readings: Mapping[str, Sample[Reading]] = {}

    for tick in range(30):
        inputs = saying_the_same(chaos.inputs(), readings, draw)
        later_s = apart_s * tick
        inputs = replace(
            inputs,
            now_s=inputs.now_s + later_s,
            readings={n: Sample(s.at_s + later_s, s.value) for n, s in inputs.readings.items()},
        )
        readings = inputs.readings
        bare = replace(state, mirror=None, recall=None)
        after, plan = step(chaos.site, state, inputs)

        assert step(chaos.site, bare, inputs) == (after, plan)
        state = after


def test_a_machine_that_says_the_same_for_long_is_learned_of_as_if_every_word_were_new() -> None:
    spec, here = miner(), site()
    said = reading(spec.id, draw_w=FULL.power.watts - 100, setting_w=FULL.power.watts)
    state = running({spec.id: device(FULL, bias=1.05, asked_s=NOW_S)})
    bare = state

    for poll in range(1, 60):
        heard = {spec.id: Sample(NOW_S + 5.0 * poll, said)}
        now = replace(inputs(spec), now_s=NOW_S + 5.0 * poll, readings=heard)
        state, plan = step(here, state, now)
        bare, again = step(here, replace(bare, mirror=None, recall=None), now)

        assert (state, plan) == (bare, again)


def test_a_machine_without_work_from_its_start_on_is_found_though_it_says_the_same_all_the_time() -> None:
    """It was told twice to start: its time to start counts from the second order, that to settle from the
    first."""
    spec, here = miner(), site()
    said = replace(at_point(spec, FULL), rate=0.0, quality=Quality.ESTIMATED)
    started = device(FULL, quality=Quality.ESTIMATED, asked_s=NOW_S, started_s=(NOW_S + 30.0,))
    state = bare = running({spec.id: started})

    for poll in range(1, 60):
        heard = {spec.id: Sample(NOW_S + 5.0 * poll, said)}
        now = replace(inputs(spec), now_s=NOW_S + 5.0 * poll, readings=heard)
        state, plan = step(here, state, now)
        bare, again = step(here, replace(bare, mirror=None, recall=None), now)

        assert (state, plan) == (bare, again), poll
    assert state.devices[spec.id].idle_s is not None
