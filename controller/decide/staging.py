"""Which jobs may begin now: those whose raised limits were confirmed, so that their watts are free before
they are drawn.

Of a job that would then draw more at once than a ramp up can save no GPU is raised before: it begins at their
floor, and they are raised as the ramp allows once there is work to draw it.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from controller.decide import jobs
from controller.decide.arrays import Ints
from controller.decide.choose import Chosen
from controller.decide.columns import counted_w
from controller.decide.feeding import least
from controller.decide.jobs import Placement
from controller.decide.pace import Pace, Purse
from controller.decide.snapshot import Snapshot
from controller.decide.words import Truth


class Staging:
    """`room_w` is what each node has left now."""

    def __init__(self, seen: Snapshot, chosen: Chosen, pace: Pace, room_w: Ints) -> None:
        self._seen = seen
        self._chosen = chosen
        self._pace = pace
        self._room_w = room_w
        waiting = [job for job in chosen.kept if job.status.state in jobs.BEGUN_BY] if pace.saves_w else []
        rises_w = {job.id: self._rises_w(job) for job in waiting}
        self._large = {
            name: by_node_w
            for name, by_node_w in rises_w.items()
            if any(by_node_w[node] > most_w for node, most_w in pace.saves_w.items())
        }
        """What the GPUs of each such job are to be raised by, by node."""
        large = (job for job in waiting if job.id in self._large)
        self.rows = frozenset(row for job in large for row in self._rows(job).tolist())
        """The GPUs that are not raised before their job runs."""

    def may_begin(self, after: Snapshot, job: Placement, rise: Purse) -> bool:
        """Whether a job may be told to begin, by the states `after` this tick's orders. What one draws at the
        floor of its GPUs is taken from `rise`: where those are not raised yet, once that has it, or all that
        a ramp can save. Where they are, the ramp gave the rest before, and this is a debt."""
        if all(_is_fed(after, gpu, job) for gpu in job.gpus):
            _take(rise, self._floors_w(job))
            return True
        if job.id not in self._large or not self._waits_for_ramp_only(after, job):
            return False
        saves_w, draws_w = self._pace.saves_w, self._draws_w(job)
        if any(rise.left_w[node] < min(draws_w[node], saves_w[node]) for node in saves_w):
            return False
        _take(rise, draws_w)
        return True

    def _waits_for_ramp_only(self, after: Snapshot, job: Placement) -> bool:
        rows, chosen = self._rows(job), self._chosen
        is_there = all(
            after.devices[gpu].truth is Truth.CONFIRMED for gpu in job.gpus if gpu in after.devices
        )
        may_rise = bool((chosen.at[rows] == chosen.then[rows]).all()) and not self._pace.held
        has_room = all(self._room_w[node] >= watts for node, watts in self._large[job.id].items())
        return len(rows) == len(job.gpus) and is_there and may_rise and has_room

    def _rises_w(self, job: Placement) -> Counter[int]:
        rows, known, fleet = self._rows(job), self._seen.columns, self._seen.fleet
        then = self._chosen.then[rows]
        goal_w = counted_w(fleet.power_w[fleet.start[rows] + then], known.bias[rows])
        return self._by_node(rows, np.where(then < 0, 0, goal_w - known.worst_w[rows]))

    def _draws_w(self, job: Placement) -> Counter[int]:
        rows, known = self._rows(job), self._seen.columns
        return self._by_node(rows, known.here_w[rows] - known.draw_w[rows])

    def _floors_w(self, job: Placement) -> Counter[int]:
        """What its GPUs draw less without work than the lowest that they count for; not what they may still
        draw of the work before, which is no room."""
        rows, seen = self._rows(job), self._seen
        floor_w = counted_w(seen.fleet.floor_w[rows], seen.columns.bias[rows])
        return self._by_node(rows, np.maximum(0, floor_w - seen.columns.draw_w[rows]))

    def _by_node(self, rows: Ints, watts: Ints) -> Counter[int]:
        found = Counter[int]()
        for node, more_w in zip(self._seen.fleet.node[rows].tolist(), watts.tolist(), strict=True):
            found.update(dict.fromkeys(self._seen.tree.paths[node], max(0, more_w)))
        return found

    def _rows(self, job: Placement) -> Ints:
        row = self._seen.fleet.row
        return np.array([row[gpu] for gpu in job.gpus if gpu in row], dtype=np.int64)


def _take(rise: Purse, by_node_w: Counter[int]) -> None:
    for node, watts in by_node_w.items():
        rise.take((node,), watts)


def _is_fed(seen: Snapshot, gpu: str, job: Placement) -> bool:
    """A GPU is ready for a job once a limit that feeds it was confirmed."""
    device, feeds = seen.devices[gpu], least(seen, gpu, job.status.job)
    return device.truth is Truth.CONFIRMED and device.point is not None and device.point.power >= feeds
