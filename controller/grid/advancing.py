"""Where the loop got with an event, and what it foresees of one that has not begun: what of that the ledger
keeps, and what the sender of it is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from controller.domain.grid import EventStatus, GridEvent
from controller.domain.power import Power
from controller.grid.entries import FINAL, Entry, Ledger, Shortfall
from controller.grid.keeping import Effect, Verdict, combined, tell, with_entry
from controller.grid.results import Accepted
from controller.grid.site import UNMEASURED, Foreseen, Measured, Progress

HOLDS_S, SHORTFALL_MOVES = 10.0, 0.05
"""What the sender was told before is not told again sooner than this; nor another number of what can be had,
nor one that moved by less."""

HOLDS_SHARE, HOLDS_AT_MOST_S = 0.1, 3_600.0
"""What was foreseen of an event that has not begun is taken back, or told as less, no sooner than after this
share of the time that is left: in a day nobody is told it more than some dozen times."""

_BY_LOOP = frozenset(
    {EventStatus.STARTED, EventStatus.COMPLIANT, EventStatus.INFEASIBLE, EventStatus.COMPLETED}
)


def is_news(entry: Entry, progress: Progress, now_utc_s: float) -> bool:
    """Whether the sender has to be told of this progress.

    Each status of a version is told at once when it first comes. After that the last word has to be true, but
    only after a while: machines come and go, and a draw may be just at a limit. That an event asks for what
    cannot be had is always told at once; that it can be had again, or another number, after a while.
    """
    if _told_of(entry, progress) is None or progress.status not in _BY_LOOP:
        return False
    if EventStatus.STARTED not in entry.told:
        return True  # whatever was foreseen
    short, is_short = entry.shortfall, progress.status is EventStatus.INFEASIBLE
    is_held = 0 <= now_utc_s - entry.told_utc_s < HOLDS_S
    if short is None or progress.status is EventStatus.COMPLETED:
        is_new = progress.status not in entry.told or (is_short and progress.possible is not None)
        return is_new or (progress.status is not entry.told[-1] and not is_held)
    if is_held:
        return False
    if not is_short or progress.possible is None:
        return not is_short
    return _has_moved(short.possible, progress.possible)


def is_foreseen_news(entry: Entry, foreseen: Foreseen, now_utc_s: float) -> bool:
    """The same of what is foreseen. That it will fall short is told at once, that by more soon; that by less,
    or no longer, after a while. That an accepted event can be met needs no word."""
    event = _told_of(entry, foreseen)
    if event is None or EventStatus.STARTED in entry.told:
        return False
    short, is_short = entry.shortfall, foreseen.status is EventStatus.INFEASIBLE
    if short is None:
        return is_short
    grew = _missed_w(foreseen.possible, foreseen.asked) > _missed_w(short.possible, foreseen.asked)
    left_s = event.start_utc_s - now_utc_s
    holds_s = max(HOLDS_S, min(HOLDS_SHARE * left_s, HOLDS_AT_MOST_S))
    if 0 <= now_utc_s - entry.told_utc_s < (HOLDS_S if is_short and grew else holds_s):
        return False
    return not is_short or _has_moved(short.possible, foreseen.possible)


def _told_of(entry: Entry, word: Progress | Foreseen) -> GridEvent | None:
    """The version that counts, if the word is on that, and its event is not over."""
    if not isinstance(entry.content, Accepted) or not FINAL.isdisjoint(entry.told):
        return None
    event = entry.content.event
    return event if event.version_utc_s == word.version_utc_s else None


def _has_moved(told: Power, now: Power) -> bool:
    return _missed_w(now, told) > SHORTFALL_MOVES * max(now.watts, told.watts)


def _missed_w(one: Power, other: Power) -> int:
    return abs(one.watts - other.watts)


def advance(
    ledger: Ledger, progress: Progress, now_utc_s: float, measured: Measured = UNMEASURED
) -> tuple[Ledger, Verdict]:
    """The loop got somewhere with an event: tell its sender what is news to it. A site that complies, or
    cannot, has started."""
    entry = ledger.entries.get(progress.event)
    if entry is None or not is_news(entry, progress, now_utc_s):
        return ledger, Verdict(effect=Effect.REPEATED)
    verdict = Verdict(effect=Effect.STATUS)
    if EventStatus.STARTED not in entry.told and progress.status is not EventStatus.STARTED:
        ledger, verdict = tell(ledger, entry, EventStatus.STARTED, now_utc_s, measured)
        entry = ledger.entries[progress.event]
    is_short = progress.status is EventStatus.INFEASIBLE
    possible = progress.possible if is_short else None
    shortfall = None if possible is None else Shortfall(possible=possible, told_utc_s=now_utc_s)
    entry = replace(entry, shortfall=shortfall)
    ledger, part = tell(ledger, entry, progress.status, now_utc_s, measured, possible=possible)
    return ledger, combined(verdict, part)


def foresee(
    ledger: Ledger, foreseen: Foreseen, now_utc_s: float, measured: Measured = UNMEASURED
) -> tuple[Ledger, Verdict]:
    """What the site foresees of an event that has not begun: tell its sender what is news to it, while there
    is room for evidence beside what is kept for events in force."""
    entry = ledger.entries.get(foreseen.event)
    has_room = ledger.evidence_left > 0
    if entry is None or not has_room or not is_foreseen_news(entry, foreseen, now_utc_s):
        return ledger, Verdict(effect=Effect.REPEATED)
    possible = foreseen.possible if foreseen.status is EventStatus.INFEASIBLE else None
    shortfall = None if possible is None else Shortfall(possible=possible, told_utc_s=now_utc_s)
    entry = replace(entry, shortfall=shortfall)
    return tell(ledger, entry, foreseen.status, now_utc_s, measured, possible=possible)


def as_told(ledger: Ledger, foreseen: Iterable[Foreseen]) -> Iterator[Foreseen]:
    """What is foreseen, as the senders were told of it last: for dialects that have no word on one event."""
    for one in foreseen:
        entry = ledger.entries.get(one.event)
        if entry is None or _told_of(entry, one) is None or EventStatus.STARTED in entry.told:
            continue
        if (short := entry.shortfall) is None:
            yield replace(one, status=EventStatus.RECEIVED)
        else:
            yield replace(one, status=EventStatus.INFEASIBLE, possible=short.possible)


def keep_drawn(
    ledger: Ledger, progress: Progress, now_utc_s: float, measured: Measured = UNMEASURED
) -> tuple[Ledger, Verdict]:
    """The loop froze what an event is relative to: it has to survive the process. The first word counts."""
    entry = ledger.entries.get(progress.event)
    if (
        entry is None
        or entry.drawn_before is not None
        or not isinstance(entry.content, Accepted)
        or entry.content.event.version_utc_s != progress.version_utc_s
        or not FINAL.isdisjoint(entry.told)
    ):
        return ledger, Verdict(effect=Effect.REPEATED)
    entry = replace(entry, drawn_before=progress.drawn_before)
    return with_entry(ledger, entry), Verdict(effect=Effect.STATUS, touched=frozenset({entry.id}))
