"""How the ledger of events takes in what became of one, and what goes to make room for it.

Pure: it says what must be stored and what must be told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from controller.domain.grid import EventStatus
from controller.domain.power import Power
from controller.grid.entries import Ack, Entry, Ledger, Mark, id_of, left_out, lives, version_of
from controller.grid.results import Accepted, Cancelled
from controller.grid.site import Measured

MAX_ENTRIES = 1024
MAX_UNSENT = 16
KEEP_S = 7 * 86_400.0
KEEP_AT_MOST_S = 366 * 86_400.0


class Effect(StrEnum):
    """What a message did."""

    NEW = "new"
    UPDATED = "updated"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REPEATED = "repeated"
    OLDER = "older"
    REJECTED = "rejected"
    UNREADABLE = "unreadable"
    FULL = "full"
    SNAPSHOT = "snapshot"
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`acks` are new; the entries in `touched` must be stored, and those in `forgotten` deleted, before
    anything is sent."""

    effect: Effect
    acks: tuple[Ack, ...] = ()
    touched: frozenset[str] = frozenset()
    forgotten: frozenset[str] = frozenset()


def tell(
    ledger: Ledger,
    entry: Entry,
    status: EventStatus,
    now_utc_s: float,
    measured: Measured,
    effect: Effect = Effect.STATUS,
    possible: Power | None = None,
) -> tuple[Ledger, Verdict]:
    """One more word to the sender of `entry`."""
    assert entry.content is not None, f"nothing to tell about {entry.id}"
    ack = replace(ack_of(entry.content, status, now_utc_s, measured), possible=possible)
    told = (*(one for one in entry.told if one is not status), status)
    return put(ledger, replace(entry, told=told, told_utc_s=now_utc_s), effect, (ack,), now_utc_s)


def put(
    ledger: Ledger, entry: Entry, effect: Effect, acks: tuple[Ack, ...], now_utc_s: float
) -> tuple[Ledger, Verdict]:
    """Store `entry` with its new acks; make room for it if it is a new one."""
    forgotten: frozenset[str] = frozenset()
    if entry.id not in ledger.entries and len(ledger.entries) >= MAX_ENTRIES:
        over = [other for other in ledger.entries.values() if not lives(other, ledger.mark, now_utc_s)]
        if not over:
            return ledger, Verdict(effect=Effect.FULL)
        oldest = min(over, key=lambda other: _stays(other, ledger.mark))
        ledger = without(ledger, oldest.id)
        forgotten = frozenset({oldest.id})
    again = {ack.id for ack in acks}
    kept = tuple(ack for ack in entry.unsent if ack.id not in again)
    entry = replace(
        entry,
        unsent=(*kept, *acks)[-MAX_UNSENT:],
        keep_until_utc_s=max(entry.keep_until_utc_s, _keep_until(entry, now_utc_s)),
    )
    verdict = Verdict(effect=effect, acks=acks, touched=frozenset({entry.id}), forgotten=forgotten)
    return with_entry(ledger, entry), verdict


def _stays(entry: Entry, mark: Mark | None) -> tuple[bool, bool, bool, float, str]:
    """What is over in the order in which it makes room: refusals first, and last what was cancelled, but by a
    snapshot: it would hold again, were it heard again, and a signature is good for a day."""
    may_return = isinstance(entry.content, Cancelled) and not left_out(entry, mark)
    return may_return, bool(entry.unsent), entry.content is not None, entry.keep_until_utc_s, entry.id


def _keep_until(entry: Entry, now_utc_s: float) -> float:
    """Remember an event past its end, so that a late copy of it stays known for what it is."""
    end_utc_s = entry.content.event.end_utc_s if isinstance(entry.content, Accepted) else 0.0
    return min(max(now_utc_s, end_utc_s) + KEEP_S, now_utc_s + KEEP_AT_MOST_S)


def ack_of(content: Accepted | Cancelled, status: EventStatus, now_utc_s: float, measured: Measured) -> Ack:
    tells_ignored = isinstance(content, Accepted) and status is EventStatus.RECEIVED
    return Ack(
        event=id_of(content),
        status=status,
        at_utc_s=now_utc_s,
        version_utc_s=version_of(content),
        stamp=content.stamp,
        measured=measured,
        ignored=content.ignored if isinstance(content, Accepted) and tells_ignored else (),
    )


def with_entry(ledger: Ledger, entry: Entry) -> Ledger:
    return replace(ledger, entries=MappingProxyType({**ledger.entries, entry.id: entry}))


def without(ledger: Ledger, event_id: str) -> Ledger:
    entries = {other: entry for other, entry in ledger.entries.items() if other != event_id}
    return replace(ledger, entries=MappingProxyType(entries))


def combined(verdict: Verdict, part: Verdict) -> Verdict:
    return replace(
        verdict,
        acks=verdict.acks + part.acks,
        touched=(verdict.touched | part.touched) - part.forgotten,
        forgotten=(verdict.forgotten | part.forgotten) - part.touched,
    )
