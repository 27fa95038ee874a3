"""What only some sites have: ramp limits down, and at places within them; machines that may not be started as
often as one likes; switched outlets; thresholds of profit. Each kind is drawn by itself, so that other seeds
stay as they are."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import replace

from controller.domain.devices import DeviceKind, DeviceSpec
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.domain.site import Node, Site
from tests.sim import operators, outlets, thresholds
from tests.sim.floor import Floor

KINDS = ("ramps", "starts_per_hour", outlets.KIND, thresholds.KIND)
RAMPED, RAMPED_DOWN = 0.25, 0.7
"""How likely a place within a site has each ramp limit, and the site itself one down."""
SLOWEST, FASTEST = 0.006, 0.05
"""Of what a place is rated for, each second."""


def fitted(seed: int, floor: Floor, on: Collection[str]) -> Floor:
    if "ramps" in on:
        floor = replace(floor, site=_ramped(random.Random(f"{seed}/ramps"), floor.site))
    if thresholds.KIND in on:
        policy = replace(floor.site.policy, profit=thresholds.draw_thresholds(seed))
        floor = replace(floor, site=replace(floor.site, policy=policy))
    if operators.MORE in on:
        floor = replace(floor, site=operators.contracted(seed, floor.site, on))
    if "starts_per_hour" in on:
        floor = replace(floor, specs=tuple(_limited(random.Random(f"{seed}/starts_per_hour"), floor.specs)))
    if outlets.KIND in on:
        plant, known = outlets.plugged(seed, floor.plant, floor.specs)
        floor = replace(floor, plant=plant, outlets=known)
    return floor


def _limited(rnd: random.Random, specs: Collection[DeviceSpec]) -> Iterator[DeviceSpec]:
    """Miners: a GPU is never asleep."""
    for spec in specs:
        starts = rnd.choice([1, 2, 2, 4])
        asic = spec.kind is DeviceKind.ASIC and len(spec.points) > 1
        yield replace(spec, starts_per_hour=starts) if asic else spec


def _ramped(rnd: random.Random, site: Site) -> Site:
    def ramp(node: Node, chance: float) -> Bound:
        assert isinstance(node.limit, Limit)
        per_s = Power(int(node.limit.power.watts * rnd.uniform(SLOWEST, FASTEST)))
        return Limit(per_s) if rnd.random() < chance else NO_LIMIT

    root = replace(site.root, ramp_down_per_s=ramp(site.root, RAMPED_DOWN))
    within = (
        replace(
            node,
            ramp_up_per_s=ramp(node, RAMPED),
            ramp_down_per_s=ramp(node, RAMPED),
        )
        for node in site.nodes[1:]
    )
    return replace(site, nodes=(root, *within))
