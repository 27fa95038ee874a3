"""Copies each finished day of the journal into a file of its own, before retention may drop anything of it.

The files are excerpts: each verifies alone, and follows the one before. Their SHA-256 stands in the journal,
sealed. It works beside the journal's thread, and what goes wrong here costs disk space only.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import structlog

from controller.run.journal.excerpt import Excerpt, ExcerptError, adopted, cut, finished
from controller.run.journal.readonly import HistoryError, connection
from controller.run.journal.retention import DAY_US
from controller.run.journal.schema import Bookkeeping, microseconds, seconds

LOOK_EVERY_S = 600.0
PAUSE_S = 5.0
"""Between two files: a site that begins to archive has years of days, and a loop beside it to keep pace."""


class Archive:
    """`written` is awaited for each new file: it must make durable that there is one."""

    def __init__(
        self,
        journal: Path,
        directory: Path,
        *,
        utc: Callable[[], float],
        written: Callable[[Excerpt], Awaitable[None]],
        pause_s: float = PAUSE_S,
    ) -> None:
        self.is_failing = False
        self._journal = journal
        self._directory = directory
        self._utc = utc
        self._written = written
        self._pause_s = pause_s
        self._log = structlog.get_logger("archive")

    async def run(self) -> None:
        """Keep up until cancelled."""
        while True:
            await self.catch_up()
            await asyncio.sleep(LOOK_EVERY_S)

    async def catch_up(self) -> None:
        """Write every finished day that has no file yet. Trouble is logged once, and tried again later."""
        try:
            while (excerpt := await asyncio.to_thread(self._next)) is not None:
                await self._written(excerpt)
                self._log.info("journal_archived", path=str(excerpt.path), sha256=excerpt.sha256)
                await asyncio.sleep(self._pause_s)
        except ExcerptError as error:
            if not self.is_failing:
                self._log.error("journal_not_archived", why=str(error))
            self.is_failing = True
        else:
            self.is_failing = False

    def _next(self) -> Excerpt | None:
        """The file of the oldest finished day without one; None where there is none."""
        try:
            with closing(connection(self._journal)) as db:
                if (found := self._oldest_day(db)) is None:
                    return None
            self._directory.mkdir(parents=True, exist_ok=True)
        except (HistoryError, sqlite3.Error, OSError) as error:
            raise ExcerptError(str(error)) from error
        seals, day = found
        file = self._directory / f"journal-{day}-{seals[0]}-{seals[1]}.db"
        if file.exists():  # it was written, and the journal could not be told
            return adopted(self._journal, seals, file)
        return cut(self._journal, seals, file)

    def _oldest_day(self, db: sqlite3.Connection) -> tuple[tuple[int, int], str] | None:
        """The first and the last seal of a UTC day that is over, and which day that is."""
        newest, now_us = finished(db), microseconds(self._utc())
        said = "SELECT coalesce(max(last_id), 0) FROM bookkeeping WHERE what = ?"
        (archived,) = db.execute(said, (Bookkeeping.ARCHIVED,)).fetchone()
        (first,) = db.execute("SELECT min(seq) FROM seals WHERE seq > ?", (archived,)).fetchone()
        # A seal from a time when the clock was ahead goes with the day beside it.
        since = (
            "SELECT seq, last_us FROM seals WHERE seq > ? AND seq <= ? AND last_us BETWEEN ? AND ?"
            " ORDER BY seq LIMIT 1"
        )
        sane = db.execute(since, (archived, newest, 0, now_us)).fetchone()
        if sane is None or (over_us := (sane[1] // DAY_US + 1) * DAY_US) > now_us:
            return None
        following = db.execute(since, (sane[0], newest, over_us, now_us)).fetchone()
        last = newest if following is None else following[0] - 1
        return (first, last), datetime.fromtimestamp(seconds(sane[1]), UTC).date().isoformat()
