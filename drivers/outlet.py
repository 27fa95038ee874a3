"""A machine behind a switched outlet: metered there, and cut off there when nothing else helps.

It never decides to cut. It never gives power back to an outlet that somebody else switched off: a person may
be working there. It never says that a machine which answers draws nothing: cords are plugged in wrongly.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import structlog

from controller.domain.devices import (
    Acknowledged,
    DeviceSpec,
    Failed,
    Means,
    Outcome,
    Quality,
    Reading,
    Refused,
    SetPoint,
)
from controller.domain.power import ZERO, Limit
from drivers.asic.adapter import RefusedError
from drivers.base import Driver, DriverError
from drivers.feed import Feed, has_other_feed
from drivers.outletstate import Outlet, OutletState, Relay
from drivers.switching import Cuts, NoCuts, Switching

LOOK_S = 30.0
"""For this long after it was switched, an outlet is asked by each read, not by the poll of its PDU alone."""

LOOK_SHARE = 0.3
"""It has so much of the time of a read to answer: a dead PDU must not make a machine seem silent."""
READ_SHARE = 0.9
"""A machine has so much of the time for a read to answer while its outlet is off: then the outlet speaks."""
FIRST_REST_S = 5.0
"""So long a machine is not asked again that did not answer while its outlet was off, then twice as long."""

log = structlog.get_logger()


class OutletDriver:
    """A `Driver` around that of the machine. While the outlet is off, the machine is at its floor.

    A machine that gets its power back boots as it likes, so while it is off it can only be given all it may
    draw: `spec` offers nothing between, and nothing at all where only a person may switch it on. One that
    answers all the same has another feed, and no outlet then. `read_s` is the time that a whole read has.
    """

    def __init__(
        self, machine: Driver, outlet: Outlet, read_s: float = 5.0, cuts: Cuts | None = None
    ) -> None:
        self._machine = machine
        self._outlet = outlet
        self._read_s = read_s
        self._feed = Feed(machine.spec.id, outlet.name)
        self._rest_s, self._ask_from_s = 0.0, -math.inf
        self._cuts = NoCuts() if cuts is None else cuts
        self._switching = Switching(machine.spec.id, outlet.name, self._cuts)
        self._look_until_s = self._told_s = -math.inf
        self._based_on = machine.spec
        self._offers = Offers(machine.spec)

    @property
    def spec(self) -> DeviceSpec:
        if self._machine.spec is not self._based_on:
            self._based_on = self._machine.spec
            self._offers = Offers(self._based_on)
        if self._feed.elsewhere:
            return self._based_on
        if self._known().relay is Relay.OFF:
            return self._offers.unfed(self._switching)
        return self._offers.fed if self._switching.obeys(self._now_s) else self._based_on

    async def read(self) -> Reading:
        """The machine's own words, and the outlet's watts. Without power the outlet speaks for it."""
        began_s = self._now_s()
        outlet = await self._state()
        if outlet.relay is Relay.OFF:
            return await self._read_unfed(outlet, began_s)
        self._rest_s, self._ask_from_s = 0.0, -math.inf
        if outlet.relay is Relay.ON:
            self._feed.switched_on()
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
        outlet = self._known()
        if outlet.relay is not Relay.OFF or self._feed.elsewhere:
            return await self._tell(command)
        if command.point.power <= self._machine.spec.floor.power:
            return Acknowledged()
        return await self._give_back()

    async def _tell(self, command: SetPoint) -> Outcome:
        """Whatever came of it, and whenever: only then may its outlet show that."""
        try:
            return await self._machine.apply(command)
        finally:
            self._told_s = self._now_s()

    async def _cut(self) -> Outcome:
        """Take the power from the machine, whatever it says."""
        outlet = self._known()
        if outlet.relay is Relay.UNKNOWN:
            outlet = await self._look()
        if outlet.relay is Relay.OFF:
            if self._feed.elsewhere:
                return Refused("its outlet is off already, and does not feed it")
            return Acknowledged()
        return await self._switch(Relay.OFF, was_on=outlet.relay is Relay.ON)

    async def _give_back(self) -> Outcome:
        """First it is forgotten that it was cut: whoever switches it off after that is somebody else, also if
        this process does not live to see it on."""
        if not self._switching.ours:
            return Refused(f"its outlet is off and {self._switching.why_not}: switch it on by hand")
        try:
            await self._cuts.forget(self._outlet.name)
        except DriverError as error:
            return Failed(f"its outlet stays off while that cannot be written down: {error}")
        return await self._switch(Relay.ON)

    async def close(self) -> None:
        await self._machine.close()

    async def _state(self) -> OutletState:
        return await self._look() if self._now_s() < self._look_until_s else self._known()

    async def _look(self) -> OutletState:
        try:
            async with asyncio.timeout(LOOK_SHARE * self._read_s):
                outlet = await self._outlet.look()
        except (TimeoutError, DriverError):
            return self._known()  # the poll of its PDU tells of that
        self._switching.seen(outlet)
        return outlet

    def _known(self) -> OutletState:
        outlet = self._outlet.known()
        self._switching.seen(outlet)
        return outlet

    async def _switch(self, to: Relay, *, was_on: bool = False) -> Outcome:
        sent_s = self._now_s()
        self._look_until_s = sent_s + LOOK_S
        outcome: Outcome = Failed("it was given up before its PDU answered")
        try:
            outcome = await self._outlet.switch(to)
        finally:
            self._switching.told(to, outcome, was_on=was_on, sent_s=sent_s, now_s=self._now_s())
        return outcome

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


class Offers:
    """What a machine behind an outlet offers: with power, and while its outlet is off, from here or not."""

    def __init__(self, machine: DeviceSpec) -> None:
        self.fed = replace(machine, has_outlet=True)
        self._cut = self.fed
        if len(machine.points) > 2:
            self._cut = replace(self.fed, points=(machine.floor, machine.points[-1]))
        self._left_off = self.fed

    def unfed(self, switching: Switching) -> DeviceSpec:
        """While the outlet is off: one and the same as long as that is so for the same reason."""
        if switching.ours:
            return self._cut
        if self._left_off.left_off != switching.why_not:
            self._left_off = replace(self.fed, points=(self.fed.floor,), left_off=switching.why_not)
        return self._left_off


def _dark(spec: DeviceSpec, outlet: OutletState) -> Reading:
    """A machine without power. What a welded relay still lets through is its draw all the same."""
    return Reading(
        device=spec.id,
        draw=ZERO if outlet.power is None else outlet.power,
        quality=Quality.ESTIMATED if outlet.power is None else Quality.MEASURED,
        setting=Limit(spec.floor.power),
    )
