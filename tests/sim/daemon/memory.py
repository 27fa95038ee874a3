"""A virtual event loop whose network is in memory: bytes arrive when the network says, in an order that a
seed fixes, and nothing of it depends on the kernel, on threads or on how fast this machine is.

Whatever ends in `loop.create_connection` and `loop.create_server` works here: streams, pymodbus, aiohttp's
server, httpx through anyio; and what ends in `loop.sock_connect`. Work for threads is done at once, on
the spot.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.virtualtime import VirtualLoop, VirtualTimeError

T = TypeVar("T")
Address = tuple[str, int]

LATENCY_S = (0.0003, 0.004)
"""A switched network of one site, and a miner's little processor."""
FIRST_FREE_PORT = 40_000
THREAD_S = 10.0
WRITE_LIMIT_BYTES = 65_536


@dataclass(slots=True)
class Weather:
    """What the network does to one host: `dark` swallows everything, `slow_s` is added to every delivery."""

    dark: bool = False
    slow_s: float = 0.0


@dataclass
class Network:
    """Who listens where, and how bytes travel. `severed` is the state of a host whose process was killed:
    its connections are gone for the others at once, and it can make no new ones."""

    random: random.Random
    servers: dict[Address, MemoryServer] = field(default_factory=dict)
    weather: dict[str, Weather] = field(default_factory=dict)
    clients: set[MemoryTransport] = field(default_factory=set)
    severed: bool = False
    connections: int = 0
    refused: int = 0

    def over(self, host: str) -> Weather:
        return self.weather.setdefault(host, Weather())

    def latency_s(self, host: str) -> float:
        return self.random.uniform(*LATENCY_S) + self.over(host).slow_s

    def sever(self) -> None:
        self.severed = True
        for client in sorted(self.clients, key=lambda one: one.number):
            client.die()

    def free_port(self, host: str) -> int:
        port = FIRST_FREE_PORT
        while (host, port) in self.servers:
            port += 1
        return port


class MemoryLoop(VirtualLoop):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self._bridges: set[_Bridge] = set()

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        network, address = self.network, (str(host), int(port))
        if network.severed:
            raise ConnectionRefusedError(f"{address}: this process is dead")
        network.connections += 1
        await asyncio.sleep(network.latency_s(address[0]))
        if network.over(address[0]).dark:
            await asyncio.Event().wait()  # the SYN is lost, and so is every other
        server = network.servers.get(address)
        if server is None:
            network.refused += 1
            raise ConnectionRefusedError(111, f"Connect call failed {address}")
        near, far = protocol_factory(), server.factory()
        client = MemoryTransport(self, network, address, near, number=network.connections)
        served = MemoryTransport(self, network, address, far, number=network.connections)
        client.peer, served.peer = served, client
        network.clients.add(client)
        served.start()
        client.start()
        return client, near

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """For who speaks over a bare socket: one end of a pair takes its place, the other leads in here."""
        bridge = _Bridge(self)
        self._bridges.add(bridge)
        await self.create_connection(lambda: bridge, *address)
        bridge.take_the_place_of(sock)

    def forget(self, bridge: _Bridge) -> None:
        self._bridges.discard(bridge)

    def close(self) -> None:
        for bridge in tuple(self._bridges):
            bridge.close()
        super().close()

    async def create_server(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **_: Any
    ) -> MemoryServer:
        name = str(host)
        address = name, int(port) or self.network.free_port(name)
        if address in self.network.servers:
            raise OSError(98, f"address already in use: {address}")
        self.network.servers[address] = server = MemoryServer(self, protocol_factory, address)
        return server

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """At once and here: SQLite and the like take no virtual time, and no turn of their own."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:  # noqa: BLE001 it belongs to whoever awaits the future
            future.set_exception(error)
        return future

    def create_future(self) -> asyncio.Future[Any]:
        return _ThreadAware(loop=self)

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """The test is told to stop, not the daemon inside it."""
        signal.Signals(sig)

    def remove_signal_handler(self, sig: int) -> bool:
        return True


class _ThreadAware(asyncio.Future[Any]):
    """Waits on the spot for a thread of somebody's own (NVML): when `asyncio.wrap_future` ties such a future
    to one of a thread, that thread finishes first, and the clock never runs ahead of it."""

    def add_done_callback(self, fn: Any, /, *, context: Any = None) -> None:
        for cell in getattr(fn, "__closure__", None) or ():
            if isinstance(cell.cell_contents, Future):
                _, late = wait([cell.cell_contents], timeout=THREAD_S)
                if late:
                    raise VirtualTimeError(f"a thread did not answer within {THREAD_S:.0f} s")
        super().add_done_callback(fn, context=context)


class _Bridge(asyncio.Protocol):
    """Carries bytes between a bare socket and a transport in memory. Both ends of a pair of Unix sockets are
    in this process: what one sends the other has at once, so time and order stay those of the network.
    """

    def __init__(self, loop: MemoryLoop) -> None:
        self._loop = loop
        self._near, self._far = socket.socketpair()
        self._far.setblocking(False)
        self._transport: Any = None

    def take_the_place_of(self, sock: socket.socket) -> None:
        os.dup2(self._near.fileno(), sock.fileno())
        self._near.close()
        if self._far.fileno() >= 0:
            self._loop.add_reader(self._far.fileno(), self._readable)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever asked has gone
            self._far.sendall(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._hang_up()

    def _readable(self) -> None:
        try:
            data = self._far.recv(WRITE_LIMIT_BYTES)
        except ConnectionResetError:
            data = b""
        if data:
            self._transport.write(data)
        else:
            self._hang_up()
            self._transport.close()

    def close(self) -> None:
        self._near.close()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._far.fileno() >= 0:
            self._loop.remove_reader(self._far.fileno())
            self._far.close()
        self._loop.forget(self)


class MemoryServer(asyncio.Server):
    """Only what its owners ask of a server: its address, and to close."""

    def __init__(self, loop: MemoryLoop, factory: Callable[[], Any], address: Address) -> None:
        super().__init__(loop, [], factory, None, 100, None)
        self.factory = factory
        self._network = loop.network
        self._address = address

    @property
    def sockets(self) -> Any:
        return (Ends(self._address, self._address),)

    def is_serving(self) -> bool:
        return self._network.servers.get(self._address) is self

    def close(self) -> None:
        if self.is_serving():
            del self._network.servers[self._address]

    async def start_serving(self) -> None:
        return None

    async def serve_forever(self) -> None:
        await asyncio.Event().wait()

    async def wait_closed(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Ends:
    """As much of a socket as anybody looks at."""

    peer: Address
    own: Address
    family = socket.AF_INET

    def getpeername(self) -> Address:
        return self.peer

    def getsockname(self) -> Address:
        return self.own

    def fileno(self) -> int:
        return -1


@dataclass(frozen=True, slots=True)
class _End:
    """The other end will send no more; `error` where it broke off."""

    error: Exception | None = None


class MemoryTransport(asyncio.Transport):
    """One end of a connection. What is written arrives at `peer` in order, after the network's latency."""

    def __init__(
        self, loop: MemoryLoop, network: Network, address: Address, protocol: Any, *, number: int
    ) -> None:
        ends = Ends(address, ("127.0.0.1", FIRST_FREE_PORT + number))
        super().__init__({"peername": ends.peer, "sockname": ends.own, "socket": ends})
        self.number = number
        self.peer: MemoryTransport = self
        self._loop = loop
        self._network = network
        self._host = address[0]
        self._protocol = protocol
        self._under_way: deque[bytes | _End] = deque()
        self._inbox: deque[bytes | _End] = deque()
        self._arrived_s = 0.0
        self._reading = True
        self._closing = False
        self._lost = False

    def start(self) -> None:
        self._protocol.connection_made(self)

    def write(self, data: Any) -> None:
        if not self._closing and data:
            self._send(bytes(data))

    def write_eof(self) -> None:
        self._send(_End())

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._closing:
            self._send(_End())
            self._end(None)

    def abort(self) -> None:
        if not self._lost:
            self._send(_End(ConnectionResetError(104, "Connection reset by peer")))
            self._end(None)

    def die(self) -> None:
        """As when the process behind this end is killed: the other end hears it, this one sends no more."""
        self._send(_End(ConnectionResetError(104, "Connection reset by peer")))
        self._closing = True
        self._end(ConnectionResetError(104, "the process was killed"))

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self._deliver)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 0, WRITE_LIMIT_BYTES

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return None

    def _send(self, what: bytes | _End) -> None:
        """Never overtakes what was sent before. To and from a dark host nothing arrives."""
        if self._network.over(self._host).dark:
            return
        at_s = self._loop.time() + self._network.latency_s(self._host)
        self.peer._arrived_s = at_s = max(at_s, self.peer._arrived_s)
        self.peer._under_way.append(what)
        self._loop.call_at(at_s, self.peer._arrive)

    def _arrive(self) -> None:
        """The oldest on its way: timers of one moment fire in any order."""
        self._inbox.append(self._under_way.popleft())
        self._deliver()

    def _deliver(self) -> None:
        while self._inbox and self._reading and not self._lost:
            what = self._inbox.popleft()
            if isinstance(what, bytes):
                self._protocol.data_received(what)
            elif what.error is not None:
                self._end(what.error)
            elif not self._protocol.eof_received():
                self.close()

    def _end(self, error: Exception | None) -> None:
        self._closing = True
        if not self._lost:
            self._lost = True
            self._network.clients.discard(self)
            self._loop.call_soon(self._protocol.connection_lost, error)
