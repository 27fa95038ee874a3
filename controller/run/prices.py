"""The edge to the markets: polls the sources of prices, keeps what each told last, says which price holds.

No price source can hold up or end a tick: without any, the constants hold. Only to take a site over its first
word is waited for, for a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from controller.decide.economics import prices_now
from controller.decide.inputs import PriceNow
from controller.domain.prices import Ladder, PriceKey, PriceReading
from controller.run.clock import Clock
from controller.run.devicetask import Polling
from controller.run.voice import Voice
from drivers.base import PriceSource
from drivers.cancellation import obey_cancellation, until_told

log = structlog.get_logger()

FIRST_WORD_S = 10.0
"""How long after the start a source that told nothing yet is not missed, but waited for."""
CLOSE_DEADLINE_S = 1.0


class PriceSide(Protocol):
    """What the loop needs of the markets."""

    def now(self) -> tuple[PriceNow, ...]:
        """The prices in force; must not wait."""
        ...


class Constants:
    """A site whose prices stand in its file, and nowhere else."""

    def now(self) -> tuple[PriceNow, ...]:
        return ()


class PriceBook:
    """`run()` as a task of the daemon, `now()` on every tick. `troubles` is kept up to date, by source."""

    def __init__(
        self,
        *,
        ladders: Sequence[Ladder],
        sources: Sequence[tuple[PriceSource, Polling]],
        clock: Clock,
        troubles: dict[str, str],
    ) -> None:
        self._ladders = tuple(ladders)
        self._sources = tuple(sources)
        self._clock = clock
        self._troubles = troubles
        self._heard: dict[str, PriceReading] = {}
        self._names = {rung.source for ladder in ladders for rung in ladder.rungs}
        self._began_s: float | None = None
        self._in_force: dict[PriceKey, PriceNow] = {}

    async def run(self) -> None:
        """Poll until cancelled."""
        self._begin(self._clock.now_s())
        try:
            async with asyncio.TaskGroup() as group:
                for source, polling in self._sources:
                    polls = until_told(self._poll, source, polling)
                    group.create_task(polls, name=f"prices {source.id}")
        finally:
            async with asyncio.TaskGroup() as group:  # at once: each may take all of its time
                for source, _ in self._sources:
                    group.create_task(self._close(source))

    def now(self) -> tuple[PriceNow, ...]:
        """The prices in force. Logs each change of where one is from."""
        now_s = self._clock.now_s()
        awaited = set[str]()
        if now_s - self._begin(now_s) < FIRST_WORD_S:
            told = {name for name, one in self._heard.items() if one.series.values}
            awaited = self._names - told
        series = {name: one.series for name, one in self._heard.items()}
        found = prices_now(self._ladders, series, self._clock.utc_s(), awaited)
        for price in found:
            self._note(price)
        return found

    def _begin(self, now_s: float) -> float:
        """When the first word was waited for from."""
        if self._began_s is None:
            self._began_s = now_s
        return self._began_s

    async def _poll(self, source: PriceSource, polling: Polling) -> None:
        voice = Voice(source.id)
        while True:
            obey_cancellation()
            try:
                async with asyncio.timeout(polling.deadline_s):
                    readings = await source.read()
            except TimeoutError as error:
                voice.silent(error)
            else:
                voice.heard()
                for reading in readings:
                    self._hear(reading)
            await asyncio.sleep(polling.every_s)

    def _hear(self, reading: PriceReading) -> None:
        name = reading.source
        self._heard[name] = reading
        if reading.trouble:
            if name not in self._troubles:
                log.warning("price_source_failing", subject=name, why=reading.trouble)
            self._troubles[name] = reading.trouble
        elif self._troubles.pop(name, None) is not None:
            log.info("price_source_answers_again", subject=name)

    def _note(self, price: PriceNow) -> None:
        before = self._in_force.get(price.key)
        self._in_force[price.key] = price
        if before is not None and before.source != price.source:
            age_s = None if price.age_s is None else round(price.age_s, 1)
            say = log.warning if price.passed else log.info
            say(
                "price_source",
                price=str(price.key),
                value=price.value,
                source=price.source,
                was=before.source,
                age_s=age_s,
            )

    async def _close(self, source: PriceSource) -> None:
        try:
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                await source.close()
        except TimeoutError as error:
            log.warning("not_closed", subject=source.id, why=repr(error))
