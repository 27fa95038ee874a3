"""The electrical tree: what each node may carry, what its meter shows, what nobody accounts for.

A meter is trusted, claims divide it. What a meter shows beyond the worst case of everything below it is
certain to be unexplained and counts at once; what it shows beyond the claimed draws is learned slowly,
and only while nothing below is changing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from controller.decide.plan import Sample
from controller.domain.devices import MeterReading
from controller.domain.power import ZERO, Power
from controller.domain.site import Site

METER_LAG_S = 6.0
"""A meter may show what devices drew this long ago."""
LEARN_S = 30.0
"""Time constant with which unexplained load is learned while nothing changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMemory:
    """Unexplained watts of a metered node, and the recent worst cases its late meter is compared with."""

    unexplained_w: float = 0.0
    at_s: float = float("-inf")
    recent: tuple[tuple[float, int], ...] = ()
    unsettled_s: float = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """Sums over every device below a node."""

    worst_w: int = 0
    draw_w: int = 0
    changing: int = 0


def fresh_power(
    meters: Mapping[str, Sample[MeterReading]], meter: str | None, now_s: float, stale_after_s: float
) -> Power | None:
    """The meter's power if it is fresh. A node without a meter has none."""
    sample = meters.get(meter) if meter is not None else None
    if sample is None or now_s - sample.at_s > stale_after_s:
        return None
    return sample.value.power


def ancestors(site: Site) -> dict[str, tuple[str, ...]]:
    """Each node's way up: itself first, the root last."""
    ways: dict[str, tuple[str, ...]] = {}
    for node in site.nodes:
        ways[node.id] = (node.id, *(ways[node.parent] if node.parent is not None else ()))
    return ways


def sum_below(
    site: Site, ways: Mapping[str, tuple[str, ...]], devices: Iterable[tuple[str, Power, Power, bool]]
) -> dict[str, Below]:
    """Sums per node over `(node, worst, draw, changing)` of every device."""
    worst = dict.fromkeys(ways, 0)
    draw = dict.fromkeys(ways, 0)
    changing = dict.fromkeys(ways, 0)
    for node, device_worst, device_draw, device_changing in devices:
        for above in ways[node]:
            worst[above] += device_worst.watts
            draw[above] += device_draw.watts
            changing[above] += device_changing
    return {
        node.id: Below(worst_w=worst[node.id], draw_w=draw[node.id], changing=changing[node.id])
        for node in site.nodes
    }


def reconcile(
    site: Site,
    ways: Mapping[str, tuple[str, ...]],
    below: Mapping[str, Below],
    memory: Mapping[str, NodeMemory],
    metered: Mapping[str, Power | None],
    now_s: float,
) -> tuple[dict[str, NodeMemory], dict[str, Power]]:
    """Update what is unexplained at every metered node; return it with each node's own other load.

    Leaves first, so that what a lower meter explains is not unexplained again above it.
    """
    remembered: dict[str, NodeMemory] = {}
    other: dict[str, Power] = {}
    carried = dict.fromkeys(ways, 0)
    for node in reversed(site.nodes):
        known = memory.get(node.id, NodeMemory())
        power = metered[node.id]
        if power is not None:
            explained = below[node.id].worst_w + carried[node.id]
            claimed = below[node.id].draw_w + carried[node.id]
            known = _learn(known, power.watts, explained, claimed, below[node.id].changing, now_s)
        remembered[node.id] = known
        other[node.id] = max(node.fixed, Power.up(known.unexplained_w))
        for above in ways[node.id][1:]:
            carried[above] += other[node.id].watts
    return remembered, other


def _learn(
    known: NodeMemory, metered_w: int, worst_w: int, claimed_w: int, changing: int, now_s: float
) -> NodeMemory:
    recent = (*((at, w) for at, w in known.recent if now_s - at <= METER_LAG_S), (now_s, worst_w))
    certain_w = metered_w - max(w for _, w in recent)
    unexplained_w = known.unexplained_w
    unsettled_s = now_s if changing else known.unsettled_s
    if now_s - unsettled_s > METER_LAG_S:
        elapsed_s = min(now_s - known.at_s, LEARN_S) if math.isfinite(known.at_s) else LEARN_S
        gain = 1 - math.exp(-elapsed_s / LEARN_S)
        unexplained_w += gain * (metered_w - claimed_w - unexplained_w)
    return replace(
        known,
        unexplained_w=max(unexplained_w, float(certain_w), 0.0),
        at_s=now_s,
        recent=recent,
        unsettled_s=unsettled_s,
    )


def other_below(
    site: Site, ways: Mapping[str, tuple[str, ...]], other: Mapping[str, Power]
) -> dict[str, Power]:
    """The other load of each node and of everything below it."""
    sums = dict.fromkeys(ways, ZERO)
    for node in site.nodes:
        for above in ways[node.id]:
            sums[above] += other[node.id]
    return sums
