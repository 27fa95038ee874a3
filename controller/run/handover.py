"""Keeps in the journal what this process hands to the next one: see `controller.decide.handed`.

Nothing waits for it. What was not written before a kill is forgotten, but for what machines were told since:
that the journal has anyway. With a journal that is lost all of it is: then machines are tried again at once,
and what they hide is learned anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import structlog
from pydantic import TypeAdapter, ValidationError

from controller.decide.handed import LONGEST_DWELL_S, Handed, handed_on, taken_up
from controller.decide.snapshot import State
from controller.run.board import Board
from controller.run.clock import Clock
from controller.run.journal.store import CommandStore, NotKept, Record, StoreError, found_in
from drivers.cancellation import obey_cancellation

WRITE_EVERY_S = 5.0
LINES_EVERY_S = 60.0
"""What meters show beyond claims is never the same twice."""
KEY = "/handed/"
"""No operator's events begin so."""
MACHINES, LINES = KEY + "machines", KEY + "lines"

log = structlog.get_logger()
_handed = TypeAdapter(Handed)


class Handover:
    """`restore` once, before the first tick, which begins with `state`; `run` writes behind."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self._board = board
        self._clock = clock
        self._store: CommandStore = NotKept()
        self._found: dict[str, Handed] = {}
        self._told_utc_s: Mapping[str, float] = {}
        self._written = dict.fromkeys((MACHINES, LINES), _text(Handed()))
        self._lines_due_s = float("-inf")
        self._failing = False

    async def restore(self, store: CommandStore) -> None:
        """What cannot be read is as good as not there."""
        self._store = store
        for record in await found_in(store, "handover_not_loaded"):
            if record.key in (MACHINES, LINES):
                self._written[record.key] = record.text
                try:
                    self._found[record.key] = _handed.validate_json(record.text)
                except ValidationError as error:
                    log.warning("handover_not_loaded", key=record.key, why=str(error))
                    continue
                if record.key == MACHINES:
                    await self._look_up_told(record.version_utc_s)

    async def _look_up_told(self, noted_utc_s: float) -> None:
        """Who was told something after that note was made: a process that is killed notes it no more."""
        try:
            since_utc_s = max(noted_utc_s, self._clock.utc_s() - LONGEST_DWELL_S)
            self._told_utc_s = await self._store.told_since(since_utc_s)
        except StoreError as error:
            log.warning("handover_not_loaded", key=MACHINES, why=str(error))

    def state(self) -> State:
        """What the first tick begins with."""
        machines, lines = (self._found.get(key, Handed()) for key in (MACHINES, LINES))
        handed = replace(machines, lines=lines.lines)
        if machines.changed_utc_s is not None:
            handed = replace(handed, changed_utc_s={**machines.changed_utc_s, **self._told_utc_s})
        return taken_up(handed, self._board.site, self._clock.now_s(), self._clock.utc_s())

    async def run(self) -> None:
        """Write behind, until cancelled."""
        while True:
            obey_cancellation()
            await asyncio.sleep(WRITE_EVERY_S)
            await self._write()

    async def close(self) -> None:
        self._lines_due_s = float("-inf")
        await self._write()

    async def _write(self) -> None:
        """What changed. Before all was heard the note of the process before says more."""
        tick = self._board.last
        if tick is None or not tick.plan.ready:
            return
        now_s = self._clock.now_s()
        handed = handed_on(self._board.site, tick.state, tick.inputs.now_s, tick.utc_s)
        texts = {MACHINES: _text(replace(handed, lines={}))}
        if now_s >= self._lines_due_s:
            texts[LINES] = _text(Handed(lines=handed.lines))
        due = {key: text for key, text in texts.items() if self._written[key] != text}
        if not due:
            return
        records = (
            Record(key=key, version_utc_s=tick.utc_s, status="handed", text=text) for key, text in due.items()
        )
        try:
            await self._store.record(tuple(records))
        except StoreError as error:
            if not self._failing:
                log.warning("handover_not_written", why=str(error))
            self._failing = True
            return
        self._failing = False
        self._written |= due
        if LINES in due:
            self._lines_due_s = now_s + LINES_EVERY_S


def _text(handed: Handed) -> str:
    return _handed.dump_json(handed).decode()
