"""The ledger of grid events with a store under it: a change counts only once it is durable, but for what the
site asks of itself.

One task makes all changes, one after the other; whoever has one to make puts it in the queue and goes on.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Container, Hashable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import structlog

from controller.domain.grid import EventStatus
from controller.grid.entries import Ack, Entry, Ledger, Mark
from controller.grid.keeping import Effect, Verdict, combined
from controller.grid.loadtargets import LoadTargets
from controller.grid.results import Accepted, Cancelled, Rejected, Snapshot
from controller.grid.site import Measured
from controller.grid.stored import from_text
from controller.run.journal.happenings import Happening, StreamedPoint, happenings, streamed
from controller.run.journal.store import EventStore, StoreError
from controller.run.operators.shelf import entry_record, key_of, mark_record

MAX_QUEUED = 1024
MAX_OWED = 1024
STORE_TIMEOUT_S = 5.0
STORE_RETRY_S = 1.0
SHORT_EVERY_S = 60.0

_NO_CHANGE = Verdict(effect=Effect.STATUS)
_MESSAGES = Accepted | Cancelled | Rejected | Snapshot | LoadTargets


class Change(Protocol):
    """A step of the ledger, pure: what it would be, and what of that must be durable first."""

    def __call__(self, ledger: Ledger, *, now_utc_s: float, measured: Measured) -> tuple[Ledger, Verdict]: ...


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A change that waits for its turn, and what to do once it is durable. `history` is what happened beside
    what the change says of itself."""

    change: Change
    then: Callable[[], None] = _nothing
    history: tuple[Happening, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """The key of a change that is only history, of what was heard."""

    about: Hashable


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What is not durable yet: the entries that changes were about, what happened, and whom to tell."""

    verdict: Verdict = _NO_CHANGE
    history: tuple[Happening | StreamedPoint, ...] = ()
    then: tuple[Callable[[], None], ...] = ()

    def and_then(
        self, verdict: Verdict, history: tuple[Happening | StreamedPoint, ...], then: Callable[[], None]
    ) -> Owed:
        return Owed(
            verdict=combined(self.verdict, replace(verdict, acks=())),
            history=(*self.history, *history)[-MAX_OWED:],
            then=(*self.then, then)[-MAX_OWED:],
        )


class GridBook:
    """`ledger` is what holds, and is durable. `settled` is called after every change that told or moved
    anything. A `quiet` one has an event every few seconds, logs only what it refused, and keeps history of
    set-points. What nobody outside was promised holds `at_once`, and is owed to the store until it takes it.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        utc: Callable[[], float],
        measured: Callable[[], Measured],
        settled: Callable[[Verdict], None],
        retry_s: float = STORE_RETRY_S,
        timeout_s: float = STORE_TIMEOUT_S,
        quiet: bool = False,
        at_once: bool = False,
        operator: str = "",
    ) -> None:
        self.ledger = Ledger()
        self.overflowed = 0
        self.store_failures = 0
        self._store = store
        self._utc = utc
        self._measured = measured
        self._settled = settled
        self._retry_s = retry_s
        self._timeout_s = timeout_s
        self._quiet = quiet
        self._at_once = at_once
        self._owed = Owed()
        self._queue: dict[Hashable, Pending] = {}
        self._messages = 0
        self._has_work = asyncio.Event()
        self._store_trouble = ""
        self._short_utc_s = -math.inf
        self._log = structlog.get_logger("grid").bind(**({"operator": operator} if operator else {}))

    async def restore(self) -> None:
        """Take up what the store holds. A record that cannot be read is left to the next snapshot."""
        entries: dict[str, Entry] = {}
        mark: Mark | None = None
        for record in await self._store.load():
            try:
                value = from_text(record.text)
            except ValueError as error:
                self._log.error("grid_record_unreadable", key=record.key, why=str(error))
                continue
            if isinstance(value, Mark):
                mark = value
            else:
                entries[value.id] = value
        self.ledger = Ledger(entries=MappingProxyType(entries), mark=mark)

    def put(self, key: Hashable, pending: Pending) -> None:
        """Queue a change, as the last; one that waits under the same key is replaced. When too many messages
        wait the oldest goes: the operator's next snapshot repeats it. What the site has to say of its events
        is bounded by them, and takes no room of messages."""
        if self._queue.pop(key, None) is None:
            self._messages += _is_heard(key)
        self._queue[key] = pending
        if self._messages > MAX_QUEUED:
            self._take_out(next(filter(_is_heard, self._queue)))
            self.overflowed += 1
        self._has_work.set()

    @property
    def settling(self) -> bool:
        """Whether a message was heard that is not durable yet."""
        return any(isinstance(key, _MESSAGES) for key in self._queue)

    async def run(self) -> None:
        """Make the changes in the order of their arrival. One that cannot be stored is tried again, and
        until then it has not happened; unless it holds at once."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while self._queue:
                key, pending = next(iter(self._queue.items()))
                if not await self._is_made(pending):
                    await asyncio.sleep(self._retry_s)
                elif self._queue.get(key) is pending:
                    self._take_out(key)

    def _take_out(self, key: Hashable) -> None:
        del self._queue[key]
        self._messages -= _is_heard(key)

    async def _is_made(self, pending: Pending) -> bool:
        before, now_utc_s = self._with_room(), self._utc()
        ledger, verdict = pending.change(before, now_utc_s=now_utc_s, measured=self._measured())
        happened = (*self._happened(ledger, verdict, now_utc_s), *pending.history)
        owed = self._owed.and_then(verdict, happened, pending.then)
        if self._at_once:
            self._hold(ledger, verdict)
            self._owed = owed
        if not await self._is_stored(before, ledger, owed, now_utc_s):
            return self._at_once
        if not self._at_once:
            self._hold(ledger, verdict)
        self._owed = Owed()
        for then in owed.then:
            then()
        return True

    def _with_room(self) -> Ledger:
        """A stream's set-points, of which each replaces the one before, and what the site asks of itself are
        taken, whatever evidence there will be of them."""
        if self._quiet or self._at_once:
            return self.ledger
        return replace(self.ledger, evidence_left=self._store.evidence_left(""))

    def _hold(self, ledger: Ledger, verdict: Verdict) -> None:
        self.ledger = ledger
        self._note(verdict)
        self._settled(verdict)

    async def _is_stored(self, before: Ledger, ledger: Ledger, owed: Owed, now_utc_s: float) -> bool:
        records = [entry_record(ledger.entries[event_id]) for event_id in sorted(owed.verdict.touched)]
        if ledger.mark is not None and ledger.mark != before.mark:
            records.append(mark_record(ledger.mark))
        forget = tuple(key_of(event_id) for event_id in sorted(owed.verdict.forgotten))
        if not records and not forget and not owed.history:
            return True
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._store.record(tuple(records), forget, owed.history)
        except (StoreError, TimeoutError) as error:
            self.store_failures += 1
            if repr(error) != self._store_trouble:
                self._store_trouble = repr(error)
                self._log.error("grid_store_failed", why=repr(error), waiting=len(self._queue))
            return False
        if any(one.status == EventStatus.INFEASIBLE for one in owed.history if isinstance(one, Happening)):
            self._short_utc_s = now_utc_s
        if self._store_trouble:
            self._store_trouble = ""
            self._log.info("grid_store_back")
        return True

    def _happened(
        self, ledger: Ledger, verdict: Verdict, now_utc_s: float
    ) -> tuple[Happening | StreamedPoint, ...]:
        """A stream that asks for more than there is would be told so with every set-point of it: that is
        evidence once a minute."""
        if not self._quiet:
            return happenings(self.ledger, ledger, verdict, now_utc_s)
        found = streamed(self.ledger, ledger, verdict, now_utc_s)
        if not 0 <= now_utc_s - self._short_utc_s < SHORT_EVERY_S:
            return found
        return tuple(
            one for one in found if not isinstance(one, Happening) or one.status != EventStatus.INFEASIBLE
        )

    def _note(self, verdict: Verdict) -> None:
        for ack in verdict.acks:
            fields = {"event_id": ack.event, "version": ack.stamp, "status": ack.status.value}
            if ack.status is EventStatus.REJECTED:
                self._log.warning("grid_event", **fields, reason=ack.why[0], why=" ".join(ack.why))
            elif self._quiet:
                self._log.debug("grid_event", **fields)
            else:
                self._log.info("grid_event", **fields)
        if verdict.effect is Effect.FULL:
            why = next((" ".join(ack.why) for ack in verdict.acks if ack.why), "")
            self._log.error("grid_ledger_full", known=len(self.ledger.entries), why=why)


def _is_heard(key: Hashable) -> bool:
    return isinstance(key, _MESSAGES | Noted)


def unsent_but(ledger: Ledger, published: Container[Hashable]) -> Ack | None:
    """The oldest ack that is neither confirmed nor on its way."""
    waiting = [ack for entry in ledger.entries.values() for ack in entry.unsent if ack.key not in published]
    return min(waiting, key=lambda ack: (ack.at_utc_s, ack.event), default=None)
