"""Breakers that open by nuisance: without overload, at any level of the tree, until a person has walked
there.

Contacts, a trip unit's own fault, an electrician's elbow: what is below goes dark at once, and all of it
boots by itself when the breaker is closed again. Trips have a generator of their own: other seeds stay as
they are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from tests.sim.knobs import Draw, Knob

KIND = "nuisance_trips"
PER_HOUR = 2.5
WALKS_S = (120.0, 1500.0)
"""Somebody is near, or has to come, find out why, and dare to close it."""
TRIES_AGAIN, AGAIN_S = 0.3, (5.0, 60.0)
"""How often it opens once more soon after it was closed, and after how long."""


def draw_trips(seed: int, draw: Draw) -> Iterator[Knob]:
    if KIND not in draw.on:
        return
    draw = replace(draw, random=random.Random(f"{seed}/{KIND}"))
    nodes = [node.id for node in draw.floor.plant.nodes]
    levels = sorted({name.split("-")[0] for name in nodes} - {"site"})
    for at_s in draw.times(PER_HOUR):
        level = draw.random.choice(levels)
        node = draw.random.choice([name for name in nodes if name.split("-")[0] == level])
        node = nodes[0] if draw.random.random() < 0.05 else node
        begin_s, end_s = draw.span(at_s, *WALKS_S)
        yield Knob(at_s=begin_s, until_s=end_s, part=node, fault="breaker_open")
        if draw.random.random() < TRIES_AGAIN:
            begin_s, end_s = draw.span(min(draw.calm_s, end_s + draw.random.uniform(*AGAIN_S)), *WALKS_S)
            if begin_s < end_s:
                yield Knob(at_s=begin_s, until_s=end_s, part=node, fault="breaker_open")
