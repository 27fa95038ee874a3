"""What holds of every baseline and every meter, whatever the numbers."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.settlement.baseline import baseline_of
from controller.settlement.days import Calendar
from controller.settlement.likedays import History
from controller.settlement.metering import Metering, Quality, Reading, Span, held
from controller.settlement.methods import KNOWN, Adjustment, Baseline, NoBaseline, Pick, Shift, XOfY
from controller.settlement.performance import Terms
from tests.settlement.builders import (
    CHICAGO,
    START_UTC_S,
    calendar,
    course,
    event,
    evidence,
    limit,
    received,
    seconds,
)

HOUR_S = 3600
DAY = date(2026, 11, 18)
ZONES = st.sampled_from(
    [
        ZoneInfo(name)
        for name in ("America/Chicago", "Europe/Berlin", "Asia/Kathmandu", "UTC", "Australia/Lord_Howe")
    ]
)
LOADS = st.lists(st.integers(1_000, 2_000_000), min_size=24, max_size=24)
METHOD = XOfY(name="x", pick=Pick.ALL, take=4, of=4, rest_take=4, rest_of=4)


def past_of(loads_w: list[int], seed: int, *, shuffled: bool = False, factor: float = 1.0) -> History:
    """Forty days of hours whose loads are drawn from `loads_w`; the event is from 16:00 to 18:00."""
    rng = random.Random(seed)
    hours = calendar(HOUR_S)
    readings = [
        Reading(hour, float(rng.choice(loads_w)) * factor, HOUR_S)
        for days_ago in range(40, -1, -1)
        for hour in hours.intervals_of(DAY - timedelta(days=days_ago))
    ]
    if shuffled:
        rng.shuffle(readings)
    midnight_utc_s = hours.span_of(DAY).start_utc_s
    event = Span(midnight_utc_s + 16 * HOUR_S, midnight_utc_s + 18 * HOUR_S)
    return History(
        calendar=hours,
        usage=Metering.of(readings),
        event=event,
        others=(event,),
        now_utc_s=event.end_utc_s + 10 * 86_400,
    )


@given(loads_w=LOADS, seed=st.integers(0, 10_000), shift=st.sampled_from(Shift), gap_h=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_an_adjusted_baseline_has_the_sum_that_was_drawn_in_its_window(
    loads_w: list[int], seed: int, shift: Shift, gap_h: int
) -> None:
    """Asked for over the window itself, moved as for the event, it is what the meter showed there."""
    past = past_of(loads_w, seed)
    window = Span(past.event.start_utc_s - (gap_h + 3) * HOUR_S, past.event.start_utc_s - gap_h * HOUR_S)
    adjusted = replace(METHOD, adjustment=Adjustment(shift=shift, gap_s=gap_h * HOUR_S))

    with_it, without = baseline_of(adjusted, past), baseline_of(METHOD, past)
    there = baseline_of(METHOD, replace(past, event=window, others=()))

    assert isinstance(with_it, Baseline)
    assert isinstance(without, Baseline)
    assert isinstance(there, Baseline)
    drawn_w = sum(past.load_w(hour) or 0.0 for hour in past.calendar.whole_in(window))
    base_w = sum(step.power.watts for step in there.steps)
    for moved, step in zip(with_it.steps, without.steps, strict=True):
        if shift is Shift.ADDITIVE:
            expected_w = max(step.power.watts + (drawn_w - base_w) / 3, 0.0)
        else:
            expected_w = step.power.watts * drawn_w / base_w
        assert moved.power.watts == pytest.approx(expected_w, abs=4, rel=1e-3)


@given(loads_w=LOADS, seed=st.integers(0, 10_000), name=st.sampled_from(sorted(KNOWN)))
@settings(max_examples=40, deadline=None)
def test_the_order_in_which_readings_come_changes_nothing(loads_w: list[int], seed: int, name: str) -> None:
    method = KNOWN[name]

    assert baseline_of(method, past_of(loads_w, seed)) == baseline_of(
        method, past_of(loads_w, seed, shuffled=True)
    )


@given(loads_w=LOADS, seed=st.integers(0, 10_000), name=st.sampled_from(sorted(KNOWN)))
@settings(max_examples=30, deadline=None)
def test_a_site_twice_as_large_has_twice_the_baseline(loads_w: list[int], seed: int, name: str) -> None:
    once, twice = (baseline_of(KNOWN[name], past_of(loads_w, seed, factor=f)) for f in (1.0, 2.0))

    if isinstance(once, NoBaseline):  # of loads that differ by a hundred times, too many days count as low
        assert twice == once
        return
    assert isinstance(once, Baseline)
    assert isinstance(twice, Baseline)
    for small, large in zip(once.steps, twice.steps, strict=True):
        assert abs(large.power.watts - 2 * small.power.watts) <= 2


@given(seed=st.integers(0, 10_000), pick=st.sampled_from(Pick), loads_w=LOADS)
@settings(max_examples=30, deadline=None)
def test_the_highest_days_are_never_below_the_middle_nor_all_of_them(
    seed: int, pick: Pick, loads_w: list[int]
) -> None:
    ten = XOfY(name="x", pick=pick, take=8, of=10, rest_take=8, rest_of=10)
    past = past_of(loads_w, seed)

    found, high = baseline_of(ten, past), baseline_of(replace(ten, pick=Pick.HIGHEST), past)

    assert isinstance(found, Baseline)
    assert isinstance(high, Baseline)
    assert sum(s.power.watts for s in high.steps) >= sum(s.power.watts for s in found.steps) - 2


@given(
    zone=ZONES,
    day=st.dates(date(2025, 1, 1), date(2027, 12, 31)),
    interval_s=st.sampled_from([300, 900, 1800, 3600]),
)
@settings(max_examples=150, deadline=None)
def test_the_intervals_of_a_day_cover_it_once_whatever_its_length(
    zone: ZoneInfo, day: date, interval_s: int
) -> None:
    days = Calendar(zone=zone, interval_s=interval_s)

    found = list(days.intervals_of(day))

    whole, after = days.span_of(day), days.span_of(day + timedelta(days=1))
    assert whole.end_utc_s == after.start_utc_s
    assert found[0].start_utc_s == whole.start_utc_s
    assert found[-1].end_utc_s == whole.end_utc_s
    assert all(one.end_utc_s == other.start_utc_s for one, other in pairwise(found))
    assert {days.day_of(interval.start_utc_s) for interval in found} == {day}
    assert whole.length_s / 3600 in {22.5, 23.0, 23.5, 24.0, 24.5, 25.0, 25.5}


@given(day=st.dates(date(2026, 1, 10), date(2026, 12, 31)), days_ago=st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_an_interval_of_another_day_shows_the_same_time_on_the_wall_clock(day: date, days_ago: int) -> None:
    hours = Calendar(zone=CHICAGO, interval_s=HOUR_S)
    other = list(hours.intervals_of(day - timedelta(days=days_ago)))

    for hour in hours.intervals_of(day):
        alike = hours.alike(hour, days_ago)

        assert len(alike) <= 2
        assert set(alike) <= set(other)
        if len(other) == 24:
            assert len(alike) == 1


@given(
    watts=st.lists(st.none() | st.integers(-1000, 10**7), min_size=1, max_size=50),
    cuts=st.lists(st.floats(0, 50), min_size=1, max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_energy_and_measured_time_are_the_same_however_a_span_is_cut(
    watts: list[int | None], cuts: list[float]
) -> None:
    meter = held(((float(at), w) for at, w in enumerate(watts)), most_s=1.0)
    edges = sorted({0.0, *cuts, 50.0})
    parts = [meter.measure(Span(a, b)) for a, b in pairwise(edges) if b > a]

    whole = meter.measure(Span(0.0, 50.0))

    assert sum(part.measured_s for part in parts) == pytest.approx(whole.measured_s)
    energy = sum((part.mean_w or 0.0) * part.measured_s for part in parts)
    assert energy == pytest.approx((whole.mean_w or 0.0) * whole.measured_s, rel=1e-6, abs=1e-3)
    assert whole.measured_s == pytest.approx(sum(w is not None for w in watts))


@given(gaps=st.lists(st.floats(0.5, 10.0), min_size=2, max_size=30), most_s=st.floats(1.0, 5.0))
@settings(max_examples=80, deadline=None)
def test_a_sample_holds_until_the_next_and_never_longer_than_it_may(gaps: list[float], most_s: float) -> None:
    times = [sum(gaps[:n]) for n in range(len(gaps) + 1)]

    meter = held(((at, 1000) for at in times), most_s=most_s)

    assert sum(reading.span.length_s for reading in meter.readings) == pytest.approx(
        sum(min(gap, most_s) for gap in gaps) + most_s
    )


@given(
    kw=st.lists(st.none() | st.integers(0, 200), min_size=10, max_size=60),
    interval_s=st.sampled_from([1, 5, 20, 60, 300]),
    start_s=st.integers(0, 90),
    ramp_s=st.integers(0, 400),
)
@settings(max_examples=60, deadline=None)
def test_the_intervals_of_an_event_cover_it_once_and_add_up_to_what_was_measured(
    kw: list[int | None], interval_s: int, start_s: int, ramp_s: int
) -> None:
    meter = seconds(START_UTC_S, [w for w in kw for _ in range(10)])
    asked = event((START_UTC_S + start_s, START_UTC_S + start_s + 300, limit(100)), ramp_s=ramp_s)
    told = course(received(0, asked), now_utc_s=START_UTC_S + 9000)

    found = evidence(told, meter, terms=Terms(interval_s=interval_s))

    parts = [item.span for item in found.intervals]
    assert (parts[0].start_utc_s, parts[-1].end_utc_s) == (told.span.start_utc_s, told.span.end_utc_s)
    assert all(one.end_utc_s == other.start_utc_s for one, other in pairwise(parts))
    whole = meter.measure(told.span)
    measured_s = sum(item.measure.measured_s for item in found.intervals)
    energy_ws = sum((item.measure.mean_w or 0.0) * item.measure.measured_s for item in found.intervals)
    assert measured_s == pytest.approx(whole.measured_s)
    assert energy_ws == pytest.approx((whole.mean_w or 0.0) * whole.measured_s, rel=1e-6, abs=1e-3)
    assert sum(found.summary.counts.values()) == len(parts)


def test_the_mean_of_a_minute_is_an_estimate_for_a_part_of_it() -> None:
    meter = Metering.of([Reading(Span(0, 60), 100.0, 60), Reading(Span(60, 120), 200.0, 60)])

    found = [meter.measure(span) for span in (Span(0, 120), Span(30, 90), Span(10, 20))]

    assert [measure.quality for measure in found] == [Quality.OK, Quality.ESTIMATED, Quality.ESTIMATED]
    assert [measure.mean_w for measure in found] == [150.0, 150.0, 100.0]


def test_what_is_hardly_measured_says_nothing_and_what_is_nearly_whole_is_an_estimate() -> None:
    meter = held(((float(n), 1000) for n in range(79)), most_s=1.0)

    spans = [Span(0, 100), Span(0, 98), Span(0, 79)]

    assert [meter.measure(span).quality for span in spans] == [Quality.MISSING, Quality.ESTIMATED, Quality.OK]
    assert meter.measure(spans[0]).used_kwh is None
    assert meter.measure(spans[1]).used_kwh == pytest.approx(98 / 3600)
