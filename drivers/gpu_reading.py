"""What a GPU's answers mean: its spec, its reading, its detail.

Pure. What cannot be believed is `DriverError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from controller.domain.devices import (
    Acknowledged,
    DeviceKind,
    DeviceSpec,
    OperatingPoint,
    Outcome,
    Quality,
    Reading,
    Refused,
    ThermalLimits,
)
from controller.domain.gpus import GpuDetail, GpuHealth, GpuHeat, GpuIdentity, GpuPower
from controller.domain.power import NO_LIMIT, ZERO, Limit, Power
from drivers.base import DriverError
from drivers.gpu_config import GpuHostConfig
from drivers.gpu_curve import Curve, throughput
from drivers.gpu_nvml import GPU_IS_LOST, GPU_NOT_FOUND, NOT_FOUND, RESET_REQUIRED, GpuError
from drivers.gpu_processes import LETS_GO_WITHIN_S
from drivers.gpu_sample import Limits, Sample
from drivers.gpu_xid import XidLog

DWELL_S = 5.0
SETTLE_DOWN_S = 3.0
SETTLE_UP_S = 10.0
AGREES_WITHIN_MW = 1000
BELIEVABLE_C = (-50, 150)

FELL_OFF_THE_BUS = 79
NEED_A_RESET = {48, 64, 74, 79, 95, 119, 120, 140}
"""XIDs of the board or its driver, after which it wants a reset (NVIDIA, XID errors). Those of programs (13,
31, 43, 45) say nothing of the board."""
RECOVERY = {
    1: "a reset",
    2: "a reboot of its host",
    3: "its peers drained",
    4: "to be drained and reset",
    5: "its IMEX domain recovered",
    6: "a reset of its bus",
    7: "a reboot of its system",
}


def within(config: GpuHostConfig, uuid: str, reported: Limits) -> Limits:
    """The limits to work with. A lower minimum than configured is left unused; the rest is the board's."""
    if not 0 < reported.min_w <= reported.default_w <= reported.max_w:
        raise DriverError(
            f"GPU {uuid}: says it takes limits from {reported.min_w} to {reported.max_w} W "
            f"and starts with {reported.default_w} W"
        )
    if reported.max_w > config.max_w:
        raise DriverError(
            f"GPU {uuid}: takes limits up to {reported.max_w} W, more than max_w = {config.max_w} "
            f"of gpu host {config.id}, which is what it is counted at while it is silent"
        )
    min_w = max(config.min_w, reported.min_w)
    if min_w > reported.max_w:
        raise DriverError(
            f"GPU {uuid}: takes limits from {reported.min_w} to {reported.max_w} W, none of them in "
            f"{config.min_w} to {config.max_w} W of gpu host {config.id}"
        )
    return Limits(min_w=min_w, max_w=reported.max_w, default_w=reported.default_w)


def device_spec(
    device: str, config: GpuHostConfig, limits: Limits, curve: Curve, memory: ThermalLimits | None = None
) -> DeviceSpec:
    """The ceiling is the highest limit the board takes, not the default one it reboots to.

    Where the two differ (laptops, workstations), anyone with root, the BMC and nvidia-powerd may raise the
    limit above the default, and we cannot see that in a GPU that does not answer. On data-centre boards
    they are the same, and this costs nothing.
    """
    return DeviceSpec(
        id=device,
        kind=DeviceKind.GPU,
        node=config.node,
        zone=config.zone,
        model=config.model,
        points=tuple(
            OperatingPoint(
                name=f"{watts}W",
                power=Power(watts),
                rate=throughput(curve, limits.default_w, watts),
            )
            for watts in (*range(limits.min_w, limits.max_w, config.step_w), limits.max_w)
        ),
        ceiling=Power(limits.max_w),
        thermal=ThermalLimits(derate_c=config.derate_c, trip_c=config.trip_c),
        memory_thermal=memory,
        keeps_limit=False,
        stale_after_s=config.stale_after_s,
        dwell_s=DWELL_S,
        settle_down_s=SETTLE_DOWN_S,
        settle_up_s=SETTLE_UP_S,
        restart_s=0.0,
    )


def reading(spec: DeviceSpec, sample: Sample, throughput_at: Callable[[float], float]) -> Reading:
    """A reading, if all that the GPU said can be believed. Without a measured draw it counts at its limit."""
    for said_c in (sample.core_c, sample.memory_c, sample.margin_c):
        if said_c is not None and not BELIEVABLE_C[0] <= said_c <= BELIEVABLE_C[1]:
            raise DriverError(f"{spec.id}: says {said_c:g} C")
    measured = _believed(spec, "draw", sample.power_mw)
    limit = _believed(spec, "limit", sample.enforced_mw)
    draw = limit if measured is None else measured
    if draw is None:
        raise DriverError(f"{spec.id}: tells neither its draw nor its limit")
    return Reading(
        device=spec.id,
        draw=draw,
        quality=Quality.ESTIMATED if measured is None else Quality.MEASURED,
        setting=NO_LIMIT if limit is None else Limit(limit),
        rate=throughput_at(limit.watts) if limit is not None and sample.processes else 0.0,
        hottest_c=_of_a_sensor(sample.core_c),
        memory_c=_of_a_sensor(sample.memory_c),
        margin_c=sample.margin_c,
    )


def _of_a_sensor(said_c: float | None) -> float | None:
    """As of miners: a sensor at work that reads 0 or less is broken or absent."""
    return said_c if said_c is not None and said_c > 0 else None


def detail(
    sample: Sample, xids: XidLog, energy_j: float | None, *, xids_from: int, stuck: Sequence[int] = ()
) -> GpuDetail:
    """All that the board told. `xids_from`: as many XIDs as were heard before it was last mended; `stuck`:
    processes that ended long ago and are on it still."""
    why = (*_troubles(sample, xids, xids_from), *_held(stuck))
    return GpuDetail(
        identity=sample.identity,
        health=max((health for health, _ in why), key=list(GpuHealth).index, default=GpuHealth.OK),
        why=tuple(text for _, text in why),
        power=GpuPower(
            instant=_power(sample.power_mw),
            average=_power(sample.average_mw),
            energy_j=energy_j,
            requested=_power(sample.requested_mw),
            enforced=_power(sample.enforced_mw),
            default=None if sample.limits is None else Power(sample.limits.default_w),
            least=None if sample.limits is None else Power(sample.limits.min_w),
            most=None if sample.limits is None else Power(sample.limits.max_w),
        ),
        heat=GpuHeat(
            core_c=sample.core_c,
            memory_c=sample.memory_c,
            margin_c=sample.margin_c,
            slowdown_c=sample.thresholds.slowdown_c,
            shutdown_c=sample.thresholds.shutdown_c,
            memory_max_c=sample.thresholds.memory_max_c,
            slowdown_margin_c=sample.thresholds.slowdown_margin_c,
            shutdown_margin_c=sample.thresholds.shutdown_margin_c,
        ),
        load=sample.load,
        errors=sample.errors,
        xids=xids.counts,
        last_xid=xids.last,
        mig=sample.mig,
        processes=sample.processes,
    )


def without_answer(identity: GpuIdentity, error: DriverError, xids: XidLog) -> GpuDetail:
    """What is known of a board that did not answer: nothing that was measured."""
    code = error.code if isinstance(error, GpuError) else 0
    why = [str(error)]
    if code in (GPU_IS_LOST, GPU_NOT_FOUND, NOT_FOUND):
        health = GpuHealth.LOST
        if xids.last == FELL_OFF_THE_BUS:
            why.append("XID 79: it has fallen off the bus")
    else:
        health = GpuHealth.NEEDS_RESET if code == RESET_REQUIRED else GpuHealth.SILENT
    return GpuDetail(identity=identity, health=health, why=tuple(why), xids=xids.counts, last_xid=xids.last)


def _troubles(sample: Sample, xids: XidLog, xids_from: int) -> Iterator[tuple[GpuHealth, str]]:
    errors = sample.errors
    if errors.remap_failed:
        yield GpuHealth.DEGRADED, "a failed memory row could not be remapped"
    if errors.remap_pending or errors.retirement_pending:
        yield GpuHealth.DEGRADED, "failed memory waits for a reset to be mapped out"
    if errors.uncorrected_volatile:
        yield GpuHealth.DEGRADED, f"{errors.uncorrected_volatile} memory errors that were not corrected"
    if sample.recovery:
        yield GpuHealth.NEEDS_RESET, f"NVML asks for {RECOVERY.get(sample.recovery, sample.recovery)}"
    elif sample.recovery is None and xids.last in NEED_A_RESET and xids.total > xids_from:
        yield GpuHealth.NEEDS_RESET, f"XID {xids.last}"


def _held(stuck: Sequence[int]) -> Iterator[tuple[GpuHealth, str]]:
    for pid in stuck:
        says = (
            f"process {pid} ended more than {LETS_GO_WITHIN_S:g} s ago, and its driver has not let go of it"
        )
        yield GpuHealth.NEEDS_RESET, says


def _power(milliwatts: float | None) -> Power | None:
    return None if milliwatts is None else Power.up(milliwatts / 1000)


def _believed(spec: DeviceSpec, what: str, milliwatts: float | None) -> Power | None:
    """Rounded up: neither a draw nor a limit in force may be understated."""
    if milliwatts is None:
        return None
    power = Power.up(milliwatts / 1000)
    if not ZERO < power <= spec.ceiling + spec.ceiling:
        raise DriverError(f"{spec.id}: says its {what} is {power}, which a board of {spec.ceiling} has not")
    return power


def judged(uuid: str, watts: int, in_force_mw: float | None) -> Outcome:
    if in_force_mw is None:
        return Refused(f"GPU {uuid}: took {watts} W, but its limit in force cannot be read back")
    if abs(in_force_mw - watts * 1000) > AGREES_WITHIN_MW:
        return Refused(f"GPU {uuid}: took {watts} W, but {in_force_mw / 1000:g} W are in force")
    return Acknowledged()
