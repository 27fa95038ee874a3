"""Which GPUs work together: those of one job, of which each step waits for the slowest."""

from __future__ import annotations

import numpy as np

from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.feeding import COMES_UP_WITHIN
from controller.decide.lockstep import Lockstep
from controller.decide.posts import Posts
from controller.decide.shown import covering
from controller.decide.snapshot import Snapshot
from controller.decide.value import Offers


def groups(seen: Snapshot, working: Posts) -> Ints | None:
    """Which devices work for one job, where a job has more than one: it has all of their watts or none. Jobs
    are numbered in the order of their first device, whatever that of the jobs is."""
    wide = working.each(work.job.gpus for work in working.works) > 1
    if not wide.any():
        return None
    row, of = working.row[wide], working.of[wide]
    first = np.full(len(working.works), len(seen.fleet))
    np.minimum.at(first, of, row)
    found = np.full(len(seen.fleet), -1)
    found[row] = np.unique(first[of], return_inverse=True)[1]
    return found


def lockstep(seen: Snapshot, group: Ints, offers: Offers, sure: Flags, dwells: Flags) -> Lockstep:
    """How the devices of each `group` go together, by what they are offered. Of one that is not `sure` to be
    where it is said to be nobody knows how fast it goes: nobody is lowered for it. One that `dwells` stays,
    and others go no faster meanwhile.
    """
    fleet = seen.fleet
    rows = np.flatnonzero((group >= 0) & sure)
    count = offers.start[rows + 1] - offers.start[rows]
    before = np.cumsum(count) - count
    which = np.repeat(offers.start[rows] - before, count) + np.arange(count.sum())
    owner, point = np.repeat(rows, count), offers.point[which]
    pace = np.where((point == 0) & offers.starves[owner], 0.0, fleet.rate[fleet.start[owner] + point])
    most = np.minimum(1.0, pace / fleet.rate[fleet.start[owner] + offers.enough[owner]])
    stays = _stays(seen, rows)
    share, at_most = np.zeros(len(offers.point)), np.zeros(len(offers.point))
    share[which], at_most[which] = pace, np.minimum(most, np.repeat(stays, count))
    return Lockstep(
        device=rows,
        job=group[rows],
        moves=~dwells[rows] & np.isinf(stays),
        share=share,
        at_most=at_most,
    )


def _stays(seen: Snapshot, rows: Ints) -> Floats:
    """The pace of those that were told to go up, and do not come."""
    found = np.full(len(rows), np.inf)
    for member in np.flatnonzero(seen.columns.disobeys[rows]).tolist():
        spec = seen.fleet.specs[rows[member]]
        state = seen.devices[spec.id]
        if state.attempts >= COMES_UP_WITHIN:
            found[member] = covering(spec.points, state.draw).rate
    return found
