"""AxeOS and MaraFW as pyasic meets them: the one cannot be told anything, the other forgets its mode."""

from __future__ import annotations

from typing import Any

import pytest

from simulators.physics.miner import Miner
from simulators.serve import SimulatedSite
from tests.simulators.plants import RATED_THS, RATED_W
from tests.simulators.test_faces_pyasic import MIN_SET, with_pyasic

pytestmark = pytest.mark.socket


def test_pyasic_reads_everything_of_axeos() -> None:
    async def scenario(client: Any, _site: SimulatedSite, truth: Miner) -> None:
        data = await client.get_data(exclude=["config"])

        assert float(data.hashrate) == pytest.approx(RATED_THS, rel=0.001)
        assert float(data.expected_hashrate) == pytest.approx(RATED_THS, rel=0.001)
        assert data.wattage == RATED_W
        assert [board.chip_temp for board in data.hashboards] == [truth.temperature_c]
        assert [fan.speed for fan in data.fans] == [4800]
        assert (data.fw_ver, data.mac is not None) == ("v2.9.0", True)

    with_pyasic("axeos", scenario)


def test_axeos_can_neither_be_stopped_nor_limited() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        stopped, limited = await client.stop_mining(), await client.set_power_limit(100)
        await site.advance(15.0)

        assert (stopped, limited, truth.watts) == (False, False, RATED_W)

    with_pyasic("axeos", scenario)


def test_pyasic_reads_marafw_except_for_its_watts() -> None:
    async def scenario(client: Any, _site: SimulatedSite, truth: Miner) -> None:
        data = await client.get_data(include=[*MIN_SET, "fw_ver", "mac"])

        assert float(data.raw_hashrate) == pytest.approx(RATED_THS, rel=0.001)
        assert (data.wattage, data.wattage_limit) == (None, RATED_W)
        assert [board.missing for board in data.hashboards] == [False] * 3
        assert data.fw_ver == "2026.03.2"

    with_pyasic("marafw", scenario)


def test_pyasics_resume_of_marafw_makes_auto_of_whatever_its_mode_was() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        before = (await client.web.get_miner_config())["mode"]["work-mode-selector"]

        await client.stop_mining()
        await site.advance(20.0)
        asleep_w = truth.watts
        await client.resume_mining()
        await site.advance(90.0)

        assert asleep_w == pytest.approx(25, abs=1)
        assert truth.watts == RATED_W
        after = (await client.web.get_miner_config())["mode"]["work-mode-selector"]
        assert (before, after) == ("Fixed", "Auto")

    with_pyasic("marafw", scenario)
