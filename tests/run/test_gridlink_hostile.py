"""The grid link where the way to the operator breaks, at every step of it, and where it is shared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from controller.domain.grid import Link
from controller.domain.power import Power
from controller.run.operators.gridconfig import GridConfig
from controller.run.operators.gridlink import GridLink
from simulators.broker import HOST, Broker, broker, mosquitto_binary
from simulators.gridoperator import GridOperator
from tests.run.disks import Disk

VEN = "site-tx1"
STEPS = 14
"""CONNECT, CONNACK, SUBSCRIBE, SUBACK, birth, PUBACK, retained snapshot, ... : one or two reads each."""

pytestmark = [
    pytest.mark.socket,
    pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed"),
]


def make(host: str, port: int, disk: Disk, **settings: Any) -> GridLink:
    config = GridConfig(
        **{"host": host, "port": port, "ven": VEN, "client_id": "ctl", "reconnect_max_s": 0.1} | settings
    )
    return GridLink(config, disk, nameplate=Power.kw(1000), utc=time.time, wake=lambda: None)


@asynccontextmanager
async def running(link: GridLink) -> AsyncIterator[GridLink]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(link.run())
        try:
            yield link
        finally:
            task.cancel()


async def until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - looked at from outside, nothing signals it
            await asyncio.sleep(0.01)


class Cutter:
    """A line to the broker whose first connection is cut after `pieces` reads; later ones hold."""

    def __init__(self, port: int, pieces: int) -> None:
        self._port = port
        self._pieces = pieces
        self._connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = 10**9 if self._connections else self._pieces
        self._connections += 1
        far_reader, far_writer = await asyncio.open_connection(HOST, self._port)
        done = asyncio.Event()

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            nonlocal left
            with suppress(OSError):
                while left > 0 and (piece := await source.read(65_536)):
                    left -= 1
                    sink.write(piece)
                    await sink.drain()
            done.set()

        ways = [
            asyncio.create_task(carry(reader, far_writer)),
            asyncio.create_task(carry(far_reader, writer)),
        ]
        try:
            if left:
                await done.wait()
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, far_writer):
                end.transport.abort()


@pytest.fixture
async def bus() -> AsyncIterator[Broker]:
    async with broker() as running_broker:
        yield running_broker


@pytest.mark.slow
async def test_a_line_cut_at_any_step_of_the_handshake_is_taken_up_again(bus: Broker) -> None:
    """All steps side by side: a connection that is cut before its CONNACK is given up after 5 s."""

    async def one(pieces: int) -> None:
        ven = f"site-{pieces}"
        server = await asyncio.start_server(Cutter(bus.port, pieces).serve, HOST, 0)
        async with server, GridOperator(bus.host, bus.port, ven, heartbeat_s=0.3) as operator:
            event = await operator.limit(100, duration_s=600)
            place = (HOST, server.sockets[0].getsockname()[1])
            async with running(make(*place, Disk(), ven=ven, client_id=ven)) as link:
                await until(lambda: link.state is Link.UP)
                await operator.acked(event, "RECEIVED", timeout_s=20)

                assert [found.id for found in link.events] == [event]
        answers = {(ack.id, repr(ack.body)) for ack in operator.acks}
        assert len(answers) == len({ack.id for ack in operator.acks})  # sent again, perhaps; never otherwise

    async with asyncio.TaskGroup() as group:
        for pieces in range(STEPS):
            group.create_task(one(pieces))


async def test_two_controllers_with_one_client_id_do_no_harm_and_one_alone_recovers(bus: Broker) -> None:
    async with GridOperator(bus.host, bus.port, VEN, heartbeat_s=0.1) as operator:
        first, second = make(bus.host, bus.port, Disk()), make(bus.host, bus.port, Disk())
        async with running(first):
            async with running(second):
                event = await operator.limit(100, duration_s=600)
                await asyncio.sleep(1.0)
                fights = first.stats.connects + second.stats.connects
            await until(lambda: first.state is Link.UP and [e.id for e in first.events] == [event])

    assert fights < 60  # they throw each other out at the pace of the reconnects, no faster


async def test_a_flood_does_not_keep_the_newest_command_out(bus: Broker) -> None:
    link = make(bus.host, bus.port, Disk())
    async with GridOperator(bus.host, bus.port, VEN, heartbeat_s=0.1) as operator, running(link):
        await until(lambda: link.stats.connected)
        rubbish = b'{"objectType":"EVENT"}'
        await asyncio.gather(
            *(operator.send(f"events/vens/{VEN}/create", rubbish, qos=0) for _ in range(600))
        )
        event = await operator.limit(100, duration_s=600)
        await operator.acked(event, "RECEIVED")

        assert [found.id for found in link.events] == [event]
