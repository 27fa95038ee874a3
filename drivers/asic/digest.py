"""HTTP with digest authentication (RFC 7616, MD5, qop=auth).

The last challenge is remembered, so that a request normally costs one round trip and not two, and pages that
are wanted together come over one connection.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from hashlib import md5
from typing import Any
from urllib.request import parse_http_list, parse_keqv_list

from drivers.asic.adapter import RefusedError
from drivers.asic.http1 import Page, whole_page
from drivers.asic.wire import Line
from drivers.base import DriverError

UNAUTHORIZED = 401
OK = 200


class DigestClient:
    def __init__(self, host: str, port: int, username: str, password: str) -> None:
        self._host = host
        self._port = port
        self._username = username
        self._password = password
        self._challenge: dict[str, str] = {}
        self._realm_secret = ""
        self._count = 0

    def forget(self) -> None:
        self._challenge = {}

    async def get(self, path: str, *, deadline_s: float) -> Any:
        (page,) = await self.get_all([path], deadline_s=deadline_s)
        return page

    async def get_all(self, paths: Sequence[str], *, deadline_s: float) -> list[Any]:
        """The values of several pages; `deadline_s` is for each."""
        line = Line(self._host, self._port)
        try:
            return [await self._request(line, "GET", path, b"", deadline_s) for path in paths]
        finally:
            line.close()

    def line(self) -> Line:
        """For a `post` whose connection has to outlive it: whoever asks for one closes it."""
        return Line(self._host, self._port)

    async def post(self, path: str, value: object, *, deadline_s: float, line: Line | None = None) -> Any:
        """Over `line` where one is given, which an answer that does not come in time leaves open."""
        own = line or self.line()
        try:
            return await self._request(own, "POST", path, json.dumps(value).encode(), deadline_s)
        finally:
            if line is None:
                own.close()

    async def _request(self, line: Line, method: str, path: str, body: bytes, deadline_s: float) -> Any:
        for _ in ("with the last challenge, if any", "with a fresh one"):
            request = self._head(method, path, body) + body
            page = await line.ask(request, deadline_s=deadline_s, whole=whole_page)
            if page.closes or body:
                line.close()  # what is written must never meet a line that the miner closes just now
            if page.status != UNAUTHORIZED:
                return _content(path, page)
            self._take(parse_challenge(page.challenge))
        self.forget()
        raise RefusedError(f"{path}: user {self._username!r} or its password is not accepted", UNAUTHORIZED)

    def _take(self, challenge: dict[str, str]) -> None:
        self._challenge = challenge
        self._realm_secret = _md5(f"{self._username}:{challenge['realm']}:{self._password}")
        self._count = 0

    def _head(self, method: str, path: str, body: bytes) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}"]
        if self._challenge:
            self._count += 1
            lines.append(f"Authorization: {self._authorization(method, path)}")
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode()

    def _authorization(self, method: str, path: str) -> str:
        realm, nonce = self._challenge["realm"], self._challenge["nonce"]
        count, client_nonce = f"{self._count:08x}", secrets.token_hex(8)
        action = _md5(f"{method}:{path}")
        response = _md5(f"{self._realm_secret}:{nonce}:{count}:{client_nonce}:auth:{action}")
        fields = (
            f'username="{self._username}", realm="{realm}", nonce="{nonce}", uri="{path}", algorithm=MD5, '
            f'qop=auth, nc={count}, cnonce="{client_nonce}", response="{response}"'
        )
        opaque = self._challenge.get("opaque")
        return f'Digest {fields}, opaque="{opaque}"' if opaque else f"Digest {fields}"


def parse_challenge(header: str) -> dict[str, str]:
    scheme, _, fields = header.partition(" ")
    challenge = parse_keqv_list(parse_http_list(fields))
    qops = [qop.strip() for qop in challenge.get("qop", "").split(",")]
    if scheme.lower() != "digest" or challenge.get("algorithm", "MD5").upper() != "MD5" or "auth" not in qops:
        raise DriverError(f"no authentication that we know: {header!r}")
    return challenge


def _content(path: str, page: Page) -> Any:
    if page.status != OK:
        raise DriverError(f"{path}: HTTP {page.status}")
    return json.loads(page.body)


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
