"""What one poll asks a GPU, and what it answered: little each time, the costly things seldom.

Values are in NVML's units; None is what the board or its driver does not tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pynvml

from controller.domain.gpus import GpuIdentity, GpuLoad, GpuMemoryErrors, GpuProcess, MigInstance, Throttle
from controller.domain.power import Power
from drivers.gpu_nvml import NOT_FOUND, Board, GpuError
from drivers.gpu_processes import processes

PROCESSES_EVERY = 5
"""Reads per look at the process list, which costs the driver more than all the rest together."""
LOAD_EVERY = 5
ERRORS_EVERY = 30
LIMITS_EVERY = 60
ONCE = 1 << 62

ENERGY, MEMORY_TEMPERATURE, POWER_AVERAGE, POWER_INSTANT, REQUESTED_LIMIT = 83, 82, 185, 186, 192
SHUTDOWN_MARGIN, SLOWDOWN_MARGIN = 193, 194
ECC = {
    3: "corrected_volatile",
    4: "uncorrected_volatile",
    5: "corrected_aggregate",
    6: "uncorrected_aggregate",
}
ROWS = {142: "rows_corrected", 143: "rows_uncorrected"}
ROW_FLAGS = {31: "retirement_pending", 144: "remap_pending", 145: "remap_failed"}
RECOVERY_ACTION = 230
THROTTLED_NS = {
    74: Throttle.POWER_CAP,
    269: Throttle.SW_THERMAL,
    270: Throttle.HW_THERMAL,
    271: Throttle.POWER_BRAKE,
}
REASONS = {
    0x2: Throttle.APPLICATION_CLOCKS,
    0x4: Throttle.POWER_CAP,
    0x8: Throttle.HW_SLOWDOWN,
    0x10: Throttle.SYNC_BOOST,
    0x20: Throttle.SW_THERMAL,
    0x40: Throttle.HW_THERMAL,
    0x80: Throttle.POWER_BRAKE,
    0x100: Throttle.DISPLAY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The range in which a board takes power limits, and the limit it starts with, in whole watts."""

    min_w: int
    max_w: int
    default_w: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Degrees, or on newer boards margins to the slowdown."""

    slowdown_c: float | None = None
    shutdown_c: float | None = None
    memory_max_c: float | None = None
    slowdown_margin_c: float | None = None
    shutdown_margin_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """`recovery` is the action that NVML recommends; 0 for none."""

    identity: GpuIdentity
    power_mw: float | None
    average_mw: float | None
    energy_mj: float | None
    enforced_mw: float | None
    requested_mw: float | None
    limits: Limits | None
    core_c: float | None
    memory_c: float | None
    margin_c: float | None
    thresholds: Thresholds
    load: GpuLoad
    errors: GpuMemoryErrors
    recovery: int | None
    mig: tuple[MigInstance, ...] | None
    processes: tuple[GpuProcess, ...] | None


def take_sample(board: Board, *, who: bool = False) -> Sample:
    """`who` asks for its processes now, whenever that was done last."""
    values = board.fields((POWER_INSTANT, POWER_AVERAGE, ENERGY, MEMORY_TEMPERATURE, REQUESTED_LIMIT))
    # The power usage is a mean over one second on most boards since Ampere: too slow to prove a limit with.
    power_mw = values.get(POWER_INSTANT)
    core_c = board.ask("nvmlDeviceGetTemperatureV", pynvml.NVML_TEMPERATURE_GPU)
    if core_c is None:  # drivers before 570
        core_c = board.ask("nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU)
    slow = board.seldom(
        ERRORS_EVERY, "errors", lambda: board.fields((*ECC, *ROWS, *ROW_FLAGS, RECOVERY_ACTION))
    )
    return Sample(
        identity=board.seldom(ONCE, "identity", lambda: _identity(board)),
        power_mw=board.ask("nvmlDeviceGetPowerUsage") if power_mw is None else power_mw,
        average_mw=values.get(POWER_AVERAGE),
        energy_mj=values.get(ENERGY),
        enforced_mw=limit_in_force(board),
        requested_mw=values.get(REQUESTED_LIMIT),
        limits=limits_of(board),
        core_c=core_c,
        memory_c=values.get(MEMORY_TEMPERATURE),
        margin_c=board.ask("nvmlDeviceGetMarginTemperature"),
        thresholds=board.seldom(ONCE, "thresholds", lambda: _thresholds(board)),
        load=_load(board),
        errors=_errors(slow),
        recovery=None if (action := slow.get(RECOVERY_ACTION)) is None else int(action),
        mig=board.seldom(ERRORS_EVERY, "mig", lambda: _instances(board)),
        processes=board.seldom(1 if who else PROCESSES_EVERY, "processes", lambda: processes(board)),
    )


def limits_of(board: Board) -> Limits | None:
    return board.seldom(LIMITS_EVERY, "limits", lambda: _limits(board))


def limit_in_force(board: Board) -> float | None:
    """The enforced limit, which knows of caps from outside the driver; the requested one does not."""
    limit_mw: float | None = board.ask("nvmlDeviceGetEnforcedPowerLimit")
    return limit_mw


def set_limit(limit_mw: int, board: Board) -> float | None:
    """Set a limit and read back what is in force.

    The first version of the setter on purpose: the binding's wrapper of the second one drops the return
    code. Persistence mode keeps the driver, and with it the limit, alive when the last program closes.
    """
    board.call("nvmlDeviceSetPowerManagementLimit", limit_mw)
    if board.ask("nvmlDeviceGetPersistenceMode") == pynvml.NVML_FEATURE_DISABLED:
        board.ask("nvmlDeviceSetPersistenceMode", pynvml.NVML_FEATURE_ENABLED)
    return limit_in_force(board)


def throttles_in(mask: int) -> frozenset[Throttle]:
    return frozenset(reason for bit, reason in REASONS.items() if mask & bit)


def _limits(board: Board) -> Limits | None:
    constraints = board.ask("nvmlDeviceGetPowerManagementLimitConstraints")
    default_mw = board.ask("nvmlDeviceGetPowerManagementDefaultLimit")
    if constraints is None or default_mw is None:
        return None
    min_mw, max_mw = constraints
    return Limits(
        min_w=Power.up(min_mw / 1000).watts,
        max_w=Power.down(max_mw / 1000).watts,
        default_w=Power.up(default_mw / 1000).watts,
    )


def _identity(board: Board) -> GpuIdentity:
    pci = board.ask("nvmlDeviceGetPciInfo")
    return GpuIdentity(
        uuid=board.uuid,
        model=board.ask("nvmlDeviceGetName") or "",
        index=board.ask("nvmlDeviceGetIndex"),
        pci_bus_id="" if pci is None else pci.busId,
        driver=board.about_host("nvmlSystemGetDriverVersion") or "",
    )


def _thresholds(board: Board) -> Thresholds:
    relative = board.fields((SHUTDOWN_MARGIN, SLOWDOWN_MARGIN))

    def absolute(which: int) -> float | None:
        degrees: float | None = board.ask("nvmlDeviceGetTemperatureThreshold", which)
        return degrees

    return Thresholds(
        slowdown_c=absolute(pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN),
        shutdown_c=absolute(pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN),
        memory_max_c=absolute(pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX),
        slowdown_margin_c=relative.get(SLOWDOWN_MARGIN),
        shutdown_margin_c=relative.get(SHUTDOWN_MARGIN),
    )


def _load(board: Board) -> GpuLoad:
    mask = board.ask("nvmlDeviceGetCurrentClocksEventReasons")
    load = board.seldom(LOAD_EVERY, "load", lambda: _utilisation(board))
    return replace(load, throttles=None if mask is None else throttles_in(mask))


def _utilisation(board: Board) -> GpuLoad:
    rates = board.ask("nvmlDeviceGetUtilizationRates")
    memory = board.ask("nvmlDeviceGetMemoryInfo")
    values = board.fields(tuple(THROTTLED_NS))
    return GpuLoad(
        sm_clock_mhz=board.ask("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM),
        memory_clock_mhz=board.ask("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_MEM),
        utilisation=None if rates is None else rates.gpu / 100,
        memory_utilisation=None if rates is None else rates.memory / 100,
        memory_used_bytes=None if memory is None else memory.used,
        memory_total_bytes=None if memory is None else memory.total,
        throttled_s=MappingProxyType(
            {reason: values[field] / 1e9 for field, reason in THROTTLED_NS.items() if field in values}
        ),
    )


def _errors(values: Mapping[int, float]) -> GpuMemoryErrors:
    counts = {name: int(values[field]) for field, name in (ECC | ROWS).items() if field in values}
    flags = {name: bool(values[field]) for field, name in ROW_FLAGS.items() if field in values}
    told: dict[str, Any] = counts | flags
    return GpuMemoryErrors(**told)


def _instances(board: Board) -> tuple[MigInstance, ...] | None:
    """The MIG instances of a board that is cut into some; None where it is not."""
    mode = board.ask("nvmlDeviceGetMigMode")
    if mode is None or not mode[0]:
        return None
    found: list[MigInstance] = []
    for at in range(board.ask("nvmlDeviceGetMaxMigDeviceCount") or 0):
        try:
            part = board.part("nvmlDeviceGetMigDeviceHandleByIndex", at)
        except GpuError as error:
            if error.code != NOT_FOUND:
                raise
            continue
        memory = part.ask("nvmlDeviceGetMemoryInfo")
        found.append(
            MigInstance(
                uuid=part.call("nvmlDeviceGetUUID"),
                name=part.ask("nvmlDeviceGetName") or "",
                instance=part.call("nvmlDeviceGetGpuInstanceId"),
                memory_bytes=None if memory is None else memory.total,
            )
        )
    return tuple(found)
