"""Braiins OS+ on TCP 4028 and ePIC's firmware over HTTP: names and kinds alone, as in `shapes`."""

from __future__ import annotations

from tests.simulators.shapes import Shape
from tests.simulators.shapes_luxos import CGMINER_POOL, LUXOS_PROBE

BOS_RECORDED = "BOSer 0.1.0-26ba61b9"
BOS_RECORDING = "replies of an S9 kept in the comments and tests of public clients (summary, temps)"
BOS_DOCUMENTED = "BOSminer+ 0.2.0"
BOS_DOCUMENTS = "Braiins' documents of the BOSminer API, their examples"
BOS_PROBED = "Braiins OS+ of an S21+, 2026"
EPIC = "PowerPlay 1.x to 1.38.3"
EPIC_SOURCE = "epicblockchain's dashboard README and a public exporter's types, which agree"


def _bos(
    firmware: str, source: str, request: str, path: tuple[str | int, ...], **fields: tuple[str, ...]
) -> Shape:
    return Shape(
        family="braiins", firmware=firmware, source=source, request=request, path=path, fields=fields
    )


def _epic(path: tuple[str | int, ...], **fields: tuple[str, ...]) -> Shape:
    return Shape(
        family="epic", firmware=EPIC, source=EPIC_SOURCE, request="/summary", path=path, fields=fields
    )


BRAIINS_SHAPES = (
    _bos(
        BOS_RECORDED,
        BOS_RECORDING,
        "summary",
        ("SUMMARY", 0),
        number=(
            *("Accepted", "Best Share", "Device Hardware%", "Device Rejected%", "Difficulty Accepted"),
            *("Difficulty Rejected", "Difficulty Stale", "Discarded", "Elapsed", "Found Blocks"),
            *("Get Failures", "Getworks", "Hardware Errors", "Last getwork", "Local Work", "MHS 15m"),
            *("MHS 1m", "MHS 24h", "MHS 5m", "MHS 5s", "MHS av", "Network Blocks", "Pool Rejected%"),
            *("Pool Stale%", "Rejected", "Remote Failures", "Stale", "Total MH", "Utility"),
            "Work Utility",
        ),
    ),
    _bos(BOS_RECORDED, BOS_RECORDING, "temps", ("TEMPS", 0), number=("Board", "Chip", "ID", "TEMP")),
    _bos(BOS_RECORDED, BOS_RECORDING, "version", ("VERSION", 0), text=("API", "BOSer")),
    _bos(BOS_DOCUMENTED, BOS_DOCUMENTS, "fans", ("FANS", 0), number=("FAN", "ID", "RPM", "Speed")),
    _bos(
        BOS_DOCUMENTED,
        BOS_DOCUMENTS,
        "tempctrl",
        ("TEMPCTRL", 0),
        text=("Mode",),
        number=("Dangerous", "Hot", "Target"),
    ),
    _bos(
        BOS_DOCUMENTED,
        BOS_DOCUMENTS,
        "tunerstatus",
        ("TUNERSTATUS", 0),
        number=("ApproximateChainPowerConsumption", "ApproximateMinerPowerConsumption", "PowerLimit"),
        text=("DynamicPowerScaling",),
        list=("TunerChainStatus",),
    ),
    _bos(
        BOS_DOCUMENTED,
        BOS_DOCUMENTS,
        "tunerstatus",
        ("TUNERSTATUS", 0, "TunerChainStatus", 0),
        number=(
            *("ApproximatePowerConsumptionWatt", "HashchainIndex", "Iteration", "LoadedProfileCreatedOn"),
            *("PowerLimitWatt", "StageElapsed", "TuningElapsed"),
        ),
        text=("Status",),
        truth=("TunerRunning",),
    ),
    _bos(
        BOS_DOCUMENTED,
        BOS_DOCUMENTS,
        "devdetails",
        ("DEVDETAILS", 0),
        number=("Chips", "Cores", "DEVDETAILS", "Frequency", "ID", "Voltage"),
        text=("Device Path", "Driver", "Kernel", "Model", "Name"),
    ),
    _bos(
        BOS_PROBED,
        LUXOS_PROBE,
        "devs",
        ("DEVS", 0),
        number=(
            *("ASC", "ID", "MHS 5s", "MHS 1m", "MHS 5m", "MHS 15m", "MHS av", "Nominal MHS", "Diff1 Work"),
            *("Accepted", "Rejected", "Hardware Errors", "Device Elapsed"),
        ),
        text=("Enabled", "Status"),
    ),
    _bos(
        BOS_PROBED,
        LUXOS_PROBE,
        "pools",
        ("POOLS", 0),
        **{**CGMINER_POOL, "truth": ("Has Stratum", "Stratum Active", "AsicBoost")},
    ),
)

EPIC_SHAPES = (
    _epic(
        (),
        object=(
            *("Status", "PresetInfo", "Mining", "Stratum", "Session", "Fans", "Fans Rpm", "Misc"),
            *("PerpetualTune", "Power Supply Stats", "HwConfig"),
        ),
        text=("Hostname", "Software"),
        list=("HBs", "StratumConfigs"),
    ),
    _epic(("Status",), text=("Operating State",)),
    _epic(("Mining",), text=("Coin", "Algorithm")),
    _epic(
        ("Stratum",),
        text=("Current Pool", "Current User", "Worker Unique Id Variant"),
        number=("Config Id", "Average Latency"),
        truth=("IsPoolConnected", "Worker Unique Id"),
    ),
    _epic(
        ("Session",),
        text=("Startup String",),
        number=(
            *("Startup Timestamp", "Uptime", "Last Work Timestamp", "WorkReceived", "Active HBs"),
            *("Average MHs", "Accepted", "Rejected", "Submitted", "Last Accepted Share Timestamp"),
            "Difficulty",
        ),
        object=("LastAverageMHs",),
    ),
    _epic(("Session", "LastAverageMHs"), number=("Hashrate", "Timestamp")),
    _epic(
        ("HBs", 0),
        number=(
            *("Index", "Input Voltage", "Output Voltage", "Input Current", "Output Current", "Input Power"),
            *("Output Power", "Temperature", "Core Clock Avg"),
        ),
        list=("Core Clock", "Hashrate"),
    ),
    _epic(("Fans",), number=("Fans Speed",), object=("Fan Mode",)),
    _epic(("Fans Rpm",), number=("Fans Speed 1", "Fans Speed 2", "Fans Speed 3", "Fans Speed 4")),
    _epic(("Misc",), truth=("Locate Miner State",), number=("Shutdown Temp",)),
    _epic(("StratumConfigs", 0), text=("pool", "login", "password")),
    _epic(("PerpetualTune",), truth=("Running",), object=("Algorithm",)),
    _epic(
        ("PerpetualTune", "Algorithm", "VoltageOptimizer"),
        truth=("Optimized",),
        number=("Target",),
        text=("Unit",),
    ),
    _epic(
        ("Power Supply Stats",),
        number=(
            *("Input Voltage", "Output Voltage", "Input Current", "Output Current", "Input Power"),
            *("Output Power", "Target Voltage"),
        ),
    ),
    _epic(("HwConfig", "Boards Target Clock", 0), number=("Index", "Data")),
)
