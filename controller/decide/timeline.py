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


@dataclass(frozen=True, slots=True, kw_only=True)
class GridNow:
    """What the grid asks now. `active` are the events whose windows hold now, lead time not counted.

    `cap` is what the site goes by, lead time included; `due` is what it is held to at this moment.
    """

    cap: Bound = NO_LIMIT
    due: Bound = NO_LIMIT
    cap_reason: CapReason = CapReason.NONE
    cap_event: str = ""
    target: Bound = NO_LIMIT
    usd_per_kwh: float | None = None
    active: tuple[GridEvent, ...] = ()
    next_change_utc_s: float = math.inf


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
        (signal.power, event.id)
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
    targets = [(signal.power, name) for signal, name in now if isinstance(signal, TargetSignal)]
    prices = [signal.usd_per_kwh for signal, _ in now if isinstance(signal, PriceSignal)]
    due = [(signal.power, name) for signal, name in now if isinstance(signal, LimitSignal)]
    cap, reason, name = _cap(limits, targets[:1], link, policy)
    return GridNow(
        cap=cap,
        due=_cap(due, [], link, policy)[0],
        cap_reason=reason,
        cap_event=name,
        target=Limit(targets[0][0]) if targets else NO_LIMIT,
        usd_per_kwh=prices[0] if prices else None,
        active=active,
        next_change_utc_s=_next_change(events, utc_s, policy),
    )


def _cap(
    limits: list[tuple[Power, str]], targets: list[tuple[Power, str]], link: Link, policy: Policy
) -> tuple[Bound, CapReason, str]:
    """On a lost link accepted events go on by their schedule; without one the contract's limit holds."""
    candidates = [(power, CapReason.EVENT, name) for power, name in limits]
    candidates += [(power, CapReason.TARGET, name) for power, name in targets]
    if link is Link.LOST and not candidates and isinstance(policy.link_lost_limit, Limit):
        candidates = [(policy.link_lost_limit.power, CapReason.LINK_LOST, "")]
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
