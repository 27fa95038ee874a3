"""Trades among the few devices of a node where room lies idle that none of them can use alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from controller.decide.packing import Packing, Waiting
from controller.decide.tree import load

Number = TypeVar("Number", np.int64, np.float64)

WIDTH = 8
"""So many devices of a node are considered together: all 256 ways to move some of them."""
NODES = 1 << 14
"""At most so many nodes are looked at, those first where most lies idle."""
LOOKED_AT = 1 << 17
"""At most so many devices below them, smallest nodes first, as whole steps cost them most."""
AT_ONCE = 256
"""Nodes of which all ways are weighed together: their arrays stay in the processor's cache."""
GAIN = 1e-9
"""The least a trade must be worth, as a share of what it moves: rounding is no gain."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moves:
    """A row per node, `WIDTH` columns: devices, where each would be moved, and what that changes."""

    device: NDArray[np.intp]
    to: NDArray[np.intp]
    watts: NDArray[np.int64]
    value: NDArray[np.float64]


def trade(packing: Packing, waiting: Waiting, free: NDArray[np.bool_]) -> None:
    """Make the best trade of `free` devices at each node that devices wait for."""
    full = np.zeros(len(packing.tree.ids), bool)
    full[waiting.node] = True
    node = full.nonzero()[0]
    step_w, gain = _change(packing, waiting.device, waiting.better)
    price = np.zeros(len(full))
    np.maximum.at(price, waiting.node, gain / step_w)
    node = node[(-price[node] * packing.spare_w(node)).argsort(kind="stable")[:NODES]]
    moves = _moves(packing, waiting, node, price[node], free)
    _make(packing, moves, _best(moves, packing.spare_w(node)))


def _best(moves: Moves, spare_w: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Those of each row's moves that are worth most together and fit the spare room of its node; none of them
    where that gains nothing."""
    best = np.zeros(len(spare_w), np.intp)
    for first in range(0, len(spare_w), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        total = _of_some(moves.value[rows])
        np.putmask(total, _of_some(moves.watts[rows]) > spare_w[rows, None], -np.inf)
        best[rows] = most = total.argmax(axis=1)
        gains = total[np.arange(len(most)), most] > GAIN * np.abs(moves.value[rows]).sum(axis=1)
        best[rows] *= gains
    return (best[:, None] >> np.arange(WIDTH) & 1).astype(bool)


def _of_some(each: NDArray[Number]) -> NDArray[Number]:
    """Each row's sums over some of its columns; the bits of a position say over which."""
    total = np.zeros((len(each), 1 << WIDTH), each.dtype)
    for column in range(WIDTH):
        known = 1 << column
        np.add(total[:, :known], each[:, column, None], out=total[:, known : 2 * known])
    return total


def _make(packing: Packing, moves: Moves, chosen: NDArray[np.bool_]) -> None:
    """Make the `chosen` moves, all of a row or none; row by row only if they are in each other's way."""
    device, to = moves.device[chosen], moves.to[chosen]
    if len(device) and np.bincount(device).max() == 1:
        change_w = load(packing.tree, packing.node[device], moves.watts[chosen])
        if (change_w <= np.maximum(packing.room_w[:-1], 0)).all():
            packing.room_w[:-1] -= change_w
            packing.at[device] = to
            return
    moved: dict[int, int] = {}
    room = packing.room_w.tolist()
    paths = packing.tree.paths
    for row in np.flatnonzero(chosen.any(axis=1)).tolist():
        those = chosen[row]
        devices = moves.device[row, those].tolist()
        ways = [paths[node] for node in packing.node[devices].tolist()]
        if moved.keys().isdisjoint(devices) and _fits(room, ways, moves.watts[row, those].tolist()):
            moved.update(zip(devices, moves.to[row, those].tolist(), strict=True))
    packing.at[list(moved)] = list(moved.values())
    packing.room_w[:-1] = room[:-1]


def _fits(room: list[int], ways: list[tuple[int, ...]], watts: list[int]) -> bool:
    """Take `watts` out of the rooms along their `ways`, unless a node further down, or what was traded
    elsewhere, is in the way."""
    for way, step_w in zip(ways, watts, strict=True):
        for node in way:
            room[node] -= step_w
    if all(room[node] >= 0 for way in ways for node in way):
        return True
    for way, step_w in zip(ways, watts, strict=True):
        for node in way:
            room[node] += step_w
    return False


def _moves(
    packing: Packing,
    waiting: Waiting,
    node: NDArray[np.intp],
    price: NDArray[np.float64],
    free: NDArray[np.bool_],
) -> Moves:
    """Those `free` devices below each node whose value per watt is nearest to the node's price, the best that
    waits for it: one that waits goes to its next better candidate, any other to the one below its own.
    """
    to = np.maximum(packing.at - 1, packing.low)
    to[waiting.device] = waiting.better
    row, device = _below(packing, node)
    movable = free[device] & (to[device] != packing.at[device])
    row, device = row[movable], device[movable]
    step_w, gain = _change(packing, device, to[device])
    order = np.abs(gain / step_w / price[row] - 1).argsort(kind="stable")
    order = order[row[order].astype(np.uint16).argsort(kind="stable")]  # sorted in a single pass
    row = row[order]
    column = np.arange(len(row)) - np.searchsorted(row, row)
    order = order[column < WIDTH]
    where = row[column < WIDTH], column[column < WIDTH]
    shape = len(node), WIDTH
    moves = Moves(
        device=np.zeros(shape, np.intp),
        to=np.zeros(shape, np.intp),
        watts=np.zeros(shape, np.int64),
        value=np.zeros(shape),
    )
    moves.device[where], moves.to[where] = device[order], to[device[order]]
    moves.watts[where], moves.value[where] = step_w[order], gain[order]
    return moves


def _change(
    packing: Packing, device: NDArray[np.intp], to: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    at = packing.at[device]
    return packing.watts[to] - packing.watts[at], packing.values[to] - packing.values[at]


def _below(packing: Packing, node: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The positions in `node`, each with every device below it."""
    tree = packing.tree
    place = tree.first[packing.node]
    by_place = np.argsort(place, kind="stable")
    begin, end = np.searchsorted(place[by_place], (tree.first[node], tree.end[node]))
    size = end - begin
    chosen = np.argsort(size, kind="stable")
    chosen = chosen[np.cumsum(size[chosen]) <= LOOKED_AT]
    size = size[chosen]
    row = np.repeat(chosen, size)
    within = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
    return row, by_place[begin[row] + within]
