"""Trades among the few devices of a node where room lies idle that none of them can use alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.decide.packing import Packing, Waiting, fill

WIDTH = 8
"""So many devices of a node are considered together: all 256 ways to move some of them."""
LOOKED_AT = 1 << 17
"""As many devices are looked at in a round; the smallest nodes come first, as whole steps cost them most."""
LOWER = (1, 2, 4, 1 << 20)
"""By how many candidates a device without a better one is lowered, round by round; to its lowest at most."""
GAIN = 1e-9
"""The least a trade must be worth, as a share of what it moves: rounding is no gain."""
WORTH_IT = 0.1
"""A round that closes less of the gap to the bound is the last."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moves:
    """A row per node, `WIDTH` columns: devices, where each would be moved, and what that changes."""

    device: NDArray[np.intp]
    to: NDArray[np.intp]
    watts: NDArray[np.int64]
    value: NDArray[np.float64]


def improve(packing: Packing, waiting: Waiting, bound: float, near: float) -> Waiting:
    """Trade until the packing is worth `near`, or it does not pay; what waits then."""
    value = packing.value
    for lower in LOWER:
        gap = bound - value
        if value >= near or not len(waiting.device):
            break
        _trade(packing, waiting, lower)
        waiting = fill(packing)
        value = packing.value
        if bound - value > (1 - WORTH_IT) * gap:
            break
    return waiting


def _trade(packing: Packing, waiting: Waiting, lower: int) -> None:
    """Make the best trade at each node that devices wait for."""
    node, which = np.unique(waiting.node, return_inverse=True)
    step_w, gain = _change(packing, waiting.device, waiting.better)
    price = np.zeros(len(node))
    np.maximum.at(price, which, gain / step_w)
    moves = _moves(packing, waiting, node, price, lower)
    total_w, total = np.zeros((len(node), 1), np.int64), np.zeros((len(node), 1))
    for column in range(WIDTH):  # bit by bit, all ways to make some of the moves
        total_w = np.concatenate([total_w, total_w + moves.watts[:, column, None]], axis=1)
        total = np.concatenate([total, total + moves.value[:, column, None]], axis=1)
    total[total_w > packing.spare_w(node)[:, None]] = -np.inf
    best = total.argmax(axis=1)
    gains = total[np.arange(len(node)), best] > GAIN * np.abs(moves.value).sum(axis=1)
    moved: set[int] = set()
    for row in gains.nonzero()[0].tolist():
        made = np.flatnonzero(best[row] >> np.arange(WIDTH) & 1)
        device = moves.device[row, made].tolist()
        if moved.isdisjoint(device) and _made(packing, device, moves.to[row, made].tolist()):
            moved.update(device)


def _made(packing: Packing, device: list[int], to: list[int]) -> bool:
    """Move devices unless a node further down, or what was traded elsewhere, is in the way."""
    before = packing.at[device].tolist()
    packing.move(device, to)
    if packing.spare_w(packing.node[device]).min() >= 0:
        return True
    packing.move(device, before)
    return False


def _moves(
    packing: Packing, waiting: Waiting, node: NDArray[np.intp], price: NDArray[np.float64], lower: int
) -> Moves:
    """Those devices below each node whose value per watt is nearest to its price, the best that waits for
    it: one that waits goes up, any other down.
    """
    to = np.maximum(packing.at - lower, packing.low)
    to[waiting.device] = waiting.better
    row, device = _below(packing, node)
    movable = to[device] != packing.at[device]
    row, device = row[movable], device[movable]
    step_w, gain = _change(packing, device, to[device])
    order = np.lexsort((np.abs(gain / step_w / price[row] - 1), row))
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
