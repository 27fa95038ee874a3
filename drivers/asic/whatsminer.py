"""Whatsminer with the v2 API: a power limit in watts and an off switch, over TCP 4028, writes encrypted.

Firmware dated 2024-11 and later speaks v3, another protocol, and is another family.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from controller.domain.devices import OperatingPoint, Quality, Reading
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from drivers.asic.adapter import (
    SLEEP,
    Hello,
    Plate,
    RefusedError,
    Sample,
    allowed_draw,
    hottest,
    mac_address,
    number,
    points_of,
)
from drivers.asic.cgminer import Reply, Rpc, ask, proven
from drivers.asic.library import (
    TokenData,
    create_privileged_cmd,
    md5crypt,
    parse_btminer_priviledge_data,
)
from drivers.asic.points import ladder
from drivers.base import DriverError

DEFAULT_PASSWORD = "admin"


V3_SINCE = 20241100
"""The date in a firmware's version after which it speaks API v3."""

_DATE = re.compile(r"\d{8}")

STATUS_EVERY = 12
"""Polls that one answer about the switch is good for, while the machine does what it did: a minute or so."""

MOVED_SHARE = 0.1
"""A move of the watts by this share of the rating may be somebody's order."""


@dataclass(slots=True, kw_only=True)
class Switch:
    """What the machine said of being switched on, and what it did then.

    To ask it costs as much again as the poll, and tells only whether somebody switched it off, which watts
    and hash rate show at once.
    """

    said: Reply
    watts: float | None
    hashes: bool
    polls: int = 1

    def still_holds(self, watts: float | None, hashes: bool, plate: Plate) -> bool:
        self.polls += 1
        if self.polls > STATUS_EVERY or watts is None or self.watts is None or hashes is not self.hashes:
            return False
        return abs(watts - self.watts) < MOVED_SHARE * plate.rated_w


class Whatsminer:
    backend: ClassVar[str] = "BTMinerV2"
    hello_is_proof: ClassVar[bool] = True
    """A stopped one refuses the commands by which pyasic knows it."""

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self._rpc = Rpc(plate.host, deadline_s=plate.exchange_s)
        self._password = plate.password.get_secret_value() if plate.password else DEFAULT_PASSWORD
        self._token: TokenData | None = None
        self._last_limit: Bound = NO_LIMIT
        self._switch: Switch | None = None

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        """Off, and limits in equal steps from the lowest to the rating."""
        return ladder(plate)

    async def hello(self) -> Hello:
        self._token = self._switch = None
        self._last_limit = NO_LIMIT
        version = str((await ask(self._rpc, "get_version"))["Msg"]["fw_ver"])
        if speaks_v3(version):
            raise DriverError(f"Whatsminer firmware {version} speaks API v3, not v2")
        info = (await ask(self._rpc, "get_miner_info"))["Msg"]
        return Hello(mac=mac_address(info["mac"]))

    async def read(self) -> Sample:
        known, self._switch = self._switch, None  # a poll that fails leaves nothing to be remembered
        try:
            summary = (await ask(self._rpc, "summary"))["SUMMARY"][0]
        except RefusedError:
            if not is_off(await self._status()):
                raise
            # "btminer process is down" (code 14): of a machine that is switched off, that is an answer.
            return stopped_sample(self._plate)
        power, hashes = number(summary.get("Power")), bool(number(summary.get("MHS 1m")))
        if known is None or not known.still_holds(power, hashes, self._plate):
            known = Switch(said=await self._status(), watts=power, hashes=hashes)
        taken = sample(known.said, summary, self._plate)
        if not is_off(known.said):
            self._last_limit = taken.reading.setting
        self._switch = known
        return taken

    async def _status(self) -> Reply:
        return dict((await ask(self._rpc, "status"))["Msg"])

    async def change(self, point: OperatingPoint) -> None:
        if point.name == SLEEP:
            await self._tell("power_off", respbefore="true")
            return
        off = is_off(await self._status())
        try:
            await self._tell("adjust_power_limit", power_limit=str(point.power.watts))
        except RefusedError:
            # Never wake a machine under a limit that is higher than it was granted.
            known = self._last_limit
            if not off or not isinstance(known, Limit) or known.power > point.power:
                raise
        if off:
            await self._tell("power_on")

    async def _tell(self, command: str, **parameters: str) -> None:
        """A refusal may mean no more than a token that the machine forgot, so ask twice."""
        self._switch = None
        try:
            try:
                await self._tell_once(command, **parameters)
            except RefusedError:
                self._token = None
                await self._tell_once(command, **parameters)
        except BaseException:
            self._token = None  # polls need none, so nothing else would show that it is worth nothing
            raise

    async def _tell_once(self, command: str, **parameters: str) -> None:
        """Not by pyasic's send_privileged_command, which takes a cancelled call for an unanswered one."""
        if self._token is None:
            self._token = token((await ask(self._rpc, "get_token"))["Msg"], self._password)
        request = create_privileged_cmd(self._token, {"cmd": command, **parameters})
        reply = await self._rpc.send(request)
        if "enc" in reply:
            reply = parse_btminer_priviledge_data(self._token, reply)
        proven(command, reply)


def speaks_v3(version: str) -> bool:
    """Whether firmware of this version speaks the other API, which is another family."""
    date = _DATE.search(version)
    return date is not None and int(date[0]) > V3_SINCE


def token(challenge: Reply, password: str) -> TokenData:
    key = md5crypt(password, challenge["salt"])
    return TokenData(host_sign=md5crypt(key + challenge["time"], challenge["newsalt"]), host_passwd_md5=key)


def is_off(status: Reply) -> bool:
    """`mineroff`, or `btmineroff` on the firmware of 2021 and before."""
    said = [status[key] for key in ("mineroff", "btmineroff") if status.get(key) not in (None, "")]
    if not said:
        raise DriverError("status: neither mineroff nor btmineroff")
    return any(str(value).lower() == "true" for value in said)


def sample(status: Reply, summary: Reply, plate: Plate) -> Sample:
    """Watts that the machine does not know are taken to be all that its limit allows, or that it hashes; 0 W
    are none of a machine that answers."""
    off = is_off(status)
    limit = power_limit(summary)
    rate_mhs = number(summary.get("MHS 1m")) or 0.0
    power = number(summary["Power"])
    if power is not None and power > 0:
        draw, quality = Power.up(power), Quality.MEASURED
    elif off and rate_mhs == 0:
        draw, quality = plate.sleep.power, Quality.ESTIMATED
    else:
        points = points_of(Whatsminer, plate)
        draw = allowed_draw(limit, rate_now_ths(summary), points, plate)
        quality = Quality.ESTIMATED
    reading = Reading(
        device=plate.device,
        draw=draw,
        quality=quality,
        setting=plate.asleep if off else limit,
        rate=rate_mhs / 1e6,
        hottest_c=hottest([number(summary.get("Chip Temp Max"))]),
    )
    return Sample(reading=reading, mac=mac_address(summary.get("MAC")))


def stopped_sample(plate: Plate) -> Sample:
    """A machine that is switched off and tells no watts: nobody measured its draw."""
    return Sample(
        reading=Reading(
            device=plate.device,
            draw=plate.sleep.power,
            quality=Quality.ESTIMATED,
            setting=plate.asleep,
        )
    )


def rate_now_ths(summary: Reply) -> float:
    """Of the last seconds; 0 where only averages are told."""
    told = (number(summary.get(key)) for key in ("HS RT", "MHS 5s"))
    return next((rate for rate in told if rate is not None), 0.0) / 1e6


def power_limit(summary: Reply) -> Bound:
    """0 or nothing is a firmware that does not tell: a machine with a limit of 0 W would not hash."""
    limit = number(summary.get("Power Limit"))
    return Limit(Power.down(limit)) if limit is not None and limit > 0 else NO_LIMIT
