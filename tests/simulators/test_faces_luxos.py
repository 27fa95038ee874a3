"""LuxOS seen by a raw socket: its login sessions, and what a sleeping machine tells."""

from __future__ import annotations

import pytest

from simulators.physics.miner import MinerState
from tests.simulators.plants import RATED_W
from tests.simulators.wires import ask, code_of, logon, served

pytestmark = pytest.mark.socket


async def test_one_session_at_a_time_until_it_logs_off() -> None:
    async with served("luxos"):
        session = await logon()

        assert code_of(await ask("logon")) == ("E", 402)
        assert (await ask("session"))["SESSION"][0]["SessionID"] == session
        assert code_of(await ask("logoff", session))[0] == "S"
        assert await logon() != session


async def test_use_keeps_a_session_alive_and_sixty_idle_seconds_end_it() -> None:
    async with served("luxos") as (site, _):
        session = await logon()
        await site.advance(50.0)
        assert code_of(await ask("atmset", f"{session},enabled=false"))[0] == "S"
        await site.advance(50.0)
        assert code_of(await ask("atmset", f"{session},enabled=true"))[0] == "S"
        await site.advance(60.0)

        assert code_of(await ask("curtail", f"{session},sleep")) == ("E", 402)


async def test_a_stolen_session_refuses_log_on_and_orders() -> None:
    async with served("luxos") as (site, miner):
        session = await logon()
        site.plant.set_fault("luxos-000", "session_stolen")

        assert code_of(await ask("logon")) == ("E", 402)
        assert code_of(await ask("curtail", f"{session},sleep")) == ("E", 402)
        assert not miner.said_asleep


@pytest.mark.parametrize("parameter", ["", "sleep", "wrong,sleep", ",sleep"])
async def test_luxos_takes_no_order_without_its_session(parameter: str) -> None:
    async with served("luxos") as (_, miner):
        assert code_of(await ask("curtail", parameter)) == ("E", 402)
        assert not miner.said_asleep


async def test_a_sleeping_luxos_miner_says_so_in_config_power_and_boards() -> None:
    async with served("luxos") as (site, _):
        assert (await ask("curtail", f"{await logon()},sleep"))["CURTAIL"] == [{"Mode": "Sleep"}]
        await site.advance(20.0)

        told = (await ask("config"))["CONFIG"][0]
        assert (told["CurtailMode"], told["SystemStatus"], told["IsPowerSupplyOn"]) == (
            "Sleep",
            "Sleep",
            False,
        )
        assert (await ask("power"))["POWER"] == [{"Watts": 25, "PSU": True}]
        assert (await ask("stats"))["STATS"][1]["chain_rate1"] == "0.00"


async def test_a_reboot_ends_the_session() -> None:
    async with served("luxos", reboot_s=5) as (site, miner):
        session = await logon()
        await ask("rebootdevice", session)
        await site.advance(10.0)

        assert code_of(await ask("curtail", f"{session},sleep")) == ("E", 402)
        assert miner.state is MinerState.STARTING


async def test_luxos_refuses_an_unknown_profile_and_a_miner_that_refuses_refuses_all() -> None:
    async with served("luxos") as (site, miner):
        session = await logon()
        assert code_of(await ask("profileset", f"{session},1GHz")) == ("E", 404)
        site.plant.set_fault("luxos-000", "refuses")

        assert code_of(await ask("profileset", f"{session},325MHz")) == ("E", 403)
        assert miner.said_point == "650MHz"


async def test_an_unsafe_wake_up_of_luxos_takes_three_seconds() -> None:
    async with served("luxos", wake_s=60) as (site, miner):
        session = await logon()
        await ask("curtail", f"{session},sleep")
        await site.advance(20.0)
        await ask("curtail", f"{session},wakeup,mode=unsafe")
        await site.advance(3.5)

        assert miner.watts == RATED_W
