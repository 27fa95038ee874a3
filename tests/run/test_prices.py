"""The edge to the markets in virtual time: sources that come, go, hang and are told of once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from controller.decide.economics import alarms
from controller.decide.inputs import PriceNow
from controller.domain.prices import NO_SERIES, Ladder, Price, PriceKey, PriceReading, Rung, Series
from controller.run.clock import Clock
from controller.run.devicetask import Polling
from controller.run.prices import CLOSE_DEADLINE_S, FIRST_WORD_S, Constants, PriceBook
from tests.run.fleet import UTC_S
from tests.virtualtime import START_S, in_virtual_time

ENERGY = PriceKey(price=Price.ENERGY)


@dataclass(slots=True)
class Feed:
    """A source that tells `series`, with `trouble`, after `takes_s`."""

    id: str = "rtm"
    series: Series = NO_SERIES
    trouble: str = ""
    takes_s: float = 0.0
    reads: int = 0
    is_closed: bool = False
    surprise: list[Exception] = field(default_factory=list)

    async def read(self) -> tuple[PriceReading, ...]:
        self.reads += 1
        await asyncio.sleep(self.takes_s)
        for error in self.surprise:
            raise error
        return (PriceReading(source=self.id, series=self.series, trouble=self.trouble),)

    async def close(self) -> None:
        await asyncio.sleep(self.takes_s)
        self.is_closed = True


class Market:
    """A book of energy prices, and the sources it asks."""

    def __init__(self, *feeds: Feed, stale_after_s: float = 60.0) -> None:
        time = asyncio.get_running_loop().time
        self.troubles: dict[str, str] = {}
        rungs = tuple(Rung(source=feed.id, stale_after_s=stale_after_s) for feed in feeds)
        self.book = PriceBook(
            ladders=[Ladder(key=ENERGY, constant=0.05, rungs=rungs)],
            sources=[(feed, Polling(every_s=1.0, deadline_s=3.0)) for feed in feeds],
            clock=Clock(utc=lambda: UTC_S - START_S + time()),
            troubles=self.troubles,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.book.run())
        yield
        task.cancel()
        await asyncio.wait([task])

    @property
    def energy(self) -> PriceNow:
        (price,) = self.book.now()
        return price


def events(logs: Sequence[object]) -> list[object]:
    return [entry["event"] for entry in logs if isinstance(entry, dict)]


@in_virtual_time
async def test_before_a_source_was_heard_the_constant_holds_and_nobody_complains() -> None:
    market = Market(Feed(takes_s=2.0, series=Series((UTC_S,), (0.03,))))

    async with market.open():
        await asyncio.sleep(0.5)
        first = market.energy
        await asyncio.sleep(2.0)
        then = market.energy

    assert (first.source, first.value, list(alarms([first]))) == ("constant", 0.05, [])
    assert (then.source, then.value, then.age_s) == ("rtm", 0.03, 2.5)


@in_virtual_time
async def test_a_source_that_stays_silent_after_the_start_is_missed() -> None:
    market = Market(Feed())

    async with market.open():
        quiet = market.energy.passed
        await asyncio.sleep(FIRST_WORD_S)
        missed = market.energy.passed

    assert (quiet, missed) == ((), ("rtm has no value for now",))


@in_virtual_time
async def test_a_price_that_grows_stale_falls_back_and_comes_back_and_each_change_is_logged() -> None:
    feed = Feed(series=Series((UTC_S,), (0.03,)))
    market = Market(feed, stale_after_s=20.0)

    with capture_logs() as logs:
        async with market.open():
            await asyncio.sleep(1.0)
            sources = [market.energy.source]
            await asyncio.sleep(20.0)
            sources.append(market.energy.source)
            market.energy  # noqa: B018 - asked again, told once
            feed.series = Series((UTC_S + 21.0,), (0.04,))
            await asyncio.sleep(1.5)
            sources.append(market.energy.source)

    assert sources == ["rtm", "constant", "rtm"]
    assert [(one["event"], one["log_level"], one["source"], one["was"]) for one in logs] == [
        ("price_source", "warning", "constant", "rtm"),
        ("price_source", "info", "rtm", "constant"),
    ]


@in_virtual_time
async def test_a_failing_source_is_told_once_and_its_last_good_price_stays_in_force() -> None:
    feed = Feed(series=Series((UTC_S,), (0.03,)))
    market = Market(feed)

    with capture_logs() as logs:
        async with market.open():
            await asyncio.sleep(1.5)
            feed.trouble = "line 3: value 'n/a' is not a number"
            await asyncio.sleep(5.0)
            failing = (market.energy.value, dict(market.troubles))
            feed.trouble = ""
            await asyncio.sleep(2.0)

    assert failing == (0.03, {"rtm": "line 3: value 'n/a' is not a number"})
    assert events(logs) == ["price_source_failing", "price_source_answers_again"]
    assert market.troubles == {}


@in_virtual_time
async def test_a_source_that_hangs_holds_up_no_other_and_ends_with_the_book() -> None:
    hanging, quick = Feed(takes_s=1e6), Feed(id="dam", series=Series((UTC_S,), (0.02,)))
    market = Market(hanging, quick)

    with capture_logs() as logs:
        async with market.open():
            await asyncio.sleep(12.0)
            price = market.energy

    assert (price.source, price.passed) == ("dam", ("rtm has no value for now",))
    assert hanging.reads == 4  # each ended at its deadline of 3 s
    assert quick.is_closed
    assert events(logs) == ["silent", "not_closed"]


@in_virtual_time
async def test_a_bug_in_a_source_is_not_swallowed() -> None:
    market = Market(Feed(surprise=[ZeroDivisionError()]))

    with pytest.raises(ExceptionGroup) as caught:
        await market.book.run()

    assert caught.group_contains(ZeroDivisionError)


def test_a_site_without_sources_names_none() -> None:
    assert Constants().now() == ()


@in_virtual_time
async def test_sources_that_take_their_time_to_close_take_it_together() -> None:
    feeds = [Feed(id=f"rtm-{at}") for at in range(5)]
    book = Market(*feeds).book
    running = asyncio.create_task(book.run())
    await asyncio.sleep(2)
    for feed in feeds:
        feed.takes_s = 60.0
    began_s = asyncio.get_running_loop().time()

    running.cancel()
    await asyncio.wait([running])

    assert asyncio.get_running_loop().time() - began_s == CLOSE_DEADLINE_S
