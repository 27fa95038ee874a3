"""From what each device should have to what it is told now: lower first, raise only into measured room.

A raise is sent when every node above the device has room for it on top of the worst case of everything
else below that node. Room that a lowering device will free does not exist until it was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.decide.plan import Reason, Truth
from controller.decide.truth import DeviceState
from controller.domain.devices import DeviceSpec, OperatingPoint

MAX_BACKOFF = 3
UNANSWERED_RETRY_S = 2.0
"""A command that got no answer may just have been lost: it is sent again soon, at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A device, where it should be, and how much that is worth per watt (who is raised first)."""

    spec: DeviceSpec
    state: DeviceState
    point: OperatingPoint
    merit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What may be raised in one tick: `rise_w` watts (None: all there is room for), `starts` machines."""

    held: bool = False
    rise_w: int | None = None
    starts: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Points to send, in order, and why a wish was not sent; `rise_w` is what the raises add."""

    lowers: tuple[Wish, ...]
    raises: tuple[Wish, ...]
    waiting: Mapping[str, Reason]
    rise_w: int = 0


def order(
    wishes: Sequence[Wish],
    room_w: Mapping[str, int],
    ways: Mapping[str, tuple[str, ...]],
    pace: Pace,
    now_s: float,
    retry_s: float,
) -> Orders:
    """`room_w` is each node's limit less the worst case of everything below it."""
    room = dict(room_w)
    lowers = [wish for wish in wishes if _lowers(wish) and _due(wish, now_s, retry_s)]
    lowers.sort(key=lambda wish: (-_freed(wish), wish.spec.id))
    raises: list[Wish] = []
    waiting: dict[str, Reason] = {}
    risen = started = 0
    ramping = False
    for wish in sorted(wishes, key=lambda wish: (-wish.merit, wish.spec.id)):
        if _lowers(wish) or not _due(wish, now_s, retry_s):
            continue
        step = max(0, wish.state.counted(wish.point).watts - wish.state.worst.watts)
        starting = wish.state.point == wish.spec.floor
        if pace.held:
            waiting[wish.spec.id] = Reason.HELD
        elif any(room[node] < step for node in ways[wish.spec.node]):
            waiting[wish.spec.id] = Reason.WAITING
        elif step and pace.rise_w is not None and (ramping or risen + step > pace.rise_w):
            ramping = True  # and keeps its turn: smaller ones must not take what it is saving up
            waiting[wish.spec.id] = Reason.RAMPING
        elif starting and started >= pace.starts:
            waiting[wish.spec.id] = Reason.RAMPING
        else:
            raises.append(wish)
            risen += step
            started += starting
            for node in ways[wish.spec.node]:
                room[node] -= step
    return Orders(lowers=tuple(lowers), raises=tuple(raises), waiting=waiting, rise_w=risen)


def _lowers(wish: Wish) -> bool:
    """Down, or the same again to a device that may still be above it: never adds a watt to what is drawn."""
    state, counts = wish.state, wish.state.counted(wish.point)
    assert state.point is not None
    if wish.point.name == state.point.name and state.draw < counts:
        return counts < state.worst
    return wish.point.power <= state.point.power and counts <= state.worst


def _due(wish: Wish, now_s: float, retry_s: float) -> bool:
    """A new point is sent at once; the same one again only after a growing pause, and only while unproven."""
    state = wish.state
    assert state.point is not None
    if wish.point.name != state.point.name:
        return True
    if state.truth in (Truth.CONFIRMED, Truth.ACKNOWLEDGED):
        return False  # there, or on its way: one that does not come becomes a liar, and is asked again
    unanswered = state.failures == state.attempts
    first_s = UNANSWERED_RETRY_S if unanswered else retry_s
    pause_s = min(first_s * 2.0 ** max(0, state.attempts - 1), retry_s * 2.0**MAX_BACKOFF)
    return now_s - state.sent_s >= pause_s


def _freed(wish: Wish) -> int:
    return (wish.state.worst - wish.state.counted(wish.point)).watts
