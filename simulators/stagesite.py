"""What a controller needs beside a simulated site made from its site file: a broker, NVML, its own file."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import tomli_w
from pydantic import ValidationError

from simulators.broker import broker
from simulators.config import PlantConfig, PlantFileError
from simulators.fromsite import simulated
from simulators.nvml.build import SONAME, library
from simulators.nvml.layout import STATE_BESIDE
from simulators.readysite import Broker
from simulators.sitefile import load_site


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedSite:
    """`nvml_state` is None on a site without GPUs."""

    plant: PlantConfig
    site_file: Path
    nvml_state: Path | None


@asynccontextmanager
async def staged_site(file: Path, folder: Path, first_address: IPv4Address) -> AsyncIterator[StagedSite]:
    """Read a site file, start the broker that it wants, and put into `folder` what the controller needs."""
    site, table = load_site(file)
    folder = _made(folder)
    own_library = _copied(folder) if site.gpu_hosts else None
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(broker()) if site.wants_broker else None
        try:
            made = simulated(
                site,
                table,
                first_address=first_address,
                directory=folder,
                broker=None if bus is None else Broker(host=bus.host, port=bus.port),
                library=own_library,
            )
        except ValidationError as error:
            told = (f"{file}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise PlantFileError("\n".join(told)) from error
        ready = folder / "site.toml"
        ready.write_text(tomli_w.dumps(made.site), encoding="utf-8")
        yield StagedSite(
            plant=made.plant,
            site_file=ready,
            nvml_state=None if own_library is None else folder / STATE_BESIDE,
        )


def _made(folder: Path) -> Path:
    folder = folder.absolute()
    (folder / "queue").mkdir(parents=True, exist_ok=True)
    return folder


def _copied(folder: Path) -> Path:
    """The NVML library beside its state; a controller that has an older copy loaded keeps that."""
    copy = folder / SONAME
    fresh = copy.with_name(copy.name + ".new")
    shutil.copyfile(library(), fresh)
    fresh.replace(copy)
    return copy
