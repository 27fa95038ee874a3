"""What a site could draw at one moment, from the plant's truth: what its use is measured against."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from controller.decide.value import RETUNE_ASIC_S
from controller.domain.devices import DeviceSpec, OperatingPoint, ThermalLimits
from controller.domain.power import Limit
from controller.domain.site import Prices, Site
from simulators.physics.gpu import Gpu
from simulators.physics.miner import Miner, MinerState
from simulators.plant import Plant
from tests.sim.floor import MOST_LOAD, Floor
from tests.sim.possible import Possible

LOOKED_S = 2.5
"""How old a look at who cannot be moved may be."""
STUCK = frozenset({MinerState.DARK, MinerState.TRIPPED, MinerState.REBOOTING, MinerState.IDLE})
"""What a miner cannot be raised from by anybody."""
SURE = 0.95
"""Of a node's limit so much is never kept free by a margin, nor taken by what its meter shows too much."""
GRAIN_W = 5
"""Sums of operating points are reckoned in such steps, rounded up."""
SETTLED = 0.01
"""The share that a zone comes to take is found to so much."""
NOTHING: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """What could be drawn at each node itself, what each may carry with all below it, and what is kept free
    of that at each alone."""

    site: Site
    own_w: Mapping[str, float]
    limits_w: Mapping[str, float]
    kept_w: Mapping[str, float]
    to_start: int
    """How many miners sleep that could be started."""

    def summed(self, reach_w: Mapping[str, float] = NOTHING) -> dict[str, float]:
        """What each node carries then, all below it included, and no more than it could reach."""
        carried, kept = dict(self.own_w), dict(self.kept_w)
        for node in reversed(self.site.nodes):
            room_w = max(0.0, self.limits_w[node.id] - kept[node.id])
            carried[node.id] = min(carried[node.id], room_w, reach_w.get(node.id, math.inf))
            if node.parent is not None:
                carried[node.parent] += carried[node.id]
                kept[node.parent] += kept[node.id]
        return carried


class Usable:
    """Machines that nobody could raise count at what they draw, all others at the point that earns most at
    the present prices, the way there paid for within the site's horizon, and that their heat allows, also
    with the heat that raising them brings; where a breaker has no room for that, at the best sum of points
    that it has room for. Every node further up is within its limit, the site within its cap.
    """

    def __init__(self, floor: Floor, plant: Plant, possible: Possible) -> None:
        self.rests: Callable[[str], bool] = lambda _: False
        """Whether a miner was started as often as it may be."""
        self._plant = plant
        self._possible = possible
        self._site = floor.site
        self._specs = {spec.id: spec for spec in floor.specs}
        self._zones = {
            zone.id: ThermalLimits(derate_c=zone.derate_c, trip_c=zone.trip_c) for zone in floor.site.zones
        }
        self._best: dict[tuple[str, int, bool, float], list[float]] = {}
        """Of each miner, how many points its heat allows, whether it must be started, and where it is: the
        watts up to the best of these."""
        self._settled: dict[str, tuple[float, float]] = {}
        self._settled_s = -math.inf
        """Of each zone how warm it comes to be, and when that was so."""
        self._best_at: tuple[Prices, float] | None = None
        """The prices for which that is so."""
        self._gpus_w: list[tuple[Gpu, float]] = []
        self._miners_w: list[tuple[Miner, list[float]]] = []
        self.limits_w = {
            node.id: float(node.limit.power.watts) if isinstance(node.limit, Limit) else math.inf
            for node in floor.site.nodes
        }

    def look(self, prices: Prices, usd_per_kwh: float) -> None:
        """What each machine could draw at this moment and these prices."""
        if self._best_at != (prices, usd_per_kwh):
            self._best, self._best_at = {}, (prices, usd_per_kwh)
        self._gpus_w = [(gpu, self._gpu_w(gpu)) for gpu in self._plant.gpus.values()]
        self._miners_w = [
            (miner, self._points_w(self._specs[miner.id], miner, prices, usd_per_kwh))
            for miner in self._plant.miners.values()
        ]

    def most_w(
        self,
        cap_w: float,
        asked_w: Mapping[str, float] = NOTHING,
        kept_w: Mapping[str, float] = NOTHING,
    ) -> float:
        """What the site could draw when it was looked at, as `loads` has it, within its cap."""
        loads, root = self.loads(asked_w, kept_w), self._site.root.id
        return min(loads.summed()[root], max(0.0, cap_w - sum(loads.kept_w.values())))

    def loads(
        self,
        asked_w: Mapping[str, float] = NOTHING,
        kept_w: Mapping[str, float] = NOTHING,
        starts: int | None = None,
    ) -> Loads:
        """`asked_w` is what operators limit places within the site to. Machines that have watts `kept_w` for
        what they may yet do draw on as they do, and nobody is given these watts; nodes keep theirs too. Of
        the miners that sleep only so many are started, those with the most to gain."""
        limits_w = self.limits_w | {at: min(watts, self.limits_w[at]) for at, watts in asked_w.items()}
        own = {name: node.load_w if node.live else 0.0 for name, node in self._plant.nodes.items()}
        kept = {name: kept_w.get(name, 0.0) for name in own}
        for name, watts in kept_w.items():
            if name in self._specs:
                kept[self._specs[name].node] += watts
        for gpu, gpu_w in self._gpus_w:
            own[gpu.node] += gpu.watts if gpu.id in kept_w else gpu_w
        free: dict[str, list[list[float]]] = {}
        asleep: list[tuple[float, str, list[float]]] = []
        for miner, points_w in self._miners_w:
            if not points_w or miner.id in kept_w:
                own[miner.node] += miner.watts
            elif miner.state is MinerState.ASLEEP and len(points_w) > 1:
                asleep.append((miner.watts - points_w[-1], miner.id, points_w))
            else:
                free.setdefault(miner.node, []).append(points_w)
        for at, (_, name, points_w) in enumerate(sorted(asleep)):
            node = self._specs[name].node
            if starts is not None and at >= starts:
                own[node] += self._plant.miners[name].watts
            else:
                free.setdefault(node, []).append(points_w)
        for node, machines in free.items():
            own[node] += best_sum(machines, limits_w[node] - kept[node] - own[node])
        return Loads(site=self._site, own_w=own, limits_w=limits_w, kept_w=kept, to_start=len(asleep))

    def held_w(self) -> float:
        """What miners that are starting were given and do not draw yet: to promise it to others would be to
        promise it twice."""
        return sum(
            max(0.0, miner.said_setting_w * miner.bias - miner.watts)
            for miner in self._plant.miners.values()
            if miner.state is MinerState.STARTING and not self._is_fixed(miner)
        )

    def feeds(self, node: str) -> int:
        """For how many busy GPUs a node surely has the watts, while all others idle at their lowest limit."""
        gpus = [gpu.group for gpu in self._plant.gpus.values() if gpu.node == node]
        room_w = SURE * self.limits_w[node] - MOST_LOAD * self._plant.nodes[node].config.load_w
        room_w -= sum(group.min_w for group in gpus)
        return max(0, int(room_w / max(group.max_w - group.min_w for group in gpus)))

    def _is_fixed(self, machine: Miner | Gpu) -> bool:
        uncooled = machine.zone is not None and not self._possible.is_cooled(machine.zone)
        return uncooled or bool(self._possible.held_by(machine.id, within_s=LOOKED_S))

    def _gpu_w(self, gpu: Gpu) -> float:
        return gpu.watts if self._is_fixed(gpu) or not gpu.powered else min(gpu.demand_w, gpu.rated_w)

    def _points_w(self, spec: DeviceSpec, miner: Miner, prices: Prices, usd_per_kwh: float) -> list[float]:
        """What a miner could truly draw, up to the best point; nothing if it stays where it is."""
        if self._stays(miner):
            return []
        starts = miner.state is MinerState.ASLEEP
        allowed_w = self._cool_enough_w(spec, miner)
        told_w = 0.0 if starts else miner.said_setting_w
        count = 1 + sum(
            [
                point.power.watts <= allowed_w
                and (point.power.watts <= told_w or self._lasts(spec, miner, point.power.watts))
                for point in spec.points[1:]
            ]
        )
        key = spec.id, count, starts, told_w
        if key not in self._best:
            self._best[key] = self._up_to_best(spec, count, miner, told_w, prices, usd_per_kwh)
        return self._best[key]

    def _stays(self, miner: Miner) -> bool:
        """Whether nobody could raise it."""
        state, without_work = miner.state, miner.faults.pool_loss or miner.without_pools
        starts = state is MinerState.ASLEEP
        cannot_start = starts and (miner.faults.lies_about_resume or self.rests(miner.id))
        return state in STUCK or without_work or cannot_start or self._is_fixed(miner)

    def _up_to_best(
        self,
        spec: DeviceSpec,
        count: int,
        miner: Miner,
        told_w: float,
        prices: Prices,
        usd_per_kwh: float,
    ) -> list[float]:
        lost_s = spec.restart_s if miner.state is MinerState.ASLEEP else RETUNE_ASIC_S
        kept = 1 - min(1.0, lost_s / self._site.policy.switch_horizon_s)
        points = spec.points[:count]

        def earns(point: OperatingPoint) -> float:
            output = point.rate * prices.usd_per_ths_day / 24
            return output * (kept if point.power.watts > told_w else 1.0) - point.power.in_kw * usd_per_kwh

        best = max(points, key=lambda point: (earns(point), point.power))
        return [point.power.watts * miner.bias for point in points if point.power <= best.power]

    def _cool_enough_w(self, spec: DeviceSpec, miner: Miner) -> float:
        share = _share(miner.temperature_c, spec.thermal)
        if miner.zone is not None:
            share = max(share, _share(miner.inlet_c, self._zones[miner.zone]))
        return _allowed_w(spec, share)

    def _lasts(self, spec: DeviceSpec, miner: Miner, watts: float) -> bool:
        """Whether its heat still allows a miner so much once it has drawn that for long, and all others in
        its zone what they are allowed: what has to be given back in a minute is of no use."""
        inlet_c, share = (miner.inlet_c, 0.0) if miner.zone is None else self._settles(miner.zone)
        share = max(share, _share(inlet_c + miner.rise_c * watts / miner.rated_w, spec.thermal))
        return watts <= _allowed_w(spec, share)

    def _settles(self, name: str) -> tuple[float, float]:
        """How warm a zone comes to be if its machines draw all that they are allowed there, and the share
        that this takes of their range: the warmer it is the less they are allowed, and the cooler it is."""
        if self._settled_s != self._plant.now_s:
            self._settled, self._settled_s = {}, self._plant.now_s
        if name not in self._settled:
            low, high = 0.0, 1.0
            while high - low > SETTLED and self._asks(name, low) > low:
                middle = (low + high) / 2
                low, high = (middle, high) if self._asks(name, middle) > middle else (low, middle)
            share = low if self._asks(name, low) <= low else high
            self._settled[name] = self._settles_c(name, share), share
        return self._settled[name]

    def _asks(self, name: str, share: float) -> float:
        return _share(self._settles_c(name, share), self._zones[name])

    def _settles_c(self, name: str, share: float) -> float:
        zone, watts = self._plant.zones[name], 0.0
        for machine in zone.machines:
            points = self._specs[machine.id].points
            if not isinstance(machine, Miner) or len(points) == 1 or self._stays(machine):
                watts += machine.watts
            else:
                allowed_w = _allowed_w(self._specs[machine.id], share)
                watts += max(point.power.watts for point in points if point.power.watts <= allowed_w)
        return zone.coolant_c + zone.config.rise_c * watts / zone.rated_w


def best_sum(machines: Sequence[Sequence[float]], room_w: float) -> float:
    """The highest sum of one point of each machine that fits `room_w`; the lowest points if none does.

    Every reachable sum is one bit of a number, so that a machine is as many shifts as it has points.
    """
    most_w = sum(points[-1] for points in machines)
    least_w = sum(points[0] for points in machines)
    if most_w <= room_w or least_w >= room_w:
        return most_w if most_w <= room_w else least_w
    sums = 1
    for points in machines:
        reached = 0
        for watts in points:
            reached |= sums << math.ceil(watts / GRAIN_W)
        sums = reached
    fitting = sums & ((1 << (int(room_w / GRAIN_W) + 1)) - 1)
    return max(least_w, float((fitting.bit_length() - 1) * GRAIN_W))


def _allowed_w(spec: DeviceSpec, share: float) -> float:
    lowest_w, highest_w = spec.floor.power.watts, spec.points[-1].power.watts
    return lowest_w + (highest_w - lowest_w) * (1 - share)


def _share(value_c: float, limits: ThermalLimits | None) -> float:
    if limits is None:
        return 0.0
    return min(1.0, max(0.0, (value_c - limits.derate_c) / (limits.trip_c - limits.derate_c)))
