"""The MQTT connection to the grid operator: says hello, reads, writes, and says goodbye.

It carries bytes and knows topics, never what is in them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Protocol

import aiomqtt
import structlog

from controller.grid.dialects import Letter
from controller.run.operators.gridconfig import GridConfig, tls_context
from drivers.cancellation import obey_cancellation
from drivers.mqttconnection import (
    CALL_TIMEOUT_S,
    FAREWELL_TIMEOUT_S,
    MAX_INCOMING,
    Hear,
    listen,
    stay_connected,
    subscribed,
)


class Publish(Protocol):
    """Send; returns when the broker has it, raises `aiomqtt.MqttError` if that is not known."""

    async def __call__(self, letter: Letter) -> None: ...


Write = Callable[[Publish], Coroutine[None, None, None]]
"""Runs for the life of one connection and publishes what there is to say."""


class Standing(Protocol):
    """The retained word on whether the site is connected, by the number of the connection; None for none."""

    def __call__(self, *, online: bool, birth: int, at_utc_s: float) -> Letter | None: ...


class GridSession:
    def __init__(
        self,
        config: GridConfig,
        *,
        subscriptions: tuple[str, ...],
        standing: Standing,
        read: Hear,
        write: Write,
        utc: Callable[[], float],
    ) -> None:
        self.connects = 0
        self.connected = False
        self._config = config
        self._subscriptions = subscriptions
        self._standing = standing
        tls_context(config)  # what cannot be used is found out at the start
        self._read = read
        self._write = write
        self._utc = utc
        self._birth = round(utc() * 1000)
        self._last_trouble = ""
        self._last_word = _LastWord()
        self._library_log = logging.Logger("mqtt", level=logging.ERROR)
        self._library_log.addHandler(self._last_word)
        whose = {"operator": config.name} if config.name else {}
        where = f"{config.host}:{config.port}"
        self._log = structlog.get_logger("grid").bind(broker=where, ven=config.ven, **whose)

    def begin_at(self, birth: int) -> None:
        """The numbers of its connections are beyond this one."""
        self._birth = birth

    async def run(self) -> None:
        """Stay connected. Ends only by cancellation, and then says goodbye."""
        await stay_connected(self._connect_once, self._lost, longest_s=self._config.reconnect_max_s)

    async def _connect_once(self) -> None:
        self._birth += 1
        topics = [(self._config.topic(name), 1) for name in self._subscriptions]
        async with subscribed(self._client(), topics) as client:
            try:
                await self._say(client, online=True, within_s=CALL_TIMEOUT_S)
                obey_cancellation()
                self._up()
                write = partial(self._write, self._publisher(client))
                raise await _first_trouble(partial(listen, client, self._read), write)
            except asyncio.CancelledError:
                with suppress(aiomqtt.MqttError):
                    await self._say(client, online=False, within_s=FAREWELL_TIMEOUT_S)
                raise
            finally:
                self.connected = False

    async def _say(self, client: aiomqtt.Client, *, online: bool, within_s: float) -> None:
        """Tell whether the site is connected, where the dialect has a word for it."""
        letter = self._standing(online=online, birth=self._birth, at_utc_s=self._utc())
        if letter is not None:
            topic = self._config.topic(letter.topic)
            await client.publish(
                topic, letter.payload, qos=letter.qos, retain=letter.retain, timeout=within_s
            )

    def _publisher(self, client: aiomqtt.Client) -> Publish:
        async def publish(letter: Letter) -> None:
            topic = self._config.topic(letter.topic)
            await client.publish(topic, letter.payload, qos=letter.qos, retain=letter.retain)
            obey_cancellation()

        return publish

    def _client(self) -> aiomqtt.Client:
        """A new client each time: its Will carries the number of the connection it belongs to."""
        config = self._config
        last = self._standing(online=False, birth=self._birth, at_utc_s=self._utc())
        will = None
        if last is not None:
            will = aiomqtt.Will(config.topic(last.topic), last.payload, qos=last.qos, retain=last.retain)
        try:
            password, tls = config.secret(), tls_context(config)  # anew: they are renewed while we run
        except ValueError as error:  # it may be there at the next try
            raise aiomqtt.MqttError(str(error)) from None
        return aiomqtt.Client(
            config.host,
            config.port,
            identifier=config.client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            username=config.username,
            password=password,
            tls_context=tls,
            keepalive=config.keepalive_s,
            timeout=CALL_TIMEOUT_S,
            max_queued_incoming_messages=MAX_INCOMING,
            will=will,
            logger=self._library_log,
        )

    def _up(self) -> None:
        self.connected = True
        self.connects += 1
        self._last_trouble = ""
        self._log.info("grid_broker_connected", birth=self._birth)

    def _lost(self, error: aiomqtt.MqttError) -> None:
        trouble = " ".join(filter(None, (repr(error), self._last_word.take())))
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
