"""How the ledger of one operator lies in a store that several share: by which keys, and as what records."""

from __future__ import annotations

from dataclasses import replace

from controller.domain.grid import EventStatus
from controller.grid.entries import Entry, Mark, version_of
from controller.grid.stored import to_text
from controller.run.journal.happenings import Happening, StreamedPoint
from controller.run.journal.store import EventStore, Record

_SNAPSHOT_KEY = "snapshot"
_EVENT_KEY = "event/"


class Shelf:
    """The part of a store that belongs to one operator: several share a store and cannot take each other's
    events for their own. The empty name is the first operator there was."""

    def __init__(self, store: EventStore, operator: str) -> None:
        self._store = store
        self._operator = operator
        self._prefix = f"{operator}/" if operator else ""

    async def record(
        self,
        records: tuple[Record, ...],
        forget: tuple[str, ...] = (),
        history: tuple[Happening | StreamedPoint, ...] = (),
    ) -> None:
        prefix = self._prefix
        named = tuple(replace(record, key=prefix + record.key) for record in records)
        signed = tuple(replace(happening, operator=self._operator) for happening in history)
        await self._store.record(named, tuple(prefix + key for key in forget), signed)

    async def load(self) -> tuple[Record, ...]:
        found = await self._store.load()
        own = [
            replace(record, key=record.key.removeprefix(self._prefix))
            for record in found
            if record.key.startswith(self._prefix)
        ]
        return tuple(r for r in own if r.key == _SNAPSHOT_KEY or r.key.startswith(_EVENT_KEY))

    def evidence_left(self, operator: str = "") -> float:
        return self._store.evidence_left(operator or self._operator)


def entry_record(entry: Entry) -> Record:
    return Record(
        key=key_of(entry.id),
        version_utc_s=0.0 if entry.content is None else version_of(entry.content),
        status=(entry.told or (EventStatus.REJECTED,))[-1].value,
        text=to_text(entry),
    )


def mark_record(mark: Mark) -> Record:
    return Record(key=_SNAPSHOT_KEY, version_utc_s=mark.as_of_utc_s, status="", text=to_text(mark))


def key_of(event_id: str) -> str:
    return f"{_EVENT_KEY}{event_id}"
