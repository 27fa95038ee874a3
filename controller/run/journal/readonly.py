"""Opens a journal for reading, as whoever holds a copy of it would, and disturbs no writer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from controller.run.journal.schema import SCHEMA_VERSION

BUSY_S = 1.0


class HistoryError(Exception):
    """The journal cannot be read; the message names the file."""


def connection(path: Path) -> sqlite3.Connection:
    """A read-only connection to a journal of this schema; `HistoryError` if it is none. Where nothing may be
    written a file is read too, if nothing beside it (`-wal`) belongs to it."""
    if not path.is_file():
        raise HistoryError(f"{path}: no such file")
    try:
        return _checked(path, "mode=ro")
    except sqlite3.OperationalError as error:
        rest = path.with_name(f"{path.name}-wal")
        if rest.exists() and rest.stat().st_size:
            raise HistoryError(f"{path}: {error}") from error
        try:
            return _checked(path, "mode=ro&immutable=1")
        except sqlite3.Error:
            raise HistoryError(f"{path}: {error}") from error
    except sqlite3.Error as error:
        raise HistoryError(f"{path}: {error}") from error


def _checked(path: Path, mode: str) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=BUSY_S)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "samples" not in tables:
            raise HistoryError(f"{path}: not a journal")
        if version < SCHEMA_VERSION:
            raise HistoryError(
                f"{path}: schema {version} is upgraded when a controller of this version opens it"
            )
        if version > SCHEMA_VERSION:
            raise HistoryError(f"{path}: schema {version}, this program reads {SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db
