"""HTTP/1.1 with digest authentication, as much of it as a miner's web interface speaks."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

from simulators.faces.connection import Connection, Listener

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
}
FIELD = re.compile(r'(\w+)=(?:"([^"]*)"|([^,\s]+))')


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    authenticate: str | None = None


class WebApi(Protocol):
    def serve(self, request: HttpRequest) -> HttpAnswer: ...


class HttpConnection(Connection):
    """Answers requests in order and keeps the connection, unless the client asks to close it."""

    def __init__(self, listener: Listener, api: WebApi) -> None:
        super().__init__(listener)
        self._api = api

    def take(self) -> None:
        if not self.received[:1].isalpha():
            # No method begins like this, so there is nothing to wait for.
            self.send(_wire(HttpAnswer(status=400)), close=True)
            self.received = b""
            return
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = _parse_head(self.received[:end])
            length = -1 if head is None else _length(head)
            if head is None or length < 0:
                self.send(_wire(HttpAnswer(status=400)), close=True)
                self.received = b""
                return
            if len(self.received) < end + 4 + length:
                return
            body, self.received = self.received[end + 4 : end + 4 + length], self.received[end + 4 + length :]
            request = HttpRequest(method=head.method, target=head.target, headers=head.headers, body=body)
            close = request.headers.get("connection", "").lower() == "close"
            self.send(_wire(self._api.serve(request)), close=close)


def digest_challenge(realm: str, nonce: str) -> str:
    return f'Digest realm="{realm}", nonce="{nonce}", algorithm=MD5, qop="auth"'


def digest_proves(request: HttpRequest, *, user: str, password: str, realm: str, nonce: str) -> bool:
    """Whether the request carries the digest that only someone with the password can make."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "digest":
        return False
    given = {name: quoted or bare for name, quoted, bare in FIELD.findall(rest)}
    secret = _md5(f"{user}:{realm}:{password}")
    action = _md5(f"{request.method}:{request.target}")
    counted = ":".join(given.get(name, "") for name in ("nc", "cnonce", "qop"))
    wanted = _md5(f"{secret}:{nonce}:{counted}:{action}")
    return given.get("username") == user and given.get("response") == wanted


def _parse_head(head: bytes) -> HttpRequest | None:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    headers = {
        name.strip().lower(): value.strip()
        for name, colon, value in (line.partition(":") for line in lines[1:])
    }
    return HttpRequest(method=words[0], target=words[1], headers=headers, body=b"")


def _length(request: HttpRequest) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() else -1


def _wire(answer: HttpAnswer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {REASONS[answer.status]}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
    ]
    if answer.authenticate is not None:
        lines.append(f"WWW-Authenticate: {answer.authenticate}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
