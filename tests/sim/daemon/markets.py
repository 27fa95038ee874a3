"""Where the prices of a world come from: a file, a feed over MQTT, and else what its site file says."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from pathlib import Path

from controller.config import Settings
from drivers.base import PriceSource
from drivers.mqttprice import MqttPrices
from drivers.registry import Fleet, Polled
from tests.sim.daemon.fittings import (
    ENERGY_TOPIC,
    FEED,
    HASH_TOPIC,
    PRICES,
    USUAL_USD_PER_THS_DAY,
    price_file,
)
from tests.sim.daemon.pricefeed import PriceFeed
from tests.sim.daemon.prices import Known, PriceFile


class Markets:
    """`utc` is the true clock, `site_utc` the controller's. Only what is in `fitted` tells anything."""

    def __init__(
        self,
        seed: int,
        directory: Path,
        fitted: Collection[str],
        utc: Callable[[], float],
        site_utc: Callable[[], float],
    ) -> None:
        self._fitted = fitted
        self._utc = utc
        self._site_utc = site_utc
        self._file = PriceFile(price_file(directory), utc)
        self._feed = PriceFeed(random.Random(f"{seed}/feed"), utc, site_utc)
        self._began_utc_s = 0.0

    def begin(self) -> None:
        """A controller starts, and knows nothing of what another heard."""
        self._began_utc_s = self._utc()
        self._feed.forget()

    def advance(self) -> None:
        if PRICES in self._fitted:
            self._file.advance()
        if FEED in self._fitted:
            self._feed.advance()

    def strike(self, what: str, value: float) -> None:
        match what.split("_", 1):
            case ["feed", about]:
                self._feed.strike(about, value)
            case ["price", "silent"]:
                self._file.is_silent = bool(value)
            case ["price", "broken"]:
                self._file.damage(int(value))
            case _:
                self._file.tell(value)

    def known(self) -> Known:
        """What the controller can know, of each price from the first source that tells one."""
        energy, hashing = self._feed.known(ENERGY_TOPIC), self._feed.known(HASH_TOPIC)
        if energy is None:
            energy = self._file.known_usd(self._site_utc(), self._began_utc_s)
        return Known(energy, USUAL_USD_PER_THS_DAY if hashing is None else hashing)

    def sources(self, settings: Settings, found: Fleet) -> tuple[tuple[PriceSource, Polled], ...]:
        """The site's, with the world's clock and its line to the broker."""
        configs = {broker.id: broker for broker in settings.price_brokers}
        return tuple(
            (MqttPrices(configs[one.id], utc=self._site_utc, link=self._feed.link()), polled)
            if isinstance(one, MqttPrices)
            else (one, polled)
            for one, polled in found.prices
        )
