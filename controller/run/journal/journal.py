"""The journal: what was asked, told, answered and measured, in one SQLite file.

Grid events are durable before anybody is told that they were accepted. Everything else is written behind,
once a second, from a bounded buffer: a full disk costs history, never control. All of it is sealed.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from controller.decide.plan import Alarm, Plan
from controller.domain.devices import Outcome, SetPoint
from controller.domain.eventnames import FIRST
from controller.domain.jobs import JobCommand
from controller.domain.power import Limit
from controller.run.board import JournalStats
from controller.run.devices import outcome_name
from controller.run.journal.archive import Archive
from controller.run.journal.excerpt import Excerpt, ExcerptError
from controller.run.journal.file import JournalFile
from controller.run.journal.happenings import Happening, StreamedPoint
from controller.run.journal.retention import Keep
from controller.run.journal.schema import COMMANDED, CONFIRMED, OPERATOR_LINK_LOST, microseconds
from controller.run.journal.seals import Anchor
from controller.run.journal.store import Record, StoreError
from controller.run.journal.usage import LONGEST_S, MinuteMeter
from controller.run.journal.waiting import Waiting
from drivers.cancellation import until_told
from drivers.outside import Outside

log = structlog.get_logger()

BUFFERED_ROWS = 100_000
FLUSH_EVERY_S = 1.0
NODES_EVERY_S = 60.0
"""The site is sampled every tick, for settlement; the nodes below it only so often, for the disk's sake."""
BUSY_S = 1.0
WRITE_DEADLINE_S = 10.0
ANCHOR_EVERY_S = 3600.0
"""How often the log is told the newest seal, so that whoever keeps the log holds a copy."""
USAGE_KEEP_DAYS = 400.0
EVENTS_KEEP_DAYS = 3650.0

T = TypeVar("T")


class JournalError(Exception):
    """The journal cannot be opened or written; the message names the file."""


class Journal:
    """One writer thread owns the file; nothing else touches it."""

    def __init__(
        self,
        path: Path,
        keep_days: float,
        utc: Callable[[], float],
        *,
        usage_keep_days: float = USAGE_KEEP_DAYS,
        events_keep_days: float = EVENTS_KEEP_DAYS,
        archive: Path | None = None,
        reading_holds_s: float = LONGEST_S,
        busy_s: float = BUSY_S,
        deadline_s: float = WRITE_DEADLINE_S,
    ) -> None:
        self._path = path
        self._deadline_s = deadline_s
        self._utc = utc
        self._thread = Outside(1)
        self._waiting = Waiting(BUFFERED_ROWS)
        keep = Keep(
            history=keep_days,
            usage=usage_keep_days,
            events=events_keep_days,
            archives=archive is not None,
        )
        self._archive = None
        if archive is not None:
            self._archive = Archive(path, archive, utc=utc, written=self._archived)
        self._file = JournalFile(path, keep=keep, utc=utc, waiting=self._waiting, busy_s=busy_s)
        self._minutes = MinuteMeter(reading_holds_s)
        self._failing = False
        self._nodes_period = 0
        self._told_utc_s = -math.inf

    @property
    def anchor(self) -> Anchor | None:
        """The newest seal that will not change any more: what somebody outside should hold a copy of."""
        return self._file.anchor

    @property
    def stats(self) -> JournalStats:
        return JournalStats(
            lost_rows=self._waiting.lost_rows,
            waiting_rows=len(self._waiting),
            put_aside=self._file.put_aside,
            is_failing=self._failing,
            is_archive_failing=self._archive is not None and self._archive.is_failing,
            disk=self._file.disk,
        )

    async def open(self) -> None:
        await self._call(self._file.open)

    async def close(self) -> None:
        """Write what is still buffered, then close; what cannot be written now is lost, and said so."""
        for row in self._minutes.close():
            self._waiting.add("usage", row)
        try:
            await self._call(self._file.finish)
        except JournalError as error:
            log.error("journal_not_written", why=str(error), lost=len(self._waiting))
        finally:
            self._thread.shutdown(wait=False)

    async def run(self) -> None:
        """Write behind, and archive, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(until_told(self._write_behind))
            if self._archive is not None:
                group.create_task(until_told(self._archive.run))

    async def _write_behind(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            try:
                await self._call(self._file.flush)
            except JournalError as error:
                if not self._failing:
                    log.error("journal_not_written", why=str(error), buffered=len(self._waiting))
                self._failing = True
            else:
                if self._failing:
                    log.info("journal_written_again", lost_in_all=self._waiting.lost_rows)
                self._failing = False
                self._tell_anchor()

    def answered(self, command: SetPoint, outcome: Outcome) -> None:
        detail = getattr(outcome, "why", "")
        row = (microseconds(self._utc()), command.device, command.point.name, command.point.power.watts)
        self._waiting.add("commands", (*row, outcome_name(outcome), detail))

    def job_answered(self, command: JobCommand, outcome: Outcome) -> None:
        self._of_job(command, outcome_name(outcome), getattr(outcome, "why", ""))

    def job_confirmed(self, command: JobCommand, detail: str = "") -> None:
        """Note that a queue shows what it was told, or may have been told by a controller before this one."""
        self._of_job(command, CONFIRMED, detail)

    def commanded(self, commands: Iterable[SetPoint], why: Callable[[str], str]) -> None:
        """Note what devices are told; `why` gives the reason by device."""
        utc_us = microseconds(self._utc())
        for command in commands:
            what = (command.device, command.point.name, command.point.power.watts)
            self._waiting.add("commands", (utc_us, *what, COMMANDED, why(command.device)))

    def planned(self, plan: Plan) -> None:
        """Note a plan: its commands with their reasons, and what the site and its nodes draw."""
        self.commanded(plan.commands, plan.grants.why)
        for command in plan.job_commands:
            self._of_job(command, COMMANDED, command.why)
        utc_s = self._utc()
        utc_us = microseconds(utc_s)
        before, self._nodes_period = self._nodes_period, int(utc_s // NODES_EVERY_S)
        for node in plan.nodes if self._nodes_period != before else plan.nodes[:1]:
            metered_w = node.metered.watts if node.metered is not None else None
            limit_w = node.limit.power.watts if isinstance(node.limit, Limit) else None
            watts = (metered_w, limit_w, node.granted.watts, node.worst.watts)
            self._waiting.add("samples", (utc_us, node.node, *watts))
        for row in self._minutes.tick(plan.now_s, utc_s, plan.nodes):
            self._waiting.add("usage", row)

    def _of_job(self, command: JobCommand, kind: str, detail: str) -> None:
        what = (f"{command.queue}/{command.job}", command.action.value, 0, kind, detail)
        self._waiting.add("commands", (microseconds(self._utc()), *what))

    def alarm(self, alarm: Alarm, *, raised: bool) -> None:
        what = (alarm.kind.value, alarm.subject, int(raised), alarm.detail)
        self._waiting.add("alarms", (microseconds(self._utc()), *what))

    def operator_link(self, operator: str, *, lost: bool) -> None:
        """Note that the link to one operator was lost, or is back."""
        what = (OPERATOR_LINK_LOST, operator or FIRST, int(lost), "")
        self._waiting.add("alarms", (microseconds(self._utc()), *what))

    async def record(
        self,
        records: tuple[Record, ...],
        forget: tuple[str, ...] = (),
        history: tuple[Happening | StreamedPoint, ...] = (),
    ) -> None:
        """Keep what the grid link must not lose: durable on return. After `StoreError` it was not written,
        or, if the disk gave no answer in time, all of it may yet be."""
        try:
            await self._call(partial(self._file.record, records, forget, history))
        except JournalError as error:
            raise StoreError(str(error)) from error

    def evidence_left(self, operator: str) -> float:
        return self._file.left_for_new(operator)

    async def load(self) -> tuple[Record, ...]:
        try:
            return await self._call(self._file.load)
        except JournalError as error:
            raise StoreError(str(error)) from error

    async def told_since(self, utc_s: float) -> Mapping[str, float]:
        try:
            return await self._call(partial(self._file.told_since, utc_s))
        except JournalError as error:
            raise StoreError(str(error)) from error

    async def _archived(self, excerpt: Excerpt) -> None:
        try:
            await self._call(partial(self._file.archived, excerpt))
        except JournalError as error:
            raise ExcerptError(str(error)) from error

    def _tell_anchor(self) -> None:
        anchor, now_utc_s = self.anchor, self._utc()
        if anchor is not None and not 0 <= now_utc_s - self._told_utc_s < ANCHOR_EVERY_S:
            self._told_utc_s = now_utc_s
            log.info("journal_sealed", seal=str(anchor))

    async def _call(self, function: Callable[[], T]) -> T:
        """Run on the journal's thread, with a deadline."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await loop.run_in_executor(self._thread, function)
        except TimeoutError as error:
            raise JournalError(f"{self._path}: no answer within {self._deadline_s} s") from error
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{self._path}: {error}") from error
