"""Who is cut off: only what was asked for its least, is needed to obey, and does not for its time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.lastresort import to_cut
from controller.decide.plan import Truth
from controller.decide.truth import DeviceState
from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint
from controller.domain.power import Power

SLEEP = OperatingPoint(name="sleep", power=Power(25), rate=0.0)
LOW = OperatingPoint(name="low", power=Power(2000), rate=120.0)
SPEC = DeviceSpec(id="m", kind=DeviceKind.ASIC, node="row", points=(SLEEP, LOW), ceiling=Power(3100))
NOW_S = 1_000.0
LIAR = DeviceState(
    point=SLEEP,
    truth=Truth.LYING,
    worst=Power(3000),
    draw=Power(3000),
    at_s=NOW_S - 1,
    asked_s=NOW_S - 400,
    sent_s=NOW_S - 20,
)


def cut(state: DeviceState, after_s: float = 300.0) -> tuple[str, ...]:
    return to_cut({"m": SPEC}, {"m": state}, {"m": after_s}, NOW_S)


def test_a_machine_that_was_told_to_sleep_and_draws_on_for_its_time_is_cut() -> None:
    assert cut(LIAR) == ("m",)
    assert cut(replace(LIAR, truth=Truth.REFUSED)) == ("m",)


def test_nobody_is_cut_whom_the_site_file_does_not_name() -> None:
    assert to_cut({"m": SPEC}, {"m": LIAR}, {}, NOW_S) == ()


@pytest.mark.parametrize(
    "state",
    [
        replace(LIAR, asked_s=NOW_S - 299),
        replace(LIAR, point=LOW),
        replace(LIAR, truth=Truth.CONFIRMED),
        replace(LIAR, truth=Truth.STALE),
        replace(LIAR, truth=Truth.UNREACHABLE),
        replace(LIAR, worst=Power(25), draw=Power(20)),
        DeviceState(),
    ],
    ids=[
        "not yet",
        "has a point to work at",
        "nobody needs it",
        "silent",
        "never heard",
        "it obeyed",
        "unknown",
    ],
)
def test_a_machine_with_any_excuse_is_left_alone(state: DeviceState) -> None:
    assert cut(state) == ()
