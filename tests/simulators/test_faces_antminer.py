"""A stock Antminer seen by raw HTTP: digests, and a configuration that is always rewritten whole."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest

from simulators.faces.http import HttpRequest, digest_proves
from simulators.physics.miner import MinerState
from tests.simulators.wires import ADDRESS, PORTS, ask, served

pytestmark = pytest.mark.socket


async def web(target: str, body: bytes | None = None, *, password: str = "root") -> tuple[int, bytes]:
    """One digest exchange on one kept connection."""
    reader, writer = await asyncio.open_connection(ADDRESS, PORTS[80])
    try:
        status, headers, answer = await _exchange(reader, writer, target, body, "")
        if status == 401:
            nonce = headers["www-authenticate"].partition('nonce="')[2].partition('"')[0]
            proof = _digest("GET" if body is None else "POST", target, nonce, password)
            status, _, answer = await _exchange(reader, writer, target, body, f"Authorization: {proof}\r\n")
        return status, answer
    finally:
        writer.close()
        await writer.wait_closed()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, body: bytes | None, more: str
) -> tuple[int, dict[str, str], bytes]:
    method = "GET" if body is None else "POST"
    head = f"{method} {target} HTTP/1.1\r\nHost: miner\r\nContent-Length: {len(body or b'')}\r\n{more}\r\n"
    writer.write(head.encode() + (body or b""))
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])
    }
    return int(lines[0].split(" ")[1]), headers, await reader.readexactly(int(headers["content-length"]))


def _digest(method: str, target: str, nonce: str, password: str) -> str:
    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    realm = "antMiner Configuration"
    proof = md5(f"{md5(f'root:{realm}:{password}')}:{nonce}:00000001:abc:auth:{md5(f'{method}:{target}')}")
    return (
        f'Digest username="root", realm="{realm}", nonce="{nonce}", uri="{target}", '
        f'qop=auth, nc=00000001, cnonce="abc", response="{proof}"'
    )


async def test_a_stock_antminer_tells_nothing_without_its_password() -> None:
    async with served("antminer"):
        assert (await web("/cgi-bin/get_miner_conf.cgi", password="guess"))[0] == 401
        assert (await web("/cgi-bin/get_miner_conf.cgi"))[0] == 200
        assert (await web("/kaonsu/v1/brief"))[0] == 404


@pytest.mark.parametrize(
    ("mode_key", "posted", "asleep"),
    [
        ("both", {"miner-mode": 1}, True),
        ("both", {"bitmain-work-mode": "1"}, True),
        ("miner-mode", {"bitmain-work-mode": "1"}, False),
        ("bitmain-work-mode", {"miner-mode": 1}, False),
        ("bitmain-work-mode", {"miner-mode": 1, "bitmain-work-mode": 1}, True),
    ],
)
async def test_the_mode_is_taken_from_the_key_that_the_firmware_knows(
    mode_key: str, posted: dict[str, Any], asleep: bool
) -> None:
    async with served("antminer", mode_key=mode_key) as (_, miner):
        conf = json.loads((await web("/cgi-bin/get_miner_conf.cgi"))[1])
        rest = {key: value for key, value in conf.items() if key != "bitmain-work-mode"}

        answer = json.loads((await web("/cgi-bin/set_miner_conf.cgi", json.dumps(rest | posted).encode()))[1])

        assert answer["code"] == "M000"
        assert (miner.state is MinerState.ASLEEP) is asleep
        told = json.loads((await web("/cgi-bin/get_miner_conf.cgi"))[1])
        assert (told["bitmain-work-mode"], "miner-mode" in told) == ("1" if asleep else "0", False)


async def test_keys_left_out_of_a_rewrite_are_back_at_their_factory_value() -> None:
    async with served("antminer"):
        before = json.loads((await web("/cgi-bin/get_miner_conf.cgi"))[1])
        await web("/cgi-bin/set_miner_conf.cgi", json.dumps({"pools": before["pools"]}).encode())

        after = json.loads((await web("/cgi-bin/get_miner_conf.cgi"))[1])

    assert after["pools"] == before["pools"]
    assert "api-listen" in before
    assert "api-listen" not in after


async def test_a_web_request_may_come_in_pieces_and_nonsense_is_a_bad_request() -> None:
    async with served("antminer"):
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[80])

        for piece in (b"POST / HT", b"TP/1.1\r\nContent-Length: 4\r\n\r\nab", b"cd", b"nonsense\r\n\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.02)
        answers = (await reader.read()).split(b"HTTP/1.1 ")[1:]
        writer.close()
        await writer.wait_closed()

    assert [answer[:3] for answer in answers] == [b"401", b"400"]


async def test_a_refusing_antminer_keeps_its_configuration() -> None:
    async with served("antminer") as (site, miner):
        site.plant.set_fault("antminer-000", "refuses")

        answer = json.loads((await web("/cgi-bin/set_miner_conf.cgi", b'{"miner-mode": 1}'))[1])

        assert answer["stats"] == "error"
        assert miner.state is MinerState.HASHING


async def test_no_answer_of_a_stock_antminer_tells_its_watts() -> None:
    async with served("antminer"):
        pages = [(await web(f"/cgi-bin/{name}.cgi"))[1] for name in ("stats", "summary", "get_system_info")]
        reads = [json.dumps(await ask(command)).encode() for command in ("stats", "summary", "version")]

    assert not [text for text in (*pages, *reads) if b"watt" in text.lower() or b"power" in text.lower()]


def test_a_digest_for_another_page_proves_nothing() -> None:
    proof = _digest("GET", "/one", "n", "root")
    realm = "antMiner Configuration"

    def proves(target: str, nonce: str) -> bool:
        request = HttpRequest(method="GET", target=target, headers={"authorization": proof}, body=b"")
        return digest_proves(request, user="root", password="root", realm=realm, nonce=nonce)

    assert proves("/one", "n")
    assert not proves("/two", "n")
    assert not proves("/one", "m")
