"""NVIDIA DSX Flex 1.7 as bytes: load targets in; power states and breaches out, as CloudEvents.

The `data` of a message is signed (JWS), the envelope around it is not: what counts is in the data, and the
envelope only says when. Strict on power and time, tolerant of what is missing around them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.grid.isotime import instant, stamp
from controller.grid.ledger import MAX_LIVE
from controller.grid.loadtargets import LoadTarget, LoadTargets
from controller.grid.results import MAX_AHEAD_S, Reason, Rejected
from controller.grid.signatures import Signer, Trust, signed, unsealed
from controller.grid.strictjson import MessageError, decode, shown
from controller.grid.wire import Wire, read

SOURCE = "dsx-flex"
SET, STATUS = "grid.loadtarget.set.v1", "grid.powerstate.status.v1"
BREACH = "grid.powerbreach.alert.v1"
SUBJECTS = {STATUS: "powerstate", BREACH: "powerbreach"}
SPEC_VERSIONS = frozenset({"1.0", "1.0.2"})
MAX_TARGETS = 384
"""Of one command: four days of quarter hours, which is about what a message holds."""
SIGNED_WITHIN_S = 60.0
"""So far apart may the moment of signing and the time of the envelope be."""
UNDATED_AHEAD_S = 6 * 86_400.0
"""So far ahead may a target begin whose signature has no moment: less than the ledger remembers."""

_WATTS = {"watt": 1, "kilowatt": 1000, "megawatt": 1_000_000}
_ABSURD_POWER = 1e12
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A power feed of the operator's, which is `node` of the site's tree; empty is the whole site."""

    tag: str
    node: str
    minimum: Power
    maximum: Power
    default: Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """`isv` is who may command, `agent` who we are; `max_age_s` bounds the age of a command. `infra` acts on
    breaches, and signs with keys of its own. Signed commands say when they were signed where `dated`."""

    isv: str
    agent: str
    feeds: tuple[Feed, ...]
    nameplate: Power
    max_age_s: float
    ramp_deadline_s: float
    trust: Trust | None = None
    dated: bool = True
    infra: str = ""
    infra_trust: Trust | None = None


class Snake(Wire):
    model_config = ConfigDict(alias_generator=None)


class Envelope(Snake):
    specversion: str
    id: Annotated[str, Field(min_length=1, max_length=128)]
    source: str
    type: str
    time: str
    correlationid: str | None = None
    data: dict[str, Any] | str


class _Interval(Snake):
    start_time: str | None = None
    end_time: str | None = None


class _PowerUnit(Snake):
    value: float | int
    unit: Literal["watt", "kilowatt", "megawatt"]


class _Strategy(Snake):
    best_effort: bool = False


class _Target(Snake):
    interval: _Interval
    feed_tags: Annotated[list[str], Field(max_length=MAX_TARGETS)] | None = None
    load_constraint: _PowerUnit | None
    strategy: _Strategy | None = None


class _SetData(Snake):
    targets: Annotated[list[_Target], Field(min_length=1, max_length=MAX_TARGETS)]


def parse_load_targets(payload: bytes, *, agreement: Agreement, now_utc_s: float) -> LoadTargets | Rejected:
    """One command of the operator, or why it cannot be one."""
    try:
        envelope = read(Envelope, decode(payload))
        check_envelope(envelope, f"isv/{agreement.isv}", SET)
        sent_utc_s = instant("time", envelope.time)
        if sent_utc_s > now_utc_s + MAX_AHEAD_S:
            raise MessageError(Reason.FROM_THE_FUTURE, f"time: {sent_utc_s - now_utc_s:.1f} s ahead of us")
        if sent_utc_s < now_utc_s - agreement.max_age_s:
            age_s = now_utc_s - sent_utc_s
            raise MessageError(Reason.STALE, f"time: {age_s:.0f} s old, at most {agreement.max_age_s:g}")
        found = said(envelope, agreement.trust, now_utc_s)
        data = read(_SetData, found.data)
        if agreement.trust is not None and agreement.dated:
            _check_dated(found, data, sent_utc_s, now_utc_s, agreement.max_age_s)
        correlation = envelope.correlationid or envelope.id
        identity = found.statement if found.statement and agreement.dated else envelope.id
        return LoadTargets(
            id=hashlib.sha256(identity.encode()).hexdigest()[:16],
            correlation=correlation if UUID.fullmatch(correlation) else uuid_of(correlation),
            version_utc_s=sent_utc_s,
            stamp=envelope.time,
            targets=tuple(_targets(data, agreement, sent_utc_s)),
            source=SOURCE,
            ramp_deadline_s=agreement.ramp_deadline_s,
        )
    except MessageError as refusal:
        return Rejected(reason=refusal.reason, detail=refusal.detail)


def event_message(
    type_: str,
    data: Mapping[str, Any],
    *,
    agent: str,
    at_utc_s: float,
    correlation: str | None = None,
    signer: Signer | None = None,
    seal: str = "",
) -> bytes:
    """A CloudEvent of ours. The same statement always has the same id. `seal`, the newest of the site's
    journal, is an extension attribute: whoever does not know it lets it pass."""
    content = json.dumps(data, allow_nan=False, separators=(",", ":"))
    identity = f"{type_}\n{agent}\n{at_utc_s:.3f}\n{content}"
    trace = hashlib.sha256((correlation or identity).encode()).hexdigest()
    envelope: dict[str, Any] = {
        "specversion": "1.0.2",
        "id": uuid_of(identity),
        "source": f"//grid/v1/dsx-flex-agent/{agent}",
        "type": type_,
        "time": stamp(at_utc_s),
        "datacontenttype": "application/json",
        "subject": SUBJECTS[type_],
        "traceparent": f"00-{trace[:32]}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}-01",
        "data": data if signer is None else signed(content.encode(), signer, now_utc_s=at_utc_s),
    }
    if correlation is not None:
        envelope["correlationid"] = correlation
    if seal:
        envelope["seal"] = seal
    return json.dumps(envelope, allow_nan=False, separators=(",", ":")).encode("ascii")


def power_unit(power: Power) -> dict[str, Any]:
    return {"value": max(power.watts, 0) / 1000, "unit": "kilowatt"}


def uuid_of(text: str) -> str:
    """A version 4 UUID that belongs to `text`."""
    return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))


def check_envelope(envelope: Envelope, sender: str, type_: str) -> None:
    if envelope.specversion not in SPEC_VERSIONS:
        raise MessageError(Reason.UNSUPPORTED, f"specversion: {shown(envelope.specversion)}")
    if envelope.type != type_:
        raise MessageError(Reason.UNSUPPORTED, f"type: {shown(envelope.type)} is not {type_}")
    if envelope.source != f"//grid/v1/{sender}":
        raise MessageError(Reason.NOT_AUTHORIZED, f"source: {shown(envelope.source)} is not {sender}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The data of a message; from inside a signature, with its moment and what it was that was signed."""

    data: Any
    made_utc_s: float | None = None
    statement: str = ""


def said(envelope: Envelope, trust: Trust | None, now_utc_s: float) -> Said:
    """The data, from inside its signature where one is agreed."""
    if trust is None:
        if isinstance(envelope.data, str):
            raise MessageError(Reason.BAD_SIGNATURE, "data: signed, and no key of its sender is known here")
        return Said(data=envelope.data)
    if not isinstance(envelope.data, str):
        raise MessageError(Reason.BAD_SIGNATURE, "data: not signed")
    found = unsealed(envelope.data, trust, now_utc_s=now_utc_s)
    return Said(data=decode(found.content), made_utc_s=found.made_utc_s, statement=found.statement)


def _check_dated(found: Said, data: _SetData, sent_utc_s: float, now_utc_s: float, max_age_s: float) -> None:
    """The envelope is not signed, so whoever can publish may put old data into a new one. What was signed
    must say by itself when it is for: the moment of signing, or a start of every target. The ledger remembers
    for longer than either may be old, so that a replay is a repetition.
    """
    if found.made_utc_s is not None:
        if abs(sent_utc_s - found.made_utc_s) > SIGNED_WITHIN_S:
            apart_s = sent_utc_s - found.made_utc_s
            raise MessageError(Reason.STALE, f"time: {apart_s:.0f} s from the moment of signing")
        return
    for index, target in enumerate(data.targets):
        key = f"targets.{index}.interval.start_time"
        if target.interval.start_time is None:
            raise MessageError(Reason.BAD_SIGNATURE, f"{key}: needed where the signature has no iat")
        start_utc_s = instant(key, target.interval.start_time)
        if not now_utc_s - max_age_s <= start_utc_s <= now_utc_s + UNDATED_AHEAD_S:
            raise MessageError(Reason.STALE, f"{key}: too far from now for a signature without iat")


def _targets(data: _SetData, agreement: Agreement, sent_utc_s: float) -> list[LoadTarget]:
    """One target for each feed: no feed named is all of them."""
    feeds = {feed.tag: feed for feed in agreement.feeds}
    found: list[LoadTarget] = []
    for index, target in enumerate(data.targets):
        key = f"targets.{index}"
        begins, ends = target.interval.start_time, target.interval.end_time
        start_utc_s = sent_utc_s if begins is None else instant(f"{key}.interval.start_time", begins)
        end_utc_s = math.inf if ends is None else instant(f"{key}.interval.end_time", ends)
        if end_utc_s <= start_utc_s:
            raise MessageError(Reason.BAD_INTERVALS, f"{key}.interval ends before it begins")
        constraint = _constraint(f"{key}.load_constraint", target.load_constraint, agreement)
        for tag in dict.fromkeys(target.feed_tags or feeds):
            if tag not in feeds:
                raise MessageError(Reason.NOT_ADDRESSED, f"{key}.feed_tags: {shown(tag)} is no feed here")
            found.append(
                LoadTarget(
                    feed=tag,
                    node=feeds[tag].node,
                    constraint=constraint,
                    start_utc_s=start_utc_s,
                    end_utc_s=end_utc_s,
                    best_effort=target.strategy is not None and target.strategy.best_effort,
                )
            )
        if len(found) > MAX_LIVE:
            raise MessageError(Reason.TOO_MANY_EVENTS, f"targets: for all their feeds more than {MAX_LIVE}")
    return found


def _constraint(key: str, unit: _PowerUnit | None, agreement: Agreement) -> Bound:
    if unit is None:
        return NO_LIMIT
    if unit.value < 0:
        raise MessageError(Reason.BAD_VALUE, f"{key}: {shown(unit.value)} is negative")
    if not unit.value < _ABSURD_POWER:
        raise MessageError(Reason.ABOVE_NAMEPLATE, f"{key}: {shown(unit.value)} {unit.unit}")
    power = Power.down(unit.value * _WATTS[unit.unit] + 1e-3)
    if power > agreement.nameplate:
        raise MessageError(
            Reason.ABOVE_NAMEPLATE,
            f"{key}: {shown(unit.value)} {unit.unit}, the site has {agreement.nameplate}",
        )
    return Limit(power)
