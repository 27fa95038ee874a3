"""Meters and zone sensors that publish over MQTT: one connection to a broker, and of each value the newest.

A value is as old as it says itself, not as the message that brought it. An old one never becomes a reading,
whatever the broker had kept or delivered twice; nor does one that its publisher took back.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiomqtt
import structlog

from controller.domain.devices import MeterReading, ZoneReading
from drivers.base import DriverError
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

CALL_TIMEOUT_S = 5.0
FAREWELL_TIMEOUT_S = 0.5
FIRST_DELAY_S = 0.1
MAX_INCOMING = 4096
REFUSED_CODE = 0x80
AHEAD_S = 5.0
"""How far in the future a value may lie: clocks differ, but beyond that an old value would look new."""

log = structlog.get_logger()
# What the library has to say of a connection, `read` says once, in its own words.
_MQTT_LOG = logging.getLogger("wattshift.mqttmeter")
_MQTT_LOG.setLevel(logging.CRITICAL)


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
    """A `Sensor`. Its one task keeps the connection, from the first `read` until `close`."""

    def __init__(self, config: MqttMetersConfig, *, utc: Callable[[], float] = time.time) -> None:
        self._config = config
        self._client_id = config.client_id or f"wattshift-{secrets.token_hex(4)}"
        self._utc = utc
        self._values = config.values
        self._named = {
            topic: [name for name, part in self._values.items() if part.topic == topic]
            for topic in config.topics
        }
        self._held: dict[str, Held] = {}
        self._refused: dict[str, str] = {}
        self._trouble = "not connected yet"
        self._beat_s = float("-inf")
        self._news = asyncio.Event()
        self._session: asyncio.Task[None] | None = None
        self._faults: dict[str, str] = {}

    @property
    def id(self) -> str:
        return self._config.id

    async def read(self) -> tuple[MeterReading | ZoneReading, ...]:
        """What is fresh. `DriverError` only when that is nothing, even after a short wait."""
        self._keep_connected()
        loop = asyncio.get_running_loop()
        faults = self._stale(loop.time())
        if self._none_of(faults):
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.timeout_s):
                    await self._news.wait()
            faults = self._stale(loop.time())
        if self._none_of(faults):
            raise DriverError(f"{self._address}: {'; '.join(faults.values())}")
        self._tell_changes(faults)
        return tuple(
            self._reading(point, faults) for point in self._config.points if point.name not in faults
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.cancel()
            await asyncio.wait([session])
            if not session.cancelled():
                session.result()  # a surprise that no read has met

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
            return self._trouble or f"no heartbeat on {self._config.heartbeat_topic}"
        held = self._held.get(name)
        if held is not None and held.age_at(now_s) <= point.stale_after_s:
            return ""
        last = "nothing came" if held is None else f"nothing newer than {held.age_at(now_s):.0f} s came"
        return self._trouble or self._refused.get(name) or f"{last} on {point.topic}"

    def _tell_changes(self, faults: dict[str, str]) -> None:
        for name in faults.keys() - self._faults.keys():
            log.warning("point_silent", subject=self.id, point=name, why=faults[name])
        for name in self._faults.keys() - faults.keys():
            log.info("point_answers_again", subject=self.id, point=name)
        self._faults = faults

    # -- what comes -------------------------------------------------------------------------------------

    def _hear(self, topic: str, payload: bytes, *, retained: bool) -> None:
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

    # -- the connection ---------------------------------------------------------------------------------

    def _keep_connected(self) -> None:
        if self._session is None:
            self._session = asyncio.create_task(self._stay_connected(), name=f"mqtt {self.id}")
        elif self._session.done():
            self._session.result()  # a surprise in there is one here

    async def _stay_connected(self) -> None:
        """Ends only by cancellation."""
        loop = asyncio.get_running_loop()
        delay_s = FIRST_DELAY_S
        while True:
            began_s = loop.time()
            try:
                await self._listen()
            except aiomqtt.MqttError as error:
                self._trouble = f"no connection: {error}"
            _obey_cancellation()
            if loop.time() - began_s > self._config.reconnect_max_s:
                delay_s = FIRST_DELAY_S  # it held for a while: not a refusal, nor two clients with one id
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))
            delay_s = min(delay_s * 2, self._config.reconnect_max_s)

    async def _listen(self) -> None:
        async with _entered(self._client()) as client:
            _obey_cancellation()
            codes = await client.subscribe([(topic, 0) for topic in self._config.topics])
            if any((code if isinstance(code, int) else code.value) >= REFUSED_CODE for code in codes):
                raise aiomqtt.MqttError(f"subscription refused: {codes}")
            self._trouble = ""
            async for message in client.messages:
                if isinstance(message.payload, bytes | bytearray):
                    self._hear(message.topic.value, bytes(message.payload), retained=message.retain)

    def _client(self) -> aiomqtt.Client:
        config = self._config
        return aiomqtt.Client(
            config.host,
            config.port,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=True,
            username=config.username,
            password=None if config.password is None else config.password.get_secret_value(),
            tls_context=_tls_context(config),
            keepalive=config.keepalive_s,
            timeout=CALL_TIMEOUT_S,
            max_queued_incoming_messages=MAX_INCOMING,
            logger=_MQTT_LOG,
        )

    @property
    def _address(self) -> str:
        return f"{self.id} ({self._config.host}:{self._config.port})"


def _tls_context(config: MqttMetersConfig) -> ssl.SSLContext | None:
    """Read anew for each connection, so that a renewed certificate is taken up."""
    if not config.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=config.tls_ca)
        if config.tls_cert is not None:
            context.load_cert_chain(config.tls_cert, config.tls_key)
    except OSError as error:
        raise aiomqtt.MqttError(f"tls_ca={config.tls_ca} tls_cert={config.tls_cert}: {error}") from None
    return context


@asynccontextmanager
async def _entered(client: aiomqtt.Client) -> AsyncIterator[aiomqtt.Client]:
    """`async with client`, which also closes a connection that the broker never answered.

    Cancelled while it connects, aiomqtt would fail in paho's callbacks and leave its socket open until the
    keepalive ends: it is left to connect until the socket is closed.
    """
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(entering)
        yield client
    finally:
        client.timeout = FAREWELL_TIMEOUT_S
        with suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)
        entering.cancel()
        await asyncio.wait([entering])


def _obey_cancellation() -> None:
    """End a task that was told to end. In Python 3.11 `wait_for`, and so every call of aiomqtt, loses a
    cancellation that comes together with its result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
