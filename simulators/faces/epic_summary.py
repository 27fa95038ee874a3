"""The summary of ePIC's PowerPlay, in which all that moves stands."""

from __future__ import annotations

from collections.abc import Callable

from simulators.faces.cgminer import EPOCH_S, JsonObject
from simulators.physics.miner import Miner, MinerReport, MinerState

VERSION = "PowerPlay-BMS v1.38.3"
BOARDS = 3
BOARD_COOLER_C = 14
HISTORY_S = 900
"""Every quarter of an hour it writes down what it hashed since the last one."""


class EpicSummary:
    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s
        self.last_command: str | None = None

    def summary(self, perpetual_tune: JsonObject) -> JsonObject:
        report = self._miner.report(self._now_s())
        connected = report.state is not MinerState.IDLE
        user = f"site.{self._miner.id}"
        fan = 0 if report.asleep else 4800
        now, mhs = EPOCH_S + int(self._now_s()), round(report.rate_ths * 1e6, 2)
        return {
            "Status": {
                "Operating State": "Idling" if report.asleep else _OPERATING_STATE[report.state],
                "Last Command": self.last_command,
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
            "PerpetualTune": perpetual_tune,
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
