"""The journal's file, as its one writer thread sees it. Nothing here waits for anybody but the disk.

Whatever is written is sealed in the same transaction. After any error of the database what was known of the
file is forgotten and read anew, so that a write that failed halfway leaves no false memory.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import structlog

from controller.run.board import Disk
from controller.run.journal.aside import found_aside, is_damage, put_aside
from controller.run.journal.chain import Chain
from controller.run.journal.excerpt import Excerpt
from controller.run.journal.flood import Flood, left_out_rows
from controller.run.journal.happenings import Happening, StreamedPoint
from controller.run.journal.moving import Moving
from controller.run.journal.retention import Keep, Retention
from controller.run.journal.schema import (
    COMMANDED,
    NEW,
    NOT_CLOSED,
    Bookkeeping,
    microseconds,
    prepare,
    seconds,
)
from controller.run.journal.seals import Anchor, Row
from controller.run.journal.store import Record
from controller.run.journal.waiting import Named, Waiting, lost_rows
from controller.run.schemaread import schema_read

log = structlog.get_logger()


@dataclass(slots=True)
class _Known:
    """What is known of the file's end; valid until something goes wrong."""

    chain: Chain
    retention: Retention
    moving: Moving


class JournalFile:
    """`anchor` is the newest seal that will not change any more, `put_aside` how many damaged journals lie
    beside this one, `disk` the file system as it was at the last flush; other threads may read them."""

    def __init__(
        self, path: Path, *, keep: Keep, utc: Callable[[], float], waiting: Waiting, busy_s: float
    ) -> None:
        self.anchor: Anchor | None = None
        self.put_aside = 0
        self.disk: Disk | None = None
        self._path = path
        self._keep = keep
        self._utc = utc
        self._waiting = waiting
        self._busy_s = busy_s
        self._db: sqlite3.Connection | None = None
        self._known: _Known | None = None
        self._flood = Flood()

    def open(self) -> None:
        """A file that is damaged is put aside, and a new one begun: its seals say that it follows another."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._begin()
        except sqlite3.DatabaseError as error:
            if not is_damage(error, self._path):
                raise
            self._begin_anew(error)

    def _begin_anew(self, damage: sqlite3.Error) -> None:
        kept = _salvaged(self._path, self._busy_s)
        aside = put_aside(self._path, self._utc())
        log.error(
            "journal_put_aside", path=str(self._path), aside=str(aside), why=str(damage), kept=len(kept)
        )
        self._begin(str(damage))
        if kept:
            self.record(kept, (), ())

    def _begin(self, damage: str = "") -> None:
        """Open what is there, read what a start reads of it, and say that a controller begins."""
        self._known = None
        self._db = sqlite3.connect(self._path, timeout=self._busy_s, check_same_thread=False)
        try:
            with schema_read():
                prepare(self._db)
                self.load()
            rows = self._beginning(self._db, damage)
            try:
                self.flush(*rows)
            except sqlite3.Error as error:
                if is_damage(error, self._path):
                    raise
                for row in rows:  # a disk that takes nothing does not keep a controller from starting
                    self._waiting.add(*row)
        except sqlite3.Error:
            self._db.close()
            self._db = None
            raise

    def _beginning(self, db: sqlite3.Connection, damage: str) -> list[Named]:
        ended = _how_it_ended(db)
        started: Named = ("bookkeeping", self._note(Bookkeeping.STARTED, ended))
        if ended != NEW or not (aside := found_aside(self._path)):
            return [started]
        follows = (Bookkeeping.REPLACED, aside[-1].name, None, None, None, damage)
        return [("bookkeeping", (microseconds(self._utc()), *follows)), started]

    def finish(self) -> None:
        """Write what is left and that this is the end, then close; the file is closed in any case."""
        try:
            self.flush(("bookkeeping", self._note(Bookkeeping.STOPPED, "")), is_last=True)
        finally:
            self._connection().close()
            self._db = None

    def flush(self, *last: Named, is_last: bool = False) -> None:
        """Write what waits, and `last`; drop a bite of what is too old, move one of what is to be moved."""
        self.disk = _disk_of(self._path)
        rows, lost = self._waiting.take()
        at_us = microseconds(self._utc())
        left_out = self._flood.due(at_us, is_last=is_last)

        def write(db: sqlite3.Connection, known: _Known, now_us: int) -> None:
            said = (*lost_rows(lost, now_us), *left_out_rows(left_out, now_us))
            known.chain.append(db, [*rows, *said, *last], now_us)
            known.moving.bite(db, known.chain, now_us)
            known.retention.bite(db, known.chain, now_us)

        try:
            self._write(write)
        except sqlite3.Error:
            self._waiting.put_back(rows, lost)
            raise
        self._flood.told(left_out, at_us)
        self.put_aside = len(found_aside(self._path))

    def record(
        self,
        records: Sequence[Record],
        forget: Sequence[str],
        history: Sequence[Happening | StreamedPoint],
    ) -> None:
        """What a restart must know, and what happened: durable on return. Of a flood only the first is."""
        admitted = self._flood.admitted(history, microseconds(self._utc()))

        def write(db: sqlite3.Connection, known: _Known, now_us: int) -> None:
            db.executemany(
                "INSERT OR REPLACE INTO grid VALUES (?, ?, ?, ?)",
                [(record.key, record.version_utc_s, record.status, record.text) for record in records],
            )
            db.executemany("DELETE FROM grid WHERE key = ?", [(key,) for key in forget])
            known.chain.append(db, map(_row, admitted.rows), now_us)

        self._write(write)
        self._flood.wrote(admitted)
        self._waiting.lost_beside(len(history) - len(admitted.rows))

    def left_for_new(self, operator: str) -> float:
        """How many rows there are for new versions of an operator's events; any thread may ask."""
        return self._flood.left_for_new(operator, microseconds(self._utc()))

    def archived(self, excerpt: Excerpt) -> None:
        """Write down that there is such a file; retention may drop what is in it."""
        row = (Bookkeeping.ARCHIVED, excerpt.path.name, excerpt.first_seal, excerpt.last_seal, None)

        def write(db: sqlite3.Connection, known: _Known, now_us: int) -> None:
            known.chain.append(db, [("bookkeeping", (now_us, *row, excerpt.sha256))], now_us)
            known.retention.archived = excerpt.last_seal

        self._write(write)

    def load(self) -> tuple[Record, ...]:
        return _loaded(self._connection())

    def told_since(self, utc_s: float) -> Mapping[str, float]:
        """When each machine, and each job, was last told something, of those that were since then."""
        query = "SELECT device, max(utc_us) FROM commands WHERE utc_us >= ? AND kind = ? GROUP BY device"
        rows = self._connection().execute(query, (microseconds(utc_s), COMMANDED))
        return {str(device): seconds(utc_us) for device, utc_us in rows}

    def _write(self, write: Callable[[sqlite3.Connection, _Known, int], None]) -> None:
        """Run `write` in a transaction, and again if somebody else was at the file since the last one."""
        try:
            self._write_once(write)
        except sqlite3.IntegrityError:
            self._write_once(write)

    def _write_once(self, write: Callable[[sqlite3.Connection, _Known, int], None]) -> None:
        db = self._connection()
        known, self._known = self._known, None  # what is known holds again once this is committed
        with db:
            db.execute("BEGIN IMMEDIATE")
            if known is None:
                known = _Known(Chain(db), Retention(db, self._keep), Moving(db))
            write(db, known, microseconds(self._utc()))
        self._known, self.anchor = known, known.chain.closed

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError("the journal is not open")
        return self._db

    def _note(self, what: str, detail: str) -> Row:
        return (microseconds(self._utc()), what, "journal", None, None, None, detail)


def _disk_of(path: Path) -> Disk | None:
    try:
        used = shutil.disk_usage(path)
    except OSError:
        return None
    return Disk(free_bytes=used.free, size_bytes=used.total)


def _how_it_ended(db: sqlite3.Connection) -> str:
    """What the last controller said at last, if it could."""
    last = db.execute(
        "SELECT what FROM bookkeeping WHERE what IN (?, ?) ORDER BY id DESC LIMIT 1",
        (Bookkeeping.STARTED, Bookkeeping.STOPPED),
    ).fetchone()
    if last is None:
        return NEW
    if last[0] == Bookkeeping.STOPPED:
        return "after a stop"
    return NOT_CLOSED


def _salvaged(path: Path, busy_s: float) -> tuple[Record, ...]:
    """What a restart must know, if all of it can be read of a damaged file."""
    try:
        with closing(sqlite3.connect(path, timeout=busy_s)) as db, schema_read():
            return _loaded(db)
    except sqlite3.Error:
        return ()


def _loaded(db: sqlite3.Connection) -> tuple[Record, ...]:
    """All of them but those that a disk has damaged: a restart must know the others."""
    blobs = "CAST(key AS BLOB), version_utc_s, CAST(status AS BLOB), CAST(text AS BLOB)"
    found: list[Record] = []
    for key, version, status, text in db.execute(f"SELECT {blobs} FROM grid"):  # noqa: S608 our own names
        try:
            name, of, words = (bytes(part).decode() for part in (key, status, text))
            found.append(Record(key=name, version_utc_s=float(version), status=of, text=words))
        except (ValueError, TypeError) as error:
            log.error("journal_record_damaged", key=repr(key), why=str(error))
    return tuple(found)


def _row(happening: Happening | StreamedPoint) -> Named:
    match happening:
        case Happening():
            version_us = None
            if happening.version_utc_s is not None:
                version_us = microseconds(happening.version_utc_s)
            what = (version_us, happening.status, happening.why, happening.text)
            return "events", (microseconds(happening.utc_s), happening.operator, happening.event, *what)
        case StreamedPoint():
            window = (
                microseconds(happening.version_utc_s),
                microseconds(happening.start_utc_s),
                microseconds(happening.end_utc_s) if happening.end_utc_s < float("inf") else None,
            )
            who = (happening.operator, happening.event)
            return "setpoints", (microseconds(happening.utc_s), *who, *window, happening.watts)
