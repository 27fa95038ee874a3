"""VNish on Antminers: stop, start and tuned presets over HTTP 80, with a token that a password unlocks.

Checked against public clients and documents of VNish 1.2.0 to 1.3.0. pyasic 0.79.0 is used to recognise it
only: it does not send a command again after the token ran out, parses no preset, swaps the temperatures of
chips and boards, and its resume is not the counterpart of its stop.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from controller.domain.devices import OperatingPoint
from controller.domain.power import NO_LIMIT, Bound, Limit
from drivers.asic.adapter import SLEEP, Hello, Plate, RefusedError, Sample, mac_address
from drivers.asic.jsonhttp import FORBIDDEN, UNAUTHORIZED, Answer, request
from drivers.asic.points import usable_points
from drivers.asic.vnish_replies import (
    RATE_UNITS_THS,
    Reply,
    is_owed,
    is_stopped,
    offered_names,
    preset_records,
    presets,
    sample,
    setting,
    switcher_is_on,
)
from drivers.base import DriverError

HTTP_PORT = 80
API = "/api/v1/"
DEFAULT_PASSWORD = "admin"

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
