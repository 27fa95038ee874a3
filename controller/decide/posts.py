"""Which GPU works for which job, and the points that a job needs of it: for one, and for thousands."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.fleet import Fleet
from controller.domain.devices import DeviceSpec
from controller.domain.jobs import Job, JobState, JobStatus

HEADROOM = 0.10
"""A GPU's limit above what its work was seen to want: within that, work that wants more is not held back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The job a GPU is bound to, and whether it is running there now."""

    job: Job
    state: JobState


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posts:
    """GPUs at work, by `row` of the fleet, each of them at one of `works`: the one of that number."""

    row: Ints
    of: Ints
    works: tuple[Work | JobStatus, ...]

    def __bool__(self) -> bool:
        return len(self.row) > 0

    def each(self, per_work: Iterable[float]) -> Floats:
        """What holds of each work, for each GPU that is at it."""
        return np.array(list(per_work), dtype=np.float64)[self.of]

    @property
    def runs(self) -> Flags:
        return np.array([work.state is JobState.RUNNING for work in self.works], dtype=np.bool_)[self.of]

    def least(self, fleet: Fleet) -> Ints:
        """The lowest point of each GPU at which its job keeps the throughput that its tier demands."""
        tier = np.array([work.job.flex for work in self.works], dtype=np.int64)[self.of]
        return fleet.keeps[tier, self.row]

    def needed(self, fleet: Fleet, heat_w: Ints) -> Ints:
        """The lowest point at which its job may begin; or once it runs, is left at work: where its heat, of
        `heat_w` by row, allows less than the tier demands, the highest that it allows. At the floor it is set
        aside.
        """
        least = self.least(fleet)
        hot = self.runs & (heat_w[self.row] < fleet.power_w[fleet.start[self.row] + least])
        if not hot.any():
            return least
        allowed = _last_within(fleet, heat_w)[self.row]
        return np.where(hot & (allowed > 0), allowed, least)

    def needed_w(self, fleet: Fleet, heat_w: Ints) -> Ints:
        """The power of that point: no work is lost for watts that heat forbids all the same."""
        found: Ints = fleet.power_w[fleet.start[self.row] + self.needed(fleet, heat_w)]
        return found

    def enough(self, fleet: Fleet, demand_w: Floats) -> Ints:
        """The lowest point above the floor that holds the job back in nothing, which was seen to want
        `demand_w`, by row; the highest where that is not known, or there is none."""
        below = fleet.power_w < (demand_w * (1 + HEADROOM))[fleet.owner]
        first = np.add.reduceat(below.astype(np.int64), fleet.start[:-1])[self.row]
        return np.minimum(np.maximum(first, np.maximum(1, self.least(fleet))), fleet.last[self.row])


def posts(fleet: Fleet, working: Iterable[tuple[Work | JobStatus, Collection[str]]]) -> Posts:
    """The GPUs of each work; those that are not in the fleet are left out."""
    works = tuple(working)
    row = np.array([fleet.row.get(gpu, -1) for _, gpus in works for gpu in gpus], dtype=np.int64)
    of = np.repeat(np.arange(len(works)), [len(gpus) for _, gpus in works])
    there = row >= 0
    return Posts(row=row[there], of=of[there], works=tuple([work for work, _ in works]))


def floor_index(spec: DeviceSpec, job: Job) -> int:
    """`Posts.least` of one device."""
    points = spec.points
    least = points[-1].rate * (1 - job.flex.allowed_loss) - 1e-9
    at = 0
    while points[at].rate < least:  # the highest is enough
        at += 1
    return at


def enough_index(spec: DeviceSpec, job: Job, demand_w: float) -> int:
    """`Posts.enough` of one device."""
    at, last, wants_w = max(1, floor_index(spec, job)), len(spec.points) - 1, demand_w * (1 + HEADROOM)
    while at < last and spec.points[at].power.watts < wants_w:
        at += 1
    return min(at, last)


def _last_within(fleet: Fleet, most_w: Ints) -> Ints:
    """The highest point of each device that draws no more than `most_w`, by row; -1 where none does."""
    within = (fleet.power_w <= most_w[fleet.owner]).astype(np.int64)
    found: Ints = np.add.reduceat(within, fleet.start[:-1]) - 1
    return found
