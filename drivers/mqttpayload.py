"""What an MQTT meter's message means: the site file's table of meters, and the parser of their JSON payloads.

A power without a declared unit, marked as bad, or beyond what the meter can see is refused.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from controller.domain.devices import MeterReading
from controller.domain.power import ZERO, Power
from drivers.base import DriverError
from drivers.mqttlink import BrokerTable, Table, Topic

MAX_PAYLOAD_BYTES = 8192
SHOWN_CHARS = 40
_WATTS = {"W": 1.0, "kW": 1e3, "KW": 1e3, "MW": 1e6}

Keys = Annotated[str, Field(pattern=r"^([^.]+(\.[^.]+)*)?$", max_length=256)]
"""Keys and list indexes from the outside in, joined by dots; empty for the whole payload."""


class Payload(Table):
    """Where the parts of a message stand. A part that is not named is not in the message.

    Without a `timestamp` a value counts as new when its message comes, unless the broker had kept it.
    """

    value: Keys
    timestamp: Keys | None = None
    timestamp_in: Literal["ms", "s", "iso"] = "ms"
    quality: Keys | None = None
    good: int | str = 1
    unit: Keys | None = None


# The "BMS Integration Companion Guide" of github.com/NVIDIA/dsx-exchange, section 2: `timestamp` is when the
# value was true, any quality but 1 is not to be trusted, and `value` is null where there is none.
BMS = Payload(value="value", timestamp="timestamp", quality="quality")


class MqttPoint(Table):
    """A meter. Beyond `max_w`, or below `-max_export_w`, a value is a fault and not a power; export within
    that is no headroom and reads as 0 W. `unit` is what the payload is in, unless it says so itself.
    """

    meter: str = Field(min_length=1)
    topic: Topic
    unit: Literal["W", "kW", "MW"] | None = None
    payload: Payload = BMS
    max_w: float = Field(gt=0)
    max_export_w: float = Field(default=50.0, ge=0)
    sign: Literal[1, -1] = 1
    stale_after_s: float = Field(default=6.0, gt=0, le=3600)

    @property
    def name(self) -> str:
        return f"meter {self.meter}"

    @model_validator(mode="after")
    def _declares_its_unit_once(self) -> Self:
        if (self.unit is None) == (self.payload.unit is None):
            raise ValueError(f"meter {self.meter!r}: its unit is either `unit` or in its payload")
        return self


class MqttMetersConfig(BrokerTable):
    """One broker. `timeout_s` is how long a poll waits where nothing is fresh."""

    heartbeat_topic: Topic | None = None
    heartbeat_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    poll_s: float = Field(default=0.5, gt=0)
    timeout_s: float = Field(default=0.5, gt=0, le=10)
    points: tuple[MqttPoint, ...] = Field(min_length=1, max_length=1000)

    @property
    def topics(self) -> tuple[str, ...]:
        beat = () if self.heartbeat_topic is None else (self.heartbeat_topic,)
        return tuple(dict.fromkeys((*(point.topic for point in self.points), *beat)))

    @model_validator(mode="after")
    def _names_each_meter_once(self) -> Self:
        names = [point.name for point in self.points]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.id}: declared twice: {', '.join(sorted(twice))}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What a message says; `utc_s` is when it was true, None where the message does not tell."""

    reading: MeterReading
    utc_s: float | None


def parse(point: MqttPoint, payload: bytes) -> Value:
    """The power in a message, if it can be believed; how old it is, is not looked at here."""
    shape = point.payload
    message = message_of(shape, payload)
    watts = number_at(message, shape.value) * _factor(point, message) * point.sign
    if not -point.max_export_w <= watts <= point.max_w:
        raise DriverError(f"{watts:g} W is outside -{point.max_export_w:g}..{point.max_w:g} W")
    power = max(ZERO, Power.up(round(watts, 3)))  # a thousandth of a watt is noise of the scaling
    return Value(reading=MeterReading(meter=point.meter, power=power), utc_s=time_at(shape, message))


def message_of(shape: Payload, payload: bytes) -> Any:
    """The JSON in a message, all numbers as floats, unless it says itself that it is not good."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise DriverError(f"a message of {len(payload)} bytes")
    try:
        message = json.loads(payload, parse_int=float, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise DriverError(f"not JSON: {payload[:SHOWN_CHARS]!r}") from None
    if shape.quality is not None and (quality := value_at(message, shape.quality)) != shape.good:
        raise DriverError(f"{shape.quality} {quality!r:.{SHOWN_CHARS}} is not {shape.good!r}")
    return message


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = next(key for at, (key, _) in enumerate(pairs) if key in dict(pairs[:at]))
        raise DriverError(f"key {repeated!r:.{SHOWN_CHARS}} appears twice")
    return found


def _factor(point: MqttPoint, message: Any) -> float:
    unit = point.unit if point.payload.unit is None else value_at(message, point.payload.unit)
    if not isinstance(unit, str) or unit not in _WATTS:
        raise DriverError(f"unit {unit!r:.{SHOWN_CHARS}} is not W, kW or MW")
    return _WATTS[unit]


def text_at(message: Any, keys: str) -> str | None:
    """The text at `keys`, or None where there is nothing."""
    try:
        text = value_at(message, keys)
    except DriverError:
        return None
    if not isinstance(text, str):
        raise DriverError(f"{keys} {text!r:.{SHOWN_CHARS}} is not a text")
    return text


def time_at(shape: Payload, message: Any) -> float | None:
    """When the value of a message was true, in Unix seconds; None where it does not tell."""
    if shape.timestamp is None:
        return None
    if shape.timestamp_in != "iso":
        return number_at(message, shape.timestamp) / (1000 if shape.timestamp_in == "ms" else 1)
    text = value_at(message, shape.timestamp)
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise DriverError(f"{shape.timestamp} {text!r:.{SHOWN_CHARS}} is not a time") from None
    if at.tzinfo is None:
        raise DriverError(f"{shape.timestamp} {text!r} has no time zone")
    return at.timestamp()


def number_at(message: Any, keys: str) -> float:
    """The finite number at `keys`."""
    value = value_at(message, keys)
    if not isinstance(value, float) or not math.isfinite(value):
        raise DriverError(f"{keys or 'the payload'} {value!r:.{SHOWN_CHARS}} is not a number")
    return value


def value_at(message: Any, keys: str) -> Any:
    for key in keys.split(".") if keys else ():
        if isinstance(message, dict) and key in message:
            message = message[key]
        elif isinstance(message, list) and key.isdecimal() and int(key) < len(message):
            message = message[int(key)]
        else:
            raise DriverError(f"no {keys!r} in the payload")
    return message
