"""From what each device should have to what it is told now: lower first, raise only into measured room.

A raise is sent when every node above the device has room for it on top of the worst case of everything
else below that node. Room that a lowering device will free does not exist until it was measured.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.beyond import Room
from controller.decide.columns import ON_ITS_WAY, counted_w
from controller.decide.device import DeviceState
from controller.decide.doubt import draws_on
from controller.decide.fleet import Fleet
from controller.decide.mirror import Mirror
from controller.decide.pace import Pace, Purse, Saved
from controller.decide.tree import load
from controller.decide.words import Reason, Truth
from controller.domain.devices import Means, SetPoint

ROOT = 0
MAX_BACKOFF = 3
FAILED_RETRY_S = 2.0
"""A command that got no answer may just have been lost, and who refused to draw less may have been busy: it
is sent again soon, at first. To refuse more harms nobody."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wishes:
    """Devices by row, the index of the point that each should be at, and how much that is worth per watt (who
    is raised first). By its outlet a device only ever goes to its floor.
    """

    row: Ints
    at: Ints
    merit: Floats
    outlet: Flags

    def __len__(self) -> int:
        return len(self.row)

    def of(self, which: NDArray[np.intp] | Flags) -> Wishes:
        return Wishes(
            row=self.row[which], at=self.at[which], merit=self.merit[which], outlet=self.outlet[which]
        )

    def set_points(self, fleet: Fleet, first: int | None = None) -> tuple[SetPoint, ...]:
        """The wishes as commands, in their order; or only the first so many."""
        told = zip(
            self.row[:first].tolist(), self.at[:first].tolist(), self.outlet[:first].tolist(), strict=True
        )
        return tuple(
            [
                SetPoint(
                    device=fleet.specs[row].id,
                    point=fleet.specs[row].points[at],
                    means=Means.OUTLET if outlet else Means.COMMAND,
                )
                for row, at, outlet in told
            ]
        )


NOBODY = Wishes(
    row=np.zeros(0, dtype=np.int64),
    at=np.zeros(0, dtype=np.int64),
    merit=np.zeros(0),
    outlet=np.zeros(0, dtype=np.bool_),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """What is lowered now, in order; what is left to be raised, and who waits for a ramp down (by row), to
    shed `waits_w` in all."""

    lowers: Wishes = NOBODY
    up: Wishes = NOBODY
    waiting: Mapping[int, Reason] = field(default_factory=dict)
    waits_w: int = 0
    fall_w: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Points to send, in order, why a wish was not sent (by row), and the ramp room that is left."""

    lowers: Wishes = NOBODY
    raises: Wishes = NOBODY
    waiting: Mapping[int, Reason] = field(default_factory=dict)
    saved: Saved = field(default_factory=Saved)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Retry:
    """When a device that did not obey is told the same again: after `retry_s` the first time, and no later
    than that below nodes that are `pressing`, if it is seen.
    """

    retry_s: float
    pressing: Flags


def lowered(
    known: Mirror, wishes: Wishes, room_w: Ints, obeys: Flags, pace: Pace, now_s: float, retry: Retry
) -> Lowered:
    """What never adds a watt, and so may be sent whatever else is decided. `room_w` is what each node is held
    to at once less the worst case of everything below it, `obeys` says of each device whether it can be
    counted on. A ramp down holds back only what neither such a limit above nor heat asks for.
    """
    if not len(wishes):
        return Lowered(fall_w=dict(pace.fall_w))
    counts_w = _counts_w(known, wishes)
    lowers = _lowers(known, wishes, counts_w)
    urgent = lowers & known.columns.seen[wishes.row]
    urgent &= known.ground.tree.under(retry.pressing, known.fleet.node[wishes.row])
    due = _due(known, wishes, lowers, urgent, now_s, retry.retry_s)
    down, up = wishes.of(due & lowers), wishes.of(due & ~lowers)
    freed_w = known.columns.worst_w[down.row] - counts_w[due & lowers]
    order = np.lexsort((down.row, -freed_w))
    down, freed_w = down.of(order), freed_w[order]
    if not pace.fall_w:
        return Lowered(lowers=down, up=up)
    return replace(_on_the_ramp(known, down, freed_w, room_w, obeys, pace), up=up)


def _on_the_ramp(
    known: Mirror, down: Wishes, freed_w: Ints, room_w: Ints, obeys: Flags, pace: Pace
) -> Lowered:
    """Who of `down` is lowered now, in that order: at once who is hot, and where a node still lacks watts
    beyond those that fall already, or are told to fall before. Ramps that have the room give those first.
    What was told to fall was paid for then. Who is still on its way up has no more to give than it draws."""
    fall, waiting = Purse(pace.fall_w), dict[int, Reason]()
    may = np.zeros(len(down), dtype=np.bool_)
    above_w = known.columns.worst_w - known.columns.here_w
    falls_w = np.where(obeys, np.maximum(0, above_w), 0)
    lacks_w = (-room_w - load(known.ground.tree, known.fleet.node, falls_w)).tolist()
    counts_w = known.columns.worst_w[down.row] - freed_w
    sheds_w = np.maximum(0, freed_w - above_w[down.row])
    shown = known.columns.seen & known.columns.measured
    drops_w = np.clip(known.columns.draw_w[down.row] - counts_w, 0, sheds_w)
    costs_w = np.where(shown[down.row], drops_w, sheds_w).tolist()
    ways = [known.way(row) for row in down.row.tolist()]

    def owed(place: int) -> bool:
        return any(lacks_w[node] > 0 for node in ways[place])

    def told(place: int) -> None:
        may[place] = True
        for node in ways[place] if obeys[down.row[place]] else ():
            lacks_w[node] -= int(sheds_w[place])

    unpaid: list[int] = []
    waits_w = 0
    for place in sorted(range(len(down)), key=lambda place: not owed(place)):
        if down.row[place] in pace.hot:
            fall.take(ways[place], costs_w[place])
            told(place)
        elif fall.pays(ways[place], costs_w[place]):
            told(place)
        else:
            unpaid.append(place)
    for place in unpaid:
        if owed(place):
            fall.take(ways[place], costs_w[place])
            told(place)
        else:
            waiting[int(down.row[place])] = Reason.RAMPING
            waits_w += int(sheds_w[place])
    return Lowered(lowers=down.of(may), waiting=waiting, waits_w=waits_w, fall_w=fall.left_w)


def order(
    known: Mirror,
    before: Lowered,
    room: Room,
    pace: Pace,
    staged: Collection[int],
    now_s: float,
    *,
    to_a_point: bool = False,
) -> Orders:
    """All orders: what was lowered, and what may be raised beside it: none of the GPUs that are `staged`, by
    row, before they have work. Where a set-point is met, `to_a_point`, nobody is raised for what others are
    to give once a ramp down lets them."""
    rise, waiting = Purse(pace.rise_w), dict(before.waiting)
    up = before.up.of(np.lexsort((before.up.row, -before.up.merit)))
    steps_w = np.maximum(0, _counts_w(known, up) - known.columns.worst_w[up.row]).tolist()
    aim = Purse({ROOT: sum(steps_w) - before.waits_w} if to_a_point and before.waits_w else {})
    started = 0
    raised: list[int] = []
    for place, (row, step_w) in enumerate(zip(up.row.tolist(), steps_w, strict=True)):
        way, spec = known.way(row), known.fleet.specs[row]
        starting = known.devices[spec.id].point == spec.floor
        if pace.held:
            waiting[row] = Reason.HELD
        elif row in pace.uncooled:  # it was told before, and has not come up yet
            waiting[row] = Reason.THERMAL
        elif not room.has(way, step_w) or not aim.pays(way, step_w):
            waiting[row] = Reason.WAITING
        elif row in staged or (starting and started >= round(pace.starts)) or not rise.pays(way, step_w):
            waiting[row] = Reason.RAMPING
        else:
            raised.append(place)
            started += starting
            room.take(way, step_w)
    saved = Saved(at_s=now_s, starts=pace.starts - started, rise_w=rise.left_w, fall_w=before.fall_w)
    raises = up.of(np.array(raised, dtype=np.intp))
    return Orders(lowers=before.lowers, raises=raises, waiting=waiting, saved=saved)


def _counts_w(known: Mirror, wishes: Wishes) -> Ints:
    """What each device is reckoned to draw at the point that it should be at: `DeviceState.counted`."""
    fleet, columns, row = known.fleet, known.columns, wishes.row
    counts_w = counted_w(fleet.power_w[fleet.start[row] + wishes.at], columns.bias[row])
    for place in np.flatnonzero(columns.stuck_w[row] > 0).tolist():
        spec = fleet.specs[row[place]]
        counts_w[place] = known.devices[spec.id].counted(spec.points[wishes.at[place]]).watts
    return counts_w


def _lowers(known: Mirror, wishes: Wishes, counts_w: Ints) -> Flags:
    """Down, or the same again to a device that may still be above it: never adds a watt to what is drawn."""
    fleet, columns, row = known.fleet, known.columns, wishes.row
    worst_w = columns.worst_w[row]
    again = (wishes.at == columns.at[row]) & (columns.draw_w[row] < counts_w)
    lower = fleet.power_w[fleet.start[row] + wishes.at] <= columns.now_w[row]
    return wishes.outlet | np.where(again, counts_w < worst_w, lower & (counts_w <= worst_w))


def _due(known: Mirror, wishes: Wishes, lowers: Flags, urgent: Flags, now_s: float, retry_s: float) -> Flags:
    """A new point is sent at once; the same one again only after a growing pause, and only while unproven:
    one that is there, or on its way and does not come, becomes a liar, and is asked again. The pause grows
    no longer than `retry_s` where it is urgent.
    """
    columns, row = known.columns, wishes.row
    again = wishes.at == columns.at[row]
    due: Flags = ~again & ~wishes.outlet
    for place in np.flatnonzero(wishes.outlet | (again & ~ON_ITS_WAY[columns.truth[row]])).tolist():
        state = known.devices[known.fleet.specs[row[place]].id]
        if wishes.outlet[place]:
            due[place] = now_s - max(state.given_up_s, state.sent_s) >= retry_s
        else:
            most_s = retry_s if urgent[place] else retry_s * 2.0**MAX_BACKOFF
            due[place] = now_s - state.sent_s >= _pause_s(state, retry_s, most_s, lowers=bool(lowers[place]))
    return due


def _pause_s(state: DeviceState, retry_s: float, most_s: float, *, lowers: bool) -> float:
    if draws_on(state):
        return retry_s * 2.0**state.retold  # for good: it had its chances
    failed = state.failed_s > state.sent_s or (state.truth is Truth.REFUSED and lowers)
    first_s = FAILED_RETRY_S if failed else retry_s
    return min(first_s * 2.0 ** max(0, state.attempts - 1), most_s)
