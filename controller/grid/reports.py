"""OpenADR 3.1 reports: what the grid operator is told, in the exact shape it is told in.

The id of a report is a function of what it states, so sending it twice states nothing new.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from controller.domain.grid import EventStatus
from controller.domain.power import ZERO, Bound, Limit, Power
from controller.grid.entries import Ack
from controller.grid.isotime import duration, stamp
from controller.grid.requests import UNITS
from controller.grid.site import DataQuality, OperatingState, Part
from controller.grid.tally import Average

EVENT_STATE, POSSIBLE, RELATIVE_TO = "X_EVENT_STATE", "X_POSSIBLE", "X_RELATIVE_TO"
"""Private types: where the event stands at the end of a report period; the draw nearest to what it asks for
where that cannot be had; what a relative set-point was settled against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who reports: `client_id` is the controller, `ven` the site."""

    client_id: str
    ven: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    id: str
    payload: bytes


def ack_report(sender: Sender, ack: Ack, *, tells_site: bool = True) -> Report:
    """The status of one version of an event, and where that may be told the site as it was at that instant.
    INFEASIBLE comes with the draw that is possible."""
    payloads = [_payload("X_EVENT_STATUS", ack.status.value, *ack.why)]
    if ack.stamp is not None:
        payloads.append(_payload("X_EVENT_VERSION", ack.stamp))
    if ack.ignored:
        payloads.append(_payload("X_IGNORED", *ack.ignored))
    payloads += _possible(ack.possible)
    descriptors: list[dict[str, Any]] = []
    if tells_site:
        payloads += [
            _payload("OPERATING_STATE", _state(ack).value),
            *_demand(ack.measured.demand, ack.measured.quality),
            *_setpoint(ack.measured.setpoint),
            _payload("DATA_QUALITY", ack.measured.quality.value),
        ]
        descriptors = [_descriptor("DEMAND", "DIRECT_READ"), _descriptor("SETPOINT")]
    resource = _resource(sender.ven, _period(ack.at_utc_s, 0.0), [{"id": 0, "payloads": payloads}])
    return _report(sender, ack.id, "ack", ack.event, ack.at_utc_s, descriptors, [resource])


def _state(ack: Ack) -> OperatingState:
    """Of what it refuses the site has opted out."""
    refused = ack.status is EventStatus.REJECTED
    return ack.measured.state.opted_out if refused else ack.measured.state


def telemetry_report(sender: Sender, average: Average, *more: Average) -> Report:
    """One report period, or several of one event and place: the site meter first, its parts for information.
    Of the site demand, set-point and what can still be shed are always told; the rest where it was asked for
    and there is a value. A baseline that was asked for and is not known is named as missing."""
    periods = (average, *more)
    own = [_period_of(one, len(periods)) | {"payloads": list(_told(one))} for one in periods]
    resources = [_resource(average.node or sender.ven, _time_of(average), own)]
    for part in average.parts:
        of_part = [
            _period_of(one, len(periods)) | {"payloads": _part(same)}
            for one in periods
            for same in one.parts
            if same.name == part.name
        ]
        resources.append(_resource(part.name, _time_of(average), of_part))
    asked = ",".join(sorted(average.payloads))
    statement = f"{average.event}\n{average.start_utc_s:.3f}\n{asked}"
    if more or average.node:
        statement += f"\n{periods[-1].end_utc_s:.3f}\n{average.node}"
    if average.quality is DataQuality.MISSING:
        statement += "\nnothing"  # a controller that began anew must not unsay what was told before
    report_id = f"tlm-{average.event[:80]}-{hashlib.sha256(statement.encode()).hexdigest()[:16]}"
    described: dict[str, dict[str, Any]] = {}
    for one in periods:
        for payload_type, reading_type in _descriptions(one):
            described.setdefault(payload_type, _descriptor(payload_type, reading_type))
    return _report(
        sender,
        report_id,
        "telemetry",
        average.event,
        periods[-1].end_utc_s,
        list(described.values()),
        resources,
    )


def _told(average: Average) -> Iterator[dict[str, Any]]:
    """The payloads of one report period."""
    yield from _demand(average.demand, average.quality)
    yield from _setpoint(average.setpoint)
    for payload_type, _, value in _measures(average):
        yield _payload(payload_type, value)
    if average.status is not None:
        yield _payload(EVENT_STATE, average.status.value)
    yield from _possible(average.possible)
    if "OPERATING_STATE" in average.payloads:
        yield _payload("OPERATING_STATE", average.state.value)
    if "BASELINE" in average.payloads and average.baseline is None:
        yield _payload("X_MISSING", "BASELINE")
    yield _payload("DATA_QUALITY", average.quality.value)


def _descriptions(average: Average) -> Iterator[tuple[str, str | None]]:
    yield "DEMAND", "MEAN"
    if not average.node:
        yield "SETPOINT", None
    for payload_type, reading_type, _ in _measures(average):
        yield payload_type, reading_type


def _period_of(average: Average, periods: int) -> dict[str, Any]:
    """The number of a period, and its own time where a report has several."""
    if periods == 1:
        return {"id": average.index}
    return {"id": average.index, "intervalPeriod": _time_of(average)}


def _time_of(average: Average) -> dict[str, str]:
    return _period(average.start_utc_s, average.end_utc_s - average.start_utc_s)


def _measures(average: Average) -> Iterator[tuple[str, str, float]]:
    """Payload type, reading type and value of what goes beside demand and set-point. Up regulation is what
    the grid gains when the site sheds, down regulation what it can hand to the site."""
    asked = average.payloads
    if average.baseline is not None:
        yield "BASELINE", "ESTIMATED", average.baseline.in_kw
    if average.shed_available is not None:
        yield "LOAD_SHED_DELTA_AVAILABLE", "FORECAST", average.shed_available.in_kw
        if "UP_REGULATION_AVAILABLE" in asked:
            yield "UP_REGULATION_AVAILABLE", "FORECAST", average.shed_available.in_kw
    if average.rise_available is not None and "DOWN_REGULATION_AVAILABLE" in asked:
        yield "DOWN_REGULATION_AVAILABLE", "FORECAST", average.rise_available.in_kw
    if "USAGE" in asked and average.quality is not DataQuality.MISSING:
        yield "USAGE", "SUMMED", round(max(average.usage_kwh, 0.0), 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One interval of an event that is over, as it is settled. None is what is not known. What a relative
    set-point was settled against is `relative_to`."""

    start_utc_s: float
    length_s: float
    demand: Power | None
    usage_kwh: float | None
    baseline: Power | None
    setpoint: Power | None
    quality: DataQuality
    compliance: str
    excuse: str = ""
    relative_to: Power | None = None


def interval_report(
    sender: Sender, event: str, *, at_utc_s: float, intervals: Sequence[Interval], method: str, node: str = ""
) -> dict[str, Any]:
    """The REPORT object on a whole event at the site, or at a `node` of it: what it was settled by, each
    interval with a period of its own."""
    resource = node or sender.ven
    types = (
        *(("USAGE", "SUMMED"), ("DEMAND", "MEAN"), ("BASELINE", "ESTIMATED"), ("SETPOINT", None)),
        (RELATIVE_TO, "MEAN"),
    )
    told: list[dict[str, Any]] = [
        {
            "id": index,
            "intervalPeriod": _period(interval.start_utc_s, interval.length_s),
            "payloads": list(_settled(interval)),
        }
        for index, interval in enumerate(intervals)
    ]
    present = {payload["type"] for interval in told for payload in interval["payloads"]}
    statement = json.dumps([resource, event, method, told], sort_keys=True)
    return _content(
        sender,
        f"set-{event[:80]}-{hashlib.sha256(statement.encode()).hexdigest()[:16]}",
        f"settlement {method}",
        event,
        at_utc_s,
        [_descriptor(kind, reading) for kind, reading in types if kind in present],
        [{"resourceName": resource, "intervals": told}],
    )


def _settled(interval: Interval) -> Iterator[dict[str, Any]]:
    if interval.usage_kwh is not None:
        yield _payload("USAGE", round(max(interval.usage_kwh, 0.0), 6))
    if interval.demand is not None:
        yield from _demand(interval.demand, interval.quality)
    if interval.baseline is not None:
        yield _payload("BASELINE", interval.baseline.in_kw)
    if interval.setpoint is not None:
        yield _payload("SETPOINT", interval.setpoint.in_kw)
    if interval.relative_to is not None:
        yield _payload(RELATIVE_TO, interval.relative_to.in_kw)
    yield _payload("DATA_QUALITY", interval.quality.value)
    yield _payload("X_COMPLIANCE", interval.compliance, *([interval.excuse] if interval.excuse else []))


def status_message(*, online: bool, birth: int, at_utc_s: float) -> bytes:
    """The retained word on whether the site is connected; the Will is the same with `online` false."""
    return _json({"online": online, "bdSeq": birth, "asOf": stamp(at_utc_s)})


def heartbeat_message(*, seq: int, at_utc_s: float, seal: str = "") -> bytes:
    """The site's controller decides: sent with a tick, never by a timer of its own. `seal` is the newest of
    the site's journal, for whoever wants to hold the site to it later."""
    return _json({"seq": seq, "utc": stamp(at_utc_s)} | ({"seal": seal} if seal else {}))


def _report(
    sender: Sender,
    report_id: str,
    name: str,
    event: str,
    at_utc_s: float,
    descriptors: list[dict[str, Any]],
    resources: list[dict[str, Any]],
) -> Report:
    content = _content(sender, report_id, name, event, at_utc_s, descriptors, resources)
    envelope = {"objectType": "REPORT", "operation": "CREATE", "targets": [sender.ven], "object": content}
    return Report(id=report_id, payload=_json(envelope))


def _content(
    sender: Sender,
    report_id: str,
    name: str,
    event: str,
    at_utc_s: float,
    descriptors: list[dict[str, Any]],
    resources: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "objectType": "REPORT",
        "id": report_id,
        "createdDateTime": stamp(at_utc_s),
        "modificationDateTime": stamp(at_utc_s),
        "clientID": sender.client_id,
        "eventID": event,
        "clientName": sender.ven,
        "reportName": name,
        "payloadDescriptors": [*descriptors, *_undescribed(descriptors, resources)],
        "resources": resources,
    }


def _undescribed(
    descriptors: list[dict[str, Any]], resources: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Every number has a unit, also those of private types that only some reports have."""
    described = {descriptor["payloadType"] for descriptor in descriptors}
    told = {
        payload["type"]
        for resource in resources
        for interval in resource["intervals"]
        for payload in interval["payloads"]
        if any(not isinstance(value, str) for value in payload["values"])
    }
    yield from (_descriptor(payload_type) for payload_type in sorted(told - described))


def _resource(name: str, period: dict[str, str], intervals: list[dict[str, Any]]) -> dict[str, Any]:
    return {"resourceName": name, "intervalPeriod": period, "intervals": intervals}


def _period(start_utc_s: float, length_s: float) -> dict[str, str]:
    return {"start": stamp(start_utc_s), "duration": duration(length_s)}


def _descriptor(payload_type: str, reading_type: str | None = None) -> dict[str, Any]:
    reading = {} if reading_type is None else {"readingType": reading_type}
    kind = {"objectType": "REPORT_PAYLOAD_DESCRIPTOR", "payloadType": payload_type}
    return {**kind, **reading, "units": UNITS.get(payload_type, "KW")}


def _payload(payload_type: str, *values: float | str) -> dict[str, Any]:
    return {"type": payload_type, "values": list(values)}


def _demand(demand: Power, quality: DataQuality) -> list[dict[str, Any]]:
    """DEMAND cannot be negative in the standard, so a site that exports says so in a type of its own."""
    if quality is DataQuality.MISSING:
        return []
    payloads = [_payload("DEMAND", max(demand, ZERO).in_kw)]
    if demand < ZERO:
        payloads.append(_payload("X_EXPORT", (ZERO - demand).in_kw))
    return payloads


def _setpoint(setpoint: Bound) -> list[dict[str, Any]]:
    return [_payload("SETPOINT", setpoint.power.in_kw)] if isinstance(setpoint, Limit) else []


def _possible(possible: Power | None) -> list[dict[str, Any]]:
    return [] if possible is None else [_payload(POSSIBLE, possible.in_kw)]


def _part(part: Part) -> list[dict[str, Any]]:
    return [*_demand(part.demand, part.quality), _payload("DATA_QUALITY", part.quality.value)]


def _json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
