"""How much history of events an operator may write: a broken or hostile one fills no disk, and costs no other
operator a row.

What is refused, or withdrawn that never held, proves nothing of what was settled: there is little room for
it, and it uses up none of the rest. What was left out is told, by operator and once an hour at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from controller.domain.eventnames import FIRST
from controller.domain.grid import EventStatus
from controller.run.journal.happenings import Happening, StreamedPoint
from controller.run.journal.schema import Bookkeeping, microseconds
from controller.run.journal.seals import Row
from controller.run.journal.waiting import Lost, Named, add_lost

EVENTS_AT_ONCE = 20_000
EVENTS_PER_S = 2.0
"""Rows of history that the events of one operator may write: at most some 200,000 a day."""
KEPT_BACK = 8_000
"""Of these so many are for what becomes of the events that were accepted: 896 of them, a handful each, beside
one long message. With no more left new versions are refused."""
REFUSALS_AT_ONCE = 1_000
REFUSALS_PER_S = 1 / 60
"""The same of what it is refused: at most some 2,400 a day."""
ROW_BYTES = 4_096
"""A row with a longer text counts as several."""
TOLD_EVERY_US = 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many more rows may be written: `left` of at most `most`, `per_s` more a second."""

    most: float
    per_s: float
    left: float
    at_us: int = 0

    def spent(self, rows: int, now_us: int) -> Budget:
        """After `rows` more at `now_us`; below 0 they are too many, and none of them may be written."""
        earned = self.per_s * max(0, now_us - self.at_us) / 1e6
        return replace(self, left=min(self.most, self.left + earned) - rows, at_us=now_us)


Kind = tuple[str, bool]
"""An operator, and whether it is refused."""
One = Happening | StreamedPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What may be written, what may not, and what is left for later if it is."""

    rows: tuple[One, ...]
    left_out: Mapping[Kind, Lost]
    budgets: Mapping[Kind, Budget]


@dataclass(slots=True)
class Flood:
    """Two threads may not use it."""

    _budgets: dict[Kind, Budget] = field(default_factory=dict)
    _untold: dict[Kind, Lost] = field(default_factory=dict)
    _told_us: dict[Kind, int] = field(default_factory=dict)

    def admitted(self, history: Iterable[One], now_us: int) -> Admitted:
        """Which rows may be written now. Nothing is spent before `wrote` says that they are."""
        budgets = dict(self._budgets)
        rows: list[One] = []
        left_out: dict[Kind, Lost] = {}
        for one in history:
            kind = _kind(one)
            budget = budgets.get(kind, _whole(kind)).spent(_cost(one), now_us)
            if budget.left >= 0:
                budgets[kind] = budget
                rows.append(one)
            else:
                at_us = microseconds(one.utc_s)
                add_lost(left_out, {kind: Lost(rows=1, first_us=at_us, last_us=at_us)})
        return Admitted(rows=tuple(rows), left_out=left_out, budgets=budgets)

    def left_for_new(self, operator: str, now_us: int) -> float:
        """How many rows there are for new versions of events. Any thread may ask."""
        kind = (operator, False)
        return self._budgets.get(kind, _whole(kind)).spent(0, now_us).left - KEPT_BACK

    def wrote(self, admitted: Admitted) -> None:
        self._budgets.update(admitted.budgets)
        add_lost(self._untold, admitted.left_out)

    def due(self, now_us: int, *, is_last: bool = False) -> Mapping[Kind, Lost]:
        """What was left out and is to be told now: the first at once, then what came in an hour."""
        return {
            kind: lost
            for kind, lost in self._untold.items()
            if is_last or not 0 <= now_us - self._told_us.get(kind, -TOLD_EVERY_US) < TOLD_EVERY_US
        }

    def told(self, due: Iterable[Kind], now_us: int) -> None:
        for kind in due:
            del self._untold[kind]
            self._told_us[kind] = now_us


def left_out_rows(due: Mapping[Kind, Lost], now_us: int) -> list[Named]:
    """The bookkeeping of what was left out."""
    return [("bookkeeping", _row(kind, lost, now_us)) for kind, lost in sorted(due.items(), key=_by_kind)]


def _by_kind(item: tuple[Kind, Lost]) -> Kind:
    return item[0]


def _row(kind: Kind, lost: Lost, now_us: int) -> Row:
    operator, is_refused = kind
    what = "of what was refused" if is_refused else "of its events"
    detail = f"too many at once from {operator or FIRST} {what}, {lost.window}"
    return (now_us, Bookkeeping.LOST, "events", None, None, lost.rows, detail)


def _kind(one: One) -> Kind:
    return one.operator, isinstance(one, Happening) and (
        one.status == EventStatus.REJECTED or not one.settles
    )


def _whole(kind: Kind) -> Budget:
    _, is_refused = kind
    if is_refused:
        return Budget(most=REFUSALS_AT_ONCE, per_s=REFUSALS_PER_S, left=REFUSALS_AT_ONCE)
    return Budget(most=EVENTS_AT_ONCE, per_s=EVENTS_PER_S, left=EVENTS_AT_ONCE)


def _cost(one: One) -> int:
    return 1 + len(one.text) // ROW_BYTES if isinstance(one, Happening) else 1
