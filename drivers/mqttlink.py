"""A link to an MQTT broker that only listens. It carries bytes and knows topics, never what is in them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from pathlib import Path
from typing import Annotated, Self

import aiomqtt
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from drivers.hostname import Host
from drivers.mqttconnection import (
    CALL_TIMEOUT_S,
    MAX_INCOMING,
    Hear,
    listen,
    stay_connected,
    subscribed,
)

UNCONNECTED = "not connected yet"

Topic = Annotated[str, Field(pattern=r"^[^+#\x00]+$", max_length=512)]

# What the library has to say of a connection, `trouble` says once, in its own words.
_MQTT_LOG = logging.getLogger("wattshift.mqttlink")
_MQTT_LOG.setLevel(logging.CRITICAL)


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BrokerTable(Table):
    """Where a broker is, and who we are to it."""

    id: str = Field(min_length=1)
    host: Host
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
            staying = stay_connected(self._listen, self._lost, longest_s=self._config.reconnect_max_s)
            self._session = asyncio.create_task(staying, name=f"mqtt {self._config.id}")
        elif self._session.done():
            self._session.result()  # a surprise in there is one here

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.cancel()
            await asyncio.wait([session])
            if not session.cancelled():
                session.result()  # a surprise that nobody has met

    async def _listen(self) -> None:
        topics = [(topic, 0) for topic in self._topics]
        async with subscribed(self._client(), topics) as client:
            self.trouble = ""
            await listen(client, self._hear)

    def _lost(self, error: aiomqtt.MqttError) -> None:
        self.trouble = f"no connection: {error}"

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
