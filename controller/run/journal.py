"""The journal: what was asked, told, answered and measured, in one SQLite file.

Grid events are durable before anybody is told that they were accepted. Everything else is written behind,
once a second, from a bounded buffer: a full disk costs history, never control.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
"""
BUFFERED_ROWS = 100_000
WRITE_DEADLINE_S = 10.0
FLUSH_EVERY_S = 1.0
PRUNE_EVERY_S = 3600.0

Row = tuple[object, ...]
T = TypeVar("T")


class JournalError(Exception):
    """The journal cannot be opened or written; the message names the file."""


class Journal:
    """One writer thread owns the connection; nothing else touches it."""

    def __init__(self, path: Path, keep_days: float, utc: Callable[[], float]) -> None:
        self._path = path
        self._keep_s = keep_days * 86_400
        self._utc = utc
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._buffer: deque[tuple[str, Row]] = deque(maxlen=BUFFERED_ROWS)
        self._db: sqlite3.Connection | None = None
        self._failing = False

    async def open(self) -> None:
        await self._call(self._open)

    async def close(self) -> None:
        """Write what is still buffered, then close."""
        try:
            await self._call(self._flush)
            await self._call(self._close)
        finally:
            self._thread.shutdown(wait=False)

    async def run(self) -> None:
        """Write behind until cancelled."""
        since_prune_s = PRUNE_EVERY_S
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            since_prune_s += FLUSH_EVERY_S
            try:
                await self._call(self._flush)
                if since_prune_s >= PRUNE_EVERY_S:
                    await self._call(self._prune)
                    since_prune_s = 0.0
            except JournalError as error:
                if not self._failing:
                    log.error("journal_not_written", why=str(error), buffered=len(self._buffer))
                self._failing = True
            else:
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
        """Note a plan: its commands with their reasons, and one sample per node."""
        utc_s = self._utc()
        reasons = {grant.device: grant for grant in plan.grants}
        for command in plan.commands:
            grant = reasons[command.device]
            why = f"{grant.reason} {grant.limited_by}".strip()
            what = (command.device, command.point.name, command.point.power.watts)
            self._add("commands", (utc_s, *what, "commanded", why))
        for node in plan.nodes:
            metered_w = node.metered.watts if node.metered is not None else None
            limit_w = node.limit.power.watts if isinstance(node.limit, Limit) else None
            watts = (metered_w, limit_w, node.granted.watts, node.worst.watts)
            self._add("samples", (utc_s, node.node, *watts))

    def alarm(self, alarm: Alarm, *, raised: bool) -> None:
        self._add("alarms", (self._utc(), alarm.kind.value, alarm.subject, int(raised), alarm.detail))

    async def record(self, records: tuple[Record, ...], forget: tuple[str, ...] = ()) -> None:
        """Keep what the grid link must not lose: durable on return, or `StoreError` and nothing changed."""

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
            async with asyncio.timeout(WRITE_DEADLINE_S):
                return await loop.run_in_executor(self._thread, function)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{self._path}: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError("the journal is not open")
        return self._db

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path, timeout=5.0, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit is on the disk when it returns, which is what an acknowledgement promises.
        db.execute("PRAGMA synchronous = FULL")
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA_VERSION:
            db.close()
            raise sqlite3.DatabaseError(f"schema {found} is newer than this program's {SCHEMA_VERSION}")
        db.executescript(SCHEMA)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db = db

    def _close(self) -> None:
        self._connection().close()
        self._db = None

    def _flush(self) -> None:
        rows: dict[str, list[Row]] = {}
        taken: list[tuple[str, Row]] = []
        while self._buffer:
            taken.append(self._buffer.popleft())
            rows.setdefault(taken[-1][0], []).append(taken[-1][1])
        try:
            with self._connection() as db:
                for table, values in rows.items():
                    db.executemany(_insert(table, len(values[0])), values)
        except sqlite3.Error:
            self._buffer.extendleft(reversed(taken))
            raise

    def _prune(self) -> None:
        before_s = self._utc() - self._keep_s
        with self._connection() as db:
            db.execute("DELETE FROM samples WHERE utc_s < ?", (before_s,))
            db.execute("DELETE FROM commands WHERE utc_s < ?", (before_s,))
            db.execute("DELETE FROM alarms WHERE utc_s < ?", (before_s,))


def _insert(table: str, columns: int) -> str:
    marks = ", ".join("?" * columns)
    return f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - the table names are ours


def rows_of(path: Path, query: str, parameters: Sequence[object] = ()) -> Iterable[Row]:
    """Read a journal from outside, without disturbing its writer."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
    try:
        return db.execute(query, tuple(parameters)).fetchall()
    finally:
        db.close()
