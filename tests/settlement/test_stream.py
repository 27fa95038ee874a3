"""How a stream of set-points was followed, against numbers worked out by hand."""

from __future__ import annotations

import csv
import io
import json

import pytest

from controller.domain.power import Power
from controller.settlement.course import Told
from controller.settlement.metering import Metering, Quality, Reading, Span, held
from controller.settlement.performance import Compliance, Excuse, PerformanceError, Terms
from controller.settlement.scored import regulation_of
from controller.settlement.stream import Asked, due, followed, silence_of
from controller.settlement.streamevidence import StreamEvidence
from controller.settlement.streampage import stream_figures, stream_html
from controller.settlement.streamrecords import COLUMNS, FORMAT, stream_csv, stream_json
from tests.settlement.builders import CHICAGO, calendar, seconds

COMPLIANT, NOT_COMPLIANT = Compliance.COMPLIANT, Compliance.NOT_COMPLIANT
T = 1_800_000_000.0
"""The beginning of a minute."""
HOSTILE = "<script>alert(1)</script>{{ 7*7 }}"


def points(*kw_for_s: tuple[float | None, float], deadline_s: float = 0.0) -> tuple[Asked, ...]:
    """Set-points in a row, each for so many seconds; None is silence."""
    found, at_s = [], T
    for kw, length_s in kw_for_s:
        if kw is not None:
            found.append(Asked(Span(at_s, at_s + length_s), Power.kw(kw), at_s + deadline_s))
        at_s += length_s
    return tuple(due(found))


def evidence(
    asked: tuple[Asked, ...],
    meter: Metering,
    length_s: float,
    *,
    terms: Terms | None = None,
    excuses: tuple[Excuse, ...] = (),
    interval_s: int = 60,
    named: str = "iso:base-point",
    told: tuple[Told, ...] = (),
) -> StreamEvidence:
    terms, span = terms or Terms(interval_s=interval_s), Span(T, T + length_s)
    days = calendar(interval_s)
    return StreamEvidence(
        site=named,
        node="site",
        zone=CHICAGO,
        zone_name="America/Chicago",
        made_utc_s=T + 9000,
        program="0.1.0",
        stream=named,
        operator=named.partition(":")[0],
        span=span,
        terms=terms,
        deadline_s=0.0,
        asked=asked,
        intervals=followed(asked, meter, span, terms=terms, calendar=days, excuses=excuses),
        regulation=regulation_of(asked, meter, span),
        meter=meter,
        told=told,
        notes=("a note",),
    )


def verdicts(found: StreamEvidence) -> list[Compliance]:
    return [item.compliance for item in found.intervals]


def test_every_moment_is_held_against_the_set_point_of_that_moment() -> None:
    """30 s at 100 kW and 30 s at 80 kW; drawn are 104 and 78: 4 too much, then 2 too little."""
    asked = points((100, 30), (80, 30))

    [item] = evidence(asked, seconds(T, [104.0] * 30 + [78.0] * 30), 60).intervals

    assert (item.target_w, item.mean_w, item.error_w) == (90_000, 91_000, 1_000)
    assert (item.abs_error_w, item.worst_w) == (3_000, 4_000)
    assert item.compliance is COMPLIANT
    assert item.asked_kwh == pytest.approx(90 / 60)
    assert item.used_kwh == pytest.approx(91 / 60)


def test_the_sums_are_weighed_by_time() -> None:
    asked = points((100, 90))

    told = evidence(asked, seconds(T, [110.0] * 60 + [100.0] * 30), 90).summary

    assert told.bias_w == pytest.approx(10_000 * 60 / 90)
    assert told.abs_error_w == pytest.approx(10_000 * 60 / 90)
    assert told.rms_error_w == pytest.approx(10_000 * (60 / 90) ** 0.5)
    assert told.worst_w == 10_000
    assert told.used_kwh == pytest.approx(9600 / 3600)
    assert told.asked_kwh == pytest.approx(9000 / 3600)
    assert (told.share_compliant, told.judged) == (0.5, 2)


@pytest.mark.parametrize(
    ("kw", "verdict"), [(105.0, COMPLIANT), (95.0, COMPLIANT), (105.1, NOT_COMPLIANT), (94.9, NOT_COMPLIANT)]
)
def test_the_mean_of_an_interval_lies_within_the_tolerance_or_does_not(
    kw: float, verdict: Compliance
) -> None:
    assert verdicts(evidence(points((100, 60)), seconds(T, [kw] * 60), 60)) == [verdict]


def test_a_set_point_counts_from_its_deadline_on_and_a_repetition_gives_no_new_time() -> None:
    asked = points((100, 120), (60, 30), (60, 30), (60, 60), deadline_s=40)

    found = evidence(asked, seconds(T, [100.0] * 160 + [60.0] * 80), 240)

    assert [item.due_s for item in found.intervals] == [20, 60, 20, 60]
    assert verdicts(found) == [COMPLIANT] * 4


def test_of_a_stream_that_is_quicker_than_its_deadline_every_moment_counts() -> None:
    asked = points((100, 30), (60, 30), (80, 30), (90, 30), deadline_s=40)

    found = evidence(asked, seconds(T, [100.0] * 120), 120)

    assert [item.due_s for item in found.intervals] == [60, 60]
    assert verdicts(found) == [NOT_COMPLIANT, NOT_COMPLIANT]


def test_a_minute_in_which_all_is_before_the_deadline_is_ramping() -> None:
    asked = points((100, 120), deadline_s=60)

    assert verdicts(evidence(asked, seconds(T, [0.0] * 60 + [100.0] * 60), 120)) == [
        Compliance.RAMPING,
        COMPLIANT,
    ]


def test_silence_is_told_and_judged_by_nothing() -> None:
    found = evidence(points((100, 60), (None, 90), (100, 30)), seconds(T, [100.0] * 180), 180)

    assert verdicts(found) == [COMPLIANT, Compliance.NOT_JUDGED, COMPLIANT]
    assert (found.summary.silent_s, found.summary.longest_silence_s) == (90.0, 90.0)
    assert (found.intervals[1].target_w, found.intervals[1].asked_kwh) == (None, 0.0)


def test_silence_at_either_end_counts() -> None:
    asked = points((None, 50), (100, 60), (None, 70))

    assert evidence(asked, seconds(T, [100.0] * 180), 180).summary.longest_silence_s == 70.0


def test_what_was_not_measured_is_unknown_and_not_compliant() -> None:
    found = evidence(points((100, 180)), seconds(T, [100.0] * 60 + [None] * 60 + [100.0] * 60), 180)

    assert verdicts(found) == [COMPLIANT, Compliance.UNKNOWN, COMPLIANT]
    assert (found.intervals[1].mean_w, found.intervals[1].used_kwh) == (None, None)
    assert (found.summary.quality, found.summary.measured_s) == (Quality.MISSING, 120.0)
    assert found.summary.share_compliant == pytest.approx(2 / 3)


def test_the_energy_of_a_stream_that_was_not_measured_is_not_known() -> None:
    found = evidence(points((100, 120)), seconds(T, [None] * 120), 120)

    figures = {figure.name: figure.value for figure in stream_figures(found)}
    assert found.summary.used_kwh is None
    assert figures["energy"].startswith("not known used (120.0 s not measured), 3.333 kWh asked for")
    assert json.loads(stream_json(found))["summary"]["used_kwh"] is None


def test_readings_that_reach_over_a_change_of_set_point_count_on_both_sides() -> None:
    meter = held([(T, 90_000), (T + 20, 90_000), (T + 40, 90_000)], most_s=20.0)

    [item] = evidence(points((100, 30), (80, 30)), meter, 60).intervals

    assert (item.error_w, item.abs_error_w) == (0.0, 10_000)


def test_an_interval_with_an_excuse_keeps_its_verdict_and_is_not_counted() -> None:
    lost = Excuse(Span(T + 70, T + 80), "link_lost")

    found = evidence(points((100, 120)), seconds(T, [100.0] * 60 + [0.0] * 60), 120, excuses=(lost,))

    assert verdicts(found) == [COMPLIANT, NOT_COMPLIANT]
    assert (found.summary.share_compliant, found.summary.excused) == (1.0, 1)


def test_too_many_intervals_are_refused_by_name() -> None:
    with pytest.raises(PerformanceError, match="--interval"):
        evidence(points((100, 60)), seconds(T, [100.0]), 60_000, interval_s=1)


def test_the_limit_of_silence_counts_from_its_deadline_on_and_only_where_there_is_silence() -> None:
    asked = points((100, 60), (None, 60), (100, 60), (None, 20))
    meter = seconds(T, [100.0] * 100 + [60.0] * 100)

    found = silence_of(asked, meter, Span(T, T + 200), Power.kw(70), deadline_s=30)

    assert (found.due_s, found.measured_s) == (30.0, 30.0)  # of the first; the second is over too soon
    assert (found.over_s, found.over_w) == (10.0, 30_000)


def test_a_silence_of_which_half_was_measured_is_not_said_to_be_measured_whole() -> None:
    meter = Metering.of([Reading(Span(T, T + 60), 100_000, 30.0)])

    found = silence_of((), meter, Span(T, T + 60), Power.kw(70), deadline_s=0)

    assert (found.due_s, found.measured_s, found.over_s) == (60.0, 30.0, 30.0)


# -- forms ---------------------------------------------------------------------------------------------------


def usual() -> StreamEvidence:
    """Three minutes, a set-point every two seconds; the second minute was told to be infeasible."""
    asked = points(*((100.0 + n % 5, 2.0) for n in range(90)))
    short = Told(utc_s=T + 70, status="INFEASIBLE", version_utc_s=T + 69, possible=Power.kw(101.5))
    return evidence(asked, seconds(T, [103.0] * 180), 180, told=(short,))


def test_the_json_has_the_numbers_with_their_units_in_the_keys() -> None:
    told = json.loads(stream_json(usual()))

    assert (told["format"], told["stream"], told["operator"]) == (FORMAT, "iso:base-point", "iso")
    assert (told["summary"]["set_points"], told["summary"]["period_s"]) == (90, 2.0)
    assert told["summary"]["used_kwh"] == pytest.approx(103 * 120 / 3600 + 103 * 60 / 3600)
    assert (told["told"][0]["status"], told["told"][0]["possible_kw"]) == ("INFEASIBLE", 101.5)
    assert told["regulation"]["score"] is None
    assert told["regulation"]["why"] == "10 minutes are needed"
    assert [item["error_kw"] for item in told["intervals"]] == [1.0, 1.0, pytest.approx(1.0, abs=0.1)]


def test_the_csv_has_a_line_for_each_interval_and_no_text_from_outside() -> None:
    found = usual()

    text = stream_csv(found)

    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == text.count("\r\n") - 1 == 3
    assert "iso" not in text


def test_the_page_has_the_numbers_and_the_plot_and_nothing_from_outside_becomes_markup() -> None:
    found = evidence(points((100, 60)), seconds(T, [100.0] * 60), 60, named=HOSTILE)

    page = stream_html(found)

    assert "<script" not in page
    assert "49" not in page.split("<svg")[0].split("</style>")[1]
    assert page.count("<path") >= 5
    assert "100.0% (1 of 1 judged; 1 compliant)" in page


def test_a_day_of_set_points_is_a_page_of_bounded_size() -> None:
    asked = points(*((100.0 + n % 7, 2.0) for n in range(43_200)))

    page = stream_html(evidence(asked, seconds(T, [103.0] * 600), 86_400, interval_s=900))

    assert len(page) < 100_000


def test_the_figures_say_what_was_found() -> None:
    said = {figure.name: figure.value for figure in stream_figures(usual())}

    assert said["set-points"] == "90, every 2 s"
    assert said["tolerance"] == "5 % of the set-point"
    assert said["following error"].startswith("1.4 kW on the mean, 1.7 kW")
    assert said["score (PJM)"].startswith("none: 10 minutes are needed; about 102.0 kW")
