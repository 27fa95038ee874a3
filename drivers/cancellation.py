"""A cancellation that a library lost is obeyed all the same."""

from __future__ import annotations

import asyncio


def obey_cancellation() -> None:
    """End a task that was told to end. In Python 3.11 `asyncio.wait_for`, and so every library that uses it,
    loses a cancellation that comes together with its result; a task that goes on keeps its process alive.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
