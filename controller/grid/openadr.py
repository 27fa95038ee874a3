"""OpenADR 3.1 notifications, snapshots and heartbeats: bytes in, values out.

Tolerant of what the site does not know, strict on power, units and time: what cannot be read exactly is
refused whole, with the key and the value named. It never raises, whatever the bytes, and never reads a clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from controller.domain.grid import (
    EventInterval,
    GridEvent,
    LimitSignal,
    PriceSignal,
    RelativeTargetSignal,
    TargetSignal,
)
from controller.grid.eventtimes import Times, delayed, fraction, times_of
from controller.grid.intervals import Period, Written, lay_out
from controller.grid.isotime import instant
from controller.grid.requests import readable, requests_of
from controller.grid.results import (
    MAX_AHEAD_S,
    MAX_INTERVALS,
    Accepted,
    Cancelled,
    Contract,
    Heartbeat,
    MessageResult,
    Reason,
    Rejected,
    Snapshot,
)
from controller.grid.rights import check_rights
from controller.grid.signals import deadline_s, left_out, slices, units_of
from controller.grid.strictjson import MessageError, decode, shown
from controller.grid.wire import (
    DescriptorWire,
    EventHeadWire,
    EventWire,
    HeartbeatWire,
    IntervalWire,
    NotificationWire,
    ReportDescriptorWire,
    SnapshotWire,
    read,
)

SOURCE = "openadr"
MAX_SNAPSHOT_INTERVALS = 4 * MAX_INTERVALS

_OfTheSite = TargetSignal | RelativeTargetSignal | PriceSignal
"""What is about the whole site, and not followed at a node."""
_LOWEST_PRIORITY = 999_999
"""The lowest that can be asked for: just above `GridEvent`'s default, which is no priority at all."""

_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}", re.ASCII)


def parse_notification(payload: bytes, *, contract: Contract, now_utc_s: float) -> MessageResult:
    """One CREATE, UPDATE or DELETE of an event."""
    raw: Any = None
    try:
        raw = decode(payload)
        notification = read(NotificationWire, raw)
        if notification.object_type != "EVENT":
            raise MessageError(Reason.UNSUPPORTED, f"objectType: {shown(notification.object_type)}")
        _node("targets", notification.targets, contract)
        match notification.operation:
            case "CREATE" | "UPDATE":
                return _event(notification.object, contract, now_utc_s)
            case "DELETE":
                head, version_utc_s = _head(notification.object, contract, now_utc_s)
                stamp = head.modification_date_time
                return Cancelled(id=head.id, version_utc_s=version_utc_s, stamp=stamp)
            case other:
                raise MessageError(Reason.UNSUPPORTED, f"operation: {shown(other)}")
    except MessageError as refusal:
        return _rejected(refusal, _event_in(raw))


def parse_snapshot(payload: bytes, *, contract: Contract, now_utc_s: float) -> Snapshot | Rejected:
    """Every event the operator knows. An event that is refused does not spoil the others; one whose id
    cannot be read does, because then nobody can say which one is missing."""
    try:
        envelope = read(SnapshotWire, decode(payload))
        as_of_utc_s = _stamp("asOf", envelope.as_of, now_utc_s)
        if envelope.ven != contract.ven:
            raise MessageError(Reason.NOT_ADDRESSED, f"ven: {shown(envelope.ven)} is not {contract.ven}")
        ids = [_id_of(item) for item in envelope.events]
        if None in ids:
            raise MessageError(Reason.BAD_SHAPE, f"events.{ids.index(None)}.id: missing or malformed")
        results = _snapshot_items(envelope.events, contract, now_utc_s)
    except MessageError as refusal:
        return Rejected(reason=refusal.reason, detail=refusal.detail)
    return Snapshot(
        as_of_utc_s=as_of_utc_s,
        seq=envelope.seq,
        ids=frozenset(event_id for event_id in ids if event_id is not None),
        results=tuple(results),
    )


def parse_heartbeat(payload: bytes, *, now_utc_s: float) -> Heartbeat | Rejected:
    try:
        beat = read(HeartbeatWire, decode(payload))
        return Heartbeat(seq=beat.seq, utc_s=_stamp("utc", beat.utc, now_utc_s))
    except MessageError as refusal:
        return Rejected(reason=refusal.reason, detail=refusal.detail)


def _snapshot_items(
    items: Sequence[dict[str, Any]], contract: Contract, now_utc_s: float
) -> list[MessageResult]:
    """Refused as soon as it is too much: a small message may unroll into far more than is ever taken."""
    results: list[MessageResult] = []
    count = 0
    for item in items:
        result = _snapshot_item(item, contract, now_utc_s)
        results.append(result)
        count += len(result.event.intervals) if isinstance(result, Accepted) else 0
        if count > MAX_SNAPSHOT_INTERVALS:
            detail = f"more than {MAX_SNAPSHOT_INTERVALS} intervals"
            raise MessageError(Reason.TOO_MANY_INTERVALS, detail)
    return results


def _snapshot_item(item: dict[str, Any], contract: Contract, now_utc_s: float) -> MessageResult:
    try:
        return _event(item, contract, now_utc_s)
    except MessageError as refusal:
        return _rejected(refusal, item)


def _event(raw: dict[str, Any], contract: Contract, now_utc_s: float) -> MessageResult:
    head, version_utc_s = _head(raw, contract, now_utc_s)
    stamp = head.modification_date_time
    wire = read(EventWire, raw)
    times = times_of(wire)
    if times.cancels:
        return Cancelled(id=wire.id, version_utc_s=version_utc_s, stamp=stamp)
    descriptors, unread = readable(wire.report_descriptors or [])
    intervals = _intervals(wire, times, descriptors, contract, version_utc_s)
    check_rights(intervals, contract.rights)
    node = _node("object.targets", wire.targets, contract)
    if node and any(isinstance(signal, _OfTheSite) for piece in intervals for signal in piece.signals):
        detail = "set-points and prices are for the whole site"
        raise MessageError(Reason.UNSUPPORTED, f"object.targets: {node}: {detail}")
    limited = any(isinstance(signal, LimitSignal) for piece in intervals for signal in piece.signals)
    delay_s = 0.0 if limited and wire.priority == 0 else times.most_delay_s * fraction(contract.ven, wire.id)
    default_s = contract.ramp_deadline_s.get(wire.program_id or "", 0.0)
    written = wire.intervals or []
    reports, unmet = requests_of(descriptors, written, intervals, contract)
    event = GridEvent(
        id=wire.id,
        version_utc_s=version_utc_s,
        source=SOURCE,
        intervals=tuple(delayed(piece, delay_s) for piece in intervals),
        ramp_deadline_s=deadline_s(written, default_s),
        name=(wire.event_name or "")[:128],
        reports=reports,
        node=node,
    )
    if wire.priority is not None:
        event = replace(event, priority=min(wire.priority, _LOWEST_PRIORITY))
    unused = left_out(written, units_of(wire.payload_descriptors or []), contract)
    return Accepted(event=event, stamp=stamp, ignored=(*unused, *unread, *unmet, *times.ignored)[:16])


def _head(raw: dict[str, Any], contract: Contract, now_utc_s: float) -> tuple[EventHeadWire, float]:
    """The event's identity and the version of it that this message is."""
    head = read(EventHeadWire, raw)
    if head.object_type not in (None, "EVENT"):
        raise MessageError(Reason.UNSUPPORTED, f"object.objectType: {shown(head.object_type)}")
    version_utc_s = _stamp("modificationDateTime", head.modification_date_time, now_utc_s)
    _node("object.targets", head.targets, contract)
    return head, version_utc_s


def _intervals(
    wire: EventWire,
    times: Times,
    descriptors: Sequence[ReportDescriptorWire],
    contract: Contract,
    version_utc_s: float,
) -> tuple[EventInterval, ...]:
    """The event in time. The sentinel start means the moment the operator wrote this version, so that the
    same message means the same hours whenever, and however often, it arrives."""
    units = units_of(wire.payload_descriptors or [])
    if wire.intervals:
        written = _written(wire.intervals, times, units, contract)
    elif times.event.start is not None:
        written = (Written(period=Period()),)  # a request for reports only: one implied interval
    else:
        raise MessageError(Reason.BAD_INTERVALS, "neither intervals nor intervalPeriod.start")
    counted = any(
        descriptor.frequency > 0 or descriptor.start_interval >= 0 or descriptor.num_intervals > 0
        for descriptor in descriptors
    )
    return lay_out(times.event, written, now_utc_s=version_utc_s, life_s=times.life_s, counted=counted)


def _written(
    intervals: Sequence[IntervalWire], times: Times, units: Mapping[str, DescriptorWire], contract: Contract
) -> tuple[Written, ...]:
    """Refused as soon as it is too much, as `_snapshot_items`."""
    found: list[Written] = []
    count = 0
    for index, (interval, period) in enumerate(zip(intervals, times.intervals, strict=True)):
        pieces = slices(f"intervals.{index}", interval.payloads, units, contract)
        found.append(Written(period=period, slices=pieces, label=_label(interval.id, index)))
        count += len(pieces)
        if count > MAX_INTERVALS:
            raise MessageError(Reason.TOO_MANY_INTERVALS, f"intervals: more than {MAX_INTERVALS} slices")
    return tuple(found)


def _label(written: object, index: int) -> int:
    """The sender's own number for an interval; where there is none that can be one, its place."""
    if isinstance(written, int) and not isinstance(written, bool) and -(2**31) <= written < 2**31:
        return written
    return index


def _stamp(key: str, text: str, now_utc_s: float) -> float:
    """An instant of the sender's clock. One from the future would beat every honest one after it."""
    utc_s = instant(key, text)
    if utc_s > now_utc_s + MAX_AHEAD_S:
        raise MessageError(
            Reason.FROM_THE_FUTURE, f"{key}: {shown(text)} is {utc_s - now_utc_s:.1f} s ahead of us"
        )
    return utc_s


def _node(key: str, targets: list[str] | None, contract: Contract) -> str:
    """The node that `targets` aim at; empty for the whole site, which is meant wherever it is named."""
    if not targets or contract.ven in targets or not contract.names.isdisjoint(targets):
        return ""
    nodes = sorted(contract.nodes.intersection(targets))
    if len(nodes) > 1:
        raise MessageError(Reason.UNSUPPORTED, f"{key}: {shown(nodes)}: one node at a time")
    if not nodes:
        raise MessageError(Reason.NOT_ADDRESSED, f"{key}: {shown(targets)} do not name {contract.ven}")
    return nodes[0]


def _rejected(refusal: MessageError, raw: object) -> Rejected:
    """`refusal`, with as much of the event's identity as can be read."""
    event: dict[str, Any] = raw if isinstance(raw, dict) else {}
    version_utc_s, stamp = None, event.get("modificationDateTime")
    if isinstance(stamp, str):
        with suppress(MessageError):
            version_utc_s = instant("modificationDateTime", stamp)
    return Rejected(
        reason=refusal.reason,
        detail=refusal.detail,
        id=_id_of(event),
        version_utc_s=None if refusal.reason is Reason.FROM_THE_FUTURE else version_utc_s,
        stamp=stamp if version_utc_s is not None else None,
    )


def _event_in(notification: object) -> object:
    """The event a notification is about, or nothing if it is about something else."""
    match notification:
        case {"objectType": "EVENT", "object": found}:
            return found
        case _:
            return None


def _id_of(event: dict[str, Any]) -> str | None:
    event_id = event.get("id")
    return event_id if isinstance(event_id, str) and _ID.fullmatch(event_id) else None
