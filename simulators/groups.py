"""The machines of a plant file: groups of equal miners, and of GPUs of one kind."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simulators.physics.faults import BadFaultError, GpuFaults, MinerFaults, set_fault
from simulators.tables import LOOPBACK, Celsius, Name, Positive, Table, Watts

ANTMINER_MODES = {"low": 0.7, "normal": 1.0}
AVALON_LEVELS = {"low": 0.6, "mid": 0.8, "high": 1.0}
PROFILES = {f"{65 * tenths}MHz": tenths / 10 for tenths in range(5, 11)}
"""Operating points of a group that lists none, as shares of its rated power."""


class Family(StrEnum):
    LUXOS = "luxos"
    WHATSMINER = "whatsminer"
    ANTMINER = "antminer"
    WHATSMINER_V3 = "whatsminer-v3"
    AVALON = "avalon"
    VNISH = "vnish"
    AURADINE = "auradine"
    AXEOS = "axeos"
    MARAFW = "marafw"
    BRAIINS = "braiins"
    EPIC = "epic"


SHARES = {Family.ANTMINER: ANTMINER_MODES, Family.AVALON: AVALON_LEVELS}


class FaultConfig(Table):
    """`fault` of the machine number `index` of its group, from the start."""

    index: Annotated[int, Field(ge=0)]
    fault: str
    value: bool | float = True


class PointConfig(Table):
    """One operating point of a miner: a LuxOS profile, an Antminer mode, a corner of a Whatsminer's curve."""

    name: Name
    power_w: Positive
    ths: Positive


class MinerGroup(Table):
    """`count` equal miners on consecutive loopback addresses, named `<name>-000` and up.

    `mode_key` is the key by which a stock Antminer's firmware takes its mode. `process_down_when_stopped`
    makes a stopped Whatsminer refuse `summary` and `devs`, as some of its firmware does. Without `legacy_api`
    a Whatsminer of API v3 answers on TCP 4433 alone. `clock_s` is the Unix time at which a machine's clock
    stood when the plant began: some have never been told the time and begin at 0. Without `power_tune` an
    ePIC takes targets in TH/s only, as its older firmware does.
    """

    name: Name
    family: Family
    model: str
    count: Annotated[int, Field(ge=1, le=50_000)] = 1
    first_address: IPv4Address
    node: str
    zone: str | None = None
    rated_w: Positive
    rated_ths: Positive
    standby_w: Watts = 25.0
    idle_w: Watts | None = None
    min_w: Positive | None = None
    points: tuple[PointConfig, ...] = ()
    wake_s: Annotated[float, Field(ge=0, le=1800)] = 20.0
    hash_lag_s: Positive = 8.0
    reboot_s: Positive = 25.0
    bias: Annotated[float, Field(ge=0, le=0.5)] = 0.03
    chip_rise_c: Positive = 45.0
    trip_c: Celsius = 95.0
    password: str | None = None
    mode_key: Literal["both", "miner-mode", "bitmain-work-mode"] = "both"
    process_down_when_stopped: bool = False
    legacy_api: bool = True
    power_tune: bool = True
    clock_s: Annotated[int, Field(ge=0, lt=1 << 32)] = 1_790_000_000
    faults: tuple[FaultConfig, ...] = ()

    @property
    def idle_power_w(self) -> float:
        return 0.12 * self.rated_w if self.idle_w is None else self.idle_w

    def device_id(self, index: int) -> str:
        return f"{self.name}-{index:03d}"

    @property
    def ids(self) -> list[str]:
        return [self.device_id(index) for index in range(self.count)]

    @property
    def addresses(self) -> list[str]:
        return [str(self.first_address + index) for index in range(self.count)]

    @property
    def operating_points(self) -> tuple[PointConfig, ...]:
        """The configured points, or a ladder where halving the power leaves 57 % of the work."""
        if self.points:
            return tuple(sorted(self.points, key=lambda point: point.power_w))
        shares = SHARES.get(self.family, PROFILES)
        return tuple(
            PointConfig(name=name, power_w=self.rated_w * share, ths=self.rated_ths * share**0.8)
            for name, share in shares.items()
        )

    @property
    def lowest_limit_w(self) -> float:
        return self.operating_points[0].power_w if self.min_w is None else self.min_w

    @model_validator(mode="after")
    def _check(self) -> Self:
        last = int(self.first_address) + self.count - 1
        if self.first_address not in LOOPBACK or last > int(LOOPBACK.broadcast_address):
            raise ValueError(f"first_address {self.first_address}: all {self.count} must lie in {LOOPBACK}")
        if any(point.power_w > self.rated_w for point in self.points):
            raise ValueError(f"points: none may lie above rated_w {self.rated_w}")
        names = {point.name for point in self.points}
        if self.family is Family.ANTMINER and names not in (set(), {"low", "normal"}):
            raise ValueError("points: an antminer has exactly the points 'low' and 'normal'")
        if self.family is Family.AVALON and names not in (set(), set(AVALON_LEVELS)):
            raise ValueError("points: an avalon has exactly the points 'low', 'mid' and 'high'")
        _check_faults(self.faults, self.count, MinerFaults)
        return self


class GpuGroup(Table):
    """GPUs of one kind, named `<name>-000` and up, or `<name>-gpu0` and up as a site file's are.

    `performance` maps cap/default to throughput.
    """

    name: Name
    numbered: Literal["padded", "gpu"] = "padded"
    model: str
    uuids: Annotated[tuple[str, ...], Field(min_length=1)]
    node: str
    zone: str | None = None
    min_w: Positive
    max_w: Positive
    default_w: Positive | None = None
    idle_w: Watts
    rise_c: Positive = 50.0
    slowdown_c: Celsius = 87.0
    tells_margin: bool = True
    performance: tuple[tuple[float, float], ...] = (
        # LLM pre-training on an A100 of 400 W (arXiv 2507.00909): cap over default, throughput
        (0.0, 0.0), (0.25, 0.186), (0.5, 0.629), (0.625, 0.784), (0.75, 0.867), (0.875, 0.923), (1.0, 1.0),
    )  # fmt: skip
    faults: tuple[FaultConfig, ...] = ()

    def device_id(self, index: int) -> str:
        return f"{self.name}-gpu{index}" if self.numbered == "gpu" else f"{self.name}-{index:03d}"

    @property
    def ids(self) -> list[str]:
        return [self.device_id(index) for index in range(len(self.uuids))]

    @property
    def default_limit_w(self) -> float:
        return self.max_w if self.default_w is None else self.default_w

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.idle_w <= self.min_w <= self.default_limit_w <= self.max_w:
            raise ValueError("idle_w <= min_w <= default_w <= max_w does not hold")
        if list(self.performance) != sorted(self.performance):
            raise ValueError("performance must ascend in both columns")
        _check_faults(self.faults, len(self.uuids), GpuFaults)
        return self


def _check_faults(
    faults: tuple[FaultConfig, ...], count: int, kind: type[MinerFaults] | type[GpuFaults]
) -> None:
    for fault in faults:
        if fault.index >= count:
            raise ValueError(f"faults: index {fault.index}: the group has only {count}")
        try:
            set_fault(kind(), fault.fault, fault.value)
        except BadFaultError as error:
            raise ValueError(f"faults: {error}") from error
