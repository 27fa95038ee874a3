"""Raw clients of the miners' faces, for tests that must see the bytes a library would forgive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from simulators.physics.miner import Miner
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.simulators.plants import HOME, config, miners

ADDRESS = f"{HOME}.1"
DEADLINE_S = 5.0
PORTS = {80: 18_280, 4028: 14_228, 4433: 14_633, 8080: 18_281, 50_051: 15_251}


@asynccontextmanager
async def served(family: str, **keys: Any) -> AsyncIterator[tuple[SimulatedSite, Miner]]:
    site = SimulatedSite(Plant(config(ports=PORTS, miners=[miners(family, **keys)])))
    async with asyncio.timeout(DEADLINE_S), site.serving():
        yield site, next(iter(site.plant.miners.values()))


async def raw(request: bytes, port: int = PORTS[4028], *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(ADDRESS, port)
    try:
        for piece in (request, *pieces):
            writer.write(piece)
            await asyncio.sleep(0.01 if pieces else 0)
        return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(command: str, parameter: str | None = None) -> dict[str, Any]:
    request = {"command": command} | ({} if parameter is None else {"parameter": parameter})
    answer: dict[str, Any] = json.loads((await raw(json.dumps(request).encode())).rstrip(b"\0"))
    return answer


def code_of(answer: dict[str, Any]) -> tuple[str, int]:
    return answer["STATUS"][0]["STATUS"], answer["STATUS"][0]["Code"]


async def logon() -> str:
    return str((await ask("logon"))["SESSION"][0]["SessionID"])
