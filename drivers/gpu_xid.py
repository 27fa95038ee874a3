"""XID errors of a host's GPUs, heard as they happen: one daemon thread waits for NVML's critical events.

It counts and never judges. A board or a driver without events has none, and that is no error.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pynvml

from drivers.base import DriverError
from drivers.gpu_nvml import ABSENT, TIMEOUT, UNINITIALIZED, Board, GpuError, Session

WAIT_MS = 1000
REGISTER_EVERY_S = 60.0
"""How often boards that could not be registered (lost, say) are tried again."""
PAUSE_S = 5.0


class XidLog:
    """Of one GPU: how often each XID came since this process started, and the last. Any thread may read."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.last: int | None = None

    def heard(self, xid: int) -> None:
        self._counts = self._counts + Counter((xid,))  # replaced whole: whoever reads sees one or the other
        self.last = xid

    @property
    def total(self) -> int:
        return self._counts.total()

    @property
    def counts(self) -> Mapping[int, int]:
        return MappingProxyType(self._counts)


class XidWatch:
    """`watch` before `start`. `stop` takes effect within a second; the thread never holds up the process."""

    def __init__(self, library: str | None) -> None:
        self._library = library
        self._logs: dict[str, XidLog] = {}
        self._told: threading.Event | None = None

    def watch(self, uuid: str) -> XidLog:
        return self._logs.setdefault(uuid, XidLog())

    def start(self) -> None:
        if self._told is None:
            self._told = threading.Event()
            threading.Thread(target=self._run, args=(self._told,), name="nvml-xid", daemon=True).start()

    def stop(self) -> None:
        if self._told is not None:
            self._told.set()
        self._told = None

    def _run(self, told: threading.Event) -> None:
        session = Session(self._library)
        while not told.is_set():
            try:
                self._listen(session, told)
            except GpuError as error:
                if error.code in ABSENT:
                    break  # this driver has no events
                if error.code == UNINITIALIZED:
                    session.forget()
            except DriverError:
                pass  # NVML cannot be initialised now: the boards' own threads tell of that
            told.wait(PAUSE_S)
        with suppress(DriverError):
            session.end()

    def _listen(self, session: Session, told: threading.Event) -> None:
        """Until told to stop, or until NVML fails: a driver that comes back must be registered with anew."""
        events = session.call("nvmlEventSetCreate")
        try:
            boards: dict[str, Board] = {}
            again_s = 0.0
            while not told.is_set():
                if len(boards) < len(self._logs) and time.monotonic() >= again_s:
                    self._register(session, events, boards)
                    again_s = time.monotonic() + REGISTER_EVERY_S
                self._await_one(session, events, boards)
        finally:
            with suppress(GpuError):
                session.call("nvmlEventSetFree", events)

    def _register(self, session: Session, events: Any, boards: dict[str, Board]) -> None:
        for uuid in self._logs.keys() - boards.keys():
            with suppress(GpuError):
                board = session.board(uuid)
                board.call("nvmlDeviceRegisterEvents", pynvml.nvmlEventTypeXidCriticalError, events)
                boards[uuid] = board

    def _await_one(self, session: Session, events: Any, boards: Mapping[str, Board]) -> None:
        try:
            event = session.call("nvmlEventSetWait_v2", events, WAIT_MS)
        except GpuError as error:
            if error.code != TIMEOUT:
                raise
            return
        for uuid, board in boards.items():
            if board.is_at(event.device):
                self._logs[uuid].heard(int(event.eventData))
