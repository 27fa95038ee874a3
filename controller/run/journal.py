"""The journal: what was asked, told, answered and measured, in one SQLite file.

Grid events are durable before anybody is told that they were accepted. Everything else is written behind,
once a second, from a bounded buffer: a full disk costs history, never control.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import structlog

from controller.decide.plan import Alarm, Plan
from controller.domain.devices import Outcome, SetPoint
from controller.domain.jobs import JobCommand
from controller.domain.power import Limit
from controller.run.devices import outcome_name
from controller.run.gridbook import Record, StoreError

log = structlog.get_logger()

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS commands (
    utc_s REAL NOT NULL, device TEXT NOT NULL, point TEXT NOT NULL, watts INTEGER NOT NULL,
    kind TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS samples (
    utc_s REAL NOT NULL, node TEXT NOT NULL, metered_w INTEGER, limit_w INTEGER,
    granted_w INTEGER NOT NULL, worst_w INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS alarms (
    utc_s REAL NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, raised INTEGER NOT NULL,
    detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS grid (
    key TEXT PRIMARY KEY, version_utc_s REAL NOT NULL, status TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS samples_by_time ON samples (utc_s);
CREATE INDEX IF NOT EXISTS commands_by_time ON commands (utc_s);
CREATE INDEX IF NOT EXISTS alarms_by_time ON alarms (utc_s);
"""
HISTORY = ("commands", "samples", "alarms")
BUFFERED_ROWS = 100_000
FLUSH_EVERY_S = 1.0
NODES_EVERY_S = 60.0
"""The site is sampled every tick, for settlement; the nodes below it only so often, for the disk's sake."""
PRUNED_AT_ONCE = 10_000
"""Rows per table and flush: old history goes in bites, for grid records wait for the same thread."""
BUSY_S = 1.0
WRITE_DEADLINE_S = 10.0

Row = tuple[object, ...]
T = TypeVar("T")


class JournalError(Exception):
    """The journal cannot be opened or written; the message names the file."""


class Journal:
    """One writer thread owns the connection; nothing else touches it."""

    def __init__(
        self,
        path: Path,
        keep_days: float,
        utc: Callable[[], float],
        *,
        busy_s: float = BUSY_S,
        deadline_s: float = WRITE_DEADLINE_S,
    ) -> None:
        self._path = path
        self._busy_s = busy_s
        self._deadline_s = deadline_s
        self._keep_s = keep_days * 86_400
        self._utc = utc
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._buffer: deque[tuple[str, Row]] = deque(maxlen=BUFFERED_ROWS)
        self._db: sqlite3.Connection | None = None
        self._failing = False
        self._nodes_period = 0

    async def open(self) -> None:
        await self._call(self._open)

    async def close(self) -> None:
        """Write what is still buffered, then close; what cannot be written now is lost, and said so."""
        try:
            await self._call(self._finish)
        except JournalError as error:
            log.error("journal_not_written", why=str(error), lost=len(self._buffer))
        finally:
            self._thread.shutdown(wait=False)

    async def run(self) -> None:
        """Write behind until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            try:
                await self._call(self._flush)
            except JournalError as error:
                if not self._failing:
                    log.error("journal_not_written", why=str(error), buffered=len(self._buffer))
                self._failing = True
            else:
                if self._failing:
                    log.info("journal_written_again")
                self._failing = False

    def answered(self, command: SetPoint, outcome: Outcome) -> None:
        detail = getattr(outcome, "why", "")
        row = (self._utc(), command.device, command.point.name, command.point.power.watts)
        self._add("commands", (*row, outcome_name(outcome), detail))

    def job_answered(self, command: JobCommand, outcome: Outcome) -> None:
        detail = getattr(outcome, "why", "")
        row = (self._utc(), f"{command.queue}/{command.job}", command.action.value, 0)
        self._add("commands", (*row, outcome_name(outcome), detail))

    def planned(self, plan: Plan) -> None:
        """Note a plan: its commands with their reasons, and what the site and its nodes draw."""
        utc_s = self._utc()
        for command in plan.commands:
            why = plan.grants.why(command.device)
            what = (command.device, command.point.name, command.point.power.watts)
            self._add("commands", (utc_s, *what, "commanded", why))
        before, self._nodes_period = self._nodes_period, int(utc_s // NODES_EVERY_S)
        for node in plan.nodes if self._nodes_period != before else plan.nodes[:1]:
            metered_w = node.metered.watts if node.metered is not None else None
            limit_w = node.limit.power.watts if isinstance(node.limit, Limit) else None
            watts = (metered_w, limit_w, node.granted.watts, node.worst.watts)
            self._add("samples", (utc_s, node.node, *watts))

    def alarm(self, alarm: Alarm, *, raised: bool) -> None:
        self._add("alarms", (self._utc(), alarm.kind.value, alarm.subject, int(raised), alarm.detail))

    async def record(self, records: tuple[Record, ...], forget: tuple[str, ...] = ()) -> None:
        """Keep what the grid link must not lose: durable on return. After `StoreError` it was not written,
        or, if the disk gave no answer in time, all of it may yet be."""

        def write() -> None:
            with self._connection() as db:
                db.executemany(
                    "INSERT OR REPLACE INTO grid VALUES (?, ?, ?, ?)",
                    [(record.key, record.version_utc_s, record.status, record.text) for record in records],
                )
                db.executemany("DELETE FROM grid WHERE key = ?", [(key,) for key in forget])

        try:
            await self._call(write)
        except JournalError as error:
            raise StoreError(str(error)) from error

    async def load(self) -> tuple[Record, ...]:
        def read() -> tuple[Record, ...]:
            rows = self._connection().execute("SELECT key, version_utc_s, status, text FROM grid")
            return tuple(
                Record(key=str(key), version_utc_s=float(version), status=str(status), text=str(text))
                for key, version, status, text in rows
            )

        try:
            return await self._call(read)
        except JournalError as error:
            raise StoreError(str(error)) from error

    def _add(self, table: str, row: Row) -> None:
        self._buffer.append((table, row))

    async def _call(self, function: Callable[[], T]) -> T:
        """Run on the journal's thread, with a deadline."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await loop.run_in_executor(self._thread, function)
        except TimeoutError as error:
            raise JournalError(f"{self._path}: no answer within {self._deadline_s} s") from error
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{self._path}: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError("the journal is not open")
        return self._db

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=self._busy_s, check_same_thread=False)
        try:
            _prepare(db)
        except sqlite3.Error:
            db.close()
            raise
        self._db = db

    def _finish(self) -> None:
        try:
            self._flush()
        finally:
            self._connection().close()
            self._db = None

    def _flush(self) -> None:
        """Write what is buffered, and drop a bite of what is too old."""
        taken: list[tuple[str, Row]] = []
        while self._buffer:
            taken.append(self._buffer.popleft())
        try:
            with self._connection() as db:
                for table in HISTORY:
                    if rows := [row for name, row in taken if name == table]:
                        marks = ", ".join("?" * len(rows[0]))
                        db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 our own names
                    self._prune(db, table)
        except sqlite3.Error:
            room = BUFFERED_ROWS - len(self._buffer)  # what came meanwhile is newer, and stays
            self._buffer.extendleft(reversed(taken[-room:] if room > 0 else []))
            raise

    def _prune(self, db: sqlite3.Connection, table: str) -> None:
        old = f"SELECT rowid FROM {table} WHERE utc_s < ? LIMIT ?"  # noqa: S608 our own names
        before_s = self._utc() - self._keep_s
        db.execute(f"DELETE FROM {table} WHERE rowid IN ({old})", (before_s, PRUNED_AT_ONCE))  # noqa: S608 our own names


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    # FULL: a commit is on the disk when it returns, which is what an acknowledgement promises.
    db.execute("PRAGMA synchronous = FULL")
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"schema {found} is newer than this program's {SCHEMA_VERSION}")
    db.executescript(SCHEMA)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def rows_of(path: Path, query: str, parameters: Sequence[object] = ()) -> list[Row]:
    """Read a journal from outside, without disturbing its writer."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as db:
        return db.execute(query, tuple(parameters)).fetchall()
