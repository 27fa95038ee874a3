"""The writing end of the chain of seals: rows and the seal over them, in one transaction of the caller's.

The newest seal grows with every transaction until its minute is over; then the next one begins, and it never
changes again. Killed at any instant, a file holds exactly the rows that its seals cover.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import TYPE_CHECKING

from controller.run.journal.schema import COLUMNS, EVIDENCE, Bookkeeping
from controller.run.journal.seals import GENESIS, Anchor, Part, Row, Seal, line, writable

if TYPE_CHECKING:
    from hashlib import _Hash

SEAL_US = 60_000_000
ROWS_A_SEAL = 5_000
"""A seal that has grown to this ends early: what retention drops at once stays small."""

_INSERT = {
    name: f"INSERT INTO {name} (id, {', '.join(columns)}) VALUES (?{', ?' * len(columns)})"  # noqa: S608 our own names
    for name, columns in COLUMNS.items()
}


@dataclass(slots=True)
class _OpenPart:
    first_id: int
    last_id: int
    digest: _Hash


@dataclass(slots=True)
class _OpenSeal:
    seq: int
    previous: str
    first_us: int
    rows: int = 0
    hash: str = ""
    parts: dict[str, _OpenPart] = field(default_factory=dict)


class Chain:
    """What is known of the end of the chain. After an error of the database make a new one: that reads it.

    `closed` is the newest seal that will not change any more.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        """Go on after what `db` holds, even where somebody else has been at it: then with a gap."""
        newest = db.execute("SELECT seq, hash FROM seals ORDER BY seq DESC LIMIT 1").fetchone()
        self.closed: Anchor | None = None if newest is None else Anchor(*newest)
        self._open: _OpenSeal | None = None
        pruned = pruned_through(db)
        self._last_ids = {
            name: max(
                db.execute(f"SELECT coalesce(max(id), 0) FROM {name}").fetchone()[0],  # noqa: S608 our own names
                _last_sealed(db, name),
                pruned.get(name, 0),
            )
            for name in EVIDENCE
        }

    def append(self, db: sqlite3.Connection, rows: Iterable[tuple[str, Row]], now_us: int) -> None:
        """Write rows, each with the name of its table, and seal them. What follows the first column of
        `COLUMNS` is in its order. The caller commits."""
        waiting = iter(rows)
        while taken := list(islice(waiting, ROWS_A_SEAL)):
            self._append(db, self._seal_for(now_us), taken, now_us)

    def _append(
        self, db: sqlite3.Connection, seal: _OpenSeal, rows: list[tuple[str, Row]], now_us: int
    ) -> None:
        for name, group in groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[0]):
            first_id = self._last_ids[name] + 1
            numbered = [(first_id + at, *writable(row)) for at, (_, row) in enumerate(group)]
            db.executemany(_INSERT[name], numbered)
            part = seal.parts.setdefault(name, _OpenPart(first_id, first_id, hashlib.sha256()))
            part.digest.update(b"".join(map(line, numbered)))
            part.last_id = self._last_ids[name] = first_id + len(numbered) - 1
            db.execute(
                "INSERT INTO parts VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET last_id = excluded.last_id, digest = excluded.digest",
                (seal.seq, name, part.first_id, part.last_id, part.digest.hexdigest()),
            )
        seal.rows += len(rows)
        self._write(db, seal, now_us)

    def _seal_for(self, now_us: int) -> _OpenSeal:
        """The seal that is open, or the next one where its minute is over. A clock that was set back ends it
        too."""
        seal = self._open
        if seal is not None and seal.first_us // SEAL_US == now_us // SEAL_US and seal.rows < ROWS_A_SEAL:
            return seal
        if seal is not None:
            self.closed = Anchor(seal.seq, seal.hash)
        before = self.closed or Anchor(0, GENESIS)
        self._open = _OpenSeal(seq=before.seq + 1, previous=before.hash, first_us=now_us)
        return self._open

    def _write(self, db: sqlite3.Connection, seal: _OpenSeal, now_us: int) -> None:
        grown = Seal(
            seq=seal.seq,
            previous=seal.previous,
            first_us=seal.first_us,
            last_us=now_us,
            parts=tuple(
                Part(name=name, first_id=p.first_id, last_id=p.last_id, digest=p.digest.hexdigest())
                for name, p in seal.parts.items()
            ),
        )
        if not seal.hash:
            row = (seal.seq, seal.previous, seal.first_us, now_us, grown.hash)
            db.execute("INSERT INTO seals VALUES (?, ?, ?, ?, ?)", row)
        else:
            grows = (
                "UPDATE seals SET last_us = ?, hash = ? WHERE seq = ? AND hash = ?"
                " AND seq = (SELECT max(seq) FROM seals)"
            )
            if db.execute(grows, (now_us, grown.hash, seal.seq, seal.hash)).rowcount != 1:
                raise sqlite3.IntegrityError(f"somebody else wrote to seal {seal.seq}, or after it")
        seal.hash = grown.hash


def pruned_through(db: sqlite3.Connection) -> dict[str, int]:
    """Up to which id the rows of each table are gone by retention, and up to which number the seals."""
    said = "SELECT subject, max(last_id) FROM bookkeeping WHERE what = ? GROUP BY subject"
    return {str(name): int(last) for name, last in db.execute(said, (Bookkeeping.PRUNED,))}


def _last_sealed(db: sqlite3.Connection, name: str) -> int:
    """The newest id of a table that a seal covers. Rows that retention dropped leave their numbers taken."""
    newest = db.execute(
        "SELECT last_id FROM parts WHERE name = ? ORDER BY seal DESC LIMIT 1", (name,)
    ).fetchone()
    return 0 if newest is None else int(newest[0])
