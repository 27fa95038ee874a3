"""One checked tick."""

from __future__ import annotations

from controller.decide.inputs import Inputs
from controller.decide.invariants import check
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.site import Site


def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """`step`, and its plan held against every invariant."""
    after, plan = step(site, state, inputs)
    check(site, state, inputs, after, plan)
    return after, plan
