"""One value of a Modbus device, as a site file names it, and what its words mean.

Parsing alone: bytes in, readings out. A value that a device uses to say that it has none never becomes one.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from controller.domain.devices import Cooling, MeterReading, ZoneReading
from controller.domain.power import ZERO, Power
from drivers import modbus_maps as maps
from drivers.air import COLDEST_C, HOTTEST_C, believable_c
from drivers.base import DriverError

FREQUENCY_BELIEVABLE_HZ = (40.0, 70.0)
SUNSPEC_SCALE_MAX = 10

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


class Metered(BaseModel):
    """A meter. Beyond `max_w`, or below `-max_export_w`, a value is a fault and not a power.

    Export within `max_export_w` reads as 0 W: it is no headroom. More than that is refused, because a
    current transformer mounted backwards looks the same and would make a busy site look idle.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["power"]
    meter: str = Field(min_length=1)
    max_w: float = Field(gt=0)
    max_export_w: float = Field(default=50.0, ge=0)

    @property
    def name(self) -> str:
        return f"meter {self.meter}"


class PowerPoint(Metered, Register):
    """A meter in one register, given by number or, with a `preset`, by the meter's make. `frequency` is where
    it has the grid's, in Hz after its `scale`."""

    preset: maps.Preset | None = None
    frequency: Register | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_map(cls, given: Any) -> Any:
        known = maps.MAPS.get(str(given.get("preset"))) if isinstance(given, dict) else None
        if known is None:
            return given
        if said := sorted(known.keys() & given.keys()):
            raise ValueError(f"preset {given['preset']!r} already says {', '.join(said)}")
        return {**known, **given}


class SunSpecPoint(Metered):
    """The first meter model of a SunSpec device, wherever it has it: models 201-204 and 211-214."""

    preset: Literal[maps.Preset.SUNSPEC]
    unit: int = Field(default=1, ge=0, le=255)
    sign: Literal[1, -1] = 1

    def __str__(self) -> str:
        return f"unit {self.unit} SunSpec"


class ZonePoint(Register):
    """Inlet temperature of a cooling zone; without a `proof` its cooling counts as proven. `coolant` is the
    temperature of the liquid, where there is one. Below `min_c` either is a fault of its sensor.
    """

    kind: Literal["zone"]
    zone: str = Field(min_length=1)
    min_c: float = Field(default=COLDEST_C, ge=-80, lt=HOTTEST_C)
    proof: ProofRegister | None = None
    coolant: Register | None = None
    meter: ClassVar[None] = None

    @property
    def name(self) -> str:
        return f"zone {self.zone}"


def _kind(given: Any) -> str:
    kind, preset = (
        given.get(key) if isinstance(given, dict) else getattr(given, key, None) for key in ("kind", "preset")
    )
    return "sunspec" if (kind, preset) == ("power", maps.Preset.SUNSPEC) else str(kind)


Point = Annotated[
    Annotated[PowerPoint, Tag("power")]
    | Annotated[SunSpecPoint, Tag("sunspec")]
    | Annotated[ZonePoint, Tag("zone")],
    Discriminator(_kind),
]


def value_of(register: Register, words: Sequence[int]) -> float:
    """The scaled value in `words`. Never one that the device uses to say that it has none."""
    ordered = words if register.word_order == "big" else words[::-1]
    packed = struct.pack(f">{len(ordered)}H", *ordered)
    (count,) = struct.unpack(_STRUCT[register.type], packed)
    if not math.isfinite(count) or count in _NOT_A_VALUE[register.type]:
        raise DriverError(f"{register}: {count} (0x{packed.hex()}) stands for no value in {register.type}")
    return float(count * register.scale * register.sign)


def power_reading(
    point: PowerPoint, words: Sequence[int], frequency_words: Sequence[int] | None = None
) -> MeterReading:
    """A frequency that cannot be one is none: it takes nothing away from the power beside it."""
    reading = _metered(point, value_of(point, words))
    if point.frequency is None or frequency_words is None:
        return reading
    try:
        frequency_hz = value_of(point.frequency, frequency_words)
    except DriverError:
        return reading
    low_hz, high_hz = FREQUENCY_BELIEVABLE_HZ
    return replace(reading, frequency_hz=frequency_hz) if low_hz <= frequency_hz <= high_hz else reading


def sunspec_reading(point: SunSpecPoint, found: maps.MeterFound, words: Sequence[int]) -> MeterReading:
    """The power in a meter model's words. Neither it nor its scale factor may be one that is not there."""

    def value(at: int, kind: Literal["int16", "float32"]) -> float:
        register = Register(unit=point.unit, address=found.address + at, type=kind)
        return value_of(register, words[at : at + register.words])

    model = found.model
    watts = value(model.power_at, model.type) * point.sign
    if model.scale_at is None:
        return _metered(point, watts)
    exponent = value(model.scale_at, "int16")
    if abs(exponent) > SUNSPEC_SCALE_MAX:
        raise DriverError(f"{point}: scale factor {exponent:g} is outside +-{SUNSPEC_SCALE_MAX}")
    return _metered(point, watts * 10.0**exponent)


def _metered(point: PowerPoint | SunSpecPoint, watts: float) -> MeterReading:
    if not -point.max_export_w <= watts <= point.max_w:
        raise DriverError(f"{point}: {watts:g} W is outside -{point.max_export_w:g}..{point.max_w:g} W")
    rounded = Power.up(round(watts, 3))  # a thousandth of a watt is noise of the scaling
    return MeterReading(meter=point.meter, power=max(ZERO, rounded))


def zone_reading(
    point: ZonePoint,
    words: Sequence[int],
    proof_words: Sequence[int] | None = (),
    coolant_words: Sequence[int] = (),
) -> ZoneReading:
    """Without `proof_words`, where there should be some, nothing is proven."""
    proven = point.proof is None or (
        proof_words is not None and value_of(point.proof, proof_words) >= point.proof.proven_from
    )
    cooling = Cooling.PROVEN if proven else Cooling.NOT_PROVEN
    return ZoneReading(
        zone=point.zone,
        inlet_c=_believable_c(point, words, point.min_c),
        cooling=cooling,
        coolant_c=None if point.coolant is None else _believable_c(point.coolant, coolant_words, point.min_c),
    )


def _believable_c(register: Register, words: Sequence[int], min_c: float) -> float:
    told_c = value_of(register, words)
    try:
        return believable_c(told_c, min_c)
    except DriverError as error:
        raise DriverError(f"{register}: {error}") from error
