"""One operating point per device, for the most value under every node's room.

The relaxed problem is solved exactly and bounds the value of any answer; the integer answer takes whole
steps in the same order, fills what is left, and trades within nodes that are in the way. What is given fits
every node in whole watts wherever the lowest points do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.decide.hulls import Steps, falling, hulls
from controller.decide.lockstep import Lockstep, level, refill, useful
from controller.decide.packing import Packing, Waiting, fill, greedy
from controller.decide.relaxed import relaxed
from controller.decide.trades import trade
from controller.decide.tree import Tree, load

NEAR = 5e-4
"""An answer so close to its bound is not improved. Relative to what devices are worth, leaving
out premiums that keep single ones where they are."""
ALIKE = (1 << 46) - 1
"""The bits of a slope that do not count between groups: what differs by less than 1.6 % is alike."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Menu:
    """The candidates of n devices: device i stands at `node[i]`, and its candidates are `start[i]` up to
    `start[i + 1]` of `watts` (rising within a device; the first is its lowest) and `values` (USD per hour).

    Devices of one `group` (-1: of none) are worth something together, so as few groups as possible are
    served in part. Those in `lockstep` are worth no more than the slowest of their job.
    """

    node: NDArray[np.intp]
    start: NDArray[np.intp]
    watts: NDArray[np.int64]
    values: NDArray[np.float64]
    group: NDArray[np.int64] | None = None
    lockstep: Lockstep | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Allocation:
    """`index` is each device's candidate, counted from its first; `blocked_by` the lowest node on its way up
    that has no room for its next better candidate, or -1 where it has none better. To those `paced` more is
    worth nothing: their job goes no faster than the slowest of them. `room_w` is what is left per node,
    negative where even the lowest candidates do not fit; no allocation is worth more than `bound`.
    """

    index: NDArray[np.intp]
    blocked_by: NDArray[np.intp]
    paced: NDArray[np.bool_]
    room_w: NDArray[np.int64]
    value: float
    bound: float

    @property
    def gap(self) -> float:
        """How far the value can at most lie below the best possible, as a fraction of that."""
        return max(0.0, (self.bound - self.value) / abs(self.bound)) if self.bound else 0.0


def allocate(menu: Menu, room_w: NDArray[np.int64], tree: Tree) -> Allocation:
    """Allocate `room_w` (per node, for the devices below it). Of equals the first device is served first."""
    low, values, lockstep = menu.start[:-1], menu.values, menu.lockstep
    paced = np.zeros(len(low), bool)
    if lockstep is not None:
        values, paced = useful(lockstep, menu.start, values)
    hull = hulls(menu.start, menu.watts, values)
    room_w = room_w - load(tree, menu.node, menu.watts[low])
    node, key = menu.node[hull.device], falling(hull.slope)
    taken_w = relaxed(hull.watts, node, room_w, tree, key)
    bound = float(values[low].sum()) + float(np.einsum("i,i", hull.slope, taken_w))
    if menu.group is not None:
        key = _by_group(hull, menu.group)
        taken_w = relaxed(hull.watts, node, room_w, tree, key)
    packing = Packing(
        tree=tree,
        node=menu.node,
        watts=menu.watts,
        values=values,
        low=low,
        top=_tops(low, hull),
        at=low.copy(),
        room_w=tree.padded(room_w),
    )
    greedy(packing, hull, taken_w == hull.watts, key)
    waiting = _filled(packing, lockstep)
    if len(waiting.device) and packing.value < bound - NEAR * _typical(values[packing.at]):
        trade(packing, waiting, np.ones(len(low), bool) if menu.group is None else menu.group < 0)
        waiting = _filled(packing, lockstep)
    blocked_by = np.full(len(low), -1)
    blocked_by[waiting.device] = waiting.node
    if lockstep is not None:
        paced[lockstep.device] |= (packing.at != packing.top)[lockstep.device]
        paced &= blocked_by < 0
    value = packing.value
    return Allocation(
        index=packing.at - low,
        blocked_by=blocked_by,
        paced=paced,
        room_w=packing.room_w[:-1],
        value=value,
        bound=max(bound, value),
    )


def _filled(packing: Packing, lockstep: Lockstep | None) -> Waiting:
    waiting = fill(packing)
    return refill(packing, lockstep) if lockstep is not None and level(packing, lockstep) else waiting


def _by_group(hull: Steps, group: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Keys that rise as slopes fall, those of groups rounded up and then group by group, so that not every
    one of them has a part of its devices served.
    """
    of = group[hull.device]
    place = np.empty(len(of), np.intp)
    place[np.argsort(of, kind="stable")] = np.arange(len(of))
    rounded = (hull.slope.view(np.int64) | ALIKE).view(np.float64)
    return falling(np.where(of < 0, hull.slope, rounded), place)


def _typical(values: NDArray[np.float64]) -> float:
    """What devices are worth together, none of them counted at more than ten times the median."""
    worth = np.abs(values)
    middle = len(worth) // 2
    return float(np.minimum(worth, 10 * np.partition(worth, middle)[middle]).sum())


def _tops(low: NDArray[np.intp], hull: Steps) -> NDArray[np.intp]:
    """Where each device is worth most: at the end of its last step."""
    top = low.copy()
    top[hull.device] = hull.end
    return top
