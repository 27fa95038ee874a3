"""One JSON request over HTTP: what counts as an answer, and what as half of one."""

from __future__ import annotations

import pytest

from drivers.asic.jsonhttp import Answer, request
from drivers.asic.trouble import as_driver_error
from drivers.base import DriverError
from tests.drivers.asic_fakes import HOST, bytes_server, remapped

pytestmark = pytest.mark.socket


async def asked(answer: bytes, *, close: bool = True, post: object = None) -> tuple[Answer, bytes]:
    """What `answer` is taken for, and the request that it was given to."""
    async with bytes_server(answer, close=close) as heard:
        with as_driver_error():
            taken = await request(HOST, 80, "/x", post=post, headers={"Token": "t"}, deadline_s=0.5)
    return taken, heard[0]


@remapped
async def test_a_get_has_no_body_and_a_post_has_the_value_as_json() -> None:
    _, get = await asked(b"HTTP/1.1 200 OK\r\n\r\n")
    _, post = await asked(b"HTTP/1.1 200 OK\r\n\r\n", post={"pw": "x"})

    assert get == f"GET /x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\nToken: t\r\n\r\n".encode()
    assert post.startswith(b"POST /x HTTP/1.1\r\n")
    assert post.endswith(b'Content-Length: 11\r\n\r\n{"pw": "x"}')


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        (b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}', Answer(status=200, body={"a": 1})),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Answer(status=200)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(status=204)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n",
            Answer(status=200, body=[1]),
        ),
        (b'HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n{"err":1}', Answer(status=500, body={"err": 1})),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\n<html>", Answer(status=502)),
    ],
)
@remapped
async def test_a_whole_answer_is_taken_although_the_connection_stays_open(
    answer: bytes, taken: Answer
) -> None:
    assert (await asked(answer, close=False))[0] == taken


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",  # what http.client would call a success without a body
        b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a"',
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b"\x00\x17{{garbage\xff",
        b"garbage\r\n\r\n",
    ],
)
@remapped
async def test_half_an_answer_and_garbage_are_none(answer: bytes) -> None:
    with pytest.raises(DriverError):
        await asked(answer)


def test_a_reply_is_the_object_of_a_successful_answer_and_nothing_else() -> None:
    assert Answer(status=200, body={"a": 1}).reply("x") == {"a": 1}
    for answer in (Answer(status=200), Answer(status=200, body=[]), Answer(status=500, body={"a": 1})):
        with pytest.raises(DriverError, match=f"x: HTTP {answer.status}"):
            answer.reply("x")
