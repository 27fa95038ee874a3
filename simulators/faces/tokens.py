"""Tokens that firmware hands out over HTTP: for a while, and only so many at a time."""

from __future__ import annotations

import secrets
from collections.abc import Callable


class Tokens:
    """`most` are held at a time: the oldest goes for a new one. A boot forgets them all."""

    def __init__(self, now_s: Callable[[], float], *, life_s: float, most: int) -> None:
        self._now_s = now_s
        self._life_s = life_s
        self._most = most
        self._until_s: dict[str, float] = {}

    def issue(self) -> str:
        now_s = self._now_s()
        self._until_s = {token: until_s for token, until_s in self._until_s.items() if until_s > now_s}
        while len(self._until_s) >= self._most:
            self._until_s.pop(next(iter(self._until_s)))
        token = secrets.token_urlsafe(24)
        self._until_s[token] = now_s + self._life_s
        return token

    def holds(self, token: str) -> bool:
        return self._until_s.get(token, -1.0) > self._now_s()

    def clear(self) -> None:
        self._until_s.clear()
