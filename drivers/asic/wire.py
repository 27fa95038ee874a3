"""One exchange with a miner over TCP. It ends by its deadline and never leaves a socket behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

MAX_REPLY_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16
HEADER_BYTES = 4


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


def framed(message: bytes) -> bytes:
    """`message` behind its length, as Whatsminer firmware of API v3 wants it and answers."""
    return len(message).to_bytes(HEADER_BYTES, "little") + message


def is_whole_frame(reply: bytearray) -> bool:
    return len(reply) >= HEADER_BYTES and len(reply) >= HEADER_BYTES + _length(reply)


def unframed(reply: bytes) -> bytes:
    message = reply[HEADER_BYTES:]
    if len(reply) < HEADER_BYTES or len(message) != _length(reply):
        raise ValueError(f"no whole frame in {len(reply)} bytes")
    return message


def _length(reply: bytes | bytearray) -> int:
    return int.from_bytes(reply[:HEADER_BYTES], "little")


async def exchange(
    host: str,
    port: int,
    request: bytes,
    *,
    deadline_s: float,
    is_whole: Callable[[bytearray], bool] = is_whole_json,
) -> bytes:
    """Send `request`; return what came back until the miner closed or `is_whole` said that this is all."""
    async with asyncio.timeout(deadline_s):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(request)
            reply = bytearray()
            while chunk := await reader.read(CHUNK_BYTES):
                reply += chunk
                if len(reply) > MAX_REPLY_BYTES:
                    raise ValueError(f"reply of more than {MAX_REPLY_BYTES} bytes")
                if is_whole(reply):
                    break
            return bytes(reply)
        finally:
            writer.transport.abort()
