"""When limits of events count: planned with before they begin, in force, owed once no ramp may delay them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from controller.decide.words import CapReason
from controller.domain.grid import EventInterval, GridEvent, LimitSignal
from controller.domain.power import Limit, Power
from controller.domain.site import Policy, Site

Candidate = tuple[Power, CapReason, str, float]
"""A power, what set it, the id of the event where it was one, and from when on it is owed in full."""
AT_ONCE = -math.inf


class Coming(NamedTuple):
    """A limit that is not planned with yet and will be owed in `ahead_s`, and the node that it is for."""

    ahead_s: float
    node: str
    power: Power


def interval_at(event: GridEvent, utc_s: float) -> EventInterval | None:
    for interval in _from(event, utc_s):
        return interval if interval.start_utc_s <= utc_s else None
    return None


def lead_s(policy: Policy, event: GridEvent) -> float:
    """How long before its start a limit is planned with: less where it need not be met at once, for the
    site has twice its lead from the first command to the deadline then.
    """
    return min(policy.event_lead_s, max(0.0, 2 * policy.event_lead_s - event.ramp_deadline_s))


def planned(events: Iterable[GridEvent], utc_s: float, policy: Policy) -> Iterator[Candidate]:
    """Every limit that holds now, or whose lead time has begun."""
    for event in events:
        begins_s = lead_s(policy, event)
        for interval in _from(event, utc_s):
            if interval.start_utc_s - begins_s > utc_s:
                break
            yield from _limits(event, interval)


def in_force(events: Iterable[GridEvent], utc_s: float) -> Iterator[Candidate]:
    """Every limit whose interval has begun, without the time before it."""
    for event in events:
        if (interval := interval_at(event, utc_s)) is not None:
            yield from _limits(event, interval)


def owed(due: Iterable[Candidate], utc_s: float, policy: Policy) -> list[Candidate]:
    """The limits that no ramp may delay any more."""
    return [one for one in due if owed_utc_s(one[3], policy) <= utc_s]


def owed_utc_s(due_by_utc_s: float, policy: Policy) -> float:
    """What a ramp leaves of a limit falls at once then, and has to be there by the deadline: a ramp ends as
    long before that as a limit is planned with before its start."""
    return due_by_utc_s - policy.event_lead_s


def coming(events: Iterable[GridEvent], utc_s: float, site: Site) -> Iterator[Coming]:
    """Only where something ramps down it matters what is coming."""
    ramps = any(isinstance(node.ramp_down_per_s, Limit) for node in site.nodes)
    for event in events if ramps else ():
        for interval in _from(event, utc_s):
            begins_utc_s = interval.start_utc_s - lead_s(site.policy, event)
            due_utc_s = owed_utc_s(interval.start_utc_s + event.ramp_deadline_s, site.policy)
            for signal in interval.signals if begins_utc_s > utc_s else ():
                if isinstance(signal, LimitSignal):
                    yield Coming(due_utc_s - utc_s, event.node or site.root.id, signal.power)


def next_change(events: Iterable[GridEvent], utc_s: float, policy: Policy) -> float:
    """Only a limit is planned with before it begins."""
    found = math.inf
    for event in events:
        begins_s = lead_s(policy, event)
        for interval in _from(event, utc_s):
            if interval.start_utc_s - begins_s >= found:
                break
            led_s = begins_s if _limits_load(interval) else 0.0
            edges = (interval.start_utc_s - led_s, interval.start_utc_s, interval.end_utc_s)
            found = min([found, *(edge for edge in edges if edge > utc_s)])
    return found


def _limits(event: GridEvent, interval: EventInterval) -> Iterator[Candidate]:
    due_by_utc_s = interval.start_utc_s + event.ramp_deadline_s
    for signal in interval.signals:
        if isinstance(signal, LimitSignal):
            yield signal.power, CapReason.EVENT, event.id, due_by_utc_s


def _limits_load(interval: EventInterval) -> bool:
    return any(isinstance(signal, LimitSignal) for signal in interval.signals)


def _from(event: GridEvent, utc_s: float) -> Iterator[EventInterval]:
    """The intervals that are not over. They ascend, and there may be thousands of them."""
    pieces = event.intervals
    first = bisect_right(pieces, utc_s, key=attrgetter("end_utc_s"))
    return (pieces[at] for at in range(first, len(pieces)))
