"""The one description of the state file that a simulated NVML library and its plant share.

Both sides are made from it, Python by struct offsets and C by a generated header: they cannot disagree.
"""

from __future__ import annotations

import zlib
from enum import IntEnum, StrEnum

STATE_VARIABLE = "WATTSHIFT_NVML_STATE"
STATE_BESIDE = "nvml.state"
"""Name of a state file beside a copy of the library: that copy reads it, whatever the variable says."""
MAX_GPUS = 1024
HEADER_BYTES = 256
TEXT_BYTES = 96
RECORD_WORDS = 96
FAULT = 0x7FA7_0000_0000_0000  # a word at or above it stands for the NVML error code in its low half


class Header(StrEnum):
    """Words at the start of the file, eight bytes each; two version texts follow them."""

    MAGIC = "magic"
    LAYOUT = "layout"
    GPU_COUNT = "gpu_count"
    LATENCY_US = "latency_us"
    INIT_ERROR = "init_error"
    SETTERS_DENIED = "setters_denied"


class Text(StrEnum):
    """Texts at the start of each GPU's record, `TEXT_BYTES` each with a closing zero."""

    NAME = "name"
    UUID = "uuid"
    SERIAL = "serial"
    PCI_BUS_ID = "pci_bus_id"


class Word(StrEnum):
    """Numbers of a GPU, eight bytes each: whole units, last in the name. Order is the file's order."""

    INDEX = "index"
    ERROR_CODE = "error_code"
    POWER_MW = "power_mw"
    AVERAGE_POWER_MW = "average_power_mw"
    REQUESTED_LIMIT_MW = "requested_limit_mw"
    OUTSIDE_LIMIT_MW = "outside_limit_mw"
    MIN_LIMIT_MW = "min_limit_mw"
    MAX_LIMIT_MW = "max_limit_mw"
    DEFAULT_LIMIT_MW = "default_limit_mw"
    OBEDIENCE = "obedience"
    DENIED = "denied"
    SET_SEQUENCE = "set_sequence"
    SET_AT_NS = "set_at_ns"
    TEMPERATURE_C = "temperature_c"
    MEMORY_TEMPERATURE_C = "memory_temperature_c"
    MARGIN_C = "margin_c"
    SLOWDOWN_C = "slowdown_c"
    SHUTDOWN_C = "shutdown_c"
    MEMORY_MAX_C = "memory_max_c"
    SHUTDOWN_MARGIN_C = "shutdown_margin_c"
    SLOWDOWN_MARGIN_C = "slowdown_margin_c"
    MEMORY_MAX_MARGIN_C = "memory_max_margin_c"
    GPU_MAX_MARGIN_C = "gpu_max_margin_c"
    UTILISATION_PERCENT = "utilisation_percent"
    MEMORY_UTILISATION_PERCENT = "memory_utilisation_percent"
    SM_CLOCK_MHZ = "sm_clock_mhz"
    MAX_SM_CLOCK_MHZ = "max_sm_clock_mhz"
    MEMORY_CLOCK_MHZ = "memory_clock_mhz"
    LOCKED_MIN_CLOCK_MHZ = "locked_min_clock_mhz"
    LOCKED_MAX_CLOCK_MHZ = "locked_max_clock_mhz"
    ENERGY_MJ = "energy_mj"
    ENERGY_AT_NS = "energy_at_ns"
    ENERGY_TOLD_MJ = "energy_told_mj"
    EVENT_REASONS = "event_reasons"
    POWER_VIOLATION_NS = "power_violation_ns"
    THERMAL_VIOLATION_NS = "thermal_violation_ns"
    SW_THERMAL_NS = "sw_thermal_ns"
    HW_THERMAL_NS = "hw_thermal_ns"
    POWER_BRAKE_NS = "power_brake_ns"
    MEMORY_TOTAL_BYTES = "memory_total_bytes"
    MEMORY_USED_BYTES = "memory_used_bytes"
    PERSISTENCE = "persistence"
    COMPUTE_CAPABILITY = "compute_capability"
    LATENCY_US = "latency_us"
    ECC_MODE = "ecc_mode"
    ECC_CORRECTED_VOLATILE = "ecc_corrected_volatile"
    ECC_CORRECTED_AGGREGATE = "ecc_corrected_aggregate"
    ECC_UNCORRECTED_VOLATILE = "ecc_uncorrected_volatile"
    ECC_UNCORRECTED_AGGREGATE = "ecc_uncorrected_aggregate"
    REMAPPED_CORRECTABLE = "remapped_correctable"
    REMAPPED_UNCORRECTABLE = "remapped_uncorrectable"
    REMAP_PENDING = "remap_pending"
    REMAP_FAILURE = "remap_failure"
    RETIRED_PENDING = "retired_pending"
    RECOVERY_ACTION = "recovery_action"
    MIG_MODE = "mig_mode"
    MIG_PENDING = "mig_pending"
    MIG_INSTANCES = "mig_instances"
    XID = "xid"
    XID_SEQUENCE = "xid_sequence"
    JOB_PID = "job_pid"
    JOB_LINGERS = "job_lingers"
    JOB_DEMAND_MW = "job_demand_mw"
    JOB_BEAT_NS = "job_beat_ns"
    JOB_THROUGHPUT_PPM = "job_throughput_ppm"
    FOREIGN_PID = "foreign_pid"
    FOREIGN_MEMORY_BYTES = "foreign_memory_bytes"


class Obedience(IntEnum):
    """What a GPU makes of an accepted limit: does it, only says it does, or drops it without a word."""

    OBEYS = 0
    PRETENDS = 1
    IGNORES = 2


DRIVER_VERSION_AT = 96
NVML_VERSION_AT = 176
RECORD_BYTES = len(Text) * TEXT_BYTES + RECORD_WORDS * 8
MAGIC = int.from_bytes(b"NVMLSIM\0", "little")
LAYOUT_ID = zlib.crc32("|".join([*Header, *Text, *Word, str(RECORD_BYTES)]).encode())


def c_header() -> str:
    """The same layout for the C compiler."""
    numbers = {
        "MAX_GPUS": MAX_GPUS,
        "HEADER_BYTES": HEADER_BYTES,
        "RECORD_BYTES": RECORD_BYTES,
        "TEXT_BYTES": TEXT_BYTES,
        "WORDS_AT": len(Text) * TEXT_BYTES,
        "DRIVER_VERSION_AT": DRIVER_VERSION_AT,
        "NVML_VERSION_AT": NVML_VERSION_AT,
        "MAGIC_VALUE": f"{MAGIC}ull",
        "LAYOUT_VALUE": f"{LAYOUT_ID}ull",
        "FAULT": f"{FAULT}ull",
        "IGNORES": int(Obedience.IGNORES),
    }
    lines = [f'#define STATE_VARIABLE "{STATE_VARIABLE}"', f'#define STATE_BESIDE "{STATE_BESIDE}"']
    lines += [f"#define {name} {value}" for name, value in numbers.items()]
    for prefix, names in (("H", Header), ("T", Text), ("W", Word)):
        lines.append(f"enum {{ {', '.join(f'{prefix}_{member.name}' for member in names)} }};")
    return "\n".join(lines) + "\n"
