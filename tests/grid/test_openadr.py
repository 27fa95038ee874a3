"""What an OpenADR message means, rule by rule."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from controller.domain.grid import LimitSignal, PriceSignal, TargetSignal
from controller.domain.power import Power
from controller.grid.isotime import instant
from controller.grid.openadr import parse_heartbeat, parse_notification, parse_snapshot
from controller.grid.results import (
    Accepted,
    Contract,
    Heartbeat,
    MessageResult,
    Reason,
    Rejected,
    Snapshot,
)
from tests.grid.messages import (
    CONTRACT,
    LIMIT_KW,
    NOW_S,
    PRICE_USD,
    UNSET,
    accepted,
    cancelled,
    event,
    interval,
    limit,
    listed,
    notice,
    parsed,
    payload,
    price,
    rejected,
    snapshot,
    windows,
)

# --- power and price


def test_a_limit_becomes_whole_watts_rounded_down() -> None:
    grid_event = accepted(event(intervals=[interval(limit(12.0007))]))

    assert grid_event.intervals[0].signals == (LimitSignal(Power(12_000)),)


def test_a_limit_of_zero_is_a_limit() -> None:
    grid_event = accepted(event(intervals=[interval(limit(0))]))

    assert grid_event.intervals[0].signals == (LimitSignal(Power(0)),)


@pytest.mark.parametrize(("units", "value"), [("KW", 2500), ("MW", 2.5), ("W", 2_500_000)])
def test_the_declared_unit_decides_the_power(units: str, value: float) -> None:
    grid_event = accepted(
        event(payloadDescriptors=[LIMIT_KW | {"units": units}], intervals=[interval(limit(value))])
    )

    assert grid_event.intervals[0].signals == (LimitSignal(Power(2_500_000)),)


def test_a_dispatch_set_point_is_a_target_not_a_limit() -> None:
    descriptor = {"payloadType": "DISPATCH_SETPOINT", "units": "KW"}

    grid_event = accepted(
        event(payloadDescriptors=[descriptor], intervals=[interval(payload("DISPATCH_SETPOINT", 31_500))])
    )

    assert grid_event.intervals[0].signals == (TargetSignal(Power(31_500_000)),)


def test_a_negative_price_is_legal() -> None:
    grid_event = accepted(event(payloadDescriptors=[PRICE_USD], intervals=[interval(price(-0.0042))]))

    assert grid_event.intervals[0].signals == (PriceSignal(-0.0042),)


def test_packed_prices_divide_their_interval_and_equal_the_written_out_form() -> None:
    packed = accepted(event(payloadDescriptors=[PRICE_USD], intervals=[interval(price(0.1, 0.2, 0.3, 0.4))]))
    written = accepted(
        event(
            payloadDescriptors=[PRICE_USD],
            intervalPeriod={"start": "2026-11-23T17:00:00Z", "duration": "PT15M"},
            intervals=[interval(price(usd)) for usd in (0.1, 0.2, 0.3, 0.4)],
        )
    )

    assert packed.intervals == written.intervals
    assert windows(packed) == [(0, 900), (900, 1800), (1800, 2700), (2700, 3600)]


def test_a_limit_beside_packed_prices_holds_in_each_of_their_slices() -> None:
    grid_event = accepted(
        event(payloadDescriptors=[LIMIT_KW, PRICE_USD], intervals=[interval(limit(100), price(0.1, 0.2))])
    )

    assert [piece.signals for piece in grid_event.intervals] == [
        (LimitSignal(Power(100_000)), PriceSignal(0.1)),
        (LimitSignal(Power(100_000)), PriceSignal(0.2)),
    ]


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        ({"payloadDescriptors": UNSET}, Reason.NO_UNITS, "IMPORT_CAPACITY_LIMIT"),
        ({"payloadDescriptors": [{"payloadType": "IMPORT_CAPACITY_LIMIT"}]}, Reason.NO_UNITS, "units"),
        ({"payloadDescriptors": [LIMIT_KW | {"units": "KVA"}]}, Reason.BAD_UNITS, "KVA"),
        ({"payloadDescriptors": [LIMIT_KW, LIMIT_KW | {"units": "MW"}]}, Reason.BAD_UNITS, "twice"),
        ({"intervals": [interval(limit(-1))]}, Reason.BAD_VALUE, "-1"),
        ({"intervals": [interval(limit(60_000.01))]}, Reason.ABOVE_NAMEPLATE, "60000.01"),
        ({"intervals": [interval(limit(10**400))]}, Reason.ABOVE_NAMEPLATE, "the site has"),
        ({"intervals": [interval(payload("IMPORT_CAPACITY_LIMIT", "12"))]}, Reason.BAD_VALUE, "'12'"),
        ({"intervals": [interval(payload("IMPORT_CAPACITY_LIMIT", True))]}, Reason.BAD_VALUE, "True"),
        ({"intervals": [interval(payload("IMPORT_CAPACITY_LIMIT", None))]}, Reason.BAD_VALUE, "None"),
        ({"intervals": [interval(payload("IMPORT_CAPACITY_LIMIT"))]}, Reason.BAD_VALUE, "0 values"),
        ({"intervals": [interval(payload("IMPORT_CAPACITY_LIMIT", 1, 2))]}, Reason.BAD_VALUE, "2 values"),
        ({"intervals": [interval(limit(1), limit(2))]}, Reason.BAD_VALUE, "twice"),
    ],
)
def test_power_that_cannot_be_meant_is_refused_and_named(
    changes: dict[str, Any], reason: Reason, named: str
) -> None:
    result = rejected(notice(event(**changes)))

    assert result.reason is reason
    assert named in result.detail
    assert (result.id, result.version_utc_s) == ("dr-7", NOW_S)


@pytest.mark.parametrize(
    ("descriptor", "values", "reason"),
    [
        (PRICE_USD | {"currency": "EUR"}, [0.1], Reason.BAD_UNITS),
        (PRICE_USD | {"units": "THERMS"}, [0.1], Reason.BAD_UNITS),
        (PRICE_USD, [], Reason.BAD_VALUE),
        (PRICE_USD, [0.1, "0.2"], Reason.BAD_VALUE),
        (PRICE_USD, [45.2], Reason.BAD_VALUE),  # of a MWh
        (PRICE_USD, [-38], Reason.BAD_VALUE),
        (PRICE_USD | {"units": "MWH"}, [25_001], Reason.BAD_VALUE),
        (PRICE_USD, [10**400], Reason.BAD_VALUE),
    ],
)
def test_a_price_that_cannot_be_meant_is_refused(
    descriptor: dict[str, Any], values: list[Any], reason: Reason
) -> None:
    content = event(payloadDescriptors=[descriptor], intervals=[interval(payload("PRICE", *values))])

    assert rejected(notice(content)).reason is reason


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(text: str) -> None:
    raw = notice(event(intervals=[interval(limit(777))])).replace(b"777", text.encode())

    assert rejected(raw).reason is Reason.BAD_VALUE


# --- time


@pytest.mark.parametrize(
    "start",
    [
        "2026-11-23T17:00:00",
        "2026-11-23 17:00:00Z",
        "2026-11-23",
        "17:00:00Z",
        "2026-11-23T17:00Z",
        "2026-02-30T17:00:00Z",
        "2026-11-23T24:00:00Z",
        "1969-12-31T23:59:59Z",
        "0001-01-01T05:00:00Z",
        "0001-01-01 ",
        "",
    ],
)
def test_a_start_without_offset_or_sense_is_refused(start: str) -> None:
    result = rejected(notice(event(intervalPeriod={"start": start, "duration": "PT1H"})))

    assert result.reason is Reason.BAD_TIME
    assert "intervalPeriod.start" in result.detail


def test_an_offset_shifts_the_start() -> None:
    period = {"start": "2026-11-23T11:00:00-06:00", "duration": "PT1H"}

    assert windows(accepted(event(intervalPeriod=period))) == [(0, 3600)]


@pytest.mark.parametrize("start", ["0001-01-01", "0001-01-01T00:00:00", "0001-01-01T00:00:00.000Z"])
def test_the_sentinel_start_is_the_moment_of_the_version(start: str) -> None:
    content = event(
        intervalPeriod={"start": start, "duration": "PT1H"}, modificationDateTime="2026-11-23T16:59:30Z"
    )

    assert windows(accepted(content)) == [(-30, 3570)]


def test_a_repeated_do_it_now_does_not_begin_anew() -> None:
    raw = notice(event(intervalPeriod={"start": "0001-01-01", "duration": "PT1H"}))

    assert parsed(raw, now_utc_s=NOW_S) == parsed(raw, now_utc_s=NOW_S + 1800)


def test_p9999y_has_no_end() -> None:
    grid_event = accepted(event(intervalPeriod={"start": "0001-01-01", "duration": "P9999Y"}))

    assert windows(grid_event) == [(0, math.inf)]


@pytest.mark.parametrize(
    "duration",
    ["P1M", "P1Y", "-PT1H", "PT", "P", "1H", "PT1H ", "P1DT", "PT1.S", "P1W1D", "PT9999999999S", "PT١H", ""],
)
def test_a_duration_without_fixed_length_is_refused(duration: str) -> None:
    content = event(intervalPeriod={"start": "2026-11-23T17:00:00Z", "duration": duration})

    assert rejected(notice(content)).reason is Reason.BAD_DURATION


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("PT1H30M", 5400), ("P1D", 86_400), ("P2W", 1_209_600), ("PT0.5S", 0.5), ("P1DT1S", 86_401)],
)
def test_a_duration_is_its_seconds(duration: str, seconds: float) -> None:
    content = event(intervalPeriod={"start": "2026-11-23T17:00:00Z", "duration": duration})

    assert windows(accepted(content)) == [(0, seconds)]


def test_a_limit_whose_duration_is_missing_is_refused_not_taken_for_zero() -> None:
    result = rejected(notice(event(intervalPeriod={"start": "2026-11-23T17:00:00Z"})))

    assert result.reason is Reason.BAD_DURATION


@pytest.mark.parametrize(("ahead_s", "is_refused"), [(5.0, False), (5.5, True), (3600.0, True)])
def test_a_version_from_the_future_is_refused(ahead_s: float, is_refused: bool) -> None:
    result = parsed(notice(event()), now_utc_s=NOW_S - ahead_s)

    assert isinstance(result, Rejected) is is_refused


def test_a_version_from_the_future_is_not_believed() -> None:
    result = rejected(notice(event()), now_utc_s=NOW_S - 60)

    assert result.reason is Reason.FROM_THE_FUTURE
    assert (result.version_utc_s, result.stamp) == (None, "2026-11-23T17:00:00.000Z")


@pytest.mark.parametrize("stamp", [UNSET, "yesterday", 17])
def test_an_event_without_a_readable_version_is_refused(stamp: Any) -> None:
    result = rejected(notice(event(modificationDateTime=stamp)))

    assert result.reason in {Reason.BAD_SHAPE, Reason.BAD_TIME}
    assert (result.id, result.version_utc_s) == ("dr-7", None)


# --- intervals


def test_intervals_follow_each_other() -> None:
    content = event(
        intervals=[interval(limit(1)), interval(limit(2), duration="PT10M"), interval(limit(3))],
        intervalPeriod={"start": "2026-11-23T17:00:00Z", "duration": "PT30M"},
    )

    assert windows(accepted(content)) == [(0, 1800), (1800, 2400), (2400, 4200)]


def test_an_own_start_leaves_a_gap_and_the_sentinel_does_not() -> None:
    content = event(
        intervals=[
            interval(limit(1)),
            interval(limit(2), start="2026-11-23T19:00:00Z"),
            interval(limit(3), start="0001-01-01", duration="PT5M"),
        ],
    )

    assert windows(accepted(content)) == [(0, 3600), (7200, 10_800), (10_800, 11_100)]


def test_intervals_are_put_in_order() -> None:
    content = event(
        intervals=[
            interval(limit(1), start="2026-11-23T19:00:00Z"),
            interval(limit(2), start="2026-11-23T17:00:00Z"),
        ],
    )

    assert windows(accepted(content)) == [(0, 3600), (7200, 10_800)]


@pytest.mark.parametrize(
    "intervals",
    [
        [interval(limit(1)), interval(limit(2), start="2026-11-23T17:30:00Z")],
        [interval(limit(1), duration="P9999Y"), interval(limit(2))],
        [interval(price(1, 2), duration="P9999Y")],
    ],
)
def test_intervals_that_overlap_or_follow_no_end_are_refused(intervals: list[dict[str, Any]]) -> None:
    content = event(intervals=intervals, payloadDescriptors=[LIMIT_KW, PRICE_USD])

    assert rejected(notice(content)).reason is Reason.BAD_INTERVALS


def test_a_first_interval_without_any_start_is_refused() -> None:
    content = event(intervalPeriod=UNSET, intervals=[interval(limit(1), duration="PT1H")])

    assert rejected(notice(content)).reason is Reason.BAD_INTERVALS


def test_a_longer_event_loops_its_intervals_and_cuts_the_last_round() -> None:
    content = event(
        duration="PT2H30M",
        intervalPeriod={"start": "2026-11-23T17:00:00Z", "duration": "PT30M"},
        intervals=[interval(limit(1)), interval(limit(2))],
    )

    grid_event = accepted(content)

    assert windows(grid_event) == [(i * 1800, (i + 1) * 1800) for i in range(5)]
    assert [piece.signals[0] for piece in grid_event.intervals] == [
        LimitSignal(Power(kw * 1000)) for kw in (1, 2, 1, 2, 1)
    ]


def test_a_shorter_event_is_cut() -> None:
    assert windows(accepted(event(duration="PT20M"))) == [(0, 1200)]


def test_a_constant_limit_loops_for_ever_as_one_interval() -> None:
    assert windows(accepted(event(duration="P9999Y"))) == [(0, math.inf)]


@pytest.mark.parametrize("duration", ["P9999Y", "P400D"])
def test_a_loop_without_bounds_is_refused(duration: str) -> None:
    content = event(duration=duration, intervals=[interval(limit(1)), interval(limit(2))])

    assert rejected(notice(content)).reason is Reason.TOO_MANY_INTERVALS


def test_more_than_4096_intervals_are_refused() -> None:
    content = event(payloadDescriptors=[PRICE_USD], intervals=[interval(price(*[0.1] * 2049))] * 2)

    assert rejected(notice(content)).reason is Reason.TOO_MANY_INTERVALS


def packed(intervals: int) -> dict[str, Any]:
    """Series of 63 and of 64 values side by side are 4032 slices, in a few hundred bytes."""
    units = [PRICE_USD, {"payloadType": "GHG", "units": "GHG"}]
    both = interval(price(*[0] * 63), payload("GHG", *[0] * 64))
    return event(payloadDescriptors=units, intervals=[both] * intervals)


MOST_BYTES = 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("read", "raw"),
    [
        (parse_notification, notice(packed(120))),
        (parse_snapshot, snapshot(*(packed(1) | {"id": f"e{at}"} for at in range(64)))),
    ],
)
def test_what_unrolls_into_too_much_is_refused_before_it_is_unrolled(
    read: Callable[..., MessageResult | Snapshot], raw: bytes
) -> None:
    """A message of 60 kB would be half a million slices: the loop waits while they are made."""
    tracemalloc.start()
    try:
        found = read(raw, contract=CONTRACT, now_utc_s=NOW_S)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert isinstance(found, Rejected)
    assert found.reason is Reason.TOO_MANY_INTERVALS
    assert peak_bytes < MOST_BYTES


def test_an_event_that_asks_for_reports_only_has_one_interval_without_signals() -> None:
    grid_event = accepted(event(intervals=[], reportDescriptors=[{"payloadType": "DEMAND"}]))

    assert windows(grid_event) == [(0, 3600)]
    assert grid_event.intervals[0].signals == ()


# --- cancelling


def test_delete_cancels_with_nothing_but_id_and_version() -> None:
    result = cancelled(notice({"id": "dr-7", "modificationDateTime": "2026-11-23T17:00:00Z"}, "DELETE"))

    assert (result.id, result.version_utc_s) == ("dr-7", NOW_S)


@pytest.mark.parametrize(
    "changes",
    [
        {"intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT0S"}},
        {"intervalPeriod": {"start": "0001-01-01", "duration": "P0D"}, "intervals": UNSET},
        {"intervalPeriod": {"start": "0001-01-01"}, "duration": "PT0S"},
        {
            "intervalPeriod": {"start": "0001-01-01", "duration": "PT0S"},
            "payloadDescriptors": UNSET,
            "intervals": [interval(limit(-5))],
        },
    ],
)
def test_zero_length_at_the_sentinel_start_cancels(changes: dict[str, Any]) -> None:
    assert cancelled(notice(event(**changes), "UPDATE")).id == "dr-7"


@pytest.mark.parametrize(
    "changes",
    [
        {"intervalPeriod": {"start": "2026-11-23T17:00:00Z", "duration": "PT0S"}},
        {"intervalPeriod": {"start": "0001-01-01", "duration": "PT1H"}, "duration": "PT0S"},
        {"intervalPeriod": {"start": "0001-01-01"}},
    ],
)
def test_a_length_of_zero_that_is_not_clearly_a_cancellation_is_refused(changes: dict[str, Any]) -> None:
    assert rejected(notice(event(**changes), "UPDATE")).reason is Reason.BAD_DURATION


def test_own_times_of_an_interval_beat_a_zero_length_default() -> None:
    content = event(
        intervalPeriod={"start": "0001-01-01", "duration": "PT0H"},
        intervals=[interval(limit(5), start="2026-11-23T18:00:00Z", duration="PT1H")],
    )

    assert windows(accepted(content)) == [(3600, 7200)]


# --- priority, deadline, randomisation, reports


def test_no_priority_is_lower_than_any() -> None:
    without, lowest = accepted(event(priority=None)), accepted(event(priority=10**9))

    assert without.priority > lowest.priority > accepted(event(priority=0)).priority


@pytest.mark.parametrize("priority", [-1, 1.5, True, "1"])
def test_a_priority_that_is_none_is_refused(priority: Any) -> None:
    assert rejected(notice(event(priority=priority))).reason is Reason.BAD_SHAPE


def test_the_tightest_ramp_deadline_counts() -> None:
    intervals = [interval(limit(1), payload("X_RAMP_DEADLINE", text)) for text in ("PT10M", "PT5M")]

    assert accepted(event(intervals=intervals)).ramp_deadline_s == 300


def test_without_a_deadline_the_programs_own_holds() -> None:
    contract = Contract(
        ven=CONTRACT.ven, nameplate=CONTRACT.nameplate, ramp_deadline_s={"ercot-ers10": 600.0}
    )

    assert accepted(event(), contract=contract).ramp_deadline_s == 600
    assert accepted(event(programID="other"), contract=contract).ramp_deadline_s == 0


@pytest.mark.parametrize(
    "values", [[600], ["soon"], [], ["-PT5M"], ["PT1M", "PT2M"], ["P9999Y"], ["PT24H1S"]]
)
def test_a_ramp_deadline_that_is_no_duration_within_a_day_is_refused(values: list[Any]) -> None:
    content = event(intervals=[interval(limit(1), payload("X_RAMP_DEADLINE", *values))])

    assert rejected(notice(content)).reason is Reason.BAD_DURATION


def randomised(**changes: Any) -> list[tuple[float, float]]:
    period = {"start": "2026-11-23T17:00:00Z", "duration": "PT1H", "randomizeStart": "-PT5M"}
    return windows(accepted(event(intervalPeriod=period, **changes)))


def test_a_randomised_start_only_delays_and_is_the_same_every_time() -> None:
    [(start_s, end_s)] = randomised()

    assert start_s == pytest.approx(113.221819)  # whatever process works it out
    assert end_s - start_s == pytest.approx(3600)
    assert randomised() == [(start_s, end_s)]
    assert randomised(id="dr-8") != [(start_s, end_s)]


def test_a_limit_of_priority_zero_is_not_delayed() -> None:
    assert randomised(priority=0) == [(0, 3600)]


@pytest.mark.parametrize(
    ("descriptor", "own", "every_s"),
    [
        ({"frequency": 0}, [], 10.0),
        ({}, [], math.inf),
        ({"frequency": 2}, [], math.inf),
        ({"frequency": 0}, [payload("X_REPORT_PERIOD", "PT1S")], 1.0),
        ({"frequency": 0}, [payload("X_REPORT_PERIOD", "PT0.01S")], 1.0),
    ],
)
def test_telemetry_is_sent_at_the_rate_the_event_asks(
    descriptor: dict[str, Any], own: list[dict[str, Any]], every_s: float
) -> None:
    content = event(
        intervals=[interval(limit(1), *own)], reportDescriptors=[{"payloadType": "DEMAND", **descriptor}]
    )

    [request] = accepted(content).reports
    assert (request.payload, request.every_s) == ("DEMAND", every_s)


# --- what is not known


def test_unknown_payloads_and_reports_are_ignored_and_named() -> None:
    content = event(
        intervals=[interval(limit(5), payload("X_OURS", 0.1), payload("OLS", 1, 0))],
        reportDescriptors=[{"payloadType": "STORAGE_CHARGE_LEVEL"}],
    )

    result = parsed(notice(content))

    assert isinstance(result, Accepted)
    assert result.ignored == ("OLS", "X_OURS", "report STORAGE_CHARGE_LEVEL")
    assert result.event.intervals[0].signals == (LimitSignal(Power(5000)),)
    assert result.event.reports == ()


@pytest.mark.parametrize(
    ("descriptor", "what"),
    [
        ({"payLoadType": "USAGE"}, "payloadType: Field required"),
        ({"payloadType": "DEMAND", "frequency": "often"}, "frequency: Input should be a valid integer"),
        ("DEMAND", "message: Input should be a valid dictionary"),
        (None, "message: Input should be a valid dictionary"),
    ],
)
def test_a_request_for_a_report_that_cannot_be_read_costs_no_command(descriptor: Any, what: str) -> None:
    result = parsed(notice(event(reportDescriptors=[descriptor, {"payloadType": "DEMAND"}])))

    assert isinstance(result, Accepted)
    assert result.event.intervals[0].signals == (LimitSignal(Power.kw(12_000)),)
    assert [request.payload for request in result.event.reports] == ["DEMAND"]
    [told] = result.ignored
    assert told.startswith(f"reportDescriptors.0.{what}")
    assert len(told) <= 120


def test_a_thousand_requests_that_cannot_be_read_are_told_in_a_few_words() -> None:
    result = parsed(notice(event(reportDescriptors=[{}] * 1000)))

    assert isinstance(result, Accepted)
    assert len(result.ignored) <= 16


def test_unknown_keys_do_no_harm() -> None:
    assert accepted(event(comment={"a": [1, None]})).id == "dr-7"


# --- envelope


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"\xff\xfe{}", Reason.NOT_JSON),
        (b"{} {}", Reason.NOT_JSON),
        (b"1" * 5000, Reason.NOT_JSON),
        (b'"\\ud800"', Reason.NOT_JSON),
        (b"null", Reason.BAD_SHAPE),
        (b"[1,2]", Reason.BAD_SHAPE),
        (b" " * 65_537, Reason.TOO_LARGE),
        (b"[" * 60_000, Reason.TOO_DEEP),
        (b'{"a":' * 10_000, Reason.TOO_DEEP),
        (b'{"a":1,"a":1}', Reason.DUPLICATE_KEY),
    ],
)
def test_bytes_that_are_no_notification_are_refused(raw: bytes, reason: Reason) -> None:
    result = rejected(raw)

    assert result.reason is reason
    assert result.id is None


def test_brackets_inside_a_string_are_no_depth() -> None:
    assert accepted(event(eventName="[" * 100 + '"' + "{" * 100)).name.startswith("[[")


def test_a_key_given_twice_is_refused_wherever_it_is() -> None:
    raw = notice(event()).replace(b'"values"', b'"values": [1.0], "values"')

    assert rejected(raw).reason is Reason.DUPLICATE_KEY


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"operation": "READ"}, Reason.UNSUPPORTED),
        ({"operation": "create"}, Reason.UNSUPPORTED),
        ({"targets": ["elsewhere"]}, Reason.NOT_ADDRESSED),
    ],
)
def test_a_notification_that_is_not_for_this_site_is_refused(changes: dict[str, Any], reason: Reason) -> None:
    result = rejected(notice(event(), **changes))

    assert (result.reason, result.id) == (reason, "dr-7")


def test_a_notification_about_anything_but_an_event_names_no_event() -> None:
    result = rejected(notice(event(), objectType="REPORT"))

    assert (result.reason, result.id) == (Reason.UNSUPPORTED, None)


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "DELETE"])
def test_an_event_with_other_targets_is_refused(operation: str) -> None:
    result = rejected(notice(event(targets=["elsewhere"]), operation))

    assert result.reason is Reason.NOT_ADDRESSED


@pytest.mark.parametrize("targets", [None, [], ["elsewhere", "site-tx1"], ["feeder-9"]])
def test_no_target_means_everybody_and_a_group_may_mean_us(targets: list[str] | None) -> None:
    names = frozenset({"feeder-9"})
    contract = Contract(ven=CONTRACT.ven, nameplate=CONTRACT.nameplate, names=names)

    assert accepted(event(targets=targets), contract=contract).id == "dr-7"


@pytest.mark.parametrize("event_id", ["", "a b", "a/b", "ü", "x" * 129, 7, None, UNSET])
def test_an_id_outside_the_standard_is_refused_and_not_repeated(event_id: Any) -> None:
    result = rejected(notice(event(id=event_id)))

    assert (result.reason, result.id) == (Reason.BAD_SHAPE, None)


def test_a_refusal_names_the_key_and_what_stood_there() -> None:
    result = rejected(notice(event(intervals=[{"id": 0, "payloads": [{"type": 5, "values": [1]}]}])))

    assert "intervals.0.payloads.0.type" in result.detail
    assert "got 5" in result.detail


# --- snapshot and heartbeat


def test_one_bad_event_does_not_spoil_a_snapshot_and_is_not_missing_from_it() -> None:
    bad = event(id="dr-8", payloadDescriptors=UNSET)

    result = listed(snapshot(event(), bad, seq=7))

    assert [type(item) for item in result.results] == [Accepted, Rejected]
    assert result.ids == {"dr-7", "dr-8"}
    assert (result.as_of_utc_s, result.seq) == (NOW_S, 7)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (snapshot(event(), event(id=UNSET)), Reason.BAD_SHAPE),
        (snapshot(event(), ven="elsewhere"), Reason.NOT_ADDRESSED),
        (snapshot(event(), as_of="2026-11-23T17:00:06Z"), Reason.FROM_THE_FUTURE),
        (snapshot(event(), seq=-1), Reason.BAD_SHAPE),
        (b'{"asOf":"2026-11-23T17:00:00Z","seq":1,"ven":"site-tx1"}', Reason.BAD_SHAPE),
    ],
)
def test_a_snapshot_that_cannot_be_trusted_whole_is_refused_whole(raw: bytes, reason: Reason) -> None:
    result = parse_snapshot(raw, contract=CONTRACT, now_utc_s=NOW_S)

    assert isinstance(result, Rejected)
    assert result.reason is reason


def test_a_snapshot_cannot_unroll_into_more_than_it_could_say() -> None:
    looping = [
        event(id=f"e{i}", duration="P160D", intervals=[interval(limit(1)), interval(limit(2))])
        for i in range(5)
    ]

    result = parse_snapshot(snapshot(*looping), contract=CONTRACT, now_utc_s=NOW_S)

    assert isinstance(result, Rejected)
    assert result.reason is Reason.TOO_MANY_INTERVALS


def test_a_snapshot_lists_no_more_events_than_a_site_could_know() -> None:
    result = parse_snapshot(
        snapshot(*({"id": f"e{i}"} for i in range(1025))), contract=CONTRACT, now_utc_s=NOW_S
    )

    assert isinstance(result, Rejected)
    assert (result.reason, "1024" in result.detail) == (Reason.BAD_SHAPE, True)


def test_a_heartbeat_is_its_number_and_its_clock() -> None:
    raw = json.dumps({"seq": 5, "utc": "2026-11-23T17:00:00Z"}).encode()

    assert parse_heartbeat(raw, now_utc_s=NOW_S) == Heartbeat(seq=5, utc_s=NOW_S)


@pytest.mark.parametrize("utc", ["2026-11-23T17:00:06Z", "now", 5])
def test_a_heartbeat_without_a_believable_clock_is_refused(utc: Any) -> None:
    raw = json.dumps({"seq": 5, "utc": utc}).encode()

    assert isinstance(parse_heartbeat(raw, now_utc_s=NOW_S), Rejected)


def test_the_parser_asks_no_clock() -> None:
    late = parse_notification(
        notice(event()), contract=CONTRACT, now_utc_s=instant("", "2030-01-01T00:00:00Z")
    )

    assert late == parsed(notice(event()))
