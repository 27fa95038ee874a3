"""Metrics of grid events: which are in force, what each asks for, and what its sender is told."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from prometheus_client.metrics_core import Metric

from controller.decide.schedule import interval_at
from controller.domain.grid import (
    AlertSignal,
    CapacitySignal,
    CarbonSignal,
    EventStatus,
    LimitSignal,
    Link,
    PriceSignal,
    RelativeTargetSignal,
    TargetSignal,
)
from controller.run.board import Tick
from controller.run.metrics.families import gauge, keyed, plain


def event_metrics(tick: Tick) -> Iterator[Metric]:
    yield from _standings(tick)
    yield from _signals(tick)


def _standings(tick: Tick) -> Iterator[Metric]:
    link, standings = tick.inputs.link, tick.plan.standings
    up = [(("grid",), link is Link.UP)] if link is not Link.NONE else []
    statuses = (((standing.event, standing.status), 1) for standing in standings)
    short = (((s.event,), s.possible.watts) for s in standings if s.status is EventStatus.INFEASIBLE)
    change_s = tick.plan.next_change_utc_s
    change = [((), change_s)] if isfinite(change_s) else []
    yield gauge("link_up", "1 while the link is trusted; absent where there is none", up, "link")
    yield plain("events_active", "Grid events whose window holds now", len(standings))
    yield gauge(
        "event_status", "What an active event's sender is told; always 1", statuses, "event", "status"
    )
    says = "The draw nearest to what an infeasible event asks for; absent for all others"
    yield gauge("event_possible_watts", says, short, "event")
    yield from _announced(tick)
    yield gauge("next_event_change_timestamp_seconds", "When events next change something, Unix time", change)


def _announced(tick: Tick) -> Iterator[Metric]:
    outlooks = tick.plan.outlooks
    short = (((one.event,), one.possible.watts) for one in outlooks if one.status is EventStatus.INFEASIBLE)
    says = "Events of operators that have not begun, and will ask for a limit or a set-point"
    yield plain("events_announced", says, len(outlooks))
    says = "The draw nearest to what an announced event cannot have as things are; absent for all others"
    yield gauge("event_foretold_watts", says, short, "event")


def _signals(tick: Tick) -> Iterator[Metric]:
    """What each active event asks for by itself; the cap in force is the least of all limits."""
    limits: dict[tuple[str, str], int] = {}
    targets: dict[tuple[str, str], int] = {}
    relative: dict[tuple[str, str], int] = {}
    prices: dict[str, float] = {}
    carbon: dict[str, float] = {}
    alerts: dict[tuple[str, str], int] = {}
    capacities: dict[tuple[str, str], int] = {}
    for event in tick.inputs.events:
        interval, place = interval_at(event, tick.inputs.utc_s), (event.id, event.node)
        for signal in interval.signals if interval is not None else ():
            match signal:
                case LimitSignal(power):
                    limits[place] = min(power.watts, limits.get(place, power.watts))
                case TargetSignal(power):
                    targets[place] = power.watts
                case RelativeTargetSignal(power):
                    relative[place] = power.watts
                case PriceSignal(usd_per_kwh):
                    prices[event.id] = usd_per_kwh
                case CarbonSignal(grams_per_kwh):
                    carbon[event.id] = grams_per_kwh
                case AlertSignal(alert, _):
                    alerts[event.id, alert] = 1
                case CapacitySignal(capacity, power):
                    capacities[event.id, capacity] = power.watts
    where = ("event", "node")
    yield gauge("event_limit_watts", "The limit an active event sets", limits.items(), *where)
    yield gauge("event_target_watts", "The draw an active event asks for", targets.items(), *where)
    says = "The change of draw an active event asks for"
    yield gauge("event_relative_target_watts", says, relative.items(), *where)
    yield gauge("event_price_usd_per_kwh", "The price an active event sets", keyed(prices), "event")
    says = "Emissions of energy by an active event"
    yield gauge("event_carbon_grams_per_kwh", says, keyed(carbon), "event")
    yield gauge("event_alert", "A warning of the operator; always 1", alerts.items(), "event", "alert")
    says = "Import capacity that was subscribed, reserved or is offered"
    yield gauge("event_capacity_watts", says, capacities.items(), "event", "capacity")
