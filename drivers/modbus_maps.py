"""Where power meters on the market keep their active power: fixed maps by name, and the chain of models in a
SunSpec device. It knows addresses and words; it never touches a wire, and never guesses a unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

Map = Mapping[str, int | float | str]
"""What a preset says of its register, in the words of the configuration."""


class Preset(StrEnum):
    SUNSPEC = "sunspec"
    SCHNEIDER_PM5000 = "schneider-pm5000"
    SCHNEIDER_IEM3000 = "schneider-iem3000"
    EASTRON_SDM630 = "eastron-sdm630"
    GAVAZZI_EM24 = "carlo-gavazzi-em24"
    GAVAZZI_EM340 = "carlo-gavazzi-em340"


# "Active power total", register 3060 of both series, Float32 in kW, high word first; the lists count from 1.
# Schneider Electric, PM5000 series public Modbus register list (FAQ FA234017, August 2023), and iEM3100/3200/
# 3300 series user manual DOCA0005EN. A value that the meter has not is NaN.
_SCHNEIDER: Map = MappingProxyType({"address": 3059, "type": "float32", "scale": 1000.0})

# "Total system power", input register 30053, start address 0034 hex, float in W, high word first. Eastron,
# SDM630-Modbus V2 user manual, part "Modbus protocol input registers"; the SDM72D-M has it in the same place.
_EASTRON: Map = MappingProxyType({"address": 0x34, "type": "float32", "function": "input"})

# "W system", address 0028 hex, INT32 in 0.1 W, low word first, functions 3 and 4 alike; an overflow reads
# 7FFFFFFF hex. Carlo Gavazzi, EM24_E1 (Ethernet) communication protocol 0.1.3, and EM300/ET300 series
# communication protocol 2.17.
_GAVAZZI: Map = MappingProxyType({"address": 0x28, "type": "int32", "word_order": "little", "scale": 0.1})

MAPS: Mapping[str, Map] = MappingProxyType(
    {
        Preset.SCHNEIDER_PM5000: _SCHNEIDER,
        Preset.SCHNEIDER_IEM3000: _SCHNEIDER,
        Preset.EASTRON_SDM630: _EASTRON,
        Preset.GAVAZZI_EM24: _GAVAZZI,
        Preset.GAVAZZI_EM340: _GAVAZZI,
    }
)

# SunSpec: SunSpec Information Model specification (marker, model chain) and github.com/sunspec/models, files
# json/model_201.json to model_204.json and model_211.json to model_214.json.
SUNSPEC_BASES = (40_000, 50_000, 0)
SUNSPEC_MARKER = (0x5375, 0x6E53)
HEADER_WORDS = 2
LAST_MODEL = 0xFFFF
MAX_MODELS = 64


class NoMeterError(Exception):
    """The chain of models ends without a meter, or is no chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterModel:
    """Where total real power stands in a model, in words from its header; `scale_at` holds a power of ten."""

    type: Literal["int16", "float32"]
    words: int
    power_at: int
    scale_at: int | None = None


_INTEGER = MeterModel(type="int16", words=23, power_at=18, scale_at=22)
_FLOAT = MeterModel(type="float32", words=30, power_at=28)

METER_MODELS: Mapping[int, MeterModel] = MappingProxyType(
    dict.fromkeys((201, 202, 203, 204), _INTEGER) | dict.fromkeys((211, 212, 213, 214), _FLOAT)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader:
    """The chain goes on at `address`; `passed` models lie before it."""

    address: int
    passed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterFound:
    """The meter `model`, whose header is at `address`."""

    address: int
    id: int

    @property
    def model(self) -> MeterModel:
        return METER_MODELS[self.id]


def first_header(base: int, words: Sequence[int]) -> ModelHeader:
    """Where the chain of a device begins that holds `words` at `base`."""
    if tuple(words) != SUNSPEC_MARKER:
        raise NoMeterError(f"no SunSpec marker at {base}")
    return ModelHeader(address=base + len(SUNSPEC_MARKER))


def follow(header: ModelHeader, words: Sequence[int]) -> ModelHeader | MeterFound:
    """One step along the chain: `words` are the id of the model at `header`, and its length."""
    model, length = words
    if model in METER_MODELS:
        return MeterFound(address=header.address, id=model)
    after = header.address + HEADER_WORDS + length
    if model == LAST_MODEL or header.passed == MAX_MODELS or after + HEADER_WORDS > 0x1_0000:
        raise NoMeterError(f"no meter among the {header.passed} SunSpec models before {header.address}")
    return ModelHeader(address=after, passed=header.passed + 1)
