"""What the payloads of OpenADR command: levels, relative set-points, alerts, capacities, nodes and rights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.grid import (
    Alert,
    AlertSignal,
    Capacity,
    CapacitySignal,
    CarbonSignal,
    GridEvent,
    LimitSignal,
    PriceSignal,
    RelativeTargetSignal,
    ReportCycle,
    ReportRequest,
    Right,
)
from controller.domain.power import Power
from controller.grid.results import Accepted, Contract, Reason, Rejected
from controller.grid.stored import from_text, to_text
from tests.grid.messages import (
    CONTRACT,
    NOW_S,
    PRICE_USD,
    event,
    interval,
    limit,
    notice,
    parsed,
    payload,
    price,
)

WHOLE = ReportCycle(first=0, every=1, count=0)
"""At the end of an event of one interval."""

AGREED = replace(
    CONTRACT,
    nodes=frozenset({"pdu-1", "pdu-2"}),
    follows_relative=True,
    levels={1: Power.kw(900), 2: Power.kw(500), 3: Power.kw(100)},
    offsets={2: Power.kw(700)},
    instructions={"SHED": Power.kw(400), "SHED_MORE": Power.kw(200)},
    alerts={Alert.GRID_EMERGENCY: Power.kw(300)},
)


def described(payload_type: str, units: str | None = "KW") -> dict[str, Any]:
    return {"payloadType": payload_type} | ({} if units is None else {"units": units})


def answer(
    *payloads: dict[str, Any],
    descriptors: list[dict[str, Any]] | None = None,
    contract: Contract = AGREED,
    **changes: Any,
) -> Accepted | Rejected:
    content = event(payloadDescriptors=descriptors or [], intervals=[interval(*payloads)], **changes)
    result = parsed(notice(content), contract=contract)
    assert isinstance(result, Accepted | Rejected)
    return result


def obeyed(*payloads: dict[str, Any], **options: Any) -> GridEvent:
    result = answer(*payloads, **options)
    assert isinstance(result, Accepted), result
    return result.event


def refused(*payloads: dict[str, Any], **options: Any) -> Reason:
    result = answer(*payloads, **options)
    assert isinstance(result, Rejected), result
    return result.reason


# --- words instead of watts


@pytest.mark.parametrize(
    ("type_", "value", "kw"),
    [("SIMPLE", 1, 900), ("SIMPLE", 3, 100), ("CONTROL_LEVEL_OFFSET", 2, 700)],
)
def test_a_level_is_the_limit_that_was_agreed_for_it(type_: str, value: int, kw: int) -> None:
    assert obeyed(payload(type_, value)).intervals[0].signals == (LimitSignal(Power.kw(kw)),)


@pytest.mark.parametrize("type_", ["SIMPLE", "CONTROL_LEVEL_OFFSET"])
def test_the_normal_level_asks_for_nothing(type_: str) -> None:
    assert obeyed(payload(type_, 0), contract=CONTRACT).intervals[0].signals == ()


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("SIMPLE", 1),
        ("CONTROL_LEVEL_OFFSET", -3),
        ("DISPATCH_INSTRUCTION", "SHED"),
        ("CONTROL_SETPOINT", 5),
        ("CONTROL_LEVEL_OFFSET_PERCENT", 0.2),
    ],
)
def test_a_command_without_an_agreed_meaning_is_refused_and_not_ignored(type_: str, value: Any) -> None:
    assert refused(payload(type_, value), contract=CONTRACT) is Reason.NOT_AGREED


@pytest.mark.parametrize("value", [4, -1, 1.0, True, "1", None, 10**30])
def test_a_level_that_is_none_is_refused(value: Any) -> None:
    assert refused(payload("SIMPLE", value)) is Reason.BAD_VALUE


def test_of_several_instructions_the_lowest_limit_holds() -> None:
    assert obeyed(payload("DISPATCH_INSTRUCTION", "SHED", "SHED_MORE")).intervals[0].signals == (
        LimitSignal(Power.kw(200)),
    )


def test_an_instruction_with_one_unknown_word_is_refused_whole() -> None:
    assert refused(payload("DISPATCH_INSTRUCTION", "SHED", "dance")) is Reason.NOT_AGREED


# --- relative set-points


@pytest.mark.parametrize(("value", "watts"), [(-250.5, -250_500), (0, 0), (40, 40_000)])
def test_a_relative_set_point_may_be_negative(value: float, watts: int) -> None:
    type_ = "DISPATCH_SETPOINT_RELATIVE"

    found = obeyed(payload(type_, value), descriptors=[described(type_)])

    assert found.intervals[0].signals == (RelativeTargetSignal(Power(watts)),)


@pytest.mark.parametrize("value", [-60_001, 60_001, -1e300])
def test_a_change_by_more_than_the_whole_site_is_refused(value: float) -> None:
    type_ = "DISPATCH_SETPOINT_RELATIVE"

    assert refused(payload(type_, value), descriptors=[described(type_)]) is Reason.ABOVE_NAMEPLATE


def test_an_interval_with_two_kinds_of_set_point_is_refused() -> None:
    kinds = ("DISPATCH_SETPOINT", "DISPATCH_SETPOINT_RELATIVE")

    reason = refused(*(payload(kind, 5) for kind in kinds), descriptors=[described(kind) for kind in kinds])

    assert reason is Reason.BAD_VALUE


def test_a_site_may_refuse_relative_set_points() -> None:
    type_ = "DISPATCH_SETPOINT_RELATIVE"
    content = event(payloadDescriptors=[described(type_)], intervals=[interval(payload(type_, -5))])

    result = parsed(notice(content), contract=replace(AGREED, follows_relative=False))

    assert isinstance(result, Rejected)
    assert result.reason is Reason.NOT_AGREED


# --- alerts and capacities


def test_an_alert_limits_the_site_where_that_was_agreed() -> None:
    found = answer(payload("ALERT_GRID_EMERGENCY", "sorry"))

    assert isinstance(found, Accepted)
    assert found.event.intervals[0].signals == (
        AlertSignal(Alert.GRID_EMERGENCY, "sorry"),
        LimitSignal(Power.kw(300)),
    )
    assert found.ignored == ()


def test_the_sender_hears_that_an_alert_limits_nothing_here() -> None:
    found = answer(payload("ALERT_BLACK_START", "now"), payload("ALERT_WIND", "gusts"))

    assert isinstance(found, Accepted)
    assert found.event.intervals[0].signals == (
        AlertSignal(Alert.BLACK_START, "now"),
        AlertSignal(Alert.WIND, "gusts"),
    )
    assert found.ignored == ("ALERT_BLACK_START",)


def test_a_subscription_is_kept_and_limits_nothing() -> None:
    type_ = "IMPORT_CAPACITY_SUBSCRIPTION"

    found = obeyed(payload(type_, 90_000), descriptors=[described(type_)])

    assert found.intervals[0].signals == (CapacitySignal(Capacity.SUBSCRIPTION, Power.kw(90_000)),)


@pytest.mark.parametrize("units", [None, "KWH", "PERCENT"])
def test_a_capacity_without_a_unit_of_power_is_refused(units: str | None) -> None:
    type_ = "IMPORT_CAPACITY_RESERVATION"

    assert refused(payload(type_, 5), descriptors=[described(type_, units)]) in (
        Reason.NO_UNITS,
        Reason.BAD_UNITS,
    )


# --- series


def test_two_series_of_different_length_meet_at_every_edge_of_both() -> None:
    found = obeyed(
        price(0.1, 0.2),
        payload("GHG", 300, 400, 500),
        descriptors=[PRICE_USD, described("GHG", "GHG")],
    )

    assert [(round(piece.start_utc_s - NOW_S), piece.signals) for piece in found.intervals] == [
        (0, (PriceSignal(0.1), CarbonSignal(300.0))),
        (600, (PriceSignal(0.1), CarbonSignal(300.0))),
        (1200, (PriceSignal(0.1), CarbonSignal(400.0))),
        (1800, (PriceSignal(0.2), CarbonSignal(400.0))),
        (2400, (PriceSignal(0.2), CarbonSignal(500.0))),
        (3000, (PriceSignal(0.2), CarbonSignal(500.0))),
    ]


def test_series_whose_edges_never_meet_in_reason_are_refused() -> None:
    descriptors = [PRICE_USD, described("GHG", "GHG")]

    reason = refused(price(*[0.1] * 997), payload("GHG", *[5] * 991), descriptors=descriptors)

    assert reason is Reason.TOO_MANY_INTERVALS


# --- places


def test_an_event_may_aim_at_a_node_of_the_site() -> None:
    found = obeyed(limit(80), descriptors=[described("IMPORT_CAPACITY_LIMIT")], targets=["pdu-1"])

    assert found.node == "pdu-1"


@pytest.mark.parametrize("targets", [["pdu-1", "site-tx1"], [], None])
def test_where_the_site_is_named_the_whole_site_is_meant(targets: list[str] | None) -> None:
    found = obeyed(limit(80), descriptors=[described("IMPORT_CAPACITY_LIMIT")], targets=targets)

    assert found.node == ""


@pytest.mark.parametrize(
    ("targets", "reason"),
    [(["pdu-1", "pdu-2"], Reason.UNSUPPORTED), (["pdu-9"], Reason.NOT_ADDRESSED)],
)
def test_two_nodes_at_once_or_a_strange_one_are_refused(targets: list[str], reason: Reason) -> None:
    descriptors = [described("IMPORT_CAPACITY_LIMIT")]

    assert refused(limit(80), descriptors=descriptors, targets=targets) is reason


@pytest.mark.parametrize(
    "descriptor", [described("DISPATCH_SETPOINT"), described("DISPATCH_SETPOINT_RELATIVE"), PRICE_USD]
)
def test_a_set_point_or_price_for_a_node_is_refused_and_not_accepted_without_effect(
    descriptor: dict[str, Any],
) -> None:
    asked = payload(descriptor["payloadType"], 5)

    assert refused(asked, descriptors=[descriptor], targets=["pdu-1"]) is Reason.UNSUPPORTED


# --- rights

SAYS = {
    Right.LIMIT: (limit(5), described("IMPORT_CAPACITY_LIMIT")),
    Right.TARGET: (payload("DISPATCH_SETPOINT", 5), described("DISPATCH_SETPOINT")),
    Right.PRICE: (price(0.1), PRICE_USD),
}


@pytest.mark.parametrize("right", SAYS)
def test_an_operator_may_do_what_it_has_the_right_to_and_nothing_else(right: Right) -> None:
    said, descriptor = SAYS[right]
    allowed = replace(AGREED, rights=frozenset({right}))
    forbidden = replace(AGREED, rights=frozenset(Right) - {right})

    assert obeyed(said, descriptors=[descriptor], contract=allowed).intervals[0].signals
    assert refused(said, descriptors=[descriptor], contract=forbidden) is Reason.NOT_AUTHORIZED


def test_an_alert_that_limits_needs_the_right_to_limit() -> None:
    contract = replace(AGREED, rights=frozenset({Right.PRICE}))

    assert refused(payload("ALERT_GRID_EMERGENCY", "x"), contract=contract) is Reason.NOT_AUTHORIZED
    assert obeyed(payload("ALERT_WIND", "x"), contract=contract).intervals[0].signals


def test_without_the_right_to_read_nothing_is_reported() -> None:
    contract = replace(AGREED, rights=frozenset({Right.LIMIT}))
    said, descriptor = SAYS[Right.LIMIT]

    found = answer(
        said, descriptors=[descriptor], contract=contract, reportDescriptors=[{"payloadType": "DEMAND"}]
    )

    assert isinstance(found, Accepted)
    assert found.event.reports == ()
    assert found.ignored == ("report DEMAND: no right to read",)


# --- reports asked for


def asked(*descriptors: dict[str, Any], contract: Contract = AGREED, **changes: Any) -> Accepted:
    said, descriptor = SAYS[Right.LIMIT]
    content = {"payloadDescriptors": [descriptor], "intervals": [interval(said)]} | changes
    found = parsed(notice(event(reportDescriptors=list(descriptors), **content)), contract=contract)
    assert isinstance(found, Accepted)
    return found


def test_every_payload_is_reported_at_its_own_rate() -> None:
    found = asked(
        {"payloadType": "DEMAND", "frequency": 0},
        {"payloadType": "USAGE", "units": "KWH", "frequency": 1, "repeat": -1},
        {"payloadType": "OPERATING_STATE", "reportIntervals": "OPEN_INTERVALS"},
    )

    assert found.event.reports == (
        ReportRequest(payload="DEMAND", every_s=10, times=math.inf, labelled=True),
        ReportRequest(payload="OPERATING_STATE", times=1, labelled=False, cycle=WHOLE),
        ReportRequest(payload="USAGE", times=math.inf, labelled=True, cycle=WHOLE),
    )


INTERVALS = [interval(limit(5), duration="PT10S") for _ in range(6)]


@pytest.mark.parametrize(
    ("said", "first", "every", "count"),
    [
        ({}, 5, 6, 0),
        ({"frequency": 1}, 0, 1, 0),
        ({"frequency": 4}, 3, 4, 0),
        ({"frequency": 9}, 5, 9, 0),
        ({"numIntervals": 2}, 5, 2, 2),
        ({"startInterval": 1, "numIntervals": 2}, 1, 2, 2),
        ({"startInterval": 0, "frequency": 3}, 0, 3, 0),
        ({"startInterval": 2, "numIntervals": 3, "frequency": 1}, 2, 1, 3),
    ],
)
def test_a_report_begins_with_an_interval_and_comes_back_after_as_many_as_were_asked_for(
    said: dict[str, int], first: int, every: int, count: int
) -> None:
    [request] = asked({"payloadType": "DEMAND", **said}, intervals=INTERVALS).event.reports

    assert request.cycle == ReportCycle(first=first, every=every, count=count)


def test_the_turns_of_a_looping_event_are_intervals_to_whoever_counts_them_and_one_to_all_others() -> None:
    looping: dict[str, Any] = {"intervals": INTERVALS[:1], "duration": "PT1M"}

    counted = asked({"payloadType": "DEMAND", "frequency": 1, "repeat": -1}, **looping)
    steady = asked({"payloadType": "DEMAND", "frequency": 0}, **looping)
    endless = asked({"payloadType": "DEMAND"}, **looping | {"duration": "P9999Y"})

    assert [len(found.event.intervals) for found in (counted, steady, endless)] == [6, 1, 1]


def test_a_report_on_an_interval_that_is_not_there_is_not_made_and_named() -> None:
    found = asked({"payloadType": "DEMAND", "startInterval": 6}, intervals=INTERVALS)

    assert (found.event.reports, found.ignored) == ((), ("report DEMAND from interval 6 of 6",))


def test_reports_are_about_the_site_or_about_its_nodes_and_what_is_neither_is_named() -> None:
    found = asked(
        {"payloadType": "DEMAND", "frequency": 0, "targets": ["pdu-1", "pdu-2", "moon"]},
        {
            "payloadType": "USAGE",
            "units": "KWH",
            "frequency": 0,
            "targets": [CONTRACT.ven],
            "aggregate": True,
        },
        {"payloadType": "SETPOINT", "frequency": 0, "targets": ["pdu-1"]},
        {"payloadType": "DATA_QUALITY", "frequency": 0, "targets": ["pdu-1", "pdu-2"], "aggregate": True},
    )

    told_of = [(request.payload, request.node, request.alone) for request in found.event.reports]
    assert told_of == [
        ("DATA_QUALITY", "pdu-1", True),
        ("DATA_QUALITY", "pdu-2", True),
        ("DEMAND", "pdu-1", True),
        ("DEMAND", "pdu-2", True),
        ("USAGE", "", True),
    ]
    assert found.ignored == (
        "report DATA_QUALITY: several places in one sum",
        "report DEMAND of moon",
        "report SETPOINT of pdu-1",
    )


def test_a_reading_type_that_is_not_ours_is_named_and_the_report_comes_all_the_same() -> None:
    found = asked({"payloadType": "DEMAND", "frequency": 0, "readingType": "PEAK"})

    assert [request.payload for request in found.event.reports] == ["DEMAND"]
    assert found.ignored == ("report DEMAND as PEAK: as MEAN",)


def test_more_reports_and_more_intervals_than_a_site_can_send_are_named() -> None:
    content = [
        {"payloadType": "DEMAND", "frequency": 1, "startInterval": at, "numIntervals": 1} for at in range(40)
    ]
    many = [interval(limit(5), duration="PT1S") for _ in range(200)]

    found = asked(*content, {"payloadType": "USAGE"}, intervals=many)
    whole = asked({"payloadType": "DEMAND"}, intervals=many)

    assert len(found.event.reports) == 32
    assert "report USAGE: more than 32 of them" in found.ignored
    assert whole.ignored == ("report DEMAND: the last 32 intervals of each",)


def test_what_is_not_reported_is_named_with_the_reason() -> None:
    found = asked(
        {"payloadType": "BASELINE"},
        {"payloadType": "DEMAND", "units": "MW"},
        {"payloadType": "USAGE", "historical": False},
    )

    assert found.event.reports == ()
    assert found.ignored == ("report BASELINE", "report DEMAND in MW", "report USAGE as a forecast")


def test_a_baseline_is_reported_where_one_is_kept() -> None:
    contract = replace(AGREED, reported=AGREED.reported | {"BASELINE"})

    assert asked({"payloadType": "BASELINE"}, contract=contract).event.reports != ()


def test_the_report_of_an_event_without_end_comes_all_the_same() -> None:
    found = asked({"payloadType": "DEMAND"}, intervalPeriod={"start": "0001-01-01", "duration": "P9999Y"})

    assert found.event.reports == (ReportRequest(payload="DEMAND", every_s=10, labelled=True),)


# --- labels, and what survives the process


def test_intervals_keep_the_numbers_of_their_sender() -> None:
    intervals = [limit(5), limit(6), limit(7)]
    content = event(
        intervals=[
            {"id": number, "payloads": [said]} for number, said in zip((7, -2, None), intervals, strict=True)
        ]
    )

    result = parsed(notice(content))

    assert isinstance(result, Accepted)
    assert [piece.label for piece in result.event.intervals] == [7, -2, 2]


def test_every_signal_survives_the_store() -> None:
    from controller.grid.entries import Entry

    result = answer(
        payload("ALERT_GRID_EMERGENCY", "x"),
        payload("IMPORT_CAPACITY_RESERVATION", 5),
        payload("GHG", 1, 2),
        descriptors=[
            described("DISPATCH_SETPOINT_RELATIVE"),
            described("IMPORT_CAPACITY_RESERVATION"),
            described("GHG", "GHG"),
        ],
    )
    assert isinstance(result, Accepted)
    entry = Entry(id=result.event.id, content=result)

    assert from_text(to_text(entry)) == entry
