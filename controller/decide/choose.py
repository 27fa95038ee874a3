"""What every device should be doing: what it may be given, the allocation, and the jobs that fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from controller.decide import doubt, insist, profit, value
from controller.decide.allocate import Allocation, Menu
from controller.decide.arrays import Flags, Ints
from controller.decide.columns import ON_ITS_WAY
from controller.decide.commands import NOBODY, Wishes
from controller.decide.device import DeviceState
from controller.decide.feeding import Feeding
from controller.decide.freedom import Freedom, lacking_watts
from controller.decide.jobs import Placement
from controller.decide.limits import Limits
from controller.decide.posts import Posts
from controller.decide.recall import Recall, Recalling
from controller.decide.snapshot import Snapshot
from controller.decide.together import groups, lockstep
from controller.decide.value import Offers, Valuation
from controller.domain.jobs import Job, JobState, QueueReading

COMPARED = 10
"""How many allocations a plan may take, two for each time that jobs leave, that one job is looked at again:
where it took more, many leave, nothing is lowered before all is planned, and one of them matters little."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """`at` is the point that each device should be at (index among its own; -1 where it does not obey), and
    `then` the one that it has watts for once it no longer dwells.

    `kept` jobs have their watts, `aside` not. `forgiven` are doubtful devices whose watts nobody needs,
    `stopped` those that are told their lowest, for they go no lower otherwise, `cut` those whose power is to
    be taken, as words were in vain and a limit cannot wait; `earns` is in USD per hour, without the premiums
    that keep jobs and dwelling devices where they are.
    """

    may: Freedom
    offers: Offers
    at: Ints
    then: Ints
    allocation: Allocation
    kept: tuple[Placement, ...]
    aside: tuple[Placement, ...]
    forgiven: frozenset[str]
    stopped: frozenset[str]
    cut: frozenset[str]
    earns: float
    recall: Recall

    @property
    def ended(self) -> dict[str, Job]:
        """The jobs at work that are set aside, by id."""
        return {it.id: it.status.job for it in self.aside if it.status.state is JobState.RUNNING}

    @property
    def gap(self) -> float:
        """How far `earns` can at most lie below the best possible with the `kept` jobs where they are, as a
        fraction of that. Whether other jobs, or other GPUs for them, would earn more is not reckoned."""
        missed = max(0.0, self.allocation.bound - self.allocation.value)
        return missed / (missed + abs(self.earns)) if missed else 0.0


class Choosing:
    """One tick's choice in the making: what does not change while jobs are tried on one GPU and another."""

    def __init__(
        self, seen: Snapshot, limits: Limits, valuation: Valuation, may: Freedom, before: Recall | None
    ) -> None:
        self.seen = seen
        self.recalling = Recalling(before, seen.fleet.node, seen.tree)
        self.valuation = valuation
        self.room_w = limits.aimed_room_w(seen.beside_w)
        self.may = may

    def allocated(self, working: Posts, lagging: Sequence[int], *, dwells: bool) -> tuple[Offers, Allocation]:
        """Who dwells is left alone, unless nobody does: then it may be lowered as anyone. So is who does not
        come up to where it was told to be: told another point, it would seem to have begun anew."""
        alone = self.may.dwells.copy() if dwells else np.zeros_like(self.may.dwells)
        alone[lagging] = True
        return self._allocated(working, self.may.obeys, alone & ~self._awaited(working))

    def _awaited(self, working: Posts) -> Flags:
        """The GPUs whose job needs more than they have. One that dwells has the watts kept for after that:
        else the job would be given up when it ends, and tried again, for ever."""
        seen, found = self.seen, np.zeros(len(self.seen.fleet), dtype=np.bool_)
        needed_w = working.needed_w(seen.fleet, seen.heat_w)
        found[working.row] = seen.columns.now_w[working.row] < needed_w
        return found

    def allocated_if_all_obeyed(self, working: Posts) -> tuple[Offers, Allocation]:
        all_seen = self.seen.columns.seen & (self.seen.columns.now_w >= 0)
        return self._allocated(working, all_seen, np.zeros_like(self.may.dwells))

    def _allocated(self, working: Posts, obeys: Flags, dwells: Flags) -> tuple[Offers, Allocation]:
        fleet, known = self.seen.fleet, self.seen.columns
        most_w = np.where(self.may.rests | (self.may.barred & ~dwells), fleet.floor_w, self.may.most_w)
        found = value.offers(
            fleet,
            known,
            working,
            self.valuation,
            obeys=obeys,
            most_w=most_w,
            heat_w=self.seen.heat_w,
            dwells=dwells,
            pinned=self.may.pinned,
            kept=self.may.kept,
            begins_s=self.may.begins_s,
        )
        found = found.lifted(profit.lifts(found.start, found.watts, found.worth, self.may.held & obeys))
        group = groups(self.seen, working)
        sure = obeys & ~self.may.pinned
        menu = Menu(
            node=fleet.node,
            start=found.start,
            watts=found.watts,
            values=found.worth,
            group=group,
            lockstep=None if group is None else lockstep(self.seen, group, found, sure, dwells),
        )
        return found, self.recalling.allocate(menu, self.room_w)


def choose(
    seen: Snapshot,
    limits: Limits,
    queues: Sequence[QueueReading],
    placed: Mapping[str, tuple[str, ...]],
    valuation: Valuation,
    may: Freedom,
    before: Recall | None = None,
    due: Set[str] = frozenset(),
) -> Chosen:
    """What is allocated, and who works with it. Watts are given step by step, to who earns the most with the
    next: so what a wide job needs may have gone to others, one GPU after the other. Where that sets aside a
    job that runs, two more plans are made: those that run are given what they need before anybody has more;
    and, unless many leave, before them the dearest that would be set aside all the same. The one that is
    worth most is taken.

    `placed` are the GPUs that queued jobs were given before; `before` is what the last tick recalls; for the
    `due` ones GPUs are kept.
    """

    def planned(valuation: Valuation) -> Chosen:
        choosing = Choosing(seen, limits, valuation, may, before)
        return _chosen(choosing, Feeding(seen, may, queues, placed, choosing.room_w, due), limits)

    best = planned(valuation)
    if valuation.spares_work or not best.ended:
        return best
    sparing = replace(valuation, spares_work=True)
    best = max(best, planned(sparing), key=_worth)
    if best.ended and len(best.recall.answers) <= COMPARED:
        dearest = max(best.ended.values(), key=lambda job: (job.gpus * job.usd_per_gpu_hour, job.id))
        best = max(best, planned(replace(sparing, favoured=dearest)), key=_worth)
    return best


def _worth(chosen: Chosen) -> float:
    """In USD per hour, less what it costs to set jobs aside."""
    return chosen.earns - sum(job.gpus * value.leaving(job) for job in chosen.ended.values())


def _chosen(choosing: Choosing, feeding: Feeding, limits: Limits) -> Chosen:
    """Allocate; set aside what lacks watts on some GPU, try it on others, and allocate again."""
    seen, may = choosing.seen, choosing.may
    dwells = True
    while True:  # it ends: each second time a job leaves, and only a few times one comes back
        working = feeding.working()
        found, allocation = choosing.allocated(working, feeding.lagging(), dwells=dwells)
        then = np.where(may.obeys, found.point[found.start[:-1] + allocation.index], -1)
        short = feeding.short(then)
        if not short:
            break
        if dwells and may.dwells.any() and any(job.status.state is JobState.RUNNING for job in short):
            dwells = False  # no work is lost to leave a device alone
        else:
            dwells = True
            feeding.give_up(short, then, allocation.blocked_by, allocation.room_w)
    left_w = allocation.room_w.copy()  # a set-point is no limit: nothing trips where it is passed
    left_w[0] += limits.usable_w[0] - limits.aim_w
    return Chosen(
        may=may,
        offers=found,
        at=np.where(may.dwells & (seen.columns.at >= 0), np.minimum(then, seen.columns.at), then),
        then=then,
        allocation=allocation,
        kept=tuple(feeding.kept),
        aside=feeding.aside,
        forgiven=_forgiven(choosing, limits, working),
        stopped=insist.to_stop(seen, may, allocation.room_w) | insist.unheard_to_stop(seen, left_w),
        cut=insist.to_cut(seen, may, limits, left_w),
        earns=float(found.earns[found.start[:-1] + allocation.index].sum()),
        recall=choosing.recalling.recall,
    )


def wishes(seen: Snapshot, chosen: Chosen) -> Wishes:
    """Where each device should be that is not there, or has not yet shown that it is. One that is only
    watched has no other point to go to.

    A doubtful one is asked again for what it has not shown, or to stop, as the silent are; a forgiven one for
    nothing.
    """
    fleet, known, found = seen.fleet, seen.columns, chosen.offers
    obeying = chosen.may.obeys & fleet.has_choice & ((chosen.at != known.at) | ~ON_ITS_WAY[known.truth])
    doubtful = ~chosen.may.obeys & fleet.has_choice & known.seen & (known.now_w >= 0)
    cut, stopped = ([fleet.row[name] for name in sorted(some)] for some in (chosen.cut, chosen.stopped))
    doubtful[stopped] = True
    doubtful[[*cut, *(fleet.row[name] for name in chosen.forgiven)]] = False
    rows, again = obeying.nonzero()[0], doubtful.nonzero()[0]
    if not len(rows) + len(again) + len(cut):
        return NOBODY
    offer = found.start[rows] + chosen.allocation.index[rows]
    asked = known.at.copy()
    asked[stopped] = 0
    return Wishes(
        row=np.concatenate((rows, again, cut)).astype(np.int64),
        at=np.concatenate((chosen.at[rows], asked[again], [0] * len(cut))).astype(np.int64),
        merit=np.concatenate(
            (found.worth[offer] / np.maximum(1, found.watts[offer]), np.zeros(len(again) + len(cut)))
        ),
        outlet=np.arange(len(rows) + len(again) + len(cut)) >= len(rows) + len(again),
    )


def forgiven(seen: Snapshot, chosen: Chosen) -> dict[str, DeviceState]:
    """The states of those that are taken to be where they may be: nobody needs their watts."""
    names = sorted(chosen.forgiven - chosen.cut)
    return {
        name: doubt.forgiven(seen.spec(name), seen.devices[name])
        for name in names
        if seen.fleet.has_choice[seen.fleet.row[name]]
    }


def _forgiven(choosing: Choosing, limits: Limits, working: Posts) -> frozenset[str]:
    """The doubtful devices that a plan would leave where they may be, if everybody obeyed at once.

    Not while a node above still waits for watts to fall: who did not obey then cannot be counted on now.
    """
    seen = choosing.seen
    fleet, known = seen.fleet, seen.columns
    doubtful = known.seen & (known.now_w >= 0) & ~choosing.may.obeys
    if not doubtful.any():
        return frozenset()
    waits = (limits.room_w(seen.worst_w) < 0) | lacking_watts(seen, limits)
    may_be_at = {
        row: doubt.forgiven(spec, seen.devices[spec.id]).point
        for row in np.flatnonzero(doubtful).tolist()
        for spec in (fleet.specs[row],)
        if doubt.may_be_forgiven(spec, seen.devices[spec.id])
        and not any(waits[node] for node in seen.tree.paths[fleet.node[row]])
    }
    if not may_be_at:
        return frozenset()
    found, allocation = choosing.allocated_if_all_obeyed(working)
    given = found.point[found.start[:-1] + allocation.index]
    return frozenset(
        fleet.specs[row].id
        for row, at in may_be_at.items()
        if at is not None and fleet.specs[row].points[given[row]].power >= at.power
    )
