"""The relaxed problem: steps may be taken in part.

The tree's limits form a laminar family, so what fits them is a polymatroid, and taking the steps of all
devices' hulls by falling slope, each as far as its tightest ancestor allows, is optimal (Edmonds 1970;
Federgruen and Groenevelt, Operations Research 34(6), 1986). From the leaves up, cutting what goes through
each node at its room comes to the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controller.decide.tree import Tree, load


def relaxed(
    step_w: NDArray[np.int64], node: NDArray[np.intp], room_w: NDArray[np.int64], tree: Tree
) -> NDArray[np.int64]:
    """How many watts of each step are taken. Steps stand by falling slope; `room_w` is per node of the tree
    and may be negative, where nothing is taken.
    """
    taken = step_w
    room_w = np.maximum(room_w, 0)
    over = np.zeros(len(room_w) + 1, bool)  # the padding is never too full
    through = load(tree, node, taken)
    for at_depth in tree.at_depth[:0:-1]:
        over[:-1] = through > room_w
        too_full = over[at_depth]
        if too_full.any():
            which = too_full[node].nonzero()[0]
            if taken is step_w:
                taken = step_w.copy()
            wanted_w, where = taken[which], node[which]
            taken[which] = left_w = _cut(wanted_w, at_depth[where], room_w)
            through -= load(tree, where, wanted_w - left_w)
    if through[0] > room_w[0]:
        taken = _at_most(taken, room_w[0] - taken.cumsum() + taken)
    return taken


def _cut(watts: NDArray[np.int64], node: NDArray[np.intp], room_w: NDArray[np.int64]) -> NDArray[np.int64]:
    """What of `watts`, in their order, the room of their node leaves."""
    narrow = node.astype(np.uint16) if len(room_w) <= 1 << 16 else node  # sorted in a single pass
    order = narrow.argsort(kind="stable")
    watts, node = watts[order], node[order]
    left_w = watts - watts.cumsum()
    new = np.ones(len(node), bool)
    np.not_equal(node[1:], node[:-1], out=new[1:])
    first = new.nonzero()[0]
    left_w += (room_w[node[first]] - left_w[first])[new.cumsum() - 1]
    cut = np.empty_like(watts)
    cut[order] = _at_most(watts, left_w)
    return cut


def _at_most(watts: NDArray[np.int64], left_w: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.minimum(watts, np.maximum(left_w, 0))
