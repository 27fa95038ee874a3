"""The edge of the ASIC drivers: the one place where trouble with the world becomes a `DriverError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

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
