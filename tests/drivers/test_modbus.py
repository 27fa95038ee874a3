"""The Modbus sensor against a real pymodbus server, and against servers that misbehave on the wire."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest
from pydantic import ValidationError
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from structlog.testing import capture_logs

from controller.domain.devices import Cooling, MeterReading, ZoneReading
from controller.domain.power import ZERO, Power
from drivers.base import DriverError
from drivers.modbus import (
    ModbusConfig,
    ModbusSensor,
    PowerPoint,
    ZonePoint,
    build,
    power_reading,
    zone_reading,
)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def power_point(**changes: Any) -> PowerPoint:
    base = {"kind": "power", "meter": "m1", "address": 0, "type": "uint16", "max_w": 60_000}
    return PowerPoint.model_validate(base | changes)


def zone_point(**changes: Any) -> ZonePoint:
    base = {"kind": "zone", "zone": "hall", "address": 10, "type": "int16", "scale": 0.1}
    return ZonePoint.model_validate(base | changes)


def sensor(port: int, *points: PowerPoint | ZonePoint, timeout_s: float = 0.3) -> ModbusSensor:
    return build(
        ModbusConfig.model_validate(
            {"id": "pdu", "host": "127.0.0.1", "port": port, "timeout_s": timeout_s, "points": points}
        )
    )


def words(value: float, code: str) -> list[int]:
    packed = struct.pack(f">{code}", value)
    return list(struct.unpack(f">{len(packed) // 2}H", packed))


def device(unit: int, registers: dict[int, list[int]], **behaviour: Any) -> SimDevice:
    blocks = [
        SimData(address=address, values=values, datatype=DataType.REGISTERS)
        for address, values in sorted(registers.items())
    ]
    return SimDevice(id=unit, simdata=blocks, **behaviour)


@asynccontextmanager
async def modbus_server(*devices: SimDevice, port: int = 0) -> AsyncIterator[int]:
    server = ModbusTcpServer(list(devices), address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        assert isinstance(server.transport, asyncio.Server)
        yield server.transport.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it without types
        await asyncio.sleep(0.01)


@asynccontextmanager
async def raw_server(handler: Handler) -> AsyncIterator[int]:
    """A server that speaks whatever `handler` writes; it ends once its clients have hung up."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks)


def answering(payload: bytes) -> Handler:
    """Answers each request with its own transaction and unit ids around `payload`."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(12):
            writer.write(request[:4] + (len(payload) + 1).to_bytes(2) + request[6:7] + payload)

    return handler


# Parsing


def test_a_draw_is_rounded_up_to_whole_watts() -> None:
    assert power_reading(power_point(scale=0.1), [12_341]).power == Power(1_235)


def test_noise_of_the_scaling_adds_no_watt() -> None:
    assert 110 * 1.1 > 121
    assert power_reading(power_point(scale=1.1), [110]).power == Power(121)


@pytest.mark.parametrize(
    ("kind", "order", "register_words"),
    [
        ("int16", "big", words(4_321, "h")),
        ("uint32", "big", words(4_321, "I")),
        ("uint32", "little", words(4_321, "I")[::-1]),
        ("int32", "little", words(4_321, "i")[::-1]),
        ("float32", "big", words(4_321.0, "f")),
        ("float32", "little", words(4_321.0, "f")[::-1]),
    ],
)
def test_every_type_and_word_order_gives_the_same_watts(
    kind: str, order: str, register_words: list[int]
) -> None:
    point = power_point(type=kind, word_order=order)

    assert power_reading(point, register_words) == MeterReading(meter="m1", power=Power(4_321))


def test_a_reversed_meter_is_turned_round_by_its_sign() -> None:
    assert power_reading(power_point(type="int16", sign=-1), words(-900, "h")).power == Power(900)


def test_export_within_its_bound_is_no_headroom() -> None:
    assert power_reading(power_point(type="int16", max_export_w=500), words(-400, "h")).power == ZERO


def test_more_export_than_the_site_can_make_is_refused() -> None:
    with pytest.raises(DriverError, match=r"unit 1 holding register 0: -400 W is outside -50\.\.60000 W"):
        power_reading(power_point(type="int16"), words(-400, "h"))


@pytest.mark.parametrize(
    ("kind", "register_words"),
    [
        ("int16", [0x8000]),
        ("int16", [0x7FFF]),
        ("uint16", [0xFFFF]),
        ("int32", [0x8000, 0]),
        ("int32", [0x7FFF, 0xFFFF]),
        ("uint32", [0xFFFF, 0xFFFF]),
        ("float32", words(float("nan"), "f")),
        ("float32", words(float("inf"), "f")),
        ("float32", words(float("-inf"), "f")),
    ],
)
def test_a_value_that_means_not_available_is_never_a_reading(kind: str, register_words: list[int]) -> None:
    with pytest.raises(DriverError, match=r"unit 3 holding register 7: .* stands for no value"):
        power_reading(
            power_point(unit=3, address=7, type=kind, max_w=1e12, max_export_w=1e12), register_words
        )


def test_more_watts_than_the_meter_can_see_is_refused() -> None:
    with pytest.raises(DriverError, match=r"60001 W is outside"):
        power_reading(power_point(), [60_001])


def test_an_absurd_inlet_temperature_is_refused() -> None:
    with pytest.raises(DriverError, match="320 C is outside"):
        zone_reading(zone_point(), [3_200])


@pytest.mark.parametrize(
    ("told", "min_c", "believed"),
    [
        (-400, {}, False),
        (-391, {}, False),
        (-250, {}, True),
        (-250, {"min_c": -20}, False),
        (-400, {"min_c": -60}, True),
    ],
)
def test_a_temperature_that_only_broken_sensors_tell_is_none_and_a_cold_winter_is_one(
    told: int, min_c: dict[str, float], believed: bool
) -> None:
    point = zone_point(coolant={"address": 12, "type": "int16", "scale": 0.1}, **min_c)

    for inlet, coolant in ((told, 350), (235, told)):
        with nullcontext() if believed else pytest.raises(DriverError, match="C is outside"):
            zone_reading(point, [inlet & 0xFFFF], coolant_words=[coolant & 0xFFFF])


@pytest.mark.parametrize(("rpm", "cooling"), [(299, Cooling.NOT_PROVEN), (300, Cooling.PROVEN)])
def test_cooling_is_proven_from_the_configured_speed(rpm: int, cooling: Cooling) -> None:
    point = zone_point(proof={"address": 11, "type": "uint16", "proven_from": 300})

    assert zone_reading(point, [235], [rpm]) == ZoneReading(zone="hall", inlet_c=23.5, cooling=cooling)


def test_the_liquid_that_cools_a_zone_is_read_beside_its_air_and_no_absurd_temperature_of_it() -> None:
    point = zone_point(coolant={"address": 12, "type": "int16", "scale": 0.1})

    assert zone_reading(point, [235], coolant_words=[412]).coolant_c == pytest.approx(41.2)
    with pytest.raises(DriverError, match="320 C is outside"):
        zone_reading(point, [235], coolant_words=[3_200])


# Config


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"hosst": "x"}, "hosst"),
        ({"timeout_s": 2.0}, "longer than poll_s"),
        ({"stale_after_s": 2.0}, "under 3 polls"),
        ({"points": [power_point(), power_point(address=2)]}, "declared twice: meter m1"),
        ({"points": []}, "points"),
        ({"points": [{"kind": "power", "meter": "m1", "address": 0, "type": "uint16"}]}, "max_w"),
        ({"host": "meter..example"}, "host"),
    ],
)
def test_a_config_that_does_not_add_up_is_rejected_by_name(changes: dict[str, Any], complaint: str) -> None:
    base: dict[str, Any] = {"id": "pdu", "host": "127.0.0.1", "points": [power_point()]}

    with pytest.raises(ValidationError, match=complaint):
        ModbusConfig.model_validate(base | changes)


# The wire


@pytest.mark.socket
async def test_meters_and_zones_of_several_units_come_in_one_read() -> None:
    meter = device(1, {100: words(41_000.5, "f")})
    sensors = device(2, {10: [55], 11: [0]})
    points = (
        power_point(unit=1, address=100, type="float32", function="input"),
        zone_point(unit=2, scale=0.5, proof={"unit": 2, "address": 11, "type": "uint16"}),
    )

    async with modbus_server(meter, sensors) as port:
        pdu = sensor(port, *points)
        readings = await pdu.read()
        await pdu.close()

    assert readings == (
        MeterReading(meter="m1", power=Power(41_001)),
        ZoneReading(zone="hall", inlet_c=27.5, cooling=Cooling.NOT_PROVEN),
    )


FAN_OF_ANOTHER_UNIT = {"unit": 3, "address": 11, "type": "uint16"}


@pytest.mark.socket
@pytest.mark.parametrize("is_silent", [False, True])
async def test_how_warm_a_zone_is_is_told_though_what_proves_its_fan_does_not_answer(is_silent: bool) -> None:
    never = asyncio.Event()

    async def hang(*_: object) -> ExcCodes | None:
        await never.wait()
        return None

    fan = device(3, {11: [1]}, action=hang) if is_silent else device(3, {0: [1]})
    async with modbus_server(device(2, {10: [96]}), fan) as port:
        pdu = sensor(port, zone_point(unit=2, scale=0.5, proof=FAN_OF_ANOTHER_UNIT))
        readings = await pdu.read()
        await pdu.close()
        never.set()
        await asyncio.sleep(0.05)

    assert readings == (ZoneReading(zone="hall", inlet_c=48.0, cooling=Cooling.NOT_PROVEN),)


@pytest.mark.socket
async def test_what_proved_a_fan_is_believed_until_it_is_stale_where_answers_are_lost() -> None:
    point = zone_point(unit=2, proof=FAN_OF_ANOTHER_UNIT)
    async with modbus_server(device(2, {10: [96]}), device(3, {11: [1]})) as port:
        often = {"id": "pdu", "host": "127.0.0.1", "port": port, "timeout_s": 0.2, "poll_s": 0.2}
        pdu = build(ModbusConfig.model_validate({**often, "stale_after_s": 0.7, "points": [point]}))
        both = await pdu.read()
    async with modbus_server(device(2, {10: [96]}), device(3, {0: [1]}), port=port):
        lost = await pdu.read()
        await asyncio.sleep(0.8)
        gone = await pdu.read()
        await pdu.close()

    told = [one.cooling for read in (both, lost, gone) for one in read if isinstance(one, ZoneReading)]
    assert told == [Cooling.PROVEN, Cooling.PROVEN, Cooling.NOT_PROVEN]


@pytest.mark.socket
async def test_an_exception_names_meter_unit_register_and_cause() -> None:
    async with modbus_server(device(1, {0: [5]})) as port:
        pdu = sensor(port, power_point(address=40))
        with pytest.raises(
            DriverError, match="meter m1, unit 1 holding register 40: exception 2 illegal address"
        ):
            await pdu.read()
        await pdu.close()


@pytest.mark.socket
async def test_one_bad_meter_does_not_hide_the_others_and_is_told_once() -> None:
    points = (power_point(meter="gone", address=40), power_point(meter="here"))

    async with modbus_server(device(1, {0: [5]})) as port:
        pdu = sensor(port, *points)
        with capture_logs() as logs:
            first, second = await pdu.read(), await pdu.read()
        await pdu.close()

    assert first == second == (MeterReading(meter="here", power=Power(5)),)
    assert [(entry["log_level"], entry["point"]) for entry in logs] == [("warning", "meter gone")]


@pytest.mark.socket
async def test_a_unit_that_never_answers_is_asked_last_from_then_on() -> None:
    never = asyncio.Event()

    async def hang(*_: object) -> ExcCodes | None:
        await never.wait()
        return None

    points = (power_point(meter="dead", unit=1), power_point(meter="alive", unit=2))
    async with modbus_server(device(1, {0: [5]}, action=hang), device(2, {0: [7]})) as port:
        pdu = sensor(port, *points)
        with pytest.raises(DriverError, match=r"meter dead, .*no usable answer"):
            await pdu.read()
        second = await pdu.read()
        await pdu.close()
        never.set()
        await asyncio.sleep(0.05)

    assert second == (MeterReading(meter="alive", power=Power(7)),)


@pytest.mark.socket
async def test_the_connection_is_kept_between_reads() -> None:
    connections = 0
    answer = answering(b"\x03\x02\x00\x2a")

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answer(reader, writer)

    async with raw_server(counted) as port:
        pdu = sensor(port, power_point())
        readings = [await pdu.read() for _ in range(3)]
        await pdu.close()

    assert readings == [(MeterReading(meter="m1", power=Power(42)),)] * 3
    assert connections == 1


@pytest.mark.socket
async def test_it_reads_again_after_the_server_was_away() -> None:
    async with modbus_server(device(1, {0: [5]})) as port:
        pdu = sensor(port, power_point())
        await pdu.read()
    with pytest.raises(DriverError, match=f"pdu .127.0.0.1:{port}.: cannot connect"):
        await pdu.read()
    async with modbus_server(device(1, {0: [6]}), port=port):
        again = await pdu.read()
        await pdu.close()

    assert again == (MeterReading(meter="m1", power=Power(6)),)


@pytest.mark.socket
async def test_a_server_that_hangs_costs_no_more_than_the_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(silent) as port:
        pdu = sensor(port, power_point())
        async with asyncio.timeout(5):
            with pytest.raises(DriverError, match=r"no usable answer within 0\.3 s"):
                await pdu.read()
        await pdu.close()


@pytest.mark.socket
async def test_a_server_that_closes_is_named_as_the_cause() -> None:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with raw_server(closing) as port:
        pdu = sensor(port, power_point())
        with pytest.raises(DriverError, match="connection closed by the other end"):
            await pdu.read()
        await pdu.close()


@pytest.mark.socket
@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\x01\x00\x00\x00\x03\x01\x2b\x0e",
        b"\x00\x01\x00\x00\x00\x05\x01\x03\x09\x00\x00",
        b"\x00\x01\x00\x00\x00\x02\x01\x83\x00",
        b"\x00" * 2_000,
    ],
    ids=["another protocol", "another function", "short of its count", "exception without code", "flood"],
)
async def test_garbage_is_an_error_and_reaches_no_other_log(
    garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def babbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(12):
            writer.write(garbage)

    async with raw_server(babbling) as port:
        pdu = sensor(port, power_point())
        with pytest.raises(DriverError, match="meter m1, unit 1 holding register 0"):
            await pdu.read()
        await pdu.close()

    assert caplog.records == []


@pytest.mark.socket
async def test_an_answer_of_the_wrong_length_is_refused() -> None:
    async with raw_server(answering(b"\x03\x02\x00\x2a")) as port:
        pdu = sensor(port, power_point(type="uint32"))
        with pytest.raises(DriverError, match="1 words came instead of 2"):
            await pdu.read()
        await pdu.close()


@pytest.mark.socket
async def test_a_late_answer_is_never_taken_for_that_to_a_later_question() -> None:
    first = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read(12)
        if not first.is_set():
            first.set()
            await asyncio.sleep(0.4)  # past the deadline: 0xdead must reach nobody
            writer.write(b"\x00\x00" + request[2:4] + b"\x00\x05\x01\x03\x02\xde\xad")
            await reader.read(1)
        writer.write(b"\x00\x00" + request[2:4] + b"\x00\x05\x01\x03\x02\x00\x07")
        await reader.read(1)

    async with raw_server(late) as port:
        pdu = sensor(port, power_point())
        with pytest.raises(DriverError):
            await pdu.read()
        second = await pdu.read()
        await pdu.close()

    assert second == (MeterReading(meter="m1", power=Power(7)),)


@pytest.mark.socket
@pytest.mark.parametrize("after_s", [0.0, 0.05])
async def test_a_cancelled_read_leaves_no_task_and_the_next_one_works(after_s: float) -> None:
    slow = True
    answer = answering(b"\x03\x02\x00\x2a")

    async def maybe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (reader.read() if slow else answer(reader, writer))

    async with raw_server(maybe) as port:
        pdu = sensor(port, power_point())
        reading = asyncio.create_task(pdu.read())
        await asyncio.sleep(after_s)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        slow = False
        again = await pdu.read()
        await pdu.close()

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert again == (MeterReading(meter="m1", power=Power(42)),)


@pytest.mark.parametrize(("count", "hz"), [(5985, 59.85), (0, None), (0xFFFF, None), (7100, None)])
async def test_a_meter_tells_the_frequency_and_never_one_that_cannot_be(count: int, hz: float | None) -> None:
    point = power_point(frequency={"address": 9, "type": "uint16", "scale": 0.01})
    async with modbus_server(device(1, {0: [5000], 9: [count]})) as port:
        [reading] = await sensor(port, point).read()

    assert isinstance(reading, MeterReading)
    assert reading.power == Power(5000)
    assert reading.frequency_hz == (None if hz is None else pytest.approx(hz))


async def test_a_frequency_that_is_refused_takes_nothing_from_the_power() -> None:
    point = power_point(frequency={"address": 900, "type": "uint16", "scale": 0.01})
    async with modbus_server(device(1, {0: [5000]})) as port:
        [reading] = await sensor(port, point).read()

    assert reading == MeterReading(meter="m1", power=Power(5000))


@pytest.mark.socket
async def test_a_frequency_that_a_silent_unit_has_takes_nothing_from_the_power() -> None:
    never = asyncio.Event()

    async def hang(*_: object) -> ExcCodes | None:
        await never.wait()
        return None

    point = power_point(frequency={"unit": 3, "address": 9, "type": "uint16", "scale": 0.01})
    async with modbus_server(device(1, {0: [5000]}), device(3, {9: [5985]}, action=hang)) as port:
        meter = sensor(port, point)
        readings = [await meter.read(), await meter.read()]
        await meter.close()
        never.set()
        await asyncio.sleep(0.05)

    assert readings == 2 * [(MeterReading(meter="m1", power=Power(5000)),)]
