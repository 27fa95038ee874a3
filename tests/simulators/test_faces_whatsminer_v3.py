"""Whatsminer API v3 seen by a raw socket: frames, tokens and refusals."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from typing import Any

import pytest

from simulators.physics.miner import MinerState
from tests.simulators.plants import RATED_W
from tests.simulators.wires import ADDRESS, PORTS, ask, raw, served

pytestmark = pytest.mark.socket

FAMILY = "whatsminer-v3"
DEVICE = f"{FAMILY}-000"


def frame(**request: Any) -> bytes:
    text = json.dumps(request).encode()
    return len(text).to_bytes(4, "little") + text


async def ask_v3(**request: Any) -> dict[str, Any]:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection(ADDRESS, PORTS[4433])
    try:
        writer.write(frame(**request))
        return await read_frame(reader)
    finally:
        writer.close()
        await writer.wait_closed()


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    length = int.from_bytes(await reader.readexactly(4), "little")
    answer: dict[str, Any] = json.loads(await reader.readexactly(length))
    return answer


async def order(
    command: str, param: object, *, password: str = "super", account: str = "super", salt: str = ""
) -> int:
    """Send an order; the code of its answer."""
    salt = salt or await ask_salt()
    ts = 1_795_411_225
    digest = hashlib.sha256(f"{command}{password}{salt}{ts}".encode()).digest()
    token = base64.b64encode(digest).decode()[:8]
    return int((await ask_v3(cmd=command, param=param, ts=ts, account=account, token=token))["code"])


async def ask_salt() -> str:
    return str((await ask_v3(cmd="get.device.info", param="salt"))["msg"]["salt"])


async def test_an_order_with_its_token_is_obeyed() -> None:
    async with served(FAMILY) as (_, miner):
        assert await order("set.miner.service", "stop") == 0

        assert miner.state is MinerState.ASLEEP
        assert (await ask_v3(cmd="get.device.info", param="miner"))["msg"]["miner"]["working"] == "false"


WRONG = {"password": "admin", "account": "user1", "salt": "00000000"}


@pytest.mark.parametrize("part", WRONG)
async def test_an_order_signed_with_something_else_is_denied(part: str) -> None:
    async with served(FAMILY) as (_, miner):
        assert await order("set.miner.service", "stop", **{part: WRONG[part]}) == -4

        assert miner.state is MinerState.HASHING


async def test_an_order_without_a_token_is_denied() -> None:
    async with served(FAMILY) as (_, miner):
        assert (await ask_v3(cmd="set.miner.service", param="stop"))["code"] == -4

        assert miner.state is MinerState.HASHING


async def test_a_salt_is_worth_nothing_after_a_reboot() -> None:
    async with served(FAMILY) as (site, _):
        before = await ask_salt()
        site.plant.set_fault(DEVICE, "reboot_now")
        await site.exchange()
        await site.advance(60.0)

        assert await ask_salt() != before
        assert await order("set.miner.service", "stop", salt=before) == -4
        assert await order("set.miner.service", "stop") == 0


async def test_a_machine_closed_to_writing_denies_even_a_proper_order() -> None:
    async with served(FAMILY) as (site, miner):
        site.plant.set_fault(DEVICE, "refuses")

        assert await order("set.miner.power_limit", 2100) == -4
        assert miner.said_setting_w == RATED_W


async def test_a_changed_password_denies_the_old_one() -> None:
    async with served(FAMILY) as (site, _):
        site.plant.set_fault(DEVICE, "wrong_password")

        assert await order("set.miner.service", "stop") == -4
        assert await order("set.miner.service", "stop", password="super-changed") == 0


@pytest.mark.parametrize(("param", "limit_w"), [(2100, 2100), (2100.0, 2100), (9000, 3000), (100, 3000)])
async def test_a_power_limit_out_of_range_is_accepted_and_ignored(param: float, limit_w: int) -> None:
    async with served(FAMILY):
        assert await order("set.miner.power_limit", param) == 0

        summary = (await ask_v3(cmd="get.miner.status", param="summary"))["msg"]["summary"]
        assert summary["power-limit"] == limit_w


@pytest.mark.parametrize(
    ("command", "param", "code"),
    [
        ("set.miner.power_limit", "2100", -1),
        ("set.miner.power_limit", True, -1),
        ("set.miner.service", "sleep", -1),
        ("set.miner.dance", "now", -2),
    ],
)
async def test_an_order_that_makes_no_sense_fails_with_a_code(command: str, param: object, code: int) -> None:
    async with served(FAMILY) as (_, miner):
        assert await order(command, param) == code

        assert miner.said_setting_w == RATED_W


async def test_parts_of_the_status_may_be_joined() -> None:
    async with served(FAMILY):
        answer = await ask_v3(cmd="get.miner.status", param="summary+edevs")

    assert answer["msg"].keys() == {"summary", "edevs"}
    assert answer["msg"]["summary"]["power-realtime"] == RATED_W


@pytest.mark.parametrize("param", [None, "weather", "summary+weather", 7])
async def test_a_part_that_is_not_there_is_refused(param: object) -> None:
    async with served(FAMILY):
        assert (await ask_v3(cmd="get.miner.status", param=param))["code"] == -2


async def test_one_connection_carries_any_number_of_frames_and_heartbeats() -> None:
    async with served(FAMILY):
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[4433])
        writer.write(bytes(4) + frame(cmd="get.device.info") + frame(cmd="nonsense"))

        codes = [(await read_frame(reader))["code"] for _ in range(2)]
        writer.close()
        await writer.wait_closed()

    assert codes == [0, -2]


async def test_a_frame_may_come_in_pieces() -> None:
    async with served(FAMILY):
        whole = frame(cmd="get.device.info", param="salt")
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[4433])
        for piece in (whole[:2], whole[2:9], whole[9:]):
            writer.write(piece)
            await asyncio.sleep(0.01)

        assert (await read_frame(reader))["code"] == 0
        writer.close()
        await writer.wait_closed()


async def test_a_frame_that_claims_to_be_endless_is_cut_off() -> None:
    async with served(FAMILY):
        try:
            answer = await raw(b"\xff\xff\xff\x7f{", PORTS[4433])
        except ConnectionError:
            answer = b""

    assert answer == b""


async def test_what_is_no_json_is_refused() -> None:
    async with served(FAMILY):
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[4433])
        writer.write((3).to_bytes(4, "little") + b"{{{")

        assert (await read_frame(reader))["code"] == -3
        writer.close()
        await writer.wait_closed()


async def test_a_stopped_machine_may_have_no_process_to_ask() -> None:
    async with served(FAMILY, process_down_when_stopped=True) as (_, miner):
        miner.sleep()

        assert (await ask_v3(cmd="get.miner.status", param="summary"))["code"] == -1
        assert (await ask_v3(cmd="get.device.info"))["msg"]["miner"]["working"] == "false"


async def test_the_older_port_only_tells_what_the_machine_is() -> None:
    async with served(FAMILY):
        assert (await ask("get_version"))["Msg"]["fw_ver"] > "20241100"
        assert (await ask("devdetails"))["DEVDETAILS"][0]["Driver"] == "bitmicro"
        assert (await ask("get_token"))["STATUS"] == "E"


async def test_a_machine_may_have_the_newer_port_alone() -> None:
    async with served(FAMILY, legacy_api=False):
        assert (await ask_v3(cmd="get.device.info"))["code"] == 0
        with pytest.raises(ConnectionRefusedError):
            await ask("get_version")
