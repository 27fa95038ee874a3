"""The older API of Braiins OS+ on TCP 4028, of which reads are left, and what both interfaces share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulators.faces.cgminer import JsonObject, command_of, joined, pool, status
from simulators.faces.particulars_aftermarket import BOS_DEVICE, BOS_SUMMARY, BOS_TUNER_CHAIN
from simulators.physics.miner import Miner, MinerReport, MinerState

BOARDS = 3
CHIPS_PER_BOARD = 114
VERSION = "2026-03-01-0-abcd1234-26.03-plus"
INVALID_COMMAND = 14
CORES_PER_CHIP = 114
FANS = 4
FAN_RPM = 4800
BOARD_COOLER_C = 14
RATED_HZ = 545_000_000
BOARDS_PART = 0.95
"""Of the power at the wall, what the tuner gives to the boards; the rest is fans and losses."""
RATES = ("MHS 5s", "MHS 1m", "MHS 5m", "MHS 15m", "MHS av")


@dataclass(frozen=True, slots=True)
class Firmware:
    miner: Miner
    now_s: Callable[[], float]

    @property
    def report(self) -> MinerReport:
        return self.miner.report(self.now_s())

    @property
    def estimate_w(self) -> int:
        """The tuner's own, which is 0 W while the machine warms up."""
        report = self.report
        warming_up = report.state is MinerState.STARTING and not report.rate_ths
        return 0 if warming_up else round(report.watts)

    @property
    def nominal_ths(self) -> float:
        return self.miner.curve(self.report.setting_w)

    @property
    def hertz(self) -> int:
        """Of the chips under the target in force."""
        return round(RATED_HZ * self.report.setting_w / self.miner.rated_w)


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
            "temps": self._temps,
            "fans": self._fans,
            "tempctrl": self._tempctrl,
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
                "Name": f"Hash Chain {index + 1}",
                "ID": index + 1,
                "Driver": "",
                "Kernel": "",
                "Model": self._firmware.miner.group.model,
                "Device Path": "",
                "Chips": CHIPS_PER_BOARD,
                "Cores": CHIPS_PER_BOARD * CORES_PER_CHIP,
                "Frequency": self._firmware.hertz,
                "Voltage": 13.4,
            }
            for index in range(BOARDS)
        ]
        return self._ok(69, "Device Details", DEVDETAILS=details)

    def _summary(self) -> JsonObject:
        report = self._firmware.report
        mhs = round(report.rate_ths * 1e6, 2)
        rates = dict.fromkeys((*RATES, "MHS 24h"), mhs)
        return self._ok(11, "Summary", SUMMARY=[{**BOS_SUMMARY, "Elapsed": int(report.uptime_s), **rates}])

    def _devs(self) -> JsonObject:
        report = self._firmware.report
        rates = dict.fromkeys(RATES, round(report.rate_ths * 1e6 / BOARDS, 2))
        nominal = round(self._firmware.nominal_ths * 1e6 / BOARDS, 2)
        devs = [
            {
                **BOS_DEVICE,
                "ASC": index,
                "ID": index + 1,
                "Enabled": "Y",
                "Status": "Alive",
                **rates,
                "Nominal MHS": nominal,
                "Device Elapsed": int(report.uptime_s),
            }
            for index in range(BOARDS)
        ]
        return self._ok(9, f"{BOARDS} ASC(s)", DEVS=devs)

    def _temps(self) -> JsonObject:
        hot = round(self._firmware.report.hottest_c, 1)
        temps = [
            {"TEMP": index, "ID": index + 1, "Board": hot - BOARD_COOLER_C, "Chip": hot - index}
            for index in range(BOARDS)
        ]
        return self._ok(201, f"{BOARDS} Temp(s)", TEMPS=temps)

    def _fans(self) -> JsonObject:
        asleep = self._firmware.report.asleep
        fan = {"RPM": 0, "Speed": 0} if asleep else {"RPM": FAN_RPM, "Speed": 80}
        return self._ok(202, f"{FANS} Fan(s)", FANS=[{"FAN": at, "ID": at, **fan} for at in range(FANS)])

    def _tempctrl(self) -> JsonObject:
        dangerous = round(self._firmware.miner.group.trip_c)
        control = {"Mode": "Automatic", "Target": 60, "Hot": 80, "Dangerous": dangerous}
        return self._ok(200, "Temperature control", TEMPCTRL=[control])

    def _tunerstatus(self) -> JsonObject:
        report = self._firmware.report
        watts, limit = self._firmware.estimate_w, round(report.setting_w)
        chains = [
            {
                **BOS_TUNER_CHAIN,
                "HashchainIndex": index + 1,
                "Status": "Stable",
                "TunerRunning": True,
                "ApproximatePowerConsumptionWatt": round(watts * BOARDS_PART / BOARDS),
                "PowerLimitWatt": round(limit * BOARDS_PART / BOARDS),
            }
            for index in range(BOARDS)
        ]
        tuner = {
            "ApproximateChainPowerConsumption": round(watts * BOARDS_PART),
            "ApproximateMinerPowerConsumption": watts,
            "DynamicPowerScaling": "Disabled",
            "PowerLimit": limit,
            "TunerMode": "PowerTarget",
            "TunerChainStatus": chains,
        }
        return self._ok(203, "Tuner Status", TUNERSTATUS=[tuner])

    def _pools(self) -> JsonObject:
        alive = self._firmware.report.state is not MinerState.IDLE
        only = {**pool(f"site.{self._firmware.miner.id}", alive=alive), "AsicBoost": True}
        return self._ok(7, "1 Pool(s)", POOLS=[only])

    def _ok(self, code: int, message: str, **body: list[JsonObject]) -> JsonObject:
        return {"STATUS": self._status(code, message), **body, "id": 1}

    def _status(self, code: int, message: str, kind: str = "S") -> list[JsonObject]:
        now_s = self._firmware.now_s()
        return status(code, message, when_s=now_s, kind=kind, description=f"BOSer boser-{VERSION}")
