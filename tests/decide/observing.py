"""One device, and what a reading or an answer makes of it."""

from __future__ import annotations

from typing import Any

from controller.decide import telling
from controller.decide.device import DeviceState
from controller.decide.inputs import Sample
from controller.decide.truth import observe
from controller.domain.devices import (
    DeviceSpec,
    OperatingPoint,
    Outcome,
    Reading,
)
from tests.decide.builders import NOW_S, device, miner


def see(
    state: DeviceState,
    said: Reading | None = None,
    *,
    spec: DeviceSpec | None = None,
    outcome: Outcome | None = None,
    outcome_s: float = NOW_S,
    heard_s: float = NOW_S,
    now_s: float = NOW_S,
) -> DeviceState:
    sample = Sample(heard_s, said) if said is not None else None
    answer = Sample(outcome_s, outcome) if outcome is not None else None
    return observe(spec or miner(), state, sample, answer, now_s)


def told(
    point: OperatingPoint, before: OperatingPoint, sent_s: float = NOW_S - 2, **changes: Any
) -> DeviceState:
    """A device that was at `before` and was told to go to `point`."""
    return telling.commanded(miner(), device(before), point, sent_s)._replace(**changes)
