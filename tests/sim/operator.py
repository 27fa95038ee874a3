"""The grid operator that a seed draws: limits, set-points and prices, some updated, cancelled or overlapping.

Messages travel as a real broker delivers them: late, twice, out of order, not at all. What the site makes of
them is the ledger's work, the one that production uses.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from controller.domain.grid import (
    AlertSignal,
    CapacitySignal,
    CarbonSignal,
    EventInterval,
    GridEvent,
    LimitSignal,
    PriceSignal,
    RelativeTargetSignal,
    Signal,
    TargetSignal,
)
from controller.domain.power import Power
from controller.grid import ledger as grid_ledger
from controller.grid.entries import Ledger
from controller.grid.results import Accepted, Cancelled, MessageResult, Snapshot

UTC_S = 1_790_000_000.0
"""Wall time when the plant's clock is at 0."""
SNAPSHOT_EVERY_S = 60.0
FIRST, SECOND = "", "second"
"""Names of operators: most sites have one."""
EVERY_S = 400.0
"""How often each asks for something new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Said by the operator at `said_s`; it reaches the site at each of `arrives_s`, if ever."""

    said_s: float
    arrives_s: tuple[float, ...]
    result: MessageResult
    operator: str = ""


def draw_messages(
    rnd: random.Random,
    contract_w: int,
    calm_s: float,
    response_s: float,
    on: Collection[str],
    operator: str = "",
    every_s: float = EVERY_S,
) -> tuple[Message, ...]:
    """Everything is said before faults end, and over when they do; one limit may go on."""
    messages: list[Message] = []
    at_s, serial = rnd.uniform(20, 120), 0
    while at_s < calm_s:
        for said_s, result in _event(rnd, f"{operator}event-{serial}", at_s, contract_w, calm_s, response_s):
            arrives_s = tuple(arrivals(rnd, said_s, on))
            messages.append(Message(said_s=said_s, arrives_s=arrives_s, result=result, operator=operator))
        serial += 1
        at_s += rnd.expovariate(1 / every_s)
    return tuple(messages)


def _event(
    rnd: random.Random, name: str, said_s: float, contract_w: int, calm_s: float, response_s: float
) -> Iterator[tuple[float, MessageResult]]:
    """An event, and what is said of it later on."""
    start_s = said_s + rnd.choice([0.0, 0.0, 15.0, 60.0, rnd.uniform(60, 600)])
    goes_on = rnd.random() < 0.1
    end_s = calm_s + 86_400 if goes_on else min(calm_s - 1, start_s + rnd.choice([30, 120, 300, 900]))
    if end_s <= start_s:
        return
    least = 0.6 if goes_on else 0.2
    event = GridEvent(
        id=name,
        version_utc_s=UTC_S + said_s,
        source="operator",
        intervals=tuple(_intervals(rnd, start_s, end_s, contract_w, least)),
        priority=rnd.choice([1, 5, 5, 10]),
        ramp_deadline_s=response_s,
    )
    yield said_s, Accepted(event=event, stamp=str(said_s))
    if rnd.random() < 0.3:
        later_s = said_s + rnd.uniform(5, 200)
        if later_s < min(end_s, calm_s - 1):
            intervals = tuple(_intervals(rnd, start_s, end_s, contract_w, least))
            update = replace(event, version_utc_s=UTC_S + later_s, intervals=intervals)
            yield later_s, Accepted(event=update, stamp=str(later_s))
    if rnd.random() < 0.15:
        later_s = said_s + rnd.uniform(5, 300)
        if later_s < calm_s:
            yield later_s, Cancelled(id=name, version_utc_s=UTC_S + later_s, stamp=str(later_s))


def _intervals(
    rnd: random.Random, start_s: float, end_s: float, contract_w: int, least: float
) -> Iterator[EventInterval]:
    edges = [start_s, end_s]
    if end_s - start_s > 120 and end_s - start_s < 3600 and rnd.random() < 0.3:
        edges.insert(1, (start_s + end_s) / 2)
    for begin_s, until_s in pairwise(edges):
        yield EventInterval(
            start_utc_s=UTC_S + begin_s,
            end_utc_s=UTC_S + until_s,
            signals=(_signal(rnd, contract_w, least),),
        )


def _signal(rnd: random.Random, contract_w: int, least: float) -> Signal:
    chance = rnd.random()
    if chance < 0.04 and least < 0.5:
        return LimitSignal(Power(0))
    if chance < 0.85:
        return LimitSignal(Power(int(contract_w * rnd.uniform(least, 0.95))))
    if chance < 0.95:
        return TargetSignal(Power(int(contract_w * rnd.uniform(0.5, 1.0))))
    return PriceSignal(rnd.choice([0.0, 0.05, 0.3]))


def arrivals(rnd: random.Random, said_s: float, on: Collection[str]) -> Iterator[float]:
    if "messages_lost" in on and rnd.random() < 0.3:
        return
    late = "messages_late" in on and rnd.random() < 0.4
    yield said_s + (rnd.uniform(1, 90) if late else rnd.uniform(0.1, 0.5))
    if "messages_doubled" in on and rnd.random() < 0.4:
        yield said_s + rnd.uniform(0.2, 120)


def snapshot(messages: Collection[Message], at_s: float, seq: int) -> Snapshot:
    """Every event that the operator stands by at `at_s`, in its newest version."""
    newest: dict[str, MessageResult] = {}
    for message in sorted(messages, key=lambda message: message.said_s):
        if message.said_s <= at_s:
            match message.result:
                case Accepted(event=event):
                    newest[event.id] = message.result
                case Cancelled(id=name):
                    newest.pop(name, None)
                case _:
                    pass
    alive = {
        name: result
        for name, result in newest.items()
        if isinstance(result, Accepted) and result.event.end_utc_s > UTC_S + at_s
    }
    return Snapshot(as_of_utc_s=UTC_S + at_s, seq=seq, ids=frozenset(alive), results=tuple(alive.values()))


def received(ledger: Ledger, heard: MessageResult | Snapshot, utc_s: float) -> Ledger:
    if isinstance(heard, Snapshot):
        return grid_ledger.receive_snapshot(ledger, heard, utc_s)[0]
    return grid_ledger.receive(ledger, heard, utc_s)[0]


def events(ledger: Ledger, utc_s: float) -> tuple[GridEvent, ...]:
    return grid_ledger.events(ledger, utc_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What accepted events ask at one moment of the site's wall clock, reckoned apart from the core.

    `at_nodes` are limits of places within the site, `efforts` those by best effort; the whole site is "".
    """

    limit_w: float = math.inf
    target_w: float = math.inf
    usd_per_kwh: float | None = None
    at_nodes: Mapping[str, float] = field(default_factory=dict)
    efforts: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        return min(self.limit_w, self.target_w, self.efforts.get("", math.inf)) < math.inf


def asked(events: Collection[GridEvent], utc_s: float) -> Asked:
    """Limits combine by minimum; of targets and of prices the first by priority, newest version and id."""
    limits: dict[str, float] = {}
    efforts: dict[str, float] = {}
    targets: list[tuple[Signal, GridEvent]] = []
    prices = []
    for event in sorted(events, key=lambda event: (event.priority, -event.version_utc_s, event.id)):
        for interval in event.intervals:
            if interval.start_utc_s <= utc_s < interval.end_utc_s:
                for signal in interval.signals:
                    match signal:
                        case LimitSignal(power):
                            found = efforts if event.best_effort else limits
                            found[event.node] = min(power.watts, found.get(event.node, math.inf))
                        case TargetSignal() | RelativeTargetSignal():
                            targets.append((signal, event))
                        case PriceSignal(usd_per_kwh):
                            prices.append(usd_per_kwh)
                        case CarbonSignal() | AlertSignal() | CapacitySignal():
                            pass  # never sent here
    return Asked(
        limit_w=limits.pop("", math.inf),
        target_w=_target_w(targets),
        usd_per_kwh=prices[0] if prices else None,
        at_nodes=limits,
        efforts=efforts,
    )


def _target_w(targets: Sequence[tuple[Signal, GridEvent]]) -> float:
    """A relative one is relative to the next, or to what was drawn before; unknown, it asks for nothing."""
    target_w = math.inf
    for signal, event in reversed(targets):
        match signal:
            case TargetSignal(power):
                target_w = power.watts
            case RelativeTargetSignal(change):
                before = math.inf if event.drawn_before is None else event.drawn_before.watts
                ground_w = target_w if target_w < math.inf else before
                target_w = max(0.0, ground_w + change.watts)
            case _:
                pass
    return target_w
