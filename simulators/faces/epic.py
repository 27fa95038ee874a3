"""ePIC's PowerPlay on HTTP 4028: open reads, orders with the password in the body, and a tuner with targets.

The names are those of its own OpenAPI document (1.38.3), which publishes no word for a target out of range.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from simulators.faces.cgminer import EPOCH_S, JsonObject, mac_of
from simulators.faces.http import HttpAnswer, HttpRequest
from simulators.physics.curve import Curve
from simulators.physics.miner import Miner, MinerReport, MinerState

BOARDS = 3
CHIPS_PER_BOARD = 114
SENSOR_SPREAD_C = 12
HISTORY_S = 900
"""Every quarter of an hour it writes down what it hashed since the last one."""
BOARD_COOLER_C = 14
VERSION = "PowerPlay-BMS v1.38.3"
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
        self._last_command: str | None = None
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
        password = self._miner.group.password or "letmein"
        if self._miner.faults.wrong_password:
            password = f"{password}-changed"
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
        self._last_command = str(state).lower()
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
        self._last_command = None
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

    def _summary(self) -> JsonObject:
        report = self._report
        connected = report.state is not MinerState.IDLE
        user = f"site.{self._miner.id}"
        fan = 0 if report.asleep else 4800
        now, mhs = EPOCH_S + int(self._now_s()), round(report.rate_ths * 1e6, 2)
        return {
            "Status": {
                "Operating State": "Idling" if report.asleep else _OPERATING_STATE[report.state],
                "Last Command": self._last_command,
                "Last Command Result": None,
                "Last Error": "ShutdownTempReached" if report.state is MinerState.TRIPPED else None,
            },
            "Hostname": self._miner.id,
            "PresetInfo": {"Target Power": 0},
            "Software": VERSION,
            "OS Type": "linux",
            "Mining": {"Coin": "BTC", "Algorithm": "SHA256"},
            "Stratum": {
                "Config Id": 0,
                "Current Pool": "pool.example:3333",
                "Current User": user,
                "IsPoolConnected": connected,
                "Average Latency": 20.0,
                "Worker Unique Id": False,
                "Worker Unique Id Variant": "MacAddress",
            },
            "Session": {
                "Startup Timestamp": EPOCH_S,
                "Startup String": "",
                "Uptime": int(report.uptime_s),
                "Last Work Timestamp": now,
                "WorkReceived": 27,
                "Active HBs": 0 if report.asleep else BOARDS,
                "Average MHs": mhs,
                "LastAverageMHs": {"Hashrate": mhs, "Timestamp": now - now % HISTORY_S},
                "Accepted": 4210,
                "Rejected": 3,
                "Submitted": 4213,
                "Last Accepted Share Timestamp": now,
                "Difficulty": 65_536.0,
            },
            "HBs": [] if report.asleep else [self._board(report, board) for board in range(BOARDS)],
            "HBStatus": [
                {"Index": board, "Enabled": not report.asleep, "Detected": True} for board in range(BOARDS)
            ],
            "Fans": {"Fans Speed": 70, "Fan Mode": {"Auto": {"Target Temperature": 60, "Idle Speed": 20}}},
            "Fans Rpm": {f"Fans Speed {place}": fan for place in range(1, 5)},
            "Misc": {
                "Locate Miner State": False,
                "Shutdown Temp": self._miner.group.trip_c,
                "Critical Temp": self._miner.group.trip_c + 5,
            },
            "StratumConfigs": [{"pool": "stratum+tcp://pool.example:3333", "login": user, "password": "x"}],
            "PerpetualTune": {
                "Running": self._enabled,
                "Algorithm": self._targets() if self._enabled else {},
            },
            "Power Supply Stats": {
                "Input Voltage": 230.0,
                "Output Voltage": 0.0 if report.asleep else 13.4,
                "Input Current": round(report.watts / 230, 2),
                "Output Current": 0.0 if report.asleep else round(report.watts * 0.94 / 13.4, 2),
                "Input Power": round(report.watts, 2),
                "Output Power": 0.0 if report.asleep else round(report.watts * 0.94, 2),
                "Target Voltage": 13_400,
                "Temperature": [45],
            },
            "HwConfig": {"Boards Target Clock": [{"Index": board, "Data": 545.0} for board in range(BOARDS)]},
            "IdleOnConnectionLost": True,
        }

    def _board(self, report: MinerReport, board: int) -> JsonObject:
        watts = report.watts / BOARDS
        return {
            "Index": board,
            "Input Voltage": 13.4,
            "Output Voltage": 13.4,
            "Input Current": round(watts / 13.4, 2),
            "Output Current": round(watts / 13.4, 2),
            "Input Power": round(watts, 2),
            "Output Power": round(watts, 2),
            "Temperature": round(report.hottest_c, 1) - BOARD_COOLER_C,
            "Core Clock": [545.0],
            "Core Clock Avg": 545.0,
            "Hashrate": [round(report.rate_ths * 1e6 / BOARDS, 2), 100.0, 0.0],
        }


_OPERATING_STATE = {
    MinerState.HASHING: "Mining",
    MinerState.STARTING: "Initializing",
    MinerState.ASLEEP: "Idling",
    MinerState.IDLE: "Idling",
    MinerState.TRIPPED: "Idling",
    MinerState.REBOOTING: "Initializing",
    MinerState.DARK: "Initializing",
}


def _yes() -> JsonObject:
    return {"result": True, "error": None}


def _no(error: str | JsonObject) -> JsonObject:
    return {"result": False, "error": error}


def _json(body: object) -> HttpAnswer:
    return HttpAnswer(status=200, body=json.dumps(body).encode())
