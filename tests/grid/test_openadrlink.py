"""The OpenADR dialect as a whole: what it says after a tick, however much it was asked."""

from __future__ import annotations

from controller.domain.grid import EventInterval, GridEvent, LimitSignal, ReportRequest
from controller.domain.power import Power
from controller.grid.dialects import Letter
from controller.grid.openadrlink import MAX_REPORTS, OpenAdr
from controller.grid.reports import Sender
from controller.grid.results import Contract
from controller.grid.site import Place, SiteReport

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
