"""What a GPU tells beyond what deciding needs: for metrics, the API, and whoever asks what is wrong with it.

Power, limits and energy are the whole board's, also where it is cut into MIG instances. A value that the
board did not give is None, never a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from controller.domain.power import Power


class Throttle(StrEnum):
    """Why the clocks are lower than they could be (NVML's clocks event reasons; idle is none of them)."""

    POWER_CAP = "power_cap"
    POWER_BRAKE = "power_brake"
    HW_SLOWDOWN = "hw_slowdown"
    HW_THERMAL = "hw_thermal"
    SW_THERMAL = "sw_thermal"
    APPLICATION_CLOCKS = "application_clocks"
    SYNC_BOOST = "sync_boost"
    DISPLAY = "display"


class GpuHealth(StrEnum):
    """DEGRADED still works: memory failed, or waits to be mapped out. SILENT says nothing of the board."""

    OK = "ok"
    DEGRADED = "degraded"
    NEEDS_RESET = "needs_reset"
    LOST = "lost"
    SILENT = "silent"

    @property
    def takes_jobs(self) -> bool:
        """Whether new work may be put on it: what waits for a reset should become idle, to have one."""
        return self not in (GpuHealth.NEEDS_RESET, GpuHealth.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process that holds the board. `name` is empty where the host does not tell it. One that has `ended`
    holds it until the driver lets go; None where nobody can tell whether it has."""

    pid: int
    memory_bytes: int | None
    name: str = ""
    instance: int | None = None
    ended: bool | None = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MigInstance:
    uuid: str
    name: str
    instance: int
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuIdentity:
    """`index` is NVML's, which another boot may change."""

    uuid: str
    model: str = ""
    index: int | None = None
    pci_bus_id: str = ""
    driver: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPower:
    """`instant` and `average` (over a second) as the board measures them; energy since it was first read."""

    instant: Power | None = None
    average: Power | None = None
    energy_j: float | None = None
    requested: Power | None = None
    enforced: Power | None = None
    default: Power | None = None
    least: Power | None = None
    most: Power | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuHeat:
    """Thresholds in degrees, or as margins to the slowdown: a board has one or the other."""

    core_c: float | None = None
    memory_c: float | None = None
    margin_c: float | None = None
    slowdown_c: float | None = None
    shutdown_c: float | None = None
    memory_max_c: float | None = None
    slowdown_margin_c: float | None = None
    shutdown_margin_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLoad:
    """Utilisation is 0..1; a board in MIG mode tells none. `throttled_s` counts from the driver's start."""

    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    utilisation: float | None = None
    memory_utilisation: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    throttles: frozenset[Throttle] | None = None
    throttled_s: Mapping[Throttle, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemoryErrors:
    """Volatile counts begin with the driver, aggregate ones with the board's life."""

    corrected_volatile: int | None = None
    corrected_aggregate: int | None = None
    uncorrected_volatile: int | None = None
    uncorrected_aggregate: int | None = None
    rows_corrected: int | None = None
    rows_uncorrected: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    retirement_pending: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuDetail:
    """`why` says what is wrong, `xids` counts by code since we started; `mig` is None outside its mode."""

    identity: GpuIdentity
    health: GpuHealth
    why: tuple[str, ...] = ()
    power: GpuPower = GpuPower()
    heat: GpuHeat = GpuHeat()
    load: GpuLoad = GpuLoad()
    errors: GpuMemoryErrors = GpuMemoryErrors()
    xids: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    last_xid: int | None = None
    mig: tuple[MigInstance, ...] | None = None
    processes: tuple[GpuProcess, ...] | None = None
