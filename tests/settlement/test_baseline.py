"""Baselines against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from controller.domain.power import Power
from controller.settlement.baseline import baseline_of
from controller.settlement.likedays import History
from controller.settlement.metering import Span
from controller.settlement.methods import (
    KNOWN,
    Adjustment,
    Baseline,
    FirmServiceLevel,
    Lack,
    MatchDay,
    MeterBefore,
    Method,
    NoBaseline,
    Shift,
    XOfY,
)
from tests.settlement.builders import (
    WEDNESDAY,
    at,
    by_day,
    calendar,
    history,
    metering,
    span,
    weekdays_before,
)

EVENT = span("2026-11-18 16:00", "2026-11-18 18:00")
BEFORE = weekdays_before(WEDNESDAY, 20)


def known(name: str) -> XOfY:
    method = KNOWN[name]
    assert isinstance(method, XOfY)
    return method


def kw(method: Method, past: History) -> float:
    """The baseline's mean over the event."""
    found = baseline_of(method, past)
    assert isinstance(found, Baseline), found
    mean = found.over(past.event)
    assert mean is not None
    return mean.in_kw


def lack(method: Method, past: History) -> Lack:
    found = baseline_of(method, past)
    assert isinstance(found, NoBaseline), found
    return found.lack


def ten_days(*loads_kw: float) -> Callable[[datetime], float]:
    """The latest weekdays before the event have these loads, latest first; all earlier ones 9,000 kW."""
    return by_day(dict(zip(BEFORE, loads_kw, strict=False)), otherwise=9_000.0)


# -- X of Y --------------------------------------------------------------------------------------------------

TEN = (100, 190, 110, 180, 120, 170, 130, 160, 140, 150)


@pytest.mark.parametrize(
    ("name", "expected_kw"),
    [
        ("10-of-10", 145.0),  # all ten
        ("high-5-of-10", 170.0),  # 190 180 170 160 150
        ("middle-8-of-10", 145.0),  # without 190 and 100
        ("pjm-high-4-of-5", 150.0),  # of 100 190 110 180 120: 190 180 120 110
    ],
)
def test_x_of_y_is_the_mean_of_the_days_that_the_method_takes(name: str, expected_kw: float) -> None:
    assert kw(known(name), history(ten_days(*TEN), EVENT)) == expected_kw


def test_the_middle_of_ten_days_leaves_out_the_highest_and_the_lowest() -> None:
    past = history(ten_days(900, 1, 100, 100, 100, 100, 200, 200, 200, 200), EVENT)

    assert kw(known("middle-8-of-10"), past) == 150.0


def test_each_interval_of_the_event_has_the_mean_of_its_own_hour() -> None:
    past = history(lambda moment: 10.0 * moment.hour + moment.minute / 15, EVENT)

    found = baseline_of(known("10-of-10"), past)

    assert isinstance(found, Baseline)
    assert [step.power.in_kw for step in found.steps] == [160, 161, 162, 163, 170, 171, 172, 173]
    assert found.steps[0].span == span("2026-11-18 16:00", "2026-11-18 16:15")


def test_days_with_events_and_days_with_holes_are_passed_over_and_the_days_used_are_named() -> None:
    loads = dict(zip(BEFORE, range(100, 220, 10), strict=False))
    load = by_day(loads, otherwise=9_000)
    hole = at(f"{BEFORE[2]} 17:00")
    past = history(
        lambda moment: None if moment.timestamp() == hole else load(moment),
        EVENT,
        others=[span(f"{BEFORE[0]} 03:00", f"{BEFORE[0]} 04:00"), EVENT],
    )

    found = baseline_of(known("10-of-10"), past)

    assert isinstance(found, Baseline)
    assert found.days == tuple(day for day in BEFORE[:12] if day not in (BEFORE[0], BEFORE[2]))
    assert kw(known("10-of-10"), past) == sum(loads[day] for day in found.days) / 10


def test_a_hole_outside_the_hours_of_the_event_spoils_no_day() -> None:
    past = history(lambda moment: None if moment.hour == 9 else 70.0, EVENT)

    assert kw(known("10-of-10"), past) == 70.0


def test_a_holiday_is_no_weekday() -> None:
    loads = dict(zip(BEFORE, [10_000, *[100] * 10], strict=False))

    assert kw(known("10-of-10"), history(by_day(loads), EVENT, holidays=[BEFORE[0]])) == 100.0


def test_an_event_on_a_sunday_is_compared_with_weekends_and_in_pjm_with_sundays_alone() -> None:
    sunday = span("2026-11-22 16:00", "2026-11-22 17:00")
    past = history(lambda moment: {5: 60.0, 6: 80.0}.get(moment.weekday(), 5_000.0), sunday)

    assert kw(known("10-of-10"), past) == 70.0  # two Saturdays, two Sundays
    assert kw(known("pjm-high-4-of-5"), past) == 80.0


def test_a_day_below_a_quarter_of_the_average_is_replaced_by_an_earlier_one() -> None:
    """Of 100, 110, 10, 120, 130 the mean is 94, a quarter of it 23.5: 10 goes, the 140 before it comes."""
    past = history(ten_days(100, 110, 10, 120, 130, 140), EVENT)

    assert kw(known("pjm-high-4-of-5"), past) == (110 + 120 + 130 + 140) / 4


def test_too_few_days_is_said_with_the_numbers_and_never_made_up_for() -> None:
    past = history(by_day({}), EVENT, days=9, others=[span(f"{BEFORE[1]} 10:00", f"{BEFORE[1]} 10:30")])

    found = baseline_of(known("10-of-10"), past)

    assert found == NoBaseline(
        method="10-of-10",
        lack=Lack.LIKE_DAYS,
        detail="6 of 10 days (weekday) in the 45 before 2026-11-18; 1 with events, 25 not measured",
    )


def test_days_beyond_the_look_back_do_not_count() -> None:
    method = replace(known("10-of-10"), look_back_days=13)

    assert lack(method, history(by_day({}), EVENT)) is Lack.LIKE_DAYS
    assert kw(replace(method, look_back_days=14), history(by_day({}), EVENT)) == 50.0


def test_an_event_over_midnight_takes_each_hour_from_the_day_after_the_like_day() -> None:
    event = span("2026-11-18 23:00", "2026-11-19 01:00")
    past = history(lambda moment: 100.0 if moment.hour == 23 else 300.0, event)

    assert kw(known("10-of-10"), past) == 200.0


def weekly(weekday_kw: float, weekend_kw: float) -> Callable[[datetime], float]:
    return lambda moment: weekday_kw if moment.weekday() < 5 else weekend_kw


def test_each_day_of_an_event_is_compared_with_days_like_itself() -> None:
    """From a Friday evening to a Monday morning."""
    event = span("2026-11-20 20:00", "2026-11-23 08:00")

    found = baseline_of(known("10-of-10"), history(weekly(100.0, 40.0), event))

    assert isinstance(found, Baseline)
    assert found.over(span("2026-11-20 20:00", "2026-11-21 00:00")) == Power.kw(100)
    assert found.over(span("2026-11-21 00:00", "2026-11-23 00:00")) == Power.kw(40)
    assert found.over(span("2026-11-23 00:00", "2026-11-23 08:00")) == Power.kw(100)
    assert not {date(2026, 11, 20), date(2026, 11, 21), date(2026, 11, 22)} & set(found.days)


def test_all_days_of_an_event_are_adjusted_by_the_hours_before_it() -> None:
    event = span("2026-11-20 20:00", "2026-11-21 08:00")
    method = replace(known("10-of-10"), adjustment=Adjustment(shift=Shift.ADDITIVE))
    friday = date(2026, 11, 20)

    def load(moment: datetime) -> float:
        return 110.0 if moment.date() == friday else weekly(100.0, 40.0)(moment)

    found = baseline_of(method, history(load, event))

    assert isinstance(found, Baseline)
    assert {step.power.in_kw for step in found.steps} == {110.0, 50.0}


def test_an_event_as_long_as_what_is_looked_back_to_has_no_like_days_and_needs_no_meter() -> None:
    event = Span(at("2026-11-18 16:00"), at("2026-11-18 16:00") + 46 * 86_400)

    found = baseline_of(known("10-of-10"), history(by_day({}), event, days=0))

    assert isinstance(found, NoBaseline)
    assert found.lack is Lack.NO_SUCH_THING
    assert found.detail == "no day of the 45 before the last one of the event is without it"


# -- adjustments ---------------------------------------------------------------------------------------------


def today(kw_today: float, before: float = 100.0) -> Callable[[datetime], float]:
    """`before` on all other days; on the event's day `kw_today` from noon to 15:00, and 7 elsewhere."""

    def load(moment: datetime) -> float:
        if moment.date() != WEDNESDAY:
            return before
        return kw_today if 12 <= moment.hour < 15 else 7.0

    return load


@pytest.mark.parametrize(
    ("shift", "most_share", "kw_today", "expected_kw"),
    [
        (Shift.ADDITIVE, None, 130.0, 130.0),
        (Shift.ADDITIVE, None, 60.0, 60.0),
        (Shift.ADDITIVE, 0.2, 130.0, 120.0),
        (Shift.MULTIPLICATIVE, None, 130.0, 130.0),
        (Shift.MULTIPLICATIVE, 0.2, 130.0, 120.0),
        (Shift.MULTIPLICATIVE, 0.2, 60.0, 80.0),
        (Shift.MULTIPLICATIVE, 0.2, 110.0, 110.0),
    ],
)
def test_an_adjustment_takes_the_three_hours_that_end_an_hour_before_the_event(
    shift: Shift, most_share: float | None, kw_today: float, expected_kw: float
) -> None:
    method = replace(known("10-of-10"), adjustment=Adjustment(shift=shift, most_share=most_share))

    assert kw(method, history(today(kw_today), EVENT)) == pytest.approx(expected_kw)


def test_an_additive_shift_is_the_same_in_every_interval_and_a_factor_is_not() -> None:
    def load(moment: datetime) -> float:
        past_kw = 100.0 if moment.hour < 17 else 200.0
        return past_kw + (50.0 if moment.date() == WEDNESDAY else 0.0)

    added = baseline_of(known("pjm-high-4-of-5-saa"), history(load, EVENT))
    scaled = baseline_of(
        replace(known("10-of-10"), adjustment=Adjustment(shift=Shift.MULTIPLICATIVE)), history(load, EVENT)
    )

    assert isinstance(added, Baseline)
    assert isinstance(scaled, Baseline)
    assert (added.steps[0].power, added.steps[-1].power) == (Power.kw(150), Power.kw(250))
    assert (scaled.steps[0].power, scaled.steps[-1].power) == (Power.kw(150), Power.kw(300))
    assert (added.detail, scaled.detail) == ("+50.000 kW", "x 1.5000")


def test_a_clipped_adjustment_says_so() -> None:
    found = baseline_of(known("caiso-10-of-10"), history(today(500.0), EVENT))

    assert isinstance(found, Baseline)
    assert found.detail == "x 1.2000, the most that is allowed"


def test_no_adjustment_is_made_out_of_the_time_of_another_event() -> None:
    other = span("2026-11-18 12:30", "2026-11-18 12:40")

    assert lack(known("caiso-10-of-10"), history(today(100.0), EVENT, others=[other])) is Lack.OTHER_EVENT


def test_no_adjustment_is_made_out_of_a_window_that_was_not_measured() -> None:
    load = today(100.0)
    hole = at("2026-11-18 13:00")
    past = history(lambda moment: None if moment.timestamp() == hole else load(moment), EVENT)

    assert lack(known("caiso-10-of-10"), past) is Lack.METER


def test_a_baseline_is_never_adjusted_below_nothing() -> None:
    load = by_day({WEDNESDAY: 1.0}, otherwise=100.0)
    past = history(
        lambda moment: 10.0 if moment.hour >= 16 and moment.date() != WEDNESDAY else load(moment), EVENT
    )

    assert kw(known("pjm-high-4-of-5-saa"), past) == 0.0


# -- the day itself ------------------------------------------------------------------------------------------


def test_same_day_takes_the_hours_that_pjm_names_for_an_event_of_hours_ending_13_to_17() -> None:
    event = span("2026-11-18 12:00", "2026-11-18 17:00")
    hour_ending = {9: 10.0, 10: 20.0, 11: 30.0, 19: 40.0, 20: 50.0}
    past = history(lambda moment: hour_ending.get(moment.hour + 1, 1_000.0), event)

    assert kw(KNOWN["pjm-same-day-3-2"], past) == 30.0


@pytest.mark.parametrize(
    ("now", "others", "expected"),
    [
        ("2026-11-18 20:59", [], Lack.NOT_OVER),
        ("2026-11-18 21:00", [("19:30", "19:40")], Lack.OTHER_EVENT),
        ("2026-11-18 21:00", [("12:30", "12:31")], Lack.OTHER_EVENT),
    ],
)
def test_same_day_waits_for_the_hours_after_and_takes_none_with_an_event(
    now: str, others: list[tuple[str, str]], expected: Lack
) -> None:
    spans = [span(f"2026-11-18 {start}", f"2026-11-18 {end}") for start, end in others]

    past = history(by_day({}), EVENT, others=spans, now_utc_s=at(now))

    assert lack(KNOWN["pjm-same-day-3-2"], past) is expected


def test_match_day_takes_the_three_days_that_are_nearest_without_the_event_and_an_hour_around_it() -> None:
    morning = dict(zip(BEFORE, (100, 131, 128, 500, 133, 400), strict=False))
    evening = dict(zip(BEFORE, (1, 10, 20, 2, 30, 3), strict=False))

    def load(moment: datetime) -> float:
        if moment.date() == WEDNESDAY:
            return 130.0 if not 15 <= moment.hour < 19 else 77.0
        kw_by_day = evening if 15 <= moment.hour < 19 else morning
        return float(kw_by_day.get(moment.date(), 9_000))

    past = history(load, EVENT)
    found = baseline_of(MatchDay(), past)

    assert isinstance(found, Baseline)
    assert found.days == (BEFORE[1], BEFORE[2], BEFORE[4])
    assert kw(MatchDay(), past) == 20.0


def test_match_day_does_not_match_the_hours_of_another_event_of_the_day() -> None:
    """Without them the days of 130 kW are the nearest; with them those that stood still in the morning."""
    still = set(BEFORE[3:6])

    def load(moment: datetime) -> float:
        day, is_morning = moment.date(), 8 <= moment.hour < 10
        if day == WEDNESDAY:
            return 20.0 if is_morning or 16 <= moment.hour < 18 else 130.0
        return (20.0 if is_morning else 125.0) if day in still else 130.0

    past = history(load, EVENT, others=[EVENT, span("2026-11-18 08:00", "2026-11-18 10:00")])

    assert kw(MatchDay(), past) == 130.0


def test_each_day_of_an_event_over_midnight_is_matched_by_itself() -> None:
    """Of a Friday the days of 130 kW are the nearest, of the Saturday those of 40."""
    event = span("2026-11-20 20:00", "2026-11-21 04:00")
    friday, saturday = date(2026, 11, 20), date(2026, 11, 21)

    def load(moment: datetime) -> float:
        if moment.date() in (friday, saturday):
            return 130.0 if moment.date() == friday else 40.0
        return 130.0 if moment.weekday() < 5 else 40.0

    past = replace(
        history(load, event, now_utc_s=at("2026-11-22 00:00")),
        usage=metering(load, date(2026, 10, 1), saturday),
    )
    found = baseline_of(MatchDay(), past)

    assert isinstance(found, Baseline)
    assert found.over(span("2026-11-20 20:00", "2026-11-21 00:00")) == Power.kw(130)
    assert found.over(span("2026-11-21 00:00", "2026-11-21 04:00")) == Power.kw(40)
    assert lack(MatchDay(), replace(past, now_utc_s=at("2026-11-21 12:00"))) is Lack.NOT_OVER


def test_match_day_waits_for_the_end_of_the_day() -> None:
    past = history(by_day({}), EVENT, now_utc_s=at("2026-11-18 23:59"))

    assert lack(MatchDay(), past) is Lack.NOT_OVER


def test_meter_before_reads_the_minute_before_the_site_goes_down() -> None:
    """Quarter hours: 15:30 to 15:45 has 80 kW, the quarter before the event 20."""
    past = history(
        lambda moment: {(15, 30): 80.0, (15, 45): 20.0}.get((moment.hour, moment.minute), 0.0), EVENT
    )

    assert kw(MeterBefore(), past) == 20.0
    assert kw(MeterBefore(length_s=900, gap_s=900), past) == 80.0
    assert kw(MeterBefore(length_s=1800, gap_s=0), past) == 50.0


def test_meter_before_needs_the_meter_and_no_other_event() -> None:
    silent = history(lambda moment: None if moment.hour == 15 else 50.0, EVENT)
    busy = history(by_day({}), EVENT, others=[span("2026-11-18 15:00", "2026-11-18 15:59")])

    assert lack(MeterBefore(), silent) is Lack.METER
    assert lack(MeterBefore(), busy) is Lack.OTHER_EVENT


def test_a_firm_service_level_has_no_baseline_and_says_so() -> None:
    assert lack(FirmServiceLevel(level=Power.kw(40)), history(by_day({}), EVENT)) is Lack.NO_SUCH_THING


# -- over spans ----------------------------------------------------------------------------------------------


def test_a_baseline_over_part_of_its_steps_is_weighted_by_time_and_none_outside() -> None:
    past = history(lambda moment: 160.0 if moment.hour == 16 else 100.0, EVENT)
    found = baseline_of(known("10-of-10"), past)

    assert isinstance(found, Baseline)
    assert found.over(span("2026-11-18 16:50", "2026-11-18 17:10")) == Power.kw(130)
    assert found.over(Span(EVENT.start_utc_s - 60, EVENT.end_utc_s)) is None


# -- days of 23 and 25 hours ---------------------------------------------------------------------------------

DST_EVENT = span("2026-11-01 01:00", "2026-11-01 03:00")
"""Three hours long: in Chicago the hour from 01:00 comes twice on this Sunday."""


def test_an_event_over_the_hour_that_comes_twice_takes_that_hour_of_the_like_days_twice() -> None:
    past = history(lambda moment: float(moment.hour), DST_EVENT)

    found = baseline_of(known("10-of-10"), past)

    assert DST_EVENT.length_s == 3 * 3600
    assert isinstance(found, Baseline)
    assert [step.power.in_kw for step in found.steps] == [1.0] * 8 + [2.0] * 4


def test_a_like_day_on_which_the_hour_came_twice_counts_with_the_mean_of_both() -> None:
    event = span("2026-11-08 01:00", "2026-11-08 02:00")

    def load(moment: datetime) -> float:
        if moment.date() == date(2026, 11, 1):
            return 300.0 if moment.fold else 100.0
        return 50.0

    found = kw(replace(known("10-of-10"), rest_take=2, rest_of=2), history(load, event))

    assert found == ((100 + 300) / 2 + 50) / 2  # the Sunday before, and the Saturday


def test_a_like_day_that_skipped_the_hour_is_none() -> None:
    """On 8 March 2026 the clock went from 01:59 to 03:00."""
    event = span("2026-03-15 02:00", "2026-03-15 03:00")
    past = history(lambda moment: float(moment.day), event)

    found = baseline_of(replace(known("10-of-10"), rest_take=3, rest_of=3), past)

    assert isinstance(found, Baseline)
    assert found.days == (date(2026, 3, 14), date(2026, 3, 7), date(2026, 3, 1))


def test_a_day_with_a_change_of_the_clock_has_its_true_length() -> None:
    hours = calendar(3600)

    assert [
        len(list(hours.intervals_of(date(2026, month, day)))) for month, day in ((3, 8), (11, 1), (7, 1))
    ] == [
        23,
        25,
        24,
    ]
    assert hours.span_of(date(2026, 11, 1)).length_s == 25 * 3600
    assert timedelta(hours=23).total_seconds() == hours.span_of(date(2026, 3, 8)).length_s
