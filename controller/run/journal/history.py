"""Reads the journal from outside, while the controller writes it or years later: typed rows of a time window.

It never writes, and takes nothing for granted: whether rows are what was once written is `audit`'s question.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from controller.domain.eventnames import named, parted
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.grid.entries import Entry
from controller.grid.results import Accepted
from controller.grid.stored import from_text
from controller.run.journal.happenings import OBSERVED, OBSERVED_OVER
from controller.run.journal.readonly import HistoryError as HistoryError
from controller.run.journal.readonly import connection
from controller.run.journal.rows import (
    AlarmRow,
    BookkeepingRow,
    CommandRow,
    EventRow,
    SampleRow,
    SetPointRow,
    StreamRow,
    UsageRow,
)
from controller.run.journal.schema import Bookkeeping, microseconds, seconds

_WATCHED = (OBSERVED, OBSERVED_OVER)
MOST_MS = 61_000
"""Of a minute so much was measured at most: it is a tick over where the clock is adjusted."""


class History:
    """An open journal. Windows are half open, `from_utc_s <= t < to_utc_s`; rows come in the order of time,
    words on events and alarms as they were written, which a clock that was set back does not change.
    Everything that cannot be read is a `HistoryError`."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db

    def events(self, from_utc_s: float = -math.inf, to_utc_s: float = math.inf) -> Iterator[EventRow]:
        """What happened to events of every operator and of the site's own, streams left out."""
        columns = "operator, event, version_us, status, why, text"
        for row in self._window(columns, "events", from_utc_s, to_utc_s, order="id"):
            if row[4] not in _WATCHED:
                yield self._event(row)

    def observed(self, from_utc_s: float, to_utc_s: float) -> Iterator[EventRow]:
        """What operators asked for while the site was only observed, and somebody else may have followed."""
        columns = "operator, event, version_us, status, why, text"
        for row in self._window(columns, "events", from_utc_s, to_utc_s, order="id"):
            if row[4] in _WATCHED:
                yield self._event(row)

    def event(self, event_id: str) -> tuple[EventRow, ...]:
        """All that happened to one event, by the id that plans and metrics name it by."""
        rows = self._rows(
            "SELECT utc_us, operator, event, version_us, status, why, text FROM events"
            " WHERE operator = ? AND event = ? ORDER BY id",
            parted(event_id),
        )
        return tuple(self._event(row) for row in rows if row[4] not in _WATCHED)

    def set_points(self, from_utc_s: float = -math.inf, to_utc_s: float = math.inf) -> Iterator[SetPointRow]:
        """The set-points of streams that came in the window."""
        columns = "operator, event, version_us, start_us, end_us, watts"
        for row in self._window(columns, "setpoints", from_utc_s, to_utc_s):
            utc_us, operator, event, version_us, start_us, end_us, watts = row
            yield SetPointRow(
                utc_s=seconds(utc_us),
                operator=operator,
                event=event,
                version_utc_s=seconds(version_us),
                start_utc_s=seconds(start_us),
                end_utc_s=math.inf if end_us is None else seconds(end_us),
                target=Power(watts),
            )

    def streams(self) -> tuple[StreamRow, ...]:
        """Every stream that ever sent a set-point."""
        query = (
            "SELECT operator, event, count(*), min(utc_us), max(utc_us) FROM setpoints"
            " GROUP BY operator, event ORDER BY operator, event"
        )
        return tuple(
            StreamRow(
                id=named(operator, event),
                points=count,
                first_utc_s=seconds(first_us),
                last_utc_s=seconds(last_us),
            )
            for operator, event, count, first_us, last_us in self._rows(query)
        )

    def samples(self, node: str, from_utc_s: float, to_utc_s: float) -> Iterator[SampleRow]:
        """The site at every tick, a node below it once a minute. Of a time that our clock showed twice, as it
        was set back, those by the clock that is right."""
        columns = "id, metered_w, limit_w, granted_w, worst_w"
        newest = 0
        for row in self._window(columns, "samples", from_utc_s, to_utc_s, node=node):
            utc_us, row_id, metered_w, limit_w, granted_w, worst_w = row
            if row_id < newest:  # one that came after it has an earlier time
                continue
            newest = row_id
            yield SampleRow(
                utc_s=seconds(utc_us),
                metered=None if metered_w is None else Power(metered_w),
                limit=_bound(limit_w),
                granted=Power(granted_w),
                worst=Power(worst_w),
            )

    def usage(self, node: str, from_utc_s: float, to_utc_s: float) -> Iterator[UsageRow]:
        """The minutes that begin in the window; one that a restart cut in two comes as one, and of one that
        our clock showed twice, as it was set back, what was written last. A minute of which nothing was
        measured has no row."""
        rows = self._rows(
            "SELECT utc_us, energy_ws, measured_ms, limit_w FROM usage"
            " WHERE node = ? AND utc_us >= ? AND utc_us < ? ORDER BY utc_us, id",
            (node, *_window(from_utc_s, to_utc_s)),
        )
        for utc_us, pieces in groupby(rows, key=itemgetter(0)):
            if (row := _minute(utc_us, node, [tuple(piece[1:]) for piece in pieces])) is not None:
                yield row

    def nodes(self) -> tuple[str, ...]:
        """Every node that has usage."""
        return tuple(str(node) for (node,) in self._rows("SELECT DISTINCT node FROM usage ORDER BY node"))

    def commands(self, from_utc_s: float, to_utc_s: float) -> Iterator[CommandRow]:
        columns = "device, point, watts, kind, detail"
        for utc_us, device, point, watts, kind, detail in self._window(
            columns, "commands", from_utc_s, to_utc_s
        ):
            yield CommandRow(
                utc_s=seconds(utc_us),
                device=device,
                point=point,
                power=Power(watts),
                kind=kind,
                detail=detail,
            )

    def alarms(self, from_utc_s: float, to_utc_s: float) -> Iterator[AlarmRow]:
        columns = "kind, subject, raised, detail"
        for row in self._window(columns, "alarms", from_utc_s, to_utc_s, order="id"):
            utc_us, kind, subject, raised, detail = row
            yield AlarmRow(
                utc_s=seconds(utc_us), kind=kind, subject=subject, is_raised=bool(raised), detail=detail
            )

    def is_whole(self, table: str, from_utc_s: float) -> bool:
        """Whether retention has surely dropped nothing of a table from `from_utc_s` on: rows from before are
        left, or none was ever dropped."""
        left = f"SELECT 1 FROM {table} WHERE utc_us < ? LIMIT 1"  # noqa: S608 our own names
        dropped = "SELECT 1 FROM bookkeeping WHERE what = ? AND subject = ? LIMIT 1"
        is_left = any(self._rows(left, (_edge(from_utc_s),)))
        return is_left or not any(self._rows(dropped, (Bookkeeping.PRUNED, table)))

    def bookkeeping(
        self, from_utc_s: float = -math.inf, to_utc_s: float = math.inf
    ) -> Iterator[BookkeepingRow]:
        """Starts, stops, losses and prunings of the journal: whether a window can be complete."""
        columns = "what, subject, rows, detail"
        for utc_us, what, subject, rows, detail in self._window(columns, "bookkeeping", from_utc_s, to_utc_s):
            yield BookkeepingRow(utc_s=seconds(utc_us), what=what, subject=subject, rows=rows, detail=detail)

    def _event(self, row: tuple[Any, ...]) -> EventRow:
        utc_us, operator, event, version_us, status, why, text = row
        known = self._entry(event, text) if text else None
        content = known.content if known is not None else None
        shortfall = known.shortfall if known is not None else None
        return EventRow(
            utc_s=seconds(utc_us),
            operator=operator,
            event=event,
            version_utc_s=None if version_us is None else seconds(version_us),
            status=status,
            why=why,
            version=content.event if isinstance(content, Accepted) else None,
            possible=shortfall.possible if shortfall is not None else None,
            drawn_before=known.drawn_before if known is not None else None,
        )

    def _entry(self, event: str, text: str) -> Entry | None:
        try:
            value = from_text(text)
        except ValueError as error:
            raise HistoryError(f"{self._path}: event {event!r}: {error}") from error
        return value if isinstance(value, Entry) else None

    def _window(
        self,
        columns: str,
        table: str,
        from_utc_s: float,
        to_utc_s: float,
        *,
        node: str | None = None,
        order: str = "utc_us, id",
    ) -> Iterator[Any]:
        at = "" if node is None else " AND node = ?"
        parameters: tuple[object, ...] = _window(from_utc_s, to_utc_s)
        return self._rows(
            f"SELECT utc_us, {columns} FROM {table} WHERE utc_us >= ? AND utc_us < ?{at} ORDER BY {order}",  # noqa: S608 our own names
            parameters if node is None else (*parameters, node),
        )

    def _rows(self, query: str, parameters: tuple[object, ...] = ()) -> Iterator[Any]:
        try:
            yield from self._db.execute(query, parameters)
        except sqlite3.Error as error:
            raise HistoryError(f"{self._path}: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[History]:
    """The journal at `path`, read only; its writer is never held up."""
    db = connection(path)
    try:
        yield History(path, db)
    finally:
        db.close()


def _minute(utc_us: int, node: str, pieces: Sequence[tuple[int, int, int | None]]) -> UsageRow | None:
    """Of pieces with watt-seconds, the milliseconds in which they were measured and a limit; the last of them
    as far as they are of one minute."""
    energy_ws, measured_ms, limit_w_ms, limited_ms = 0, 0, 0, 0
    for piece_ws, piece_ms, limit_w in reversed(pieces):
        if measured_ms and measured_ms + piece_ms > MOST_MS:
            break
        energy_ws, measured_ms = energy_ws + piece_ws, measured_ms + piece_ms
        if limit_w is not None:
            limit_w_ms, limited_ms = limit_w_ms + limit_w * piece_ms, limited_ms + piece_ms
    if measured_ms <= 0:
        return None
    return UsageRow(
        minute_utc_s=seconds(utc_us),
        node=node,
        mean=Power(round(energy_ws * 1000 / measured_ms)),
        energy_ws=energy_ws,
        measured_s=measured_ms / 1000,
        limit=Limit(Power(round(limit_w_ms / limited_ms))) if limited_ms else NO_LIMIT,
    )


def _window(from_utc_s: float, to_utc_s: float) -> tuple[int, int]:
    return _edge(from_utc_s), _edge(to_utc_s)


def _edge(utc_s: float) -> int:
    return microseconds(max(-9e12, min(9e12, utc_s)))


def _bound(watts: int | None) -> Bound:
    return NO_LIMIT if watts is None else Limit(Power(watts))
