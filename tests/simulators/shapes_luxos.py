"""What LuxOS answers, and the pools of the families whose own maker's firmware is in `shapes`."""

from __future__ import annotations

from tests.simulators.shapes import LUXOS, LUXOS_SOURCE, Shape

BOARDS = (1, 2, 3)

LUXOS_PROBED = "LuxOS of an S21 Pro, 2026"
LUXOS_PROBE = "field inventory of probed machines in a public monitor's reference of miner firmware"
POOLS_SOURCE = (
    "cgminer's own API and recordings of it by Canaan, Bitmain and VNish that agree with each other"
)

CGMINER_POOL: dict[str, tuple[str, ...]] = {
    "text": ("URL", "Status", "Long Poll", "User", "Proxy Type", "Proxy", "Stratum URL"),
    "number": (
        *("POOL", "Priority", "Quota", "Getworks", "Accepted", "Rejected", "Works", "Discarded", "Stale"),
        *("Get Failures", "Remote Failures", "Diff1 Shares", "Difficulty Accepted", "Difficulty Rejected"),
        *("Difficulty Stale", "Last Share Difficulty", "Work Difficulty", "Stratum Difficulty"),
        *("Best Share", "Pool Rejected%", "Pool Stale%", "Bad Work", "Current Block Height"),
        "Current Block Version",
    ),
    "truth": ("Has Stratum", "Stratum Active"),
}

POOLS = tuple(
    Shape(
        family=family,
        firmware=firmware,
        source=POOLS_SOURCE,
        request="pools",
        path=("POOLS", 0),
        fields=CGMINER_POOL,
    )
    for family, firmware in (
        ("avalon", "Avalon 1566, 24102401_25462b2_9ddf522"),
        ("whatsminer", "Whatsminer M30S+ of 2022"),
        ("auradine", "FluxOS 2023-12.27 to 2.2.0"),
    )
)

LUXOS_SHAPES = (
    Shape(
        family="luxos",
        firmware=LUXOS_PROBED,
        source=LUXOS_PROBE,
        request="stats",
        path=("STATS", 1),
        fields={
            "number": (
                *("STATS", "Elapsed", "GHS 5s", "GHS av", "rate_30m", "frequency", "total_freqavg"),
                *("temp_max", "fan_num", "total_rateideal", "total_acn", "miner_count"),
                *(f"{name}{board}" for name in ("freq", "temp", "temp2_") for board in BOARDS),
                *(f"{name}{board}" for name in ("chain_acn", "chain_hw") for board in (*BOARDS, 4)),
                *(f"fan{fan}" for fan in range(1, 5)),
            ),
            "text": (
                *("ID", "rate_unit"),
                *(
                    f"{name}{board}"
                    for name in ("temp_chip", "temp_pcb", "temp_pic")
                    for board in (*BOARDS, 4)
                ),
                *(f"{name}{board}" for name in ("chain_rate", "chain_acs") for board in (*BOARDS, 4)),
            ),
        },
    ),
    Shape(
        family="luxos",
        firmware=LUXOS_PROBED,
        source=LUXOS_PROBE,
        request="stats",
        path=("STATS", 0),
        fields={"text": ("Miner", "Type")},
    ),
    Shape(
        family="luxos",
        firmware="LuxOS 2024.6.18",
        source="LuxorLabs/luxos-tooling, README",
        request="version",
        path=("VERSION", 0),
        fields={"text": ("API", "CompileTime", "LUXminer", "Miner", "Type")},
    ),
    Shape(
        family="luxos",
        firmware=LUXOS_PROBED,
        source=LUXOS_PROBE,
        request="summary",
        path=("SUMMARY", 0),
        fields={"number": tuple(f"GHS {span}" for span in ("5s", "1m", "5m", "15m", "30m", "24h", "av"))},
    ),
    Shape(
        family="luxos",
        firmware=LUXOS_PROBED,
        source=LUXOS_PROBE,
        request="power",
        path=("POWER", 0),
        fields={"number": ("Watts",), "truth": ("PSU",)},
    ),
    Shape(
        family="luxos",
        firmware=LUXOS_PROBED,
        source=LUXOS_PROBE,
        request="profiles",
        path=("PROFILES", 0),
        fields={
            "text": ("Profile Name", "Step"),
            "number": ("Frequency", "Voltage", "Hashrate", "Watts"),
            "truth": ("IsDynamic", "IsTuned"),
        },
    ),
    Shape(
        family="luxos",
        firmware=LUXOS_PROBED,
        source=LUXOS_PROBE,
        request="fans",
        path=("FANCTRL", 0),
        fields={"number": ("FanMaxSpeed", "FanMinSpeed", "MinFans", "PowerOffSpeed")},
    ),
    Shape(
        family="luxos",
        firmware=LUXOS,
        source=LUXOS_SOURCE,
        request="devdetails",
        path=("DEVDETAILS", 0),
        fields={
            "text": (
                *("Board", "Device Path", "Driver", "Kernel", "Model", "Name", "Profile", "SerialNumber"),
            ),
            "number": ("DEVDETAILS", "ID", "Chips", "Cores", "Frequency", "Voltage"),
        },
    ),
    Shape(
        family="luxos",
        firmware=LUXOS,
        source=LUXOS_SOURCE,
        request="pools",
        path=("POOLS", 0),
        fields={
            "text": ("URL", "Status", "User", "Stratum URL", "Diff"),
            "number": (
                *("POOL", "GROUP", "Priority", "Quota", "Getworks", "Accepted", "Rejected", "Stale"),
                *("Diff1 Shares", "Pool Rejected%", "Pool Stale%", "Best Share", "Difficulty Accepted"),
                *("Difficulty Rejected", "Difficulty Stale", "Last Share Diff", "Stratum Difficulty"),
            ),
            "truth": ("Stratum Active",),
        },
    ),
)
