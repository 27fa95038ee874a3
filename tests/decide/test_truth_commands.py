"""What a command and its answer change, and what only watts do."""

from __future__ import annotations

import pytest

from controller.decide import telling
from controller.decide.device import Stuck
from controller.decide.words import Truth
from controller.domain.devices import (
    Acknowledged,
    Failed,
    OperatingPoint,
    Quality,
    Refused,
)
from controller.domain.power import Power
from tests.decide.builders import FULL, GPU_POINTS, LOW, NOW_S, SLEEP, at_point, device, gpu, miner, reading
from tests.decide.observing import see, told

INF = float("inf")


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


def test_the_refusal_of_a_command_is_no_answer_to_the_same_command_given_again() -> None:
    again = told(SLEEP, FULL, asked_s=NOW_S - 9, attempts=2)

    state = see(again, outcome=Refused("no"), outcome_s=NOW_S - 3, said=at_point(miner(), FULL))

    assert state.truth is Truth.COMMANDED


def test_a_reading_older_than_the_command_proves_nothing() -> None:
    state = see(told(SLEEP, FULL, at_s=NOW_S - 9), at_point(miner(), SLEEP), heard_s=NOW_S - 3)

    assert (state.truth, state.worst) == (Truth.COMMANDED, Power(3_500))


def test_a_reading_older_than_the_command_counts_for_what_it_shows() -> None:
    state = see(told(SLEEP, LOW, at_s=NOW_S - 9), at_point(miner(), FULL), heard_s=NOW_S - 3)

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
    raised = telling.commanded(spec, device(GPU_POINTS[0]), GPU_POINTS[5], NOW_S - 2)

    state = see(raised, reading("g", 60, 700), spec=spec)

    assert state.truth is Truth.CONFIRMED


def test_a_device_that_refused_but_did_it_is_confirmed() -> None:
    state = see(told(SLEEP, FULL), at_point(miner(), SLEEP), outcome=Refused("busy"))

    assert state.truth is Truth.CONFIRMED


def test_told_again_a_device_keeps_its_dwell_and_its_time_and_counts_the_attempts() -> None:
    first = told(SLEEP, FULL, NOW_S - 20)

    again = telling.commanded(miner(), first, SLEEP, NOW_S)

    assert (again.since_s, again.asked_s, again.sent_s) == (NOW_S - 20, NOW_S - 20, NOW_S)
    assert again.attempts == 2


# Commands


def test_a_reading_of_the_moment_of_the_command_proves_nothing() -> None:
    assert see(told(SLEEP, FULL, NOW_S), at_point(miner(), SLEEP)).truth is Truth.COMMANDED


@pytest.mark.parametrize(
    ("before", "goal", "starts"), [(SLEEP, LOW, True), (LOW, FULL, False), (FULL, SLEEP, False)]
)
def test_only_going_up_from_the_floor_is_a_start(
    before: OperatingPoint, goal: OperatingPoint, starts: bool
) -> None:
    state = telling.commanded(miner(), device(before), goal, NOW_S)

    assert state.started_s == ((NOW_S,) if starts else ())


def test_a_machine_told_its_floor_or_the_same_start_again_is_not_started_again() -> None:
    started = telling.commanded(miner(), device(SLEEP), LOW, NOW_S)
    rising = started._replace(draw=Power(900))

    assert telling.commanded(miner(), device(SLEEP), SLEEP, NOW_S).started_s == ()
    assert telling.commanded(miner(), rising, LOW, NOW_S + 20).started_s == (NOW_S,)


def test_a_start_that_is_given_again_to_a_machine_that_still_sleeps_counts_from_the_last_order() -> None:
    """Its breaker may have been open: the machine never started by the first one."""
    started = telling.commanded(miner(), device(SLEEP, started_s=(NOW_S - 900,)), LOW, NOW_S)

    again = telling.commanded(miner(), started, LOW, NOW_S + 300)

    assert again.started_s == (NOW_S - 900, NOW_S + 300)


def test_a_machine_that_ran_and_fell_asleep_by_itself_keeps_the_start_that_it_had() -> None:
    ran = device(FULL, draw_w=SLEEP.power.watts, started_s=(NOW_S - 600,))

    assert telling.commanded(miner(), ran, FULL, NOW_S).started_s == (NOW_S - 600,)


def test_as_many_starts_are_remembered_as_a_machine_may_have_in_an_hour_and_the_last_of_them() -> None:
    worn = device(SLEEP, started_s=(1.0, 2.0, 3.0))

    assert telling.commanded(miner(starts_per_hour=3), worn, FULL, NOW_S).started_s == (2.0, 3.0, NOW_S)


def test_a_liar_told_to_go_elsewhere_is_given_a_new_chance_and_who_did_not_lie_stays_no_liar() -> None:
    liar = told(SLEEP, FULL, truth=Truth.LYING)

    assert telling.commanded(miner(), liar, LOW, NOW_S).truth is Truth.COMMANDED
    assert telling.commanded(miner(), told(SLEEP, FULL), SLEEP, NOW_S).truth is Truth.COMMANDED


def test_lost_answers_are_counted_for_one_command_and_its_repetitions_only() -> None:
    lost = told(SLEEP, FULL, failures=2)

    assert telling.commanded(miner(), lost, SLEEP, NOW_S).failures == 2
    assert telling.commanded(miner(), lost, LOW, NOW_S).failures == 0
    assert telling.commanded(miner(), device(FULL, failures=2), FULL, NOW_S).failures == 0


def test_a_miner_that_sleeps_on_is_given_up_when_it_is_told_its_floor_and_not_before() -> None:
    sleeping = told(FULL, SLEEP, truth=Truth.LYING, attempts=3, draw=Power(30), given_up_s=1.0)

    assert telling.commanded(miner(), sleeping, SLEEP, NOW_S).given_up_s == NOW_S
    assert telling.commanded(miner(), sleeping, FULL, NOW_S).given_up_s == 1.0
    assert telling.commanded(miner(), device(FULL, given_up_s=1.0), SLEEP, NOW_S).given_up_s == 1.0


def test_a_running_miner_that_does_not_go_up_is_given_up_when_it_is_told_to_stay_or_go_lower() -> None:
    stays = told(
        FULL, LOW, truth=Truth.LYING, attempts=2, draw=LOW.power, quality=Quality.MEASURED, given_up_s=1.0
    )

    assert telling.commanded(miner(), stays, LOW, NOW_S).given_up_s == NOW_S
    assert telling.commanded(miner(), stays, SLEEP, NOW_S).given_up_s == NOW_S
    assert telling.commanded(miner(), stays, FULL, NOW_S).given_up_s == 1.0


def test_how_often_a_liar_was_told_its_point_again_is_counted_until_it_is_told_another() -> None:
    hungry = device(
        FULL,
        Truth.LYING,
        draw_w=4_025,
        worst_w=4_025,
        retold=1,
        stuck=Stuck(SLEEP.power, Power(4_025), NOW_S),
    )

    assert telling.commanded(miner(), hungry, FULL, NOW_S).retold == 2
    assert telling.commanded(miner(), hungry._replace(truth=Truth.COMMANDED), FULL, NOW_S).retold == 1
    assert telling.commanded(miner(), hungry, LOW, NOW_S).retold == 0


def test_a_device_whose_power_is_taken_is_given_up_and_counts_for_what_it_drew_until_it_is_measured() -> None:
    state = telling.cut(miner(), told(SLEEP, FULL, truth=Truth.LYING), NOW_S)

    assert (state.given_up_s, state.point, state.worst) == (NOW_S, SLEEP, Power(3_500))


def test_who_answers_is_asked_anew_by_its_outlet_and_who_is_silent_stays_silent() -> None:
    refused, silent = told(LOW, FULL, truth=Truth.REFUSED), told(LOW, FULL, truth=Truth.STALE)

    after = [telling.cut(miner(), state, NOW_S).truth for state in (refused, silent)]

    assert after == [Truth.COMMANDED, Truth.STALE]


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


@pytest.mark.parametrize(("draw_w", "worst_w"), [(419, 3_500), (398, 398)])
def test_a_miner_called_back_on_its_way_up_counts_for_where_it_went_until_its_watts_fall(
    draw_w: int, worst_w: int
) -> None:
    """It took the order to sleep, and has no work, or its sensor stands still."""
    rising = told(FULL, SLEEP, NOW_S - 20)._replace(draw=Power(420))
    called_back = telling.commanded(miner(), rising, SLEEP, NOW_S - 2)._replace(truth=Truth.ACKNOWLEDGED)

    assert see(called_back, reading(draw_w=draw_w, setting_w=30)).worst == Power(worst_w)


def test_a_device_in_its_time_counts_for_what_it_drew_whatever_other_limit_it_shows() -> None:
    assert see(told(SLEEP, FULL), at_point(miner(), LOW)).worst == Power(3_500)


def test_a_doubtful_device_counts_at_the_limit_it_shows_also_where_it_draws_less() -> None:
    refused = told(SLEEP, FULL, NOW_S - 11, truth=Truth.REFUSED)

    assert see(refused, reading(draw_w=1_500, setting_w=2_400)).worst == Power(2_400)


@pytest.mark.parametrize(("later_s", "worst_w"), [(60, 3_500), (61, 2_400)])
def test_a_miner_that_refuses_to_be_called_back_counts_for_where_it_went_until_it_had_the_time_to_rise(
    later_s: float, worst_w: int
) -> None:
    """It said yes to the start, and still shows that it sleeps: it boots, or its readings stand still."""
    rising = told(FULL, SLEEP, NOW_S - later_s - 20)._replace(draw=Power(30), truth=Truth.ACKNOWLEDGED)
    called_back = telling.commanded(miner(), rising, LOW, NOW_S - later_s)._replace(truth=Truth.REFUSED)

    assert see(called_back, at_point(miner(), SLEEP)).worst == Power(worst_w)


@pytest.mark.parametrize(
    ("draw_w", "truth", "after", "worst_w"),
    [
        (30, Truth.COMMANDED, Truth.COMMANDED, 3_500),
        (30, Truth.REFUSED, Truth.REFUSED, 3_500),
        (30, Truth.ACKNOWLEDGED, Truth.CONFIRMED, 30),
        (31, Truth.COMMANDED, Truth.CONFIRMED, 31),
    ],
)
def test_a_miner_called_back_that_reads_the_same_as_before_sleeps_once_it_said_yes(
    draw_w: int, truth: Truth, after: Truth, worst_w: int
) -> None:
    """It said yes to the start as well, and shows to the watt what it did before that."""
    rising = told(FULL, SLEEP, NOW_S - 90)._replace(draw=Power(30), truth=Truth.LYING)
    called_back = telling.commanded(miner(), rising, SLEEP, NOW_S - 2)._replace(truth=truth)

    seen = see(called_back, reading(draw_w=draw_w, setting_w=30))

    assert (seen.truth, seen.worst) == (after, Power(worst_w))


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
