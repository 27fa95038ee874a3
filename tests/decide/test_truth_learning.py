"""What is learned of a device from what it draws."""

from __future__ import annotations

import math
from typing import Any

import pytest

from controller.decide import learning, telling
from controller.decide.device import DeviceState
from controller.decide.words import Truth
from controller.domain.devices import (
    DeviceSpec,
    OperatingPoint,
    Quality,
    Reading,
)
from controller.domain.power import Power
from tests.decide.builders import FULL, GPU_POINTS, LOW, NOW_S, SLEEP, device, gpu, miner, reading
from tests.decide.observing import see, told

# What this very device draws


def learned(said: Reading, spec: DeviceSpec | None = None, *, times: int = 60, **before: Any) -> DeviceState:
    spec = spec or miner()
    state = device(spec.points[-1], **before)
    for at in range(times):
        state = see(state, said, spec=spec, heard_s=NOW_S + at, now_s=NOW_S + at)
    return state


def test_a_measured_miner_that_always_draws_less_is_reckoned_with_less() -> None:
    state = learned(reading(draw_w=3_325, setting_w=3_500))

    assert state.counted(FULL) == Power(3_326)
    assert state.counted(LOW) == Power(2_281)


def test_a_miner_that_is_still_rising_is_not_reckoned_with_less() -> None:
    state = learned(reading(draw_w=3_325, setting_w=3_500), asked_s=NOW_S)

    assert state.counted(FULL) == Power(3_500)


@pytest.mark.parametrize("spec", [miner(), gpu()])
def test_a_device_that_draws_more_than_its_point_is_reckoned_with_more_at_once(spec: DeviceSpec) -> None:
    top = spec.points[-1].power.watts

    state = learned(reading(spec.id, round(top * 1.06), top), spec, asked_s=NOW_S)

    assert state.counted(spec.points[-1]).watts == pytest.approx(top * 1.06, rel=0.002)


def test_a_gpu_is_at_work_at_its_lowest_limit_too_and_is_reckoned_with_more_there() -> None:
    state = device(GPU_POINTS[0], asked_s=0.0)

    for at in range(30):
        said = reading("g", 212, 200)
        state = see(state, said, spec=gpu(), heard_s=NOW_S + at, now_s=NOW_S + at)

    assert state.counted(GPU_POINTS[0]).watts == pytest.approx(212, abs=1)


def test_an_estimated_draw_raises_what_a_device_counts_for_and_never_lowers_it() -> None:
    more = learned(reading(draw_w=3_700, setting_w=3_500, quality=Quality.ESTIMATED))
    less = learned(reading(draw_w=3_325, setting_w=3_500, quality=Quality.ESTIMATED))

    assert more.counted(FULL) > FULL.power
    assert less.counted(FULL) == FULL.power


def test_a_gpu_below_its_limit_merely_has_less_to_do() -> None:
    state = learned(reading("g", 640, 700), gpu())

    assert state.counted(GPU_POINTS[5]) == Power(700)


def test_a_gpu_that_once_drew_more_is_in_time_reckoned_at_its_limit_again() -> None:
    state = learned(reading("g", 400, 700), gpu(), bias=1.08)

    assert state.counted(GPU_POINTS[5]) == Power(701)


def test_a_machine_that_lost_a_hashboard_still_counts_at_its_point() -> None:
    state = learned(reading(draw_w=2_300, setting_w=3_500))

    assert state.counted(FULL) == Power(3_500)


def test_sleep_teaches_nothing() -> None:
    state = device(SLEEP)

    state = see(state, reading(draw_w=34, setting_w=30))

    assert state.bias == 1.0


def test_a_device_reckoned_wrongly_is_still_recognised_at_its_nominal_draw() -> None:
    over = told(LOW, FULL, bias=1.08, truth=Truth.LYING)
    under = told(LOW, FULL, bias=0.86, truth=Truth.LYING)

    assert see(over, reading(draw_w=2_240)).truth is Truth.CONFIRMED
    assert see(under, reading(draw_w=2_400)).truth is Truth.CONFIRMED


# What the work on a GPU wants


def seen_at(draw_w: int, limit: OperatingPoint, *, after_s: float = 0.0, **changes: Any) -> DeviceState:
    """A GPU with that limit, which drew so much since so long."""
    known = device(limit, at_s=NOW_S - after_s, **changes)
    return see(known, reading(draw_w=draw_w, setting_w=limit.power.watts), spec=gpu())


def test_what_the_work_on_a_gpu_drew_is_forgotten_slowly() -> None:
    known_w = seen_at(500, GPU_POINTS[5], after_s=learning.DEMAND_S, demand_w=650.0).demand_w

    assert known_w == pytest.approx(500 + 150 * math.exp(-1))
    assert seen_at(500, GPU_POINTS[5], after_s=1.0, demand_w=450.0).demand_w == 500


def test_of_a_gpu_of_which_nothing_is_known_its_limit_is_all_that_its_work_can_have_wanted() -> None:
    assert seen_at(500, GPU_POINTS[5], after_s=learning.DEMAND_S).demand_w == pytest.approx(
        500 + 200 * math.exp(-1)
    )


def test_work_that_its_limit_may_hold_back_may_want_anything() -> None:
    assert seen_at(475, GPU_POINTS[3], after_s=1.0, demand_w=450.0).demand_w == math.inf
    assert seen_at(474, GPU_POINTS[3], after_s=1.0, demand_w=450.0).demand_w == 474


def test_what_is_started_on_a_gpu_may_want_anything() -> None:
    started = telling.commanded(gpu(), device(GPU_POINTS[0], demand_w=70.0), GPU_POINTS[5], NOW_S)
    raised = telling.commanded(gpu(), device(GPU_POINTS[3], demand_w=450.0), GPU_POINTS[5], NOW_S)

    assert (started.demand_w, raised.demand_w) == (math.inf, 450.0)
