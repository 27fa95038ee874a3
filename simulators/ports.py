"""Lets unmodified clients reach ports on which nobody may listen: an event loop that renumbers them.

Every asyncio client (streams, httpx through anyio, grpclib, sockets) ends in `loop.sock_connect`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any


class RemapLoop(asyncio.SelectorEventLoop):
    """Connections to a port in `ports` go to the port it maps to; all others are untouched."""

    def __init__(self, ports: Mapping[int, int]) -> None:
        super().__init__()
        self._ports = dict(ports)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        host, port, *rest = address
        await super().sock_connect(sock, (host, self._ports.get(port, port), *rest))


def remap(ports: Mapping[int, int]) -> Callable[[], RemapLoop]:
    """For `asyncio.Runner(loop_factory=remap({80: 18080}))`."""
    return partial(RemapLoop, ports)
