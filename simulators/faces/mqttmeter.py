"""The plant's meters and zones as a building's management publishes them: one topic each, JSON, in kW and C.

The form is that of NVIDIA's DSX event bus: `{"value": kW, "timestamp": ms, "quality": 1}`, QoS 0, not
retained. A dead meter is null and of quality 0; a frozen one goes on to be published as if it were new, as a
gateway does that polls it. A heartbeat says that the publisher itself is alive.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress

import aiomqtt

from simulators.config import MqttConfig
from simulators.faces.topics import Topics
from simulators.physics.cooling import Zone
from simulators.physics.electrical import Meter
from simulators.plant import Plant

RECONNECT_S = 0.2
ZONE_PERIOD_S = 2.0
CALL_TIMEOUT_S = 5.0


class MqttMeterFace:
    """Publishes from `start` to `stop`; what the broker did not take in time is replaced by what is newer."""

    def __init__(self, plant: Plant, config: MqttConfig, *, utc: Callable[[], float] = time.time) -> None:
        self._config = config
        self._meters = [meter for meter in plant.meters.values() if meter.config.topic is not None]
        self._zones = list(plant.zones.values())
        self._topics = Topics(plant.config.topics, utc)
        self._utc = utc
        published = [*(meter.id for meter in self._meters), *(zone.id for zone in self._zones)]
        self._due_s = dict.fromkeys(published, 0.0)
        self._beat_due_s = 0.0
        self._waiting: dict[str, bytes] = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._stay_connected())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    def exchange(self, plant: Plant) -> None:
        """Called after every step of the plant: what is due by its clock is stamped with the real time."""
        for meter in self._meters:
            if plant.now_s >= self._due_s[meter.id]:
                self._due_s[meter.id] = plant.now_s + meter.config.period_s
                assert meter.config.topic is not None
                self._waiting[meter.config.topic] = self._message(meter)
        for zone in self._zones:
            if plant.now_s >= self._due_s[zone.id]:
                self._due_s[zone.id] = plant.now_s + ZONE_PERIOD_S
                self._waiting |= self._of_zone(zone)
        self._waiting |= self._topics.due(plant)
        if plant.now_s >= self._beat_due_s:
            self._beat_due_s = plant.now_s + self._config.heartbeat_s
            for topic in (self._config.heartbeat_topic, *self._config.heartbeat_topics):
                if topic is not None:
                    self._waiting[topic] = self._value(self._now_ms(), 1)
        if self._waiting:
            self._news.set()

    def _of_zone(self, zone: Zone) -> dict[str, bytes]:
        if zone.faults.sensor_dead:
            return {}
        said = {zone.config.topic: zone.inlet_c, zone.config.proof_topic: float(zone.fans_proven)}
        return {topic: self._value(value, 1) for topic, value in said.items() if topic is not None}

    def _message(self, meter: Meter) -> bytes:
        return self._value(None, 0) if meter.faults.dead else self._value(meter.value_w / 1000, 1)

    def _value(self, value: float | None, quality: int) -> bytes:
        return json.dumps({"value": value, "timestamp": self._now_ms(), "quality": quality}).encode()

    def _now_ms(self) -> int:
        return round(self._utc() * 1000)

    async def _stay_connected(self) -> None:
        while True:
            client = aiomqtt.Client(str(self._config.host), self._config.port, timeout=CALL_TIMEOUT_S)
            with suppress(aiomqtt.MqttError):
                async with client:
                    await self._publish(client)
            _obey_cancellation()
            await asyncio.sleep(RECONNECT_S)

    async def _publish(self, client: aiomqtt.Client) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                topic, message = self._waiting.popitem()
                await client.publish(topic, message)
                _obey_cancellation()


def _obey_cancellation() -> None:
    """In Python 3.11 `wait_for`, and so aiomqtt, loses a cancellation that comes together with its result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
