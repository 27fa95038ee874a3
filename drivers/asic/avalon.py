"""Avalon: sleep and three work levels over TCP 4028, by an API that serves one client at a time.

pyasic's power limit must never be used here: whatever it is asked for above 100 W becomes the highest level.
Sleep and wake-up are orders for a time to come; that time is told by the machine's own clock, for many a
machine was never told ours (seconds since boot on 24102401_25462b2_9ddf522 of an A1566).
"""

from __future__ import annotations

import asyncio
import re
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
from drivers.asic.cgminer import Reply, Rpc, ask
from drivers.asic.wire import NoAnswerError
from drivers.base import DriverError

LEVELS = ("low", "mid", "high")
"""The points that the work levels 0, 1 and 2 are."""

LEAST_SHARE = 0.6
"""What the lowest level draws at most where `min_w` does not say, as a share of the rating."""

LEAD_S = 5
"""How far ahead an order lies: a time that is over when it arrives may count for nothing."""

WALL_POWER_OF_PS = 6
"""The place of the PSU's input among its seven figures; older firmware has six, and none of them is it."""

NOT_ORDERED_OFF = (0, 6)
"""`SoftOFF` of a machine that is idle for another reason, and of one that is booting (1346, 24041001).

It is meaningless while a machine works: an Avalon Q (25052801) keeps a 4 from its last sleep.
"""

_FIELD = re.compile(r"(\w+)\[([^\]]*)\]")
_LEVEL = re.compile(r"worklevel (-?\d+)")

Module = dict[str, str]


class Avalon:
    backend: ClassVar[str] = "AvalonMiner"
    hello_is_proof: ClassVar[bool] = True

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self._rpc = Rpc(plate.host, deadline_s=plate.exchange_s)
        self._dna: str | None = None
        self._has_levels = True

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        low_w = plate.min_w or round(LEAST_SHARE * plate.rated_w)
        powers_w = (low_w, (low_w + plate.rated_w) // 2, plate.rated_w)
        levels = zip(LEVELS, powers_w, strict=True)
        return (plate.sleep, *(plate.point(name, power_w) for name, power_w in levels))

    async def hello(self) -> Hello:
        version = (await ask(self._rpc, "version"))["VERSION"][0]
        if "AVALON" not in str(version["PROD"]).upper():
            raise DriverError(f"{version['PROD']} is no Avalon")
        self._dna = version.get("DNA")
        self._has_levels = True
        try:
            await self._ask_level()
        except RefusedError:
            self._has_levels = False
        points = None if self._has_levels else without_levels(self._plate)
        return Hello(mac=mac_of(version.get("MAC")), points=points)

    async def read(self) -> Sample:
        module = module_of(await ask(self._rpc, "estats"))
        if self._dna is not None and module.get("DNA", self._dna) != self._dna:
            raise DriverError(f"the machine that was {self._dna} is {module['DNA']} now")
        level = None if is_asleep(module) else await self._level(module)
        return sample(module, level, self._plate)

    async def change(self, point: OperatingPoint) -> None:
        reply = await ask(self._rpc, "estats")
        module = module_of(reply)
        asleep = is_asleep(module)
        if point.name == SLEEP:
            if not asleep:
                await self._later("softoff", reply)
            return
        if self._has_levels:
            await self._set_level(LEVELS.index(point.name), await self._level(module), asleep=asleep)
        if asleep:
            await self._wake(reply)

    async def _level(self, module: Module) -> int:
        """The level in force; a machine without any is at its highest."""
        if not self._has_levels:
            return len(LEVELS) - 1
        return int(module["WORKLEVEL"]) if "WORKLEVEL" in module else await self._ask_level()

    async def _ask_level(self) -> int:
        message = (await ask(self._rpc, "ascset", "0,worklevel,get"))["STATUS"][0]["Msg"]
        level = _LEVEL.search(message)
        if level is None:
            raise DriverError(f"worklevel: {message}")
        return int(level[1])

    async def _set_level(self, wanted: int, level: int, *, asleep: bool) -> None:
        if level == wanted:
            return
        try:
            await self._tell(f"0,worklevel,set,{wanted}")
        except RefusedError:
            # Never wake a machine at a level that draws more than it was granted.
            if not asleep or level > wanted:
                raise

    async def _wake(self, reply: Reply) -> None:
        """Firmware that knows softoff alone is woken by a boot (Canaan's A10 manual; a 1346 of 24041001)."""
        try:
            await self._later("softon", reply)
        except RefusedError as refusal:
            if "Unknown option" not in str(refusal):
                raise
            await self._tell("0,reboot,0")

    async def _later(self, order: str, reply: Reply) -> None:
        """Order it, and wait until it is due by the machine's clock: not before can it be read back."""
        now_s = clock_s(reply)
        due_s = now_s + LEAD_S
        await self._tell(f"0,{order},1:{due_s}")
        while now_s < due_s:
            await asyncio.sleep(min(self._plate.busy_wait_s, due_s - now_s))
            now_s = clock_s(await ask(self._rpc, "version"))

    async def _tell(self, parameter: str) -> None:
        try:
            await ask(self._rpc, "ascset", parameter)
        except NoAnswerError:
            # A 1466 hangs up at softon without a word: what came of it, only reading it can tell.
            return


def without_levels(plate: Plate) -> tuple[OperatingPoint, ...]:
    """The points of a machine whose firmware has no work levels: off and on."""
    points = points_of(Avalon, plate)
    usable = tuple(point for point in points if point.name in (SLEEP, LEVELS[-1]))
    if not usable:
        raise DriverError(f"none of the configured points {[point.name for point in points]} is one it has")
    return usable


def mac_of(text: object) -> str | None:
    """Avalons write theirs without colons."""
    mac = mac_address(text)
    if mac is None or ":" in mac:
        return mac
    return ":".join(mac[at : at + 2] for at in range(0, len(mac), 2))


def clock_s(reply: Reply) -> int:
    return int(reply["STATUS"][0]["When"])


def module_of(reply: Reply) -> Module:
    """What the one module says of itself, as `KEY[value]` in one text: "MM ID0", or "MM ID0:Summary"."""
    modules = [value for key, value in reply["STATS"][0].items() if key.startswith("MM ID")]
    if len(modules) != 1 or not isinstance(modules[0], str):
        raise DriverError(f"estats: {len(modules)} modules, not one")
    return dict(_FIELD.findall(modules[0]))


def is_asleep(module: Module) -> bool:
    """Idle by order. Idle for any other reason, it may start again by itself."""
    if "In Idle" not in module["SYSTEMSTATU"]:
        return False
    softoff = number(module.get("SoftOFF"))
    return softoff is not None and softoff not in NOT_ORDERED_OFF


def sample(module: Module, level: int | None, plate: Plate) -> Sample:
    """`level` of a machine that is asleep is None. Watts it does not know are all that its level allows,
    or that it hashes."""
    in_force = plate.asleep if level is None else level_limit(level, plate)
    rate_ths = rate_of(module)
    power = wall_w(module)
    if power is not None:
        draw, quality = Power.up(power), Quality.MEASURED
    else:
        asleep_and_hashes = level is None and rate_ths > 0
        points = points_of(Avalon, plate)
        draw = allowed_draw(
            NO_LIMIT if asleep_and_hashes else in_force, rate_now_ths(module) or 0.0, points, plate
        )
        quality = Quality.ESTIMATED
    return Sample(
        reading=Reading(
            device=plate.device,
            draw=draw,
            quality=quality,
            setting=in_force,
            rate=rate_ths,
            hottest_c=hottest([number(module.get("TMax")), *numbers(module.get("MTmax"))]),
        )
    )


def level_limit(level: int, plate: Plate) -> Bound:
    """The power of the level's point; a level that is no point of this machine limits nothing we know."""
    points = {point.name: point for point in points_of(Avalon, plate)}
    name = LEVELS[level] if 0 <= level < len(LEVELS) else None
    return Limit(points[name].power) if name in points else NO_LIMIT


def wall_w(module: Module) -> float | None:
    """0 W is no reading of a machine that answers: its control board is on."""
    supply = numbers(module.get("PS"))
    figures = [number(module.get("WALLPOWER")), *supply[WALL_POWER_OF_PS : WALL_POWER_OF_PS + 1]]
    return next((power for power in figures if power is not None and power > 0), None)


def rate_of(module: Module) -> float:
    """In TH/s now: the averages, GHSavg and MGHS, go on for minutes after a stop."""
    now = rate_now_ths(module)
    if now is not None:
        return now
    return sum(rate for rate in numbers(module.get("MGHS")) if rate is not None) / 1000


def rate_now_ths(module: Module) -> float | None:
    """None of firmware that tells averages alone."""
    now = number(module.get("GHSspd"))
    return None if now is None else now / 1000


def numbers(text: str | None) -> list[float | None]:
    return [number(word) for word in (text or "").split()]
