"""What becomes of a feed of DSX Flex from tick to tick: which target binds it, and where it goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from controller.domain.grid import EventStatus, GridEvent, LimitSignal
from controller.domain.power import NO_LIMIT, ZERO, Bound, Limit, Power
from controller.grid.dsx import Feed, power_unit
from controller.grid.dsxbreach import NO_BREACH, Breach
from controller.grid.isotime import stamp
from controller.grid.loadtargets import feed_of
from controller.grid.site import Foreseen, Place

SETTLED_SHARE = 0.05
"""A feed whose load is this close to what it may draw has finished its ramp upwards."""


class Change(StrEnum):
    """What a status message was sent for, in the words of DSX Flex."""

    TARGET_SET = "target_set"
    START_RAMP_DOWN = "start_ramp_down"
    END_RAMP_DOWN = "end_ramp_down"
    START_RAMP_UP = "start_ramp_up"
    END_RAMP_UP = "end_ramp_up"
    PERIODIC = "periodic"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedNow:
    """A feed between two ticks: its targets by version, what binds it and since when, where it is going, and
    whether what it will come to, or is at, is within its target. Below `least` it cannot come, and a target
    to come asks for that."""

    versions: frozenset[tuple[str, float]] = frozenset()
    constraint: Bound = NO_LIMIT
    since_utc_s: float = 0.0
    ramp: Change | None = None
    compliant: bool = True
    least: Power = ZERO
    breach: Breach = NO_BREACH


def moved(
    before: FeedNow, own: Sequence[GridEvent], place: Place, now_utc_s: float, least: Power = ZERO
) -> tuple[FeedNow, list[Change]]:
    """The feed after this tick, and what happened to it, in order. Below `least` it will not come."""
    changes: list[Change] = []
    versions = frozenset((event.id, event.version_utc_s) for event in own)
    if versions - before.versions:
        changes.append(Change.TARGET_SET)
    active = active_target(own, now_utc_s)
    constraint: Bound = NO_LIMIT if active is None else Limit(_limit_at(active, now_utc_s))
    compliant = _is_within(min(place.granted, place.demand), constraint)
    after = replace(before, versions=versions, constraint=constraint, compliant=compliant, least=least)
    if constraint != before.constraint:
        ramp = Change.START_RAMP_DOWN if _is_tighter(constraint, before.constraint) else Change.START_RAMP_UP
        after = replace(after, ramp=ramp, since_utc_s=now_utc_s)
        changes.append(ramp)
    if after.ramp is Change.START_RAMP_DOWN and _is_within(place.demand, constraint):
        after = replace(after, ramp=None)
        changes.append(Change.END_RAMP_DOWN)
    elif after.ramp is Change.START_RAMP_UP and place.demand.watts >= place.granted.watts * (
        1 - SETTLED_SHARE
    ):
        after = replace(after, ramp=None)
        changes.append(Change.END_RAMP_UP)
    if not changes and (compliant, least) != (before.compliant, before.least):
        changes.append(Change.PERIODIC)  # no word for it, and not to wait for the next heartbeat
    return after, changes


def active_target(own: Sequence[GridEvent], now_utc_s: float) -> GridEvent | None:
    """The target that binds now: the lowest of those in force."""
    found = [event for event in own if event.start_utc_s <= now_utc_s < event.end_utc_s]
    return min(found, key=lambda event: (_limit_at(event, now_utc_s).watts, event.id), default=None)


def least_of(own: Sequence[GridEvent], foreseen: Iterable[Foreseen]) -> Power:
    """What a feed comes to at least, where one of its targets to come cannot be met; else nothing."""
    names = {event.id for event in own}
    short = (one for one in foreseen if one.status is EventStatus.INFEASIBLE and one.event in names)
    return max((one.possible for one in short), default=ZERO)


def in_order(events: Sequence[GridEvent], feed: Feed, now_utc_s: float) -> list[GridEvent]:
    """The targets of a feed: what binds it now, then what begins first."""
    own = [event for event in events if feed_of(event.id) == feed.tag]
    active = active_target(own, now_utc_s)
    return sorted(own, key=lambda event: (event is not active, event.start_utc_s, event.end_utc_s, event.id))


def _limit_at(event: GridEvent, now_utc_s: float) -> Power:
    return min(
        signal.power
        for piece in event.intervals
        if piece.end_utc_s > now_utc_s or piece is event.intervals[-1]
        for signal in piece.signals
        if isinstance(signal, LimitSignal)
    )


def target_data(event: GridEvent, now_utc_s: float) -> dict[str, Any]:
    interval = {"start_time": stamp(event.start_utc_s)}
    if event.end_utc_s != float("inf"):
        interval["end_time"] = stamp(event.end_utc_s)
    return {
        "active": event.start_utc_s <= now_utc_s < event.end_utc_s,
        "load_constraint": power_unit(_limit_at(event, now_utc_s)),
        "interval": interval,
        "strategy": {"best_effort": event.best_effort},
        "correlation_id": event.name,
    }


def _is_tighter(bound: Bound, than: Bound) -> bool:
    match bound, than:
        case Limit(power), Limit(other):
            return power < other
        case Limit(), _:
            return True
        case _:
            return False


def _is_within(demand: Power, bound: Bound) -> bool:
    return not isinstance(bound, Limit) or demand <= bound.power
