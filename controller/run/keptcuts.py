"""Which outlets were switched off from here, kept in the journal: their machines are given power back by a
process that did not take it.

To forget is the safe side: what is not found here stays off until a person comes. So an outlet is noted after
its PDU was seen to have done it, a second late where need be, and forgotten before power is given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from controller.run.journal.store import EventStore, NotKept, Record, StoreError, found_in
from drivers.base import DriverError
from drivers.cancellation import obey_cancellation

WRITE_EVERY_S = 1.0
AGAIN_EVERY_S = 60.0
"""When an outlet was last seen is written down so often: what is older than that says the same, or less."""
CLOCK_WAVERS_S = 5.0
"""A note from further in the future than this was made by another clock."""
KEY = "/outlet/"
"""No operator's events begin so."""
CUT = "cut"

log = structlog.get_logger()


@dataclass(slots=True)
class Noted:
    """By wall time, in seconds. What was written down may be older than what was seen."""

    device: str
    seen_utc_s: float
    written_utc_s: float | None = None


class KeptCuts:
    """`restore` once, before the first machine is read; `run` writes behind."""

    def __init__(self, utc: Callable[[], float]) -> None:
        self._utc = utc
        self._store: EventStore = NotKept()
        self._noted: dict[str, Noted] = {}
        self._gone: set[str] = set()
        self._writing = asyncio.Lock()
        self._failing = False

    async def restore(self, store: EventStore) -> None:
        """Take up what an earlier process noted. A store that cannot be read is as good as an empty one."""
        self._store = store
        for record in await found_in(store, "cuts_not_loaded"):
            if record.key.startswith(KEY):
                seen_utc_s = record.version_utc_s
                noted = Noted(device=record.text, seen_utc_s=seen_utc_s, written_utc_s=seen_utc_s)
                self._noted[record.key.removeprefix(KEY)] = noted

    def unseen_s(self, outlet: str, device: str) -> float | None:
        noted = self._noted.get(outlet)
        if noted is None or noted.device != device:
            return None
        unseen_s = self._utc() - noted.seen_utc_s
        return max(0.0, unseen_s) if unseen_s >= -CLOCK_WAVERS_S else None

    def keep(self, outlet: str, device: str) -> None:
        noted = self._noted.setdefault(outlet, Noted(device=device, seen_utc_s=0.0))
        noted.device, noted.seen_utc_s = device, self._utc()
        self._gone.discard(outlet)

    def drop(self, outlet: str) -> None:
        if self._noted.pop(outlet, None) is not None:
            self._gone.add(outlet)

    async def forget(self, outlet: str) -> None:
        self.drop(outlet)
        try:
            await self._write()
        except StoreError as error:
            raise DriverError(str(error)) from error

    async def run(self) -> None:
        """Write behind, until cancelled."""
        while True:
            obey_cancellation()
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self._write()
            except StoreError as error:
                if not self._failing:
                    log.warning("cuts_not_written", why=str(error))
                self._failing = True
            else:
                self._failing = False

    async def close(self) -> None:
        """Write what is left: the next process may be there before anybody looks."""
        try:
            await self._write()
        except StoreError as error:
            log.warning("cuts_not_written", why=str(error))

    async def _write(self) -> None:
        """One at a time, so that no older note is written after a newer one was taken back."""
        async with self._writing:
            gone, now_utc_s = tuple(sorted(self._gone)), self._utc()
            due = {name: noted for name, noted in self._noted.items() if _is_due(noted, now_utc_s)}
            if not gone and not due:
                return
            records = tuple(
                Record(key=KEY + name, version_utc_s=noted.seen_utc_s, status=CUT, text=noted.device)
                for name, noted in due.items()
            )
            await self._store.record(records, tuple(KEY + name for name in gone))
            self._gone.difference_update(gone)
            for noted in due.values():
                noted.written_utc_s = now_utc_s


def _is_due(noted: Noted, now_utc_s: float) -> bool:
    if noted.written_utc_s is None:
        return True
    return noted.seen_utc_s != noted.written_utc_s and abs(now_utc_s - noted.written_utc_s) >= AGAIN_EVERY_S
