"""What a subtree's watts are worth to whoever divides them: the curve that a child controller reports.

Nobody asks for it before controllers form a tree. It is no bill for people: values have premiums in them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controller.decide.allocate import Menu
from controller.decide.hulls import by_falling, hulls
from controller.decide.relaxed import relaxed
from controller.decide.tree import BOUNDLESS_W, Tree, load

Curve = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Watts and USD per hour: concave, straight between its points, from the devices' lowest candidates on."""


def curve_of(menu: Menu, room_w: NDArray[np.int64], tree: Tree, node: int) -> Curve:
    """The most that the devices below `node` can be worth together for every draw that its own room and the
    rooms below it allow, mixtures of candidates included.
    """
    inside = np.zeros(len(tree.ids), bool)
    inside[tree.below(node)] = True
    low = menu.start[:-1][inside[menu.node]]
    left_w = room_w - load(tree, menu.node[inside[menu.node]], menu.watts[low])
    steps = hulls(menu.start, menu.watts, menu.values)
    steps = steps.take(np.flatnonzero(inside[menu.node[steps.device]]))
    steps = steps.take(by_falling(steps.slope))
    where = menu.node[steps.device]
    taken_w = relaxed(steps.watts, where, np.where(inside, left_w, BOUNDLESS_W), tree)
    some = taken_w.nonzero()[0]
    watts = np.concatenate([[menu.watts[low].sum()], taken_w[some]])
    values = np.concatenate([[menu.values[low].sum()], steps.slope[some] * taken_w[some]])
    return np.cumsum(watts), np.cumsum(values)


def chords(curve: Curve, k: int) -> Curve:
    """At most `k` chords of `curve`, close where it bends: never above it, so no promise is too good.

    The chords' ends are equidistant in the integral of the square root of curvature, for which the largest
    distance to the curve is least.
    """
    watts, values = curve
    if len(watts) <= k + 1:
        return curve
    step_w = np.diff(watts)
    slope = np.diff(values) / step_w
    bend = np.maximum(slope[:-1] - slope[1:], 0) * (step_w[:-1] + step_w[1:]) / 2
    so_far = np.concatenate([[0.0], np.cumsum(np.sqrt(bend))])
    inner = 1 + np.searchsorted(so_far[1:], so_far[-1] * np.arange(1, k) / k)
    ends = np.unique(np.concatenate([[0], inner, [len(watts) - 1]]))
    return watts[ends], values[ends]
