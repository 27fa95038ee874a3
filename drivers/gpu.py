"""Nvidia GPUs through NVML: power limits as operating points, measured watts and temperatures as readings.

An accepted limit is not one in force: it is acknowledged only after it was read back. Power, limits and
energy belong to the whole board; MIG slices have none of their own and are never named here.
"""

from __future__ import annotations

import asyncio
import json
import socket
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.domain.devices import (
    Acknowledged,
    DeviceKind,
    DeviceSpec,
    Failed,
    OperatingPoint,
    Outcome,
    Quality,
    Reading,
    Refused,
    SetPoint,
    ThermalLimits,
)
from controller.domain.power import NO_LIMIT, ZERO, Limit, Power
from drivers.base import DriverError
from drivers.gpu_host import GpuHost
from drivers.gpu_nvml import (
    ABSENT,
    GpuError,
    Limits,
    Sample,
    Session,
    limit_in_force,
    limits_of,
    set_limit,
    take_sample,
)

LLM_TRAINING = ((0.25, 0.186), (0.5, 0.629), (0.625, 0.784), (0.75, 0.867), (0.875, 0.923), (1.0, 1.0))
"""Pre-training on A100s: limit over default limit, throughput (arXiv 2507.00909)."""

DWELL_S = 5.0
SETTLE_DOWN_S = 3.0
SETTLE_UP_S = 10.0
READ_BACK_TRIES = 3
READ_BACK_PAUSE_S = 0.1
AGREES_WITHIN_MW = 1000

INVALID_ARGUMENT = 2
REFUSALS = ABSENT | {INVALID_ARGUMENT}
BELIEVABLE_C = (-50, 150)

Watts = Annotated[int, Field(gt=0, le=10_000)]
Fraction = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Celsius = Annotated[float, Field(gt=0, lt=150)]
Uuid = Annotated[str, Field(pattern=r"^GPU-[0-9A-Za-z-]+$")]


class GpuHostConfig(BaseModel):
    """The GPUs of one model in one host; `model` is what the site's prices call it. `curve` maps a limit, as
    a fraction of the default limit, to throughput; below its first corner it runs to (0, 0). The temperatures
    are for boards that do not tell their margin to slowdown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    node: str = Field(min_length=1)
    zone: str | None = None
    model: str = Field(default="", max_length=64)
    uuids: tuple[Uuid, ...] = Field(min_length=1, max_length=64)
    library: str | None = None
    min_w: Watts
    max_w: Watts
    default_w: Watts
    step_w: Watts = 25
    curve: tuple[tuple[Fraction, Fraction], ...] = Field(default=LLM_TRAINING, min_length=1)
    derate_c: Celsius = 83.0
    trip_c: Celsius = 90.0
    poll_s: Seconds = 1.0
    timeout_s: Seconds = 2.0
    stale_after_s: Seconds = 10.0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.min_w <= self.default_w <= self.max_w:
            raise ValueError(
                f"min_w {self.min_w} <= default_w {self.default_w} <= max_w {self.max_w} does not hold"
            )
        if len(set(self.uuids)) < len(self.uuids):
            raise ValueError("uuids: one is declared twice")
        limits, rates = zip(*self.curve, strict=True)
        if list(limits) != sorted(limits) or list(rates) != sorted(rates):
            raise ValueError("curve must ascend in both columns")
        if self.derate_c >= self.trip_c:
            raise ValueError(f"derate_c {self.derate_c} must lie below trip_c {self.trip_c}")
        if self.stale_after_s < 3 * self.poll_s:
            raise ValueError(f"stale_after_s {self.stale_after_s} is under 3 x poll_s {self.poll_s}")
        return self


def build(config: GpuHostConfig) -> tuple[GpuDriver, ...]:
    host = GpuHost(library=config.library, timeout_s=config.timeout_s)
    return tuple(
        GpuDriver(host, uuid, f"{config.id}-gpu{at}", config) for at, uuid in enumerate(config.uuids)
    )


class GpuDriver:
    """A `Driver` for one GPU, found by its UUID: the order of enumeration changes between boots."""

    def __init__(self, host: GpuHost, uuid: str, device: str, config: GpuHostConfig) -> None:
        self._host = host
        self._uuid = uuid
        self._config = config
        self._limits = Limits(min_w=config.min_w, max_w=config.max_w, default_w=config.default_w)
        self._spec = device_spec(device, config, self._limits)
        host.attach(uuid)

    @property
    def spec(self) -> DeviceSpec:
        return self._spec

    async def read(self) -> Reading:
        sample = await self._host.run(self._uuid, "read", take_sample)
        if sample.limits is not None:
            self._narrow(sample.limits)
        return reading(self._spec, sample, partial(throughput, self._config.curve, self._limits.default_w))

    async def apply(self, command: SetPoint) -> Outcome:
        watts = command.point.power.watts
        limit_mw = watts * 1000
        try:
            async with asyncio.timeout(command.deadline_s):
                in_force_mw = await self._host.run(
                    self._uuid, f"limit to {watts} W", partial(set_limit, limit_mw), command.deadline_s
                )
                for _ in range(READ_BACK_TRIES - 1):
                    if in_force_mw is not None and abs(in_force_mw - limit_mw) > AGREES_WITHIN_MW:
                        await asyncio.sleep(READ_BACK_PAUSE_S)
                        in_force_mw = await self._host.run(self._uuid, "read-back", limit_in_force)
        except GpuError as error:
            return Refused(str(error)) if error.code in REFUSALS else Failed(str(error))
        except DriverError as error:
            return Failed(str(error))
        except TimeoutError:
            return Failed(f"GPU {self._uuid}: no answer within {command.deadline_s:g} s")
        return judged(self._uuid, watts, in_force_mw)

    async def close(self) -> None:
        self._host.detach(self._uuid)

    def _narrow(self, reported: Limits) -> None:
        """Take over what the board says of itself; it may do less than configured, never more."""
        limits = within(self._config, self._uuid, reported)
        if limits != self._limits:
            self._limits = limits
            self._spec = device_spec(self._spec.id, self._config, limits)


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


def device_spec(device: str, config: GpuHostConfig, limits: Limits) -> DeviceSpec:
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
                rate=throughput(config.curve, limits.default_w, watts),
            )
            for watts in (*range(limits.min_w, limits.max_w, config.step_w), limits.max_w)
        ),
        ceiling=Power(limits.max_w),
        thermal=ThermalLimits(derate_c=config.derate_c, trip_c=config.trip_c),
        keeps_limit=False,
        stale_after_s=config.stale_after_s,
        dwell_s=DWELL_S,
        settle_down_s=SETTLE_DOWN_S,
        settle_up_s=SETTLE_UP_S,
        restart_s=0.0,
    )


def throughput(curve: Sequence[tuple[float, float]], default_w: int, limit_w: float) -> float:
    """Piecewise linear through (0, 0) and the curve's corners, flat beyond the last."""
    corners = [(0.0, 0.0), *curve]
    at = limit_w / default_w
    right = bisect_right(corners, at, key=lambda corner: corner[0])
    if right == len(corners):
        return corners[-1][1]
    (x0, y0), (x1, y1) = corners[right - 1], corners[right]
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


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
        hottest_c=max((c for c in (sample.core_c, sample.memory_c) if c is not None), default=None),
        margin_c=sample.margin_c,
    )


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


def describe(library: str | None = None) -> str:
    """A site file's tables for the GPUs of this host. Blocks: for the command line only."""
    session = Session(library)
    unusable: list[str] = []
    models: dict[tuple[str, Limits], list[str]] = {}
    for board in session.boards():
        try:
            if isinstance(board, GpuError):
                raise board
            limits = limits_of(board)
            if limits is None:
                raise DriverError(f"GPU {board.uuid}: takes no power limit")
            models.setdefault((board.call("nvmlDeviceGetName"), limits), []).append(board.uuid)
        except DriverError as error:
            unusable.append(f"# {error}\n")
    session.end()
    where = f"library = {json.dumps(library)}\n" if library else ""
    tables = [_table(at, *model, uuids, where) for at, (model, uuids) in enumerate(models.items())]
    return "\n".join([*unusable, *tables])


def _table(at: int, model: str, limits: Limits, uuids: list[str], library: str) -> str:
    quoted = "".join(f'    "{uuid}",\n' for uuid in uuids)
    return (
        f"# {model}\n"
        "[[gpu_hosts]]\n"
        f'id = "{socket.gethostname()}{f"-{at}" if at else ""}"\n'
        'node = "site"  # the power node that feeds this host\n'
        f"uuids = [\n{quoted}]\n"
        f"{library}min_w = {limits.min_w}\nmax_w = {limits.max_w}\ndefault_w = {limits.default_w}\n"
    )
