"""The journal: grid records that survive anything, history that waits for its disk, and clear errors."""

from __future__ import annotations

import asyncio
import math
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.decide.plan import Alarm, Plan
from controller.decide.words import AlarmKind
from controller.domain.devices import Acknowledged, Failed
from controller.domain.jobs import JobAction, JobCommand
from controller.domain.power import Limit, Power
from controller.run.journal.audit import audit
from controller.run.journal.flood import EVENTS_AT_ONCE, EVENTS_PER_S, REFUSALS_AT_ONCE, ROW_BYTES
from controller.run.journal.happenings import Happening
from controller.run.journal.history import opened as reading
from controller.run.journal.journal import (
    BUFFERED_ROWS,
    FLUSH_EVERY_S,
    NODES_EVERY_S,
    Journal,
    JournalError,
)
from controller.run.journal.retention import PRUNED_AT_ONCE, QUIET_US
from controller.run.journal.schema import SCHEMA_VERSION, Bookkeeping, microseconds
from controller.run.journal.store import Record, StoreError
from tests.run import boards
from tests.run.fleet import LOW, SLEEP, UTC_S, told
from tests.run.journalrows import rows_of
from tests.virtualtime import in_virtual_time

DAY_S = 86_400.0
PAGE_BYTES = 4096


class Wall:
    """A wall clock in the test's hand."""

    def __init__(self) -> None:
        self.utc_s = UTC_S

    def __call__(self) -> float:
        return self.utc_s


def journal(path: Path, *, keep_days: float = 1.0, wall: Wall | None = None) -> Journal:
    return Journal(path, keep_days, wall or Wall(), busy_s=0.05)


@asynccontextmanager
async def opened(path: Path, *, keep_days: float = 1.0, wall: Wall | None = None) -> AsyncIterator[Journal]:
    keeping = journal(path, keep_days=keep_days, wall=wall)
    await keeping.open()
    try:
        yield keeping
    finally:
        await keeping.close()


@asynccontextmanager
async def written_behind(keeping: Journal) -> AsyncIterator[None]:
    task = asyncio.create_task(keeping.run())
    yield
    task.cancel()
    await asyncio.wait([task])


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else writes, and does not come to an end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def record(key: str, text: str = "{}", version_utc_s: float = UTC_S) -> Record:
    return Record(key=key, version_utc_s=version_utc_s, status="RECEIVED", text=text)


def plan(*nodes: str) -> Plan:
    return boards.tick(
        nodes=tuple(boards.node(name, limit=Limit(Power(9000)), metered_w=4000) for name in nodes)
    ).plan


ALARM = Alarm(kind=AlarmKind.COOLING, subject="hall", detail="not proven")


# -- what must not be lost -----------------------------------------------------------------------------------


async def test_records_are_read_back_as_they_were_the_newest_of_each_key(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as first:
        await first.record((record("event/a", "old"), record("event/b", "süß \N{SNOWMAN} '\"")))
        await first.record((record("event/a", "new", UTC_S + 1),))
        await first.record((record("snapshot"),), forget=("event/b", "event/never"))

    async with opened(path) as second:
        found = await second.load()

    assert set(found) == {record("event/a", "new", UTC_S + 1), record("snapshot")}


WRITER = """
import asyncio, sys, time
from pathlib import Path
from controller.decide.plan import Alarm
from controller.decide.words import AlarmKind
from controller.run.journal.store import Record
from controller.run.journal.happenings import Happening
from controller.run.journal.journal import Journal

async def main():
    journal = Journal(Path(sys.argv[1]), 1.0, time.time)
    await journal.open()
    behind = asyncio.create_task(journal.run())
    alarm = Alarm(kind=AlarmKind.COOLING, subject="hall", detail="not proven")
    for number in range(int(sys.argv[2])):
        record = Record(key=f"event/{number}", version_utc_s=0.0, status="", text="x" * 3000)
        told = Happening(
            utc_s=time.time(), event=str(number), version_utc_s=0.0, status="RECEIVED", text="x" * 3000
        )
        journal.alarm(alarm, raised=True)
        await journal.record((record,), (), (told,))
        print(number, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("records", [1, 200])
def test_whatever_was_recorded_is_there_after_the_process_was_killed(tmp_path: Path, records: int) -> None:
    path = tmp_path / "journal.db"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), "1000"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    promised = [int(process.stdout.readline()) for _ in range(records)]

    process.kill()
    promised += [int(line) for line in process.stdout.read().splitlines()]
    process.stdout.close()
    process.wait(timeout=10)

    async def kept() -> set[str]:
        async with opened(path) as after:
            return {found.key for found in await after.load()}

    found = audit(path)
    assert found.is_verified
    assert found.rows["events"] >= len(promised)
    assert asyncio.run(kept()) >= {f"event/{number}" for number in promised}
    assert audit(path).is_verified


FULL_DISK = """
import asyncio, logging, resource, signal, sys, time
from pathlib import Path
from controller.domain.power import Power
from controller.run.journal.store import Record, StoreError
from controller.run.journal.journal import Journal
from tests.run.journalrows import rows_of
from tests.run.fleet import told
from controller.domain.devices import Acknowledged

def disk(bytes_):
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, resource.RLIM_INFINITY))

async def main():
    path = Path(sys.argv[1])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = Journal(path, 1.0, time.time)
    await journal.open()
    await journal.record((Record(key="before", version_utc_s=0.0, status="", text="x"),))
    behind = asyncio.create_task(journal.run())
    disk(64 * 1024)
    try:
        for number in range(1000):
            record = Record(key=f"event/{number}", version_utc_s=0.0, status="", text="x" * 4000)
            await journal.record((record,))
    except StoreError as error:
        print("refused", str(path) in str(error))
    for _ in range(500):
        journal.answered(told("asic-0"), Acknowledged())
    await asyncio.sleep(1.5)
    print("alive", not behind.done())
    disk(resource.RLIM_INFINITY)
    await journal.record((Record(key="after", version_utc_s=0.0, status="", text="x"),))
    await asyncio.sleep(1.5)
    keys = {record.key for record in await journal.load()}
    print("kept", {"before", "after"} <= keys)
    print("caught up", len(rows_of(path, "SELECT * FROM commands")))
    behind.cancel()
    await journal.close()

asyncio.run(main())
"""


def test_a_full_disk_refuses_grid_events_costs_no_history_and_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"

    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if " journal_" not in line] == [
        "refused True",
        "alive True",
        "kept True",
        "caught up 500",
    ]
    assert audit(path).is_verified


async def test_a_record_that_cannot_be_written_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as keeping:
        await keeping.record((record("event/a", "before"),))

        with locked(path), pytest.raises(StoreError, match=r"journal\.db: database is locked"):
            await keeping.record((record("event/a", "after"), record("event/b")), forget=("event/a",))

        assert await keeping.load() == (record("event/a", "before"),)
        await keeping.record((record("event/a", "after"),))
        assert await keeping.load() == (record("event/a", "after"),)


async def test_a_disk_that_does_not_answer_in_time_is_a_refusal_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    keeping = Journal(path, 1.0, Wall(), busy_s=5.0, deadline_s=0.3)
    await keeping.open()

    with locked(path), pytest.raises(StoreError, match=r"journal\.db: no answer within 0\.3 s"):
        await keeping.record((record("event/a"),))

    await keeping.close()
    assert [row[0] for row in rows_of(path, "SELECT key FROM grid")] == ["event/a"], "it came through late"


def happened(status: str, event: str = "x", operator: str = "", text: str = "") -> Happening:
    return Happening(
        utc_s=UTC_S, event=event, version_utc_s=None, status=status, operator=operator, text=text
    )


REFUSED = happened("REJECTED", operator="hostile")


def kept_of(path: Path, status: str) -> int:
    return len(rows_of(path, "SELECT id FROM events WHERE status = ?", (status,)))


async def test_a_flood_of_events_costs_their_history_and_says_so_but_never_the_events(tmp_path: Path) -> None:
    path, wall = tmp_path / "journal.db", Wall()
    rows = EVENTS_AT_ONCE // 2
    async with opened(path, wall=wall) as keeping:
        for number in range(3):
            await keeping.record((record(f"event/{number}"),), (), (happened("RECEIVED"),) * rows)
        wall.utc_s += EVENTS_AT_ONCE / EVENTS_PER_S
        await keeping.record((), (), (happened("RECEIVED"),) * rows)
        kept = await keeping.load()

    found = audit(path)
    assert len(kept) == 3
    assert found.rows["events"] == 3 * rows
    assert [(loss.table, loss.rows) for loss in found.losses] == [("events", rows)]
    assert found.is_verified


async def test_what_an_operator_is_refused_costs_no_row_of_what_was_accepted(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    snapshot = (happened("RECEIVED", "dr-7", "hostile"), REFUSED, happened("STARTED", "dr-7", "hostile"))
    async with opened(path) as keeping:
        for _ in range(REFUSALS_AT_ONCE + 10):
            await keeping.record((), (), snapshot)

    assert kept_of(path, "REJECTED") == REFUSALS_AT_ONCE
    assert kept_of(path, "RECEIVED") == kept_of(path, "STARTED") == REFUSALS_AT_ONCE + 10


async def test_the_flood_of_one_operator_costs_no_row_of_another(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as keeping:
        await keeping.record((), (), (REFUSED,) * (REFUSALS_AT_ONCE + 1))
        await keeping.record((), (), (happened("RECEIVED", operator="hostile"),) * (EVENTS_AT_ONCE + 1))
        await keeping.record((), (), (happened("REJECTED", "dr-8"), happened("RECEIVED", "dr-7")))

    assert rows_of(path, "SELECT event FROM events WHERE operator = '' ORDER BY id") == [("dr-8",), ("dr-7",)]


@in_virtual_time
async def test_a_year_of_refusals_is_a_few_rows_a_day_and_told_once_each(tmp_path: Path) -> None:
    path, wall = tmp_path / "journal.db", Wall()
    async with opened(path, wall=wall) as keeping, written_behind(keeping):
        for _ in range(365):
            await keeping.record((), (), (REFUSED,) * 2_000)
            await asyncio.sleep(2 * FLUSH_EVERY_S)
            wall.utc_s += DAY_S

    with reading(path) as history:
        losses = [row for row in history.bookkeeping() if row.what == Bookkeeping.LOST]
    kept = kept_of(path, "REJECTED")
    assert kept <= REFUSALS_AT_ONCE * 365
    assert kept + sum(row.rows or 0 for row in losses) == 730_000
    assert len(losses) == 365


@in_virtual_time
async def test_what_is_left_out_in_an_hour_is_told_once_with_its_operator(tmp_path: Path) -> None:
    path, wall = tmp_path / "journal.db", Wall()
    async with opened(path, wall=wall) as keeping, written_behind(keeping):
        await keeping.record((), (), (REFUSED,) * (REFUSALS_AT_ONCE + 1))
        for _ in range(60):
            await asyncio.sleep(2 * FLUSH_EVERY_S)
            wall.utc_s += 30
            await keeping.record((), (), (REFUSED,) * 100)
        assert keeping.stats.lost_rows > 5_900

    with reading(path) as history:
        losses = [row for row in history.bookkeeping() if row.what == Bookkeeping.LOST]
    assert losses[0].rows == 1, "at once"
    assert len(losses) == 2, "and at the end the rest of it"
    assert losses[0].detail.startswith("too many at once from hostile of what was refused, 20")


async def test_a_row_with_a_long_text_counts_as_several(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    long = happened("RECEIVED", text="x" * 10 * ROW_BYTES)
    async with opened(path) as keeping:
        await keeping.record((), (), (long,) * EVENTS_AT_ONCE)

    assert kept_of(path, "RECEIVED") == EVENTS_AT_ONCE // 11


async def test_a_journal_knows_how_much_room_its_disk_has(tmp_path: Path) -> None:
    async with opened(tmp_path / "journal.db") as keeping:
        disk = keeping.stats.disk

    assert disk is not None
    assert 0 < disk.free_bytes < disk.size_bytes == shutil.disk_usage(tmp_path).total


async def test_a_journal_that_is_not_open_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    keeping = journal(tmp_path / "journal.db")

    with pytest.raises(StoreError, match=r"journal\.db: .*not open"):
        await keeping.record((record("event/a"),))
    with pytest.raises(StoreError, match=r"journal\.db: .*not open"):
        await keeping.load()


# -- files that cannot be used -------------------------------------------------------------------------------


def _garbage(path: Path) -> None:
    path.write_bytes(b"This is no database. " * 500)


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def _directory(path: Path) -> None:
    path.mkdir()


def _below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file where a directory should be")


def open_files() -> set[Path]:
    return {link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_garbage, "not a database"),
        (_newer, f"schema {SCHEMA_VERSION + 1} is newer than this program's {SCHEMA_VERSION}"),
        (_directory, "unable to open"),
        (_below_a_file, "exists|Not a directory"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, spoil: object, says: str
) -> None:
    path = tmp_path / "state" / "journal.db"
    path.parent.mkdir()
    assert callable(spoil)
    spoil(path)

    with pytest.raises(JournalError, match=rf"journal\.db: .*({says})") as caught:
        await journal(path).open()

    assert caught.value.__traceback__ is not None, "the frames are alive, and what they held is closed"
    assert path not in open_files()


async def test_a_file_that_somebody_else_holds_is_named_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path):
        pass

    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match=r"journal\.db: database is locked"):
            await journal(path).open()


async def test_a_directory_that_cannot_be_made_is_named() -> None:
    with pytest.raises(JournalError, match=r"/proc/wattshift/journal\.db"):
        await journal(Path("/proc/wattshift/journal.db")).open()


# -- files that are damaged ----------------------------------------------------------------------------------


def _spoiled(path: Path, page: int) -> bytes:
    """What is left of the file after a disk lost one page of it."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
    return path.read_bytes()


def _root_page(path: Path, table: str) -> int:
    ((page,),) = rows_of(path, "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,))
    assert isinstance(page, int)
    return page


async def test_a_damaged_header_keeps_no_controller_from_starting_and_costs_no_byte_of_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as first:
        await first.record((record("event/a"),))
    left = _spoiled(path, 1)

    with capture_logs() as logs:
        async with opened(path) as second:
            assert second.stats.put_aside == 1
            assert await second.load() == ()
            await second.record((record("event/b"),))

    (aside,) = tmp_path.glob("journal.db.damaged-*")
    assert aside.read_bytes() == left
    (told,) = [log for log in logs if log["log_level"] == "error"]
    assert (told["event"], told["aside"]) == ("journal_put_aside", str(aside))
    assert "not a database" in told["why"]


async def test_a_journal_that_followed_a_damaged_one_says_so_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path):
        pass
    _spoiled(path, 1)
    async with opened(path):
        pass
    (aside,) = tmp_path.glob("journal.db.damaged-*")
    async with opened(path) as third:
        assert third.stats.put_aside == 1, "as long as the damaged file lies there"
    aside.rename(tmp_path / "evidence.db")
    async with opened(path) as fourth:
        assert fourth.stats.put_aside == 0

    found = audit(path)

    assert found.is_verified
    assert [(one.file, "not a database" in one.why) for one in found.replaced] == [(aside.name, True)]


async def test_what_a_restart_must_know_is_taken_over_from_a_file_whose_damage_is_elsewhere(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as first:
        await first.record((record("event/a"), record("own/event/b")))
    _spoiled(path, _root_page(path, "seals"))

    async with opened(path) as second:
        found = await second.load()
        await second.record((record("event/c"),))

    assert set(found) == {record("event/a"), record("own/event/b")}
    assert audit(path).is_verified
    assert len(audit(path).replaced) == 1


async def test_a_schema_that_is_no_text_any_more_keeps_no_controller_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path):
        pass
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE alarms", b"CR\xffATE TABLE alarms"))

    async with opened(path) as second:
        assert second.stats.put_aside == 1

    assert "bytes that are no text" in audit(path).replaced[0].why


@pytest.mark.parametrize("damage", ["text = CAST(x'7bff7d' AS TEXT)", "version_utc_s = 'soon'", "key = NULL"])
async def test_a_record_that_a_disk_has_damaged_costs_no_other_record_and_is_said(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as first:
        await first.record((record("event/a"), record("event/b")))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"UPDATE grid SET {damage} WHERE key = 'event/a'")  # noqa: S608 the parameters of this test

    with capture_logs() as logs:
        async with opened(path) as second:
            assert await second.load() == (record("event/b"),)
            assert second.stats.put_aside == 0

    assert {log["event"] for log in logs} == {"journal_record_damaged"}


async def test_what_never_was_a_journal_is_left_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('name = "Odessa"\n' * 100)

    with pytest.raises(JournalError, match="not a database"):
        await journal(path).open()

    assert [found.name for found in tmp_path.iterdir()] == ["site.toml"]


# -- history -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_history_is_written_behind_within_a_second(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as keeping, written_behind(keeping):
        keeping.planned(plan("site"))
        keeping.answered(told("asic-0", LOW), Failed("no answer"))
        keeping.job_answered(JobCommand(queue="q", job="j", action=JobAction.START), Acknowledged())
        keeping.alarm(ALARM, raised=True)
        await asyncio.sleep(1.5)

        samples = list(rows_of(path, "SELECT * FROM samples"))
        commands = list(rows_of(path, "SELECT * FROM commands"))
        alarms = list(rows_of(path, "SELECT * FROM alarms"))

    utc_us = microseconds(UTC_S)
    assert samples == [(1, utc_us, "site", 4000, 9000, 40_000, 45_000)]
    assert commands == [
        (1, utc_us, "asic-0", "low", 2000, "failed", "no answer"),
        (2, utc_us, "q/j", "start", 0, "acknowledged", ""),
    ]
    assert alarms == [(1, utc_us, "cooling", "hall", 1, "not proven")]


async def test_what_a_job_was_told_and_why_is_read_back_with_what_came_of_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    suspend = JobCommand(queue="q", job="job-1", action=JobAction.SUSPEND, why="limited site event dr-7")
    async with opened(path) as keeping:
        keeping.planned(replace(plan("site"), job_commands=(suspend,)))
        keeping.job_answered(suspend, Acknowledged())
        keeping.job_confirmed(suspend)
        keeping.answered(told("asic-0", LOW), Acknowledged())

    with reading(path) as history:
        rows = list(history.commands(0, math.inf))

    assert [(row.device, row.point, row.kind, row.detail) for row in rows if row.is_of_job] == [
        ("q/job-1", "suspend", "commanded", "limited site event dr-7"),
        ("q/job-1", "suspend", "acknowledged", ""),
        ("q/job-1", "suspend", "confirmed", ""),
    ]
    assert [row.device for row in rows if not row.is_of_job] == ["asic-0"]


async def test_when_machines_were_told_something_last_is_known_to_the_next_process(tmp_path: Path) -> None:
    path, wall = tmp_path / "journal.db", Wall()
    async with opened(path, wall=wall) as keeping:
        for at_s, device in ((0, "early"), (10, "a"), (20, "a"), (30, "b")):
            wall.utc_s = UTC_S + at_s
            keeping.commanded([told(device, LOW)], lambda _: "full")
        keeping.answered(told("c", LOW), Failed("no answer"))

    async with opened(path, wall=wall) as keeping:
        assert await keeping.told_since(UTC_S + 10) == {"a": UTC_S + 20, "b": UTC_S + 30}


async def test_closing_writes_what_was_not_yet_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"

    async with opened(path) as keeping:
        keeping.alarm(ALARM, raised=True)

    assert len(list(rows_of(path, "SELECT * FROM alarms"))) == 1


async def test_closing_while_nothing_can_be_written_is_logged_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    keeping = journal(path)
    await keeping.open()
    keeping.alarm(ALARM, raised=True)

    with capture_logs() as logs, locked(path):
        await keeping.close()

    assert [(entry["event"], entry["lost"]) for entry in logs] == [("journal_not_written", 1)]
    assert audit(path).is_verified
    assert "journal.db: database is locked" in logs[0]["why"]


@in_virtual_time
async def test_history_waits_for_a_locked_file_and_the_trouble_is_logged_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as keeping, written_behind(keeping):
        with capture_logs() as logs:
            with locked(path):
                for _ in range(5):
                    keeping.alarm(ALARM, raised=True)
                    await asyncio.sleep(1.0)
            await asyncio.sleep(2.0)
            logs = [entry for entry in logs if entry["event"] != "journal_sealed"]

        written = list(rows_of(path, "SELECT * FROM alarms"))

    assert [entry["event"] for entry in logs] == ["journal_not_written", "journal_written_again"]
    assert logs[0]["why"].endswith("journal.db: database is locked")
    assert len(written) == 5


@in_virtual_time
async def test_what_waits_is_bounded_and_the_newest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    keeping = Journal(path, 1.0, Wall(), busy_s=0.5)
    await keeping.open()
    async with written_behind(keeping):
        with locked(path), capture_logs():
            for number in range(BUFFERED_ROWS):
                keeping.alarm(replace(ALARM, subject=str(number)), raised=True)
            await asyncio.sleep(1.0)
            for number in range(10):  # while the writer waits for the lock
                await asyncio.to_thread(time.sleep, 0.03)
                keeping.alarm(replace(ALARM, subject=f"late-{number}"), raised=True)
            await asyncio.sleep(3.0)
        await asyncio.sleep(2.0)

        ((count,),) = rows_of(path, "SELECT count(*) FROM alarms")
        ((last,),) = rows_of(path, "SELECT subject FROM alarms ORDER BY rowid DESC LIMIT 1")
        ((first,),) = rows_of(path, "SELECT subject FROM alarms ORDER BY rowid LIMIT 1")
    await keeping.close()

    assert (count, first, last) == (BUFFERED_ROWS, "10", "late-9")
    assert [(loss.table, loss.rows) for loss in audit(path).losses] == [("alarms", 10)]
    assert keeping.stats.lost_rows == 10


@in_virtual_time
async def test_what_is_too_old_is_dropped_and_grid_records_are_not(tmp_path: Path) -> None:
    path, wall = tmp_path / "journal.db", Wall()
    async with opened(path, keep_days=2.0, wall=wall) as keeping, written_behind(keeping):
        await keeping.record((record("event/a"),))
        for _ in range(5):
            keeping.planned(plan("site"))
            keeping.answered(told("asic-0", SLEEP), Acknowledged())
            keeping.alarm(ALARM, raised=True)
            await asyncio.sleep(1.1)
            wall.utc_s += DAY_S
        await asyncio.sleep(1.1)
        wall.utc_s += QUIET_US / 2e6
        await asyncio.sleep(1.1)
        wall.utc_s += QUIET_US / 2e6
        await asyncio.sleep(1.1)

        tables = ("samples", "commands", "alarms")
        kept = [[row[0] for row in rows_of(path, f"SELECT utc_us FROM {table}")] for table in tables]  # noqa: S608 our own names
        events = await keeping.load()

    days = (UTC_S + 3 * DAY_S, UTC_S + 4 * DAY_S)
    assert kept == [[microseconds(utc_s) for utc_s in days]] * 3
    assert events == (record("event/a"),)
    assert audit(path).is_verified


@in_virtual_time
async def test_years_of_old_rows_go_in_bites_so_that_a_grid_event_never_waits_for_them(
    tmp_path: Path,
) -> None:
    path, wall = tmp_path / "journal.db", Wall()
    async with opened(path, wall=wall) as keeping:
        for _ in range(3 * PRUNED_AT_ONCE):
            keeping.alarm(ALARM, raised=True)
    wall.utc_s += 1000 * DAY_S

    left = []
    async with opened(path, wall=wall) as keeping, written_behind(keeping):
        for _ in range(2):
            wall.utc_s += QUIET_US / 2e6
            await asyncio.sleep(1.01)
        for _ in range(4):
            ((count,),) = rows_of(path, "SELECT count(*) FROM alarms")
            left.append(count)
            await asyncio.sleep(1.01)

    assert left == [2 * PRUNED_AT_ONCE, PRUNED_AT_ONCE, 0, 0]
    assert audit(path).is_verified


@in_virtual_time
async def test_the_site_is_sampled_every_tick_and_nodes_below_it_seldom(tmp_path: Path) -> None:
    path, wall = tmp_path / "journal.db", Wall()
    everything = plan("site", "pdu-1", "pdu-2")

    async with opened(path, wall=wall) as keeping:
        for _ in range(int(2 * NODES_EVERY_S) + 1):
            keeping.planned(everything)
            wall.utc_s += 1.0

    counts = rows_of(path, "SELECT node, count(*) FROM samples GROUP BY node ORDER BY node")
    assert counts == [("pdu-1", 3), ("pdu-2", 3), ("site", 2 * NODES_EVERY_S + 1)]


async def test_a_clock_that_was_set_back_does_not_stop_the_samples(tmp_path: Path) -> None:
    path, wall = tmp_path / "journal.db", Wall()

    async with opened(path, keep_days=4000.0, wall=wall) as keeping:
        keeping.planned(plan("site", "pdu-1"))
        wall.utc_s -= 1000 * DAY_S
        keeping.planned(plan("site", "pdu-1"))

    assert rows_of(path, "SELECT count(*) FROM samples WHERE node = 'pdu-1'") == [(2,)]


async def test_a_journal_is_read_from_outside_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "100% of a?b#c.db"

    async with opened(path) as keeping:
        keeping.alarm(ALARM, raised=True)

    assert len(list(rows_of(path, "SELECT * FROM alarms WHERE kind = ?", ["cooling"]))) == 1


async def test_a_reader_outside_never_holds_up_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with opened(path) as keeping:
        await keeping.record((record("event/a"),))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM grid").fetchall()

            await keeping.record((record("event/b"),))

    async with opened(path) as after:
        assert {found.key for found in await after.load()} == {"event/a", "event/b"}
