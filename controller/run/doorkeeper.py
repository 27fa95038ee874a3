"""Stands before the HTTP face: so many visitors at once, and none that takes for ever to say what it wants.

Whoever opens connections and says nothing costs the file descriptors that machines are talked to by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MOST_VISITORS = 128
FIRST_REQUEST_S = 5.0
"""From the connection to the end of the first request's head. Later ones have the server's own keep-alive."""
END_OF_HEAD = b"\r\n\r\n"


class Doorkeeper:
    """Makes a protocol for each connection, of those that `serve` makes; a protocol factory for a server."""

    def __init__(
        self,
        serve: Callable[[], asyncio.Protocol],
        *,
        most: int = MOST_VISITORS,
        patience_s: float = FIRST_REQUEST_S,
    ) -> None:
        self._serve = serve
        self._most = most
        self._patience_s = patience_s
        self._inside: set[_Visit] = set()

    def __call__(self) -> asyncio.Protocol:
        return _Visit(self._serve, self._inside, self._most, self._patience_s)


class _Visit(asyncio.Protocol):
    """One connection: all that happens to it is handed on, unless it is not let in."""

    def __init__(
        self, serve: Callable[[], asyncio.Protocol], inside: set[_Visit], most: int, patience_s: float
    ) -> None:
        self._serve = serve
        self._inside = inside
        self._most = most
        self._patience_s = patience_s
        self._server: asyncio.Protocol | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if len(self._inside) >= self._most:
            transport.abort()
            return
        self._inside.add(self)
        self._deadline = asyncio.get_running_loop().call_later(self._patience_s, transport.abort)
        self._server = self._serve()
        self._server.connection_made(transport)

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
            self._server.pause_writing()

    def resume_writing(self) -> None:
        if self._server is not None:
            self._server.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._inside.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
        if self._server is not None:
            self._server.connection_lost(error)
