"""How much of a log somebody else may fill: lines that tell the same of the same are written at first, then
ever fewer.

A new sort of trouble has room of its own, so that no other can hide it. What was left out is counted, and
told with the next line of its sort that is written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog

SORT = ("kind", "status", "state", "reason")
"""What tells sorts of a line apart, beside its event: fields with words of ours."""
ABOUT = ("subject", "device", "point", "operator", "broker", "topic", "rule")
"""What a line is about: fields with names from the site file, or of events, jobs and files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """So many lines at once, and one more `every_s`, of each of the last so many that are told `apart`."""

    at_once: int
    every_s: float
    apart: int


OF_A_SORT = Allowance(at_once=20_000, every_s=30.0, apart=1024)
"""All machines of a large site may fall silent together, each with a line."""
OF_ONE = Allowance(at_once=200, every_s=300.0, apart=20_000)
"""A day ahead of an operator's events, each with a line; then 288 a day."""


class Meter:
    """Counts the lines of each key against an allowance: a bucket that fills with time."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._spent_until_s: OrderedDict[Hashable, float] = OrderedDict()

    def has_room(self, key: Hashable, now_s: float) -> bool:
        allowance = self._allowance
        until_s = self._spent_until_s.get(key, now_s)
        return until_s - now_s <= (allowance.at_once - 1) * allowance.every_s

    def spend(self, key: Hashable, now_s: float) -> None:
        until_s = self._spent_until_s.pop(key, now_s)
        self._spent_until_s[key] = max(until_s, now_s) + self._allowance.every_s
        if len(self._spent_until_s) > self._allowance.apart:
            self._spent_until_s.popitem(last=False)


class Calm:
    """For our own lines a processor of structlog, for those of libraries a filter. Both may be called by any
    thread."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._sorts, self._ones = Meter(OF_A_SORT), Meter(OF_ONE)
        self._unsaid: OrderedDict[Hashable, int] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(
        self, _logger: Any, _method: str, line: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        sort = (line.get("event"), *(str(line[name]) for name in SORT if name in line))
        unsaid = self._left_out(sort, tuple(str(line[name]) for name in ABOUT if name in line))
        if unsaid is None:
            raise structlog.DropEvent
        if unsaid:
            line["unsaid"] = unsaid
        return line

    def filter(self, record: logging.LogRecord) -> bool:
        """Libraries name what they tell by its wording, before it is filled in."""
        return self._left_out((record.name, record.levelno), (str(record.msg),)) is not None

    def _left_out(self, sort: Hashable, about: Hashable) -> int | None:
        """How many lines like this one were left out since the last; None where this one is left out, too."""
        one, now_s = (sort, about), self._now_s()
        with self._lock:
            unsaid = self._unsaid.pop(one, 0)
            if self._sorts.has_room(sort, now_s) and self._ones.has_room(one, now_s):
                self._sorts.spend(sort, now_s)
                self._ones.spend(one, now_s)
                return unsaid
            self._unsaid[one] = unsaid + 1
            if len(self._unsaid) > OF_ONE.apart:
                self._unsaid.popitem(last=False)
            return None
