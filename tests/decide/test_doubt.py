"""Who does not do as it is told: how long that is put up with, and what the device is then taken for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.decide.device import DeviceState, Stuck
from controller.decide.doubt import (
    asleep_at,
    doubtful,
    draws_on,
    forgiven,
    idle,
    in_vain,
    may_be_forgiven,
    may_rise,
    may_start_s,
    stays_at,
    unanswered,
)
from controller.decide.words import Truth
from controller.domain.devices import OperatingPoint, Quality
from controller.domain.power import Power
from tests.decide.builders import FULL, GPU_POINTS, LOW, NOW_S, SLEEP, device, gpu, miner


def unmoved(truth: Truth = Truth.LYING, *, attempts: int = 3) -> DeviceState:
    """A miner told to sleep that still draws what it did."""
    return device(SLEEP, truth, worst_w=3_500, draw_w=3_500, attempts=attempts, asked_s=NOW_S - 60)


def awaited(truth: Truth = Truth.LYING, *, attempts: int = 3, draw_w: int = 30) -> DeviceState:
    """A miner told to run that draws `draw_w`."""
    return device(
        FULL, truth, worst_w=3_500, draw_w=draw_w, attempts=attempts, quality=Quality.MEASURED, asked_s=0.0
    )


# Doubt


@pytest.mark.parametrize(("failures", "expected"), [(0, False), (1, False), (2, True)])
def test_one_lost_answer_is_no_doubt_and_two_are(failures: int, expected: bool) -> None:
    asked = device(SLEEP, Truth.COMMANDED, worst_w=3_500, asked_s=NOW_S, failures=failures)

    assert doubtful(miner(), asked, NOW_S) is expected


@pytest.mark.parametrize(("ago_s", "expected"), [(5.0, False), (5.1, True)])
def test_who_has_not_lost_a_watt_in_half_of_its_time_is_doubted(ago_s: float, expected: bool) -> None:
    asked = device(
        SLEEP,
        Truth.COMMANDED,
        worst_w=3_500,
        draw_w=3_395,
        began=Power(3_500),
        at_s=NOW_S,
        asked_s=NOW_S - ago_s,
    )

    assert doubtful(miner(), asked, NOW_S) is expected
    assert not doubtful(miner(), asked._replace(draw=Power(3_394)), NOW_S)


@pytest.mark.parametrize(
    ("since_s", "draw_w", "expected"), [(0.0, 2_800, True), (0.0, 2_750, False), (NOW_S - 3, 2_800, False)]
)
def test_who_draws_yet_more_after_it_was_told_again_and_said_yes_is_doubted_at_once(
    since_s: float, draw_w: int, expected: bool
) -> None:
    """One that was just told another point may still have been rising when it heard."""
    asked = device(
        LOW,
        Truth.ACKNOWLEDGED,
        worst_w=draw_w,
        draw_w=draw_w,
        began=Power(2_700),
        at_s=NOW_S,
        since_s=since_s,
        asked_s=NOW_S - 3,
    )

    assert doubtful(miner(), asked, NOW_S) is expected


def test_who_draws_yet_more_after_it_was_told_again_has_half_of_its_time_to_say_yes() -> None:
    asked = device(
        LOW, Truth.COMMANDED, draw_w=2_800, worst_w=2_800, began=Power(2_700), at_s=NOW_S, asked_s=NOW_S - 3
    )

    assert not doubtful(miner(), asked, NOW_S)
    assert doubtful(miner(), asked._replace(truth=Truth.ACKNOWLEDGED), NOW_S)


def test_who_falls_and_counts_at_no_more_than_it_draws_has_all_of_its_time() -> None:
    falling = device(
        SLEEP, Truth.ACKNOWLEDGED, worst_w=205, draw_w=205, began=Power(3_500), at_s=NOW_S, asked_s=NOW_S - 9
    )

    assert not doubtful(miner(), falling, NOW_S)
    assert doubtful(miner(), falling, NOW_S + 1.1)


@pytest.mark.parametrize("truth", [Truth.LYING, Truth.REFUSED])
def test_who_lies_or_refuses_is_doubted_at_once_and_only_when_asked_for_less(truth: Truth) -> None:
    asked = device(SLEEP, truth, worst_w=3_500, draw_w=1_000, asked_s=NOW_S)

    assert doubtful(miner(), asked, NOW_S)
    assert not doubtful(miner(), asked._replace(worst=Power(30)), NOW_S)
    assert not doubtful(miner(), asked._replace(point=FULL), NOW_S)


@pytest.mark.parametrize(("ago_s", "expected"), [(10.0, False), (10.1, True)])
def test_who_is_on_its_way_down_is_doubted_after_all_of_its_time(ago_s: float, expected: bool) -> None:
    falling = device(
        SLEEP, Truth.COMMANDED, worst_w=3_500, draw_w=1_000, began=Power(3_500), asked_s=NOW_S - ago_s
    )

    assert doubtful(miner(), falling, NOW_S) is expected


@pytest.mark.parametrize(
    ("settles_s", "ago_s", "expected"),
    [(15.0, 5.0, False), (15.0, 5.1, True), (4.0, 3.0, False), (4.0, 3.1, True)],
)
def test_a_command_is_unanswered_after_a_third_of_its_time_and_no_sooner_than_after_three_seconds(
    settles_s: float, ago_s: float, expected: bool
) -> None:
    spec = miner(settle_down_s=settles_s)
    asked = device(SLEEP, Truth.COMMANDED, worst_w=3_500, at_s=NOW_S - ago_s, sent_s=NOW_S - ago_s)

    assert unanswered(spec, asked, NOW_S) is expected
    assert not unanswered(spec, asked._replace(at_s=NOW_S), NOW_S)
    assert not unanswered(spec, asked._replace(truth=Truth.ACKNOWLEDGED), NOW_S)
    assert not unanswered(spec, asked._replace(worst=Power(30)), NOW_S)
    assert not unanswered(spec, asked._replace(point=None), NOW_S)


def test_a_forgiven_miner_is_where_its_watts_are_though_its_point_was_learned_to_draw_a_little_more() -> None:
    stopped_in_vain = device(SLEEP, Truth.LYING, worst_w=2_400, draw_w=2_400, bias=1.0004)

    found = forgiven(miner(), stopped_in_vain)

    assert (found.point, found.truth, found.worst) == (LOW, Truth.CONFIRMED, Power(2_400))
    assert forgiven(miner(), stopped_in_vain._replace(bias=1.02)).point == SLEEP


def test_nobody_silent_or_told_nothing_is_doubted() -> None:
    silent = device(SLEEP, Truth.STALE, worst_w=3_700, asked_s=NOW_S - 100, failures=3)

    assert not doubtful(miner(), silent, NOW_S)
    assert not doubtful(miner(), device(None, Truth.COMMANDED, worst_w=3_700, failures=3), NOW_S)


# The outlet


def test_words_are_in_vain_only_after_the_third_at_a_device_in_doubt() -> None:
    assert in_vain(miner(), unmoved(), NOW_S)
    assert not in_vain(miner(), unmoved(attempts=2), NOW_S)
    assert not in_vain(miner(), unmoved(Truth.CONFIRMED), NOW_S)


def test_without_anything_it_was_told_words_are_never_in_vain() -> None:
    assert not in_vain(miner(), device(None, Truth.UNREACHABLE, at_s=float("-inf")), NOW_S)


@pytest.mark.parametrize(("silent_s", "expected"), [(75.0, False), (75.1, True)])
def test_words_to_a_silent_device_are_in_vain_a_minute_after_it_fell_silent(
    silent_s: float, expected: bool
) -> None:
    silent = device(LOW, Truth.STALE, at_s=NOW_S - silent_s)

    assert in_vain(miner(), silent, NOW_S) is expected


# Staying where it is


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (awaited(), True),
        (awaited(attempts=1), False),
        (awaited(Truth.ACKNOWLEDGED), False),
        (awaited(draw_w=400), False),
        (device(SLEEP, Truth.LYING, attempts=3), False),
        (device(None, Truth.LYING, attempts=3), False),
    ],
)
def test_a_miner_sleeps_on_that_lied_twice_about_starting_and_draws_what_it_does_asleep(
    state: DeviceState, expected: bool
) -> None:
    assert (stays_at(miner(), state) == SLEEP) is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (awaited(draw_w=2_400), LOW),
        (awaited(draw_w=2_670), LOW),
        (awaited(draw_w=2_671), None),
        (awaited(draw_w=2_130), LOW),
        (awaited(draw_w=2_129), None),
        (awaited(draw_w=2_400, attempts=1), None),
        (awaited(draw_w=3_850), None),
        (awaited(draw_w=2_400)._replace(quality=Quality.ESTIMATED), None),
        (awaited(draw_w=2_400)._replace(idle_s=NOW_S - 10), None),
        (awaited(draw_w=2_400)._replace(point=LOW), None),
        (awaited(draw_w=2_400)._replace(point=SLEEP), None),
        (awaited(Truth.STALE, draw_w=2_400), None),
        (awaited(Truth.REFUSED, draw_w=2_400)._replace(asked_s=NOW_S - 62), LOW),
        (awaited(Truth.REFUSED, draw_w=2_400)._replace(asked_s=NOW_S - 61), None),
        (awaited(Truth.COMMANDED, draw_w=2_400)._replace(failures=2), LOW),
        (awaited(Truth.COMMANDED, draw_w=2_400)._replace(failures=1), None),
    ],
)
def test_a_running_miner_stays_at_the_point_it_draws_the_watts_of_once_it_was_told_twice_in_vain_to_go_up(
    state: DeviceState, expected: OperatingPoint | None
) -> None:
    assert stays_at(miner(), state) == expected


def test_a_gpu_that_draws_less_than_its_limit_stays_nowhere() -> None:
    told = device(GPU_POINTS[5], Truth.LYING, worst_w=700, draw_w=300, attempts=3, quality=Quality.MEASURED)

    assert stays_at(gpu(), told) is None


@pytest.mark.parametrize(("draw_w", "expected"), [(0, True), (63, True), (64, False)])
def test_asleep_is_what_draws_no_more_than_its_floor_and_the_tolerance(draw_w: int, expected: bool) -> None:
    assert asleep_at(miner(), LOW, Power(draw_w)) is expected


def test_a_gpu_with_little_to_do_is_not_asleep() -> None:
    assert not asleep_at(gpu(), GPU_POINTS[5], Power(60))


def test_only_a_miner_that_is_to_run_can_be_without_work() -> None:
    stopped = device(SLEEP, quality=Quality.ESTIMATED)

    assert idle(miner(), stopped._replace(point=LOW, draw=LOW.power), 0.0, NOW_S)
    assert not idle(miner(), stopped, 0.0, NOW_S)
    assert not idle(miner(), stopped._replace(point=None), 0.0, NOW_S)
    assert not idle(gpu(), device(GPU_POINTS[5], draw_w=60), 0.0, NOW_S)


@pytest.mark.parametrize(
    ("draw_w", "rate", "expected"),
    [(1_750, 10.0, True), (1_751, 10.0, False), (1_750, 10.1, False), (64, 0.0, True), (63, 0.0, False)],
)
def test_without_work_is_who_draws_half_of_its_point_hashes_a_twentieth_of_it_and_is_not_asleep(
    draw_w: int, rate: float, expected: bool
) -> None:
    measured = device(FULL, draw_w=draw_w, quality=Quality.MEASURED)

    assert idle(miner(), measured, rate, NOW_S) is expected


# Called back


def called_back(**changes: Any) -> DeviceState:
    """At low it was told to go up, and a moment later to stay there."""
    asked = device(LOW, Truth.COMMANDED, worst_w=3_500, at_s=NOW_S, began=LOW.power, asked_s=NOW_S - 60)
    return asked._replace(**changes)


def test_who_was_called_back_before_it_rose_may_rise_until_it_said_yes_or_its_time_is_over() -> None:
    assert may_rise(miner(), called_back())
    assert may_rise(miner(), called_back(truth=Truth.REFUSED))
    assert not may_rise(miner(), called_back(truth=Truth.ACKNOWLEDGED))
    assert not may_rise(miner(), called_back(asked_s=NOW_S - 61))
    assert not may_rise(miner(), called_back(worst=LOW.power))
    assert may_rise(miner(), called_back(began=Power(2_670)))
    assert not may_rise(miner(), called_back(began=Power(2_671)))
    assert not may_rise(miner(), called_back(point=None))


# What it is taken for


def test_a_forgiven_miner_that_draws_more_than_any_point_it_may_be_at_is_at_the_highest_of_these() -> None:
    beyond = device(SLEEP, Truth.LYING, worst_w=2_500, draw_w=2_900, attempts=4)

    after = forgiven(miner(), beyond)

    assert (after.point, after.truth, after.attempts) == (LOW, Truth.CONFIRMED, 0)


def test_a_gpu_is_taken_for_nowhere_where_it_counts_more_than_it_may_draw() -> None:
    """Its watts stood still a percent below what its limit counts: its rack granted 4 W more than it had."""
    spec = gpu()
    limit_w = spec.points[1].power.watts
    still = device(spec.floor, Truth.REFUSED, worst_w=limit_w - 1, draw_w=limit_w - 1, bias=1.002)

    after = forgiven(spec, still)

    assert after.point is not None
    assert after.counted(after.point) <= after.worst


def test_a_forgiven_device_that_counts_for_less_than_any_point_is_at_its_floor() -> None:
    assert forgiven(miner(), device(FULL, Truth.LYING, worst_w=10, draw_w=10)).point == SLEEP


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (device(FULL, Truth.REFUSED, worst_w=4_025, draw_w=4_025), False),
        (device(FULL, Truth.LYING, worst_w=4_025, draw_w=4_025), True),
        (device(FULL, Truth.REFUSED, worst_w=4_025, draw_w=3_882), False),
        (device(FULL, Truth.REFUSED, worst_w=4_025, draw_w=3_881), True),
        (device(FULL, Truth.REFUSED, worst_w=4_025, draw_w=4_025, bias=1.1), True),
        (called_back(), False),
    ],
)
def test_only_one_that_is_where_it_would_be_taken_to_be_is_forgiven_or_was_caught_at_drawing_more(
    state: DeviceState, expected: bool
) -> None:
    assert may_be_forgiven(miner(), state) is expected


# Drawing on


def hungry(**changes: Any) -> DeviceState:
    return device(
        FULL, Truth.LYING, worst_w=4_025, draw_w=4_025, stuck=Stuck(SLEEP.power, Power(4_025), NOW_S)
    )._replace(**changes)


def test_a_liar_draws_on_where_it_draws_more_than_its_point_and_is_counted_so() -> None:
    assert draws_on(hungry())
    assert not draws_on(hungry(truth=Truth.CONFIRMED))
    assert not draws_on(hungry(stuck=None))
    assert not draws_on(hungry(point=SLEEP))
    assert not draws_on(hungry(point=None))
    assert not draws_on(hungry(draw=Power(3_881)))
    assert draws_on(hungry(draw=Power(3_882)))


# Starting again


def test_a_device_given_up_rests_for_a_quarter_of_an_hour() -> None:
    assert may_start_s(miner(), device(SLEEP, given_up_s=NOW_S)) == NOW_S + 900


def test_a_device_started_as_often_as_it_may_be_waits_until_the_first_of_these_is_an_hour_old() -> None:
    spec = replace(miner(), starts_per_hour=2)
    worn = device(SLEEP, started_s=(NOW_S - 3_000, NOW_S - 60))

    assert may_start_s(spec, worn._replace(started_s=worn.started_s[1:])) == float("-inf")
    assert may_start_s(spec, worn) == NOW_S + 600
    assert may_start_s(spec, worn._replace(given_up_s=NOW_S)) == NOW_S + 900
