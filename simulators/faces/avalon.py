"""Avalon on TCP 4028: cgminer's API with one text of `KEY[value]` for everything, and orders that act later.

The API has one thread: whoever connects while another client is being served waits for its turn.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from simulators.faces.cgminer import EPOCH_S, JsonConnection, JsonObject, command_of, mac_of, pool, status
from simulators.faces.connection import Listener
from simulators.faces.particulars import AVALON_MODULE, DEVICE_SHARES
from simulators.groups import AVALON_LEVELS
from simulators.physics.miner import Miner, MinerReport, MinerState

BOARDS = 3
CHIPS_PER_BOARD = 120
LEVELS = tuple(AVALON_LEVELS)
"""The names of the work levels 0, 1 and 2."""

INVALID_COMMAND = 14
MISSING_ID = 15
INVALID_ID = 102
SET_INFO = 118
SET_OK = 119
SET_FAILED = 120

VERSION = "24102401_25462b2_9ddf522"
SERIES_14 = "AvalonMiner 14"

_WHEN = re.compile(r"1:(\d{1,12})")

_WORK = {
    MinerState.STARTING: "In Init",
    MinerState.ASLEEP: "In Idle",
    MinerState.IDLE: "In Idle",
    MinerState.TRIPPED: "In Idle",
}
SOFT_OFF_REASON = 5
"""`SoftOFF` while an order keeps the boards off; it is 0 where they are idle for another reason."""


@dataclass(slots=True)
class Turns:
    """The clients of one machine, in the order in which they came."""

    waiting: deque[TakingTurns] = field(default_factory=deque)


class TakingTurns(JsonConnection):
    def __init__(self, listener: Listener, api: AvalonApi, turns: Turns) -> None:
        super().__init__(listener, api)
        self._waiting = turns.waiting
        self._waiting.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._waiting.remove(self)
        if self._waiting and self._waiting[0].received:
            self._waiting[0].take()

    def take(self) -> None:
        if self._waiting[0] is self:
            super().take()

    def _answer(self, answer: JsonObject) -> None:
        """An empty answer is none: the connection closes without a word."""
        if answer:
            super()._answer(answer)
        else:
            self._answered = True
            self.send(b"", close=True)


NO_SENSOR_C = -273.0
"""What the one device of an Avalon reads as its own temperature: the modules have the sensors."""


class AvalonApi:
    trailer = b"\x00"

    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s

    def answer(self, request: JsonObject) -> JsonObject:
        reads = {
            "version": self._version,
            "summary": self._summary,
            "devs": self._devs,
            "stats": self._estats,
            "estats": self._estats,
            "pools": self._pools,
        }
        command = command_of(request)
        if command in reads:
            return reads[command]()
        if command == "ascset":
            return self._ascset(str(request.get("parameter", "")))
        return self.failure(INVALID_COMMAND, "Invalid command")

    def failure(self, code: int, message: str) -> JsonObject:
        return {"STATUS": self._status(code, message, kind="E"), "id": 1}

    # -- orders -----------------------------------------------------------------------------------------

    def _ascset(self, parameter: str) -> JsonObject:
        number, _, rest = parameter.partition(",")
        option, _, setting = rest.partition(",")
        if not number.isdecimal():
            return self.failure(MISSING_ID, "Missing device id parameter")
        if number != "0":
            return self.failure(INVALID_ID, "Invalid ASC id - range is 0 - 0")
        if option == "worklevel" and setting == "get":
            return self._info(f"worklevel {LEVELS.index(self._report.point)}")
        if self._miner.faults.refuses:
            return self._failed(f"{option} is not permitted now")
        match option:
            case "softoff":
                return self._later(option, setting, self._miner.sleep)
            case "softon":
                return self._later(option, setting, self._miner.wake)
            case "worklevel":
                return self._worklevel(setting)
            case "reboot":
                self._miner.reboot(self._now_s())
                return self._ok()
            case _:
                return self._failed(f"Unknown option: {option}")

    def _later(self, option: str, setting: str, order: Callable[[], None]) -> JsonObject:
        """By the machine's own clock, or at once if that time is over.

        Series 14 confirms in other words, and at `softon` it hangs up without any.
        """
        at = _WHEN.fullmatch(setting)
        if at is None:
            return self._failed(f"{option} unknown argument")
        self._miner.schedule(int(at[1]) - self._miner.group.clock_s, order)
        if self._miner.group.model.startswith(SERIES_14):
            return self._ok() if option == "softoff" else {}
        return self._info(f"success {option}:{setting}")

    def _worklevel(self, setting: str) -> JsonObject:
        verb, _, level = setting.partition(",")
        if verb != "set" or level not in ("0", "1", "2"):
            return self._failed("worklevel unknown argument")
        self._miner.set_point(LEVELS[int(level)])
        return self._ok()

    def _ok(self) -> JsonObject:
        return {"STATUS": self._status(SET_OK, "ASC 0 set OK"), "id": 1}

    def _info(self, message: str) -> JsonObject:
        return {"STATUS": self._status(SET_INFO, f"ASC 0 set info: {message}", kind="I"), "id": 1}

    def _failed(self, why: str) -> JsonObject:
        return self.failure(SET_FAILED, f"ASC 0 set failed: {why}")

    # -- readings ---------------------------------------------------------------------------------------

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    @property
    def _model(self) -> str:
        return self._miner.group.model.partition(" ")[2]

    @property
    def _dna(self) -> str:
        return f"0201{self._miner.serial}"

    def _version(self) -> JsonObject:
        version = {
            "CGMiner": "4.11.1",
            "API": "3.7",
            "STM8": "20.08.01",
            "PROD": self._miner.group.model,
            "MODEL": self._model,
            "HWTYPE": "MM4v2_X3",
            "SWTYPE": "MM319",
            "VERSION": VERSION,
            "LOADER": "d0d779de.00",
            "DNA": self._dna,
            "MAC": mac_of(self._miner.serial).replace(":", "").lower(),
            "UPAPI": "2",
        }
        return self._list(22, "CGMiner versions", VERSION=[version])

    def _summary(self) -> JsonObject:
        return self._list(11, "Summary", SUMMARY=[{"Elapsed": int(self._report.uptime_s), **self._rates()}])

    def _devs(self) -> JsonObject:
        device = {"ASC": 0, "Name": "AVA10", "ID": 0, "Enabled": "Y", "Status": "Alive", **self._rates()}
        device |= {**DEVICE_SHARES, "Temperature": NO_SENSOR_C}
        return self._list(9, "1 ASC(s)", DEVS=[device])

    def _rates(self) -> JsonObject:
        mhs = round(self._report.rate_ths * 1e6, 2)
        return dict.fromkeys(("MHS av", "MHS 30s", "MHS 1m", "MHS 5m", "MHS 15m"), mhs)

    def _estats(self) -> JsonObject:
        stats = {
            "STATS": 0,
            "ID": "AVA100",
            "Elapsed": int(self._report.uptime_s),
            "Calls": 0,
            "MM ID0": self._module(),
            "MM Count": 1,
            "Smart Speed": 1,
        }
        pool = {"STATS": 1, "ID": "POOL0", "Elapsed": int(self._report.uptime_s), "Calls": 0}
        return self._list(70, "CGMiner stats", STATS=[stats, pool])

    def _module(self) -> str:
        report = self._report
        hot = 0 if report.asleep else int(report.hottest_c)
        ghs = report.rate_ths * 1000
        full_ghs = self._miner.curve(report.setting_w) * 1000
        watts = round(report.watts)
        fan = 0 if report.asleep else 5300
        work = _WORK.get(MinerState.ASLEEP if report.asleep else report.state, "In Work")
        chips = " ".join(str(max(0, hot - chip % 9)) for chip in range(CHIPS_PER_BOARD))
        fields = {
            **AVALON_MODULE,
            "Ver": f"{self._model}-{VERSION}",
            "DNA": self._dna,
            "SYSTEMSTATU": f"Work: {work}, Hash Board: {BOARDS} ",
            "Elapsed": int(report.uptime_s),
            "Temp": round(report.inlet_c),
            "TMax": hot,
            "TAvg": max(0, hot - 12),
            **{f"Fan{number}": fan for number in range(1, 5)},
            "FanR": f"{fan // 100}%",
            "PS": f"0 1209 1187 297 {round(0.945 * watts)} 1188 {watts}",
            "WALLPOWER": watts,
            "GHSspd": f"{ghs:.2f}",
            "GHSmm": f"{full_ghs:.2f}",
            "GHSavg": f"{ghs:.2f}",
            "Led": 0,
            "MGHS": " ".join(f"{ghs / BOARDS:.2f}" for _ in range(BOARDS)),
            "MTmax": " ".join(str(max(0, hot - board)) for board in range(BOARDS)),
            "MTavg": " ".join(str(max(0, hot - 12 - board)) for board in range(BOARDS)),
            "TA": BOARDS * CHIPS_PER_BOARD,
            "Core": "A3197S",
            "SoftOFF": SOFT_OFF_REASON if report.asleep else 0,
            "ECHU": "0 0 0",
            **{f"PVT_T{board}": f" {chips}" for board in range(BOARDS)},
            "MPO": round(report.setting_w),
            "WORKMODE": 1,
        }
        return " ".join(f"{key}[{value}]" for key, value in fields.items())

    def _pools(self) -> JsonObject:
        alive = self._report.state is not MinerState.IDLE
        return self._list(7, "1 Pool(s)", POOLS=[pool(f"site.{self._miner.id}", alive=alive)])

    def _list(self, code: int, message: str, **body: list[JsonObject]) -> JsonObject:
        return {"STATUS": self._status(code, message), **body, "id": 1}

    def _status(self, code: int, message: str, kind: str = "S") -> list[JsonObject]:
        when_s = self._now_s() + self._miner.group.clock_s - EPOCH_S
        return status(code, message, when_s=when_s, kind=kind, description="cgminer 4.11.1")
