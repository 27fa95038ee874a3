"""Auradine (FluxOS): orders and most readings on HTTP 8080 behind a token, the hash rate on TCP 4028."""

from __future__ import annotations

import json
from collections.abc import Callable

from simulators.faces.cgminer import JsonObject, command_of, mac_of, pool, status
from simulators.faces.http import HttpAnswer, HttpRequest
from simulators.faces.particulars import SHARES
from simulators.faces.tokens import Tokens
from simulators.physics.miner import Miner, MinerReport, MinerState

FIRMWARE = "FluxOS-2026-03.02-5c0ffee"
GCMINER = "GCMiner-2026-03.02-5c0ffee"
USER = "admin"
TOKEN_LIFE_S = 3600.0
MAX_TOKENS = 16
BOARDS = 3
CHIPS_PER_BOARD = 132
MODES = ("eco", "normal", "turbo", "custom")

INVALID_COMMAND = 14
BAD_TOKEN = 500
BAD_LOGIN = 501
REFUSED = 502
BAD_VALUE = 503


class AuradineApi:
    """Both interfaces of one machine."""

    trailer = b""

    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s
        self._tokens = Tokens(now_s, life_s=TOKEN_LIFE_S, most=MAX_TOKENS)
        self._boots = miner.boots
        self._mode = "custom"

    # -- HTTP -------------------------------------------------------------------------------------------

    def serve(self, request: HttpRequest) -> HttpAnswer:
        if self._boots != self._miner.boots:
            self._boots = self._miner.boots
            self._tokens.clear()
        command = request.target.partition("?")[0].removeprefix("/")
        posted = _object(request.body) if request.method == "POST" else {}
        if command == "token":
            return _json(self._token(posted))
        if not self._tokens.holds(request.headers.get("token", "")):
            return _json(self.failure(BAD_TOKEN, "Invalid or expired token"), status_code=401)
        if request.method == "POST":
            return _json(self._order(command, posted))
        return _json(self._read(command))

    def _token(self, posted: JsonObject) -> JsonObject:
        password = self._miner.password("admin")
        if (posted.get("user"), posted.get("password")) != (USER, password):
            return self.failure(BAD_LOGIN, "Invalid user or password")
        return self._ok(700, "Token", Token=[{"Token": self._tokens.issue()}])

    # -- orders -----------------------------------------------------------------------------------------

    def _order(self, command: str, posted: JsonObject) -> JsonObject:
        orders: dict[str, Callable[[JsonObject], JsonObject]] = {
            "mode": self._set_mode,
            "restart": self._restart,
            "led": lambda _: self._led(),
        }
        if command not in orders:
            return self.failure(INVALID_COMMAND, "Invalid command")
        if self._miner.faults.refuses:
            return self.failure(REFUSED, "Command rejected in the present state")
        return orders[command](posted)

    def _set_mode(self, posted: JsonObject) -> JsonObject:
        if posted.get("mode") == "custom" and posted.get("tune") == "power":
            power = posted.get("power")
            if isinstance(power, bool) or not isinstance(power, int) or not self._in_range(power):
                return self.failure(BAD_VALUE, f"Power {power!r} is out of range")
            self._mode = "custom"
            self._miner.set_limit(float(power))
        elif posted.get("mode") in MODES:
            self._mode = str(posted["mode"])
        match posted.get("sleep"):
            case "on":
                self._miner.sleep()
            case "off":
                self._miner.wake()
            case _:
                pass
        return self._read("mode")

    def _in_range(self, power: int) -> bool:
        return self._miner.group.lowest_limit_w <= power <= self._miner.rated_w

    def _restart(self, posted: JsonObject) -> JsonObject:
        if "parameter" not in posted:
            self._miner.reboot(self._now_s())
        return self._ok(610, "Restart", Restart=[{}])

    # -- readings ---------------------------------------------------------------------------------------

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def _read(self, command: str) -> JsonObject:
        reads = {
            "mode": self._get_mode,
            "psu": self._psu,
            "temperature": self._temperature,
            "ipreport": self._ipreport,
            "fan": self._fan,
            "led": self._led,
        }
        if command in reads:
            return reads[command]()
        return self._rpc(command)

    def _get_mode(self) -> JsonObject:
        report = self._report
        sleep = "on" if report.asleep else "off"
        mode = {
            "Mode": self._mode,
            "Sleep": sleep,
            "Ths": round(self._miner.curve(report.setting_w)),
            "Power": round(report.setting_w),
        }
        return self._ok(540, f"Operating mode: '{self._mode}', sleep: '{sleep}'", Mode=[mode])

    def _psu(self) -> JsonObject:
        watts = self._report.watts
        psu = {
            "VoutSet": "11.50V",
            "Vin": "245.00V",
            "Vout": "11.53V",
            "Iin": f"{watts / 245:.2f}A",
            "Iout": f"{watts * 0.95 / 11.53:.2f}A",
            "FanSpeed1": "4052.00 RPM",
            "FanSpeed2": "4144.00 RPM",
            "PowerOut": f"{watts * 0.95:.2f}W",
            "PowerIn": f"{watts:.2f}W",
            "PoutMax": f"{self._miner.rated_w * 1.1:.2f}W",
        }
        return self._ok(570, "PSU status", PSU=[psu])

    def _temperature(self) -> JsonObject:
        """A board that is off lists no chips."""
        report = self._report
        control = {
            "ID": 0,
            "Name": "Control Board",
            "BoardTemp": _sensors(report.inlet_c + 4),
            "ChipTemp": None,
        }
        boards = [
            {
                "ID": number,
                "Name": f"Hash Board {number}",
                "BoardTemp": _sensors(report.inlet_c, report.hottest_c - 12),
                "ChipTemp": None
                if report.asleep
                else _sensors(report.hottest_c - 5, report.hottest_c - number + 1, report.hottest_c - 4),
            }
            for number in range(1, BOARDS + 1)
        ]
        return self._ok(590, "System temperature", Temperature=[control, *boards])

    def _ipreport(self) -> JsonObject:
        report = {
            "command": "ipreport",
            "SerialNo": f"AU{self._miner.serial}",
            "ip": self._miner.address,
            "mac": mac_of(self._miner.serial).lower(),
            "model": self._miner.group.model,
            "version": "2026-03.02",
            "hostname": self._miner.id,
            "HBSerialNo": [f"HB{self._miner.serial}{number}" for number in range(BOARDS)],
            "CBSerialNo": f"AU{self._miner.serial}",
            "ChassisSerialNo": self._miner.serial,
            "InternalType": "T0",
        }
        return self._ok(620, "IP Report", IPReport=[report])

    def _fan(self) -> JsonObject:
        speed = 0 if self._report.asleep else 4800
        fans = [{"ID": number, "Speed": speed, "Target": speed, "Max": 6000} for number in range(1, 5)]
        return self._ok(510, "Fan status", Fan=fans)

    def _led(self) -> JsonObject:
        code = 13 if self._report.asleep else 2
        return self._ok(530, "LED status", LED=[{"Code": code, "Msg": "STANDBY" if code == 13 else "NORMAL"}])

    # -- TCP 4028 ---------------------------------------------------------------------------------------

    def answer(self, request: JsonObject) -> JsonObject:
        return self._rpc(command_of(request))

    def failure(self, code: int, message: str) -> JsonObject:
        return {"STATUS": self._status(code, message, kind="E"), "id": 1}

    def _rpc(self, command: str) -> JsonObject:
        """What both ports answer, one command at a time."""
        reads = {
            "version": self._version,
            "summary": self._summary,
            "devs": self._devs,
            "devdetails": self._devdetails,
            "asccount": self._asccount,
            "pools": self._pools,
        }
        return reads[command]() if command in reads else self.failure(INVALID_COMMAND, "Invalid command")

    def _version(self) -> JsonObject:
        return self._ok(22, "GCMiner versions", VERSION=[{"GCMiner": "2.2.0", "API": "1.0"}])

    def _summary(self) -> JsonObject:
        report = self._report
        mhs = report.rate_ths * 1e6
        rates = dict.fromkeys(("MHS av", "MHS 5s", "MHS 1m", "MHS 5m", "MHS 15m"), mhs)
        summary = {**SHARES, "Elapsed": int(report.uptime_s), **rates}
        return self._ok(11, "Summary", SUMMARY=[summary])

    def _devs(self) -> JsonObject:
        report = self._report
        board = {
            "Name": "ASICBoard",
            "Enabled": True,
            "Status": "Alive",
            "Temperature": round(report.hottest_c - 12, 2),
            "MHS 5s": report.rate_ths * 1e6 / BOARDS,
        }
        devs = [{"DEV": number, "ID": number, **board} for number in range(1, BOARDS + 1)]
        return self._ok(9, f"{BOARDS} Dev(s)", DEVS=devs)

    def _devdetails(self) -> JsonObject:
        model = self._miner.group.model
        details = [
            {"DEVDETAILS": index, "Name": "ASICBoard", "ID": index, "Driver": "gcminer", "Model": model}
            for index in range(BOARDS)
        ]
        return self._ok(69, "Device Details", DEVDETAILS=details)

    def _asccount(self) -> JsonObject:
        counts = {"BoardCount": BOARDS, "AsicCount": BOARDS * CHIPS_PER_BOARD}
        return self._ok(104, "ASC Count", ASCCount=[counts])

    def _pools(self) -> JsonObject:
        alive = self._report.state is not MinerState.IDLE
        return self._ok(7, "1 Pool(s)", POOLS=[pool(f"site.{self._miner.id}", alive=alive)])

    def _ok(self, code: int, message: str, **body: list[JsonObject]) -> JsonObject:
        return {"STATUS": self._status(code, message), **body, "id": 1}

    def _status(self, code: int, message: str, kind: str = "S") -> list[JsonObject]:
        description = GCMINER if code < 500 else FIRMWARE
        return status(code, message, when_s=self._now_s(), kind=kind, description=description)


def _sensors(*celsius: float) -> list[JsonObject]:
    return [{"ID": index, "Temperature": round(value, 4)} for index, value in enumerate(celsius)]


def _object(body: bytes) -> JsonObject:
    try:
        posted = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return posted if isinstance(posted, dict) else {}


def _json(body: JsonObject, *, status_code: int = 200) -> HttpAnswer:
    return HttpAnswer(status=status_code, body=json.dumps(body).encode())
