"""LuxOS: sleep and tuned profiles over TCP 4028, in a login session that must be ours and must be given back.

Checked against the documents of LuxOS 2025.4 to 2026.1 (docs.luxor.tech/firmware).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from controller.domain.devices import OperatingPoint, Quality, Reading
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from drivers.asic.adapter import SLEEP, Hello, Plate, RefusedError, Sample, hottest, mac_address, number
from drivers.asic.cgminer import Reply, Rpc, ask, part, watts
from drivers.asic.points import usable_points
from drivers.asic.trouble import as_driver_error
from drivers.base import DriverError

SESSION_LOST = 402
"""Another client has the only session (logon), or ours is not valid any more (any command)."""

LOGON_TRIES = 2
CLEANUP_S = 2.0

POLL = "config+power+stats"
_CHIP_SENSORS = re.compile(r"temp_chip\d+")
_BOARD_RATE = re.compile(r"chain_rate\d+")


class SessionBusyError(RefusedError):
    """Someone else is logged in."""


class LuxOS:
    backend: ClassVar[str] = "LUXMiner"
    hello_is_proof: ClassVar[bool] = True

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self._rpc = Rpc(plate.host, deadline_s=plate.exchange_s)
        self._profiles: dict[str, OperatingPoint] = {}
        self._owes_atm = False

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        return (plate.sleep, plate.point("full", plate.rated_w))

    async def hello(self) -> Hello:
        joined = await ask(self._rpc, "config+profiles")
        config = part(joined, "config")["CONFIG"][0]
        self._profiles = profiles(part(joined, "profiles"), self._plate)
        return Hello(
            mac=mac_address(config.get("MACAddr")), points=usable_points(self._profiles.values(), self._plate)
        )

    async def read(self) -> Sample:
        if self._owes_atm:  # its profile is as ordered, so no order may come for days
            with contextlib.suppress(DriverError), as_driver_error():
                async with self._session() as session:
                    await self._switch_atm_on(session)
        return sample(await ask(self._rpc, POLL), self._plate, self._profiles)

    async def change(self, point: OperatingPoint) -> None:
        # To sleep is the one order that must be quick, and needs to know nothing.
        config = {} if point.name == SLEEP else (await ask(self._rpc, "config"))["CONFIG"][0]
        for left in reversed(range(LOGON_TRIES)):
            try:
                async with self._session() as session:
                    await self._put(session, point, config)
                return
            except SessionBusyError:
                if not left:
                    raise
                await asyncio.sleep(self._plate.busy_wait_s)

    async def _put(self, session: str, point: OperatingPoint, config: Reply) -> None:
        if point.name == SLEEP:
            await self._tell("curtail", session, "sleep")
            return
        asleep = is_asleep(config)
        profile = str(config["Profile"])
        if profile != point.name:
            try:
                await self._set_profile(session, point.name, atm=config.get("IsAtmEnabled") is True)
            except SessionBusyError:
                raise
            except RefusedError:
                # Never wake a machine into a profile that draws more than it was granted.
                current = self._profiles.get(profile)
                if not asleep or current is None or current.power > point.power:
                    raise
        if asleep:
            await self._tell("curtail", session, "wakeup")

    async def _set_profile(self, session: str, profile: str, *, atm: bool) -> None:
        """ATM, the firmware's own thermal management, refuses a profile by hand: off, and on again after."""
        if not (atm or self._owes_atm):
            await self._tell("profileset", session, profile)
            return
        self._owes_atm = True
        try:
            await self._tell("atmset", session, "enabled=false")
            await self._tell("profileset", session, profile)
        finally:
            with contextlib.suppress(DriverError):
                await self._switch_atm_on(session)
        if self._owes_atm:
            raise DriverError("profile set, but ATM could not be switched on again")

    async def _switch_atm_on(self, session: str) -> None:
        await self._clean_up("atmset", session, "enabled=true")
        self._owes_atm = False

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[str]:
        """A login of our own: pyasic keeps one for ever, and takes over the one of another client."""
        try:
            session = str((await ask(self._rpc, "logon"))["SESSION"][0]["SessionID"])
        except RefusedError as refusal:
            raise SessionBusyError(str(refusal), refusal.code) from refusal
        try:
            yield session
        finally:
            # A session that cannot be closed dies by itself after 60 s.
            with contextlib.suppress(DriverError):
                await self._clean_up("logoff", session)

    async def _tell(self, command: str, *parameters: str) -> None:
        try:
            await ask(self._rpc, command, *parameters)
        except RefusedError as refusal:
            if refusal.code == SESSION_LOST:
                raise SessionBusyError(str(refusal), refusal.code) from refusal
            raise

    async def _clean_up(self, command: str, *parameters: str) -> None:
        """Also when the call has been cancelled, so in little time."""
        with as_driver_error():
            async with asyncio.timeout(CLEANUP_S):
                await self._tell(command, *parameters)


def profiles(reply: Reply, plate: Plate) -> dict[str, OperatingPoint]:
    """Every profile of the machine; the operator's figures where a point of that name is configured."""
    found = {}
    for record in reply["PROFILES"]:
        name = str(record["Profile Name"])
        rate = number(record.get("Hashrate"))
        power_w = watts(record, "Watts")
        found[name] = (
            plate.point(name, power_w)
            if rate is None
            else OperatingPoint(name=name, power=Power(power_w), rate=rate)
        )
    return found | {point.name: point for point in plate.points if point.name in found}


def sample(joined: Reply, plate: Plate, found: dict[str, OperatingPoint]) -> Sample:
    config = part(joined, "config")["CONFIG"][0]
    power = part(joined, "power")["POWER"][0]
    header_and_boards = part(joined, "stats")["STATS"]
    stats = header_and_boards[1] if len(header_and_boards) > 1 else {}
    reading = Reading(
        device=plate.device,
        draw=Power(watts(power, "Watts")),
        # Without a PSU that talks, the watts are a guess of the firmware.
        quality=Quality.MEASURED if power.get("PSU") is True else Quality.ESTIMATED,
        setting=setting(config, plate, found),
        rate=rate_ths(stats),
        hottest_c=hottest_c(stats),
    )
    return Sample(reading=reading, mac=mac_address(config.get("MACAddr")))


def is_asleep(config: Reply) -> bool:
    return str(config["CurtailMode"]).lower() == "sleep"


def setting(config: Reply, plate: Plate, found: dict[str, OperatingPoint]) -> Bound:
    """The active profile's watts; a profile that the machine did not list limits nothing that we know."""
    if is_asleep(config):
        return plate.asleep
    point = found.get(str(config["Profile"]))
    return NO_LIMIT if point is None else Limit(point.power)


def rate_ths(stats: Reply) -> float:
    """The sum of the boards in TH/s: pyasic 0.79.0 stops counting at the first board with a dead sensor."""
    boards = [number(value) for key, value in stats.items() if _BOARD_RATE.fullmatch(key)]
    known = [rate for rate in boards if rate is not None]
    if known:
        return sum(known) / 1000
    return (number(stats.get("GHS 5s")) or 0.0) / 1000


def hottest_c(stats: Reply) -> float | None:
    """The hottest chip sensor of all boards, each of which reports like "61-48-49-62"."""
    return hottest(
        [
            number(sensor)
            for key, value in stats.items()
            if _CHIP_SENSORS.fullmatch(key)
            for sensor in str(value).split("-")
        ]
    )
