"""What may be done with each device now, whatever it is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.decide import doubt
from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.columns import CODE, counted_w
from controller.decide.limits import Limits
from controller.decide.plan import UNLIMITED_W
from controller.decide.snapshot import Snapshot
from controller.decide.words import Truth
from controller.domain.power import Limit

OVER_SHARE = 0.01
"""A set-point is not passed by what is within its meter's error."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Freedom:
    """What may be done with each device at `now_s`: whether it obeys, and the most that heat allows; whether
    it is left alone because it changed a moment ago, may not be started yet, or stays where it is; whether it
    is `barred` from running for money, or `held` to it although another point would earn more. Those told
    `in_vain` to go up are allowed no more than where they stay. Of those left alone some are only `late`:
    their ramps cannot give their watts in time. `begins_s` are the seconds of output that a start under way
    still costs, where a place above it has to give watts: zero everywhere else.
    """

    now_s: float
    obeys: Flags
    most_w: Ints
    dwells: Flags
    rests: Flags
    in_vain: Flags
    pinned: Flags
    kept: Flags
    barred: Flags
    held: Flags
    late: Flags
    begins_s: Floats


def freedom(seen: Snapshot, limits: Limits, may_run: Flags, held: Flags, now_s: float) -> Freedom:
    """`may_run` are the devices whose running pays, `held` those that are to run all the same."""
    at_rest = seen.columns.now_w == seen.fleet.floor_w
    stays_w = staying(seen, now_s)
    obeys = obeying(seen, limits, now_s)
    return Freedom(
        now_s=now_s,
        obeys=obeys,
        most_w=np.minimum(bounds(seen), stays_w),
        dwells=now_s - seen.columns.since_s < seen.fleet.dwell_s,
        rests=at_rest & (now_s < seen.columns.may_start_s),
        in_vain=stays_w < seen.fleet.top_w,
        pinned=np.zeros(len(seen.fleet), dtype=np.bool_),
        kept=np.zeros(len(seen.fleet), dtype=np.bool_),
        barred=~may_run,
        held=held & ~seen.fleet.gpu,
        late=np.zeros(len(seen.fleet), dtype=np.bool_),
        begins_s=_begins_s(seen, limits, obeys, now_s),
    )


def _begins_s(seen: Snapshot, limits: Limits, obeys: Flags, now_s: float) -> Floats:
    """Of a miner on its way up from a start, what is left of that: stopped now, it never drew what it was
    given, while one that hashes is missed at once and has all of its start before it again."""
    fleet, known = seen.fleet, seen.columns
    left_s = np.maximum(0.0, fleet.restart_s - (now_s - known.started_s))
    left_s[fleet.gpu | ~known.in_flight | (known.at <= 0)] = 0.0
    if not left_s.any():
        return left_s
    lacking = limits.room_w(seen.carried_w(known.present_w(obeys))) < 0
    return np.where(seen.tree.under(lacking, fleet.node), left_s, 0.0)


def obeying(seen: Snapshot, limits: Limits, now_s: float) -> Flags:
    """Which devices can be planned with: seen, and doing what they were told or still within their time.

    While a limit is passed nobody is waited for who may not have heard what it was told.
    """
    obeys, unanswered = _heeding(seen, now_s)
    if unanswered:
        passed = passed_now(seen, limits)
        for row in unanswered:
            obeys[row] = not passed[list(seen.tree.paths[seen.fleet.node[row]])].any()
    return obeys


def surely_obeying(seen: Snapshot, now_s: float) -> Flags:
    """Which devices can be planned with whatever limit is passed."""
    obeys, unanswered = _heeding(seen, now_s)
    obeys[unanswered] = False
    return obeys


def _heeding(seen: Snapshot, now_s: float) -> tuple[Flags, list[int]]:
    """Which devices are seen and not doubtful, and the rows of those who may not have heard what they were
    told."""
    known = seen.columns
    obeys = known.seen & (known.now_w >= 0)
    unanswered: list[int] = []
    for row in np.flatnonzero(obeys & _may_be_doubtful(seen, now_s)).tolist():
        spec = seen.fleet.specs[row]
        state = seen.devices[spec.id]
        obeys[row] = not doubt.doubtful(spec, state, now_s)
        if obeys[row] and doubt.unanswered(spec, state, now_s):
            unanswered.append(row)
    return obeys, unanswered


def passed_now(seen: Snapshot, limits: Limits) -> Flags:
    """Which nodes carry more than they are held to at this moment, by their meter or by what answers; the
    site more than is due."""
    held_w = limits.held_w.copy()
    if isinstance(limits.due, Limit):
        held_w[0] = limits.due.power.watts
    carried_w = seen.claimed_w + seen.other_w
    for name, metered in seen.metered.items():
        if metered is not None:
            at = seen.tree.index[name]
            carried_w[at] = max(carried_w[at], metered.watts)
    passed: Flags = carried_w > held_w
    return passed


def strained(seen: Snapshot, limits: Limits) -> Flags:
    """Which devices have a node above them that carries too much at worst."""
    return seen.tree.under(limits.room_w(seen.worst_w) < 0, seen.fleet.node)


def may_stay(seen: Snapshot, limits: Limits, may: Freedom) -> Flags:
    """Which miners may stay where they are: no limit, nor heat, nor what they earn, asks them for less."""
    known, now_w = seen.columns, np.maximum(seen.columns.now_w, 0)
    found = ~seen.fleet.gpu & may.obeys & ~may.barred & ~may.rests & ~strained(seen, limits)
    found &= (known.at >= 0) & (now_w <= may.most_w) & ~known.idle & (known.stuck_w == 0)
    return found


def lacking_watts(seen: Snapshot, limits: Limits) -> Flags:
    """Which nodes lack watts: where a limit is to be held at once, or by best effort, with all below at their
    worst; the site also where it draws more than its set-point.
    """
    found: Flags = limits.held_room_w(seen.worst_w) < 0
    found |= (limits.asked_w < limits.bound_w) & (seen.worst_w > limits.asked_w)
    if limits.follows:
        found[0] |= seen.claimed_w[0] + seen.other_w[0] > limits.goal_w * (1 + OVER_SHARE)
    return found


def _may_be_doubtful(seen: Snapshot, now_s: float) -> Flags:
    """All that `doubt.doubtful` and `doubt.unanswered` can hold for, and few others: thousands may be on
    their way."""
    known = seen.columns
    more = known.worst_w > counted_w(np.maximum(known.now_w, 0), known.bias)
    waited_s, settle_s = now_s - known.since_s, seen.fleet.settle_down_s
    had_time = waited_s > np.minimum(
        settle_s / 2, np.maximum(doubt.UNANSWERED_S, doubt.UNANSWERED * settle_s)
    )
    had_time |= known.disobeys
    may_be: Flags = (known.truth != CODE[Truth.CONFIRMED]) & more & (had_time | (known.failures > 1))
    return may_be


def staying(seen: Snapshot, now_s: float) -> Ints:
    """The most watts of the miners that were told in vain to go up: those of where they stay, and for a time
    no more than they were told then.
    """
    fleet, known = seen.fleet, seen.columns
    runs = known.now_w > fleet.floor_w
    given_up = runs & (now_s - known.given_up_s < doubt.GIVEN_UP_S)
    found = np.where(given_up, known.now_w, UNLIMITED_W)
    unproven = known.disobeys | ((known.truth == CODE[Truth.COMMANDED]) & (known.failures > 1))
    for row in np.flatnonzero(unproven & runs).tolist():
        spec = fleet.specs[row]
        at = doubt.stays_at(spec, seen.devices[spec.id])
        if at is not None:
            found[row] = at.power.watts
    return found


def bounds(seen: Snapshot) -> Ints:
    """The most that heat allows each device; where cooling is not proven, no more than it has.

    What is to be switched off, or should be, is allowed its floor.
    """
    fleet = seen.fleet
    return np.where(fleet.draining | fleet.isolated, fleet.floor_w, seen.heat_w)


def too_hot(seen: Snapshot) -> Flags:
    """Who is told to draw more than its heat allows."""
    hot: Flags = seen.columns.now_w > seen.cool_w
    return hot


def heat_in_the_way(seen: Snapshot, may: Freedom) -> Flags:
    """Whom heat forbids the next point above where it is: of who sleeps for its price in warm air, or was
    started too often, it is not said while heat would let it run."""
    fleet = seen.fleet
    next_w = fleet.power_w[fleet.start[:-1] + np.minimum(seen.columns.at + 1, fleet.last)]
    found: Flags = (next_w > may.most_w) & ~may.in_vain
    return found
