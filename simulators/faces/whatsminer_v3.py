"""Whatsminer API v3 on TCP 4433: frames of JSON, and a token for every order, made from password and salt.

Beside it, TCP 4028 still answers the two questions of the older API by which such a machine is recognised.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable

from simulators.faces.cgminer import EPOCH_S, JsonObject, command_of, mac_of, status
from simulators.faces.connection import MAX_REQUEST_BYTES, Connection, Listener
from simulators.faces.particulars import V3_MINER, V3_NETWORK, V3_POWER, V3_SYSTEM
from simulators.physics.miner import Miner, MinerReport, MinerState

BOARDS = 3
CHIPS_PER_BOARD = 98
HEADER_BYTES = 4
TOKEN_LENGTH = 8
ACCOUNT = "super"

OK = 0
FAILED = -1
INVALID_COMMAND = -2
INVALID_JSON = -3
ACCESS_DENIED = -4

INVALID_LEGACY_COMMAND = 14
LEGACY_OK = 131

FIRMWARE = "20260301.11.REL"


class FramedConnection(Connection):
    """Any number of requests, each behind its length as four bytes, little end first."""

    def __init__(self, listener: Listener, api: WhatsminerV3Api) -> None:
        super().__init__(listener)
        self._api = api

    def take(self) -> None:
        while len(self.received) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(self.received[:HEADER_BYTES], "little")
            if end > MAX_REQUEST_BYTES:
                self.abort()
                return
            if len(self.received) < end:
                return
            request, self.received = self.received[HEADER_BYTES:end], self.received[end:]
            if request:  # an empty frame is a heartbeat
                answer = json.dumps(self._api.answer_bytes(request), separators=(",", ":")).encode()
                self.send(len(answer).to_bytes(HEADER_BYTES, "little") + answer, close=False)


class WhatsminerV3Api:
    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s

    def answer_bytes(self, request: bytes) -> JsonObject:
        try:
            parsed = json.loads(request)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            return self._reply("", "invalid json", code=INVALID_JSON)
        return self.answer(parsed)

    def answer(self, request: JsonObject) -> JsonObject:
        command = command_of(request)
        if command.startswith("set."):
            return self._order(command, request)
        match command:
            case "get.device.info":
                return self._device_info(request.get("param"))
            case "get.miner.status":
                return self._status(request.get("param"))
            case "get.miner.setting":
                setting = {"power-limit": round(self._report.setting_w), "power-mode": "normal"}
                return self._reply(command, setting)
            case _:
                return self._reply(command, "invalid command", code=INVALID_COMMAND)

    def _reply(self, command: str, message: str | JsonObject, code: int = OK) -> JsonObject:
        when_s = self._miner.group.clock_s + int(self._now_s())
        return {"code": code, "when": when_s, "msg": message, "desc": command}

    # -- orders -----------------------------------------------------------------------------------------

    @property
    def _salt(self) -> str:
        """Every boot has its own, so a token made with the one from before is worth nothing."""
        return hashlib.sha256(f"{self._miner.serial}/{self._miner.boots}".encode()).hexdigest()[:8]

    def _token(self, command: str, ts: object) -> str:
        password = self._miner.password("super")
        digest = hashlib.sha256(f"{command}{password}{self._salt}{ts}".encode()).digest()
        return base64.b64encode(digest).decode()[:TOKEN_LENGTH]

    def _order(self, command: str, request: JsonObject) -> JsonObject:
        proven = request.get("token") == self._token(command, request.get("ts"))
        if request.get("account") != ACCOUNT or not proven:
            return self._reply(command, "check token error", code=ACCESS_DENIED)
        if self._miner.faults.refuses:
            return self._reply(command, "no permission for write command", code=ACCESS_DENIED)
        match command, request.get("param"):
            case "set.miner.service", "stop":
                self._miner.sleep()
            case "set.miner.service", "start":
                self._miner.wake()
            case "set.miner.power_limit", int() | float() as watts if not isinstance(watts, bool):
                self._limit(watts)
            case "set.system.reboot", _:
                self._miner.reboot(self._now_s())
            case "set.miner.service" | "set.miner.power_limit", _:
                return self._reply(command, "invalid param", code=FAILED)
            case _:
                return self._reply(command, "invalid command", code=INVALID_COMMAND)
        return self._reply(command, "ok")

    def _limit(self, watts: float) -> None:
        """A limit out of range is accepted and ignored."""
        if self._miner.group.lowest_limit_w <= watts <= self._miner.rated_w:
            self._miner.set_limit(float(watts))

    # -- readings ---------------------------------------------------------------------------------------

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def _device_info(self, param: object) -> JsonObject:
        sections: JsonObject = {
            "network": {
                **V3_NETWORK,
                "ip": self._miner.address,
                "proto": "dhcp",
                "netmask": "255.255.255.0",
                "mac": mac_of(self._miner.serial),
                "hostname": self._miner.id,
            },
            "miner": {
                **V3_MINER,
                "power-limit-set": str(round(self._report.setting_w)),
                "working": "false" if self._report.asleep else "true",
                "type": self._miner.group.model,
                "cointype": "BTC",
                "miner-sn": self._miner.serial,
                **{f"pcbsn{board}": f"{self._miner.serial}{board}" for board in range(BOARDS)},
            },
            "system": {
                **V3_SYSTEM,
                "api": "3.0.2",
                "platform": "H616",
                "fwversion": FIRMWARE,
                "ledstatus": "auto",
            },
            "power": {**V3_POWER, "type": "P566B", "fanspeed": 6100, "pin": round(self._report.watts)},
            "hardware": {"boards": BOARDS},
            "salt": self._salt,
            "error-code": [],
        }
        if param is None:
            return self._reply("get.device.info", sections)
        if not isinstance(param, str) or param not in sections:
            return self._reply("get.device.info", "invalid param", code=INVALID_COMMAND)
        return self._reply("get.device.info", {param: sections[param]})

    def _status(self, param: object) -> JsonObject:
        sections = {"summary": self._summary, "pools": self._pools, "edevs": self._edevs}
        if not isinstance(param, str) or not set(param.split("+")) <= set(sections):
            return self._reply("get.miner.status", "invalid param", code=INVALID_COMMAND)
        if self._report.asleep and self._miner.group.process_down_when_stopped:
            return self._reply("get.miner.status", "btminer process is down", code=FAILED)
        return self._reply("get.miner.status", {name: sections[name]() for name in param.split("+")})

    def _summary(self) -> JsonObject:
        report = self._report
        hot = round(report.hottest_c, 1)
        fan = 0 if report.asleep else 4900
        rate_ths = round(report.rate_ths, 3)
        return {
            "elapsed": int(report.uptime_s),
            "bootup-time": int(report.uptime_s),
            "factory-hash": self._miner.group.rated_ths,
            "hash-average": rate_ths,
            "hash-1min": rate_ths,
            "hash-15min": rate_ths,
            "freq-avg": 0 if report.asleep else 620,
            "target-freq": 620,
            "hash-realtime": rate_ths,
            "power-rate": round(report.watts / report.rate_ths, 3) if report.rate_ths else 0.0,
            "power-5min": round(report.watts),
            "power-realtime": round(report.watts),
            "power-limit": round(report.setting_w),
            "environment-temperature": round(report.inlet_c, 1),
            "board-temperature": [hot - 12] * BOARDS,
            "chip-temp-min": hot - 14,
            "chip-temp-avg": hot - 6,
            "chip-temp-max": hot,
            "up-freq-finish": 1,
            "fan-speed-in": fan,
            "fan-speed-out": fan,
        }

    def _edevs(self) -> list[JsonObject]:
        report = self._report
        hot = round(report.hottest_c, 1)
        return [
            {
                "id": board,
                "slot": board,
                "hash-average": round(report.rate_ths / BOARDS, 3),
                "factory-hash": round(self._miner.group.rated_ths / BOARDS, 3),
                "freq": 0 if report.asleep else 620,
                "effective-chips": CHIPS_PER_BOARD,
                "chip-temp-min": hot - 14,
                "chip-temp-avg": hot - 6,
                "chip-temp-max": hot,
            }
            for board in range(BOARDS)
        ]

    def _pools(self) -> list[JsonObject]:
        alive = self._report.state is not MinerState.IDLE
        pool: JsonObject = {
            "id": 1,
            "url": "stratum+tcp://pool.example:3333",
            "account": f"site.{self._miner.id}",
            "status": "alive" if alive else "dead",
            "stratum-active": alive,
        }
        return [pool]


class LegacyApi:
    """What firmware of API v3 leaves of the older one: enough to be recognised, nothing to be driven by."""

    trailer = b""

    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s

    def answer(self, request: JsonObject) -> JsonObject:
        match command_of(request):
            case "get_version" | "version":
                version = {"api_ver": "3.0.2", "fw_ver": FIRMWARE, "platform": "H616"}
                return self._message(LEGACY_OK, version, kind="S")
            case "devdetails":
                board = {"Name": "SM", "Driver": "bitmicro", "Model": self._miner.group.model}
                details = [{"DEVDETAILS": index, **board} for index in range(BOARDS)]
                judgement = status(69, "Device Details", when_s=self._now_s())
                return {"STATUS": judgement, "DEVDETAILS": details, "id": 1}
            case _:
                return self.failure(INVALID_LEGACY_COMMAND, "invalid cmd")

    def failure(self, code: int, message: str) -> JsonObject:
        return self._message(code, message, kind="E")

    def _message(self, code: int, message: str | JsonObject, *, kind: str) -> JsonObject:
        when_s = EPOCH_S + int(self._now_s())
        return {"STATUS": kind, "When": when_s, "Code": code, "Msg": message, "Description": ""}
