"""Small sites with one thing that is asked of them, under controllers that are bad on purpose."""

from __future__ import annotations

from controller.domain.grid import EventInterval, GridEvent, LimitSignal, Signal
from controller.domain.power import Power
from controller.grid.results import Accepted
from tests.sim.operator import UTC_S, Message
from tests.sim.process import Decide, checked
from tests.sim.world import World

DEVICES, DURATION_S = 24, 600.0
LIMIT_S, OVER_S = 350.0, 500.0
RESPONSE_S = 30.0


def said(
    signal: Signal | Power,
    *,
    node: str = "",
    from_s: float = LIMIT_S,
    until_s: float = OVER_S,
    said_s: float = 100.0,
    best_effort: bool = False,
    response_s: float = RESPONSE_S,
) -> Message:
    """What the operator asks for, said in good time; a power is a limit."""
    signals = (LimitSignal(signal) if isinstance(signal, Power) else signal,)
    event = GridEvent(
        id=f"{node}-{from_s}",
        version_utc_s=UTC_S + said_s,
        source="operator",
        intervals=(EventInterval(start_utc_s=UTC_S + from_s, end_utc_s=UTC_S + until_s, signals=signals),),
        ramp_deadline_s=response_s,
        node=node,
        best_effort=best_effort,
    )
    return Message(said_s=said_s, arrives_s=(said_s,), result=Accepted(event=event, stamp=str(said_s)))


def found(
    seed: int, *messages: Message, decide: Decide = checked, duration_s: float = DURATION_S
) -> dict[str, set[str]]:
    """What the judge finds, and where; no other faults, and nothing else is asked."""
    world = World(seed, duration_s, DEVICES, only=(), decide=decide, messages=messages)
    world.run()
    return kinds_of(world)


def kinds_of(world: World) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = {}
    for breach in world.court.verdict.unexcused:
        kinds.setdefault(breach.what, set()).add(breach.where)
    return kinds
