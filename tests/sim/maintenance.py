"""Places that are taken out of service: drained, switched off, and given back; and those that are built yet,
and come into service later, or come up before anybody said so."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, replace

from controller.domain.site import Service, Site
from tests.sim.floor import Floor

KIND, BUILT = "maintenance", "commissioning"
KINDS = (KIND, BUILT)
DRAINED_WITHIN_S = 100.0
"""Where no ramp holds it back; the next one comes to switch it off no sooner."""
RESTART_S = 3.0
"""The service is in the site's file: a new process reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """The voltage is gone from `opened_s` until `closed_s`. Where that is before `back_s`, what is below
    comes up unexpected."""

    node: str
    drained_s: float
    isolated_s: float
    opened_s: float
    back_s: float
    closed_s: float


def draw_maintenance(seed: int, floor: Floor, calm_s: float, on: Collection[str]) -> tuple[Maintenance, ...]:
    if KIND not in on:
        return ()
    rnd = random.Random(f"{seed}/{KIND}")
    node = rnd.choice([place.id for place in floor.site.nodes[1:]])
    drained_s = rnd.uniform(60, max(61, calm_s - 300))
    isolated_s = drained_s + DRAINED_WITHIN_S + rnd.uniform(15, 60)
    back_s = isolated_s + rnd.uniform(40, 200)
    closed_s = back_s + rnd.uniform(40, 60)
    if closed_s > calm_s:
        return ()  # a run too short for it; when faults end, breakers are closed
    return (
        Maintenance(
            node=node,
            drained_s=drained_s,
            isolated_s=isolated_s,
            opened_s=isolated_s + rnd.choice([-10, 30]),
            back_s=back_s,
            closed_s=closed_s,
        ),
    )


def draw_commissioning(
    seed: int, floor: Floor, calm_s: float, on: Collection[str]
) -> tuple[Maintenance, ...]:
    """A breaker without voltage from the start; an electrician may close it too early."""
    if BUILT not in on:
        return ()
    rnd = random.Random(f"{seed}/{BUILT}")
    node = rnd.choice([place.id for place in floor.site.nodes if place.id.startswith("brk")])
    back_s = rnd.uniform(320, max(321, calm_s - 120))
    closed_s = back_s + (rnd.uniform(-260, -180) if rnd.random() < 0.5 else rnd.uniform(40, 60))
    if max(back_s, closed_s) > calm_s:
        return ()
    return (Maintenance(node=node, drained_s=0, isolated_s=0, opened_s=0, back_s=back_s, closed_s=closed_s),)


def in_service(site: Site, node: str, service: Service) -> Site:
    nodes = (replace(place, service=service) if place.id == node else place for place in site.nodes)
    return replace(site, nodes=tuple(nodes))
