"""VNish on Antminers: stop, start and tuned presets over HTTP 80, with a token that a password unlocks.

Checked against public clients and documents of VNish 1.2.0 to 1.3.0. pyasic 0.79.0 is used to recognise it
only: it does not send a command again after the token ran out, parses no preset, swaps the temperatures of
chips and boards, and its resume is not the counterpart of its stop.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any, ClassVar

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
)
from drivers.asic.jsonhttp import FORBIDDEN, UNAUTHORIZED, Answer, request
from drivers.asic.points import usable_points
from drivers.base import DriverError

Reply = dict[str, Any]

HTTP_PORT = 80
API = "/api/v1/"
DEFAULT_PASSWORD = "admin"

STOPPED = frozenset({"stopped", "shutting-down", "paused"})
MANUAL = "disabled"
"""The preset of a machine that runs on clocks set by hand: nothing tells its watts."""

LEAST_W_PER_THS = 5.0
"""No machine needs less for a terahash a second: whoever says so tells an efficiency, or nothing."""

MOST_SHARE = 2.0
"""An efficiency times the rate of this moment is no more than this share of the most that a machine draws."""

RATE_UNITS_THS = {"TH/s": 1.0, "GH/s": 1e-3, "MH/s": 1e-6}

_PRETTY = re.compile(
    r"(?P<watts>\d+)\s*w(?:att)?s?\s*~\s*(?P<rate>\d+(?:\.\d+)?)\s*(?P<unit>[TGM]H)", re.IGNORECASE
)

_log = logging.getLogger(__name__)


class VNish:
    backend: ClassVar[str] = "VNish"
    hello_is_proof: ClassVar[bool] = True

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        self._password = plate.password.get_secret_value() if plate.password else DEFAULT_PASSWORD
        self._token: str | None = None
        self._presets: dict[str, OperatingPoint] = {}
        self._rate_unit_ths = RATE_UNITS_THS["GH/s"]
        self._needs: Reply = {}
        """What the machine said that its settings take to come into force, and did not get yet."""
        self._chosen: Bound | None = None
        """By its settings, when it was last read."""
        self._runs_at: Bound = NO_LIMIT
        """By its settings, when nothing was last owed to them."""

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        return (plate.sleep, plate.point("full", plate.rated_w))

    async def hello(self) -> Hello:
        self._token = None
        self._needs, self._chosen, self._runs_at = {}, None, NO_LIMIT
        info = await self._get("info")
        records = preset_records(await self._get("autotune/presets"))
        self._presets = presets(records, self._plate)
        self._rate_unit_ths = RATE_UNITS_THS.get(str(info.get("hr_measure")), RATE_UNITS_THS["GH/s"])
        offered = [
            self._presets[name] for name in offered_names(records, self._plate) if name in self._presets
        ]
        return Hello(
            mac=mac_address(info["system"]["network_status"]["mac"]),
            points=usable_points(offered, self._plate),
        )

    async def read(self) -> Sample:
        summary = await self._get("summary")
        overclock = (await self._get("settings"))["miner"]["overclock"]
        bound = await self._in_force(summary["miner"], setting(overclock, self._presets))
        return sample(summary, bound, self._plate, self._presets, self._rate_unit_ths)

    async def change(self, point: OperatingPoint) -> None:
        if point.name == SLEEP:
            await self._stop()
            return
        asleep = is_stopped((await self._get("summary"))["miner"])
        overclock = (await self._get("settings"))["miner"]["overclock"]
        try:
            if overclock["preset"] != point.name or switcher_is_on(overclock):
                await self._choose(overclock, point.name)
            await self._bring_into_force(point.name, asleep=asleep)
        except RefusedError:
            # Never wake a machine into a preset that draws more than it was granted.
            current = setting(overclock, self._presets)
            if not asleep or not isinstance(current, Limit) or current.power > point.power:
                raise
        else:
            self._chosen = self._runs_at = Limit(point.power)
        if asleep:
            await self._post("mining/start")
            self._needs = {}

    async def _in_force(self, miner: Reply, chosen: Bound) -> Bound:
        """The settings show a preset as soon as it is chosen; until it got what it needs for that, a machine
        goes on as before. One that stands starts with what was chosen. Who chose, and has not told us, is
        found out by asking, and so is what was made good behind our back."""
        if is_owed(self._needs) or chosen != self._chosen:
            self._needs = await self._owed()
        self._chosen = chosen
        if is_stopped(miner) or not is_owed(self._needs):
            self._runs_at = chosen
        return self._runs_at

    async def _owed(self) -> Reply:
        """What was told last, of a build without a page for it."""
        try:
            return dict(await self._get("status"))
        except (DriverError, TypeError, ValueError):
            return self._needs

    async def _stop(self) -> None:
        try:
            await self._post("mining/stop")
        except RefusedError:
            # 1.2.6 says "failed-to-activate-pause-mode" of a machine that stands already.
            if not is_stopped((await self._get("summary"))["miner"]):
                raise

    async def _choose(self, overclock: Reply, preset: str) -> None:
        """All of `overclock` is sent back, for what is left out may be reset.

        The firmware's own preset switcher is switched off: it would go up again by itself when it cools.
        """
        wanted = {**overclock, "preset": preset}
        if switcher_is_on(overclock):
            wanted["preset_switcher"] = {**overclock["preset_switcher"], "enabled": False}
            _log.warning("preset switcher switched off: device=%s", self._plate.device)
        before, self._needs = self._needs, {"restart_required": True}  # should the answer get lost
        try:
            # "Nothing required" is also the answer where nothing was changed: only the read-back proves it.
            self._needs = await self._post("settings", {"miner": {"overclock": wanted}})
        except RefusedError:
            self._needs = before
            raise

    async def _bring_into_force(self, preset: str, *, asleep: bool) -> None:
        """What an earlier order left undone, too: the settings show a preset that the machine is not at."""
        if self._needs.get("reboot_required"):
            raise DriverError(f"preset {preset} waits for a reboot")
        if self._needs.get("restart_required") and not asleep:
            await self._post("mining/restart")
            self._needs = {}

    # -- one request ------------------------------------------------------------------------------------

    async def _get(self, path: str) -> Any:
        return content(path, await self._ask(path, None))

    async def _post(self, path: str, value: Reply | None = None) -> Reply:
        body = content(path, await self._ask(path, value or {}))
        return body if isinstance(body, dict) else {}

    async def _ask(self, path: str, post: Reply | None) -> Answer:
        """A token runs out without a word: a request that it was turned down for is made again."""
        for _ in ("with the last token, if any", "with a fresh one"):
            if self._token is None:
                self._token = await self._unlock()
            answer = await request(
                self._plate.host,
                HTTP_PORT,
                API + path,
                post=post,
                headers={"Authorization": f"Bearer {self._token}"},
                deadline_s=self._plate.exchange_s,
            )
            if answer.status != UNAUTHORIZED:
                return answer
            self._token = None
        raise DriverError(f"{path}: not even a fresh token is accepted")

    async def _unlock(self) -> str:
        answer = await request(
            self._plate.host,
            HTTP_PORT,
            API + "unlock",
            post={"pw": self._password},
            deadline_s=self._plate.exchange_s,
        )
        if answer.status in (UNAUTHORIZED, FORBIDDEN):
            raise RefusedError("the password is not accepted")
        token = answer.reply("unlock")["token"]
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise DriverError("unlock: no token")
        return token


def content(path: str, answer: Answer) -> Any:
    """What a successful answer carries; one that names an error has refused, whatever its status."""
    if isinstance(answer.body, dict) and answer.body.get("err"):
        raise RefusedError(f"{path}: {answer.body['err']}"[:200])
    if not answer.successful:
        raise DriverError(f"{path}: HTTP {answer.status}")
    return answer.body


def preset_records(reply: Any) -> list[Reply]:
    """A bare list up to 1.2, inside an object in some later builds (pyasic PR #423)."""
    records = reply["presets"] if isinstance(reply, dict) else reply
    return [record for record in records if isinstance(record, dict)]


def presets(records: Iterable[Reply], plate: Plate) -> dict[str, OperatingPoint]:
    """Every preset whose watts are told; the operator's figures where a point of that name is configured."""
    found = {}
    for record in records:
        name = str(record["name"])
        pretty = _PRETTY.search(str(record.get("pretty", "")))
        if pretty is not None:
            rate_ths = (number(pretty["rate"]) or 0.0) * RATE_UNITS_THS[pretty["unit"].upper() + "/s"]
            found[name] = OperatingPoint(name=name, power=Power(int(pretty["watts"])), rate=rate_ths)
        elif name.isdecimal():
            found[name] = plate.point(name, int(name))
    if not any(is_tuned(record) for record in records):
        found[MANUAL] = plate.point(MANUAL, plate.rated_w)
    named = {str(record["name"]) for record in records}
    return found | {point.name: point for point in plate.points if point.name in named}


def offered_names(records: Iterable[Reply], plate: Plate) -> list[str]:
    """The presets to choose from: a machine ignores one that it is not tuned for, and says yes to it.

    What the operator named counts as tuned. Where nothing is tuned there is no choice but on and off.
    """
    named = {point.name for point in plate.points}
    tuned = [str(record["name"]) for record in records if is_tuned(record) or str(record["name"]) in named]
    return tuned or [MANUAL]


def is_tuned(record: Reply) -> bool:
    return record.get("status") == "tuned" and record.get("modded_psu_required") is not True


def is_stopped(miner: Reply) -> bool:
    return miner["miner_status"]["miner_state"] in STOPPED


def is_owed(needs: Reply) -> bool:
    return needs.get("restart_required") is True or needs.get("reboot_required") is True


def switcher_is_on(overclock: Reply) -> bool:
    switcher = overclock.get("preset_switcher")
    return isinstance(switcher, dict) and switcher.get("enabled") is True


def sample(
    summary: Reply, in_force: Bound, plate: Plate, found: dict[str, OperatingPoint], rate_unit_ths: float
) -> Sample:
    miner = summary["miner"]
    stopped = is_stopped(miner)
    bound = plate.asleep if stopped else in_force
    rate = rate_ths(miner, rate_unit_ths)
    draw, quality = told_draw(miner, rate, plate, bound, found)
    reading = Reading(
        device=plate.device,
        draw=draw,
        quality=quality,
        setting=bound,
        rate=rate,
        hottest_c=hottest_of(miner, "chip_temp"),
        board_c=hottest_of(miner, "pcb_temp"),
    )
    # Only some builds say in the summary whose it is.
    network = summary.get("system", {}).get("network_status", {})
    return Sample(reading=reading, mac=mac_address(network.get("mac")))


def setting(overclock: Reply, found: dict[str, OperatingPoint]) -> Bound:
    """The highest preset that the machine may be in: its switcher, where on, goes up to its top by itself."""
    names = [overclock["preset"]]
    if switcher_is_on(overclock):
        names.append(overclock["preset_switcher"].get("top_preset"))
    points = [found.get(str(name)) for name in names]
    powers = [point.power for point in points if point is not None]
    return Limit(max(powers)) if len(powers) == len(points) else NO_LIMIT


def told_draw(
    miner: Reply, rate: float, plate: Plate, bound: Bound, found: dict[str, OperatingPoint]
) -> tuple[Power, Quality]:
    """What the machine says it draws; measured only where it says that its PSU meters.

    A machine that tells nothing believable is taken to draw all that its setting allows, or that it hashes:
    its rate is that of the last seconds.
    """
    keys = ("power_consumption", "power_usage")
    told = {key: value for key in keys if (value := number(miner.get(key))) is not None}
    if not told:
        raise DriverError("summary: neither power_consumption nor power_usage")
    at_rest = is_stopped(miner) and rate == 0
    watts = [
        value
        for key, value in told.items()
        if value > 0 and (at_rest or are_watts(value, rate, plate, may_be_efficiency=key == "power_usage"))
    ]
    if watts:
        psu = miner.get("psu")
        metered = isinstance(psu, dict) and psu.get("psu_power_metering") is True
        return Power.up(max(watts)), Quality.MEASURED if metered else Quality.ESTIMATED
    limit = NO_LIMIT if is_stopped(miner) and rate > 0 else bound
    return allowed_draw(limit, rate, tuple(found.values()), plate), Quality.ESTIMATED


def are_watts(value: float, rate: float, plate: Plate, *, may_be_efficiency: bool) -> bool:
    """Whether a machine that is not at rest may draw so many watts. `power_usage` has been watts (1.2.1,
    1.2.6) and watts per terahash, and old builds have nothing else: it is in doubt where it could be those.
    """
    if value < plate.sleep.power.watts + LEAST_W_PER_THS * rate:
        return False
    return not may_be_efficiency or value * rate > MOST_SHARE * plate.ceiling_w


def rate_ths(miner: Reply, rate_unit_ths: float) -> float:
    """`hr_realtime` is in the unit that `info` names; builds without it tell TH/s (AnthillOS)."""
    rate = number(miner.get("hr_realtime"))
    if rate is not None:
        return rate * rate_unit_ths
    return number(miner.get("instant_hashrate")) or 0.0


def hottest_of(miner: Reply, sensor: str) -> float | None:
    """The hottest of one kind of sensor on all boards."""
    places = [miner, *(miner.get("chains") or [])]
    return hottest([number((place.get(sensor) or {}).get("max")) for place in places])
