"""VNish on HTTP 80: a JSON API behind a token that runs out.

A preset that the machine is not tuned for is accepted like any other, and changes nothing.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

from simulators.faces.cgminer import JsonObject, mac_of
from simulators.faces.http import HttpAnswer, HttpRequest
from simulators.physics.miner import Miner, MinerReport, MinerState

VERSION = "1.2.6"
API = "/api/v1/"
TOKEN_LIFE_S = 1800.0
MAX_TOKENS = 16
BOARDS = 3
BOARD_COOLER_C = 15
UNTUNED_W = 1000
PAGE = b"<!doctype html><html><head><title>AnthillOS</title></head><body></body></html>"


class VnishApi:
    """Presets are named by their watts, as the firmware does."""

    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s
        self._tokens: dict[str, float] = {}
        self._boots = miner.boots
        self._presets = {f"{point.power_w:.0f}": point for point in miner.points.values()}
        self._overclock: JsonObject = {
            "modded_psu": False,
            "globals": {"volt": 1380, "freq": 645},
            "chains": [{"freq": 645, "disabled": False} for _ in range(BOARDS)],
            "preset_switcher": {"enabled": False, "top_preset": None, "rise_temp": 55, "decrease_temp": 75},
        }

    # -- HTTP -------------------------------------------------------------------------------------------

    def serve(self, request: HttpRequest) -> HttpAnswer:
        self._notice_boot()
        path = request.target.partition("?")[0]
        if not path.startswith(API):
            return HttpAnswer(status=200, body=PAGE, content_type="text/html")
        name = path.removeprefix(API)
        if request.method == "POST" and name == "unlock":
            return self._unlock(request.body)
        open_to_all: dict[str, Callable[[], object]] = {
            "info": self._info,
            "status": self._status_pane,
            "perf-summary": self._perf_summary,
            "chains": list,
            "chains/factory-info": self._factory_info,
        }
        if request.method == "GET" and name in open_to_all:
            return _json(open_to_all[name]())
        if not self._unlocked(request):
            return _refusal(401, "Unauthorized")
        return self._order(name, request.body) if request.method == "POST" else self._read(name)

    def _notice_boot(self) -> None:
        if self._boots != self._miner.boots:
            self._boots = self._miner.boots
            self._tokens.clear()

    def _unlock(self, body: bytes) -> HttpAnswer:
        password = self._miner.group.password or "admin"
        if self._miner.faults.wrong_password:
            password = f"{password}-changed"
        if _object(body).get("pw") != password:
            return _refusal(403, "Wrong password")
        now_s = self._now_s()
        self._tokens = {token: until_s for token, until_s in self._tokens.items() if until_s > now_s}
        while len(self._tokens) >= MAX_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        token = secrets.token_urlsafe(24)
        self._tokens[token] = now_s + TOKEN_LIFE_S
        return _json({"token": token})

    def _unlocked(self, request: HttpRequest) -> bool:
        """Clients write the token bare, or as a bearer's."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self._tokens.get(token, -1.0) > self._now_s()

    def _read(self, name: str) -> HttpAnswer:
        pages: dict[str, Callable[[], object]] = {
            "summary": self._web_summary,
            "settings": self._settings,
            "autotune/presets": self._preset_list,
        }
        return _json(pages[name]()) if name in pages else _refusal(404, "Not found")

    # -- orders -----------------------------------------------------------------------------------------

    def _order(self, name: str, body: bytes) -> HttpAnswer:
        orders: dict[str, Callable[[], HttpAnswer]] = {
            "mining/stop": self._stop,
            "mining/pause": self._stop,
            "mining/start": self._start,
            "mining/resume": self._start,
            "mining/restart": lambda: _json({}),
            "settings": lambda: self._save(_object(body)),
            "system/reboot": self._reboot,
            "find-miner": lambda: _json({"on": True}),
        }
        if name not in orders:
            return _refusal(404, "Not found")
        if self._miner.faults.refuses:
            return _refusal(500, "CGMiner err: Cgminer error not-ready ")
        return orders[name]()

    def _stop(self) -> HttpAnswer:
        if self._report.asleep:
            return _refusal(500, "CGMiner err: Cgminer error failed-to-activate-pause-mode ")
        self._miner.sleep()
        return _json({})

    def _start(self) -> HttpAnswer:
        if not self._report.asleep:
            return _refusal(500, "CGMiner err: Cgminer error failed-to-activate-resume-mode ")
        self._miner.wake()
        return _json({})

    def _save(self, posted: JsonObject) -> HttpAnswer:
        """What is not sent stays as it was. The answer is the same whether or not anything was changed."""
        miner = posted.get("miner")
        overclock = miner.get("overclock") if isinstance(miner, dict) else None
        if isinstance(overclock, dict):
            self._overclock |= {key: overclock[key] for key in self._overclock if key in overclock}
            preset = self._presets.get(str(overclock.get("preset")))
            if preset is not None:
                self._miner.set_point(preset.name)
        return _json({"restart_required": False, "reboot_required": False})

    def _reboot(self) -> HttpAnswer:
        self._miner.reboot(self._now_s())
        return _json({"after": 3})

    # -- readings ---------------------------------------------------------------------------------------

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def _network(self) -> JsonObject:
        mac = mac_of(self._miner.serial)
        return {"mac": mac, "dhcp": True, "ip": self._miner.address, "hostname": self._miner.id}

    def _info(self) -> JsonObject:
        return {
            "miner": self._miner.group.model,
            "model": self._miner.group.model.removeprefix("Antminer ").replace(" ", "").lower(),
            "fw_name": "Vnish",
            "fw_version": VERSION,
            "platform": "xil",
            "install_type": "nand",
            "algorithm": "sha256d",
            "hr_measure": "GH/s",
            "system": {"os": "GNU/Linux", "network_status": self._network(), "uptime": "0:06"},
            "serial": "N/A",
        }

    def _miner_status(self) -> JsonObject:
        report = self._report
        state = "stopped" if report.asleep else _STATES[report.state]
        return {"miner_state": state, "miner_state_time": int(report.uptime_s)}

    def _status_pane(self) -> JsonObject:
        flags = {"find_miner": False, "restart_required": False, "reboot_required": False, "unlocked": False}
        return self._miner_status() | flags

    def _perf_summary(self) -> JsonObject:
        current = self._preset(self._preset_name(), tuned=True)
        return {"current_preset": current, "preset_switcher": self._overclock["preset_switcher"]}

    def _factory_info(self) -> JsonObject:
        return {"hr_stock": round(self._miner.group.rated_ths * 1000), "psu_model": None, "chains": None}

    def _preset_name(self) -> str:
        point = self._report.point
        return next(name for name, preset in self._presets.items() if preset.name == point)

    def _preset(self, name: str, *, tuned: bool) -> JsonObject:
        ths = self._presets[name].ths if name in self._presets else self._miner.group.rated_ths / 3
        return {
            "name": name,
            "pretty": f"{name} watt ~ {ths:.0f} TH",
            "status": "tuned" if tuned else "untuned",
            "modded_psu_required": False,
        }

    def _preset_list(self) -> list[JsonObject]:
        manual = {
            "name": "disabled",
            "pretty": "Disabled",
            "status": "untuned",
            "modded_psu_required": False,
        }
        tuned = [self._preset(name, tuned=True) for name in self._presets]
        return [manual, self._preset(str(UNTUNED_W), tuned=False), *tuned]

    def _settings(self) -> JsonObject:
        overclock = {**self._overclock, "preset": self._preset_name()}
        return {"miner": {"overclock": overclock, "pools": []}, "regional": {}, "ui": {}}

    def _web_summary(self) -> JsonObject:
        report = self._report
        hot = 0 if report.asleep else round(report.hottest_c)
        ghs = report.rate_ths * 1000
        summary = {
            "miner_status": self._miner_status(),
            "miner_type": miner_type(self._miner),
            "hr_stock": round(self._miner.group.rated_ths * 1000, 2),
            "average_hashrate": round(report.rate_ths, 2),
            "instant_hashrate": round(report.rate_ths, 2),
            "hr_realtime": round(ghs, 2),
            "hr_nominal": round(self._miner.curve(report.setting_w) * 1000, 2),
            "pcb_temp": _span(hot - BOARD_COOLER_C),
            "chip_temp": _span(hot),
            "power_consumption": round(report.watts),
            "power_usage": round(report.watts),
            "power_efficiency": round(report.watts / report.rate_ths, 1) if report.rate_ths else 0.0,
            "pools": self._web_pools(),
            "cooling": self._cooling(),
            "chains": [] if report.asleep else [self._chain(at, ghs, hot) for at in range(1, BOARDS + 1)],
        }
        return {"miner": summary}

    def _chain(self, number: int, ghs: float, hot: int) -> JsonObject:
        return {
            "id": number,
            "frequency": 645.0,
            "hashrate_rt": round(ghs / BOARDS, 2),
            "pcb_temp": _span(hot - BOARD_COOLER_C - number),
            "chip_temp": _span(hot - number + 1),
            "status": {"state": "mining"},
        }

    def _web_pools(self) -> list[JsonObject]:
        working = "offline" if self._report.state is MinerState.IDLE else "working"
        own = {"id": 0, "url": "pool.example:3333", "user": f"site.{self._miner.id}", "status": working}
        return [own, {"id": 1, "url": "DevFee", "user": "DevFee", "status": "working"}]

    def _cooling(self) -> JsonObject:
        rpm = 0 if self._report.asleep else 4800
        fans = [{"id": index, "rpm": rpm, "status": "ok", "max_rpm": 6000} for index in range(4)]
        return {"fan_num": 4, "fans": fans, "fan_duty": 0 if self._report.asleep else 70}


def miner_type(miner: Miner) -> str:
    return f"{miner.group.model} (Vnish {VERSION})"


def _span(hottest: int) -> JsonObject:
    return {"min": max(0, hottest - 6), "max": max(0, hottest)}


def _object(body: bytes) -> JsonObject:
    try:
        posted = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return posted if isinstance(posted, dict) else {}


def _json(body: object) -> HttpAnswer:
    return HttpAnswer(status=200, body=json.dumps(body).encode())


def _refusal(status_code: int, why: str) -> HttpAnswer:
    return HttpAnswer(status=status_code, body=json.dumps({"err": why}).encode())


_STATES = {
    MinerState.HASHING: "mining",
    MinerState.STARTING: "initializing",
    MinerState.ASLEEP: "stopped",
    MinerState.IDLE: "mining",
    MinerState.TRIPPED: "failure",
    MinerState.REBOOTING: "restarting",
    MinerState.DARK: "restarting",
}
