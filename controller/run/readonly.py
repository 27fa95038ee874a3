"""Opens a database of ours as whoever may only read it would, and disturbs no writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from controller.run.schemaread import schema_read

BUSY_S = 1.0


def read_only(path: Path, check: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """A connection that `check` found to be what it should be; `sqlite3.Error`, or what `check` raises. Where
    nothing may be written a file is read too, if nothing beside it (`-wal`) belongs to it."""
    try:
        return _checked(path, "mode=ro", check)
    except sqlite3.OperationalError as error:
        rest = path.with_name(f"{path.name}-wal")
        if rest.exists() and rest.stat().st_size:
            raise
        try:
            return _checked(path, "mode=ro&immutable=1", check)
        except sqlite3.Error:
            raise error from None


def _checked(path: Path, mode: str, check: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=BUSY_S)
    try:
        with schema_read():
            check(db)
    except BaseException:
        db.close()
        raise
    return db
