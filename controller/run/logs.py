"""Logging: changes, as fields. What stays the same for hours is a metric, not a log line, and what changes
all the time is a line now and then."""

from __future__ import annotations

import io
import logging
import os
import select
import stat
import sys
from contextlib import suppress
from enum import StrEnum
from typing import TextIO, cast

import structlog
from structlog.processors import ExceptionRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from controller.run.calm import Calm


class LogFormat(StrEnum):
    CONSOLE = "console"
    JSON = "json"


class _Lossy(io.TextIOBase):
    """What `under` does not take, on a full disk or with nobody at its other end, is lost: no line of a log
    is worth the process."""

    def __init__(self, under: TextIO) -> None:
        self._under = under

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._under.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._under.flush()


PATIENCE_MS = 250
"""So long whoever reads our log may take nothing before it is taken to hang. A burst of lines takes less."""


class _Unwaiting(io.TextIOBase):
    """A pipe or a socket of which the other end may hang, as journald does with its disk: the lines that it
    does not take are lost. It is waited for once, and not again before it has taken something."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._patience_ms = PATIENCE_MS
        self._is_torn = False

    def write(self, text: str) -> int:
        line = left = (f"\n{text}" if self._is_torn else text).encode(errors="backslashreplace")
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
                self._patience_ms = PATIENCE_MS
            except BlockingIOError:
                if not self._gets_room():
                    break
        if len(left) < len(line):
            self._is_torn = bool(left)
        return len(text)

    def _gets_room(self) -> bool:
        wait_ms, self._patience_ms = self._patience_ms, 0
        return wait_ms > 0 and bool(self._room.poll(wait_ms))


def _stderr() -> TextIO:
    try:
        descriptor = sys.stderr.fileno()
    except OSError:  # a test has something else in its place
        return sys.stderr
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return cast(TextIO, _Unwaiting(descriptor))
    return sys.stderr


def configure(form: LogFormat, level: str) -> None:
    """Set up structlog on stderr, and the standard library's loggers with it.

    Must run before a device library is imported: some of them configure the root logger on import. A
    traceback is told without local variables, for some of them are secrets.
    """
    renderers: list[Processor]
    match form:
        case LogFormat.JSON:
            without_locals = ExceptionDictTransformer(show_locals=False)
            renderers = [ExceptionRenderer(without_locals), structlog.processors.JSONRenderer()]
        case LogFormat.CONSOLE:
            plain = structlog.dev.plain_traceback
            renderers = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    stamps: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    calm = Calm()
    out = cast(TextIO, _Lossy(_stderr()))
    structlog.configure(
        processors=[calm, *stamps, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(out),
    )
    libraries = logging.StreamHandler(out)
    libraries.addFilter(calm.filter)
    libraries.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*stamps, structlog.stdlib.add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(handlers=[libraries], level=logging.WARNING, force=True)
