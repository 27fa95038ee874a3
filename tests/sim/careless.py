"""A controller that believes the last reading of whoever is silent, and keeps no margin.

It shows what there is to be had in this world: its share of the usable power, beside its breaches, is what
ours is held against.
"""

from __future__ import annotations

from dataclasses import replace

from controller.decide.inputs import Inputs, Sample
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.site import Site

OLD_S = 8.0
"""A reading as old as that is passed off as a new one."""


def careless(site: Site, before: State, inputs: Inputs) -> tuple[State, Plan]:
    now_s = inputs.now_s
    unbound = replace(site, policy=replace(site.policy, margin=0.0, step_margin=0.0))
    believed = {
        name: Sample(now_s, sample.value) if now_s - sample.at_s > OLD_S else sample
        for name, sample in inputs.readings.items()
    }
    return step(unbound, before, replace(inputs, readings=believed))
