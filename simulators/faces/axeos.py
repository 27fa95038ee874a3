"""AxeOS, as on a Bitaxe: everything it says is one page on HTTP 80, and nothing stops it but a reboot."""

from __future__ import annotations

import json
from collections.abc import Callable

from simulators.faces.cgminer import JsonObject, mac_of
from simulators.faces.http import HttpAnswer, HttpRequest
from simulators.physics.miner import Miner

VERSION = "v2.9.0"
PAGE = b"<!doctype html><html><head><title>AxeOS</title></head><body></body></html>"
FREQUENCY_MHZ = 525
REGULATOR_COOLER_C = 6


class AxeosApi:
    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s

    def serve(self, request: HttpRequest) -> HttpAnswer:
        match request.method, request.target.partition("?")[0]:
            case "GET", "/":
                return HttpAnswer(status=200, body=PAGE, content_type="text/html")
            case "GET", "/api/system/info":
                return _json(self._info())
            case "GET", "/api/system/asic":
                return _json({"ASICModel": self._miner.group.model, "asicCount": 1})
            case "POST", "/api/system/restart":
                self._miner.reboot(self._now_s())
                return HttpAnswer(status=200, body=b"System will restart shortly.", content_type="text/plain")
            case "PATCH", "/api/system":
                return HttpAnswer(status=200)
            case _:
                return HttpAnswer(status=404)

    def _info(self) -> JsonObject:
        report = self._miner.report(self._now_s())
        cores = self._miner.group.rated_ths * 1e6 / FREQUENCY_MHZ
        return {
            "power": report.watts,
            "voltage": 5150.0,
            "temp": report.hottest_c,
            "vrTemp": report.hottest_c - REGULATOR_COOLER_C,
            "hashRate": report.rate_ths * 1000,
            "expectedHashrate": self._miner.group.rated_ths * 1000,
            "ASICModel": self._miner.group.model,
            "asicCount": 1,
            "smallCoreCount": round(cores),
            "frequency": FREQUENCY_MHZ,
            "coreVoltage": 1150,
            "macAddr": mac_of(self._miner.serial),
            "hostname": self._miner.id,
            "ipv4": self._miner.address,
            "version": VERSION,
            "boardVersion": "601",
            "uptimeSeconds": int(report.uptime_s),
            "fanspeed": 70,
            "fanrpm": 4800,
            "overheat_mode": 0,
            "sharesAccepted": 0,
            "sharesRejected": 0,
            "stratumURL": "pool.example",
            "stratumPort": 3333,
            "stratumUser": f"site.{self._miner.id}",
            "isUsingFallbackStratum": 0,
        }


def _json(body: JsonObject) -> HttpAnswer:
    return HttpAnswer(status=200, body=json.dumps(body).encode())
