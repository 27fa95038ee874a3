"""Every report that leaves, live or as a settlement, held against what is published by another validator."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.grid import EventStatus
from controller.domain.power import NO_LIMIT, Limit, Power
from controller.grid.entries import Ack
from controller.grid.openadrlink import OpenAdr
from controller.grid.reports import Interval, Sender, ack_report, interval_report, telemetry_report
from controller.grid.results import Accepted, Contract, Rejected
from controller.grid.site import DataQuality, Measured, OperatingState, Part, Place, Progress, SiteReport
from controller.grid.tally import Average
from controller.settlement.performance import Compliance
from tests.grid.messages import NOW_S, START, VEN, event, interval, limit
from tests.grid.published import (
    EVENT_OBJECT,
    REPORT_NOTIFICATION,
    REPORT_OBJECT,
    complaints,
    undeclared,
)
from tests.grid.test_schema import EVENTS, REPORTS

SENDER = Sender(client_id="site-tx1-ctl", ven=VEN)
IDS = st.from_regex(r"[a-zA-Z0-9_-]{1,128}", fullmatch=True)
POWERS = st.integers(-(10**7), 10**9).map(Power)
KNOWN_POWERS = st.none() | POWERS
BOUNDS = st.just(NO_LIMIT) | st.integers(0, 10**9).map(lambda watts: Limit(Power(watts)))
TIMES = st.floats(NOW_S, NOW_S + 1e6)
WORDS = st.lists(st.text(max_size=40), max_size=3).map(tuple)
QUALITIES = st.sampled_from(DataQuality)
ACKS = st.builds(
    Ack,
    event=IDS,
    status=st.sampled_from(EventStatus),
    at_utc_s=TIMES,
    version_utc_s=st.none() | TIMES,
    stamp=st.none() | st.text(max_size=40),
    measured=st.builds(
        Measured, demand=POWERS, setpoint=BOUNDS, quality=QUALITIES, state=st.sampled_from(OperatingState)
    ),
    possible=KNOWN_POWERS,
    why=WORDS,
    ignored=WORDS,
)
ASKED = st.frozensets(
    st.sampled_from(["USAGE", "BASELINE", "OPERATING_STATE", "UP_REGULATION_AVAILABLE", "DEMAND"])
    | st.just("DOWN_REGULATION_AVAILABLE")
)


@st.composite
def averages(draw: st.DrawFn) -> list[Average]:
    """One to three periods of an event and place."""
    name, node, asked = draw(IDS), draw(st.sampled_from(["", "row-a"])), draw(ASKED)
    found, at_s = [], draw(TIMES)
    for index in range(draw(st.integers(1, 3))):
        length_s = draw(st.floats(0.001, 1e5))
        found.append(
            Average(
                event=name,
                index=index,
                start_utc_s=at_s,
                end_utc_s=at_s + length_s,
                demand=draw(POWERS),
                quality=draw(QUALITIES),
                node=node,
                setpoint=draw(BOUNDS),
                state=draw(st.sampled_from(OperatingState)),
                baseline=draw(KNOWN_POWERS),
                shed_available=draw(KNOWN_POWERS),
                rise_available=draw(KNOWN_POWERS),
                parts=(Part(name="asic", demand=draw(POWERS), quality=draw(QUALITIES)),),
                status=draw(st.none() | st.sampled_from(EventStatus)),
                possible=draw(KNOWN_POWERS),
                payloads=asked,
            )
        )
        at_s += length_s
    return found


INTERVALS = st.builds(
    Interval,
    start_utc_s=TIMES,
    length_s=st.floats(0.001, 1e5),
    demand=KNOWN_POWERS,
    usage_kwh=st.none() | st.floats(-10, 1e6),
    baseline=KNOWN_POWERS,
    setpoint=KNOWN_POWERS,
    quality=QUALITIES,
    compliance=st.sampled_from([one.value for one in Compliance]),
    excuse=st.sampled_from(["", "link_lost"]),
    relative_to=KNOWN_POWERS,
)


ASKING = st.builds(
    lambda reports, labels: event(
        reportDescriptors=reports,
        intervals=[interval(limit(900.0)) | {"id": label} for label in labels],
        intervalPeriod={"start": START, "duration": "PT15M"},
    ),
    st.lists(REPORTS, min_size=1, max_size=3),
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=4),
)
"""A limit by quarters of an hour that asks for reports."""


def check(payload: bytes) -> None:
    envelope = json.loads(payload)
    assert complaints(REPORT_NOTIFICATION, envelope) == []
    assert undeclared(envelope["object"]) == set()


@settings(max_examples=80, deadline=None)
@given(ACKS)
def test_every_acknowledgement_is_a_report_of_the_published_schema(ack: Ack) -> None:
    check(ack_report(SENDER, ack).payload)


@settings(max_examples=80, deadline=None)
@given(averages())
def test_all_telemetry_is_a_report_of_the_published_schema(periods: list[Average]) -> None:
    check(telemetry_report(SENDER, *periods).payload)


@settings(max_examples=60, deadline=None)
@given(IDS, st.lists(INTERVALS, max_size=3), TIMES)
def test_every_settlement_is_a_report_of_the_published_schema(
    name: str, intervals: list[Interval], at_utc_s: float
) -> None:
    content = interval_report(SENDER, name, at_utc_s=at_utc_s, intervals=intervals, method="10-of-10")

    assert complaints(REPORT_OBJECT, content) == []
    assert undeclared(content) == set()


@settings(max_examples=150, deadline=None)
@given(EVENTS | ASKING)
def test_whatever_an_event_of_the_schema_asks_to_be_told_is_told_by_the_schema(
    content: dict[str, Any],
) -> None:
    """The whole way of a message: read, refused or followed for two hours, and reported on."""
    contract = Contract(ven=VEN, nameplate=Power.kw(10**9), nodes=frozenset({"row-a"}))
    dialect = OpenAdr(SENDER, contract, heartbeat_s=1e9)
    payload = json.dumps({"objectType": "EVENT", "operation": "CREATE", "object": content}).encode()
    [heard] = dialect.read(f"events/vens/{VEN}/create", payload, retained=False, now_utc_s=NOW_S)
    if isinstance(heard.result, Rejected):
        refused = heard.result
        ack = Ack(
            event=str(refused.id),
            status=EventStatus.REJECTED,
            at_utc_s=NOW_S,
            version_utc_s=refused.version_utc_s,
            stamp=refused.stamp,
            why=(refused.reason, refused.detail),
        )
        check(dialect.acknowledgement(ack, NOW_S).payload)
    if not isinstance(heard.result, Accepted):
        return

    for at_s in (0, 1, 10, 60, 900, 901, 3600, 7200):
        for letter in dialect.observed((heard.result.event,), site_report(NOW_S + at_s, heard.result)):
            if letter.topic.startswith("reports/"):
                check(letter.payload)


def site_report(now_utc_s: float, accepted: Accepted) -> SiteReport:
    return SiteReport(
        now_utc_s=now_utc_s,
        demand=Power(-1000),
        setpoint=Limit(Power(5_000_000)),
        baseline=Power(7),
        shed_available=Power(3),
        rise_available=Power(4),
        parts=(Part(name="gpu", demand=Power(-5), quality=DataQuality.ESTIMATED),),
        places=(Place(node="row-a", demand=Power(-5), granted=Power(6)),),
        progress=(
            Progress(
                event=accepted.event.id,
                version_utc_s=accepted.event.version_utc_s,
                status=EventStatus.INFEASIBLE,
                possible=Power(9),
            ),
        ),
    )


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_the_events_that_tests_draw_are_events_of_the_published_schema(content: dict[str, Any]) -> None:
    assert complaints(EVENT_OBJECT, content) == []


def test_the_event_that_tests_write_by_hand_is_one_as_well() -> None:
    assert complaints(EVENT_OBJECT, event()) == []


def test_the_validator_finds_what_is_wrong() -> None:
    content = interval_report(SENDER, "dr-7", at_utc_s=NOW_S, intervals=[], method="10-of-10")
    good = {"id": 0, "payloads": [{"type": "DEMAND", "values": [1.0]}]}
    broken: list[tuple[str, dict[str, Any]]] = [
        ("eventID", {"eventID": "dr 7"}),
        ("createdDateTime", {"createdDateTime": "today"}),
        (
            "units",
            {
                "payloadDescriptors": [
                    {"objectType": "REPORT_PAYLOAD_DESCRIPTOR", "payloadType": "DEMAND", "units": "MW"}
                ]
            },
        ),
        (
            "values",
            {
                "resources": [
                    {
                        "resourceName": "a",
                        "intervals": [{**good, "payloads": [{"type": "DEMAND", "values": [-1]}]}],
                    }
                ]
            },
        ),
        (
            "payloads",
            {
                "resources": [
                    {
                        "resourceName": "a",
                        "intervals": [{**good, "payloads": [{"type": "DEMND", "values": [1]}]}],
                    }
                ]
            },
        ),
        ("resources", {"resources": [{"resourceName": "", "intervals": []}]}),
        ("eventld", {"eventld": "dr-7"}),
    ]

    for place, change in broken:
        found = complaints(REPORT_OBJECT, content | change)
        assert found != [], place
        assert any(place in one for one in found), found
