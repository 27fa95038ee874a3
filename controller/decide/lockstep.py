"""GPUs of one job wait for one another at each step of their work: none is given more than helps the slowest.

Watts are given step by step, as if each GPU worked alone. Then who stands above the slowest of its job is
lowered to it, and what that frees is given anew: to a job in all of its GPUs at once, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.decide.packing import Packing, Waiting, give, in_turn

SAME = 1e-9
"""Paces that differ by less are equal."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lockstep:
    """The devices that work for jobs with several, and the number of each one's `job`, from 0 on. By
    candidate of all devices, `share` is how much of its job's full pace a device keeps up with there, and
    `at_most` how much at best: zero where the job is set aside. Who does not `move` is not lowered for a
    slower one.
    """

    device: NDArray[np.intp]
    job: NDArray[np.intp]
    moves: NDArray[np.bool_]
    share: NDArray[np.float64]
    at_most: NDArray[np.float64]

    @property
    def parts(self) -> tuple[NDArray[np.generic], ...]:
        """All that an allocation depends on of it."""
        return self.device, self.job, self.moves, self.share, self.at_most

    @property
    def jobs(self) -> int:
        return int(self.job.max(initial=-1)) + 1

    def paces(self, at: NDArray[np.intp]) -> NDArray[np.float64]:
        """How fast each job goes with its devices at these candidates."""
        return self.least(self.at_most[at])

    def least(self, each: NDArray[np.float64]) -> NDArray[np.float64]:
        """The least of what each job's devices have."""
        found = np.full(self.jobs, np.inf)
        np.minimum.at(found, self.job, each)
        return found

    def ahead(self, at: NDArray[np.intp], low: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which of the devices (by their place here) keep up with their job at a lower candidate as well, and
        the lowest such, no lower than `low`. Not those of a job of which a device lacks its least: who
        decides whether it is set aside must see what the others hold."""
        pace = self.paces(at)[self.job]
        faster = np.flatnonzero(self.moves & (pace > 0) & (self.share[at] > pace + SAME))
        to = at[faster]
        for each, (pace_of, lowest) in enumerate(
            zip(pace[faster].tolist(), low[faster].tolist(), strict=True)
        ):
            while to[each] > lowest and self.share[to[each] - 1] >= pace_of - SAME:
                to[each] -= 1
        lower = to < at[faster]
        return faster[lower], to[lower]


def useful(
    lockstep: Lockstep, start: NDArray[np.intp], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """`values` without what is earned beyond the pace that the slowest of a job can come to at all, and of
    which devices that takes something. Devices have their candidates from `start` on."""
    found, less = values.copy(), np.zeros(len(start) - 1, bool)
    first, end = start[lockstep.device], start[lockstep.device + 1]
    for member, enough in zip(*lockstep.ahead(end - 1, first), strict=True):
        above = slice(enough + 1, end[member])
        less[lockstep.device[member]] = (found[above] > found[enough]).any()
        np.minimum(found[above], found[enough], out=found[above])
    return found, less


def level(packing: Packing, lockstep: Lockstep) -> bool:
    """Lower who stands above the slowest of its job; whether anybody does."""
    device = lockstep.device
    member, to = lockstep.ahead(packing.at[device], packing.low[device])
    packing.move(device[member], to)
    return len(member) > 0


def refill(packing: Packing, lockstep: Lockstep) -> Waiting:
    """As `fill`, but a job that has its least takes steps in all of its devices at once."""
    apart = np.zeros(len(packing.at), bool)
    apart[lockstep.device[lockstep.paces(packing.at[lockstep.device])[lockstep.job] > 0]] = True
    while True:
        turns, waiting = in_turn(packing, apart)
        climbs = _climbs(packing, lockstep)
        fitting = climbs.fitting
        if not len(turns.device) and not len(fitting):
            return climbs.waiting(waiting)
        done = 0
        for job in fitting:
            before = int(np.searchsorted(-turns.slope, -climbs.slope[job], side="right"))
            give(packing, turns[done:before])
            done = before
            own = climbs.job == job
            _move_if_it_fits(packing, climbs.device[own], climbs.to[own])
        give(packing, turns[done:])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Climbs:
    """The steps of devices that bring their jobs to the next higher pace. `lacks` is the lowest node above
    each that has no room for all steps of that job below it (-1: none), `slope` by job what a watt earns."""

    device: NDArray[np.intp]
    job: NDArray[np.intp]
    to: NDArray[np.intp]
    lacks: NDArray[np.intp]
    slope: NDArray[np.float64]

    @property
    def fitting(self) -> list[int]:
        """The jobs that have room for theirs, the best first."""
        fits = np.zeros(len(self.slope), bool)
        fits[self.job] = True
        fits[self.job[self.lacks >= 0]] = False
        jobs = fits.nonzero()[0]
        return jobs[np.argsort(-self.slope[jobs], kind="stable")].tolist()  # type: ignore[no-any-return]

    def waiting(self, others: Waiting) -> Waiting:
        lacks = self.lacks >= 0
        return Waiting(
            device=np.concatenate((others.device, self.device[lacks])),
            better=np.concatenate((others.better, self.to[lacks])),
            node=np.concatenate((others.node, self.lacks[lacks])),
        )


def _climbs(packing: Packing, lockstep: Lockstep) -> _Climbs:
    device, job, at_most = lockstep.device, lockstep.job, lockstep.at_most
    at = packing.at[device]
    waits, next_better = packing.unserved()
    better = packing.at.copy()
    better[waits] = next_better
    pace = lockstep.paces(at)
    is_slow = at_most[at] <= pace[job] + SAME
    goal = lockstep.least(np.where(is_slow, at_most[better[device]], np.inf))
    goal = np.minimum(goal, lockstep.least(at_most[packing.top[device]]))
    goal[(pace == 0) | (goal <= pace + SAME)] = 0.0
    to = at.copy()
    while (behind := at_most[to] < goal[job] - SAME).any():
        to[behind] += 1
    gain = packing.values[to] - packing.values[at]
    gains = np.bincount(job, gain, lockstep.jobs)
    moved = (to > at) & (gains > 0)[job]
    device, job, to = device[moved], job[moved], to[moved]
    step_w = packing.watts[to] - packing.watts[at[moved]]
    return _Climbs(
        device=device,
        job=job,
        to=to,
        lacks=_lacking(packing, device, job, step_w),
        slope=gains / np.maximum(1, np.bincount(job, step_w, lockstep.jobs)),
    )


def _lacking(
    packing: Packing, device: NDArray[np.intp], job: NDArray[np.intp], step_w: NDArray[np.int64]
) -> NDArray[np.intp]:
    """The lowest node above each device that has no room for all that its job takes below it."""
    way = packing.tree.way[packing.node[device]]
    places, place = np.unique(job[:, None] * (packing.tree.none + 1) + way, return_inverse=True)
    place = place.reshape(way.shape)
    needs_w = np.bincount(place.ravel(), step_w.repeat(way.shape[1]), len(places))
    full = needs_w[place] > packing.room_w[way]
    found: NDArray[np.intp] = np.where(full, way, -1)[np.arange(len(way)), full.argmax(axis=1)]
    return found


def _move_if_it_fits(packing: Packing, device: NDArray[np.intp], to: NDArray[np.intp]) -> None:
    before, room_w = packing.at[device], packing.room_w.copy()
    packing.move(device, to)
    if (packing.room_w < np.minimum(room_w, 0)).any():
        packing.at[device], packing.room_w = before, room_w
