"""Prices that are published over MQTT, well or badly, and what a controller can know of them.

It stands in for the broker below the driver's link: all bytes that come out of it are a message's, or
somebody's mistake.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import aiomqtt

from drivers.mqttlink import MqttLink
from tests.sim.daemon.fittings import (
    ENERGY_TOPIC,
    FEED_STALE_S,
    HASH_TOPIC,
    USUAL_USD_PER_KWH,
    USUAL_USD_PER_THS_DAY,
)
from tests.sim.daemon.prices import EVERY_S, stamp

LATENCY_S = (0.002, 0.03)
AGAIN_WITHIN_S = 60.0
AHEAD_S = 5.0
"""A value from further in the future than this begins later."""
BEYOND_ALL = 8193
"""Bytes; no message of a price has so many."""


@dataclass(frozen=True, slots=True)
class Unit:
    """How a figure is written. `says` is what it then means against what was meant: 0 where nobody can take
    it for a price."""

    name: str | None
    figure: float
    says: float


UNITS: Mapping[str, tuple[Unit, ...]] = {
    ENERGY_TOPIC: (
        Unit("USD/kWh", 1, 1),
        Unit("USD/MWh", 1000, 1),
        Unit("EUR/kWh", 1, 0),
        Unit("USD/kWh", 1000, 0),
        Unit("USD/MWh", 1, 0.001),
        Unit(None, 1, 0),
    ),
    HASH_TOPIC: (
        Unit("USD/TH/s/day", 1, 1),
        Unit("USD/PH/s/day", 1000, 1),
        Unit("BTC/TH/s/day", 1, 0),
        Unit("USD/TH/s/day", 1000, 0),
        Unit("USD/PH/s/day", 1, 0),
        Unit(None, 1, 0),
    ),
}
"""The usual one, another, a foreign one, two mistakes by a factor of 1000, of which one of energy can be no
mistake, and none."""
SPOILS: tuple[Callable[[bytes], bytes], ...] = (
    lambda content: content,
    lambda content: content[: len(content) // 2],
    lambda content: b"",
    lambda content: content.replace(b'"value": ', b'"value": NaN, "was": '),
    lambda content: content.replace(b'"value": ', b'"value": 1, "value": '),
    lambda content: content.replace(b'"timestamp"', b'"at"'),
    lambda content: content.replace(b"+00:00", b""),
    lambda content: content.replace(b'"value": ', b'"value": "", "was": '),
    lambda content: b"[" * (BEYOND_ALL - 1),
    lambda content: content + b" " * BEYOND_ALL,
    lambda content: b"\xff\xfe" + content,
)
"""By the fault's value; the first is none."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message. `value` is what it says in the price's first unit, from `utc_s` on; None where that is to be
    believed by nobody."""

    topic: str
    content: bytes
    value: float | None
    utc_s: float
    is_retained: bool = False


class PriceFeed:
    """Two topics, each told every `EVERY_S` and when its price changes, and kept by the broker. `utc` is the
    true clock, `site_utc` the controller's.

    `is_silent`: nobody publishes. `is_away`: nobody reaches the broker. `late_s`: each message comes up to so
    much later, and so they overtake each other. `doubles`: the chance that one comes once more, later.
    `ahead_s`: how far the publisher's clock is. `unit` and `spoilt`: how it writes.
    """

    def __init__(
        self, random: random.Random, utc: Callable[[], float], site_utc: Callable[[], float]
    ) -> None:
        self.is_silent = self.is_away = False
        self.late_s = self.doubles = self.ahead_s = 0.0
        self.unit = self.spoilt = 0
        self._random = random
        self._utc = utc
        self._site_utc = site_utc
        self._usd = {ENERGY_TOPIC: USUAL_USD_PER_KWH, HASH_TOPIC: USUAL_USD_PER_THS_DAY}
        self._due_s = dict.fromkeys(self._usd, 0.0)
        self._under_way: list[tuple[float, Letter]] = []
        self._retained: dict[str, Letter] = {}
        self._listener: asyncio.Queue[Letter | None] | None = None
        self._held: dict[str, Letter] = {}
        self._ahead: dict[str, dict[float, Letter]] = {topic: {} for topic in self._usd}

    def tell(self, topic: str, usd: float) -> None:
        self._usd[topic] = usd
        self._due_s[topic] = 0.0

    def strike(self, what: str, value: float) -> None:
        match what:
            case "energy":
                self.tell(ENERGY_TOPIC, value)
            case "hash":
                self.tell(HASH_TOPIC, value)
            case _:
                setattr(self, what, type(getattr(self, what))(value))

    def advance(self) -> None:
        now_s = self._utc()
        self._let_begin()
        if self.is_away and self._listener is not None:
            self._listener.put_nowait(None)
            self._listener = None
        for topic, usd in self._usd.items():
            if not self.is_silent and now_s >= self._due_s[topic]:
                self._due_s[topic] = now_s + EVERY_S
                self._publish(self._letter(topic, usd), now_s)
        arrived = [one for one in self._under_way if one[0] <= now_s]
        self._under_way = [one for one in self._under_way if one[0] > now_s]
        for _, letter in sorted(arrived, key=lambda one: one[0]):
            self._retained[letter.topic] = letter
            if self._listener is not None:
                self._listener.put_nowait(letter)

    def known(self, topic: str) -> float | None:
        """What the controller can know by its own clock; None where it has to do without."""
        self._let_begin()
        held, now_s = self._held.get(topic), self._site_utc()
        if held is None or not 0 <= now_s - held.utc_s <= FEED_STALE_S:
            return None
        return held.value

    def forget(self) -> None:
        """Another controller begins."""
        self._held.clear()
        for ahead in self._ahead.values():
            ahead.clear()

    def link(self) -> type[MqttLink]:
        """The driver's side of the line."""
        feed = self

        class Joined(MqttLink):
            async def _listen(self) -> None:
                if feed.is_away:
                    raise aiomqtt.MqttError("the broker is away")
                self.trouble = ""
                feed._listener = listener = asyncio.Queue[Letter | None]()
                for kept in feed._retained.values():
                    listener.put_nowait(replace(kept, is_retained=True))
                try:
                    while (letter := await listener.get()) is not None:
                        await asyncio.sleep(feed._random.uniform(*LATENCY_S))
                        feed._heard(letter)
                        self._hear(letter.topic, letter.content, letter.is_retained)
                finally:
                    feed._left(listener)
                raise aiomqtt.MqttError("the broker went away")

        return Joined

    def _left(self, listener: asyncio.Queue[Letter | None]) -> None:
        """Another may have come in its place."""
        if self._listener is listener:
            self._listener = None

    def _publish(self, letter: Letter, now_s: float) -> None:
        arrives_s = now_s + self._random.uniform(0, self.late_s)
        self._under_way.append((arrives_s, letter))
        if self._random.random() < self.doubles:
            self._under_way.append((arrives_s + self._random.uniform(0, AGAIN_WITHIN_S), letter))

    def _letter(self, topic: str, usd: float) -> Letter:
        unit, utc_s = UNITS[topic][self.unit], round(self._utc() + self.ahead_s, 3)
        message = {"value": usd * unit.figure, "unit": unit.name, "timestamp": stamp(utc_s)}
        if unit.name is None:
            del message["unit"]
        content = SPOILS[self.spoilt](json.dumps(message).encode())
        value = None if self.spoilt or not unit.says else usd * unit.says
        return Letter(topic, content, value, utc_s)

    def _heard(self, letter: Letter) -> None:
        now_s = self._site_utc()
        if letter.value is None or letter.utc_s > now_s + FEED_STALE_S:
            return
        self._let_begin()
        if letter.utc_s > now_s + AHEAD_S:
            self._ahead[letter.topic][letter.utc_s] = letter
        else:
            self._hold(letter, now_s)

    def _let_begin(self) -> None:
        now_s = self._site_utc()
        for topic, ahead in self._ahead.items():
            for utc_s in sorted(utc_s for utc_s in ahead if utc_s <= now_s):
                self._hold(ahead.pop(utc_s), now_s)
            self._ahead[topic] = {at: one for at, one in ahead.items() if at <= now_s + FEED_STALE_S}

    def _hold(self, letter: Letter, now_s: float) -> None:
        from_s = min(letter.utc_s, now_s)
        held = self._held.get(letter.topic)
        if held is None or from_s >= held.utc_s or held.utc_s > now_s:
            self._held[letter.topic] = replace(letter, utc_s=from_s)
