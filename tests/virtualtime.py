"""An event loop whose clock jumps to the next timer when nothing is left to do: minutes cost milliseconds.

Sockets and threads work, but take no virtual time: while a thread is at work the clock stands still.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar

START_S = 1_000.0
LONGEST_S = 86_400.0
THREAD_POLL_S = 0.05
GIVE_UP_S = 5.0

P = ParamSpec("P")
T = TypeVar("T")


class VirtualTimeError(Exception):
    """The test waits for something that cannot come."""


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(_Jump(self))
        self.now_s = START_S
        self.threads_at_work = 0

    def time(self) -> float:
        return self.now_s

    def run_in_executor(  # type: ignore[override]  # typeshed names the type variables differently
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self.threads_at_work += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self.threads_at_work -= 1


class _Jump(selectors.DefaultSelector):
    """Asked to wait for a while, it moves the clock instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self._loop.threads_at_work:
            return super().select(THREAD_POLL_S)
        if timeout is None:
            if not (ready := super().select(GIVE_UP_S)):
                raise VirtualTimeError("nothing is left to do, no timer is set, and the test is not over")
            return ready
        self._loop.now_s += timeout
        if self._loop.now_s > START_S + LONGEST_S:
            raise VirtualTimeError(f"the test goes on after {LONGEST_S:.0f} s")
        return []


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test on a loop of its own, in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def now_s() -> float:
    """Virtual seconds since the test began, without the noise of adding them up."""
    return round(asyncio.get_running_loop().time() - START_S, 6)
