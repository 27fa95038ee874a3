"""Reports that count in the intervals of an event."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.grid import EventInterval, GridEvent, ReportCycle, ReportRequest
from controller.domain.power import Power
from controller.grid.cycles import NO_COURSES, Courses, observe
from controller.grid.requests import MAX_REPORTED
from controller.grid.site import DataQuality, Part, Place, SiteReport
from controller.grid.tally import Average

OK, ESTIMATED, MISSING = DataQuality.OK, DataQuality.ESTIMATED, DataQuality.MISSING


def asking(
    *requests: ReportRequest, labels: tuple[int, ...] = (7, 8, 9), every_s: float = 10.0, gap_s: float = 0.0
) -> GridEvent:
    """An event of an interval of `every_s` for each label, from 0 on."""
    pieces = tuple(
        EventInterval(
            start_utc_s=at * (every_s + gap_s),
            end_utc_s=at * (every_s + gap_s) + every_s,
            signals=(),
            label=label,
        )
        for at, label in enumerate(labels)
    )
    return GridEvent(id="a", version_utc_s=1, source="test", intervals=pieces, reports=requests)


def request(
    first: int = 0,
    every: int = 1,
    count: int = 0,
    *,
    times: float = math.inf,
    node: str = "",
    labelled: bool = True,
) -> ReportRequest:
    cycle = ReportCycle(first=first, every=every, count=count)
    return ReportRequest(payload="DEMAND", times=times, cycle=cycle, node=node, labelled=labelled)


def tick(now_s: float, watts: int | None = None, quality: DataQuality = OK) -> SiteReport:
    return SiteReport(
        now_utc_s=now_s,
        demand=Power(round(now_s) * 100 if watts is None else watts),
        quality=quality,
        places=(Place(node="row-a", demand=Power(400), granted=Power(500), quality=ESTIMATED),),
        parts=(Part(name="asic", demand=Power(1), quality=ESTIMATED),),
    )


def reports(
    ticks: list[SiteReport], *events: GridEvent, courses: Courses = NO_COURSES
) -> list[tuple[float, list[Average]]]:
    """When each report was made, and the intervals in it. An event is known until it ends, as in a ledger."""
    found: list[tuple[float, list[Average]]] = []
    for report in ticks:
        alive = [event for event in events if event.end_utc_s > report.now_utc_s]
        courses, made = observe(courses, alive, report)
        found += [(report.now_utc_s, list(averages)) for averages in made]
    return found


def labels(found: list[tuple[float, list[Average]]]) -> list[tuple[float, list[int]]]:
    return [(at_s, [average.index for average in averages]) for at_s, averages in found]


def seconds(until_s: int, from_s: int = 0) -> list[SiteReport]:
    return [tick(now_s) for now_s in range(from_s, until_s)]


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        (request(2, 3), [(30, [7, 8, 9])]),
        (request(0, 1), [(10, [7]), (20, [8]), (30, [9])]),
        (request(0, 1, 2), [(10, [7]), (20, [7, 8]), (30, [8, 9])]),
        (request(1, 1, 1), [(20, [8]), (30, [9])]),
        (request(1, 2), [(20, [7, 8]), (30, [9])]),
        (request(0, 1, times=2), [(10, [7]), (20, [8])]),
        (request(0, 1, labelled=False), [(10, [0]), (20, [1]), (30, [2])]),
    ],
)
def test_a_report_is_made_at_the_end_of_its_interval_on_those_before_it(
    asked: ReportRequest, made: list[tuple[float, list[int]]]
) -> None:
    assert labels(reports(seconds(40), asking(asked))) == made


def test_an_interval_is_the_mean_of_the_ticks_that_end_in_it() -> None:
    [(_, [first]), (_, [second])] = reports(seconds(21), asking(request(), labels=(7, 8)))

    assert (first.demand, first.quality, first.start_utc_s, first.end_utc_s) == (Power(550), OK, 0, 10)
    assert second.demand == Power(1_550)


def test_late_comers_make_the_latest_report_at_once_and_say_that_nothing_was_measured() -> None:
    found = reports(seconds(31, from_s=25), asking(request()))

    assert labels(found) == [(25, [8]), (30, [9])]
    assert [averages[0].quality for _, averages in found] == [MISSING, ESTIMATED]


def test_wakings_of_the_loop_do_not_weigh_in_an_interval() -> None:
    ticks = [*(tick(at / 5, 1_000) for at in range(11)), *(tick(now_s, 500) for now_s in range(3, 11))]

    [(_, [average])] = reports(ticks, asking(request(), labels=(7,)))

    assert average.demand == Power(600)


def test_an_interval_of_which_only_the_end_was_measured_is_no_more_than_an_estimate() -> None:
    """A controller that began anew three minutes before the end of an hour knows those three minutes."""
    [(_, [average])] = reports(seconds(3601, from_s=3420), asking(request(), labels=(7,), every_s=3600.0))

    assert average.quality is ESTIMATED


def test_an_interval_in_which_the_loop_hung_is_no_more_than_an_estimate() -> None:
    """Of ten minutes the loop stood still for four."""
    ticks = [replace(one, holds_s=5) for one in (*seconds(60), *seconds(601, from_s=300))]

    [(_, [average])] = reports(ticks, asking(request(), labels=(7,), every_s=600.0))

    assert average.quality is ESTIMATED


@pytest.mark.parametrize("from_s", [0.3, 0.8, 1.2])
def test_an_interval_is_whole_wherever_in_it_the_ticks_fall(from_s: float) -> None:
    ticks = [tick(at + from_s) for at in range(12)]

    [(_, [average])] = reports(ticks, asking(request(), labels=(7,)))

    assert average.quality is OK


def test_nothing_is_made_late_where_no_report_is_due_yet() -> None:
    assert labels(reports(seconds(31, from_s=25), asking(request(2, 3)))) == [(30, [7, 8, 9])]


def test_reports_once_a_second_on_intervals_of_a_second() -> None:
    jitters = (0.0, 0.04, -0.05, 0.03, -0.02, 0.05, 0.0)
    ticks = [tick(at + jitter) for at, jitter in enumerate(jitters)]

    found = reports(ticks, asking(request(), labels=(0, 1, 2, 3, 4), every_s=1.0))

    assert [index for _, made in labels(found) for index in made] == [0, 1, 2, 3, 4]
    assert all(average.quality is OK for _, averages in found for average in averages)


def test_a_node_is_told_alone_and_as_an_estimate_where_it_has_no_meter() -> None:
    [(_, [average])] = reports(seconds(11), asking(request(node="row-a"), labels=(7,)))

    assert (average.node, average.demand, average.quality) == ("row-a", Power(400), ESTIMATED)
    assert (average.parts, average.shed_available) == ((), None)


def test_a_node_that_the_site_does_not_know_any_more_is_missing() -> None:
    [(_, [average])] = reports(seconds(11), asking(request(node="gone"), labels=(7,)))

    assert average.quality is MISSING


def test_a_new_version_goes_on_with_what_was_measured_and_tells_nothing_twice() -> None:
    event = asking(request())
    courses: Courses = NO_COURSES
    for report in seconds(16):
        courses, _ = observe(courses, [event], report)

    found = reports(seconds(31, from_s=16), replace(event, version_utc_s=2), courses=courses)

    assert labels(found) == [(20, [8]), (30, [9])]
    assert found[0][1][0].demand == Power(1_550)


def test_a_cancelled_event_is_reported_on_no_more() -> None:
    courses, _ = observe(NO_COURSES, [asking(request())], tick(5))

    courses, made = observe(courses, [], tick(6))

    assert (made, len(courses)) == ((), 0)


def test_gaps_between_intervals_are_nobodys() -> None:
    found = reports(seconds(40), asking(request(), labels=(7, 8), gap_s=10.0))

    assert labels(found) == [(10, [7]), (30, [8])]
    assert found[1][1][0].demand == Power(2_550)


@given(
    pieces=st.integers(1, 9),
    every=st.integers(1, 12),
    times=st.sampled_from([1, 2, math.inf]),
    from_s=st.integers(0, 60),
    step_s=st.floats(0.2, 1.2),
)
def test_without_a_count_every_interval_is_told_once_in_order_and_no_report_is_one_too_many(
    pieces: int, every: int, times: float, from_s: int, step_s: float
) -> None:
    event = asking(
        request(min(every, pieces) - 1, every, times=times), labels=tuple(range(pieces)), every_s=7.0
    )
    ticks = [tick(from_s + at * step_s) for at in range(math.ceil((pieces * 7 + 3 - from_s) / step_s))]

    found = reports(ticks, event)

    indices = [average.index for _, averages in found for average in averages]
    assert indices == sorted(set(indices))
    assert len(found) <= times
    if from_s == 0 and times == math.inf and ticks:
        assert indices == list(range(pieces))


def test_what_is_remembered_of_an_event_is_bounded() -> None:
    event = asking(request(2_999, 3_000), labels=tuple(range(3_000)), every_s=1.0)
    courses: Courses = NO_COURSES
    for report in seconds(3_000):
        courses, _ = observe(courses, [event], report)

    _, [averages] = observe(courses, [], tick(3_000))

    assert len(courses["a"].tallies) == MAX_REPORTED
    assert [average.index for average in averages] == list(range(3_000 - MAX_REPORTED, 3_000))
