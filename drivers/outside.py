"""The threads for what blocks: looking up names, connecting to brokers, files, what is told over HTTP. One
that hangs dies with the process and never keeps it: until it has ended nobody controls the site, and what
ended it is not told. What has to be on the disk by then is awaited, with a deadline, by who wants it there.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Any, TypeVar

T = TypeVar("T")
Call = tuple[Future[Any], Callable[[], Any]]

MOST = 64
"""asyncio has six on a small machine, and a share that hangs under six files had all of them."""


class Outside(ThreadPoolExecutor):
    """Daemon threads, as many as there are calls at once, up to `most`. asyncio takes no executor of another
    kind, and for the threads of its base Python would wait at the end of the process."""

    def __init__(self, most: int = MOST) -> None:
        super().__init__(max_workers=1)  # it gets no call, and so starts no thread
        self._most = most
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._idle = Semaphore(0)
        self._started = 0
        self._starting = Lock()

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((future, partial(function, *args, **kwargs)))
        with self._starting:
            if not self._idle.acquire(blocking=False) and self._started < self._most:
                self._started += 1
                Thread(target=self._serve, name=f"outside {self._started}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the threads that are not held up somewhere, and waits for none."""
        with suppress(Empty):
            while cancel_futures and (waiting := self._calls.get_nowait()) is not None:
                waiting[0].cancel()
        with self._starting:
            for _ in range(self._started):
                self._calls.put(None)

    def _serve(self) -> None:
        while (taken := self._calls.get()) is not None:
            future, call = taken
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 it belongs to whoever asked
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del taken, future, call  # what was asked may hold much
            self._idle.release()
