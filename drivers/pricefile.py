"""A file of dated prices: read again whenever it changes, believed whole or not at all, the last good kept.

Whoever writes it replaces it in one step (write beside it, then rename): half a file may look like a whole.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace

from controller.domain.prices import NO_SERIES, PriceReading, Series
from drivers.base import DriverError
from drivers.priceseries import MAX_BYTES, parse
from drivers.pricetables import PriceFileConfig

READ_TIMEOUT_S = 5.0

Identity = tuple[int, int, int, int]
"""Device, inode, size and time of change of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the last look at the file came to. A file that was refused is not read again until it changes."""

    identity: Identity | None = None
    series: Series = NO_SERIES
    trouble: str = ""


Looks = Callable[[PriceFileConfig, Look], Look]


class PriceFile:
    """A `PriceSource` of one series. `look` may take its time: it is called in a thread."""

    def __init__(
        self, config: PriceFileConfig, *, look: Looks | None = None, timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        self._config = config
        self._look = look_at if look is None else look
        self._timeout_s = timeout_s
        self._last = Look()
        self._looking: asyncio.Future[Look] | None = None

    @property
    def id(self) -> str:
        return self._config.id

    async def read(self) -> tuple[PriceReading, ...]:
        """A disk that does not answer is waited for in one thread only, and costs a read its time."""
        if self._looking is None:
            loop = asyncio.get_running_loop()
            self._looking = loop.run_in_executor(None, self._look, self._config, self._last)
        done, _ = await asyncio.wait([self._looking], timeout=self._timeout_s)
        if done:
            self._last, self._looking = self._looking.result(), None
            trouble = self._last.trouble
        else:
            trouble = f"{self._config.path}: no answer within {self._timeout_s:g} s"
        return (PriceReading(source=self.id, series=self._last.series, trouble=trouble),)

    async def close(self) -> None:
        return None


def look_at(config: PriceFileConfig, last: Look, read: Callable[[int], bytes] | None = None) -> Look:
    """The file as it is now; what could be read before stays in force where it cannot be now."""
    try:
        # Not to block on a pipe that somebody put in the file's place.
        descriptor = os.open(config.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return replace(last, identity=None, trouble=f"{config.path}: {error.strerror}")
    try:
        before = _identity(descriptor)
        if before == last.identity:
            return last
        try:
            series = parse(config, (_content if read is None else read)(descriptor))
        except (DriverError, OSError) as error:
            return replace(last, identity=before, trouble=f"{config.path}: {error}")
        if _identity(descriptor) != before:
            return replace(last, identity=None, trouble=f"{config.path}: changed while it was read")
        return Look(identity=before, series=series)
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> bytes:
    """All of a file, or one byte more than it may have."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise DriverError("is not a regular file")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_BYTES + 1)


def _identity(descriptor: int) -> Identity:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
