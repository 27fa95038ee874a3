"""LuxOS on TCP 4028: profiles, curtailment and one login session at a time, dead after 60 s of idleness."""

from __future__ import annotations

from collections.abc import Callable

from simulators.faces.cgminer import JsonObject, chains, command_of, joined, mac_of, status
from simulators.faces.particulars import LUXOS_CONFIG, LUXOS_DEVICE, LUXOS_SUMMARY
from simulators.physics.miner import Miner, MinerReport, MinerState

SESSION_IDLE_S = 60.0
BOARDS = 3
CHIPS_PER_BOARD = 77
INVALID_COMMAND = 14
SESSION = 402
REFUSED = 403
NOT_FOUND = 404
VERSION = "2026.1.12.103022"
FOREIGN_SESSION = "f0f0f0f0"


DEVICE_RATES = ("MHS 5s", "MHS 1m", "MHS 5m", "MHS 15m", "MHS 30m", "MHS 60m", "MHS av")


class LuxosApi:
    trailer = b"\x00"

    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s
        self._session = ""
        self._used_s = 0.0
        self._logons = 0
        self._boots = miner.boots
        self._atm = True

    def answer(self, request: JsonObject) -> JsonObject:
        if self._boots != self._miner.boots:
            self._boots, self._session = self._miner.boots, ""
        command = command_of(request)
        if "+" in command:
            return joined(command, lambda part: self._one(part, [""]))
        return self._one(command, str(request.get("parameter", "")).split(","))

    def failure(self, code: int, message: str) -> JsonObject:
        return {"STATUS": self._status(code, message, kind="E"), "id": 1}

    def _one(self, command: str, parameters: list[str]) -> JsonObject:
        reads = {
            "version": self._version,
            "config": self._config,
            "power": self._power,
            "stats": self._stats,
            "summary": self._summary,
            "devs": self._devs,
            "temps": self._temps,
            "profiles": self._profiles,
            "pools": self._pools,
            "groups": self._groups,
            "fans": self._fans,
            "tempctrl": self._tempctrl,
            "atm": self._atm_state,
            "session": self._session_state,
            "logon": self._logon,
        }
        orders = {
            "curtail": self._curtail,
            "profileset": self._profileset,
            "atmset": self._atmset,
            "logoff": self._logoff,
            "rebootdevice": self._reboot,
        }
        if command in reads:
            return reads[command]()
        if command not in orders:
            return self.failure(INVALID_COMMAND, "Invalid command")
        if parameters[0] != self._live_session() or not parameters[0]:
            return self.failure(SESSION, "Invalid or expired session")
        if self._miner.faults.session_stolen:
            return self.failure(SESSION, "Another session is active")
        self._used_s = self._now_s()
        if self._miner.faults.refuses and command != "logoff":
            return self.failure(REFUSED, "Miner is not ready to accept this command")
        return orders[command](parameters[1:])

    # -- sessions ---------------------------------------------------------------------------------------

    def _live_session(self) -> str:
        if self._miner.faults.session_stolen:
            return FOREIGN_SESSION
        if self._now_s() - self._used_s >= SESSION_IDLE_S:
            self._session = ""
        return self._session

    def _session_state(self) -> JsonObject:
        return self._ok(316, "Session information", SESSION=[{"SessionID": self._live_session()}])

    def _logon(self) -> JsonObject:
        if self._live_session():
            return self.failure(SESSION, "Another session is active")
        self._logons += 1
        self._session = f"{self._logons:04x}{self._miner.serial[:4]}"
        self._used_s = self._now_s()
        return self._ok(315, "Session created", SESSION=[{"SessionID": self._session}])

    def _logoff(self, _: list[str]) -> JsonObject:
        self._session = ""
        return self._ok(317, "Session terminated")

    # -- orders -----------------------------------------------------------------------------------------

    def _curtail(self, parameters: list[str]) -> JsonObject:
        match [parameter.strip().lower() for parameter in parameters]:
            case ["sleep", *_]:
                self._miner.sleep()
                return self._ok(346, "Curtailment mode set", CURTAIL=[{"Mode": "Sleep"}])
            case ["wakeup", *options]:
                self._miner.wake(unsafe="mode=unsafe" in options)
                return self._ok(346, "Curtailment mode set", CURTAIL=[{"Mode": "WakeUp"}])
            case _:
                return self.failure(REFUSED, "Curtail takes sleep or wakeup")

    def _profileset(self, parameters: list[str]) -> JsonObject:
        name = parameters[0] if parameters else ""
        if name not in self._miner.points:
            return self.failure(NOT_FOUND, f"Profile {name} not found")
        self._miner.set_point(name)
        return self._ok(330, "Profile set", PROFILE=[{"Profile": name}])

    def _atmset(self, parameters: list[str]) -> JsonObject:
        options = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        if "enabled" in options:
            self._atm = options["enabled"].lower() == "true"
        return self._ok(340, "Advanced Thermal Management configuration updated")

    def _reboot(self, _: list[str]) -> JsonObject:
        self._miner.reboot(self._now_s())
        return self._ok(310, "Rebooting")

    # -- readings ---------------------------------------------------------------------------------------

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def _version(self) -> JsonObject:
        version = {"API": "3.7", "Miner": VERSION, "LUXminer": VERSION, "Type": self._miner.group.model}
        return self._ok(22, "LUXminer versions", VERSION=[version])

    def _config(self) -> JsonObject:
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
            "IsAtmEnabled": self._atm,
            "IsPowerSupplyOn": not report.asleep,
            "IsPowerTargetSupported": False,
        }
        return self._ok(33, "LUXminer config", CONFIG=[config])

    def _power(self) -> JsonObject:
        return self._ok(314, "Power", POWER=[{"Watts": round(self._report.watts), "PSU": True}])

    def _stats(self) -> JsonObject:
        report = self._report
        ghs = report.rate_ths * 1000
        stats: JsonObject = {
            "STATS": 0,
            "ID": "LUX0",
            "Elapsed": int(report.uptime_s),
            "GHS 5s": round(ghs, 2),
            "GHS av": round(ghs, 2),
            "rate_unit": "GH",
            "total_rateideal": round(self._miner.curve(report.setting_w) * 1000, 2),
            "miner_count": BOARDS,
            **chains(report, boards=BOARDS, chips=CHIPS_PER_BOARD, sensors_read=not report.asleep),
        }
        header = {"BMMiner": VERSION, "LUXminer": VERSION, "Type": self._miner.group.model, "Miner": VERSION}
        return self._ok(70, "LUXminer stats", STATS=[header, stats])

    def _summary(self) -> JsonObject:
        ghs = round(self._report.rate_ths * 1000, 2)
        rates = dict.fromkeys(("GHS 5s", "GHS 30m", "GHS av"), ghs)
        summary = {**LUXOS_SUMMARY, "Elapsed": int(self._report.uptime_s), **rates}
        return self._ok(11, "Summary", SUMMARY=[summary])

    def _devs(self) -> JsonObject:
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

    def _temps(self) -> JsonObject:
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

    def _profiles(self) -> JsonObject:
        profiles = [
            {
                "Profile Name": point.name,
                "Watts": round(point.power_w),
                "Hashrate": round(point.ths, 1),
                "IsTuned": False,
                "IsDynamic": False,
                "Frequency": round(650 * point.power_w / self._miner.rated_w),
                "Voltage": 13.5,
                "Step": str(step - len(self._miner.points) + 1),
            }
            for step, point in enumerate(self._miner.points.values())
        ]
        return self._ok(326, f"{len(profiles)} profiles", PROFILES=profiles)

    def _pools(self) -> JsonObject:
        alive = "Dead" if self._report.state is MinerState.IDLE else "Alive"
        pool = {
            "POOL": 0,
            "GROUP": 0,
            "URL": "stratum+tcp://pool.example:3333",
            "User": f"site.{self._miner.id}",
            "Status": alive,
            "Stratum Active": alive == "Alive",
            "Accepted": 0,
            "Rejected": 0,
        }
        return self._ok(7, "1 Pool(s)", POOLS=[pool])

    def _groups(self) -> JsonObject:
        return self._ok(319, "1 Group(s)", GROUPS=[{"GROUP": 0, "Name": "default", "Quota": 1}])

    def _fans(self) -> JsonObject:
        speed = 0 if self._report.asleep else 4800
        fans = [{"FAN": index, "ID": index, "RPM": speed + 10 * index, "Speed": 70} for index in range(4)]
        return self._ok(202, "4 Fan(s)", FANS=fans, FANCTRL=[{"FanSpeed": -1, "MinFans": 1}])

    def _tempctrl(self) -> JsonObject:
        control = {"Mode": "Automatic", "Target": 70, "Hot": 85, "Dangerous": round(self._miner.group.trip_c)}
        return self._ok(200, "Temperature control", TEMPCTRL=[control])

    def _atm_state(self) -> JsonObject:
        return self._ok(339, "ATM configuration values", ATM=[{"Enabled": self._atm, "TempWindow": 5}])

    def _ok(self, code: int, message: str, **body: list[JsonObject]) -> JsonObject:
        return {"STATUS": self._status(code, message), **body, "id": 1}

    def _status(self, code: int, message: str, kind: str = "S") -> list[JsonObject]:
        return status(code, message, when_s=self._now_s(), kind=kind, description=f"LUXminer {VERSION}")


_SYSTEM_STATUS = {
    MinerState.HASHING: "Mining",
    MinerState.STARTING: "Initializing",
    MinerState.ASLEEP: "Sleep",
    MinerState.IDLE: "Waiting for work",
    MinerState.TRIPPED: "Overheated",
    MinerState.REBOOTING: "Initializing",
    MinerState.DARK: "Initializing",
}
