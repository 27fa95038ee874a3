"""The chain of seals: what is done to a journal is found, and what happens to its writer breaks none."""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.run.journal.audit import audit
from controller.run.journal.chain import ROWS_A_SEAL
from controller.run.journal.finding import Audit
from controller.run.journal.history import opened
from controller.run.journal.moving import MOVED_AT_ONCE
from controller.run.journal.retention import Keep
from controller.run.journal.schema import COLUMNS, EVIDENCE
from controller.run.journal.seals import Anchor, Part, Seal
from tests.run import verifier
from tests.run.evidence import Site, made
from tests.run.fleet import UTC_S

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of some minutes that nobody has touched."""
    path = tmp_path_factory.mktemp("whole") / "journal.db"
    made(path)
    return path


def seals(path: Path) -> list[Anchor]:
    with closing(sqlite3.connect(path)) as db:
        return [Anchor(*row) for row in db.execute("SELECT seq, hash FROM seals ORDER BY seq")]


def tampered(whole: Path, *statements: str) -> Path:
    """A copy of a journal, and what somebody did to it."""
    path = whole.with_name("tampered.db")
    for rest in ("-wal", "-shm"):
        path.with_name(f"{path.name}{rest}").unlink(missing_ok=True)
    shutil.copy(whole, path)
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)
    return path


def first_fault(found: Audit) -> tuple[str, str]:
    return found.faults[0].table, found.faults[0].what


# -- what is found -------------------------------------------------------------------------------------------


def test_a_journal_that_nobody_touched_is_verified_and_everything_in_it_counted(whole: Path) -> None:
    found = audit(whole)

    assert found.is_verified
    assert (found.first_utc_s, found.last_utc_s) == (UTC_S, UTC_S + 150)
    assert found.rows["samples"] == 150
    assert all(found.rows[name] for name in EVIDENCE)
    assert not found.losses


@pytest.mark.parametrize(
    ("statement", "table", "says"),
    [
        (
            "UPDATE samples SET metered_w = metered_w + 1 WHERE id = 100",
            "samples",
            "rows 61 to 120 are not as",
        ),
        ("UPDATE events SET text = '' WHERE id = 1", "events", "not as they were"),
        ("DELETE FROM commands WHERE id = 3", "commands", "1 of rows 1 to "),
        ("DELETE FROM samples WHERE id > 148", "samples", "2 of rows 121 to 150 are missing"),
        ("DELETE FROM setpoints", "setpoints", "are missing"),
        ("INSERT INTO alarms VALUES (99, 1, 'hot', 'a', 1, '')", "alarms", "1 rows are under no seal"),
        ("DELETE FROM seals WHERE seq = 2", "seals", "seals 2 to 2 are missing"),
        ("DELETE FROM seals WHERE seq = 1", "seals", "the chain begins at seal 2, not at 1"),
        ("UPDATE seals SET last_us = last_us + 1 WHERE seq = 1", "seals", "seal 1 is not as it was"),
        ("UPDATE seals SET seq = 9 WHERE seq = 3", "seals", "seals 3 to 8 are missing"),
        ("DELETE FROM parts WHERE name = 'samples' AND seal = 2", "seals", "seal 2 is not as it was"),
        ("DELETE FROM seals", "samples", "under a seal that is not there"),
        ("UPDATE commands SET detail = CAST(x'ff' AS TEXT) WHERE id = 2", "commands", "not as they were"),
        ("UPDATE commands SET detail = x'00' WHERE id = 2", "commands", "not as they were"),
        ("UPDATE parts SET digest = CAST(x'ff' AS TEXT) WHERE seal = 2", "seals", "seal 2 is not as it was"),
        ("UPDATE seals SET hash = 5 WHERE seq = 2", "seals", "does not follow"),
    ],
)
def test_what_was_done_is_found_with_its_table(whole: Path, statement: str, table: str, says: str) -> None:
    found = audit(tampered(whole, statement))

    assert not found.is_verified
    assert any(fault.table == table and says in fault.what for fault in found.faults), found.faults


def test_a_fault_says_the_minute_it_belongs_to(whole: Path) -> None:
    found = audit(tampered(whole, "UPDATE usage SET energy_ws = 0 WHERE id = 2"))

    (fault,) = found.faults
    assert (fault.table, fault.seal) == ("usage", 2)
    assert (fault.first_utc_s, fault.last_utc_s) == (UTC_S + 60, UTC_S + 119)


def test_rows_that_change_places_are_found(whole: Path) -> None:
    swap = "UPDATE samples SET id = {} WHERE id = {}"

    found = audit(tampered(whole, swap.format(-1, 10), swap.format(10, 11), swap.format(11, -1)))

    assert first_fault(found) == ("samples", "rows 1 to 60 are not as they were")


Cut = Callable[[sqlite3.Connection, int], None]


def cut_off(db: sqlite3.Connection, seq: int) -> None:
    """Take the seals from `seq` on away, with all that they cover: what is left is a whole chain."""
    for name in EVIDENCE:
        first = db.execute("SELECT min(first_id) FROM parts WHERE name = ? AND seal >= ?", (name, seq))
        db.execute(f"DELETE FROM {name} WHERE id >= ?", first.fetchone())  # noqa: S608 our own names
    db.execute("DELETE FROM parts WHERE seal >= ?", (seq,))
    db.execute("DELETE FROM seals WHERE seq >= ?", (seq,))


def forge_from(db: sqlite3.Connection, seq: int) -> None:
    """Change the rows of seal `seq`, and write the chain anew from there: what is left is a whole chain."""
    db.execute(
        "UPDATE samples SET metered_w = 1 WHERE id BETWEEN"
        " (SELECT first_id FROM parts WHERE name = 'samples' AND seal = ?)"
        " AND (SELECT last_id FROM parts WHERE name = 'samples' AND seal = ?)",
        (seq, seq),
    )
    rows = db.execute(
        "SELECT seq, previous, first_us, last_us FROM seals WHERE seq >= ? ORDER BY seq", (seq,)
    )
    before = ""
    for number, previous, first_us, last_us in rows.fetchall():
        parts = []
        for name, first_id, last_id in db.execute(
            "SELECT name, first_id, last_id FROM parts WHERE seal = ?", (number,)
        ).fetchall():
            columns = ", ".join(("id", *COLUMNS[name]))
            sealed = db.execute(
                f"SELECT {columns} FROM {name} WHERE id BETWEEN ? AND ? ORDER BY id",  # noqa: S608 our own names
                (first_id, last_id),
            )
            digest = hashlib.sha256(b"".join(verifier.written(row) + b"\n" for row in sealed)).hexdigest()
            parts.append(Part(name=name, first_id=first_id, last_id=last_id, digest=digest))
            db.execute("UPDATE parts SET digest = ? WHERE seal = ? AND name = ?", (digest, number, name))
        seal = Seal(
            seq=number,
            previous=before or previous,
            first_us=first_us,
            last_us=last_us,
            parts=tuple(parts),
        )
        before = seal.hash
        db.execute("UPDATE seals SET previous = ?, hash = ? WHERE seq = ?", (seal.previous, before, number))


@pytest.mark.parametrize("spoil", [cut_off, forge_from])
@pytest.mark.parametrize("seq", [2, 3])
def test_the_end_cut_off_and_a_chain_written_anew_are_found_by_an_anchor_and_only_by_one(
    whole: Path, spoil: Cut, seq: int
) -> None:
    known = seals(whole)
    path = tampered(whole)
    with closing(sqlite3.connect(path)) as db, db:
        spoil(db, seq)

    assert audit(path).is_verified, "whoever can write the file can write a chain"
    assert audit(path, known[: seq - 1]).is_verified, "what is older than the forgery is as it was"
    assert not audit(path, known[seq - 1 :]).is_verified
    assert audit(path, known[:1]).confirmed == known[:1]


def test_an_anchor_of_another_journal_is_found(whole: Path) -> None:
    found = audit(whole, [Anchor(2, "0" * 64)])

    assert [fault.what for fault in found.faults] == ["seal 2 is another than the anchor"]


@st.composite
def tamperings(draw: st.DrawFn) -> Callable[[sqlite3.Connection], str]:
    """Something that a person with the file can do to it, by a seed."""
    kind = draw(st.sampled_from(["change", "delete", "insert", "swap", "truncate", "seal", "part", "unseal"]))
    return lambda db: _tamper(db, kind, random.Random(draw(st.integers(0, 2**32))))


def _tamper(db: sqlite3.Connection, kind: str, dice: random.Random) -> str:
    name = dice.choice(EVIDENCE)
    last = db.execute(f"SELECT max(id) FROM {name}").fetchone()[0]  # noqa: S608 our own names
    one, other = dice.randint(1, last), dice.randint(1, last)
    column = dice.choice(COLUMNS[name])
    match kind:
        case "change":
            db.execute(
                f"UPDATE {name} SET {column} = coalesce({column}, 0) || '1' WHERE id = ?",  # noqa: S608 our own names
                (one,),
            )
        case "delete":
            db.execute(f"DELETE FROM {name} WHERE id = ?", (one,))  # noqa: S608 our own names
        case "insert":
            columns = ", ".join(COLUMNS[name])
            db.execute(
                f"INSERT INTO {name} (id, {columns}) SELECT ?, {columns} FROM {name} WHERE id = ?",  # noqa: S608 our own names
                (dice.choice([-1, 0, last + 1, last + 50]), one),
            )
        case "swap":
            one, other = (1, last) if one == other else (one, other)
            if one == other:
                db.execute("DELETE FROM seals WHERE seq = 2")
            for new, old in ((-1, one), (one, other), (other, -1)):
                db.execute(f"UPDATE {name} SET id = ? WHERE id = ?", (new, old))  # noqa: S608 our own names
        case "truncate":
            db.execute(f"DELETE FROM {name} WHERE id >= ?", (one,))  # noqa: S608 our own names
        case "seal":
            field = dice.choice(["seq", "previous", "first_us", "last_us", "hash"])
            db.execute(f"UPDATE seals SET {field} = {field} || '1' WHERE seq = ?", (dice.randint(1, 3),))  # noqa: S608 our own names
        case "part":
            field = dice.choice(["seal", "name", "first_id", "last_id", "digest"])
            db.execute(
                f"UPDATE parts SET {field} = {field} || '1' WHERE seal = ? AND name = 'samples'",  # noqa: S608 our own names
                (dice.randint(1, 3),),
            )
        case _:
            db.execute("DELETE FROM seals WHERE seq = ?", (dice.randint(1, 3),))
    return f"{kind} {name} {one} {other}"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tamper=tamperings())
def test_no_tampering_goes_unnoticed_by_us_or_by_somebody_else(
    whole: Path, tamper: Callable[[sqlite3.Connection], str]
) -> None:
    path = tampered(whole)
    with closing(sqlite3.connect(path)) as db, db:
        what = tamper(db)

    assert not audit(path).is_verified, what
    assert _others_find(path), what


def _others_find(path: Path) -> bool:
    try:
        return bool(verifier.faults(str(path)))
    except (KeyError, TypeError, ValueError):  # a table or a number that is none
        return True


# -- what breaks no chain ------------------------------------------------------------------------------------


def verified(path: Path) -> Audit:
    found = audit(path)
    assert found.is_verified, found.faults
    assert not verifier.faults(str(path))
    return found


def test_one_part_can_be_verified_by_hand_as_the_document_says(whole: Path) -> None:
    with closing(sqlite3.connect(whole)) as db:
        query = "SELECT first_id, last_id, digest FROM parts WHERE name = 'samples' ORDER BY seal"
        first_id, last_id, digest = db.execute(query).fetchone()
        lines = db.execute(
            "SELECT json_array(id, utc_us, node, metered_w, limit_w, granted_w, worst_w) FROM samples"
            " WHERE id BETWEEN ? AND ? ORDER BY id",
            (first_id, last_id),
        ).fetchall()

    assert hashlib.sha256("".join(f"{line}\n" for (line,) in lines).encode()).hexdigest() == digest


def test_the_tables_are_those_that_the_document_names() -> None:
    document = (Path(__file__).parents[2] / "deploy" / "EVIDENCE.md").read_text()

    for name, columns in COLUMNS.items():
        assert f"| `{name}` | `id, {', '.join(columns)}` |" in document
        assert verifier.COLUMNS[name] == ", ".join(("id", *columns))


def test_a_writer_that_was_killed_leaves_a_whole_chain_and_the_next_one_says_so(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    killed = site.started()
    for _ in range(70):
        site.second(killed)
    site.waiting.add("samples", (1, "site", 1, 1, 1, 1))  # never written
    site.killed(killed)
    last = seals(site.path)
    verified(site.path)

    after = Site(site.path, utc_s=site.utc_s + 30)
    with after.running() as file:
        after.second(file)

    assert verified(site.path).unclosed == 1
    assert audit(site.path, last).confirmed == last, "what was sealed is never touched again"


def test_a_seal_of_many_rows_ends_early(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    with site.running():
        for _ in range(2 * ROWS_A_SEAL):
            site.waiting.add("samples", (1, "site", 1, 1, 1, 1))

    assert verified(site.path).seals == 3


def test_a_clock_that_is_set_back_breaks_no_chain(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    with site.running() as file:
        for _ in range(5):
            site.second(file)
            site.utc_s -= 1000.0

    assert verified(site.path).seals == 6, "one for each time it was set back, and the end"


def test_text_that_is_no_unicode_is_kept_with_a_mark(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    with site.running():
        site.waiting.add("alarms", (1, "cooling", "\ud800x", 1, "\x00\x1f\u2028\U0001f600"))

    verified(site.path)
    with closing(sqlite3.connect(site.path)) as db:
        rows = db.execute("SELECT subject, detail FROM alarms").fetchall()
    assert rows == [("?x", "\x00\x1f\u2028\U0001f600")]


def test_rows_that_somebody_put_in_do_not_stop_the_writer_and_stay_found(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    with site.running() as file:
        site.second(file)
        with closing(sqlite3.connect(site.path)) as db, db:
            db.execute("INSERT INTO samples VALUES (2, 1, 'site', 1, 1, 1, 1)")
            db.execute("UPDATE seals SET hash = 'x'")
        for _ in range(3):
            site.second(file)

    with closing(sqlite3.connect(site.path)) as db:
        written = db.execute("SELECT count(*) FROM samples").fetchone()
    assert written == (5,), "four of the site, one of somebody else"
    assert not audit(site.path).is_verified


def test_two_writers_on_one_file_break_no_chain(tmp_path: Path) -> None:
    """A mistake of an operator; nothing of either is lost."""
    one, other = Site(tmp_path / "journal.db"), Site(tmp_path / "journal.db")
    with one.running() as first, other.running() as second:
        for _ in range(20):
            one.second(first)
            other.second(second)

    assert verified(one.path).rows["samples"] == 40


def test_a_journal_is_audited_while_it_is_written(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    with site.running() as file:
        for second in range(130):
            site.second(file)
            if second % 40 == 0:
                assert audit(site.path).is_verified
                assert file.anchor is None or audit(site.path, [file.anchor]).confirmed


# -- what is too old -----------------------------------------------------------------------------------------


def a_week(path: Path) -> Site:
    """Three seconds at each of seven days: samples are kept for two days, energy for four, events longer."""
    site = Site(path, keep=Keep(history=2.0, usage=4.0, events=1000.0))
    site.utc_s -= site.utc_s % DAY_S
    with site.running() as file:
        for day in range(7):
            site.event(file, f"day-{day}")
            for _ in range(3):
                site.second(file)
            site.utc_s -= 3
            site.next_days(file)
        site.second(file)
    return site


def test_what_is_too_old_goes_by_table_and_the_chain_still_verifies(tmp_path: Path) -> None:
    site = a_week(tmp_path / "journal.db")

    found = verified(site.path)

    assert (found.rows["events"], found.rows["usage"], found.rows["samples"]) == (7, 5, 7)
    assert found.pruned == {"alarms": 5, "commands": 2, "samples": 15, "usage": 3}
    assert found.first is not None
    assert found.first.seq == 1
    assert audit(site.path, seals(site.path)).confirmed == seals(site.path)


def test_a_clock_that_is_wrong_for_a_while_costs_no_row(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db", keep=Keep(history=2.0, usage=2.0, events=2.0))
    with site.running() as file:
        for minute in range(120):
            site.second(file)
            site.utc_s += 59.0 + (5000 * DAY_S if minute == 70 else -5000 * DAY_S if minute == 100 else 0.0)

    assert verified(site.path).rows["samples"] == 120


def test_what_was_written_while_the_clock_was_ahead_goes_with_what_follows_it(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db", keep=Keep(history=2.0, usage=2.0, events=2.0))
    with site.running() as file:
        site.second(file)
        site.utc_s += 5000 * DAY_S
        site.second(file)
        site.utc_s -= 5000 * DAY_S
        site.next_days(file, 2)
        site.second(file)
        site.next_days(file, 2)
        assert verified(site.path).rows["samples"] == 2, "the first is too old, what follows it is not"
        site.next_days(file, 2)

    assert verified(site.path).rows["samples"] == 0


def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    """Not even when all rows and seals of a table are gone, and the controller was restarted."""
    site = Site(tmp_path / "journal.db", keep=Keep(history=2.0, usage=2.0, events=2.0))
    with site.running() as file:
        site.event(file, "dr-1")
        site.second(file)
        for _ in range(8):
            site.next_days(file)
            site.second(file)
    assert verified(site.path).rows["events"] == 0
    with closing(sqlite3.connect(site.path)) as db:
        assert db.execute("SELECT count(*) FROM parts WHERE name = 'events'").fetchone() == (0,)

    after = Site(site.path, utc_s=site.utc_s, keep=site.keep)
    with after.running() as file:
        after.event(file, "dr-2")
        after.second(file)

    assert verified(site.path).rows["events"] == 1


def test_rows_that_come_back_after_they_were_dropped_are_found(tmp_path: Path) -> None:
    site = a_week(tmp_path / "journal.db")
    with closing(sqlite3.connect(site.path)) as db, db:
        db.execute("INSERT INTO samples VALUES (15, 1, 'site', 1, 1, 1, 1)")

    assert [fault.what for fault in audit(site.path).faults] == ["1 rows are under no seal"]


def test_to_drop_more_than_retention_did_is_found(tmp_path: Path) -> None:
    site = a_week(tmp_path / "journal.db")
    with closing(sqlite3.connect(site.path)) as db, db:
        db.execute("DELETE FROM samples WHERE id <= 18")
        db.execute("UPDATE bookkeeping SET last_id = 18 WHERE what = 'pruned' AND subject = 'samples'")

    assert {fault.table for fault in audit(site.path).faults} == {"bookkeeping"}


def test_seals_go_at_last_and_what_is_left_says_where_it_begins(tmp_path: Path) -> None:
    site = a_week(tmp_path / "journal.db")
    known = seals(site.path)
    later = Site(site.path, utc_s=site.utc_s + 1001 * DAY_S, keep=site.keep)
    with later.running() as file:
        for _ in range(5):
            later.second(file)
            later.next_days(file)

    found = verified(site.path)
    assert found.first is not None
    assert found.first.seq == found.pruned["seals"] + 1 > known[-1].seq - 2
    assert found.rows["events"] == 0
    assert audit(site.path, known[:3]).beyond == known[:3]
    with closing(sqlite3.connect(site.path)) as db, db:
        db.execute("DELETE FROM seals WHERE seq = ?", (found.first.seq,))
        db.execute("DELETE FROM parts WHERE seal = ?", (found.first.seq,))
    assert "the chain begins at seal" in audit(site.path).faults[0].what


# -- an older journal ----------------------------------------------------------------------------------------

SCHEMA_1 = """
CREATE TABLE commands (
    utc_s REAL NOT NULL, device TEXT NOT NULL, point TEXT NOT NULL, watts INTEGER NOT NULL,
    kind TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE samples (
    utc_s REAL NOT NULL, node TEXT NOT NULL, metered_w INTEGER, limit_w INTEGER,
    granted_w INTEGER NOT NULL, worst_w INTEGER NOT NULL
);
CREATE TABLE alarms (
    utc_s REAL NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, raised INTEGER NOT NULL,
    detail TEXT NOT NULL
);
CREATE TABLE grid (
    key TEXT PRIMARY KEY, version_utc_s REAL NOT NULL, status TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX samples_by_time ON samples (utc_s);
CREATE INDEX commands_by_time ON commands (utc_s);
CREATE INDEX alarms_by_time ON alarms (utc_s);
PRAGMA user_version = 1;
"""


def of_schema_1(path: Path, samples: int) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(SCHEMA_1)
        rows = ((UTC_S - samples + at + 0.123456, "site", None, 9000, at, 0) for at in range(samples))
        db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)", rows)
        db.execute("INSERT INTO commands VALUES (?, 'asic-0', 'low', 2000, 'commanded', 'full')", (UTC_S,))
        db.execute("INSERT INTO alarms VALUES (?, 'cooling', 'hall', 1, 'not proven')", (UTC_S - 0.5,))
        db.execute("INSERT INTO grid VALUES ('event/a', 1.5, 'RECEIVED', '{}')")


def test_an_older_journal_is_taken_over_in_bites_and_nothing_of_it_is_lost(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    of_schema_1(site.path, samples=2 * MOVED_AT_ONCE + 7)

    with site.running() as file:
        assert len(file.load()) == 1
        assert audit(site.path).unmoved == ("samples", "alarms")
        for _ in range(5):
            site.second(file)

    found = verified(site.path)
    assert found.unmoved == ()
    assert (found.rows["commands"], found.rows["alarms"]) == (1, 2)
    with closing(sqlite3.connect(site.path)) as db:
        of_old = (
            "SELECT utc_us, granted_w FROM samples WHERE limit_w = 9000 AND metered_w IS NULL ORDER BY id"
        )
        moved = db.execute(of_old).fetchall()
        said = db.execute("SELECT sum(rows) FROM bookkeeping WHERE what = 'moved'").fetchone()
    assert [granted_w for _, granted_w in moved] == list(range(2 * MOVED_AT_ONCE + 7))
    assert moved[-1][0] == int(UTC_S - 1) * 1_000_000 + 123_456
    assert said == (len(moved) + 2,)


def test_a_takeover_makes_the_energy_by_the_minute_that_was_not_kept_then(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    with closing(sqlite3.connect(site.path)) as db, db:
        db.executescript(SCHEMA_1)
        rows = [(UTC_S + at, "site", 3000 + (at >= 60) * 600, 9000) for at in range(181)]
        del rows[130:150]
        rows += [(UTC_S + at, "pdu", 1000, 2000) for at in range(0, 181, 60)]
        db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, 0, 0)", sorted(rows))

    with site.running() as file:
        for _ in range(3):
            file.flush()

    verified(site.path)
    with opened(site.path) as history:
        usage = list(history.usage("site", UTC_S, UTC_S + 3600))
        assert history.nodes() == ("site",), "what was sampled once a minute tells no energy"
    assert [(row.minute_utc_s - UTC_S, row.measured_s) for row in usage] == [
        (0, 60.0),
        (60, 60.0),
        (120, 39.0),
    ]
    assert [row.energy_ws for row in usage] == [60 * 3000 + 300, 60 * 3600, 39 * 3600]


def test_a_takeover_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    of_schema_1(site.path, samples=2 * MOVED_AT_ONCE)
    killed = site.started()
    killed.flush()
    site.killed(killed)

    after = Site(site.path, utc_s=site.utc_s + 1)
    with after.running() as file:
        for _ in range(3):
            after.second(file)

    assert verified(site.path).rows["samples"] == 2 * MOVED_AT_ONCE + 3


# -- a long life ---------------------------------------------------------------------------------------------


def live(path: Path, seed: int, steps: int) -> None:
    """A journal through whatever may befall it: days, restarts, kills, wrong clocks, a locked file."""
    dice = random.Random(seed)
    keep = Keep(
        history=dice.choice([1.0, 3.0]), usage=dice.choice([1.0, 5.0]), events=dice.choice([1.0, 9.0])
    )
    site = Site(path, keep=keep)
    file, known = site.started(), []
    for step in range(steps):
        match dice.choice(["run", "run", "days", "kill", "stop", "clock", "locked", "event", "nothing"]):
            case "run":
                for _ in range(dice.randint(1, 70)):
                    site.second(file)
            case "days":
                site.next_days(file, dice.randint(1, 4))
            case "kill":
                site.killed(file)
                file = site.started()
            case "stop":
                file.finish()
                site.utc_s += dice.choice([1.0, 5000.0, 30 * DAY_S])
                file = site.started()
            case "clock":
                site.utc_s += dice.choice([-3.0, -4000.0, 4000.0, -2 * DAY_S, 20 * DAY_S, -20 * DAY_S])
            case "locked":
                with closing(sqlite3.connect(path, isolation_level=None)) as other:
                    other.execute("BEGIN IMMEDIATE")
                    site.waiting.add("alarms", (1, "cooling", "hall", 1, ""))
                    with pytest.raises(sqlite3.OperationalError):
                        file.flush()
                    other.execute("ROLLBACK")
            case "event":
                site.event(file, f"event-{step}")
                site.point(file, 1000)
            case _:
                file.flush()
        known += [file.anchor] if file.anchor is not None else []
        found = audit(path, known)
        assert found.is_verified, f"seed {seed}, step {step}: {found.faults}"
        assert not verifier.faults(str(path)), f"seed {seed}, step {step}"
    file.finish()


@pytest.mark.parametrize("seed", range(3))
def test_no_life_of_a_journal_looks_like_tampering(tmp_path: Path, seed: int) -> None:
    live(tmp_path / "journal.db", seed, steps=40)
