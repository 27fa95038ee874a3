"""GPUs that follow a set-point within seconds, as far as their jobs and their heat let them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from controller.decide import arrival
from controller.decide.arrays import Flags, Ints
from controller.decide.feeding import running_w
from controller.decide.freedom import Freedom, strained
from controller.decide.limits import Follow, Limits
from controller.decide.snapshot import Snapshot
from controller.domain.jobs import QueueReading

SWING_AHEAD_S = 1.5
"""GPUs are set for the time until they can be set again."""
SHORT_SHARE = 0.001
"""So little off a set-point, devices are left alone: the meter's noise is about as much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swing:
    """GPUs that follow the set-point, each between the least that its job needs and the most it may have."""

    gpus: Flags
    least_w: Ints
    most_w: Ints

    @property
    def middle_w(self) -> float:
        return float((self.least_w + self.most_w)[self.gpus].sum()) / 2

    @property
    def half_w(self) -> float:
        return float((self.most_w - self.least_w)[self.gpus].sum()) / 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """How the set-point is met in this plan: what is planned with, what each device may do, who swings, and
    how much more than they were asked for miners are asked for (negative: less)."""

    limits: Limits
    follow: Follow
    may: Freedom
    swing: Swing
    change_w: float = 0.0


def swing_now(seen: Snapshot, limits: Limits, may: Freedom, queues: Iterable[QueueReading]) -> Swing:
    """GPUs at work that have what their job needs, below nodes that need nothing of them."""
    fleet, known = seen.fleet, seen.columns
    least_w, most_w = running_w(seen, queues), np.minimum(may.most_w, fleet.top_w)
    works = fleet.gpu & (least_w > 0) & may.obeys
    gpus = works & ~strained(seen, limits) & (known.now_w >= least_w) & (known.now_w <= most_w)
    return Swing(gpus=gpus, least_w=least_w, most_w=most_w)


def swung(course: Course, seen: Snapshot, at: Ints, now_s: float) -> Ints:
    """`at` with the GPUs put where, with what the miners are expected to draw, the set-point is met.

    Who has the most gives first, and who has the least takes first.
    """
    swing, limits = course.swing, course.limits
    free = np.flatnonzero(swing.gpus & ~course.may.dwells)
    if not len(free):
        return at
    counts_w = arrival.settled_w(seen, course.may)
    soon_w = arrival.drawn_w(seen, course.may, course.follow, now_s + SWING_AHEAD_S)
    slow_w = float(soon_w[~swing.gpus].sum())
    wanted_w = limits.goal_w - course.follow.off_w - float(seen.other_w[0]) - slow_w
    change_w = wanted_w - float(counts_w[swing.gpus].sum())
    if abs(change_w) <= SHORT_SHARE * limits.goal_w:
        return at
    now_w = seen.columns.now_w[free]
    up = change_w > 0
    order = np.argsort(now_w if up else -now_w, kind="stable")
    end_w = (swing.most_w if up else swing.least_w)[free[order]]
    moves_w = np.abs(end_w - now_w[order])
    left_w = np.maximum(0.0, abs(change_w) - (np.cumsum(moves_w) - moves_w))
    moved_w = np.minimum(moves_w, left_w)
    after = at.copy()
    for row, watts, moved in zip(free[order].tolist(), now_w[order].tolist(), moved_w.tolist(), strict=True):
        if moved > 0:
            after[row] = _nearest(seen, swing, row, watts + moved if up else watts - moved)
    return after


def _nearest(seen: Snapshot, swing: Swing, row: int, watts: float) -> int:
    """Among the points that the GPU may have: the nearest of all may lie above what its heat allows."""
    points = seen.fleet.specs[row].points
    may = [at for at, it in enumerate(points) if it.power.watts <= swing.most_w[row]]
    return min(may, key=lambda at: abs(points[at].power.watts - watts))
