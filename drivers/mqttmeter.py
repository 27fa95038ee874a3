"""Meters and zone sensors that publish over MQTT: one connection to a broker, and of each value the newest.

A value is as old as it says itself, not as the message that brought it. An old one never becomes a reading,
whatever the broker had kept or delivered twice; nor does one that its publisher took back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from controller.domain.devices import MeterReading, ZoneReading
from drivers.base import DriverError
from drivers.mqttlink import MqttLink
from drivers.mqttpayload import (
    MqttMetersConfig,
    MqttPoint,
    MqttZonePoint,
    Value,
    meter_reading,
    parse,
    proof_of,
    zone_reading,
)
from drivers.silentpoints import SilentPoints

AHEAD_S = 5.0
"""How far in the future a value may lie: clocks differ, but beyond that an old value would look new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A value that came at `at_s` of the event loop, and was `age_s` old then."""

    value: Value
    at_s: float
    age_s: float

    def age_at(self, now_s: float) -> float:
        return self.age_s + now_s - self.at_s


def build(config: MqttMetersConfig) -> MqttMeters:
    return MqttMeters(config)


class MqttMeters:
    """A `Sensor`. Its link is held from the first `read` until `close`."""

    def __init__(self, config: MqttMetersConfig, *, utc: Callable[[], float] = time.time) -> None:
        self._config = config
        self._utc = utc
        self._values = config.values
        self._named = {
            topic: [name for name, part in self._values.items() if part.topic == topic]
            for topic in config.topics
        }
        self._held: dict[str, Held] = {}
        self._refused: dict[str, str] = {}
        self._beat_s = float("-inf")
        self._news = asyncio.Event()
        self._link = MqttLink(config, config.topics, self._hear)
        self._silent = SilentPoints(self.id)

    @property
    def id(self) -> str:
        return self._config.id

    async def read(self) -> tuple[MeterReading | ZoneReading, ...]:
        """What is fresh. `DriverError` only when that is nothing, even after a short wait."""
        self._link.keep_connected()
        loop = asyncio.get_running_loop()
        faults = self._stale(loop.time())
        if self._none_of(faults):
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.timeout_s):
                    await self._news.wait()
            faults = self._stale(loop.time())
        if self._none_of(faults):
            raise DriverError(f"{self._link.address}: {'; '.join(faults.values())}")
        self._silent.now(faults)
        return tuple(
            self._reading(point, faults) for point in self._config.points if point.name not in faults
        )

    async def close(self) -> None:
        await self._link.close()

    # -- what is fresh ----------------------------------------------------------------------------------

    def _none_of(self, faults: dict[str, str]) -> bool:
        return all(point.name in faults for point in self._config.points)

    def _reading(
        self, point: MqttPoint | MqttZonePoint, faults: dict[str, str]
    ) -> MeterReading | ZoneReading:
        number = self._held[point.name].value.number
        match point:
            case MqttPoint():
                return meter_reading(point, number)
            case MqttZonePoint():
                proof = proof_of(point)
                fresh = point.proof is not None and proof not in faults
                return zone_reading(point, number, self._held[proof].value.number if fresh else None)

    def _stale(self, now_s: float) -> dict[str, str]:
        """Why each value that is not fresh is not."""
        why = {name: self._why_stale(name, now_s) for name in self._values}
        return {name: f"{name}: {reason}" for name, reason in why.items() if reason}

    def _why_stale(self, name: str, now_s: float) -> str:
        point = self._values[name]
        silent_s = now_s - self._beat_s
        if self._config.heartbeat_topic is not None and silent_s > self._config.heartbeat_timeout_s:
            return self._link.trouble or f"no heartbeat on {self._config.heartbeat_topic}"
        held = self._held.get(name)
        if held is not None and held.age_at(now_s) <= point.stale_after_s:
            return ""
        last = "nothing came" if held is None else f"nothing newer than {held.age_at(now_s):.0f} s came"
        return self._link.trouble or self._refused.get(name) or f"{last} on {point.topic}"

    # -- what comes -------------------------------------------------------------------------------------

    def _hear(self, topic: str, payload: bytes, retained: bool) -> None:
        now_s = asyncio.get_running_loop().time()
        if topic == self._config.heartbeat_topic and not retained:
            self._beat_s = now_s
        for name in self._named.get(topic, ()):
            try:
                value = parse(self._values[name], payload)
            except DriverError as error:
                # The publisher says, or shows, that the value it gave before holds no longer.
                self._held.pop(name, None)
                self._refused[name] = f"{topic}: {error}"
                continue
            try:
                self._held[name] = self._weigh(name, value, now_s, retained=retained)
            except DriverError as error:
                self._refused[name] = f"{topic}: {error}"
            else:
                self._refused.pop(name, None)
                self._news.set()

    def _weigh(self, name: str, value: Value, now_s: float, *, retained: bool) -> Held:
        """How old a value is; refused if it cannot be told, or is older than what is there already."""
        if value.utc_s is None:
            if retained:
                raise DriverError("a retained value that does not say how old it is")
            return Held(value=value, at_s=now_s, age_s=0.0)
        age_s = self._utc() - value.utc_s
        if age_s < -AHEAD_S:
            raise DriverError(f"a value from {-age_s:.4g} s in the future")
        if age_s > self._values[name].stale_after_s:
            raise DriverError(f"a{' retained' if retained else ''} value {age_s:.4g} s old")
        before = self._held.get(name)
        if before is not None and before.value.utc_s is not None and value.utc_s < before.value.utc_s:
            return before
        return Held(value=value, at_s=now_s, age_s=max(0.0, age_s))
