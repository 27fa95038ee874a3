"""Meters and zone sensors over Modbus TCP, read by an unmodified client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

from simulators.faces.meters import MeterFace
from simulators.plant import Plant
from tests.simulators.plants import RATED_W, miners, only_miner, plant

pytestmark = pytest.mark.socket

DEADLINE_S = 5.0
METER, ZONE = 3, 20
FLOAT, INT = AsyncModbusTcpClient.DATATYPE.FLOAT32, AsyncModbusTcpClient.DATATYPE.INT32
GATEWAY_NO_RESPONSE, ILLEGAL_ADDRESS = 11, 2


def metered() -> Plant:
    return plant(
        miners=[miners(zone="aisle")],
        meters=[{"id": "main", "node": "site", "unit": METER, "noise": 0}],
        zones=[{"id": "aisle", "unit": ZONE, "supply_c": -12.5, "rise_c": 0}],
    )


@asynccontextmanager
async def client_of(site: Plant) -> AsyncIterator[AsyncModbusTcpClient]:
    face = MeterFace(site)
    async with asyncio.timeout(DEADLINE_S):
        await face.start()
        client = AsyncModbusTcpClient(face.address[0], port=face.address[1], timeout=2, retries=0)
        try:
            assert await client.connect()
            yield client
        finally:
            client.close()
            await face.stop()


async def read(client: AsyncModbusTcpClient, unit: int, first: int, count: int) -> ModbusPDU:
    return await client.read_holding_registers(first, count=count, device_id=unit)


async def test_a_meter_tells_its_watts_as_float_and_as_integer() -> None:
    site = metered()
    async with client_of(site) as client:
        before = (await read(client, METER, 0, 4)).registers
        only_miner(site).sleep()
        site.advance(60.0)
        after = (await client.read_input_registers(0, count=4, device_id=METER)).registers

    for registers, watts in ((before, RATED_W), (after, 25)):
        assert AsyncModbusTcpClient.convert_from_registers(registers[:2], FLOAT) == pytest.approx(watts)
        assert AsyncModbusTcpClient.convert_from_registers(registers[2:], INT) == watts


async def test_a_meters_count_of_samples_stands_still_when_it_is_frozen() -> None:
    site = metered()
    async with client_of(site) as client:
        counts: list[int] = []
        for second, frozen in ((10.0, False), (20.0, True), (30.0, True)):
            site.set_fault("main", "frozen_reads", frozen)
            site.advance(second)
            counts += (await read(client, METER, 4, 1)).registers

    assert counts[1] == counts[2] == counts[0]
    assert counts[0] >= 10


async def test_a_zone_tells_its_inlet_and_whether_its_fans_are_proven() -> None:
    site = metered()
    async with client_of(site) as client:
        before = (await read(client, ZONE, 10, 2)).registers
        site.set_fault("aisle", "fans_stopped")
        after = (await read(client, ZONE, 10, 2)).registers

    assert before == [0x10000 - 125, 1]
    assert after[1] == 0


@pytest.mark.parametrize(
    ("unit", "first", "count", "code"),
    [
        (METER, 0, 6, ILLEGAL_ADDRESS),
        (METER, 10, 2, ILLEGAL_ADDRESS),
        (ZONE, 0, 2, ILLEGAL_ADDRESS),
        (77, 0, 2, GATEWAY_NO_RESPONSE),
    ],
)
async def test_what_is_not_there_is_an_exception(unit: int, first: int, count: int, code: int) -> None:
    async with client_of(metered()) as client:
        answer = await read(client, unit, first, count)

    assert answer.isError()
    assert answer.exception_code == code


async def test_a_dead_meter_does_not_respond_and_its_neighbour_does() -> None:
    site = metered()
    site.set_fault("main", "dead")
    async with client_of(site) as client:
        meter, zone = await read(client, METER, 0, 2), await read(client, ZONE, 10, 2)

    assert meter.exception_code == GATEWAY_NO_RESPONSE
    assert not zone.isError()


async def test_nobody_can_write_to_a_meter() -> None:
    async with client_of(metered()) as client:
        answer = await client.write_register(0, 0, device_id=METER)
        registers = (await read(client, METER, 2, 2)).registers

    assert answer.isError()
    assert AsyncModbusTcpClient.convert_from_registers(registers, INT) == RATED_W


async def test_a_dead_sensor_leaves_its_zone_unanswered_until_it_is_back() -> None:
    site = metered()
    async with client_of(site) as client:
        site.set_fault("aisle", "sensor_dead")
        dead = await read(client, ZONE, 10, 2)
        site.set_fault("aisle", "sensor_dead", False)
        back = await read(client, ZONE, 10, 2)

    assert dead.exception_code == GATEWAY_NO_RESPONSE
    assert back.registers[1] == 1
