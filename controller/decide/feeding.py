"""Which jobs have their watts: whichever has not is tried on other GPUs, or set aside, until all others have.

What was too much for one GPU is too much for all that the same node feeds, so jobs do not take turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from controller.decide import jobs, value
from controller.decide.arrays import Ints
from controller.decide.columns import counted_w
from controller.decide.freedom import Freedom, surely_obeying
from controller.decide.jobs import Placement
from controller.decide.plan import Truth
from controller.decide.snapshot import Snapshot
from controller.domain.jobs import Job, JobState, QueueReading
from controller.domain.power import Power

OTHER_TRIES = 5
"""How often jobs that lack watts are tried on other GPUs before they have to wait for the next tick."""


class Feeding:
    """The jobs that are `kept` on their GPUs, while one allocation after another is tried. `placed` are the
    GPUs that queued jobs were given in the tick before."""

    def __init__(
        self,
        seen: Snapshot,
        may: Freedom,
        queues: Sequence[QueueReading],
        placed: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._seen = seen
        self._queues = queues
        self._usable = _usable(seen, may) if queues else {}
        self._too_hot = _too_hot(seen, may, self._usable)
        self._too_much: dict[str, Power] = {}
        """What jobs needed on all of their GPUs that this GPU could not be one of."""
        self._aside: dict[str, Placement] = {}
        self._tries = 0
        self.kept = self._place(placed)

    @property
    def aside(self) -> tuple[Placement, ...]:
        """The jobs that lack watts wherever they were tried."""
        return tuple(job for job in self._aside.values() if job not in self.kept)

    def short(self, then: Ints) -> list[Placement]:
        """The jobs of which a GPU would lack watts at the points `then`, by row."""
        return [job for job in self.kept if not all(self._has_enough(then, gpu, job) for gpu in job.gpus)]

    def give_up(self, short: Sequence[Placement], then: Ints, blocked_by: Ints) -> None:
        """Set aside who is in each other's way, and try it elsewhere. `blocked_by` is the node in the way of
        each device, by row."""
        row = self._seen.fleet.row
        rows = {gpu: row[gpu] for job in short for gpu in job.gpus if gpu in row}
        holding = {gpu for gpu, at in rows.items() if then[at] > 0}
        nodes = {
            gpu: self._nodes(rows[gpu], int(then[rows[gpu]]), int(blocked_by[rows[gpu]]))
            for job in short
            for gpu in job.gpus
            if gpu in holding or not self._has_enough(then, gpu, job)
        }
        dropped = jobs.to_set_aside(short, holding, nodes)
        leaving = {job.id: job for job in dropped}
        self._aside |= leaving
        self.kept = [job for job in self.kept if job.id not in leaving]
        self._tries += 1
        if self._tries > OTHER_TRIES:
            return
        spare = self._usable.keys() - jobs.work_of(self.kept)
        for job in dropped:
            for gpu in job.gpus:
                if not self._has_enough(then, gpu, job):
                    self._rule_out(spare, gpu, job.status.job, int(blocked_by[row[gpu]]))
        again = self._place(jobs.queued(self.kept))
        self.kept = [job for job in again if job.id not in self._aside or not job.status.gpus]

    def _place(self, before: Mapping[str, tuple[str, ...]]) -> list[Placement]:
        return list(jobs.place(self._queues, self._usable, before, self._may))

    def _may(self, gpu: str, job: Job) -> bool:
        cool = gpu not in self._too_hot or least(self._seen, gpu, job) < self._too_hot[gpu]
        return cool and (gpu not in self._too_much or self._whole(gpu, job) < self._too_much[gpu])

    def _whole(self, gpu: str, job: Job) -> Power:
        """What the job needs on as many of these GPUs as it wants."""
        return Power(least(self._seen, gpu, job).watts * job.gpus)

    def _nodes(self, row: int, then: int, blocked_by: int) -> Sequence[int]:
        """Where a GPU holds watts, or else where it waits for them: at no node if nothing helps."""
        if then > 0:
            return self._seen.tree.paths[self._seen.fleet.node[row]]
        return (blocked_by if blocked_by >= 0 else self._seen.tree.none,)

    def _has_enough(self, then: Ints, gpu: str, placement: Placement) -> bool:
        """Whether a GPU gives the job its least throughput. One that cannot be seen is left as it is."""
        row = self._seen.fleet.row.get(gpu)
        if row is None or then[row] < 0:
            return True
        given = self._seen.fleet.specs[row].points[int(then[row])]
        return given.power >= least(self._seen, gpu, placement.status.job)

    def _rule_out(self, gpus: Iterable[str], gpu: str, job: Job, node: int) -> None:
        """What the job needs is too much for the GPU, and for all others below the node in its way. One that
        needs less in all may fit."""
        fleet, paths = self._seen.fleet, self._seen.tree.paths
        needs = self._whole(gpu, job)
        for other in gpus:
            if other == gpu or (node >= 0 and node in paths[fleet.node[fleet.row[other]]]):
                self._too_much[other] = min(needs, self._too_much.get(other, needs))


def least(seen: Snapshot, gpu: str, job: Job) -> Power:
    """What a GPU must have for the job to keep the throughput its flex tier demands."""
    spec = seen.spec(gpu)
    return spec.points[value.floor_index(spec, job)].power


def running_w(seen: Snapshot, queues: Iterable[QueueReading]) -> Ints:
    """What each device must have for the job that runs on it, by row; zero where none runs. Where several
    queues say that theirs runs there, the one that needs most counts."""
    found = np.zeros(len(seen.fleet), dtype=np.int64)
    for queue in queues:
        for status in queue.jobs:
            gpus = status.gpus if status.state is JobState.RUNNING else ()
            for gpu in seen.fleet.row.keys() & gpus:
                row = seen.fleet.row[gpu]
                found[row] = max(found[row], least(seen, gpu, status.job).watts)
    return found


def works_w(seen: Snapshot, queues: Sequence[QueueReading], now_s: float) -> Ints:
    """What each node carries when every job that runs has its least, and all else that surely obeys is at its
    lowest."""
    fleet, known = seen.fleet, seen.columns
    bias = value.shown_bias(fleet, known)
    least_w = counted_w(np.maximum(fleet.floor_w, running_w(seen, queues)), bias)
    return seen.carried_w(np.where(surely_obeying(seen, now_s), least_w, known.worst_w))


def _usable(seen: Snapshot, may: Freedom) -> dict[str, bool]:
    """The GPUs that a job may be given, and whether each comes up as it is told."""
    found: dict[str, bool] = {}
    for row in np.flatnonzero(seen.fleet.gpu & may.obeys).tolist():
        name = seen.fleet.specs[row].id
        state = seen.devices[name]
        found[name] = state.attempts < 2 and state.truth not in (Truth.REFUSED, Truth.LYING)
    return found


def _too_hot(seen: Snapshot, may: Freedom, gpus: Iterable[str]) -> dict[str, Power]:
    """The lowest power that heat forbids each of the GPUs; nothing for those that it forbids none."""
    fleet = seen.fleet
    found: dict[str, Power] = {}
    for gpu in gpus:
        row = fleet.row[gpu]
        if may.most_w[row] < fleet.top_w[row]:
            points = fleet.specs[row].points[1:]
            found[gpu] = next(point.power for point in points if point.power.watts > may.most_w[row])
    return found
