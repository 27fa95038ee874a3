"""What MQTT messages of meters and sensors mean: their table in a site file, and the parser of their JSON.

A power without a declared unit, and any value marked as bad or beyond what can be true, is refused.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from controller.domain.devices import Cooling, MeterReading, ZoneReading
from controller.domain.power import ZERO, Power
from drivers.air import COLDEST_C, HOTTEST_C, believable_c
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


class Topical(Table):
    """One value on one topic. Older than `stale_after_s` it is no value."""

    topic: Topic
    payload: Payload = BMS
    stale_after_s: float = Field(default=6.0, gt=0, le=3600)


class MqttPoint(Topical):
    """A meter. Beyond `max_w`, or below `-max_export_w`, a value is a fault and not a power; export within
    that is no headroom and reads as 0 W. `unit` is what the payload is in, unless it says so itself.
    """

    kind: Literal["power"] = "power"
    meter: str = Field(min_length=1)
    unit: Literal["W", "kW", "MW"] | None = None
    max_w: float = Field(gt=0)
    max_export_w: float = Field(default=50.0, ge=0)
    sign: Literal[1, -1] = 1

    @property
    def name(self) -> str:
        return f"meter {self.meter}"

    @model_validator(mode="after")
    def _declares_its_unit_once(self) -> Self:
        if (self.unit is None) == (self.payload.unit is None):
            raise ValueError(f"meter {self.meter!r}: its unit is either `unit` or in its payload")
        return self


class MqttProof(Topical):
    """A fan's or pump's run signal, speed or flow: cooling is proven from `proven_from` upward. True is 1."""

    proven_from: float = 1.0
    stale_after_s: float = Field(default=30.0, gt=0, le=3600)


class MqttZonePoint(Topical):
    """Inlet temperature of a cooling zone. With a `proof`, its cooling is proven while that is fresh and says
    so; without one it counts as proven. Below `min_c`, whatever the `unit`, a value is a fault of its sensor.
    """

    kind: Literal["zone"]
    zone: str = Field(min_length=1)
    unit: Literal["C", "F"] = "C"
    min_c: float = Field(default=COLDEST_C, ge=-80, lt=HOTTEST_C)
    stale_after_s: float = Field(default=30.0, gt=0, le=3600)
    proof: MqttProof | None = None

    @property
    def name(self) -> str:
        return f"zone {self.zone}"


def _kind(given: Any) -> str:
    said = given.get("kind", "power") if isinstance(given, dict) else getattr(given, "kind", None)
    return str(said)


Point = Annotated[
    Annotated[MqttPoint, Tag("power")] | Annotated[MqttZonePoint, Tag("zone")], Discriminator(_kind)
]


class MqttMetersConfig(BrokerTable):
    """One broker. `timeout_s` is how long a poll waits where nothing is fresh."""

    heartbeat_topic: Topic | None = None
    heartbeat_timeout_s: float = Field(default=30.0, gt=0, le=3600)
    poll_s: float = Field(default=0.5, gt=0)
    timeout_s: float = Field(default=0.5, gt=0, le=10)
    points: tuple[Point, ...] = Field(min_length=1, max_length=1000)

    @property
    def topics(self) -> tuple[str, ...]:
        beat = () if self.heartbeat_topic is None else (self.heartbeat_topic,)
        return tuple(dict.fromkeys((*(part.topic for part in self.values.values()), *beat)))

    @property
    def values(self) -> dict[str, MqttPoint | MqttZonePoint | MqttProof]:
        """All that is listened to, by a name of its own."""
        named: dict[str, MqttPoint | MqttZonePoint | MqttProof] = {point.name: point for point in self.points}
        for point in self.points:
            if isinstance(point, MqttZonePoint) and point.proof is not None:
                named[proof_of(point)] = point.proof
        return named

    @model_validator(mode="after")
    def _names_each_meter_once(self) -> Self:
        names = [point.name for point in self.points]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.id}: declared twice: {', '.join(sorted(twice))}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What a message says: watts, degrees Celsius, or a proof's number.

    `utc_s` is when it was true, None where the message does not tell.
    """

    number: float
    utc_s: float | None


def proof_of(point: MqttZonePoint) -> str:
    """What the value that proves a zone's cooling is called."""
    return f"{point.name} proof"


def parse(point: MqttPoint | MqttZonePoint | MqttProof, payload: bytes) -> Value:
    """The value in a message, if it can be believed; how old it is, is not looked at here."""
    message = message_of(point.payload, payload)
    return Value(number=_meaning(point, message), utc_s=time_at(point.payload, message))


def meter_reading(point: MqttPoint, watts: float) -> MeterReading:
    """Rounded up: a measured draw may not be understated. Export is no headroom."""
    return MeterReading(meter=point.meter, power=max(ZERO, Power.up(round(watts, 3))))


def zone_reading(point: MqttZonePoint, inlet_c: float, proof: float | None) -> ZoneReading:
    """`proof` is what proves the cooling, None where it is not fresh. Only a fresh proof is a proof."""
    proven = point.proof is None or (proof is not None and proof >= point.proof.proven_from)
    cooling = Cooling.PROVEN if proven else Cooling.NOT_PROVEN
    return ZoneReading(zone=point.zone, inlet_c=inlet_c, cooling=cooling)


def _meaning(point: MqttPoint | MqttZonePoint | MqttProof, message: Any) -> float:
    match point:
        case MqttPoint():
            watts = number_at(message, point.payload.value) * _factor(point, message) * point.sign
            if not -point.max_export_w <= watts <= point.max_w:
                raise DriverError(f"{watts:g} W is outside -{point.max_export_w:g}..{point.max_w:g} W")
            return watts
        case MqttZonePoint():
            told = number_at(message, point.payload.value)
            return believable_c(told if point.unit == "C" else (told - 32) / 1.8, point.min_c)
        case MqttProof():
            said = value_at(message, point.payload.value)
            return float(said) if isinstance(said, bool) else number_at(message, point.payload.value)


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
