"""An event store that behaves like a disk: it survives its program, it fails, and it can be slow."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

from controller.run.journal.happenings import Happening, StreamedPoint
from controller.run.journal.store import Record, StoreError


class Disk:
    """`rows` outlives whoever writes it, and so does when machines were `told` something. `trouble` makes
    every write fail, and while `open` is not set none returns. `hangs_after` names the write that is done but
    never answered, `shuts_after` the last one."""

    def __init__(self) -> None:
        self.rows: dict[str, Record] = {}
        self.history: tuple[Happening | StreamedPoint, ...] = ()
        self.told: dict[str, float] = {}
        self.writes = 0
        self.evidence_rows = math.inf
        self.trouble = ""
        self.open = asyncio.Event()
        self.open.set()
        self.hangs_after: Callable[[Record], bool] = lambda _: False
        self.shuts_after: Callable[[Record], bool] = lambda _: False

    async def record(
        self,
        records: tuple[Record, ...],
        forget: tuple[str, ...] = (),
        history: tuple[Happening | StreamedPoint, ...] = (),
    ) -> None:
        await self.open.wait()
        if self.trouble:
            raise StoreError(self.trouble)
        self.writes += 1
        self.history += history
        self.rows.update({record.key: record for record in records})
        for key in forget:
            self.rows.pop(key, None)
        if any(self.shuts_after(record) for record in records):
            self.open.clear()
        if any(self.hangs_after(record) for record in records):
            await asyncio.Event().wait()

    async def load(self) -> tuple[Record, ...]:
        return tuple(self.rows.values())

    async def told_since(self, utc_s: float) -> Mapping[str, float]:
        return {device: at_s for device, at_s in self.told.items() if at_s >= utc_s}

    def evidence_left(self, operator: str) -> float:
        return self.evidence_rows

    @property
    def events(self) -> set[str]:
        return {key.removeprefix("event/") for key in self.rows if key.startswith("event/")}
