"""What somebody else did about a breach of a DSX load target: read for people, commanding nothing here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from controller.grid.dsx import UUID, Agreement, Envelope, Snake, check_envelope, said
from controller.grid.isotime import instant
from controller.grid.results import MAX_AHEAD_S, Reason, Rejected
from controller.grid.strictjson import MessageError, decode, shown
from controller.grid.wire import read

ENFORCEMENT = "grid.powerbreach.enforcement.v1"
MAX_RESULTS, MAX_NAMED = 4096, 8


class _Result(Snake):
    resource_id: Annotated[str, Field(max_length=256)]
    code: Literal["applied", "failed", "skipped"]
    message: str | None = None


class _EnforcementData(Snake):
    breach_id: Annotated[str, Field(pattern=rf"^(?:{UUID.pattern})$")]
    feed_tag: str
    action: Literal["applied", "reverted"]
    code: Literal["success", "partial", "error"]
    diag_msg: str | None = None
    results: Annotated[list[_Result], Field(max_length=MAX_RESULTS)]
    timestamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforcement:
    """What the agent of the infrastructure did to machines because of a breach, past this controller.
    `action` is applied or reverted, `code` success, partial or error; `failed` could not be reached."""

    breach: str
    feed: str
    action: str
    code: str
    at_utc_s: float
    applied: int
    failed: tuple[str, ...] = ()
    detail: str = ""


def parse_enforcement(payload: bytes, *, agreement: Agreement, now_utc_s: float) -> Enforcement | Rejected:
    """What the agent of the infrastructure did about a breach, or why that cannot be read."""
    try:
        envelope = read(Envelope, decode(payload))
        check_envelope(envelope, f"infra/{agreement.infra}", ENFORCEMENT)
        data = read(_EnforcementData, said(envelope, agreement.infra_trust, now_utc_s).data)
        if data.feed_tag not in {feed.tag for feed in agreement.feeds}:
            raise MessageError(Reason.NOT_ADDRESSED, f"feed_tag: {shown(data.feed_tag)} is no feed here")
        at_utc_s = instant("timestamp", data.timestamp)
        if at_utc_s > now_utc_s + MAX_AHEAD_S:
            ahead_s = at_utc_s - now_utc_s
            raise MessageError(Reason.FROM_THE_FUTURE, f"timestamp: {ahead_s:.1f} s ahead of us")
        if at_utc_s < now_utc_s - agreement.max_age_s:
            raise MessageError(Reason.STALE, f"timestamp: {now_utc_s - at_utc_s:.0f} s old")
        failed = [result for result in data.results if result.code == "failed"]
        return Enforcement(
            breach=data.breach_id,
            feed=data.feed_tag,
            action=data.action,
            code=data.code,
            at_utc_s=at_utc_s,
            applied=sum(result.code == "applied" for result in data.results),
            failed=tuple(result.resource_id for result in failed[:MAX_NAMED]),
            detail=(data.diag_msg or next((result.message for result in failed if result.message), ""))[:200],
        )
    except MessageError as refusal:
        return Rejected(reason=refusal.reason, detail=refusal.detail)
