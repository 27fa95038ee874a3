"""Load targets that replace and remove one another, as changes of the ledger.

A target of a feed stays until its end, or until a newer one of that feed is set where it has none. Removing
ends what is in force then and leaves what is scheduled for later. Limits that overlap combine by minimum,
which is not decided here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from controller.domain.grid import EventInterval, GridEvent, LimitSignal
from controller.domain.power import Bound, Limit
from controller.grid.entries import Entry, Ledger, lives, version_of
from controller.grid.ledger import Effect, Verdict, combined, receive
from controller.grid.results import Accepted, Cancelled
from controller.grid.site import UNMEASURED, Measured

REMOVED = "removed"


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
    """Take in one command, all of it. The same one again changes nothing."""
    verdict = Verdict(effect=Effect.REPEATED)
    if any(
        _event_id(message, index, target) in ledger.entries for index, target in enumerate(message.targets)
    ):
        return ledger, verdict
    for index, target in enumerate(message.targets):
        for result in _results(ledger, message, index, target, now_utc_s):
            ledger, part = receive(ledger, result, now_utc_s, measured)
            verdict = replace(combined(verdict, part), effect=part.effect)
    return ledger, verdict


def feed_of(event_id: str) -> str:
    return event_id.partition("/")[0]


def _results(
    ledger: Ledger, message: LoadTargets, index: int, target: LoadTarget, now_utc_s: float
) -> list[Accepted | Cancelled]:
    frees = not isinstance(target.constraint, Limit)
    event_id = _event_id(message, index, target)
    nothing = Cancelled(id=event_id, version_utc_s=message.version_utc_s, stamp=message.stamp)
    ended = [
        _ended(entry.content, target.start_utc_s, message, now_utc_s)
        for entry in _of_feed(ledger, target.feed)
        if isinstance(entry.content, Accepted)
        and lives(entry, ledger.mark, now_utc_s)
        and entry.content.event.version_utc_s < message.version_utc_s
        and entry.content.event.start_utc_s <= target.start_utc_s < entry.content.event.end_utc_s
        and (frees or math.isinf(entry.content.event.end_utc_s))
    ]
    if not isinstance(target.constraint, Limit):
        return [*ended, replace(nothing, removes_at_utc_s=target.start_utc_s)]
    end_utc_s = min([target.end_utc_s, *_replaced_at(ledger, message, target)])
    if end_utc_s <= target.start_utc_s:
        return [*ended, nothing]
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
    return [*ended, Accepted(event=event, stamp=message.stamp)]


def _ended(
    content: Accepted, end_utc_s: float, message: LoadTargets, now_utc_s: float
) -> Accepted | Cancelled:
    """`content` as it is from now on: over, or over when its successor begins."""
    event = content.event
    if end_utc_s <= max(event.start_utc_s, now_utc_s):
        return Cancelled(id=event.id, version_utc_s=message.version_utc_s, stamp=message.stamp)
    kept = tuple(
        replace(piece, end_utc_s=min(piece.end_utc_s, end_utc_s))
        for piece in event.intervals
        if piece.start_utc_s < end_utc_s
    )
    event = replace(event, version_utc_s=message.version_utc_s, intervals=kept)
    return Accepted(event=event, stamp=message.stamp)


def _replaced_at(ledger: Ledger, message: LoadTargets, target: LoadTarget) -> list[float]:
    """When newer commands, that overtook this one on the way, end it: as if they had come after it."""
    found = []
    for entry in _of_feed(ledger, target.feed):
        if entry.content is None or version_of(entry.content) <= message.version_utc_s:
            continue
        if isinstance(entry.content, Cancelled):
            at_utc_s = entry.content.removes_at_utc_s
        else:
            at_utc_s = entry.content.event.start_utc_s if math.isinf(target.end_utc_s) else None
        if at_utc_s is not None and target.start_utc_s <= at_utc_s < target.end_utc_s:
            found.append(at_utc_s)
    return found


def _of_feed(ledger: Ledger, feed: str) -> list[Entry]:
    return [entry for _, entry in sorted(ledger.entries.items()) if feed_of(entry.id) == feed]


def _event_id(message: LoadTargets, index: int, target: LoadTarget) -> str:
    word = "" if isinstance(target.constraint, Limit) else f"-{REMOVED}"
    return f"{target.feed}/{message.id}-{index}{word}"
