"""The floor of a site that is only observed: everything on it can be read, and nothing be told.

It stands between the drivers and whoever drives them. No driver needs to know of it, and none can forget it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from controller.domain.devices import DeviceSpec, Reading, SetPoint
from controller.domain.gpus import GpuDetail
from controller.domain.jobs import JobCommand, QueueReading
from drivers.base import Detailed, Driver, JobQueue
from drivers.registry import Fleet


class OnlyObservedError(Exception):
    """Somebody commands a site that is only observed: a bug, and better the end of the process."""


def observed(fleet: Fleet) -> Fleet:
    """The same machines, meters, queues and prices, of which none can be told anything."""
    return replace(
        fleet,
        drivers=tuple((ObservedDriver(driver), polled) for driver, polled in fleet.drivers),
        queues=tuple(ObservedQueue(queue) for queue in fleet.queues),
    )


class ObservedDriver:
    """A `Driver` that is read and never told."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def spec(self) -> DeviceSpec:
        return self._driver.spec

    @property
    def detail(self) -> GpuDetail | None:
        return self._driver.detail if isinstance(self._driver, Detailed) else None

    async def read(self) -> Reading:
        return await self._driver.read()

    async def apply(self, command: SetPoint) -> NoReturn:
        raise OnlyObservedError(f"{command.device} was to be told {command.point.name}")

    async def close(self) -> None:
        await self._driver.close()


class ObservedQueue:
    """A `JobQueue` that is looked at: jobs run on as they are, and none is started or ended."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    @property
    def id(self) -> str:
        return self._queue.id

    async def read(self) -> QueueReading:
        return await self._queue.look()

    async def look(self) -> QueueReading:
        return await self._queue.look()

    async def apply(self, command: JobCommand) -> NoReturn:
        raise OnlyObservedError(f"{command.job} was to be told {command.action}")

    async def close(self) -> None:
        await self._queue.close()
