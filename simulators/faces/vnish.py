"""VNish on HTTP 80: a JSON API behind a token that runs out.

A preset that the machine is not tuned for is accepted like any other, and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from simulators.faces.cgminer import JsonObject
from simulators.faces.http import HttpAnswer, HttpRequest
from simulators.faces.tokens import Tokens
from simulators.faces.vnish_pages import VnishPages
from simulators.physics.miner import Miner, MinerReport

API = "/api/v1/"
TOKEN_LIFE_S = 1800.0
MAX_TOKENS = 16
PAGE = b"<!doctype html><html><head><title>AnthillOS</title></head><body></body></html>"


class VnishApi:
    """Presets are named by their watts, as the firmware does."""

    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s
        self._tokens = Tokens(now_s, life_s=TOKEN_LIFE_S, most=MAX_TOKENS)
        self._boots = miner.boots
        self._pages = VnishPages(miner, now_s)

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
            "info": self._pages.info,
            "status": self._pages.status_pane,
            "perf-summary": self._pages.perf_summary,
            "chains": self._pages.chains,
            "chains/factory-info": self._pages.factory_info,
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
        password = self._miner.password("admin")
        if _object(body).get("pw") != password:
            return _refusal(403, "Wrong password")
        return _json({"token": self._tokens.issue()})

    def _unlocked(self, request: HttpRequest) -> bool:
        """Clients write the token bare, or as a bearer's."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self._tokens.holds(token)

    def _read(self, name: str) -> HttpAnswer:
        pages: dict[str, Callable[[], object]] = {
            "summary": self._pages.summary,
            "settings": self._pages.settings,
            "autotune/presets": self._pages.preset_list,
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
            known = self._pages.overclock
            known |= {key: overclock[key] for key in known if key in overclock}
            preset = self._pages.presets.get(str(overclock.get("preset")))
            if preset is not None:
                self._miner.set_point(preset.name)
        return _json({"restart_required": False, "reboot_required": False})

    def _reboot(self) -> HttpAnswer:
        self._miner.reboot(self._now_s())
        return _json({"after": 3})

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())


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
