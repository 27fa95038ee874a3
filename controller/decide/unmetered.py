"""Nodes without a meter that shows anything: the nearest one above shows how much more is drawn than claimed.

A meter is trusted, and claims divide it: what it shows beyond the claims, and lower meters do not explain, is
drawn by all machines that no lower meter measures, in proportion to what they can claim. It may as well be
load of somebody's own, which the site file should name. Until it does, a breaker is used for less, not more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set

import numpy as np

from controller.decide.arrays import Floats, Ints
from controller.decide.ground import Ground, nearest
from controller.decide.metering import KNOWN, NodeMemory
from controller.decide.outclaimed import CLAIM_ERROR
from controller.decide.plan import UNLIMITED_W

MOST_HIDDEN = CLAIM_ERROR
"""What is more is no machine's."""


def hidden_shares(
    ground: Ground, memory: Mapping[str, NodeMemory], top_w: Ints, blind: Set[int] = frozenset()
) -> Floats:
    """The share of what is claimed by which more may be drawn at each node that has no meter to show it, or
    one that is `blind`: as the next one above shows it then, and no less than that one had shown below it
    itself. Below each node devices can claim `top_w`."""
    shares = _shares(ground, memory, top_w, ground.meter)
    if blind:
        next_above = nearest(ground.tree, set(ground.meter.tolist()) - blind)
        shares = np.maximum(shares, _shares(ground, memory, top_w, next_above))
    return shares


def _shares(ground: Ground, memory: Mapping[str, NodeMemory], top_w: Ints, meter: Ints) -> Floats:
    tree, none = ground.tree, ground.tree.none
    is_metered = meter == np.arange(none)
    metered = np.flatnonzero(is_metered)
    found = np.zeros(none + 1)
    # Of each meter, what no lower one measures.
    here_w = top_w.copy()
    above = np.append(meter, none)[tree.parent[metered]]  # the root's parent is none
    lower = above != none
    np.subtract.at(here_w, above[lower], top_w[metered[lower]])
    for at in metered[here_w[metered] > 0].tolist():
        beyond = memory[tree.ids[at]].beyond.planned()
        all_w, measured_w = int(top_w[at]), int(here_w[at])
        full_w = max(beyond.most_w, KNOWN * all_w)
        found[at] = min(MOST_HIDDEN, beyond.at(full_w) / (full_w * measured_w / all_w))
    shares: Floats = np.where(is_metered, 0.0, found[meter])
    return shares


def blind_nodes(ground: Ground, memory: Mapping[str, NodeMemory], up_s: float) -> frozenset[int]:
    """The nodes whose meter shows nothing: it shows what cannot be, or was never heard since a start that is
    `up_s` ago. One that falls silent leaves behind what it showed."""
    waits = up_s < ground.site.policy.start_grace_s
    return frozenset(
        at
        for name, known in memory.items()
        if known.contradicts or (known.at_s == -math.inf and not waits)
        for at in (ground.tree.index[name],)
        if not ground.tree.isolated[at]
    )


def spared(usable_w: Ints, shares: Floats, other_w: Ints) -> Ints:
    """What devices may claim of `usable_w`, of which `other_w` is no device's, where they draw by such
    `shares` more."""
    own_w = np.maximum(0, usable_w - other_w)
    hidden_w = np.ceil(own_w * (shares / (1 + shares))).astype(np.int64)
    return np.where((shares > 0) & (usable_w != UNLIMITED_W), usable_w - hidden_w, usable_w)


def with_hidden_w(claimed_w: Ints, shares: Floats, other_w: Ints) -> Ints:
    """The least bound of each node of which `spared` leaves it so much."""
    hidden_w = np.ceil(np.maximum(0, claimed_w - other_w) * shares).astype(np.int64)
    short = spared(claimed_w + hidden_w, shares, other_w) < claimed_w  # by what a float is wrong
    bound_w: Ints = claimed_w + hidden_w + short
    return bound_w
