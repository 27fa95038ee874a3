"""The MQTT meters against a real broker, and against brokers that misbehave."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import aiomqtt
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from controller.domain.devices import Cooling, MeterReading, ZoneReading
from controller.domain.power import ZERO, Power
from drivers import conflicts, registry
from drivers.base import DriverError
from drivers.mqttmeter import MqttMeters
from drivers.mqttpayload import MqttMetersConfig, MqttPoint, MqttZonePoint, meter_reading, parse
from simulators.broker import HOST, Broker, broker, mosquitto_binary
from simulators.faces.mqttmeter import MqttMeterFace
from tests.drivers.test_modbus import raw_server
from tests.simulators.plants import miners, only_miner, plant

TOPIC = "BMS/v1/PUB/Value/PowerMeter/ActivePower/site/main"
NOW_S = 1_795_453_200.0

needs_mosquitto = pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed")


def point(**changes: Any) -> MqttPoint:
    return MqttPoint.model_validate({"meter": "main", "topic": TOPIC, "unit": "kW", "max_w": 2e6} | changes)


def zone(**changes: Any) -> MqttZonePoint:
    table = {"kind": "zone", "zone": "hall", "topic": "hall/inlet"}
    return MqttZonePoint.model_validate(table | changes)


def config(port: int, *points: MqttPoint | MqttZonePoint, **changes: Any) -> MqttMetersConfig:
    table = {"id": "bms", "host": HOST, "port": port, "timeout_s": 0.05, "points": points or (point(),)}
    return MqttMetersConfig.model_validate(table | changes)


def bms(value: object = 41.5, *, at_s: float = NOW_S, quality: object = 1) -> bytes:
    return json.dumps({"value": value, "timestamp": round(at_s * 1000), "quality": quality}).encode()


def watts(readings: Sequence[MeterReading | ZoneReading]) -> dict[str, int]:
    return {r.meter: r.power.watts for r in readings if isinstance(r, MeterReading)}


class Clock:
    """The wall clock, standing still until it is set."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@asynccontextmanager
async def meters(of: MqttMetersConfig, clock: Clock | None = None) -> AsyncIterator[MqttMeters]:
    sensor = MqttMeters(of, utc=clock or Clock())
    async with asyncio.timeout(20):
        try:
            yield sensor
        finally:
            await sensor.close()


async def said_by(sensor: MqttMeters) -> str:
    """What a read that finds nothing fresh complains of; empty if it finds something."""
    try:
        await sensor.read()
    except DriverError as error:
        return str(error)
    return ""


async def until_read(sensor: MqttMeters, wanted: dict[str, int]) -> None:
    while True:
        try:
            if watts(await sensor.read()) == wanted:
                return
        except DriverError:
            pass
        await asyncio.sleep(0.01)


async def until_said(sensor: MqttMeters, words: str) -> None:
    while words not in await said_by(sensor):  # noqa: ASYNC110 - nothing signals it
        await asyncio.sleep(0.01)


async def connected(sensor: MqttMeters) -> None:
    while "onnect" in await said_by(sensor):  # noqa: ASYNC110 - nothing signals it
        await asyncio.sleep(0.01)


@pytest.fixture
async def bus() -> AsyncIterator[Broker]:
    async with broker() as running:
        yield running


@asynccontextmanager
async def publisher(bus: Broker) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client(bus.host, bus.port) as client:
        yield client


# Zones


async def until_zone(sensor: MqttMeters, inlet_c: float, cooling: Cooling) -> None:
    wanted = ZoneReading(zone="hall", inlet_c=inlet_c, cooling=cooling)
    while True:
        with suppress(DriverError):
            if wanted in await sensor.read():
                return
        await asyncio.sleep(0.01)


PROOF = {"topic": "hall/pump", "payload": {"value": "running"}}


async def test_a_zone_is_proven_cool_only_by_a_proof_that_says_so(bus: Broker) -> None:
    async with meters(config(bus.port, zone(proof=PROOF))) as sensor, publisher(bus) as publish:
        await connected(sensor)

        await publish.publish("hall/inlet", bms(27.5))
        await until_zone(sensor, 27.5, Cooling.NOT_PROVEN)
        await publish.publish("hall/pump", b'{"running": true}')
        await until_zone(sensor, 27.5, Cooling.PROVEN)
        await publish.publish("hall/pump", b'{"running": false}')
        await until_zone(sensor, 27.5, Cooling.NOT_PROVEN)


async def test_a_proof_by_speed_holds_from_its_threshold_on_and_goes_with_its_age(bus: Broker) -> None:
    speed = {"topic": "hall/fan", "proven_from": 400, "stale_after_s": 10}
    clock = Clock()
    async with meters(config(bus.port, zone(proof=speed)), clock) as sensor, publisher(bus) as publish:
        await connected(sensor)
        await publish.publish("hall/fan", bms(412))
        await publish.publish("hall/inlet", bms(27.5))
        await until_zone(sensor, 27.5, Cooling.PROVEN)

        clock.now_s += 11
        await publish.publish("hall/fan", bms(412))
        await until_zone(sensor, 27.5, Cooling.PROVEN)
        sensor._held["zone hall proof"] = replace(sensor._held["zone hall proof"], age_s=11)
        await until_zone(sensor, 27.5, Cooling.NOT_PROVEN)


async def test_a_zone_whose_inlet_is_stale_has_no_reading_although_its_pump_runs(bus: Broker) -> None:
    async with meters(config(bus.port, zone(proof=PROOF), point())) as sensor, publisher(bus) as publish:
        await connected(sensor)
        await publish.publish("hall/pump", b'{"running": 1}')
        await publish.publish(TOPIC, bms(41.5))
        await until_read(sensor, {"main": 41_500})

        assert [type(reading) for reading in await sensor.read()] == [MeterReading]


@pytest.mark.parametrize(
    ("of", "value", "inlet_c"),
    [
        (zone(), 27.5, 27.5),
        (zone(unit="F"), 81.5, 27.5),
        (zone(), "warm", None),
        (zone(), -25, -25),
        (zone(), -40, None),
        (zone(unit="F"), -40, None),
        (zone(), math.nan, None),
        (zone(min_c=-60), -40, -40),
        (zone(min_c=-10), -12.5, None),
    ],
)
def test_an_inlet_is_in_the_unit_declared_and_believable(
    of: MqttZonePoint, value: object, inlet_c: float | None
) -> None:
    if inlet_c is not None:
        assert parse(of, bms(value)).number == pytest.approx(inlet_c)
    else:
        with pytest.raises(DriverError):
            parse(of, bms(value))


def test_a_zone_told_of_by_two_sensors_is_refused() -> None:
    broker_table = {"id": "b", "host": "h", "points": [zone().model_dump()]}
    endpoint = {
        "id": "m",
        "host": "h",
        "points": [{"kind": "zone", "zone": "hall", "address": 1, "type": "int16"}],
    }
    tables = registry.DeviceTables.model_validate({"mqtt_meters": [broker_table], "modbus": [endpoint]})

    assert list(conflicts.problems(tables)) == ["zone hall is declared 2 times"]


# What a message means


def test_a_power_is_rounded_up_to_whole_watts() -> None:
    value = parse(point(), bms(41.5004))

    assert meter_reading(point(), value.number) == MeterReading(meter="main", power=Power(41_501))
    assert value.utc_s == NOW_S


@pytest.mark.parametrize(
    ("shape", "unit", "payload", "utc_s"),
    [
        ({"value": "apower"}, "W", b'{"apower": 41500}', None),
        ({"value": ""}, "kW", b"41.5", None),
        (
            {"value": "params.em.2.p", "timestamp": "params.ts", "timestamp_in": "s", "unit": "params.unit"},
            None,
            b'{"params": {"em": [0, 0, {"p": 0.0415}], "ts": 1795453200, "unit": "MW"}}',
            NOW_S,
        ),
        (
            {"value": "v", "timestamp": "t", "timestamp_in": "iso", "quality": "q", "good": "GOOD"},
            "kW",
            b'{"v": 41.5, "t": "2026-11-23T18:20:00+01:00", "q": "GOOD"}',
            1_795_454_400.0,
        ),
    ],
)
def test_a_payload_of_another_shape_is_read_by_its_paths(
    shape: dict[str, Any], unit: str | None, payload: bytes, utc_s: float | None
) -> None:
    value = parse(point(payload=shape, unit=unit), payload)

    assert (round(value.number, 6), value.utc_s) == (41_500, utc_s)


def test_a_meter_mounted_the_other_way_is_turned_round_by_its_sign() -> None:
    assert parse(point(sign=-1), bms(-9)).number == 9_000


def test_export_within_its_bound_is_no_headroom() -> None:
    of = point(max_export_w=500)

    assert meter_reading(of, parse(of, bms(-0.4)).number).power == ZERO


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (bms(quality=0), "quality 0.0 is not 1"),
        (bms(quality=None), "quality None is not 1"),
        (b'{"value": 41.5, "timestamp": 1795453200000}', "no 'quality'"),
        (b'{"value": 41.5, "quality": 1}', "no 'timestamp'"),
        (bms(None), "value None is not a number"),
        (bms(True), "value True is not a number"),
        (bms("41.5"), "value '41.5' is not a number"),
        (bms([41.5]), r"value \[41.5\] is not a number"),
        (bms(float("nan")), "value nan is not a number"),
        (bms(float("-inf")), "value -inf is not a number"),
        (b'{"value": 1e999, "timestamp": 1795453200000, "quality": 1}', "value inf is not a number"),
        (b'{"value": ' + b"9" * 400 + b', "timestamp": 1, "quality": 1}', "value inf is not a number"),
        (b'{"value": ' + b"9" * 5000 + b', "timestamp": 1, "quality": 1}', "value inf is not a number"),
        (b'{"value": 41.5, "timestamp": 1e999, "quality": 1}', "timestamp inf is not a number"),
        (bms(2_000.001), r"2e\+06 W is outside -50\.\.2e\+06 W"),
        (bms(-0.051), "-51 W is outside"),
        (b"41.5", "no 'quality' in the payload"),
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 8000, "not JSON"),
        (b" " * 8193, "a message of 8193 bytes"),
    ],
)
def test_a_message_that_cannot_be_believed_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(DriverError, match=why):
        parse(point(), payload)


@pytest.mark.parametrize("unit", ["mW", "kVA", "kilowatt", "", None, 1])
def test_a_unit_that_is_no_unit_of_power_is_refused(unit: object) -> None:
    shape = {"value": "v", "unit": "u"}

    with pytest.raises(DriverError, match="is not W, kW or MW"):
        parse(point(payload=shape, unit=None), json.dumps({"v": 1, "u": unit}).encode())


@pytest.mark.parametrize("stamp", ["2026-11-23T18:20:00", "yesterday", "", 5, None])
def test_a_time_that_is_none_or_has_no_zone_is_refused(stamp: object) -> None:
    shape = {"value": "v", "timestamp": "t", "timestamp_in": "iso"}

    with pytest.raises(DriverError, match=r"is not a time|has no time zone"):
        parse(point(payload=shape), json.dumps({"v": 1, "t": stamp}).encode())


# Configuration


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"unit": None}, "either `unit` or in its payload"),
        ({"payload": {"value": "v", "unit": "u"}}, "either `unit` or in its payload"),
        ({"unit": "kVA"}, "unit"),
        ({"topic": "site/+/power"}, "topic"),
        ({"topic": "site/#"}, "topic"),
        ({"max_w": None}, "max_w"),
        ({"payload": {"value": "a..b"}}, "value"),
    ],
)
def test_a_meter_that_is_not_fully_declared_is_rejected(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        point(**changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"points": (point(), point(topic="b"))}, "declared twice: meter main"),
        ({"tls_ca": "ca.pem"}, "need tls = true"),
        ({"tls": True, "tls_cert": "site.pem"}, "tls_cert and tls_key go together"),
        ({"password": "secret"}, "password needs a username"),
        ({"hots": "x"}, "hots"),
    ],
)
def test_a_broker_table_that_does_not_add_up_is_rejected(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        config(1883, **changes)


def test_a_site_file_may_name_each_meter_and_client_once() -> None:
    one, other = config(1883, client_id="ctl"), config(1884, client_id="ctl", id="other")
    tables = registry.DeviceTables(mqtt_meters=(one, other))

    fleet = registry.build(tables)

    assert [sensor.id for sensor, _ in fleet.sensors] == ["bms", "other"]
    assert [sensed.meters for sensed in registry.sensed(tables)] == [{"main"}, {"main"}]
    assert set(conflicts.problems(tables)) == {
        "meter main is declared 2 times",
        "mqtt client 'ctl' is declared 2 times",
    }


# The wire


@pytest.mark.socket
@needs_mosquitto
async def test_the_newest_values_of_all_meters_come_in_one_read(bus: Broker) -> None:
    points = (
        point(),
        point(meter="hall", topic="hall"),
        point(meter="hall-b", topic="hall", sign=-1, max_export_w=1e6),
    )

    async with meters(config(bus.port, *points)) as sensor, publisher(bus) as client:
        await connected(sensor)
        for value in (10, 20, 30):
            await client.publish(TOPIC, bms(value))
            await client.publish("hall", bms(value / 2))
        await until_read(sensor, {"main": 30_000, "hall": 15_000, "hall-b": 0})


@pytest.mark.socket
@needs_mosquitto
async def test_a_retained_value_is_fresh_if_it_says_so_itself(bus: Broker) -> None:
    async with publisher(bus) as client, meters(config(bus.port)) as sensor:
        await client.publish(TOPIC, bms(at_s=NOW_S - 3), retain=True)

        await until_read(sensor, {"main": 41_500})


@pytest.mark.socket
@needs_mosquitto
@pytest.mark.parametrize(
    ("changes", "payload", "why"),
    [
        ({}, bms(at_s=NOW_S - 300), "a retained value 300 s old"),
        ({"payload": {"value": ""}}, b"5", "a retained value that does not say how old it is"),
    ],
)
async def test_what_a_broker_kept_is_not_taken_for_fresh(
    bus: Broker, changes: dict[str, Any], payload: bytes, why: str
) -> None:
    async with publisher(bus) as client, meters(config(bus.port, point(**changes))) as sensor:
        await client.publish(TOPIC, payload, retain=True)

        await until_said(sensor, why)


@pytest.mark.socket
@needs_mosquitto
async def test_a_value_that_tells_no_time_counts_from_when_it_came(bus: Broker) -> None:
    limited = config(bus.port, point(payload={"value": ""}, stale_after_s=0.5))
    async with meters(limited) as sensor, publisher(bus) as client:
        await connected(sensor)
        await client.publish(TOPIC, b"5")

        await until_read(sensor, {"main": 5_000})
        await until_said(sensor, "nothing newer")


@pytest.mark.socket
@needs_mosquitto
async def test_a_value_from_the_future_is_refused(bus: Broker) -> None:
    async with meters(config(bus.port)) as sensor, publisher(bus) as client:
        await connected(sensor)
        await client.publish(TOPIC, bms(at_s=NOW_S + 6))
        await until_said(sensor, "a value from 6 s in the future")
        await client.publish(TOPIC, bms(at_s=NOW_S + 4))
        await until_read(sensor, {"main": 41_500})


@pytest.mark.socket
@needs_mosquitto
async def test_a_value_grows_stale_from_its_own_time_and_says_how_old_it_is(bus: Broker) -> None:
    limited = config(bus.port, point(stale_after_s=100.0))
    async with meters(limited) as sensor, publisher(bus) as client:
        await connected(sensor)
        await client.publish(TOPIC, bms(at_s=NOW_S - 99.6))
        await until_read(sensor, {"main": 41_500})
        await until_said(sensor, f"nothing newer than 100 s came on {TOPIC}")


@pytest.mark.socket
@needs_mosquitto
async def test_a_wall_clock_set_back_keeps_no_value_alive(bus: Broker) -> None:
    clock = Clock()
    async with meters(config(bus.port, point(stale_after_s=0.5)), clock) as sensor, publisher(bus) as client:
        await connected(sensor)
        await client.publish(TOPIC, bms())
        await until_read(sensor, {"main": 41_500})
        clock.now_s -= 3600
        await until_said(sensor, "nothing newer")


@pytest.mark.socket
@needs_mosquitto
async def test_an_older_value_does_not_take_the_place_of_a_newer_one(bus: Broker) -> None:
    points = (point(), point(meter="mark", topic="mark"))
    async with meters(config(bus.port, *points)) as sensor, publisher(bus) as client:
        await connected(sensor)
        await client.publish(TOPIC, bms(30, at_s=NOW_S))
        await client.publish(TOPIC, bms(99, at_s=NOW_S - 2))
        await client.publish("mark", bms(1))
        await until_read(sensor, {"main": 30_000, "mark": 1_000})


@pytest.mark.socket
@needs_mosquitto
@pytest.mark.parametrize("takes_back", [bms(quality=0), bms(None), b"?"])
async def test_a_meter_that_says_it_is_bad_takes_its_last_value_back(bus: Broker, takes_back: bytes) -> None:
    async with meters(config(bus.port, point(stale_after_s=3600))) as sensor, publisher(bus) as client:
        await connected(sensor)
        await client.publish(TOPIC, bms())
        await until_read(sensor, {"main": 41_500})
        await client.publish(TOPIC, takes_back)
        await until_said(sensor, TOPIC)
        await client.publish(TOPIC, bms(20))
        await until_read(sensor, {"main": 20_000})


@pytest.mark.socket
@needs_mosquitto
async def test_one_bad_meter_does_not_hide_the_others_and_is_told_once(bus: Broker) -> None:
    points = (point(), point(meter="bad", topic="bad"))
    async with meters(config(bus.port, *points)) as sensor, publisher(bus) as client:
        await connected(sensor)
        await client.publish("bad", b"nonsense")
        await client.publish(TOPIC, bms())
        with capture_logs() as logs:
            await until_read(sensor, {"main": 41_500})
            await sensor.read()
            await client.publish("bad", bms(1))
            await until_read(sensor, {"main": 41_500, "bad": 1_000})

    assert [(entry["event"], entry["point"]) for entry in logs] == [
        ("point_silent", "meter bad"),
        ("point_answers_again", "meter bad"),
    ]


@pytest.mark.socket
@needs_mosquitto
async def test_without_its_heartbeat_no_value_of_a_publisher_is_fresh(bus: Broker) -> None:
    watched = config(bus.port, point(stale_after_s=110), heartbeat_topic="beat", heartbeat_timeout_s=0.4)
    async with meters(watched) as sensor, publisher(bus) as client:
        await connected(sensor)
        await client.publish(TOPIC, bms())
        await until_said(sensor, "no heartbeat on beat")
        await client.publish("beat", b"{}")
        await until_read(sensor, {"main": 41_500})
        await until_said(sensor, "no heartbeat on beat")


@pytest.mark.socket
@needs_mosquitto
async def test_a_heartbeat_that_the_broker_kept_is_no_sign_of_life(bus: Broker) -> None:
    async with publisher(bus) as client, meters(config(bus.port, heartbeat_topic="beat")) as sensor:
        await client.publish("beat", b"{}", retain=True)
        await connected(sensor)
        await client.publish(TOPIC, bms())
        await asyncio.sleep(0.2)

        assert "no heartbeat on beat" in await said_by(sensor)


@pytest.mark.socket
@needs_mosquitto
async def test_it_reads_again_when_the_broker_is_back(bus: Broker) -> None:
    limited = config(bus.port, point(stale_after_s=0.3), reconnect_max_s=0.2)
    async with meters(limited) as sensor:
        async with publisher(bus) as client:
            await connected(sensor)
            await client.publish(TOPIC, bms())
            await until_read(sensor, {"main": 41_500})
        await bus.stop()
        await until_said(sensor, "no connection")
        await bus.start()
        async with publisher(bus) as client:
            await until_said(sensor, "nothing newer")
            await client.publish(TOPIC, bms(20))
            await until_read(sensor, {"main": 20_000})


@pytest.mark.socket
async def test_a_broker_that_refuses_is_asked_ever_less_often() -> None:
    attempts: list[float] = []

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(asyncio.get_running_loop().time())
        await reader.read(100)
        writer.write(b"\x20\x02\x00\x05")  # CONNACK: not authorised

    async with raw_server(refusing) as port, meters(config(port, reconnect_max_s=60)) as sensor:
        await until_said(sensor, "no connection")
        await asyncio.sleep(1.5)

    assert 2 <= len(attempts) <= 6


@pytest.mark.socket
@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["silence", "another protocol"]
)
async def test_a_broker_that_does_not_speak_mqtt_costs_no_more_than_the_wait(answer: bytes) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()

    async with raw_server(odd) as port, meters(config(port)) as sensor:
        async with asyncio.timeout(2):
            said = await said_by(sensor)

    assert "meter main: no" in said


@pytest.mark.socket
async def test_no_broker_at_all_is_named_with_its_address() -> None:
    async with raw_server(lambda _reader, _writer: asyncio.sleep(0)) as port:
        pass

    async with meters(config(port)) as sensor:
        assert (
            f"bms ({HOST}:{port}): meter main: no connection: [Errno 111] Connection refused"
            in await said_by(sensor)
        )


@pytest.mark.socket
async def test_a_certificate_that_cannot_be_read_is_named() -> None:
    async with meters(config(1, tls=True, tls_ca="/nowhere/ca.pem")) as sensor:
        assert "tls_ca=/nowhere/ca.pem" in await said_by(sensor)


@pytest.mark.socket
@needs_mosquitto
@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.1])
async def test_a_cancelled_read_loses_nothing_and_closing_leaves_no_task(bus: Broker, after_s: float) -> None:
    async with meters(config(bus.port)) as sensor, publisher(bus) as client:
        reading = asyncio.create_task(sensor.read())
        await asyncio.sleep(after_s)
        reading.cancel()
        await asyncio.wait([reading])
        await until_said(sensor, "nothing came")
        await client.publish(TOPIC, bms())
        await until_read(sensor, {"main": 41_500})

    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.socket
@needs_mosquitto
async def test_the_simulated_building_system_is_read_as_it_comes(bus: Broker) -> None:
    site = plant(
        miners=[miners()],
        meters=[{"id": "main", "node": "site", "unit": 1, "noise": 0, "topic": TOPIC}],
        mqtt={"port": bus.port, "heartbeat_topic": "beat"},
    )
    assert site.config.mqtt is not None
    face = MqttMeterFace(site, site.config.mqtt)
    sensor = MqttMeters(config(bus.port, heartbeat_topic="beat"), utc=time.time)

    async def watts_after(s: float) -> int:
        site.advance(site.now_s + s)
        face.exchange(site)
        await asyncio.sleep(0.1)
        return watts(await sensor.read())["main"]

    async with asyncio.timeout(10):
        await face.start()
        await connected(sensor)
        before = await watts_after(20)
        only_miner(site).sleep()
        after = await watts_after(60)
        await face.stop()
        await sensor.close()

    assert (before, after) == (3_000, 25)
