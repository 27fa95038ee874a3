"""Auradine (FluxOS): sleep, and a power target in watts, over HTTP 8080; the hash rate over TCP 4028.

Checked against public clients and recorded answers of FluxOS 2023-12 to 2.2.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from controller.domain.devices import OperatingPoint, Quality, Reading
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from drivers.asic.adapter import SLEEP, Hello, Plate, RefusedError, Sample, hottest, mac_address, number
from drivers.asic.cgminer import Reply, Rpc, ask, proven
from drivers.asic.jsonhttp import FORBIDDEN, UNAUTHORIZED, Answer, request
from drivers.asic.points import ladder
from drivers.base import DriverError

HTTP_PORT = 8080
DEFAULT_USERNAME = DEFAULT_PASSWORD = "admin"

CUSTOM = "custom"
"""The one mode with a target of its own: what eco, normal and turbo draw is told nowhere."""

_WATTS = re.compile(r"(\d+(?:\.\d+)?)\s*W?")


class Auradine:
    backend: ClassVar[str] = "Auradine"
    hello_is_proof: ClassVar[bool] = True

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self._username = plate.username or DEFAULT_USERNAME
        self._password = plate.password.get_secret_value() if plate.password else DEFAULT_PASSWORD
        self._rpc = Rpc(plate.host, deadline_s=plate.exchange_s)
        self._token: str | None = None
        self._told: OperatingPoint | None = None

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        return ladder(plate)

    async def hello(self) -> Hello:
        self._token, self._told = None, None
        report = (await self._ask("ipreport"))["IPReport"][0]
        return Hello(mac=mac_address(report["mac"]))

    async def read(self) -> Sample:
        mode = (await self._ask("mode"))["Mode"][0]
        psu = (await self._ask("psu"))["PSU"][0]
        summary = (await ask(self._rpc, "summary"))["SUMMARY"][0]
        return sample(mode, psu, summary, await self._boards(), self._plate)

    async def change(self, point: OperatingPoint) -> None:
        # Who is told twice shows its target and does not keep it: it may have got lost inside.
        again, self._told = point.is_at(self._told), None
        if point.name == SLEEP:
            await self._ask("mode", sleep="on")
            return
        mode = (await self._ask("mode"))["Mode"][0]
        asleep = is_asleep(mode)
        if again or target(mode) != Limit(point.power):
            try:
                await self._ask("mode", mode=CUSTOM, tune="power", power=point.power.watts)
            except RefusedError:
                # Never wake a machine under a target that is higher than it was granted.
                current = target(mode)
                if not asleep or not isinstance(current, Limit) or current.power > point.power:
                    raise
        if asleep:
            await self._ask("mode", sleep="off")
        self._told = point

    async def _boards(self) -> list[Reply]:
        """Firmware that does not know the command costs the temperatures, not the reading."""
        try:
            boards = (await self._ask("temperature"))["Temperature"]
        except RefusedError:
            return []
        return [board for board in boards if isinstance(board, dict)]

    # -- one request ------------------------------------------------------------------------------------

    async def _ask(self, command: str, **values: Any) -> Reply:
        """A refusal may mean no more than a token that ran out (after about an hour), so ask twice."""
        fresh = self._token is None
        try:
            return await self._ask_once(command, values)
        except RefusedError:
            self._token = None
            if fresh:
                raise
        return await self._ask_once(command, values)

    async def _ask_once(self, command: str, values: Reply) -> Reply:
        if self._token is None:
            self._token = await self._login()
        answer = await request(
            self._plate.host,
            HTTP_PORT,
            f"/{command}",
            post={"command": command, **values} if values else None,
            headers={"Token": self._token},
            deadline_s=self._plate.exchange_s,
        )
        return judged(command, answer)

    async def _login(self) -> str:
        answer = await request(
            self._plate.host,
            HTTP_PORT,
            "/token",
            post={"command": "token", "user": self._username, "password": self._password},
            deadline_s=self._plate.exchange_s,
        )
        token = judged("token", answer)["Token"][0]["Token"]
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise DriverError("token: no token")
        return token


def judged(command: str, answer: Answer) -> Reply:
    if answer.status in (UNAUTHORIZED, FORBIDDEN):
        raise RefusedError(f"{command}: HTTP {answer.status}: user, password or token is not accepted")
    return proven(command, answer.reply(command))


def sample(mode: Reply, psu: Reply, summary: Reply, boards: list[Reply], plate: Plate) -> Sample:
    reading = Reading(
        device=plate.device,
        draw=Power.up(watts(psu, "PowerIn")),
        quality=Quality.MEASURED,
        setting=setting(mode, plate),
        rate=(number(summary.get("MHS 5s")) or 0.0) / 1e6,
        hottest_c=hottest_c(boards),
    )
    return Sample(reading=reading)


def is_asleep(mode: Reply) -> bool:
    said = str(mode["Sleep"]).lower()
    if said not in ("on", "off"):
        raise DriverError(f"mode: Sleep is {said!r}")
    return said == "on"


def setting(mode: Reply, plate: Plate) -> Bound:
    return plate.asleep if is_asleep(mode) else target(mode)


def target(mode: Reply) -> Bound:
    """The target that the machine is tuned to; other modes still list the one of last time."""
    power = number(mode.get("Power"))
    tuned_to_power = mode.get("Mode") == CUSTOM and str(mode.get("Tune", "power")).lower() == "power"
    return Limit(Power.down(power)) if tuned_to_power and power is not None and power > 0 else NO_LIMIT


def watts(psu: Reply, key: str) -> float:
    """A power written like "58.94W"."""
    match = _WATTS.fullmatch(str(psu.get(key)).strip())
    if match is None:
        raise DriverError(f"psu: {key} is {psu.get(key)!r}, not a power")
    return float(match[1])


def hottest_c(boards: list[Reply]) -> float | None:
    """The hottest chip; a board that is off lists none. Board sensors are cooler, and no substitute."""
    return hottest(
        [number(chip.get("Temperature")) for board in boards for chip in board.get("ChipTemp") or []]
    )
