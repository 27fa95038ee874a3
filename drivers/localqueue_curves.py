"""Keeps what jobs have shown of the cost of power caps, beside their queue and never at its expense."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

import structlog

from drivers.gpu_learning import Learner, Working
from drivers.localqueue_progress import put

SAVE_EVERY_S = 60.0

log = structlog.get_logger()


class KeptLearner:
    """Tells `learner` what runs, and has `thread` write to `file` what it learned: nobody waits for that."""

    def __init__(self, learner: Learner, file: Path, thread: Executor) -> None:
        self._learner = learner
        self._file = file
        self._thread = thread
        self._saved_s = float("-inf")
        self._failing = False

    def saw(self, jobs: Sequence[Working], now_s: float) -> None:
        """The jobs that run at `now_s`, all of them."""
        self._learner.saw(jobs, now_s)
        if not self._learner.news or now_s - self._saved_s < SAVE_EVERY_S:
            return
        self._saved_s, text = now_s, self._learner.dump()
        writing = asyncio.get_running_loop().run_in_executor(self._thread, put, self._file, text)
        writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[None]) -> None:
        if writing.cancelled():
            return
        try:
            writing.result()
        except OSError as error:
            self._learner.news = True  # what was not kept is still to be
            if not self._failing:
                log.warning("curves_not_kept", file=str(self._file), why=str(error))
            self._failing = True
        else:
            if self._failing:
                log.info("curves_kept_again", file=str(self._file))
            self._failing = False
