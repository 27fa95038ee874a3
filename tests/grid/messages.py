"""Builders of OpenADR messages for tests: valid unless a test says otherwise."""

from __future__ import annotations

import json
from typing import Any

from controller.domain.grid import GridEvent
from controller.domain.power import Power
from controller.grid.isotime import instant
from controller.grid.openadr import parse_notification, parse_snapshot
from controller.grid.results import Accepted, Cancelled, Contract, MessageResult, Rejected, Snapshot

VEN = "site-tx1"
VERSION = "2026-11-23T17:00:00.000Z"
START = "2026-11-23T17:00:00Z"
NOW_S = instant("now", START)
CONTRACT = Contract(ven=VEN, nameplate=Power.kw(60_000), report_every_s=10.0)

LIMIT_KW = {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "IMPORT_CAPACITY_LIMIT", "units": "KW"}
PRICE_USD = {
    "objectType": "EVENT_PAYLOAD_DESCRIPTOR",
    "payloadType": "PRICE",
    "units": "KWH",
    "currency": "USD",
}
UNSET = object()


def payload(type_: str, *values: Any) -> dict[str, Any]:
    return {"type": type_, "values": list(values)}


def limit(kw: float) -> dict[str, Any]:
    return payload("IMPORT_CAPACITY_LIMIT", kw)


def price(*usd: float) -> dict[str, Any]:
    return payload("PRICE", *usd)


def interval(*payloads: dict[str, Any], **period: Any) -> dict[str, Any]:
    own = {"intervalPeriod": period} if period else {}
    return {"id": 0, "payloads": list(payloads), **own}


def event(**changes: Any) -> dict[str, Any]:
    """A limit of 12 MW for one hour. `UNSET` removes a key."""
    content = {
        "objectType": "EVENT",
        "id": "dr-7",
        "programID": "ercot-ers10",
        "createdDateTime": VERSION,
        "modificationDateTime": VERSION,
        "priority": 1,
        "targets": [VEN],
        "payloadDescriptors": [LIMIT_KW],
        "intervalPeriod": {"start": START, "duration": "PT1H"},
        "intervals": [interval(limit(12_000.0))],
    } | changes
    return {key: value for key, value in content.items() if value is not UNSET}


def notice(content: dict[str, Any], operation: str = "CREATE", **changes: Any) -> bytes:
    envelope = {"objectType": "EVENT", "operation": operation, "targets": [VEN], "object": content}
    return json.dumps(envelope | changes).encode()


def snapshot(*events: dict[str, Any], as_of: str = VERSION, seq: int = 1, ven: str = VEN) -> bytes:
    return json.dumps({"asOf": as_of, "seq": seq, "ven": ven, "events": list(events)}).encode()


def parsed(payload: bytes, *, now_utc_s: float = NOW_S, contract: Contract = CONTRACT) -> MessageResult:
    return parse_notification(payload, contract=contract, now_utc_s=now_utc_s)


def accepted(content: dict[str, Any], *, contract: Contract = CONTRACT) -> GridEvent:
    result = parsed(notice(content), contract=contract)
    assert isinstance(result, Accepted), result
    return result.event


def cancelled(payload: bytes) -> Cancelled:
    result = parsed(payload)
    assert isinstance(result, Cancelled), result
    return result


def rejected(payload: bytes, *, now_utc_s: float = NOW_S) -> Rejected:
    result = parsed(payload, now_utc_s=now_utc_s)
    assert isinstance(result, Rejected), result
    return result


def listed(payload: bytes, *, now_utc_s: float = NOW_S) -> Snapshot:
    result = parse_snapshot(payload, contract=CONTRACT, now_utc_s=now_utc_s)
    assert isinstance(result, Snapshot), result
    return result


def windows(event: GridEvent) -> list[tuple[float, float]]:
    """Start and end of each interval in seconds after `NOW_S`."""
    return [(piece.start_utc_s - NOW_S, piece.end_utc_s - NOW_S) for piece in event.intervals]
