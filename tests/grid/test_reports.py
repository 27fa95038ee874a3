"""Every message the site sends, held against what OpenADR 3.1 requires of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.grid import EventStatus
from controller.domain.power import NO_LIMIT, Limit, Power
from controller.grid.entries import Ack
from controller.grid.reports import Report, Sender, ack_report, status_message, telemetry_report
from controller.grid.requests import MAX_REPORTED
from controller.grid.results import MAX_PAYLOAD_BYTES
from controller.grid.site import UNMEASURED, DataQuality, Measured, OperatingState, Part
from controller.grid.tally import Average
from tests.grid.messages import NOW_S, VERSION
from tests.grid.published import REPORT_NOTIFICATION, complaints, undeclared

SENDER = Sender(client_id="site-tx1-ctl", ven="site-tx1")
ACK = Ack(
    event="dr-7",
    status=EventStatus.STARTED,
    at_utc_s=NOW_S + 0.085,
    version_utc_s=NOW_S,
    stamp=VERSION,
    measured=Measured(
        demand=Power(48_210_500),
        setpoint=Limit(Power(12_000_000)),
        quality=DataQuality.OK,
        state=OperatingState.RUNNING_CURTAILED,
    ),
)
AVERAGE = Average(
    event="dr-7",
    index=54,
    start_utc_s=NOW_S + 550,
    end_utc_s=NOW_S + 560,
    demand=Power(11_890_200),
    quality=DataQuality.OK,
    setpoint=Limit(Power(12_000_000)),
    baseline=Power(48_200_000),
    shed_available=Power(9_400_000),
    parts=(Part(name="asic", demand=Power(610_000), quality=DataQuality.ESTIMATED),),
)


def opened(report: Report) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(report.payload)["object"]
    return content


def values(resource: dict[str, Any]) -> dict[str, list[Any]]:
    [only] = resource["intervals"]
    return {payload["type"]: payload["values"] for payload in only["payloads"]}


@pytest.mark.parametrize(
    "report",
    [
        ack_report(SENDER, ACK),
        ack_report(SENDER, replace(ACK, measured=UNMEASURED, stamp=None, version_utc_s=None, why=("a", "b"))),
        ack_report(SENDER, replace(ACK, status=EventStatus.INFEASIBLE, possible=Power(620))),
        telemetry_report(SENDER, AVERAGE),
        telemetry_report(SENDER, replace(AVERAGE, status=EventStatus.INFEASIBLE, possible=Power(0))),
        telemetry_report(
            SENDER,
            replace(
                AVERAGE, quality=DataQuality.MISSING, setpoint=NO_LIMIT, baseline=None, shed_available=None
            ),
        ),
    ],
)
def test_every_report_has_what_the_standard_requires(report: Report) -> None:
    envelope = json.loads(report.payload)
    content = envelope["object"]

    assert (envelope["objectType"], envelope["operation"]) == ("REPORT", "CREATE")
    assert envelope["targets"] == ["site-tx1"]
    assert (content["clientID"], content["eventID"], content["clientName"]) == (
        "site-tx1-ctl",
        "dr-7",
        "site-tx1",
    )
    assert complaints(REPORT_NOTIFICATION, envelope) == []
    assert undeclared(content) == set()


def test_an_ack_tells_status_version_and_the_site_at_that_instant() -> None:
    content = opened(ack_report(SENDER, ACK))

    assert content["reportName"] == "ack"
    assert content["resources"][0]["intervalPeriod"] == {
        "start": "2026-11-23T17:00:00.085Z",
        "duration": "PT0S",
    }
    assert values(content["resources"][0]) == {
        "X_EVENT_STATUS": ["STARTED"],
        "X_EVENT_VERSION": [VERSION],
        "OPERATING_STATE": ["RUNNING_CURTAILED"],
        "DEMAND": [48_210.5],
        "SETPOINT": [12_000.0],
        "DATA_QUALITY": ["OK"],
    }


def test_a_rejection_carries_its_reason_second() -> None:
    ack = replace(ACK, status=EventStatus.REJECTED, why=("NO_UNITS", "intervals.0: no units"))

    content = opened(ack_report(SENDER, ack))

    assert values(content["resources"][0])["X_EVENT_STATUS"] == [
        "REJECTED",
        "NO_UNITS",
        "intervals.0: no units",
    ]


def test_of_what_it_refuses_the_site_has_opted_out() -> None:
    def state(status: EventStatus, was: OperatingState) -> str:
        ack = replace(ACK, status=status, measured=replace(ACK.measured, state=was))
        [word] = values(opened(ack_report(SENDER, ack))["resources"][0])["OPERATING_STATE"]
        return str(word)

    assert state(EventStatus.REJECTED, OperatingState.RUNNING_CURTAILED) == "RUNNING_OPTED_OUT"
    assert state(EventStatus.REJECTED, OperatingState.IDLE_NORMAL) == "IDLE_OPTED_OUT"
    assert state(EventStatus.STARTED, OperatingState.IDLE_NORMAL) == "IDLE_NORMAL"


def test_several_periods_are_one_report_each_with_its_own_time() -> None:
    later = replace(AVERAGE, index=55, start_utc_s=AVERAGE.end_utc_s, end_utc_s=AVERAGE.end_utc_s + 10)

    content = opened(telemetry_report(SENDER, AVERAGE, later))

    site, asic = content["resources"]
    for resource in (site, asic):
        assert [(one["id"], one["intervalPeriod"]["start"][14:19]) for one in resource["intervals"]] == [
            (54, "09:10"),
            (55, "09:20"),
        ]
    assert len(content["payloadDescriptors"]) == 4
    assert content["id"] != opened(telemetry_report(SENDER, AVERAGE))["id"]


def test_a_node_is_told_under_its_own_name_without_the_parts_of_the_site() -> None:
    node = replace(AVERAGE, node="row-a", setpoint=NO_LIMIT, baseline=None, shed_available=None, parts=())

    content = opened(telemetry_report(SENDER, node))

    [resource] = content["resources"]
    assert resource["resourceName"] == "row-a"
    assert values(resource) == {"DEMAND": [11_890.2], "DATA_QUALITY": ["OK"]}
    assert content["id"] != opened(telemetry_report(SENDER, replace(node, node="row-b")))["id"]


def test_nothing_measured_does_not_replace_what_was_told_of_the_same_period() -> None:
    nothing = replace(AVERAGE, quality=DataQuality.MISSING)

    assert telemetry_report(SENDER, nothing).id != telemetry_report(SENDER, AVERAGE).id


def test_a_report_of_as_many_intervals_as_there_may_be_fits_into_a_message() -> None:
    full = replace(
        AVERAGE,
        rise_available=Power(9_400_000),
        payloads=frozenset(
            {"USAGE", "OPERATING_STATE", "UP_REGULATION_AVAILABLE", "DOWN_REGULATION_AVAILABLE"}
        ),
        status=EventStatus.INFEASIBLE,
        possible=Power(11_890_200),
        parts=tuple(replace(AVERAGE.parts[0], name=name) for name in ("asic", "gpu", "fixed")),
    )

    report = telemetry_report(SENDER, *[full] * MAX_REPORTED)

    assert len(report.payload) < MAX_PAYLOAD_BYTES


def test_what_was_ignored_is_reported() -> None:
    content = opened(ack_report(SENDER, replace(ACK, ignored=("GHG", "OLS"))))

    assert values(content["resources"][0])["X_IGNORED"] == ["GHG", "OLS"]


def test_the_same_ack_is_the_same_bytes() -> None:
    assert ack_report(SENDER, ACK) == ack_report(SENDER, ACK)


def test_a_demand_that_is_missing_is_not_reported_as_zero() -> None:
    content = opened(ack_report(SENDER, replace(ACK, measured=UNMEASURED)))

    assert "DEMAND" not in values(content["resources"][0])
    assert values(content["resources"][0])["DATA_QUALITY"] == ["MISSING"]


def test_a_site_without_cap_reports_no_set_point() -> None:
    content = opened(telemetry_report(SENDER, replace(AVERAGE, setpoint=NO_LIMIT)))

    assert "SETPOINT" not in values(content["resources"][0])


def test_export_has_a_type_of_its_own_because_demand_cannot_be_negative() -> None:
    content = opened(telemetry_report(SENDER, replace(AVERAGE, demand=Power(-2500))))

    assert values(content["resources"][0])["DEMAND"] == [0.0]
    assert values(content["resources"][0])["X_EXPORT"] == [2.5]


def test_telemetry_puts_the_site_meter_first_and_its_parts_after() -> None:
    content = opened(telemetry_report(SENDER, AVERAGE))

    assert content["reportName"] == "telemetry"
    assert [resource["resourceName"] for resource in content["resources"]] == ["site-tx1", "asic"]
    assert content["resources"][0]["intervals"][0]["id"] == 54
    assert content["resources"][0]["intervalPeriod"] == {
        "start": "2026-11-23T17:09:10.000Z",
        "duration": "PT10S",
    }
    assert values(content["resources"][0]) == {
        "DEMAND": [11_890.2],
        "SETPOINT": [12_000.0],
        "BASELINE": [48_200.0],
        "LOAD_SHED_DELTA_AVAILABLE": [9_400.0],
        "DATA_QUALITY": ["OK"],
    }
    assert values(content["resources"][1]) == {"DEMAND": [610.0], "DATA_QUALITY": ["ESTIMATED"]}


def test_two_periods_of_an_event_have_two_ids_and_one_period_has_one() -> None:
    first, again = telemetry_report(SENDER, AVERAGE), telemetry_report(SENDER, replace(AVERAGE, index=9))
    other = telemetry_report(SENDER, replace(AVERAGE, start_utc_s=NOW_S + 560, end_utc_s=NOW_S + 570))

    assert first.id == again.id != other.id


def test_the_status_message_names_its_connection() -> None:
    content = json.loads(status_message(online=False, birth=17, at_utc_s=NOW_S))

    assert content == {"online": False, "bdSeq": 17, "asOf": "2026-11-23T17:00:00.000Z"}


def test_what_was_asked_for_is_told_beside_what_always_is() -> None:
    asked = frozenset({"USAGE", "OPERATING_STATE", "UP_REGULATION_AVAILABLE", "DOWN_REGULATION_AVAILABLE"})
    average = replace(
        AVERAGE, payloads=asked, rise_available=Power(500_000), state=OperatingState.RUNNING_CURTAILED
    )

    content = opened(telemetry_report(SENDER, average))

    told = values(content["resources"][0])
    assert told["USAGE"] == [pytest.approx(11_890.2 * 10 / 3600, abs=1e-6)]
    assert told["OPERATING_STATE"] == ["RUNNING_CURTAILED"]
    assert (told["UP_REGULATION_AVAILABLE"], told["DOWN_REGULATION_AVAILABLE"]) == ([9_400.0], [500.0])
    units = {item["payloadType"]: item["units"] for item in content["payloadDescriptors"]}
    assert (units["USAGE"], units["UP_REGULATION_AVAILABLE"]) == ("KWH", "KW")


def test_energy_that_was_not_measured_is_not_told() -> None:
    average = replace(AVERAGE, payloads=frozenset({"USAGE"}), quality=DataQuality.MISSING)

    assert "USAGE" not in values(opened(telemetry_report(SENDER, average))["resources"][0])


def test_two_reports_of_one_instant_are_two_reports() -> None:
    one, other = (replace(AVERAGE, payloads=frozenset({name})) for name in ("USAGE", "DEMAND"))

    assert telemetry_report(SENDER, one).id != telemetry_report(SENDER, other).id


def test_a_baseline_that_was_asked_for_and_is_not_known_is_named_as_missing() -> None:
    average = replace(AVERAGE, baseline=None, payloads=frozenset({"BASELINE", "DEMAND"}))

    told = values(opened(telemetry_report(SENDER, average))["resources"][0])

    assert "BASELINE" not in told
    assert told["X_MISSING"] == ["BASELINE"]
