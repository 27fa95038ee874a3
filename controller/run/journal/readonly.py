"""Opens a journal for reading, as whoever holds a copy of it would, and disturbs no writer."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

from controller.run.journal.schema import SCHEMA_VERSION
from controller.run.readonly import read_only


class HistoryError(Exception):
    """The journal cannot be read; the message names the file."""


def connection(path: Path) -> sqlite3.Connection:
    """A read-only connection to a journal of this schema; `HistoryError` if it is none."""
    if not path.is_file():
        raise HistoryError(f"{path}: no such file")
    try:
        return read_only(path, partial(_check, path))
    except sqlite3.Error as error:
        raise HistoryError(f"{path}: {error}") from error


def _check(path: Path, db: sqlite3.Connection) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "samples" not in tables:
        raise HistoryError(f"{path}: not a journal")
    if version < SCHEMA_VERSION:
        raise HistoryError(f"{path}: schema {version} is upgraded when a controller of this version opens it")
    if version > SCHEMA_VERSION:
        raise HistoryError(f"{path}: schema {version}, this program reads {SCHEMA_VERSION}")
