"""Other people's clients against the faces: Luxor's own for LuxOS, and pyasic-rs with parsers of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pyasic_rs
import pytest
from luxos import asyncops

from simulators.physics.miner import Miner, MinerState
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.simulators.plants import HOME, RATED_THS, RATED_W, config, miners

pytestmark = [
    pytest.mark.socket,
    pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning"),  # Luxor's client leaves them
]

ADDRESS = f"{HOME}.1"
RPC = 4028
DEADLINE_S = 20.0


@asynccontextmanager
async def served(family: str, **keys: Any) -> AsyncIterator[tuple[SimulatedSite, Miner]]:
    """On the true ports: these clients know no others, and the addresses are this process's own."""
    site = SimulatedSite(Plant(config(miners=[miners(family, **keys)])))
    async with asyncio.timeout(DEADLINE_S), site.serving():
        yield site, next(iter(site.plant.miners.values()))


async def luxos(command: str, *parameters: str) -> dict[str, Any]:
    answer: dict[str, Any] = await asyncops.rexec(ADDRESS, RPC, command, list(parameters), timeout=3)
    return answer


# -- Luxor's own ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["version", "config", "stats", "profiles", "power", "pools", "devs", "summary"]
)
async def test_luxors_client_believes_every_read(command: str) -> None:
    async with served("luxos"):
        answer = await luxos(command)

    assert answer["STATUS"][0]["STATUS"] == "S"
    assert answer[command.upper()]


async def test_luxors_client_puts_a_machine_to_sleep_and_wakes_it_and_leaves_no_login_behind() -> None:
    async with served("luxos") as (site, miner):
        await luxos("curtail", "sleep")
        await site.advance(60)
        asleep = miner.state, (await luxos("config"))["CONFIG"][0]["CurtailMode"]
        await luxos("curtail", "wakeup")
        await site.advance(120)
        session = (await luxos("session"))["SESSION"][0]["SessionID"]

    assert asleep == (MinerState.ASLEEP, "Sleep")
    assert miner.state is not MinerState.ASLEEP
    assert session == ""


async def test_luxors_client_sets_a_profile() -> None:
    async with served("luxos") as (site, miner):
        await luxos("atmset", "enabled=false")
        await luxos("profileset", "325MHz")
        await site.advance(60)

        profile = (await luxos("config"))["CONFIG"][0]["Profile"]

    assert profile == "325MHz"
    assert miner.watts < 0.6 * RATED_W


# -- pyasic-rs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "model", "firmware"),
    [
        ("luxos", "S19K Pro", "LuxOS"),
        ("whatsminer", "M50SVH30", "WhatsMiner Stock"),
        ("whatsminer-v3", "M60SVK40", "WhatsMiner Stock"),
        ("avalon", "Avalon1246", "AvalonMiner Stock"),
        ("auradine", "AT1500", "Auradine Stock"),
    ],
)
async def test_pyasic_rs_recognises_a_machine_and_reads_what_it_does(
    family: str, model: str, firmware: str
) -> None:
    async with served(family):
        miner = await pyasic_rs.MinerFactory().get_miner(ADDRESS)
        assert miner is not None
        data = await miner.get_data()

    assert (miner.model.replace(" ", "").lower(), miner.firmware) == (
        model.replace(" ", "").lower(),
        firmware,
    )
    assert data.is_mining
    assert data.hashrate is not None
    assert data.hashrate.value == pytest.approx(RATED_THS, rel=0.001)
    # Of an Avalon it takes what the PSU gives out for what it takes in.
    assert data.wattage == pytest.approx(RATED_W * (0.945 if family == "avalon" else 1), rel=0.001)


async def test_a_luxos_machine_that_pyasic_rs_stopped_still_reads_as_mining_to_it() -> None:
    """Why it does not drive this family here."""
    async with served("luxos") as (site, miner):
        client = await pyasic_rs.MinerFactory().get_miner(ADDRESS)
        assert client is not None
        await client.pause()
        await site.advance(60)

        data = await client.get_data()

    assert miner.state is MinerState.ASLEEP
    assert data.is_mining
