"""Prices over MQTT: what a message means, and the source against a real broker and one that is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest
from pydantic import ValidationError

from controller.domain.prices import NO_SERIES, PriceReading, Series
from drivers.base import DriverError
from drivers.mqttprice import MOST_AHEAD, MqttPrices, Value, parse
from drivers.pricetables import PriceBrokerConfig, PriceTopic
from simulators.broker import HOST, Broker, broker, mosquitto_binary

NOW_S = 1_795_453_200.0
TOPIC = "market/ercot/rtm"

needs_mosquitto = pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed")


def topic(**changes: Any) -> PriceTopic:
    table = {"id": "rtm", "price": "energy", "topic": TOPIC, "stale_after_s": 900}
    return PriceTopic.model_validate(table | changes)


def config(port: int, *topics: PriceTopic, **changes: Any) -> PriceBrokerConfig:
    table = {"id": "market", "host": HOST, "port": port, "topics": topics or (topic(),)}
    return PriceBrokerConfig.model_validate(table | changes)


def message(value: object = 45.2, unit: object = "USD/MWh", time: object = "2026-11-23T17:00:00Z") -> bytes:
    return json.dumps({"value": value, "unit": unit, "timestamp": time}).encode()


# -- what a message means ----------------------------------------------------------------------------------


def test_a_message_is_a_value_a_unit_and_a_time() -> None:
    assert parse(topic(), message()) == Value(value=45.2 / 1000, utc_s=NOW_S)


def test_a_negative_price_of_energy_is_normal() -> None:
    assert parse(topic(), message(-70.24)).value == pytest.approx(-0.07024)


def test_hashprice_may_come_per_petahash() -> None:
    told = parse(topic(price="hash"), message(52.3, "USD/PH/s/day"))

    assert told.value == pytest.approx(0.0523)


def test_a_bare_number_is_a_price_where_the_site_file_declares_its_unit() -> None:
    bare = topic(unit="USD/kWh", payload={"value": ""})

    assert (parse(bare, b"0.05").value, parse(bare, b"0.05").utc_s) == (0.05, None)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (message(unit="EUR/MWh"), "unit 'EUR/MWh' of energy is not USD/kWh or USD/MWh"),
        (message(unit=5), "unit 5.0 is not a text"),
        (message(unit=None), "unit None is not a text"),
        (b'{"value": 1, "timestamp": "2026-11-23T17:00:00Z"}', "its unit is declared neither"),
        (message(99_999), r"energy 99999 USD/MWh is outside -25\.\.25 USD/kWh"),
        (message(None), "value None is not a number"),
        (message("45"), "value '45' is not a number"),
        (message(True), "value True is not a number"),
        (message(float("nan")), "value nan is not a number"),
        (message(float("inf")), "value inf is not a number"),
        (message(time=None), "timestamp None is not a time"),
        (message(time="2026-11-23T17:00:00"), "has no time zone"),
        (b'{"value": 1, "unit": "USD/kWh"}', "no 'timestamp' in the payload"),
        (b'{"value": 1, "value": 2, "unit": "USD/kWh"}', "key 'value' appears twice"),
        (b"45.2", "no 'value' in the payload"),
        (b"", "not JSON"),
        (b"[" * 8000, "not JSON"),
        (b" " * 8193, "a message of 8193 bytes"),
    ],
)
def test_a_message_that_cannot_be_believed_is_refused_by_key_and_value(payload: bytes, why: str) -> None:
    with pytest.raises(DriverError, match=why):
        parse(topic(), payload)


def test_a_unit_that_is_not_the_declared_one_is_refused() -> None:
    with pytest.raises(DriverError, match="says its unit is 'USD/MWh', the site file says 'USD/kWh'"):
        parse(topic(unit="USD/kWh"), message())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"payload": {"value": "v"}}, "its unit is `unit` or in its payload"),
        ({"unit": "USD"}, "unit 'USD' of energy is not"),
        ({"topic": "market/#"}, "topic"),
        ({"stale_after_s": None}, "stale_after_s"),
    ],
)
def test_a_topic_that_is_not_fully_declared_is_rejected(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        topic(**changes)


def test_a_broker_table_that_does_not_add_up_is_rejected() -> None:
    with pytest.raises(ValidationError, match="tls_ca and tls_cert need tls = true"):
        config(1883, tls_ca="ca.pem")


# -- what is held ------------------------------------------------------------------------------------------


class Feed:
    """A source that is handed messages as its broker would."""

    def __init__(self, **changes: Any) -> None:
        self.now_s = NOW_S
        self.source = MqttPrices(config(1, topic(**changes)), utc=lambda: self.now_s)

    def said(self, payload: bytes, *, retained: bool = False) -> Series:
        self.source._hear(TOPIC, payload, retained)
        return self.source._series(self.source._config.topics[0])

    @property
    def refusal(self) -> str:
        return self.source._refused.get("rtm", "")


def test_a_price_is_as_old_as_it_says_even_if_the_broker_had_kept_it() -> None:
    feed = Feed()

    series = feed.said(message(time="2026-11-23T16:00:00Z"), retained=True)

    assert series.from_utc_s == (NOW_S - 3600,)


def test_an_older_price_does_not_take_the_place_of_a_newer_one() -> None:
    feed = Feed()
    feed.said(message(45.0))

    series = feed.said(message(99.0, time="2026-11-23T16:59:00Z"))

    assert series.values == (0.045,)


def test_a_corrected_price_of_the_same_time_takes_its_place() -> None:
    feed = Feed()
    feed.said(message(45.0))

    assert feed.said(message(50.0)).values == (0.05,)


def test_a_price_that_begins_later_holds_from_then_and_no_sooner() -> None:
    feed = Feed()
    feed.said(message(45.0))

    series = feed.said(message(99.0, time="2026-11-23T17:05:00Z"))

    assert (series.from_utc_s, series.values) == ((NOW_S, NOW_S + 300), (0.045, 0.099))
    assert feed.refusal == ""
    feed.now_s = NOW_S + 301
    assert feed.said(b"n/a") == Series((NOW_S + 300,), (0.099,))


def test_of_two_prices_that_begin_later_at_one_time_the_last_word_holds() -> None:
    feed = Feed()
    feed.said(message(99.0, time="2026-11-23T17:05:00Z"))
    feed.said(message(70.0, time="2026-11-23T17:10:00Z"))

    series = feed.said(message(20.0, time="2026-11-23T17:05:00Z"))

    assert (series.from_utc_s, series.values) == ((NOW_S + 300, NOW_S + 600), (0.02, 0.07))


def test_a_price_further_ahead_than_one_is_believed_is_refused_with_what_to_do() -> None:
    feed = Feed()

    assert feed.said(message(time="2026-11-23T17:15:01Z")) == NO_SERIES
    assert feed.refusal == (
        f"{TOPIC}: begins in 901 s, more than stale_after_s 900: send it later, or in a file of prices"
    )


def test_a_price_a_little_ahead_holds_from_now() -> None:
    assert Feed().said(message(time="2026-11-23T17:00:04Z")).from_utc_s == (NOW_S,)


def test_prices_that_begin_later_fill_no_memory() -> None:
    feed = Feed()
    for second in range(MOST_AHEAD):
        feed.said(message(time=f"2026-11-23T17:0{1 + second // 60}:{second % 60:02}Z"))
    assert feed.refusal == ""

    assert len(feed.said(message(time="2026-11-23T17:08:00Z")).values) == MOST_AHEAD
    assert feed.refusal == f"{TOPIC}: more than {MOST_AHEAD} values that begin later"


def test_a_price_that_begins_later_is_forgotten_when_our_clock_was_far_ahead() -> None:
    feed = Feed()
    feed.now_s = NOW_S + 3600
    feed.said(message(99.0, time="2026-11-23T18:05:00Z"))

    feed.now_s = NOW_S

    assert feed.said(message(45.0)) == Series((NOW_S,), (0.045,))


def test_a_price_without_a_time_counts_from_when_it_came_unless_the_broker_had_kept_it() -> None:
    feed = Feed(unit="USD/kWh", payload={"value": ""})

    assert feed.said(b"0.05", retained=True) == NO_SERIES
    assert feed.refusal.endswith("a retained value that does not say how old it is")
    assert feed.said(b"0.05") == Series((NOW_S,), (0.05,))


def test_a_price_that_came_while_the_clock_was_ahead_keeps_no_later_one_out() -> None:
    feed = Feed(unit="USD/kWh", payload={"value": "value"})
    feed.now_s = NOW_S + 3600
    feed.said(b'{"value": 0.04}')

    feed.now_s = NOW_S
    series = feed.said(b'{"value": 0.9}')

    assert (series.from_utc_s, series.values) == ((NOW_S,), (0.9,))


def test_nonsense_leaves_the_last_good_price_and_is_told() -> None:
    feed = Feed()
    good = feed.said(message())

    assert feed.said(b"n/a") == good
    assert feed.refusal == f"{TOPIC}: not JSON: b'n/a'"


# -- the wire ----------------------------------------------------------------------------------------------


@pytest.fixture
async def bus() -> AsyncIterator[Broker]:
    async with broker() as running:
        yield running


@asynccontextmanager
async def prices(of: PriceBrokerConfig) -> AsyncIterator[MqttPrices]:
    source = MqttPrices(of, utc=lambda: NOW_S)
    async with asyncio.timeout(20):
        try:
            yield source
        finally:
            await source.close()


async def until(source: MqttPrices, wanted: list[tuple[str, tuple[float, ...], str]]) -> None:
    def told(readings: tuple[PriceReading, ...]) -> list[tuple[str, tuple[float, ...], str]]:
        return [(one.source, one.series.values, one.trouble) for one in readings]

    while told(await source.read()) != wanted:  # noqa: ASYNC110 - nothing signals it
        await asyncio.sleep(0.01)


async def until_trouble(source: MqttPrices, begins: str) -> None:
    while not (await source.read())[0].trouble.startswith(begins):  # noqa: ASYNC110 - nothing signals it
        await asyncio.sleep(0.01)


@pytest.mark.socket
@needs_mosquitto
async def test_prices_of_two_topics_come_over_one_connection_and_again_when_the_broker_is_back(
    bus: Broker,
) -> None:
    pool = topic(id="pool", price="hash", topic="pool/hashprice")
    async with prices(config(bus.port, topic(), pool, reconnect_max_s=0.2)) as source:
        async with aiomqtt.Client(bus.host, bus.port) as client:
            await client.publish(TOPIC, message(45.0), retain=True)
            await client.publish("pool/hashprice", message(50.0, "USD/PH/s/day"), retain=True)
            await until(source, [("rtm", (0.045,), ""), ("pool", (0.05,), "")])
        await bus.stop()
        await until_trouble(source, f"market ({HOST}:{bus.port}): no connection")
        held = [reading.series.values for reading in await source.read()]
        await bus.start()
        async with aiomqtt.Client(bus.host, bus.port) as client:
            await until(source, [("rtm", (0.045,), ""), ("pool", (0.05,), "")])
            await client.publish(TOPIC, message(-20.0))
            await until(source, [("rtm", (-0.02,), ""), ("pool", (0.05,), "")])

    assert held == [(0.045,), (0.05,)]


@pytest.mark.socket
async def test_without_a_broker_there_is_a_trouble_and_no_price() -> None:
    async with prices(config(1)) as source:
        (first,) = await source.read()
        await until_trouble(source, "market (127.0.0.1:1): no connection")
        (reading,) = await source.read()

    assert first.trouble == ""  # it had no time yet to fail
    assert reading.series == NO_SERIES
