"""Everything the demo needs running, each in its own process on loopback, and each stopped by its own pid."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from simulators.broker import broker
from simulators.nvml.build import library

READY_S = 60.0
STOP_S = 10.0


class StageError(Exception):
    """Something that the demo needs did not start; the message says what, and where its log is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where everything answers. `broker` names the program that carries the messages."""

    directory: Path
    site_file: Path
    control_url: str
    api_url: str
    mqtt_host: str
    mqtt_port: int
    broker: str
    environment: Mapping[str, str]

    async def wattshift(self, *arguments: str) -> str:
        """Run one `wattshift` command to its end; its output."""
        process = await asyncio.create_subprocess_exec(
            *_python("controller", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self.environment),
        )
        async with asyncio.timeout(READY_S):
            output, errors = await process.communicate()
        if process.returncode:
            raise StageError(f"wattshift {' '.join(arguments)}: {errors.decode().strip()}")
        return output.decode().strip()


@asynccontextmanager
async def staged(directory: Path) -> AsyncIterator[Stage]:
    """A simulated site, a broker and a controller, all answering inside this context."""
    (directory / "queue").mkdir(parents=True, exist_ok=True)
    state = directory / "nvml.state"
    environment = {**os.environ, "WATTSHIFT_NVML_STATE": str(state)}
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(broker())
        ports = {name: str(_free_port()) for name in ("modbus_port", "http_port", "api_port")}
        plant_file, site_file = (
            _render(name, directory, ports | {"mqtt_host": bus.host, "mqtt_port": str(bus.port)})
            for name in ("plant.toml", "site.toml")
        )
        plant = await stack.enter_async_context(
            _process(
                _python("simulators.serve", str(plant_file), "--nvml-state", str(state)),
                environment,
                directory / "plant.log",
            )
        )
        control_url = await _control_url(plant, directory / "plant.log")
        await stack.enter_async_context(
            _process(
                _python("controller", "run", "--config", str(site_file)),
                environment,
                directory / "controller.log",
            )
        )
        yield Stage(
            directory=directory,
            site_file=site_file,
            control_url=control_url,
            api_url=f"http://127.0.0.1:{ports['api_port']}",
            mqtt_host=bus.host,
            mqtt_port=bus.port,
            broker=bus.kind,
            environment=environment,
        )


@asynccontextmanager
async def _process(
    command: list[str], environment: Mapping[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=sink, env=dict(environment)
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    async with asyncio.timeout(STOP_S):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _control_url(plant: asyncio.subprocess.Process, log: Path) -> str:
    assert plant.stdout is not None
    try:
        async with asyncio.timeout(READY_S):
            line = await plant.stdout.readline()
        return str(json.loads(line)["control"])
    except (TimeoutError, ValueError, KeyError) as error:
        raise StageError(f"the simulated site did not start: {log}\n{log.read_text()[-2000:]}") from error


def _render(name: str, directory: Path, values: Mapping[str, str]) -> Path:
    text = resources.files("simulators.demo").joinpath(name).read_text(encoding="utf-8")
    path = directory / name
    filled = Template(text).substitute(values, directory=str(directory), nvml_library=str(library()))
    path.write_text(filled, encoding="utf-8")
    return path


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
