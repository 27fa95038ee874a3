"""What the controller asks of a driver: a spec and two methods.

Expected trouble (timeout, refusal, garbage) is `DriverError` from `read` and an `Outcome` from `apply`.
Any other exception is a bug in the driver and ends the process. Drivers set no deadline for the whole
call: the shell does, and a driver must survive being cancelled at any await. Drivers never ask a clock
for a time that leaves them: the shell stamps what arrives.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from controller.domain.devices import DeviceSpec, MeterReading, Outcome, Reading, SetPoint, ZoneReading
from controller.domain.gpus import GpuDetail
from controller.domain.jobs import JobCommand, QueueReading
from controller.domain.prices import PriceReading


class DriverError(Exception):
    """The world failed: the device did not answer, or not in a way that can be believed."""


class OtherMachineError(DriverError):
    """Somebody answers who is not the machine that is configured, or not the one that answered before."""


class Driver(Protocol):
    """One device. `spec` may become narrower after the first contact, never wider than configured."""

    @property
    def spec(self) -> DeviceSpec: ...

    async def read(self) -> Reading: ...

    async def apply(self, command: SetPoint) -> Outcome: ...

    async def close(self) -> None: ...


@runtime_checkable
class Detailed(Protocol):
    """A driver that knows more of its device than deciding needs. None before the first read."""

    @property
    def detail(self) -> GpuDetail | None: ...


class Sensor(Protocol):
    """A meter or a set of zone sensors: one poll, one or more readings."""

    @property
    def id(self) -> str: ...

    async def read(self) -> tuple[MeterReading | ZoneReading, ...]: ...

    async def close(self) -> None: ...


@runtime_checkable
class Watched(Protocol):
    """A sensor, as a PDU, whose silence no missing reading shows: it is told by itself, after so long."""

    @property
    def silent_after_s(self) -> float: ...


class PriceSource(Protocol):
    """Prices from one place: a file, or a broker with many topics.

    Its trouble is part of what it tells, beside the last good values: `read` raises no `DriverError`, and
    returns within seconds.
    """

    @property
    def id(self) -> str: ...

    async def read(self) -> tuple[PriceReading, ...]: ...

    async def close(self) -> None: ...


class JobQueue(Protocol):
    @property
    def id(self) -> str: ...

    async def read(self) -> QueueReading:
        """Its jobs as they are, after what is due to them was done: one that is to end is ended."""

    async def look(self) -> QueueReading:
        """The same, with nothing done to a job."""

    async def apply(self, command: JobCommand) -> Outcome: ...

    async def close(self) -> None: ...
