"""Load targets that replace and remove one another, as changes of the ledger.

A target of a feed stays until its end; one without an end until the first that begins after it, of those
that were sent later. Removing ends what is in force then and leaves what is scheduled for later. The result
is the same in whatever order commands arrive: each target is held against all that were sent after it, as it
was asked for. Of two that were sent in one instant neither ends the other. Limits that overlap combine by
minimum, which is not decided here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from controller.domain.grid import EventInterval, GridEvent, LimitSignal
from controller.domain.power import Bound, Limit
from controller.grid.entries import Asked, Entry, Ledger, lives
from controller.grid.keeping import Effect, Verdict, combined, with_entry
from controller.grid.ledger import receive
from controller.grid.results import Accepted, Cancelled
from controller.grid.site import UNMEASURED, Measured

REMOVED = "removed"
STEP_S = 0.001
"""Between two versions of a target that a late command cuts once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTarget:
    """At most `constraint` on `feed`, which is `node` of the site; without a limit, the feed is freed."""

    feed: str
    node: str
    constraint: Bound
    start_utc_s: float
    end_utc_s: float
    best_effort: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTargets:
    """One command. `id` tells two commands apart, `correlation` is what the operator calls it by."""

    id: str
    correlation: str
    version_utc_s: float
    stamp: str
    targets: tuple[LoadTarget, ...]
    source: str
    ramp_deadline_s: float = 0.0


def receive_targets(
    ledger: Ledger, message: LoadTargets, now_utc_s: float, measured: Measured = UNMEASURED
) -> tuple[Ledger, Verdict]:
    """Take in one command: all of it or, for want of room, nothing. The same one again changes nothing."""
    before, verdict = ledger, Verdict(effect=Effect.REPEATED)
    if any(
        event_id_of(message, index, target) in ledger.entries for index, target in enumerate(message.targets)
    ):
        return ledger, verdict
    for index, target in enumerate(message.targets):
        for result in (*_ends(ledger, message, target, now_utc_s), _result(ledger, message, index, target)):
            ledger, part = receive(ledger, result, now_utc_s, measured)
            if part.effect is Effect.FULL:
                return before, Verdict(effect=Effect.FULL)
            verdict = replace(combined(verdict, part), effect=part.effect)
        ledger = _remembered(ledger, message, index, target)
    return ledger, verdict


def feed_of(event_id: str) -> str:
    return event_id.partition("/")[0]


def _ends(
    ledger: Ledger, message: LoadTargets, target: LoadTarget, now_utc_s: float
) -> list[Accepted | Cancelled]:
    """What `target` ends of what was sent before it."""
    frees, at_utc_s = not isinstance(target.constraint, Limit), target.start_utc_s
    return [
        _ended(entry.content, at_utc_s, message, now_utc_s)
        for entry in _of_feed(ledger, target.feed)
        if isinstance(entry.content, Accepted)
        and lives(entry, ledger.mark, now_utc_s)
        and (asked := _asked(entry)) is not None
        and asked.version_utc_s < message.version_utc_s
        and asked.start_utc_s <= at_utc_s < entry.content.event.end_utc_s
        and (frees or math.isinf(asked.end_utc_s))
    ]


def _result(ledger: Ledger, message: LoadTargets, index: int, target: LoadTarget) -> Accepted | Cancelled:
    """`target` itself, as far as what was sent after it leaves it."""
    event_id = event_id_of(message, index, target)
    nothing = Cancelled(id=event_id, version_utc_s=message.version_utc_s, stamp=message.stamp)
    if not isinstance(target.constraint, Limit):
        return replace(nothing, removes_at_utc_s=target.start_utc_s)
    end_utc_s = min([target.end_utc_s, *_ended_at(ledger, message, target)])
    if end_utc_s <= target.start_utc_s:
        return nothing
    interval = EventInterval(
        start_utc_s=target.start_utc_s, end_utc_s=end_utc_s, signals=(LimitSignal(target.constraint.power),)
    )
    event = GridEvent(
        id=event_id,
        version_utc_s=message.version_utc_s,
        source=message.source,
        intervals=(interval,),
        ramp_deadline_s=message.ramp_deadline_s,
        name=message.correlation,
        node=target.node,
        best_effort=target.best_effort,
    )
    return Accepted(event=event, stamp=message.stamp)


def _ended(
    content: Accepted, end_utc_s: float, message: LoadTargets, now_utc_s: float
) -> Accepted | Cancelled:
    """`content` as it is from now on: over, or over when what ends it begins."""
    event = content.event
    version_utc_s = max(message.version_utc_s, event.version_utc_s + STEP_S)
    if end_utc_s <= max(event.start_utc_s, now_utc_s):
        return Cancelled(id=event.id, version_utc_s=version_utc_s, stamp=message.stamp)
    kept = tuple(
        replace(piece, end_utc_s=min(piece.end_utc_s, end_utc_s))
        for piece in event.intervals
        if piece.start_utc_s < end_utc_s
    )
    event = replace(event, version_utc_s=version_utc_s, intervals=kept)
    return Accepted(event=event, stamp=message.stamp)


def _ended_at(ledger: Ledger, message: LoadTargets, target: LoadTarget) -> list[float]:
    """When commands that were sent later, and came before it, end it."""
    found = []
    for entry in _of_feed(ledger, target.feed):
        asked = _asked(entry)
        match entry.content:
            case Cancelled(removes_at_utc_s=float(at_utc_s), version_utc_s=version_utc_s):
                found.append((version_utc_s, at_utc_s))
            case _ if asked is not None and math.isinf(target.end_utc_s):
                found.append((asked.version_utc_s, asked.start_utc_s))
    return [
        at_utc_s
        for version_utc_s, at_utc_s in found
        if version_utc_s > message.version_utc_s and at_utc_s >= target.start_utc_s
    ]


def _asked(entry: Entry) -> Asked | None:
    """Records of older journals tell only what became of it."""
    if entry.asked is None and isinstance(entry.content, Accepted):
        event = entry.content.event
        return Asked(
            start_utc_s=event.start_utc_s, end_utc_s=event.end_utc_s, version_utc_s=event.version_utc_s
        )
    return entry.asked


def _remembered(ledger: Ledger, message: LoadTargets, index: int, target: LoadTarget) -> Ledger:
    if not isinstance(target.constraint, Limit):
        return ledger
    asked = Asked(
        start_utc_s=target.start_utc_s, end_utc_s=target.end_utc_s, version_utc_s=message.version_utc_s
    )
    return with_entry(ledger, replace(ledger.entries[event_id_of(message, index, target)], asked=asked))


def _of_feed(ledger: Ledger, feed: str) -> list[Entry]:
    return [entry for _, entry in sorted(ledger.entries.items()) if feed_of(entry.id) == feed]


def event_id_of(message: LoadTargets, index: int, target: LoadTarget) -> str:
    """The event that one target of a command is."""
    word = "" if isinstance(target.constraint, Limit) else f"-{REMOVED}"
    return f"{target.feed}/{message.id}-{index}{word}"
