"""The simulated operator on a real broker: what it sends is OpenADR, what it hears it keeps."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiomqtt
import pytest

from simulators.broker import HOST, Broker, BrokerError, BrokerKind, broker, mosquitto_binary
from simulators.gridmessages import duration, stamp
from simulators.gridoperator import GridOperator

VEN = "site-1"
METADATA = {"id", "createdDateTime", "modificationDateTime", "objectType", "programID"}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

pytestmark = pytest.mark.socket
needs_mosquitto = pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed")


@pytest.fixture
async def bus() -> AsyncIterator[Broker]:
    async with broker() as running:
        yield running


class Ear:
    """A site that only listens."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def next(self, *endings: str) -> tuple[str, Any]:
        """The next message on a topic that ends so."""
        async with asyncio.timeout(5):
            async for message in self._client.messages:
                if message.topic.value.endswith(endings):
                    assert isinstance(message.payload, bytes)
                    return message.topic.value, json.loads(message.payload)
        raise AssertionError("the broker went away")


async def listen(client: aiomqtt.Client) -> Ear:
    await client.subscribe("#", qos=1)
    return Ear(client)


async def say(bus: Broker, topic: str, content: Any) -> None:
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    async with aiomqtt.Client(bus.host, bus.port, timeout=5) as client:
        await client.publish(topic, payload, qos=1)


def ack(event: str = "e1", status: str = "RECEIVED") -> dict[str, Any]:
    payloads = [
        {"type": "X_EVENT_STATUS", "values": [status, "NO_UNITS"]},
        {"type": "X_EVENT_VERSION", "values": ["v1"]},
    ]
    period = {"start": "2026-11-23T17:00:00.000Z", "duration": "PT0S"}
    resource = {"resourceName": VEN, "intervalPeriod": period, "intervals": [{"id": 0, "payloads": payloads}]}
    return {"objectType": "REPORT", "object": {"id": "r1", "eventID": event, "resources": [resource]}}


@needs_mosquitto
async def test_a_limit_is_an_event_with_everything_the_standard_requires(bus: Broker) -> None:
    async with aiomqtt.Client(bus.host, bus.port, timeout=5) as client, GridOperator(*_at(bus)) as operator:
        ear = await listen(client)

        await operator.limit(100, start_in_s=30, duration_s=60, id="e1", ramp_s=600, report_s=1)
        topic, notice = await ear.next("/create")

    content = notice["object"]
    assert topic == f"events/vens/{VEN}/create"
    assert (notice["objectType"], notice["operation"], notice["targets"]) == ("EVENT", "CREATE", [VEN])
    assert set(content) >= METADATA
    assert RFC3339.fullmatch(content["modificationDateTime"])
    assert content["payloadDescriptors"] == [
        {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "IMPORT_CAPACITY_LIMIT", "units": "KW"}
    ]
    assert content["intervalPeriod"]["duration"] == "PT60S"
    assert content["intervals"][0]["payloads"] == [
        {"type": "IMPORT_CAPACITY_LIMIT", "values": [100]},
        {"type": "X_RAMP_DEADLINE", "values": ["PT600S"]},
        {"type": "X_REPORT_PERIOD", "values": ["PT1S"]},
    ]


@needs_mosquitto
async def test_every_change_has_a_newer_stamp_and_a_snapshot_after_it(bus: Broker) -> None:
    async with GridOperator(*_at(bus)) as operator:
        event = await operator.price([0.1, -0.2])
        async with aiomqtt.Client(bus.host, bus.port, timeout=5) as client:
            ear = await listen(client)
            _, before = await ear.next("/snapshot")
            await operator.update(event, priority=3)
            _, update = await ear.next("/update")
            _, after = await ear.next("/snapshot")
            await operator.delete(event)
            _, delete = await ear.next("/delete")
            _, empty = await ear.next("/snapshot")

    assert before["events"][0]["modificationDateTime"] < update["object"]["modificationDateTime"]
    assert update["object"]["modificationDateTime"] < delete["object"]["modificationDateTime"]
    assert after["events"] == [update["object"]]
    assert empty["events"] == []
    assert before["seq"] < after["seq"] < empty["seq"]
    assert before["ven"] == VEN


@needs_mosquitto
async def test_heartbeats_count_up_and_stop_when_told(bus: Broker) -> None:
    async with (
        aiomqtt.Client(bus.host, bus.port, timeout=5) as client,
        GridOperator(*_at(bus), heartbeat_s=0.05) as operator,
    ):
        ear = await listen(client)

        _, first = await ear.next("heartbeat/vtn")
        _, second = await ear.next("heartbeat/vtn")
        operator.beating = False
        await operator.send("end", b"{}")
        await ear.next("end")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await ear.next("heartbeat/vtn")

    assert second["seq"] == first["seq"] + 1
    assert RFC3339.fullmatch(first["utc"])


@needs_mosquitto
async def test_what_the_site_says_is_kept_with_its_arrival(bus: Broker) -> None:
    async with GridOperator(*_at(bus), utc=lambda: 1_800_000_000.0) as operator:
        await say(bus, f"reports/vens/{VEN}/create", ack(status="REJECTED"))
        kept = await operator.acked("e1", "REJECTED")

    assert (kept.version, kept.why, kept.arrived_utc_s) == ("v1", ("NO_UNITS",), 1_800_000_000.0)


@needs_mosquitto
async def test_rubbish_from_the_site_is_kept_apart(bus: Broker) -> None:
    async with GridOperator(*_at(bus)) as operator:
        rubbish: tuple[Any, ...] = (b"\xff", {"object": {}}, {"object": {"resources": []}}, [])
        for content in rubbish:
            await say(bus, f"reports/vens/{VEN}/create", content)
        await say(bus, f"reports/vens/{VEN}/create", ack())
        await operator.acked("e1", "RECEIVED")

    assert len(operator.unreadable) == 4


@needs_mosquitto
async def test_the_will_of_an_older_connection_does_not_unmake_a_newer_birth(bus: Broker) -> None:
    async with GridOperator(*_at(bus)) as operator:
        await say(bus, f"vens/{VEN}/status", {"online": True, "bdSeq": 18})
        await operator.online()
        await say(bus, f"vens/{VEN}/status", {"online": False, "bdSeq": 17})
        await say(bus, f"reports/vens/{VEN}/create", ack())
        await operator.acked("e1", "RECEIVED")

    assert operator.site == {"online": True, "bdSeq": 18}


@needs_mosquitto
async def test_an_event_made_while_the_broker_was_away_is_in_the_next_snapshot(bus: Broker) -> None:
    async with GridOperator(*_at(bus)) as operator:
        await bus.stop()
        event = await operator.limit(100)
        await bus.start()
        async with aiomqtt.Client(bus.host, bus.port, timeout=5) as client:
            _, found = await (await listen(client)).next("/snapshot")

    assert [item["id"] for item in found["events"]] == [event]


async def test_an_operator_without_broker_says_so_and_leaves_nothing_running() -> None:
    with pytest.raises(TimeoutError):
        async with GridOperator(HOST, 1, VEN, patience_s=0.3):
            pass

    assert asyncio.all_tasks() == {asyncio.current_task()}


@needs_mosquitto
async def test_a_broker_on_a_taken_port_is_an_error_and_not_the_other_broker(bus: Broker) -> None:
    with pytest.raises(BrokerError, match="mosquitto"):
        async with broker(bus.port):
            pass


@pytest.mark.filterwarnings("default")  # those of the embedded broker are its own affair
async def test_the_embedded_broker_carries_the_operators_messages() -> None:
    pytest.importorskip("amqtt")
    async with broker(kind=BrokerKind.AMQTT) as bus, GridOperator(*_at(bus)) as operator:
        event = await operator.limit(100)
        await say(bus, f"reports/vens/{VEN}/create", ack(event))
        await operator.acked(event, "RECEIVED")

        assert bus.kind == "amqtt"


def test_times_are_written_as_the_standard_wants_them() -> None:
    assert stamp(1_795_453_200.0) == "2026-11-23T17:00:00.000Z"
    assert [duration(length_s) for length_s in (0, 60, 90.5, 30_000_000, float("inf"))] == [
        "PT0S",
        "PT60S",
        "PT90.5S",
        "PT30000000S",
        "P9999Y",
    ]


def _at(bus: Broker) -> tuple[str, int, str]:
    return bus.host, bus.port, VEN
