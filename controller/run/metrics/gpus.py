"""What GPUs tell of themselves as Prometheus metrics, in our names and, where asked for, in those of DCGM.

A value that a board did not give has no series. A MIG board has one row: its instances have no power.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, UntypedMetricFamily
from prometheus_client.metrics_core import Metric

from controller.domain.gpus import GpuDetail, GpuHealth, Throttle
from controller.domain.power import Power

PREFIX = "wattshift_gpu_"
DCGM = "DCGM_FI_DEV_"
HZ_PER_MHZ = 1e6
BYTES_PER_MIB = 1 << 20

Details = Mapping[str, GpuDetail]
Values = Mapping[str, float | Power | None]
Table = tuple[tuple[str, str, str, Callable[[GpuDetail], Values]], ...]
"""Name, what it says, the label that tells its values apart, and the values of one GPU by that label."""

# Every word, not only those that hold: a rate and an alert need the zero before the one.
_GAUGES: Table = (
    (
        "board_power_watts",
        "What the board measures, over a second or at the instant",
        "kind",
        lambda d: {"instant": d.power.instant, "average": d.power.average},
    ),
    (
        "temperature_celsius",
        "The chip's and the memory's temperature",
        "sensor",
        lambda d: {"core": d.heat.core_c, "memory": d.heat.memory_c},
    ),
    (
        "threshold_celsius",
        "Where the board slows down, shuts down, and what its memory bears",
        "kind",
        lambda d: {
            "slowdown": d.heat.slowdown_c,
            "shutdown": d.heat.shutdown_c,
            "memory": d.heat.memory_max_c,
        },
    ),
    (
        "threshold_margin_celsius",
        "The same on boards that tell margins",
        "kind",
        lambda d: {"slowdown": d.heat.slowdown_margin_c, "shutdown": d.heat.shutdown_margin_c},
    ),
    (
        "clock_hertz",
        "Clocks now",
        "clock",
        lambda d: {"sm": _hertz(d.load.sm_clock_mhz), "memory": _hertz(d.load.memory_clock_mhz)},
    ),
    (
        "utilisation_ratio",
        "Share of the last sample in which kernels ran, or memory was used; none in MIG mode",
        "of",
        lambda d: {"gpu": d.load.utilisation, "memory": d.load.memory_utilisation},
    ),
    (
        "memory_bytes",
        "Memory of the board",
        "kind",
        lambda d: {"used": d.load.memory_used_bytes, "total": d.load.memory_total_bytes},
    ),
    (
        "throttle",
        "1 where the clocks are held down for this reason now",
        "reason",
        lambda d: {} if d.load.throttles is None else {r.value: r in d.load.throttles for r in Throttle},
    ),
    (
        "remapped_rows",
        "Memory rows replaced after errors",
        "error",
        lambda d: {"corrected": d.errors.rows_corrected, "uncorrected": d.errors.rows_uncorrected},
    ),
    (
        "memory_repair",
        "1 where failed memory waits for a reset, or could not be replaced",
        "state",
        lambda d: {
            "pending": d.errors.remap_pending or d.errors.retirement_pending,
            "failed": d.errors.remap_failed,
        },
    ),
)
_COUNTERS: Table = (
    (
        "throttled_seconds",
        "Time for which the clocks were held down, since the driver was loaded",
        "reason",
        lambda d: {reason.value: spent_s for reason, spent_s in d.load.throttled_s.items()},
    ),
    (
        "memory_errors",
        "ECC errors since the driver was loaded",
        "error",
        lambda d: {
            "corrected": d.errors.corrected_volatile,
            "uncorrected": d.errors.uncorrected_volatile,
        },
    ),
    (
        "lifetime_memory_errors",
        "ECC errors in the board's life",
        "error",
        lambda d: {
            "corrected": d.errors.corrected_aggregate,
            "uncorrected": d.errors.uncorrected_aggregate,
        },
    ),
    (
        "xid_errors",
        "XID errors heard since the controller started",
        "xid",
        lambda d: {str(xid): count for xid, count in d.xids.items()},
    ),
)
LIMITS: Mapping[str, Callable[[GpuDetail], Power | None]] = {
    "requested": lambda d: d.power.requested,
    "default": lambda d: d.power.default,
    "min": lambda d: d.power.least,
    "max": lambda d: d.power.most,
}
"""Beside the enforced one, which comes with the reading."""


def gpu_metrics(details: Details) -> Iterator[Metric]:
    """Everything about the GPUs of `details`, by device id."""
    yield _info(details)
    for name, says, label, values_of in _GAUGES:
        yield _fill(GaugeMetricFamily(PREFIX + name, says, labels=("device", label)), details, values_of)
    for name, says, label, values_of in _COUNTERS:
        yield _fill(CounterMetricFamily(PREFIX + name, says, labels=("device", label)), details, values_of)
    yield _fill(
        GaugeMetricFamily(PREFIX + "health", "1 for what is true of it", labels=("device", "health")),
        details,
        lambda d: {health.value: d.health is health for health in GpuHealth},
    )
    energy = CounterMetricFamily(
        PREFIX + "energy_joules", "By the board's counter, through reloads of its driver", labels=("device",)
    )
    processes = GaugeMetricFamily(PREFIX + "processes", "Compute processes that hold it", labels=("device",))
    instances = GaugeMetricFamily(PREFIX + "mig_instances", "MIG instances; 0 outside it", labels=("device",))
    for device, detail in details.items():
        if detail.power.energy_j is not None:
            energy.add_metric((device,), detail.power.energy_j)
        if detail.processes is not None:
            processes.add_metric((device,), len(detail.processes))
            instances.add_metric((device,), len(detail.mig or ()))
    yield from (energy, processes, instances)


def dcgm_metrics(details: Details) -> Iterator[Metric]:
    """What dcgm-exporter would say of these GPUs, in its names, labels and units."""
    host = socket.gethostname()
    for name, says, value_of in _DCGM:
        labels = ("gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname")
        family = UntypedMetricFamily(DCGM + name, says, labels=labels)
        for detail in details.values():
            value, index = value_of(detail), "" if detail.identity.index is None else detail.identity.index
            if value is not None:
                who = detail.identity
                seat = (str(index), who.uuid, who.pci_bus_id, f"nvidia{index}", who.model, host)
                family.add_metric(seat, _number(value))
        yield family


_DCGM: tuple[tuple[str, str, Callable[[GpuDetail], float | Power | None]], ...] = (
    (
        "POWER_USAGE",
        "Power draw (W)",
        lambda d: d.power.instant if d.power.average is None else d.power.average,
    ),
    ("POWER_USAGE_INSTANT", "Power draw at the instant (W)", lambda d: d.power.instant),
    (
        "TOTAL_ENERGY_CONSUMPTION",
        "Energy (mJ), counted from the controller's start",
        lambda d: None if d.power.energy_j is None else d.power.energy_j * 1000,
    ),
    ("POWER_MGMT_LIMIT", "Requested power limit (W)", lambda d: d.power.requested),
    ("POWER_MGMT_LIMIT_MIN", "Lowest power limit (W)", lambda d: d.power.least),
    ("POWER_MGMT_LIMIT_MAX", "Highest power limit (W)", lambda d: d.power.most),
    ("POWER_MGMT_LIMIT_DEF", "Default power limit (W)", lambda d: d.power.default),
    ("ENFORCED_POWER_LIMIT", "Power limit in force (W)", lambda d: d.power.enforced),
    ("GPU_TEMP", "Temperature of the chip (C)", lambda d: d.heat.core_c),
    ("MEMORY_TEMP", "Temperature of the memory (C)", lambda d: d.heat.memory_c),
    ("GPU_TEMP_LIMIT", "Margin to the slowdown (C)", lambda d: d.heat.margin_c),
    (
        "GPU_UTIL",
        "Utilisation (%)",
        lambda d: None if d.load.utilisation is None else 100 * d.load.utilisation,
    ),
    ("SM_CLOCK", "SM clock (MHz)", lambda d: d.load.sm_clock_mhz),
    ("MEM_CLOCK", "Memory clock (MHz)", lambda d: d.load.memory_clock_mhz),
    ("FB_USED", "Memory used (MiB)", lambda d: _mib(d.load.memory_used_bytes)),
    ("ECC_DBE_VOL_TOTAL", "Uncorrected errors since load", lambda d: d.errors.uncorrected_volatile),
    ("ECC_DBE_AGG_TOTAL", "Uncorrected errors in its life", lambda d: d.errors.uncorrected_aggregate),
    ("ROW_REMAP_FAILURE", "A row could not be remapped", lambda d: d.errors.remap_failed),
    ("XID_ERRORS", "The last XID; 0 for none", lambda d: d.last_xid or 0),
)


def _info(details: Details) -> Metric:
    # `gpu`, `UUID` and `pci_bus_id` as dcgm-exporter has them: `on (UUID)` joins its series with ours.
    labels = ("device", "gpu", "UUID", "model", "pci_bus_id", "driver")
    says = "Which board it is; always 1. UUID is that of dcgm-exporter, to join by"
    family = GaugeMetricFamily(PREFIX + "info", says, labels=labels)
    for device, detail in details.items():
        who = detail.identity
        index = "" if who.index is None else str(who.index)
        family.add_metric((device, index, who.uuid, who.model, who.pci_bus_id, who.driver), 1)
    return family


def _fill(
    family: GaugeMetricFamily | CounterMetricFamily,
    details: Details,
    values_of: Callable[[GpuDetail], Values],
) -> Metric:
    for device, detail in details.items():
        for word, value in _known(values_of(detail)):
            family.add_metric((device, word), value)
    return family


def _known(values: Values) -> Iterable[tuple[str, float]]:
    return ((word, _number(value)) for word, value in values.items() if value is not None)


def _number(value: float | Power) -> float:
    return value.watts if isinstance(value, Power) else float(value)


def _hertz(mhz: int | None) -> float | None:
    return None if mhz is None else mhz * HZ_PER_MHZ


def _mib(held: int | None) -> float | None:
    return None if held is None else held / BYTES_PER_MIB
