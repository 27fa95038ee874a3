"""MaraFW on an Antminer: digest HTTP on port 80, where its whole configuration is read and written as one.

TCP 4028 tells who it is, and how much it hashes.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from simulators.faces.cgminer import EPOCH_S, JsonObject, command_of, status
from simulators.faces.http import HttpAnswer, HttpRequest, digest_challenge, digest_proves
from simulators.faces.marafw_readings import MaraReadings
from simulators.physics.miner import Miner

REALM = "antMiner Configuration"
API = "/kaonsu/v1/"
SLEEP = "Sleep"
WORK_MODES = ("Auto", "Fixed", "Stock", SLEEP)
HISTORY_ENTRIES = 32
INVALID_COMMAND = 14


class MaraApi:
    """Both interfaces of one machine."""

    trailer = b"\x00"

    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s
        self._config: JsonObject = {
            "mode": {
                "work-mode-selector": "Fixed",
                "concorde": {"mode-select": "PowerTarget", "power-target": round(miner.rated_w)},
                "fixed": {"frequency": "600", "voltage": 13.5},
            },
            "pools": [{"url": "stratum+tcp://pool.example:3333", "user": f"site.{miner.id}", "gid": 0}],
            "fan": {"fan-mode": "Auto"},
        }
        self._history: list[JsonObject] = []
        self._readings = MaraReadings(miner, now_s)

    def serve(self, request: HttpRequest) -> HttpAnswer:
        if not self._proves(request):
            return HttpAnswer(
                status=401,
                body=b"<html><head><title>401 - Unauthorized</title></head></html>",
                content_type="text/html",
                authenticate=digest_challenge(REALM, self._miner.serial),
            )
        name = request.target.partition("?")[0].removeprefix(API)
        if request.method == "POST":
            return self._post(name, request.body)
        pages: dict[str, Callable[[], object]] = {
            "brief": lambda: self._readings.brief(work_mode=self._config["mode"]["work-mode-selector"]),
            "overview": self._readings.overview,
            "hashboards": self._readings.hashboards,
            "fans": self._readings.fans,
            "pools": self._readings.pools,
            "details": self._readings.details,
            "event_chart": lambda: {"event_flags": []},
            "locate_miner": lambda: {"blinking": False},
            "miner_config": lambda: self._config,
            "network_config": lambda: {"hostname": self._miner.id},
            "log": lambda: self._history,
        }
        if name not in pages or not request.target.startswith(API):
            return HttpAnswer(status=404, body=b"<html>404 - Not Found</html>", content_type="text/html")
        return _json(pages[name]())

    def _proves(self, request: HttpRequest) -> bool:
        password = self._miner.password("root")
        return digest_proves(request, user="root", password=password, realm=REALM, nonce=self._miner.serial)

    # -- orders -----------------------------------------------------------------------------------------

    def _post(self, name: str, body: bytes) -> HttpAnswer:
        try:
            posted = json.loads(body)
        except (ValueError, RecursionError):
            posted = None
        if self._miner.faults.refuses or not isinstance(posted, dict):
            return _json({"error": True, "msg": "rejected"})
        match name, posted:
            case "miner_config", {"mode": {"work-mode-selector": str(mode)}} if mode in WORK_MODES:
                self._configure(posted, mode)
            case "maintenance", {"type": "reboot"}:
                self._miner.reboot(self._now_s())
            case _:
                return _json({"error": True, "msg": "bad request"})
        return _json({"error": False, "msg": "success"})

    def _configure(self, posted: JsonObject, mode: str) -> None:
        before = self._config["mode"]["work-mode-selector"]
        if mode != before:
            change = {"type": "update", "path": ["Mode", "WorkModeSelector"], "from": before, "to": mode}
            self._history = [*self._history[-HISTORY_ENTRIES:], {str(EPOCH_S + int(self._now_s())): [change]}]
        self._config = posted
        pools = posted.get("pools")
        usable = isinstance(pools, list) and any(isinstance(pool, dict) and pool.get("url") for pool in pools)
        self._miner.set_pools(usable=usable)
        if mode == SLEEP:
            self._miner.sleep()
        else:
            self._miner.wake()

    # -- TCP 4028 ---------------------------------------------------------------------------------------

    def answer(self, request: JsonObject) -> JsonObject:
        reads = {
            "version": self._readings.version,
            "summary": self._readings.summary,
            "stats": self._readings.stats,
            "devs": self._readings.devs,
            "pools": self._readings.rpc_pools,
        }
        command = command_of(request)
        if command not in reads:
            return self.failure(INVALID_COMMAND, "Invalid command")
        code, message, records = reads[command]()
        verdict = status(code, message, when_s=self._now_s(), description="cgminer 1.0.0")
        return {"STATUS": verdict, command.upper(): records, "id": 1}

    def failure(self, code: int, message: str) -> JsonObject:
        return {"STATUS": status(code, message, when_s=self._now_s(), kind="E"), "id": 1}


def _json(body: object) -> HttpAnswer:
    return HttpAnswer(status=200, body=json.dumps(body).encode())
