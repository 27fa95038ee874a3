"""What was stored comes back as it was, or is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.domain.grid import (
    EventInterval,
    EventStatus,
    GridEvent,
    LimitSignal,
    PriceSignal,
    ReportRequest,
    TargetSignal,
)
from controller.domain.power import NO_LIMIT, Limit, Power
from controller.grid.entries import Ack, Entry, Mark
from controller.grid.results import Accepted, Cancelled, Reason, Rejected
from controller.grid.site import DataQuality, Measured, OperatingState
from controller.grid.stored import from_text, to_text

MEASURED = Measured(
    demand=Power(-5),
    setpoint=Limit(Power(0)),
    quality=DataQuality.ESTIMATED,
    state=OperatingState.RUNNING_CURTAILED,
)
ACK = Ack(
    event="a",
    status=EventStatus.REJECTED,
    at_utc_s=1.5,
    version_utc_s=None,
    stamp=None,
    measured=MEASURED,
    why=("NO_UNITS", "x"),
    ignored=("GHG",),
)
EVENT = GridEvent(
    id="a",
    version_utc_s=1_795_453_200.123456,
    source="openadr",
    intervals=(
        EventInterval(start_utc_s=0.5, end_utc_s=9.0, signals=(LimitSignal(Power(7)), PriceSignal(-0.1))),
        EventInterval(start_utc_s=9.0, end_utc_s=math.inf, signals=(TargetSignal(Power(7)),)),
    ),
    priority=0,
    ramp_deadline_s=600.0,
    name="ü \u202e",
    reports=(ReportRequest(payload="DEMAND", every_s=1.0),),
)
REFUSED = Rejected(reason=Reason.BAD_TIME, detail="d", id="a", version_utc_s=2.0, stamp="v")
ENTRY = Entry(
    id="a",
    content=Accepted(event=EVENT, stamp="v", ignored=("GHG",)),
    refused=REFUSED,
    unversioned=replace(REFUSED, version_utc_s=None),
    told=(EventStatus.RECEIVED, EventStatus.STARTED),
    unsent=(ACK, replace(ACK, measured=replace(MEASURED, setpoint=NO_LIMIT))),
    keep_until_utc_s=3.0,
)
MARK = Mark(as_of_utc_s=1.25, seq=7, ids=frozenset({"b", "a"}))


@pytest.mark.parametrize(
    "value",
    [ENTRY, Entry(id="a", content=Cancelled(id="a", version_utc_s=2.0, stamp="v")), Entry(id="a"), MARK],
)
def test_every_value_comes_back_equal(value: Entry | Mark) -> None:
    assert from_text(to_text(value)) == value


def test_a_limit_does_not_come_back_as_a_target() -> None:
    back = from_text(to_text(ENTRY))

    assert isinstance(back, Entry)
    assert isinstance(back.content, Accepted)
    kinds = [type(signal) for piece in back.content.event.intervals for signal in piece.signals]
    assert kinds == [LimitSignal, PriceSignal, TargetSignal]


def test_the_same_value_has_the_same_text() -> None:
    assert to_text(MARK) == to_text(replace(MARK, ids=frozenset({"a", "b"})))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        "[1]",
        '{"=":"Power","watts":7}',
        '{"=":"Entry"}',
        '{"=":"Entry","id":"a","since":1}',
        '{"=":"Path","id":"a"}',
        '{"=":"Entry","id":"a","told":[{"=":"EventStatus","is":"GONE"}]}',
        to_text(ENTRY)[:-2],
        "[" * 100_000,
    ],
)
def test_a_text_that_is_nothing_stored_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        from_text(text)
