"""Stock Antminer (X19, X21): three work modes over HTTP, and not one watt told.

Its draw is an estimate from mode and hash rate, and always says so: only a meter knows better. pyasic's own
stop and resume must never be used here: they say True to a dead host, and write three empty pools over the
configuration when it could not be read (miners/backends/antminer.py of 0.79.0).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, ClassVar

from controller.domain.devices import OperatingPoint, Quality, Reading, draw_by_hash
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
from drivers.asic.antminer_conf import MODE_READ, Conf, LastGood, mode_of, pools_of, with_mode
from drivers.asic.digest import DigestClient
from drivers.asic.wire import Line
from drivers.base import DriverError, OtherMachineError
from drivers.outside import Outside

NORMAL = "normal"
LOW = "low"

SLEEP_MODE = 1
LOW_MODE = 3
NORMAL_MODE = 0
"""Every other mode is one of full power too: 2 is "high" where there is one."""

LOW_SHARE = 0.85
"""What low power draws at most where `min_w` does not say, as a share of the rating."""

HTTP_PORT = 80
DEFAULT_USERNAME = DEFAULT_PASSWORD = "root"

SETTER_S = 60.0
"""Some firmware answers `set_miner_conf` only when it is done, after 20 s and more (asic-rs PR #251). Nobody
waits so long for its word, but so long it is left to it."""

DISK_S = 1.0
"""So long an order waits for the disk, and no longer: one that hangs must not keep a machine at work."""

DISK = Outside(8)
"""For all machines: one that hangs must not have the threads by which names are looked up and brokers met."""

_log = logging.getLogger(__name__)


def path(name: str) -> str:
    return f"/cgi-bin/{name}.cgi"


POLL = (path("get_miner_conf"), path("stats"))


@dataclass(slots=True)
class Write:
    """An order that was sent and not answered yet, left to itself until `until_s` of the loop's time."""

    line: Line
    mode: int
    until_s: float


class Antminer:
    backend: ClassVar[str] = "AntminerModern"
    hello_is_proof: ClassVar[bool] = False

    def __init__(self, plate: Plate) -> None:
        self._plate = plate
        password = plate.password.get_secret_value() if plate.password else DEFAULT_PASSWORD
        self._http = DigestClient(plate.host, HTTP_PORT, plate.username or DEFAULT_USERNAME, password)
        self._last_good = LastGood(plate.state_dir)
        self._mac: str | None = None
        self._full_mode: int | None = None
        self._write: Write | None = None
        self._kept: tuple[str, Conf] | None = None
        self._keeping: asyncio.Future[None] | None = None

    @staticmethod
    def default_points(plate: Plate) -> tuple[OperatingPoint, ...]:
        low_w = plate.min_w or round(LOW_SHARE * plate.rated_w)
        return (plate.sleep, plate.point(LOW, low_w), plate.point(NORMAL, plate.rated_w))

    async def hello(self) -> Hello:
        self._http.forget()
        self._full_mode = None
        self._mac = await self._ask_mac()
        return Hello(mac=self._mac)

    def close(self) -> None:
        if self._write is not None:
            self._write.line.close()
            self._write = None

    async def read(self) -> Sample:
        self._unanswered()
        conf, stats = await self._http.get_all(POLL, deadline_s=self._plate.exchange_s)
        taken = sample(conf, stats, self._plate)
        mode = mode_of(conf)
        if mode not in (SLEEP_MODE, LOW_MODE):
            self._full_mode = mode
        return taken

    async def change(self, point: OperatingPoint) -> None:
        mac = await self._ask_mac()
        if mac != self._mac:
            raise OtherMachineError(f"the machine that was {self._mac} is {mac} now")
        conf = await self._get("get_miner_conf")
        wanted = with_mode(conf, await self._mode_for(point, mac))
        await self._keep(mac, conf)
        answered = await self._put(wanted)
        while not (done := await self._has(wanted, may_be_busy=not answered)) and not answered:
            await asyncio.sleep(self._plate.busy_wait_s)
            answered = self._unanswered() is None
        if not done:
            raise DriverError(f"was told {MODE_READ} {mode_of(wanted)}, but has another in its configuration")

    async def _has(self, wanted: Conf, *, may_be_busy: bool) -> bool:
        """Whether its configuration is the wanted one; raises where pools were lost on the way."""
        try:
            written = await self._get("get_miner_conf")
        except TimeoutError:
            if may_be_busy:
                return False
            raise
        if pools_of(written) != pools_of(wanted):
            raise DriverError("the machine changed its pools while its mode was set")
        return mode_of(written) == mode_of(wanted)

    async def _put(self, wanted: Conf) -> bool:
        """Whether it answered, with yes. Firmware that restarts the hashing first says nothing for long, and
        what it then says is no proof either: its configuration is. Nobody hangs up on it meanwhile, for that
        may end the program that writes. What it was told already, it is not told twice."""
        pending = self._unanswered()
        if pending is not None and pending.mode == mode_of(wanted):
            return False
        self.close()
        line, now_s = self._http.line(), asyncio.get_running_loop().time()
        self._write = Write(line=line, mode=mode_of(wanted), until_s=now_s + SETTER_S)
        deadline_s = self._plate.exchange_s
        try:
            reply = await self._http.post(path("set_miner_conf"), wanted, deadline_s=deadline_s, line=line)
        except TimeoutError:
            return False
        self.close()
        if isinstance(reply, dict) and str(reply.get("stats", "success")).lower() != "success":
            raise RefusedError(f"set_miner_conf: {reply.get('msg') or reply.get('stats')}")
        return True

    def _unanswered(self) -> Write | None:
        """What was sent and may still be at work."""
        write = self._write
        if write is not None and not (write.line.waits and asyncio.get_running_loop().time() < write.until_s):
            self.close()
        return self._write

    async def _mode_for(self, point: OperatingPoint, mac: str) -> int:
        """Back to full power means the mode that it had at full power, which need not be 0."""
        if point.name != NORMAL:
            return {SLEEP: SLEEP_MODE, LOW: LOW_MODE}[point.name]
        if self._full_mode is None:
            mode = await self._mode_kept(mac)
            self._full_mode = NORMAL_MODE if mode in (SLEEP_MODE, LOW_MODE) else mode
        return self._full_mode

    async def _mode_kept(self, mac: str) -> int:
        """A file that cannot be used must not keep a machine asleep."""
        if self._plate.state_dir is None:
            return NORMAL_MODE
        try:
            async with asyncio.timeout(DISK_S):
                kept = await asyncio.get_running_loop().run_in_executor(DISK, self._last_good.load, mac)
            return NORMAL_MODE if kept is None else mode_of(kept)
        except (OSError, ValueError, DriverError) as error:
            _log.warning("last good configuration not read: device=%s error=%r", self._plate.device, error)
            return NORMAL_MODE

    async def _keep(self, mac: str, conf: Conf) -> None:
        """Only of a machine at work: what a sleeping one had was kept when it was put to sleep; and only
        what is not kept already, for hundreds are put to sleep at once.

        A disk that is full or hangs must not stop a curtailment.
        """
        if self._plate.state_dir is None or mode_of(conf) == SLEEP_MODE or (mac, conf) == self._kept:
            return
        if self._keeping is not None and not self._keeping.done():
            return  # no second one behind one that hangs
        loop = asyncio.get_running_loop()
        self._keeping = loop.run_in_executor(DISK, self._last_good.keep, mac, conf)
        done, _ = await asyncio.wait([self._keeping], timeout=DISK_S)
        error = self._keeping.exception() if done else TimeoutError(f"no answer within {DISK_S:g} s")
        if error is None:
            self._kept = mac, conf
        elif isinstance(error, OSError):
            _log.warning("last good configuration not kept: device=%s error=%r", self._plate.device, error)
        else:
            raise error

    async def _ask_mac(self) -> str:
        mac = mac_address((await self._get("get_system_info"))["macaddr"])
        if mac is None:
            raise DriverError("get_system_info: no macaddr")
        return mac

    async def _get(self, name: str) -> Any:
        return await self._http.get(path(name), deadline_s=self._plate.exchange_s)


def sample(conf: Conf, stats: Conf, plate: Plate) -> Sample:
    pools_of(conf)
    # Asleep, and for a while after, there is no record at all: then nothing hashes.
    chains = stats["STATS"][0]["chain"] if stats["STATS"] else []
    rate_ths = sum(number(chain.get("rate_real")) or 0.0 for chain in chains) / 1000
    mode = mode_of(conf)
    return Sample(
        reading=Reading(
            device=plate.device,
            draw=estimated_draw(mode, rate_ths, plate),
            quality=Quality.ESTIMATED,
            setting=setting(mode, plate),
            rate=rate_ths,
            hottest_c=hottest([number(chip) for chain in chains for chip in chain.get("temp_chip") or []]),
            board_c=hottest([number(board) for chain in chains for board in chain.get("temp_pcb") or []]),
        )
    )


def point_of(mode: int, plate: Plate) -> OperatingPoint | None:
    if mode == SLEEP_MODE:
        return plate.sleep
    name = LOW if mode == LOW_MODE else NORMAL
    points = points_of(Antminer, plate)
    return next((point for point in points if point.name == name), None)


def setting(mode: int, plate: Plate) -> Bound:
    """The power of the mode's point; a mode that is no point of this machine limits nothing we know."""
    point = point_of(mode, plate)
    return NO_LIMIT if point is None else Limit(point.power)


def estimated_draw(mode: int, rate_ths: float, plate: Plate) -> Power:
    """By mode and hash rate. A mode that is no point of this machine is taken for all that it can draw."""
    normal = plate.point(NORMAL, plate.rated_w)
    at = point_of(mode, plate) or plate.point(NORMAL, plate.ceiling_w)
    points = points_of(Antminer, plate)
    return draw_by_hash(rate_ths, at, (plate.sleep, *points, normal))
