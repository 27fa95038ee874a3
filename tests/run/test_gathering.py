"""What the journal says of an event, read by the same code that the report and the live baseline use."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.decide.plan import Alarm
from controller.decide.words import AlarmKind
from controller.domain.devices import Acknowledged, OperatingPoint, Outcome, Refused, SetPoint
from controller.domain.grid import EventStatus
from controller.domain.jobs import JobAction, JobCommand
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.grid.isotime import stamp
from controller.grid.reports import Sender
from controller.grid.results import Accepted, Cancelled, MessageResult
from controller.grid.site import Progress
from controller.run.journal.flood import EVENTS_AT_ONCE
from controller.run.journal.happenings import Happening
from controller.run.journal.history import opened
from controller.run.journal.schema import Bookkeeping, microseconds
from controller.run.settling.baselines import Agreement
from controller.run.settling.gathering import MOST_JOBS, Question, gather, known_events
from controller.run.settling.streams import StreamQuestion, gather_stream
from controller.settlement.course import CourseError, Ending
from controller.settlement.days import Calendar
from controller.settlement.evidence import Evidence
from controller.settlement.figures import figures_of
from controller.settlement.metering import Quality, Span
from controller.settlement.methods import KNOWN, Baseline, Lack, NoBaseline
from controller.settlement.openadr import as_openadr
from controller.settlement.page import as_html
from controller.settlement.performance import Compliance, Terms
from controller.settlement.records import record_of
from controller.settlement.streamevidence import StreamEvidence
from tests.run.journaled import (
    CHICAGO,
    DAY,
    EVENT_S,
    START_UTC_S,
    Site,
    accepted,
    base_point,
    relative,
    set_point,
    utc_s,
)

ACKNOWLEDGED = Acknowledged()
LOST = Alarm(kind=AlarmKind.LINK_LOST, subject="container-7", detail="")


@asynccontextmanager
async def living(directory: Path, *, from_utc_s: float = START_UTC_S - 60) -> AsyncIterator[Site]:
    site = Site(directory / "journal.db")
    site.now_utc_s = from_utc_s
    await site.journal.open()
    yield site
    await site.journal.close()


def evidence_of(
    site: Site,
    event: str = "dr-7",
    *,
    method: str = "meter-before",
    version_utc_s: float | None = None,
    part: int | None = None,
    terms: Terms = Terms(interval_s=60),  # noqa: B008 - frozen
) -> Evidence:
    calendar = Calendar(zone=CHICAGO, interval_s=60)
    question = Question(
        event=event,
        agreement=Agreement(
            method=KNOWN[method],
            calendar=Calendar(zone=CHICAGO, interval_s=900),
            node="site",
            meter_holds_s=5.0,
        ),
        terms=terms,
        calendar=calendar,
        now_utc_s=START_UTC_S + 2 * 86_400,
        version_utc_s=version_utc_s,
        part=part,
        site="container-7",
        zone_name="America/Chicago",
        program="0.1.0",
        lead_s=20.0,
    )
    with opened(site.path) as history:
        return gather(history, question)


def stream_of(
    site: Site,
    stream: str,
    length_s: float,
    *,
    deadline_s: float = 0.0,
    silent: Bound = NO_LIMIT,
    now_utc_s: float = START_UTC_S + 86_400,
) -> StreamEvidence:
    question = StreamQuestion(
        stream=stream,
        span=Span(START_UTC_S, START_UTC_S + length_s),
        node="site",
        meter_holds_s=5.0,
        terms=Terms(interval_s=60),
        calendar=Calendar(zone=CHICAGO, interval_s=60),
        deadline_s=deadline_s,
        base=None,
        silent=silent,
        now_utc_s=now_utc_s,
        site="container-7",
        zone_name="America/Chicago",
        program="0.1.0",
        stream_priorities={"iso": 5},
    )
    with opened(site.path) as history:
        return gather_stream(history, question)


def excuses(found: Evidence) -> list[str]:
    return [item.excuse for item in found.intervals]


async def test_minutes_in_which_the_link_was_lost_have_an_excuse(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([50.0] * 150)
        site.journal.alarm(LOST, raised=True)
        site.draws([90.0] * 30)
        site.journal.alarm(LOST, raised=False)
        site.draws([50.0] * 200)

    found = evidence_of(site)

    assert excuses(found) == ["", "", "link_lost", "", "", ""]
    assert found.summary.excused == 1


async def test_a_link_that_was_lost_before_the_event_excuses_until_a_controller_begins_anew(
    tmp_path: Path,
) -> None:
    """Killed with the alarm raised: nobody said that it went, and the next controller does not have it."""
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.journal.alarm(LOST, raised=True)
        site.draws([50.0] * 110)
    async with living(tmp_path, from_utc_s=START_UTC_S + 50) as site:
        site.draws([50.0] * 300)

    assert excuses(evidence_of(site)) == ["link_lost", "link_lost", "", "", "", ""]


async def test_a_link_to_another_operator_that_was_lost_excuses_nothing(tmp_path: Path) -> None:
    """The site's own alarm is raised as soon as one operator is lost whose commands count."""
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        await site.hears(accepted("dr-7"), operator="iso")
        site.draws([50.0] * 150)
        site.journal.operator_link("iso", lost=True)
        site.journal.alarm(LOST, raised=True)
        site.draws([90.0] * 30)
        site.journal.operator_link("iso", lost=False)
        site.journal.alarm(LOST, raised=False)
        site.draws([50.0] * 200)

    assert set(excuses(evidence_of(site))) == {""}
    assert excuses(evidence_of(site, "iso:dr-7")) == ["", "", "link_lost", "", "", ""]


@pytest.mark.parametrize(("operator", "name"), [("dsx", "dsx:dc:a/0-1"), ("", "grid:dc:a/0-1")])
async def test_what_a_lost_link_excuses_is_its_own_operators_also_where_the_name_asked_for_has_colons(
    tmp_path: Path, operator: str, name: str
) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S) as site:
        content = set_point("dc:a/0-1", 60, START_UTC_S, version_utc_s=START_UTC_S)
        await site.hears(content, operator=operator)
        site.journal.operator_link(operator, lost=True)
        site.draws([90.0] * 120)
        site.journal.operator_link(operator, lost=False)

    found = stream_of(site, name, 120)

    assert found.operator == operator
    assert {item.excuse for item in found.intervals} == {"link_lost"}
    assert {item.excuse for item in evidence_of(site, name).intervals[:2]} == {"link_lost"}


async def test_events_of_two_operators_that_could_be_called_the_same_are_two(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dc:a", kw=60))
        await site.hears(accepted("a", kw=40), operator="dc")
        site.draws([50.0] * 400)

    first, named = evidence_of(site, "grid:dc:a"), evidence_of(site, "dc:a")

    assert (first.course.operator, named.course.operator) == ("", "dc")
    assert first.summary.share_compliant == 1.0
    assert named.summary.share_compliant == 0.0


async def test_an_event_for_a_row_is_judged_by_the_minutes_of_its_own_meter(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7", kw=30, node="row-a"))
        site.draws([900.0] * 60, below_kw=40.0)
        site.draws([900.0] * 120, below_kw=40.0)
        site.draws([900.0] * 300, below_kw=20.0)

    found = evidence_of(site)

    assert found.node == "row-a"
    assert found.dynamics.grain_s == 60.0
    verdicts = [item.compliance for item in found.intervals]
    assert verdicts[1:3] == [Compliance.NOT_COMPLIANT, Compliance.NOT_COMPLIANT]
    assert verdicts[3:] == [Compliance.COMPLIANT] * 3
    assert found.intervals[0].quality is Quality.ESTIMATED  # ten seconds of the mean of a minute
    assert found.intervals[3].quality is Quality.OK


async def test_an_event_for_a_row_is_not_judged_by_the_level_that_the_contract_gives_the_site(
    tmp_path: Path,
) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7", kw=30, node="row-a"), accepted("dr-8", kw=30))
        site.draws([900.0] * 480, below_kw=20.0)

    level = Terms(interval_s=60, firm_service_level=Limit(Power.kw(10)))
    row, whole = evidence_of(site, terms=level), evidence_of(site, "dr-8", terms=level)

    assert {item.compliance for item in row.intervals[2:]} == {Compliance.COMPLIANT}
    assert {item.limit for item in whole.intervals} == {Limit(Power.kw(10))}


async def test_the_openadr_report_of_an_event_for_a_row_names_the_row(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7", kw=30, node="row-a"), accepted("dr-8"))
        site.draws([900.0] * 480, below_kw=20.0)

    sender = Sender(client_id="ctl", ven="site-tx1")
    reports = [json.loads(as_openadr(evidence_of(site, name), sender)) for name in ("dr-7", "dr-8")]

    assert [report["resources"][0]["resourceName"] for report in reports] == ["row-a", "site-tx1"]


async def test_a_site_of_slow_ticks_is_measured_whole_also_where_its_site_file_is_not_at_hand(
    tmp_path: Path,
) -> None:
    """A reading holds for five seconds where nothing else is known, and there is one every ten."""
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([50.0] * 12 + [None] * 3 + [50.0] * 25, step_s=10.0)

    found = evidence_of(site)

    assert {item.quality for item in found.intervals[1:2]} == {Quality.OK}
    assert found.summary.unmeasured_s == 30.0


async def test_a_lost_link_excuses_nothing_after_it_is_back_where_our_clock_was_set_back_in_between(
    tmp_path: Path,
) -> None:
    """Lost at 16:02 by a clock that is seven minutes fast, and back four minutes later, at 15:59."""
    async with living(tmp_path, from_utc_s=START_UTC_S - 700) as site:
        await site.hears(accepted("dr-7"))
        site.now_utc_s = START_UTC_S + 120
        site.journal.alarm(LOST, raised=True)
        site.now_utc_s = START_UTC_S - 60
        site.journal.alarm(LOST, raised=False)
        site.draws([50.0] * 400)

    assert set(excuses(evidence_of(site))) == {""}


async def test_where_our_clock_was_set_back_the_ticks_by_the_right_clock_count(tmp_path: Path) -> None:
    """A quarter of an hour with 90 kW is stamped into the event, which came after it with 50."""
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([90.0] * 400)
        site.now_utc_s = START_UTC_S - 60.5
        site.draws([50.0] * 400)

    found = evidence_of(site)

    assert {item.mean_w for item in found.intervals} == {50_000}


async def test_where_our_clock_was_set_back_the_minutes_by_the_right_clock_count(tmp_path: Path) -> None:
    """The same for a row, of which minutes are kept. A restart cuts one of them in two."""
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7", kw=30, node="row-a"))
        site.draws([900.0] * 400, below_kw=40.0)
        site.now_utc_s = START_UTC_S - 60
        site.draws([900.0] * 150, below_kw=20.0)
    async with living(tmp_path, from_utc_s=START_UTC_S + 92) as site:
        site.draws([900.0] * 300, below_kw=20.0)

    found = evidence_of(site)

    assert {item.mean_w for item in found.intervals} == {20_000}
    assert found.summary.unmeasured_s < 10


async def test_no_set_point_of_a_stream_counts_again_after_a_newer_one(tmp_path: Path) -> None:
    """Our clock was two minutes fast, and the operator's never."""
    async with living(tmp_path, from_utc_s=START_UTC_S + 10) as site:
        for n in range(12):
            point = base_point(60, site.now_utc_s)
            old = replace(point.event, version_utc_s=START_UTC_S - 110 + 10 * n)
            await site.streams(replace(point, event=old), operator="iso")
            site.draws([60.0] * 10)
        site.now_utc_s = START_UTC_S + 5
        for _ in range(12):
            await site.streams(base_point(80, site.now_utc_s), operator="iso")
            site.draws([80.0] * 10)

    found = stream_of(site, "iso:base-point", 120)

    assert {one.target for one in found.asked} == {Power.kw(80)}
    assert found.summary.worst_w == 0.0


def following(drawn_kw: float, *, status: EventStatus = EventStatus.STARTED) -> Progress:
    short = status is EventStatus.INFEASIBLE
    return Progress(
        event="dr-7",
        version_utc_s=1.0,
        status=status,
        possible=Power.kw(77) if short else None,
        drawn_before=Power.kw(drawn_kw),
    )


async def test_a_relative_set_point_is_settled_against_the_number_that_the_site_froze(tmp_path: Path) -> None:
    """The meter showed 100 kW in the minute that a baseline would read, and 90 in the minute that counts."""
    async with living(tmp_path, from_utc_s=START_UTC_S - 120) as site:
        await site.hears(relative("dr-7", change_kw=-20))
        site.draws([100.0] * 60 + [90.0] * 60)
        await site.follows(following(90))
        site.draws([70.0] * 150 + [80.0] * 150)

    found = evidence_of(site)

    assert {(item.ground, item.target) for item in found.intervals} == {(Power.kw(90), Power.kw(70))}
    verdicts = [item.compliance for item in found.intervals]
    assert verdicts[1:3] == [Compliance.COMPLIANT] * 2
    assert verdicts[-2:] == [Compliance.NOT_COMPLIANT] * 2
    assert found.dynamics.response_s == 0.0
    said = {figure.name: figure.value for figure in figures_of(found)}
    assert said["relative to"] == "90.0 kW, drawn in the minute before the event, as it was frozen then"
    assert said["relative to"] in as_html(found)


async def test_a_set_point_that_another_one_outranks_is_not_counted_while_it_does(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(set_point("dr-7", 80, START_UTC_S, version_utc_s=1.0))
        site.draws([80.0] * 120)
        first = set_point("dr-8", 60, START_UTC_S + 60, version_utc_s=2.0)
        await site.hears(replace(first, event=replace(first.event, priority=1)), operator="iso")
        site.draws([60.0] * 120)
        await site.hears(Cancelled(id="dr-8", version_utc_s=3.0, stamp=stamp(3.0)), operator="iso")
        site.draws([80.0] * 480)

    found, outranking = evidence_of(site), evidence_of(site, "iso:dr-8")

    assert excuses(found)[:6] == ["", "", "outranked", "outranked", "", ""]
    assert found.intervals[2].compliance is Compliance.NOT_COMPLIANT
    assert found.summary.share_compliant == 1.0
    assert set(excuses(outranking)) == {""}
    assert outranking.summary.share_compliant == 1.0


async def test_a_set_point_above_the_limit_of_a_grid_operator_is_not_counted_and_own_limits_excuse_nothing(
    tmp_path: Path,
) -> None:
    async with living(tmp_path) as site:
        await site.hears(set_point("dr-7", 80, START_UTC_S, version_utc_s=1.0))
        await site.hears(accepted("dr-8", kw=60), operator="iso")
        await site.hears(accepted("high", kw=90), operator="iso")
        await site.hears(accepted("by-hand", start_utc_s=START_UTC_S + EVENT_S, kw=60), operator="own")
        site.draws([80.0] * 60 + [60.0] * 600)

    found = evidence_of(site)

    words = [(item.span.start_utc_s - START_UTC_S, item.excuse) for item in found.intervals]
    assert {word for at_s, word in words if at_s < EVENT_S} == {"limited"}
    assert {word for at_s, word in words if at_s >= EVENT_S} == {""}


async def test_a_stream_that_began_before_a_set_point_of_its_priority_outranks_it_by_what_came_after(
    tmp_path: Path,
) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S) as site:
        for turn in range(18):
            await site.streams(base_point(80, site.now_utc_s), operator="iso")
            site.draws([80.0] * 5)
            if turn == 6:
                event = set_point("dr-7", 60, site.now_utc_s, version_utc_s=site.now_utc_s).event
                newer = replace(event, priority=5, ramp_deadline_s=0)
                await site.hears(Accepted(event=newer, stamp=stamp(site.now_utc_s)))
            site.draws([80.0] * 5)

    found = evidence_of(site)

    assert excuses(found)[:2] == ["outranked", "outranked"]


async def test_a_base_point_is_outranked_by_a_newer_event_of_its_priority_until_the_next_one(
    tmp_path: Path,
) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S) as site:
        await site.streams(base_point(80, site.now_utc_s, valid_s=600), operator="iso")
        site.draws([80.0] * 60)
        event = set_point("dr-7", 60, site.now_utc_s, version_utc_s=site.now_utc_s).event
        await site.hears(Accepted(event=replace(event, priority=5), stamp=stamp(site.now_utc_s)))
        site.draws([60.0] * 60)
        await site.streams(base_point(80, site.now_utc_s, valid_s=600), operator="iso")
        site.draws([80.0] * 60)

    found = stream_of(site, "iso:base-point", 180)

    assert [(item.excuse, item.compliance) for item in found.intervals] == [
        ("", Compliance.COMPLIANT),
        ("outranked", Compliance.NOT_COMPLIANT),
        ("", Compliance.COMPLIANT),
    ]


async def test_base_points_that_an_event_outranks_are_not_counted(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        first = set_point("dr-7", 60, START_UTC_S + 60, version_utc_s=1.0)
        await site.hears(replace(first, event=replace(first.event, priority=1)))
        site.draws([100.0] * 60)
        for _ in range(12):
            await site.streams(base_point(80, site.now_utc_s), operator="iso")
            site.draws([60.0 if site.now_utc_s >= START_UTC_S + 60 else 80.0] * 10)

    found = stream_of(site, "iso:base-point", 120)

    assert [(item.excuse, item.compliance) for item in found.intervals] == [
        ("", Compliance.COMPLIANT),
        ("outranked", Compliance.NOT_COMPLIANT),
    ]


async def test_a_span_that_begins_in_the_middle_of_a_set_point_gives_no_new_time_to_reach_it(
    tmp_path: Path,
) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S - 90) as site:
        await site.streams(base_point(80, START_UTC_S - 90, valid_s=600), operator="iso")
        site.draws([100.0] * 210)

    found = stream_of(site, "iso:base-point", 120, deadline_s=120.0)

    assert [(item.compliance, item.due_s) for item in found.intervals] == [
        (Compliance.NOT_COMPLIANT, 30.0),
        (Compliance.NOT_COMPLIANT, 60.0),
    ]
    assert found.notes == ()


@pytest.mark.parametrize("is_event", [False, True])
async def test_a_span_that_ends_before_a_set_point_is_due_does_not_judge_it(
    tmp_path: Path, is_event: bool
) -> None:
    """A base point of 120 s and an event of 40 s, each asked for ten seconds before the end of the span."""
    async with living(tmp_path) as site:
        if is_event:
            await site.hears(set_point("bp", 80, START_UTC_S + 50, version_utc_s=1.0), operator="iso")
        site.draws([100.0] * 110)
        if not is_event:
            await site.streams(base_point(80, site.now_utc_s, valid_s=600), operator="iso")
        site.draws([100.0] * 60)

    stream = "iso:bp" if is_event else "iso:base-point"
    found = stream_of(site, stream, 60, deadline_s=120.0)
    running = stream_of(site, stream, 60, deadline_s=120.0, now_utc_s=START_UTC_S + 60)

    assert [item.compliance for item in found.intervals] == [Compliance.RAMPING]
    assert running.intervals == found.intervals


async def test_each_version_in_a_stream_of_an_event_has_its_own_deadline_and_its_own_rank(
    tmp_path: Path,
) -> None:
    """For two minutes 80 kW within 90 s, then 60 kW at once; the other is older than both, and newer than one
    that came before them."""
    first = set_point("bp", 80, START_UTC_S, version_utc_s=3.0)
    slow = replace(first, event=replace(first.event, ramp_deadline_s=90))
    second = set_point("bp", 60, START_UTC_S, version_utc_s=5.0)
    quick = replace(second, event=replace(second.event, ramp_deadline_s=0))
    async with living(tmp_path, from_utc_s=START_UTC_S) as site:
        await site.hears(set_point("other", 70, START_UTC_S, version_utc_s=4.0), operator="iso")
        await site.hears(slow, operator="dsx")
        site.draws([100.0] * 120)
        await site.hears(quick, operator="dsx")
        site.draws([60.0] * 120)

    found = stream_of(site, "dsx:bp", 240)

    assert [item.due_s for item in found.intervals] == [0.0, 30.0, 60.0, 60.0]
    assert [item.excuse for item in found.intervals] == ["outranked", "outranked", "", ""]


async def test_a_set_point_of_an_id_that_is_used_again_stands_on_what_was_frozen_for_that_use(
    tmp_path: Path,
) -> None:
    """For the second use nothing was kept: the number of the first says nothing about it."""
    async with living(tmp_path) as site:
        await site.hears(relative("dr-7", change_kw=-20))
        site.draws([90.0] * 60)
        await site.follows(following(90))
        site.draws([70.0] * 1200)
        second = relative("dr-7", change_kw=-20, version_utc_s=2.0)
        later = replace(second.event.intervals[0], start_utc_s=site.now_utc_s, end_utc_s=site.now_utc_s + 300)
        await site.hears(replace(second, event=replace(second.event, intervals=(later,))))
        site.draws([70.0] * 300)

    asked = stream_of(site, "dr-7", 1500).asked

    assert [(one.span.start_utc_s, one.target) for one in asked] == [(START_UTC_S, Power.kw(70))]


async def test_a_silence_that_began_before_the_span_counts_from_its_own_beginning(tmp_path: Path) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S - 60) as site:
        await site.streams(base_point(80, START_UTC_S - 60), operator="iso")
        site.draws([100.0] * 120)
        await site.streams(base_point(80, site.now_utc_s), operator="iso")
        site.draws([100.0] * 60)

    found = stream_of(site, "iso:base-point", 120, deadline_s=60.0, silent=Limit(Power.kw(70)))

    assert found.silence is not None
    assert (found.silence.due_s, found.silence.over_s) == (50.0, 50.0)  # from 10 s after the span begins


async def test_two_whole_days_of_quick_set_points_are_read_at_every_tick(tmp_path: Path) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S) as site:
        for n in range(31):
            await site.streams(base_point(80 + n % 2, site.now_utc_s), operator="iso")
            site.draws([80.0 + n % 2] * 2)

    found = stream_of(site, "iso:base-point", 2 * 86_400, now_utc_s=START_UTC_S + 2 * 86_400)

    assert found.summary.worst_w == 0.0


async def test_a_relative_set_point_on_top_of_base_points_is_settled_against_them(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(relative("dr-7", change_kw=-20, priority=1))
        site.draws([90.0] * 60)
        await site.follows(following(90))
        await site.streams(base_point(50, START_UTC_S, valid_s=120), operator="iso")
        site.draws([30.0] * 60)
        await site.streams(base_point(60, START_UTC_S + 60, valid_s=30), operator="iso")
        site.draws([40.0] * 30 + [70.0] * 210)

    found = evidence_of(site)

    grounds = [(item.span.start_utc_s - START_UTC_S, item.ground) for item in found.intervals]
    assert grounds[0] == (0.0, Power.kw(50))
    assert grounds[2:5] == [(60.0, Power.kw(60)), (90.0, Power.kw(90)), (120.0, Power.kw(90))]
    assert {item.compliance for item in found.intervals[1:]} == {Compliance.COMPLIANT}


async def test_an_event_whose_ground_was_not_kept_is_not_judged_and_says_so(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(relative("dr-7", change_kw=-20))
        site.draws([90.0] * 60 + [70.0] * 300)

    found = evidence_of(site)

    assert {item.compliance for item in found.intervals} == {Compliance.NOT_JUDGED}
    assert any("is not judged" in note for note in found.notes)


async def test_what_the_operator_was_told_is_possible_is_in_the_history_of_the_event(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(relative("dr-7", change_kw=-20))
        site.draws([90.0] * 60)
        await site.follows(following(90, status=EventStatus.INFEASIBLE))
        site.draws([80.0] * 300)

    told = [(row["status"], row["possible_kw"], row["drawn_before_kw"]) for row in history_of(site)]
    said = {figure.name: figure.value for figure in figures_of(evidence_of(site))}
    assert said["told infeasible"] == "once, first at 16:00:00; 77.0 kW was told to be possible"

    assert told == [
        ("RECEIVED", None, None),
        ("DRAWN_BEFORE", None, 90.0),
        ("STARTED", None, None),
        ("INFEASIBLE", 77.0, None),
    ]


async def test_what_was_foretold_before_the_start_is_told_apart_from_what_was_told_during_the_event(
    tmp_path: Path,
) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S - 60 - 86_400) as site:
        await site.hears(accepted("dr-7"))
        await site.foresees("dr-7", 80)
        site.now_utc_s += 7_200
        await site.foresees("dr-7", 90)
        site.now_utc_s += 86_400 - 7_200
        site.draws([90.0] * 60)
        short = Progress(
            event="dr-7", version_utc_s=1.0, status=EventStatus.INFEASIBLE, possible=Power.kw(85)
        )
        await site.follows(short)
        site.draws([85.0] * 300)

    found = evidence_of(site)

    said = {figure.name: figure.value for figure in figures_of(found)}
    assert said["foretold infeasible"] == (
        "2 times, first at 2026-11-17 15:59:00 -0600; 80.0 kW to 90.0 kW was told to be possible"
    )
    assert said["told infeasible"] == "once, first at 16:00:00; 85.0 kW was told to be possible"
    assert found.course.received_utc_s == pytest.approx(START_UTC_S - 60 - 86_400)
    assert found.course.span.start_utc_s == START_UTC_S


async def test_what_was_foretold_and_taken_back_before_the_start_says_so(tmp_path: Path) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S - 60 - 3_600) as site:
        await site.hears(accepted("dr-7"))
        await site.foresees("dr-7", 80)
        site.now_utc_s += 600
        await site.foresees("dr-7", 10)
        site.now_utc_s += 3_000
        site.draws([90.0] * 60)
        await site.follows(Progress(event="dr-7", version_utc_s=1.0, status=EventStatus.COMPLIANT))
        site.draws([50.0] * 300)

    found = evidence_of(site)

    said = {figure.name: figure.value for figure in figures_of(found)}
    assert said["foretold infeasible"].endswith(
        "; 80.0 kW was told to be possible, taken back at 2026-11-18 15:09:00 -0600"
    )
    assert "told infeasible" not in said
    assert {item.compliance for item in found.intervals[1:]} == {Compliance.COMPLIANT}


def history_of(site: Site) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = record_of(evidence_of(site))["history"]
    return rows


async def test_a_cancellation_ends_what_is_judged_and_the_history_tells_it(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([50.0] * 180)
        await site.hears(Cancelled(id="dr-7", version_utc_s=2.0, stamp=stamp(2.0)))
        site.draws([90.0] * 300)

    found = evidence_of(site)

    assert (found.course.ending, found.course.span.length_s) == (Ending.CANCELLED, 120.0)
    assert [row.status for row in found.course.history] == ["RECEIVED", "SUPERSEDED", "CANCELLED"]


async def test_an_update_that_ends_an_event_a_moment_ago_ends_what_is_judged(tmp_path: Path) -> None:
    shorter = accepted("dr-7", version_utc_s=2.0)
    ended = replace(shorter.event.intervals[0], end_utc_s=START_UTC_S + 119)
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([50.0] * 180)
        await site.hears(replace(shorter, event=replace(shorter.event, intervals=(ended,))))
        site.draws([90.0] * 300)

    found = evidence_of(site)

    assert [row.status for row in found.course.history] == ["RECEIVED", "SUPERSEDED", "EXPIRED"]
    assert found.course.span.length_s == 120.0
    assert found.summary.counts[Compliance.NOT_COMPLIANT] == 0


async def test_days_with_events_of_operators_are_no_like_days_and_the_sites_own_rules_disturb_none(
    tmp_path: Path,
) -> None:
    first = DAY - timedelta(days=25)
    async with living(tmp_path, from_utc_s=utc_s(first, 15)) as site:
        for n in range(25):
            day = first + timedelta(days=n)
            site.now_utc_s = utc_s(day, 15, 55)
            busy = day == DAY - timedelta(days=1)
            own = day == DAY - timedelta(days=2)
            if busy or own:
                other = accepted(f"e-{n}", start_utc_s=utc_s(day, 15, 58))
                await site.hears(other, operator="iso" if busy else "own")
            site.draws([{DAY - timedelta(days=1): 500.0}.get(day, 100.0)] * 260, step_s=5.0)
        site.now_utc_s = START_UTC_S - 60
        await site.hears(accepted("dr-7"))
        site.draws([50.0] * 400)

    found = evidence_of(site, method="10-of-10").baseline

    assert isinstance(found, Baseline)
    assert found.steps[0].power.in_kw == 100.0
    assert DAY - timedelta(days=1) not in found.days
    assert DAY - timedelta(days=2) in found.days


def open_ended(event_id: str, start_utc_s: float) -> Accepted:
    content = accepted(event_id, start_utc_s=start_utc_s)
    interval = replace(content.event.intervals[0], end_utc_s=math.inf)
    return replace(content, event=replace(content.event, intervals=(interval,)))


async def test_days_with_events_that_somebody_else_may_have_followed_are_no_like_days(tmp_path: Path) -> None:
    first, days = DAY - timedelta(days=25), {n: DAY - timedelta(days=n) for n in range(26)}
    withdrawn = Cancelled(id="e-2", version_utc_s=2.0, stamp="2")
    asked: dict[date, tuple[MessageResult, ...]] = {
        days[1]: (accepted("e-1", start_utc_s=utc_s(days[1], 15, 58)),),
        days[2]: (accepted("e-2", start_utc_s=utc_s(days[2], 15, 58)), withdrawn),
        days[9]: (open_ended("e-9", utc_s(days[9], 15, 58)),),
    }
    async with living(tmp_path, from_utc_s=utc_s(first, 15)) as site:
        for n in range(25):
            day = first + timedelta(days=n)
            site.now_utc_s = utc_s(day, 15, 55)
            await site.observes(*asked.get(day, ()), operator="iso")
            site.draws([500.0 if day in (days[1], days[9]) else 100.0] * 260, step_s=5.0)
            if day == days[9]:
                await site.restarts()
        site.now_utc_s = START_UTC_S - 60
        await site.hears(accepted("dr-7"))
        site.draws([50.0] * 400)

    found = evidence_of(site, method="10-of-10").baseline

    assert isinstance(found, Baseline)
    assert found.steps[0].power.in_kw == 100.0
    assert {days[1], days[9]}.isdisjoint(found.days)
    assert days[2] in found.days, "it was withdrawn before it began"
    assert days[8] in found.days, "of one without an end nobody knew after the next start"


@pytest.mark.parametrize("version_utc_s", [1.0, 1.1234567])
async def test_an_event_that_the_site_took_back_ends_there_however_finely_its_version_is_stamped(
    tmp_path: Path, version_utc_s: float
) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7", version_utc_s=version_utc_s))
        site.now_utc_s = START_UTC_S + 90
        await site.takes_back()

    course = evidence_of(site).course

    assert (course.ending, course.span.end_utc_s) == (Ending.REJECTED, START_UTC_S + 90)


async def test_what_was_only_observed_is_no_event_of_the_site(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.observes(accepted("dr-7"))
        site.draws([100.0] * 400)

    with opened(site.path) as history:
        assert (known_events(history), history.event("dr-7")) == ([], ())
        assert [row.id for row in history.observed(0, math.inf)] == ["dr-7"]


async def test_an_event_that_goes_on_has_the_baseline_of_its_scheduled_hours(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([100.0] * 90)

    with opened(site.path) as history:
        rows = history.event("dr-7")
        assert rows[0].version is not None
        found = evidence_of(site, method="10-of-10").baseline

    assert rows[0].version.end_utc_s == START_UTC_S + EVENT_S
    assert isinstance(found, NoBaseline)
    assert found.lack is Lack.LIKE_DAYS


async def test_an_event_that_was_never_measured_says_so(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))

    found = evidence_of(site)

    assert {item.compliance for item in found.intervals} == {Compliance.RAMPING, Compliance.UNKNOWN}
    assert found.summary.quality is Quality.MISSING
    assert any("not read in the event" in note for note in found.notes)


async def test_an_event_whose_first_ticks_are_dropped_is_judged_by_its_minutes_there(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([50.0] * 400)
    with sqlite3.connect(site.path) as db:  # retention drops a UTC day of samples, whatever event is in it
        db.execute("DELETE FROM samples WHERE utc_us < ?", (microseconds(START_UTC_S + 155),))
    db.close()

    found = evidence_of(site)

    assert {item.mean_w for item in found.intervals} == {50_000}
    assert found.summary.counts[Compliance.UNKNOWN] == 0
    assert found.dynamics.grain_s == 1.0


def drops(site: Site, table: str, which: str = "id > 0") -> None:
    """Retention, a day after the event."""
    with closing(sqlite3.connect(site.path)) as db, db:
        db.execute(f"DELETE FROM {table} WHERE {which}")  # noqa: S608 our own words
        row = (microseconds(START_UTC_S + 86_400), Bookkeeping.PRUNED, table, 1, "kept for 1 days")
        db.execute(
            "INSERT INTO bookkeeping (utc_us, what, subject, last_id, detail) VALUES (?, ?, ?, ?, ?)", row
        )


async def test_a_report_says_what_retention_has_dropped_of_its_time(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.journal.alarm(LOST, raised=True)
        site.draws([90.0] * 400)
    whole = evidence_of(site)
    drops(site, "alarms")

    found = evidence_of(site)

    assert (whole.summary.excused, found.summary.excused) == (6, 0)
    assert whole.notes == ()
    assert found.notes == ("retention may have dropped alarms of that time: what they would say is missing",)


async def test_a_report_says_that_retention_may_have_dropped_how_its_event_began(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        await site.follows(Progress(event="dr-7", version_utc_s=1.0, status=EventStatus.STARTED))
        site.draws([90.0] * 400)
    drops(site, "events", "status = 'RECEIVED'")

    found = evidence_of(site)

    assert found.notes == (
        "what was told of this event before is dropped, if there was anything",
        "the event never asked the site for a limit or a set-point that the journal still has",
    )


async def test_a_version_that_never_was_in_force_has_a_report_without_intervals(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"), accepted("dr-7", kw=50, version_utc_s=2.0))
        site.draws([50.0] * 400)

    found = evidence_of(site, version_utc_s=1.0)

    assert found.intervals == ()
    assert "never asked the site" in as_html(found)


async def test_the_first_command_is_one_that_lowers(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([100.0] * 20)
        for at, watts in ((20, 2000), (45, 2500), (50, 1900), (55, 1000)):
            site.now_utc_s = START_UTC_S - 60 + at
            site.commands(watts)
        site.draws([50.0] * 300)

    found = evidence_of(site).commands

    assert found.first_utc_s == START_UTC_S - 10
    assert (found.sent, found.acknowledged) == (3, 3)


async def test_a_site_that_another_event_holds_down_is_not_slow_to_come_back(tmp_path: Path) -> None:
    """The other one begins in the middle and goes on for four minutes longer."""
    async with living(tmp_path, from_utc_s=START_UTC_S - 180) as site:
        await site.hears(accepted("dr-7"))
        await site.hears(accepted("dr-8", start_utc_s=START_UTC_S + 240), operator="iso")
        site.draws([100.0] * 180 + [50.0] * 540 + [100.0] * 60)

    assert evidence_of(site).dynamics.restore_s is None
    assert evidence_of(site, "iso:dr-8", part=1).dynamics.before_w is None


COMMAND = SetPoint(
    device="s19-1", point=OperatingPoint(name="limited", power=Power(2000), rate=0.0), deadline_s=10.0
)


def tells(site: Site, *devices: str) -> None:
    """Commands, of which the answers are another matter."""
    site.journal.commanded((replace(COMMAND, device=device) for device in devices), lambda _: "limited")


def hears(site: Site, device: str, outcome: Outcome = ACKNOWLEDGED) -> None:
    site.journal.answered(replace(COMMAND, device=device), outcome)


async def test_answers_are_counted_with_the_commands_that_they_answer(tmp_path: Path) -> None:
    """One is told before the event and answers in it, one is told in it and answers after it, one's answer is
    written before its command is, and one never answers."""
    async with living(tmp_path, from_utc_s=START_UTC_S - 3) as site:
        tells(site, "before")
        site.draws([100.0] * 2)
        await site.hears(accepted("dr-7"))
        site.draws([100.0] * 3)
        hears(site, "before")
        hears(site, "quick")
        tells(site, "quick", "never", "unwilling")
        hears(site, "unwilling", Refused("no"))
        site.draws([50.0] * (EVENT_S - 3))
        tells(site, "late")
        site.draws([50.0] * 3)
        hears(site, "late")

    found = evidence_of(site).commands

    assert (found.sent, found.acknowledged, found.refused, found.unanswered) == (4, 2, 1, 1)


async def test_a_command_that_a_newer_one_replaced_is_unanswered(tmp_path: Path) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S) as site:
        await site.hears(accepted("dr-7"))
        lower = replace(COMMAND, point=replace(COMMAND.point, power=Power(1000)))
        site.journal.commanded([COMMAND], lambda _: "limited")
        site.journal.commanded([lower], lambda _: "limited")
        site.draws([50.0])
        site.journal.answered(lower, ACKNOWLEDGED)
        site.draws([50.0] * 10)

    found = evidence_of(site).commands

    assert (found.sent, found.acknowledged, found.unanswered) == (2, 1, 1)


SUSPEND = JobCommand(queue="local", job="j1", action=JobAction.SUSPEND, why="limited site event dr-7")


async def test_what_jobs_were_told_is_beside_what_machines_were_told_and_not_among_it(tmp_path: Path) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S) as site:
        await site.hears(accepted("dr-7"))
        tells(site, "gpu-1")
        site.tells_jobs(SUSPEND)
        site.journal.job_answered(SUSPEND, ACKNOWLEDGED)
        site.journal.job_confirmed(SUSPEND)
        hears(site, "gpu-1")
        site.draws([50.0] * 10)

    found = evidence_of(site)

    assert (found.commands.sent, found.commands.acknowledged) == (1, 1)
    said = {figure.name: figure.value for figure in figures_of(found)}
    assert said["commands"].startswith("1 sent: 1 acknowledged, 0 refused, 0 failed, 0 unanswered;")
    assert said["jobs"] == "told 1 suspend: 1 acknowledged, 1 confirmed"
    at = stamp(START_UTC_S)
    told = {"utc": at, "job": "local/j1", "action": "suspend"}
    assert record_of(found)["jobs"] == [
        told | {"what": "commanded", "why": "limited site event dr-7"},
        told | {"what": "acknowledged", "why": ""},
        told | {"what": "confirmed", "why": ""},
    ]


async def test_of_very_many_words_to_jobs_the_first_are_listed_and_the_rest_is_told(tmp_path: Path) -> None:
    async with living(tmp_path, from_utc_s=START_UTC_S) as site:
        await site.hears(accepted("dr-7"))
        site.tells_jobs(*[SUSPEND] * (MOST_JOBS + 1))
        site.draws([50.0] * 10)

    found = evidence_of(site)

    assert len(found.jobs) == MOST_JOBS
    assert "only the first 1000 words to jobs and of their queues are listed" in found.notes


async def test_a_controller_that_started_in_the_event_is_told(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([50.0] * 120)
    async with living(tmp_path, from_utc_s=START_UTC_S + 100) as site:
        site.draws([50.0] * 300)

    assert evidence_of(site).notes == ("a controller started in the event, at 16:01:40",)


async def test_a_machine_that_is_found_lying_again_after_a_restart_is_one_machine(tmp_path: Path) -> None:
    lying = Alarm(kind=AlarmKind.DEVICE_LYING, subject="s19-9", detail="")
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([50.0] * 120)
        site.journal.alarm(lying, raised=True)
    async with living(tmp_path, from_utc_s=START_UTC_S + 70) as site:
        site.journal.alarm(lying, raised=True)
        site.draws([50.0] * 300)

    assert evidence_of(site).commands.lying == 1


@asynccontextmanager
async def used_again(directory: Path) -> AsyncIterator[Site]:
    """An id for an event at 16:00 from 300 kW to 50, and again for one at 16:20 from 100 kW to 50."""
    async with living(directory, from_utc_s=START_UTC_S - 180) as site:
        await site.hears(accepted("dr-7"))
        site.draws([300.0] * 180 + [50.0] * 300 + [100.0] * 800)
        again = accepted("dr-7", start_utc_s=START_UTC_S + 1200, version_utc_s=2.0)
        await site.hears(again)
        site.draws([100.0] * 100 + [50.0] * 200)
        yield site


async def test_an_id_that_is_used_again_has_a_baseline_for_each_use(tmp_path: Path) -> None:
    async with used_again(tmp_path) as site:
        site.draws([50.0] * 100 + [100.0] * 100)

    first, last = evidence_of(site, part=1), evidence_of(site)

    assert (first.name, last.name) == ("dr-7, part 1 of 2", "dr-7, part 2 of 2")
    assert [found.course.span.length_s for found in (first, last)] == [300.0, 300.0]
    assert [found.summary.mean_reduction_w for found in (first, last)] == pytest.approx([250e3, 50e3])
    assert [found.dynamics.before_w for found in (first, last)] == [300_000.0, 100_000.0]
    assert [len(found.course.versions) for found in (first, last)] == [1, 1]
    assert last.notes == ("the id was used 2 times, and this is part 2: --part says which",)

    drops(site, "events", "id < 0")
    said = (
        "the id was used 2 times, as far as the journal reaches back, and this is part 2: --part says which"
    )
    assert said in evidence_of(site).notes


async def test_a_version_is_looked_for_in_the_use_that_it_was_of(tmp_path: Path) -> None:
    async with used_again(tmp_path) as site:
        pass

    assert evidence_of(site, version_utc_s=1.0).part == 1
    assert evidence_of(site, version_utc_s=2.0).part == 2
    with pytest.raises(CourseError, match="dr-7: no part 3 of it: there are 2"):
        evidence_of(site, part=3)


async def test_each_use_of_an_id_is_listed(tmp_path: Path) -> None:
    async with used_again(tmp_path) as site:
        pass

    with opened(site.path) as history:
        found = [(event.id, event.part, event.parts, event.versions) for event in known_events(history)]

    assert found == [("dr-7", 2, 2, 1), ("dr-7", 1, 2, 1)]


async def test_every_event_is_listed_once_with_its_newest_word_and_its_versions(tmp_path: Path) -> None:
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"), accepted("dr-7", kw=50, version_utc_s=2.0))
        site.now_utc_s += 1
        await site.hears(accepted("dr-7"), operator="dsx")

    with opened(site.path) as history:
        found = [(event.id, event.status, event.versions) for event in known_events(history)]

    assert found == [("dsx:dr-7", "RECEIVED", 1), ("dr-7", "RECEIVED", 2)]


async def test_no_flood_of_events_that_could_be_accepted_costs_an_earlier_one_its_evidence(
    tmp_path: Path,
) -> None:
    """Each of their versions was told as received; then nobody could say that the first event was kept."""
    async with living(tmp_path) as site:
        await site.hears(accepted("dr-7"))
        site.draws([120.0] * 60)
        before = Happening(utc_s=site.now_utc_s, event="old", version_utc_s=1.0, status="RECEIVED")
        await site.journal.record((), (), (before,) * (EVENTS_AT_ONCE - 10))

        await site.hears(*(accepted("flood", version_utc_s=float(at)) for at in range(1, 20)))
        await site.hears(*(Cancelled(id=f"c-{at}", version_utc_s=1.0, stamp=stamp(1.0)) for at in range(20)))
        await site.follows(Progress(event="dr-7", version_utc_s=1.0, status=EventStatus.STARTED))
        site.draws([50.0] * EVENT_S)
        await site.follows(Progress(event="dr-7", version_utc_s=1.0, status=EventStatus.COMPLETED))

    with opened(site.path) as history:
        words = [row.status for row in history.event("dr-7")]
        flood = [(row.status, row.why.partition(" ")[0]) for row in history.event("flood")]
        lost = [row for row in history.bookkeeping() if row.what == Bookkeeping.LOST]
    assert words == ["RECEIVED", "STARTED", "COMPLETED"]
    assert flood == [("REJECTED", "TOO_MANY_EVENTS")] * 19
    assert lost == []
    assert evidence_of(site).course.phases
