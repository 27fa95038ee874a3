"""Rack PDUs over SNMP: the watts of their outlets, and the switch of each.

A PDU's answer to an order is never proof, and a value that it cannot mean is never a reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from controller.domain.devices import Acknowledged, Failed, MeterReading, Outcome, Refused
from controller.domain.power import Power
from drivers.base import DriverError
from drivers.outletstate import OutletState, Relay
from drivers.pdumodels import MODELS, OutletConfig, PduConfig, PduModel
from drivers.silentpoints import SilentPoints
from drivers.snmplink import Agent, SnmpLink, SnmpRefusedError

VALUES_PER_REQUEST = 24
"""So that the answer fits into one unfragmented datagram."""
MOST_DIGITS = 6
SILENT_S = 30.0
"""One that is restarted, or misses a few polls on a busy network, is not yet silent."""
UNKNOWN: Final = OutletState(relay=Relay.UNKNOWN)


class SnmpPdu:
    """A `Sensor` of the outlets, and of the whole PDU, that have a meter's name; it watches all `outlets`."""

    def __init__(self, config: PduConfig, outlets: Sequence[OutletConfig], link: SnmpLink) -> None:
        self._config = config
        self._model = MODELS[config.model]
        self._meters = {outlet.outlet: outlet.meter for outlet in outlets}
        self._link = link
        self._agent = Agent(config.host, config.port, config.timeout_s)
        self._states: dict[int, tuple[float, OutletState]] = {}
        self._ordered_s: dict[int, float] = {}
        self._silent = SilentPoints(self.id)

    @property
    def id(self) -> str:
        return self._config.id

    @property
    def silent_after_s(self) -> float:
        return max(SILENT_S, self._config.stale_after_s)

    async def read(self) -> tuple[MeterReading, ...]:
        """The watts that could be read and believed; `DriverError` only when nothing could."""
        asked_s = asyncio.get_running_loop().time()
        values, unanswered = await self._poll()
        readings: list[MeterReading] = []
        faults: dict[str, str] = {}
        for outlet, meter in self._meters.items():
            try:
                self._keep(outlet, values, asked_s)
                power = self._power(outlet, values) if self._config.metered else None
            except DriverError as error:
                faults[f"outlet {outlet}"] = unanswered or str(error)
            else:
                if meter is not None and power is not None:
                    readings.append(MeterReading(meter=meter, power=power))
        if self._config.meter is not None:
            try:
                readings.append(MeterReading(meter=self._config.meter, power=self._total(values)))
            except DriverError as error:
                faults[f"meter {self._config.meter}"] = unanswered or str(error)
        if len(faults) == len(self._meters) + (self._config.meter is not None):
            raise DriverError(f"{self.id}: {'; '.join(dict.fromkeys(faults.values()))}")
        self._silent.now(faults)
        return tuple(readings)

    def known(self, outlet: int) -> OutletState:
        """What was last heard of an outlet, while that is fresh."""
        if outlet not in self._states:
            return UNKNOWN
        at_s, state = self._states[outlet]
        fresh = asyncio.get_running_loop().time() - at_s <= self._config.stale_after_s
        return state if fresh else UNKNOWN

    async def look(self, outlet: int) -> OutletState:
        asked_s = asyncio.get_running_loop().time()
        return self._keep(outlet, await self._link.get(self._agent, self._oids_of(outlet)), asked_s)

    async def switch(self, outlet: int, to: Relay) -> Outcome:
        """What was known of the outlet is forgotten: the order may have been carried out or not."""
        self._states.pop(outlet, None)
        self._ordered_s[outlet] = asyncio.get_running_loop().time()
        value = self._model.switch_on if to is Relay.ON else self._model.switch_off
        try:
            await self._link.set(self._agent, self._model.switch.format(n=outlet), value)
        except SnmpRefusedError as error:
            return Refused(str(error))
        except DriverError as error:
            return Failed(str(error))
        return Acknowledged()

    def outlet(self, number: int) -> SnmpOutlet:
        return SnmpOutlet(self, number)

    async def close(self) -> None:
        self._link.close()
        await asyncio.sleep(0)  # the engine's task and socket end one turn of the loop later

    async def _poll(self) -> tuple[dict[str, int], str]:
        """All values that came, and what is to be said of the others if the PDU stopped answering."""
        values: dict[str, int] = {}
        wanted = iter([oid for outlet in self._meters for oid in self._oids_of(outlet)] + self._total_oids)
        try:
            async with asyncio.timeout(self._config.timeout_s):
                while part := list(islice(wanted, VALUES_PER_REQUEST)):
                    values |= await self._link.get(self._agent, part)
        except TimeoutError:
            return values, f"{self._agent}: not all came within {self._config.timeout_s} s"
        except DriverError as error:
            return values, str(error)
        return values, ""

    def _oids_of(self, outlet: int) -> list[str]:
        model = self._model
        power = (model.power, model.power_digits) if self._config.metered else ()
        return [oid.format(n=outlet) for oid in (model.state, *power) if oid is not None]

    @property
    def _total_oids(self) -> list[str]:
        if self._config.meter is None:
            return []
        return [oid for oid in (self._model.total, self._model.total_digits) if oid is not None]

    def _keep(self, outlet: int, values: Mapping[str, int], asked_s: float) -> OutletState:
        """Watts that cannot be believed do not hide whether it is on. Nor does a poll that took its time hide
        what was asked, or ordered, after it."""
        is_on = relay(self._model, values, self._model.state.format(n=outlet))
        power = None
        if self._config.metered:
            with suppress(DriverError):
                power = self._power(outlet, values)
        state = OutletState(relay=is_on, power=power, asked_s=asked_s)
        _, newest = self._states.get(outlet, (0.0, UNKNOWN))
        if asked_s >= max(newest.asked_s, self._ordered_s.get(outlet, asked_s)):
            self._states[outlet] = asyncio.get_running_loop().time(), state
        return state

    def _power(self, outlet: int, values: Mapping[str, int]) -> Power:
        model = self._model
        digits = None if model.power_digits is None else model.power_digits.format(n=outlet)
        return watts(values, model.power.format(n=outlet), digits, 1, self._config.outlet_max_w)

    def _total(self, values: Mapping[str, int]) -> Power:
        assert self._config.max_w is not None
        model = self._model
        return watts(values, model.total, model.total_digits, model.total_w, self._config.max_w)


class SnmpOutlet:
    """An `Outlet`: one number of a PDU."""

    def __init__(self, pdu: SnmpPdu, number: int) -> None:
        self._pdu = pdu
        self._number = number

    @property
    def name(self) -> str:
        return f"{self._pdu.id}:{self._number}"

    def known(self) -> OutletState:
        return self._pdu.known(self._number)

    async def look(self) -> OutletState:
        return await self._pdu.look(self._number)

    async def switch(self, to: Relay) -> Outcome:
        return await self._pdu.switch(self._number, to)


def relay(model: PduModel, values: Mapping[str, int], oid: str) -> Relay:
    value = values.get(oid)
    if value == model.is_on:
        return Relay.ON
    if value == model.is_off:
        return Relay.OFF
    raise DriverError(f"{oid}: {'not there' if value is None else f'{value} is neither on nor off'}")


def watts(values: Mapping[str, int], oid: str, digits_oid: str | None, count_w: int, max_w: float) -> Power:
    """Power between 0 and `max_w`; a PDU says -1 for what it does not measure."""
    digits = 0 if digits_oid is None else values.get(digits_oid, -1)
    if oid not in values or not 0 <= digits <= MOST_DIGITS:
        raise DriverError(f"{oid}: not there, or its {digits} decimal places are not")
    power_w = values[oid] * count_w / 10**digits
    if not 0 <= power_w <= max_w:
        raise DriverError(f"{oid}: {power_w:g} W is outside 0..{max_w:g} W")
    return Power.up(power_w)
