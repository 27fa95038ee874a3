"""ePIC (PowerPlay, HTTP on 4028): stop and autostart, and a tuner with a target in watts or in TH/s.

The names are those of the OpenAPI document of firmware 1.38.3. Older firmware has no PowerTune, only targets
in TH/s, which bound no watts by themselves: such a machine is offered the points that somebody vouched for.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, ClassVar

from controller.domain.devices import OperatingPoint, Quality, Reading
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from drivers.asic.adapter import (
    SLEEP,
    Hello,
    Plate,
    RefusedError,
    Sample,
    hottest,
    mac_address,
    number,
    points_of,
)
from drivers.asic.digest import OK
from drivers.asic.http1 import is_whole_response, parse_response
from drivers.asic.points import ladder
from drivers.asic.wire import exchange
from drivers.base import DriverError, OtherMachineError

PORT = 4028
DEFAULT_PASSWORD = "letmein"

POWER_TUNE = "PowerTune"

AT_REST = ("Idling", "Stopping")
AUTOSTART = "autostart"

PENDING = "pending"
"""In the words of every firmware for an order that came before the last one was done."""
ORDER_TRIES = 2
REFUSALS = range(400, 500)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuner:
    """One way to tune, with the targets that it takes: watts with PowerTune, TH/s with any other."""

    algorithm: str
    least: float
    most: float

    def target(self, point: OperatingPoint) -> int:
        return point.power.watts if self.algorithm == POWER_TUNE else int(point.rate)

    def reaches(self, point: OperatingPoint) -> bool:
        return point.name == SLEEP or self.least <= self.target(point) <= self.most


class Epic:
    backend: ClassVar[str] = "ePIC"
    hello_is_proof: ClassVar[bool] = True

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self._password = plate.password.get_secret_value() if plate.password else DEFAULT_PASSWORD
        self._mac: str | None = None
        self._capabilities: Json = {}
        self._stopped = False
        """By us, and not started again by us."""

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        """Stopped, and targets in equal steps from the lowest to the rating."""
        return ladder(plate, least_w=plate.rated_w // 2)

    async def hello(self) -> Hello:
        self._stopped = False
        self._capabilities = await self._get("capabilities")
        self._mac = mac_of(await self._get("network"))
        tuner = tuner_of(self._capabilities, await self._get("perpetualtune"))
        return Hello(mac=self._mac, points=usable_points(tuner, self._plate))

    async def read(self) -> Sample:
        summary = await self._get("summary")
        tuning = await self._get("perpetualtune")
        try:
            chips = await self._get("temps/chip")
        except RefusedError:
            chips = []  # not every machine, and none at rest, need have any to tell
        return Sample(
            reading=reading(
                summary,
                tuning,
                chips,
                plate=self._plate,
                quality=quality(self._capabilities),
                asleep=is_at_rest(summary) and (self._stopped or not starts_by_itself(summary)),
            )
        )

    async def change(self, point: OperatingPoint) -> None:
        mac = mac_of(await self._get("network"))
        if mac != self._mac:
            raise OtherMachineError(f"the machine that was {self._mac} is {mac} now")
        if point.name == SLEEP:
            await self._tell("miner", "Stop")
            self._stopped = True
            return
        asleep = is_at_rest(await self._get("summary"))
        # The target first: a machine must not wake under one that is higher than it was granted.
        await self._set_target(point)
        if asleep:
            self._stopped = False
            await self._tell("miner", "Autostart")

    async def _set_target(self, point: OperatingPoint) -> None:
        tuning = await self._get("perpetualtune")
        tuner = tuner_of(self._capabilities, tuning)
        target = tuner.target(point)
        kept = tuning["Algorithms"].get(tuner.algorithm) or {}
        order: Json = {"algo": tuner.algorithm, "target": target}
        await self._tell("perpetualtune/algo", order | throttle(kept, target))

    async def _tell(self, path: str, param: object) -> None:
        for left in reversed(range(ORDER_TRIES)):
            reply = await self._ask("POST", path, {"param": param, "password": self._password})
            if reply.get("result") is True:
                return
            if "result" not in reply:
                raise DriverError(f"{path}: neither a result nor a refusal")
            why = json.dumps(reply.get("error"))
            if PENDING not in why.lower() or not left:
                raise RefusedError(f"{path}: {why}")
            await asyncio.sleep(self._plate.busy_wait_s)

    async def _get(self, path: str) -> Any:
        reply = await self._ask("GET", path)
        if isinstance(reply, dict) and reply.get("result") is False:
            raise RefusedError(f"{path}: {json.dumps(reply.get('error'))}")
        return reply

    async def _ask(self, method: str, path: str, body: object = None) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} /{path} HTTP/1.1", f"Host: {self._plate.host}:{PORT}", "Connection: close"]
        if content:
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        request = "\r\n".join([*lines, "", ""]).encode() + content
        raw = await exchange(
            self._plate.host,
            PORT,
            request,
            deadline_s=self._plate.exchange_s,
            is_whole=is_whole_response,
        )
        response = parse_response(raw)
        content = response.read()
        if response.status in REFUSALS:
            raise RefusedError(f"{path}: HTTP {response.status}", response.status)
        if response.status != OK:
            raise DriverError(f"{path}: HTTP {response.status}")
        return json.loads(content)


def mac_of(network: Json) -> str | None:
    """Under "dhcp" or under "static", whichever there is. Some firmware keeps it to itself."""
    return next((mac_address(mode.get("mac_address")) for mode in network.values()), None)


def tuner_of(capabilities: Json, tuning: Json) -> Tuner:
    """PowerTune where there is one, else the tuner that the machine uses now, else the first."""
    tuners = {
        str(listed["algorithm"]): Tuner(
            algorithm=str(listed["algorithm"]), least=float(listed["min"]), most=float(listed["max"])
        )
        for listed in capabilities["PerpetualTune"]
    }
    for algorithm in (POWER_TUNE, str(tuning["Current Algorithm"]), *tuners):
        if algorithm in tuners:
            return tuners[algorithm]
    raise DriverError("capabilities: no tuner, and so no way to set what the machine draws")


def usable_points(tuner: Tuner, plate: Plate) -> tuple[OperatingPoint, ...]:
    points = points_of(Epic, plate)
    offered = points if tuner.algorithm == POWER_TUNE else vouched_for(plate)
    usable = tuple(point for point in offered if tuner.reaches(point))
    if all(point.name == SLEEP for point in usable):
        raise DriverError(f"no point is within reach of {tuner}")
    return usable


def vouched_for(plate: Plate) -> tuple[OperatingPoint, ...]:
    """A target in TH/s bounds no watts, so what the machine draws at one is for the operator to say."""
    points = Epic.default_points(plate)
    return plate.points or (points[0], points[-1])


def quality(capabilities: Json) -> Quality:
    """A power supply that cannot measure has its watts made up by the firmware."""
    told = (capabilities.get("Psu Info") or {}).get("True Power", True)
    return Quality.ESTIMATED if told is False else Quality.MEASURED


def is_at_rest(summary: Json) -> bool:
    return summary["Status"]["Operating State"] in AT_REST


def starts_by_itself(summary: Json) -> bool:
    """A machine that was told to run rests for lack of work, or to cool."""
    return str(summary["Status"].get("Last Command") or "").lower() == AUTOSTART


def reading(
    summary: Json, tuning: Json, chips: Any, *, plate: Plate, quality: Quality, asleep: bool
) -> Reading:
    limit = target(tuning, plate)
    boards = summary.get("HBs") or []
    rate_ths = sum(number(board["Hashrate"][0]) or 0.0 for board in boards) / 1e6
    told_w = number(summary["Power Supply Stats"].get("Input Power")) or 0.0
    if told_w > 0:
        draw = Power.up(told_w)
    elif asleep and rate_ths == 0:
        draw = plate.sleep.power
    else:
        # Watts that the machine does not know are taken to be all that its target allows.
        draw = limit.power if isinstance(limit, Limit) else Power(plate.ceiling_w)
    return Reading(
        device=plate.device,
        draw=draw,
        quality=quality if told_w > 0 else Quality.ESTIMATED,
        setting=plate.asleep if asleep else limit,
        rate=rate_ths,
        hottest_c=hottest_c(chips, boards),
        board_c=board_c(boards),
    )


def target(tuning: Json, plate: Plate) -> Bound:
    """The watts of the target in force; of one in TH/s, those of the point that it is the target of."""
    algorithm = str(tuning["Current Algorithm"])
    told = number((tuning["Algorithms"].get(algorithm) or {}).get("Target"))
    if tuning["Enable"] is not True or told is None:
        return NO_LIMIT
    if algorithm == POWER_TUNE:
        return Limit(Power.down(told))
    return next(
        (Limit(point.power) for point in reversed(vouched_for(plate)) if int(point.rate) == told > 0),
        NO_LIMIT,
    )


def throttle(kept: Json, target: int) -> Json:
    """What a new target would take from the operator's settings, unless it is sent along."""
    least, step = number(kept.get("Min Throttle Target")), number(kept.get("Throttle Step"))
    if least is None or step is None or least + step > target:
        return {}
    return {"min_throttle": int(least), "throttle_step": int(step)}


def hottest_c(chips: Any, boards: list[Json]) -> float | None:
    """The hottest chip; the hottest board where the machine has no sensors on its chips."""
    per_chip = hottest([number(sensor) for board in chips for sensor in board["Data"]])
    return board_c(boards) if per_chip is None else per_chip


def board_c(boards: list[Json]) -> float | None:
    return hottest([number(board.get("Temperature")) for board in boards])
