"""Machines, meters and queues that behave: slow, hanging, failing, lying, hard to cancel."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from controller.domain.devices import (
    Acknowledged,
    Cooling,
    DeviceKind,
    DeviceSpec,
    MeterReading,
    OperatingPoint,
    Outcome,
    Quality,
    Reading,
    SetPoint,
    ZoneReading,
)
from controller.domain.jobs import JobCommand, JobStatus, QueueReading
from controller.domain.power import Limit, Power
from controller.run.clock import Clock
from controller.run.devices import Machines
from controller.run.devicetask import Polling
from drivers.base import Driver, JobQueue, Sensor
from tests.virtualtime import now_s

SLEEP = OperatingPoint(name="sleep", power=Power(30), rate=0.0)
LOW = OperatingPoint(name="low", power=Power(2000), rate=120.0)
FULL = OperatingPoint(name="full", power=Power(3000), rate=200.0)
UTC_S = 1_800_000_000.0


def spec(name: str, *, node: str = "site", stale_after_s: float = 15.0, dwell_s: float = 0.0) -> DeviceSpec:
    return DeviceSpec(
        id=name,
        kind=DeviceKind.ASIC,
        node=node,
        points=(SLEEP, LOW, FULL),
        ceiling=Power(3100),
        stale_after_s=stale_after_s,
        dwell_s=dwell_s,
        settle_down_s=10.0,
        settle_up_s=60.0,
    )


def told(device: str, point: OperatingPoint = SLEEP, deadline_s: float = 10.0) -> SetPoint:
    return SetPoint(device=device, point=point, deadline_s=deadline_s)


@dataclass(slots=True)
class Miner:
    """One machine. `hangs`: never answers. `trouble`: what `read` and `apply` raise. `lies`: says yes and
    does nothing. `cleanup_s`: how long it takes to let go when it is cancelled. `still_w`: what it draws
    beyond its point, whatever it says."""

    spec: DeviceSpec
    at: OperatingPoint = FULL
    takes_s: float = 0.1
    applies_s: float = 0.1
    cleanup_s: float = 0.0
    still_w: int = 0
    hangs: bool = False
    hangs_on_close: bool = False
    lies: bool = False
    trouble: BaseException | None = None
    close_trouble: Exception | None = None
    outcome: Outcome = field(default_factory=Acknowledged)
    reads_at: list[float] = field(default_factory=list)
    applied: list[tuple[float, str]] = field(default_factory=list)
    began: list[str] = field(default_factory=list)
    cancelled: int = 0
    busy: int = 0
    most_busy: int = 0
    closed: bool = False

    async def read(self) -> Reading:
        self.reads_at.append(now_s())
        await self._work(self.takes_s)
        return Reading(
            device=self.spec.id,
            draw=self.at.power + Power(self.still_w),
            quality=Quality.MEASURED,
            setting=Limit(self.at.power),
            rate=self.at.rate,
        )

    async def apply(self, command: SetPoint) -> Outcome:
        self.began.append(command.point.name)
        await self._work(self.applies_s)
        if not self.lies:
            self.at = command.point
        self.applied.append((now_s(), command.point.name))
        return self.outcome

    async def close(self) -> None:
        if self.hangs_on_close:
            await asyncio.Event().wait()
        if self.close_trouble is not None:
            raise self.close_trouble
        self.closed = True

    async def _work(self, for_s: float) -> None:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            if self.hangs:
                await asyncio.Event().wait()
            await asyncio.sleep(for_s)
            if self.trouble is not None:
                raise self.trouble
        except asyncio.CancelledError:
            self.cancelled += 1
            if self.cleanup_s:
                await asyncio.sleep(self.cleanup_s)
            raise
        finally:
            self.busy -= 1


def miner(name: str = "asic-0", **knobs: object) -> Miner:
    return Miner(spec(name), **knobs)  # type: ignore[arg-type]  # the knobs are Miner's own


@dataclass(slots=True)
class Meter:
    """Sums what its miners really draw."""

    id: str
    miners: Sequence[Miner] = ()
    zone: str = ""
    hangs: bool = False
    trouble: BaseException | None = None
    closed: bool = False

    @property
    def draw_w(self) -> int:
        return sum(one.at.power.watts for one in self.miners)

    async def read(self) -> tuple[MeterReading | ZoneReading, ...]:
        await asyncio.sleep(0.01)
        if self.hangs:
            await asyncio.Event().wait()
        if self.trouble is not None:
            raise self.trouble
        heat = (ZoneReading(zone=self.zone, inlet_c=25.0, cooling=Cooling.PROVEN),) if self.zone else ()
        return (MeterReading(meter=self.id, power=Power(self.draw_w)), *heat)

    async def close(self) -> None:
        self.closed = True


@dataclass(slots=True)
class Pdu(Meter):
    """Nothing but itself shows that it is silent."""

    silent_after_s: float = 30.0


@dataclass(slots=True)
class Jobs:
    """A queue that keeps what it was told."""

    id: str
    jobs: tuple[JobStatus, ...] = ()
    hangs: bool = False
    trouble: BaseException | None = None
    told: list[JobCommand] = field(default_factory=list)
    closed: bool = False

    async def read(self) -> QueueReading:
        await self._work()
        return QueueReading(queue=self.id, jobs=self.jobs)

    async def look(self) -> QueueReading:
        return await self.read()

    async def apply(self, command: JobCommand) -> Outcome:
        await self._work()
        self.told.append(command)
        return Acknowledged()

    async def close(self) -> None:
        self.closed = True

    async def _work(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0.01)
        if self.trouble is not None:
            raise self.trouble


class Floor:
    """Everything there is to drive, and what the shell said of it."""

    def __init__(
        self,
        *drivers: Driver,
        sensors: Sequence[Sensor] = (),
        queues: Sequence[JobQueue] = (),
        every_s: float = 5.0,
        deadline_s: float = 5.0,
    ) -> None:
        polling = Polling(every_s=every_s, deadline_s=deadline_s)
        self.answers: list[tuple[float, SetPoint, Outcome]] = []
        self.job_answers: list[tuple[JobCommand, Outcome]] = []
        self.job_confirmed: list[tuple[JobCommand, str]] = []
        self.reads: Counter[str] = Counter()
        self.machines = Machines(
            drivers=[(driver, polling) for driver in drivers],
            sensors=[(sensor, Polling(every_s=1.0, deadline_s=1.0)) for sensor in sensors],
            queues=queues,
            clock=Clock(utc=lambda: UTC_S + now_s()),
            reads=self.reads,
            answered=lambda command, outcome: self.answers.append((now_s(), command, outcome)),
            job_answered=lambda command, outcome: self.job_answers.append((command, outcome)),
            job_confirmed=lambda command, why: self.job_confirmed.append((command, why)),
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Machines]:
        """Drive everything until the block ends."""
        async with asyncio.TaskGroup() as group:
            driving = group.create_task(self.machines.run())
            yield self.machines
            driving.cancel()
