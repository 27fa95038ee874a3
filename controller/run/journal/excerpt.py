"""Cuts whole seals with their rows out of a journal, into a file of the same form that is verified alone."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from controller.run.journal.audit import AuditError, audit
from controller.run.journal.readonly import HistoryError, connection
from controller.run.journal.retention import SEALS
from controller.run.journal.schema import (
    EVIDENCE,
    EXCERPT,
    LAST_SEAL,
    SCHEMA,
    SCHEMA_VERSION,
    Bookkeeping,
    microseconds,
)
from controller.run.journal.seals import Anchor

BLOCK_BYTES = 1 << 20


class ExcerptError(Exception):
    """Nothing was cut out; the message says why and names the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A file with the seals `first_seal` to `last_seal`, and the SHA-256 of its bytes."""

    path: Path
    first_seal: int
    last_seal: int
    sha256: str


def export(journal: Path, from_utc_s: float, to_utc_s: float, file: Path) -> Excerpt:
    """Cut out what was written from `from_utc_s` to `to_utc_s`, rounded outward to whole seals. A seal that
    may still grow is left out. `file` must not exist."""
    return cut(journal, window(journal, from_utc_s, to_utc_s), file)


def window(journal: Path, from_utc_s: float, to_utc_s: float) -> tuple[int, int]:
    """The first and the last finished seal of a window of time."""
    edges = (microseconds(max(-9e12, from_utc_s)), microseconds(min(9e12, to_utc_s)))
    try:
        with closing(connection(journal)) as db:
            query = "SELECT min(seq), max(seq) FROM seals WHERE last_us >= ? AND first_us < ? AND seq <= ?"
            first, last = db.execute(query, (*edges, finished(db))).fetchone()
    except (HistoryError, sqlite3.Error) as error:
        raise ExcerptError(_named(journal, error)) from error
    if first is None:
        raise ExcerptError(f"{journal}: no finished seal in that time")
    return first, last


def finished(db: sqlite3.Connection) -> int:
    """The newest seal that cannot grow any more: the last one only after the journal was closed in order."""
    newest = db.execute("SELECT coalesce(max(seq), 0) FROM seals").fetchone()[0]
    last = db.execute("SELECT what FROM bookkeeping ORDER BY id DESC LIMIT 1").fetchone()
    return int(newest) if last == (Bookkeeping.STOPPED,) else int(newest) - 1


def cut(journal: Path, seals: tuple[int, int], file: Path) -> Excerpt:
    """The same by the numbers of the seals. It is verified before it gets its name."""
    if file.exists():
        raise ExcerptError(f"{file}: there is such a file")
    unfinished = file.with_name(f"{file.name}.part")
    try:
        unfinished.unlink(missing_ok=True)
        _copy(journal, seals, unfinished)
        found = audit(unfinished)
        if not found.is_verified:
            fault = found.faults[0]
            raise ExcerptError(f"{journal}: seals {seals[0]} to {seals[1]}: {fault.table}: {fault.what}")
        digest = _durable(unfinished)
        unfinished.rename(file)
        _sync(file.parent)
    except (AuditError, sqlite3.Error, OSError) as error:
        raise ExcerptError(_named(file, error)) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return Excerpt(path=file, first_seal=seals[0], last_seal=seals[1], sha256=digest)


def adopted(journal: Path, seals: tuple[int, int], file: Path) -> Excerpt:
    """A file that exists, if it is what `cut` would have made."""
    try:
        with closing(connection(journal)) as db:
            last = db.execute("SELECT seq, hash FROM seals WHERE seq = ?", (seals[1],)).fetchone()
        with closing(connection(file)) as db:  # pages that no row needs are not looked at by an audit
            is_sound = db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = audit(file, [Anchor(*last)])
        is_whole = is_sound and found.is_verified and found.first is not None and found.first.seq == seals[0]
        if not is_whole or found.last != Anchor(*last):
            raise ExcerptError(f"{file}: it is not seals {seals[0]} to {seals[1]} of {journal}")
        return Excerpt(path=file, first_seal=seals[0], last_seal=seals[1], sha256=_durable(file))
    except (HistoryError, AuditError, sqlite3.Error, OSError) as error:
        raise ExcerptError(_named(file, error)) from error


def _copy(journal: Path, seals: tuple[int, int], file: Path) -> None:
    with closing(sqlite3.connect(file, uri=True, isolation_level=None)) as db:
        db.execute("ATTACH ? AS source", (f"{journal.resolve().as_uri()}?mode=ro",))
        db.execute("BEGIN")
        for statement in filter(str.strip, SCHEMA.replace("EXISTS ", "EXISTS main.").split(";")):
            db.execute(statement)
        db.execute("INSERT INTO seals SELECT * FROM source.seals WHERE seq BETWEEN ? AND ?", seals)
        db.execute("INSERT INTO parts SELECT * FROM source.parts WHERE seal BETWEEN ? AND ?", seals)
        db.execute(f"CREATE TABLE main.{EXCERPT} (name TEXT PRIMARY KEY, last_id INTEGER NOT NULL)")
        left_out = {SEALS: seals[0] - 1, LAST_SEAL: seals[1]}
        for name in EVIDENCE:
            ids = db.execute(
                "SELECT min(first_id), max(last_id) FROM parts WHERE name = ?", (name,)
            ).fetchone()
            if ids[0] is not None:
                copied = f"INSERT INTO main.{name} SELECT * FROM source.{name} WHERE id BETWEEN ? AND ?"  # noqa: S608 our own names
                db.execute(copied, ids)
                gone = db.execute(
                    "SELECT coalesce(max(last_id), 0) FROM source.bookkeeping WHERE what = ? AND subject = ?",
                    (Bookkeeping.PRUNED, name),
                ).fetchone()[0]
                left_out[name] = max(ids[0] - 1, min(gone, ids[1]))
        db.executemany(f"INSERT INTO {EXCERPT} VALUES (?, ?)", sorted(left_out.items()))  # noqa: S608 our own names
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")


def _durable(file: Path) -> str:
    """Have the bytes on the disk; their SHA-256."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(BLOCK_BYTES):
            digest.update(block)
        os.fsync(content.fileno())
    return digest.hexdigest()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(path: Path, error: Exception) -> str:
    return str(error) if str(path) in str(error) else f"{path}: {error}"
