"""Prices that are published over MQTT: one connection to a broker, and of every topic its newest value, and
those that begin later.

A value is as old as it says itself, not as the message that brought it: what the broker had kept, or
delivered twice, never makes an old price new. A message that cannot be believed leaves the last good one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from controller.domain.prices import PriceReading, Quote, Series, in_base_unit
from drivers.base import DriverError
from drivers.mqttlink import UNCONNECTED, MqttLink
from drivers.mqttpayload import message_of, number_at, text_at, time_at
from drivers.priceseries import declared_unit
from drivers.pricetables import PriceBrokerConfig, PriceTopic

AHEAD_S = 5.0
"""A value from so far in the future holds from now: clocks differ."""
MOST_AHEAD = 100
"""So many values that begin later are kept of a topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What a message says; `utc_s` is from when it holds, None where the message does not tell."""

    value: float
    utc_s: float | None


class MqttPrices:
    """A `PriceSource` of one series a topic. Its link is held from the first `read` until `close`."""

    def __init__(
        self,
        config: PriceBrokerConfig,
        *,
        utc: Callable[[], float] = time.time,
        link: type[MqttLink] = MqttLink,
    ) -> None:
        self._config = config
        self._utc = utc
        self._held: dict[str, Quote] = {}
        self._ahead: dict[str, dict[float, Quote]] = {source.id: {} for source in config.topics}
        self._refused: dict[str, str] = {}
        topics = tuple(dict.fromkeys(source.topic for source in config.topics))
        self._link = link(config, topics, self._hear)

    @property
    def id(self) -> str:
        return self._config.id

    async def read(self) -> tuple[PriceReading, ...]:
        self._link.keep_connected()
        return tuple(
            PriceReading(source=source.id, series=self._series(source), trouble=self._trouble(source))
            for source in self._config.topics
        )

    async def close(self) -> None:
        await self._link.close()

    def _series(self, source: PriceTopic) -> Series:
        self._let_begin(source)
        held, ahead = self._held.get(source.id), self._ahead[source.id]
        quotes = [quote for quote in (held,) if quote is not None]
        quotes += [ahead[at_s] for at_s in sorted(ahead) if held is None or at_s > held.from_utc_s]
        return Series(tuple(one.from_utc_s for one in quotes), tuple(one.value for one in quotes))

    def _trouble(self, source: PriceTopic) -> str:
        if self._link.trouble not in ("", UNCONNECTED):
            return f"{self._link.address}: {self._link.trouble}"
        return self._refused.get(source.id, "")

    def _hear(self, topic: str, payload: bytes, retained: bool) -> None:
        for source in self._config.topics:
            if source.topic != topic:
                continue
            try:
                quote = self._weigh(source, payload, retained=retained)
            except DriverError as error:
                self._refused[source.id] = f"{topic}: {error}"
                continue
            self._refused.pop(source.id, None)
            self._let_begin(source)
            if quote.from_utc_s > self._utc():
                self._ahead[source.id][quote.from_utc_s] = quote
            else:
                self._hold(source, quote)

    def _let_begin(self, source: PriceTopic) -> None:
        """Hold those whose time has come. Who is too far ahead came before our clock was set back."""
        ahead, now_utc_s = self._ahead[source.id], self._utc()
        for at_s in sorted(ahead):
            if at_s <= now_utc_s:
                self._hold(source, ahead.pop(at_s))
            elif at_s > now_utc_s + source.stale_after_s:
                del ahead[at_s]

    def _hold(self, source: PriceTopic, quote: Quote) -> None:
        held = self._held.get(source.id)
        # One from ahead of us came before our clock was set back: it is older than it looks.
        if held is None or not quote.from_utc_s < held.from_utc_s <= self._utc():
            self._held[source.id] = quote

    def _weigh(self, source: PriceTopic, payload: bytes, *, retained: bool) -> Quote:
        """The price in a message, in force from when it says it is. No old one looks new: with a publisher's
        clock that is ahead, none is believed for longer than twice its time.
        """
        told = parse(source, payload)
        now_utc_s = self._utc()
        if told.utc_s is None:
            if retained:
                raise DriverError("a retained value that does not say how old it is")
            return Quote(value=told.value, from_utc_s=now_utc_s)
        ahead_s = told.utc_s - now_utc_s
        if ahead_s > source.stale_after_s:
            most = f"more than stale_after_s {source.stale_after_s:g}"
            raise DriverError(f"begins in {ahead_s:.4g} s, {most}: send it later, or in a file of prices")
        if ahead_s <= AHEAD_S:
            return Quote(value=told.value, from_utc_s=min(told.utc_s, now_utc_s))
        if len(self._ahead[source.id].keys() | {told.utc_s}) > MOST_AHEAD:
            raise DriverError(f"more than {MOST_AHEAD} values that begin later")
        return Quote(value=told.value, from_utc_s=told.utc_s)


def parse(source: PriceTopic, payload: bytes) -> Value:
    """The price in a message, if it can be believed; `DriverError` if not."""
    shape = source.payload
    message = message_of(shape, payload)
    number = number_at(message, shape.value)
    told = None if shape.unit is None else text_at(message, shape.unit)
    try:
        value = in_base_unit(source.price, number, declared_unit(source.unit, told))
    except ValueError as error:
        raise DriverError(str(error)) from None
    return Value(value=value, utc_s=time_at(shape, message))
