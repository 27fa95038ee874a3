"""The rest: what pyasic 0.79.0 recognises and has no family of its own here, through pyasic's classes.

Most of it is only watched. Such a machine has one operating point, its ceiling, and refuses every command.
pyasic makes a working machine out of a dead one (no answer is "mining"), so a reading counts only with a
hash rate that was answered just now. Temperatures are what pyasic makes of them: means among them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from controller.domain.devices import OperatingPoint, Quality, Reading
from controller.domain.power import Limit, Power
from drivers.asic.adapter import SLEEP, Hello, Plate, RefusedError, Sample, hottest, mac_address, number
from drivers.asic.identify import Identifier, backend_of
from drivers.asic.library import bounded, get_miner
from drivers.asic.marafw import MaraSwitch
from drivers.asic.trouble import contained
from drivers.base import DriverError, OtherMachineError

NO_STOP = "pyasic has no stop for it"
BLIND_WRITE = "pyasic's stop writes back a configuration that it may have failed to read"
NOT_READ_BACK = "whether it was told to stop cannot be read back"

WATCHED = {
    "AntminerOld": NO_STOP,
    "BMMiner": NO_STOP,
    "BOSMiner": NOT_READ_BACK,
    "BitAxe": NO_STOP,
    "BlackMiner": NO_STOP,
    "ElphapexMiner": NO_STOP,
    "Fluminer": NO_STOP,
    "GoldshellMiner": NOT_READ_BACK,
    "HiveonModern": BLIND_WRITE,
    "HiveonOld": NO_STOP,
    "IceRiver": NO_STOP,
    "Innosilicon": NO_STOP,
    "LuckyMiner": NO_STOP,
    "MSKMiner": NO_STOP,
}
"""pyasic's classes that nothing is sent to, and why."""

METERED = frozenset({"BitAxe", "LuckyMiner"})
"""Classes whose watts come from a sensor at the input."""

POLL = ("hashrate", "hashboards", "wattage")
IDENTIFY_EXCHANGES = 3
"""Recognising a machine takes this many exchanges one after the other."""

_log = logging.getLogger(__name__)


class Switch(Protocol):
    """How a class is switched off and on, and how it tells what it was told."""

    async def asleep(self) -> bool: ...

    async def put(self, *, asleep: bool) -> None: ...


SWITCHES: dict[str, Callable[[Any], Switch]] = {"MaraMiner": MaraSwitch}


class Recognised(Identifier):
    """For machines whose hello is pyasic's own recognition: asking it again would tell nothing more."""

    async def backend(self, host: str, *, deadline_s: float) -> str | None:
        return None


class Generic:
    backend: ClassVar[str] = "generic"
    hello_is_proof: ClassVar[bool] = True

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self._kind = "a machine not met yet"
        self._miner: Any = None
        self._switch: Switch | None = None

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        """Only watched, unless the operator's points have a sleep and the class turns out to have one."""
        return (watched_point(plate),)

    async def hello(self) -> Hello:
        self._miner = self._switch = None
        async with asyncio.timeout(self._plate.exchange_s * IDENTIFY_EXCHANGES):
            miner = await contained(get_miner(self._plate.host))
        if miner is None:
            raise DriverError(f"pyasic recognises nothing at {self._plate.host}")
        self._kind = backend_of(type(miner))
        if self._kind not in WATCHED and self._kind not in SWITCHES:
            raise OtherMachineError(
                f"{self._plate.host} is configured as {self.backend}, but is {self._kind}"
            )
        prepare(miner, self._plate)
        data = await poll(miner, *POLL, "mac", deadline_s=self._plate.exchange_s)
        self._miner = miner
        wants_sleep = any(point.name == SLEEP for point in self._plate.points)
        if wants_sleep and self._kind in SWITCHES:
            self._switch = SWITCHES[self._kind](miner)
        elif wants_sleep:
            _log.warning("only watched: device=%s why=%s", self._plate.device, self._why_not)
        return Hello(mac=mac_address(data.mac), points=self._points)

    async def read(self) -> Sample:
        if self._miner is None:
            raise DriverError("not met yet")
        data = await poll(self._miner, *POLL, deadline_s=self._plate.exchange_s)
        if self._switch is None:
            return sample(data, self._plate, self._points[-1], metered=self._kind in METERED)
        async with asyncio.timeout(self._plate.exchange_s):
            asleep = await contained(self._switch.asleep())
        at = self._points[0 if asleep else -1]
        return sample(data, self._plate, at, metered=self._kind in METERED)

    async def change(self, point: OperatingPoint) -> None:
        if self._switch is None:
            raise RefusedError(self._why_not)
        async with asyncio.timeout(self._plate.exchange_s):
            await contained(self._switch.put(asleep=point.name == SLEEP))

    @property
    def _points(self) -> tuple[OperatingPoint, ...]:
        if self._switch is None:
            return (watched_point(self._plate),)
        return (self._plate.sleep, self._plate.points[-1])

    @property
    def _why_not(self) -> str:
        return f"{self._kind}: {WATCHED.get(self._kind, 'no sleep point is configured')}"


def prepare(miner: Any, plate: Plate) -> None:
    """Our time limits, and this machine's own password instead of its vendor's."""
    if miner.rpc is not None:
        bounded(miner.rpc, deadline_s=plate.exchange_s)
    if miner.web is not None and plate.username:
        miner.web.username = plate.username
    if miner.web is not None and plate.password:
        miner.web.pwd = plate.password.get_secret_value()


async def poll(miner: Any, *fields: str, deadline_s: float) -> Any:
    """pyasic's data, if there is a hash rate in it.

    pyasic's own limits are per exchange, and one silent machine has many of them in a row.
    """
    async with asyncio.timeout(deadline_s):
        data = await contained(miner.get_data(include=list(fields)))
    if rate_ths(data) is None:
        raise DriverError(f"{backend_of(type(miner))}: no hash rate in the answer, if there was one")
    return data


def watched_point(plate: Plate) -> OperatingPoint:
    return OperatingPoint(name="on", power=Power(plate.ceiling_w), rate=plate.rated_ths)


def sample(data: Any, plate: Plate, at: OperatingPoint, *, metered: bool) -> Sample:
    """Watts that pyasic does not tell are taken to be all that the machine may draw at its point."""
    rate = rate_ths(data) or 0.0
    told_w = number(data.wattage)
    if told_w is not None and told_w > 0:
        draw, quality = Power.up(told_w), Quality.MEASURED if metered else Quality.ESTIMATED
    elif at.name == SLEEP and rate > 0:
        draw, quality = Power(plate.ceiling_w), Quality.ESTIMATED
    else:
        draw, quality = at.power, Quality.ESTIMATED
    reading = Reading(
        device=plate.device,
        draw=draw,
        quality=quality,
        setting=Limit(at.power),
        rate=rate,
        hottest_c=hottest(
            [number(heat) for board in data.hashboards for heat in (board.chip_temp, board.temp)]
        ),
    )
    return Sample(reading=reading)


def rate_ths(data: Any) -> float | None:
    """The summary's rate: the boards' is an average on some firmware, and lags behind a stop."""
    rate = data.raw_hashrate if data.raw_hashrate is not None else data.hashrate
    return None if rate is None else number(rate.rate * rate.unit.value / 1e12)
