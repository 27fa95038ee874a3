"""A small HTTP server that plays a miner's JSON API by a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.drivers.asic_fakes import HOST, PORTS

CHALLENGE = 'WWW-Authenticate: Digest realm="antMiner Configuration", nonce="n", qop="auth"\r\n'


@dataclass(frozen=True, slots=True)
class Request:
    """`line` is method and path, `body` what was posted."""

    line: str
    headers: dict[str, str]
    body: Any


Script = Callable[[Request], tuple[int, Any]]


class JsonServer:
    """Answers each request with the status and the value that `script` makes of it; keeps what it heard."""

    def __init__(self, script: Script, port: int = 80) -> None:
        self._script = script
        self._port = port
        self.heard: list[Request] = []

    @property
    def lines(self) -> list[str]:
        return [request.line for request in self.heard]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[JsonServer]:
        server = await asyncio.start_server(self._serve, HOST, PORTS[self._port])
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            self.heard.append(request)
            status, value = self._script(request)
            body = b"" if value is None else json.dumps(value).encode()
            challenge = CHALLENGE if status == 401 else ""
            writer.write(
                f"HTTP/1.1 {status} X\r\n{challenge}Content-Length: {len(body)}\r\n\r\n".encode() + body
            )
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *rest = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = first.split(" ")
    return Request(f"{method} {path}", headers, json.loads(body) if body else None)
