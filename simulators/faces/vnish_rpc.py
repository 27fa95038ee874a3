"""VNish on TCP 4028: three commands for reading, and no other, not even the one that tells its version."""

from __future__ import annotations

from collections.abc import Callable

from simulators.faces.cgminer import JsonObject, command_of, joined, pool, status
from simulators.faces.particulars_aftermarket import VNISH_RPC_SUMMARY
from simulators.faces.vnish_pages import (
    BOARD_COOLER_C,
    BOARDS,
    CHAIN_MV,
    CHIPS_PER_BOARD,
    FANS,
    RATED_MHZ,
    VERSION,
    miner_state,
    miner_type,
)
from simulators.physics.miner import Miner, MinerReport, MinerState

DESCRIPTION = "cgminer 4.11.1"
ACCESS_DENIED = 45


class VnishRpc:
    trailer = b"\x00"

    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s

    def answer(self, request: JsonObject) -> JsonObject:
        command = command_of(request)
        return joined(command, self._one) if "+" in command else self._one(command)

    def failure(self, code: int, message: str) -> JsonObject:
        return {"STATUS": status(code, message, when_s=self._now_s(), kind="E"), "id": 1}

    def _one(self, command: str) -> JsonObject:
        reads = {"summary": self._summary, "stats": self._stats, "pools": self._pools}
        if command not in reads:
            return self.failure(ACCESS_DENIED, f"Access denied to '{command}' command")
        code, message, records = reads[command]()
        verdict = status(code, message, when_s=self._now_s(), description=DESCRIPTION)
        return {"STATUS": verdict, command.upper(): records, "id": 1}

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def _summary(self) -> tuple[int, str, list[JsonObject]]:
        """The rate of the last seconds is a text, and the average a number."""
        report = self._report
        rates = {"GHS 5s": _text(report.rate_ths * 1000), "GHS av": round(report.rate_ths * 1000, 2)}
        return 11, "Summary", [{**VNISH_RPC_SUMMARY, "Elapsed": int(report.uptime_s), **rates}]

    def _stats(self) -> tuple[int, str, list[JsonObject]]:
        report = self._report
        ghs = round(report.rate_ths * 1000, 2)
        mhz = 0.0 if report.asleep else round(RATED_MHZ * report.setting_w / self._miner.rated_w, 2)
        stats: JsonObject = {
            **dict.fromkeys(("STATS", "Calls", "Wait", "Max"), 0),
            "Min": 99_999_999.0,
            "ID": "BC50",
            "Elapsed": int(report.uptime_s),
            "GHS 5s": _text(ghs),
            "GHS av": ghs,
            "miner_count": BOARDS,
            "total_acn": BOARDS * CHIPS_PER_BOARD,
            "frequency": round(mhz),
            "total_freqavg": mhz,
            "total_rateideal": round(self._miner.group.rated_ths * 1000, 2),
            "total_rate": ghs,
            "rate_unit": "GH",
            "state": miner_state(report),
            "fan_num": FANS,
            "fan_mode": 0,
            "fan_pwm": 0 if report.asleep else 70,
            **{f"fan{number}": 0 if report.asleep else 4800 for number in range(1, FANS + 1)},
            "temp_num": BOARDS,
            "miner_version": VERSION,
            "build_version": VERSION,
        }
        for number in range(1, BOARDS + 1):
            stats |= self._chain(number, report, mhz)
        header = {"Cgminer": "4.11.1", "Miner": VERSION, "CompileTime": "", "Type": miner_type(self._miner)}
        return 70, "CGMiner stats", [header, stats]

    def _chain(self, number: int, report: MinerReport, mhz: float) -> JsonObject:
        """`temp` is the board, `temp2_` and `temp3_` the chips; ranges end with the warmest."""
        chip = 0 if report.asleep else round(report.hottest_c)
        board = max(0, chip - BOARD_COOLER_C)
        return {
            f"temp{number}": board,
            f"temp2_{number}": chip,
            f"temp3_{number}": chip,
            f"temp_pcb{number}": f"{max(0, board - 6)}-{board}",
            f"temp_chip{number}": f"{max(0, chip - 6)}-{chip}",
            f"chain_state{number}": miner_state(report),
            f"chain_acn{number}": CHIPS_PER_BOARD,
            f"chain_vol{number}": 0 if report.asleep else CHAIN_MV,
            f"freq_avg{number}": mhz,
            f"chain_rateideal{number}": round(self._miner.curve(report.setting_w) * 1000 / BOARDS, 2),
            f"chain_rate{number}": round(report.rate_ths * 1000 / BOARDS, 2),
            f"chain_hw{number}": 0,
            f"chain_acs{number}": "o" * CHIPS_PER_BOARD,
            f"chain_consumption{number}": 0 if report.asleep else round(report.watts / BOARDS),
        }

    def _pools(self) -> tuple[int, str, list[JsonObject]]:
        alive = self._report.state is not MinerState.IDLE
        kind = {"Type": 0, "Diff": "262K", "Has Vmask": True}
        fee = {**pool("DevFee", alive=True, url="DevFee", number=1, working=False), **kind, "Type": 1}
        return 7, "2 Pool(s)", [{**pool(f"site.{self._miner.id}", alive=alive), **kind}, fee]


def _text(ghs: float) -> str:
    return f"{ghs:.2f}"
