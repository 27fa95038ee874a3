"""The messages of the simulated grid operator: OpenADR 3.1 objects written, and reports read.

Written from the standard alone: it shares no code with the controller that has to understand them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """One acknowledgement as it came in. `arrived_utc_s` is the operator's clock."""

    id: str
    event: str
    status: str
    version: str
    why: tuple[str, ...]
    arrived_utc_s: float
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One interval of telemetry as it came in."""

    id: str
    event: str
    start: str
    duration: str
    demand_kw: float | None
    setpoint_kw: float | None
    quality: str
    arrived_utc_s: float
    body: Mapping[str, Any]


def new_event(
    event_id: str,
    version: str,
    ven: str,
    payload_type: str,
    units: Mapping[str, str],
    *,
    priority: int | None = None,
    wants_reports: bool = False,
) -> dict[str, Any]:
    """Everything of an event but its time and its values."""
    descriptor = {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": payload_type, **units}
    request = {"payloadType": "DEMAND", "readingType": "MEAN", "units": "KW", "frequency": 0, "repeat": -1}
    return {
        "objectType": "EVENT",
        "id": event_id,
        "programID": "simulated",
        "createdDateTime": version,
        "modificationDateTime": version,
        "targets": [ven],
        "payloadDescriptors": [descriptor],
        **({} if priority is None else {"priority": priority}),
        **({"reportDescriptors": [request]} if wants_reports else {}),
    }


def window(
    start_utc_s: float, duration_s: float, intervals: Sequence[Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """The time of an event, and the payloads of its intervals, one after the other."""
    return {
        "intervalPeriod": {"start": stamp(start_utc_s), "duration": duration(duration_s)},
        "intervals": [{"id": index, "payloads": list(payloads)} for index, payloads in enumerate(intervals)],
    }


def private_times(ramp_s: float | None, report_s: float | None) -> list[dict[str, Any]]:
    times = {"X_RAMP_DEADLINE": ramp_s, "X_REPORT_PERIOD": report_s}
    return [payload(name, duration(time_s)) for name, time_s in times.items() if time_s is not None]


def payload(payload_type: str, value: float | str) -> dict[str, Any]:
    return {"type": payload_type, "values": [value]}


def stamp(utc_s: float) -> str:
    text = datetime.fromtimestamp(utc_s, tz=UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def duration(length_s: float) -> str:
    return "P9999Y" if length_s == float("inf") else f"PT{length_s:.3f}".rstrip("0").rstrip(".") + "S"


def to_json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode()


def read_report(report: Mapping[str, Any], arrived_utc_s: float) -> list[Ack | Sample]:
    """What a report of the site says; a `KeyError` and its like if it says it in no known way."""
    resource = report["resources"][0]
    period = resource["intervalPeriod"]
    about = {"id": report["id"], "event": report["eventID"], "arrived_utc_s": arrived_utc_s, "body": report}
    found: list[Ack | Sample] = []
    for interval in resource["intervals"]:
        values = {payload["type"]: payload["values"] for payload in interval["payloads"]}
        if "X_EVENT_STATUS" in values:
            status, *why = values["X_EVENT_STATUS"]
            version = values.get("X_EVENT_VERSION", [""])[0]
            found.append(Ack(**about, status=status, version=version, why=tuple(why)))
        else:
            demand_kw = values.get("DEMAND", [None])[0]
            setpoint_kw = values.get("SETPOINT", [None])[0]
            quality = values["DATA_QUALITY"][0]
            time = {"start": period["start"], "duration": period["duration"]}
            powers = {"demand_kw": demand_kw, "setpoint_kw": setpoint_kw, "quality": quality}
            found.append(Sample(**about, **time, **powers))
    return found
