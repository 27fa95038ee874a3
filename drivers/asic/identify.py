"""Who is at an address: pyasic's identification, a few machines at a time and never without an end."""

from __future__ import annotations

import asyncio

from drivers.asic.library import get_miner
from drivers.asic.trouble import contained

AT_ONCE = 20
"""Unbounded, 800 healthy machines at once are all missed: each costs CPU and they share one clock."""

_BACKENDS = "pyasic.miners.backends."


class Identifier:
    """Shared by all drivers of a process, so that together they stay within `at_once`."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._slots = asyncio.Semaphore(at_once)

    async def backend(self, host: str, *, deadline_s: float) -> str | None:
        """The class by which pyasic knows the firmware at `host`; None where it recognises nothing."""
        async with self._slots, asyncio.timeout(deadline_s):
            miner = await contained(get_miner(host))
        return None if miner is None else backend_of(type(miner))


def backend_of(miner: type) -> str:
    """Miner classes derive from exactly one backend first; a model's own class says nothing of firmware."""
    backends = (base.__name__ for base in miner.__mro__ if base.__module__.startswith(_BACKENDS))
    return next(backends, miner.__name__)
