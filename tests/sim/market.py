"""A feed of the price of energy, as the daemon hears it: told now and then, silent at times, forgotten by a
new process, which waits for its first word. It has a generator of its own: other seeds stay as they are."""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import dataclass

from controller.decide.economics import prices_now
from controller.decide.inputs import PriceNow
from controller.domain.devices import DeviceSpec
from controller.domain.prices import Ladder, Price, PriceKey, Rung, Series
from controller.domain.site import Site
from tests.sim import thresholds
from tests.sim.operator import UTC_S

KIND = "price_feed"
SOURCE, STALE_AFTER_S = "feed", 120.0
EVERY_S, FIRST_WORD_S = 30.0, 10.0
USD_PER_KWH = (-0.02, 0.03, 0.05, 0.06, 0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """What it says at each of its times, and `silent` from when until when."""

    quotes: tuple[tuple[float, float], ...]
    silent: tuple[tuple[float, float], ...]


def draw_feed(
    seed: int, calm_s: float, site: Site, specs: Collection[DeviceSpec], on: Collection[str]
) -> Feed | None:
    """From the end of faults on it tells the usual price. Where thresholds are set the price hovers."""
    usual = site.prices.usd_per_kwh
    feed = _jumping(seed, calm_s, usual) if KIND in on else None
    if thresholds.KIND not in on:
        return feed
    prices = thresholds.hovering(seed, site, specs, EVERY_S)
    calm = math.ceil(calm_s / EVERY_S)
    quotes = ((EVERY_S * at, next(prices) if at < calm else usual) for at in range(calm + 200))
    return Feed(quotes=tuple(quotes), silent=() if feed is None else feed.silent)


def _jumping(seed: int, calm_s: float, usual: float) -> Feed:
    rnd = random.Random(f"{seed}/{KIND}")
    quotes, silent = [], []
    at_s, usd = 0.0, usual
    while at_s < calm_s:
        usd = rnd.choice(USD_PER_KWH) if rnd.random() < 0.05 else usd
        quotes.append((at_s, usd))
        at_s += EVERY_S
    quotes += [(calm_s + EVERY_S * count, usual) for count in range(200)]
    begins_s = rnd.uniform(0, 400)
    while begins_s < calm_s:
        ends_s = min(calm_s, begins_s + rnd.uniform(20, 600))
        silent.append((begins_s, ends_s))
        begins_s = ends_s + rnd.expovariate(1 / 600)
    return Feed(quotes=tuple(quotes), silent=tuple(silent))


class Market:
    """The site's end of it. `heard` are values by the moment from which each is in force."""

    def __init__(self, feed: Feed, constant: float) -> None:
        self._feed = feed
        self._constant = constant
        self._heard: dict[float, float] = {}
        self._began_s = 0.0

    def start(self, now_s: float) -> None:
        """A new process has heard nothing."""
        self._heard = {}
        self._began_s = now_s

    def hear(self, now_s: float) -> None:
        if not any(begins_s <= now_s < ends_s for begins_s, ends_s in self._feed.silent):
            at_s, usd = max(quote for quote in self._feed.quotes if quote[0] <= now_s)
            self._heard[UTC_S + at_s] = usd

    def now(self, now_s: float, utc_s: float) -> tuple[PriceNow, ...]:
        """As the daemon would tell the core."""
        awaited = [SOURCE] if now_s - self._began_s < FIRST_WORD_S and not self._heard else []
        ladder = Ladder(
            key=PriceKey(price=Price.ENERGY),
            constant=self._constant,
            rungs=(Rung(source=SOURCE, stale_after_s=STALE_AFTER_S),),
        )
        ordered = sorted(self._heard.items())
        series = Series(tuple(at for at, _ in ordered), tuple(usd for _, usd in ordered))
        return prices_now([ladder], {SOURCE: series}, utc_s, awaited)

    def usd_per_kwh(self, utc_s: float) -> float:
        """What holds, reckoned apart from the core: the newest that is not too old, or the constant."""
        fresh = [at for at in self._heard if 0 <= utc_s - at <= STALE_AFTER_S]
        return self._heard[max(fresh)] if fresh else self._constant
