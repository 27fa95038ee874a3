"""Set-points that move: a signal as a grid operator sends it for regulation, a new version every few
seconds, for minutes. Some are by best effort, others are not. It has a generator of its own: other seeds
stay as they are."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator
from dataclasses import replace

from controller.domain.grid import EventInterval, GridEvent, TargetSignal
from controller.domain.power import Limit, Power
from controller.grid.results import Accepted
from tests.sim.floor import Floor
from tests.sim.operator import UTC_S, Message, arrivals

KIND = "regulation"
EVERY_S = (2.0, 4.0)
TAU_S = (20.0, 200.0)
"""How fast a signal forgets where it was: PJM's RegD is about as quick as the first, RegA as the second."""
BASE, BAND = (0.4, 0.75), (0.03, 0.2)
"""Of the contract."""
LASTS_S = (240.0, 900.0)
PAUSES_S = 900.0
OVER_BEFORE_S = 60.0


def draw_regulation(
    seed: int, floor: Floor, calm_s: float, response_s: float, on: Collection[str]
) -> Iterator[Message]:
    if KIND not in on:
        return
    rnd = random.Random(f"{seed}/{KIND}")
    contract = floor.site.root.limit
    assert isinstance(contract, Limit)
    at_s, serial = rnd.uniform(120, 400), 0
    while at_s < calm_s - OVER_BEFORE_S:
        end_s = min(calm_s - OVER_BEFORE_S, at_s + rnd.uniform(*LASTS_S))
        event = GridEvent(
            id=f"{KIND}-{serial}",
            version_utc_s=UTC_S + at_s,
            source="operator",
            intervals=(),
            priority=rnd.choice([1, 5, 10]),
            ramp_deadline_s=response_s,
            best_effort=rnd.random() < 0.5,
        )
        yield from _versions(rnd, event, at_s, end_s, contract.power.watts, on)
        at_s, serial = end_s + rnd.expovariate(1 / PAUSES_S), serial + 1


def _versions(
    rnd: random.Random, event: GridEvent, from_s: float, end_s: float, contract_w: int, on: Collection[str]
) -> Iterator[Message]:
    every_s, tau_s = rnd.choice(EVERY_S), rnd.choice(TAU_S)
    base_w, band_w = contract_w * rnd.uniform(*BASE), contract_w * rnd.uniform(*BAND)
    kept, signal, said_s = math.exp(-every_s / tau_s), 0.0, from_s
    while said_s < end_s - 1:
        signal = kept * signal + math.sqrt(1 - kept**2) * 0.6 * rnd.gauss(0.0, 1.0)
        watts = base_w + band_w * min(1.0, max(-1.0, signal))
        piece = EventInterval(
            start_utc_s=UTC_S + from_s,
            end_utc_s=UTC_S + end_s,
            signals=(TargetSignal(Power(round(watts))),),
        )
        version = replace(event, version_utc_s=UTC_S + said_s, intervals=(piece,))
        result = Accepted(event=version, stamp=str(said_s))
        yield Message(said_s=said_s, arrives_s=tuple(arrivals(rnd, said_s, on)), result=result)
        said_s += every_s
