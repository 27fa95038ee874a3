"""What an MQTT meter's message means: the site file's table of meters, and the parser of their JSON payloads.

A power without a declared unit, marked as bad, or beyond what the meter can see is refused.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from controller.domain.devices import MeterReading
from controller.domain.power import ZERO, Power
from drivers.base import DriverError

MAX_PAYLOAD_BYTES = 8192
SHOWN_CHARS = 40
_WATTS = {"W": 1.0, "kW": 1e3, "KW": 1e3, "MW": 1e6}

Topic = Annotated[str, Field(pattern=r"^[^+#\x00]+$", max_length=512)]
Keys = Annotated[str, Field(pattern=r"^([^.]+(\.[^.]+)*)?$", max_length=256)]
"""Keys and list indexes from the outside in, joined by dots; empty for the whole payload."""


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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


class MqttMetersConfig(Table):
    """One broker. `timeout_s` is how long a poll waits where nothing is fresh."""

    id: str = Field(min_length=1)
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9:]([A-Za-z0-9.:_-]{0,252})$")]
    port: int = Field(default=1883, ge=1, le=65535)
    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")] | None = None
    username: str | None = None
    password: SecretStr | None = None
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    keepalive_s: int = Field(default=5, ge=2, le=60)
    reconnect_max_s: float = Field(default=5.0, ge=0.1, le=60)
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
    def _fits_together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError(f"{self.id}: tls_cert and tls_key go together")
        if not self.tls and (self.tls_ca or self.tls_cert):
            raise ValueError(f"{self.id}: tls_ca and tls_cert need tls = true")
        if self.password is not None and self.username is None:
            raise ValueError(f"{self.id}: password needs a username")
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
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise DriverError(f"a message of {len(payload)} bytes")
    try:
        message = json.loads(payload, parse_int=float)
    except (ValueError, RecursionError):
        raise DriverError(f"not JSON: {payload[:SHOWN_CHARS]!r}") from None
    shape = point.payload
    if shape.quality is not None and (quality := _at(message, shape.quality)) != shape.good:
        raise DriverError(f"{shape.quality} {quality!r:.{SHOWN_CHARS}} is not {shape.good!r}")
    watts = _number(message, shape.value) * _factor(point, message) * point.sign
    if not -point.max_export_w <= watts <= point.max_w:
        raise DriverError(f"{watts:g} W is outside -{point.max_export_w:g}..{point.max_w:g} W")
    power = max(ZERO, Power.up(round(watts, 3)))  # a thousandth of a watt is noise of the scaling
    return Value(reading=MeterReading(meter=point.meter, power=power), utc_s=_utc_s(shape, message))


def _factor(point: MqttPoint, message: Any) -> float:
    unit = point.unit if point.payload.unit is None else _at(message, point.payload.unit)
    if not isinstance(unit, str) or unit not in _WATTS:
        raise DriverError(f"unit {unit!r:.{SHOWN_CHARS}} is not W, kW or MW")
    return _WATTS[unit]


def _utc_s(shape: Payload, message: Any) -> float | None:
    if shape.timestamp is None:
        return None
    if shape.timestamp_in != "iso":
        return _number(message, shape.timestamp) / (1000 if shape.timestamp_in == "ms" else 1)
    text = _at(message, shape.timestamp)
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise DriverError(f"{shape.timestamp} {text!r:.{SHOWN_CHARS}} is not a time") from None
    if at.tzinfo is None:
        raise DriverError(f"{shape.timestamp} {text!r} has no time zone")
    return at.timestamp()


def _number(message: Any, keys: str) -> float:
    value = _at(message, keys)
    if not isinstance(value, float) or not math.isfinite(value):
        raise DriverError(f"{keys or 'the payload'} {value!r:.{SHOWN_CHARS}} is not a number")
    return value


def _at(message: Any, keys: str) -> Any:
    for key in keys.split(".") if keys else ():
        if isinstance(message, dict) and key in message:
            message = message[key]
        elif isinstance(message, list) and key.isdecimal() and int(key) < len(message):
            message = message[int(key)]
        else:
            raise DriverError(f"no {keys!r} in the payload")
    return message
