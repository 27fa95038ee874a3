"""What operators ask beside limits, set-points and prices of the whole site: limits of places within it,
limits by best effort, set-points relative to what it drew. Each kind is drawn by itself, so that other seeds
stay as they are."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import replace

from controller.domain.grid import EventInterval, GridEvent, LimitSignal, RelativeTargetSignal, Signal
from controller.domain.power import Limit, Power
from controller.grid.results import Accepted, Cancelled, MessageResult
from tests.sim.floor import Floor
from tests.sim.operator import UTC_S, Message, arrivals

KINDS = ("node_events", "best_effort", "relative_signals")
EVERY_S = {"node_events": 250.0, "best_effort": 500.0, "relative_signals": 600.0}
OVER_BEFORE_S = 1.0


def draw_asks(
    seed: int, floor: Floor, calm_s: float, response_s: float, on: Collection[str]
) -> Iterator[Message]:
    """Everything is over when faults end."""
    for kind in KINDS:
        if kind not in on:
            continue
        rnd = random.Random(f"{seed}/{kind}")
        at_s, serial = rnd.uniform(60, 200), 0
        while at_s < calm_s - 60:
            event = _event(kind, rnd, f"{kind}-{serial}", at_s, floor, calm_s)
            event = replace(event, ramp_deadline_s=response_s)
            for said_s, result in _said(rnd, event, at_s, calm_s):
                yield Message(said_s=said_s, arrives_s=tuple(arrivals(rnd, said_s, on)), result=result)
            serial += 1
            at_s += rnd.expovariate(1 / EVERY_S[kind])


def _said(
    rnd: random.Random, event: GridEvent, at_s: float, calm_s: float
) -> Iterator[tuple[float, MessageResult]]:
    yield at_s, Accepted(event=event, stamp=str(at_s))
    if rnd.random() < 0.15:
        later_s = at_s + rnd.uniform(5, 300)
        if later_s < calm_s - OVER_BEFORE_S:
            yield later_s, Cancelled(id=event.id, version_utc_s=UTC_S + later_s, stamp=str(later_s))


def _event(kind: str, rnd: random.Random, name: str, at_s: float, floor: Floor, calm_s: float) -> GridEvent:
    start_s = min(calm_s - 30, at_s + rnd.choice([0.0, 15.0, 60.0, rnd.uniform(60, 400)]))
    end_s = min(calm_s - OVER_BEFORE_S, start_s + rnd.choice([60, 120, 300, 900]))
    node, signal = _place(kind, rnd, floor), _signal(kind, rnd, floor)
    rated = next(place.limit for place in floor.site.nodes if place.id == (node or floor.site.root.id))
    assert isinstance(rated, Limit)
    if signal is None:
        share = 0.0 if rnd.random() < 0.1 else rnd.uniform(0.2, 0.95)
        signal = LimitSignal(Power(int(share * rated.power.watts)))
    piece = EventInterval(start_utc_s=UTC_S + start_s, end_utc_s=UTC_S + end_s, signals=(signal,))
    return GridEvent(
        id=name,
        version_utc_s=UTC_S + at_s,
        source="operator",
        intervals=(piece,),
        priority=rnd.choice([1, 5, 10]),
        node=node,
        best_effort=kind == "best_effort",
    )


def _place(kind: str, rnd: random.Random, floor: Floor) -> str:
    """Racks of GPUs are few, and jobs are set aside for nothing else as often."""
    nodes = [node.id for node in floor.site.nodes[1:]]
    racks = [node for node in nodes if node.startswith("gpu")]
    where = rnd.choice([rnd.choice(nodes), rnd.choice(racks)])
    whole = kind == "relative_signals" or (kind == "best_effort" and rnd.random() < 0.5)
    return "" if whole else where


def _signal(kind: str, rnd: random.Random, floor: Floor) -> Signal | None:
    if kind != "relative_signals":
        return None
    contract = floor.site.root.limit
    assert isinstance(contract, Limit)
    return RelativeTargetSignal(Power(-int(contract.power.watts * rnd.uniform(0.1, 0.6))))
