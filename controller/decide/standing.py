"""Where events stand: in flight, complied with, or asking for what the site cannot reach, with what it can.

An event is complied with when a fresh meter says so, and only then. What cannot be reached is told with the
nearest draw that can: what machines are able to do, not what is worth doing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from controller.decide import arrival
from controller.decide.arrays import Flags, Ints
from controller.decide.columns import counted_w
from controller.decide.freedom import Freedom
from controller.decide.limits import Limits
from controller.decide.mirror import idle_gpus
from controller.decide.plan import Standing
from controller.decide.schedule import interval_at
from controller.decide.snapshot import Snapshot
from controller.decide.swing import Swing
from controller.decide.timeline import GridNow
from controller.decide.tree import at_node
from controller.domain.grid import (
    EventStatus,
    GridEvent,
    LimitSignal,
    RelativeTargetSignal,
    Signal,
    TargetSignal,
)
from controller.domain.power import Bound, Limit, Power

TARGET_TOLERANCE = 0.05
"""A set-point is met by a draw within this share of it."""
AT_REST_S = 60.0
"""A site that follows a set-point may yet be nearer to it for so long after its last change: what its meter
shows beyond the model is learned meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Means:
    """What the site has to meet an event with: `lowest_w` is the least that each node comes to; `running_w`,
    where something is asked by best effort or announced, what each device needs for the job that it runs.
    Only a site that was looked at whole is `ready`. `at` is the point that each device should be at."""

    lowest_w: Ints
    running_w: Ints
    limits: Limits
    after: Snapshot
    may: Freedom
    swing: Swing
    ready: bool
    at: Ints
    now_s: float

    @property
    def at_rest(self) -> bool:
        """Whether everybody who obeys is where it should be, and nobody changed of late, or will soon have
        waited long enough."""
        known, may = self.after.columns, self.may
        moves = may.obeys & (known.in_flight | (self.at != known.at)) | may.dwells
        moves |= may.rests & (known.may_start_s - self.now_s < AT_REST_S)
        return not (moves | (self.now_s - known.since_s < AT_REST_S)).any()


def standings(grid: GridNow, utc_s: float, held_to: Bound, means: Means) -> Iterator[Standing]:
    """Of every event in force; `held_to` is the limit that the site must keep to at this moment."""
    spares_work = any(event.best_effort for event in grid.active)
    working_w = means.after.carried_w(comes_to_w(means, means.may.obeys)) if spares_work else means.lowest_w
    for event in grid.active:
        place = means.after.tree.index[event.node] if event.node else 0
        least = no_more_than_shown(means.after, place, means.lowest_w)
        status, possible = _judged(event, grid, utc_s, means, place, least)
        if event.best_effort:
            possible = max(possible, no_more_than_shown(means.after, place, working_w))
        yield Standing(
            event=event.id,
            version_utc_s=event.version_utc_s,
            status=status,
            cap=held_to,
            possible=possible,
            drawn_before=event.drawn_before,
            outranked=_is_outranked(event, grid, utc_s),
        )


def no_more_than_shown(after: Snapshot, place: int, reckoned_w: Ints) -> Power:
    """What a place draws now it can draw, whatever is reckoned of who is silent, or at work."""
    reckoned = Power(int(reckoned_w[place]))
    metered = after.metered.get(after.tree.ids[place])
    return reckoned if metered is None else min(reckoned, metered)


def least_w(after: Snapshot, may: Freedom) -> Ints:
    """What each node can be brought down to: whoever obeys at its lowest, be it at work for a job or
    following a set-point, and everybody else at worst."""
    return after.carried_w(lowest_w(after, may.obeys))


def lowest_w(after: Snapshot, obeys: Flags) -> Ints:
    """What each device draws when those who obey are at their lowest, and all others at worst."""
    known = after.columns
    found: Ints = np.where(obeys, counted_w(after.fleet.floor_w, known.bias), known.worst_w)
    return found


def comes_to_w(means: Means, obeys: Flags) -> Ints:
    """What each device will draw with those who obey at their lowest, or at what their jobs need."""
    working_w = np.where(obeys, counted_w(means.running_w, means.after.columns.bias), 0)
    found: Ints = np.maximum(shown_lowest_w(means.after, obeys), working_w)
    return found


def shown_lowest_w(after: Snapshot, obeys: Flags) -> Ints:
    """The same as `lowest_w`, with GPUs that nothing runs on at what they draw. No less than their lowest
    limit can be promised, for anybody may put them to work; what will be reached is less."""
    known = after.columns
    found = lowest_w(after, obeys)
    below = obeys & known.seen & known.measured & (known.draw_w < found)
    rows = idle_gpus(after.fleet, after.readings, below)
    found[rows] = known.draw_w[rows]
    return found


def _judged(
    event: GridEvent, grid: GridNow, utc_s: float, means: Means, place: int, least: Power
) -> tuple[EventStatus, Power]:
    """The status, and the nearest draw that is possible: the least where what is asked for can be reached."""
    signals = _signals(event, utc_s)
    limit = min((one.power for one in signals if isinstance(one, LimitSignal)), default=None)
    steers = _steer(signals)
    asks = event.id in grid.target_events[:1]
    target = grid.target.power if asks and isinstance(grid.target, Limit) else None
    metered = means.after.metered.get(means.after.tree.ids[place])
    within = limit is None or (metered is not None and metered <= limit)
    met = not steers or (target is not None and metered is not None and is_met(metered, target))
    if within and met:
        return EventStatus.COMPLIANT, least
    if not means.ready:
        return EventStatus.STARTED, least
    if not within and limit is not None and least > limit:
        return EventStatus.INFEASIBLE, least
    if target is not None and not met:
        nearest = _came_to(means) if means.at_rest else _nearest(target, means)
        if not is_met(nearest, target):
            return EventStatus.INFEASIBLE, nearest
    return EventStatus.STARTED, least


def _is_outranked(event: GridEvent, grid: GridNow, utc_s: float) -> bool:
    steers = _steer(_signals(event, utc_s))
    return steers and isinstance(grid.target, Limit) and event.id not in grid.target_events


def _signals(event: GridEvent, utc_s: float) -> tuple[Signal, ...]:
    interval = interval_at(event, utc_s)
    return interval.signals if interval is not None else ()


def _steer(signals: tuple[Signal, ...]) -> bool:
    return any(isinstance(one, TargetSignal | RelativeTargetSignal) for one in signals)


def is_met(draw: Power, target: Power) -> bool:
    return abs(draw.watts - target.watts) <= TARGET_TOLERANCE * target.watts


def _came_to(means: Means) -> Power:
    """What the site draws by its own reckoning: between the points of few machines nothing may be nearer. A
    GPU's limit says no more than what it may draw, whatever its work wants."""
    after, known = means.after, means.after.columns
    is_shown = after.fleet.gpu & known.seen & known.measured
    device_w = np.where(is_shown, known.draw_w, arrival.told_w(after, means.may))
    return Power(int(after.other_w[0] + device_w.sum()))


def _nearest(target: Power, means: Means) -> Power:
    """The draw nearest to a set-point that the site can come to. For a set-point no job is set aside."""
    after, swing = means.after, means.swing
    least_w = np.where(swing.gpus, swing.least_w, shown_lowest_w(after, means.may.obeys))
    least = int(after.beside_w[0] + least_w.sum())
    if target.watts <= least:
        return Power(least)
    return min(target, Power(max(least, _most_w(means))))


def _most_w(means: Means) -> int:
    """The most that the site can come to, with nothing above its limit on the way down the tree."""
    after, may, swing = means.after, means.may, means.swing
    fleet, known = after.fleet, after.columns
    allowed = fleet.power_w <= may.most_w[fleet.owner]
    top_w = np.maximum.reduceat(
        np.where(allowed, fleet.power_w, fleet.floor_w[fleet.owner]), fleet.start[:-1]
    )
    top_w = np.where(may.rests, fleet.floor_w, top_w)
    stays = fleet.gpu & ~swing.gpus
    device_w = np.where(may.obeys, counted_w(top_w, known.bias), known.draw_w)
    device_w = np.where(stays, arrival.settled_w(after, may).astype(np.int64), device_w)
    return brought_w(after, device_w, means.limits.usable_w)


def brought_w(after: Snapshot, device_w: Ints, usable_w: Ints) -> int:
    """What of `device_w` and all other load comes to the root, with no more at any node than may be used."""
    tree = after.tree
    carried_w = at_node(tree, after.fleet.node, device_w) + _own_w(tree.parent, after.other_w)
    for node in range(len(tree.ids) - 1, 0, -1):
        carried_w[tree.parent[node]] += min(carried_w[node], usable_w[node])
    return int(min(carried_w[0], usable_w[0]))


def _own_w(parent: Ints, below_w: Ints) -> Ints:
    """Each node's own part of sums over all below it."""
    own_w = below_w.copy()
    np.subtract.at(own_w, parent[1:], below_w[1:])
    return own_w
