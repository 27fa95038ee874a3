"""The site that a seed builds: machines of several families in a tree of nodes and zones, and its policy.

The plant's side and the controller's side are drawn up together here, and differ where real ones do: by
each machine's bias, by load that nobody declared, by points whose nominal power is not the true one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint, Quality, ThermalLimits
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.domain.site import Node, Policy, Prices, Site, Zone
from simulators.config import PlantConfig
from simulators.groups import Family, GpuGroup, MinerGroup
from tests.sim.outlets import Outlet

SPARE_W = 2000
"""What a PDU is rated for that feeds nothing yet."""
MOST_LOAD = 1.1
"""Times its mean that other load may come to."""
ROOM_FOR_FIXED = 1.1
SLEEP = "sleep"
SLEEP_W = 30
CEILING_SHARE = 1.05
ASIC_POLL_S = 5.0
GPU_POLL_S = 1.0
LIMIT_STEPS = 6
"""A Whatsminer takes any power limit; the controller offers it this many above the lowest."""
DERATE_C, TRIP_C = 80.0, 92.0
"""Chips, as the operator of these machines configured them; the machines trip by themselves at 95 C."""
ZONE_DERATE_C, ZONE_TRIP_C = 36.0, 45.0
QUEUE = "queue"
Table = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Make:
    """One kind of ASIC. `watched` ones can be told nothing; `quality` is what their claimed watts are;
    `keeps_sleep` is said where it is so: of firmware that does not wake with a boot."""

    family: Family
    rated_w: int
    ths: int
    wake_s: float
    reboot_s: float
    keeps_limit: bool = False
    keeps_sleep: bool = False
    quality: Quality = Quality.MEASURED
    watched: bool = False


MAKES = (
    Make(family=Family.LUXOS, rated_w=3250, ths=200, wake_s=25, reboot_s=45, keeps_limit=True),
    Make(family=Family.WHATSMINER, rated_w=3400, ths=140, wake_s=45, reboot_s=60),
    Make(family=Family.ANTMINER, rated_w=3050, ths=110, wake_s=60, reboot_s=50, quality=Quality.ESTIMATED),
    Make(family=Family.AVALON, rated_w=3300, ths=130, wake_s=30, reboot_s=40),
    Make(family=Family.LUXOS, rated_w=5400, ths=310, wake_s=20, reboot_s=35, keeps_sleep=True),
    Make(family=Family.ANTMINER, rated_w=3500, ths=95, wake_s=40, reboot_s=40, watched=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """`quality` is by ASIC; `lowest_w` what every device truly comes down to when told."""

    plant: PlantConfig
    site: Site
    specs: tuple[DeviceSpec, ...]
    quality: dict[str, Quality]
    queued_gpus: tuple[str, ...]
    rated_w: int
    outlets: Mapping[str, Outlet] = field(default_factory=dict)
    """Of machines that have one, as the site's file says it."""


@dataclass(slots=True)
class _Draft:
    random: random.Random
    nodes: list[Table] = field(default_factory=list)
    known: list[Node] = field(default_factory=list)
    meters: list[Table] = field(default_factory=list)
    miners: list[Table] = field(default_factory=list)
    gpus: list[Table] = field(default_factory=list)
    below_w: dict[str, float] = field(default_factory=dict)
    fixed_w: dict[str, float] = field(default_factory=dict)
    makes: dict[str, Make] = field(default_factory=dict)

    def node(self, name: str, parent: str | None, load_share: float) -> None:
        """`load_share` is its own load as a share of what its machines are rated for."""
        self.nodes.append({"id": name, "parent": parent, "load_w": load_share, "load_wander": 0.03})
        self.below_w[name] = self.fixed_w[name] = 0.0


def draw_floor(seed: int, devices: int) -> Floor:
    """About `devices` machines, one in eight of them a GPU."""
    draft = _Draft(random=random.Random(f"{seed}/floor"))
    zones = [f"zone-{at}" for at in range(draft.random.randint(1, 3))]
    _tree(draft, devices, zones)
    limits = _limits(draft)
    site = _site(draft, limits, zones)
    plant = PlantConfig.model_validate(
        {
            "seed": seed,
            "nodes": draft.nodes,
            "meters": draft.meters,
            "zones": [{"id": zone, "unit": 200 + at} for at, zone in enumerate(zones)],
            "miners": draft.miners,
            "gpus": draft.gpus,
        }
    )
    specs = tuple(
        [spec for group in plant.miners for spec in _miner_specs(group, draft.makes[group.name])]
        + [spec for gpus in plant.gpus for spec in _gpu_specs(gpus)]
    )
    return Floor(
        plant=plant,
        site=site,
        specs=specs,
        quality={name: draft.makes[group.name].quality for group in plant.miners for name in group.ids},
        queued_gpus=tuple(spec.id for spec in specs if spec.kind is DeviceKind.GPU),
        rated_w=sum(spec.points[-1].power.watts for spec in specs),
    )


def _tree(draft: _Draft, devices: int, zones: list[str]) -> None:
    """Site, transformers, PDUs, breakers; machines hang at breakers, in groups of one make."""
    rnd = draft.random
    draft.node("site", None, rnd.uniform(0.015, 0.03))
    pdus = []
    for transformer in range(rnd.randint(1, 1 + devices // 40)):
        draft.node(f"tx-{transformer}", "site", rnd.choice([0.0, rnd.uniform(0.005, 0.015)]))
        for pdu in range(rnd.randint(1, 1 + devices // 40)):
            pdus.append(f"pdu-{transformer}-{pdu}")
            draft.node(pdus[-1], f"tx-{transformer}", rnd.choice([0.0, rnd.uniform(0.01, 0.02)]))
    left = devices - devices // 8
    serial = 0
    while left > 0:
        count = min(left, rnd.randint(4, 9))
        make = rnd.choices(MAKES, weights=[5, 4, 4, 2, 3, 0.5])[0]
        breaker = f"brk-{serial}"
        draft.node(breaker, pdus[serial % len(pdus)], rnd.choice([0.0, 0.0, rnd.uniform(0.005, 0.01)]))
        _group(draft, breaker, serial, make, 1 if make.watched else count, rnd.choice(zones))
        left -= count
        serial += 1
    for rack in range(max(1, devices // 64)):
        breaker = f"gpu-rack-{rack}"
        draft.node(breaker, rnd.choice(pdus), rnd.uniform(0.03, 0.1))
        _rack(draft, breaker, max(2, devices // 8 // max(1, devices // 64)), rnd.choice(zones))


def _group(draft: _Draft, node: str, serial: int, make: Make, count: int, zone: str) -> None:
    name = f"{make.family.value}-{serial}"
    draft.makes[name] = make
    draft.miners.append(
        {
            "name": name,
            "family": make.family,
            "model": "Antminer S21",
            "count": count,
            "first_address": f"127.1.{serial}.1",
            "node": node,
            "zone": zone,
            "rated_w": make.rated_w,
            "rated_ths": make.ths,
            "standby_w": 25,
            "wake_s": make.wake_s,
            "reboot_s": make.reboot_s,
            "bias": draft.random.choice([0.01, 0.03]),
        }
    )
    draft.below_w[node] += count * make.rated_w
    if make.watched:
        draft.fixed_w[node] += count * make.rated_w * CEILING_SHARE


def _rack(draft: _Draft, node: str, count: int, zone: str) -> None:
    draft.gpus.append(
        {
            "name": node.replace("rack", "host"),
            "model": "NVIDIA H100 80GB HBM3",
            "uuids": [f"GPU-{node}-{at}" for at in range(count)],
            "node": node,
            "zone": zone,
            "min_w": 200,
            "max_w": 700,
            "idle_w": 70,
        }
    )
    draft.below_w[node] += count * 700


def _limits(draft: _Draft) -> dict[str, int]:
    """From what hangs below: some nodes are the bottleneck, some not. None above the one over it, none too
    small for its other load and for machines that obey nobody."""
    rnd = draft.random
    for table in reversed(draft.nodes):
        table["load_w"] *= draft.below_w[table["id"]]
        draft.fixed_w[table["id"]] += table["load_w"] * MOST_LOAD
        if table["parent"] is not None:
            draft.below_w[table["parent"]] += draft.below_w[table["id"]]
            draft.fixed_w[table["parent"]] += draft.fixed_w[table["id"]]
    limits: dict[str, int] = {}
    for table in draft.nodes:
        name, parent = table["id"], table["parent"]
        share = rnd.uniform(0.78, 0.97) if parent is None else rnd.uniform(0.87, 1.2)
        limits[name] = int(draft.below_w[name] * share)
        if parent is not None:
            limits[name] = min(limits[name], limits[parent])
        limits[name] = max(SPARE_W, limits[name], math.ceil(draft.fixed_w[name] * ROOM_FOR_FIXED))
        if parent is not None:
            # A breaker for a load that lasts is used to 80 %, unless it is made for all of it (UL 489).
            table["breaker_w"] = limits[name] / rnd.choice([0.8, 1.0])
    return limits


def _site(draft: _Draft, limits: dict[str, int], zones: list[str]) -> Site:
    """Load under a meter is declared too low, and must be learned; elsewhere the most it ever is."""
    rnd = draft.random
    chances = {"site": 1.0, "tx": 0.8, "pdu": 0.6, "brk": 0.15, "gpu": 0.5}
    nodes = []
    for at, table in enumerate(draft.nodes):
        name = table["id"]
        metered = rnd.random() < chances[name.split("-")[0]]
        if metered:
            delay_s = rnd.choice([0.0, 0.5, 1.5])
            draft.meters.append({"id": f"{name}-meter", "node": name, "unit": at + 1, "delay_s": delay_s})
        nodes.append(
            Node(
                id=name,
                parent=table["parent"],
                limit=Limit(Power(limits[name])),
                fixed=Power.up(table["load_w"] * (0.9 if metered else MOST_LOAD)),
                meter=f"{name}-meter" if metered else None,
            )
        )
    policy, ramp_up = _policy(rnd, limits["site"])
    return Site(
        name="floor",
        nodes=(replace(nodes[0], ramp_up_per_s=ramp_up), *nodes[1:]),
        zones=tuple(Zone(id=zone, derate_c=ZONE_DERATE_C, trip_c=ZONE_TRIP_C) for zone in zones),
        policy=policy,
        prices=Prices(usd_per_ths_day=0.05, usd_per_kwh=0.05),
    )


def _policy(rnd: random.Random, contract_w: int) -> tuple[Policy, Bound]:
    """How the site is run, and how fast it may rise."""
    tick_s = rnd.choice([1.0, 1.0, 2.0, 3.0, 5.0])
    ramp_w = int(contract_w * rnd.uniform(0.003, 0.04))
    ramp_up = Limit(Power(ramp_w)) if rnd.random() < 0.5 else NO_LIMIT
    policy = Policy(
        tick_s=tick_s,
        starts_per_tick=rnd.choice([5, 1000]),
        meter_stale_after_s=max(5.0, 3 * tick_s),
        link_lost_limit=Limit(Power(int(contract_w * rnd.uniform(0.3, 0.7)))),
        retry_s=rnd.choice([10.0, 20.0]),
    )
    return policy, ramp_up


def _miner_specs(group: MinerGroup, make: Make) -> Iterator[DeviceSpec]:
    ceiling = Power(math.ceil(group.rated_w * CEILING_SHARE))
    points = tuple(_points(group))
    if make.watched:
        points = (OperatingPoint(name="on", power=ceiling, rate=group.rated_ths),)
    for name in group.ids:
        yield DeviceSpec(
            id=name,
            kind=DeviceKind.ASIC,
            node=group.node,
            zone=group.zone,
            points=points,
            ceiling=ceiling,
            thermal=ThermalLimits(derate_c=DERATE_C, trip_c=TRIP_C),
            keeps_limit=make.keeps_limit,
            keeps_sleep=make.keeps_sleep,
            boots_s=0.8 * make.reboot_s,
            stale_after_s=15.0,
            dwell_s=45.0,
            settle_down_s=15.0,
            settle_up_s=make.wake_s * 2 + 30,
            restart_s=90.0,
        )


def _points(group: MinerGroup) -> Iterator[OperatingPoint]:
    """What the drivers offer: sleep, and the machine's own list, or steps where it takes any limit."""
    yield OperatingPoint(name=SLEEP, power=Power(SLEEP_W), rate=0.0)
    if group.family is not Family.WHATSMINER:
        for point in group.operating_points:
            yield OperatingPoint(name=point.name, power=Power.up(point.power_w), rate=point.ths)
        return
    least_w = round(0.7 * group.rated_w)
    for step in range(LIMIT_STEPS + 1):
        watts = least_w + round((group.rated_w - least_w) * step / LIMIT_STEPS)
        rate = group.rated_ths * (watts / group.rated_w) ** 0.8
        yield OperatingPoint(name=f"{watts}w", power=Power(watts), rate=rate)


def _gpu_specs(group: GpuGroup) -> Iterator[DeviceSpec]:
    """The points, times and limits that the GPU driver gives its boards."""
    for name in group.ids:
        yield DeviceSpec(
            id=name,
            kind=DeviceKind.GPU,
            node=group.node,
            zone=group.zone,
            points=tuple(
                OperatingPoint(
                    name=f"{watts}W", power=Power(watts), rate=_throughput(group, watts / group.max_w)
                )
                for watts in range(int(group.min_w), int(group.max_w) + 1, 25)
            ),
            ceiling=Power(int(group.max_w)),
            thermal=ThermalLimits(derate_c=83.0, trip_c=90.0),
            stale_after_s=10.0,
            dwell_s=5.0,
            settle_down_s=3.0,
            settle_up_s=10.0,
            restart_s=0.0,
        )


def _throughput(group: GpuGroup, share: float) -> float:
    corners = group.performance
    for (x0, y0), (x1, y1) in pairwise(corners):
        if share <= x1:
            return y0 + (y1 - y0) * (share - x0) / (x1 - x0)
    return corners[-1][1]


def ways_up(site: Site) -> dict[str, tuple[str, ...]]:
    """Each node, and all nodes above it, the lowest first."""
    ways: dict[str, tuple[str, ...]] = {}
    for node in site.nodes:  # what feeds a node stands before it
        ways[node.id] = (node.id, *(() if node.parent is None else ways[node.parent]))
    return ways
