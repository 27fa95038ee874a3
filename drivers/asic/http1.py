"""A miner's answer over HTTP/1.1: where it ends, and what is in it."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, cast

END_OF_HEAD = b"\r\n\r\n"

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CHALLENGE = re.compile(rb"\r\nwww-authenticate:[ \t]*([^\r]*)", re.IGNORECASE)
_CLOSES = re.compile(rb"HTTP/1\.0|\r\nconnection:[ \t]*close", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """`challenge` is what it wants to be proven; `closes` that this connection carries no other."""

    status: int
    body: bytes
    challenge: str = ""
    closes: bool = True


def whole_page(raw: bytearray, closed: bool) -> Page | None:
    """The answer once it is all there. http.client would take ten times as long for the usual one, whose
    length is told; it judges the rest, and an answer that was cut off."""
    end = raw.find(END_OF_HEAD)
    if end >= 0:
        head = bytes(raw[: end + 2])
        status, length = _STATUS.match(head), _CONTENT_LENGTH.search(head)
        if status and length and not _CHUNKED.search(head):
            stop = end + len(END_OF_HEAD) + int(length[1])
            if len(raw) >= stop:
                challenge = _CHALLENGE.search(head)
                return Page(
                    int(status[1]),
                    bytes(raw[end + len(END_OF_HEAD) : stop]),
                    challenge[1].decode("latin-1") if challenge else "",
                    _CLOSES.search(head) is not None,
                )
    if closed or is_whole_response(raw):
        response = parse_response(bytes(raw))
        return Page(response.status, response.read(), response.getheader("WWW-Authenticate") or "")
    return None


def is_whole_response(raw: bytearray) -> bool:
    """Some firmware keeps the connection open although it was asked to close it."""
    head, blank, body = raw.partition(END_OF_HEAD)
    if not blank:
        return False
    if length := _CONTENT_LENGTH.search(head):
        return len(body) >= int(length[1])
    return bool(_CHUNKED.search(head)) and body.endswith(b"0\r\n\r\n")


def parse_response(raw: bytes) -> HTTPResponse:
    response = HTTPResponse(cast(Any, _Replay(raw)))
    response.begin()
    return response


class _Replay:
    """Received bytes in the place of the socket that http.client reads from."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)
