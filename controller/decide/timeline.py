"""Overlapping events -> the limit, target and price in force now, and when that next changes.

Limits combine by minimum, whatever their priority. Of targets the lowest priority number wins, then the
newest version, then the id; of prices likewise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from controller.decide.plan import CapReason
from controller.domain.grid import EventInterval, GridEvent, LimitSignal, Link, PriceSignal, TargetSignal
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.domain.site import Policy

Candidate = tuple[Power, CapReason, str]
"""A power, what set it, and the id of the event where it was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridNow:
    """What the grid asks now. `active` are the events whose windows hold now, lead time not counted.

    `cap` is what the site goes by, lead time included; `limit` is that without set-points, which are to be
    met and not kept away from; `due` is the limit that the site is held to at this moment.
    """

    cap: Bound = NO_LIMIT
    limit: Bound = NO_LIMIT
    due: Bound = NO_LIMIT
    cap_reason: CapReason = CapReason.NONE
    cap_event: str = ""
    target: Bound = NO_LIMIT
    usd_per_kwh: float | None = None
    active: tuple[GridEvent, ...] = ()
    next_change_utc_s: float = math.inf


def link_since(link: Link, up_s: float, policy: Policy) -> Link:
    """A link counts as lost only after the controller had `start_grace_s` to hear a first snapshot on it."""
    return Link.UP if link is Link.LOST and up_s < policy.start_grace_s else link


def interval_at(event: GridEvent, utc_s: float) -> EventInterval | None:
    for interval in event.intervals:
        if interval.start_utc_s <= utc_s < interval.end_utc_s:
            return interval
    return None


def grid_now(events: Iterable[GridEvent], utc_s: float, link: Link, policy: Policy) -> GridNow:
    """What holds at `utc_s`. A limit holds `policy.event_lead_s` early, so that the site is down in time."""
    events = sorted(events, key=lambda event: (event.priority, -event.version_utc_s, event.id))
    active = tuple(event for event in events if interval_at(event, utc_s))
    limits = [
        (signal.power, CapReason.EVENT, event.id)
        for event in events
        for interval in event.intervals
        if interval.start_utc_s - policy.event_lead_s <= utc_s < interval.end_utc_s
        for signal in interval.signals
        if isinstance(signal, LimitSignal)
    ]
    now = [
        (signal, event.id)
        for event in active
        if (interval := interval_at(event, utc_s))
        for signal in interval.signals
    ]
    targets = [
        (signal.power, CapReason.TARGET, name) for signal, name in now if isinstance(signal, TargetSignal)
    ][:1]
    prices = [signal.usd_per_kwh for signal, _ in now if isinstance(signal, PriceSignal)]
    due = [(signal.power, CapReason.EVENT, name) for signal, name in now if isinstance(signal, LimitSignal)]
    fallback = [] if due or targets else _fallback(link, policy)
    cap, reason, name = _lowest([*limits, *targets, *fallback])
    return GridNow(
        cap=cap,
        limit=_lowest([*limits, *fallback])[0],
        due=_lowest([*due, *fallback])[0],
        cap_reason=reason,
        cap_event=name,
        target=_lowest(targets)[0],
        usd_per_kwh=prices[0] if prices else None,
        active=active,
        next_change_utc_s=_next_change(events, utc_s, policy),
    )


def _fallback(link: Link, policy: Policy) -> list[Candidate]:
    """The contract's limit for a lost link. Accepted events go on by their schedule; it holds without one."""
    if link is Link.LOST and isinstance(policy.link_lost_limit, Limit):
        return [(policy.link_lost_limit.power, CapReason.LINK_LOST, "")]
    return []


def _lowest(candidates: list[Candidate]) -> tuple[Bound, CapReason, str]:
    if not candidates:
        return NO_LIMIT, CapReason.NONE, ""
    power, reason, name = min(candidates)
    return Limit(power), reason, name


def _next_change(events: list[GridEvent], utc_s: float, policy: Policy) -> float:
    edges = (
        edge
        for event in events
        for interval in event.intervals
        for edge in (interval.start_utc_s - policy.event_lead_s, interval.start_utc_s, interval.end_utc_s)
    )
    return min((edge for edge in edges if edge > utc_s), default=math.inf)
