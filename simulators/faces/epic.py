"""ePIC's PowerPlay on HTTP 4028: open reads, orders with the password in the body, and a tuner with targets.

The names are those of its own OpenAPI document (1.38.3), which publishes no word for a target out of range.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from simulators.faces.cgminer import JsonObject, mac_of
from simulators.faces.epic_summary import BOARD_COOLER_C, BOARDS, EpicSummary
from simulators.faces.http import HttpAnswer, HttpRequest
from simulators.physics.curve import Curve
from simulators.physics.miner import Miner, MinerReport

CHIPS_PER_BOARD = 114
SENSOR_SPREAD_C = 12
POWER_TUNE = "PowerTune"
HASHRATE_TUNERS = ("VoltageOptimizer", "ChipTune")
PAGE = b"<!doctype html><html><head><title>Miner Web Dashboard</title></head><body></body></html>"


class EpicDashboard:
    """The page on port 80, by which the machine is known."""

    def serve(self, _: HttpRequest) -> HttpAnswer:
        return HttpAnswer(status=200, body=PAGE, content_type="text/html")


class EpicApi:
    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s
        self._status = EpicSummary(miner, now_s)
        self._algorithm = HASHRATE_TUNERS[0]
        self._throttle: JsonObject = {"Min Throttle Target": 50, "Throttle Step": 5}
        self._enabled = True
        points = miner.points.values()
        self._ths_of = Curve([(point.power_w, point.ths) for point in points])
        self._watts_of = Curve([(point.ths, point.power_w) for point in points])

    # -- HTTP -------------------------------------------------------------------------------------------

    def serve(self, request: HttpRequest) -> HttpAnswer:
        path = request.target.partition("?")[0].strip("/")
        if request.method == "POST":
            return _json(self._order(path, request.body))
        reads: dict[str, Callable[[], object]] = {
            "summary": self._summary,
            "capabilities": self._capabilities,
            "network": self._network,
            "perpetualtune": self._perpetual_tune,
            "temps": lambda: self._sensors(BOARD_COOLER_C, 4),
            "temps/chip": lambda: self._sensors(0, CHIPS_PER_BOARD),
        }
        if path not in reads:
            return HttpAnswer(status=404, body=json.dumps(_no({"InvalidUrl": path})).encode())
        return _json(reads[path]())

    def _order(self, path: str, body: bytes) -> JsonObject:
        orders: dict[str, Callable[[object], JsonObject]] = {
            "miner": self._run,
            "perpetualtune": self._enable_tuner,
            "perpetualtune/algo": self._set_target,
            "reboot": self._reboot,
        }
        if path not in orders:
            return _no({"InvalidUrl": path})
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            return _no("MissingParam")
        if not isinstance(request, dict) or "param" not in request:
            return _no("MissingParam")
        password = self._miner.password("letmein")
        if request.get("password") != password:
            return _no("BadPassword")
        if self._miner.faults.refuses:
            return _no({"LastCmdStillPending": "Last command is still pending"})
        return orders[path](request["param"])

    # -- orders -----------------------------------------------------------------------------------------

    def _run(self, state: object) -> JsonObject:
        match state:
            case "Stop":
                self._miner.sleep()
            case "Autostart":
                self._miner.wake()
            case _:
                return _no("MissingParam")
        self._status.last_command = str(state).lower()
        return _yes()

    def _enable_tuner(self, enabled: object) -> JsonObject:
        if not isinstance(enabled, bool):
            return _no("MissingParam")
        self._enabled = enabled
        return _yes()

    def _set_target(self, param: object) -> JsonObject:
        """Enables the tuner as well."""
        given = param if isinstance(param, dict) else {}
        tuners = {tuner["algorithm"]: tuner for tuner in self._tuners()}
        tuner, target = tuners.get(str(given.get("algo"))), given.get("target")
        if tuner is None or isinstance(target, bool) or not isinstance(target, int):
            return _no("MissingParam")
        if not tuner["min"] <= target <= tuner["max"]:
            return _no({"UnknownError": f"target {target} is out of range"})
        self._algorithm, self._enabled = tuner["algorithm"], True
        for key, name in (("min_throttle", "Min Throttle Target"), ("throttle_step", "Throttle Step")):
            self._throttle[name] = given.get(key)
        self._miner.set_limit(target if self._algorithm == POWER_TUNE else self._watts_of(target))
        return _yes()

    def _reboot(self, _: object) -> JsonObject:
        self._status.last_command = None
        self._miner.reboot(self._now_s())
        return _yes()

    # -- readings ---------------------------------------------------------------------------------------

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def _tuners(self) -> list[JsonObject]:
        group = self._miner.group
        lowest, highest = group.lowest_limit_w, self._miner.rated_w
        watts = {"name": "Power Tune", "min": round(lowest), "max": round(highest)}
        least_ths = round(self._ths_of(lowest))
        ths = {"name": "Hash Rate Tune", "min": least_ths, "max": round(self._ths_of(highest))}
        power = [{"algorithm": POWER_TUNE, "description": "Watts", **watts}] if group.power_tune else []
        return [*power, *({"algorithm": name, "description": "TH/s", **ths} for name in HASHRATE_TUNERS)]

    def _targets(self) -> JsonObject:
        setting_w = self._report.setting_w
        in_watts = self._algorithm == POWER_TUNE
        target = {
            "Optimized": True,
            "Target": round(setting_w if in_watts else self._ths_of(setting_w)),
            "Throttle Target": None,
            "Unit": "W" if in_watts else "TH/s",
            **self._throttle,
        }
        return {self._algorithm: target}

    def _perpetual_tune(self) -> JsonObject:
        return {
            "Enable": self._enabled,
            "Running": self._enabled and not self._report.asleep,
            "Enable Error Throttle": False,
            "Current Algorithm": self._algorithm,
            "Algorithms": self._targets(),
        }

    def _summary(self) -> JsonObject:
        tuned = self._targets() if self._enabled else {}
        return self._status.summary({"Running": self._enabled, "Algorithm": tuned})

    def _capabilities(self) -> JsonObject:
        serial = self._miner.serial
        return {
            "Model": self._miner.group.model,
            "Model Subtype": "BHB42601",
            "Chip Type": "BM1362",
            "Board Serial Numbers": [f"{serial}{board}" for board in range(BOARDS)],
            "Control Board Version": {
                "cpuHardware": "Xilinx Zynq",
                "cpuSerial": serial,
                "platform": "Xilinx",
            },
            "Miner Serial Number": serial,
            "Default Clock": 545,
            "Default Hashrate": round(self._miner.group.rated_ths),
            "Default Voltage": 13_400,
            "Chips Per Bank": 3,
            "Max HBs": BOARDS,
            "Max Clock Configs": 4,
            "Coins": ["BTC"],
            "Display": ["BTC"],
            "Performance Estimator": {"Chip Count": CHIPS_PER_BOARD, "Hashes Per Second Per Chip": 600.0},
            "PerpetualTune": self._tuners(),
            "Psu Info": {
                "PSU Type": 117,
                "FW": 4,
                "Min Vout": 11_877,
                "Max Vout": 15_182,
                "True Power": True,
            },
            "Temp Sensor Info": {"Type": "Chip", "Count": CHIPS_PER_BOARD},
            "Tune Presets": [],
        }

    def _network(self) -> JsonObject:
        address = {"address": self._miner.address, "netmask": "255.0.0.0", "gateway": "127.0.0.1"}
        dns = {"dns": "127.0.0.1", "dns2": "127.0.0.1"}
        return {"dhcp": {**address, **dns, "mac_address": mac_of(self._miner.serial)}}

    def _sensors(self, cooler_c: int, sensors: int) -> list[JsonObject]:
        """Each board is a little cooler than the one before it."""
        hot = round(self._report.hottest_c, 1) - cooler_c
        if self._report.asleep:
            return [{"Index": board, "Data": []} for board in range(BOARDS)]
        spread = SENSOR_SPREAD_C / sensors
        return [
            {"Index": board, "Data": [round(hot - board - spread * place, 1) for place in range(sensors)]}
            for board in range(BOARDS)
        ]


def _yes() -> JsonObject:
    return {"result": True, "error": None}


def _no(error: str | JsonObject) -> JsonObject:
    return {"result": False, "error": error}


def _json(body: object) -> HttpAnswer:
    return HttpAnswer(status=200, body=json.dumps(body).encode())
