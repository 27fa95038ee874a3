"""VNish on TCP 4028: three commands for reading, and no other, not even the one that tells its version."""

from __future__ import annotations

from collections.abc import Callable

from simulators.faces.cgminer import JsonObject, chains, command_of, joined, status
from simulators.faces.vnish import BOARD_COOLER_C, BOARDS, VERSION, miner_type
from simulators.physics.miner import Miner, MinerState

CHIPS_PER_BOARD = 114
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
        description = f"vnish {VERSION}"
        verdict = status(1, command, when_s=self._now_s(), description=description)
        return {"STATUS": verdict, command.upper(): reads[command](), "id": 1}

    def _summary(self) -> list[JsonObject]:
        report = self._miner.report(self._now_s())
        ghs = round(report.rate_ths * 1000, 2)
        return [{"Elapsed": int(report.uptime_s), "GHS 5s": ghs, "GHS av": ghs, "Accepted": 0}]

    def _stats(self) -> list[JsonObject]:
        """`temp` is the board and `temp2_` the chip."""
        report = self._miner.report(self._now_s())
        boards: JsonObject = {}
        for number in range(1, BOARDS + 1):
            boards[f"temp{number}"] = round(report.hottest_c) - BOARD_COOLER_C
            boards[f"temp2_{number}"] = round(report.hottest_c)
            boards[f"chain_acs{number}"] = "o" * CHIPS_PER_BOARD
        stats: JsonObject = {
            "STATS": 0,
            "ID": "BC50",
            "Elapsed": int(report.uptime_s),
            "total_rateideal": round(self._miner.group.rated_ths * 1000, 2),
            "rate_unit": "GH",
            **chains(report, boards=BOARDS, chips=CHIPS_PER_BOARD, sensors_read=not report.asleep),
            **boards,
            **{f"fan{number}": 0 if report.asleep else 4800 for number in range(1, 5)},
        }
        return [{"Miner": VERSION, "Type": miner_type(self._miner)}, stats]

    def _pools(self) -> list[JsonObject]:
        alive = self._miner.report(self._now_s()).state is not MinerState.IDLE
        pool = {
            "POOL": 0,
            "URL": "stratum+tcp://pool.example:3333",
            "User": f"site.{self._miner.id}",
            "Status": "Alive" if alive else "Dead",
            "Stratum Active": alive,
            "Accepted": 0,
            "Rejected": 0,
        }
        return [pool]
