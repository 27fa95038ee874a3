"""What MaraFW answers, over HTTP and on TCP 4028: names and kinds alone, as in `shapes`."""

from __future__ import annotations

from tests.simulators.shapes import Shape
from tests.simulators.shapes_luxos import BOARDS, LUXOS_PROBE

MARA_WEB = "MaraFW rel 3.14_584, 2026-10"
MARA_WEB_SOURCE = "BlockOps-Mining-LLC/asic-rs-support-extension, kaonsu/src/test/mara_rel314_*.json"
MARA_CLIENT = "256foundation/asic-rs and UpstreamData/pyasic, where both read the same names"
MARA_RPC = "MaraFW of an S21 Imm., 2026"
PAGE = "/kaonsu/v1/"


def _page(
    name: str, path: tuple[str | int, ...], source: str = MARA_WEB_SOURCE, **fields: tuple[str, ...]
) -> Shape:
    return Shape(
        family="marafw", firmware=MARA_WEB, source=source, request=PAGE + name, path=path, fields=fields
    )


def _command(name: str, path: tuple[str | int, ...], **fields: tuple[str, ...]) -> Shape:
    return Shape(
        family="marafw", firmware=MARA_RPC, source=LUXOS_PROBE, request=name, path=path, fields=fields
    )


MARA_SHAPES = (
    _page(
        "brief",
        (),
        number=(
            *("elapsed", "hashrate_average", "hashrate_ideal", "hashrate_realtime", "hashrate_realtime_1d"),
            *("hashrate_realtime_1h", "hashrate_sales", "hashrate_stock", "power_consumption_estimated"),
            *("power_indicator", "temperature_average", "temperature_max", "temperature_min"),
        ),
        text=(
            *("hashrate_unit", "indicator", "indicator_long", "power_source", "status", "status_long"),
            "work_mode",
        ),
    ),
    _page(
        "overview",
        (),
        text=("control_board", "model", "model_extended", "version_firmware"),
        truth=("is_one_shot_firmware",),
    ),
    _page(
        "hashboards",
        (),
        number=("frequency_average", "hashboard_num", "hashboard_num_ideal"),
        list=("hashboards",),
    ),
    _page(
        "hashboards",
        ("hashboards", 0),
        number=(
            *("asic_num", "asic_num_ideal", "frequency_average", "hashrate_average", "hashrate_ideal"),
            *("hashrate_realtime_10m", "index", "power_consumption_estimated"),
        ),
        truth=("present",),
        list=("temperature_chip", "temperature_pcb", "temperature_raw"),
    ),
    _page(
        "fans",
        (),
        truth=("error",),
        text=("error_description", "profile"),
        list=("fans",),
        number=("percent", "total_power_consumption"),
    ),
    _page("fans", ("fans", 0), number=("current_speed", "index", "max_speed", "power_consumption")),
    _page(
        "pools",
        (0,),
        MARA_CLIENT,
        text=("status", "url", "user"),
        number=("index", "priority", "accepted", "rejected"),
    ),
    _page(
        "details",
        ("hashboard_infos", 0),
        MARA_CLIENT,
        number=("index", "hashrate_avg", "hashrate_ideal", "asic_num", "voltage", "frequency_average"),
        text=("serial_number",),
        list=("asic_infos",),
    ),
    _page("locate_miner", (), MARA_CLIENT, truth=("blinking",)),
    _command("version", ("VERSION", 0), text=("BMMiner", "Type", "Model")),
    _command(
        "summary",
        ("SUMMARY", 0),
        number=(
            *("Elapsed", "GHS 5s", "GHS av", "GHS 30m", "Accepted", "Rejected", "Hardware Errors"),
            "Best Share",
        ),
    ),
    _command(
        "stats",
        ("STATS", 1),
        number=(
            *("GHS 5s", "GHS av", "rate_30m", "frequency", "fan_num", "total_rateideal", "total_acn"),
            *("total_freqavg", "fan1", "fan2", "fan3", "fan4", "freq4", "chain_acn4", "chain_hw4"),
            *(
                f"{name}{board}"
                for name in ("temp", "temp2_", "chain_acn", "chain_hw", "freq")
                for board in BOARDS
            ),
        ),
        text=(
            *("miner_version", "temp_pcb4", "temp_chip4", "temp_pic4", "chain_rate4", "chain_acs4"),
            *(
                f"{name}{board}"
                for name in ("temp_pcb", "temp_chip", "temp_pic", "chain_rate", "chain_acs")
                for board in BOARDS
            ),
        ),
    ),
    _command(
        "devs",
        ("DEVS", 0),
        number=("Temperature", "MHS av", "MHS 5s", "Accepted", "Rejected", "Hardware Errors"),
    ),
    _command(
        "pools",
        ("POOLS", 0),
        text=("URL", "User", "Status", "Diff"),
        number=("Accepted", "Rejected", "Difficulty Accepted", "Difficulty Rejected"),
        truth=("Stratum Active",),
    ),
)
