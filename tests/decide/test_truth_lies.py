"""Who does not do what it said, cannot be what it says, or has nothing to do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.decide import telling
from controller.decide.device import DeviceState
from controller.decide.doubt import doubtful, forgiven, may_start_s, without_work
from controller.decide.words import Truth
from controller.domain.devices import (
    Acknowledged,
    Quality,
)
from controller.domain.power import Power
from tests.decide.builders import FULL, GPU_POINTS, LOW, NOW_S, SLEEP, at_point, device, gpu, miner, reading
from tests.decide.observing import see, told

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


def test_who_went_up_by_itself_is_doubted_once_nothing_falls_in_half_of_its_time() -> None:
    """Told to sleep at full power, it lost its work, said yes, and has work again."""
    asleep = device(SLEEP, began=Power(3_500))

    risen = see(asleep, reading(draw_w=2_000))
    again = telling.commanded(miner(), risen, SLEEP, NOW_S)._replace(truth=Truth.ACKNOWLEDGED)
    unmoved = see(again, reading(draw_w=2_000), heard_s=NOW_S + 5.1, now_s=NOW_S + 5.1)
    falling = see(again, reading(draw_w=1_900), heard_s=NOW_S + 5.1, now_s=NOW_S + 5.1)

    assert doubtful(miner(), unmoved, NOW_S + 5.1)
    assert not doubtful(miner(), falling, NOW_S + 5.1)


def test_who_goes_past_its_point_and_rises_counts_for_the_next_one_whatever_limit_it_tells() -> None:
    """It started as it was told, and took no notice of its limit; its estimate comes up behind its draw."""
    starting = device(LOW, draw_w=2_500)
    risen = reading(draw_w=2_671, setting_w=2_400, quality=Quality.ESTIMATED)

    rises, stays = see(starting, risen), see(starting._replace(draw=Power(2_671)), risen)

    assert (rises.worst, stays.worst) == (Power(3_500), Power(2_671))


def test_a_liar_that_still_rises_counts_wherever_it_runs_at_what_it_was_last_seen_at() -> None:
    risen = see(device(LOW), reading(draw_w=2_700, setting_w=2_400))
    higher = see(risen, reading(draw_w=3_400, setting_w=2_400), heard_s=NOW_S + 1, now_s=NOW_S + 1)

    assert (risen.counted(LOW), higher.counted(LOW)) == (Power(2_700), Power(3_400))
    assert (higher.truth, higher.worst) == (Truth.LYING, Power(3_400))


def test_a_lie_is_found_out_without_a_new_reading_where_the_yes_came_after_it() -> None:
    unanswered = told(SLEEP, FULL, NOW_S - 11, at_s=NOW_S)

    assert see(unanswered, at_point(miner(), FULL), outcome=Acknowledged()).truth is Truth.LYING


@pytest.mark.parametrize("heard_s", [NOW_S - 12, NOW_S - 10, NOW_S - 6])
def test_who_was_not_heard_in_the_second_half_of_its_time_is_doubted_and_no_liar(heard_s: float) -> None:
    """It came down right after its order, and the switch before it went dark."""
    asked = told(LOW, FULL, NOW_S - 11, truth=Truth.ACKNOWLEDGED, at_s=NOW_S - 12)

    dark = see(asked, at_point(miner(), FULL), heard_s=heard_s)
    back = see(dark, at_point(miner(), LOW), heard_s=NOW_S + 1, now_s=NOW_S + 1)

    assert (dark.truth, dark.worst) == (Truth.ACKNOWLEDGED, Power(3_500))
    assert doubtful(miner(), dark, NOW_S)
    assert (back.truth, back.worst, back.lies, back.stuck) == (Truth.CONFIRMED, Power(2_400), 0, None)


@pytest.mark.parametrize(
    ("draw_w", "setting_w", "truth", "doubted"),
    [
        (650, 400, Truth.COMMANDED, True),
        (649, 400, Truth.LYING, False),  # a liar counts for what it draws
        (650, 700, Truth.LYING, True),
        (650, None, Truth.LYING, True),
    ],
)
def test_a_gpu_that_took_its_limit_and_says_the_very_same_watts_as_before_is_unproven_and_no_liar(
    draw_w: int, setting_w: int | None, truth: Truth, doubted: bool
) -> None:
    """Its sensor may stand still: that shows neither that it obeys nor that it does not."""
    working = device(GPU_POINTS[-1], draw_w=650)
    asked = telling.commanded(gpu(), working, GPU_POINTS[2], NOW_S - 6)

    said = reading("g", draw_w=draw_w, setting_w=setting_w)
    state = see(asked, said, spec=gpu(), outcome=Acknowledged())
    later = see(state, said, spec=gpu(), outcome=Acknowledged(), now_s=NOW_S + 1)

    assert (state.truth, state.lies, state.worst.watts >= draw_w) == (truth, truth is Truth.LYING, True)
    assert later == state
    assert doubtful(gpu(), state, NOW_S) is doubted


def test_who_still_draws_as_much_late_in_its_time_is_a_liar_once_that_is_over() -> None:
    """Its next reading may be seconds away, and others wait for its watts."""
    asked = told(LOW, FULL, NOW_S - 11, truth=Truth.ACKNOWLEDGED, at_s=NOW_S - 12)

    early = see(asked, at_point(miner(), FULL), heard_s=NOW_S - 5, now_s=NOW_S - 2)
    late = see(early, at_point(miner(), FULL), heard_s=NOW_S - 5)

    assert (early.truth, late.truth) == (Truth.ACKNOWLEDGED, Truth.LYING)


def test_a_miner_that_says_the_very_same_watts_as_before_is_a_liar() -> None:
    asked = told(LOW, FULL, NOW_S - 11, truth=Truth.ACKNOWLEDGED)

    assert see(asked, reading(draw_w=3_500, setting_w=2_400)).truth is Truth.LYING


def test_an_acknowledged_raise_has_the_time_of_a_raise() -> None:
    acknowledged = told(FULL, SLEEP, NOW_S - 50, truth=Truth.ACKNOWLEDGED)

    assert see(acknowledged, reading(draw_w=30)).truth is Truth.ACKNOWLEDGED


def test_a_liar_told_again_stays_a_liar_until_its_watts_move() -> None:
    liar = told(SLEEP, FULL, NOW_S - 30, truth=Truth.LYING)

    again = telling.commanded(miner(), liar, SLEEP, NOW_S)
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
    idle = telling.commanded(gpu(), device(GPU_POINTS[5], draw_w=60), GPU_POINTS[0], NOW_S)
    between = told(SLEEP, LOW, worst=Power(2_500), draw=Power(2_500))

    assert forgiven(gpu(), idle._replace(truth=Truth.REFUSED)).worst == Power(700)
    assert forgiven(miner(), between._replace(truth=Truth.REFUSED)).worst == Power(2_500)


def test_a_miner_that_stopped_late_is_not_taken_to_be_where_it_was() -> None:
    late = told(SLEEP, FULL, worst=Power(3_500), draw=Power(40), truth=Truth.LYING)
    still = told(SLEEP, FULL, worst=Power(3_500), draw=Power(3_480), truth=Truth.LYING)

    assert (forgiven(miner(), late).point, forgiven(miner(), late).worst) == (SLEEP, Power(3_500))
    assert forgiven(miner(), still).point == FULL


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


@pytest.mark.parametrize(("setting_w", "drawn_w"), [(3_500, 3_500), (None, 3_500), (2_400, 3_500), (30, 4)])
def test_a_miner_that_tells_kilowatts_counts_by_its_hash_unless_it_says_that_it_sleeps(
    setting_w: int | None, drawn_w: int
) -> None:
    absurd = replace(reading(draw_w=4, setting_w=setting_w), rate=200.0)

    assert see(device(FULL), absurd).draw == Power(drawn_w)
    assert see(device(FULL), replace(absurd, rate=70.0)).draw == Power(4)
    assert see(device(FULL), replace(absurd, draw=Power(15))).draw == Power(15)


@pytest.mark.parametrize(("setting_w", "drawn_w"), [(500, 500), (None, 700), (900, 700)])
def test_a_gpu_that_works_on_next_to_nothing_tells_kilowatts_and_counts_at_its_limit(
    setting_w: int | None, drawn_w: int
) -> None:
    absurd = replace(reading("g", draw_w=1, setting_w=setting_w), rate=0.8)

    state = see(device(GPU_POINTS[-1]), absurd, spec=gpu())

    assert (state.draw, state.quality) == (Power(drawn_w), Quality.ESTIMATED)
    assert see(device(GPU_POINTS[-1]), replace(absurd, rate=0.0), spec=gpu()).draw == Power(1)
    assert see(device(GPU_POINTS[-1]), replace(absurd, draw=Power(7)), spec=gpu()).draw == Power(drawn_w)
    assert see(device(GPU_POINTS[-1]), replace(absurd, draw=Power(8)), spec=gpu()).draw == Power(8)


def test_what_a_job_wants_is_not_learned_from_a_gpu_that_tells_kilowatts() -> None:
    absurd = replace(reading("g", draw_w=1, setting_w=700), rate=1.0)

    state = see(device(GPU_POINTS[-1], draw_w=550)._replace(demand_w=550.0), absurd, spec=gpu())

    assert state.demand_w == math.inf


def test_a_start_that_shows_in_kilowatts_is_not_given_up_as_one_in_vain() -> None:
    begun = told(FULL, SLEEP)

    state = see(begun, replace(reading(draw_w=4, setting_w=3_500), rate=200.0))

    assert state.truth is Truth.CONFIRMED


@pytest.mark.parametrize("setting_w", [None, 30, 9_900])
def test_a_machine_that_draws_three_times_its_ceiling_is_not_taken_to_draw_ten_watts(
    setting_w: int | None,
) -> None:
    """A Whatsminer of 10 kW in the place of one of 3.5 kW, whose table nobody changed."""
    state = see(DeviceState(), reading(draw_w=9_800, setting_w=setting_w))

    assert (state.draw, state.worst, state.quality) == (Power(3_700), Power(3_700), Quality.ESTIMATED)


def test_what_draws_little_and_says_so_in_another_unit_draws_that() -> None:
    asleep = see(device(SLEEP), reading(draw_w=22_400, setting_w=30))
    idle = see(device(GPU_POINTS[0]), reading("g", draw_w=31_000, setting_w=200), spec=gpu())

    assert (asleep.draw, asleep.truth) == (Power(23), Truth.CONFIRMED)
    assert idle.draw == Power(31)


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
    assert telling.commanded(miner(), liar._replace(worst=Power(30)), LOW, NOW_S).worst == Power(3_510)


def test_a_machine_that_lied_is_never_again_taken_to_draw_less_than_its_point_says() -> None:
    liar = lied_about_low()
    obeys = liar._replace(truth=Truth.CONFIRMED, asked_s=0.0)

    assert liar.bias == 1.0
    assert see(obeys, reading(draw_w=2_280)).bias == 1.0
    assert see(obeys, reading(draw_w=2_520)).bias == pytest.approx(1.01)


def test_what_a_stuck_machine_draws_more_once_it_is_told_to_go_up_counts_at_no_lower_point() -> None:
    stuck = lied_about_low()
    raised = telling.commanded(miner(), stuck, FULL, NOW_S - 10)

    after = see(raised, reading(draw_w=3_600))

    assert after.counted(LOW) == Power(3_510)


def test_a_stuck_machine_is_trusted_again_once_it_was_seen_lower_after_its_time_to_rise() -> None:
    stuck = lied_about_low()
    again = telling.commanded(miner(), stuck, LOW, NOW_S - 59)

    early = see(again, reading(draw_w=2_400), heard_s=NOW_S - 30, now_s=NOW_S - 30)
    late = see(again, reading(draw_w=2_400), heard_s=NOW_S + 30, now_s=NOW_S + 30)

    assert early.stuck is not None
    assert late.stuck is None


def test_a_stuck_machine_is_tried_again_after_a_quarter_of_an_hour() -> None:
    stuck = lied_about_low()

    assert see(stuck, reading(draw_w=3_510), heard_s=NOW_S + 700, now_s=NOW_S + 700).stuck is not None
    assert see(stuck, reading(draw_w=3_510), heard_s=NOW_S + 900, now_s=NOW_S + 900).stuck is None


def test_a_liar_that_still_draws_too_much_after_a_quarter_of_an_hour_obeys_until_it_is_heard_again() -> None:
    """Its other points may be tried; what it draws it counts for."""
    stuck = lied_about_low()
    seen_s = NOW_S + 841

    tried = see(stuck, reading(draw_w=3_520), heard_s=seen_s, now_s=seen_s)
    again = see(tried, reading(draw_w=3_520, setting_w=3_500), heard_s=seen_s + 1, now_s=seen_s + 1)

    assert (tried.truth, tried.point, tried.worst, tried.stuck) == (Truth.CONFIRMED, FULL, Power(3_520), None)
    assert (again.truth, again.lies) == (Truth.CONFIRMED, stuck.lies)


@pytest.mark.parametrize(
    ("quality", "setting_w", "retold", "caught"),
    [
        (Quality.MEASURED, 3_500, 0, True),
        (Quality.MEASURED, None, 0, False),
        (Quality.MEASURED, None, 1, True),
        (Quality.ESTIMATED, 3_500, 0, False),
        (Quality.ESTIMATED, 3_500, 1, True),
        (Quality.MEASURED, 3_700, 1, False),
    ],
)
def test_who_took_its_limit_or_was_told_it_again_and_draws_more_is_not_told_at_once_again(
    quality: Quality, setting_w: int | None, retold: int, caught: bool
) -> None:
    state = see(device(FULL, retold=retold), reading(draw_w=4_025, setting_w=setting_w, quality=quality))

    assert (state.truth is Truth.LYING, state.truth is Truth.COMMANDED) == (caught, not caught)
    assert state.worst == Power(4_025)


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

    asleep = telling.commanded(miner(), idle, SLEEP, NOW_S)

    assert may_start_s(miner(), asleep) == NOW_S + 300
    assert asleep.idle_s is None
    assert telling.commanded(miner(), device(FULL), SLEEP, NOW_S).rests_s == float("-inf")


def test_a_miner_that_reports_its_limit_and_sleeps_is_told_again_once_it_had_its_time_to_start() -> None:
    sleeping = reading(draw_w=30, setting_w=3_500)

    starting = see(device(FULL, asked_s=NOW_S - 60), sleeping)
    overdue = see(device(FULL, asked_s=NOW_S - 61), sleeping)

    assert starting.truth is Truth.CONFIRMED
    assert (overdue.truth, overdue.sent_s, overdue.worst) == (Truth.COMMANDED, float("-inf"), Power(3_500))


def test_a_miner_that_draws_too_little_for_its_limit_is_told_again_four_times_later_each_time() -> None:
    weak = reading(draw_w=3_000, setting_w=3_500)

    def sent(ago_s: float, retold: int) -> Truth:
        known = device(FULL, draw_w=3_000, quality=Quality.MEASURED, asked_s=NOW_S - ago_s, retold=retold)
        return see(known, weak).truth

    assert (sent(120, 0), sent(121, 0)) == (Truth.CONFIRMED, Truth.COMMANDED)
    assert (sent(480, 1), sent(481, 1)) == (Truth.CONFIRMED, Truth.COMMANDED)


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
