"""Which machines are to lose their power at the outlet: those that were asked for their least, and stay.

A hard cut wears a machine out, so it is the last thing done, and only where the site file allows it.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.decide import truth
from controller.decide.truth import DeviceState
from controller.domain.devices import DeviceSpec


def to_cut(
    specs: Mapping[str, DeviceSpec],
    states: Mapping[str, DeviceState],
    cut_after_s: Mapping[str, float],
    now_s: float,
) -> tuple[str, ...]:
    """Of the devices that may be cut, those that owe their last watts for longer than their `cut_after_s`.

    One whose watts nobody needs owes none, and a silent one may be anything: it is left to a person.
    """
    return tuple(
        device
        for device, after_s in sorted(cut_after_s.items())
        if device in states and _owes(specs[device], states[device], after_s, now_s)
    )


def _owes(spec: DeviceSpec, state: DeviceState, after_s: float, now_s: float) -> bool:
    at_floor = state.point is not None and state.point.power <= spec.floor.power
    return at_floor and truth.doubtful(spec, state, now_s) and now_s - state.asked_s >= after_s
