"""The relaxed problem: steps may be taken in part.

The tree's limits form a laminar family, so what fits them is a polymatroid, and taking the steps of all
devices' hulls by falling slope, each as far as its tightest ancestor allows, is optimal (Edmonds 1970;
Federgruen and Groenevelt, Operations Research 34(6), 1986). From the leaves up, cutting what goes through
each node at its room comes to the same. Where a node's cut lies is found by counting watts by ranks of
slopes, and only what is near to it is sorted: to sort all steps would cost more than all the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controller.decide.tree import Tree, load, sum_up

BITS = 16
"""Ranks are whole numbers of so many bits."""
FEW = 2_000
"""So few steps are sorted in less time than they are counted."""


def relaxed(
    step_w: NDArray[np.int64],
    node: NDArray[np.intp],
    room_w: NDArray[np.int64],
    tree: Tree,
    key: NDArray[np.uint64] | None = None,
) -> NDArray[np.int64]:
    """How many watts of each step are taken. Steps stand by falling slope, or each one's `key` says where it
    would stand; `room_w` is per node of the tree and may be negative, where nothing is taken.
    """
    room_w = np.maximum(room_w, 0)
    through_w = load(tree, node, step_w)
    if (through_w <= room_w).all():
        return step_w
    if key is not None and len(key) <= FEW:
        order, taken_w = key.argsort(), np.empty_like(step_w)
        taken_w[order] = relaxed(step_w[order], node[order], room_w, tree)
        return taken_w
    taken_w = step_w.copy()
    rank = None if key is None else _ranks(key)
    for at_depth in tree.at_depth[:0:-1]:
        full = ((through_w > room_w) & (at_depth == np.arange(len(room_w)))).nonzero()[0]
        if not len(full):
            continue
        place = np.full(len(room_w) + 1, -1)
        place[full] = np.arange(len(full))
        above = place[at_depth]  # each node's ancestor among the full ones of this depth
        which = ((above >= 0)[node] & (taken_w > 0)).nonzero()[0]
        within, left_w = above[node[which]], room_w[full]
        if key is None or rank is None:
            taken_w[which] = _in_order(taken_w[which], within, left_w)
        else:
            taken_w[which] = _by_key(taken_w[which], within, left_w, key[which], rank[which])
        cut_w = np.zeros_like(through_w)
        cut_w[full] = through_w[full] - left_w
        through_w -= sum_up(tree, cut_w)
    if through_w[0] > room_w[0]:
        root = np.broadcast_to(np.intp(0), len(taken_w))
        if key is None or rank is None:
            return _in_order(taken_w, root, room_w[:1])
        return _by_key(taken_w, root, room_w[:1], key, rank)
    return taken_w


def _ranks(key: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Numbers that never fall where keys rise, with about as many keys at each."""
    lowest = key.min()
    bits = _bits(len(key))
    coarse = (key - lowest >> max(0, int(key.max() - lowest).bit_length() - bits)).view(np.int64)
    before = np.bincount(coarse, minlength=1 << bits).cumsum() - 1
    rank: NDArray[np.uint16] = ((before << BITS) // len(key)).astype(np.uint16)[coarse]
    return rank


def _bits(count: int) -> int:
    """Of numbers so long that about four of `count` steps share each."""
    return min(BITS, max(1, count.bit_length() - 2))


def _by_key(
    watts: NDArray[np.int64],
    node: NDArray[np.intp],
    room_w: NDArray[np.int64],
    key: NDArray[np.uint64],
    rank: NDArray[np.uint16],
) -> NDArray[np.int64]:
    """What of `watts`, by rising `key`, the room of their node leaves; `watts` itself is changed.

    Each node's watts are counted by rank: those before the rank where its room ends are taken, those after it
    are not, and only those at it are sorted.
    """
    nodes = len(room_w)
    bits = _bits(len(watts) // nodes)
    cell = rank >> BITS - bits
    if nodes > 1:
        cell = cell + (node << bits)
    used_w = np.bincount(cell, watts, nodes << bits).reshape(nodes, -1).cumsum(axis=1)
    end = (used_w <= room_w[:, None]).sum(axis=1)  # the first cell that has not all of its watts
    before_w = np.where(end > 0, used_w[np.arange(nodes), end - 1], 0.0).astype(np.int64)
    last = (np.arange(nodes) << bits) + end
    if nodes > 1:
        last = last[node]
    watts *= cell <= last
    near = (cell == last).nonzero()[0]
    near = near[key[near].argsort()]
    watts[near] = _in_order(watts[near], node[near], room_w - before_w)
    return watts


def _in_order(
    watts: NDArray[np.int64], node: NDArray[np.intp], room_w: NDArray[np.int64]
) -> NDArray[np.int64]:
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
    cut[order] = np.minimum(watts, np.maximum(left_w, 0))
    return cut
