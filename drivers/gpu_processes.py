"""Who is on a GPU, and whether its driver has let go of who was.

A killed process holds memory for as long as the driver takes it down, seconds at times, and a job that is
started meanwhile finds none.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

from controller.domain.gpus import GpuProcess
from drivers.gpu_nvml import Board

MAX_PROCESSES = 256
LETS_GO_WITHIN_S = 30.0
"""For longer no driver takes down a process: it is stuck, and wants a reset."""
_OF_THE_HOST = "pid:[4026531836]"
"""The kernel's own number of the first namespace of processes."""


def processes(board: Board) -> tuple[GpuProcess, ...] | None:
    listed = board.ask("nvmlDeviceGetComputeRunningProcesses")
    if listed is None:
        return None
    return tuple(
        GpuProcess(
            pid=process.pid,
            memory_bytes=process.usedGpuMemory,
            name=_name(process.pid),
            instance=None if process.gpuInstanceId in (None, 0xFFFFFFFF) else process.gpuInstanceId,
            ended=_ended(process.pid),
        )
        for process in listed[:MAX_PROCESSES]
    )


class Leaving:
    """What of a board's processes has ended and is listed still. `left` may be called by another thread."""

    def __init__(self) -> None:
        self.jobs_left = 0
        self._looked_after = 0
        self._alive: set[int] = set()
        self._ended: dict[int, float] = {}

    def left(self) -> None:
        self.jobs_left += 1

    @property
    def is_over(self) -> bool:
        return not self._ended and self._looked_after == self.jobs_left

    def saw(self, listed: Sequence[GpuProcess], now_s: float, *, after: int) -> None:
        """A list that was asked for `after` so many jobs had left."""
        found = {process.pid for process in listed}
        ended = {process.pid for process in listed if self._has_ended(process)}
        self._alive = (self._alive & found) | {process.pid for process in listed if process.ended is False}
        self._ended = {pid: self._ended.get(pid, now_s) for pid in ended}
        self._looked_after = after

    def stuck(self, now_s: float) -> tuple[int, ...]:
        """Who ended so long ago that the driver will not let go of them any more."""
        return tuple(pid for pid, at_s in sorted(self._ended.items()) if now_s - at_s > LETS_GO_WITHIN_S)

    def _has_ended(self, process: GpuProcess) -> bool:
        """One that the host does not know has ended if it was known before; else it may be another host's."""
        return process.pid in self._alive if process.ended is None else process.ended


def _ended(pid: int) -> bool | None:
    """Whether a process has ended, or is being ended; None where nobody here can tell."""
    try:
        os.kill(pid, 0)
        lines = Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines()
    except (ProcessLookupError, FileNotFoundError):
        return _sees_all() or None
    except OSError:
        return False  # somebody else's: no job of ours
    told = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    # One that is being taken down has no memory of its own any more, and one that hangs has a signal to come.
    return "VmSize" not in told or bool(int(told.get("SigPnd", "0"), 16) >> (SIGKILL - 1) & 1)


def _sees_all() -> bool:
    """Whether every process of the host can be seen from here, unlike from within a container."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink()) == _OF_THE_HOST
    return False


def _name(pid: int) -> str:
    """What the host calls a process; empty for one of another namespace, or that is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    return ""
