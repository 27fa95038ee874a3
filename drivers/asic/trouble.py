"""The edge of the ASIC drivers: the one place where trouble with the world becomes a `DriverError`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, TypeVar

from drivers.asic.library import APIError, HttpxError
from drivers.base import DriverError

TROUBLE = (
    APIError,
    OSError,  # TimeoutError and every failed connection among them
    EOFError,
    LookupError,  # a key or a list item that firmware left out
    TypeError,  # a value of another kind than documented
    AttributeError,  # pyasic calls .keys() on whatever JSON came
    ValueError,  # no number, no JSON, no UTF-8, a pydantic ValidationError
    ArithmeticError,  # a number too large to reckon with
    RecursionError,  # JSON nested without end
    HTTPException,
    HttpxError,
)

MAX_WHY = 200
"""pyasic puts the whole reply into its decoding errors."""

CLEANUP_S = 1.0

Result = TypeVar("Result")


@contextmanager
def as_driver_error() -> Iterator[None]:
    try:
        yield
    except DriverError:
        raise
    except TROUBLE as error:
        raise DriverError(f"{type(error).__name__}: {error}"[:MAX_WHY]) from error


def is_silence(error: DriverError) -> bool:
    """Whether nobody was heard at all, not even a port that refused."""
    cause = error.__cause__
    return isinstance(cause, OSError) and not isinstance(cause, ConnectionRefusedError)


async def contained(call: Coroutine[Any, Any, Result]) -> Result:
    """Run pyasic's code in a task of its own: in places it swallows a cancellation, which must not be ours,
    and it raises whatever its transports do, a failed assertion or a group of errors for an odd page, which
    must not end more than this one conversation."""
    task = asyncio.create_task(call)
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            task.cancel()
            await asyncio.wait({task}, timeout=CLEANUP_S)
    if task.cancelled():
        raise DriverError("pyasic gave up")
    error = task.exception()
    if isinstance(error, DriverError):
        raise error
    if error is not None:
        raise DriverError(f"no sense in its answers: {error!r}"[:MAX_WHY]) from error
    return task.result()
