"""The second backend: machines driven through pyasic-rs 0.8.6, the successor of pyasic, by the same contract.

Nothing else imports pyasic_rs. Like pyasic it makes a working machine out of a dead one, so a reading counts
only with a MAC address that was answered just now; and its yes is no proof (its Whatsminer v2 says yes to
every refusal of a stop), so what counts is the setting that is read back. Its calls end by themselves within
5 to 10 s, in threads of its own: a cancelled one may still reach the machine.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import ClassVar, TypeVar

from pyasic_rs import MinerFactory
from pyasic_rs.asic_rs import DataField, HashRateUnit, Miner, MinerData, TuningTarget

from controller.domain.devices import OperatingPoint, Quality, Reading
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from drivers.asic.adapter import SLEEP, Hello, Plate, RefusedError, Sample, hottest, mac_address, number
from drivers.asic.config import Family
from drivers.asic.points import ladder
from drivers.asic.whatsminer import speaks_v3
from drivers.base import DriverError, OtherMachineError

WANTED = ("Wattage", "Hashrate", "Hashboards", "IsMining", "TuningTarget", "Mac", "FirmwareVersion")
EXCLUDED = [
    field
    for name, field in vars(DataField).items()
    if isinstance(field, DataField) and name not in (*WANTED, "DeviceInfo")
]

EXCHANGES = 3
"""Questions that it asks one after the other, where each may take an exchange's time."""

Result = TypeVar("Result")


class RsMiner:
    """What its families share. `firmware` is the library's name of it."""

    backend: ClassVar[str] = "pyasic-rs"
    hello_is_proof: ClassVar[bool] = True
    """Who it is, is the library's own recognition and the firmware that the machine then names."""

    family: ClassVar[Family]
    firmware: ClassVar[str]
    username: ClassVar[str] = "admin"
    tells_heat: ClassVar[bool] = True

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self._miner: Miner | None = None
        self._last_limit: Bound = NO_LIMIT

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        return ladder(plate)

    async def hello(self) -> Hello:
        """A machine that was stopped so that the library does not know it any more is not met."""
        self._miner = None
        self._last_limit = NO_LIMIT
        miner = await self._within(MinerFactory().get_miner(self._plate.host))
        if miner is None:
            raise DriverError(f"pyasic-rs recognises nothing at {self._plate.host}")
        if self._plate.password is not None:
            miner.set_auth(self._plate.username or self.username, self._plate.password.get_secret_value())
        data = await self._data(miner)
        kind = f"{miner.make} {miner.model} with {miner.firmware} {data.firmware_version}"
        if not self.is_of_family(miner.firmware, data.firmware_version or ""):
            raise OtherMachineError(f"{self._plate.host} is configured as {self.family}, but is {kind}")
        self._miner = miner
        return Hello(mac=mac_address(data.mac))

    async def read(self) -> Sample:
        data = await self._data(self._met)
        taken = sample(data, self._plate, tells_heat=self.tells_heat)
        if data.is_mining:
            self._last_limit = taken.reading.setting
        return taken

    async def change(self, point: OperatingPoint) -> None:
        miner = self._met
        if point.name == SLEEP:
            await self._tell("pause", miner.pause())
            return
        off = not (await self._data(miner)).is_mining
        try:
            await self._tell("set_power_limit", miner.set_power_limit(float(point.power.watts)))
        except RefusedError:
            # Never wake a machine under a limit that is higher than it was granted.
            known = self._last_limit
            if not off or not isinstance(known, Limit) or known.power > point.power:
                raise
        if off:
            await self._tell("resume", miner.resume())

    @classmethod
    def is_of_family(cls, firmware: str, version: str) -> bool:
        return firmware == cls.firmware

    @property
    def _met(self) -> Miner:
        if self._miner is None:
            raise DriverError("not met yet")
        return self._miner

    async def _data(self, miner: Miner) -> MinerData:
        """An answer: of a silent machine the library makes one without any value, that is mining."""
        data = await self._within(miner.get_data(exclude=EXCLUDED))
        if data.mac is None:
            raise DriverError("no MAC address in the answer, if there was one")
        if data.is_mining and (data.wattage is None or data.hashrate is None):
            raise DriverError("a machine at work that tells no watts or no hash rate")
        return data

    async def _tell(self, order: str, call: Awaitable[bool]) -> None:
        try:
            done = await self._within(call)
        except RuntimeError as error:
            if "error status" in str(error):
                raise RefusedError(f"{order}: {error}") from error
            raise DriverError(f"{order}: {error}") from error
        if not done:
            raise RefusedError(f"{order}: pyasic-rs says no, and not why")

    async def _within(self, call: Awaitable[Result]) -> Result:
        async with asyncio.timeout(self._plate.exchange_s * EXCHANGES):
            return await call


class RsWhatsminer(RsMiner):
    family: ClassVar[Family] = "whatsminer"
    firmware: ClassVar[str] = "WhatsMiner Stock"

    @classmethod
    def is_of_family(cls, firmware: str, version: str) -> bool:
        # The library calls both by the same name.
        return firmware == cls.firmware and speaks_v3(version) == (cls.family == "whatsminer-v3")


class RsWhatsminerV3(RsWhatsminer):
    family: ClassVar[Family] = "whatsminer-v3"
    username: ClassVar[str] = "super"


class RsAuradine(RsMiner):
    family: ClassVar[Family] = "auradine"
    firmware: ClassVar[str] = "Auradine Stock"
    tells_heat: ClassVar[bool] = False
    """What it calls the chips' temperature is the boards': a dozen degrees too cool."""


RS_ADAPTERS: dict[Family, type[RsMiner]] = {
    adapter.family: adapter for adapter in (RsWhatsminer, RsWhatsminerV3, RsAuradine)
}


def sample(data: MinerData, plate: Plate, *, tells_heat: bool) -> Sample:
    """Watts that the machine does not know are taken to be all that its limit allows, unless it rests; 0 W
    are none of a machine that answers."""
    limit = power_limit(data.tuning_target)
    rate_ths = 0.0 if data.hashrate is None else data.hashrate.as_unit(HashRateUnit.TeraHash).value
    watts = number(data.wattage)
    if watts is not None and watts > 0:
        draw, quality = Power.up(watts), Quality.MEASURED
    else:
        at_rest = not data.is_mining and rate_ths == 0
        most = limit.power if isinstance(limit, Limit) else Power(plate.ceiling_w)
        draw, quality = plate.sleep.power if at_rest else most, Quality.ESTIMATED
    heats = [board.outlet_chip_temperature for board in data.hashboards] if tells_heat else []
    reading = Reading(
        device=plate.device,
        draw=draw,
        quality=quality,
        setting=limit if data.is_mining else plate.asleep,
        rate=rate_ths,
        hottest_c=hottest([number(heat) for heat in heats]),
    )
    return Sample(reading=reading, mac=mac_address(data.mac))


def power_limit(target: TuningTarget | None) -> Bound:
    watts = target.watts if isinstance(target, TuningTarget.Power) else None
    return Limit(Power.down(watts)) if watts is not None and math.isfinite(watts) and watts > 0 else NO_LIMIT
