"""What VNish answers, on TCP 4028 and over HTTP: names and kinds alone, as in `shapes`."""

from __future__ import annotations

from tests.simulators.shapes import Shape
from tests.simulators.shapes_luxos import BOARDS, CGMINER_POOL

VNISH_RPC = "VNish 1.2.0-rc1 of an S19 XP, 2023"
VNISH_RPC_SOURCE = "a recorded S19 XP (stats, summary, pools) in the tests of a public Go client"
VNISH_WEB = "VNish 1.2.0-rc5 of an S19j Pro, and its later 1.2"
VNISH_WEB_SOURCE = (
    "a recorded summary in a public fleet manager; bitcap-ipr, response models of its VNish client"
)

VNISH_SHAPES = (
    Shape(
        family="vnish",
        firmware=VNISH_RPC,
        source=VNISH_RPC_SOURCE,
        request="stats",
        path=("STATS", 0),
        fields={"text": ("Cgminer", "Miner", "CompileTime", "Type")},
    ),
    Shape(
        family="vnish",
        firmware=VNISH_RPC,
        source=VNISH_RPC_SOURCE,
        request="stats",
        path=("STATS", 1),
        fields={
            "number": (
                *("STATS", "Elapsed", "Calls", "Wait", "Max", "Min", "GHS av", "miner_count", "total_acn"),
                *("frequency", "total_freqavg", "total_rateideal", "total_rate", "fan_num", "fan_mode"),
                *("fan_pwm", "temp_num", "fan1", "fan2", "fan3", "fan4"),
                *(
                    f"{name}{board}"
                    for name in (
                        *("temp", "temp2_", "temp3_", "chain_acn", "chain_vol", "freq_avg"),
                        *("chain_rateideal", "chain_rate", "chain_hw", "chain_consumption"),
                    )
                    for board in BOARDS
                ),
            ),
            "text": (
                *("ID", "GHS 5s", "state", "miner_version", "build_version"),
                *(
                    f"{name}{board}"
                    for name in ("temp_pcb", "temp_chip", "chain_state", "chain_acs")
                    for board in BOARDS
                ),
            ),
        },
    ),
    Shape(
        family="vnish",
        firmware=VNISH_RPC,
        source=VNISH_RPC_SOURCE,
        request="summary",
        path=("SUMMARY", 0),
        fields={
            "text": ("GHS 5s",),
            "number": (
                *("Elapsed", "GHS av", "Found Blocks", "Getworks", "Accepted", "Rejected", "Hardware Errors"),
                *("Utility", "Discarded", "Stale", "Get Failures", "Local Work", "Remote Failures"),
                *("Network Blocks", "Total MH", "Work Utility", "Difficulty Accepted", "Difficulty Rejected"),
                *("Difficulty Stale", "Best Share", "Device Hardware%", "Device Rejected%"),
                *("Pool Rejected%", "Pool Stale%", "Last getwork", "Fee Percent"),
            ),
        },
    ),
    *(
        Shape(
            family="vnish",
            firmware=VNISH_RPC,
            source=VNISH_RPC_SOURCE,
            request="pools",
            path=("POOLS", number),
            fields={
                "text": ("URL", "Status", "Long Poll", "User", "Diff", "Proxy Type", "Proxy", "Stratum URL"),
                "number": (*(name for name in CGMINER_POOL["number"] if name != "Quota"), "Type"),
                "truth": ("Has Stratum", "Stratum Active", "Has Vmask"),
            },
        )
        for number in (0, 1)
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/summary",
        path=("miner",),
        fields={
            "text": ("miner_type",),
            "number": (
                *("hr_stock", "average_hashrate", "instant_hashrate", "hr_realtime", "hr_nominal"),
                *("hr_average", "power_consumption", "power_usage", "power_efficiency"),
                *("hw_errors_percent", "hr_error", "hw_errors", "devfee_percent", "devfee"),
                *("found_blocks", "best_share"),
            ),
            "object": ("miner_status", "pcb_temp", "chip_temp", "cooling", "psu"),
            "list": ("pools", "chains"),
        },
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/summary",
        path=("miner", "chains", 0),
        fields={
            "number": (
                *("id", "frequency", "voltage", "power_consumption", "hashrate_ideal", "hashrate_rt"),
                *("hashrate_percentage", "hr_error", "hw_errors"),
            ),
            "object": ("pcb_temp", "chip_temp", "chip_statuses", "status"),
        },
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/summary",
        path=("miner", "pools", 0),
        fields={
            "text": ("url", "pool_type", "user", "status", "diff", "ls_time"),
            "number": ("id", "accepted", "rejected", "stale", "ls_diff", "diffa", "ping"),
            "truth": ("asic_boost",),
        },
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/summary",
        path=("miner", "cooling"),
        fields={"number": ("fan_num", "fan_duty"), "list": ("fans",), "object": ("settings",)},
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/status",
        path=(),
        fields={
            "text": ("miner_state",),
            "number": ("miner_state_time",),
            "truth": ("find_miner", "restart_required", "reboot_required", "unlocked"),
        },
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/info",
        path=(),
        fields={
            "text": (
                *("miner", "model", "fw_name", "fw_version", "build_uuid", "build_name", "platform"),
                *("install_type", "build_time", "algorithm", "hr_measure", "serial"),
            ),
            "object": ("system",),
        },
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/info",
        path=("system", "network_status"),
        fields={
            "text": ("mac", "ip", "netmask", "gateway", "hostname"),
            "truth": ("dhcp",),
            "list": ("dns",),
        },
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/chains/factory-info",
        path=(),
        fields={
            "number": ("hr_stock",),
            "truth": ("has_pics",),
            "text": ("psu_model", "psu_serial"),
            "list": ("chains",),
        },
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/perf-summary",
        path=("current_preset",),
        fields={
            "text": ("name", "pretty", "status"),
            "object": ("globals",),
            "truth": ("modded_psu_required",),
        },
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/autotune/presets",
        path=(2, "tune_settings"),
        fields={"list": ("chains",), "number": ("freq", "hashrate", "volt"), "truth": ("modified",)},
    ),
    Shape(
        family="vnish",
        firmware=VNISH_WEB,
        source=VNISH_WEB_SOURCE,
        request="/api/v1/settings",
        path=("network",),
        fields={
            "text": ("hostname", "ipaddress", "netmask", "gateway"),
            "truth": ("dhcp",),
            "list": ("dnsservers",),
        },
    ),
)
