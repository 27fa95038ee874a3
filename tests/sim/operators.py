"""Operators beside the first: who they are, what each asks, when it is not heard, and what its contract says
for that. A second one has nothing but its link; more than two have limits of their own for their silence, at
the site or at a place within it. Each has a generator of its own: other seeds stay as they are."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import replace

from controller.domain.power import Limit, Power
from controller.domain.site import LinkLost, Site
from tests.sim.operator import EVERY_S, FIRST, SECOND, Message, draw_messages

TWO, MORE = "operators", "more_operators"
KINDS = (TWO, MORE)
OTHERS = ("third", "fourth", "fifth")
LEAST, MOST = 0.3, 0.9
"""Of what a place is rated for, a contract leaves to it in silence."""


def operators(seed: int, on: Collection[str]) -> tuple[str, ...]:
    """The first comes first."""
    others = OTHERS[: random.Random(f"{seed}/{MORE}").randint(2, 3)] if MORE in on else ()
    return (FIRST, *((SECOND,) if TWO in on else ()), *others)


def draw_theirs(
    seed: int, contract_w: int, calm_s: float, response_s: float, on: Collection[str]
) -> Iterator[Message]:
    """What all but the first ask. The many ask less often: together they would leave nothing to do."""
    names = operators(seed, on)
    for name in names[1:]:
        rnd = random.Random(f"{seed}/{TWO}" if name == SECOND else f"{seed}/{MORE}/{name}")
        every_s = EVERY_S if name == SECOND else EVERY_S * len(names)
        yield from draw_messages(rnd, contract_w, calm_s, response_s, on, name, every_s)


def contracted(seed: int, site: Site, on: Collection[str]) -> Site:
    """Some of the many have a contract for their silence, some are held to the common limit."""
    contracts = [
        one for name in operators(seed, on) if name in OTHERS for one in _contracts(seed, site, name)
    ]
    return replace(site, policy=replace(site.policy, link_lost=(*site.policy.link_lost, *contracts)))


def _contracts(seed: int, site: Site, name: str) -> Iterator[LinkLost]:
    rnd = random.Random(f"{seed}/{MORE}/{name}/contracts")
    for node in rnd.sample([node.id for node in site.nodes], rnd.randint(0, 2)):
        rated = next(place.limit for place in site.nodes if place.id == node)
        assert isinstance(rated, Limit)
        limit = Power(int(rated.power.watts * rnd.uniform(LEAST, MOST)))
        yield LinkLost(operator=name, limit=limit, node="" if node == site.root.id else node)
