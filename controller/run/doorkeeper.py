"""Stands before the HTTP face: so many visitors at once, and none that takes for ever to say what it wants,
or to read what it is answered.

Whoever opens connections and says nothing costs the file descriptors that machines are talked to by, and who
does not read keeps the answer in our memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MOST_VISITORS = 128
FIRST_REQUEST_S = 5.0
"""From the connection to the end of the first request's head. Later ones have the server's own keep-alive."""
ANSWER_S = 60.0
"""So long an answer may wait for its visitor to read: that of ten thousand machines is some megabytes."""
END_OF_HEAD = b"\r\n\r\n"


class Doorkeeper:
    """Makes a protocol for each connection, of those that `serve` makes; a protocol factory for a server."""

    def __init__(
        self,
        serve: Callable[[], asyncio.Protocol],
        *,
        most: int = MOST_VISITORS,
        patience_s: float = FIRST_REQUEST_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        self.serve = serve
        self.most = most
        self.patience_s = patience_s
        self.answer_s = answer_s
        self.inside: set[_Visit] = set()

    def __call__(self) -> asyncio.Protocol:
        return _Visit(self)


class _Visit(asyncio.Protocol):
    """One connection: all that happens to it is handed on, unless it is not let in."""

    def __init__(self, door: Doorkeeper) -> None:
        self._door = door
        self._server: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._reads_by: asyncio.TimerHandle | None = None
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if len(self._door.inside) >= self._door.most:
            transport.abort()
            return
        self._door.inside.add(self)
        self._transport = transport
        self._deadline = self._hung_up_after(self._door.patience_s)
        self._server = self._door.serve()
        self._server.connection_made(transport)

    def _hung_up_after(self, seconds: float) -> asyncio.TimerHandle:
        assert self._transport is not None
        return asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._server is None:
            return
        if self._deadline is not None:
            self._head = self._head[-len(END_OF_HEAD) + 1 :] + data
            if END_OF_HEAD in self._head:
                self._deadline.cancel()
                self._deadline, self._head = None, b""
        self._server.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._server is None else self._server.eof_received()

    def pause_writing(self) -> None:
        if self._server is not None:
            self._reads_by = self._hung_up_after(self._door.answer_s)
            self._server.pause_writing()

    def resume_writing(self) -> None:
        if self._reads_by is not None:
            self._reads_by.cancel()
        if self._server is not None:
            self._server.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._door.inside.discard(self)
        for deadline in (self._deadline, self._reads_by):
            if deadline is not None:
                deadline.cancel()
        if self._server is not None:
            self._server.connection_lost(error)
