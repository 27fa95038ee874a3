"""Takes over the rows of schema 1, a bite at a time while the controller runs: an upgrade needs no pause and
no second copy of the disk. They are sealed as of then; what happened to them before nobody can prove. From
the samples of every second comes the energy by the minute that such a journal did not have.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from controller.run.journal.chain import Chain
from controller.run.journal.schema import COLUMNS, Bookkeeping, old_tables, seconds
from controller.run.journal.seals import Row
from controller.run.journal.usage import Drawn, MinuteMeter

MOVED_AT_ONCE = 5_000

_TAKE: Mapping[str, str] = {
    name: f"SELECT rowid, CAST(round(utc_s * 1000000) AS INTEGER), {', '.join(COLUMNS[name][1:])}"  # noqa: S608 our own names
    f" FROM old_{name} ORDER BY rowid LIMIT ?"
    for name in ("commands", "samples", "alarms")
}


class Moving:
    """Make a new one after an error of the database. `is_done` once nothing is left."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._tables = list(old_tables(db))
        self._meters: dict[object, MinuteMeter] = {}

    @property
    def is_done(self) -> bool:
        return not self._tables

    def bite(self, db: sqlite3.Connection, chain: Chain, now_us: int) -> None:
        """Move some rows. The caller commits."""
        if self.is_done:
            return
        name = self._tables[0]
        taken = db.execute(_TAKE[name], (MOVED_AT_ONCE,)).fetchall()
        rows: list[tuple[str, Row]] = [(name, tuple(row[1:])) for row in taken]
        if name == "samples":
            rows += [("usage", row) for row in self._usage(taken, is_all=len(taken) < MOVED_AT_ONCE)]
        if taken:
            db.execute(f"DELETE FROM old_{name} WHERE rowid <= ?", (taken[-1][0],))  # noqa: S608 our own names
            detail = "of schema 1, not sealed before"
            what: Row = (now_us, Bookkeeping.MOVED, name, None, None, len(taken), detail)
            chain.append(db, [*rows, ("bookkeeping", what)], now_us)
        if len(taken) < MOVED_AT_ONCE:
            db.execute(f"DROP TABLE old_{name}")
            del self._tables[0]

    def _usage(self, samples: Iterable[Sequence[Any]], *, is_all: bool) -> Iterator[Row]:
        """The minutes that these samples end; with the last of them, all that there is."""
        for _, utc_us, node, metered_w, limit_w, *_ in samples:
            readings = {} if metered_w is None else {str(node): Drawn(metered_w, limit_w)}
            utc_s = seconds(utc_us)
            yield from self._meters.setdefault(node, MinuteMeter()).read(utc_s, utc_s, readings)
        if is_all:
            for meter in self._meters.values():
                yield from meter.close()
