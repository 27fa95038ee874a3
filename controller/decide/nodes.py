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
MEMORY_S = 15.0
"""... and its own reading may be late. A device is read at least this often."""
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


@dataclass(frozen=True, slots=True)
class Seen:
    """The sums below a node at one moment, and its meter's watts where they were new."""

    at_s: float
    below: Below
    metered_w: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMemory:
    """Unexplained watts of a node, the time of the last meter reading they were learned from, and what was
    seen of late.
    """

    unexplained_w: float = 0.0
    at_s: float = float("-inf")
    recent: tuple[Seen, ...] = ()


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
        sample = meters[node.id]
        if sample is not None and sample.at_s <= known.at_s:
            sample = None
        if node.meter is not None:
            known = _watched(known, below[node.id].and_other(carried[node.id]), sample, now_s)
        remembered[node.id] = known
        other[node.id] = max(node.fixed, Power.up(known.unexplained_w))
        for above in ways[node.id][1:]:
            carried[above] += other[node.id].watts
    return remembered, other


def _watched(
    known: NodeMemory, below: Below, sample: Sample[MeterReading] | None, now_s: float
) -> NodeMemory:
    metered_w = sample.value.power.watts if sample is not None else None
    lately = (seen for seen in known.recent if now_s - seen.at_s <= MEMORY_S)
    known = replace(known, recent=(*lately, Seen(now_s, below, metered_w)))
    return known if sample is None else _learn(known, sample)


def _learn(known: NodeMemory, sample: Sample[MeterReading]) -> NodeMemory:
    """Move what is unexplained to where the meter, and all that was below it of late, leave room for it.

    A device may start to draw, or stop, between two of its readings: only what lasts is learned.
    """
    metered_w = [seen.metered_w for seen in known.recent if seen.metered_w is not None]
    least_w = min(metered_w) * (1 - METER_ERROR) - max(seen.below.busy_w for seen in known.recent)
    most_w = max(metered_w) * (1 + METER_ERROR) - min(seen.below.settled_w for seen in known.recent)
    elapsed_s = min(sample.at_s - known.at_s, LEARN_S)
    gain = 1 - math.exp(-elapsed_s / LEARN_S)
    learned_w = known.unexplained_w
    learned_w += gain * (min(max(learned_w, least_w), most_w) - learned_w)
    shown_w = sample.value.power.watts
    certain_w = shown_w - max(
        seen.below.worst_w for seen in known.recent if sample.at_s - seen.at_s <= METER_LAG_S
    )
    if certain_w > shown_w * METER_ERROR:
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
