"""Overlapping events -> the limit, target and price in force now, and when that next changes.

Limits combine by minimum, whatever their priority. Of targets the lowest priority number wins, then the
newest version, then the id; of prices likewise. A relative target is relative to the next target in that
order, or to what the site drew by itself where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from controller.decide import schedule
from controller.decide.schedule import AT_ONCE, Candidate, Coming, interval_at
from controller.decide.words import CapReason
from controller.domain.grid import (
    GridEvent,
    LimitSignal,
    Link,
    PriceSignal,
    RelativeTargetSignal,
    Signal,
    TargetSignal,
)
from controller.domain.power import NO_LIMIT, ZERO, Bound, Limit, Power
from controller.domain.site import LinkLost, Policy, Site

Contracts = dict[str, list[Candidate]]
"""By node, what limits it because an operator is not heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridNow:
    """What the grid asks now. `active` are the events whose windows hold now, lead time not counted,
    `announced` those of operators of which nothing has begun.

    `limit` is what the site is to stay below, lead time included; `due` is the limit that it is held to at
    this moment, `owed` that of events whose time to come down is over. `coming` are limits whose lead time
    has not begun, the next one first; `owed_in_s` says of each node that is limited by one which has begun
    when no ramp may delay that any more: never, by best effort.
    Full compliance with the limit is owed from `due_by_utc_s` on. `target` is a set-point, to be met and not
    kept away from; `target_events` make it, the first of them asks for it. The event that asks for the
    lower of both is over at `over_utc_s`. `limits_load` says that an operator asks the whole site for less
    load now: that is what a reduction is paid for. `nodes` are limits of places within the site,
    `owed_at_nodes` those of them whose time to come down is over. Where a place is asked for something by
    best effort, which is never due, `firm` is what limits it besides.
    """

    limit: Bound = NO_LIMIT
    limit_reason: CapReason = CapReason.NONE
    limit_event: str = ""
    due: Bound = NO_LIMIT
    owed: Bound = NO_LIMIT
    due_by_utc_s: float = -math.inf
    over_utc_s: float = math.inf
    target: Bound = NO_LIMIT
    target_events: tuple[str, ...] = ()
    usd_per_kwh: float | None = None
    limits_load: bool = False
    nodes: Mapping[str, Bound] = field(default_factory=dict)
    owed_at_nodes: Mapping[str, Bound] = field(default_factory=dict)
    firm: Mapping[str, Bound] = field(default_factory=dict)
    coming: tuple[Coming, ...] = ()
    owed_in_s: Mapping[str, float] = field(default_factory=dict)
    active: tuple[GridEvent, ...] = ()
    announced: tuple[GridEvent, ...] = ()
    next_change_utc_s: float = math.inf


def lost_operators(links: Mapping[str, Link], up_s: float, policy: Policy) -> frozenset[str]:
    """A link counts as lost only after the controller had `start_grace_s` to hear a first snapshot on it."""
    lost = frozenset(name for name, link in links.items() if link is Link.LOST)
    return lost if up_s >= policy.start_grace_s else frozenset()


def grid_now(events: Iterable[GridEvent], utc_s: float, lost: Set[str], site: Site) -> GridNow:
    """What holds at `utc_s`, while the `lost` operators are not heard. A limit holds `event_lead_s` early, so
    that the site is down in time."""
    places = {"", *(node.id for node in site.nodes)}  # a stored event may name one that the site file lost
    ordered = sorted(
        (event for event in events if event.node in places),
        key=lambda event: (event.priority, -event.version_utc_s, event.id),
    )
    active = tuple(event for event in ordered if interval_at(event, utc_s))
    whole = [event for event in ordered if event.node in ("", site.root.id)]
    limits = list(schedule.planned(whole, utc_s, site.policy))
    now = [
        (signal, event)
        for event in whole
        if (interval := interval_at(event, utc_s))
        for signal in interval.signals
    ]
    targets, made_by = _target(now)
    prices = [signal.usd_per_kwh for signal, _ in now if isinstance(signal, PriceSignal)]
    contracts = _contracts(active, utc_s, made_by, lost, site)
    fallback = contracts.get(site.root.id, [])
    due = list(schedule.in_force(_must(whole), utc_s))
    limit, reason, name, due_by_utc_s = _lowest([*limits, *fallback])
    lower = _lowest([*limits, *targets, *fallback])[2]
    return GridNow(
        limit=limit,
        limit_reason=reason,
        limit_event=name,
        due=_lowest([*due, *fallback])[0],
        owed=_lowest([*schedule.owed(due, utc_s, site.policy), *fallback])[0],
        due_by_utc_s=due_by_utc_s,
        over_utc_s=next((event.end_utc_s for event in whole if event.id == lower), math.inf),
        target=_lowest(targets)[0],
        target_events=made_by,
        usd_per_kwh=prices[0] if prices else None,
        limits_load=any(_asks_for_less(signal, site) for signal, event in now if not event.is_own),
        nodes=_at_nodes(ordered, utc_s, site, contracts),
        owed_at_nodes=_owed_at_nodes(ordered, utc_s, site, contracts),
        firm=_firm(ordered, utc_s, site, contracts),
        coming=tuple(sorted(schedule.coming(_must(ordered), utc_s, site))),
        owed_in_s=_owed_in_s(ordered, utc_s, site, contracts),
        active=active,
        announced=tuple(one for one in ordered if one.start_utc_s > utc_s and not one.is_own),
        next_change_utc_s=schedule.next_change(ordered, utc_s, site.policy),
    )


def _asks_for_less(signal: Signal, site: Site) -> bool:
    """A limit that leaves all that the site may draw anyway asks for nothing."""
    if not isinstance(signal, LimitSignal):
        return False
    rated = site.root.limit
    return not isinstance(rated, Limit) or signal.power < rated.power


def _target(now: list[tuple[Signal, GridEvent]]) -> tuple[list[Candidate], tuple[str, ...]]:
    """The target that holds, the first of `now`, and the events that make it, one on top of the other. A
    relative one with no known ground asks for nothing."""
    held: list[Candidate] = []
    made_by: tuple[str, ...] = ()
    for signal, event in reversed(now):
        match signal:
            case TargetSignal(power):
                held, made_by = [(power, CapReason.TARGET, event.id, AT_ONCE)], (event.id,)
            case RelativeTargetSignal(change):
                ground = held[0][0] if held else event.drawn_before
                if ground is not None:
                    held = [(max(ground + change, ZERO), CapReason.TARGET, event.id, AT_ONCE)]
                    made_by = (event.id, *made_by)
            case _:
                pass
    return held, made_by


def _owed_in_s(events: list[GridEvent], utc_s: float, site: Site, contracts: Contracts) -> dict[str, float]:
    asked: dict[str, list[tuple[Power, float]]] = {
        node: [(power, 0.0) for power, *_ in limits] for node, limits in contracts.items()
    }
    for event in events:
        for power, _, _, due_by_utc_s in schedule.planned([event], utc_s, site.policy):
            left_s = max(0.0, schedule.owed_utc_s(due_by_utc_s, site.policy) - utc_s)
            limit = power, math.inf if event.best_effort else left_s
            asked.setdefault(event.node or site.root.id, []).append(limit)
    return {node: min(limits)[1] for node, limits in asked.items()}


def _at_nodes(events: list[GridEvent], utc_s: float, site: Site, contracts: Contracts) -> dict[str, Bound]:
    found: dict[str, Bound] = {}
    for node in sorted({*contracts, *(event.node for event in events)} - {"", site.root.id}):
        here = [event for event in events if event.node == node]
        if limits := [*schedule.planned(here, utc_s, site.policy), *contracts.get(node, ())]:
            found[node] = _lowest(limits)[0]
    return found


def _firm(events: list[GridEvent], utc_s: float, site: Site, contracts: Contracts) -> dict[str, Bound]:
    """What each place is limited to without what is asked of it by best effort, where that is asked."""
    found: dict[str, Bound] = {}
    must = _must(events)
    for node in sorted({event.node or site.root.id for event in events if event.best_effort}):
        here = [one for one in must if (one.node or site.root.id) == node]
        limits = schedule.planned(here, utc_s, site.policy)
        found[node] = _lowest([*limits, *contracts.get(node, ())])[0]
    return found


def _must(events: list[GridEvent]) -> list[GridEvent]:
    """The events that are to be met in time, whatever that breaks."""
    return [event for event in events if not event.best_effort]


def _owed_at_nodes(
    events: list[GridEvent], utc_s: float, site: Site, contracts: Contracts
) -> dict[str, Bound]:
    """The limits within the site whose time to come down is over."""
    found: dict[str, Bound] = {}
    must = _must(events)
    for node in {*contracts, *(event.node for event in must)} - {"", site.root.id}:
        here = schedule.in_force([event for event in must if event.node == node], utc_s)
        if owed := [*schedule.owed(here, utc_s, site.policy), *contracts.get(node, ())]:
            found[node] = _lowest(owed)[0]
    return found


def _asks(signal: Signal, event: GridEvent, made_by: tuple[str, ...]) -> bool:
    """Whether it asks for some load, be another one followed. A relative target with no known ground asks for
    nothing."""
    if isinstance(signal, RelativeTargetSignal):
        return event.drawn_before is not None or event.id in made_by
    return isinstance(signal, LimitSignal | TargetSignal)


def _contracts(
    active: Iterable[GridEvent], utc_s: float, made_by: tuple[str, ...], lost: Set[str], site: Site
) -> Contracts:
    """The limits of the contracts for lost links, by node. Accepted events go on by their schedule; a
    contract holds where its operator, which is not heard, has none in force, whatever others ask for."""
    policy, root = site.policy, site.root.id
    going_on = {
        (event.operator, event.node or root)
        for event in active
        if not event.is_own and (interval := interval_at(event, utc_s))
        if any(_asks(signal, event, made_by) for signal in interval.signals)
    }
    own = {contract.operator for contract in policy.link_lost}
    missed = [one for one in policy.link_lost if one.operator in lost]
    if isinstance(policy.link_lost_limit, Limit):
        common = policy.link_lost_limit.power
        missed += [LinkLost(operator=name, limit=common) for name in lost - own]
    found: Contracts = {}
    for one in missed:
        node = one.node or root
        if (one.operator, node) not in going_on:
            found.setdefault(node, []).append((one.limit, CapReason.LINK_LOST, "", AT_ONCE))
    return found


def _lowest(candidates: list[Candidate]) -> tuple[Bound, CapReason, str, float]:
    if not candidates:
        return NO_LIMIT, CapReason.NONE, "", AT_ONCE
    power, reason, name, due_by_utc_s = min(candidates)
    return Limit(power), reason, name, due_by_utc_s
