"""What waits to be told to one operator: how things are now, then letters in order, of bounded number, oldest
dropped first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import chain

from controller.grid.dialects import Letter


class Outbox:
    """`dropped` counts the letters that nobody will read because too many waited."""

    def __init__(self, size: int) -> None:
        self.dropped = 0
        self._now: dict[str, Letter] = {}
        self._letters: deque[Letter] = deque(maxlen=size)
        self._has_mail = asyncio.Event()

    def post(self, letter: Letter, *, connected: bool) -> None:
        """Queue a letter. One at QoS 0 says how things are now: it goes before all that waits, in the place
        of the last such, and is not kept for a connection to come."""
        if letter.qos == 0:
            self._now.pop(letter.topic, None)
            if connected:
                self._now[letter.topic] = letter
        else:
            if self._letters and self._letters[-1].fades and self._letters[-1].topic == letter.topic:
                self._letters.pop()
            self.dropped += len(self._letters) == self._letters.maxlen
            self._letters.append(letter)
        self._has_mail.set()

    @property
    def now(self) -> Letter | None:
        """How things are now, where that is to be told."""
        return next(iter(self._now.values()), None)

    @property
    def first(self) -> Letter | None:
        return next(chain(self._now.values(), self._letters), None)

    def sent(self, letter: Letter) -> None:
        """`letter` is with the broker. It may have been dropped or replaced meanwhile."""
        if self._now.get(letter.topic) is letter:
            del self._now[letter.topic]
        elif self._letters and self._letters[0] is letter:
            self._letters.popleft()

    def look(self) -> None:
        """There may be something to tell that is no letter."""
        self._has_mail.set()

    def looking(self) -> None:
        """Whoever looks begins to: what comes from now on wakes it."""
        self._has_mail.clear()

    async def wait(self) -> None:
        await self._has_mail.wait()
