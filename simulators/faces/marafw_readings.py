"""What MaraFW tells of a machine, over HTTP and on TCP 4028.

Rates over HTTP are TH/s, as `hashrate_unit` says, but those of boards and the ideal one are GH/s.
"""

from __future__ import annotations

from collections.abc import Callable

from simulators.faces.cgminer import POOL, JsonObject, boards_as_stock, mac_of, pool
from simulators.faces.particulars_aftermarket import MARA_STATS, MARA_SUMMARY
from simulators.physics.miner import Miner, MinerReport, MinerState

FIRMWARE = "2026.03.2"
BOARDS = 3
CHIPS_PER_BOARD = 114
FANS = 4
MAX_RPM = 6900
FAN_W = 19.7
BOARD_COOLER_C = 12
RATED_MHZ = 600
PARKED_MHZ = 50
CHAIN_V = 13.5
RATES = ("hashrate_realtime", "hashrate_realtime_1h", "hashrate_realtime_1d", "hashrate_average")

Records = tuple[int, str, list[JsonObject]]
"""Code, message and records of an answer on TCP 4028."""


class MaraReadings:
    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def _mhz(self, report: MinerReport) -> int:
        return PARKED_MHZ if report.asleep else round(RATED_MHZ * report.setting_w / self._miner.rated_w)

    # -- HTTP -------------------------------------------------------------------------------------------

    def brief(self, *, work_mode: str) -> JsonObject:
        report = self._report
        hot = round(report.hottest_c, 3)
        return {
            "elapsed": int(report.uptime_s),
            "hashrate_unit": "TH/s",
            **dict.fromkeys(RATES, round(report.rate_ths, 3)),
            **dict.fromkeys(("hashrate_sales", "hashrate_stock"), round(self._miner.group.rated_ths, 1)),
            "hashrate_ideal": round(self._miner.group.rated_ths * 1000, 1),
            "power_consumption_estimated": round(report.watts),
            "power_indicator": 0,
            "power_source": "EST" if report.asleep else "PSU",
            "status": "Sleep" if report.asleep else "Mining",
            "status_long": "Sleeping..." if report.asleep else "Mining...",
            "indicator": "Fully functional",
            "indicator_long": "",
            "temperature_max": hot,
            "temperature_average": hot - 7,
            "temperature_min": hot - BOARD_COOLER_C,
            "work_mode": work_mode,
        }

    def overview(self) -> JsonObject:
        return {
            "model": self._miner.group.model,
            "model_extended": f"{self._miner.group.model} ({self._miner.group.rated_ths:.1f}TH)",
            "mac": mac_of(self._miner.serial),
            "version_firmware": FIRMWARE,
            "control_board": "AMLogic",
            "is_one_shot_firmware": False,
        }

    def hashboards(self) -> JsonObject:
        report = self._report
        hot = round(report.hottest_c)
        boards = [
            {
                **self._board(index, report),
                "hashrate_average": round(report.rate_ths * 1000 / BOARDS, 2),
                "hashrate_realtime_10m": round(report.rate_ths * 1000 / BOARDS, 2),
                "asic_num_ideal": CHIPS_PER_BOARD,
                "power_consumption_estimated": 0 if report.asleep else round(report.watts / BOARDS, 1),
                "present": True,
                "temperature_pcb": [hot - BOARD_COOLER_C] * 4,
                "temperature_chip": [hot] * 4,
                "temperature_raw": [hot - BOARD_COOLER_C - 10] * 4,
            }
            for index in range(BOARDS)
        ]
        return {
            "frequency_average": self._mhz(report),
            "hashboard_num": BOARDS,
            "hashboard_num_ideal": BOARDS,
            "hashboards": boards,
        }

    def details(self) -> JsonObject:
        report = self._report
        ghs = round(report.rate_ths * 1000 / BOARDS, 2)
        volts = 0.0 if report.asleep else CHAIN_V
        chip = {
            "hashrate_avg": round(ghs / CHIPS_PER_BOARD, 3),
            "voltage": round(volts / CHIPS_PER_BOARD, 3),
            "frequency": self._mhz(report),
        }
        return {
            "hashboard_infos": [
                {
                    **self._board(index, report),
                    "hashrate_avg": ghs,
                    "voltage": volts,
                    "asic_infos": [{"index": at, **chip} for at in range(CHIPS_PER_BOARD)],
                }
                for index in range(BOARDS)
            ]
        }

    def _board(self, index: int, report: MinerReport) -> JsonObject:
        return {
            "index": index,
            "asic_num": CHIPS_PER_BOARD,
            "serial_number": f"{self._miner.serial}{index}",
            "frequency_average": self._mhz(report),
            "hashrate_ideal": round(self._miner.curve(report.setting_w) * 1000 / BOARDS, 2),
        }

    def fans(self) -> JsonObject:
        asleep = self._report.asleep
        fan = {
            "current_speed": 0 if asleep else 4800,
            "max_speed": MAX_RPM,
            "power_consumption": 0 if asleep else FAN_W,
        }
        return {
            "error": False,
            "error_description": "",
            "fans": [{"index": index, **fan} for index in range(FANS)],
            "percent": 0 if asleep else 70,
            "profile": "AirCooling",
            "total_power_consumption": 0 if asleep else FANS * FAN_W,
        }

    def pools(self) -> list[JsonObject]:
        alive = self._report.state is not MinerState.IDLE
        first = {"index": 0, "priority": 0, "url": POOL, "user": f"site.{self._miner.id}"}
        shares = {"accepted": 4210, "rejected": 3, "stale": 0, "discarded": 0}
        return [{**first, "status": "Alive" if alive else "Dead", **shares}]

    # -- TCP 4028 ---------------------------------------------------------------------------------------

    def version(self) -> Records:
        model = self._miner.group.model
        return 22, "CGMiner versions", [{"BMMiner": f"kaonsu {FIRMWARE}", "Type": model, "Model": model}]

    def summary(self) -> Records:
        report = self._report
        rates = dict.fromkeys(("GHS 5s", "GHS 30m", "GHS av"), round(report.rate_ths * 1000, 2))
        return 11, "Summary", [{**MARA_SUMMARY, "Elapsed": int(report.uptime_s), **rates}]

    def stats(self) -> Records:
        report, mhz = self._report, self._mhz(self._report)
        rates = dict.fromkeys(("GHS 5s", "GHS av", "rate_30m"), round(report.rate_ths * 1000, 2))
        boards = boards_as_stock(report, boards=BOARDS, chips=CHIPS_PER_BOARD, sensors_read=True, mhz=mhz)
        stats: JsonObject = {
            **MARA_STATS,
            "Elapsed": int(report.uptime_s),
            **rates,
            **dict.fromkeys(("frequency", "total_freqavg"), mhz),
            "total_rateideal": round(self._miner.curve(report.setting_w) * 1000, 2),
            "total_acn": BOARDS * CHIPS_PER_BOARD,
            **boards,
            **{f"fan{number}": 0 if report.asleep else 4800 for number in range(1, FANS + 1)},
        }
        return 70, "CGMiner stats", [{"BMMiner": FIRMWARE, "Type": self._miner.group.model}, stats]

    def devs(self) -> Records:
        report = self._report
        rates = dict.fromkeys(("MHS av", "MHS 5s"), round(report.rate_ths * 1e6 / BOARDS, 2))
        shares = {"Accepted": 1403, "Rejected": 1, "Hardware Errors": 0}
        board = {"Temperature": round(report.hottest_c) - BOARD_COOLER_C, **rates, **shares}
        return 9, f"{BOARDS} ASC(s)", [{"ASC": index, "ID": index, **board} for index in range(BOARDS)]

    def rpc_pools(self) -> Records:
        alive = self._report.state is not MinerState.IDLE
        only = {**pool(f"site.{self._miner.id}", alive=alive), "Diff": "262K"}
        return 7, "1 Pool(s)", [only]
