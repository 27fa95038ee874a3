"""One device's part of the edge: it is polled in its turn, carries out the newest command, and does one thing
at a time. A command does not wait for a poll that is under way; each await has a deadline.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.decide.device import TOLERANCE, TOLERANCE_W, with_slack_w
from controller.decide.inputs import Sample
from controller.decide.shown import found_at
from controller.domain.devices import DeviceSpec, Failed, OperatingPoint, Outcome, Reading, SetPoint
from controller.domain.power import Limit
from controller.run.turns import Lane, ReadTurn, backoff_s
from controller.run.voice import Voice
from drivers.base import Driver, DriverError
from drivers.cancellation import obey_cancellation

if TYPE_CHECKING:
    from controller.run.devices import Machines

SPREAD_S = 2.0
"""First polls are spread over this long, so that the site is soon known; later ones over their period."""
QUICK_POLL_S = 1.0
"""How soon a device is read again while a command is waiting for its proof, and may still get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """How often to read, and how long a read may take."""

    every_s: float = 5.0
    deadline_s: float = 5.0


class DeviceTask:
    """One device. `post` leaves a command for it; a newer one replaces one that was not yet sent."""

    def __init__(self, driver: Driver, polling: Polling, machines: Machines, share: float) -> None:
        self.driver = driver
        self._polling = polling
        self._machines = machines
        self._share = share
        self._command: SetPoint | None = None
        self._goes_first = False
        self._posted = asyncio.Event()
        self._poll: asyncio.Timeout | None = None
        self._turn: asyncio.Timeout | None = None
        self._voice = Voice(driver.spec.id)
        self._quick_until_s = 0.0
        self._told_last: OperatingPoint | None = None
        self._turn_s = 0.0
        self._off_turn = True
        self._failures = 0
        self._slow = False

    def post(self, command: SetPoint) -> None:
        self._command = command
        self._goes_first = False
        self._posted.set()
        self._end(self._poll)

    def ask_now(self) -> None:
        """Ends the rest between two polls."""
        self._posted.set()

    def post_first(self, command: SetPoint) -> None:
        """The same for one that does not wait behind others, wherever this waits already."""
        self.post(command)
        self._goes_first = True
        self._end(self._turn)

    def _end(self, waiting: asyncio.Timeout | None) -> None:
        if waiting is not None and not waiting.expired():
            waiting.reschedule(self._machines.clock.now_s())

    async def run(self) -> None:
        self._turn_s = self._machines.clock.now_s() + self._share * self._polling.every_s
        await self._rest(self._share * SPREAD_S)
        while True:
            obey_cancellation()
            began_s = self._machines.clock.now_s()
            if self._command is not None:
                await self._apply()
                continue
            await self._read()
            await self._rest(began_s + self._every_s(began_s) - self._machines.clock.now_s())

    def _every_s(self, now_s: float) -> float:
        """The time from one poll to the next; none where the last had to leave before its time."""
        if self._slow:
            return 0.0
        if now_s < self._quick_until_s:
            return min(QUICK_POLL_S, self._polling.every_s)
        if self._off_turn and self._failures == 0:  # who was first read, or told something, with all others
            self._off_turn = False
            return self._polling.every_s - (now_s - self._turn_s) % self._polling.every_s
        failures = 0 if self.driver.spec.id in self._machines.pressed else self._failures
        return backoff_s(self.driver.spec.id, failures, self._polling.every_s)

    async def _rest(self, for_s: float) -> None:
        """Wait for the next poll, or for a command."""
        self._posted.clear()
        if self._command is None and for_s > 0:
            try:
                async with asyncio.timeout(for_s):
                    await self._posted.wait()
            except TimeoutError:
                return

    @property
    def _lane(self) -> Lane:
        silent = self._voice.is_silent or self._slow
        return self._machines.silent if silent else self._machines.answering

    async def _read(self) -> None:
        """One poll. A command ends it, be it under way or still waiting for its turn."""
        turn = ReadTurn(self._lane, self._machines.silent)
        try:
            async with asyncio.timeout(None) as self._poll, turn, turn.until(self._polling.deadline_s):
                reading = await self.driver.read()
        except (TimeoutError, DriverError) as error:
            if self._command is None:
                self._missed(error, was_cut=turn.was_cut)
            return
        finally:
            self._poll = None
        self._slow, self._failures = False, 0
        self._machines.counts["ok"] += 1
        self._voice.heard()
        if self._told_last is not None and shows(self.driver.spec, reading, self._told_last):
            self._quick_until_s = 0.0
        self._machines.heard.readings[self.driver.spec.id] = Sample(self._machines.clock.now_s(), reading)

    def _missed(self, error: Exception, *, was_cut: bool) -> None:
        self._slow = was_cut
        if not was_cut:
            self._failures += 1
            self._machines.counts["failed"] += 1
            self._voice.silent(error)

    async def _apply(self) -> None:
        """Carry out the newest command: one that came while this waited for its turn replaces it."""
        turns = self._lane.commanding_first if self._goes_first else self._lane.commanding
        try:
            async with asyncio.timeout(None) as self._turn:
                await turns.take()
        except TimeoutError:
            return  # it goes first now, and takes another turn
        finally:
            self._turn = None
        try:
            command, outcome = await self._told()
        finally:
            turns.give()
        now_s = self._machines.clock.now_s()
        self._quick_until_s, self._off_turn = now_s + self.driver.spec.settle_down_s, True
        if self._command is None and not self._machines.holds_newer(command):
            self._machines.heard.outcomes[command.device] = Sample(now_s, outcome)
        self._machines.answered(command, outcome)
        await self._rest(QUICK_POLL_S / 2)

    async def _told(self) -> tuple[SetPoint, Outcome]:
        command, self._command = self._command, None
        assert command is not None
        self._told_last = command.point
        try:
            async with asyncio.timeout(command.deadline_s):
                return command, await self.driver.apply(command)
        except (TimeoutError, DriverError) as error:
            return command, Failed(repr(error))


def shows(spec: DeviceSpec, reading: Reading, point: OperatingPoint) -> bool:
    """Whether a device says that it is at `point`, and draws what it should there: nothing is waited for."""
    if not isinstance(reading.setting, Limit) or not found_at(spec, reading).is_at(point):
        return False
    least_w = point.power.watts * (1 - TOLERANCE) - TOLERANCE_W
    return least_w <= reading.draw.watts <= with_slack_w(point.power, TOLERANCE)
