"""Everything the demo needs running, each in its own process on loopback, and each stopped by its own pid."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from simulators.broker import broker
from simulators.nvml.build import library

READY_S = 300.0
"""A machine with more to do takes its time. Whatever ends before it is ready is told at once."""
LOOK_EVERY_S = 0.25
DAY_AHEAD = (45, 45, 45, 45)
"""USD per MWh."""
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
    ready_s: float = READY_S

    async def wattshift(self, *arguments: str) -> str:
        """Run one `wattshift` command to its end; its output."""
        said = f"wattshift {' '.join(arguments)}"
        process = await asyncio.create_subprocess_exec(
            *_python("controller", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self.environment),
        )
        try:
            async with asyncio.timeout(self.ready_s):
                output, errors = await process.communicate()
        except TimeoutError:
            raise StageError(f"{said}: not done within {self.ready_s:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise StageError(f"{said}: {errors.decode().strip()}")
        return output.decode().strip()

    async def until_ready(
        self, controller: asyncio.subprocess.Process, is_ready: Callable[[], object]
    ) -> None:
        """Wait for the controller; raises `StageError` where it ends or takes longer than `ready_s`."""
        log = self.directory / "controller.log"
        try:
            async with asyncio.timeout(self.ready_s):
                while not is_ready():
                    if controller.returncode is not None:
                        raise StageError(f"the controller ended with {controller.returncode}: see {log}")
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise StageError(f"the controller was not ready within {self.ready_s:.0f} s: see {log}") from None

    @asynccontextmanager
    async def controller(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """The daemon on this stage's site file, from here to the end of the block."""
        command = _python("controller", "run", "--config", str(self.site_file))
        async with _process(command, self.environment, self.directory / "controller.log") as process:
            yield process


@asynccontextmanager
async def staged(directory: Path, templates: Traversable | None = None) -> AsyncIterator[Stage]:
    """A simulated site and a broker, both answering inside this context.

    `templates` holds plant.toml and site.toml with $-names for what is only known now; the demo's own by
    default.
    """
    (directory / "queue").mkdir(parents=True, exist_ok=True)
    _write_prices(directory / "prices.csv")
    state = directory / "nvml.state"
    environment = {**os.environ, "WATTSHIFT_NVML_STATE": str(state)}
    async with broker() as bus:
        values = {name: str(_free_port()) for name in ("modbus_port", "http_port", "api_port")}
        values |= {"mqtt_host": bus.host, "mqtt_port": str(bus.port)}
        values |= {"directory": str(directory), "nvml_library": str(library())}
        folder = templates if templates is not None else resources.files("simulators.demo")
        plant_file, site_file = (
            _render(folder.joinpath(name), directory / name, values) for name in ("plant.toml", "site.toml")
        )
        serve = _python("simulators.serve", str(plant_file), "--nvml-state", str(state))
        async with _process(serve, environment, directory / "plant.log") as plant:
            yield Stage(
                directory=directory,
                site_file=site_file,
                control_url=await _control_url(plant, directory / "plant.log"),
                api_url=f"http://127.0.0.1:{values['api_port']}",
                mqtt_host=bus.host,
                mqtt_port=bus.port,
                broker=bus.kind,
                environment=environment,
            )


def _write_prices(path: Path) -> None:
    """What a market would have published: energy by the hour, from an hour ago on."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    times = (hour + timedelta(hours=ahead) for ahead in range(len(DAY_AHEAD)))
    rows = (f"{time:%Y-%m-%dT%H:%M:%SZ},{usd}" for time, usd in zip(times, DAY_AHEAD, strict=True))
    path.write_text("\n".join(("time,value", *rows)) + "\n", encoding="utf-8")


@asynccontextmanager
async def _process(
    command: list[str], environment: Mapping[str, str], log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("ab") as sink:
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
        raise StageError(f"the simulated site did not start: see {log}") from error


def _render(template: Traversable, path: Path, values: Mapping[str, str]) -> Path:
    path.write_text(Template(template.read_text(encoding="utf-8")).substitute(values), encoding="utf-8")
    return path


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
