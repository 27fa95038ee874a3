"""When a controller that starts takes its site over: before that it tells nobody anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from controller.decide.columns import CODE
from controller.decide.inputs import Inputs
from controller.decide.limits import Limits
from controller.decide.snapshot import Snapshot, State
from controller.decide.tree import load
from controller.decide.words import Truth
from controller.domain.site import Site


def readiness(site: Site, state: State, inputs: Inputs, seen: Snapshot, limits: Limits) -> State:
    """The site is taken over once all was heard, or had its time, or the meter shows the cap passed. Who may
    rise beyond a limit, whatever the silent draw, waits half of that time for them."""
    if state.ready_s is not None:
        return state
    first_s = inputs.now_s if state.first_s is None else state.first_s
    whole = bool(((seen.columns.truth != CODE[Truth.UNREACHABLE]) | seen.fleet.isolated).all())
    whole = whole and not inputs.unheard_queues and not any(price.awaited for price in inputs.prices_now)
    grace_s, waited_s = site.policy.start_grace_s, inputs.now_s - first_s
    ready = whole or waited_s >= grace_s or _cap_passed(site, seen, limits) or _claims_pass(seen, limits)
    ready = ready or (waited_s >= grace_s / 2 and _heard_may_pass(seen, limits))
    return replace(state, first_s=first_s, ready_s=inputs.now_s if ready else None)


def _cap_passed(site: Site, seen: Snapshot, limits: Limits) -> bool:
    metered = seen.metered.get(site.root.id)
    return metered is not None and metered.watts > limits.held_w[0]


def _claims_pass(seen: Snapshot, limits: Limits) -> bool:
    """Whether what answers claims more than a node's limit already, whatever the silent draw."""
    return bool((seen.claimed_w > limits.held_w).any())


def _heard_may_pass(seen: Snapshot, limits: Limits) -> bool:
    """Whether what answers may come to more than a node's limit, whatever the silent draw, or may rise beyond
    it from what a meter shows of all together."""
    known = seen.columns
    may_w = seen.carried_w(np.where(known.seen, known.worst_w, 0))
    rise_w = load(seen.tree, seen.fleet.node, np.where(known.seen, known.worst_w - known.draw_w, 0))
    for name, watts in seen.metered.items():
        if watts is not None:
            node = seen.tree.index[name]
            may_w[node] = max(may_w[node], watts.watts + rise_w[node])
    return bool((may_w > limits.held_w).any())
