"""Which jobs give way at once, where many lack watts at the same nodes.

Each time that jobs are set aside costs one or two allocations of the whole site; nothing is lowered before.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from controller.decide.arrays import Ints
from controller.decide.jobs import Placement
from controller.decide.posts import Posts
from controller.decide.snapshot import Snapshot
from controller.decide.tree import load
from controller.decide.value import leaving
from controller.domain.jobs import JobState, OnShortage

MANY = 8
"""So many jobs that lack watts give way one by one, as others may then find room for all of theirs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shortage:
    """What jobs need above the floors of their GPUs, and what there is, in watts. `needs_w` is of each job at
    each full node; `room_w` is by node what those jobs hold there and what is left; `fills_w` the least step
    that did not fit: others may have at most so much that they have only as it was left over.
    """

    jobs: Sequence[Placement]
    needs_w: Sequence[dict[int, int]]
    room_w: Ints
    fills_w: Ints

    def beyond(self, gone: Container[str]) -> list[Placement]:
        """Who has no room beside those that earn more, if the jobs `gone` give back what they hold.

        Who may have room by what others got as left over stays, and is not counted on: it takes from nobody.
        """
        room_w, fills_w = self.room_w.copy(), self.fills_w.copy()
        found = []
        stay = [at for at, job in enumerate(self.jobs) if job.id not in gone]
        for at in sorted(stay, key=lambda at: _first(self.jobs[at], self.needs_w[at]), reverse=True):
            needs_w = self.needs_w[at]
            over_w = {node: watts - room_w[node] for node, watts in needs_w.items() if watts > room_w[node]}
            if any(watts > fills_w[node] for node, watts in over_w.items()):
                found.append(self.jobs[at])
                continue
            takes_w, of_w = (over_w, fills_w) if over_w else (needs_w, room_w)
            for node, watts in takes_w.items():
                of_w[node] -= watts
        return found


def shortage(
    seen: Snapshot, short: Sequence[Placement], all_of: Posts, then: Ints, blocked_by: Ints, room_w: Ints
) -> Shortage:
    """Of the jobs that lack watts at the points `then`, by row. `all_of` are all of their GPUs, `blocked_by`
    is the node in the way of each device, and `room_w` what is left at each node."""
    fleet, tree, row = seen.fleet, seen.tree, all_of.row
    at, floor_w = then[row], fleet.floor_w[row]
    held_w = fleet.power_w[fleet.start[row] + np.maximum(at, 0)] - floor_w
    needs_w = np.where(at >= 0, np.maximum(0, all_of.needed_w(fleet, seen.heat_w) - floor_w), 0)
    lacking = (needs_w > held_w) & (blocked_by[row] >= 0)
    fills_w = np.full(tree.none + 1, np.iinfo(np.int64).max)
    np.minimum.at(fills_w, blocked_by[row[lacking]], (needs_w - held_w)[lacking])
    holds_w = np.zeros(len(fleet), dtype=np.int64)
    holds_w[row] = held_w  # once, though several may claim one
    way = tree.way[fleet.node[row]]
    is_full = np.zeros(tree.none + 1, dtype=np.bool_)
    is_full[blocked_by[row[lacking]]] = True
    by_job: list[dict[int, int]] = [{} for _ in short]
    for post, level in np.argwhere(is_full[way]).tolist():
        job, node = by_job[all_of.of[post]], int(way[post, level])
        job[node] = job.get(node, 0) + int(needs_w[post])
    return Shortage(
        jobs=short, needs_w=by_job, room_w=room_w + load(tree, fleet.node, holds_w), fills_w=fills_w
    )


def _first(placement: Placement, needs_w: dict[int, int]) -> tuple[bool, bool, float, str]:
    """Who gives way last comes first; of those alike who earns the most with a watt where it is scarcest."""
    job, runs = placement.status.job, placement.status.state is JobState.RUNNING
    usd = job.gpus * (job.usd_per_gpu_hour + leaving(job))
    return runs, job.on_shortage is OnShortage.PROTECT, usd / max(needs_w.values(), default=1), placement.id
