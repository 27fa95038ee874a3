"""What a device is taken to be doing, and what it counts for, after each thing that was heard of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from controller.decide import truth
from controller.decide.device import DeviceState
from controller.decide.doubt import doubtful, forgiven, may_start_s, without_work
from controller.decide.plan import Sample, Truth
from controller.decide.truth import found_at, observe
from controller.domain.devices import (
    Acknowledged,
    DeviceSpec,
    Failed,
    OperatingPoint,
    Outcome,
    Quality,
    Reading,
    Refused,
)
from controller.domain.power import Power
from tests.decide.builders import FULL, GPU_POINTS, LOW, NOW_S, SLEEP, at_point, device, gpu, miner, reading

INF = float("inf")


def see(
    state: DeviceState,
    said: Reading | None = None,
    *,
    spec: DeviceSpec | None = None,
    outcome: Outcome | None = None,
    outcome_s: float = NOW_S,
    heard_s: float = NOW_S,
    now_s: float = NOW_S,
) -> DeviceState:
    sample = Sample(heard_s, said) if said is not None else None
    answer = Sample(outcome_s, outcome) if outcome is not None else None
    return observe(spec or miner(), state, sample, answer, now_s)


def told(
    point: OperatingPoint, before: OperatingPoint, sent_s: float = NOW_S - 2, **changes: Any
) -> DeviceState:
    """A device that was at `before` and was told to go to `point`."""
    return truth.commanded(miner(), device(before), point, sent_s)._replace(**changes)


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


def test_a_limit_above_every_point_counts_in_full() -> None:
    state = see(DeviceState(), reading(draw_w=3_400, setting_w=3_650))

    assert (state.point, state.worst) == (FULL, Power(3_650))


def test_a_limit_above_the_ceiling_counts_at_the_ceiling() -> None:
    state = see(DeviceState(), reading(draw_w=3_400, setting_w=9_000))

    assert state.worst == Power(3_700)


# Silence


def test_a_silent_device_counts_at_its_ceiling() -> None:
    state = see(device(SLEEP, at_s=NOW_S - 16), at_point(miner(), SLEEP), heard_s=NOW_S - 16)

    assert (state.truth, state.worst) == (Truth.STALE, Power(3_700))


def test_a_silent_device_counts_where_it_was_while_it_cannot_have_restarted_yet() -> None:
    spec, heard_s = miner(boots_s=30.0), NOW_S - 16
    raised = told(FULL, LOW, at_s=heard_s)

    asleep = see(device(SLEEP, at_s=heard_s), at_point(spec, SLEEP), spec=spec, heard_s=heard_s)
    rising = see(raised, at_point(spec, LOW), spec=spec, heard_s=heard_s)
    later = see(asleep, at_point(spec, SLEEP), spec=spec, heard_s=heard_s, now_s=heard_s + 30)

    assert (asleep.truth, asleep.worst, rising.worst) == (Truth.STALE, Power(30), Power(3_500))
    assert (later.truth, later.worst) == (Truth.STALE, Power(3_700))


def test_of_a_device_first_heard_of_by_a_reading_that_is_too_old_nothing_is_known() -> None:
    spec = miner(boots_s=30.0)

    assert see(DeviceState(), at_point(spec, SLEEP), spec=spec, heard_s=NOW_S - 16).worst == Power(3_700)


def test_a_device_is_not_silent_for_an_older_reading_that_came_late() -> None:
    state = see(device(SLEEP), at_point(miner(), SLEEP), heard_s=NOW_S - 16)

    assert state.truth is Truth.CONFIRMED


def test_a_device_heard_exactly_as_long_ago_as_allowed_is_not_silent() -> None:
    state = see(device(SLEEP), at_point(miner(), SLEEP), heard_s=NOW_S - 15)

    assert state.truth is Truth.CONFIRMED


def test_a_silent_device_that_keeps_limits_counts_at_the_last_one_it_confirmed() -> None:
    spec = miner(keeps_limit=True)

    state = see(
        device(LOW, keeps=Power(2_450), at_s=NOW_S - 16), at_point(spec, LOW), spec=spec, heard_s=NOW_S - 16
    )

    assert state.worst == Power(2_450)


def test_a_device_that_keeps_limits_but_never_confirmed_one_counts_at_its_ceiling() -> None:
    spec = miner(keeps_limit=True)

    state = see(device(LOW, at_s=NOW_S - 16), at_point(spec, LOW), spec=spec, heard_s=NOW_S - 16)

    assert state.worst == Power(3_700)


def test_a_raise_in_flight_when_a_device_that_keeps_limits_fell_silent_still_counts() -> None:
    spec = miner(keeps_limit=True)
    raised = told(FULL, LOW, keeps=Power(2_400))

    silent = see(raised, at_point(spec, LOW), spec=spec, heard_s=NOW_S - 16)
    later = see(silent, at_point(spec, LOW), spec=spec, heard_s=NOW_S - 16, now_s=NOW_S + 60)

    assert (silent.worst, later.worst) == (Power(3_500), Power(3_500))


def test_a_device_that_comes_back_as_it_was_is_confirmed_there() -> None:
    state = see(device(LOW, Truth.STALE, worst_w=3_700), at_point(miner(), LOW))

    assert (state.truth, state.point, state.worst) == (Truth.CONFIRMED, LOW, Power(2_400))


def test_a_device_that_fell_silent_while_it_was_raised_may_still_come_to_where_it_was_told_to_be() -> None:
    silent = see(told(FULL, LOW, NOW_S - 40), at_point(miner(), LOW), heard_s=NOW_S - 20)
    back = see(silent, at_point(miner(), LOW))
    later = see(back, at_point(miner(), LOW), heard_s=NOW_S + 5, now_s=NOW_S + 5)

    assert (back.truth, back.point, back.worst) == (Truth.COMMANDED, FULL, Power(3_500))
    assert later.worst == Power(3_500)


def test_a_device_that_forgot_its_limit_while_it_was_silent_counts_at_what_it_went_to() -> None:
    state = see(device(SLEEP, Truth.STALE, worst_w=3_700), at_point(miner(), FULL))

    assert (state.truth, state.point, state.worst) == (Truth.CONFIRMED, FULL, Power(3_500))


# Commands and answers


def test_a_device_told_to_draw_less_counts_at_what_it_drew() -> None:
    assert told(SLEEP, FULL).worst == Power(3_500)


def test_a_device_told_to_draw_more_counts_at_what_it_will_draw() -> None:
    assert told(FULL, SLEEP).worst == Power(3_500)


def test_an_acknowledgement_lowers_nothing() -> None:
    state = see(told(SLEEP, FULL), outcome=Acknowledged(), said=at_point(miner(), FULL))

    assert (state.truth, state.worst) == (Truth.ACKNOWLEDGED, Power(3_500))


def test_a_lost_answer_leaves_the_command_open() -> None:
    state = see(told(SLEEP, FULL), outcome=Failed("timeout"), said=at_point(miner(), FULL))

    assert (state.truth, state.worst) == (Truth.COMMANDED, Power(3_500))


def test_the_answer_to_an_earlier_command_is_no_answer_to_this_one() -> None:
    state = see(told(SLEEP, FULL), outcome=Refused("no"), outcome_s=NOW_S - 3, said=at_point(miner(), FULL))

    assert state.truth is Truth.COMMANDED


def test_a_reading_older_than_the_command_proves_nothing() -> None:
    state = see(told(SLEEP, FULL, at_s=NOW_S - 9), at_point(miner(), SLEEP), heard_s=NOW_S - 3)

    assert (state.truth, state.worst) == (Truth.COMMANDED, Power(3_500))


def test_only_watts_confirm_a_change() -> None:
    state = see(told(SLEEP, FULL), at_point(miner(), SLEEP), outcome=Acknowledged())

    assert (state.truth, state.worst, state.proofs) == (Truth.CONFIRMED, Power(30), 1)


def test_a_limit_that_reads_back_as_told_confirms_nothing_while_the_watts_are_those_of_before() -> None:
    state = see(told(SLEEP, FULL), reading(draw_w=3_500, setting_w=30))

    assert (state.truth, state.worst) == (Truth.COMMANDED, Power(3_500))


def test_a_raised_miner_is_not_there_before_its_watts_are() -> None:
    state = see(told(FULL, SLEEP), reading(draw_w=900, setting_w=3_500), outcome=Acknowledged())

    assert (state.truth, state.worst) == (Truth.ACKNOWLEDGED, Power(3_500))


def test_a_raised_miner_whose_pool_is_gone_is_taken_to_be_there_after_its_time() -> None:
    state = see(told(FULL, SLEEP, NOW_S - 61), reading(draw_w=900, setting_w=3_500), outcome=Acknowledged())

    assert (state.truth, state.worst) == (Truth.CONFIRMED, Power(3_500))


def test_a_raised_gpu_is_there_when_its_limit_is() -> None:
    spec = gpu()
    raised = truth.commanded(spec, device(GPU_POINTS[0]), GPU_POINTS[5], NOW_S - 2)

    state = see(raised, reading("g", 60, 700), spec=spec)

    assert state.truth is Truth.CONFIRMED


def test_a_device_that_refused_but_did_it_is_confirmed() -> None:
    state = see(told(SLEEP, FULL), at_point(miner(), SLEEP), outcome=Refused("busy"))

    assert state.truth is Truth.CONFIRMED


def test_told_again_a_device_keeps_its_dwell_and_its_time_and_counts_the_attempts() -> None:
    first = told(SLEEP, FULL, NOW_S - 20)

    again = truth.commanded(miner(), first, SLEEP, NOW_S)

    assert (again.since_s, again.asked_s, again.sent_s) == (NOW_S - 20, NOW_S - 20, NOW_S)
    assert again.attempts == 2


# Lies


def test_an_acknowledged_lowering_without_effect_is_a_lie_after_its_time_and_not_before() -> None:
    acknowledged = told(SLEEP, FULL, NOW_S - 10, truth=Truth.ACKNOWLEDGED)

    in_time = see(acknowledged, at_point(miner(), FULL))
    late = see(acknowledged, at_point(miner(), FULL), heard_s=NOW_S + 0.5, now_s=NOW_S + 0.5)

    assert (in_time.truth, in_time.lies) == (Truth.ACKNOWLEDGED, 0)
    assert (late.truth, late.lies, late.worst) == (Truth.LYING, 1, Power(3_500))


def test_a_machine_that_reports_its_limit_and_draws_more_is_a_liar_at_once() -> None:
    at_low = device(LOW)

    risen = see(at_low, reading(draw_w=2_671, setting_w=2_400))
    within = see(at_low, reading(draw_w=2_670, setting_w=2_400))
    guessed = see(at_low, reading(draw_w=2_671, setting_w=2_400, quality=Quality.ESTIMATED))
    unset = see(at_low, reading(draw_w=2_671, setting_w=3_500))

    assert (risen.truth, risen.lies, risen.worst) == (Truth.LYING, 1, Power(2_671))
    assert within.truth is Truth.CONFIRMED
    assert (guessed.truth, guessed.lies) == (Truth.COMMANDED, 0)
    assert (unset.truth, unset.lies) == (Truth.COMMANDED, 0)


def test_who_left_its_point_by_itself_is_not_doubted_for_answers_that_were_lost_before() -> None:
    """Forgiven at its floor after two lost answers, it reports the limit of an earlier order."""
    forgiven_then = device(SLEEP, worst_w=2_400, failures=2)

    found = see(forgiven_then, reading(draw_w=25, setting_w=2_400))

    assert (found.truth, found.worst, found.failures) == (Truth.COMMANDED, Power(2_400), 0)
    assert not doubtful(miner(), found, NOW_S)


def test_a_liar_that_still_rises_counts_wherever_it_runs_at_what_it_was_last_seen_at() -> None:
    risen = see(device(LOW), reading(draw_w=2_700, setting_w=2_400))
    higher = see(risen, reading(draw_w=3_400, setting_w=2_400), heard_s=NOW_S + 1, now_s=NOW_S + 1)

    assert (risen.counted(LOW), higher.counted(LOW)) == (Power(2_700), Power(3_400))
    assert (higher.truth, higher.worst) == (Truth.LYING, Power(3_400))


def test_a_lie_is_found_out_without_a_new_reading_too() -> None:
    acknowledged = told(SLEEP, FULL, NOW_S - 11, truth=Truth.ACKNOWLEDGED, at_s=NOW_S)

    assert see(acknowledged, at_point(miner(), FULL)).truth is Truth.LYING


def test_an_acknowledged_raise_has_the_time_of_a_raise() -> None:
    acknowledged = told(FULL, SLEEP, NOW_S - 50, truth=Truth.ACKNOWLEDGED)

    assert see(acknowledged, reading(draw_w=30)).truth is Truth.ACKNOWLEDGED


def test_a_liar_told_again_stays_a_liar_until_its_watts_move() -> None:
    liar = told(SLEEP, FULL, NOW_S - 30, truth=Truth.LYING)

    again = truth.commanded(miner(), liar, SLEEP, NOW_S)
    moved = see(again, at_point(miner(), SLEEP), heard_s=NOW_S + 1, now_s=NOW_S + 1)

    assert (again.truth, moved.truth) == (Truth.LYING, Truth.CONFIRMED)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (device(FULL), False),
        (device(None, Truth.UNREACHABLE), False),
        (told(SLEEP, FULL), False),
        (told(SLEEP, FULL, NOW_S - 5), False),
        (told(SLEEP, FULL, NOW_S - 7), True),
        (told(SLEEP, FULL, NOW_S - 10, draw=Power(2_000)), False),
        (told(SLEEP, FULL, NOW_S - 10.5, draw=Power(2_000)), True),
        (told(SLEEP, FULL, truth=Truth.REFUSED), True),
        (told(SLEEP, FULL, truth=Truth.LYING), True),
        (told(SLEEP, FULL, truth=Truth.STALE), False),
        (told(FULL, SLEEP, truth=Truth.REFUSED), False),
        (told(FULL, SLEEP, NOW_S - 500), False),
    ],
)
def test_doubtful_is_who_was_asked_for_less_and_refused_or_had_its_time(
    state: DeviceState, expected: bool
) -> None:
    assert doubtful(miner(), state, NOW_S) is expected


def test_a_refused_raise_is_no_reason_to_take_a_devices_watts_from_others() -> None:
    refused = told(FULL, SLEEP, truth=Truth.REFUSED)

    assert refused.worst == Power(3_500)
    assert not doubtful(miner(), refused, NOW_S)


def test_a_doubtful_device_counts_at_the_limit_it_shows_once_its_time_is_over() -> None:
    refused = told(SLEEP, FULL, NOW_S - 11, truth=Truth.REFUSED)

    state = see(refused, at_point(miner(), LOW))

    assert (state.truth, state.worst) == (Truth.REFUSED, Power(2_400))


def test_a_doubtful_device_without_a_reported_limit_stays_counted_at_what_it_may_draw() -> None:
    refused = told(SLEEP, FULL, NOW_S - 11, truth=Truth.REFUSED)

    assert see(refused, reading(draw_w=2_400)).worst == Power(3_500)


# Forgiveness


def test_a_forgiven_device_is_taken_to_be_at_the_highest_point_it_may_be_at() -> None:
    state = forgiven(miner(), told(SLEEP, FULL, truth=Truth.LYING))

    assert (state.truth, state.point, state.worst) == (Truth.CONFIRMED, FULL, Power(3_500))


def test_forgiving_never_changes_what_a_device_counts_for() -> None:
    idle = truth.commanded(gpu(), device(GPU_POINTS[5], draw_w=60), GPU_POINTS[0], NOW_S)
    between = told(SLEEP, LOW, worst=Power(2_500), draw=Power(2_500))

    assert forgiven(gpu(), idle._replace(truth=Truth.REFUSED)).worst == Power(700)
    assert forgiven(miner(), between._replace(truth=Truth.REFUSED)).worst == Power(2_500)


def test_a_miner_that_stopped_late_is_not_taken_to_be_where_it_was() -> None:
    late = told(SLEEP, FULL, worst=Power(3_500), draw=Power(40), truth=Truth.LYING)
    still = told(SLEEP, FULL, worst=Power(3_500), draw=Power(3_480), truth=Truth.LYING)

    assert (forgiven(miner(), late).point, forgiven(miner(), late).worst) == (SLEEP, Power(3_500))
    assert forgiven(miner(), still).point == FULL


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


def test_an_estimated_draw_raises_what_a_device_counts_for_and_never_lowers_it() -> None:
    more = learned(reading(draw_w=3_700, setting_w=3_500, quality=Quality.ESTIMATED))
    less = learned(reading(draw_w=3_300, setting_w=3_500, quality=Quality.ESTIMATED))

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


# What cannot be


def test_a_draw_in_another_unit_is_an_estimate_in_watts_and_the_machine_is_still_told_what_to_do() -> None:
    absurd = replace(reading(draw_w=3_500_000, setting_w=3_500), rate=199.0)

    state = see(device(FULL), absurd)
    first = see(DeviceState(), absurd)
    lowered = see(told(SLEEP, FULL), absurd)

    assert (state.draw, state.worst, state.truth) == (Power(3_500), Power(3_500), Truth.CONFIRMED)
    assert state.quality is Quality.ESTIMATED
    assert (first.point, first.worst) == (FULL, Power(3_500))
    assert lowered.worst == Power(3_500)
    assert see(device(FULL), reading(draw_w=9_000_000, setting_w=3_500)).draw == Power(3_700)
    assert see(device(FULL), reading(draw_w=7_400, setting_w=3_500)).draw == Power(7_400)


def test_a_machine_that_said_it_woke_and_sleeps_on_is_a_liar_and_not_there() -> None:
    asleep = reading(draw_w=31, setting_w=3_500)
    told_s = NOW_S - 61
    woken = told(FULL, SLEEP, told_s, truth=Truth.ACKNOWLEDGED)

    early = see(woken._replace(asked_s=NOW_S - 30, sent_s=NOW_S - 30), asleep)
    late = see(woken, asleep)

    assert early.truth is Truth.ACKNOWLEDGED
    assert (late.truth, late.lies, late.worst) == (Truth.LYING, 1, Power(3_500))


def test_a_machine_whose_pool_is_gone_idles_and_is_there_all_the_same() -> None:
    woken = told(FULL, SLEEP, NOW_S - 61, truth=Truth.ACKNOWLEDGED)

    assert see(woken, reading(draw_w=420, setting_w=3_500)).truth is Truth.CONFIRMED


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


# Commands


def test_a_reading_of_the_moment_of_the_command_proves_nothing() -> None:
    assert see(told(SLEEP, FULL, NOW_S), at_point(miner(), SLEEP)).truth is Truth.COMMANDED


@pytest.mark.parametrize(
    ("before", "goal", "starts"), [(SLEEP, LOW, True), (LOW, FULL, False), (FULL, SLEEP, False)]
)
def test_only_going_up_from_the_floor_is_a_start(
    before: OperatingPoint, goal: OperatingPoint, starts: bool
) -> None:
    state = truth.commanded(miner(), device(before), goal, NOW_S)

    assert state.started_s == ((NOW_S,) if starts else ())


def test_a_machine_told_its_floor_or_the_same_start_again_is_not_started_again() -> None:
    started = truth.commanded(miner(), device(SLEEP), LOW, NOW_S)

    assert truth.commanded(miner(), device(SLEEP), SLEEP, NOW_S).started_s == ()
    assert truth.commanded(miner(), started, LOW, NOW_S + 20).started_s == (NOW_S,)


def test_as_many_starts_are_remembered_as_a_machine_may_have_in_an_hour_and_the_last_of_them() -> None:
    worn = device(SLEEP, started_s=(1.0, 2.0, 3.0))

    assert truth.commanded(miner(starts_per_hour=3), worn, FULL, NOW_S).started_s == (2.0, 3.0, NOW_S)


def test_a_liar_told_to_go_elsewhere_is_given_a_new_chance_and_who_did_not_lie_stays_no_liar() -> None:
    liar = told(SLEEP, FULL, truth=Truth.LYING)

    assert truth.commanded(miner(), liar, LOW, NOW_S).truth is Truth.COMMANDED
    assert truth.commanded(miner(), told(SLEEP, FULL), SLEEP, NOW_S).truth is Truth.COMMANDED


def test_lost_answers_are_counted_for_one_command_and_its_repetitions_only() -> None:
    lost = told(SLEEP, FULL, failures=2)

    assert truth.commanded(miner(), lost, SLEEP, NOW_S).failures == 2
    assert truth.commanded(miner(), lost, LOW, NOW_S).failures == 0
    assert truth.commanded(miner(), device(FULL, failures=2), FULL, NOW_S).failures == 0


def test_a_miner_that_sleeps_on_is_given_up_when_it_is_told_its_floor_and_not_before() -> None:
    sleeping = told(FULL, SLEEP, truth=Truth.LYING, attempts=3, draw=Power(30), given_up_s=1.0)

    assert truth.commanded(miner(), sleeping, SLEEP, NOW_S).given_up_s == NOW_S
    assert truth.commanded(miner(), sleeping, FULL, NOW_S).given_up_s == 1.0
    assert truth.commanded(miner(), device(FULL, given_up_s=1.0), SLEEP, NOW_S).given_up_s == 1.0


def test_a_device_whose_power_is_taken_is_given_up_and_counts_for_what_it_drew_until_it_is_measured() -> None:
    state = truth.cut(miner(), told(SLEEP, FULL, truth=Truth.LYING), NOW_S)

    assert (state.given_up_s, state.point, state.worst) == (NOW_S, SLEEP, Power(3_500))


# Answers


def test_an_answer_of_the_moment_of_the_command_is_an_answer_to_it() -> None:
    state = see(told(SLEEP, FULL), at_point(miner(), FULL), outcome=Acknowledged(), outcome_s=NOW_S - 2)

    assert state.truth is Truth.ACKNOWLEDGED


def test_a_refusal_is_remembered_as_one() -> None:
    state = see(told(SLEEP, FULL), at_point(miner(), FULL), outcome=Refused("no"))

    assert (state.truth, state.worst) == (Truth.REFUSED, Power(3_500))


def test_an_answer_changes_nothing_of_a_device_that_was_asked_for_nothing() -> None:
    state = see(device(FULL), at_point(miner(), FULL), outcome=Refused("no"))

    assert (state.truth, state.proofs) == (Truth.CONFIRMED, 0)


def test_a_lost_answer_counts_once_however_often_it_is_looked_at_and_undoes_an_earlier_yes() -> None:
    acknowledged = told(SLEEP, FULL, truth=Truth.ACKNOWLEDGED)

    once = see(acknowledged, at_point(miner(), FULL), outcome=Failed("timeout"))
    twice = see(once, at_point(miner(), FULL), outcome=Failed("timeout"))
    later = see(
        twice, at_point(miner(), FULL), outcome=Failed("timeout"), outcome_s=NOW_S + 1, now_s=NOW_S + 1
    )

    assert (once.truth, once.failures, once.failed_s) == (Truth.COMMANDED, 1, NOW_S)
    assert (twice.failures, later.failures) == (1, 2)


# Coming back, being changed by hand, being on the way


def test_a_device_back_from_silence_that_draws_more_than_its_point_counts_at_that() -> None:
    silent = device(FULL, Truth.STALE, worst_w=3_700, attempts=2, keeps=Power(3_500))

    state = see(silent, reading(draw_w=3_550, setting_w=3_500))

    assert (state.worst, state.keeps, state.attempts, state.asked_s) == (
        Power(3_550),
        Power(3_500),
        0,
        NOW_S,
    )


def test_a_device_back_from_silence_with_a_limit_above_its_point_counts_at_that_limit() -> None:
    silent = device(FULL, Truth.STALE, worst_w=3_700)

    state = see(silent, reading(draw_w=3_480, setting_w=3_600))

    assert (state.truth, state.worst, state.keeps) == (Truth.CONFIRMED, Power(3_600), Power(3_600))


def test_a_device_back_from_silence_is_taken_to_be_where_its_watts_put_it() -> None:
    silent = device(GPU_POINTS[4], Truth.STALE, worst_w=700)

    state = see(silent, reading("g", draw_w=520), spec=gpu())

    assert (state.point, state.worst) == (GPU_POINTS[3], Power(520))


def test_a_limit_lowered_by_hand_is_new_and_one_that_came_back_is_asserted_without_a_pause() -> None:
    lowered = see(device(FULL), at_point(miner(), LOW))
    returned = see(device(LOW, sent_s=NOW_S - 1), at_point(miner(), FULL))

    assert lowered.asked_s == NOW_S
    assert (returned.asked_s, returned.sent_s, returned.reasserts) == (NOW_S, -INF, 1)


def test_a_proven_change_is_what_a_device_keeps_and_ends_the_asking() -> None:
    state = see(told(LOW, FULL, attempts=3), reading(draw_w=2_420, setting_w=2_400))

    assert (state.truth, state.keeps, state.attempts, state.proofs) == (
        Truth.CONFIRMED,
        Power(2_420),
        0,
        1,
    )


def test_a_miner_on_its_way_up_counts_for_where_it_goes_and_no_more() -> None:
    rising = told(FULL, LOW, worst=Power(3_700))

    assert see(rising, reading(draw_w=2_900, setting_w=3_500)).worst == Power(3_500)


@pytest.mark.parametrize(("quality", "worst_w"), [(Quality.MEASURED, 2_000), (Quality.ESTIMATED, 3_500)])
def test_watts_on_their_way_down_are_free_only_where_they_are_measured(
    quality: Quality, worst_w: int
) -> None:
    state = see(told(SLEEP, FULL), reading(draw_w=2_000, setting_w=30, quality=quality))

    assert (state.truth, state.worst) == (Truth.COMMANDED, Power(worst_w))


def test_a_device_in_its_time_counts_for_what_it_drew_whatever_other_limit_it_shows() -> None:
    assert see(told(SLEEP, FULL), at_point(miner(), LOW)).worst == Power(3_500)


def test_a_doubtful_device_counts_at_the_limit_it_shows_also_where_it_draws_less() -> None:
    refused = told(SLEEP, FULL, NOW_S - 11, truth=Truth.REFUSED)

    assert see(refused, reading(draw_w=1_500, setting_w=2_400)).worst == Power(2_400)


@pytest.mark.parametrize(("draw_w", "there"), [(3_119, False), (3_120, True)])
def test_a_raised_miner_is_there_from_a_tenth_and_thirty_watts_below_its_point(
    draw_w: int, there: bool
) -> None:
    assert (see(told(FULL, SLEEP), reading(draw_w=draw_w)).truth is Truth.CONFIRMED) is there


def test_a_raised_miner_has_all_of_its_time() -> None:
    idling = reading(draw_w=420, setting_w=3_500)

    assert see(told(FULL, SLEEP, NOW_S - 60), idling).truth is Truth.COMMANDED


def test_a_fifth_of_what_a_reading_shows_is_learned_and_never_more_than_the_most() -> None:
    learned = see(device(FULL), reading(draw_w=3_570, setting_w=3_500)).bias
    absurdly_hungry = device(GPU_POINTS[0], bias=1.15)
    more = see(absurdly_hungry, reading("g", draw_w=250, setting_w=200), spec=gpu())

    assert learned == pytest.approx(1.004)
    assert more.bias == pytest.approx(1.15)


def test_asleep_a_fiftieth_of_what_was_learned_is_forgotten_with_each_reading() -> None:
    assert see(device(SLEEP, bias=1.1), at_point(miner(), SLEEP)).bias == pytest.approx(1.098)


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
    assert see(device(FULL), reading(draw_w=draw_w, setting_w=3_500)).bias == pytest.approx(bias)


@pytest.mark.parametrize(("ago_s", "bias"), [(60.0, 1.0), (60.1, 0.98)])
def test_a_miner_is_reckoned_with_less_only_after_all_of_its_time_to_rise(ago_s: float, bias: float) -> None:
    risen = device(FULL, asked_s=NOW_S - ago_s)

    assert see(risen, reading(draw_w=3_150, setting_w=3_500)).bias == pytest.approx(bias)


def test_a_gpu_that_is_off_teaches_nothing() -> None:
    off = OperatingPoint(name="off", power=Power(0), rate=0.0)
    spec = gpu(points=(off, *GPU_POINTS))

    state = see(device(off, bias=1.1), reading("g", draw_w=20, setting_w=0), spec=spec)

    assert state.truth is Truth.CONFIRMED
    assert state.bias == pytest.approx(1.098)


# Who is stuck


def lied_about_low(at_s: float = NOW_S - 60) -> DeviceState:
    """Told to come down from full, it said yes and draws on."""
    told_s = at_s - miner().settle_down_s - 1
    asked = told(LOW, FULL, truth=Truth.ACKNOWLEDGED, sent_s=told_s, asked_s=told_s, at_s=told_s, bias=0.95)
    return see(asked, reading(draw_w=3_510), heard_s=at_s, now_s=at_s)


def test_a_machine_that_did_not_come_down_counts_as_much_wherever_it_runs_from_then_on() -> None:
    liar = lied_about_low()

    assert liar.truth is Truth.LYING
    assert (liar.counted(LOW), liar.counted(FULL), liar.counted(SLEEP)) == (
        Power(3_510),
        Power(3_510),
        liar.reckoned(SLEEP),
    )
    assert truth.commanded(miner(), liar._replace(worst=Power(30)), LOW, NOW_S).worst == Power(3_510)


def test_a_machine_that_lied_is_never_again_taken_to_draw_less_than_its_point_says() -> None:
    liar = lied_about_low()
    after = see(liar._replace(truth=Truth.CONFIRMED, asked_s=0.0), reading(draw_w=2_280))

    assert liar.bias == 1.0
    assert after.bias == 1.0


def test_a_stuck_machine_is_trusted_again_once_it_was_seen_lower_after_its_time_to_rise() -> None:
    stuck = lied_about_low()
    again = truth.commanded(miner(), stuck, LOW, NOW_S - 59)

    early = see(again, reading(draw_w=2_400), heard_s=NOW_S - 30, now_s=NOW_S - 30)
    late = see(again, reading(draw_w=2_400), heard_s=NOW_S + 30, now_s=NOW_S + 30)

    assert early.stuck is not None
    assert late.stuck is None


def test_a_stuck_machine_is_tried_again_after_a_quarter_of_an_hour() -> None:
    stuck = lied_about_low()

    assert see(stuck, reading(draw_w=3_510), heard_s=NOW_S + 700, now_s=NOW_S + 700).stuck is not None
    assert see(stuck, reading(draw_w=3_510), heard_s=NOW_S + 900, now_s=NOW_S + 900).stuck is None


# Who has no work


def test_a_miner_is_without_work_once_it_has_not_hashed_for_half_a_minute_after_its_time_to_start() -> None:
    running = device(FULL, started_s=(NOW_S - 300,))

    first = see(running, reading(draw_w=400))
    later = see(first, reading(draw_w=400), heard_s=NOW_S + 30, now_s=NOW_S + 30)
    hashing = see(later, replace(reading(draw_w=3_500), rate=199.0), heard_s=NOW_S + 35, now_s=NOW_S + 35)
    starting = see(device(FULL, started_s=(NOW_S - 5,)), reading(draw_w=400))

    assert (first.idle_s, without_work(first)) == (NOW_S, False)
    assert without_work(later)
    assert hashing.idle_s is None
    assert starting.idle_s is None


def test_a_miner_put_to_sleep_for_want_of_work_is_not_started_for_five_minutes() -> None:
    idle = device(FULL, idle_s=NOW_S - 60, at_s=NOW_S)

    asleep = truth.commanded(miner(), idle, SLEEP, NOW_S)

    assert may_start_s(miner(), asleep) == NOW_S + 300
    assert asleep.idle_s is None
    assert truth.commanded(miner(), device(FULL), SLEEP, NOW_S).rests_s == float("-inf")


def test_a_miner_that_reports_its_limit_and_sleeps_is_told_again_once_it_had_its_time_to_start() -> None:
    sleeping = reading(draw_w=30, setting_w=3_500)

    starting = see(device(FULL, asked_s=NOW_S - 60), sleeping)
    overdue = see(device(FULL, asked_s=NOW_S - 61), sleeping)

    assert starting.truth is Truth.CONFIRMED
    assert (overdue.truth, overdue.sent_s, overdue.worst) == (Truth.COMMANDED, float("-inf"), Power(3_500))


def test_a_liar_that_lost_its_work_keeps_its_watts_whatever_limit_it_reports() -> None:
    idle = reading(draw_w=400, setting_w=30)
    obeying = told(SLEEP, FULL, truth=Truth.ACKNOWLEDGED)
    liar = told(SLEEP, FULL, truth=Truth.LYING, asked_s=NOW_S - 60)
    had_none = told(SLEEP, FULL, truth=Truth.ACKNOWLEDGED, rests_s=NOW_S + 298)

    assert see(obeying, idle).worst == Power(400)
    assert see(liar, idle).worst == Power(3_500)
    assert see(had_none, idle).worst == Power(3_500)
    assert see(had_none, reading(draw_w=30, setting_w=30)).worst == Power(30)


def test_a_limit_found_lower_is_believed_once_the_watts_are_there() -> None:
    contradicted = see(device(FULL), reading(draw_w=400, setting_w=30))
    lowered = see(device(FULL), reading(draw_w=2_400, setting_w=2_400))

    assert (contradicted.point, contradicted.worst, contradicted.truth) == (
        FULL,
        Power(3_500),
        Truth.COMMANDED,
    )
    assert (lowered.point, lowered.worst) == (LOW, Power(2_400))


def test_a_miner_whose_draw_is_estimated_and_that_makes_nothing_is_told_again_for_it_may_be_asleep() -> None:
    silent = reading(draw_w=3_500, setting_w=3_500, quality=Quality.ESTIMATED)
    known = device(FULL, asked_s=NOW_S - 61, idle_s=NOW_S - 10, quality=Quality.ESTIMATED)

    assert see(known, silent).truth is Truth.COMMANDED
    assert see(known, replace(silent, rate=199.0)).truth is Truth.CONFIRMED
    assert see(known, replace(silent, quality=Quality.MEASURED)).truth is Truth.CONFIRMED


def test_a_miner_that_says_it_sleeps_and_draws_what_one_without_work_does_may_take_all_of_its_watts() -> None:
    idle = see(device(SLEEP, at_s=NOW_S - 5), reading(draw_w=400, setting_w=30))
    warm = see(device(SLEEP, at_s=NOW_S - 5), reading(draw_w=120, setting_w=30))

    assert (idle.truth, idle.worst) == (Truth.LYING, Power(3_500))
    assert (warm.truth, warm.worst) == (Truth.LYING, Power(120))


# What the work on a GPU wants


def seen_at(draw_w: int, limit: OperatingPoint, *, after_s: float = 0.0, **changes: Any) -> DeviceState:
    """A GPU with that limit, which drew so much since so long."""
    known = device(limit, at_s=NOW_S - after_s, **changes)
    return see(known, reading(draw_w=draw_w, setting_w=limit.power.watts), spec=gpu())


def test_what_the_work_on_a_gpu_drew_is_forgotten_slowly() -> None:
    known_w = seen_at(500, GPU_POINTS[5], after_s=truth.DEMAND_S, demand_w=650.0).demand_w

    assert known_w == pytest.approx(500 + 150 * math.exp(-1))
    assert seen_at(500, GPU_POINTS[5], after_s=1.0, demand_w=450.0).demand_w == 500


def test_of_a_gpu_of_which_nothing_is_known_its_limit_is_all_that_its_work_can_have_wanted() -> None:
    assert seen_at(500, GPU_POINTS[5], after_s=truth.DEMAND_S).demand_w == pytest.approx(
        500 + 200 * math.exp(-1)
    )


def test_work_that_its_limit_may_hold_back_may_want_anything() -> None:
    assert seen_at(475, GPU_POINTS[3], after_s=1.0, demand_w=450.0).demand_w == math.inf
    assert seen_at(474, GPU_POINTS[3], after_s=1.0, demand_w=450.0).demand_w == 474


def test_what_is_started_on_a_gpu_may_want_anything() -> None:
    started = truth.commanded(gpu(), device(GPU_POINTS[0], demand_w=70.0), GPU_POINTS[5], NOW_S)
    raised = truth.commanded(gpu(), device(GPU_POINTS[3], demand_w=450.0), GPU_POINTS[5], NOW_S)

    assert (started.demand_w, raised.demand_w) == (math.inf, 450.0)
