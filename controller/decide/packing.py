"""Whole steps: which candidate each device is at, and what room is left.

Only the few steps that are in doubt are looked at one after the other; what cannot fit any more is told by
arrays first, since room only shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.decide.hulls import Steps
from controller.decide.relaxed import relaxed
from controller.decide.tree import Tree, load

AT_ONCE = 4096
"""Steps looked at before it is asked again which of the others still fit."""
ONE_BY_ONE = 1000
"""So few steps are looked at faster by themselves."""
ROUNDS = 3
"""So often the sure ones of those in doubt are taken together, before the others are looked at one by one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiting:
    """Devices that could be worth more: each one's next `better` candidate, and the lowest `node` on its way
    up that has no room for it.
    """

    device: NDArray[np.intp]
    better: NDArray[np.intp]
    node: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turns:
    """Devices in the order in which they are given watts, the watts of each one's next better candidate, and
    what a watt of these earns."""

    device: NDArray[np.intp]
    least_w: NDArray[np.int64]
    slope: NDArray[np.float64]

    def __getitem__(self, some: slice) -> Turns:
        return Turns(device=self.device[some], least_w=self.least_w[some], slope=self.slope[some])


@dataclass(slots=True, kw_only=True, eq=False)
class Packing:
    """`at` is each device's candidate as a position among all, like its lowest, `low`, and the one worth
    most, `top`; `room_w` is per node with the padding's at the end. `at` and `room_w` change as devices move.
    """

    tree: Tree
    node: NDArray[np.intp]
    watts: NDArray[np.int64]
    values: NDArray[np.float64]
    low: NDArray[np.intp]
    top: NDArray[np.intp]
    at: NDArray[np.intp]
    room_w: NDArray[np.int64]

    @property
    def value(self) -> float:
        return float(self.values[self.at].sum())

    def move(self, device: NDArray[np.intp], to: NDArray[np.intp]) -> None:
        """Put each of these devices at a candidate, wherever it was."""
        step_w = self.watts[to] - self.watts[self.at[device]]
        self.room_w[:-1] -= load(self.tree, self.node[device], step_w)
        self.at[device] = to

    def spare_w(self, node: NDArray[np.intp]) -> NDArray[np.int64]:
        """The least room on each node's way up."""
        spare_w: NDArray[np.int64] = self.room_w[self.tree.at_depth[:, node]].min(axis=0)
        return spare_w

    def unserved(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The devices that have a better candidate above their own, and the lowest of these."""
        device = np.flatnonzero(self.at != self.top)
        worth = self.values[self.at[device]]
        better = self.at[device] + 1
        worse = np.flatnonzero(self.values[better] <= worth)
        while len(worse):
            better[worse] += 1
            worse = worse[self.values[better[worse]] <= worth[worse]]
        return device, better


def greedy(
    packing: Packing, steps: Steps, whole: NDArray[np.bool_], key: NDArray[np.uint64] | None = None
) -> None:
    """Take steps in their order, or by rising `key`, whole ones only; a device whose next does not fit stays
    where it is.

    Those that the relaxed solution takes `whole` are all among them: before such a step no node above it is
    full, so whole steps have used no more there than parts. They can then be taken first, as in the end all
    of them fit together with what is taken of the others.
    """
    _take(packing, steps, whole.nonzero()[0])
    if key is None:
        key = np.arange(len(whole), dtype=np.uint64)
    stop = np.full(len(packing.at), len(whole))  # the step at which each device stays where it is
    rest = (~whole).nonzero()[0]
    while len(rest):
        part, rest = first_of(rest, key)
        part = _fitting(packing, steps, part, stop)
        for _ in range(ROUNDS):
            if len(part) <= ONE_BY_ONE:
                break
            some_w, node = steps.watts[part], packing.node[steps.device[part]]
            sure = relaxed(some_w, node, packing.room_w[:-1], packing.tree) == some_w
            _take(packing, steps, part[sure])
            part = _fitting(packing, steps, part[~sure], stop)
        _one_by_one(packing, steps, part, stop)
        rest = _fitting(packing, steps, rest, stop)


def first_of(which: NDArray[np.intp], key: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first of `which` by rising `key`, in that order, and the others."""
    keys = key[which]
    if len(which) <= AT_ONCE:
        return which[keys.argsort()], which[:0]
    first = keys < np.partition(keys, AT_ONCE)[AT_ONCE]
    part = which[first]
    return part[keys[first].argsort()], which[~first]


def _take(packing: Packing, steps: Steps, which: NDArray[np.intp]) -> None:
    before = packing.at.copy()
    packing.at[steps.device[which]] = steps.end[which]  # of several steps of a device the last one stands
    moved = (packing.at != before).nonzero()[0]
    step_w = packing.watts[packing.at[moved]] - packing.watts[before[moved]]
    packing.room_w[:-1] -= load(packing.tree, packing.node[moved], step_w)


def _fitting(
    packing: Packing, steps: Steps, which: NDArray[np.intp], stop: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The steps that fit by now, and no later one of a device that has one which does not."""
    device = steps.device[which]
    spare_w = packing.room_w[packing.tree.at_depth].min(axis=0)
    unfit = np.flatnonzero((steps.watts[which] > spare_w[packing.node[device]]) & (which < stop[device]))[
        ::-1
    ]
    stop[device[unfit]] = which[unfit]  # of several the last one named stands: the first in the order
    return which[which < stop[device]]


def _one_by_one(packing: Packing, steps: Steps, which: NDArray[np.intp], stop: NDArray[np.intp]) -> None:
    device = steps.device[which]
    room = packing.room_w.tolist()
    ways = packing.tree.way[packing.node[device]].tolist()
    taken: dict[int, int] = {}
    stopped: dict[int, int] = {}
    for step, one, step_w, way in zip(
        which.tolist(), device.tolist(), steps.watts[which].tolist(), ways, strict=True
    ):
        if one not in stopped:
            if _has_room(room, way, step_w):
                for node in way:
                    room[node] -= step_w
                taken[one] = step
            else:
                stopped[one] = step
    packing.at[list(taken)] = steps.end[list(taken.values())]
    packing.room_w[:-1] = room[:-1]
    stop[list(stopped)] = list(stopped.values())


def fill(packing: Packing) -> Waiting:
    """Give what is left to the devices that wait, best value per watt first, candidates off the hull
    allowed, until nothing more fits.
    """
    while True:
        turns, waiting = in_turn(packing)
        if not len(turns.device):
            return waiting
        give(packing, turns)


def in_turn(packing: Packing, apart: NDArray[np.bool_] | None = None) -> tuple[Turns, Waiting]:
    """The devices whose next better candidate fits, the best value per watt first, and those who wait; those
    that are `apart` left out."""
    device, better = packing.unserved()
    if apart is not None:
        others = ~apart[device]
        device, better = device[others], better[others]
    at = packing.at[device]
    step_w = packing.watts[better] - packing.watts[at]
    way = packing.tree.way[packing.node[device]]
    full = packing.room_w[way] < step_w[:, None]
    lowest = full.argmax(axis=1)
    each = np.arange(len(device))
    lacks = full[each, lowest]
    waits = Waiting(device=device[lacks], better=better[lacks], node=way[each, lowest][lacks])
    fits = np.flatnonzero(~lacks)
    slope = (packing.values[better[fits]] - packing.values[at[fits]]) / step_w[fits]
    order = np.argsort(-slope, kind="stable")
    fits = fits[order]
    return Turns(device=device[fits], least_w=step_w[fits], slope=slope[order]), waits


def give(packing: Packing, turns: Turns) -> None:
    """Put each in turn at the best of its candidates that still fits."""
    device = turns.device
    room = packing.room_w.tolist()
    ways = packing.tree.way[packing.node[device]].tolist()
    at_now, tops = packing.at[device].tolist(), packing.top[device].tolist()
    raised: dict[int, int] = {}
    for one, at, top, step_w, way in zip(
        device.tolist(), at_now, tops, turns.least_w.tolist(), ways, strict=True
    ):
        if not _has_room(room, way, step_w):
            continue
        watts, values = packing.watts[at : top + 1].tolist(), packing.values[at : top + 1].tolist()
        best = 0
        for to in range(1, len(watts)):
            if values[to] > values[best] and _has_room(room, way, watts[to] - watts[0]):
                best = to
        for node in way:
            room[node] -= watts[best] - watts[0]
        raised[one] = at + best
    packing.at[list(raised)] = list(raised.values())
    packing.room_w[:-1] = room[:-1]


def _has_room(room: list[int], way: list[int], step_w: int) -> bool:
    for node in way:  # noqa: SIM110 - a generator costs as much as the loop again
        if room[node] < step_w:
            return False
    return True
