"""GPUs that follow a set-point within seconds, as far as their jobs and their heat let them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np

from controller.decide import arrival
from controller.decide.arrays import Flags, Ints
from controller.decide.feeding import running_w
from controller.decide.freedom import Freedom, strained
from controller.decide.limits import Follow, Limits
from controller.decide.posts import posts
from controller.decide.snapshot import Snapshot
from controller.decide.together import groups
from controller.domain.jobs import QueueReading

SWING_AHEAD_S = 1.5
"""GPUs are set for the time until they can be set again."""
SHORT_SHARE = 0.001
"""So little off a set-point, devices are left alone: the meter's noise is about as much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Swing:
    """GPUs that follow the set-point, each between the least that its job needs and the most it may have.
    `together` numbers the jobs on several GPUs, by row, -1 for all others; nothing where there are none."""

    gpus: Flags
    least_w: Ints
    most_w: Ints
    together: Ints | None

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
    jobs = (status for queue in queues for status in queue.jobs)
    together = groups(seen, posts(fleet, ((status, status.gpus) for status in jobs)))
    return Swing(gpus=gpus, least_w=least_w, most_w=most_w, together=together)


def swung(course: Course, seen: Snapshot, at: Ints, now_s: float) -> Ints:
    """`at` with the GPUs put where, with what the miners are expected to draw, the set-point is met.

    Who has the most gives first, and who has the least takes first, as far as that goes. GPUs of one job,
    which goes as fast as the slowest of them, give and take together.
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
    after, up = at.copy(), change_w > 0
    for rows in _in_turn(swing, free, seen.columns.now_w if up else -seen.columns.now_w):
        change_w, gave_all = _moved(seen, swing, rows, after, change_w)
        if not gave_all:
            break
    return after


def _in_turn(swing: Swing, free: Ints, order: Ints) -> list[list[int]]:
    """The GPUs job by job, each where its first one stands in the order."""
    found: dict[int, list[int]] = {}
    for row in free[np.argsort(order[free], kind="stable")].tolist():
        job = -1 if swing.together is None else int(swing.together[row])
        found.setdefault(job if job >= 0 else -1 - row, []).append(row)
    return list(found.values())


def _moved(seen: Snapshot, swing: Swing, rows: list[int], after: Ints, change_w: float) -> tuple[float, bool]:
    """What is left of the change once these GPUs took of it what they can, step by step, always the one that
    is furthest behind; and whether that was all they can. `after` is changed."""
    way = 1 if change_w > 0 else -1
    points_w = {row: [point.power.watts for point in seen.fleet.specs[row].points] for row in rows}

    def next_of(row: int) -> tuple[int, int, int] | None:
        at = int(after[row])
        to_w = points_w[row][at + way] if 0 <= at + way < len(points_w[row]) else -1
        return (
            (way * points_w[row][at], row, to_w) if swing.least_w[row] <= to_w <= swing.most_w[row] else None
        )

    steps = [step for step in map(next_of, rows) if step is not None]
    heapify(steps)
    while steps:
        at_w, row, to_w = heappop(steps)
        step_w = to_w - way * at_w
        if way * change_w <= abs(step_w) / 2:
            return change_w, False
        after[row] += way
        change_w -= step_w
        if (step := next_of(row)) is not None:
            heappush(steps, step)
    return change_w, True
