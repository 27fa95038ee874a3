"""Unmodified pyasic against the miners' faces: it takes them for the real thing, traps included.

The loop renumbers ports, the library is as released; the plant's time is advanced by hand.
"""

from __future__ import annotations

import asyncio
import socket
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from simulators.physics.miner import Miner, MinerState
from simulators.plant import Plant
from simulators.ports import remap
from simulators.serve import SimulatedSite
from tests.simulators.plants import HOME, RATED_THS, RATED_W, config, miners

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside pyasic and passlib, at import
    import pyasic

pytestmark = [
    pytest.mark.socket,
    pytest.mark.filterwarnings("ignore:passing settings to md5_crypt:DeprecationWarning"),  # pyasic's own
]

DEADLINE_S = 20.0
ADDRESS = f"{HOME}.1"
FAMILIES = ("luxos", "whatsminer", "antminer", "whatsminer-v3", "avalon")
MIN_SET = ["hashrate", "wattage", "wattage_limit", "hashboards", "is_mining"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORTS = {port: free_port() for port in (80, 443, 4028, 4433, 8080, 50_051)}

Scenario = Callable[[Any, SimulatedSite, Miner], Awaitable[None]]


def with_pyasic(family: str, scenario: Scenario, **keys: Any) -> None:
    """Play `scenario` with pyasic's miner, the site, and the miner it really is."""
    site = SimulatedSite(Plant(config(ports=PORTS, miners=[miners(family, **keys)])))
    (truth,) = site.plant.miners.values()

    async def play() -> None:
        async with asyncio.timeout(DEADLINE_S), site.serving():
            await scenario(await pyasic.get_miner(ADDRESS), site, truth)

    with asyncio.Runner(loop_factory=remap(PORTS)) as runner:
        runner.run(play())


@pytest.mark.parametrize(
    ("family", "kind", "model"),
    [
        ("luxos", "LUXMinerS19kPro", "S19k Pro (LuxOS)"),
        ("whatsminer", "BTMinerM50SVH30", "M50S VH30 (Stock)"),
        ("antminer", "BMMinerS19Pro", "S19 Pro (Stock)"),
        ("whatsminer-v3", "BTMinerM60SVK40", "M60S VK40 (Stock)"),
        ("avalon", "CGMinerAvalon1246", "Avalon 1246 (Stock)"),
        ("vnish", "VNishS19Pro", "S19 Pro (VNish)"),
        ("auradine", "AuradineFluxAT1500", "AT1500 (Stock)"),
        ("axeos", "BitAxeGamma", "Gamma (Stock)"),
        ("marafw", "MaraS19", "S19 (MaraFW)"),
        ("braiins", "BOSMinerS19Pro", "S19 Pro (BOS+)"),
        ("epic", "ePICS19Pro", "S19 Pro (ePIC)"),
    ],
)
def test_pyasic_identifies_class_and_model(family: str, kind: str, model: str) -> None:
    async def scenario(client: Any, _site: SimulatedSite, _truth: Miner) -> None:
        assert (type(client).__name__, client.model) == (kind, model)

    with_pyasic(family, scenario)


@pytest.mark.parametrize("family", FAMILIES)
def test_pyasic_reads_everything_it_asks_for(family: str) -> None:
    async def scenario(client: Any, _site: SimulatedSite, truth: Miner) -> None:
        data = await client.get_data(exclude=["config"])

        assert float(data.hashrate) == pytest.approx(RATED_THS, rel=0.001)
        assert float(data.expected_hashrate) == pytest.approx(RATED_THS, rel=0.001)
        assert [board.missing for board in data.hashboards] == [False] * 3
        # of API v3 it reads the hottest chip as the outlet air, and pools from an answer that has none
        hottest = "outlet_temp" if family == "whatsminer-v3" else "chip_temp"
        temperatures = [(board.temp, getattr(board, hottest)) for board in data.hashboards]
        assert all(board_c and 0 < chip_c < truth.temperature_c + 0.1 for board_c, chip_c in temperatures)
        assert all(fan.speed for fan in data.fans)
        assert family == "whatsminer-v3" or [str(pool.url.host).partition(".")[2] for pool in data.pools]
        assert data.fw_ver
        assert data.uptime is not None
        assert data.errors == []

    with_pyasic(family, scenario)


@pytest.mark.parametrize(
    ("family", "told_w"),
    [("luxos", 3000), ("whatsminer", 3000), ("antminer", None), ("whatsminer-v3", 3000), ("avalon", 3000)],
)
def test_pyasic_reads_watts_only_where_the_firmware_tells_them(family: str, told_w: int | None) -> None:
    async def scenario(client: Any, _site: SimulatedSite, _truth: Miner) -> None:
        data = await client.get_data(include=MIN_SET)

        assert (data.wattage, data.wattage_limit) == (told_w, told_w)
        assert data.is_mining

    with_pyasic(family, scenario)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_plant_sleeps_and_wakes_when_pyasic_says_so(family: str) -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        assert await client.stop_mining()
        await site.advance(20.0)
        asleep_w, asleep = truth.watts, await client.get_data(include=MIN_SET)

        assert await client.resume_mining()
        await site.advance(90.0)
        awake = await client.get_data(include=MIN_SET)

        assert asleep_w == pytest.approx(25, abs=1)
        assert float(asleep.hashrate) == 0
        assert asleep.wattage in (25, None)
        assert (truth.watts, truth.rate) == (RATED_W, RATED_THS)
        assert float(awake.hashrate) == pytest.approx(RATED_THS, rel=0.001)

    # the LuxOS session would die while the miner sleeps: see below; an Avalon is told when by pyasic's clock
    with_pyasic(family, scenario, wake_s=5, clock_s=int(time.time()))


@pytest.mark.parametrize("family", ["whatsminer", "antminer"])
def test_pyasic_sees_the_stop_where_the_firmware_shows_it(family: str) -> None:
    async def scenario(client: Any, site: SimulatedSite, _truth: Miner) -> None:
        await client.stop_mining()
        await site.advance(5.0)

        assert (await client.get_data(include=MIN_SET)).is_mining is False

    with_pyasic(family, scenario)


@pytest.mark.parametrize("family", ["whatsminer", "whatsminer-v3"])
def test_a_whatsminer_follows_pyasics_power_limit(family: str) -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        assert await client.set_power_limit(2100)
        await site.advance(15.0)
        data = await client.get_data(include=MIN_SET)

        assert truth.watts == pytest.approx(2100, rel=0.001)
        assert (data.wattage, data.wattage_limit) == (2100, 2100)

    with_pyasic(family, scenario)


@pytest.mark.parametrize("family", ["whatsminer", "whatsminer-v3"])
def test_a_whatsminer_accepts_and_ignores_a_limit_out_of_its_range(family: str) -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        assert await client.set_power_limit(9000)
        await site.advance(15.0)

        assert truth.watts == RATED_W
        assert (await client.get_data(include=MIN_SET)).wattage_limit == RATED_W

    with_pyasic(family, scenario)


def test_a_luxos_miner_takes_the_highest_profile_under_pyasics_limit() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        assert await client.set_power_limit(2200)
        await site.advance(15.0)
        data = await client.get_data(include=MIN_SET)

        assert truth.report(site.plant.now_s).point == "455MHz"
        assert truth.watts == pytest.approx(2100, rel=0.001)
        assert (data.wattage, data.wattage_limit) == (2100, 2100)
        assert await client.atm_enabled()

    with_pyasic("luxos", scenario)


def test_a_luxos_session_dies_of_sixty_idle_seconds_and_the_wake_up_with_it() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        assert await client.stop_mining()
        await site.advance(61.0)

        assert not await client.resume_mining()
        assert truth.report(site.plant.now_s).asleep
        client.rpc.session_token = None
        assert await client.resume_mining()
        assert truth.state is MinerState.STARTING

    with_pyasic("luxos", scenario)


def test_pyasics_stop_of_a_stock_antminer_claims_success_with_a_wrong_password() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        client.web.pwd = "not it"

        assert await client.stop_mining()
        await site.advance(10.0)
        assert truth.watts == RATED_W

    with_pyasic("antminer", scenario)


def test_low_power_of_a_stock_antminer_is_lost_over_pyasics_stop_and_resume() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        conf = await client.web.get_miner_conf()
        await client.web.set_miner_conf({**conf, "miner-mode": 3})
        await site.advance(15.0)
        low_w = truth.watts

        await client.stop_mining()
        await client.resume_mining()
        await site.advance(90.0)

        assert low_w == pytest.approx(0.7 * RATED_W, rel=0.001)
        assert truth.watts == RATED_W

    with_pyasic("antminer", scenario)


def test_a_write_from_a_failed_read_leaves_a_stock_antminer_without_pools_and_without_work() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        site.plant.set_fault("antminer-000", "garbage")
        broken = await client.get_config()
        site.plant.set_fault("antminer-000", "garbage", False)

        await client.send_config(broken)
        await site.advance(60.0)

        assert [pool["url"] for pool in (await client.web.get_miner_conf())["pools"]] == ["", "", ""]
        assert truth.state is MinerState.IDLE

    with_pyasic("antminer", scenario)


def test_a_whatsminer_that_rebooted_knows_no_token_from_before() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        await client.set_power_limit(2100)
        site.plant.set_fault("whatsminer-000", "reboot_now")
        await site.advance(60.0)

        assert not await client.stop_mining()
        client.rpc.token = None
        assert await client.stop_mining()
        assert truth.state is MinerState.ASLEEP

    with_pyasic("whatsminer", scenario)


def test_a_whatsminer_of_api_v3_that_rebooted_has_another_salt() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        await client.set_power_limit(2100)
        site.plant.set_fault("whatsminer-v3-000", "reboot_now")
        await site.advance(60.0)

        assert not await client.stop_mining()
        client.rpc.salt = None
        assert await client.stop_mining()
        assert truth.state is MinerState.ASLEEP

    with_pyasic("whatsminer-v3", scenario)


def test_pyasics_power_limit_takes_an_avalon_to_its_highest_level_whatever_it_asks_for() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        truth.set_point("low")
        await site.advance(15.0)
        before_w = truth.watts

        assert await client.set_power_limit(2000)
        await site.advance(15.0)

        assert before_w == pytest.approx(0.6 * RATED_W, rel=0.001)
        assert truth.watts == RATED_W

    with_pyasic("avalon", scenario)


@pytest.mark.parametrize("family", ["luxos", "antminer", "whatsminer-v3", "avalon"])
def test_a_dead_miner_looks_to_pyasic_like_a_mining_one(family: str) -> None:
    async def scenario(client: Any, site: SimulatedSite, _truth: Miner) -> None:
        site.plant.set_fault(f"{family}-000", "dead")
        await site.exchange()

        data = await client.get_data(include=MIN_SET)

        assert (data.is_mining, data.wattage) == (True, None)

    with_pyasic(family, scenario)


def test_pyasic_finds_nobody_where_the_miner_is_dead() -> None:
    async def scenario(client: Any, _site: SimulatedSite, _truth: Miner) -> None:
        assert client is None

    with_pyasic("luxos", scenario, faults=[{"index": 0, "fault": "dead"}])
