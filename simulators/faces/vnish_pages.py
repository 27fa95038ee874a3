"""The pages of VNish's JSON API: the machine as this firmware describes it."""

from __future__ import annotations

from collections.abc import Callable

from simulators.faces.cgminer import POOL, JsonObject, mac_of
from simulators.faces.particulars_aftermarket import VNISH_BUILD, VNISH_MISC, VNISH_POOL, VNISH_SWITCHER
from simulators.physics.miner import Miner, MinerReport, MinerState

VERSION = "1.2.6"
BOARDS = 3
CHIPS_PER_BOARD = 114
FANS = 4
MAX_RPM = 6000
BOARD_COOLER_C = 15
UNTUNED_W = 1000
RATED_MHZ = 645
CHAIN_MV = 13_800


class VnishPages:
    def __init__(self, miner: Miner, now_s: Callable[[], float]) -> None:
        self._miner = miner
        self._now_s = now_s
        self.presets = {f"{point.power_w:.0f}": point for point in miner.points.values()}
        self.overclock: JsonObject = {
            "modded_psu": False,
            "globals": {"volt": CHAIN_MV // 10, "freq": RATED_MHZ},
            "chains": [{"freq": RATED_MHZ, "disabled": False} for _ in range(BOARDS)],
            "preset_switcher": {**VNISH_SWITCHER},
        }

    @property
    def _report(self) -> MinerReport:
        return self._miner.report(self._now_s())

    def _network(self) -> JsonObject:
        return {
            "mac": mac_of(self._miner.serial),
            "dhcp": True,
            "ip": self._miner.address,
            "netmask": "255.0.0.0",
            "gateway": "127.0.0.254",
            "dns": ["127.0.0.254"],
            "hostname": self._miner.id,
        }

    def info(self) -> JsonObject:
        minutes = int(self._report.uptime_s) // 60
        return {
            **VNISH_BUILD,
            "miner": self._miner.group.model,
            "model": self._miner.group.model.removeprefix("Antminer ").replace(" ", "").lower(),
            "fw_version": VERSION,
            "system": {
                "os": "GNU/Linux",
                "miner_name": self._miner.group.model,
                "file_system_version": VNISH_BUILD["build_time"],
                "network_status": self._network(),
                "uptime": f"{minutes // 60}:{minutes % 60:02}",
            },
            "serial": "N/A",
        }

    def chains(self) -> list[JsonObject]:
        return []

    def _miner_status(self) -> JsonObject:
        report = self._report
        return {"miner_state": miner_state(report), "miner_state_time": int(report.uptime_s)}

    def status_pane(self) -> JsonObject:
        flags = {"find_miner": False, "restart_required": False, "reboot_required": False, "unlocked": False}
        return self._miner_status() | flags

    def perf_summary(self) -> JsonObject:
        current = self._preset(self._preset_name(), tuned=True)
        return {
            "current_preset": {**current, "globals": self.overclock["globals"]},
            "preset_switcher": self.overclock["preset_switcher"],
        }

    def factory_info(self) -> JsonObject:
        boards = [
            {
                "id": number,
                "board_model": "BHB42601",
                "serial": f"{self._miner.serial}{number}",
                "chip_bin": 1,
                "freq": RATED_MHZ,
                "volt": CHAIN_MV,
                "hashrate": round(self._miner.group.rated_ths * 1000 / BOARDS, 2),
            }
            for number in range(1, BOARDS + 1)
        ]
        return {
            "hr_stock": round(self._miner.group.rated_ths * 1000, 2),
            "has_pics": True,
            "psu_model": "APW121215b",
            "psu_serial": f"PSU{self._miner.serial}",
            "chains": boards,
        }

    def _preset_name(self) -> str:
        point = self._report.point
        return next(name for name, preset in self.presets.items() if preset.name == point)

    def _preset(self, name: str, *, tuned: bool) -> JsonObject:
        ths = self.presets[name].ths if name in self.presets else self._miner.group.rated_ths / 3
        return {
            "name": name,
            "pretty": f"{name} watt ~ {ths:.0f} TH",
            "status": "tuned" if tuned else "untuned",
            "modded_psu_required": False,
            "tune_settings": self._tuned(name) if tuned else None,
        }

    def _tuned(self, name: str) -> JsonObject:
        mhz = round(self._frequency(float(name)))
        boards = [
            {"serial": f"{self._miner.serial}{number}", "freq": mhz, "chips": [mhz] * CHIPS_PER_BOARD}
            for number in range(1, BOARDS + 1)
        ]
        hashrate = round(self.presets[name].ths * 1000)
        return {
            "chains": boards,
            "freq": mhz,
            "hashrate": hashrate,
            "modified": False,
            "volt": CHAIN_MV // 10,
        }

    def preset_list(self) -> list[JsonObject]:
        manual = {
            "name": "disabled",
            "pretty": "Disabled",
            "status": "untuned",
            "modded_psu_required": False,
        }
        tuned = [self._preset(name, tuned=True) for name in self.presets]
        return [manual, self._preset(str(UNTUNED_W), tuned=False), *tuned]

    def settings(self) -> JsonObject:
        network = self._network()
        cooling = {"fan_min_count": FANS, "fan_min_duty": 10, "fan_max_duty": 100}
        return {
            "miner": {
                "cooling": {**cooling, "mode": {"name": "auto", "param": 60}},
                "misc": {**VNISH_MISC},
                "overclock": {**self.overclock, "preset": self._preset_name()},
                "pools": [{"url": POOL, "user": f"site.{self._miner.id}", "pass": "x"}],
            },
            "network": {
                "hostname": self._miner.id,
                "dhcp": True,
                "ipaddress": network["ip"],
                "netmask": network["netmask"],
                "gateway": network["gateway"],
                "dnsservers": network["dns"],
            },
            "regional": {},
            "ui": {},
        }

    def summary(self) -> JsonObject:
        report = self._report
        hot = 0 if report.asleep else round(report.hottest_c)
        ghs = report.rate_ths * 1000
        summary = {
            "miner_status": self._miner_status(),
            "miner_type": miner_type(self._miner),
            "hr_stock": round(self._miner.group.rated_ths * 1000, 2),
            **dict.fromkeys(("average_hashrate", "instant_hashrate"), round(report.rate_ths, 2)),
            **dict.fromkeys(("hr_realtime", "hr_average"), round(ghs, 2)),
            "hr_nominal": round(self._miner.curve(report.setting_w) * 1000, 2),
            "pcb_temp": _span(hot - BOARD_COOLER_C),
            "chip_temp": _span(hot),
            "power_consumption": round(report.watts),
            "power_usage": round(report.watts),
            "power_efficiency": round(report.watts / report.rate_ths, 1) if report.rate_ths else 0.0,
            **dict.fromkeys(("hw_errors_percent", "hr_error", "devfee_percent", "devfee"), 0.0),
            "hw_errors": 0,
            "pools": self._pools(),
            "cooling": self._cooling(),
            "chains": [] if report.asleep else [self._chain(at, report) for at in range(1, BOARDS + 1)],
            "found_blocks": 0,
            "best_share": 19_649_871,
            "psu": {
                "psu_power_metering": False,
                "temps": dict.fromkeys(("pfc_temp", "llc1_temp", "llc2_temp"), round(report.inlet_c) + 20),
            },
        }
        return {"miner": summary}

    def _chain(self, number: int, report: MinerReport) -> JsonObject:
        hot = round(report.hottest_c)
        ideal_ghs = self._miner.curve(report.setting_w) * 1000 / BOARDS
        ghs = report.rate_ths * 1000 / BOARDS
        return {
            "id": number,
            "frequency": round(self._frequency(report.setting_w), 1),
            "voltage": CHAIN_MV,
            "power_consumption": round(report.watts / BOARDS),
            "hashrate_ideal": round(ideal_ghs, 2),
            "hashrate_rt": round(ghs, 2),
            "hashrate_percentage": round(100 * ghs / ideal_ghs, 2) if ideal_ghs else 0.0,
            "hr_error": 0.0,
            "hw_errors": 0,
            "pcb_temp": _span(hot - BOARD_COOLER_C - number),
            "chip_temp": _span(hot - number + 1),
            "chip_statuses": {"red": 0, "orange": 0, "grey": 0},
            "status": {"state": _STATES[report.state]},
        }

    def _frequency(self, setting_w: float) -> float:
        """Of the chips at that setting, in MHz."""
        return RATED_MHZ * setting_w / self._miner.rated_w

    def _pools(self) -> list[JsonObject]:
        working = "offline" if self._report.state is MinerState.IDLE else "working"
        own = {"url": POOL.rpartition("//")[2], "user": f"site.{self._miner.id}", "pool_type": "UserPool"}
        fee = {"url": "DevFee", "user": "DevFee", "pool_type": "DevFee"}
        return [
            {**VNISH_POOL, "id": 0, **own, "status": working},
            {**VNISH_POOL, "id": 1, **fee, "status": "working"},
        ]

    def _cooling(self) -> JsonObject:
        asleep = self._report.asleep
        fan = {"rpm": 0 if asleep else 4800, "status": "ok", "max_rpm": MAX_RPM}
        return {
            "fan_num": FANS,
            "fans": [{"id": index, **fan} for index in range(FANS)],
            "settings": {"mode": {"name": "auto"}},
            "fan_duty": 0 if asleep else 70,
        }


def miner_state(report: MinerReport) -> str:
    return "stopped" if report.asleep else _STATES[report.state]


def miner_type(miner: Miner) -> str:
    return f"{miner.group.model} (Vnish {VERSION})"


def _span(hottest: int) -> JsonObject:
    return {"min": max(0, hottest - 6), "max": max(0, hottest)}


_STATES = {
    MinerState.HASHING: "mining",
    MinerState.STARTING: "initializing",
    MinerState.ASLEEP: "stopped",
    MinerState.IDLE: "mining",
    MinerState.TRIPPED: "failure",
    MinerState.REBOOTING: "restarting",
    MinerState.DARK: "restarting",
}
