"""What is physically true of the whole plant at one instant: the judge of what the controller believes."""

from __future__ import annotations

from dataclasses import dataclass

from simulators.physics.miner import MinerState


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTruth:
    power_w: float
    energy_wh: float
    breaker_trips: int
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerTruth:
    """`claimed_w` is what the miner says it draws, `trips` how often it had to protect itself."""

    watts: float
    claimed_w: float
    rate_ths: float
    chip_c: float
    state: MinerState
    terahashes: float
    energy_wh: float
    trips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTruth:
    """`limit_w` is what the GPU says, `cap_w` what it obeys; `throughput` is 0..1 of the uncapped job."""

    watts: float
    limit_w: float
    cap_w: float
    demand_w: float
    throughput: float
    temperature_c: float
    gpu_hours: float
    energy_wh: float
    throttles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneTruth:
    inlet_c: float
    fans_proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantTruth:
    """Everything is since the plant began. The totals over all devices come with it; `orders` is how often
    any machine or outlet was told anything."""

    now_s: float
    site_power_w: float
    site_energy_wh: float
    miner_power_w: float
    gpu_power_w: float
    rate_ths: float
    terahashes: float
    gpu_hours: float
    miner_trips: int
    breaker_trips: int
    orders: int
    nodes: dict[str, NodeTruth]
    miners: dict[str, MinerTruth]
    gpus: dict[str, GpuTruth]
    zones: dict[str, ZoneTruth]
    meters: dict[str, float]
