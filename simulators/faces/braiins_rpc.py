"""The older API of Braiins OS+ on TCP 4028, of which reads are left, and what both interfaces share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulators.faces.cgminer import JsonObject, command_of, joined, status
from simulators.physics.miner import Miner, MinerReport, MinerState

BOARDS = 3
CHIPS_PER_BOARD = 114
VERSION = "2026-03-01-0-abcd1234-26.03-plus"
INVALID_COMMAND = 14


@dataclass(frozen=True, slots=True)
class Firmware:
    miner: Miner
    now_s: Callable[[], float]

    @property
    def report(self) -> MinerReport:
        return self.miner.report(self.now_s())


class BraiinsRpc:
    trailer = b"\x00"

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware

    def answer(self, request: JsonObject) -> JsonObject:
        command = command_of(request)
        return joined(command, self._one) if "+" in command else self._one(command)

    def failure(self, code: int, message: str) -> JsonObject:
        return {"STATUS": self._status(code, message, kind="E"), "id": 1}

    def _one(self, command: str) -> JsonObject:
        reads = {
            "version": self._version,
            "devdetails": self._devdetails,
            "summary": self._summary,
            "devs": self._devs,
            "tunerstatus": self._tunerstatus,
            "pools": self._pools,
        }
        return reads[command]() if command in reads else self.failure(INVALID_COMMAND, "Invalid command")

    def _version(self) -> JsonObject:
        return self._ok(22, "BOSer versions", VERSION=[{"API": "3.7", "BOSer": f"boser-{VERSION}"}])

    def _devdetails(self) -> JsonObject:
        details = [
            {
                "DEVDETAILS": index,
                "Name": "",
                "ID": index,
                "Driver": "",
                "Kernel": "",
                "Model": self._firmware.miner.group.model,
                "Device Path": "",
                "Chips": CHIPS_PER_BOARD,
                "Frequency": 545,
                "Voltage": 13.4,
            }
            for index in range(BOARDS)
        ]
        return self._ok(69, "Device Details", DEVDETAILS=details)

    def _summary(self) -> JsonObject:
        report = self._firmware.report
        mhs = round(report.rate_ths * 1e6, 2)
        summary = {"Elapsed": int(report.uptime_s), "MHS 5s": mhs, "MHS 1m": mhs, "MHS av": mhs}
        return self._ok(11, "Summary", SUMMARY=[summary])

    def _devs(self) -> JsonObject:
        report = self._firmware.report
        mhs = round(report.rate_ths * 1e6 / BOARDS, 2)
        devs = [
            {"ASC": index, "ID": index + 1, "Enabled": "Y", "Status": "Alive", "MHS 5s": mhs, "MHS 1m": mhs}
            for index in range(BOARDS)
        ]
        return self._ok(9, f"{BOARDS} ASC(s)", DEVS=devs)

    def _tunerstatus(self) -> JsonObject:
        report = self._firmware.report
        chains = [
            {"HashchainIndex": index + 1, "Status": "Stable", "TunerRunning": True} for index in range(BOARDS)
        ]
        tuner = {
            "ApproximateMinerPowerConsumption": round(report.watts),
            "PowerLimit": round(report.setting_w),
            "TunerChainStatus": chains,
        }
        return self._ok(201, "Tuner Status", TUNERSTATUS=[tuner])

    def _pools(self) -> JsonObject:
        alive = self._firmware.report.state is not MinerState.IDLE
        pool = {
            "POOL": 0,
            "URL": "stratum+tcp://pool.example:3333",
            "User": f"site.{self._firmware.miner.id}",
            "Status": "Alive" if alive else "Dead",
            "Stratum Active": alive,
            "Accepted": 0,
            "Rejected": 0,
        }
        return self._ok(7, "1 Pool(s)", POOLS=[pool])

    def _ok(self, code: int, message: str, **body: list[JsonObject]) -> JsonObject:
        return {"STATUS": self._status(code, message), **body, "id": 1}

    def _status(self, code: int, message: str, kind: str = "S") -> list[JsonObject]:
        now_s = self._firmware.now_s()
        return status(code, message, when_s=now_s, kind=kind, description=f"BOSer boser-{VERSION}")
