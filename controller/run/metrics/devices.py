"""Metrics of devices: the fleet by truth and reason, and each device by its id."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from math import isfinite

from prometheus_client.metrics_core import Metric

from controller.decide.device import DeviceState
from controller.decide.plan import Grant
from controller.decide.words import Reason, Truth
from controller.domain.devices import DeviceKind, DeviceSpec, Reading
from controller.domain.gpus import GpuDetail
from controller.domain.power import Limit
from controller.run.board import Tick
from controller.run.metrics.families import Columns, counter, gauge, plain, table
from controller.run.metrics.gpus import LIMITS


@dataclass(frozen=True, slots=True)
class Row:
    """One device: what it was granted, what it is, and its last reading unless it is silent now."""

    grant: Grant
    spec: DeviceSpec
    state: DeviceState
    reading: Reading | None

    @property
    def seen(self) -> bool:
        return self.state.seen


def device_rows(tick: Tick) -> Iterator[Row]:
    specs = {spec.id: spec for spec in tick.inputs.specs}
    for grant in tick.plan.grants:
        state = tick.state.devices[grant.device]
        sample = tick.inputs.readings.get(grant.device) if state.seen else None
        yield Row(grant, specs[grant.device], state, sample.value if sample is not None else None)


def group_of(device: str) -> str:
    """The group a device was configured in: its id up to the last dash."""
    return device.rpartition("-")[0] or device


DEVICE: Columns[Row] = (
    ("grant_watts", "What the device may draw until the next plan", lambda r: r.grant.power.watts),
    ("worst_case_watts", "The most that the device may draw now", lambda r: r.grant.worst.watts),
    (
        "age_seconds",
        "Age of the newest reading at the last tick; absent before the first",
        lambda r: r.grant.age_s if isfinite(r.grant.age_s) else None,
    ),
    (
        "hottest_celsius",
        "The hottest chip; absent where it is not told",
        lambda r: r.reading.hottest_c if r.reading is not None else None,
    ),
    (
        "margin_celsius",
        "Distance to the device's own slowdown; absent where it is not told",
        lambda r: r.reading.margin_c if r.reading is not None else None,
    ),
)


def fleet_metrics(rows: tuple[Row, ...]) -> Iterator[Metric]:
    truths = Counter((row.spec.kind, row.grant.truth) for row in rows)
    by_truth = (((kind, truth), truths[kind, truth]) for kind in DeviceKind for truth in Truth)
    yield gauge("devices_by_truth", "How far last commands are proven", by_truth, "kind", "truth")
    reasons = Counter((row.spec.kind, row.grant.reason) for row in rows)
    by_reason = (((kind, reason), reasons[kind, reason]) for kind in DeviceKind for reason in Reason)
    yield gauge("devices_by_reason", "Why devices have their grants", by_reason, "kind", "reason")
    for kind in DeviceKind:
        drawn_w = sum(row.grant.draw.watts for row in rows if row.spec.kind is kind and row.seen)
        yield plain(f"{kind}_power_watts", f"What the {kind.upper()}s that answer say they draw", drawn_w)
    rates: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        if row.spec.kind is DeviceKind.ASIC and row.reading is not None:
            rates[group_of(row.spec.id)] += row.reading.rate
    hashing = (((group,), rate) for group, rate in rates.items())
    says = "Hash rate of the miners that answer, by device id up to the last dash"
    yield gauge("hash_rate_terahashes_per_second", says, hashing, "group")


def device_metrics(rows: tuple[Row, ...], details: Mapping[str, GpuDetail]) -> Iterator[Metric]:
    yield from table("device", DEVICE, ((row.spec.id, row) for row in rows))
    power = (((r.spec.id, r.spec.kind, r.spec.node), r.grant.draw.watts) for r in rows if r.seen)
    truth = (((r.spec.id, r.grant.truth), 1) for r in rows)
    reason = (((r.spec.id, r.grant.reason, r.grant.limited_by), 1) for r in rows)
    enforced = (
        ((r.spec.id, "enforced"), r.reading.setting.power.watts)
        for r in rows
        if r.spec.kind is DeviceKind.GPU and r.reading and isinstance(r.reading.setting, Limit)
    )
    others = (
        ((device, kind), limit.watts)
        for device, detail in details.items()
        for kind, limit_of in LIMITS.items()
        if (limit := limit_of(detail)) is not None
    )
    lies = (((r.spec.id,), r.state.lies) for r in rows)
    again = (((r.spec.id,), r.state.reasserts) for r in rows)
    yield gauge("device_power_watts", "What it draws; absent while silent", power, "device", "kind", "node")
    yield gauge("device_truth", "How far its last command is proven; always 1", truth, "device", "truth")
    yield gauge("device_reason", "Why it has its grant; always 1", reason, "device", "reason", "limited_by")
    yield gauge(
        "gpu_power_limit_watts", "Its limits, by its driver", chain(enforced, others), "device", "kind"
    )
    yield counter("device_lies", "Commands acknowledged that moved no watts", lies, "device")
    yield counter("device_reasserts", "Proven settings that were lost and set again", again, "device")
