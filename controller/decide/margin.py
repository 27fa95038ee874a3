"""What a sudden step down sheds beyond the step, so that it is over in time whatever a few machines do.

A draw that decays never reaches an exact target, and of many machines some refuse, do not answer or lie: that
is seen only seconds later. A step that is announced for the whole of the lead time has those seconds, and
needs no more than the usual margin.
"""

from __future__ import annotations

import math

import numpy as np

from controller.decide.feeding import at_least_w
from controller.decide.inputs import Inputs
from controller.decide.limits import Limits, StepMargin
from controller.decide.snapshot import Snapshot
from controller.decide.timeline import GridNow
from controller.domain.power import Bound, NoLimit, tightest
from controller.domain.site import Policy

LARGE = 0.1
"""A site that must lose more than this share of what it may draw is taking a step."""
REFILL_S = 30.0
"""Time constant with which what was shed too much is given back."""


def step_margin(
    before: StepMargin, limits: Limits, grid: GridNow, seen: Snapshot, policy: Policy, inputs: Inputs
) -> StepMargin:
    """The margin now: a share of what the root may draw too much, and what is left of one from before.

    What is due already counts in full. Before an event begins there is time to see who obeys: a step that is
    heard of late counts as much as is missing of the lead time. Where the share is less than one machine, a
    step is too few machines for it to mean anything.
    """
    left_w = before.watts * math.exp(-max(0.0, inputs.now_s - before.at_s) / REFILL_S)
    steps_w = [_shed_w(limits.due, 1.0, seen, policy)]
    if not limits.follows and tightest(before.cap, limits.cap) != before.cap:
        missing_s = policy.event_lead_s - (grid.due_by_utc_s - inputs.utc_s)
        if missing_s > 0:
            late = min(1.0, missing_s / policy.event_lead_s) if policy.event_lead_s else 1.0
            steps_w.append(_shed_w(limits.cap, late, seen, policy))
    left_w = max(left_w, *steps_w)
    return StepMargin(watts=left_w if left_w >= 1 else 0.0, at_s=inputs.now_s, cap=limits.cap)


def _shed_w(bound: Bound, share: float, seen: Snapshot, policy: Policy) -> float:
    """What is shed beyond a step to `bound`, if it is one."""
    if isinstance(bound, NoLimit):
        return 0.0
    worst_w = int(seen.worst_w[0])
    excess_w = worst_w - bound.power.watts
    share_w = share * policy.step_margin * excess_w
    return share_w if excess_w > LARGE * worst_w and share_w >= seen.fleet.top_w.max(initial=0) else 0.0


def kept_free(limits: Limits, margin: StepMargin, seen: Snapshot) -> Limits:
    """`limits` with an aim that leaves the margin free, as far as miners that surely obey can: no job is set
    aside for it."""
    if margin.watts == 0:
        return limits
    with_jobs_w = np.where(seen.fleet.gpu, seen.columns.now_w, seen.fleet.floor_w)
    jobs_w = at_least_w(seen, with_jobs_w, margin.at_s)
    least_w = min(limits.aim_w, int(jobs_w.sum() + seen.beside_w[0]))
    return limits.aimed_at(max(least_w, limits.aim_w - math.ceil(margin.watts)))
