"""Lets unmodified clients reach ports on which nobody may listen: an event loop that renumbers them.

Every asyncio client (streams, httpx through anyio, grpclib) ends in `loop.create_connection`.
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

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        return await super().create_connection(protocol_factory, host, self._ports.get(port, port), **options)


def remap(ports: Mapping[int, int]) -> Callable[[], RemapLoop]:
    """For `asyncio.Runner(loop_factory=remap({80: 18080}))`."""
    return partial(RemapLoop, ports)
