"""What real machines answer: names and kinds of the fields in publicly recorded or documented replies.

Only names and kinds, for those are facts; no value of any recording is here. A field is text, a number (JSON
has one kind), a truth, a list or an object. Sources by repository, as of November 2026.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "number": (int, float),
    "truth": bool,
    "list": list,
    "object": dict,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The record at `path` in the reply to `request`; `fields` are names by kind."""

    family: str
    firmware: str
    source: str
    request: str
    path: tuple[str | int, ...]
    fields: dict[str, tuple[str, ...]]

    @property
    def id(self) -> str:
        return f"{self.family} {self.request} {'.'.join(map(str, self.path))}"


CGMINER_STATUS = {"text": ("STATUS", "Msg", "Description"), "number": ("When", "Code")}

LUXOS = "LuxOS 2025 and 2026"
LUXOS_SOURCE = "bitcap-ipr, response models of its LuxOS client"
WHATSMINER = "Whatsminer M30S+ of 2022"
WHATSMINER_SOURCE = "a recorded M30S+ (summary, edevs, pools, psu) in a public dashboard"
V3 = "Whatsminer API 3.0.3"
V3_SOURCE = "apidoc.whatsminer.com, its examples"
ANTMINER = "Antminer S23 Hyd., 2026-06-26"
ANTMINER_SOURCE = "256foundation/asic-rs, antminer/v2023_07/s23_hydro_web_stats_captured.json"
AVALON = "Avalon 1566, 24102401_25462b2_9ddf522"
AVALON_SOURCE = "UpstreamData/pyasic, avalonminer_tests/version_24102401_25462b2_9ddf522.py"
AURADINE = "FluxOS 2023-12.27 to 2.2.0"
AURADINE_SOURCE = "256foundation/asic-rs, auradine/v1"

SHAPES = (
    Shape(
        family="luxos",
        firmware=LUXOS,
        source=LUXOS_SOURCE,
        request="config",
        path=("CONFIG", 0),
        fields={
            "text": (
                *("BcastAddr", "ControlBoardType", "Cooling", "CurtailMode", "DNS Servers", "Device Code"),
                *("FPGABuildIdHex", "FPGABuildIdStr", "FeeStatus", "Gateway", "GreenLed", "Hostname"),
                *("Hotplug", "IPAddr", "LogFileLevel", "MACAddr", "Model", "Netmask", "OS", "PIC"),
                *("PSUHwVersion", "PSULabel", "Profile", "ProfileStep", "RedLed", "SerialNumber", "Strategy"),
                *("SystemStatus", "UpdateOnStartup", "UpdateOnTimeout", "UpdateOnUser", "UpdateSource"),
            ),
            "number": (
                *("ASC Count", "ActualPowerTarget", "IdealPowerTarget", "Log Interval", "NameplateTHS"),
                *("PGA Count", "Pool Count", "PowerLimit", "UpdateTimeout"),
            ),
            "truth": (
                *("DHCP", "ImmersionMode", "IsAtmEnabled", "IsPowerSupplyOn", "IsPowerTargetEnabled"),
                *("IsPowerTargetSupported", "IsSingleVoltage", "IsTuning"),
            ),
        },
    ),
    Shape(
        family="luxos",
        firmware=LUXOS,
        source=LUXOS_SOURCE,
        request="summary",
        path=("SUMMARY", 0),
        fields={
            "number": (
                *("Elapsed", "GHS 5s", "GHS 30m", "GHS av", "Total MH", "Accepted", "Rejected", "Discarded"),
                *("Hardware Errors", "Pool Rejected%", "Pool Stale%", "Stale", "Getworks", "Last getwork"),
                *("Best Share", "Best Session Share", "Difficulty Accepted", "Difficulty Rejected"),
                *("Difficulty Stale", "Utility", "Work Utility"),
            )
        },
    ),
    Shape(
        family="luxos",
        firmware=LUXOS,
        source=LUXOS_SOURCE,
        request="devs",
        path=("DEVS", 0),
        fields={
            "text": (
                *(
                    "Board",
                    "Connector",
                    "ControllerIPVersionHex",
                    "ControllerIPVersionStr",
                    "Enabled",
                    "Name",
                ),
                *("Name", "Profile", "SerialNumber", "Status"),
            ),
            "number": (
                *("ASC", "Accepted", "Device Elapsed", "Device Hardware%", "Device Rejected%", "Diff1 Work"),
                *("Difficulty Accepted", "Difficulty Rejected", "Hardware Error MHS 15m", "Hardware Errors"),
                *("ID", "Last Share Difficulty", "Last Share Pool", "Last Share Time", "Last Valid Work"),
                *("MHS 15m", "MHS 1m", "MHS 30m", "MHS 5m", "MHS 5s", "MHS 60m", "MHS av", "Nominal MHS"),
                *("Rejected", "Temperature", "Total MH", "Utility"),
            ),
            "truth": ("IsRamping", "IsUserShutdown"),
        },
    ),
    Shape(
        family="whatsminer",
        firmware=WHATSMINER,
        source=WHATSMINER_SOURCE,
        request="summary",
        path=("SUMMARY", 0),
        fields={
            "text": ("Power Mode", "Debug", "Btminer Fast Boot"),
            "number": (
                *("Elapsed", "MHS av", "MHS 5s", "MHS 1m", "MHS 5m", "MHS 15m", "HS RT", "Accepted"),
                *(
                    "Rejected",
                    "Total MH",
                    "Temperature",
                    "freq_avg",
                    "Fan Speed In",
                    "Fan Speed Out",
                    "Power",
                ),
                *("Power", "Power Rate", "Pool Rejected%", "Pool Stale%", "Last getwork", "Uptime"),
                "Security Mode",
                *("Hash Stable Cost Seconds", "Hash Deviation%", "Target Freq", "Target MHS", "Env Temp"),
                *("Factory GHS", "Power Limit", "Chip Temp Min", "Chip Temp Max", "Chip Temp Avg"),
            ),
            "truth": ("Hash Stable",),
        },
    ),
    Shape(
        family="whatsminer",
        firmware=WHATSMINER,
        source=WHATSMINER_SOURCE,
        request="devs",
        path=("DEVS", 0),
        fields={
            "text": ("Enabled", "Status", "PCB SN", "Chip Data"),
            "number": (
                *("ASC", "Slot", "Temperature", "Chip Frequency", "MHS av", "MHS 5s", "MHS 1m", "MHS 5m"),
                *("MHS 15m", "HS RT", "Accepted", "Rejected", "Last Valid Work", "Upfreq Complete"),
                *("Effective Chips", "Chip Temp Min", "Chip Temp Max", "Chip Temp Avg", "chip_vol_diff"),
            ),
        },
    ),
    Shape(
        family="whatsminer",
        firmware=WHATSMINER,
        source=WHATSMINER_SOURCE,
        request="get_psu",
        path=("Msg",),
        fields={
            "text": (
                *("name", "hw_version", "sw_version", "model", "iin", "vin", "fan_speed", "version"),
                *("serial_no", "vender"),
            )
        },
    ),
    Shape(
        family="whatsminer-v3",
        firmware=V3,
        source=V3_SOURCE,
        request="get.miner.status summary",
        path=("msg", "summary"),
        fields={
            "number": (
                *("elapsed", "bootup-time", "freq-avg", "target-freq", "factory-hash", "hash-average"),
                *("hash-1min", "hash-15min", "hash-realtime", "power-rate", "power-5min", "power-realtime"),
                *("environment-temperature", "chip-temp-min", "chip-temp-avg", "chip-temp-max"),
                *("power-limit", "up-freq-finish", "fan-speed-in", "fan-speed-out"),
            ),
            "list": ("board-temperature",),
        },
    ),
    Shape(
        family="whatsminer-v3",
        firmware=V3,
        source=V3_SOURCE,
        request="get.device.info",
        path=("msg",),
        fields={
            "object": ("network", "miner", "system", "power"),
            "text": ("salt",),
            "list": ("error-code",),
        },
    ),
    Shape(
        family="whatsminer-v3",
        firmware=V3,
        source=V3_SOURCE,
        request="get.device.info",
        path=("msg", "miner"),
        fields={
            "text": (
                *("working", "type", "hash-board", "detect-hash-rate", "cointype", "pool-strategy"),
                *("heatmode", "hash-percent", "eeprom-liquid-cooling", "chipdata0", "chipdata1", "chipdata2"),
                *("fast-boot", "board-num", "pcbsn0", "pcbsn1", "pcbsn2", "miner-sn", "power-limit-set"),
            ),
            "number": ("web-pool",),
        },
    ),
    Shape(
        family="whatsminer-v3",
        firmware=V3,
        source=V3_SOURCE,
        request="get.device.info",
        path=("msg", "system"),
        fields={
            "text": (
                *("api", "platform", "fwversion", "control-board-version", "btrom", "apiswitch", "ledstatus"),
            )
        },
    ),
    Shape(
        family="whatsminer-v3",
        firmware=V3,
        source=V3_SOURCE,
        request="get.device.info",
        path=("msg", "network"),
        fields={"text": ("ip", "proto", "netmask", "dns", "mac", "gateway", "hostname")},
    ),
    Shape(
        family="whatsminer-v3",
        firmware=V3,
        source=V3_SOURCE,
        request="get.device.info",
        path=("msg", "power"),
        fields={
            "text": ("type", "mode", "hwversion", "swversion", "model", "sn", "vendor"),
            "number": ("iin", "vin", "vout", "pin", "fanspeed", "temp0"),
        },
    ),
    Shape(
        family="antminer",
        firmware=ANTMINER,
        source=ANTMINER_SOURCE,
        request="/cgi-bin/stats.cgi",
        path=("STATS", 0),
        fields={
            "number": ("chain_num", "elapsed", "fan_num", "rate_5s", "rate_avg", "rate_ideal"),
            "text": ("rate_unit",),
            "list": ("chain", "fan"),
        },
    ),
    Shape(
        family="antminer",
        firmware=ANTMINER,
        source=ANTMINER_SOURCE,
        request="/cgi-bin/stats.cgi",
        path=("STATS", 0, "chain", 0),
        fields={
            "number": ("asic_num", "freq_avg", "index", "rate_ideal", "rate_real"),
            "text": ("asic", "sn"),
            "list": ("temp_chip", "temp_pcb", "temp_pic"),
        },
    ),
    Shape(
        family="antminer",
        firmware=ANTMINER,
        source=ANTMINER_SOURCE,
        request="/cgi-bin/stats.cgi",
        path=("INFO",),
        fields={"text": ("CompileTime", "miner_version", "type")},
    ),
    Shape(
        family="antminer",
        firmware="Antminer X19 and X21 of 2022 to 2024",
        source="public clients of get_miner_conf that agree with each other",
        request="/cgi-bin/get_miner_conf.cgi",
        path=(),
        fields={
            "list": ("pools",),
            "truth": ("api-listen", "api-network", "bitmain-fan-ctrl", "bitmain-use-vil"),
            "text": (
                *("api-groups", "api-allow", "bitmain-fan-pwm", "bitmain-freq", "bitmain-voltage"),
                *("bitmain-ccdelay", "bitmain-pwth", "bitmain-work-mode", "bitmain-hashrate-percent"),
                "bitmain-freq-level",
            ),
        },
    ),
    Shape(
        family="avalon",
        firmware=AVALON,
        source=AVALON_SOURCE,
        request="version",
        path=("VERSION", 0),
        fields={
            "text": (
                *("CGMiner", "API", "STM8", "PROD", "MODEL", "HWTYPE", "SWTYPE", "VERSION", "LOADER"),
                *("DNA", "MAC", "UPAPI"),
            )
        },
    ),
    Shape(
        family="avalon",
        firmware=AVALON,
        source=AVALON_SOURCE,
        request="devs",
        path=("DEVS", 0),
        fields={
            "text": ("Name", "Enabled", "Status"),
            "number": (
                *("ASC", "ID", "Temperature", "MHS av", "MHS 30s", "MHS 1m", "MHS 5m", "MHS 15m", "Accepted"),
                *("Rejected", "Hardware Errors", "Utility", "Last Share Pool", "Last Share Time", "Total MH"),
                *("Diff1 Work", "Difficulty Accepted", "Difficulty Rejected", "Last Share Difficulty"),
                *("Last Valid Work", "Device Hardware%", "Device Rejected%", "Device Elapsed"),
            ),
        },
    ),
    Shape(
        family="avalon",
        firmware=AVALON,
        source=AVALON_SOURCE,
        request="estats",
        path=("STATS", 0, "MM ID0"),
        fields={
            "text": (
                *("Ver", "DNA", "MEMFREE", "NETFAIL", "SYSTEMSTATU", "Elapsed", "BOOTBY", "LW", "MH", "DHW"),
                *("HW", "DH", "Temp", "TMax", "TAvg", "Fan1", "Fan2", "FanR", "Vo", "PS", "WALLPOWER"),
                *("GHSspd", "DHspd", "GHSmm", "GHSavg", "WU", "Freq", "Led", "MGHS", "MTmax", "MTavg"),
                *("MVavg", "TA", "Core", "PING", "POWS", "EEPROM", "HASHS", "POOLS", "SoftOFF", "ECHU"),
                *("ECMM", "SF0", "SF1", "SF2", "PVT_T0", "PVT_T1", "PVT_T2", "CRC", "COMCRC", "ADJ", "COP"),
                *("MPO", "MVL", "WORKMODE"),
            )
        },
    ),
    Shape(
        family="auradine",
        firmware=AURADINE,
        source=AURADINE_SOURCE,
        request="/mode",
        path=("Mode", 0),
        fields={"text": ("Mode", "Sleep"), "number": ("Ths", "Power")},
    ),
    Shape(
        family="auradine",
        firmware=AURADINE,
        source=AURADINE_SOURCE,
        request="/psu",
        path=("PSU", 0),
        fields={
            "text": (
                *("VoutSet", "Vin", "Iin", "Vout", "Iout", "FanSpeed1", "FanSpeed2", "PowerOut", "PowerIn"),
                "PoutMax",
            )
        },
    ),
    Shape(
        family="auradine",
        firmware=AURADINE,
        source=AURADINE_SOURCE,
        request="/temperature",
        path=("Temperature", 1),
        fields={"number": ("ID",), "text": ("Name",), "list": ("BoardTemp", "ChipTemp")},
    ),
    Shape(
        family="auradine",
        firmware=AURADINE,
        source=AURADINE_SOURCE,
        request="/ipreport",
        path=("IPReport", 0),
        fields={
            "text": (
                *("command", "SerialNo", "ip", "mac", "model", "version", "hostname", "CBSerialNo"),
                *("ChassisSerialNo", "InternalType"),
            ),
            "list": ("HBSerialNo",),
        },
    ),
    Shape(
        family="auradine",
        firmware=AURADINE,
        source=AURADINE_SOURCE,
        request="summary",
        path=("SUMMARY", 0),
        fields={
            "number": (
                *("Elapsed", "MHS av", "MHS 5s", "MHS 1m", "MHS 5m", "MHS 15m", "Accepted", "Rejected"),
                *("Hardware Errors", "Utility", "Total MH", "Difficulty Accepted", "Difficulty Rejected"),
                "Last getwork",
            )
        },
    ),
    *(
        Shape(
            family=family,
            firmware=firmware,
            source=source,
            request="summary",
            path=("STATUS", 0),
            fields=CGMINER_STATUS,
        )
        for family, firmware, source in (
            ("luxos", LUXOS, LUXOS_SOURCE),
            ("avalon", AVALON, AVALON_SOURCE),
            ("auradine", AURADINE, AURADINE_SOURCE),
        )
    ),
)
