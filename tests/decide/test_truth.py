"""What a device is taken to be doing, and what it counts for, after each thing that was heard of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.device import DeviceState, Stuck
from controller.decide.shown import found_at
from controller.decide.truth import lasts
from controller.decide.words import Truth
from controller.domain.devices import (
    Acknowledged,
    OperatingPoint,
    Quality,
    Reading,
)
from controller.domain.power import Power
from tests.decide.builders import FULL, GPU_POINTS, LOW, NOW_S, SLEEP, at_point, device, gpu, miner, reading
from tests.decide.observing import see, told

# Never seen, and seen first


def test_a_device_that_never_answered_counts_at_its_ceiling() -> None:
    state = see(DeviceState())

    assert (state.truth, state.worst, state.point) == (Truth.UNREACHABLE, Power(3_700), None)


@pytest.mark.parametrize(
    ("said", "point"),
    [
        (reading(draw_w=28, setting_w=30), SLEEP),
        (reading(draw_w=55), SLEEP),
        (reading(draw_w=100), LOW),
        (reading(draw_w=2_600), LOW),
        (reading(draw_w=2_800), FULL),
        (reading(draw_w=50, setting_w=3_500), FULL),
        (reading(draw_w=3_500, setting_w=2_440), LOW),
        (reading(draw_w=2_400, setting_w=3_000), FULL),
        (reading(draw_w=5_000), FULL),
    ],
)
def test_a_device_is_found_at_its_reported_limit_or_else_at_the_lowest_point_that_covers_its_draw(
    said: Reading, point: OperatingPoint
) -> None:
    assert found_at(miner(), said) == point


def test_the_first_reading_is_adopted_as_it_is_and_counts_at_the_worse_of_point_and_draw() -> None:
    state = see(DeviceState(), reading(draw_w=3_550, setting_w=3_500))

    assert (state.truth, state.point, state.worst) == (Truth.CONFIRMED, FULL, Power(3_550))


def test_a_miner_first_found_without_work_that_says_it_sleeps_may_take_all_of_its_watts() -> None:
    assert see(DeviceState(), reading(draw_w=400, setting_w=30)).worst == Power(3_500)
    assert see(DeviceState(), reading(draw_w=120, setting_w=30)).worst == Power(120)


def test_a_limit_above_every_point_counts_in_full() -> None:
    state = see(DeviceState(), reading(draw_w=3_400, setting_w=3_650))

    assert (state.point, state.worst) == (FULL, Power(3_650))


def test_a_limit_above_the_ceiling_counts_at_the_ceiling() -> None:
    state = see(DeviceState(), reading(draw_w=3_400, setting_w=9_000))

    assert state.worst == Power(3_700)


# Staying there


def test_a_confirmed_device_counts_at_the_worse_of_its_point_and_its_draw() -> None:
    state = see(device(FULL), reading(draw_w=3_520, setting_w=3_500))

    assert (state.truth, state.worst, state.keeps) == (Truth.CONFIRMED, Power(3_520), Power(3_520))


def test_a_limit_that_came_back_by_itself_is_asserted_again_and_counts_at_once() -> None:
    state = see(device(LOW, since_s=NOW_S - 500, sent_s=NOW_S - 500), at_point(miner(), FULL))

    assert (state.truth, state.point, state.worst) == (Truth.COMMANDED, LOW, Power(3_500))
    assert (state.reasserts, state.asked_s) == (1, NOW_S)


def test_an_old_answer_is_not_taken_for_the_answer_to_a_reassertion() -> None:
    drifted = see(device(LOW, sent_s=NOW_S - 500), at_point(miner(), FULL))

    later = see(
        drifted, at_point(miner(), FULL), outcome=Acknowledged(), outcome_s=NOW_S - 499, now_s=NOW_S + 1
    )

    assert later.truth is Truth.COMMANDED


def test_a_limit_lowered_by_hand_is_adopted() -> None:
    state = see(device(FULL), at_point(miner(), LOW))

    assert (state.truth, state.point, state.worst) == (Truth.CONFIRMED, LOW, Power(2_400))


def test_watts_that_fell_by_themselves_stay_reserved() -> None:
    """Without its pool a machine draws little, and all of it again in one step when the pool is back."""
    told_limit = see(device(FULL), reading(draw_w=80, setting_w=3_500))
    no_limit = see(device(FULL), reading(draw_w=80))

    assert (told_limit.truth, told_limit.worst) == (Truth.CONFIRMED, Power(3_500))
    assert (no_limit.point, no_limit.worst) == (FULL, Power(3_500))


def test_a_setting_between_two_points_is_counted_at_the_upper_and_asserted() -> None:
    adopted = see(DeviceState(), reading(draw_w=2_900, setting_w=3_000))

    again = see(adopted, reading(draw_w=2_900, setting_w=3_000), heard_s=NOW_S + 1, now_s=NOW_S + 1)

    assert (adopted.point, adopted.worst) == (FULL, Power(3_500))
    assert (again.truth, again.point, again.worst) == (Truth.COMMANDED, FULL, Power(3_500))


# A spec that changes


def test_a_device_whose_point_is_no_longer_on_its_list_is_looked_at_anew() -> None:
    narrowed = miner(points=(SLEEP, replace(LOW, power=Power(2_300)), replace(FULL, power=Power(3_300))))

    state = see(device(FULL, at_s=NOW_S), reading(draw_w=3_250, setting_w=3_300), spec=narrowed)

    assert (state.truth, state.point) == (Truth.CONFIRMED, narrowed.points[-1])


def test_a_raise_in_flight_to_a_point_that_is_no_longer_there_still_counts() -> None:
    narrowed = miner(points=(SLEEP, LOW), ceiling=Power(3_700))

    state = see(told(FULL, LOW), at_point(narrowed, LOW), spec=narrowed)

    assert (state.point, state.worst) == (LOW, Power(3_500))


# What is remembered, to the watt and the second


def test_what_a_reading_says_and_when_it_came_is_remembered() -> None:
    said = reading(draw_w=3_480, setting_w=3_500, quality=Quality.MEASURED)

    state = see(device(FULL), said)

    assert (state.draw, state.quality, state.at_s) == (Power(3_480), Quality.MEASURED, NOW_S)


def test_a_device_found_for_the_first_time_dwells_from_now_and_is_kept_as_found() -> None:
    state = see(DeviceState(attempts=3), at_point(miner(), LOW), heard_s=NOW_S - 3)

    assert (state.since_s, state.asked_s, state.keeps, state.attempts) == (NOW_S, NOW_S, Power(2_400), 0)


def test_a_known_device_of_which_no_reading_is_left_is_unreachable() -> None:
    state = see(device(LOW), None)

    assert (state.truth, state.worst) == (Truth.UNREACHABLE, Power(3_700))


def test_a_reading_that_was_seen_before_teaches_nothing_more() -> None:
    assert see(device(FULL, at_s=NOW_S), reading(draw_w=3_600, setting_w=3_500)).bias == 1.0


def test_a_device_counted_silent_is_back_once_it_may_be_silent_for_longer() -> None:
    silent = device(FULL, Truth.STALE, worst_w=3_700, at_s=NOW_S - 16)

    state = see(silent, at_point(miner(), FULL), spec=miner(stale_after_s=20.0), heard_s=NOW_S - 16)

    assert (state.truth, state.worst) == (Truth.CONFIRMED, Power(3_500))


@pytest.mark.parametrize(("draw_w", "believed"), [(7_400, True), (7_401, False)])
def test_a_draw_of_twice_the_ceiling_is_believed_and_a_watt_more_is_not(draw_w: int, believed: bool) -> None:
    state = see(device(FULL), reading(draw_w=draw_w, setting_w=3_500))

    assert (state.draw == Power(draw_w)) is believed


@pytest.mark.parametrize(("setting_w", "point"), [(2_449, LOW), (2_450, FULL)])
def test_a_reported_limit_is_that_of_a_point_up_to_two_percent_above_it(
    setting_w: int, point: OperatingPoint
) -> None:
    assert found_at(miner(), reading(draw_w=2_400, setting_w=setting_w)) == point


@pytest.mark.parametrize(("setting_w", "worst_w"), [(3_571, 3_500), (3_572, 3_572)])
def test_a_limit_counts_in_full_only_where_it_is_not_that_of_the_point(setting_w: int, worst_w: int) -> None:
    assert see(DeviceState(), reading(draw_w=3_400, setting_w=setting_w)).worst == Power(worst_w)


# How near is there


@pytest.mark.parametrize(
    ("draw_w", "setting_w", "stays"),
    [
        (3_881, 3_500, True),
        (3_882, 3_500, False),
        (3_120, None, True),
        (3_119, None, False),
        (3_400, 3_571, True),
        (3_400, 3_572, False),
        (3_400, 3_429, True),
        (3_400, 3_428, False),
    ],
)
def test_a_confirmed_device_stays_there_within_the_tolerances_of_its_draw_and_its_limit(
    draw_w: int, setting_w: int | None, stays: bool
) -> None:
    state = see(device(FULL), reading(draw_w=draw_w, setting_w=setting_w))

    assert (state.truth is Truth.CONFIRMED, state.reasserts) == (stays, 0 if stays else 1)


@pytest.mark.parametrize(("draw_w", "bias"), [(2_975, 0.97), (2_974, 1.0)])
def test_a_miner_is_reckoned_with_less_down_to_a_draw_that_shows_it_broken(draw_w: int, bias: float) -> None:
    assert see(
        device(FULL, asked_s=NOW_S - 61), reading(draw_w=draw_w, setting_w=3_500)
    ).bias == pytest.approx(bias)


@pytest.mark.parametrize(("ago_s", "bias"), [(60.0, 1.0), (60.1, 0.98)])
def test_a_miner_is_reckoned_with_less_only_after_all_of_its_time_to_rise(ago_s: float, bias: float) -> None:
    risen = device(FULL, asked_s=NOW_S - ago_s)

    assert see(risen, reading(draw_w=3_150, setting_w=3_500)).bias == pytest.approx(bias)


@pytest.mark.parametrize(("before_w", "bias"), [(3_088, 1.0), (3_089, 0.98), (3_300, 0.98)])
def test_a_miner_that_still_rises_after_its_time_is_not_reckoned_with_less(
    before_w: int, bias: float
) -> None:
    """It got its order late."""
    late = device(FULL, asked_s=NOW_S - 90, draw_w=before_w)

    assert see(late, reading(draw_w=3_150, setting_w=3_500)).bias == pytest.approx(bias)


def test_a_gpu_that_is_off_teaches_nothing() -> None:
    off = OperatingPoint(name="off", power=Power(0), rate=0.0)
    spec = gpu(points=(off, *GPU_POINTS))

    state = see(device(off, bias=1.1), reading("g", draw_w=20, setting_w=0), spec=spec)

    assert state.truth is Truth.CONFIRMED
    assert state.bias == pytest.approx(1.098)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (device(FULL), True),
        (device(FULL, derates=(0.5, 0.0, 0.0, 0.0)), True),
        (device(FULL, derates=(0.5, 0.0, 0.0, 0.0), since_s=NOW_S - 601), True),
        (device(FULL, derates=(0.5, 0.0, 0.0, 0.0), since_s=NOW_S - 600), False),
        (device(SLEEP, derates=(0.5, 0.0, 0.0, 0.0)), False),
        (device(FULL, stuck=Stuck(SLEEP.power, FULL.power, NOW_S)), False),
        (device(FULL, idle_s=NOW_S), False),
        (device(FULL, started_s=(NOW_S - 60,)), False),
        (device(FULL, Truth.LYING), False),
    ],
)
def test_the_same_reading_makes_the_same_of_a_device_unless_it_has_something_to_wait_for(
    state: DeviceState, expected: bool
) -> None:
    """Cooling, being tried again once stuck, its time to start: these end by the clock."""
    assert lasts(miner(), state, NOW_S) is expected
