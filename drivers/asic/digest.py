"""HTTP with digest authentication (RFC 7616, MD5, qop=auth), one connection per request.

The last challenge is remembered, so that a request normally costs one round trip and not two.
"""

from __future__ import annotations

import io
import json
import re
import secrets
from hashlib import md5
from http.client import HTTPResponse
from typing import Any, cast
from urllib.request import parse_http_list, parse_keqv_list

from drivers.asic.wire import exchange
from drivers.base import DriverError

UNAUTHORIZED = 401
OK = 200

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)


class DigestClient:
    def __init__(self, host: str, port: int, username: str, password: str) -> None:
        self._host = host
        self._port = port
        self._username = username
        self._password = password
        self._challenge: dict[str, str] = {}
        self._count = 0

    def forget(self) -> None:
        self._challenge = {}

    async def get(self, path: str, *, deadline_s: float) -> Any:
        return await self._request("GET", path, b"", deadline_s)

    async def post(self, path: str, value: object, *, deadline_s: float) -> Any:
        return await self._request("POST", path, json.dumps(value).encode(), deadline_s)

    async def _request(self, method: str, path: str, body: bytes, deadline_s: float) -> Any:
        for _ in ("with the last challenge, if any", "with a fresh one"):
            request = self._head(method, path, body) + body
            raw = await exchange(
                self._host, self._port, request, deadline_s=deadline_s, is_whole=is_whole_response
            )
            response = parse_response(raw)
            if response.status != UNAUTHORIZED:
                return _content(path, response)
            self._challenge = parse_challenge(response.getheader("WWW-Authenticate") or "")
            self._count = 0
        self.forget()
        raise DriverError(f"{path}: user {self._username!r} or its password is not accepted")

    def _head(self, method: str, path: str, body: bytes) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", "Connection: close"]
        if self._challenge:
            self._count += 1
            lines.append(f"Authorization: {self._authorization(method, path)}")
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode()

    def _authorization(self, method: str, path: str) -> str:
        realm, nonce = self._challenge["realm"], self._challenge["nonce"]
        count, client_nonce = f"{self._count:08x}", secrets.token_hex(8)
        secret = _md5(f"{self._username}:{realm}:{self._password}")
        response = _md5(f"{secret}:{nonce}:{count}:{client_nonce}:auth:{_md5(f'{method}:{path}')}")
        fields = (
            f'username="{self._username}", realm="{realm}", nonce="{nonce}", uri="{path}", algorithm=MD5, '
            f'qop=auth, nc={count}, cnonce="{client_nonce}", response="{response}"'
        )
        opaque = self._challenge.get("opaque")
        return f'Digest {fields}, opaque="{opaque}"' if opaque else f"Digest {fields}"


def is_whole_response(raw: bytearray) -> bool:
    """Some firmware keeps the connection open although it was asked to close it."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    if not blank:
        return False
    if length := _CONTENT_LENGTH.search(head):
        return len(body) >= int(length[1])
    return bool(_CHUNKED.search(head)) and body.endswith(b"0\r\n\r\n")


def parse_response(raw: bytes) -> HTTPResponse:
    response = HTTPResponse(cast(Any, _Replay(raw)))
    response.begin()
    return response


def parse_challenge(header: str) -> dict[str, str]:
    scheme, _, fields = header.partition(" ")
    challenge = parse_keqv_list(parse_http_list(fields))
    qops = [qop.strip() for qop in challenge.get("qop", "").split(",")]
    if scheme.lower() != "digest" or challenge.get("algorithm", "MD5").upper() != "MD5" or "auth" not in qops:
        raise DriverError(f"no authentication that we know: {header!r}")
    return challenge


def _content(path: str, response: HTTPResponse) -> Any:
    body = response.read()
    if response.status != OK:
        raise DriverError(f"{path}: HTTP {response.status}")
    return json.loads(body)


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


class _Replay:
    """Received bytes in the place of the socket that http.client reads from."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._raw)
