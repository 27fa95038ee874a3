"""What stands in a journal's file, read beside whoever writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from controller.run.journal.seals import Row
from controller.run.readonly import BUSY_S


def rows_of(path: Path, query: str, parameters: Sequence[object] = ()) -> list[Row]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as db:
        return db.execute(query, tuple(parameters)).fetchall()
