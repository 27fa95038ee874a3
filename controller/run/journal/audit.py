"""Verifies a journal: is every row, and every seal over it, as it was once written? It reads the file, and
needs nothing else of the site.

What it proves is that nothing was changed, left out, put in or moved since it was sealed, unless somebody
wrote the chain anew from there on. That shows only against anchors: seals that others took down at the time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from controller.run.journal.finding import Audit, Fault, Loss, Replaced
from controller.run.journal.readonly import HistoryError, connection
from controller.run.journal.retention import SEALS
from controller.run.journal.schema import (
    COLUMNS,
    EVIDENCE,
    EXCERPT,
    LAST_SEAL,
    NOT_CLOSED,
    Bookkeeping,
    old_tables,
    seconds,
)
from controller.run.journal.seals import GENESIS, Anchor, Part, Seal, digest_of


class AuditError(Exception):
    """The file cannot be read as a journal; the message names it."""


def audit(path: Path, anchors: Sequence[Anchor] = ()) -> Audit:
    """Verify the journal at `path`; `AuditError` if it cannot be read. Its writer may go on meanwhile."""
    try:
        db = connection(path)
    except HistoryError as error:
        raise AuditError(str(error)) from error
    try:
        db.execute("BEGIN")  # one state of the file, whatever is written meanwhile
        return _Auditor(path, db).run(anchors)
    except sqlite3.Error as error:
        raise AuditError(f"{path}: {error}") from error
    finally:
        db.close()


class _Auditor:
    """One pass over the seals, and what must hold around them."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        # Bytes that are no text are a fault of their row, not of the file.
        db.text_factory = lambda data: data.decode(errors="surrogateescape")
        self._db = db
        self._found = Audit(path=path)
        self._first_ids: dict[str, int] = {}
        self._next_ids: dict[str, int] = {}
        self._follows = ""

    def run(self, anchors: Sequence[Anchor]) -> Audit:
        found = self._found
        excerpt = self._excerpt()
        found.is_excerpt = bool(excerpt)
        found.pruned = self._pruned(excerpt)
        found.unmoved = old_tables(self._db)
        found.rows = dict.fromkeys(EVIDENCE, 0)
        wanted: dict[int, set[str]] = {}
        for anchor in anchors:
            wanted.setdefault(anchor.seq, set()).add(anchor.hash)
        for seal, told in self._seals():
            self._check_seal(seal, told)
            for part in seal.parts:
                self._check_part(part, seal)
            for other in wanted.pop(seal.seq, ()):
                self._check_anchor(Anchor(seal.seq, other), told, seal)
        self._check_end(excerpt, wanted)
        self._check_strays()
        self._tell_losses()
        return found

    def _seals(self) -> Iterator[tuple[Seal, str]]:
        """Every seal with its parts, and the hash that the file has for it."""
        seals = self._db.execute("SELECT seq, previous, first_us, last_us, hash FROM seals ORDER BY seq")
        parts = self._db.execute(
            "SELECT seal, name, first_id, last_id, digest FROM parts ORDER BY seal, name"
        )
        part = parts.fetchone()
        for seq, previous, first_us, last_us, told in seals:
            own = []
            while part is not None and part[0] <= seq:
                if part[0] == seq and _types(part) == (int, str, int, int, str):
                    own.append(Part(name=part[1], first_id=part[2], last_id=part[3], digest=part[4]))
                else:
                    self._fault(f"rows under a seal that is not there: {part[0]!r}", str(part[1]))
                part = parts.fetchone()
            if _types((seq, previous, first_us, last_us, told)) != (int, str, int, int, str):
                self._fault(f"seal {seq} is none", "seals")
                continue
            seal = Seal(seq=seq, previous=previous, first_us=first_us, last_us=last_us, parts=tuple(own))
            yield seal, told
        while part is not None:
            self._fault(f"rows under a seal that is not there: {part[0]!r}", str(part[1]))
            part = parts.fetchone()

    def _check_seal(self, seal: Seal, told: str) -> None:
        found = self._found
        found.seals += 1
        last = found.last
        if last is None:
            found.first, found.first_utc_s = Anchor(seal.seq, told), seconds(seal.first_us)
            self._follows = seal.previous
            begins = found.pruned.get(SEALS, 0) + 1
            if seal.seq != begins:
                self._fault(f"the chain begins at seal {seal.seq}, not at {begins}", "seals", seal)
            elif seal.seq == 1 and seal.previous != GENESIS:
                self._fault("the first seal follows another one", "seals", seal)
        elif seal.seq != last.seq + 1:
            self._fault(f"seals {last.seq + 1} to {seal.seq - 1} are missing", "seals", seal)
        elif seal.previous != last.hash:
            self._fault(f"seal {seal.seq} does not follow seal {last.seq}", "seals", seal)
        if _hash_of(seal) != told:
            self._fault(f"seal {seal.seq} is not as it was", "seals", seal)
        found.last, found.last_utc_s = Anchor(seal.seq, told), seconds(seal.last_us)

    def _check_part(self, part: Part, seal: Seal) -> None:
        name = part.name
        if name not in COLUMNS:
            self._fault(f"seal {seal.seq} covers an unknown table", name, seal)
            return
        gone = self._found.pruned.get(name, 0)
        expected = self._next_ids.get(name)
        if part.first_id != expected and (expected is not None or part.first_id > gone + 1):
            first = gone + 1 if expected is None else expected
            self._fault(f"rows {first} to {part.first_id - 1} are under no seal", name, seal)
        self._next_ids[name] = part.last_id + 1
        if part.last_id <= gone:
            self._found.left_out[name] = self._found.left_out.get(name, 0) + part.last_id - part.first_id + 1
            return
        if part.first_id <= gone:
            self._fault(f"rows up to {gone} are said to be gone, amid a seal", name, seal)
        self._first_ids.setdefault(name, part.first_id)
        rows = self._db.execute(
            f"SELECT id, {', '.join(COLUMNS[name])} FROM {name} WHERE id BETWEEN ? AND ? ORDER BY id",  # noqa: S608 our own names
            (part.first_id, part.last_id),
        )
        there, digest = digest_of(rows)
        missing = part.last_id - part.first_id + 1 - there
        if missing:
            self._fault(f"{missing} of rows {part.first_id} to {part.last_id} are missing", name, seal)
        elif digest != part.digest:
            self._fault(f"rows {part.first_id} to {part.last_id} are not as they were", name, seal)
        else:
            self._found.rows[name] += there

    def _check_anchor(self, anchor: Anchor, told: str, seal: Seal | None = None) -> None:
        if told == anchor.hash:
            self._found.confirmed.append(anchor)
        else:
            self._fault(f"seal {anchor.seq} is another than the anchor", "seals", seal)

    def _check_end(self, excerpt: Mapping[str, int], wanted: Mapping[int, Iterable[str]]) -> None:
        """Anchors of seals that are not here: dropped by retention, or cut off at the end?"""
        found = self._found
        first, last = (found.first.seq, found.last.seq) if found.first and found.last else (1, 0)
        if excerpt and last != excerpt.get(LAST_SEAL):
            self._fault(f"the excerpt ends at seal {last}, not at {excerpt.get(LAST_SEAL)}", "seals")
        for seq, hashes in sorted(wanted.items()):
            anchors = [Anchor(seq, told) for told in sorted(hashes)]
            if seq == first - 1:  # the first seal here names it
                for anchor in anchors:
                    self._check_anchor(anchor, self._follows)
            elif seq < first or excerpt:
                found.beyond += anchors
            elif seq > last:
                self._fault(f"the chain ends at seal {last}, before the anchor of seal {seq}", "seals")

    def _check_strays(self) -> None:
        """Rows that no seal covers."""
        for name in EVIDENCE:
            first, after = self._first_ids.get(name, 1), self._next_ids.get(name, 1)
            if name not in self._first_ids:
                after = first
            row = self._db.execute(
                f"SELECT count(*), min(utc_us) FROM {name} WHERE id < ? OR id >= ?",  # noqa: S608 our own names
                (first, after),
            ).fetchone()
            if row[0]:
                at_s = seconds(row[1]) if isinstance(row[1], int) else None
                what = f"{row[0]} rows are under no seal"
                self._found.note(Fault(what=what, table=name, first_utc_s=at_s, last_utc_s=at_s))

    def _tell_losses(self) -> None:
        for utc_us, what, subject, rows, detail in self._db.execute(
            "SELECT utc_us, what, subject, rows, detail FROM bookkeeping"
            " WHERE what IN (?, ?, ?, ?) ORDER BY id",
            (Bookkeeping.LOST, Bookkeeping.STARTED, Bookkeeping.ARCHIVED, Bookkeeping.REPLACED),
        ):
            if what == Bookkeeping.STARTED:
                self._found.unclosed += detail == NOT_CLOSED
            elif what == Bookkeeping.ARCHIVED:
                self._found.archived += 1
            elif what == Bookkeeping.REPLACED and isinstance(utc_us, int):
                said = Replaced(utc_s=seconds(utc_us), file=str(subject), why=str(detail))
                self._found.replaced.append(said)
            elif _types((utc_us, rows)) == (int, int):
                loss = Loss(utc_s=seconds(utc_us), table=str(subject), rows=rows, detail=str(detail))
                self._found.losses.append(loss)

    def _pruned(self, excerpt: Mapping[str, int]) -> dict[str, int]:
        """How far rows are gone, by the chain's own word; whether that stands, the seals over it say."""
        rows = self._db.execute(
            "SELECT subject, max(last_id) FROM bookkeeping WHERE what = ? AND typeof(last_id) = 'integer'"
            " GROUP BY subject",
            (Bookkeeping.PRUNED,),
        )
        pruned = {str(name): int(last_id) for name, last_id in rows}
        for name, through in excerpt.items():
            if name != LAST_SEAL:
                pruned[name] = max(pruned.get(name, 0), through)
        return pruned

    def _excerpt(self) -> dict[str, int]:
        """What an excerpt says it leaves out; empty for a journal."""
        is_one = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (EXCERPT,)).fetchone()
        if is_one is None:
            return {}
        return {str(name): int(through) for name, through in self._db.execute(f"SELECT * FROM {EXCERPT}")}  # noqa: S608 our own name

    def _fault(self, what: str, table: str, seal: Seal | None = None) -> None:
        window = (None, None) if seal is None else (seconds(seal.first_us), seconds(seal.last_us))
        seq = None if seal is None else seal.seq
        self._found.note(Fault(what=what, table=table, seal=seq, first_utc_s=window[0], last_utc_s=window[1]))


def _hash_of(seal: Seal) -> str:
    try:
        return seal.hash
    except ValueError:  # text that is none
        return ""


def _types(values: Iterable[object]) -> tuple[type, ...]:
    return tuple(type(value) for value in values)
