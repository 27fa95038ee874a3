"""One controller for one journal: a lock of the kernel's, which ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

PID_BYTES = 32

log = structlog.get_logger()


class LockedError(Exception):
    """Another controller works with this journal; the message names its process."""


@contextmanager
def site_lock(journal: Path) -> Iterator[None]:
    """Held while the controller works with `journal`, beside it in a file that stays and means nothing by
    itself. Raises `LockedError` where another one does.

    Where no such file can be made the journal cannot be written either, and says so."""
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        beside = journal.resolve()  # by another name it is the same journal
        file = os.open(beside.with_name(f"{beside.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        yield
        return
    try:
        _take(file, journal)
        yield
    finally:
        os.close(file)


def _take(file: int, journal: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(file, PID_BYTES, 0).decode(errors="replace").strip() or "not told"
        raise LockedError(
            f"{journal}: another controller works with this journal (pid {pid}); two would each command the "
            "same machines: stop it, or give a site of its own a journal of its own"
        ) from None
    except OSError as error:  # a file system without locks
        log.warning("journal_not_locked", path=str(journal), why=str(error))
        return
    with suppress(OSError):  # on a full disk the lock holds all the same
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
