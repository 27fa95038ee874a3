"""Journals that are damaged: told from others, and laid aside, whole, so that a controller can start.

Nothing of them is changed or removed. Where one lies is said by its name, which nobody else gives.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
SECTOR_BYTES = 512
"""The smallest page of a database: what is no multiple of it never was one, and is none of ours."""
WITH_IT = ("-wal", "-shm")
_NAME = ".damaged-"


def is_damage(error: sqlite3.Error, path: Path) -> bool:
    """Whether the file at `path` will never be read again, and is a journal for all that is known."""
    code = getattr(error, "sqlite_errorcode", None)  # an error of our own, as of a newer schema, has none
    return code is not None and code & 0xFF in DAMAGE and path.stat().st_size % SECTOR_BYTES == 0


def put_aside(path: Path, utc_s: float) -> Path:
    """Give the file, and what belongs to it, a name of its own beside; that name."""
    when = datetime.fromtimestamp(utc_s, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}{_NAME}{when}")
    for suffix in WITH_IT:  # first: beside a new journal they would be taken for its own
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    path.rename(aside)
    return aside


def found_aside(path: Path) -> list[Path]:
    """Every journal that was put aside here and still lies there, oldest first, for all that can be read."""
    found: list[Path] = []
    with suppress(OSError):
        found += (one for one in path.parent.iterdir() if one.name.startswith(path.name + _NAME))
    return sorted(one for one in found if not one.name.endswith(WITH_IT))
