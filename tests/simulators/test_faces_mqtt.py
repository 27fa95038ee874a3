"""The published meters against a real broker and a plain MQTT client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest
from pydantic import ValidationError

from simulators.broker import Broker, broker, mosquitto_binary
from simulators.faces.mqttmeter import MqttMeterFace
from simulators.plant import Plant
from tests.simulators.plants import RATED_W, config, miners, only_miner, plant

pytestmark = [
    pytest.mark.socket,
    pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed"),
]

DEADLINE_S = 10.0
TOPIC = "BMS/v1/PUB/Value/PowerMeter/ActivePower/site/main"
BEAT = "BMS/v1/PUB/Value/System/HeartbeatTimestampBms/bms"


def metered(bus: Broker, **meter: Any) -> Plant:
    return plant(
        miners=[miners()],
        meters=[{"id": "main", "node": "site", "unit": 1, "noise": 0, "topic": TOPIC} | meter],
        mqtt={"port": bus.port, "heartbeat_topic": BEAT},
    )


@asynccontextmanager
async def publishing(site: Plant) -> AsyncIterator[MqttMeterFace]:
    assert site.config.mqtt is not None
    face = MqttMeterFace(site, site.config.mqtt)
    async with asyncio.timeout(DEADLINE_S):
        await face.start()
        try:
            yield face
        finally:
            await face.stop()


@asynccontextmanager
async def listening(bus: Broker, topic: str) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(bus.host, bus.port) as client:
        await client.subscribe(topic)
        yield client


async def next_of(client: aiomqtt.Client) -> dict[str, Any]:
    message = await anext(client.messages)
    assert isinstance(message.payload, bytes)
    said: dict[str, Any] = json.loads(message.payload)
    return said | {"retain": message.retain}


async def step(face: MqttMeterFace, site: Plant, by_s: float) -> None:
    site.advance(site.now_s + by_s)
    face.exchange(site)


async def test_a_meter_is_published_in_kilowatts_with_the_time_of_its_value() -> None:
    async with broker() as bus, listening(bus, TOPIC) as client:
        site = metered(bus)
        async with publishing(site) as face:
            began_ms = time.time() * 1000
            await step(face, site, 1.0)
            before = await next_of(client)
            only_miner(site).sleep()
            await step(face, site, 60.0)
            after = await next_of(client)

    assert (before["value"], after["value"]) == (RATED_W / 1000, 0.025)
    assert (before["quality"], before["retain"]) == (1, False)
    assert began_ms - 1 <= before["timestamp"] <= after["timestamp"] <= time.time() * 1000 + 1


async def test_a_dead_meter_has_no_value_and_a_bad_quality() -> None:
    async with broker() as bus, listening(bus, TOPIC) as client:
        site = metered(bus)
        site.set_fault("main", "dead")
        async with publishing(site) as face:
            await step(face, site, 1.0)
            said = await next_of(client)

    assert (said["value"], said["quality"]) == (None, 0)


async def test_a_frozen_meter_is_published_as_if_it_were_new() -> None:
    async with broker() as bus, listening(bus, TOPIC) as client:
        site = metered(bus)
        site.set_fault("main", "frozen_reads")
        only_miner(site).sleep()
        async with publishing(site) as face:
            await step(face, site, 60.0)
            first = await next_of(client)
            await asyncio.sleep(0.01)
            await step(face, site, 60.0)
            second = await next_of(client)

    assert first["value"] == second["value"] == RATED_W / 1000
    assert second["timestamp"] > first["timestamp"]


async def test_a_meter_is_published_no_more_often_than_its_period() -> None:
    async with broker() as bus, listening(bus, "#") as client:
        site = metered(bus, period_s=2.0)
        topics: list[str] = []
        async with publishing(site) as face:
            for _ in range(110):
                await step(face, site, 0.1)
                await asyncio.sleep(0.001)
            while topics.count(BEAT) < 2:
                topics.append((await anext(client.messages)).topic.value)

    assert 1 <= topics.count(TOPIC) <= 6


async def test_it_publishes_again_when_the_broker_is_back() -> None:
    async with broker() as bus:
        site = metered(bus)
        async with publishing(site) as face:
            async with listening(bus, TOPIC) as client:
                await step(face, site, 1.0)
                await next_of(client)
            await bus.stop()
            await step(face, site, 1.0)
            await bus.start()
            async with listening(bus, TOPIC) as client:
                publishes = asyncio.create_task(_keep_stepping(face, site))
                said = await next_of(client)
                publishes.cancel()
                await asyncio.wait([publishes])

    assert said["value"] == RATED_W / 1000


async def _keep_stepping(face: MqttMeterFace, site: Plant) -> None:
    while True:
        await step(face, site, 1.0)
        await asyncio.sleep(0.05)


def test_a_broker_that_is_not_on_loopback_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"mqtt.host 10\.0\.0\.1"):
        config(mqtt={"host": "10.0.0.1", "port": 1883})
