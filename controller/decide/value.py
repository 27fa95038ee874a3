"""What a point is worth: its output per hour, less its energy, less the cost of going there.

The shedding ladder is in these numbers, not in code: idle machines and the worst joules per terahash are
worth least per watt and go first; a running job is worth more, and a protected one is left last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.columns import CODE, Columns, counted_w, no_less_than_stuck
from controller.decide.fleet import Fleet
from controller.decide.posts import Posts, Work
from controller.decide.words import Truth
from controller.domain.jobs import Job, JobState, JobStatus, OnShortage
from controller.domain.site import Prices

RETUNE_ASIC_S = 20.0
RETUNE_GPU_S = 2.0
"""Output lost when a device that is already working goes to another point."""
STAYS = 1e-6
"""USD per hour: between limits that are all beyond what the work wants, a GPU stays where it is."""
PROTECTED = 1e6
"""USD per hour: more than any site earns, so a protected job is left only where nothing else helps."""
IDLE_WORTH = 0.25
"""What a miner without work is worth, as a share of what it would earn: it may get work at any moment."""
IDLE_TOGETHER = 0.3
LEAVING_SHARE = {OnShortage.SUSPEND: 0.1, OnShortage.REQUEUE: 0.5}
"""What setting a job aside costs, as a share of what it earns: a suspended one goes on where it was."""
BEYOND_NOISE = 1.02
"""A draw that far above what was learned of a device is no noise: of a liar nothing is learned any more."""
DWELLING = 1e3
"""USD per hour: a device changed a moment ago is left alone unless a limit leaves no other way."""
SPARED, FAVOURED = 1e4, 1e5
"""USD per hour: more than a dwell is worth, and less than a job that is protected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Valuation:
    """How points are valued in one plan: prices, and the time over which a change must pay for itself. What
    is shed is wanted back in `shed_s`: when the event that asks for it is over, or after that same time.
    While it `spares_work`, nothing is worth setting a running job aside, and the `favoured` one before
    others. Of `usd_per_kwh` so much as an event pays for a kWh not drawn is `forgone`, and not spent;
    less than nothing under a set-point, where a kWh is bought, and valued as if it cost nothing.
    """

    prices: Prices
    usd_per_kwh: float
    horizon_s: float
    shed_s: float
    spares_work: bool = False
    favoured: Job | None = None
    forgone_usd_per_kwh: float = 0.0

    @property
    def spent_usd_per_kwh(self) -> float:
        return self.usd_per_kwh - self.forgone_usd_per_kwh


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offers:
    """The points that each device may be given: those of row i from `start[i]` to just before `start[i + 1]`.

    `point` is the index among the device's own points, `watts` what it counts for on this very device,
    `worth` what being there is worth in USD per hour, `earns` what it brings in then less what is spent on
    energy, without the premiums that keep jobs and dwelling devices where they are. A device that does not
    obey has one offer: the worst it may draw. `enough` is each GPU's point that holds its work back in
    nothing, and one that `starves` has its job set aside at its lowest.
    """

    start: Ints
    point: Ints
    watts: Ints
    worth: Floats
    earns: Floats
    enough: Ints
    starves: Flags

    @property
    def best(self) -> Ints:
        """Each device's point of the most worth, the highest of equals."""
        first = self.start[:-1]
        most = np.maximum.reduceat(self.worth, first).repeat(self.start[1:] - first)
        return np.maximum.reduceat(np.where(self.worth >= most, self.point, -1), first)

    def given_w(self, index: Ints) -> Ints:
        """What each device counts for at the offer of that index among its own."""
        found: Ints = self.watts[self.start[:-1] + index]
        return found

    def lifted(self, usd_per_hour: Floats) -> Offers:
        """With so much more worth in all points of each device above its floor."""
        more = usd_per_hour.repeat(self.start[1:] - self.start[:-1])
        more[self.start[:-1]] = 0.0
        return replace(self, worth=self.worth + more)

    @property
    def highest(self) -> Ints:
        return self.point[self.start[1:] - 1]


def pool_is_gone(idle: int, running: int) -> bool:
    """Where many miners do no work, no other would do more."""
    return idle > IDLE_TOGETHER * running


def offers(
    fleet: Fleet,
    known: Columns,
    working: Posts,
    valuation: Valuation,
    *,
    obeys: Flags,
    most_w: Ints,
    heat_w: Ints,
    dwells: Flags,
    pinned: Flags,
    kept: Flags,
    begins_s: Floats,
) -> Offers:
    """The points that devices may be given, and their worth. `heat_w` is what heat allows each, `most_w`
    no more than that.

    A device is always offered its lowest point, a `pinned` one only where it is, and one that is `kept`
    nothing below that. One that dwells is offered where it is, and nothing above. A GPU without a job has its
    lowest limit; one with a job also those at which the job has its least throughput. A miner that still
    `begins` makes nothing for so long, wherever it goes, and loses that much less by being stopped.
    """
    owner, power_w, at_floor = fleet.owner, fleet.power_w, fleet.at_floor
    now_w = known.now_w[owner]
    here = power_w == now_w
    jobs = _jobs(fleet, known, working, heat_w, valuation)
    # A point must lie within what heat allows, and for one that dwells, not above where it is.
    within_w = np.where(dwells, np.minimum(most_w, known.now_w), most_w)
    may = (fleet.rank >= jobs.least[owner]) | (dwells[owner] & here)
    may = may & (power_w <= within_w[owner]) | at_floor
    if kept.any():
        may &= ~(kept[owner] & (power_w < now_w))
    if pinned.any():
        may = np.where(pinned[owner], here, may)
    may = np.where(obeys[owner], may, at_floor)
    output = fleet.rate * _usd_per_rate(fleet, jobs, valuation)[owner]
    starves = at_floor & ~jobs.floor_feeds[owner]
    output[starves] = 0.0
    earns = output - power_w / 1000 * valuation.usd_per_kwh
    brings = output - power_w / 1000 * valuation.spent_usd_per_kwh
    stays = here | (now_w < 0)
    if working:
        enough = jobs.enough
        beyond = fleet.rank > enough[owner]
        may &= ~beyond | here
        spare = beyond & here
        # From a limit that is more than enough to the lowest that is, nothing is lost.
        stays |= np.logical_or.reduceat(spare, fleet.start[:-1])[owner] & (fleet.rank == enough[owner])
        earns = np.where(spare, earns[fleet.start[:-1] + enough][owner] + STAYS, earns)
        brings = np.where(spare, brings[fleet.start[:-1] + enough][owner], brings)
    worth = earns
    if known.idle.any():
        worth = np.where(without_work(fleet, known)[owner] & (earns > 0), earns * IDLE_WORTH, earns)
    down, up = _changing(fleet, known, valuation)
    worth = worth - np.where(stays, 0.0, output * np.where(power_w < now_w, down[owner], up[owner]))
    worth -= output * _share(begins_s, valuation.horizon_s)[owner]
    worth -= np.where(at_floor, _stopping(fleet, known, output, begins_s, valuation)[owner], 0.0)
    if working:
        worth += np.where(starves, 0.0, jobs.premium[owner])
    worth[(dwells & (begins_s == 0))[owner] & here] += DWELLING
    for row in np.flatnonzero((known.stuck_w > 0) & obeys).tolist():
        _only_the_highest(may, slice(fleet.start[row], fleet.start[row + 1]), power_w, known, row)
    at = may.nonzero()[0]
    taken = owner[at]
    free = obeys[taken]
    start = np.zeros(len(fleet) + 1, np.int64)
    np.cumsum(np.bincount(taken, minlength=len(fleet)), out=start[1:])
    counts_w = reckoned_w(power_w[at], known.now_w[taken], known.bias[taken], shown_bias(fleet, known)[taken])
    counts_w = no_less_than_stuck(counts_w, known.stuck_w[taken], ~at_floor[at])
    return Offers(
        start=start,
        point=fleet.rank[at],
        watts=np.where(free, counts_w, known.worst_w[taken]),
        worth=np.where(free, worth[at], 0.0),
        earns=np.where(free, brings[at], 0.0),
        enough=jobs.enough,
        starves=~jobs.floor_feeds,
    )


def shown_bias(fleet: Fleet, known: Columns) -> Floats:
    """What each device is reckoned to draw, over nominal, where it is and above. One that is where it was
    told to be, and draws clearly more than was learned of it, will not draw less by being left there: GPUs,
    which are there at once, and miners once they had the time to come down."""
    shown = known.worst_w / np.maximum(known.now_w, 1)
    shows = (known.truth == CODE[Truth.CONFIRMED]) & (known.now_w > fleet.floor_w) & (known.stuck_w == 0)
    falls = ~fleet.gpu & (known.began_w > known.worst_w)
    falls &= known.heard_s < known.asked_s + fleet.settle_down_s
    return np.where(shows & ~falls & (shown > BEYOND_NOISE * known.bias), shown, known.bias)


def reckoned_w(power_w: Ints, now_w: Ints, bias: Floats, shown: Floats) -> Ints:
    """What points count for: below where a device is by what was learned of it, there and above by what it
    has `shown`."""
    return counted_w(power_w, np.where(power_w < now_w, bias, shown))


def _only_the_highest(may: Flags, own: slice, power_w: Ints, known: Columns, row: int) -> None:
    """All points of a stuck machine that count alike are one to it: it is offered the highest of them."""
    alike = may[own] & (counted_w(power_w[own], known.bias[row]) <= known.stuck_w[row])
    alike[0] = False
    may[own] &= ~alike
    may[own.start + np.flatnonzero(alike)[-1:]] = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Jobs:
    """By row: what a full GPU earns, what setting its running job aside costs, the least point above the
    floor that its work may have, the point that holds it back in nothing, and whether its floor would do:
    where not, a job is set aside there.
    """

    usd_per_hour: Floats
    premium: Floats
    least: Ints
    enough: Ints
    floor_feeds: Flags


def _jobs(fleet: Fleet, known: Columns, working: Posts, heat_w: Ints, valuation: Valuation) -> _Jobs:
    found = _Jobs(
        usd_per_hour=np.zeros(len(fleet)),
        premium=np.zeros(len(fleet)),
        least=np.where(fleet.gpu, np.iinfo(np.int64).max, 0),
        enough=fleet.last.copy(),
        floor_feeds=np.ones(len(fleet), dtype=np.bool_),
    )
    if working:
        row, works = working.row, working.works
        least = working.needed(fleet, heat_w)
        found.usd_per_hour[row] = working.each(work.job.usd_per_gpu_hour for work in works)
        found.premium[row] = working.each(_premium(work, valuation) for work in works)
        found.least[row], found.floor_feeds[row] = np.maximum(1, least), least == 0
        found.enough[row] = working.enough(fleet, known.demand_w)
    return found


def _premium(work: Work | JobStatus, valuation: Valuation) -> float:
    """What keeping a running job is worth beyond what it earns, for each of its GPUs."""
    job = work.job
    if work.state is not JobState.RUNNING:
        return 0.0
    if job == valuation.favoured:
        return leaving(job) + FAVOURED
    return leaving(job) + (SPARED if valuation.spares_work else 0.0)


def _usd_per_rate(fleet: Fleet, jobs: _Jobs, valuation: Valuation) -> Floats:
    return np.where(fleet.gpu, jobs.usd_per_hour, valuation.prices.usd_per_ths_day / 24)


def without_work(fleet: Fleet, known: Columns) -> Flags:
    """Which miners do no work, whose watts others could use."""
    return np.zeros_like(known.idle) if work_is_gone(fleet, known) else known.idle


def work_is_gone(fleet: Fleet, known: Columns) -> bool:
    """Whether so many miners do no work that their pool is gone: it may be back for all of them at once."""
    running = int(np.count_nonzero(~fleet.gpu & (known.at > 0)))
    return pool_is_gone(int(np.count_nonzero(known.idle)), running)


def _changing(fleet: Fleet, known: Columns, valuation: Valuation) -> tuple[Floats, Floats]:
    """The shares of its output that a device loses by going to a lower point and to a higher one."""
    retune_s = np.where(fleet.gpu, RETUNE_GPU_S, RETUNE_ASIC_S)
    rise_s = np.where(known.now_w == fleet.floor_w, fleet.restart_s, retune_s)
    return _share(retune_s, valuation.shed_s), _share(rise_s, valuation.horizon_s)


def _stopping(fleet: Fleet, known: Columns, output: Floats, begins_s: Floats, valuation: Valuation) -> Floats:
    """USD per hour that a running miner loses by being stopped: it is to be started again in `shed_s`, also
    that part of its start which it `begins` anyway. That is what it makes at its highest, wherever it is now:
    who was lowered already is not the cheaper to stop.
    """
    most = output[fleet.start[1:] - 1]
    runs = ~fleet.gpu & (known.at > 0)
    works = np.where(known.idle, IDLE_WORTH, 1.0)
    return np.where(runs, most * works * _share(fleet.restart_s - begins_s, valuation.shed_s), 0.0)


def _share(lost_s: Floats, over_s: float) -> Floats:
    return np.minimum(1.0, lost_s / over_s)  # it loses what it makes, and no more


def leaving(job: Job) -> float:
    """What setting a running job aside costs, as a premium on keeping it."""
    if job.on_shortage is OnShortage.PROTECT:
        return PROTECTED
    return LEAVING_SHARE[job.on_shortage] * job.usd_per_gpu_hour
