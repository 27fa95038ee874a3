"""Which jobs have their watts: whichever has not is tried on other GPUs, or set aside, until all others have.

What was too much for a node is too much for all GPUs that it feeds, so jobs do not take turns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace

import numpy as np

from controller.decide import jobs, value
from controller.decide.arrays import Flags, Ints
from controller.decide.columns import counted_w, no_less_than_stuck
from controller.decide.freedom import Freedom, surely_obeying
from controller.decide.jobs import Placement
from controller.decide.plan import UNLIMITED_W
from controller.decide.posts import Posts, posts
from controller.decide.shedding import MANY, shortage
from controller.decide.snapshot import Snapshot
from controller.decide.tree import load
from controller.decide.unmetered import with_hidden_w
from controller.decide.words import Truth
from controller.domain.jobs import Job, JobState, QueueReading
from controller.domain.power import Power

OTHER_TRIES = 5
"""How often jobs that lack watts are tried on other GPUs before they have to wait for the next tick."""
COMES_UP_WITHIN = 2
"""A GPU that was told so often where to be, and did not come, is taken to stay where it is."""


class Feeding:
    """The jobs that are `kept` on their GPUs, while one allocation after another is tried. `placed` are the
    GPUs that queued jobs were given in the tick before; for `due` ones they are kept where they are too few.
    """

    def __init__(
        self,
        seen: Snapshot,
        may: Freedom,
        queues: Sequence[QueueReading],
        placed: Mapping[str, tuple[str, ...]],
        room_w: Ints,
        due: Set[str] = frozenset(),
    ) -> None:
        self._seen = seen
        self._queues = queues
        self._due = due
        self._usable = _usable(seen, may, queues, room_w) if queues else {}
        self._open = self._usable.keys() - jobs.busy(queues)
        self._beyond = _too_hot(seen, may, self._usable)
        """The lowest power that a GPU cannot have, whatever its nodes carry."""
        self._beyond_w = _beyond_w(seen, may, room_w) if queues else {}
        self._too_much_w = dict(self._beyond_w)
        """What a job cannot have above the floors of its GPUs below a node, or did not get there."""
        self._aside: dict[str, Placement] = {}
        self._tries = 0
        self.kept: Sequence[Placement] = ()
        self._keep(self._place(placed))

    @property
    def aside(self) -> tuple[Placement, ...]:
        """The jobs that lack watts wherever they were tried, or could not use them."""
        kept = {job.id for job in self.kept}
        return tuple(job for job in self._aside.values() if job.id not in kept or job not in self.kept)

    def working(self) -> Posts:
        """The work of each GPU that is to have watts for it."""
        if np.bincount(self._posts.row).max(initial=0) <= 1:
            return self._posts
        fed = [replace(job, gpus=self._fed(job)) for job in self.kept]
        held_by = jobs.holders(fed)
        own = ((job.status, [gpu for gpu in job.gpus if held_by[gpu] is job]) for job in fed)
        return posts(self._seen.fleet, own)

    def _keep(self, kept: Sequence[Placement]) -> None:
        self.kept = kept
        self._posts = posts(self._seen.fleet, ((job.status, self._fed(job)) for job in kept))
        """The GPUs of each of them, though several may claim one."""

    def lagging(self) -> list[int]:
        """The rows of the GPUs that jobs wait for, and that do not come up as they are told."""
        row = self._seen.fleet.row
        return [row[gpu] for job in self.kept for gpu in self._lagging(job)]

    def _fed(self, job: Placement) -> tuple[str, ...]:
        """All GPUs of a job. While it waits for some that do not come up, those only: the watts of the others
        would be lost to all."""
        return self._lagging(job) or job.gpus

    def _lagging(self, job: Placement) -> tuple[str, ...]:
        if job.status.state not in jobs.BEGUN_BY:
            return ()
        return tuple(gpu for gpu in job.gpus if not self._usable.get(gpu, True))

    def short(self, then: Ints) -> list[Placement]:
        """The jobs of which a GPU would lack watts at the points `then`, by row."""
        lacking = np.unique(self._posts.of[self._lacks(then, self._posts)])
        return [self.kept[at] for at in lacking.tolist()]

    def give_up(self, short: Sequence[Placement], then: Ints, blocked_by: Ints, room_w: Ints) -> None:
        """Set aside who is in each other's way, and try it elsewhere. `blocked_by` is the node in the way of
        each device, by row, and `room_w` what is left at each node."""
        row, none = self._seen.fleet.row, self._seen.tree.none
        in_the_way = np.where(blocked_by < 0, none, blocked_by)
        gpus = {gpu for job in short for gpu in job.gpus if gpu in row}
        holding = {gpu for gpu in gpus if then[row[gpu]] > 0}
        all_of = posts(self._seen.fleet, ((job.status, job.gpus) for job in short))
        lacks = all_of.row[self._lacks(then, all_of)].tolist()
        lacking = {self._seen.fleet.specs[row].id for row in lacks} - holding
        nodes = {gpu: self._above(gpu) for gpu in holding}
        nodes |= {gpu: (int(in_the_way[row[gpu]]),) for gpu in lacking}
        dropped = [*jobs.to_set_aside(short, holding, nodes)]
        if len(short) > MANY:
            lack = shortage(self._seen, short, all_of, then, blocked_by, room_w)
            dropped += lack.beyond({job.id for job in dropped})
        leaving = {job.id: job for job in dropped}
        self._aside |= leaving
        self._keep([job for job in self.kept if job.id not in leaving])
        self._tries += 1
        if self._tries > OTHER_TRIES:
            return
        if any(holding.intersection(job.gpus) for job in dropped if not job.status.gpus):
            # Who holds its GPUs is not placed again as others are, and may have given way to these in vain.
            self._aside = {job.id: job for job in self._aside.values() if not job.status.gpus} | leaving
        given_back = {gpu for job in dropped for gpu in job.gpus if gpu in holding}
        for node in self._too_much_w.keys() & {node for gpu in given_back for node in nodes[gpu]}:
            self._too_much_w[node] = self._beyond_w.get(node, UNLIMITED_W)
        for job in dropped:
            self._rule_out(job, {gpu: nodes[gpu][0] for gpu in job.gpus if gpu in lacking})
        self._keep(self._place(jobs.queued(self.kept)))

    def _place(self, before: Mapping[str, tuple[str, ...]]) -> list[Placement]:
        """Whoever is kept stays where it is; who holds its GPUs and was set aside is not tried elsewhere."""
        kept = {job.id for job in self.kept}

        def may(job: Placement) -> Callable[[str], bool]:
            return self._may(job.status.job) if job.id not in kept else lambda gpu: True

        found = jobs.place(self._queues, self._usable, before, may, self._due)
        self._aside |= {job.id: job for job in found if not self._may_begin(job)}
        return [job for job in found if job.id not in self._aside or not job.status.gpus]

    def _may_begin(self, job: Placement) -> bool:
        """No watts are for a job that does not run while one of its GPUs cannot be raised, or works for
        another."""
        return job.status.state not in jobs.BEGUN_BY or self._open.issuperset(job.gpus)

    def _may(self, job: Job) -> Callable[[str], bool]:
        """Which GPUs a job may have, asked for one by one: it counts what those take that it lets through."""
        taken_w = Counter[int]()

        def may(gpu: str) -> bool:
            if gpu in self._beyond and least(self._seen, gpu, job) >= self._beyond[gpu]:
                return False
            full = self._too_much_w.keys() & self._above(gpu)
            needs_w = self._needs_w(gpu, job) if full else 0
            if any(taken_w[node] + needs_w >= self._too_much_w[node] for node in full):
                return False
            taken_w.update(dict.fromkeys(full, needs_w))
            return True

        return may

    def _above(self, gpu: str) -> Sequence[int]:
        fleet = self._seen.fleet
        return self._seen.tree.paths[fleet.node[fleet.row[gpu]]]

    def _needs_w(self, gpu: str, job: Job) -> int:
        """What the job needs of this GPU above its floor."""
        return least(self._seen, gpu, job).watts - self._seen.spec(gpu).floor.power.watts

    def _lacks(self, then: Ints, of: Posts) -> Flags:
        """Which GPUs would not give their job what it needs. One that cannot be seen is left as it is."""
        fleet, at = self._seen.fleet, then[of.row]
        given_w = fleet.power_w[fleet.start[of.row] + np.maximum(at, 0)]
        lacks: Flags = (at >= 0) & (given_w < of.needed_w(fleet, self._seen.heat_w))
        return lacks

    def _rule_out(self, placement: Placement, lacking: Mapping[str, int]) -> None:
        """The node in the way of a GPU cannot give the job more there than it feeds already. If there is no
        such node, it is the GPU that cannot have as much."""
        job = placement.status.job
        too_much_w = {node: self._needs_w(gpu, job) for gpu, node in lacking.items()}
        for gpu in self._seen.fleet.row.keys() & set(placement.gpus) - lacking.keys():
            for node in too_much_w.keys() & self._above(gpu):
                too_much_w[node] += self._needs_w(gpu, job)
        for node, watts in too_much_w.items():
            self._too_much_w[node] = min(watts, self._too_much_w.get(node, watts))
        for gpu in (gpu for gpu, node in lacking.items() if node == self._seen.tree.none):
            self._beyond[gpu] = min(needs := least(self._seen, gpu, job), self._beyond.get(gpu, needs))


def least(seen: Snapshot, gpu: str, job: Job) -> Power:
    """What a GPU must have for the job to keep the throughput its flex tier demands."""
    row = seen.fleet.row[gpu]
    return seen.fleet.specs[row].points[int(seen.fleet.keeps[job.flex, row])].power


def running_w(seen: Snapshot, queues: Iterable[QueueReading]) -> Ints:
    """What each device must have for the job that runs on it, by row; zero where none runs. Where several
    queues say that theirs runs there, the one that needs most counts."""
    found = np.zeros(len(seen.fleet), dtype=np.int64)
    running = (status for queue in queues for status in queue.jobs if status.state is JobState.RUNNING)
    at_work = posts(seen.fleet, ((status, status.gpus) for status in running))
    np.maximum.at(found, at_work.row, at_work.needed_w(seen.fleet, seen.heat_w))
    return found


def works_w(seen: Snapshot, queues: Sequence[QueueReading], now_s: float) -> Ints:
    """What each node carries when every job that runs has its least, and all else that surely obeys is at its
    lowest; beside what a plan made now counts there besides, which is more while others still draw more, and
    what may be hidden there, which is taken off again of what devices may claim."""
    least_w = np.maximum(seen.fleet.floor_w, running_w(seen, queues))
    claimed_w = load(seen.tree, seen.fleet.node, at_least_w(seen, least_w, now_s)) + seen.beside_w
    return with_hidden_w(claimed_w, seen.hidden, seen.other_w)


def at_least_w(seen: Snapshot, least_w: Ints, now_s: float) -> Ints:
    """What each device draws where all that surely obey are at their `least_w`, and all others at worst."""
    lowered_w = counted_w(least_w, value.shown_bias(seen.fleet, seen.columns))
    lowered_w = no_less_than_stuck(lowered_w, seen.columns.stuck_w, least_w > seen.fleet.floor_w)
    found: Ints = np.where(surely_obeying(seen, now_s), lowered_w, seen.columns.worst_w)
    return found


def _usable(seen: Snapshot, may: Freedom, queues: Sequence[QueueReading], room_w: Ints) -> dict[str, bool]:
    """The GPUs that a job may be given, and whether each comes up as it is told: none that is to be switched
    off, or not proven to be cooled. Those that can be at their highest beside all work that runs come first.
    """
    fleet = seen.fleet
    least_w = np.where(may.obeys, np.maximum(fleet.floor_w, running_w(seen, queues)), seen.columns.worst_w)
    spare_w = seen.tree.padded(room_w - load(seen.tree, fleet.node, least_w))
    crowded = (spare_w[seen.tree.way[fleet.node]].min(axis=1) < fleet.top_w - fleet.floor_w).tolist()
    found: dict[str, bool] = {}
    closed = fleet.draining | fleet.isolated | seen.uncooled
    rows = np.flatnonzero(fleet.gpu & may.obeys & ~closed).tolist()
    for row in sorted(rows, key=lambda row: (crowded[row], row)):
        state = seen.devices[fleet.specs[row].id]
        comes_up = state.attempts < COMES_UP_WITHIN and state.truth not in (Truth.REFUSED, Truth.LYING)
        found[fleet.specs[row].id] = comes_up
    return found


def _beyond_w(seen: Snapshot, may: Freedom, room_w: Ints) -> dict[int, int]:
    """The least above their floors that no node can give to all its GPUs, whoever gives way."""
    fleet = seen.fleet
    lowest_w = np.where(may.obeys, fleet.floor_w, seen.columns.worst_w)
    spare_w = (room_w - load(seen.tree, fleet.node, lowest_w)).tolist()
    return {node: spare_w[node] + 1 for node in np.flatnonzero(room_w < UNLIMITED_W).tolist()}


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
