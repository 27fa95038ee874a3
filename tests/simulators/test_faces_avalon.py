"""Avalon seen by a raw socket: one client at a time, work levels, and orders for a time to come."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from simulators.physics.miner import MinerState
from tests.simulators.plants import RATED_W
from tests.simulators.wires import ADDRESS, PORTS, ask, code_of, raw, served

pytestmark = pytest.mark.socket

FAMILY = "avalon"
DEVICE = f"{FAMILY}-000"


async def ascset(parameter: str) -> tuple[str, int, str]:
    """Kind, code and message of the answer."""
    answer = await ask("ascset", parameter)
    return *code_of(answer), answer["STATUS"][0]["Msg"]


async def module() -> dict[str, str]:
    text = (await ask("estats"))["STATS"][0]["MM ID0"]
    return dict(re.findall(r"(\w+)\[([^\]]*)\]", text))


async def clock_s() -> int:
    return int((await ask("version"))["STATUS"][0]["When"])


@pytest.mark.parametrize("began_s", [0, 1_790_000_000])
async def test_an_order_is_carried_out_when_the_machines_own_clock_says_so(began_s: int) -> None:
    async with served(FAMILY, clock_s=began_s) as (site, miner):
        await site.advance(100.0)
        now_s = await clock_s()

        said = await ascset(f"0,softoff,1:{now_s + 5}")
        await site.advance(4.5)
        before = miner.state
        await site.advance(1.0)

        assert said == ("I", 118, f"ASC 0 set info: success softoff:1:{now_s + 5}")
        assert now_s == began_s + 100
        assert (before, miner.state) == (MinerState.HASHING, MinerState.ASLEEP)


async def test_a_machine_that_is_ordered_off_is_idle_and_says_why() -> None:
    async with served(FAMILY) as (site, _):
        awake = await module()
        await ascset(f"0,softoff,1:{await clock_s()}")
        await site.advance(30.0)
        asleep = await module()

    assert (awake["SYSTEMSTATU"], awake["SoftOFF"]) == ("Work: In Work, Hash Board: 3 ", "0")
    assert (asleep["SYSTEMSTATU"], asleep["SoftOFF"]) == ("Work: In Idle, Hash Board: 3 ", "5")
    assert (awake["WALLPOWER"], asleep["WALLPOWER"]) == (f"{RATED_W:.0f}", "25")
    assert asleep["GHSspd"] == "0.00"


async def test_a_machine_without_work_is_idle_by_no_order() -> None:
    async with served(FAMILY) as (site, _):
        site.plant.set_fault(DEVICE, "pool_loss")
        await site.advance(10.0)

        idle = await module()

    assert (idle["SYSTEMSTATU"], idle["SoftOFF"]) == ("Work: In Idle, Hash Board: 3 ", "0")


async def test_a_newer_order_takes_the_place_of_one_that_is_not_due() -> None:
    async with served(FAMILY) as (site, miner):
        await ascset(f"0,softoff,1:{await clock_s() + 5}")
        await ascset(f"0,softon,1:{await clock_s() + 5}")
        await site.advance(10.0)

        assert miner.state is MinerState.HASHING


async def test_a_reboot_wakes_it_and_forgets_what_was_to_come() -> None:
    async with served(FAMILY) as (site, miner):
        miner.sleep()
        await ascset(f"0,softoff,1:{await clock_s() + 40}")
        site.plant.set_fault(DEVICE, "reboot_now")
        await site.advance(90.0)

        assert miner.state is MinerState.HASHING


@pytest.mark.parametrize("level", [0, 1, 2])
async def test_a_work_level_is_set_and_told(level: int) -> None:
    async with served(FAMILY) as (site, miner):
        said = await ascset(f"0,worklevel,set,{level}")
        await site.advance(15.0)

        assert said == ("S", 119, "ASC 0 set OK")
        assert await ascset("0,worklevel,get") == ("I", 118, f"ASC 0 set info: worklevel {level}")
        assert miner.watts == pytest.approx(RATED_W * (0.6, 0.8, 1.0)[level], rel=0.001)


@pytest.mark.parametrize(
    ("parameter", "code", "why"),
    [
        ("0,worklevel,set,3", 120, "unknown argument"),
        ("0,worklevel,2", 120, "unknown argument"),
        ("0,softoff", 120, "unknown argument"),
        ("0,softoff,1:soon", 120, "unknown argument"),
        ("0,dance,1", 120, "Unknown option: dance"),
        ("1,worklevel,get", 102, "Invalid ASC id"),
        ("", 15, "Missing device id"),
    ],
)
async def test_an_order_that_makes_no_sense_fails_with_a_reason(parameter: str, code: int, why: str) -> None:
    async with served(FAMILY) as (_, miner):
        kind, said, message = await ascset(parameter)

        assert (kind, said) == ("E", code)
        assert why in message
        assert miner.state is MinerState.HASHING


async def test_a_machine_that_refuses_still_tells_its_level() -> None:
    async with served(FAMILY) as (site, miner):
        site.plant.set_fault(DEVICE, "refuses")

        assert (await ascset(f"0,softoff,1:{await clock_s() + 5}"))[:2] == ("E", 120)
        assert (await ascset("0,worklevel,get"))[:2] == ("I", 118)
        await site.advance(10.0)
        assert miner.state is MinerState.HASHING


async def test_series_14_confirms_in_other_words_and_wakes_without_any() -> None:
    async with served(FAMILY, model="AvalonMiner 1466") as (site, miner):
        off = await ascset(f"0,softoff,1:{await clock_s()}")
        await site.advance(1.0)
        asleep = miner.state
        request = {"command": "ascset", "parameter": f"0,softon,1:{await clock_s()}"}
        on = await raw(json.dumps(request).encode())
        await site.advance(1.0)

        assert off == ("S", 119, "ASC 0 set OK")
        assert on == b""
        assert (asleep, miner.state) == (MinerState.ASLEEP, MinerState.STARTING)


async def test_who_comes_while_another_is_served_waits_for_its_turn() -> None:
    async with served(FAMILY):
        first = await connected()
        second = await connected(b'{"command":"version"}')
        third = await connected(b'{"command":"summary"}')

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await second[0].read()
        first[1].close()

        assert b"PROD" in await second[0].read()
        assert b"SUMMARY" in await third[0].read()
        await closed(first, second, third)


async def test_who_leaves_the_line_keeps_nobody_waiting() -> None:
    async with served(FAMILY):
        first = await connected()
        second = await connected(b'{"command":"version"}')
        third = await connected(b'{"command":"summary"}')
        second[1].close()
        await second[1].wait_closed()
        first[1].close()

        assert b"SUMMARY" in await third[0].read()
        await closed(first, third)


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(request: bytes = b"") -> Client:
    client: Any = await asyncio.open_connection(ADDRESS, PORTS[4028])
    client[1].write(request)
    await asyncio.sleep(0.02)
    return client[0], client[1]


async def closed(*clients: Client) -> None:
    for _, writer in clients:
        writer.close()
        await writer.wait_closed()
