"""One connection to an MQTT broker after the other, for as long as its task lives: what every client of ours
does alike, whatever it has to say.

A broker that is dead, slow or hostile costs reconnects, never the process.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import aiomqtt

from drivers.cancellation import obey_cancellation

CALL_TIMEOUT_S = 5.0
FAREWELL_TIMEOUT_S = 1.0
FIRST_DELAY_S = 0.1
MAX_INCOMING = 4096
REFUSED_CODE = 0x80

Hear = Callable[[str, bytes, bool], None]
"""Called for each message with topic, payload and whether the broker had retained it. Must not block."""


async def stay_connected(
    once: Callable[[], Awaitable[None]], lost: Callable[[aiomqtt.MqttError], None], *, longest_s: float
) -> None:
    """Run `once`, a whole connection, again and again, ever less often up to every `longest_s`; `lost` is
    told what ended it. Ends only by cancellation."""
    loop = asyncio.get_running_loop()
    delay_s = FIRST_DELAY_S
    while True:
        began_s = loop.time()
        try:
            await once()
        except aiomqtt.MqttError as error:
            lost(error)
        obey_cancellation()
        if loop.time() - began_s > longest_s:
            delay_s = FIRST_DELAY_S  # it held for a while: not a refusal, nor two clients with one id
        await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))
        delay_s = min(delay_s * 2, longest_s)


@asynccontextmanager
async def subscribed(
    client: aiomqtt.Client, topics: Sequence[tuple[str, int]]
) -> AsyncIterator[aiomqtt.Client]:
    """`client` connected, and subscribed to each of `topics` at its QoS; `aiomqtt.MqttError` if it is not."""
    async with _entered(client):
        obey_cancellation()
        codes = await client.subscribe(list(topics))
        if any((code if isinstance(code, int) else code.value) >= REFUSED_CODE for code in codes):
            raise aiomqtt.MqttError(f"subscription refused: {codes}")
        obey_cancellation()
        yield client


async def listen(client: aiomqtt.Client, hear: Hear) -> None:
    """No deadline around the iterator: a message already taken would be lost with it."""
    async for message in client.messages:
        if isinstance(message.payload, bytes | bytearray):
            hear(message.topic.value, bytes(message.payload), bool(message.retain))


@asynccontextmanager
async def _entered(client: aiomqtt.Client) -> AsyncIterator[aiomqtt.Client]:
    """`async with client`, which also closes a connection that the broker never answered: left open, a late
    answer would bring a second session to life under our own id.

    Cancelled while it connects, aiomqtt would fail in paho's callbacks and leave its socket open until the
    keepalive ends: it is left to connect until the socket is closed. A thread opens that socket, so there may
    be none to close yet: a moment is given to it.
    """
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(entering)
        yield client
    finally:
        client.timeout = FAREWELL_TIMEOUT_S
        await asyncio.wait([entering], timeout=FAREWELL_TIMEOUT_S)
        # Nobody asks what ended a connection that was lost as it was left: asyncio would complain of that.
        client._disconnected.add_done_callback(_heard)
        with suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)
        entering.cancel()
        await asyncio.wait([entering])
        del (
            entering
        )  # it holds what went wrong, which holds this frame: a socket would wait for the collector


def _heard(ended: asyncio.Future[None]) -> None:
    if not ended.cancelled():
        ended.exception()
