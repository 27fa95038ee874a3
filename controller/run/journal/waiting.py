"""What waits to be written: bounded, so that a disk that takes nothing costs history and never memory, and
counted, so that what was lost is said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from controller.grid.isotime import stamp
from controller.run.journal.schema import Bookkeeping, seconds
from controller.run.journal.seals import Row

Key = TypeVar("Key")
Named = tuple[str, Row]
"""A row with the name of its table. Its first column is when it happened, in microseconds of Unix time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Rows of one table that will never be written."""

    rows: int
    first_us: int
    last_us: int

    @property
    def window(self) -> str:
        return f"{stamp(seconds(self.first_us))} to {stamp(seconds(self.last_us))}"

    def __add__(self, other: Lost) -> Lost:
        return Lost(
            rows=self.rows + other.rows,
            first_us=min(self.first_us, other.first_us),
            last_us=max(self.last_us, other.last_us),
        )


def add_lost(lost: dict[Key, Lost], more: Mapping[Key, Lost]) -> None:
    for key, one in more.items():
        lost[key] = lost[key] + one if key in lost else one


class Waiting:
    """Rows in the order of their arrival. When there are too many the oldest go. Two threads may use it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: deque[Named] = deque()
        self._lost: dict[str, Lost] = {}
        self._lost_rows = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def lost_rows(self) -> int:
        """How many were lost since the process began."""
        return self._lost_rows

    def add(self, name: str, row: Row) -> None:
        with self._lock:
            self._rows.append((name, row))
            self._trim()

    def lose(self, name: str, row: Row) -> None:
        """Count a row that nobody will write."""
        with self._lock:
            self._lose(name, row)

    def lost_beside(self, rows: int) -> None:
        """Count rows that somebody else writes down as lost."""
        with self._lock:
            self._lost_rows += rows

    def take(self) -> tuple[list[Named], Mapping[str, Lost]]:
        """All that waits, and what was lost and is not yet written down as lost."""
        with self._lock:
            rows, lost = list(self._rows), self._lost
            self._rows, self._lost = deque(), {}
            return rows, lost

    def put_back(self, rows: Sequence[Named], lost: Mapping[str, Lost]) -> None:
        """It was not written after all. What came meanwhile is newer, and stays."""
        with self._lock:
            self._rows.extendleft(reversed(rows))
            add_lost(self._lost, lost)
            self._trim()

    def _trim(self) -> None:
        while len(self._rows) > self._most:
            self._lose(*self._rows.popleft())

    def _lose(self, name: str, row: Row) -> None:
        at_us = row[0]
        assert isinstance(at_us, int)
        add_lost(self._lost, {name: Lost(rows=1, first_us=at_us, last_us=at_us)})
        self._lost_rows += 1


def lost_rows(lost: Mapping[str, Lost], now_us: int) -> list[Named]:
    """The bookkeeping of what was lost."""
    return [("bookkeeping", _lost_row(name, one, now_us)) for name, one in sorted(lost.items())]


def _lost_row(name: str, one: Lost, now_us: int) -> Row:
    return (now_us, Bookkeeping.LOST, name, None, None, one.rows, f"too many at once, {one.window}")
