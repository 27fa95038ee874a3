"""From what each device should have to what it is told now: lower first, raise only into measured room.

A raise is sent when every node above the device has room for it on top of the worst case of everything
else below that node. Room that a lowering device will free does not exist until it was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.decide.device import DeviceState
from controller.decide.pace import Pace, Purse, Saved
from controller.decide.plan import Reason, Truth
from controller.domain.devices import DeviceSpec, Means, OperatingPoint

MAX_BACKOFF = 3
FAILED_RETRY_S = 2.0
"""A command that got no answer may just have been lost, and who refused to draw less may have been busy: it
is sent again soon, at first. To refuse more harms nobody."""


class Wish(NamedTuple):
    """A device, where it should be, and how much that is worth per watt (who is raised first).

    `way` are the indices of the nodes above it, from its own up to the root. By its outlet it only ever
    goes to its floor.
    """

    spec: DeviceSpec
    state: DeviceState
    point: OperatingPoint
    merit: float
    way: tuple[int, ...]
    means: Means = Means.COMMAND


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Points to send, in order, why a wish was not sent, and the ramp room that is left."""

    lowers: tuple[Wish, ...]
    raises: tuple[Wish, ...]
    waiting: Mapping[str, Reason]
    saved: Saved = field(default_factory=Saved)


def order(wishes: Sequence[Wish], room_w: Sequence[int], pace: Pace, now_s: float, retry_s: float) -> Orders:
    """`room_w` is each node's limit less the worst case of everything below it."""
    down: list[Wish] = []
    up: list[Wish] = []
    for wish in wishes:
        if _due(wish, now_s, retry_s):
            (down if _lowers(wish) else up).append(wish)
    lowers, waiting, fall = _lowered(down, room_w, pace)
    rise = Purse(pace.rise_w)
    room = list(room_w)
    raises: list[Wish] = []
    started = 0
    for wish in sorted(up, key=lambda wish: (-wish.merit, wish.spec.id)):
        step = max(0, wish.state.counted(wish.point).watts - wish.state.worst.watts)
        starting = wish.state.point == wish.spec.floor
        if pace.held:
            waiting[wish.spec.id] = Reason.HELD
        elif any(room[node] < step for node in wish.way):
            waiting[wish.spec.id] = Reason.WAITING
        elif (starting and started >= pace.starts) or not rise.pays(wish.way, step):
            waiting[wish.spec.id] = Reason.RAMPING
        else:
            raises.append(wish)
            started += starting
            for node in wish.way:
                room[node] -= step
    saved = Saved(at_s=now_s, rise_w=rise.left_w, fall_w=fall.left_w)
    return Orders(lowers=lowers, raises=tuple(raises), waiting=waiting, saved=saved)


def _lowered(
    wishes: list[Wish], room_w: Sequence[int], pace: Pace
) -> tuple[tuple[Wish, ...], dict[str, Reason], Purse]:
    """What may be lowered now. A ramp down holds back only what no limit above asks for."""
    fall = Purse(pace.fall_w)
    ordered = sorted(wishes, key=lambda wish: (-_freed(wish), wish.spec.id))
    lowers: list[Wish] = []
    waiting: dict[str, Reason] = {}
    if not pace.fall_w:
        return tuple(ordered), waiting, fall
    for wish in ordered:
        if any(room_w[node] < 0 for node in wish.way):
            fall.take(wish.way, _freed(wish))
            lowers.append(wish)
        elif fall.pays(wish.way, _freed(wish)):
            lowers.append(wish)
        else:
            waiting[wish.spec.id] = Reason.RAMPING
    return tuple(lowers), waiting, fall


def _lowers(wish: Wish) -> bool:
    """Down, or the same again to a device that may still be above it: never adds a watt to what is drawn."""
    if wish.means is Means.OUTLET:
        return True
    state, counts = wish.state, wish.state.counted(wish.point)
    assert state.point is not None
    if wish.point.is_at(state.point) and state.draw.watts < counts.watts:
        return counts.watts < state.worst.watts
    return wish.point.power.watts <= state.point.power.watts and counts.watts <= state.worst.watts


def _due(wish: Wish, now_s: float, retry_s: float) -> bool:
    """A new point is sent at once; the same one again only after a growing pause, and only while unproven."""
    state = wish.state
    assert state.point is not None
    if wish.means is Means.OUTLET:
        return now_s - max(state.given_up_s, state.sent_s) >= retry_s
    if not wish.point.is_at(state.point):
        return True
    if state.truth in (Truth.CONFIRMED, Truth.ACKNOWLEDGED):
        return False  # there, or on its way: one that does not come becomes a liar, and is asked again
    failed = state.failed_s > state.sent_s or (state.truth is Truth.REFUSED and _lowers(wish))
    first_s = FAILED_RETRY_S if failed else retry_s
    pause_s = min(first_s * 2.0 ** max(0, state.attempts - 1), retry_s * 2.0**MAX_BACKOFF)
    return now_s - state.sent_s >= pause_s


def _freed(wish: Wish) -> int:
    return wish.state.worst.watts - wish.state.counted(wish.point).watts
