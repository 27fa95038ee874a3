"""The electrical tree as its meters show it: what each node carries that no device claims.

Leaves come first, so that what a lower meter explains is not unexplained again above it. No two meters are
read in the same moment: what one shows a little later than the one above it is given back there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from controller.decide.arrays import Ints
from controller.decide.beyond import NOTHING, OtherLoad
from controller.decide.inputs import Sample
from controller.decide.metering import (
    MEMORY_S,
    Claims,
    Learned,
    NodeMemory,
    Seen,
    lately,
    shown_w,
    watched,
)
from controller.decide.stuck import contradicted, stands_still, stuck_before
from controller.decide.sums import Below, Sums
from controller.decide.tree import Tree, sum_up
from controller.domain.devices import MeterReading
from controller.domain.site import Site


def fresh(
    meters: Mapping[str, Sample[MeterReading]], meter: str | None, now_s: float, stale_after_s: float
) -> Sample[MeterReading] | None:
    """The meter's reading if it is fresh. A node without a meter has none."""
    sample = meters.get(meter) if meter is not None else None
    return None if sample is None or now_s - sample.at_s > stale_after_s else sample


def reconcile(
    site: Site,
    tree: Tree,
    sums: Sums,
    memory: Mapping[str, NodeMemory],
    meters: Mapping[str, Sample[MeterReading] | None],
    now_s: float,
    never_w: Ints,
) -> tuple[dict[str, NodeMemory], OtherLoad]:
    """Update what is unexplained at every metered node; return it with each node's own other load. Of what
    devices below each node counted for, they say by now that `never_w` was never drawn.
    """
    remembered: dict[str, NodeMemory] = {}
    fixed_w = np.where(tree.isolated, 0, [node.fixed.watts for node in site.nodes])
    other_w, carried_w = fixed_w.copy(), sum_up(tree, fixed_w) - fixed_w
    before = {node.id: memory.get(node.id, NodeMemory()) for node in site.nodes if node.meter is not None}
    recently = {name: lately(known, now_s, int(never_w[tree.index[name]])) for name, known in before.items()}
    back: dict[str, list[str]] = {}
    news = _news(before, meters)
    shown = {
        tree.index[name]: (*shown_w(recently[name]), sample.value.power.watts)
        for name, sample in news.items()
    }
    for at in range(len(site.nodes) - 1, -1, -1):
        node = site.nodes[at]
        if node.meter is None:
            continue
        below = sums.below(at, int(carried_w[at]))
        known = _as_handed_on(before[node.id], below, int(fixed_w[at]))
        away = [before[name].above for name in back.get(node.id, ())]
        known = _given_back(known, recently[node.id], below, away)
        here = shown.get(at, ())
        stuck = stuck_before(known.standing, here)
        if stands_still(here):
            loads_w = sums.worst_w + carried_w + other_w
            loads_w[at] += max(0, math.ceil(known.moved_w) - int(fixed_w[at]))
            stuck = contradicted(at, shown, loads_w.tolist(), tree, before=stuck)
        now = Seen(now_s, below, here[-1] if here else None, known.learned)
        recent = (*recently[node.id], now)
        claims = Claims(int(carried_w[at]), int(fixed_w[at]), int(sums.top_w[at]))
        above = next((tree.ids[up] for up in tree.paths[at][1:] if tree.ids[up] in before), node.id)
        if here and MEMORY_S < now_s - known.at_s < math.inf:
            back.setdefault(above, []).append(node.id)
        known = watched(known, recent, news.get(node.id), here, claims, before[above].learned, stuck=stuck)
        remembered[node.id] = known
        beyond_fixed_w = math.ceil(known.unexplained_w) - int(fixed_w[at])
        if beyond_fixed_w > 0:
            other_w[at] += beyond_fixed_w
            carried_w[list(tree.paths[at][1:])] += beyond_fixed_w
    for above, names in back.items():
        for name in names:
            remembered[name] = replace(remembered[name], above=remembered[above].learned)
    return remembered, _other_load(site, remembered, other_w, fixed_w)


def _other_load(site: Site, known: Mapping[str, NodeMemory], now_w: Ints, fixed_w: Ints) -> OtherLoad:
    learned = [known[node.id].beyond.planned() if node.id in known else NOTHING for node in site.nodes]
    return OtherLoad(
        now_w=now_w,
        fixed_w=fixed_w + np.array([beyond.fixed_w for beyond in learned]),
        share=np.array([beyond.share for beyond in learned]),
    )


def _as_handed_on(known: NodeMemory, below: Below, fixed_w: int) -> NodeMemory:
    """Until its meter is heard for the first time a node has what an earlier process knew of it, or the meter
    above, heard before it, would have it too."""
    if known.at_s > -math.inf or known.beyond == NOTHING:
        return known
    return replace(known, unexplained_w=fixed_w + known.beyond.at(below.settled_w - below.other_w))


def _given_back(
    known: NodeMemory, lately: Sequence[Seen], below: Below, away: Sequence[Learned]
) -> NodeMemory:
    """What a meter below shows only now is what this one showed of late already, so far as it did, or since
    one below it fell silent that is back now (`away` is what had been learned by then): no two are read at
    once. If it is not, the meter itself goes on to show it."""
    more_w = below.other_w - lately[-1].below.other_w if lately else 0
    if more_w <= 0:
        return known
    learned = [*away, *(seen.learned for seen in lately)]
    was = min(learned, key=lambda then: then.unexplained_w)
    new_w = known.unexplained_w - was.unexplained_w
    if new_w <= 0:
        return known
    back = min(1.0, more_w / new_w)
    beyond = known.beyond._replace(
        fixed_w=known.beyond.fixed_w + back * (was.beyond.fixed_w - known.beyond.fixed_w),
        share=known.beyond.share + back * (was.beyond.share - known.beyond.share),
    )
    return replace(known, unexplained_w=known.unexplained_w - back * new_w, beyond=beyond)


def _news(
    before: Mapping[str, NodeMemory], meters: Mapping[str, Sample[MeterReading] | None]
) -> dict[str, Sample[MeterReading]]:
    """The readings that were not seen before, by node."""
    return {
        name: sample
        for name, known in before.items()
        if (sample := meters[name]) is not None and sample.at_s > known.at_s
    }
