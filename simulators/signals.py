"""How a site's own meters and sensors are wired: registers of Modbus servers, and topics of a broker.

Parts of a plant file. Each names one quantity of the plant: a meter's watts, a zone's inlet, or the proof
of its cooling.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simulators.tables import Port, Table

Topic = Annotated[str, Field(min_length=1, pattern=r"^[^+#\x00]+$")]
WORDS = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2}


class MeterMap(StrEnum):
    """Whose registers a simulated Modbus meter has."""

    PLAIN = "plain"
    SCHNEIDER = "schneider"
    EASTRON = "eastron"
    GAVAZZI = "carlo-gavazzi"
    SUNSPEC_INTEGER = "sunspec-203"
    SUNSPEC_FLOAT = "sunspec-213"


class Quantity(Table):
    """What is told: a meter's watts, a zone's inlet or coolant in C, or a proof: `proven` while the fans run,
    `not_proven` while they stand."""

    meter: str | None = None
    inlet_of: str | None = None
    coolant_of: str | None = None
    proof_of: str | None = None
    proven: float = 1.0
    not_proven: float = 0.0

    @property
    def zone(self) -> str | None:
        return next((one for one in (self.inlet_of, self.coolant_of, self.proof_of) if one is not None), None)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if [self.meter, self.inlet_of, self.coolant_of, self.proof_of].count(None) != 3:
            raise ValueError("exactly one of meter, inlet_of, coolant_of and proof_of is needed")
        return self


class RegisterConfig(Quantity):
    """One value in registers: what is told, over `scale`. With a `map` the meter has all of that map."""

    unit: Annotated[int, Field(ge=0, le=255)] = 1
    function: Literal["holding", "input"] = "holding"
    address: Annotated[int, Field(ge=0, le=0xFFFF)] = 0
    type: Literal["int16", "uint16", "int32", "uint32", "float32"] = "float32"
    word_order: Literal["big", "little"] = "big"
    scale: Annotated[float, Field(gt=0)] = 1.0
    sign: Literal[1, -1] = 1
    map: MeterMap | None = None

    @model_validator(mode="after")
    def _maps_meters(self) -> Self:
        if self.map is not None and self.meter is None:
            raise ValueError(f"map {self.map.value!r}: only a meter has one")
        return self


class ModbusServerConfig(Table):
    """A Modbus TCP server with registers where a site file says they are."""

    id: str
    host: IPv4Address = IPv4Address("127.0.0.1")
    port: Port
    registers: Annotated[tuple[RegisterConfig, ...], Field(min_length=1)]


class TopicConfig(Quantity):
    """One value in a JSON message: what is told, over `scale`. Keys from the outside in are joined by dots.

    Several of one topic share its message. Without a `timestamp`, `quality` or `unit` the message has none.
    """

    topic: Topic
    value: str = "value"
    scale: float = 1.0
    offset: float = 0.0
    sign: Literal[1, -1] = 1
    timestamp: str | None = "timestamp"
    timestamp_in: Literal["ms", "s", "iso"] = "ms"
    quality: str | None = "quality"
    good: int | str = 1
    unit: str | None = None
    unit_is: str = "W"
    period_s: Annotated[float, Field(ge=0.1, le=3600)] = 1.0
