"""Carries limits and jobs from an NVML state file into a plant's GPUs, and their physics back.

Call `exchange` after every step of the plant: it keeps no time of its own and decides nothing.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from simulators.nvml.layout import Obedience, Word
from simulators.nvml.state import GPU_IS_LOST, Board, NvmlGpu, NvmlState
from simulators.physics.gpu import Gpu
from simulators.plant import Plant

BEAT_STALE_NS = 500_000_000  # a job stopped with SIGSTOP computes nothing, and its beat stops with it
AVERAGE_S = 1.0  # NVML's power usage is a mean over one second on Ampere and newer, GA100 excepted
MEMORY_ABOVE_CORE_C = 5
IDLE_CLOCK_MHZ = 345
JOB_MEMORY = 0.9

REASON_IDLE, REASON_POWER_CAP, REASON_SLOWDOWN, REASON_THERMAL, REASON_BRAKE = 0x1, 0x4, 0x8, 0x40, 0x80
VIOLATION_OF = {
    REASON_POWER_CAP: Word.POWER_VIOLATION_NS,
    REASON_THERMAL: Word.HW_THERMAL_NS,
    REASON_BRAKE: Word.POWER_BRAKE_NS,
}
AN_HOUR_US = 3_600_000_000
UNINITIALIZED, RESET_REQUIRED = 1, 16
OFF_THE_BUS_XID, UNCORRECTABLE_XID = 79, 48
RECOVER_BY_RESET = 1
FOREIGN_BYTES = 2**30


def create_state(path: Path, gpus: Iterable[Gpu]) -> NvmlState:
    """A state file for the GPUs of one host."""
    return NvmlState.create(path, {gpu.uuid: _board(gpu) for gpu in gpus})


class NvmlFace:
    """The GPUs of one state file, each joined to the plant's GPU of the same UUID."""

    def __init__(self, state: NvmlState, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._joints = {gpu.uuid: _Joint(gpu) for gpu in state.gpus}

    def exchange(self, plant: Plant) -> None:
        now_ns = self._clock_ns()
        for gpu in plant.gpus.values():
            joint = self._joints.get(gpu.uuid)
            if joint is not None:
                gpu.account(plant.now_s)
                joint.carry_faults(gpu)
                joint.carry_limit(gpu)
                joint.carry_job(gpu, now_ns)
                joint.carry_physics(gpu, plant.now_s, now_ns)


class _Joint:
    """One GPU on both sides, and what each said last: so a change shows on which side it was made."""

    def __init__(self, record: NvmlGpu) -> None:
        self._record = record
        self._asked_mw = -1
        self._limit_w = -1.0
        self._lost_as = 0
        self._killed_at_ns = 0
        self._violated_s = 0.0
        self._has_outside_limit = False
        self._energy_from_j = 0.0
        self._energy: deque[tuple[float, float]] = deque()

    def carry_limit(self, gpu: Gpu) -> None:
        record = self._record
        if record.enforced_limit_mw != self._asked_mw:
            gpu.orders += self._asked_mw >= 0  # the first is what it has from its factory
            self._asked_mw = record.enforced_limit_mw
            if record[Word.OBEDIENCE] != Obedience.PRETENDS:
                gpu.set_limit(self._asked_mw / 1000)
                self._limit_w = gpu.limit_w
        if gpu.limit_w != self._limit_w:  # a reset or a power cut: no one asked for it through NVML
            self._limit_w = gpu.limit_w
            record[Word.REQUESTED_LIMIT_MW] = round(gpu.limit_w * 1000)
            self._asked_mw = record.enforced_limit_mw

    def carry_job(self, gpu: Gpu, now_ns: int) -> None:
        record = self._record
        self._carry_end(gpu, now_ns)
        record[Word.FOREIGN_PID] = os.getpid() if gpu.faults.foreign_w else 0
        record[Word.FOREIGN_MEMORY_BYTES] = FOREIGN_BYTES if gpu.faults.foreign_w else 0
        beating = now_ns - record[Word.JOB_BEAT_NS] <= BEAT_STALE_NS
        gpu.work(record[Word.JOB_DEMAND_MW] / 1000 if beating else 0.0)

    def _carry_end(self, gpu: Gpu, now_ns: int) -> None:
        """A job that was killed asks for nothing more; its board is let go when the driver has come to it."""
        record = self._record
        if not record[Word.JOB_PID] or record.holder is not None:
            self._killed_at_ns = now_ns
            return
        record[Word.JOB_DEMAND_MW] = 0
        record[Word.JOB_LINGERS] = int(now_ns - self._killed_at_ns < gpu.faults.lets_go_after_s * 1e9)
        if not record[Word.JOB_LINGERS]:
            record[Word.JOB_PID] = 0

    def carry_faults(self, gpu: Gpu) -> None:
        record, faults = self._record, gpu.faults
        record[Word.LATENCY_US] = AN_HOUR_US if faults.hangs else round(faults.slow_s * 1e6)
        record[Word.DENIED] = int(faults.denied)
        if faults.xid_now:
            record.raise_xid(round(faults.xid_now))
            faults.xid_now = 0.0
        if (new := round(faults.ecc_uncorrected) - record[Word.ECC_UNCORRECTED_VOLATILE]) > 0:
            record[Word.ECC_UNCORRECTED_VOLATILE] += new
            record[Word.ECC_UNCORRECTED_AGGREGATE] += new
            record.raise_xid(UNCORRECTABLE_XID)
        record.tell(Word.REMAP_PENDING, int(faults.row_remap_pending))
        record.tell(Word.REMAP_FAILURE, int(faults.row_remap_failed))
        unwell = faults.needs_reset or faults.row_remap_pending
        record.tell(Word.RECOVERY_ACTION, RECOVER_BY_RESET if unwell else 0)
        if record[Word.MIG_INSTANCES] != round(faults.mig_instances):
            record.cut_into(round(faults.mig_instances))
        if faults.outside_limit_w:
            record[Word.OUTSIDE_LIMIT_MW] = round(faults.outside_limit_w * 1000)
            self._has_outside_limit = True
        elif self._has_outside_limit:
            record[Word.OUTSIDE_LIMIT_MW] = record[Word.MAX_LIMIT_MW]
            self._has_outside_limit = False
        self._carry_loss(gpu)

    def carry_physics(self, gpu: Gpu, now_s: float, now_ns: int) -> None:
        self._carry_power(gpu, now_s, now_ns)
        record = self._record
        core_c = round(gpu.temperature_c)
        clock_mhz = round(record[Word.MAX_SM_CLOCK_MHZ] * gpu.rate) if gpu.working else 0
        held = JOB_MEMORY * record[Word.MEMORY_TOTAL_BYTES] if record[Word.JOB_PID] else 0
        reasons = _reasons(gpu)
        record.tell(Word.TEMPERATURE_C, core_c)
        record.tell(Word.MEMORY_TEMPERATURE_C, core_c + MEMORY_ABOVE_CORE_C)
        record.tell(Word.MARGIN_C, record[Word.SLOWDOWN_C] - core_c)
        record.tell(Word.UTILISATION_PERCENT, 100 if gpu.working else 0)
        record.tell(Word.MEMORY_UTILISATION_PERCENT, round(60 * gpu.rate) if gpu.working else 0)
        record.tell(Word.SM_CLOCK_MHZ, max(clock_mhz, IDLE_CLOCK_MHZ))
        record.tell(Word.MEMORY_USED_BYTES, round(held) + record[Word.FOREIGN_MEMORY_BYTES])
        record.tell(Word.EVENT_REASONS, reasons)
        record.tell(Word.JOB_THROUGHPUT_PPM, round(gpu.rate * 1e6))
        passed_ns = round((now_s - self._violated_s) * 1e9)
        self._violated_s = now_s
        for reason, word in VIOLATION_OF.items():
            if reasons & reason:
                record.tell(word, record[word] + passed_ns)

    def _carry_power(self, gpu: Gpu, now_s: float, now_ns: int) -> None:
        record = self._record
        self._energy.append((now_s, gpu.energy_j))
        while len(self._energy) > 2 and now_s - self._energy[1][0] >= AVERAGE_S:
            self._energy.popleft()
        since_s, energy_j = self._energy[0]
        average_w = (gpu.energy_j - energy_j) / (now_s - since_s) if now_s > since_s else gpu.watts
        record.tell(Word.POWER_MW, round(gpu.says_w(now_s) * 1000))
        if not gpu.faults.frozen_reads:
            record.tell(Word.AVERAGE_POWER_MW, round(average_w * gpu.faults.reported_power_factor * 1000))
        record.tell(Word.ENERGY_MJ, round((gpu.energy_j - self._energy_from_j) * 1000))
        record.tell(Word.ENERGY_AT_NS, now_ns)

    def _carry_loss(self, gpu: Gpu) -> None:
        """Written when it changes, so that what a test does to the file alone stands."""
        lost_as = _error_of(gpu)
        if lost_as == self._lost_as:
            return
        if gpu.faults.off_the_bus:
            self._record.raise_xid(OFF_THE_BUS_XID)
        if self._lost_as == UNINITIALIZED:
            gpu.reset_limit()
            self._record.reload()
            self._energy_from_j = gpu.energy_j
        self._record[Word.ERROR_CODE] = lost_as
        self._lost_as = lost_as


def _error_of(gpu: Gpu) -> int:
    """The NVML error with which everything about it is answered; 0 for none."""
    faults = gpu.faults
    if faults.lost or faults.off_the_bus or not gpu.powered:
        return GPU_IS_LOST
    if faults.needs_reset:
        return RESET_REQUIRED
    return UNINITIALIZED if faults.driver_gone else 0


def _reasons(gpu: Gpu) -> int:
    brake = REASON_BRAKE | REASON_SLOWDOWN if gpu.faults.power_brake else 0
    slowed = brake | (REASON_SLOWDOWN if gpu.faults.hw_slowdown else 0)
    if not gpu.working:
        return REASON_IDLE | slowed
    capped = REASON_POWER_CAP if gpu.cap_w < gpu.asked_w else 0
    return capped | slowed | (REASON_THERMAL | REASON_SLOWDOWN if gpu.throttled else 0)


def _board(gpu: Gpu) -> Board:
    group = gpu.group
    return Board(
        name=group.model,
        min_w=round(group.min_w),
        max_w=round(group.max_w),
        default_w=round(group.default_limit_w),
        idle_w=round(group.idle_w),
        slowdown_c=round(group.slowdown_c),
        tells_margin=group.tells_margin,
    )
