"""What all miner sockets share: one listener per address and port, and the ways an answer can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from simulators.physics.miner import Miner

MAX_CONNECTIONS = 64
BACKLOG = 128
MAX_REQUEST_BYTES = 65_536
IDLE_S = 120.0
GARBAGE = b"\x00\x17\x03\x03{{STATUS=E,::garbage\xff\xfe"


class Connection(asyncio.Protocol):
    """One client of one miner. Subclasses cut requests out of `received` and call `send`."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.received = b""
        self.transport: asyncio.Transport | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._timers: list[asyncio.TimerHandle] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if len(self.listener.connections) >= MAX_CONNECTIONS:
            transport.abort()
            return
        self.listener.connections.add(self)
        self._expect_more()

    def data_received(self, data: bytes) -> None:
        self._expect_more()
        self.received += data
        if len(self.received) > MAX_REQUEST_BYTES:
            self.abort()
            return
        self.take()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (*self._timers, self._idle):
            if timer is not None:
                timer.cancel()
        self.listener.connections.discard(self)

    def take(self) -> None:
        """Answer what is complete in `received`."""
        raise NotImplementedError

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do it then, unless the connection is gone."""
        self._timers.append(asyncio.get_running_loop().call_later(delay_s, action))

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def send(self, answer: bytes, *, close: bool) -> None:
        """Send `answer` as a healthy miner does, or as this one's faults have it."""
        faults = self.listener.miner.faults
        if faults.hangs:
            return
        if faults.garbage:
            answer, close = GARBAGE, True
        elif faults.half_reply:
            answer, close = answer[: len(answer) // 2], True
        if faults.slow_s > 0:
            self.later(faults.slow_s, lambda: self._write(answer, close=close))
        else:
            self._write(answer, close=close)

    def _expect_more(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_S, self.abort)

    def _write(self, answer: bytes, *, close: bool) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        self.transport.write(answer)
        if close and not self.listener.miner.faults.never_closes:
            self.transport.close()


class Listener:
    """One port of one miner. Closed, connecting to it is refused, and its connections are dropped."""

    def __init__(self, miner: Miner, port: int, kind: Callable[[Listener], Connection]) -> None:
        self.miner = miner
        self.port = port
        self.connections: set[Connection] = set()
        self._kind = kind
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._kind(self), self.miner.address, self.port, backlog=BACKLOG
        )

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self.connections):
            connection.abort()
