"""Events as the published schema of OpenADR 3.1 allows them: none may be refused for its shape.

The strategies restate the schema's facts: which fields exist, which may be left out, and what is in them.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.grid import LimitSignal, TargetSignal
from controller.domain.power import Power
from controller.grid.results import Accepted, Cancelled, Reason, Rejected
from tests.grid.messages import CONTRACT, VEN, event, interval, notice, parsed, payload

SHAPE = {Reason.BAD_SHAPE, Reason.NOT_JSON, Reason.TOO_DEEP, Reason.DUPLICATE_KEY, Reason.UNSUPPORTED}
"""What no event of the schema may be refused for: the other reasons are of power, units, time and rights."""

EVENT_TYPES = (
    *("SIMPLE", "PRICE", "CHARGE_STATE_SETPOINT", "DISPATCH_SETPOINT", "DISPATCH_SETPOINT_RELATIVE"),
    *("DISPATCH_INSTRUCTION", "CONTROL_SETPOINT", "CONTROL_LEVEL_OFFSET", "CONTROL_LEVEL_OFFSET_PERCENT"),
    *("EXPORT_PRICE", "GHG", "CURVE", "OLS", "IMPORT_CAPACITY_SUBSCRIPTION", "IMPORT_CAPACITY_RESERVATION"),
    *("IMPORT_CAPACITY_RESERVATION_FEE", "IMPORT_CAPACITY_AVAILABLE", "IMPORT_CAPACITY_AVAILABLE_PRICE"),
    *("IMPORT_CAPACITY_LIMIT", "EXPORT_CAPACITY_LIMIT", "ALERT_GRID_EMERGENCY", "ALERT_BLACK_START"),
    *("ALERT_POSSIBLE_OUTAGE", "ALERT_FLEX_ALERT", "ALERT_FIRE", "ALERT_FREEZING", "ALERT_WIND"),
    *("ALERT_TSUNAMI", "ALERT_AIR_QUALITY", "ALERT_OTHER", "CTA2045_REBOOT", "X_OF_OUR_OWN"),
)
UNITS = (
    *("KWH", "GHG", "VOLTS", "AMPS", "CELSIUS", "FAHRENHEIT", "PERCENT", "KW", "KVAH", "KVARH", "KVA"),
    *("KVAR", "THERMS"),
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9)
VALUES = NUMBERS | st.text(max_size=20) | st.booleans() | st.fixed_dictionaries({"x": NUMBERS, "y": NUMBERS})
STARTS = st.sampled_from(
    ["0001-01-01", "0001-01-01T00:00:00Z", "2026-11-23T17:00:00Z", "2026-11-23T12:00:00-05:00"]
)
DURATIONS = st.sampled_from(["PT0S", "PT15M", "PT1H", "P1D", "P1W", "P9999Y", "P1DT2H3.5S", "-PT5M"])
PERIODS = st.fixed_dictionaries(
    {}, optional={"start": STARTS, "duration": DURATIONS, "randomizeStart": DURATIONS}
)
PAYLOADS = st.fixed_dictionaries(
    {"type": st.sampled_from(EVENT_TYPES), "values": st.lists(VALUES, max_size=4)}
)
INTERVALS = st.fixed_dictionaries(
    {"id": st.integers(-(2**31), 2**31 - 1), "payloads": st.lists(PAYLOADS, max_size=3)},
    optional={"intervalPeriod": PERIODS},
)
DESCRIPTORS = st.fixed_dictionaries(
    {"objectType": st.just("EVENT_PAYLOAD_DESCRIPTOR"), "payloadType": st.sampled_from(EVENT_TYPES)},
    optional={"units": st.sampled_from(UNITS), "currency": st.sampled_from(["USD", "EUR"])},
)
REPORTS = st.fixed_dictionaries(
    {"payloadType": st.sampled_from(["DEMAND", "USAGE", "BASELINE", "STORAGE_CHARGE_LEVEL", "X_OWN"])},
    optional={
        "readingType": st.sampled_from(["DIRECT_READ", "MEAN", "FORECAST"]),
        "units": st.sampled_from(UNITS),
        "targets": st.lists(st.just(VEN), max_size=2),
        "aggregate": st.booleans(),
        "startInterval": st.integers(-1, 5),
        "numIntervals": st.integers(-1, 5),
        "historical": st.booleans(),
        "frequency": st.integers(-1, 5),
        "repeat": st.integers(-1, 5),
        "reportIntervals": st.sampled_from(["INTERVALS", "SUB_INTERVALS", "OPEN_INTERVALS"]),
    },
)
EVENTS = st.fixed_dictionaries(
    {
        "objectType": st.just("EVENT"),
        "id": st.from_regex(r"[a-zA-Z0-9_-]{1,128}", fullmatch=True),
        "createdDateTime": st.just("2026-11-23T17:00:00.000Z"),
        "modificationDateTime": st.just("2026-11-23T17:00:00.000Z"),
        "programID": st.from_regex(r"[a-zA-Z0-9_-]{1,128}", fullmatch=True),
    },
    optional={
        "eventName": st.none() | st.text(max_size=40),
        "priority": st.none() | st.integers(0, 2**31),
        "duration": DURATIONS,
        "targets": st.none() | st.just([]) | st.just([VEN]),
        "reportDescriptors": st.none() | st.lists(REPORTS, max_size=3),
        "payloadDescriptors": st.none() | st.lists(DESCRIPTORS, max_size=4),
        "intervalPeriod": PERIODS,
        "intervals": st.lists(INTERVALS, max_size=4),
    },
)


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.sampled_from(["CREATE", "UPDATE", "DELETE"]))
def test_no_event_of_the_schema_is_refused_for_its_shape(content: dict[str, Any], operation: str) -> None:
    result = parsed(notice(content, operation))

    assert isinstance(result, Accepted | Cancelled) or result.reason not in SHAPE
    assert isinstance(result, Cancelled) or operation != "DELETE"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_power_within_the_nameplate_is_obeyed_to_the_watt(data: st.DataObject) -> None:
    type_, signal = data.draw(
        st.sampled_from([("IMPORT_CAPACITY_LIMIT", LimitSignal), ("DISPATCH_SETPOINT", TargetSignal)])
    )
    unit, per_watt = data.draw(st.sampled_from([("KW", 1000), ("MW", 1_000_000), ("W", 1)]))
    watts = data.draw(st.integers(0, CONTRACT.nameplate.watts))

    result = parsed(
        notice(
            event(
                payloadDescriptors=[{"payloadType": type_, "units": unit}],
                intervals=[interval(payload(type_, watts / per_watt))],
            )
        )
    )

    assert isinstance(result, Accepted)
    [found] = result.event.intervals[0].signals
    assert found == signal(Power(watts))


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_the_same_event_means_the_same_whenever_it_arrives(content: dict[str, Any]) -> None:
    raw = json.dumps({"objectType": "EVENT", "operation": "CREATE", "object": content}).encode()

    now, later = parsed(raw), parsed(raw, now_utc_s=1_900_000_000.0)

    assert now == later or isinstance(now, Rejected)
