"""Who may speak to its machine now: turns, so that those that do not answer never hold up those that do."""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Callable

from controller.run.clock import elapsed_s

READS_AT_ONCE = 64
COMMANDS_AT_ONCE = 100
"""Both of machines that answer; as many reads again of those that do not."""

QUICK_S, SLOW_AT_ONCE = 0.25, 512
"""A read that takes longer only waits, and so many may do that without a turn: a switch that fails takes a
thousand machines at once, and behind those everybody else would go stale. So many of the silent are told
something at once: while one waits for that it is not asked whether it is back."""
PATIENCE_S = 1.0
"""A read beyond those that takes longer gives up its turn to others, and goes on among the silent ones."""

BACKOFF_MAX_S = 30.0
JITTER = 0.2


class Turns:
    """So many at once, the others in the order in which they came."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits."""
        return any(not waiting.done() for waiting in self._waiting)

    def take_now(self) -> bool:
        """Take a turn if there is one that nobody waits for."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    async def take(self) -> None:
        if self.take_now():
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give()  # it was given to one who had to leave
            raise

    def give(self) -> None:
        while self._waiting:
            first = self._waiting.popleft()
            if not first.done():
                first.set_result(None)
                return
        self._free += 1


class Lane:
    """How many machines are spoken to at once. Those that do not answer have a lane of their own: each
    holds its turn until its deadline, and a few dozen of them would make everybody else stale. The first
    commands of a plan do not wait behind thousands that older plans have left."""

    def __init__(self, commands_at_once: int = COMMANDS_AT_ONCE) -> None:
        self.reading = Turns(READS_AT_ONCE)
        self.slow = 0
        """Reads that go on without a turn."""
        self.commanding = Turns(commands_at_once)
        self.commanding_first = Turns(commands_at_once)


class ReadTurn:
    """One read's turn. Nobody knows of a machine that was never heard whether it will answer, so a turn
    among those that do is taken for `PATIENCE_S` only, where others wait for it."""

    def __init__(self, lane: Lane, silent: Lane) -> None:
        self._lane = lane
        self._held: Turns | None = lane.reading
        self._silent = silent.reading
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: asyncio.Timeout | None = None
        self.was_cut = False
        """Others waited, and there was no room among the silent ones either: it never had its time."""

    async def __aenter__(self) -> ReadTurn:
        await self._lane.reading.take()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._held is not None:
            self._held.give()
        else:
            self._lane.slow -= 1

    def until(self, deadline_s: float) -> asyncio.Timeout:
        """The deadline of the read, which begins now."""
        self._deadline = asyncio.timeout(deadline_s)
        if self._held is not self._silent:
            self._after(QUICK_S, self._let_go)
        return self._deadline

    def _after(self, seconds: float, then: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _let_go(self) -> None:
        if self._lane.slow < SLOW_AT_ONCE:
            self._lane.slow += 1
            self._lane.reading.give()
            self._held = None
        else:
            self._after(PATIENCE_S - QUICK_S, self._move_over)

    def _move_over(self) -> None:
        if not self._lane.reading.wanted:
            self._after(PATIENCE_S, self._move_over)
        elif self._silent.take_now():
            self._lane.reading.give()
            self._held = self._silent
        elif self._deadline is not None and not self._deadline.expired():
            self.was_cut = True
            self._deadline.reschedule(elapsed_s())


def backoff_s(device: str, failures: int, every_s: float) -> float:
    """The rest before a machine that was not heard is asked again: its own period twice, for one lost answer
    is soon made good, then twice as long each time. Spread by device, and the same in every replay."""
    steps = min(16, max(0, failures - 2))
    if steps == 0:
        return every_s
    share = zlib.crc32(f"{device}/{failures}".encode()) / 0xFFFF_FFFF
    return min(max(every_s, BACKOFF_MAX_S), every_s * 2.0**steps) * (1 - JITTER * share)
