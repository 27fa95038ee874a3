"""The thin edge to the machines: one task per device, meter and queue; each await has a deadline.

A device does one thing at a time: its task polls it and carries out the newest command. A command does not
wait for a poll that is under way. Readings are stamped here, as they arrive.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import structlog

from controller.decide.inputs import Sample
from controller.domain.devices import (
    Acknowledged,
    DeviceSpec,
    Failed,
    MeterReading,
    Outcome,
    Reading,
    Refused,
    SetPoint,
    ZoneReading,
)
from controller.domain.gpus import GpuDetail
from controller.domain.jobs import JobCommand, QueueReading
from controller.run.clock import Clock
from controller.run.devicetask import DeviceTask, Polling
from controller.run.jobtalk import Unshown
from controller.run.turns import SLOW_AT_ONCE, Lane
from controller.run.voice import Voice
from drivers.base import Detailed, Driver, DriverError, JobQueue, Sensor, Watched
from drivers.cancellation import obey_cancellation, until_told

log = structlog.get_logger()

SENSOR_PAUSE_S = 0.05
"""The least between two polls of a meter that uses up its time."""
QUEUE_POLL_S = 0.5
QUEUE_DEADLINE_S = 5.0
FOUND = "found so when the controller began"
QUEUE_SILENT_S = 30.0
"""A queue that is restarted is not yet silent."""
CLOSE_DEADLINE_S = 1.0
AT_ONCE = 100
"""So many devices are woken for their commands in one round of the event loop: thousands would all be woken
before the first of them gets to its socket."""


@dataclass(slots=True)
class Heard:
    """Everything heard so far, newest only, stamped on arrival."""

    readings: dict[str, Sample[Reading]] = field(default_factory=dict)
    meters: dict[str, Sample[MeterReading]] = field(default_factory=dict)
    zones: dict[str, Sample[ZoneReading]] = field(default_factory=dict)
    outcomes: dict[str, Sample[Outcome]] = field(default_factory=dict)
    queues: dict[str, QueueReading] = field(default_factory=dict)


class Machines:
    """All devices, sensors and job queues of the site, and what was heard from them."""

    def __init__(
        self,
        *,
        drivers: Sequence[tuple[Driver, Polling]],
        sensors: Sequence[tuple[Sensor, Polling]],
        queues: Sequence[JobQueue],
        clock: Clock,
        reads: Counter[str],
        answered: Callable[[SetPoint, Outcome], None],
        job_answered: Callable[[JobCommand, Outcome], None],
        job_confirmed: Callable[[JobCommand, str], None],
    ) -> None:
        self.clock = clock
        self.heard = Heard()
        self.counts = reads
        self.answered = answered
        self.answering = Lane()
        self.silent = Lane(SLOW_AT_ONCE)
        self.pressed: frozenset[str] = frozenset()
        self._unsent: dict[str, SetPoint] = {}
        self._awaits_more = False
        self._has_unsent = asyncio.Event()
        self._job_answered = job_answered
        self._job_confirmed = job_confirmed
        self._sensors = sensors
        self._sensor_heard_s: dict[str, float] = {}
        self._queues = {queue.id: queue for queue in queues}
        self._queue_heard_s: dict[str, float] = {}
        self._job_trouble: dict[str, str] = {}
        self._job_commands: dict[str, dict[str, JobCommand]] = {queue.id: {} for queue in queues}
        self._tasks = {
            driver.spec.id: DeviceTask(driver, polling, self, at / max(1, len(drivers)))
            for at, (driver, polling) in enumerate(drivers)
        }

    @property
    def specs(self) -> tuple[DeviceSpec, ...]:
        return tuple(task.driver.spec for task in self._tasks.values())

    @property
    def silent_queues(self) -> tuple[str, ...]:
        """The job queues that do not answer, or have not yet."""
        least_s = self.clock.now_s() - QUEUE_SILENT_S
        return tuple(name for name in self._queues if self._queue_heard_s.get(name, -math.inf) < least_s)

    @property
    def silent_pdus(self) -> tuple[str, ...]:
        """The PDUs that have not answered for their time."""
        now_s = self.clock.now_s()
        heard = ((sensor, self._sensor_heard_s.get(sensor.id, now_s)) for sensor, _ in self._sensors)
        return tuple(
            one.id for one, at_s in heard if isinstance(one, Watched) and now_s - at_s > one.silent_after_s
        )

    def details(self) -> dict[str, GpuDetail]:
        """What the drivers know of their devices that deciding does not need. It is asked from any thread, so
        no spec is: it may depend on the time of the loop."""
        drivers = ((name, task.driver) for name, task in self._tasks.items())
        told = ((name, driver.detail) for name, driver in drivers if isinstance(driver, Detailed))
        return {device: detail for device, detail in told if detail is not None}

    def post_first(self, commands: Sequence[SetPoint]) -> None:
        """Hand over the first commands of a plan that is not made yet; `post` of the others must follow. What
        is left of earlier ones waits for that: it may be replaced.
        """
        self._awaits_more = True
        for command in commands:
            self._unsent.pop(command.device, None)
            self.heard.outcomes.pop(command.device, None)
            self._tasks[command.device].post_first(command)

    def post(self, commands: Iterable[SetPoint]) -> None:
        """Leave commands for their devices, in this order; what is left of earlier ones comes after them."""
        newer = {command.device: command for command in commands}
        if newer or self._awaits_more:
            self._awaits_more = False
            for name in newer:  # what came while the plan was made answers an older command
                self.heard.outcomes.pop(name, None)
            self._unsent = newer | {name: it for name, it in self._unsent.items() if name not in newer}
            self._hand_over()

    def press(self, devices: frozenset[str]) -> None:
        """Ask these silent ones at once, and until others are named without ever longer rests: what they may
        draw is in the way of a limit, and only their answer proves that they obey it."""
        for name in sorted(devices - self.pressed):
            self._tasks[name].ask_now()
        self.pressed = devices

    def holds_newer(self, than: SetPoint) -> bool:
        """Whether its device is told something else by now, to which an answer to this would be none."""
        return than.device in self._unsent

    def _hand_over(self) -> None:
        if self._awaits_more:
            return
        for name in tuple(islice(self._unsent, AT_ONCE)):
            self._tasks[name].post(self._unsent.pop(name))
        if self._unsent:
            self._has_unsent.set()

    def post_jobs(self, commands: Iterable[JobCommand]) -> None:
        """Leave commands for their queues; a newer one replaces one for the same job that still waits."""
        for command in commands:
            waiting = self._job_commands[command.queue]
            waiting.pop(command.job, None)
            waiting[command.job] = command

    async def run(self) -> None:
        """Ends only by cancellation; then every driver is closed."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(until_told(self._feed))
                for task in self._tasks.values():
                    group.create_task(until_told(task.run))
                for sensor, polling in self._sensors:
                    group.create_task(until_told(self._watch, sensor, polling))
                for queue in self._queues.values():
                    group.create_task(until_told(self._serve, queue))
        finally:
            await self._close()

    async def _feed(self) -> None:
        """Hand over what was too much for one round."""
        while True:
            obey_cancellation()
            await self._has_unsent.wait()
            self._has_unsent.clear()
            await asyncio.sleep(0)
            self._hand_over()

    async def _watch(self, sensor: Sensor, polling: Polling) -> None:
        voice = Voice(sensor.id)
        self._sensor_heard_s[sensor.id] = self.clock.now_s()  # until it could have answered it is not silent
        while True:
            obey_cancellation()
            began_s = self.clock.now_s()
            try:
                async with asyncio.timeout(polling.deadline_s):
                    readings = await sensor.read()
            except (TimeoutError, DriverError) as error:
                self.counts["failed"] += 1
                voice.silent(error)
            else:
                self.counts["ok"] += 1
                voice.heard()
                self._sensor_heard_s[sensor.id] = self.clock.now_s()
                self._sensed(readings)
            await asyncio.sleep(max(SENSOR_PAUSE_S, began_s + polling.every_s - self.clock.now_s()))

    def _sensed(self, readings: Iterable[MeterReading | ZoneReading]) -> None:
        now_s = self.clock.now_s()
        for reading in readings:
            match reading:
                case MeterReading():
                    self.heard.meters[reading.meter] = Sample(now_s, reading)
                case ZoneReading():
                    self.heard.zones[reading.zone] = Sample(now_s, reading)

    async def _serve(self, queue: JobQueue) -> None:
        voice = Voice(queue.id)
        waiting, unshown = self._job_commands[queue.id], Unshown()
        while True:
            obey_cancellation()
            while waiting:
                await self._tell(queue, waiting.pop(next(iter(waiting))), unshown)
            try:
                async with asyncio.timeout(QUEUE_DEADLINE_S):
                    reading = self.heard.queues[queue.id] = await queue.read()
            except (TimeoutError, DriverError) as error:
                voice.silent(error)
            else:
                self._queue_heard_s[queue.id] = self.clock.now_s()
                voice.heard()
                for command in unshown.found(reading):
                    self._job_confirmed(command, FOUND)
                for command in unshown.shown(reading):
                    self._job_confirmed(command, "")
            await asyncio.sleep(QUEUE_POLL_S)

    async def _tell(self, queue: JobQueue, command: JobCommand, unshown: Unshown) -> None:
        try:
            async with asyncio.timeout(command.deadline_s):
                outcome = await queue.apply(command)
        except (TimeoutError, DriverError) as error:
            outcome = Failed(repr(error))
        if isinstance(outcome, Acknowledged):
            unshown.acknowledged(command)
        self._noted(command, outcome)
        self._job_answered(command, outcome)

    def _noted(self, command: JobCommand, outcome: Outcome) -> None:
        """Of what fails again and again for the same reason the first is in the log."""
        name, action = f"{command.queue}/{command.job}", command.action.value
        match outcome:
            case Acknowledged():
                self._job_trouble.pop(command.queue, None)
                log.info("job", subject=name, action=action)
            case Refused(why) | Failed(why):
                if self._job_trouble.get(command.queue) != why:
                    log.warning("job_not_told", subject=name, action=action, why=why)
                self._job_trouble[command.queue] = why

    async def _close(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name, task in self._tasks.items():
                group.create_task(_close(name, task.driver))
            for sensor, _ in self._sensors:
                group.create_task(_close(sensor.id, sensor))
            for name, queue in self._queues.items():
                group.create_task(_close(name, queue))


async def _close(subject: str, closing: Driver | Sensor | JobQueue) -> None:
    try:
        async with asyncio.timeout(CLOSE_DEADLINE_S):
            await closing.close()
    except (TimeoutError, DriverError) as error:
        log.warning("not_closed", subject=subject, why=repr(error))


def outcome_name(outcome: Outcome) -> str:
    """One fixed word per outcome, for counters and the journal."""
    match outcome:
        case Acknowledged():
            return "acknowledged"
        case Refused():
            return "refused"
        case Failed():
            return "failed"
