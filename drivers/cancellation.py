"""A cancellation that a library lost is obeyed all the same, and one that a library made up is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec

P = ParamSpec("P")


class StrayCancelError(Exception):
    """A task that nobody told to end was cancelled, by what it used."""


def obey_cancellation() -> None:
    """End a task that was told to end. In Python 3.11 `asyncio.wait_for`, and so every library that uses it,
    loses a cancellation that comes together with its result; a task that goes on keeps its process alive.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def until_told(work: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs) -> None:
    """`work`, as a task of a group that is to know how it ended: of one that comes to its end by a
    cancellation a group takes no notice, whoever made it, and nobody would do that work any more."""
    try:
        await work(*args, **kwargs)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            raise StrayCancelError("a cancellation that nobody asked for") from error
        raise
