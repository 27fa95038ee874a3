"""The electrical tree: what each node may carry, what its meter shows, what nobody accounts for.

A meter is trusted, claims divide it. What a meter shows beyond the worst case of everything below it is
certain to be unexplained and counts at once; what it shows beyond the claimed draws is learned slowly, and
only so far as what is changing below cannot explain it.
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
METER_MEMORY_S = 15.0
"""... and this long ago, where its reading was not fresh when it came."""
METER_ERROR = 0.005
"""A meter may be wrong by this share: following that would have machines going up and down with noise."""
LEARN_S = 30.0
"""Time constant with which unexplained load is learned, and unlearned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """Sums over every device below a node.

    A device that is silent or changing draws something between nothing and its worst: `settled_w` has it at
    nothing, `busy_w` at its worst; both have all others at what they claim. `worst_w` has all at their worst.
    """

    worst_w: int = 0
    busy_w: int = 0
    settled_w: int = 0

    def and_other(self, watts: int) -> Below:
        return Below(
            worst_w=self.worst_w + watts, busy_w=self.busy_w + watts, settled_w=self.settled_w + watts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMemory:
    """Unexplained watts of a node, the time of the last meter reading they were learned from, and the recent
    sums below that its late meter is compared with.
    """

    unexplained_w: float = 0.0
    at_s: float = float("-inf")
    recent: tuple[tuple[float, Below], ...] = ()


def fresh(
    meters: Mapping[str, Sample[MeterReading]], meter: str | None, now_s: float, stale_after_s: float
) -> Sample[MeterReading] | None:
    """The meter's reading if it is fresh. A node without a meter has none."""
    sample = meters.get(meter) if meter is not None else None
    return None if sample is None or now_s - sample.at_s > stale_after_s else sample


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
    busy = dict.fromkeys(ways, 0)
    settled = dict.fromkeys(ways, 0)
    for node, device_worst, device_draw, changing in devices:
        for above in ways[node]:
            worst[above] += device_worst.watts
            busy[above] += device_worst.watts if changing else device_draw.watts
            settled[above] += 0 if changing else device_draw.watts
    return {name: Below(worst_w=worst[name], busy_w=busy[name], settled_w=settled[name]) for name in ways}


def reconcile(
    site: Site,
    ways: Mapping[str, tuple[str, ...]],
    below: Mapping[str, Below],
    memory: Mapping[str, NodeMemory],
    meters: Mapping[str, Sample[MeterReading] | None],
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
        if node.meter is not None:
            known = _watched(known, below[node.id].and_other(carried[node.id]), now_s)
        sample = meters[node.id]
        if sample is not None and sample.at_s > known.at_s:
            known = _learn(known, sample)
        remembered[node.id] = known
        other[node.id] = max(node.fixed, Power.up(known.unexplained_w))
        for above in ways[node.id][1:]:
            carried[above] += other[node.id].watts
    return remembered, other


def _watched(known: NodeMemory, below: Below, now_s: float) -> NodeMemory:
    recent = ((at_s, then) for at_s, then in known.recent if now_s - at_s <= METER_MEMORY_S)
    return replace(known, recent=(*recent, (now_s, below)))


def _learn(known: NodeMemory, sample: Sample[MeterReading]) -> NodeMemory:
    """Move what is unexplained to where the meter and all that may have been below it leave room for it."""
    then = [below for at_s, below in known.recent if sample.at_s - at_s <= METER_LAG_S]
    metered_w = sample.value.power.watts
    error_w = metered_w * METER_ERROR
    least_w = metered_w - error_w - max(below.busy_w for below in then)
    most_w = metered_w + error_w - min(below.settled_w for below in then)
    elapsed_s = min(sample.at_s - known.at_s, LEARN_S)
    gain = 1 - math.exp(-elapsed_s / LEARN_S)
    learned_w = known.unexplained_w
    learned_w += gain * (min(max(learned_w, least_w), most_w) - learned_w)
    certain_w = metered_w - max(below.worst_w for below in then)
    if certain_w > error_w:
        learned_w = max(learned_w, certain_w)
    return replace(known, unexplained_w=max(learned_w, 0.0), at_s=sample.at_s)


def other_below(
    site: Site, ways: Mapping[str, tuple[str, ...]], other: Mapping[str, Power]
) -> dict[str, Power]:
    """The other load of each node and of everything below it."""
    sums = dict.fromkeys(ways, ZERO)
    for node in site.nodes:
        for above in ways[node.id]:
            sums[above] += other[node.id]
    return sums
