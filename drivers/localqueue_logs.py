"""What jobs print, kept within bounds: of a log that grows too long the beginning and the end stay.

A log is cut in place, for its job holds it open to append to it. What the job prints in the moment of that
may be lost, or stand before what it printed last. A disk that takes nothing is no reason to keep a log long.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

import structlog

SHORT_BYTES = 65_536
"""To this are logs of jobs that do not run cut, the oldest first, when all logs together are too long."""
SUM_EVERY_S = 30.0
"""How often all of them are added up. Those of jobs that run are looked at with every read of the queue."""

CUTS_AT_ONCE = 4
"""So many logs of running jobs at one look: who reads the queue does not wait for all of them."""
LATE_BYTES = 1_000_000
"""What a job may print between two calls to the operating system, and is not lost."""
MARK_BYTES_MAX = 80

_MARK = re.compile(rb"\[wattshift: (\d{1,30}) bytes are left out here\]\n")

log = structlog.get_logger()


class Logs:
    """The logs in `directory`, each at most `most_bytes` long and all together `sum_bytes`, but for what is
    printed between two looks. Jobs that run share half of the sum, if that is less."""

    def __init__(self, directory: Path, most_bytes: int, sum_bytes: int) -> None:
        self._directory = directory
        self._most_bytes = most_bytes
        self._sum_bytes = sum_bytes
        self._added_up_s = float("-inf")
        self._told: set[str] = set()

    def of(self, job: str) -> Path:
        return self._directory / f"{job}.log"

    def bound(self, running: Collection[str], now_s: float) -> None:
        """Cut what is too long. Whatever is wrong with a log, no reading of the queue fails by it."""
        self._told &= set(running)
        share = min(self._most_bytes, self._sum_bytes // 2 // max(1, len(running)))
        longest = sorted(((_size(self.of(job)), job) for job in running), reverse=True)
        for _, job in longest[:CUTS_AT_ONCE]:
            self._cut(self.of(job), share)
        if 0 <= now_s - self._added_up_s < SUM_EVERY_S:
            return
        self._added_up_s = now_s
        found = sorted(self._found())
        sum_bytes = sum(size for _, size, _ in found)
        others = [(size, path) for _, size, path in found if path.stem not in running]
        short = min(SHORT_BYTES, self._sum_bytes // 2 // max(1, len(others)))
        for size, path in others:
            if sum_bytes <= self._sum_bytes:
                return
            if self._cut(path, short):
                sum_bytes -= size - short

    def _found(self) -> Iterator[tuple[float, int, Path]]:
        """When each was last written to, and its size."""
        with suppress(OSError), os.scandir(self._directory) as entries:
            for entry in entries:
                with suppress(OSError):  # gone meanwhile
                    if entry.name.endswith(".log") and entry.is_file(follow_symlinks=False):
                        told = entry.stat(follow_symlinks=False)
                        yield told.st_mtime, told.st_size, Path(entry.path)

    def _cut(self, path: Path, most_bytes: int) -> int:
        try:
            left_out = cut(path, most_bytes)
        except FileNotFoundError:
            return 0
        except OSError as error:
            self._tell(path, why=str(error))
            return 0
        if left_out:
            self._tell(path, bytes=left_out)
        return left_out

    def _tell(self, path: Path, **what: object) -> None:
        """Once for each run of a job: one that prints without end is cut again and again."""
        if path.stem not in self._told:
            self._told.add(path.stem)
            log.warning("job_log_cut" if "bytes" in what else "job_log_not_cut", subject=path.stem, **what)


def _size(path: Path) -> int:
    try:
        return path.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def cut(path: Path, most_bytes: int) -> int:
    """Leave a quarter of `most_bytes` at the beginning and at the end of a log that is longer, with a line
    that says how much is missing between them, and return how many bytes were left out now. `OSError` if that
    cannot be done; killed in the middle of it, the end of the log may be lost, and never the line."""
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        size = os.fstat(file).st_size
        if size <= most_bytes:
            return 0
        end_bytes = most_bytes // 4
        begins = os.pread(file, end_bytes + MARK_BYTES_MAX, 0)
        before = _MARK.search(begins)
        head_bytes = before.start() if before is not None else _whole_lines(begins[:end_bytes])
        tail_at = size - end_bytes
        tail = os.pread(file, end_bytes + LATE_BYTES, tail_at)
        skipped = tail.find(b"\n", 0, len(tail) // 2) + 1
        left_out = tail_at + skipped - head_bytes - (len(before[0]) if before is not None else 0)
        missing = left_out + (int(before[1]) if before is not None else 0)
        begin = b"" if begins[:head_bytes].endswith(b"\n") else b"\n"
        mark = begin + b"[wattshift: %d bytes are left out here]\n" % missing
        with suppress(OSError):  # it needs no room where the file lies, unless that copies on write
            os.pwrite(file, mark, head_bytes)
        os.ftruncate(file, head_bytes + len(mark))
    finally:
        os.close(file)
    with suppress(OSError):  # a disk that takes nothing back has at least more room now
        _append(path, tail[skipped:])
    return left_out


def _whole_lines(head: bytes) -> int:
    """How much of it to keep, so that no line is cut, unless one is very long."""
    return head.rfind(b"\n", len(head) // 2) + 1 or len(head)


def _append(path: Path, text: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while text:
            text = text[os.write(file, text) :]
    finally:
        os.close(file)
