"""A site as arrays, made once: its tree, what each node is rated for, where ramps lead down."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np

from controller.decide.arrays import Ints
from controller.decide.plan import UNLIMITED_W
from controller.decide.tree import Tree, tree_of
from controller.domain.power import Bound, Limit
from controller.domain.site import Site


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """`meter` is the nearest node with a meter, at each node or above it, or the tree's `none`. `falls_w` are
    the ramps down in watts per second, by index of each node that has one."""

    site: Site
    tree: Tree
    rated_w: Ints
    meter: Ints
    falls_w: Mapping[int, int]


def ground_of(site: Site) -> Ground:
    ramps = [node.ramp_down_per_s for node in site.nodes]
    tree = tree_of(site)
    return Ground(
        site=site,
        tree=tree,
        rated_w=np.array([watts_of(node.limit) for node in site.nodes], dtype=np.int64),
        meter=nearest(tree, {at for at, node in enumerate(site.nodes) if node.meter is not None}),
        falls_w={at: per_s.power.watts for at, per_s in enumerate(ramps) if isinstance(per_s, Limit)},
    )


def nearest(tree: Tree, some: Set[int]) -> Ints:
    """The nearest of `some` nodes, at each node or above it, or the tree's `none`."""
    found: list[int] = []
    for at, parent in enumerate(tree.parent.tolist()):
        above = tree.none if parent < 0 else found[parent]
        found.append(at if at in some else above)
    return np.array(found, dtype=np.int64)


def watts_of(bound: Bound) -> int:
    return min(bound.power.watts, UNLIMITED_W) if isinstance(bound, Limit) else UNLIMITED_W
