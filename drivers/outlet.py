"""A machine behind a switched outlet: metered there, and cut off there when nothing else helps.

It never decides to cut. It never gives power back to an outlet that somebody else switched off: a person may
be working there.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

import structlog

from controller.domain.devices import (
    Acknowledged,
    DeviceSpec,
    Means,
    Outcome,
    Quality,
    Reading,
    Refused,
    SetPoint,
)
from controller.domain.power import ZERO, Limit, Power
from drivers.base import Driver, DriverError

LOOK_S = 30.0
"""For this long after it was switched, an outlet is asked by each read, not by the poll of its PDU alone."""

log = structlog.get_logger()


class Relay(StrEnum):
    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletState:
    """What is known of an outlet now. `power` is None where it is not metered; at `asked_s` of the loop's
    time it was asked, which is before it answered."""

    relay: Relay
    power: Power | None = None
    asked_s: float = field(default=-math.inf, compare=False)


class Outlet(Protocol):
    def known(self) -> OutletState:
        """What was last heard of it, if that is fresh; else `Relay.UNKNOWN`."""

    async def look(self) -> OutletState:
        """Ask it now; `DriverError` if it does not answer."""

    async def switch(self, to: Relay) -> Outcome: ...


class OutletDriver:
    """A `Driver` around that of the machine. While the outlet is off, the machine is at its floor.

    A machine that gets its power back boots as it likes, so while it is off it can only be given all it may
    draw: `spec` offers nothing between.
    """

    def __init__(self, machine: Driver, outlet: Outlet) -> None:
        self._machine = machine
        self._outlet = outlet
        self._cut_here = False
        self._ordered = Relay.UNKNOWN
        self._look_until_s = self._told_s = -math.inf
        self._based_on = machine.spec
        self._fed, self._unfed = _specs(machine.spec)

    @property
    def spec(self) -> DeviceSpec:
        if self._machine.spec is not self._based_on:
            self._based_on = self._machine.spec
            self._fed, self._unfed = _specs(self._based_on)
        return self._unfed if self._outlet.known().relay is Relay.OFF else self._fed

    async def read(self) -> Reading:
        """The machine's own words, and the outlet's watts. Without power the outlet speaks for it."""
        outlet = await self._state()
        if outlet.relay is Relay.OFF:
            return _dark(self._machine.spec, outlet)
        if outlet.relay is Relay.ON and self._ordered is Relay.ON:
            self._cut_here = False  # done: whoever switches it off next is not us
        reading = await self._machine.read()
        if outlet.relay is not Relay.ON or outlet.power is None:
            return reading
        if outlet.asked_s < self._told_s:
            # What it drew before it was told something else: it may draw more by now, or still.
            return replace(reading, draw=max(reading.draw, outlet.power))
        return replace(reading, draw=outlet.power, quality=Quality.MEASURED)

    async def apply(self, command: SetPoint) -> Outcome:
        if command.means is Means.OUTLET:
            return await self._cut()
        if self._outlet.known().relay is not Relay.OFF:
            return await self._tell(command)
        if command.point.power <= self._machine.spec.floor.power:
            return Acknowledged()
        if not self._cut_here:
            return Refused("its outlet is off and was not switched off from here: switch it on by hand")
        return await self._switch(Relay.ON)

    async def _tell(self, command: SetPoint) -> Outcome:
        """Whatever came of it, and whenever: only then may its outlet show that."""
        try:
            return await self._machine.apply(command)
        finally:
            self._told_s = asyncio.get_running_loop().time()

    async def _cut(self) -> Outcome:
        """Take the power from the machine, whatever it says."""
        if self._outlet.known().relay is Relay.OFF:
            return Acknowledged()
        self._cut_here = True  # also if no answer comes: it may have been done
        return await self._switch(Relay.OFF)

    async def close(self) -> None:
        await self._machine.close()

    async def _state(self) -> OutletState:
        if asyncio.get_running_loop().time() < self._look_until_s:
            try:
                return await self._outlet.look()
            except DriverError:
                pass  # the poll of its PDU tells of that
        return self._outlet.known()

    async def _switch(self, to: Relay) -> Outcome:
        self._ordered = to
        self._look_until_s = asyncio.get_running_loop().time() + LOOK_S
        outcome = await self._outlet.switch(to)
        log.warning("outlet_switched", device=self._machine.spec.id, to=to.value, outcome=repr(outcome))
        return outcome


def _specs(machine: DeviceSpec) -> tuple[DeviceSpec, DeviceSpec]:
    """What the machine offers, and what it offers while its outlet is off."""
    fed = replace(machine, has_outlet=True)
    if len(fed.points) <= 2:
        return fed, fed
    return fed, replace(fed, points=(fed.floor, fed.points[-1]))


def _dark(spec: DeviceSpec, outlet: OutletState) -> Reading:
    """A machine without power. What a welded relay still lets through is its draw all the same."""
    return Reading(
        device=spec.id,
        draw=ZERO if outlet.power is None else outlet.power,
        quality=Quality.ESTIMATED if outlet.power is None else Quality.MEASURED,
        setting=Limit(spec.floor.power),
    )
