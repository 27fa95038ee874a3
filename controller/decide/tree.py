"""The electrical tree as arrays: where each node's way up leads, and sums over everything below a node.

An index one past the last node stands for "no node": it pads the ways up to one length, and whoever looks up
room along a way gives it more than anybody can take (`Tree.padded`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.domain.site import Site

BOUNDLESS_W = 2**62
"""The room of the node that is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """`ids` come parents first, and the root is 0; `parent` is -1 for the root. `index` finds a node by
    id, and `paths` are the ways up for a loop in Python.

    `way` has a row per node: itself first, the root last, then padding. `at_depth` has a row per depth, the
    root's first: each node's ancestor there (itself at its own depth), padding where it lies higher.
    Walking the tree depth first, `order` is the nodes' sequence, and those below a node, itself included,
    are `first` up to but not including `end` in it. Those `isolated` have no voltage.
    """

    ids: tuple[str, ...]
    paths: tuple[tuple[int, ...], ...]
    index: Mapping[str, int]
    parent: NDArray[np.intp]
    way: NDArray[np.intp]
    at_depth: NDArray[np.intp]
    order: NDArray[np.intp]
    first: NDArray[np.intp]
    end: NDArray[np.intp]
    isolated: NDArray[np.bool_]

    @property
    def none(self) -> int:
        """The index that stands for no node."""
        return len(self.ids)

    def below(self, node: int) -> NDArray[np.intp]:
        """The nodes below `node`, itself included."""
        return self.order[self.first[node] : self.end[node]]

    def under(self, some: NDArray[np.bool_], node: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of `node` are among `some` of the nodes, or below one of them."""
        return np.asarray(np.append(some, False)[self.way[node]].any(axis=1))

    def padded(self, room_w: NDArray[np.int64]) -> NDArray[np.int64]:
        """`room_w` per node, with room for anything at the padding."""
        room = np.empty(len(self.ids) + 1, np.int64)
        room[:-1] = room_w
        room[-1] = BOUNDLESS_W
        return room


def tree_of(site: Site) -> Tree:
    index = {node.id: at for at, node in enumerate(site.nodes)}
    parents = [-1 if node.parent is None else index[node.parent] for node in site.nodes]
    ways = _ways(parents)
    none, depth = len(parents), max(map(len, ways))
    way = np.full((none, depth), none, np.intp)
    at_depth = np.full((depth, none), none, np.intp)
    for node, up in enumerate(ways):
        way[node, : len(up)] = up
        at_depth[: len(up), node] = up[::-1]
    first, end = _spans(parents)
    isolated = site.isolated()
    return Tree(
        ids=tuple(index),
        paths=tuple(ways),
        index=index,
        parent=np.array(parents, np.intp),
        way=way,
        at_depth=at_depth,
        order=np.argsort(first),
        first=first,
        end=end,
        isolated=np.array([node.id in isolated for node in site.nodes], np.bool_),
    )


def sum_up(tree: Tree, per_node: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each node's own value and those of all nodes below it, exactly."""
    running = np.zeros(len(tree.ids) + 1, np.int64)
    per_node[tree.order].cumsum(out=running[1:])
    return running[tree.end] - running[tree.first]


def at_node(tree: Tree, node: NDArray[np.intp], watts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum at each node of the devices that stand there, given by row. (Sums of whole watts stay exact in
    floats up to 9 PW.)"""
    return np.bincount(node, watts, tree.none).astype(np.int64)


def load(tree: Tree, node: NDArray[np.intp], watts: NDArray[np.int64]) -> NDArray[np.int64]:
    """What devices, given by row, send through each node: all those below it."""
    return sum_up(tree, at_node(tree, node, watts))


def _ways(parents: list[int]) -> list[tuple[int, ...]]:
    ways: list[tuple[int, ...]] = []
    for node, parent in enumerate(parents):
        ways.append((node, *(ways[parent] if parent >= 0 else ())))
    return ways


def _spans(parents: list[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where each node stands when the tree is walked depth first, and where the last one below it ends."""
    size = [1] * len(parents)
    for node in range(len(parents) - 1, 0, -1):
        size[parents[node]] += size[node]
    first = [0] * len(parents)
    free = [1] * len(parents)  # where the next child of a node stands, counted from the node
    for node in range(1, len(parents)):
        parent = parents[node]
        first[node] = first[parent] + free[parent]
        free[parent] += size[node]
    begins = np.array(first, np.intp)
    return begins, begins + np.array(size, np.intp)
