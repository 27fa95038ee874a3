"""Every form of the report read back by somebody else's reader."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from controller.domain.grid import RelativeTargetSignal, TargetSignal
from controller.domain.power import Power
from controller.grid.reports import Sender
from controller.settlement.evidence import Evidence
from controller.settlement.metering import Span
from controller.settlement.methods import Lack, NoBaseline
from controller.settlement.openadr import as_openadr
from controller.settlement.page import MOST_ROWS, as_html
from controller.settlement.performance import Excuse
from controller.settlement.plot import plot_of
from controller.settlement.records import COLUMNS, FORMAT, as_csv, as_json
from tests.grid.published import REPORT_OBJECT, complaints, undeclared
from tests.settlement.builders import (
    START_UTC_S,
    course,
    event,
    evidence,
    froze,
    limit,
    received,
    seconds,
    usual,
)

SENDER = Sender(client_id="site-tx1-ctl", ven="site-tx1")
NO = NoBaseline(method="10-of-10", lack=Lack.LIKE_DAYS, detail="6 of 10 days")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
HOSTILE = "<script>alert('x')</script>\"&{{ 7*7 }}</svg><img src=x onerror=alert(1)>"


def with_hole() -> Evidence:
    """Three minutes; the second was not measured, and the link was lost in it."""
    content = event((START_UTC_S, START_UTC_S + 180, limit(60)))
    told = course(received(START_UTC_S - 60, content), now_utc_s=START_UTC_S + 900)
    meter = seconds(START_UTC_S - 60, [100.0] * 60 + [50.0] * 60 + [None] * 60 + [50.0] * 60)
    lost = Excuse(Span(START_UTC_S + 70, START_UTC_S + 80), "link_lost")
    return evidence(told, meter, excuses=[lost], baseline=NO)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


# -- CSV -----------------------------------------------------------------------------------------------------


def test_the_csv_has_a_head_a_line_per_interval_and_ends_its_lines_as_rfc_4180_does() -> None:
    found = evidence(*usual())

    text = as_csv(found)

    assert text.count("\r\n") == text.count("\n") == 1 + len(found.intervals)
    rows = rows_of(text)
    assert tuple(rows[0]) == COLUMNS
    assert rows[1]["start_utc"] == "2026-11-18T22:00:10.000Z"
    assert rows[1]["start_local"] == "2026-11-18T16:00:10-06:00"
    assert (rows[1]["mean_kw"], rows[1]["limit_kw"], rows[1]["baseline_kw"]) == ("50.0", "60.0", "100.0")
    assert rows[1]["compliance"] == "compliant"


def test_the_energies_in_the_csv_add_up_to_those_of_the_summary() -> None:
    found = evidence(*usual())

    rows = rows_of(as_csv(found))

    assert sum(float(row["used_kwh"]) for row in rows) == pytest.approx(found.summary.used_kwh, abs=1e-5)
    assert sum(float(row["reduced_kwh"]) for row in rows) == pytest.approx(
        found.summary.reduced_kwh or 0.0, abs=1e-5
    )


def test_what_is_not_known_is_empty_in_the_csv_and_never_a_zero() -> None:
    row = rows_of(as_csv(with_hole()))[1]

    assert (row["mean_kw"], row["used_kwh"], row["baseline_kw"], row["reduction_kw"]) == ("", "", "", "")
    assert (row["compliance"], row["quality"], row["excuse"]) == ("unknown", "MISSING", "link_lost")


def test_no_text_from_outside_is_in_the_csv() -> None:
    found = evidence(*usual())
    hostile = replace(found, course=replace(found.course, event="=HYPERLINK(1)"), site="@SUM(1)")

    assert as_csv(hostile) == as_csv(found)


# -- JSON ----------------------------------------------------------------------------------------------------


def test_the_json_carries_units_in_its_keys_and_instants_in_utc() -> None:
    told = json.loads(as_json(evidence(*usual())))

    assert told["format"] == FORMAT
    assert (told["event"], told["site"], told["ending"]) == ("dr-7", "container-7", "over")
    assert told["start_utc"] == "2026-11-18T22:00:00.000Z"
    assert told["baseline"] == {
        "method": "10-of-10",
        "interval_s": 900,
        "detail": "",
        "missing": None,
        "days": ["2026-11-18"],
    }
    summary = told["summary"]
    assert (summary["response_s"], summary["ramp_down_kw_per_s"], summary["restore_s"]) == (4.0, 10.0, 9.0)
    assert (summary["over_limit_kw"], summary["over_limit_s"]) == (3.0, 3.0)
    assert summary["compliant_percent"] == 100.0
    assert summary["intervals"]["ramping"] == 1
    assert set(told["intervals"][0]) == set(COLUMNS) - {"start_local"}
    assert told["audit"]["verdict"] == "not_checked"


def test_every_number_of_the_json_says_its_unit_or_counts() -> None:
    told = json.loads(as_json(evidence(*usual())))
    units = ("_s", "_kw", "_kwh", "_percent", "_kw_per_s")
    counts = {"judged_intervals", "excused_intervals", "devices_found_lying"}

    numbers = [
        key
        for part in (told["summary"], told["terms"], *told["intervals"])
        for key, value in part.items()
        if isinstance(value, int | float)
    ]

    assert [
        n for n in numbers if not n.endswith(units) and n not in counts and not n.startswith("commands_")
    ] == []


def test_a_baseline_that_is_missing_is_missing_in_the_json_with_its_reason() -> None:
    told = json.loads(as_json(with_hole()))

    assert told["baseline"]["missing"] == "too_few_like_days"
    assert told["summary"]["reduced_kwh"] is None
    assert [item["baseline_kw"] for item in told["intervals"]] == [None, None, None]
    assert told["summary"]["compliant_percent"] == 100.0
    assert told["summary"]["excused_intervals"] == 1


# -- OpenADR -------------------------------------------------------------------------------------------------


def check_report(content: dict[str, Any]) -> None:
    assert complaints(REPORT_OBJECT, content) == []
    assert undeclared(content) == set()


@pytest.mark.parametrize("found", [evidence(*usual()), with_hole()])
def test_the_openadr_report_has_what_the_standard_requires(found: Evidence) -> None:
    check_report(json.loads(as_openadr(found, SENDER)))


def payloads(content: dict[str, Any], index: int) -> dict[str, list[Any]]:
    piece = content["resources"][0]["intervals"][index]
    return {payload["type"]: payload["values"] for payload in piece["payloads"]}


def test_the_openadr_report_tells_each_interval() -> None:
    content = json.loads(as_openadr(evidence(*usual()), SENDER))

    assert (content["eventID"], content["clientName"], content["clientID"]) == (
        "dr-7",
        "site-tx1",
        "site-tx1-ctl",
    )
    assert content["resources"][0]["intervals"][1]["intervalPeriod"] == {
        "start": "2026-11-18T22:00:10.000Z",
        "duration": "PT50S",
    }
    assert payloads(content, 1) == {
        "USAGE": [pytest.approx(50 * 50 / 3600, abs=1e-6)],
        "DEMAND": [50.0],
        "BASELINE": [100.0],
        "SETPOINT": [60.0],
        "DATA_QUALITY": ["OK"],
        "X_COMPLIANCE": ["compliant"],
    }


def test_the_openadr_report_leaves_out_what_is_not_known() -> None:
    content = json.loads(as_openadr(with_hole(), SENDER))

    assert payloads(content, 1) == {
        "SETPOINT": [60.0],
        "DATA_QUALITY": ["MISSING"],
        "X_COMPLIANCE": ["unknown", "link_lost"],
    }
    assert "BASELINE" not in {descriptor["payloadType"] for descriptor in content["payloadDescriptors"]}


def test_the_operator_reads_its_own_name_of_the_event() -> None:
    found = evidence(*usual())
    named = replace(found, course=replace(found.course, operator="dsx", event="dsx:dr-7"))

    assert json.loads(as_openadr(named, SENDER))["eventID"] == "dr-7"


def test_the_same_evidence_makes_a_report_of_the_same_id_and_other_evidence_another() -> None:
    found = evidence(*usual())
    ids = {
        json.loads(as_openadr(one, SENDER))["id"]
        for one in (found, replace(found, made_utc_s=found.made_utc_s + 60), with_hole())
    }

    assert len(ids) == 2


# -- HTML ----------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """What a browser would make of a page: its elements, their attributes, its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


PLAIN = {
    *("html", "head", "meta", "title", "style", "body", "h1", "p", "b", "i", "span", "dl", "dt", "dd"),
    *("svg", "rect", "path", "text", "table", "tr", "th", "td"),
}


def test_the_page_is_well_formed_and_has_the_numbers_and_the_plot() -> None:
    read = Reader(as_html(evidence(*usual())))

    text = " ".join(" ".join(read.text).split())
    assert read.open == []
    assert "Event dr-7" in text
    assert "4.0 s from the start" in text
    assert "100.0% (5 of 5 judged" in text
    assert {tag for tag, _ in read.elements} == PLAIN
    paths = [attributes["d"] for tag, attributes in read.elements if tag == "path"]
    assert sum(1 for path in paths if path and len(path) > 400) == 1  # the demand


def test_the_page_needs_nothing_from_outside_and_may_run_nothing() -> None:
    page = as_html(evidence(*usual()))
    read = Reader(page)

    assert not re.search(r"(https?:)?//|url\(|@import|javascript:", page)
    assert not [name for _, attributes in read.elements for name in attributes if name in ("src", "href")]
    policies = [a["content"] for tag, a in read.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_nothing_from_outside_becomes_markup() -> None:
    found = evidence(*usual(), site=HOSTILE, notes=(HOSTILE,))
    hostile = replace(
        found,
        node=HOSTILE,
        zone_name=HOSTILE,
        program=HOSTILE,
        course=replace(found.course, event=HOSTILE, operator=HOSTILE),
        baseline=replace(NO, method=HOSTILE, detail=HOSTILE),
        audit=replace(found.audit, head=HOSTILE, detail=HOSTILE, verdict=HOSTILE),
    )

    read = Reader(as_html(hostile))

    assert {tag for tag, _ in read.elements} <= PLAIN
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]
    assert " ".join(read.text).count(HOSTILE) >= 7


def test_of_many_intervals_the_page_shows_those_that_need_an_explanation() -> None:
    content = event((START_UTC_S, START_UTC_S + 3600, limit(60)))
    told = course(received(START_UTC_S - 60, content), now_utc_s=START_UTC_S + 9000)
    kw = [90.0 if 3000 <= n < 3060 else 50.0 for n in range(3600)]

    page = as_html(evidence(told, seconds(START_UTC_S, kw)))

    assert page.count('<tr class="') == MOST_ROWS
    assert page.count('<tr class="not_compliant">') == 1
    assert f"{60 - MOST_ROWS} more intervals" in page


def test_the_page_says_that_there_are_more_notes_than_it_shows() -> None:
    some, many = (
        as_html(evidence(*usual(), notes=notes)) for notes in (("a", "b", "c"), ("a", "b", "c", "d"))
    )

    assert "1 more is in the JSON form of this report." not in some
    assert "1 more is in the JSON form of this report." in many


def test_the_line_of_the_demand_is_broken_where_nothing_was_measured() -> None:
    assert plot_of(with_hole()).demand.count("M") == 2
    assert plot_of(evidence(*usual())).demand.count("M") == 1


def test_a_peak_of_one_second_is_in_the_plot_of_a_day() -> None:
    content = event((START_UTC_S, START_UTC_S + 20_000, limit(60)))
    told = course(received(START_UTC_S - 60, content), now_utc_s=START_UTC_S + 90_000)
    kw = [900.0 if n == 12_345 else 50.0 for n in range(20_000)]

    plot = plot_of(evidence(told, seconds(START_UTC_S, kw)))

    heights = [float(y) for y in re.findall(r",([\d.]+)", plot.demand)]
    assert min(heights) < 35 < 200 < max(heights)


def test_an_event_that_asked_for_nothing_has_a_report_in_every_form() -> None:
    told, meter = usual()
    nothing = evidence(replace(told, phases=()), meter)

    assert json.loads(as_json(nothing))["intervals"] == []
    assert rows_of(as_csv(nothing)) == []
    check_report(json.loads(as_openadr(nothing, SENDER)))
    assert "none was judged" in as_html(nothing)


@pytest.mark.parametrize("signal", [TargetSignal(Power.kw(50)), limit(60), limit(0)])
def test_every_kind_of_event_has_a_plot_inside_its_frame(signal: Any) -> None:
    content = event((START_UTC_S, START_UTC_S + 60, signal))
    told = course(received(START_UTC_S - 60, content), now_utc_s=START_UTC_S + 900)

    page = as_html(evidence(told, seconds(START_UTC_S - 60, [50.0] * 180)))

    svg = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])  # our own page
    numbers = [float(n) for path in svg.iter("path") for n in re.findall(r"-?\d+\.?\d*", path.attrib["d"])]
    assert min(numbers) >= 0
    assert max(numbers) <= 720


def test_every_form_says_what_a_relative_set_point_was_settled_against() -> None:
    content = event((START_UTC_S, START_UTC_S + 60, RelativeTargetSignal(Power.kw(-20))))
    rows = (received(START_UTC_S - 60, content), froze(START_UTC_S + 1, 91.5))
    meter = seconds(START_UTC_S - 60, [91.5] * 60 + [71.5] * 60)
    found = evidence(course(*rows, now_utc_s=START_UTC_S + 900), meter)

    [row] = rows_of(as_csv(found))
    [item] = json.loads(as_json(found))["intervals"]
    [told] = json.loads(as_openadr(found, SENDER))["resources"][0]["intervals"]

    assert (row["target_kw"], row["relative_to_kw"], row["change_kw"]) == ("71.5", "91.5", "-20.0")
    assert (item["target_kw"], item["relative_to_kw"], item["change_kw"]) == (71.5, 91.5, -20.0)
    assert {"type": "X_RELATIVE_TO", "values": [91.5]} in told["payloads"]
    assert "91.5 kW, drawn in the minute before the event" in as_html(found)
