"""One JSON request to a miner over HTTP/1.1, on a connection of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drivers.asic.http1 import END_OF_HEAD, is_whole_response, parse_response
from drivers.asic.wire import exchange
from drivers.base import DriverError

UNAUTHORIZED = 401
FORBIDDEN = 403
NO_CONTENT = b" 204 "


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`body` is None where there was none, and where an unsuccessful answer was no JSON."""

    status: int
    body: Any = None

    @property
    def successful(self) -> bool:
        return 200 <= self.status < 300

    def reply(self, about: str) -> dict[str, Any]:
        """The object that a successful answer consists of."""
        if not self.successful or not isinstance(self.body, dict):
            raise DriverError(f"{about}: HTTP {self.status} with a body of {type(self.body).__name__}")
        return self.body


async def request(
    host: str,
    port: int,
    path: str,
    *,
    post: object = None,
    headers: Mapping[str, str] | None = None,
    deadline_s: float,
) -> Answer:
    """GET `path`, or POST the value of `post` to it."""
    body = b"" if post is None else json.dumps(post).encode()
    lines = [f"{'GET' if post is None else 'POST'} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if post is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    head = "\r\n".join([*lines, "", ""]).encode()
    raw = await exchange(host, port, head + body, deadline_s=deadline_s, is_whole=_is_whole)
    return _answer(path, raw)


def _is_whole(raw: bytearray) -> bool:
    return is_whole_response(raw) or (NO_CONTENT in raw[:20] and raw.endswith(END_OF_HEAD))


def _answer(path: str, raw: bytes) -> Answer:
    # http.client takes a head that was cut off for a whole one, and would find no body to miss.
    if END_OF_HEAD not in raw:
        raise DriverError(f"{path}: {len(raw)} bytes that are no HTTP answer, or half of one")
    response = parse_response(raw)
    body = response.read()
    if not body.strip():
        return Answer(status=response.status)
    try:
        return Answer(status=response.status, body=json.loads(body))
    except ValueError:
        if response.status == 200:
            raise
        return Answer(status=response.status)
