"""Which versions of which events the site knows, and what their sender has been told of them.

A pure value that only grows towards newer versions, so that any order, repetition or replay of the same
messages ends in the same events. It never sends: it says what must be stored and what must be told.
"""

from __future__ import annotations

from dataclasses import replace

from controller.domain.grid import PAUSE_S, EventStatus, GridEvent
from controller.grid.entries import (
    FINAL,
    Ack,
    Entry,
    Ledger,
    Mark,
    id_of,
    left_out,
    lives,
    rank,
    refusal_rank,
    version_of,
)
from controller.grid.keeping import Effect, Verdict, ack_of, combined, put, tell, with_entry, without
from controller.grid.results import (
    MAX_INTERVALS,
    Accepted,
    Cancelled,
    MessageResult,
    Reason,
    Rejected,
    Snapshot,
)
from controller.grid.site import UNMEASURED, Measured

MAX_LIVE = 896
"""Of these so many may be in force or to come: there is always room to say no, and to know what is over."""
MAX_LIVE_INTERVALS = 4 * MAX_INTERVALS
"""All of them together: each tick looks at every event."""
COMPLETION_GRACE_S = 2.0
"""How long after an event's end the loop may report it COMPLETED before the ledger closes it."""


def events(ledger: Ledger, now_utc_s: float) -> tuple[GridEvent, ...]:
    """The events in force or to come, by id, with what they are relative to."""
    return tuple(
        replace(entry.content.event, drawn_before=entry.drawn_before)
        for _, entry in sorted(ledger.entries.items())
        if isinstance(entry.content, Accepted) and lives(entry, ledger.mark, now_utc_s)
    )


def unsent(ledger: Ledger) -> tuple[Ack, ...]:
    """Every ack not known to have arrived, in the order in which things happened."""
    acks = [ack for _, entry in sorted(ledger.entries.items()) for ack in entry.unsent]
    return tuple(sorted(acks, key=lambda ack: ack.at_utc_s))


def receive(
    ledger: Ledger, result: MessageResult, now_utc_s: float, measured: Measured = UNMEASURED
) -> tuple[Ledger, Verdict]:
    """Take in one message. Older is dropped, equal changes nothing, newer supersedes."""
    if isinstance(result, Rejected):
        return _refuse(ledger, result, now_utc_s, measured)
    event_id, version_utc_s = id_of(result), version_of(result)
    entry = ledger.entries.get(event_id, Entry(id=event_id))
    known = entry.content
    if known is not None and version_utc_s < version_of(known):
        return ledger, Verdict(effect=Effect.OLDER)
    if known is not None and version_utc_s == version_of(known):
        if isinstance(result, Accepted) and ledger.evidence_left <= 0:
            return ledger, Verdict(effect=Effect.REPEATED)
        return _repeat(ledger, entry, known, result, now_utc_s, measured)
    if isinstance(result, Accepted) and (why := _no_room(ledger, result, now_utc_s)) is not None:
        ledger, verdict = _refuse(ledger, why, now_utc_s, measured)
        return ledger, replace(verdict, effect=Effect.FULL)
    acks: tuple[Ack, ...] = ()
    if isinstance(known, Accepted) and FINAL.isdisjoint(entry.told):
        acks = (ack_of(known, EventStatus.SUPERSEDED, now_utc_s, measured),)
    status = _first_status(result, ledger.mark, now_utc_s)
    acks = (*acks, ack_of(result, status, now_utc_s, measured))
    refused = entry.refused
    if refused is not None and (refused.version_utc_s or 0.0) <= version_utc_s:
        refused = None
    goes_on = lives(entry, ledger.mark, now_utc_s - PAUSE_S) and _steers(result, now_utc_s)
    before = entry.drawn_before if goes_on else None
    entry = replace(
        entry, content=result, refused=refused, told=(status,), shortfall=None, drawn_before=before
    )
    effects = {EventStatus.CANCELLED: Effect.CANCELLED, EventStatus.EXPIRED: Effect.EXPIRED}
    effect = effects.get(status, Effect.NEW if known is None else Effect.UPDATED)
    return put(ledger, entry, effect, acks, now_utc_s)


def receive_snapshot(
    ledger: Ledger, snapshot: Snapshot, now_utc_s: float, measured: Measured = UNMEASURED
) -> tuple[Ledger, Verdict]:
    """Take in all events of a snapshot; what a newer one leaves out is cancelled."""
    old = ledger.mark
    mark = Mark(as_of_utc_s=snapshot.as_of_utc_s, seq=snapshot.seq, ids=snapshot.ids)
    if old is None or old.order < mark.order:
        ledger = replace(ledger, mark=mark)
    verdict = Verdict(effect=Effect.SNAPSHOT)
    for result in snapshot.results:
        ledger, part = receive(ledger, result, now_utc_s, measured)
        verdict = combined(verdict, part)
    for entry in tuple(ledger.entries.values()):
        was_out, is_out = left_out(entry, old), left_out(entry, ledger.mark)
        if is_out and _runs(entry, now_utc_s) and FINAL.isdisjoint(entry.told):
            over = replace(entry, shortfall=None, drawn_before=None)
            ledger, part = tell(ledger, over, EventStatus.CANCELLED, now_utc_s, measured)
            verdict = combined(verdict, part)
        elif was_out and lives(entry, ledger.mark, now_utc_s):
            fresh = replace(entry, told=())
            ledger, part = tell(ledger, fresh, EventStatus.RECEIVED, now_utc_s, measured)
            verdict = combined(verdict, part)
    return ledger, verdict


def settle(ledger: Ledger, now_utc_s: float, measured: Measured = UNMEASURED) -> tuple[Ledger, Verdict]:
    """Close the events whose end nobody reported, and forget what has been over for long enough. One that was
    told to be over, and is not since our clock was set back, is told anew."""
    verdict = Verdict(effect=Effect.STATUS)
    for entry in tuple(ledger.entries.values()):
        content = entry.content
        if isinstance(content, Accepted) and FINAL.isdisjoint(entry.told):
            if content.event.end_utc_s + COMPLETION_GRACE_S <= now_utc_s:
                began = EventStatus.STARTED in entry.told
                status = EventStatus.COMPLETED if began else EventStatus.EXPIRED
                ledger, part = tell(ledger, entry, status, now_utc_s, measured)
                verdict = combined(verdict, part)
        elif lives(entry, ledger.mark, now_utc_s):
            fresh = replace(entry, told=(), shortfall=None)
            ledger, part = tell(ledger, fresh, EventStatus.RECEIVED, now_utc_s, measured)
            verdict = combined(verdict, part)
        elif entry.keep_until_utc_s <= now_utc_s:
            ledger = without(ledger, entry.id)
            verdict = replace(verdict, forgotten=verdict.forgotten | {entry.id})
    return ledger, verdict


def confirm(
    ledger: Ledger, ack: Ack, now_utc_s: float, measured: Measured = UNMEASURED
) -> tuple[Ledger, Verdict]:
    """`ack` has arrived: it need not be sent again."""
    entry = ledger.entries.get(ack.event)
    if entry is None or ack not in entry.unsent:
        return ledger, Verdict(effect=Effect.REPEATED)
    entry = replace(entry, unsent=tuple(other for other in entry.unsent if other != ack))
    return with_entry(ledger, entry), Verdict(effect=Effect.STATUS, touched=frozenset({ack.event}))


def _repeat(
    ledger: Ledger,
    entry: Entry,
    known: Accepted | Cancelled,
    result: Accepted | Cancelled,
    now_utc_s: float,
    measured: Measured,
) -> tuple[Ledger, Verdict]:
    """The same version again. Should the copies differ, one order decides, not the order of arrival: a
    cancellation stands, then the copy that asks for more reports, then the text."""
    if rank(result) <= rank(known):
        return ledger, Verdict(effect=Effect.REPEATED)
    entry = replace(entry, content=result)
    if isinstance(result, Cancelled) and FINAL.isdisjoint(entry.told):
        return tell(ledger, entry, EventStatus.CANCELLED, now_utc_s, measured, Effect.CANCELLED)
    return put(ledger, entry, Effect.REPEATED, (), now_utc_s)


def _no_room(ledger: Ledger, result: Accepted, now_utc_s: float) -> Rejected | None:
    """Why `result` is more than one operator may ask for now. What is over needs no room, only evidence."""
    if ledger.evidence_left <= 0:
        return _refused(result, Reason.TOO_MANY_EVENTS, "versions come faster than evidence is kept of them")
    event = result.event
    if event.end_utc_s <= now_utc_s:
        return None
    counts = [
        len(entry.content.event.intervals)
        for entry in ledger.entries.values()
        if entry.id != event.id
        and isinstance(entry.content, Accepted)
        and lives(entry, ledger.mark, now_utc_s)
    ]
    if len(counts) >= MAX_LIVE:
        reason, detail = (
            Reason.TOO_MANY_EVENTS,
            f"{len(counts)} events in force or to come, at most {MAX_LIVE}",
        )
    elif (total := sum(counts) + len(event.intervals)) > MAX_LIVE_INTERVALS:
        most = f"at most {MAX_LIVE_INTERVALS}"
        reason, detail = Reason.TOO_MANY_INTERVALS, f"{total} intervals of all events together, {most}"
    else:
        return None
    return _refused(result, reason, detail)


def _refused(result: Accepted, reason: Reason, detail: str) -> Rejected:
    event = result.event
    return Rejected(
        reason=reason, detail=detail, id=event.id, version_utc_s=event.version_utc_s, stamp=result.stamp
    )


def _refuse(
    ledger: Ledger, refused: Rejected, now_utc_s: float, measured: Measured
) -> tuple[Ledger, Verdict]:
    """Tell the sender why; the last good version stands."""
    if refused.id is None:
        return ledger, Verdict(effect=Effect.UNREADABLE)
    entry = ledger.entries.get(refused.id, Entry(id=refused.id))
    version_utc_s = refused.version_utc_s
    if entry.content is not None and version_utc_s is not None and version_utc_s <= version_of(entry.content):
        return ledger, Verdict(effect=Effect.OLDER)
    known = entry.unversioned if version_utc_s is None else entry.refused
    if known is not None and refusal_rank(refused) <= refusal_rank(known):
        return ledger, Verdict(effect=Effect.REPEATED)
    ack = Ack(
        event=refused.id,
        status=EventStatus.REJECTED,
        at_utc_s=now_utc_s,
        version_utc_s=version_utc_s,
        stamp=refused.stamp,
        measured=measured,
        why=(refused.reason, refused.detail),
    )
    entry = replace(entry, unversioned=refused) if version_utc_s is None else replace(entry, refused=refused)
    return put(ledger, entry, Effect.REJECTED, (ack,), now_utc_s)


def _first_status(content: Accepted | Cancelled, mark: Mark | None, now_utc_s: float) -> EventStatus:
    entry = Entry(id=id_of(content), content=content)
    if isinstance(content, Accepted) and not _runs(entry, now_utc_s):
        return EventStatus.EXPIRED
    return EventStatus.RECEIVED if lives(entry, mark, now_utc_s) else EventStatus.CANCELLED


def _steers(content: Accepted | Cancelled, now_utc_s: float) -> bool:
    """Whether the site is to follow a set-point of this version by now, or in a moment."""
    return isinstance(content, Accepted) and content.event.steers_from_utc_s <= now_utc_s + PAUSE_S


def _runs(entry: Entry, now_utc_s: float) -> bool:
    """Whether the event is not over yet. Leaving out one that is over is tidying up, not cancelling."""
    return isinstance(entry.content, Accepted) and entry.content.event.end_utc_s > now_utc_s
