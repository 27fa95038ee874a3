"""The OpenADR dialect as a whole: what it says after a tick, however much it was asked."""

from __future__ import annotations

import json
from typing import Any

from controller.domain.grid import (
    ALL_RIGHTS,
    EventInterval,
    EventStatus,
    GridEvent,
    LimitSignal,
    ReportRequest,
    Right,
)
from controller.domain.power import Limit, Power
from controller.grid.dialects import Letter
from controller.grid.entries import Ack
from controller.grid.openadrlink import MAX_REPORTS, OpenAdr
from controller.grid.reports import Sender
from controller.grid.results import Contract
from controller.grid.site import DataQuality, Measured, Place, SiteReport

NOW_S = 1_000_000.0
NODES = tuple(f"n{at}" for at in range(30))


def asking(name: str, start_s: float = NOW_S) -> GridEvent:
    """For a report a second of each node."""
    piece = EventInterval(start_utc_s=start_s, end_utc_s=NOW_S + 100, signals=(LimitSignal(Power(10)),))
    reports = tuple(ReportRequest(payload="DEMAND", every_s=1.0, node=node, alone=True) for node in NODES)
    return GridEvent(id=name, version_utc_s=1, source="openadr", intervals=(piece,), reports=reports)


def said(*events: GridEvent) -> tuple[list[Letter], list[Letter]]:
    """Heartbeats and reports of three ticks."""
    contract = Contract(ven="v", nameplate=Power.kw(1_000))
    dialect = OpenAdr(Sender(client_id="c", ven="v"), contract, heartbeat_s=1.0)
    places = tuple(Place(node=node, demand=Power(1), granted=Power(1)) for node in NODES)
    letters = [
        letter
        for second in range(3)
        for letter in dialect.observed(
            events, SiteReport(now_utc_s=NOW_S + second, demand=Power(1), places=places)
        )
    ]
    beats = [letter for letter in letters if letter.topic.startswith("heartbeat")]
    return beats, [letter for letter in letters if letter not in beats]


def test_a_tick_makes_no_more_reports_than_it_has_time_for_and_says_how_many_are_left_out() -> None:
    many = [asking(f"e{at:03}") for at in range(99)]
    first = asking("z", start_s=NOW_S - 1)

    beats, reports = said(*many, first)

    assert len(reports) <= 2 * MAX_REPORTS
    assert {beat.untold for beat in beats} == {100 * len(NODES) - len(reports) // 2}
    assert any(b'"eventID":"z"' in report.payload for report in reports)


def test_what_there_is_time_for_is_reported_whole() -> None:
    beats, reports = said(*(asking(f"e{at}") for at in range(17)))

    assert {beat.untold for beat in beats} == {0}
    assert len(reports) == 2 * 17 * len(NODES)


def acknowledged(rights: frozenset[Right]) -> dict[str, Any]:
    """The content of an acknowledgement to an operator with these rights."""
    contract = Contract(ven="v", nameplate=Power.kw(1_000), rights=rights)
    dialect = OpenAdr(Sender(client_id="c", ven="v"), contract, heartbeat_s=1.0)
    measured = Measured(demand=Power.kw(900), setpoint=Limit(Power.kw(950)), quality=DataQuality.OK)
    ack = Ack(
        event="e",
        status=EventStatus.INFEASIBLE,
        at_utc_s=NOW_S,
        version_utc_s=1.0,
        stamp="s",
        measured=measured,
        possible=Power.kw(700),
    )
    content: dict[str, Any] = json.loads(dialect.acknowledgement(ack, NOW_S).payload)["object"]
    return content


def types(content: dict[str, Any]) -> set[str]:
    return {payload["type"] for payload in content["resources"][0]["intervals"][0]["payloads"]}


def test_an_operator_without_the_right_to_read_hears_of_its_events_and_not_what_the_site_draws() -> None:
    of_events = {"X_EVENT_STATUS", "X_EVENT_VERSION", "X_POSSIBLE"}

    told = acknowledged(ALL_RIGHTS - {Right.READ})

    assert types(told) == of_events
    assert {one["payloadType"] for one in told["payloadDescriptors"]} == {"X_POSSIBLE"}
    assert types(acknowledged(ALL_RIGHTS)) == of_events | {
        "DEMAND",
        "SETPOINT",
        "OPERATING_STATE",
        "DATA_QUALITY",
    }
