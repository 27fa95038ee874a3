"""`wattshift audit`: what it prints, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from controller.__main__ import app
from controller.run.journal.audit import audit
from controller.run.journal.history import opened
from controller.run.journal.seals import Anchor
from tests.run import verifier
from tests.run.evidence import made
from tests.run.fleet import UTC_S


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes of a site from 2027-01-15T08:00Z on."""
    path = tmp_path_factory.mktemp("site") / "journal.db"
    made(path, 300)
    return path


def command(*arguments: str | Path | Anchor) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)], env={"COLUMNS": "200"})


def broken(journal: Path) -> Path:
    path = journal.with_name("broken.db")
    path.write_bytes(journal.read_bytes())
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE usage SET energy_ws = 1 WHERE id = 3")
    return path


def last_seal(journal: Path) -> Anchor:
    last = audit(journal).last
    assert last is not None
    return last


def test_a_whole_journal_is_told_as_such_with_what_it_covers(journal: Path) -> None:
    done = command("--journal", journal)

    assert done.exit_code == 0
    assert "covers    2027-01-15T08:00:00.000Z to 2027-01-15T08:05:00.000Z" in done.output
    assert "samples 300" in done.output
    assert done.output.splitlines()[-1] == f"VERIFIED  up to seal {last_seal(journal)}"


def test_the_first_fault_is_told_with_its_table_and_minute(journal: Path) -> None:
    done = command("--journal", broken(journal))

    assert done.exit_code == 1
    minute = "2027-01-15T08:02:00.000Z to 2027-01-15T08:02:59.000Z"
    assert (
        done.output.splitlines()[-1] == f"BROKEN    first: usage, {minute}: rows 3 to 3 are not as they were"
    )


def test_anchors_are_confirmed_or_break_it(journal: Path) -> None:
    last = last_seal(journal)

    known = command("--journal", journal, "--anchor", last, "--anchor", Anchor(2, "0" * 64))
    cut_off = command("--journal", journal, "--anchor", Anchor(last.seq + 1, "0" * 64))

    assert known.exit_code == 1
    assert f"anchor    {last.seq} is confirmed" in known.output
    assert "seal 2 is another than the anchor" in known.output
    assert cut_off.exit_code == 1
    assert f"the chain ends at seal {last.seq}, before the anchor of seal {last.seq + 1}" in cut_off.output


def test_the_finding_is_told_as_json_too(journal: Path) -> None:
    whole, spoilt = command("--journal", journal, "--json"), command("--journal", broken(journal), "--json")

    assert json.loads(whole.output)["verified"] is True
    assert json.loads(whole.output)["last_seal"] == str(last_seal(journal))
    finding = json.loads(spoilt.output)
    assert (finding["verified"], finding["fault_count"]) == (False, 1)
    assert finding["faults"] == [
        {
            "what": "rows 3 to 3 are not as they were",
            "table": "usage",
            "seal": 3,
            "first_utc_s": UTC_S + 120,
            "last_utc_s": UTC_S + 179,
        }
    ]


def test_what_cannot_be_read_is_neither_whole_nor_broken(tmp_path: Path, journal: Path) -> None:
    nonsense = tmp_path / "nonsense.db"
    nonsense.write_text("nonsense " * 1000)

    assert command("--journal", nonsense).exit_code == 2
    assert command("--journal", tmp_path / "none.db").exit_code == 2
    assert command(tmp_path / "none.toml").exit_code == 2
    assert command("--journal", journal, "--anchor", "7").exit_code == 2


def test_the_site_file_says_where_the_journal_is(tmp_path: Path, journal: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(f"""
name = "plant"
journal = {{ path = "{journal}" }}
nodes = [{{ id = "site", limit_kw = 100 }}]
""")

    done = command(site)

    assert (done.exit_code, f"journal   {journal}" in done.output) == (0, True), done.output


def test_a_stretch_of_time_is_cut_out_as_a_file_that_stands_alone(tmp_path: Path, journal: Path) -> None:
    file = tmp_path / "2027-01-15.db"

    done = command("--journal", journal, "--export", "2027-01-15T08:01", "2027-01-15T08:03", file)

    assert done.exit_code == 0, done.output
    found = audit(file, [last_seal(journal)])
    assert (found.is_verified, found.is_excerpt) == (True, True)
    assert (found.rows["samples"], found.first_utc_s, found.last_utc_s) == (120, UTC_S + 60, UTC_S + 179)
    assert found.beyond == [last_seal(journal)], "it is later than the excerpt"
    with opened(file) as history:
        assert len(list(history.samples("site", UTC_S, UTC_S + 1000))) == 120
    with closing(sqlite3.connect(journal)) as db:
        before = Anchor(1, *db.execute("SELECT hash FROM seals WHERE seq = 1").fetchone())
    assert audit(file, [before]).confirmed == [before], "it follows what was before it"
    assert not audit(file, [Anchor(1, "0" * 64)]).is_verified


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE samples SET metered_w = 0 WHERE id = 100",
        "DELETE FROM samples WHERE id = 61",
        "UPDATE excerpt SET last_id = last_id + 1 WHERE name = 'samples'",
        "UPDATE excerpt SET last_id = last_id - 1 WHERE name = 'last seal'",
        "DELETE FROM excerpt",
    ],
)
def test_an_excerpt_that_was_changed_is_found(tmp_path: Path, journal: Path, statement: str) -> None:
    file = tmp_path / "cut.db"
    command("--journal", journal, "--export", "2027-01-15T08:01", "2027-01-15T08:03", file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(statement)

    assert not audit(file).is_verified


def test_nothing_is_cut_out_of_what_is_broken_or_over_a_file_that_exists(
    tmp_path: Path, journal: Path
) -> None:
    taken, new = tmp_path / "taken.db", tmp_path / "new.db"
    taken.write_text("mine")
    window = ("2027-01-15T08:00", "2027-01-15T09:00")

    assert command("--journal", journal, "--export", *window, taken).exit_code == 2
    assert command("--journal", broken(journal), "--export", *window, new).exit_code == 1
    assert not new.exists()
    assert command("--journal", journal, "--export", "2020-01-01", "2020-01-02", new).exit_code == 2
    assert command("--journal", journal, "--export", "noon", "2020-01-02", new).exit_code == 2
    assert (taken.read_text(), sorted(tmp_path.iterdir())) == ("mine", [taken])


def test_what_lies_before_a_fault_can_still_be_cut_out(tmp_path: Path, journal: Path) -> None:
    file = tmp_path / "before.db"

    done = command("--journal", broken(journal), "--export", "2027-01-15T08:00", "2027-01-15T08:02", file)

    assert (done.exit_code, audit(file).is_verified) == (1, True)


def test_an_excerpt_is_verified_by_somebody_else_as_far_as_it_goes(tmp_path: Path, journal: Path) -> None:
    """The verifier of a third party that knows journals only finds nothing but what an excerpt leaves out."""
    file = tmp_path / "cut.db"
    command("--journal", journal, "--export", "2027-01-15T08:00", "2027-01-15T08:03", file)

    assert verifier.faults(str(file)) == []
