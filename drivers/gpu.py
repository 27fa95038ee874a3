"""Nvidia GPUs through NVML: power limits as operating points, measured watts and temperatures as readings.

An accepted limit is not one in force: it is acknowledged only after it was read back. Power, limits and
energy belong to the whole board; MIG instances have none of their own and are never driven.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import structlog

from controller.domain.devices import DeviceSpec, Failed, Outcome, Reading, Refused, SetPoint
from controller.domain.gpus import GpuDetail, GpuHealth, GpuIdentity
from controller.domain.power import Limit
from drivers.base import DriverError
from drivers.gpu_config import GpuHostConfig
from drivers.gpu_curve import Curve, throughput
from drivers.gpu_energy import EnergyCounter
from drivers.gpu_host import GpuHost
from drivers.gpu_learning import Learner
from drivers.gpu_nvml import ABSENT, GpuError
from drivers.gpu_processes import Leaving
from drivers.gpu_reading import (
    AGREES_WITHIN_MW,
    detail,
    device_spec,
    judged,
    reading,
    within,
    without_answer,
)
from drivers.gpu_sample import Limits, Sample, limit_in_force, set_limit, take_sample

__all__ = ["GpuDriver", "GpuHostConfig", "build"]

READ_BACK_TRIES = 3
READ_BACK_PAUSE_S = 0.1

INVALID_ARGUMENT = 2
REFUSALS = ABSENT | {INVALID_ARGUMENT}

log = structlog.get_logger()


def build(config: GpuHostConfig, learner: Learner | None = None) -> tuple[GpuDriver, ...]:
    host = GpuHost(library=config.library, timeout_s=config.timeout_s)
    return tuple(
        GpuDriver(host, uuid, f"{config.id}-gpu{at}", config, learner) for at, uuid in enumerate(config.uuids)
    )


class GpuDriver:
    """A `Driver` for one GPU, found by its UUID: the order of enumeration changes between boots."""

    def __init__(
        self,
        host: GpuHost,
        uuid: str,
        device: str,
        config: GpuHostConfig,
        learner: Learner | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._uuid = uuid
        self._config = config
        self._learner = learner if config.learn else None
        self._clock = clock
        self._limits = Limits(min_w=config.min_w, max_w=config.max_w, default_w=config.default_w)
        self._curve = config.prior()
        self._memory = config.memory_thermal(None)
        self._spec = device_spec(device, config, self._limits, self._curve, self._memory)
        self._identity = GpuIdentity(uuid=uuid)
        self._energy = EnergyCounter(config.max_w)
        self._detail: GpuDetail | None = None
        self._xids_from = 0
        self._broken = False
        self._leaving = Leaving()
        self._health = GpuHealth.OK
        self._thread = host.attach(uuid)

    @property
    def spec(self) -> DeviceSpec:
        return self._spec

    @property
    def detail(self) -> GpuDetail | None:
        """What the last read told beyond its reading; None before the first. For metrics and the API."""
        return self._detail

    @property
    def takes_jobs(self) -> bool:
        """Whether new work may be put on it, for all that is known."""
        return self._leaving.is_over and (self._detail is None or self._detail.health.takes_jobs)

    def job_left(self) -> None:
        """A job that was on it has ended. It takes no other until nothing of that was seen to be on it."""
        self._leaving.left()

    async def read(self) -> Reading:
        after, must_look = self._leaving.jobs_left, not self._leaving.is_over
        try:
            sample = await self._thread.run("read", partial(take_sample, who=must_look))
            if sample.limits is not None:
                within(self._config, self._uuid, sample.limits)
        except DriverError as error:
            told = without_answer(self._identity, error, self._host.xids(self._uuid))
            self._broken = self._broken or not told.health.takes_jobs
            self._tell(told)
            raise
        self._identity = sample.identity
        self._leaving.saw(sample.processes or (), self._clock(), after=after)
        self._follow(sample)
        read = reading(self._spec, sample, partial(throughput, self._curve, self._limits.default_w))
        self._tell(self._told_by(sample))
        if self._learner is not None and isinstance(read.setting, Limit):
            cap = read.setting.power.watts / self._limits.default_w
            prior = self._config.prior(self._identity.model)
            self._learner.limited(self._spec.id, self._identity.model, cap, prior)
        return read

    async def apply(self, command: SetPoint) -> Outcome:
        watts = command.point.power.watts
        if not self._limits.min_w <= watts <= self._limits.max_w:
            own = f"{self._limits.min_w} to {self._limits.max_w} W"
            return Refused(f"GPU {self._uuid}: takes limits from {own}, not {watts} W")
        limit_mw = watts * 1000
        try:
            async with asyncio.timeout(command.deadline_s):
                in_force_mw = await self._thread.run(
                    f"limit to {watts} W", partial(set_limit, limit_mw), command.deadline_s
                )
                for _ in range(READ_BACK_TRIES - 1):
                    if in_force_mw is not None and abs(in_force_mw - limit_mw) > AGREES_WITHIN_MW:
                        await asyncio.sleep(READ_BACK_PAUSE_S)
                        in_force_mw = await self._thread.run("read-back", limit_in_force)
        except GpuError as error:
            return Refused(str(error)) if error.code in REFUSALS else Failed(str(error))
        except DriverError as error:
            return Failed(str(error))
        except TimeoutError:
            return Failed(f"GPU {self._uuid}: no answer within {command.deadline_s:g} s")
        return judged(self._uuid, watts, in_force_mw)

    async def close(self) -> None:
        self._host.detach(self._uuid)

    def _follow(self, sample: Sample) -> None:
        """Take over what the board says of itself, and what is known of its work.

        It may do less than configured, never more. The watts of its points are its own; only what they are
        worth changes with the curve.
        """
        limits = self._limits if sample.limits is None else within(self._config, self._uuid, sample.limits)
        curve: Curve = self._config.prior(sample.identity.model)
        if self._learner is not None:
            curve = self._learner.curve(self._spec.id, curve)
        memory = self._config.memory_thermal(sample.thresholds.memory_max_c)
        if (limits, curve, memory) != (self._limits, self._curve, self._memory):
            self._limits, self._curve, self._memory = limits, curve, memory
            self._spec = device_spec(self._spec.id, self._config, limits, curve, memory)

    def _told_by(self, sample: Sample) -> GpuDetail:
        xids = self._host.xids(self._uuid)
        if self._broken:  # it was reset meanwhile: what it said before that is over
            self._broken, self._xids_from = False, xids.total
        if sample.energy_mj is not None:
            self._energy.add(sample.energy_mj, self._clock())
        stuck = self._leaving.stuck(self._clock())
        return detail(sample, xids, self._energy.joules, xids_from=self._xids_from, stuck=stuck)

    def _tell(self, new: GpuDetail) -> None:
        """Keep it, and log what changed for the worse or the better; silence is told by who reads."""
        before = self._detail
        self._detail = new
        if new.last_xid is not None and (before is None or before.xids != new.xids):
            log.warning("gpu_xid", device=self._spec.id, xid=new.last_xid)
        if new.health in (GpuHealth.SILENT, self._health):
            return
        self._health = new.health
        tell = log.info if new.health is GpuHealth.OK else log.warning
        tell("gpu_health", device=self._spec.id, health=new.health.value, why="; ".join(new.why))
