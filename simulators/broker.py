"""An MQTT broker on a loopback port: mosquitto if the machine has it, else one inside this process.

For demos and tests only. The embedded one speaks MQTT 3.1.1, keeps nothing and enforces no keepalive: it
must never carry real commands.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
ATTEMPTS = 3

MOSQUITTO_SETTINGS: Mapping[str, str] = {
    "allow_anonymous": "true",
    "persistence": "false",
    "persistent_client_expiration": "1h",
    "max_queued_messages": "0",
    "message_size_limit": "1048576",
    "set_tcp_nodelay": "true",
    "log_dest": "stderr",
    "log_type": "error",
}


class BrokerError(Exception):
    """No broker could be started; the message says what was tried."""


class BrokerKind(StrEnum):
    MOSQUITTO = "mosquitto"
    AMQTT = "amqtt"


class Broker(Protocol):
    """A running broker. `stop` and `start` simulate its outage: the port stays the same."""

    host: str
    port: int
    kind: BrokerKind

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def mosquitto_binary() -> str | None:
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    return shutil.which("mosquitto", path=places)


@asynccontextmanager
async def broker(
    port: int | None = None, *, settings: Mapping[str, str] | None = None, kind: BrokerKind | None = None
) -> AsyncIterator[Broker]:
    """A broker until the end of the block. `settings` are lines of mosquitto's configuration."""
    binary = mosquitto_binary()
    kind = kind or (BrokerKind.MOSQUITTO if binary else BrokerKind.AMQTT)
    with tempfile.TemporaryDirectory(prefix="wattshift-broker-") as folder:
        lines = {**MOSQUITTO_SETTINGS, **(settings or {})}

        def at(place: int) -> Broker:
            if kind is BrokerKind.AMQTT:
                return EmbeddedBroker(place)
            if binary is None:
                raise BrokerError("mosquitto is not installed")
            return MosquittoBroker(place, binary, Path(folder), lines)

        running = await _started(at, (port,) if port else tuple(_free_port() for _ in range(ATTEMPTS)))
        try:
            yield running
        finally:
            await running.stop()


async def _started(at: Callable[[int], Broker], ports: tuple[int, ...]) -> Broker:
    """A broker on the first of `ports` that nobody took in the meantime."""
    troubles = []
    for port in ports:
        running = at(port)
        try:
            await running.start()
        except BrokerError as error:
            troubles.append(str(error))
        else:
            return running
    raise BrokerError("; ".join(troubles))


class MosquittoBroker:
    def __init__(self, port: int, binary: str, folder: Path, settings: Mapping[str, str]) -> None:
        self.host = HOST
        self.port = port
        self.kind = BrokerKind.MOSQUITTO
        self._binary = binary
        self._log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {port} {HOST}", *(f"{key} {value}" for key, value in settings.items())]
        if os.geteuid() == 0:
            lines.append("user root")  # else it gives up the right to read its own folder
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        if await _listens(self.host, self.port):
            raise BrokerError(f"mosquitto cannot have port {self.port}: somebody answers there")
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *_dies_with_us(),
                *(self._binary, "-c", str(self._config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await _listens(self.host, self.port):
                    if self._process.returncode is not None:
                        raise BrokerError(f"mosquitto ended: {self._complaint()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self.stop()
            raise BrokerError(f"mosquitto does not listen on {self.port}: {self._complaint()}") from None

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _complaint(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-500:].strip()


class EmbeddedBroker:
    def __init__(self, port: int) -> None:
        self.host = HOST
        self.port = port
        self.kind = BrokerKind.AMQTT
        self._broker: Any = None

    async def start(self) -> None:
        try:
            from amqtt.broker import Broker as Amqtt  # of the extra `demo`: not needed where mosquitto is
            from amqtt.errors import BrokerError as AmqttError
        except ImportError as error:
            raise BrokerError(f"neither mosquitto nor amqtt is installed: {error}") from None
        config = {
            "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
        self._broker = Amqtt(config)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._broker.start()
        except (AmqttError, OSError, TimeoutError) as error:
            raise BrokerError(f"amqtt does not listen on {self.port}: {error!r}") from error

    async def stop(self) -> None:
        running, self._broker = self._broker, None
        if running is not None:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await running.shutdown()


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    await writer.wait_closed()
    return True


def _dies_with_us() -> tuple[str, ...]:
    """In front of a command on Linux: the child does not outlive a parent that was killed."""
    setpriv = shutil.which("setpriv")
    return () if setpriv is None else (setpriv, "--pdeathsig", "TERM")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    return int(port)
