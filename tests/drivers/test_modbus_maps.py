"""Meters by name: fixed maps, and the search of a SunSpec device, against real Modbus servers."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError

from controller.domain.devices import MeterReading
from controller.domain.power import Power
from drivers import modbus_maps as maps
from drivers.base import DriverError
from drivers.modbus import ModbusConfig, ModbusSensor, build, power_reading
from drivers.modbus_points import PowerPoint, SunSpecPoint, sunspec_reading
from simulators.faces.meters import MeterFace
from simulators.signals import MeterMap
from tests.drivers.test_modbus import device, modbus_server, raw_server
from tests.simulators.plants import miners, only_miner, plant

MARKER, END = [0x5375, 0x6E53], [0xFFFF, 0]
COMMON = [1, 66, *[0] * 66]
NO_VALUE = 0x8000


def points(*given: dict[str, Any], timeout_s: float = 0.5, port: int = 502) -> ModbusConfig:
    table = {"id": "board", "host": "127.0.0.1", "port": port, "timeout_s": timeout_s}
    return ModbusConfig.model_validate(table | {"points": [{"kind": "power"} | point for point in given]})


def sunspec_point(**changes: Any) -> dict[str, Any]:
    return {"meter": "main", "preset": "sunspec", "unit": 1, "max_w": 1e9} | changes


def integer_meter(count: int, scale: int, model: int = 203) -> list[int]:
    body = [NO_VALUE] * 105
    body[16], body[20] = count & 0xFFFF, scale & 0xFFFF
    return [model, len(body), *body]


def float_meter(watts: float, model: int = 213) -> list[int]:
    body = [0x7FC0, 0] * 62
    body[26:28] = struct.unpack(">2H", struct.pack(">f", watts))
    return [model, len(body), *body]


@asynccontextmanager
async def sunspec_sensor(base: int, *chain: Sequence[int]) -> AsyncIterator[ModbusSensor]:
    words = [word for model in chain for word in model]
    async with modbus_server(device(1, {base: words})) as port:
        sensor = build(points(sunspec_point(), port=port))
        try:
            yield sensor
        finally:
            await sensor.close()


def words_answer(request: bytes, words: Sequence[int]) -> bytes:
    pdu = b"\x03" + struct.pack(f">B{len(words)}H", 2 * len(words), *words)
    return request[:4] + struct.pack(">H", len(pdu) + 1) + request[6:7] + pdu


# Configuration


def test_a_preset_names_a_register_that_need_not_be_written_out() -> None:
    (point,) = points({"meter": "m", "preset": "eastron-sdm630", "unit": 7, "max_w": 9e3}).points

    assert isinstance(point, PowerPoint)
    assert (point.unit, point.function, point.address, point.type) == (7, "input", 0x34, "float32")


@pytest.mark.parametrize(
    ("preset", "words", "watts"),
    [
        ("schneider-pm5000", [0x42F6, 0xE666], 123_450),
        ("schneider-iem3000", [0x42F6, 0xE666], 123_450),
        ("eastron-sdm630", [0x45C0, 0xE600], 6_173),
        ("carlo-gavazzi-em24", [0xF120, 0x0000], 6_173),
        ("carlo-gavazzi-em340", [0xF120, 0x0000], 6_173),
    ],
)
def test_a_preset_turns_its_meters_words_into_watts(preset: str, words: list[int], watts: int) -> None:
    (point,) = points({"meter": "m", "preset": preset, "max_w": 1e6}).points

    assert isinstance(point, PowerPoint)
    assert power_reading(point, words).power == Power(watts)


@pytest.mark.parametrize(
    ("preset", "words"),
    [("schneider-pm5000", [0x7FC0, 0]), ("carlo-gavazzi-em24", [0xFFFF, 0x7FFF])],
)
def test_what_a_meter_sends_for_no_value_or_overflow_is_refused(preset: str, words: list[int]) -> None:
    (point,) = points({"meter": "m", "preset": preset, "max_w": 1e12}).points

    assert isinstance(point, PowerPoint)
    with pytest.raises(DriverError, match="stands for no value"):
        power_reading(point, words)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"preset": "eastron-sdm630", "address": 5}, "'eastron-sdm630' already says address"),
        ({"preset": "schneider-pm5000", "scale": 1, "type": "int16"}, "already says scale, type"),
        ({"preset": "eastron-sdm72"}, "preset"),
        ({"preset": "sunspec", "address": 40_000}, "address"),
        ({"preset": "sunspec", "max_w": None}, "max_w"),
        ({"kind": "powr"}, "powr"),
    ],
)
def test_a_preset_that_is_contradicted_or_unknown_is_rejected(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        points({"meter": "m", "max_w": 9e3} | changes)


# The words of a SunSpec meter


def sunspec(words: Sequence[int], model: int = 203, **changes: Any) -> MeterReading:
    point = SunSpecPoint.model_validate({"kind": "power"} | sunspec_point(**changes))
    return sunspec_reading(point, maps.MeterFound(address=40_070, id=model), words)


@pytest.mark.parametrize("model", [201, 202, 203, 204])
@pytest.mark.parametrize(
    ("count", "scale", "watts"), [(4_321, 0, 4_321), (12_345, 2, 1_234_500), (5_015, -1, 502)]
)
def test_counts_are_scaled_by_the_meters_own_power_of_ten(
    model: int, count: int, scale: int, watts: int
) -> None:
    assert sunspec(integer_meter(count, scale, model), model).power == Power(watts)


@pytest.mark.parametrize("model", [211, 212, 213, 214])
def test_a_float_meter_needs_no_scale(model: int) -> None:
    assert sunspec(float_meter(1_234_500.0, model), model).power == Power(1_234_500)


@pytest.mark.parametrize(
    ("words", "model", "why"),
    [
        (integer_meter(NO_VALUE, 0), 203, "stands for no value"),
        (integer_meter(0x7FFF, 0), 203, "stands for no value"),
        (integer_meter(100, NO_VALUE), 203, "stands for no value"),
        (integer_meter(100, 11), 203, r"scale factor 11 is outside \+-10"),
        (integer_meter(100, -11), 203, r"scale factor -11 is outside \+-10"),
        (integer_meter(30_000, 10), 203, "W is outside"),
        (float_meter(float("nan")), 213, "stands for no value"),
        (float_meter(float("inf")), 213, "stands for no value"),
        (float_meter(-900.0), 213, "-900 W is outside -50"),
    ],
)
def test_a_value_that_is_not_implemented_or_absurd_is_never_a_reading(
    words: list[int], model: int, why: str
) -> None:
    with pytest.raises(DriverError, match=why):
        sunspec(words, model)


def test_a_meter_mounted_the_other_way_is_turned_round_by_its_sign() -> None:
    assert sunspec(float_meter(-900.0), 213, sign=-1).power == Power(900)


# The chain of models


def test_the_chain_is_followed_to_the_first_meter() -> None:
    header = maps.first_header(40_000, MARKER)
    second = maps.follow(header, [1, 66])

    assert header == maps.ModelHeader(address=40_002)
    assert second == maps.ModelHeader(address=40_070, passed=1)
    assert maps.follow(second, [203, 105]) == maps.MeterFound(address=40_070, id=203)


@pytest.mark.parametrize(
    "words",
    [END, [103, 0xFFFF]],
    ids=["the end", "a length that leads out of the registers"],
)
def test_a_chain_without_a_meter_ends(words: list[int]) -> None:
    with pytest.raises(maps.NoMeterError, match="no meter among the 3 SunSpec models before 40200"):
        maps.follow(maps.ModelHeader(address=40_200, passed=3), words)


def test_a_chain_of_empty_models_ends_after_so_many() -> None:
    def walk(place: maps.ModelHeader | maps.MeterFound) -> None:
        for _ in range(1000):
            assert isinstance(place, maps.ModelHeader)
            place = maps.follow(place, [7, 0])

    with pytest.raises(maps.NoMeterError, match="no meter among the 64"):
        walk(maps.ModelHeader(address=2))


# The wire


@pytest.mark.socket
@pytest.mark.parametrize("base", [40_000, 50_000, 0])
async def test_the_meter_is_found_wherever_the_device_keeps_its_models(base: int) -> None:
    async with sunspec_sensor(base, MARKER, COMMON, [103, 2, 0, 0], integer_meter(2_500, 1), END) as sensor:
        readings = [await sensor.read() for _ in range(2)]

    assert readings == [(MeterReading(meter="main", power=Power(25_000)),)] * 2


@pytest.mark.socket
async def test_a_device_without_a_marker_says_where_it_was_looked_for() -> None:
    async with sunspec_sensor(40_000, [7] * 40) as sensor:
        with pytest.raises(DriverError) as told:
            await sensor.read()

    assert "no SunSpec marker at 40000" in str(told.value)
    assert "unit 1 holding register 50000: exception 2" in str(told.value)


@pytest.mark.socket
async def test_a_device_without_a_meter_is_refused_and_searched_again() -> None:
    async with sunspec_sensor(40_000, MARKER, COMMON, END) as sensor:
        for _ in range(2):
            with pytest.raises(DriverError, match="no meter among the 1 SunSpec models"):
                await sensor.read()


@pytest.mark.socket
async def test_a_device_that_was_exchanged_is_searched_again() -> None:
    async with modbus_server(device(1, {40_000: [*MARKER, *COMMON, *integer_meter(500, 0), *END]})) as port:
        sensor = build(points(sunspec_point(), port=port))
        first = await sensor.read()
    other = device(1, {40_000: [*MARKER, *COMMON, 64_001, 8, *[203] * 8, *float_meter(700.0), *END]})
    async with modbus_server(other, port=port):
        with pytest.raises(DriverError, match="model 64001 at 40070, where 203 was"):
            await sensor.read()
        second = await sensor.read()
        await sensor.close()

    assert (_watts(first), _watts(second)) == (500, 700)


@pytest.mark.socket
async def test_a_search_cut_short_by_its_deadline_goes_on_at_the_next_poll() -> None:
    """Each answer takes half the time a poll has: only a search that is gone on with can end."""
    chain = [*MARKER, *COMMON, *([64_001, 2, 0, 0] * 4), *float_meter(4_200.0), *END]

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(12):
            address, count = struct.unpack(">2H", request[8:12])
            await asyncio.sleep(0.1)
            words = chain[address - 40_000 :][:count] if 40_000 <= address < 50_000 else [0] * count
            writer.write(words_answer(request, words))

    polls = 0
    async with raw_server(slow) as port:
        sensor = build(points(sunspec_point(), port=port, timeout_s=0.25))
        async with asyncio.timeout(10):
            while True:
                polls += 1
                try:
                    (reading,) = await sensor.read()
                except DriverError:
                    continue
                break
        await sensor.close()

    assert polls > 1
    assert reading == MeterReading(meter="main", power=Power(4_200))


@pytest.mark.socket
async def test_a_device_silent_where_it_has_no_registers_is_asked_elsewhere_at_the_next_poll() -> None:
    chain = [*MARKER, *COMMON, *float_meter(4_200.0), *END]

    async def only_at_zero(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(12):
            address, count = struct.unpack(">2H", request[8:12])
            if address < len(chain):
                writer.write(words_answer(request, chain[address:][:count]))

    async with raw_server(only_at_zero) as port:
        sensor = build(points(sunspec_point(), port=port, timeout_s=0.2))
        for _ in range(2):
            with pytest.raises(DriverError, match="no usable answer"):
                await sensor.read()
        third = await sensor.read()
        await sensor.close()

    assert _watts(third) == 4_200


@pytest.mark.socket
@pytest.mark.parametrize(
    ("layout", "preset"),
    [
        (MeterMap.SCHNEIDER, "schneider-pm5000"),
        (MeterMap.EASTRON, "eastron-sdm630"),
        (MeterMap.GAVAZZI, "carlo-gavazzi-em24"),
        (MeterMap.SUNSPEC_INTEGER, "sunspec"),
        (MeterMap.SUNSPEC_FLOAT, "sunspec"),
    ],
)
async def test_the_simulated_meter_of_a_make_is_read_with_the_preset_of_that_make(
    layout: MeterMap, preset: str
) -> None:
    site = plant(
        nodes=[{"id": "site", "load_w": 61_000, "load_wander": 0}],
        miners=[miners()],
        meters=[{"id": "main", "node": "site", "unit": 3, "noise": 0, "map": layout}],
    )
    face = MeterFace(site)
    await face.start()
    sensor = build(points({"meter": "main", "preset": preset, "unit": 3, "max_w": 1e6}, port=face.address[1]))
    before = await sensor.read()
    only_miner(site).sleep()
    site.advance(60.0)
    after = await sensor.read()
    await sensor.close()
    await face.stop()

    assert _watts(before) == pytest.approx(64_000, abs=5)
    assert _watts(after) == pytest.approx(61_025, abs=5)


def _watts(readings: Sequence[object]) -> int:
    (reading,) = readings
    assert isinstance(reading, MeterReading)
    return reading.power.watts
