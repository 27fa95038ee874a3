"""Small servers that play a miner by a script, and the loop that leads a driver to them."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from controller.domain.devices import OperatingPoint
from controller.domain.power import Power
from drivers.asic.adapter import Plate
from simulators.ports import remap

Json = dict[str, Any]

HOST = "127.45.0.1"
HUNG_S = 10.0
"""Far above anything that these tests wait for: a test that comes here hangs."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


PORTS = {port: free_port() for port in (80, 443, 4028, 4433, 8080, 50_051)}


def remapped(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run the test on a loop that leads the miners' ports to those of the servers here."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        async def whole() -> None:
            async with asyncio.timeout(HUNG_S):
                await test(**arguments)

        with asyncio.Runner(loop_factory=remap(PORTS)) as runner:
            runner.run(whole())

    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]  # pytest reads it
    return run


def plate(**changes: Any) -> Plate:
    facts: Json = {
        "device": "hall-000",
        "host": HOST,
        "rated_w": 3000,
        "rated_ths": 100.0,
        "sleep_w": 25,
        "ceiling_w": 3150,
        "exchange_s": 0.5,
        "busy_wait_s": 0.01,
    }
    return Plate(**(facts | changes))


def point(name: str, power_w: int = 2000, rate: float = 0.0) -> OperatingPoint:
    return OperatingPoint(name=name, power=Power(power_w), rate=rate)


def ok(**body: Any) -> Json:
    return {"STATUS": [{"STATUS": "S", "When": 1, "Code": 1, "Msg": "ok"}], **body, "id": 1}


def no(code: int, message: str) -> Json:
    return {"STATUS": [{"STATUS": "E", "When": 1, "Code": code, "Msg": message}], "id": 1}


class RpcServer:
    """Answers each command with what `answer` makes of it; None leaves the client waiting."""

    def __init__(self, answer: Callable[[str, list[Any]], Json | None]) -> None:
        self._answer = answer
        self.heard: list[str] = []
        self.keeps_waiting = asyncio.Event()
        self.open = 0
        self.most_open = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[RpcServer]:
        server = await asyncio.start_server(self._serve, HOST, PORTS[4028])
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            request = json.loads(await reader.read(65_536))
            command = request.get("command", request.get("cmd", "encrypted"))
            parameters = str(request.get("parameter", "")).split(",")
            self.heard.append(" ".join([command, *parameters]).strip())
            if "+" in command:
                parts = {name: [self._answer(name, [])] for name in command.split("+")}
                answer: Json | None = {**parts, "id": 1}
            else:
                answer = self._answer(command, [request] if command == "encrypted" else parameters)
            if answer is None:
                self.keeps_waiting.set()
                await reader.read()
            else:
                await asyncio.sleep(0.01)
                writer.write(json.dumps(answer).encode())
        finally:
            self.open -= 1
            writer.close()


MAC = "02:00:00:00:00:03"


class WebServer:
    """A stock Antminer's pages, without a password. `conf` is what a read gives and a write replaces."""

    def __init__(self, **conf: Any) -> None:
        self.conf: Any = {
            "pools": [{"url": "stratum+tcp://pool.example:3333", "user": "hall.1", "pass": "x"}],
            "bitmain-work-mode": "0",
            "bitmain-freq-level": "100",
        } | conf
        self.status = 200
        self.reply: Json = {"stats": "success", "code": "M000", "msg": "OK!"}
        self.posted: list[Json] = []
        self.takes: Callable[[Json], Json] = lambda posted: posted
        self.answers_posts = asyncio.Event()
        self.answers_posts.set()
        self.answered = asyncio.Event()
        self.one_at_a_time = False
        self.hung_up = 0
        """Clients that left before they had the answer to what they wrote."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[WebServer]:
        server = await asyncio.start_server(self._serve, HOST, PORTS[80])
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        length = next(
            (line for line in head.lower().split("\r\n") if line.startswith("content-length")), ":0"
        )
        body = await reader.readexactly(int(length.partition(":")[2]))
        if self.one_at_a_time and not self.answers_posts.is_set() and self.posted:
            await self.answers_posts.wait()
        answer = json.dumps(self._page(method, path, body)).encode()
        if method == "POST":
            await self._in_no_hurry(reader)
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
        writer.close()

    async def _in_no_hurry(self, reader: asyncio.StreamReader) -> None:
        """Hold the answer to a write back until it may be given, or nobody is there for it any more."""
        left = asyncio.ensure_future(reader.read())
        may = asyncio.ensure_future(self.answers_posts.wait())
        await asyncio.wait((left, may), return_when=asyncio.FIRST_COMPLETED)
        self.hung_up += not may.done()
        left.cancel()
        may.cancel()
        self.answered.set()

    def _page(self, method: str, path: str, body: bytes) -> Any:
        match path.removeprefix("/cgi-bin/").removesuffix(".cgi"):
            case "get_system_info":
                return {"macaddr": MAC, "minertype": "Antminer S19 Pro"}
            case "get_miner_conf":
                return self.conf
            case "stats":
                return {"STATUS": {"STATUS": "S"}, "STATS": []}
            case "set_miner_conf" if method == "POST":
                self.posted.append(json.loads(body))
                self.conf = self.takes(self.posted[-1])
                return self.reply
        return None


@asynccontextmanager
async def bytes_server(*answers: bytes, close: bool = True) -> AsyncIterator[list[bytes]]:
    """Answers the first connection with the first of `answers`, and so on; collects what was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(65_536))
        try:
            writer.write(answers[min(len(asked), len(answers)) - 1])
            if not close:
                await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, PORTS[80])
    try:
        yield asked
    finally:
        server.close()
