"""What LuxOS answers to whoever asks on TCP 4028, with no session: the machine as its firmware sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from simulators.faces.cgminer import STRATUM_DIFFICULTY, JsonObject, boards_as_stock, mac_of, pool
from simulators.faces.particulars_aftermarket import LUXOS_CONFIG, LUXOS_DEVICE, LUXOS_STATS, LUXOS_SUMMARY
from simulators.physics.miner import Miner, MinerReport, MinerState

VERSION = "2026.1.12.103022"
COMPILED = "Mon Jan 12 10:30:22 UTC 2026"
BOARDS = 3
CHIPS_PER_BOARD = 77
CORES_PER_CHIP = 114
FANS = 4
BOARD_V = 13.5
RATED_MHZ = 650
DEVICE_RATES = ("MHS 5s", "MHS 1m", "MHS 5m", "MHS 15m", "MHS 30m", "MHS 60m", "MHS av")


class Ok(Protocol):
    """Puts the firmware's status before a body."""

    def __call__(self, code: int, message: str, **body: list[JsonObject]) -> JsonObject: ...


class LuxosReadings:
    def __init__(self, miner: Miner, now_s: Callable[[], float], ok: Ok) -> None:
        self._miner = miner
        self._now_s = now_s
        self._ok = ok

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def version(self) -> JsonObject:
        version = {
            "API": "3.7",
            "Miner": VERSION,
            "LUXminer": VERSION,
            "CompileTime": COMPILED,
            "Type": self._miner.group.model,
        }
        return self._ok(22, "LUXminer versions", VERSION=[version])

    def config(self, *, atm: bool) -> JsonObject:
        report = self._report
        config = {
            **LUXOS_CONFIG,
            "IPAddr": self._miner.address,
            "NameplateTHS": self._miner.group.rated_ths,
            "ProfileStep": "0",
            "Profile": report.point,
            "MACAddr": mac_of(self._miner.serial),
            "RedLed": "off",
            "Hostname": self._miner.id,
            "SerialNumber": self._miner.serial,
            "Model": self._miner.group.model,
            "CurtailMode": "Sleep" if report.asleep else "None",
            "SystemStatus": _SYSTEM_STATUS[MinerState.ASLEEP if report.asleep else report.state],
            "IsAtmEnabled": atm,
            "IsPowerSupplyOn": not report.asleep,
            "IsPowerTargetSupported": False,
        }
        return self._ok(33, "LUXminer config", CONFIG=[config])

    def power(self) -> JsonObject:
        return self._ok(314, "Power", POWER=[{"Watts": round(self._report.watts), "PSU": True}])

    def stats(self) -> JsonObject:
        report = self._report
        ghs = round(report.rate_ths * 1000, 2)
        stats: JsonObject = {
            **LUXOS_STATS,
            "Elapsed": int(report.uptime_s),
            **dict.fromkeys(("GHS 5s", "GHS av", "rate_30m", "total rate"), ghs),
            "total_rateideal": round(self._miner.curve(report.setting_w) * 1000, 2),
            "miner_count": BOARDS,
            "total_acn": BOARDS * CHIPS_PER_BOARD,
            "temp_num": BOARDS,
            "temp_max": 0 if report.asleep else round(report.hottest_c),
            **dict.fromkeys(("frequency", "total_freqavg"), self._frequency(report.setting_w)),
            **boards_as_stock(
                report,
                boards=BOARDS,
                chips=CHIPS_PER_BOARD,
                sensors_read=not report.asleep,
                mhz=self._frequency(report.setting_w),
            ),
            "fan_num": FANS,
            **{f"fan{fan['ID'] + 1}": fan["RPM"] for fan in self._fan_list()},
        }
        header = {"BMMiner": VERSION, "LUXminer": VERSION, "Type": self._miner.group.model, "Miner": VERSION}
        return self._ok(70, "LUXminer stats", STATS=[header, stats])

    def _frequency(self, setting_w: float) -> int:
        """Of the chips at that point, in MHz."""
        return round(RATED_MHZ * setting_w / self._miner.rated_w)

    def devdetails(self) -> JsonObject:
        report = self._report
        details = [
            {
                "DEVDETAILS": index,
                "ID": index,
                "Name": "LUX",
                "Driver": "LUX",
                "Kernel": "",
                "Device Path": "",
                "Model": self._miner.group.model,
                "Board": f"B{index}",
                "SerialNumber": f"{self._miner.serial}{index}",
                "Profile": report.point,
                "Chips": CHIPS_PER_BOARD,
                "Cores": CHIPS_PER_BOARD * CORES_PER_CHIP,
                "Frequency": self._frequency(report.setting_w),
                "Voltage": 0.0 if report.asleep else BOARD_V,
            }
            for index in range(BOARDS)
        ]
        return self._ok(69, "Device Details", DEVDETAILS=details)

    def summary(self) -> JsonObject:
        ghs = round(self._report.rate_ths * 1000, 2)
        rates = dict.fromkeys((f"GHS {span}" for span in ("5s", "1m", "5m", "15m", "30m", "24h", "av")), ghs)
        summary = {**LUXOS_SUMMARY, "Elapsed": int(self._report.uptime_s), **rates}
        return self._ok(11, "Summary", SUMMARY=[summary])

    def devs(self) -> JsonObject:
        report = self._report
        mhs = round(report.rate_ths * 1e6 / BOARDS, 2)
        board = {
            **LUXOS_DEVICE,
            **dict.fromkeys(DEVICE_RATES, mhs),
            "Nominal MHS": round(self._miner.group.rated_ths * 1e6 / BOARDS),
            "Profile": report.point,
            "Status": "Dead" if report.asleep else "Alive",
            "Enabled": "N" if report.asleep else "Y",
            "Temperature": 0 if report.asleep else round(report.hottest_c) - 8,
        }
        devs = [
            {
                "ASC": index,
                "ID": index,
                **board,
                "Board": f"B{index}",
                "Connector": f"J{index}",
                "SerialNumber": f"{self._miner.serial}{index}",
            }
            for index in range(BOARDS)
        ]
        return self._ok(9, f"{BOARDS} ASC(s)", DEVS=devs)

    def temps(self) -> JsonObject:
        report = self._report
        hot = 0.0 if report.asleep else round(report.hottest_c, 1)
        corners = ("TopLeft", "TopRight", "BottomLeft", "BottomRight")
        temps = [
            {
                "TEMP": index,
                "ID": index,
                **{corner: max(0.0, hot - 2.0 * at) for at, corner in enumerate(corners)},
            }
            for index in range(BOARDS)
        ]
        return self._ok(317, "Temperatures", TEMPS=temps)

    def profiles(self) -> JsonObject:
        profiles = [
            {
                "Profile Name": point.name,
                "Watts": round(point.power_w),
                "Hashrate": round(point.ths, 1),
                "IsTuned": False,
                "IsDynamic": False,
                "Frequency": self._frequency(point.power_w),
                "Voltage": BOARD_V,
                "Step": str(step - len(self._miner.points) + 1),
            }
            for step, point in enumerate(self._miner.points.values())
        ]
        return self._ok(326, f"{len(profiles)} profiles", PROFILES=profiles)

    def pools(self) -> JsonObject:
        alive = self._report.state is not MinerState.IDLE
        only = {
            **pool(f"site.{self._miner.id}", alive=alive),
            "GROUP": 0,
            "Diff": f"{STRATUM_DIFFICULTY / 1000:.0f}K" if alive else "",
            "Last Share Diff": STRATUM_DIFFICULTY,
        }
        return self._ok(7, "1 Pool(s)", POOLS=[only])

    def groups(self) -> JsonObject:
        return self._ok(319, "1 Group(s)", GROUPS=[{"GROUP": 0, "Name": "default", "Quota": 1}])

    def fans(self) -> JsonObject:
        control = {"FanSpeed": -1, "FanMinSpeed": 10, "FanMaxSpeed": 100, "MinFans": 1, "PowerOffSpeed": 0}
        return self._ok(202, f"{FANS} Fan(s)", FANS=self._fan_list(), FANCTRL=[control])

    def _fan_list(self) -> list[JsonObject]:
        asleep = self._report.asleep
        return [
            {
                "FAN": index,
                "ID": index,
                "RPM": 0 if asleep else 4800 + 10 * index,
                "Speed": 0 if asleep else 70,
            }
            for index in range(FANS)
        ]

    def tempctrl(self) -> JsonObject:
        control = {"Mode": "Automatic", "Target": 70, "Hot": 85, "Dangerous": round(self._miner.group.trip_c)}
        return self._ok(200, "Temperature control", TEMPCTRL=[control])


_SYSTEM_STATUS = {
    MinerState.HASHING: "Mining",
    MinerState.STARTING: "Initializing",
    MinerState.ASLEEP: "Sleep",
    MinerState.IDLE: "Waiting for work",
    MinerState.TRIPPED: "Overheated",
    MinerState.REBOOTING: "Initializing",
    MinerState.DARK: "Initializing",
}
