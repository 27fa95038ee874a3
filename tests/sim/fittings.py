"""What only some sites have: ramp limits down, and at places within them. Each kind is drawn by itself, so
that other seeds stay as they are."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import replace

from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.domain.site import Node, Site
from tests.sim.floor import Floor

KINDS = ("ramps",)
RAMPED, RAMPED_DOWN = 0.25, 0.7
"""How likely a place within a site has each ramp limit, and the site itself one down."""
SLOWEST, FASTEST = 0.006, 0.05
"""Of what a place is rated for, each second."""


def fitted(seed: int, floor: Floor, on: Collection[str]) -> Floor:
    if "ramps" in on:
        floor = replace(floor, site=_ramped(random.Random(f"{seed}/ramps"), floor.site))
    return floor


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
