"""Demand over the periods that events ask for."""

from __future__ import annotations

import math

from controller.domain.grid import EventInterval, GridEvent, ReportRequest
from controller.domain.power import ZERO, Power
from controller.grid.site import DataQuality, SiteReport
from controller.grid.tally import Average
from controller.grid.telemetry import NO_WINDOWS, observe

OK, ESTIMATED, MISSING = DataQuality.OK, DataQuality.ESTIMATED, DataQuality.MISSING


def asking(
    every_s: float | None = 10.0, start_s: float = 0.0, end_s: float = 1000.0, id_: str = "a"
) -> GridEvent:
    piece = EventInterval(start_utc_s=start_s, end_utc_s=end_s, signals=())
    reports = () if every_s is None else (ReportRequest(payload="DEMAND", every_s=every_s),)
    return GridEvent(id=id_, version_utc_s=1, source="test", intervals=(piece,), reports=reports)


def tick(
    now_s: float, watts: int = 1000, quality: DataQuality = OK, *, holds_s: float = math.inf
) -> SiteReport:
    return SiteReport(now_utc_s=now_s, demand=Power(watts), quality=quality, holds_s=holds_s)


def averages(ticks: list[SiteReport], *events: GridEvent) -> list[Average]:
    windows = NO_WINDOWS
    found: list[Average] = []
    for report in ticks:
        windows, closed = observe(windows, events, report)
        found += closed
    return found


def spans(found: list[Average]) -> list[tuple[float, float]]:
    return [(average.start_utc_s, average.end_utc_s) for average in found]


def test_a_report_covers_the_ticks_after_the_one_that_opened_it() -> None:
    [average] = averages([tick(0, 9_999), *(tick(now_s, now_s * 100) for now_s in range(1, 11))], asking())

    assert (average.start_utc_s, average.end_utc_s) == (0, 10)
    assert average.demand == Power(550)
    assert average.quality is OK


def test_a_loop_that_is_woken_often_does_not_weigh_its_wakings() -> None:
    """Messages wake it five times a second while 1,000 W are drawn for two seconds, then 500 W for eight."""
    woken = [tick(at / 5, 1_000) for at in range(11)]

    [average] = averages([*woken, *(tick(now_s, 500) for now_s in range(3, 11))], asking())

    assert average.demand == Power(600)


def test_one_report_a_second_at_one_tick_a_second() -> None:
    ticks = [tick(now_s + jitter) for now_s, jitter in enumerate((0, 0.03, -0.02, 0.04, -0.04))]

    found = averages(ticks, asking(every_s=1))

    assert len(found) == 4
    assert [average.index for average in found] == [0, 1, 2, 3]


def test_periods_join_without_gap() -> None:
    found = averages([tick(now_s) for now_s in range(31)], asking())

    assert spans(found) == [(0, 10), (10, 20), (20, 30)]


def test_what_is_open_when_the_event_ends_is_reported_as_far_as_it_went() -> None:
    found = averages([tick(now_s) for now_s in range(20)], asking(end_s=13.5))

    assert spans(found) == [(0, 10), (10, 13)]


def test_nothing_is_reported_before_the_event_nor_for_one_that_does_not_ask() -> None:
    ticks = [tick(now_s) for now_s in range(30)]

    assert averages(ticks, asking(start_s=50), asking(every_s=None, id_="b")) == []


def test_each_event_has_its_own_periods() -> None:
    found = averages([tick(now_s) for now_s in range(11)], asking(5, id_="a"), asking(10, id_="b"))

    assert [(average.event, average.end_utc_s) for average in found] == [("a", 5), ("a", 10), ("b", 10)]


def test_missing_readings_are_left_out_of_the_mean_and_make_it_an_estimate() -> None:
    ticks = [tick(0), *(tick(now_s, 100, OK if now_s % 2 else MISSING) for now_s in range(1, 11))]

    [average] = averages(ticks, asking())

    assert (average.demand, average.quality) == (Power(100), ESTIMATED)


def test_one_estimated_reading_makes_the_mean_an_estimate() -> None:
    ticks = [tick(now_s, 100, ESTIMATED if now_s == 5 else OK) for now_s in range(11)]

    [average] = averages(ticks, asking())

    assert average.quality is ESTIMATED


def test_a_loop_that_hung_measured_nothing_meanwhile() -> None:
    """It stood for half a minute of one, and drew 500 W when it came back."""
    ticks = [tick(now_s, 1_000, holds_s=5) for now_s in range(15)]
    ticks += [tick(now_s, 500, holds_s=5) for now_s in range(45, 61)]

    [average] = averages(ticks, asking(every_s=60))

    assert average.quality is ESTIMATED
    assert average.demand == Power(706), "14 s of the one, 20 of the other: 15, and 5 that a reading holds"


def test_a_period_of_which_all_but_its_end_was_hung_through_is_an_estimate() -> None:
    ticks = [tick(0, holds_s=5), tick(59.9, 500, holds_s=5)]

    [average] = averages(ticks, asking(every_s=60))

    assert (average.quality, average.demand) == (ESTIMATED, Power(500))


def test_a_tick_that_is_a_little_late_leaves_no_gap() -> None:
    ticks = [tick(now_s, holds_s=5) for now_s in (0, 1, 2, 5, 6, 7, 8, 9, 10)]

    [average] = averages(ticks, asking())

    assert average.quality is OK


def test_a_period_without_any_reading_is_reported_missing() -> None:
    [average] = averages([tick(now_s, 0, MISSING) for now_s in range(11)], asking())

    assert (average.demand, average.quality) == (ZERO, MISSING)


def test_a_clock_that_was_set_back_begins_a_new_period() -> None:
    found = averages([tick(now_s) for now_s in (100, 101, 50, 55, 60)], asking())

    assert spans(found) == [(50, 60)]


# --- what is asked for


def wanting(*requests: ReportRequest, labels: tuple[int, ...] = (0,)) -> GridEvent:
    """An event of one interval of 10 s for each label."""
    pieces = tuple(
        EventInterval(start_utc_s=at * 10.0, end_utc_s=at * 10.0 + 10, signals=(), label=label)
        for at, label in enumerate(labels)
    )
    return GridEvent(id="a", version_utc_s=1, source="test", intervals=pieces, reports=requests)


def test_requests_of_one_period_share_a_report_and_others_have_their_own() -> None:
    event = wanting(
        ReportRequest(payload="DEMAND", every_s=5),
        ReportRequest(payload="USAGE", every_s=5),
        ReportRequest(payload="OPERATING_STATE", every_s=10),
        labels=(0, 1),
    )

    found = averages([tick(now_s) for now_s in range(11)], event)

    assert [(average.end_utc_s, sorted(average.payloads)) for average in found] == [
        (5, ["DEMAND", "USAGE"]),
        (10, ["DEMAND", "USAGE"]),
        (10, ["OPERATING_STATE"]),
    ]


def test_no_more_reports_are_sent_than_were_asked_for() -> None:
    event = wanting(ReportRequest(payload="DEMAND", every_s=2, times=3))

    assert spans(averages([tick(now_s) for now_s in range(12)], event)) == [(0, 2), (2, 4), (4, 6)]


def test_one_report_of_the_whole_event_comes_at_its_end() -> None:
    event = wanting(ReportRequest(payload="DEMAND", every_s=20, times=1), labels=(0, 1))

    assert spans(averages([tick(now_s) for now_s in range(25)], event)) == [(0, 19)]


def test_reports_carry_the_labels_of_the_events_intervals_where_that_was_asked() -> None:
    request = ReportRequest(payload="DEMAND", every_s=5, labelled=True)

    found = averages([tick(now_s) for now_s in range(20)], wanting(request, labels=(7, -3)))

    assert [average.index for average in found] == [7, 7, -3]


def test_energy_is_the_mean_over_the_period() -> None:
    event = wanting(ReportRequest(payload="USAGE", every_s=10), labels=(0, 1))

    [average] = averages([tick(now_s, 3_600_000) for now_s in range(11)], event)

    assert average.usage_kwh == 10.0
