"""The network in memory: what is sent arrives in order or not at all; a killed process says no more."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.sim.daemon.memory import MemoryLoop, Network

HOST, PORT = "10.0.0.1", 4028


def on_a_network(play: Callable[[Network], Coroutine[Any, Any, None]]) -> None:
    network = Network(random.Random(1))
    with asyncio.Runner(loop_factory=lambda: MemoryLoop(network)) as runner:
        runner.run(play(network))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


def test_bytes_arrive_in_order_and_take_time() -> None:
    async def play(network: Network) -> None:
        await asyncio.start_server(echo, HOST, PORT)
        began_s = asyncio.get_running_loop().time()
        reader, writer = await asyncio.open_connection(HOST, PORT)
        for number in range(100):
            writer.write(b"%d," % number)
        writer.write_eof()

        assert await reader.read() == b"".join(b"%d," % number for number in range(100))
        assert 0 < asyncio.get_running_loop().time() - began_s < 0.1
        writer.close()
        await writer.wait_closed()

    on_a_network(play)


def test_nobody_listens_is_refused_and_a_dark_host_is_silence() -> None:
    async def play(network: Network) -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, PORT)
        await asyncio.start_server(echo, HOST, PORT)
        network.over(HOST).dark = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.open_connection(HOST, PORT)

    on_a_network(play)


def test_a_killed_process_is_a_reset_for_the_others_and_can_say_no_more() -> None:
    heard: list[bytes | Exception] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.readexactly(3))
            await reader.read()
        except ConnectionResetError as error:
            heard.append(error)
        writer.close()

    async def play(network: Network) -> None:
        await asyncio.start_server(listen, HOST, PORT)
        _, writer = await asyncio.open_connection(HOST, PORT)
        writer.write(b"one")
        await asyncio.sleep(1)
        network.sever()
        writer.write(b"two")
        await asyncio.sleep(1)

        assert (heard[0], type(heard[1]), len(heard)) == (b"one", ConnectionResetError, 2)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, PORT)

    on_a_network(play)


def test_the_clock_stands_still_while_a_thread_of_somebodys_own_works() -> None:
    async def play(network: Network) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as threads:
            late = loop.call_later(0.001, lambda: None)
            began_s = loop.time()
            answer = await asyncio.wrap_future(threads.submit(lambda: sum(range(200_000))))

        assert answer == sum(range(200_000))
        assert loop.time() == began_s
        late.cancel()

    on_a_network(play)
