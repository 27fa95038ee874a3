"""The feed of prices of the worlds: what the real driver makes of its messages is what is known of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drivers.mqttprice import MqttPrices
from drivers.pricetables import PriceBrokerConfig
from tests.sim.daemon.fittings import (
    ENERGY_TOPIC,
    FEED_STALE_S,
    HASH_TOPIC,
    USUAL_USD_PER_KWH,
    USUAL_USD_PER_THS_DAY,
    broker_table,
)
from tests.sim.daemon.judge import UTC_S
from tests.sim.daemon.pricefeed import SPOILS, UNITS, PriceFeed
from tests.sim.daemon.prices import EVERY_S
from tests.sim.daemon.swarm import FEED_TROUBLE
from tests.virtualtime import in_virtual_time, now_s

TOPICS = (ENERGY_TOPIC, HASH_TOPIC)
CLOCKS_S = (-3600.0, -8.0, -2.0, 2.0, 60.0, 3600.0)


class Listened:
    """A feed that told 0.5 USD/kWh a second ago, and the driver that listens to it."""

    def __init__(self, seed: int = 1) -> None:
        self.jumped_s = 0.0
        self.feed = PriceFeed(random.Random(seed), lambda: UTC_S + now_s(), self.site_utc_s)
        self.driver = self.new_driver()

    def new_driver(self) -> MqttPrices:
        config = PriceBrokerConfig.model_validate(broker_table())
        return MqttPrices(config, utc=self.site_utc_s, link=self.feed.link())

    def site_utc_s(self) -> float:
        return UTC_S + now_s() + self.jumped_s

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        try:
            self.feed.tell(ENERGY_TOPIC, 0.5)
            await self.pass_s(1)
            yield
        finally:
            await self.driver.close()

    async def pass_s(self, for_s: float) -> None:
        for _ in range(round(for_s)):
            await self.driver.read()
            self.feed.advance()
            await asyncio.sleep(1)

    async def in_force(self) -> list[float | None]:
        quotes = [one.series.at(self.site_utc_s()) for one in await self.driver.read()]
        fresh = (
            quote if quote and self.site_utc_s() - quote.from_utc_s <= FEED_STALE_S else None
            for quote in quotes
        )
        return [None if quote is None else quote.value for quote in fresh]

    def known(self) -> list[float | None]:
        return [self.feed.known(topic) for topic in TOPICS]

    async def troubles(self) -> list[bool]:
        return [bool(one.trouble) for one in await self.driver.read()]


@pytest.mark.parametrize("spoilt", range(1, len(SPOILS)))
@in_virtual_time
async def test_a_damaged_message_is_refused_and_the_last_price_stands_until_it_is_stale(spoilt: int) -> None:
    site = Listened()
    async with site.open():
        site.feed.strike("spoilt", spoilt)
        site.feed.tell(ENERGY_TOPIC, 0.2)
        await site.pass_s(EVERY_S)

        assert await site.troubles() == [True, True]
        assert await site.in_force() == site.known() == [0.5, USUAL_USD_PER_THS_DAY]

        await site.pass_s(FEED_STALE_S)
        assert await site.in_force() == site.known() == [None, None]


@pytest.mark.parametrize("unit", range(1, len(UNITS[ENERGY_TOPIC])))
@in_virtual_time
async def test_another_unit_is_the_same_price_and_a_wrong_one_is_none_where_it_can_be_told(unit: int) -> None:
    site = Listened()
    async with site.open():
        site.feed.strike("unit", unit)
        await site.pass_s(EVERY_S + FEED_STALE_S)

        says = [UNITS[topic][unit].says for topic in TOPICS]
        told = [0.5 * says[0] or None, USUAL_USD_PER_THS_DAY * says[1] or None]
        assert await site.troubles() == [not says for says in says]
        assert await site.in_force() == pytest.approx(told)
        assert site.known() == pytest.approx(told)


@in_virtual_time
async def test_the_last_price_is_kept_by_a_broker_that_was_away_and_for_who_comes_later() -> None:
    site = Listened()
    async with site.open():
        site.feed.strike("is_away", True)
        site.feed.tell(ENERGY_TOPIC, 0.03)
        await site.pass_s(10)
        assert await site.troubles() == [True, True]
        assert await site.in_force() == site.known() == [0.5, USUAL_USD_PER_THS_DAY]

        site.feed.strike("is_away", False)
        await site.pass_s(9)
        assert await site.in_force() == site.known() == [0.03, USUAL_USD_PER_THS_DAY]

        await site.driver.close()
        site.feed.forget()
        assert site.known() == [None, None]
        site.driver = site.new_driver()
        await site.pass_s(2)
        assert await site.in_force() == site.known() == [0.03, USUAL_USD_PER_THS_DAY]


@pytest.mark.parametrize("seed", range(6))
@in_virtual_time
async def test_what_is_known_is_what_the_driver_has_however_late_doubled_and_misdated_its_messages_are(
    seed: int,
) -> None:
    choice, site = random.Random(seed), Listened(seed)
    told = set[tuple[float | None, ...]]()
    async with site.open():
        for _ in range(60):
            what = choice.choice([*FEED_TROUBLE, "clock", "feed_energy", "feed_energy"])
            value = choice.choice(FEED_TROUBLE.get(what, CLOCKS_S)) if choice.random() < 0.3 else 0
            if what == "clock":
                site.jumped_s = value
            elif what == "feed_energy":
                site.feed.tell(ENERGY_TOPIC, choice.choice([0.03, USUAL_USD_PER_KWH, 0.5]))
            else:
                site.feed.strike(what.removeprefix("feed_"), value)
            for _ in range(8):
                await site.pass_s(2)
                assert await site.in_force() == pytest.approx(site.known())
                told.add(tuple(site.known()))

    assert len(told) > 3
