"""What a sudden step down sheds beyond the step, so that it is over in time whatever a few machines do.

A draw that decays never reaches an exact target, and of many machines some refuse, do not answer or lie: that
is seen only seconds later. A step that is announced has that time, and needs no more than the usual margin.
"""

from __future__ import annotations

import math

import numpy as np

from controller.decide.limits import Limits, StepMargin
from controller.decide.snapshot import Snapshot
from controller.domain.power import Limit
from controller.domain.site import Policy

LARGE = 0.1
"""A site that must lose more than this share of what it may draw is taking a step."""
REFILL_S = 30.0
"""Time constant with which what was shed too much is given back."""


def step_margin(
    before: StepMargin, limits: Limits, seen: Snapshot, policy: Policy, now_s: float
) -> StepMargin:
    """The margin now: a share of what the root may draw too much, and what is left of one from before.

    Only what is due already counts: before an event begins there is time to see who obeys. Where the share is
    less than one machine, a step is too few machines for it to mean anything.
    """
    left_w = before.watts * math.exp(-max(0.0, now_s - before.at_s) / REFILL_S)
    if isinstance(limits.due, Limit):
        worst_w = int(seen.worst_w[0])
        excess_w = worst_w - limits.due.power.watts
        share_w = policy.step_margin * excess_w
        if excess_w > LARGE * worst_w and share_w >= seen.fleet.top_w.max(initial=0):
            left_w = max(left_w, share_w)
    return StepMargin(watts=left_w if left_w >= 1 else 0.0, at_s=now_s)


def kept_free(limits: Limits, margin: StepMargin, seen: Snapshot) -> Limits:
    """`limits` with an aim that leaves the margin free, as far as miners can: no job is set aside for it."""
    if margin.watts == 0:
        return limits
    fleet, known = seen.fleet, seen.columns
    jobs_w = np.where(known.seen, np.where(fleet.gpu, known.now_w, fleet.floor_w), known.worst_w)
    least_w = min(limits.aim_w, int(jobs_w.sum() + seen.beside_w[0]))
    return limits.aimed_at(max(least_w, limits.aim_w - math.ceil(margin.watts)))
