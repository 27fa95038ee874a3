"""What leaves to one operator: signs of life first, then what it has to be told of its events, then reports.

Nothing that is too large, too much or too slow keeps a sign of life from leaving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from controller.grid import ledger as ledgers
from controller.grid.dialects import Dialect, Letter
from controller.grid.entries import Ack, Ledger
from controller.grid.keeping import Effect, Verdict, combined
from controller.grid.results import MAX_PAYLOAD_BYTES
from controller.grid.site import Measured
from controller.run.operators.gridbook import GridBook, Pending, unsent_but
from controller.run.operators.gridsession import Publish
from controller.run.operators.outbox import Outbox


class Speaking:
    """Counts what the broker took, what was too large for any, and what found no room (`untold`)."""

    def __init__(
        self, dialect: Dialect, book: GridBook, *, backlog: int, utc: Callable[[], float], log: Any
    ) -> None:
        self.acks = 0
        self.letters = 0
        self.oversized = 0
        self._dialect = dialect
        self._book = book
        self._utc = utc
        self._log = log
        self._outbox = Outbox(backlog)
        self._published: dict[Hashable, Ack] = {}
        self._confirming: tuple[Ack, ...] = ()
        self._untold: dict[str, int] = {}
        self._too_large: set[str] = set()

    @property
    def dropped(self) -> int:
        return self._outbox.dropped

    @property
    def untold(self) -> int:
        return sum(self._untold.values())

    def post(self, letter: Letter, *, connected: bool) -> None:
        """Queue a letter; never blocks."""
        before, self._untold[letter.topic] = self._untold.get(letter.topic, 0), letter.untold
        if letter.untold and not before:
            self._log.warning("grid_untold", topic=letter.topic, count=letter.untold)
        elif before and not letter.untold:
            self._log.info("grid_all_told", topic=letter.topic)
        self._outbox.post(letter, connected=connected)

    def look(self) -> None:
        """There may be something to tell of events."""
        self._outbox.look()

    async def write_all(self, publish: Publish) -> None:
        """Send what there is to say, for as long as this connection lasts."""
        while True:
            self._outbox.looking()
            if (letter := self._outbox.now) is not None:
                await self._send(letter, publish)
            elif (ack := unsent_but(self._book.ledger, self._published)) is not None:
                await self._acknowledge(ack, publish)
            elif (letter := self._outbox.first) is not None:
                await self._send(letter, publish)
            else:
                await self._outbox.wait()

    async def _send(self, letter: Letter, publish: Publish) -> None:
        if self._is_sendable(letter):
            await publish(letter)
            self.letters += 1
        self._outbox.sent(letter)

    async def _acknowledge(self, ack: Ack, publish: Publish) -> None:
        letter = self._dialect.acknowledgement(ack, self._utc())
        if letter is None:
            await asyncio.sleep(0)  # without answers there is nothing to wait for, and others wait for us
        elif self._is_sendable(letter):
            await publish(letter)
            self.acks += 1
        self._published[ack.key] = ack
        self._book.put("confirm", Pending(change=self._confirm, then=self._confirmed))

    def _confirm(self, ledger: Ledger, *, now_utc_s: float, measured: Measured) -> tuple[Ledger, Verdict]:
        """All that is with the broker by now, in one change: hundreds of them, each stored by itself, would
        keep a command waiting, and leave no room for it."""
        self._confirming = tuple(self._published.values())
        verdict = Verdict(effect=Effect.STATUS)
        for ack in self._confirming:
            ledger, part = ledgers.confirm(ledger, ack, now_utc_s, measured)
            verdict = combined(verdict, part)
        return ledger, verdict

    def _confirmed(self) -> None:
        for ack in self._confirming:
            self._published.pop(ack.key, None)
        self._confirming = ()
        self._outbox.look()

    def _is_sendable(self, letter: Letter) -> bool:
        """Whether a broker takes it. One that throws us out for its size would do so at every try, and what
        waits behind it, our signs of life with it, would never leave."""
        if len(letter.payload) <= MAX_PAYLOAD_BYTES:
            return True
        self.oversized += 1
        if letter.topic not in self._too_large:
            self._too_large.add(letter.topic)
            self._log.error("grid_oversized", topic=letter.topic, size=len(letter.payload))
        return False
