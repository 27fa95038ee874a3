"""A machine behind a switched outlet that behaves, and its outlet."""

from __future__ import annotations

import asyncio

from controller.domain.devices import (
    Acknowledged,
    DeviceKind,
    DeviceSpec,
    Failed,
    Means,
    OperatingPoint,
    Outcome,
    Quality,
    Reading,
    Refused,
    SetPoint,
)
from controller.domain.power import ZERO, Power
from drivers.asic.adapter import RefusedError
from drivers.base import DriverError
from drivers.outlet import OutletDriver
from drivers.outletstate import OutletState, Relay

SLEEP, ECO, FULL = (
    OperatingPoint(name=name, power=Power(power_w), rate=rate)
    for name, power_w, rate in (("sleep", 25, 0.0), ("eco", 2_000, 80.0), ("full", 3_000, 110.0))
)
SPEC = DeviceSpec(
    id="m", kind=DeviceKind.ASIC, node="n", points=(SLEEP, ECO, FULL), ceiling=Power(3_150), keeps_limit=True
)
CUT = SetPoint(device="m", point=SLEEP, means=Means.OUTLET)


class Machine:
    """A machine that claims 2,900 W and obeys, as long as it has power."""

    spec = SPEC

    def __init__(self) -> None:
        self.says = Reading(device="m", draw=Power(2_900), quality=Quality.ESTIMATED, rate=105.0)
        self.powered = True
        self.reachable = True
        self.refuses = False
        self.hangs = False
        self.takes_s = 0.0
        self.asked = 0
        self.told: list[str] = []
        self.closed = False

    async def read(self) -> Reading:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        if not (self.powered and self.reachable):
            raise DriverError("no route to host")
        if self.refuses:
            raise RefusedError("the password is not accepted")
        return self.says

    async def apply(self, command: SetPoint) -> Outcome:
        self.told.append(command.point.name)
        if self.hangs:
            await asyncio.Event().wait()
        return Acknowledged() if self.powered else Failed("no route to host")

    async def close(self) -> None:
        self.closed = True


class Plug:
    """An outlet that feeds `machine`, unless it is `miswired`. It is known only while its PDU `answers`, and
    obeys only if it `works`. An order `fails` without an answer, or the PDU `refuses` it; one that `hangs`
    takes the time of a whole request to be asked. What its last poll told may be `forgotten`.

    A `welded` one says that it is off, and is not. It was last polled at `polled_s`, else just now.
    """

    def __init__(self, machine: Machine, power: Power | None) -> None:
        self.machine = machine
        self.power = power
        self.answers = True
        self.fails = False
        self.loses_answers = False
        self.hangs = False
        self.refuses = False
        self.forgotten = False
        self.works = True
        self.welded = False
        self.miswired = False
        self.is_on = True
        self.polled_s: float | None = None
        self.orders: list[Relay] = []
        self.looks = 0

    @property
    def name(self) -> str:
        return "pdu:4"

    def known(self) -> OutletState:
        return OutletState(relay=Relay.UNKNOWN) if self.forgotten else self._state()

    def _state(self) -> OutletState:
        if not self.answers:
            return OutletState(relay=Relay.UNKNOWN)
        asked_s = asyncio.get_running_loop().time() if self.polled_s is None else self.polled_s
        if self.miswired:
            return OutletState(relay=Relay.ON if self.is_on else Relay.OFF, power=self.power, asked_s=asked_s)
        if self.welded:
            return OutletState(relay=Relay.OFF, power=self.power, asked_s=asked_s)
        if self.machine.powered:
            return OutletState(relay=Relay.ON, power=self.power, asked_s=asked_s)
        power = None if self.power is None else ZERO
        return OutletState(relay=Relay.OFF, power=power, asked_s=asked_s)

    async def look(self) -> OutletState:
        self.looks += 1
        if self.hangs:
            await asyncio.sleep(3.0)
        if not self.answers or self.hangs:
            raise DriverError("no answer")
        return self._state()

    async def switch(self, to: Relay) -> Outcome:
        self.orders.append(to)
        if self.fails or not self.answers:
            return Failed("no answer")
        if self.refuses:
            return Refused("noAccess")
        self.is_on = to is Relay.ON
        if self.works and not self.miswired:
            self.machine.powered = to is Relay.ON
        return Failed("no answer") if self.loses_answers else Acknowledged()

    def switch_by_hand(self, to: Relay) -> None:
        self.is_on = to is Relay.ON
        self.machine.powered = to is Relay.ON


METERED = Power(3_010)


Plugged = tuple[OutletDriver, Plug, Machine]


def plugged(power: Power | None = METERED) -> Plugged:
    machine = Machine()
    plug = Plug(machine, power)
    return OutletDriver(machine, plug), plug, machine


def to(point: OperatingPoint) -> SetPoint:
    return SetPoint(device="m", point=point)
