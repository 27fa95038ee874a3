"""Power meters and cooling sensors behind one Modbus TCP endpoint, read with pymodbus' asynchronous client.

A register that cannot be believed (not implemented, saturated, absurd) must never become a reading.
"""

from __future__ import annotations

import asyncio
import logging
import math
import struct
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ModbusException

from controller.domain.devices import Cooling, MeterReading, ZoneReading
from controller.domain.power import ZERO, Power
from drivers.base import DriverError

INLET_BELIEVABLE_C = (-50.0, 100.0)
SHOWN_BYTES = 32
READ_FUNCTIONS = (3, 4)
MBAP_BYTES = 7

log = structlog.get_logger()
# What goes wrong on the wire is told once, by `read`; pymodbus would tell it again at every poll.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

_STRUCT = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "float32": ">f"}
# A device fills what it has not with one of these (SunSpec and most vendors), and the largest value is also
# where a counter saturates, so that the truth may lie anywhere above it.
_NOT_A_VALUE = {
    "int16": {-0x8000, 0x7FFF},
    "uint16": {0xFFFF},
    "int32": {-0x80000000, 0x7FFFFFFF},
    "uint32": {0xFFFFFFFF},
    "float32": set[int](),
}


class Register(BaseModel):
    """One value: `address` is the number on the wire, from 0 (not 40001); a count times `scale` is W or C."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    unit: int = Field(default=1, ge=0, le=255)
    function: Literal["holding", "input"] = "holding"
    address: int = Field(ge=0, le=0xFFFF)
    type: Literal["int16", "uint16", "int32", "uint32", "float32"]
    word_order: Literal["big", "little"] = "big"
    scale: float = Field(default=1.0, gt=0)
    sign: Literal[1, -1] = 1

    @property
    def words(self) -> int:
        return struct.calcsize(_STRUCT[self.type]) // 2

    def __str__(self) -> str:
        return f"unit {self.unit} {self.function} register {self.address}"


class ProofRegister(Register):
    """A fan's or pump's run signal, speed or flow: cooling is proven from `proven_from` upward."""

    proven_from: float = 1.0


class PowerPoint(Register):
    """A meter. Beyond `max_w`, or below `-max_export_w`, a value is a fault and not a power.

    Export within `max_export_w` reads as 0 W: it is no headroom. More than that is refused, because a
    current transformer mounted backwards looks the same and would make a busy site look idle.
    """

    kind: Literal["power"]
    meter: str = Field(min_length=1)
    max_w: float = Field(gt=0)
    max_export_w: float = Field(default=50.0, ge=0)

    @property
    def name(self) -> str:
        return f"meter {self.meter}"


class ZonePoint(Register):
    """Inlet temperature of a cooling zone; without a `proof` its cooling counts as proven."""

    kind: Literal["zone"]
    zone: str = Field(min_length=1)
    proof: ProofRegister | None = None
    meter: ClassVar[None] = None

    @property
    def name(self) -> str:
        return f"zone {self.zone}"


Point = Annotated[PowerPoint | ZonePoint, Field(discriminator="kind")]


class ModbusConfig(BaseModel):
    """One endpoint. `timeout_s` bounds a whole poll: connecting and every point together."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: str = Field(min_length=1)
    host: str = Field(min_length=1)
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
        self._faults: dict[str, str] = {}

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
        unanswered = ""
        try:
            async with asyncio.timeout(self._config.timeout_s):
                await self._poll(await self._connected(), readings, faults)
        except TimeoutError:
            unanswered = f"no usable answer within {self._config.timeout_s} s{self._what_came()}"
        except ModbusException as error:
            unanswered = f"connection lost ({error})"
        finally:
            # A late answer must not be taken for that to a later question: drop the line with the question.
            if len(readings) + len(faults) < len(self._order):
                self._drop()
        for point in self._config.points:
            if point.name not in readings and point.name not in faults:
                faults[point.name] = f"{point.name}, {point}: {unanswered}"
        if not readings:
            raise DriverError(f"{self._address}: {'; '.join(faults.values())}")
        self._tell_changes(faults)
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
                readings[point.name] = await _ask(client, point)
            except DriverError as error:
                faults[point.name] = f"{point.name}, {error}"
            except (asyncio.CancelledError, ModbusException):
                # Last from now on: a dead unit must not eat the time of those that answer.
                self._order.remove(point)
                self._order.append(point)
                raise

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

    def _tell_changes(self, faults: dict[str, str]) -> None:
        for name in faults.keys() - self._faults.keys():
            log.warning("point_silent", subject=self.id, point=name, why=faults[name])
        for name in self._faults.keys() - faults.keys():
            log.info("point_answers_again", subject=self.id, point=name)
        self._faults = faults

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def _address(self) -> str:
        return f"{self.id} ({self._config.host}:{self._config.port})"


async def _ask(client: AsyncModbusTcpClient, point: PowerPoint | ZonePoint) -> MeterReading | ZoneReading:
    match point:
        case PowerPoint():
            return power_reading(point, await _registers(client, point))
        case ZonePoint():
            inlet = await _registers(client, point)
            return zone_reading(point, inlet, await _registers(client, point.proof) if point.proof else ())


async def _registers(client: AsyncModbusTcpClient, register: Register) -> Sequence[int]:
    ask = client.read_holding_registers if register.function == "holding" else client.read_input_registers
    answer = await ask(register.address, count=register.words, device_id=register.unit)
    if answer.isError():
        raise DriverError(f"{register}: {_exception_name(answer.exception_code)}")
    if len(answer.registers) != register.words:
        raise DriverError(f"{register}: {len(answer.registers)} words came instead of {register.words}")
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


def value_of(register: Register, words: Sequence[int]) -> float:
    """The scaled value in `words`. Never one that the device uses to say that it has none."""
    ordered = words if register.word_order == "big" else words[::-1]
    packed = struct.pack(f">{len(ordered)}H", *ordered)
    (count,) = struct.unpack(_STRUCT[register.type], packed)
    if not math.isfinite(count) or count in _NOT_A_VALUE[register.type]:
        raise DriverError(f"{register}: {count} (0x{packed.hex()}) stands for no value in {register.type}")
    return float(count * register.scale * register.sign)


def power_reading(point: PowerPoint, words: Sequence[int]) -> MeterReading:
    watts = value_of(point, words)
    if not -point.max_export_w <= watts <= point.max_w:
        raise DriverError(f"{point}: {watts:g} W is outside -{point.max_export_w:g}..{point.max_w:g} W")
    rounded = Power.up(round(watts, 3))  # a thousandth of a watt is noise of the scaling
    return MeterReading(meter=point.meter, power=max(ZERO, rounded))


def zone_reading(point: ZonePoint, words: Sequence[int], proof_words: Sequence[int] = ()) -> ZoneReading:
    inlet_c = value_of(point, words)
    low_c, high_c = INLET_BELIEVABLE_C
    if not low_c <= inlet_c <= high_c:
        raise DriverError(f"{point}: {inlet_c:g} C is outside {low_c:g}..{high_c:g} C")
    if point.proof is None or value_of(point.proof, proof_words) >= point.proof.proven_from:
        cooling = Cooling.PROVEN
    else:
        cooling = Cooling.NOT_PROVEN
    return ZoneReading(zone=point.zone, inlet_c=inlet_c, cooling=cooling)
