"""Whatsminer with the v3 API: a power limit in watts and a service to stop, in frames of JSON over TCP 4433.

Its firmware takes orders only when the admin password is not the factory's any more and the API was switched
on for writing (code -4 otherwise); a new limit restarts the hashing (apidoc.whatsminer.com, API 3.0.3).
pyasic's commands must not be used here: its password is fixed, and its limit says yes to every refusal.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
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
from drivers.asic.cgminer import Reply
from drivers.asic.whatsminer import Switch, Whatsminer, stopped_sample
from drivers.asic.wire import Line, framed, parsed_frame
from drivers.base import DriverError

PORT = 4433
DEFAULT_ACCOUNT = DEFAULT_PASSWORD = "super"
TOKEN_LENGTH = 8
SUCCESS = 0

INFO = framed(b'{"cmd":"get.device.info"}')
SUMMARY = framed(b'{"cmd":"get.miner.status","param":"summary"}')


class WhatsminerV3:
    backend: ClassVar[str] = "BTMinerV3"
    hello_is_proof: ClassVar[bool] = True
    """Nothing else speaks this protocol."""

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self._account = plate.username or DEFAULT_ACCOUNT
        self._password = plate.password.get_secret_value() if plate.password else DEFAULT_PASSWORD
        self._last_limit: Bound = NO_LIMIT
        self._told: OperatingPoint | None = None
        self._keeps_line = True
        self._switch: Switch | None = None

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        return Whatsminer.default_points(plate)

    async def hello(self) -> Hello:
        self._last_limit = NO_LIMIT
        self._told = None
        self._switch = None
        return Hello(mac=mac_of(await self._info()))

    async def read(self) -> Sample:
        info, summary = await self._look(afresh=False)
        if summary is None:
            return replace(stopped_sample(self._plate), mac=mac_of(info))
        return sample(info, summary, self._plate)

    async def change(self, point: OperatingPoint) -> None:
        again, self._told = point.is_at(self._told), None
        if point.name == SLEEP:
            # 20250409.15.REL of an M64 stays off after this one, but not after the v2 API's power_off.
            await self._tell("set.miner.service", "stop")
            return
        info, summary = await self._look(afresh=True)
        off = is_off(info)
        # A limit restarts the hashing even where it changes nothing. Who is told twice shows it and does not
        # keep it: it may have got lost inside.
        if again or summary is None or power_limit(summary) != Limit(point.power):
            await self._set_limit(point.power, off=off)
        if off:
            await self._tell("set.miner.service", "start")
        self._told = point

    async def _set_limit(self, power: Power, *, off: bool) -> None:
        try:
            await self._tell("set.miner.power_limit", power.watts)
        except RefusedError:
            # Never wake a machine under a limit that is higher than it was granted.
            known = self._last_limit
            if not off or not isinstance(known, Limit) or known.power > power:
                raise

    async def _look(self, *, afresh: bool) -> tuple[Reply, Reply | None]:
        """What it is and what it does; nothing of the latter where a stopped one has no process to ask.

        Unless `afresh`, what it is may be what it said a while ago.
        """
        known, self._switch = self._switch, None  # a poll that fails leaves nothing to be remembered
        line = Line(self._plate.host, PORT)
        try:
            summary, refusal = await self._summary(line)
            power, hashes = doing(summary or {})
            if afresh or known is None or not known.still_holds(power, hashes, self._plate):
                known = Switch(said=await self._second(line), watts=power, hashes=hashes)
        finally:
            line.close()
        if refusal is not None and not is_off(known.said):
            raise refusal
        self._switch = known
        if summary is not None:
            self._last_limit = power_limit(summary)
        return known.said, summary

    async def _summary(self, line: Line) -> tuple[Reply | None, RefusedError | None]:
        try:
            return dict((await self._on(line, "get.miner.status", SUMMARY))["msg"]["summary"]), None
        except RefusedError as refusal:
            return None, refusal

    async def _second(self, line: Line) -> Reply:
        """Over the same connection, which this firmware keeps for as many frames as a client has; should a
        build answer only the first, it is found out once."""
        if not self._keeps_line:
            line.close()
        try:
            return dict((await self._on(line, "get.device.info", INFO))["msg"])
        except TimeoutError:
            self._keeps_line = False
            raise

    async def _info(self) -> Reply:
        return dict((await self._ask("get.device.info"))["msg"])

    async def _tell(self, command: str, param: str | int) -> None:
        """A refusal may mean no more than a salt that a reboot made worthless just now, so ask twice."""
        self._switch = None
        try:
            await self._tell_once(command, param)
        except RefusedError:
            await self._tell_once(command, param)

    async def _tell_once(self, command: str, param: str | int) -> None:
        """With a salt of this moment, and by the machine's own clock: nothing here can grow old."""
        challenge = await self._ask("get.device.info", "salt")
        ts = int(challenge["when"])
        signed = token(command, self._password, challenge["msg"]["salt"], ts)
        await self._ask(command, param, ts=ts, account=self._account, token=signed)

    async def _ask(self, command: str, param: str | int | None = None, **proof: str | int) -> Reply:
        request = {"cmd": command, **({} if param is None else {"param": param}), **proof}
        line = Line(self._plate.host, PORT)
        try:
            return await self._on(line, command, framed(json.dumps(request).encode()))
        finally:
            line.close()

    async def _on(self, line: Line, command: str, frame: bytes) -> Reply:
        reply = await line.ask(frame, deadline_s=self._plate.exchange_s, whole=parsed_frame)
        return proven(command, reply)


def token(command: str, password: str, salt: str, ts: int) -> str:
    digest = hashlib.sha256(f"{command}{password}{salt}{ts}".encode()).digest()
    return base64.b64encode(digest).decode()[:TOKEN_LENGTH]


def proven(command: str, reply: Reply) -> Reply:
    """`reply` if its code is success: a reply without one is no answer."""
    code = number(reply.get("code"))
    if code is None:
        raise DriverError(f"{command}: no code in the reply")
    if code != SUCCESS:
        raise RefusedError(f"{command}: {reply.get('msg')} (code {code:.0f})", int(code))
    return reply


def doing(summary: Reply) -> tuple[float | None, bool]:
    """Its watts, and whether it hashes."""
    return number(summary.get("power-realtime")), bool(number(summary.get("hash-realtime")))


def mac_of(info: Reply) -> str | None:
    return mac_address(info["network"]["mac"])


def is_off(info: Reply) -> bool:
    said = str(info["miner"]["working"]).lower()
    if said not in ("true", "false"):
        raise DriverError(f"get.device.info: working is {said!r}")
    return said == "false"


def sample(info: Reply, summary: Reply, plate: Plate) -> Sample:
    """Watts that the machine does not know are taken to be all that its limit allows, or that it hashes; 0 W
    are none of a machine that answers."""
    off = is_off(info)
    limit = power_limit(summary)
    rate_ths = number(summary.get("hash-realtime")) or 0.0
    power = number(summary.get("power-realtime"))
    if power is not None and power > 0:
        draw, quality = Power.up(power), Quality.MEASURED
    elif off and rate_ths == 0:
        draw, quality = plate.sleep.power, Quality.ESTIMATED
    else:
        points = points_of(WhatsminerV3, plate)
        draw = allowed_draw(limit, rate_ths, points, plate)
        quality = Quality.ESTIMATED
    reading = Reading(
        device=plate.device,
        draw=draw,
        quality=quality,
        setting=plate.asleep if off else limit,
        rate=rate_ths,
        hottest_c=hottest([number(summary.get("chip-temp-max"))]),
    )
    return Sample(reading=reading, mac=mac_of(info))


def power_limit(summary: Reply) -> Bound:
    """0 or nothing is a firmware that does not tell: a machine with a limit of 0 W would not hash."""
    limit = number(summary.get("power-limit"))
    return Limit(Power.down(limit)) if limit is not None and limit > 0 else NO_LIMIT
