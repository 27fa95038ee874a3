"""Power meters and cooling sensors behind one Modbus TCP endpoint, read with pymodbus' asynchronous client.

A register that cannot be believed (not implemented, saturated, absurd) must never become a reading.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import cycle

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException

from controller.domain.devices import MeterReading, ZoneReading
from drivers import modbus_maps as maps
from drivers.base import DriverError
from drivers.hostname import Host
from drivers.modbus_points import (
    Point,
    PowerPoint,
    Register,
    SunSpecPoint,
    ZonePoint,
    power_reading,
    sunspec_reading,
    zone_reading,
)
from drivers.silentpoints import SilentPoints

__all__ = [
    "ModbusConfig",
    "ModbusSensor",
    "PowerPoint",
    "SunSpecPoint",
    "ZonePoint",
    "build",
    "power_reading",
    "zone_reading",
]

SHOWN_BYTES = 32
READ_FUNCTIONS = (3, 4)
MBAP_BYTES = 7

# What goes wrong on the wire is told once, by `read`; pymodbus would tell it again at every poll.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


class ModbusConfig(BaseModel):
    """One endpoint. `timeout_s` bounds a whole poll: connecting and every point together. A proof of cooling
    counts for `stale_after_s`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: str = Field(min_length=1)
    host: Host
    port: int = Field(default=502, ge=1, le=65535)
    timeout_s: float = Field(default=0.8, gt=0)
    poll_s: float = Field(default=1.0, gt=0)
    stale_after_s: float = Field(default=5.0, gt=0)
    points: tuple[Point, ...] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _fits_together(self) -> ModbusConfig:
        if self.timeout_s > self.poll_s:
            raise ValueError(f"{self.id}: timeout_s {self.timeout_s} is longer than poll_s {self.poll_s}")
        if self.stale_after_s < 3 * self.poll_s:
            raise ValueError(
                f"{self.id}: stale_after_s {self.stale_after_s} is under 3 polls of {self.poll_s} s"
            )
        names = [point.name for point in self.points]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.id}: declared twice: {', '.join(sorted(twice))}")
        return self


def build(config: ModbusConfig) -> ModbusSensor:
    return ModbusSensor(config)


class ModbusSensor:
    """A `Sensor`: one kept connection, one request at a time, nothing running between two reads."""

    def __init__(self, config: ModbusConfig) -> None:
        self._config = config
        self._order = list(config.points)
        self._client: AsyncModbusTcpClient | None = None
        self._last_bytes = b""
        self._silent = SilentPoints(self.id)
        self._proofs: dict[str, tuple[float, Sequence[int]]] = {}
        self._bases = cycle(maps.SUNSPEC_BASES)
        self._places: dict[str, maps.ModelHeader | maps.MeterFound] = {}

    @property
    def id(self) -> str:
        return self._config.id

    async def read(self) -> tuple[MeterReading | ZoneReading, ...]:
        """What could be read and believed; `DriverError` only when that is nothing.

        One bad meter must not blind the site to those beside it: it is logged when it goes, and its
        reading grows stale.
        """
        readings: dict[str, MeterReading | ZoneReading] = {}
        faults: dict[str, str] = {}
        unanswered, is_whole = "", False
        try:
            async with asyncio.timeout(self._config.timeout_s):
                await self._poll(await self._connected(), readings, faults)
            is_whole = True
        except TimeoutError:
            unanswered = f"no usable answer within {self._config.timeout_s} s{self._what_came()}"
        except ModbusException as error:
            unanswered = f"connection lost ({error})"
        finally:
            # A late answer must not be taken for that to a later question: drop the line with the question.
            if not is_whole:
                self._drop()
        for point in self._config.points:
            if point.name not in readings and point.name not in faults:
                faults[point.name] = f"{point.name}, {point}: {unanswered}"
        if not readings:
            raise DriverError(f"{self._address}: {'; '.join(faults.values())}")
        self._silent.now(faults)
        return tuple(readings[point.name] for point in self._config.points if point.name in readings)

    async def close(self) -> None:
        self._drop()
        await asyncio.sleep(0)  # the transport closes its socket one turn of the loop later

    async def _connected(self) -> AsyncModbusTcpClient:
        """The kept connection, or a new one. Reconnecting is ours, so that no task lives between reads."""
        if self._client is not None and self._client.connected:
            return self._client
        self._drop()
        self._last_bytes = b""
        self._client = client = AsyncModbusTcpClient(
            self._config.host,
            port=self._config.port,
            timeout=2 * self._config.timeout_s,  # `read` is the one that ends it
            retries=0,
            reconnect_delay=0,
            trace_packet=self._screen,
        )
        if not await client.connect():
            raise DriverError(f"{self._address}: cannot connect")
        return client

    async def _poll(
        self,
        client: AsyncModbusTcpClient,
        readings: dict[str, MeterReading | ZoneReading],
        faults: dict[str, str],
    ) -> None:
        for point in tuple(self._order):
            try:
                readings[point.name] = await self._ask(client, point, readings)
            except DriverError as error:
                faults[point.name] = f"{point.name}, {error}"
            except (asyncio.CancelledError, ModbusException):
                # Last from now on: a dead unit must not eat the time of those that answer.
                self._order.remove(point)
                self._order.append(point)
                raise

    async def _ask(
        self,
        client: AsyncModbusTcpClient,
        point: Point,
        readings: dict[str, MeterReading | ZoneReading],
    ) -> MeterReading | ZoneReading:
        """What `point` says. A power, and how warm a zone is, stand in `readings` already, should the
        frequency or the proof not come."""
        match point:
            case PowerPoint():
                words = await _registers(client, point)
                readings[point.name] = power_reading(point, words)
                return power_reading(point, words, await _frequency(client, point))
            case SunSpecPoint():
                return await self._sunspec(client, point)
            case ZonePoint():
                inlet = await _registers(client, point)
                coolant = await _registers(client, point.coolant) if point.coolant else ()
                if point.proof is None:
                    return zone_reading(point, inlet, (), coolant)
                readings[point.name] = zone_reading(point, inlet, self._last_proof(point), coolant)
                proof = await _registers(client, point.proof)
                reading = zone_reading(point, inlet, proof, coolant)
                self._proofs[point.name] = asyncio.get_running_loop().time(), proof
                return reading

    def _last_proof(self, point: ZonePoint) -> Sequence[int] | None:
        """One answer may be lost: that is no reason to say that a fan stands."""
        at_s, words = self._proofs.get(point.name, (float("-inf"), ()))
        fresh = asyncio.get_running_loop().time() - at_s <= self._config.stale_after_s
        return words if fresh else None

    async def _sunspec(self, client: AsyncModbusTcpClient, point: SunSpecPoint) -> MeterReading:
        """Search for the meter model once, going on where a poll was cut short; check it at every read."""
        place = self._places.get(point.name) or await self._marker(client, point)
        while isinstance(place, maps.ModelHeader):
            self._places[point.name] = place
            words = await _words(client, point.unit, place.address, maps.HEADER_WORDS)
            try:
                place = maps.follow(place, words)
            except maps.NoMeterError as error:
                del self._places[point.name]
                raise DriverError(f"{point}: {error}") from None
        self._places[point.name] = place
        words = await _words(client, point.unit, place.address, place.model.words)
        if words[0] != place.id:
            del self._places[point.name]
            raise DriverError(f"{point}: model {words[0]} at {place.address}, where {place.id} was")
        return sunspec_reading(point, place, words)

    async def _marker(self, client: AsyncModbusTcpClient, point: SunSpecPoint) -> maps.ModelHeader:
        """Where the chain begins. A unit that is silent where it has nothing is asked elsewhere next time."""
        said: list[str] = []
        for _ in maps.SUNSPEC_BASES:
            base = next(self._bases)
            try:
                return maps.first_header(base, await _words(client, point.unit, base, maps.HEADER_WORDS))
            except (DriverError, maps.NoMeterError) as error:
                said.append(str(error))
        raise DriverError(f"{point}: {'; '.join(said)}")

    def _screen(self, sending: bool, packet: bytes) -> bytes:
        """Keep back what pymodbus would raise on inside the event loop; remember it for the message."""
        if sending:
            self._last_bytes = b""
            return packet
        self._last_bytes = packet[:SHOWN_BYTES]
        return packet if _decodable(packet) else b""

    def _what_came(self) -> str:
        if self._client is not None and not self._client.connected:
            return ", connection closed by the other end"
        return f", got {self._last_bytes.hex(' ')}" if self._last_bytes else ""

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def _address(self) -> str:
        return f"{self.id} ({self._config.host}:{self._config.port})"


async def _frequency(client: AsyncModbusTcpClient, point: PowerPoint) -> Sequence[int] | None:
    """The words of the frequency; a register that is refused costs the frequency, never the power."""
    if point.frequency is None:
        return None
    try:
        return await _registers(client, point.frequency)
    except DriverError:
        return None


async def _registers(client: AsyncModbusTcpClient, register: Register) -> Sequence[int]:
    return await _words(client, register.unit, register.address, register.words, register.function)


async def _words(
    client: AsyncModbusTcpClient, unit: int, address: int, count: int, function: str = "holding"
) -> Sequence[int]:
    ask = client.read_holding_registers if function == "holding" else client.read_input_registers
    answer = await ask(address, count=count, device_id=unit)
    where = f"unit {unit} {function} register {address}"
    if answer.isError():
        raise DriverError(f"{where}: {_exception_name(answer.exception_code)}")
    if len(answer.registers) != count:
        raise DriverError(f"{where}: {len(answer.registers)} words came instead of {count}")
    return answer.registers


def _exception_name(code: int) -> str:
    known = {member.value: f" {member.name.lower().replace('_', ' ')}" for member in ExcCodes}
    return f"exception {code}{known.get(code, '')}"


def _decodable(packet: bytes) -> bool:
    """Whether the first frame of `packet`, if it is whole, is a well-formed answer to a read."""
    if len(packet) < MBAP_BYTES + 2 or len(packet) < (end := 6 + int.from_bytes(packet[4:6])):
        return True  # not whole yet: pymodbus waits for the rest
    function, count = packet[MBAP_BYTES], packet[MBAP_BYTES + 1]
    if function in READ_FUNCTIONS:
        return count % 2 == 0 and end == MBAP_BYTES + 2 + count
    return function & 0x7F in READ_FUNCTIONS and end == MBAP_BYTES + 2
