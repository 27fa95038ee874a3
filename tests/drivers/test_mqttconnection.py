"""One connection to a broker, whatever ends it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import aiomqtt
import pytest

from drivers.mqttconnection import subscribed

HOST = "127.0.0.1"
PATIENCE_S = 20.0

pytestmark = pytest.mark.socket


async def test_a_connection_that_was_lost_while_nobody_listened_is_left_without_a_word() -> None:
    """asyncio complains, when it comes to collect it, of what went wrong and nobody asked for."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x02\x00\x00")  # CONNACK
        packet_id = (await reader.read(1000))[2:4]
        writer.write(b"\x90\x03" + packet_id + b"\x00")  # SUBACK
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hangs_up, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        client = aiomqtt.Client(HOST, port, timeout=PATIENCE_S)
        async with subscribed(client, [("meter", 0)]), asyncio.timeout(PATIENCE_S):
            while not client._disconnected.done():  # noqa: ASYNC110 the library tells nobody
                await asyncio.sleep(0.01)
    del client
    gc.collect()
    await asyncio.sleep(0)

    assert [str(one["message"]) for one in complaints] == []
