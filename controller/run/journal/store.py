"""Where the ledger of grid events survives the process: the newest text of every key, and what happened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from controller.run.journal.happenings import Happening, StreamedPoint

log = structlog.get_logger()


class StoreError(Exception):
    """What had to be kept was not, or cannot be read back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of the store: the newest text under `key` is all there is to remember of it.

    `version_utc_s` and `status` are for whoever reads the store; the text alone restores the entry.
    """

    key: str
    version_utc_s: float
    status: str
    text: str


class NotKept:
    """A store of what never happened: nothing is kept, and nothing found."""

    async def record(
        self,
        records: tuple[Record, ...],
        forget: tuple[str, ...] = (),
        history: tuple[Happening | StreamedPoint, ...] = (),
    ) -> None:
        return None

    async def load(self) -> tuple[Record, ...]:
        return ()

    async def told_since(self, utc_s: float) -> Mapping[str, float]:
        return {}

    def evidence_left(self, operator: str) -> float:
        return math.inf


class EventStore(Protocol):
    """Where events survive the process."""

    async def record(
        self,
        records: tuple[Record, ...],
        forget: tuple[str, ...] = (),
        history: tuple[Happening | StreamedPoint, ...] = (),
    ) -> None:
        """Replace each record by key, delete the keys in `forget`, and add to what happened. All of it is
        durable on return; after `StoreError` all or none of it may be."""

    async def load(self) -> tuple[Record, ...]:
        """The newest record of every key, in any order; `StoreError` if that cannot be known."""

    def evidence_left(self, operator: str) -> float:
        """How many more rows may be written of new versions of this operator's events: with none left they
        are to be refused, or those that were accepted could not be proven."""


class CommandStore(EventStore, Protocol):
    """One that has what machines were told, too."""

    async def told_since(self, utc_s: float) -> Mapping[str, float]:
        """When each machine was last told something, of those that were since then, in Unix seconds;
        `StoreError` if that cannot be known. Of a process that was killed its last second may be missing."""


async def found_in(store: EventStore, unreadable: str) -> tuple[Record, ...]:
    """All records, for whom a store that cannot be read is as good as an empty one: it is logged as
    `unreadable`."""
    try:
        return await store.load()
    except StoreError as error:
        log.warning(unreadable, why=str(error))
        return ()
