"""Daemon threads for NVML, one for each GPU of a host: a call that hangs must not take the event loop, the
end of the process, or the other GPUs with it.

A request that nobody waits for any more is never started late.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from drivers.base import DriverError
from drivers.gpu_nvml import Board, Session
from drivers.gpu_xid import XidLog, XidWatch

Answer = TypeVar("Answer")

REQUESTS_WAITING = 32


class GpuHost:
    """The GPUs of one host and what they have in common: the library, and the watch for their XID errors."""

    def __init__(
        self,
        *,
        library: str | None = None,
        timeout_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._library = library
        self._timeout_s = timeout_s
        self._clock = clock
        self._threads: dict[str, GpuThread] = {}
        self._watch = XidWatch(library)

    def attach(self, uuid: str) -> GpuThread:
        thread = GpuThread(
            uuid, Session(self._library, self._clock), timeout_s=self._timeout_s, clock=self._clock
        )
        self._threads[uuid] = thread
        self._watch.watch(uuid)
        return thread

    def xids(self, uuid: str) -> XidLog:
        """What was heard of a GPU so far. The first to ask begins the watch."""
        self._watch.start()
        return self._watch.watch(uuid)

    def detach(self, uuid: str) -> None:
        thread = self._threads.pop(uuid, None)
        if thread is not None:
            thread.end()
        if not self._threads:
            self._watch.stop()


class GpuThread:
    """The asynchronous side of one GPU: requests go through a bounded queue to one daemon thread.

    While the thread has been in one request for longer than `timeout_s` the GPU is stuck: requests fail at
    once instead of piling up behind it. It is whole again when that request comes back, if it ever does.
    """

    def __init__(self, uuid: str, session: Session, *, timeout_s: float, clock: Callable[[], float]) -> None:
        self._uuid = uuid
        self._session = session
        self._timeout_s = timeout_s
        self._clock = clock
        self._requests: queue.Queue[_Request | None] = queue.Queue(REQUESTS_WAITING)
        self._under_way: tuple[float, str] | None = None
        self._thread: threading.Thread | None = None

    def end(self) -> None:
        """Ends the thread, unless it is stuck; then it dies with the process."""
        if self._thread is not None:
            self._thread = None
            with contextlib.suppress(queue.Full):
                self._requests.put_nowait(None)

    async def run(self, what: str, work: Callable[[Board], Answer], timeout_s: float | None = None) -> Answer:
        """Do `work` in the thread. `DriverError` if NVML fails, or does not answer within `timeout_s`."""
        self._refuse_if_stuck()
        answer: Future[Answer] = Future()
        self._submit(_Request(what, lambda: self._session.on_board(self._uuid, work), answer))
        patience_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(patience_s):
                return await asyncio.wrap_future(answer)  # cancelled with who waits, if not yet begun
        except TimeoutError as error:
            raise DriverError(
                f"{what} of GPU {self._uuid}: no answer from NVML within {patience_s:g} s"
            ) from error

    def _refuse_if_stuck(self) -> None:
        under_way = self._under_way
        if under_way is not None and (since_s := self._clock() - under_way[0]) > self._timeout_s:
            raise DriverError(f"GPU {self._uuid}: NVML hangs, for {since_s:.0f} s in the {under_way[1]}")

    def _submit(self, request: _Request) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=f"nvml {self._uuid}", daemon=True)
            self._thread.start()
        try:
            self._requests.put_nowait(request)
        except queue.Full as error:
            raise DriverError(
                f"{request.what} of GPU {self._uuid}: {REQUESTS_WAITING} requests wait already"
            ) from error

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            if request.answer.set_running_or_notify_cancel():
                self._under_way = (self._clock(), request.what)
                try:
                    result = request.work()
                except BaseException as error:  # noqa: BLE001 a bug belongs to the task that waits, and ends it
                    self._under_way = None
                    request.answer.set_exception(error)
                else:
                    self._under_way = None
                    request.answer.set_result(result)
        with contextlib.suppress(DriverError):  # the process lets go of the driver in any case
            self._session.end()


@dataclass(frozen=True, slots=True)
class _Request:
    what: str
    work: Callable[[], Any]
    answer: Future[Any]
