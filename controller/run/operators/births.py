"""The numbers of connections, by which a reader tells an old last will from a new hello.

They must rise from one process to the next, also where our clock was set back in between: so the store
remembers how far they went.
"""

from __future__ import annotations

import asyncio

import structlog

from controller.run.journal.store import EventStore, Record, StoreError

RESERVED = 1_000_000
"""More connections than a process makes. None of them is given again, whatever became of the process."""
PATIENCE_S = 2.0
"""A disk that hangs keeps no site from being taken over."""
_KEY = "snapshot/birth"  # no operator is called snapshot


async def first_birth(store: EventStore, operator: str, utc_s: float) -> int:
    """A number beyond all of earlier processes, and about the time in milliseconds. `StoreError` if the store
    cannot be read; where it takes nothing, as on a full disk, only a clock that was set back does harm."""
    key = f"{operator}/{_KEY}" if operator else _KEY
    spent = [_number(record) for record in await store.load() if record.key == key]
    first = max(round(utc_s * 1000), *spent, 0)
    kept = Record(key=key, version_utc_s=utc_s, status="", text=str(first + RESERVED))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await store.record((kept,))
    except (StoreError, TimeoutError) as error:
        structlog.get_logger("grid").warning("grid_birth_not_kept", operator=operator, why=repr(error))
    return first


def _number(record: Record) -> int:
    return int(record.text) if record.text.isdecimal() else 0
