"""A machine behind a switched outlet: metered there, and cut off there when nothing else helps.

It never decides to cut. It never gives power back to an outlet that somebody else switched off: a person may
be working there. It never says that a machine which answers draws nothing: cords are plugged in wrongly.
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
from drivers.asic.adapter import RefusedError
from drivers.base import Driver, DriverError

LOOK_S = 30.0
"""For this long after it was switched, an outlet is asked by each read, not by the poll of its PDU alone."""

READ_SHARE = 0.9
"""A machine has so much of the time for a read to answer while its outlet is off: then the outlet speaks."""
FIRST_REST_S = 5.0
"""So long a machine is not asked again that did not answer while its outlet was off, then twice as long."""
STAYS_S = 5.0
"""A machine that answered for so long while its outlet was off has another feed: its silence is silence."""

CARRIES_NONE = 0.5
"""An outlet with no more than this share of what its machine draws asleep carries nothing of it."""
CARRIES_PART = 1.5
"""Nor all of it, where a machine that hashes measures more than so many times that."""
APART_W, APART_S = 100, 30.0
"""So many watts apart for so long is worth a warning: a PDU tells little as nothing, and tells it late."""

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
    @property
    def name(self) -> str: ...

    def known(self) -> OutletState:
        """What was last heard of it, if that is fresh; else `Relay.UNKNOWN`."""

    async def look(self) -> OutletState:
        """Ask it now; `DriverError` if it does not answer."""

    async def switch(self, to: Relay) -> Outcome: ...


class OutletDriver:
    """A `Driver` around that of the machine. While the outlet is off, the machine is at its floor.

    A machine that gets its power back boots as it likes, so while it is off it can only be given all it may
    draw: `spec` offers nothing between. One that answers all the same has another feed, and no outlet then.
    `read_s` is the time that a whole read has.
    """

    def __init__(self, machine: Driver, outlet: Outlet, read_s: float = 5.0) -> None:
        self._machine = machine
        self._outlet = outlet
        self._read_s = read_s
        self._feed = Feed(machine.spec.id, outlet.name)
        self._rest_s, self._ask_from_s = 0.0, -math.inf
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
        if self._feed.elsewhere:
            return self._based_on
        return self._unfed if self._outlet.known().relay is Relay.OFF else self._fed

    async def read(self) -> Reading:
        """The machine's own words, and the outlet's watts. Without power the outlet speaks for it."""
        began_s = asyncio.get_running_loop().time()
        outlet = await self._state()
        if outlet.relay is Relay.OFF:
            return await self._read_unfed(outlet, began_s)
        self._rest_s, self._ask_from_s = 0.0, -math.inf
        if outlet.relay is Relay.ON:
            self._feed.switched_on()
        if outlet.relay is Relay.ON and self._ordered is Relay.ON:
            self._cut_here = False  # done: whoever switches it off next is not us
        reading = await self._machine.read()
        if outlet.relay is not Relay.ON or outlet.power is None:
            return reading
        self._feed.shows(self._machine.spec, reading, outlet, outlet.power)
        return self._metered(reading, outlet)

    async def _read_unfed(self, outlet: OutletState, began_s: float) -> Reading:
        """Its outlet is off. A machine that answers all the same, if only with a no, is not fed by it, or not
        by it alone."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._ask_from_s:
            return _dark(self._machine.spec, outlet)
        try:
            async with asyncio.timeout_at(began_s + READ_SHARE * self._read_s):
                reading = await self._machine.read()
        except RefusedError:
            self._feed.answered_unfed(None, outlet, loop.time())
            raise
        except (TimeoutError, DriverError) as error:
            if self._feed.stays_elsewhere():
                raise DriverError(f"its outlet is off and does not feed it: {error!r}") from error
            self._rest_s = min(LOOK_S, max(FIRST_REST_S, 2 * self._rest_s))
            self._ask_from_s = loop.time() + self._rest_s
            return _dark(self._machine.spec, outlet)
        self._rest_s = 0.0
        self._feed.answered_unfed(reading, outlet, loop.time())
        return self._metered(reading, outlet)

    def _metered(self, reading: Reading, outlet: OutletState) -> Reading:
        """With the outlet's watts. Where they are not all of its draw, or are those of before it was told
        something else, it may draw more by now, or still."""
        if outlet.power is None:
            return reading
        if outlet.asked_s < self._told_s or has_other_feed(self._machine.spec, reading, outlet.power):
            return replace(reading, draw=max(reading.draw, outlet.power))
        return replace(reading, draw=outlet.power, quality=Quality.MEASURED)

    async def apply(self, command: SetPoint) -> Outcome:
        if command.means is Means.OUTLET:
            return await self._cut()
        if self._outlet.known().relay is not Relay.OFF or self._feed.elsewhere:
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
            if self._feed.elsewhere:
                return Refused("its outlet is off already, and does not feed it")
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


class Feed:
    """Whether an outlet feeds the machine that it is configured for, as far as that shows.

    `elsewhere` says that the machine answers while its outlet is off. Changes are told once each.
    """

    def __init__(self, device: str, outlet: str) -> None:
        self._device = device
        self._outlet = outlet
        self._first_s: float | None = None
        self._last_s = -math.inf
        self._apart_s: float | None = None
        self._warned = False

    @property
    def elsewhere(self) -> bool:
        return self._first_s is not None

    def answered_unfed(self, reading: Reading | None, outlet: OutletState, now_s: float) -> None:
        self._first_s = now_s if self._first_s is None else self._first_s
        self._last_s = now_s
        self._warn(reading, outlet)

    def stays_elsewhere(self) -> bool:
        """After it missed an answer while its outlet is off: whether that says nothing of its power. It was
        off indeed where it was heard for a moment only."""
        if self._first_s is not None and self._last_s - self._first_s >= STAYS_S:
            return True
        if self.elsewhere:
            self.switched_on()
            self._clear()
        return False

    def switched_on(self) -> None:
        self._first_s = None

    def shows(self, spec: DeviceSpec, reading: Reading, outlet: OutletState, carried: Power) -> None:
        """What a machine says whose outlet is on. Asleep it draws too little to show anything."""
        apart = has_other_feed(spec, reading, carried)
        if not apart or reading.draw.watts - carried.watts < APART_W:
            self._apart_s = None
            if not apart and reading.rate > 0:
                self._clear()
            return
        if self._apart_s is None:
            self._apart_s = asyncio.get_running_loop().time()
        if outlet.asked_s - self._apart_s >= APART_S:
            self._warn(reading, outlet)

    def _warn(self, reading: Reading | None, outlet: OutletState) -> None:
        if not self._warned:
            log.warning(
                "outlet_does_not_feed",
                device=self._device,
                outlet=self._outlet,
                relay=outlet.relay.value,
                outlet_w=None if outlet.power is None else outlet.power.watts,
                device_w=None if reading is None else reading.draw.watts,
            )
        self._warned = True

    def _clear(self) -> None:
        if self._warned:
            log.info("outlet_feeds", device=self._device, outlet=self._outlet)
        self._warned = False


def has_other_feed(spec: DeviceSpec, reading: Reading, carried: Power) -> bool:
    """Whether a machine that answers draws more than what its outlet carries: all of it, or a part."""
    asleep_w = spec.floor.power.watts if spec.floor.rate == 0 else 0
    if carried.watts <= CARRIES_NONE * asleep_w:
        return True
    measures = reading.quality is Quality.MEASURED and reading.rate > 0
    return measures and reading.draw.watts > CARRIES_PART * carried.watts


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
