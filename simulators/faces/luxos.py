"""LuxOS on TCP 4028: profiles, curtailment and one login session at a time, dead after 60 s of idleness."""

from __future__ import annotations

from collections.abc import Callable

from simulators.faces.cgminer import JsonObject, command_of, joined, status
from simulators.faces.luxos_readings import VERSION, LuxosReadings
from simulators.physics.miner import Miner

SESSION_IDLE_S = 60.0
INVALID_COMMAND = 14
SESSION = 402
REFUSED = 403
NOT_FOUND = 404
FOREIGN_SESSION = "f0f0f0f0"


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
        self._readings = LuxosReadings(miner, now_s, self._ok)

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
            "version": self._readings.version,
            "devdetails": self._readings.devdetails,
            "config": lambda: self._readings.config(atm=self._atm),
            "power": self._readings.power,
            "stats": self._readings.stats,
            "summary": self._readings.summary,
            "devs": self._readings.devs,
            "temps": self._readings.temps,
            "profiles": self._readings.profiles,
            "pools": self._readings.pools,
            "groups": self._readings.groups,
            "fans": self._readings.fans,
            "tempctrl": self._readings.tempctrl,
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
        self._miner.orders += 1
        if "enabled" in options:
            self._atm = options["enabled"].lower() == "true"
        return self._ok(340, "Advanced Thermal Management configuration updated")

    def _reboot(self, _: list[str]) -> JsonObject:
        self._miner.reboot(self._now_s())
        return self._ok(310, "Rebooting")

    def _atm_state(self) -> JsonObject:
        return self._ok(339, "ATM configuration values", ATM=[{"Enabled": self._atm, "TempWindow": 5}])

    def _ok(self, code: int, message: str, **body: list[JsonObject]) -> JsonObject:
        return {"STATUS": self._status(code, message), **body, "id": 1}

    def _status(self, code: int, message: str, kind: str = "S") -> list[JsonObject]:
        return status(code, message, when_s=self._now_s(), kind=kind, description=f"LUXminer {VERSION}")
