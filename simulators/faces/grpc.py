"""gRPC without TLS, as a miner serves it: one listener per address and port, and the ways it can go wrong.

The HTTP/2 below is grpclib's own, correct to the byte; only what leaves the machine is tampered with.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from grpclib.const import Handler
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from simulators.faces.connection import BACKLOG, GARBAGE, MAX_CONNECTIONS
from simulators.physics.miner import Miner


class GrpcApi(Protocol):
    """The firmware behind the port: a handler for the path of every method that it has."""

    def __mapping__(self) -> dict[str, Handler]: ...


class GrpcListener:
    """One gRPC port of one miner. Closed, connecting to it is refused, and its connections are dropped."""

    def __init__(self, miner: Miner, port: int, api: GrpcApi) -> None:
        self.miner = miner
        self.port = port
        self.connections: set[FaultyTransport] = set()
        self._api = api
        self._server: Server | None = None

    async def open(self) -> None:
        self._server = _FaultyServer(self, self._api)
        await self._server.start(self.miner.address, self.port, backlog=BACKLOG)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self.connections):
            connection.abort()


class _FaultyServer(Server):
    def __init__(self, listener: GrpcListener, api: GrpcApi) -> None:
        super().__init__([api])
        self._listener = listener

    def _protocol_factory(self) -> Any:
        return _FaultyConnection(self._listener, super()._protocol_factory())


class _FaultyConnection(asyncio.Protocol):
    """Hands everything on to `http`, which writes through a transport with this miner's faults."""

    def __init__(self, listener: GrpcListener, http: H2Protocol) -> None:
        self._listener = listener
        self._http = http
        self._faulty: FaultyTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._faulty = FaultyTransport(transport, self._listener.miner)
        self._http.connection_made(self._faulty)
        if len(self._listener.connections) >= MAX_CONNECTIONS:
            transport.abort()
        else:
            self._listener.connections.add(self._faulty)

    def data_received(self, data: bytes) -> None:
        self._http.data_received(data)

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._faulty is not None:
            self._faulty.forget()
            self._listener.connections.discard(self._faulty)
        self._http.connection_lost(exc)


class FaultyTransport(asyncio.Transport):
    """As much of a transport as grpclib's HTTP/2 uses."""

    def __init__(self, transport: asyncio.Transport, miner: Miner) -> None:
        super().__init__()
        self._transport = transport
        self._miner = miner
        self._last_due_s = 0.0
        self._timers: list[asyncio.TimerHandle] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        faults = self._miner.faults
        if faults.hangs:
            return
        if faults.garbage:
            self._spoil(GARBAGE)
        elif faults.half_reply:
            self._spoil(bytes(data[: len(data) // 2]))
        elif faults.slow_s > 0:
            self._write_later(bytes(data), faults.slow_s)
        else:
            self._transport.write(data)

    def _spoil(self, last_words: bytes) -> None:
        self._transport.write(last_words)
        self._transport.close()

    def _write_later(self, data: bytes, delay_s: float) -> None:
        """Late, but in order."""
        loop = asyncio.get_running_loop()
        self._last_due_s = max(loop.time() + delay_s, self._last_due_s + 1e-6)
        self._timers = [timer for timer in self._timers if timer.when() > loop.time()]
        self._timers.append(loop.call_at(self._last_due_s, self._transport.write, data))

    def forget(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def abort(self) -> None:
        self.forget()
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)
