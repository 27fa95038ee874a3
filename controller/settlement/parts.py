"""An id that is used again is another event: what was told of it, cut where one was over and the next begins.

Each part is settled by itself, by a baseline of its own: what a site drew before the first says nothing about
what it would have drawn in the last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from controller.domain.grid import PAUSE_S, EventStatus, GridEvent
from controller.settlement.course import AMENDED, ENDS, Told, ask_of, asking, in_force, in_order
from controller.settlement.metering import Span

Part = tuple[Told, ...]


def parts_of(told: Iterable[Told]) -> tuple[Part, ...]:
    """One at least, each in the order in which it came. A version that first asks for something more than
    `PAUSE_S` after the one before it did for the last time begins a part, and so does one about another node.
    One that asks for nothing more is the last word on what was."""
    found: list[list[Told]] = [[]]
    newest: GridEvent | None = None
    asked = _Asked()
    for row in in_order(told):
        newest = row.event or newest
        if row.status == EventStatus.RECEIVED and newest is not None:
            asked = asked.until(row.utc_s)
            if asked.is_over_before(newest, row.utc_s):
                found.append([])
                asked = _Asked()
                row = replace(row, event=newest)  # listed again, it is told without its content
            asked = replace(asked, holding=newest)
        elif row.status == AMENDED and asked.holding is not None:
            asked = replace(asked, holding=newest)
        elif row.status in ENDS:
            is_withdrawn = row.status in (EventStatus.CANCELLED, EventStatus.EXPIRED)
            asked = asked.until(row.utc_s, is_withdrawn=is_withdrawn)
        found[-1].append(row)
    return tuple(tuple(part) for part in found)


def has_asked(part: Part, now_utc_s: float) -> bool:
    """Whether it has asked the site for anything yet."""
    held = ((event, span) for span, event in in_force(part, now_utc_s))
    return next(asking(held), None) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Of one part: the version in force, and until when those before it asked the site for anything, at which
    `node`. In a pause between two of its intervals a version still asks. The last one was for until
    `end_utc_s`, unless it was withdrawn."""

    holding: GridEvent | None = None
    until_utc_s: float = -math.inf
    end_utc_s: float = -math.inf
    node: str = ""

    def until(self, utc_s: float, *, is_withdrawn: bool = False) -> _Asked:
        """The version in force holds no longer."""
        end_utc_s = self.end_utc_s if self.holding is None else self.holding.end_utc_s
        over = replace(self, holding=None, end_utc_s=-math.inf if is_withdrawn else end_utc_s)
        asks = [] if self.holding is None else _asks(self.holding)
        if self.holding is None or not asks or asks[0].start_utc_s >= utc_s:
            return over
        until_utc_s = max(self.until_utc_s, min(utc_s, asks[-1].end_utc_s))
        return replace(over, until_utc_s=until_utc_s, node=self.holding.node)

    def is_over_before(self, event: GridEvent, utc_s: float) -> bool:
        """Whether a version that comes now begins anew. A set-point does not where the ledger lets
        it go on from what was frozen before: its site freezes nothing then."""
        asks = _asks(event)
        if self.until_utc_s == -math.inf or not asks or asks[-1].end_utc_s <= utc_s:
            return False
        if self.end_utc_s > utc_s - PAUSE_S and event.steers_from_utc_s <= utc_s + PAUSE_S:
            return False
        return event.node != self.node or max(asks[0].start_utc_s, utc_s) - self.until_utc_s > PAUSE_S


def _asks(event: GridEvent) -> list[Span]:
    return [
        Span(interval.start_utc_s, interval.end_utc_s)
        for interval in event.intervals
        if not ask_of(interval).is_nothing
    ]
