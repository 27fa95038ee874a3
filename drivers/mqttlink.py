"""A connection to an MQTT broker that only listens: connect, subscribe, hear, and all of it again.

It carries bytes and knows topics, never what is in them. A broker that is dead, slow or hostile costs
reconnects, never the process.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Self

import aiomqtt
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

CALL_TIMEOUT_S = 5.0
FAREWELL_TIMEOUT_S = 0.5
FIRST_DELAY_S = 0.1
MAX_INCOMING = 4096
REFUSED_CODE = 0x80
UNCONNECTED = "not connected yet"

Topic = Annotated[str, Field(pattern=r"^[^+#\x00]+$", max_length=512)]

Hear = Callable[[str, bytes, bool], None]
"""Called for each message with topic, payload and whether the broker had retained it. Must not block."""

# What the library has to say of a connection, `trouble` says once, in its own words.
_MQTT_LOG = logging.getLogger("wattshift.mqttlink")
_MQTT_LOG.setLevel(logging.CRITICAL)


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BrokerTable(Table):
    """Where a broker is, and who we are to it."""

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

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError(f"{self.id}: tls_cert and tls_key go together")
        if not self.tls and (self.tls_ca or self.tls_cert):
            raise ValueError(f"{self.id}: tls_ca and tls_cert need tls = true")
        if self.password is not None and self.username is None:
            raise ValueError(f"{self.id}: password needs a username")
        return self


class MqttLink:
    """`hear` gets what comes on `topics`, from the first `keep_connected` until `close`."""

    def __init__(self, config: BrokerTable, topics: tuple[str, ...], hear: Hear) -> None:
        self.trouble = UNCONNECTED
        self._config = config
        self._topics = topics
        self._hear = hear
        self._client_id = config.client_id or f"wattshift-{secrets.token_hex(4)}"
        self._session: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return f"{self._config.id} ({self._config.host}:{self._config.port})"

    def keep_connected(self) -> None:
        """Start the one task that keeps the connection. Raises what surprised it, if something did."""
        if self._session is None:
            self._session = asyncio.create_task(self._stay_connected(), name=f"mqtt {self._config.id}")
        elif self._session.done():
            self._session.result()  # a surprise in there is one here

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.cancel()
            await asyncio.wait([session])
            if not session.cancelled():
                session.result()  # a surprise that nobody has met

    async def _stay_connected(self) -> None:
        """Ends only by cancellation."""
        loop = asyncio.get_running_loop()
        delay_s = FIRST_DELAY_S
        while True:
            began_s = loop.time()
            try:
                await self._listen()
            except aiomqtt.MqttError as error:
                self.trouble = f"no connection: {error}"
            _obey_cancellation()
            if loop.time() - began_s > self._config.reconnect_max_s:
                delay_s = FIRST_DELAY_S  # it held for a while: not a refusal, nor two clients with one id
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))
            delay_s = min(delay_s * 2, self._config.reconnect_max_s)

    async def _listen(self) -> None:
        async with _entered(self._client()) as client:
            _obey_cancellation()
            codes = await client.subscribe([(topic, 0) for topic in self._topics])
            if any((code if isinstance(code, int) else code.value) >= REFUSED_CODE for code in codes):
                raise aiomqtt.MqttError(f"subscription refused: {codes}")
            self.trouble = ""
            async for message in client.messages:
                if isinstance(message.payload, bytes | bytearray):
                    self._hear(message.topic.value, bytes(message.payload), bool(message.retain))

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


def _tls_context(config: BrokerTable) -> ssl.SSLContext | None:
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
