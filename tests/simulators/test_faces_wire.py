"""What all miner sockets share: framing, bounds, and answers that go wrong."""

from __future__ import annotations

import asyncio
import json

import pytest

from simulators.faces.connection import MAX_CONNECTIONS
from tests.simulators.plants import RATED_W
from tests.simulators.wires import ADDRESS, PORTS, ask, code_of, raw, served

pytestmark = pytest.mark.socket


async def test_joined_commands_answer_each_in_a_list_of_its_own() -> None:
    async with served("luxos"):
        answer = await ask("power+config+nonsense")

    assert answer["power"][0]["POWER"][0]["Watts"] == RATED_W
    assert answer["config"][0]["CONFIG"][0]["CurtailMode"] == "None"
    assert code_of(answer["nonsense"][0]) == ("E", 14)


async def test_a_request_may_come_in_pieces() -> None:
    async with served("luxos"):
        answer = await raw(b'{"command":', PORTS[4028], b'"power', b'"}')

    assert b'"Watts":3000' in answer


async def test_what_is_no_json_is_refused() -> None:
    async with served("luxos"):
        answer = await raw(b"GET / HTTP/1.1\r\n\r\n")

    assert json.loads(answer.rstrip(b"\0"))["STATUS"][0]["Code"] == 23


async def test_an_endless_request_is_cut_off() -> None:
    async with served("luxos"):
        try:
            answer = await raw(b'{"command":"' + b"x" * 100_000)
        except ConnectionError:
            answer = b""

    assert answer == b""


async def test_nesting_without_end_is_refused_like_any_other_nonsense() -> None:
    async with served("luxos"):
        answer = await raw(b"[" * 60_000)

    assert json.loads(answer.rstrip(b"\0"))["STATUS"][0]["Code"] == 23


@pytest.mark.parametrize(
    ("family", "last"), [("luxos", b"}\0"), ("whatsminer", b"}"), ("antminer", b"}\0"), ("avalon", b"}\0")]
)
async def test_only_the_cgminer_kin_end_their_answer_with_a_nul(family: str, last: bytes) -> None:
    async with served(family):
        answer = await raw(b'{"command":"summary"}')

    assert answer.endswith(last)


async def test_a_stock_antminer_takes_one_command_at_a_time() -> None:
    async with served("antminer"):
        assert code_of(await ask("version+summary")) == ("E", 14)
        assert code_of(await ask("version")) == ("S", 22)


async def test_a_dead_miner_refuses_connections_and_a_revived_one_takes_them() -> None:
    async with served("luxos") as (site, _):
        site.plant.set_fault("luxos-000", "dead")
        await site.exchange()
        with pytest.raises(ConnectionRefusedError):
            await ask("power")

        site.plant.set_fault("luxos-000", "dead", False)
        await site.exchange()
        assert code_of(await ask("power")) == ("S", 314)


async def test_a_hanging_miner_takes_the_question_and_never_answers() -> None:
    async with served("luxos") as (site, _):
        site.plant.set_fault("luxos-000", "hangs")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await ask("power")


async def test_half_a_reply_ends_in_the_middle() -> None:
    async with served("luxos") as (site, _):
        whole = await raw(b'{"command":"power"}')
        site.plant.set_fault("luxos-000", "half_reply")

        assert await raw(b'{"command":"power"}') == whole[: len(whole) // 2]


async def test_garbage_is_no_json() -> None:
    async with served("whatsminer") as (site, _):
        site.plant.set_fault("whatsminer-000", "garbage")

        with pytest.raises(ValueError, match=r"."):
            await ask("summary")


async def test_a_slow_miner_answers_late() -> None:
    async with served("luxos") as (site, _):
        site.plant.set_fault("luxos-000", "slow_s", 0.4)
        asked_s = asyncio.get_running_loop().time()

        assert code_of(await ask("power")) == ("S", 314)
        assert asyncio.get_running_loop().time() - asked_s >= 0.39


async def test_a_miner_that_never_closes_leaves_its_answer_open() -> None:
    async with served("luxos") as (site, _):
        site.plant.set_fault("luxos-000", "never_closes")
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[4028])
        writer.write(b'{"command":"power"}')

        answer = await reader.readuntil(b"\0")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read()
        writer.close()
        await writer.wait_closed()

        assert b"Watts" in answer


async def test_a_miner_takes_only_so_many_connections_at_a_time() -> None:
    async with served("luxos"):
        held = [await asyncio.open_connection(ADDRESS, PORTS[4028]) for _ in range(MAX_CONNECTIONS)]
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[4028])
        one_too_many = await reader.read()
        held[0][1].close()
        await held[0][1].wait_closed()
        await asyncio.sleep(0.05)
        after_one_left = await ask("power")
        for _, other in (*held[1:], (reader, writer)):
            other.close()
            await other.wait_closed()

    assert one_too_many == b""
    assert code_of(after_one_left) == ("S", 314)


async def test_a_dying_miner_drops_the_connections_it_has() -> None:
    async with served("luxos") as (site, _):
        site.plant.set_fault("luxos-000", "hangs")
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[4028])
        writer.write(b'{"command":"power"}')
        await asyncio.sleep(0.05)
        site.plant.set_fault("luxos-000", "dead")
        await site.exchange()

        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
