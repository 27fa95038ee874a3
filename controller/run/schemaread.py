"""Reads the schema of a database that a disk may have damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def schema_read() -> Iterator[None]:
    """Around the first statements on a connection. SQLite quotes in its message what it cannot read of a
    schema; where that is no UTF-8, Python cannot make an error of it, and raises one about that."""
    try:
        yield
    except UnicodeDecodeError as error:
        damage = sqlite3.DatabaseError("malformed database schema: bytes that are no text")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage from error
