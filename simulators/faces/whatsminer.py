"""Whatsminer API v2 on TCP 4028: open reads, and orders encrypted with a key made from password and salt."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from simulators.faces.cgminer import EPOCH_S, JsonObject, command_of, joined, mac_of, pool, status
from simulators.faces.md5crypt import md5crypt
from simulators.faces.particulars import WHATSMINER_DEVICE, WHATSMINER_PSU, WHATSMINER_SUMMARY
from simulators.physics.miner import Miner, MinerReport, MinerState

BOARDS = 3
CHIPS_PER_BOARD = 105
BLOCK = 16
TOKEN_LIFE_S = 1800.0
MAX_TOKENS = 32

INVALID_COMMAND = 14
NO_PERMISSION = 45
OK = 131
TOKEN = 134
BAD_TOKEN = 135
TOO_MANY_TOKENS = 136
BAD_CIPHER = 137

FIRMWARE = "20240511.11.REL"


class WhatsminerApi:
    trailer = b""

    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s
        self._boots = -1
        self._salt = ""
        self._new_salt = ""
        self._tokens: dict[str, float] = {}
        self._keys: dict[str, tuple[str, bytes]] = {}

    def answer(self, request: JsonObject) -> JsonObject:
        self._notice_boot()
        if "enc" in request:
            return self._answer_encrypted(str(request.get("data", "")))
        command = command_of(request)
        if "+" in command:
            return joined(command, self._read)
        return self._read(command)

    def failure(self, code: int, message: str) -> JsonObject:
        return self._message(code, message, kind="E")

    # -- encryption -------------------------------------------------------------------------------------

    def _notice_boot(self) -> None:
        """Every boot has its own salts, so tokens and keys from before are worth nothing."""
        if self._boots != self._miner.boots:
            self._boots = self._miner.boots
            source = hashlib.sha256(f"{self._miner.serial}/{self._boots}".encode()).hexdigest()
            self._salt, self._new_salt = source[:8], source[8:16]
            self._tokens.clear()
            self._keys.clear()

    @property
    def _secret(self) -> tuple[str, bytes]:
        """The hashed password, and the AES key made from it."""
        password = self._miner.password("admin")
        if password not in self._keys:
            hashed = md5crypt(password, self._salt)
            self._keys[password] = hashed, hashlib.sha256(hashed.encode()).digest()
        return self._keys[password]

    def _token(self) -> JsonObject:
        now_s = self._now_s()
        self._tokens = {sign: until_s for sign, until_s in self._tokens.items() if until_s > now_s}
        if len(self._tokens) >= MAX_TOKENS:
            return self.failure(TOO_MANY_TOKENS, "over max connect")
        time = f"{(EPOCH_S + int(now_s)) % 10_000:04d}"
        self._tokens[md5crypt(self._secret[0] + time, self._new_salt)] = now_s + TOKEN_LIFE_S
        return self._message(TOKEN, {"time": time, "salt": self._salt, "newsalt": self._new_salt})

    def _answer_encrypted(self, data: str) -> JsonObject:
        """Refusals come in clear text, everything else encrypted like the request."""
        cipher = Cipher(AES(self._secret[1]), ECB())
        try:
            decryptor = cipher.decryptor()
            plain = decryptor.update(base64.b64decode(data, validate=True)) + decryptor.finalize()
            order = json.loads(plain.rstrip(b"\0"))
        except (ValueError, RecursionError):
            return self.failure(BAD_CIPHER, "enc json load err")
        if not isinstance(order, dict) or self._tokens.get(str(order.get("token")), -1.0) <= self._now_s():
            return self.failure(BAD_TOKEN, "check token err")
        if self._miner.faults.refuses:
            return self.failure(NO_PERMISSION, "can't access write cmd")
        text = json.dumps(self._order(order)).encode()
        encryptor = cipher.encryptor()
        sealed = encryptor.update(text + b"\0" * (-len(text) % BLOCK)) + encryptor.finalize()
        return {"enc": base64.b64encode(sealed).decode()}

    # -- orders -----------------------------------------------------------------------------------------

    def _order(self, order: JsonObject) -> JsonObject:
        match order.get("cmd", order.get("command")):
            case "power_off":
                self._miner.sleep()
            case "power_on":
                self._miner.wake()
            case "adjust_power_limit":
                return self._adjust_power_limit(str(order.get("power_limit", "")))
            case "reboot":
                self._miner.reboot(self._now_s())
            case _:
                return self.failure(INVALID_COMMAND, "invalid cmd")
        return self._message(OK, "API command OK")

    def _adjust_power_limit(self, text: str) -> JsonObject:
        """A limit out of range is accepted and ignored."""
        if not text.isascii() or not text.isdigit():
            return self.failure(INVALID_COMMAND, "power_limit is not a number")
        if self._miner.group.lowest_limit_w <= int(text) <= self._miner.rated_w:
            self._miner.set_limit(float(text))
        return self._message(OK, "API command OK")

    # -- readings ---------------------------------------------------------------------------------------

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def _read(self, command: str) -> JsonObject:
        needs_process = {
            "summary": self._summary,
            "devs": self._devs,
            "pools": self._pools,
            "devdetails": self._devdetails,
        }
        always = {
            "get_token": self._token,
            "get_version": self._get_version,
            "version": self._get_version,
            "status": self._status_of,
            "get_miner_info": self._get_miner_info,
            "get_psu": self._get_psu,
            "get_error_code": self._get_error_code,
        }
        if command in always:
            return always[command]()
        if command not in needs_process:
            return self.failure(INVALID_COMMAND, "invalid cmd")
        if self._report.asleep and self._miner.group.process_down_when_stopped:
            return self.failure(INVALID_COMMAND, "btminer process is down")
        return needs_process[command]()

    def _summary(self) -> JsonObject:
        report = self._report
        mhs = round(report.rate_ths * 1e6, 2)
        hot = round(report.hottest_c, 1)
        fan = 0 if report.asleep else 4900
        summary = {
            **WHATSMINER_SUMMARY,
            "Uptime": int(report.uptime_s),
            "Target MHS": round(self._miner.curve(report.setting_w) * 1e6),
            "MHS 15m": mhs,
            "Elapsed": int(report.uptime_s),
            "HS RT": mhs,
            "MHS av": mhs,
            "MHS 5s": mhs,
            "MHS 1m": mhs,
            "MHS 5m": mhs,
            "Power": round(report.watts),
            "Power Limit": round(report.setting_w),
            "Power Mode": "Normal",
            "Power Rate": round(report.watts / report.rate_ths, 2) if report.rate_ths else 0.0,
            "Power Fanspeed": 5200,
            "Chip Temp Min": hot - 14,
            "Chip Temp Avg": hot - 6,
            "Chip Temp Max": hot,
            "Env Temp": round(report.inlet_c, 1),
            "Temperature": hot - 12,
            "Fan Speed In": fan,
            "Fan Speed Out": fan,
            "Factory GHS": round(self._miner.group.rated_ths * 1000),
            "Target Freq": 620,
            "Error Code Count": 0,
            "MAC": mac_of(self._miner.serial),
            "Firmware Version": f"'{FIRMWARE}'",
        }
        return self._list(11, "Summary", SUMMARY=[summary])

    def _devs(self) -> JsonObject:
        report = self._report
        hot = round(report.hottest_c, 1)
        mhs = round(report.rate_ths * 1e6 / BOARDS, 2)
        board = {
            **WHATSMINER_DEVICE,
            **dict.fromkeys(("MHS av", "MHS 5s", "MHS 1m", "MHS 5m", "MHS 15m", "HS RT"), mhs),
            "Enabled": "N" if report.asleep else "Y",
            "Status": "Alive",
            "Temperature": hot - 12,
            "Chip Temp Min": hot - 14,
            "Chip Temp Avg": hot - 6,
            "Chip Temp Max": hot,
            "Factory GHS": round(self._miner.group.rated_ths * 1000 / BOARDS),
            "Frequency": 0 if report.asleep else 620,
            "Effective Chips": CHIPS_PER_BOARD,
        }
        devs = [
            {"ASC": index, "Slot": index, **board, "PCB SN": f"{self._miner.serial}{index}"}
            for index in range(BOARDS)
        ]
        return self._list(9, f"{BOARDS} ASC(s)", DEVS=devs)

    def _devdetails(self) -> JsonObject:
        details = [
            {
                "DEVDETAILS": index,
                "Name": "SM",
                "ID": index,
                "Driver": "bitmicro",
                "Kernel": "",
                "Model": self._miner.group.model,
            }
            for index in range(BOARDS)
        ]
        return self._list(69, "Device Details", DEVDETAILS=details)

    def _pools(self) -> JsonObject:
        alive = self._report.state is not MinerState.IDLE
        first = {**pool(f"site.{self._miner.id}", alive=alive), "POOL": 1}
        return self._list(7, "1 Pool(s)", POOLS=[first])

    def _get_version(self) -> JsonObject:
        return self._message(OK, {"api_ver": "2.0.5", "fw_ver": FIRMWARE, "platform": "H616", "chip": "K44"})

    def _status_of(self) -> JsonObject:
        report = self._report
        return self._message(
            OK,
            {
                "mineroff": "true" if report.asleep else "false",
                "mineroff_reason": "",
                "mineroff_time": "",
                "FirmwareVersion": f"'{FIRMWARE}'",
                "power_mode": "",
                "power_limit_set": str(round(report.setting_w)),
                "hash_percent": "",
            },
        )

    def _get_miner_info(self) -> JsonObject:
        info = {
            "ip": self._miner.address,
            "mac": mac_of(self._miner.serial),
            "hostname": self._miner.id,
            "ledstat": "auto",
            "minersn": self._miner.serial,
        }
        return self._message(OK, info)

    def _get_psu(self) -> JsonObject:
        psu = {"name": "P221B", "fan_speed": "5200", "vin": "23000", "model": "P221B"}
        return self._message(OK, {**WHATSMINER_PSU, **psu})

    def _get_error_code(self) -> JsonObject:
        return self._message(OK, {"error_code": []})

    def _list(self, code: int, message: str, **body: list[JsonObject]) -> JsonObject:
        return {"STATUS": status(code, message, when_s=self._now_s()), **body, "id": 1}

    def _message(self, code: int, message: str | JsonObject, kind: str = "S") -> JsonObject:
        """The flat envelope of the newer commands."""
        when = EPOCH_S + int(self._now_s())
        return {"STATUS": kind, "When": when, "Code": code, "Msg": message, "Description": ""}
