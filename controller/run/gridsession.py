"""The MQTT connection to the grid operator: connect, subscribe, read, write, and all of it again.

It carries bytes and knows topics, never what is in them. A broker that is dead, slow or hostile costs
reconnects, never the process.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol, Self

import aiomqtt
import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from controller.grid.reports import status_message
from controller.run.cancellation import obey_cancellation

CALL_TIMEOUT_S = 5.0
FAREWELL_TIMEOUT_S = 1.0
MAX_INCOMING = 4096
REFUSED_CODE = 0x80
FIRST_DELAY_S = 0.1

_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


class GridConfig(BaseModel):
    """The `[grid]` table of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9:]([A-Za-z0-9.:_-]{0,252})$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    ven: _Word
    client_id: _Word
    names: tuple[_Word, ...] = ()
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-]+/)*$", max_length=200)] = ""
    username: str | None = None
    password: SecretStr | None = None
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    keepalive_s: Annotated[int, Field(ge=2, le=60)] = 5
    reconnect_max_s: Annotated[float, Field(ge=FIRST_DELAY_S, le=60)] = 5.0
    heartbeat_timeout_s: Annotated[float, Field(ge=1, le=3600)] = 15.0
    snapshot_max_age_s: Annotated[float, Field(ge=1, le=3600)] = 90.0
    report_period_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    telemetry_backlog: Annotated[int, Field(ge=1, le=100_000)] = 3600
    ramp_deadline_s: dict[_Word, Annotated[float, Field(ge=0, le=86_400)]] = {}

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if not self.tls and (self.tls_ca or self.tls_cert):
            raise ValueError("tls_ca and tls_cert need tls = true")
        if self.password is not None and self.username is None:
            raise ValueError("password needs a username")
        return self

    def topic(self, name: str) -> str:
        return f"{self.prefix}{name}"


def tls_context(config: GridConfig) -> ssl.SSLContext | None:
    """The TLS settings of `config`, read from disk once; `ValueError` names the file that cannot be used."""
    if not config.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=config.tls_ca)
        if config.tls_cert is not None:
            context.load_cert_chain(config.tls_cert, config.tls_key)
    except OSError as error:
        raise ValueError(f"tls_ca={config.tls_ca} tls_cert={config.tls_cert}: {error}") from None
    return context


class Publish(Protocol):
    """Send at QoS 1; returns when the broker has it, raises `aiomqtt.MqttError` if that is not known."""

    async def __call__(self, topic: str, payload: bytes) -> None: ...


Read = Callable[[str, bytes, bool], None]
"""Called for each message with topic, payload and whether the broker had retained it. Must not block."""

Write = Callable[[Publish], Coroutine[None, None, None]]
"""Runs for the life of one connection and publishes what there is to say."""


class GridSession:
    def __init__(self, config: GridConfig, *, read: Read, write: Write, utc: Callable[[], float]) -> None:
        self.connects = 0
        self.connected = False
        self._config = config
        self._tls = tls_context(config)
        self._read = read
        self._write = write
        self._utc = utc
        self._birth = int(utc() * 1000)  # rises with every connection, also from one process to the next
        self._last_trouble = ""
        self._last_word = _LastWord()
        self._library_log = logging.Logger("mqtt", level=logging.ERROR)
        self._library_log.addHandler(self._last_word)
        self._log = structlog.get_logger("grid").bind(broker=f"{config.host}:{config.port}", ven=config.ven)

    async def run(self) -> None:
        """Stay connected. Ends only by cancellation, and then says goodbye."""
        loop = asyncio.get_running_loop()
        delay_s = FIRST_DELAY_S
        while True:
            began_s = loop.time()
            try:
                await self._connect_once()
            except aiomqtt.MqttError as error:
                self._down(" ".join(filter(None, (repr(error), self._last_word.take()))))
            obey_cancellation()
            if loop.time() - began_s > self._config.reconnect_max_s:
                delay_s = FIRST_DELAY_S  # it held for a while: not a refusal, nor two clients with one id
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))
            delay_s = min(delay_s * 2, self._config.reconnect_max_s)

    async def _connect_once(self) -> None:
        self._birth += 1
        status = self._config.topic(f"vens/{self._config.ven}/status")
        async with _entered(self._client(status)) as client:
            obey_cancellation()
            codes = await client.subscribe([(topic, 1) for topic in self._topics()])
            if any((code if isinstance(code, int) else code.value) >= REFUSED_CODE for code in codes):
                raise aiomqtt.MqttError(f"subscription refused: {codes}")
            await client.publish(status, self._status(online=True), qos=1, retain=True)
            obey_cancellation()
            self._up()
            try:
                write = partial(self._write, _publisher(client))
                raise await _first_trouble(partial(self._read_all, client), write)
            except asyncio.CancelledError:
                with suppress(aiomqtt.MqttError):
                    offline = self._status(online=False)
                    await client.publish(status, offline, qos=1, retain=True, timeout=FAREWELL_TIMEOUT_S)
                raise
            finally:
                self.connected = False

    async def _read_all(self, client: aiomqtt.Client) -> None:
        """No deadline around the iterator: a message already taken would be lost with it."""
        async for message in client.messages:
            if isinstance(message.payload, bytes | bytearray):
                self._read(message.topic.value, bytes(message.payload), bool(message.retain))

    def _client(self, status: str) -> aiomqtt.Client:
        """A new client each time: its Will carries the number of the connection it belongs to."""
        config = self._config
        return aiomqtt.Client(
            config.host,
            config.port,
            identifier=config.client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            username=config.username,
            password=None if config.password is None else config.password.get_secret_value(),
            tls_context=self._tls,
            keepalive=config.keepalive_s,
            timeout=CALL_TIMEOUT_S,
            max_queued_incoming_messages=MAX_INCOMING,
            will=aiomqtt.Will(status, self._status(online=False), qos=1, retain=True),
            logger=self._library_log,
        )

    def _topics(self) -> list[str]:
        events = f"events/vens/{self._config.ven}"
        names = [f"{events}/{word}" for word in ("create", "update", "delete", "snapshot")]
        return [self._config.topic(name) for name in (*names, "heartbeat/vtn")]

    def _status(self, *, online: bool) -> bytes:
        return status_message(online=online, birth=self._birth, at_utc_s=self._utc())

    def _up(self) -> None:
        self.connected = True
        self.connects += 1
        self._last_trouble = ""
        self._log.info("grid_broker_connected", birth=self._birth)

    def _down(self, trouble: str) -> None:
        if trouble != self._last_trouble:
            self._log.warning("grid_broker_lost", why=trouble)
        self._last_trouble = trouble


class _LastWord(logging.Handler):
    """The last error that the MQTT library logged: a refused client certificate is told nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self._text = record.getMessage()

    def take(self) -> str:
        text, self._text = self._text, ""
        return text


@asynccontextmanager
async def _entered(client: aiomqtt.Client) -> AsyncIterator[aiomqtt.Client]:
    """`async with client`, which also closes a connection that the broker never answered: left open, a late
    answer would bring a second session to life under our own id."""
    try:
        await client.__aenter__()
        yield client
    finally:
        client.timeout = FAREWELL_TIMEOUT_S
        with suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)


def _publisher(client: aiomqtt.Client) -> Publish:
    async def publish(topic: str, payload: bytes) -> None:
        await client.publish(topic, payload, qos=1)
        obey_cancellation()

    return publish


async def _first_trouble(*parts: Callable[[], Coroutine[None, None, None]]) -> aiomqtt.MqttError:
    """Run `parts` together until the connection fails one of them. Its failure is a value here: raised
    through the group it could swallow the cancellation of the whole daemon."""

    async def trouble(part: Callable[[], Coroutine[None, None, None]]) -> aiomqtt.MqttError:
        try:
            await part()
        except aiomqtt.MqttError as error:
            return error
        return aiomqtt.MqttError("ended by itself")

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(trouble(part)) for part in parts]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
    return done.pop().result()
