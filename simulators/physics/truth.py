"""What is physically true of the whole plant at one instant: the judge of what the controller believes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from simulators.physics.cooling import Zone
from simulators.physics.electrical import Node
from simulators.physics.gpu import Gpu
from simulators.physics.miner import Miner, MinerState

J_PER_WH = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTruth:
    power_w: float
    energy_wh: float
    breaker_trips: int
    live: bool

    @classmethod
    def of(cls, node: Node) -> Self:
        return cls(
            power_w=node.power_w, energy_wh=node.energy_j / J_PER_WH, breaker_trips=node.trips, live=node.live
        )


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

    @classmethod
    def of(cls, miner: Miner, now_s: float) -> Self:
        return cls(
            watts=miner.watts,
            claimed_w=miner.report(now_s).watts,
            rate_ths=miner.rate,
            chip_c=miner.temperature_c,
            state=miner.state,
            terahashes=miner.output,
            energy_wh=miner.energy_j / J_PER_WH,
            trips=miner.trips,
        )


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

    @classmethod
    def of(cls, gpu: Gpu) -> Self:
        return cls(
            watts=gpu.watts,
            limit_w=gpu.limit_w,
            cap_w=gpu.cap_w,
            demand_w=gpu.demand_w,
            throughput=gpu.rate,
            temperature_c=gpu.temperature_c,
            gpu_hours=gpu.output / 3600,
            energy_wh=gpu.energy_j / J_PER_WH,
            throttles=gpu.trips,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneTruth:
    inlet_c: float
    fans_proven: bool

    @classmethod
    def of(cls, zone: Zone) -> Self:
        return cls(inlet_c=zone.inlet_c, fans_proven=zone.fans_proven)


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
