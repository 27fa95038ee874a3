"""What is too old goes: whole parts of sealed rows, in bites, and the chain says so before it forgets.

The seals over dropped rows stay, so that the chain still leads from the oldest to the newest; they go at
last, when nothing that any table keeps is older than they are.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from controller.run.journal.chain import Chain, pruned_through
from controller.run.journal.schema import EVIDENCE, Bookkeeping
from controller.run.journal.seals import Row

PRUNED_AT_ONCE = 10_000
"""Rows per table and flush: old history goes in bites, for grid records wait for the same thread."""
SEALS_AT_ONCE = 1_000
DAY_US = 86_400_000_000
EVERY_US = 60_000_000
QUIET_US = 3_600_000_000
"""After a start, and after a leap of the clock by as much, nothing is dropped for this long: a clock that is
wrong for a moment must not cost years of evidence."""
SEALS = "seals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long rows are kept, in days: `history` for commands, samples, alarms and set-points of streams.
    With `archives` nothing goes before it is in the archive."""

    history: float
    usage: float
    events: float
    archives: bool = False

    def of(self, name: str) -> float:
        match name:
            case "usage":
                return self.usage
            case "events":
                return self.events
            case "bookkeeping":
                return max(self.history, self.usage, self.events)
            case _:
                return self.history


class Retention:
    """Make a new one after an error of the database: it reads how far the chain says that rows are gone. A
    UTC day goes once all of it is too old, and with an archive once it is in there."""

    def __init__(self, db: sqlite3.Connection, keep: Keep) -> None:
        self._keep = keep
        copied = "SELECT coalesce(max(last_id), 0) FROM bookkeeping WHERE what = ?"
        self.archived: int = db.execute(copied, (Bookkeeping.ARCHIVED,)).fetchone()[0]
        self._pruned = pruned_through(db)
        self._seen_us = 0
        self._quiet_until_us = 0
        self._looked_us = 0
        self._is_behind = True

    def bite(self, db: sqlite3.Connection, chain: Chain, now_us: int) -> None:
        """Drop some of what is too old, and write down what. The caller commits."""
        if not 0 <= now_us - self._seen_us < QUIET_US:
            self._quiet_until_us = now_us + QUIET_US
        self._seen_us = now_us
        if now_us < self._quiet_until_us:
            return
        if not self._is_behind and 0 <= now_us - self._looked_us < EVERY_US:
            return
        self._looked_us = now_us
        dropped = [name for name in EVIDENCE if self._drop(db, name, now_us)]
        if self._drop_seals(db, now_us):
            dropped.append(SEALS)
        self._is_behind = bool(dropped)
        if "bookkeeping" in dropped:
            dropped = sorted(self._pruned)  # what said so may just have gone itself: it is said anew
        rows: list[tuple[str, Row]] = [
            (
                "bookkeeping",
                (now_us, Bookkeeping.PRUNED, name, None, self._pruned[name], None, self._why(name)),
            )
            for name in dropped
        ]
        chain.append(db, rows, now_us)

    def _drop(self, db: sqlite3.Connection, name: str, now_us: int) -> bool:
        through = self._pruned.get(name, 0)
        first = _first_kept(db, name, through)
        rows = 0
        for seal, last_id, last_us in db.execute(
            "SELECT seals.seq, parts.last_id, seals.last_us FROM parts JOIN seals ON seals.seq = parts.seal"
            " WHERE parts.name = ? AND parts.seal >= ? ORDER BY parts.seal",
            (name, first),
        ):
            if rows >= PRUNED_AT_ONCE or (self._keep.archives and seal > self.archived):
                break
            if last_us > now_us:
                continue  # the clock was ahead: it is older than what follows it
            if last_us >= self._before_us(name, now_us):
                break
            rows, through = rows + last_id - through, last_id
        if not rows:
            return False
        db.execute(f"DELETE FROM {name} WHERE id <= ?", (through,))  # noqa: S608 our own names
        self._pruned[name] = through
        return True

    def _drop_seals(self, db: sqlite3.Connection, now_us: int) -> bool:
        """The oldest seals, of which no row is left and none would be kept. The newest one stays."""
        kept = (_first_kept(db, name, self._pruned.get(name, 0)) for name in EVIDENCE)
        rows = db.execute(
            "SELECT seq, last_us FROM seals WHERE seq < ? ORDER BY seq LIMIT ?", (min(kept), SEALS_AT_ONCE)
        )
        old = [seq for seq, last_us in rows if last_us < self._before_us("bookkeeping", now_us)]
        if not old:
            return False
        db.execute("DELETE FROM parts WHERE seal <= ?", (old[-1],))
        db.execute("DELETE FROM seals WHERE seq <= ?", (old[-1],))
        self._pruned[SEALS] = old[-1]
        return True

    def _before_us(self, name: str, now_us: int) -> float:
        return (now_us - self._keep.of(name) * DAY_US) // DAY_US * DAY_US

    def _why(self, name: str) -> str:
        return f"kept for {self._keep.of('bookkeeping' if name == SEALS else name):g} days"


def _first_kept(db: sqlite3.Connection, name: str, through: int) -> int:
    """The first seal with rows of a table beyond the id `through`; the newest seal where there is none. By
    bisection: there may be years of seals."""
    newest = db.execute("SELECT max(seq) FROM seals").fetchone()[0] or 0
    low, high = 0, newest
    while low < high:
        middle = (low + high) // 2
        part = db.execute(
            "SELECT last_id FROM parts WHERE name = ? AND seal <= ? ORDER BY seal DESC LIMIT 1",
            (name, middle),
        ).fetchone()
        if part is None or part[0] <= through:
            low = middle + 1
        else:
            high = middle
    return low
