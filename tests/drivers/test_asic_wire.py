"""Bytes, verdicts and digests: what counts as an answer of a miner, and what never ends as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from drivers.asic import auradine, epic, vnish_replies
from drivers.asic.adapter import RefusedError, hottest, mac_address, number
from drivers.asic.cgminer import proven
from drivers.asic.digest import DigestClient
from drivers.asic.http1 import is_whole_response, parse_response
from drivers.asic.trouble import as_driver_error
from drivers.asic.wire import MAX_REPLY_BYTES, exchange, parsed_json
from drivers.base import DriverError
from tests.drivers.asic_fakes import (
    HOST,
    PORTS,
    Json,
    bytes_server,
    plate,
    remapped,
)

DIGITS = "9" * 400


def said(kind: str = "S", code: int = 11, message: str = "ok", **body: Any) -> Json:
    return {"STATUS": [{"STATUS": kind, "When": 1, "Code": code, "Msg": message}], **body, "id": 1}


# -- what counts as an answer ----------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [{}, {"id": 1}, {"POWER": [{"Watts": 3000}], "id": 1}])
def test_a_reply_without_a_verdict_is_no_answer(reply: Json) -> None:
    with pytest.raises(DriverError, match="no STATUS"):
        proven("power", reply)


@pytest.mark.parametrize(
    "reply",
    [
        said("E", 14, "Invalid command"),
        said("F", 14, "Invalid command"),
        {"STATUS": "E", "When": 1, "Code": 14, "Msg": "Invalid command", "Description": ""},
    ],
)
def test_an_error_verdict_is_a_refusal_with_its_message_and_code(reply: Json) -> None:
    with pytest.raises(RefusedError, match="Invalid command") as refusal:
        proven("power", reply)

    assert refusal.value.code == 14


def test_a_joined_reply_must_hold_every_part() -> None:
    with pytest.raises(DriverError, match="no STATUS"):
        proven("config+power", {"config": [said(CONFIG=[{}])], "id": 1})


@pytest.mark.parametrize(
    "value",
    [None, True, "", "x", "nan", float("inf"), 1e300, DIGITS, pytest.param(int(DIGITS), id="int"), [], {}],
)
def test_what_is_no_number_to_reckon_with_is_none(value: object) -> None:
    assert number(value) is None


@pytest.mark.parametrize(
    "told",
    [
        lambda: vnish_replies.presets([{"name": DIGITS}], plate()),
        lambda: epic.tuner_of({"PerpetualTune": [{"algorithm": "x", "min": int(DIGITS), "max": 1}]}, {}),
        lambda: auradine.sample({}, {"PowerIn": f"{DIGITS}W"}, {}, [], plate()),
    ],
    ids=["a preset", "a target", "a draw"],
)
def test_a_number_too_large_to_reckon_with_is_trouble_with_the_machine(told: Callable[[], object]) -> None:
    with pytest.raises(DriverError), as_driver_error():
        told()


def test_a_sensor_at_zero_is_not_the_hottest_of_broken_ones() -> None:
    assert hottest([0.0, None, -1.0]) is None
    assert hottest([0.0, 61.0, None, 58.5]) == 61.0


def test_one_mac_address_in_two_spellings_is_one_machine() -> None:
    assert mac_address("c8-08-e9-00-00-01") == mac_address(" C8:08:E9:00:00:01 ")
    assert mac_address("") is None
    assert mac_address(None) is None


@pytest.mark.socket
@remapped
async def test_an_endless_reply_is_cut_off() -> None:
    async with bytes_server(b"x" * (MAX_REPLY_BYTES + 2)):
        with pytest.raises(ValueError, match="more than"):
            await exchange(HOST, 80, b"?", deadline_s=5)


@pytest.mark.parametrize("reply", [b'{"a":{"b":1}}', b'{"a":{"b":1}}\0'])
@pytest.mark.socket
@remapped
async def test_a_whole_reply_is_enough_where_the_machine_does_not_close(reply: bytes) -> None:
    async with bytes_server(reply, close=False):
        assert await exchange(HOST, 80, b"?", deadline_s=5) == reply


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (b'{"a":1,}\0', {"a": 1}),
        (b'{"a":[{"b":1}{"c":2}]}\0', {"a": [{"b": 1}, {"c": 2}]}),
        (b'{"a":[,{"b":1}]}\0', {"a": [{"b": 1}]}),
        (b'{"a":"one\ntwo"}\0', {"a": "one\ntwo"}),
        (b',"a":1}\0', {"a": 1}),
        (b'{"a":"\xff"}\r\n\0', {"a": "\ufffd"}),
        (b'{"a":1}\n\0', {"a": 1}),
    ],
)
def test_json_as_some_firmware_writes_it_is_mended(reply: bytes, value: Json) -> None:
    assert parsed_json(bytearray(reply), False) == value
    assert parsed_json(bytearray(reply.rstrip(b"\0")), True) == value


@pytest.mark.parametrize("reply", [b'{"a":[{"b":1},', b'{"a":{"b":1}', b'{"a":"x', b"{{STATUS=E,::", b"}"])
def test_half_a_reply_and_garbage_are_never_mended(reply: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parsed_json(bytearray(reply), True)


@pytest.mark.parametrize("reply", [b'{"a":{"b":1}', b'{"a":1,}', b'{"a":'])
def test_what_is_no_json_yet_is_waited_for(reply: bytes) -> None:
    assert parsed_json(bytearray(reply), False) is None


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.socket
@remapped
async def test_pages_wanted_together_come_over_one_line_unless_the_miner_closes_it(closes: bool) -> None:
    lines: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(0)
        with suppress(asyncio.IncompleteReadError, ConnectionResetError):
            while not (closes and lines[-1]):
                await reader.readuntil(b"\r\n\r\n")
                lines[-1] += 1
                writer.write(PAGE)
        writer.close()

    server = await asyncio.start_server(serve, HOST, PORTS[80])
    pages = await DigestClient(HOST, 80, "root", "root").get_all(["/a", "/b", "/c"], deadline_s=1)
    server.close()

    assert pages == [{"a": 1}] * 3
    assert lines == ([1, 1, 1] if closes else [3])


@pytest.mark.socket
@remapped
async def test_a_page_that_is_posted_is_never_posted_again_by_itself() -> None:
    async with bytes_server(b"") as asked:
        with pytest.raises(EOFError):
            await DigestClient(HOST, 80, "root", "root").post("/a", {}, deadline_s=1)

    assert len(asked) == 1


@pytest.mark.socket
@remapped
async def test_half_a_reply_is_waited_for_until_the_deadline() -> None:
    async with bytes_server(b'{"a":{"b":1}', close=False):
        with pytest.raises(TimeoutError):
            await exchange(HOST, 80, b"?", deadline_s=0.1)


CHALLENGE = b'HTTP/1.1 401 X\r\nWWW-Authenticate: Digest realm="r, s", nonce="n%d", qop="auth"\r\n\r\n'
PAGE = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'


@pytest.mark.socket
@remapped
async def test_a_challenge_is_answered_once_and_then_used_ahead() -> None:
    client = DigestClient(HOST, 80, "root", "root")
    async with bytes_server(CHALLENGE % 1, PAGE) as asked:
        first = await client.get("/a", deadline_s=1)
        second = await client.get("/b", deadline_s=1)

    assert first == second == {"a": 1}
    assert [b"Authorization: Digest" in request for request in asked] == [False, True, True]
    assert b"nc=00000001" in asked[1]
    assert b"nc=00000002" in asked[2]
    assert b'realm="r, s"' in asked[2]


@pytest.mark.socket
@remapped
async def test_a_challenge_that_grew_old_is_replaced() -> None:
    client = DigestClient(HOST, 80, "root", "root")
    async with bytes_server(CHALLENGE % 1, PAGE, CHALLENGE % 2, PAGE) as asked:
        await client.get("/a", deadline_s=1)
        await client.get("/b", deadline_s=1)

    assert b'nonce="n2"' in asked[3]
    assert b"nc=00000001" in asked[3]


@pytest.mark.socket
@remapped
async def test_a_password_that_is_not_accepted_is_tried_once() -> None:
    client = DigestClient(HOST, 80, "root", "wrong")
    async with bytes_server(CHALLENGE % 1) as asked:
        with pytest.raises(DriverError, match="root"):
            await client.get("/a", deadline_s=1)

    assert len(asked) == 2


@pytest.mark.parametrize("header", [b"", b"WWW-Authenticate: Basic realm=x\r\n"])
@pytest.mark.socket
@remapped
async def test_a_login_of_another_kind_is_an_error(header: bytes) -> None:
    async with bytes_server(b"HTTP/1.1 401 X\r\n" + header + b"\r\n"):
        with pytest.raises(DriverError, match="authentication"):
            await DigestClient(HOST, 80, "root", "root").get("/a", deadline_s=1)


@pytest.mark.parametrize(
    ("raw", "whole"),
    [
        (PAGE, True),
        (PAGE[:-1], False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{", False),
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n', True),
        (b'HTTP/1.1 200 OK\r\n\r\n{"a":1}', False),
    ],
)
def test_a_response_is_whole_when_its_own_length_says_so(raw: bytes, whole: bool) -> None:
    assert is_whole_response(bytearray(raw)) is whole
    if whole:
        assert parse_response(raw).read() == b'{"a":1}'


@pytest.mark.socket
@remapped
async def test_half_a_page_is_an_error() -> None:
    async with bytes_server(PAGE[:-2]):
        with pytest.raises(DriverError, match="IncompleteRead"), as_driver_error():
            await DigestClient(HOST, 80, "root", "root").get("/a", deadline_s=1)
