"""What the loop says of events, tick by tick, as changes of the ledger of their operator."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TypeVar

from controller.domain.eventnames import parted
from controller.grid import advancing
from controller.grid.entries import Ledger
from controller.grid.results import Accepted
from controller.grid.site import Foreseen, Progress, SiteReport
from controller.run.operators.gridbook import Pending

FORESEEN_A_TICK = 16
"""Of what is foreseen so many words are queued in a tick at most: each is stored before the next one, and an
event that comes in waits behind them."""

_Word = TypeVar("_Word", Progress, Foreseen)


def of_operator(report: SiteReport, name: str) -> SiteReport:
    """With what is about its own events only, by the ids that it knows them by."""
    return replace(report, progress=_own(report.progress, name), foreseen=_own(report.foreseen, name))


def changes(ledger: Ledger, report: SiteReport) -> Iterator[tuple[Hashable, Pending]]:
    """What has to be kept, and told to the sender: each under a key that only the newest word on it has."""
    for own in report.progress:
        entry = ledger.entries.get(own.event)
        if entry is None or not isinstance(entry.content, Accepted):
            continue
        if entry.drawn_before is None and own.drawn_before is not None:
            pending = Pending(change=partial(advancing.keep_drawn, progress=own))
            yield ("drawn before", own.event), pending
        if advancing.is_news(entry, own, report.now_utc_s):
            key = ("progress", own.event, own.version_utc_s, own.status)
            yield key, Pending(change=partial(advancing.advance, progress=own))
    for foreseen in islice(_foreseen_news(ledger, report), FORESEEN_A_TICK):
        pending = Pending(change=partial(advancing.foresee, foreseen=foreseen))
        yield ("foreseen", foreseen.event), pending


def _foreseen_news(ledger: Ledger, report: SiteReport) -> Iterator[Foreseen]:
    for foreseen in report.foreseen:
        entry = ledger.entries.get(foreseen.event)
        if entry is not None and advancing.is_foreseen_news(entry, foreseen, report.now_utc_s):
            yield foreseen


def _own(words: Iterable[_Word], name: str) -> tuple[_Word, ...]:
    found: list[_Word] = []
    for word in words:
        operator, event = parted(word.event)
        if operator == name:
            found.append(replace(word, event=event))
    return tuple(found)
