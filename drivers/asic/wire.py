"""One exchange with a miner over TCP. It ends by its deadline and never leaves a socket behind.

Thousands of machines are polled by one process, so this is asyncio without its transports and streams, which
cost as much again as the system calls: a socket that does not block, and the loop told when it can be read.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Any, TypeVar

MAX_REPLY_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16
HEADER_BYTES = 4

CLOSE_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: ten thousand machines polled every few seconds would leave more sockets in TIME_WAIT than the
kernel keeps. What was asked has been answered by then, or is given up."""

Value = TypeVar("Value")
Whole = Callable[[bytearray, bool], Value | None]
"""What a reply is worth, or None while there must be more of it; the bool says that the miner has closed."""


class NoAnswerError(EOFError):
    """The miner closed before a single byte came."""


class Line:
    """A connection to one miner: opened by the first question, and anew where the miner closed it after one.

    Whoever makes one closes it.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    async def ask(self, request: bytes, *, deadline_s: float, whole: Whole[Value]) -> Value:
        """What `whole` makes of the answer. Only for questions: one that met a closed line is asked again."""
        async with asyncio.timeout(deadline_s):
            if self._socket is not None:
                try:
                    return await self._once(self._socket, request, whole)
                except (ConnectionError, NoAnswerError):
                    self.close()
            return await self._once(await self._open(), request, whole)

    @property
    def waits(self) -> bool:
        """Whether it is open and nothing came since it was asked: no answer, and no end of the connection."""
        if self._socket is None:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_AT_ONCE)
            await asyncio.get_running_loop().sock_connect(opened, self._address)
        except BaseException:
            opened.close()
            raise
        self._socket = opened
        return opened

    async def _once(self, connected: socket.socket, request: bytes, whole: Whole[Value]) -> Value:
        loop = asyncio.get_running_loop()
        sent = connected.send(request)
        if sent < len(request):
            await loop.sock_sendall(connected, request[sent:])
        reply = bytearray()
        while True:
            await _readable(loop, connected)
            try:
                chunk = connected.recv(CHUNK_BYTES)
            except BlockingIOError:
                continue
            reply += chunk
            if len(reply) > MAX_REPLY_BYTES:
                raise ValueError(f"reply of more than {MAX_REPLY_BYTES} bytes")
            if not (reply or chunk):
                raise NoAnswerError("closed without an answer")
            value = whole(reply, not chunk)
            if value is not None:
                return value
            if not chunk:
                raise EOFError(f"closed after {len(reply)} bytes, before the end of an answer")


async def _readable(loop: asyncio.AbstractEventLoop, connected: socket.socket) -> None:
    ready = loop.create_future()
    number = connected.fileno()  # asyncio makes a text of a socket object, each time
    loop.add_reader(number, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(number)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def ask(host: str, port: int, request: bytes, *, deadline_s: float, whole: Whole[Value]) -> Value:
    """One question on a connection of its own."""
    line = Line(host, port)
    try:
        return await line.ask(request, deadline_s=deadline_s, whole=whole)
    finally:
        line.close()


async def exchange(
    host: str,
    port: int,
    request: bytes,
    *,
    deadline_s: float,
    is_whole: Callable[[bytearray], bool] | None = None,
) -> bytes:
    """The bytes that came back until the miner closed or `is_whole` said that this is all."""
    test = is_whole or is_whole_json

    def whole(reply: bytearray, closed: bool) -> bytes | None:
        return bytes(reply) if closed or test(reply) else None

    return await ask(host, port, request, deadline_s=deadline_s, whole=whole)


# -- JSON, ended by the end of the connection, by a NUL, or by nothing -----------------------------------


def is_whole_json(reply: bytearray) -> bool:
    """Some firmware ends its reply with a NUL, some with nothing, and leaves the connection open."""
    if reply.endswith(b"\0"):
        return True
    if not reply.endswith(b"}"):
        return False
    try:
        json.loads(reply)
    except ValueError:
        return False
    return True


def parsed_json(reply: bytearray, closed: bool) -> Any:
    """The value as soon as it can be read: parsed once, and without waiting for the miner to close."""
    if not (closed or reply.endswith((b"}", b"\0"))):
        return None
    try:
        return json.loads(reply.decode().rstrip("\0\r\n "))
    except ValueError:
        if closed or reply.endswith(b"\0"):
            return mended_json(reply)
    return None


MENDING = (
    ("}{", "},{"),  # bmminer's stats
    ("[,{", "[{"),
    (",}", "}"),  # btminer
    (",]", "]"),
    ('""temp0', '","temp0'),  # btminer of 2023-01
)
"""What firmware of several makes leaves out of its JSON, or puts into it."""


def mended_json(reply: bytes | bytearray) -> Any:
    """JSON as some firmware writes it. Half a reply is not mended: it stays an error."""
    text = reply.decode(errors="replace").rstrip("\0\r\n ")
    for wrong, right in MENDING:
        text = text.replace(wrong, right)
    if text.startswith(","):
        text = "{" + text[1:]
    return json.loads(text, strict=False)  # with line ends and tabs inside its texts


# -- frames: a length, and so many bytes -----------------------------------------------------------------


def framed(message: bytes) -> bytes:
    """`message` behind its length, as Whatsminer firmware of API v3 wants it and answers."""
    return len(message).to_bytes(HEADER_BYTES, "little") + message


def is_whole_frame(reply: bytearray) -> bool:
    return len(reply) >= HEADER_BYTES and len(reply) >= HEADER_BYTES + _length(reply)


def parsed_frame(reply: bytearray, closed: bool) -> Any:
    return json.loads(unframed(reply)) if closed or is_whole_frame(reply) else None


def unframed(reply: bytes | bytearray) -> bytes:
    message = bytes(reply[HEADER_BYTES:])
    if len(reply) < HEADER_BYTES or len(message) != _length(reply):
        raise ValueError(f"no whole frame in {len(reply)} bytes")
    return message


def _length(reply: bytes | bytearray) -> int:
    return int.from_bytes(reply[:HEADER_BYTES], "little")
