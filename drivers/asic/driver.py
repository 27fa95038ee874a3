"""One ASIC of any family, as the controller sees it: a spec, readings proven fresh, honest outcomes.

All traffic of one machine goes through one lock, for its API serves one connection at a time. Nothing is
believed because the machine said yes: a change is acknowledged only after the setting was read back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from controller.domain.devices import (
    Acknowledged,
    DeviceSpec,
    Failed,
    OperatingPoint,
    Outcome,
    Reading,
    Refused,
    SetPoint,
)
from controller.domain.power import Bound, Limit
from drivers.asic.adapter import Adapter, KeepsConnection, RefusedError
from drivers.asic.identify import Identifier
from drivers.asic.trouble import as_driver_error, is_silence
from drivers.base import DriverError, OtherMachineError

FAILURES_UNTIL_REBUILT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the driver itself waits; the adapter has its own deadline for every exchange."""

    identify_s: float = 15.0
    confirm_tries: int = 3
    confirm_pause_s: float = 0.5


class AsicDriver:
    def __init__(
        self,
        *,
        host: str,
        spec: DeviceSpec,
        adapter: Adapter,
        identifier: Identifier,
        patience: Patience | None = None,
    ) -> None:
        self.host = host
        self._configured = self._spec = spec
        self._adapter = adapter
        self._identifier = identifier
        self._patience = patience or Patience()
        self._lock = asyncio.Lock()
        self._identified = False
        self._mac: str | None = None
        self._failures = 0

    @property
    def spec(self) -> DeviceSpec:
        return self._spec

    async def read(self) -> Reading:
        async with self._lock:
            with self._attempt(refusal_is_failure=True):
                await self._meet()
                return await self._sample()

    async def apply(self, command: SetPoint) -> Outcome:
        async with self._lock:
            try:
                with self._attempt():
                    async with asyncio.timeout(command.deadline_s):
                        if not await self._is_there(command.point):
                            await self._put(command.point)
            except RefusedError as refusal:
                return Refused(str(refusal))
            except DriverError as error:
                return Failed(str(error))
        return Acknowledged()

    async def close(self) -> None:
        """Between two calls most families have neither a connection nor a login."""
        if isinstance(self._adapter, KeepsConnection):
            self._adapter.close()

    async def _meet(self) -> None:
        """Before first contact and after repeated trouble, make sure of who is there and what it can do."""
        if self._identified:
            return
        try:
            with as_driver_error():
                hello = await self._adapter.hello()
        except DriverError as error:
            # Silence takes nobody's place in identification; any other failure may be another family's.
            if not is_silence(error):
                await self._check_family()
            raise
        if not self._adapter.hello_is_proof and await self._check_family() is None:
            raise DriverError(f"{self.host} is not recognised as {self._adapter.backend}")
        self._check_mac(hello.mac)
        if hello.points is not None:
            self._spec = replace(self._configured, points=hello.points)
        self._identified = True

    async def _is_there(self, point: OperatingPoint) -> bool:
        """Nothing is ordered of an address that missed an answer before it answers like our machine again:
        what stands there now may be another one, to which the same words mean something else. Nor is it told
        again what it did: many a machine restarts at each order, and does not answer then."""
        reads: Bound | None = None
        if self._identified and self._failures:
            reads = await self._setting()
            self._identified = reads is not None
        if not self._identified:
            await self._meet()
            if self._failures:
                reads = await self._setting_if_told()
        return reads == Limit(point.power)

    async def _check_family(self) -> str | None:
        found = await self._identifier.backend(self.host, deadline_s=self._patience.identify_s)
        if found not in (None, self._adapter.backend):
            configured = f"{self.host} is configured as {self._adapter.backend}"
            raise OtherMachineError(f"{configured}, but is {found}")
        return found

    async def _setting(self) -> Bound | None:
        """None where the machine is too busy to say."""
        try:
            return (await self._sample()).setting
        except RefusedError:
            return None

    async def _setting_if_told(self) -> Bound | None:
        """The same, and None where a machine that was just met cannot be read: it may obey all the same."""
        try:
            with as_driver_error():
                return await self._setting()
        except OtherMachineError:
            raise
        except DriverError:
            return None

    async def _sample(self) -> Reading:
        sample = await self._adapter.read()
        self._check_mac(sample.mac)
        return sample.reading

    def _check_mac(self, mac: str | None) -> None:
        """Fail once when the address became another machine; that one is then met like a new one."""
        if mac is None:
            return
        before, self._mac = self._mac, mac
        if before not in (None, mac):
            self._identified = False
            raise OtherMachineError(f"{self.host} was {before} and is {mac} now: another machine")

    async def _put(self, point: OperatingPoint) -> None:
        if point not in self._spec.points:
            names = ", ".join(known.name for known in self._spec.points)
            raise RefusedError(f"no operating point {point.name} of {point.power}; there are {names}")
        await self._adapter.change(point)
        await self._confirm(point)

    async def _confirm(self, point: OperatingPoint) -> None:
        """Read the setting back. A machine too busy to say leaves it at the yes that it gave."""
        reads: Bound | None = None
        for left in reversed(range(self._patience.confirm_tries)):
            reads = await self._setting()
            if reads == Limit(point.power):
                return
            if left:
                await asyncio.sleep(self._patience.confirm_pause_s)
        if reads is not None:
            shown = reads.power if isinstance(reads, Limit) else "no limit"
            raise DriverError(f"said yes to {point.name} of {point.power}, but reads back {shown}")

    @contextmanager
    def _attempt(self, *, refusal_is_failure: bool = False) -> Iterator[None]:
        """Turn trouble into `DriverError`, and after a row of failures start again from who is there.

        To refuse an order is an answer; to refuse to be read may be that of another firmware.
        """
        try:
            with as_driver_error():
                yield
        except DriverError as error:
            if isinstance(error, RefusedError) and not refusal_is_failure:
                self._failures = 0
                raise
            self._failures += 1
            # An adapter that met another machine met it by an order: reads that go well must not hide that.
            if isinstance(error, OtherMachineError) or self._failures >= FAILURES_UNTIL_REBUILT:
                self._identified = False
            raise
        self._failures = 0
