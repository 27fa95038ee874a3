"""`wattshift report` over a journal that the real journal and the real book of events wrote."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import resource
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.__main__ import app
from controller.grid.isotime import stamp
from controller.run.journal.history import opened
from tests.run.journaled import START_UTC_S, Site, accepted, base_point, lived, set_point

SITE = """
name = "container-7"
[[nodes]]
id = "site"
limit_kw = 200
meter = "main-meter"
[journal]
path = "{journal}"
[[modbus]]
id = "switchboard"
host = "127.0.0.1"
points = [{{ kind = "power", meter = "main-meter", unit = 1, address = 0, type = "float32", max_w = 2e6 }}]
[settlement]
time_zone = "America/Chicago"
[grid]
host = "127.0.0.1"
ven = "site-tx1"
client_id = "site-tx1-ctl"
baseline = "10-of-10"
[[operators]]
id = "dsx"
host = "127.0.0.2"
ven = "site-tx1"
client_id = "site-tx1-ctl"
"""


@pytest.fixture(scope="module")
def site_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("report")
    asyncio.run(lived(directory / "journal.db"))
    file = directory / "site.toml"
    file.write_text(SITE.format(journal=directory / "journal.db"), encoding="utf-8")
    return file


def told(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert result.exit_code == 1, result.output
    return " ".join(result.output.split())


def test_the_report_has_the_numbers_of_what_happened(site_file: Path) -> None:
    report = json.loads(told("dr-7", site_file, "--operator", "grid", "--format", "json"))

    assert (report["event"], report["operator"], report["site"]) == ("dr-7", "", "container-7")
    assert report["start_utc"] == stamp(START_UTC_S)
    assert report["baseline"]["missing"] is None
    assert len(report["baseline"]["days"]) == 10
    assert {item["baseline_kw"] for item in report["intervals"]} == {145.0}
    summary = report["summary"]
    assert summary["response_s"] == 3.0
    assert summary["first_command_s"] == -2.0
    assert summary["before_kw"] == 120.0
    assert summary["commands_sent"] == summary["commands_acknowledged"] == 1
    assert summary["devices_found_lying"] == 1
    assert [item["compliance"] for item in report["intervals"]] == [
        "ramping",
        "compliant",
        "compliant",
        "unknown",
        "compliant",
        "compliant",
    ]
    assert summary["compliant_percent"] == 80.0
    assert summary["restore_s"] == 7.0
    assert summary["unmeasured_s"] == pytest.approx(60, abs=2)


def test_the_baseline_can_be_another_and_reads_the_meter_of_the_minutes_before(site_file: Path) -> None:
    report = json.loads(
        told("dr-7", site_file, "--operator", "grid", "--baseline", "meter-before", "--format", "json")
    )

    assert {item["baseline_kw"] for item in report["intervals"]} == {120.0}


def test_the_table_can_be_read_by_people(site_file: Path) -> None:
    text = told("dr-7", site_file, "--operator", "grid")

    assert "container-7  event dr-7" in text
    assert "80.0% (4 of 5 judged" in text
    assert "16:00:10" in text


def test_the_csv_is_read_by_a_spreadsheet_s_reader(site_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "dr-7.csv"

    assert told("dr-7", site_file, "--operator", "grid", "--format", "csv", "--out", file) == ""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, strict=True))

    assert [row["compliance"] for row in rows].count("compliant") == 4
    assert rows[0]["start_local"] == "2026-11-18T16:00:00-06:00"


def test_intervals_are_as_long_as_asked_for(site_file: Path) -> None:
    text = told("dr-7", site_file, "--operator", "grid", "--interval", "5m", "--format", "csv")

    assert len(list(csv.DictReader(io.StringIO(text)))) == 2  # ramping, and the rest


def test_the_openadr_report_names_the_site_as_its_operator_does(site_file: Path) -> None:
    content = json.loads(told("dsx:dr-7", site_file, "--format", "openadr"))

    assert (content["objectType"], content["eventID"], content["clientID"]) == (
        "REPORT",
        "dr-7",
        "site-tx1-ctl",
    )
    assert len(content["resources"][0]["intervals"]) == 6


def test_the_page_is_written_whole(site_file: Path, tmp_path: Path) -> None:
    page = tmp_path / "dr-7.html"

    told("dr-7", site_file, "--operator", "grid", "--format", "html", "--out", page)

    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.rstrip().endswith("</html>")
    assert [path.name for path in tmp_path.iterdir()] == ["dr-7.html"]


def test_the_journal_alone_is_enough(site_file: Path) -> None:
    journal = site_file.parent / "journal.db"

    report = json.loads(told("dr-7", "--operator", "grid", "--journal", journal, "--format", "json"))

    assert report["time_zone"] == "UTC"
    assert report["baseline"]["method"] == "meter-before"
    assert report["summary"]["compliant_percent"] == 80.0


def test_the_seals_are_checked_on_request_and_a_changed_row_shows(site_file: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    with sqlite3.connect(site_file.parent / "journal.db") as source, sqlite3.connect(journal) as copy:
        source.backup(copy)
    source.close()
    arguments = ("dr-7", "--operator", "grid", "--journal", journal, "--format", "json", "--verify")

    before = json.loads(told(*arguments))["audit"]
    copy.execute("UPDATE samples SET metered_w = 50000 WHERE metered_w = 120000")
    copy.commit()
    copy.close()
    after = json.loads(told(*arguments))["audit"]

    assert before["verdict"] == "verified"
    assert before["head_hash"]
    assert after["verdict"] == "broken"


def test_rows_that_were_cut_off_are_told_beside_the_verdict(site_file: Path, tmp_path: Path) -> None:
    """Whoever calls a journal an excerpt may leave out its first rows of a table, and it verifies."""
    journal = tmp_path / "journal.db"
    with sqlite3.connect(site_file.parent / "journal.db") as source, sqlite3.connect(journal) as copy:
        source.backup(copy)
        [(rows,)] = copy.execute("SELECT count(*) FROM samples").fetchall()
        copy.execute("CREATE TABLE excerpt (name TEXT PRIMARY KEY, last_id INTEGER NOT NULL)")
        copy.execute("INSERT INTO excerpt SELECT 'last seal', max(seq) FROM seals")
        copy.execute("INSERT INTO excerpt SELECT 'samples', max(id) FROM samples")
        copy.execute("DELETE FROM samples")
    source.close()
    copy.close()

    audit = json.loads(
        told("dr-7", "--operator", "grid", "--journal", journal, "--format", "json", "--verify")
    )["audit"]

    assert audit["verdict"] == "verified"
    assert audit["detail"].endswith(f"seals of an excerpt, {rows} rows of samples left out")


def test_without_an_event_the_known_ones_are_listed(site_file: Path) -> None:
    text = told("--config", site_file)

    assert "dsx:dr-7" in text
    assert "CANCELLED" in text


def test_an_id_that_two_operators_used_is_asked_back_and_one_that_one_used_is_not(site_file: Path) -> None:
    assert "dr-9: of several operators; say one of dsx:dr-9, iso:dr-9" in refused("dr-9", site_file)
    assert json.loads(told("dr-8", site_file, "--format", "json"))["event"] == "dsx:dr-8"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dr-6"], "dr-6: nothing is known of it"),
        (["dr-7", "--operator", "grid", "--version", "2026-01-01"], "no version"),
        (["dr-7", "--operator", "grid", "--version", "yesterday"], "--version yesterday"),
        (["dr-7", "--operator", "grid", "--part", "2"], "dr-7: no part 2 of it: there are 1"),
        (
            ["dr-7", "--operator", "grid", "--baseline", "best-guess"],
            "--baseline best-guess: one of 10-of-10",
        ),
        (["dr-7", "--operator", "grid", "--interval", "7m"], "--interval 7m"),
        (["dr-7", "--operator", "grid", "--time-zone", "Mars/Olympus"], "--time-zone Mars/Olympus"),
        (["dr-7", "--operator", "grid", "--format", "xml"], "--format xml"),
        (
            ["dr-7", "--operator", "grid", "--out", "/nowhere/x.csv", "--format", "csv"],
            "--out /nowhere/x.csv",
        ),
    ],
)
def test_what_cannot_be_meant_is_said_by_name(site_file: Path, arguments: list[str], complaint: str) -> None:
    assert complaint in refused(*arguments, "--config", site_file)


def test_a_report_to_a_pipe_goes_into_it_and_nothing_takes_its_place(tmp_path: Path, site_file: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        told("dr-7", site_file, "--operator", "grid", "--format", "json", "--out", pipe)
        heard = os.read(reader, 65_536)
    finally:
        os.close(reader)

    assert heard.startswith(b"{")
    assert pipe.is_fifo()


def test_a_report_for_which_the_disk_has_no_room_leaves_nothing_behind(
    tmp_path: Path, site_file: Path
) -> None:
    (tmp_path / "out").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        said = refused(
            "dr-7", site_file, "--operator", "grid", "--format", "csv", "--out", tmp_path / "out" / "dr-7.csv"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert "dr-7.csv: " in said
    assert list((tmp_path / "out").iterdir()) == []


def test_a_journal_that_is_none_is_said_by_name(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    file.write_text("no database")

    assert str(file) in refused("dr-7", "--journal", file).replace(" ", "")


def test_reading_disturbs_no_writer(site_file: Path) -> None:
    with opened(site_file.parent / "journal.db") as history:
        assert [row.status for row in history.event("dsx:dr-7")][-1] == "CANCELLED"


async def versioned(path: Path) -> None:
    site = Site(path)
    await site.journal.open()
    site.now_utc_s = START_UTC_S - 60
    await site.hears(accepted("dr-7", version_utc_s=1_790_000_000.123456))
    site.draws([50.0] * 400)
    await site.journal.close()


def test_a_version_is_found_by_the_stamp_that_the_report_gives_it(tmp_path: Path) -> None:
    asyncio.run(versioned(tmp_path / "journal.db"))
    arguments = ("dr-7", "--journal", tmp_path / "journal.db", "--format", "json")

    [version] = json.loads(told(*arguments))["versions_utc"]

    assert len(json.loads(told(*arguments, "--version", version))["intervals"]) == 6


async def colons(path: Path) -> None:
    """One of the first operator, whose own id looks like another operator's."""
    site = Site(path)
    await site.journal.open()
    site.now_utc_s = START_UTC_S - 60
    await site.hears(accepted("dsx:a"))
    site.draws([50.0] * 400)
    await site.journal.close()


@pytest.mark.parametrize("arguments", [["dsx:a"], ["dsx:a", "--operator", "grid"], ["grid:dsx:a"]])
def test_an_id_that_looks_like_another_operators_is_found_by_it_and_by_the_name_at_the_site(
    tmp_path: Path, arguments: list[str]
) -> None:
    asyncio.run(colons(tmp_path / "journal.db"))
    file = tmp_path / "site.toml"
    file.write_text(SITE.format(journal=tmp_path / "journal.db"), encoding="utf-8")

    report = json.loads(told(*arguments, "--config", file, "--format", "json"))

    assert (report["event"], report["operator"]) == ("grid:dsx:a", "")
    assert report["baseline"]["method"] == "10-of-10"  # of the contract of [grid]


# -- streams of set-points -----------------------------------------------------------------------------------


STREAM = (
    SITE
    + """
[[operators]]
id = "iso"
host = "127.0.0.3"
ven = "site-tx1"
client_id = "site-tx1-ctl"
dialect = "base-point"
topic_in = "base-points"
target_deadline_s = 30
silent_kw = 90
"""
)


async def streamed(path: Path) -> None:
    """Twenty minutes: five with a base point every two seconds, five with none, ten with one of an event."""
    site = Site(path)
    await site.journal.open()
    site.now_utc_s = START_UTC_S
    for turn in range(150):
        await site.streams(base_point(100 + turn % 10, site.now_utc_s), operator="iso")
        site.draws([100.0 + turn % 10] * 2)
    site.draws([100.0] * 300)
    await site.hears(set_point("bp", 80, site.now_utc_s, version_utc_s=1.0), operator="dsx")
    site.draws([80.0] * 300)
    await site.hears(set_point("bp", 60, site.now_utc_s, version_utc_s=2.0), operator="dsx")
    site.draws([80.0] * 30 + [60.0] * 270)
    await site.journal.close()


@pytest.fixture(scope="module")
def stream_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("stream")
    asyncio.run(streamed(directory / "journal.db"))
    file = directory / "site.toml"
    file.write_text(STREAM.format(journal=directory / "journal.db"), encoding="utf-8")
    return file


FROM, TO = "2026-11-18T16:00", "2026-11-18T16:20"
SPAN = ("--from", FROM, "--to", TO)


def test_a_stream_of_base_points_is_settled_over_a_span_of_the_sites_own_time(stream_file: Path) -> None:
    report = json.loads(told("iso:base-point", stream_file, *SPAN, "--format", "json"))

    assert (report["start_utc"], report["end_utc"]) == (stamp(START_UTC_S), stamp(START_UTC_S + 1200))
    assert (report["summary"]["set_points"], report["summary"]["period_s"]) == (150, 2.0)
    assert [item["compliance"] for item in report["intervals"]] == [
        *(["compliant"] * 5),
        "not_compliant",  # 100 kW drawn where the last one asked for 109
        *(["not_judged"] * 14),
    ]
    assert report["summary"]["asked_s"] == 308.0  # the last one is good for ten seconds
    assert report["summary"]["error_kw"] == pytest.approx(-9 * 8 / 308, abs=0.01)
    assert report["regulation"]["why"].startswith("of 120 samples 89 have no set-point")
    assert report["terms"]["deadline_s"] == 30.0
    silence = {key: report["summary"][key] for key in report["summary"] if key.startswith("silent_")}
    assert silence == {
        "silent_s": 892.0,
        "silent_limit_kw": 90.0,
        "silent_due_s": 862.0,
        "silent_measured_s": 862.0,
        "silent_over_s": 262.0,  # 100 kW until the event began at 16:10
        "silent_over_kw": 10.0,
    }
    assert "every moment counts" in report["notes"][0]


def test_the_span_can_be_in_any_time_and_a_signal_swings_about_what_is_said(stream_file: Path) -> None:
    arguments = ("--from", "2026-11-18T22:00Z", "--to", "2026-11-18T22:05Z", "--base", "104.5")

    report = json.loads(told("base-point", stream_file, *arguments, "--format", "json"))

    assert report["regulation"]["base_kw"] == 104.5
    assert report["regulation"]["why"] == "10 minutes are needed"
    assert report["summary"]["compliant_percent"] == 100.0


def test_versions_of_an_event_that_set_the_draw_are_a_stream_as_well(stream_file: Path) -> None:
    report = json.loads(told("dsx:bp", stream_file, *SPAN, "--format", "json"))

    verdicts = [item["compliance"] for item in report["intervals"]]
    assert verdicts == ["not_judged"] * 10 + ["compliant"] * 10
    assert report["intervals"][15]["due_s"] == 20.0  # 40 s to reach it
    assert report["summary"]["worst_error_kw"] == 0.0
    assert report["regulation"]["missing"].endswith("they come every 300 s")


@pytest.mark.parametrize("form", ["table", "csv", "html"])
def test_a_stream_has_the_other_forms(stream_file: Path, tmp_path: Path, form: str) -> None:
    file = tmp_path / "out"

    told("iso:base-point", stream_file, *SPAN, "--format", form, "--out", file)

    text = file.read_text(encoding="utf-8")
    assert text.count("compliant") >= 5
    assert "not judged" in text or "not_judged" in text


def test_the_listing_names_streams(stream_file: Path) -> None:
    words = told("--config", stream_file).split()

    assert "iso:base-point" in words
    assert "set-points" in words


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["iso:base-point"], "iso:base-point is a stream of set-points: --from is needed"),
        (["iso:base-point", "--from", "noon"], "--from noon: a time such as"),
        (["iso:base-point", "--from", TO, "--to", FROM], f"--from {TO}: it must lie before --to"),
        (["iso:base-point", "--from", "2026-11-17T16:00", "--to", "2026-11-17T17:00"], "no set-point in"),
        (["iso:base-point", *SPAN, "--format", "openadr"], "--format openadr: a span of time is no event"),
        (["iso:base-point", *SPAN, "--base", "-1"], "--base -1: kilowatts are needed"),
        (["dsx:bp", *SPAN, "--part", "1"], "--part 1: with --from the span says what is settled"),
        (["dsx:bp", *SPAN, "--version", "2026-11-18"], "--version 2026-11-18: with --from the span"),
        (["iso:base-point", "--from", "2026-11-01T16:00", "--to", TO], "are settled over 2 days at most"),
        (["nobody:base-point", *SPAN], "nobody:base-point: no set-point in that time"),
    ],
)
def test_what_cannot_be_meant_of_a_stream_is_said_by_name(
    stream_file: Path, arguments: list[str], complaint: str
) -> None:
    assert complaint in refused(*arguments, "--config", stream_file)
