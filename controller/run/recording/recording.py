"""The recording: the inputs of every decision, in a SQLite file beside the journal, for `wattshift replay`.

The loop only puts a reference down. A thread of its own works out the differences and writes them once a
second, and gives way to the loop while it does. What cannot be written is a gap, never a wait: a full disk
costs the recording, never control.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import structlog

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.domain.site import Site
from controller.run.giveway import GiveWay
from controller.run.recording.plainform import PlainFormError
from controller.run.recording.tickstream import StreamWriter, Tick
from controller.run.recording.told import told
from controller.run.schemaread import schema_read
from drivers.outside import Outside

log = structlog.get_logger()

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, begins TEXT NOT NULL, program TEXT NOT NULL,
    first_utc_s REAL NOT NULL, last_utc_s REAL NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS frames (
    chunk INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (chunk, at)
);
"""
FLUSH_EVERY_S = 1.0
HURRY_TICKS = 5
"""When more wait than this, writing them does not give way to the loop: it would end in a gap."""
WAITING_TICKS = 30
"""Ten thousand devices are some 5 MB a tick as long as they wait for the disk."""
CHUNK_S = 600.0
"""How often the stream begins anew with everything: a replay starts there, and old chunks go as a whole."""
BUSY_S = 1.0
CLOSE_DEADLINE_S = 10.0
DAY_S = 86_400.0
MEGABYTE = 1_000_000


class RecordingError(Exception):
    """The recording cannot be used; the message names the file."""


class Begins(StrEnum):
    """How a chunk relates to the one before: the process started, it goes on, or ticks are missing."""

    START = "start"
    GOES_ON = "goes_on"
    GAP = "gap"


class Recorder(Protocol):
    """What the loop tells of: first what it is about to decide on, then what came of it, if anything."""

    def deciding(self, before: State, inputs: Inputs) -> None: ...

    def decided(self, plan: Plan) -> None: ...

    def left(self) -> None:
        """What was to be decided was left, and nothing was told."""


class NotRecorded:
    """For a site that does not want it."""

    def deciding(self, before: State, inputs: Inputs) -> None:
        return None

    def decided(self, plan: Plan) -> None:
        return None

    def left(self) -> None:
        return None


@dataclass(slots=True)
class Waiting:
    """A tick on its way to the disk. `after_gap` says that ticks before it were lost."""

    before: State
    inputs: Inputs
    plan: Plan | None = None
    after_gap: bool = False


@dataclass(slots=True)
class Chunk:
    id: int
    writer: StreamWriter
    began_s: float
    frames: int = 0


def recording_path(journal: Path) -> Path:
    return journal.with_suffix(".recording.db")


class Recording:
    """One thread owns the connection. `keep_days` and `max_mb` bound the file; the newest chunk stays."""

    def __init__(
        self, path: Path, *, site: Site, program: str, keep_days: float, max_mb: float, busy_s: float = BUSY_S
    ) -> None:
        self._path = path
        self._site = site
        self._program = program
        self._keep_s = keep_days * DAY_S
        self._max_bytes = max_mb * MEGABYTE
        self._busy_s = busy_s
        self._thread = Outside(1)
        self._waiting: deque[Waiting] = deque()
        self._deciding: Waiting | None = None
        self._db: sqlite3.Connection | None = None
        self._chunk: Chunk | None = None
        self._begins = Begins.START
        self._is_failing = False
        self._has_warned = False
        self._give_way = GiveWay()

    def deciding(self, before: State, inputs: Inputs) -> None:
        self._deciding = Waiting(before, inputs)

    def decided(self, plan: Plan) -> None:
        assert self._deciding is not None
        self._deciding.plan = plan
        self._put_down()

    def left(self) -> None:
        self._deciding = None

    async def run(self) -> None:
        """Write behind until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self._write_behind()

    async def close(self) -> None:
        """Write what is left, also a tick whose decision failed."""
        if self._deciding is not None:
            self._put_down()
        try:
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await self._write_behind()
                await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        except TimeoutError:
            log.error("recording_not_written", path=str(self._path), why="no answer")
        except sqlite3.Error as error:
            log.error("recording_not_written", path=str(self._path), why=repr(error))
        finally:
            self._thread.shutdown(wait=False)

    def _put_down(self) -> None:
        assert self._deciding is not None
        self._waiting.append(self._deciding)
        self._deciding = None
        if len(self._waiting) > WAITING_TICKS:
            self._waiting.popleft()
            self._waiting[0].after_gap = True

    async def _write_behind(self) -> None:
        taken, self._waiting = self._waiting, deque()
        if not taken:
            return
        try:
            # Shielded: who is told to stop while ticks wait for the thread must not take them along.
            writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write_all, taken)
            await asyncio.shield(writing)
        except (sqlite3.Error, OSError, PlainFormError) as error:
            if not self._is_failing:
                log.error("recording_not_written", path=str(self._path), why=repr(error))
            self._is_failing = True
        else:
            if self._is_failing:
                log.info("recording_written_again", path=str(self._path))
            self._is_failing = False

    # -- on the thread ----------------------------------------------------------------------------------

    def _write_all(self, taken: Sequence[Waiting]) -> None:
        self._give_way.hurry = len(taken) > HURRY_TICKS
        try:
            self._write_taken(taken)
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:
                raise  # locked, or a full disk: another time
            self._put_aside(error)  # a page of it is damaged, and would be at every try
            self._write_taken(taken)

    def _write_taken(self, taken: Sequence[Waiting]) -> None:
        try:
            db = self._connection()
            with db:
                for begins_anew, ticks in self._by_chunk(taken):
                    if begins_anew:
                        self._begin(db, ticks[0])
                    self._write(db, ticks)
                self._prune(db)
        except (sqlite3.Error, OSError, PlainFormError):
            # What the stream has swallowed cannot be written again: it begins anew after what is lost.
            self._chunk, self._begins = None, Begins.GAP
            raise

    def _by_chunk(self, taken: Iterable[Waiting]) -> Iterator[tuple[bool, list[Waiting]]]:
        """Ticks that go into one chunk, and whether that is a new one."""
        began_s = None if self._chunk is None else self._chunk.began_s
        begins_anew, ticks = False, list[Waiting]()
        for tick in taken:
            if began_s is None or tick.after_gap or tick.inputs.now_s - began_s >= CHUNK_S:
                if ticks:
                    yield begins_anew, ticks
                begins_anew, ticks, began_s = True, [], tick.inputs.now_s
            ticks.append(tick)
        yield begins_anew, ticks

    def _begin(self, db: sqlite3.Connection, first: Waiting) -> None:
        begins = Begins.GAP if first.after_gap else self._begins
        utc_s = first.inputs.utc_s
        made = db.execute(
            "INSERT INTO chunks (begins, program, first_utc_s, last_utc_s, bytes) VALUES (?, ?, ?, ?, 0)",
            (begins.value, self._program, utc_s, utc_s),
        )
        writer = StreamWriter(self._site, first.before, self._give_way)
        if writer.trouble and not self._has_warned:
            self._has_warned = True
            log.warning("recording_without_state", why=writer.trouble)
        assert made.lastrowid is not None
        self._chunk = Chunk(made.lastrowid, writer, first.inputs.now_s)
        self._begins = Begins.GOES_ON

    def _write(self, db: sqlite3.Connection, ticks: list[Waiting]) -> None:
        chunk = self._chunk
        assert chunk is not None
        data = chunk.writer.ticks(
            Tick(inputs=tick.inputs, told=None if tick.plan is None else told(tick.plan)) for tick in ticks
        )
        db.execute("INSERT INTO frames VALUES (?, ?, ?)", (chunk.id, chunk.frames, data))
        chunk.frames += 1
        utc_s = [tick.inputs.utc_s for tick in ticks]
        db.execute(
            "UPDATE chunks SET first_utc_s = min(first_utc_s, ?), last_utc_s = max(last_utc_s, ?),"
            " bytes = bytes + ? WHERE id = ?",
            (min(utc_s), max(utc_s), len(data), chunk.id),
        )

    def _prune(self, db: sqlite3.Connection) -> None:
        """Drop what is too old or too much, oldest first, but never the chunk that is being written."""
        assert self._chunk is not None
        chunks = db.execute("SELECT id, last_utc_s, bytes FROM chunks ORDER BY id").fetchall()
        held, newest_utc_s = sum(size for _, _, size in chunks), chunks[-1][1]
        for number, last_utc_s, size in chunks:
            is_wanted = last_utc_s >= newest_utc_s - self._keep_s and held <= self._max_bytes
            if is_wanted or number == self._chunk.id:
                return
            db.execute("DELETE FROM frames WHERE chunk = ?", (number,))
            db.execute("DELETE FROM chunks WHERE id = ?", (number,))
            held -= size

    def _connection(self) -> sqlite3.Connection:
        """The file, made or opened; one that is not ours to go on with is put aside, not lost."""
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._db = _opened(self._path, self._busy_s)
            except sqlite3.OperationalError:
                raise  # locked, or a full disk: another time
            except sqlite3.DatabaseError as error:
                self._put_aside(error)
                self._db = _opened(self._path, self._busy_s)
        return self._db

    def _put_aside(self, why: sqlite3.Error) -> None:
        self._close()
        aside = self._path.with_name(f"{self._path.name}.old")
        log.warning("recording_put_aside", path=str(self._path), to=str(aside), why=str(why))
        for suffix in ("-wal", "-shm"):
            self._path.with_name(f"{self._path.name}{suffix}").unlink(missing_ok=True)
        self._path.replace(aside)

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def _opened(path: Path, busy_s: float) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=busy_s, check_same_thread=False)
    try:
        with schema_read():
            db.execute("PRAGMA journal_mode = WAL")
            # NORMAL: a power cut may cost the last seconds, never the file. Nothing was promised to anybody.
            db.execute("PRAGMA synchronous = NORMAL")
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, SCHEMA_VERSION):
                raise sqlite3.DatabaseError(f"schema {found}, this program writes {SCHEMA_VERSION}")
            db.executescript(SCHEMA)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except sqlite3.Error:
        db.close()
        raise
    return db
