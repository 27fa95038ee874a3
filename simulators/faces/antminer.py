"""A stock Antminer: digest HTTP for configuration, TCP 4028 for a few reads. It tells its watts nowhere.

`set_miner_conf` replaces the whole configuration: a key that is left out is back at its factory value.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from simulators.faces.cgminer import EPOCH_S, JsonObject, chains, command_of, mac_of, pool, status
from simulators.faces.http import HttpAnswer, HttpRequest, digest_challenge, digest_proves
from simulators.faces.particulars import ANTMINER_CONF
from simulators.physics.miner import Miner, MinerReport, MinerState

REALM = "antMiner Configuration"
BOARDS = 3
CHIPS_PER_BOARD = 114
INVALID_COMMAND = 14
NORMAL, SLEEP, LOW = 0, 1, 3
POOLS = 3
FACTORY: JsonObject = {
    **ANTMINER_CONF,
    "pools": [{"url": "", "user": "", "pass": ""}] * POOLS,
    "bitmain-fan-ctrl": False,
    "bitmain-fan-pwm": "100",
    "bitmain-use-vil": True,
    "bitmain-freq-level": "100",
    "bitmain-hashrate-percent": "100",
    "bitmain-work-mode": "0",
}
ALIASES = {"freq-level": "bitmain-freq-level"}


class AntminerApi:
    """Both interfaces of one machine, which share its configuration."""

    trailer = b"\x00"

    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s
        self._nonce = miner.serial
        self._conf: JsonObject = {
            **FACTORY,
            "api-listen": True,
            "api-allow": "A:0/0,W:*",
            "pools": [
                {"url": f"stratum+tcp://pool{number}.example:3333", "user": f"site.{miner.id}", "pass": "x"}
                for number in range(1, POOLS + 1)
            ],
        }

    # -- HTTP -------------------------------------------------------------------------------------------

    def serve(self, request: HttpRequest) -> HttpAnswer:
        if not self._proves(request):
            return HttpAnswer(
                status=401,
                body=b"<html><head><title>401 - Unauthorized</title></head></html>",
                content_type="text/html",
                authenticate=digest_challenge(REALM, self._nonce),
            )
        name = request.target.partition("?")[0].removeprefix("/cgi-bin/").removesuffix(".cgi")
        pages = {
            "get_system_info": self._system_info,
            "get_miner_conf": self._miner_conf,
            "stats": self._web_stats,
            "summary": self._web_summary,
            "pools": self._pools,
            "get_blink_status": lambda: {"blink": False},
            "get_network_info": self._network_info,
            "reboot": self._reboot,
        }
        if name == "set_miner_conf" and request.method == "POST":
            return _json(self.configure(request.body))
        if name not in pages or not request.target.startswith("/cgi-bin/"):
            return HttpAnswer(status=404, body=b"<html>404 - Not Found</html>", content_type="text/html")
        return _json(pages[name]())

    def _proves(self, request: HttpRequest) -> bool:
        password = self._miner.password("root")
        return digest_proves(request, user="root", password=password, realm=REALM, nonce=self._nonce)

    def configure(self, body: bytes) -> JsonObject:
        """Replace the configuration by a posted one."""
        try:
            posted = json.loads(body)
        except (ValueError, RecursionError):
            return {"stats": "error", "code": "M001", "msg": "Illegal request"}
        if not isinstance(posted, dict) or not isinstance(posted.get("pools", []), list):
            return {"stats": "error", "code": "M001", "msg": "Illegal request"}
        if self._miner.faults.refuses:
            return {"stats": "error", "code": "M002", "msg": "Set miner conf failed"}
        self._rewrite(posted)
        return {"stats": "success", "code": "M000", "msg": "OK!"}

    def _rewrite(self, posted: JsonObject) -> None:
        known = {ALIASES.get(key, key): value for key, value in posted.items()}
        known.pop("miner-mode", None)
        mode = self._posted_mode(posted)
        self._conf = {**FACTORY, **known, "bitmain-work-mode": str(mode)}
        pools = posted.get("pools", [])
        self._miner.set_pools(usable=any(isinstance(pool, dict) and pool.get("url") for pool in pools))
        if mode == SLEEP:
            self._miner.sleep()
            return
        self._miner.set_point("low" if mode == LOW else "normal")
        self._miner.wake()

    def _posted_mode(self, posted: JsonObject) -> int:
        """Firmware of different years takes the mode from different keys, as a number or as text."""
        by_group = self._miner.group.mode_key
        keys = ("miner-mode", "bitmain-work-mode") if by_group == "both" else (by_group,)
        for key in keys:
            if str(posted.get(key)) in (str(NORMAL), str(SLEEP), str(LOW)):
                return int(posted[key])
        return NORMAL

    def _miner_conf(self) -> JsonObject:
        return self._conf

    def _system_info(self) -> JsonObject:
        return {
            "minertype": self._miner.group.model,
            "nettype": "DHCP",
            "netdevice": "eth0",
            "macaddr": mac_of(self._miner.serial),
            "hostname": self._miner.id,
            "ipaddress": self._miner.address,
            "serinum": self._miner.serial,
            "firmware_type": "Release",
        }

    def _network_info(self) -> JsonObject:
        return {
            "nettype": "DHCP",
            "macaddr": mac_of(self._miner.serial),
            "ipaddress": self._miner.address,
            "conf_hostname": self._miner.id,
        }

    def _web_stats(self) -> JsonObject:
        report = self._report
        hot = round(report.hottest_c)
        chain = [
            {
                "index": index,
                "freq_avg": 0 if report.asleep else 645,
                "rate_ideal": round(self._miner.group.rated_ths * 1000 / BOARDS, 2),
                "rate_real": round(report.rate_ths * 1000 / BOARDS, 2),
                "asic_num": CHIPS_PER_BOARD,
                "temp_pcb": [hot - 14, hot - 12, hot - 15, hot - 13],
                "temp_chip": [hot - 4, hot, hot - 6, hot - 2],
                "temp_pic": [hot - 20, hot - 18, hot - 21, hot - 19],
                "hw": 0,
                "asic": " " + "o" * CHIPS_PER_BOARD,
                "sn": f"{self._miner.serial}{index}",
            }
            for index in range(BOARDS)
        ]
        stats = {
            "elapsed": int(report.uptime_s),
            "rate_5s": round(report.rate_ths * 1000, 2),
            "rate_avg": round(report.rate_ths * 1000, 2),
            "rate_ideal": round(self._miner.group.rated_ths * 1000, 2),
            "rate_unit": "GH/s",
            "chain_num": BOARDS,
            "fan_num": 4,
            "fan": [0] * 4 if report.asleep else [4800, 4810, 4790, 4800],
            "miner-mode": int(self._conf["bitmain-work-mode"]),
            "chain": chain,
        }
        return {"STATUS": self._web_status("stats"), "INFO": self._info(), "STATS": [stats]}

    def _web_summary(self) -> JsonObject:
        report = self._report
        kinds = ("rate", "network", "fans", "temp")
        summary = {
            "elapsed": int(report.uptime_s),
            "rate_5s": round(report.rate_ths * 1000, 2),
            "rate_unit": "GH/s",
            "status": [{"type": kind, "status": "s", "code": 0, "msg": ""} for kind in kinds],
        }
        return {"STATUS": self._web_status("summary"), "INFO": self._info(), "SUMMARY": [summary]}

    def _reboot(self) -> JsonObject:
        self._miner.reboot(self._now_s())
        return {"stats": "success", "code": "S000", "msg": "OK!"}

    def _web_status(self, message: str) -> JsonObject:
        return {"STATUS": "S", "when": EPOCH_S + int(self._now_s()), "Msg": message, "api_version": "1.0.0"}

    def _info(self) -> JsonObject:
        return {
            "miner_version": "uart_trans.1.3",
            "CompileTime": "Fri Mar 10 11:20:30 CST 2023",
            "type": self._miner.group.model,
        }

    # -- TCP 4028 ---------------------------------------------------------------------------------------

    def answer(self, request: JsonObject) -> JsonObject:
        """One command at a time: this firmware does not take several joined by `+`."""
        reads = {
            "version": self._version,
            "summary": self._summary,
            "stats": self._stats,
            "pools": self._pools,
        }
        command = command_of(request)
        return reads[command]() if command in reads else self.failure(INVALID_COMMAND, "Invalid command")

    def failure(self, code: int, message: str) -> JsonObject:
        return {
            "STATUS": status(code, message, when_s=self._now_s(), kind="E", description="cgminer 1.0.0"),
            "id": 1,
        }

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def _version(self) -> JsonObject:
        version = {
            "BMMiner": "1.0.0",
            "API": "3.1",
            "Miner": "uart_trans.1.3",
            "CompileTime": "Fri Mar 10 11:20:30 CST 2023",
            "Type": self._miner.group.model,
        }
        return self._ok(22, "BMMiner versions", VERSION=[version])

    def _summary(self) -> JsonObject:
        ghs = round(self._report.rate_ths * 1000, 2)
        summary = {"Elapsed": int(self._report.uptime_s), "GHS 5s": ghs, "GHS av": ghs, "Accepted": 0}
        return self._ok(11, "Summary", SUMMARY=[summary])

    def _stats(self) -> JsonObject:
        report = self._report
        ghs = round(report.rate_ths * 1000, 2)
        header = {"BMMiner": "1.0.0", "Miner": "uart_trans.1.3", "Type": self._miner.group.model}
        stats: JsonObject = {
            "STATS": 0,
            "ID": "BTM_SOC0",
            "Elapsed": int(report.uptime_s),
            "GHS 5s": ghs,
            "rate_unit": "GH",
            "total_rateideal": round(self._miner.group.rated_ths * 1000, 2),
            "fan_num": 4,
            **chains(report, boards=BOARDS, chips=CHIPS_PER_BOARD, sensors_read=True),
            **{f"fan{number}": 0 if report.asleep else 4800 for number in range(1, 5)},
        }
        return self._ok(70, "BMMiner stats", STATS=[header, stats])

    def _pools(self) -> JsonObject:
        idle = self._report.state is MinerState.IDLE
        pools = [
            pool(
                str(entry.get("user", "")),
                alive=not idle and bool(entry.get("url")),
                url=str(entry.get("url", "")),
                number=number,
                working=number == 0 and not idle,
            )
            for number, entry in enumerate(self._conf["pools"])
            if isinstance(entry, dict)
        ]
        return self._ok(7, f"{len(pools)} Pool(s)", POOLS=pools)

    def _ok(self, code: int, message: str, **body: list[JsonObject]) -> JsonObject:
        return {
            "STATUS": status(code, message, when_s=self._now_s(), description="cgminer 1.0.0"),
            **body,
            "id": 1,
        }


def _json(body: JsonObject) -> HttpAnswer:
    return HttpAnswer(status=200, body=json.dumps(body).encode())
