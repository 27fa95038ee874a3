"""The messages that Braiins OS+ fills over gRPC: names and kinds alone, as in `shapes`."""

from __future__ import annotations

from tests.simulators.shapes import Shape

BOS_API = "Braiins OS+ public API, 1.x"
BOS_PROTO = "braiins/bos-plus-api, proto/bos/v1: messages and optionals of real machines, none deprecated"
SPANS = ("5_s", "15_s", "30_s", "1_m", "5_m", "15_m", "30_m", "1_h", "24_h")
DETAILS, STATS, BOARDS = (f"MinerService/Get{name}" for name in ("MinerDetails", "MinerStats", "Hashboards"))
COOLING, POOLS = "CoolingService/GetCoolingState", "PoolService/GetPoolGroups"
TUNER, MODE = (f"PerformanceService/Get{name}" for name in ("TunerState", "ActivePerformanceMode"))
LIMITS, SETTINGS = (f"ConfigurationService/Get{name}" for name in ("Constraints", "MinerConfiguration"))
SCALING = ("power_step", "hashrate_step", "min_power_target", "min_hashrate_target", "shutdown_duration")


def _message(method: str, path: tuple[str | int, ...], **fields: tuple[str, ...]) -> Shape:
    return Shape(
        family="braiins", firmware=BOS_API, source=BOS_PROTO, request=method, path=path, fields=fields
    )


MESSAGES = (
    _message(
        DETAILS,
        (),
        text=("uid", "hostname", "mac_address", "kernel_version", "serial_number"),
        object=("miner_identity", "bos_version", "sticker_hashrate", "psu_info"),
    ),
    _message(DETAILS, ("miner_identity",), text=("name", "miner_model")),
    _message(DETAILS, ("bos_version",), text=("current", "major"), truth=("bos_plus",)),
    _message(
        DETAILS,
        ("psu_info",),
        number=("version", "fw_version"),
        text=("serial_number", "model_name"),
        object=("min_voltage", "max_voltage"),
    ),
    _message(STATS, (), object=("pool_stats", "miner_stats", "power_stats")),
    _message(
        STATS,
        ("pool_stats",),
        number=(
            *("accepted_shares", "rejected_shares", "stale_shares", "last_difficulty", "best_share"),
            "generated_work",
        ),
    ),
    _message(
        STATS,
        ("miner_stats",),
        object=("real_hashrate", "nominal_hashrate", "error_hashrate"),
        number=("best_share",),
    ),
    _message(
        STATS,
        ("miner_stats", "real_hashrate"),
        object=(*(f"last_{span}" for span in SPANS), "since_restart"),
    ),
    _message(STATS, ("power_stats", "approximated_consumption"), number=("watt",)),
    _message(STATS, ("power_stats", "efficiency"), number=("joule_per_terahash",)),
    _message(
        BOARDS,
        ("hashboards", 0),
        text=("id", "model", "serial_number", "board_name", "chip_type"),
        truth=("enabled",),
        number=("chips_count",),
        object=(
            *("current_voltage", "current_frequency", "highest_chip_temp", "board_temp", "stats"),
            *("lowest_inlet_temp", "highest_outlet_temp"),
        ),
    ),
    _message(COOLING, (), list=("fans",), object=("highest_temperature",)),
    _message(COOLING, ("fans", 1), number=("position", "rpm", "target_speed_ratio")),
    _message(
        TUNER,
        ("power_target_mode_state", "profile"),
        object=("target", "measured_hashrate", "estimated_power_consumption"),
    ),
    _message(MODE, ("tuner_mode", "power_target", "power_target"), number=("watt",)),
    _message(POOLS, ("pool_groups", 0), text=("name",), object=("quota",), list=("pools",)),
    _message(
        POOLS,
        ("pool_groups", 0, "pools", 0),
        text=("uid", "url", "user"),
        truth=("enabled", "alive", "active"),
        object=("stats",),
    ),
    _message(
        LIMITS,
        (),
        object=("tuner_constraints", "cooling_constraints", "dps_constraints", "hashboards_constraints"),
    ),
    _message(LIMITS, ("tuner_constraints",), object=("power_target", "hashrate_target", "enabled")),
    _message(LIMITS, ("tuner_constraints", "power_target"), object=("default", "min", "max")),
    _message(
        LIMITS,
        ("cooling_constraints",),
        object=(
            *("target_temperature", "hot_temperature", "dangerous_temperature", "fan_speed_ratio"),
            "minimum_required_fans",
        ),
    ),
    _message(LIMITS, ("dps_constraints",), object=(*SCALING, "shutdown_enabled", "enabled")),
    _message(
        LIMITS,
        ("hashboards_constraints",),
        list=("hashboard_ids",),
        object=("enabled", "frequency", "voltage"),
    ),
    _message(
        SETTINGS,
        (),
        list=("pool_groups",),
        object=("temperature", "tuner", "dps", "hashboard_config"),
    ),
    _message(SETTINGS, ("tuner",), truth=("enabled",), object=("power_target", "hashrate_target")),
    _message(SETTINGS, ("dps",), truth=("enabled", "shutdown_enabled"), object=SCALING),
    _message(
        SETTINGS,
        ("hashboard_config",),
        object=("global_frequency", "global_voltage"),
        list=("hashboards",),
    ),
)
