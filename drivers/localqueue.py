"""GPU jobs as plain processes of this machine, in a queue that outlives the daemon.

Nothing about a job is remembered here: every call reads the queue's file and asks the operating system about
each process, so a restarted daemon carries on where the last one stopped. Jobs are never ended by `close`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from controller.domain.devices import Failed, Outcome, Refused
from controller.domain.jobs import JobCommand, JobState, JobStatus, QueueReading
from drivers.base import DriverError
from drivers.gpu_learning import Learner, Working
from drivers.localqueue_curves import KeptLearner
from drivers.localqueue_jobs import JobRecord, JobRequest, JobView
from drivers.localqueue_logs import Logs
from drivers.localqueue_progress import progress
from drivers.localqueue_running import Runner
from drivers.localqueue_store import (
    JobRefusedError,
    QueueError,
    Store,
    cancel,
    held_open,
    list_jobs,
    opened,
    submit,
)
from drivers.outside import Outside

__all__ = [
    "JobRequest",
    "JobView",
    "LocalQueue",
    "LocalQueueConfig",
    "QueueError",
    "build",
    "cancel",
    "list_jobs",
    "submit",
]

READ_DEADLINE_S = 4.0
MEGABYTE = 1_000_000

T = TypeVar("T")
Status = Callable[[Store, JobRecord], tuple[JobStatus, ...]]
"""The job as it is now; nothing if it is over."""


class LocalQueueConfig(BaseModel):
    """`grace_s` is what a job that asks for no other time gets between SIGTERM and SIGKILL. Of what a job
    prints `max_log_mb` are kept, of all jobs together `max_logs_mb`.

    Jobs run as the daemon's user: whoever may write to `directory` may do whatever that user may.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: str = Field(min_length=1)
    directory: Path
    grace_s: float = Field(default=30.0, ge=0, le=86_400)
    max_jobs: int = Field(default=1_000, ge=1, le=10_000)
    max_log_mb: float = Field(default=64.0, ge=0.1, le=100_000)
    max_logs_mb: float = Field(default=2_000.0, ge=128, le=10_000_000)

    @property
    def curves_file(self) -> Path:
        """What jobs have shown of the cost of power caps."""
        return self.directory / "curves.json"


def build(
    config: LocalQueueConfig,
    visible: Mapping[str, str],
    *,
    learner: Learner | None = None,
    takes_jobs: Callable[[str], bool] = lambda gpu: True,
    job_left: Callable[[str], None] = lambda gpu: None,
) -> LocalQueue:
    return LocalQueue(config, visible, learner=learner, takes_jobs=takes_jobs, job_left=job_left)


class LocalQueue:
    """A `JobQueue`. `visible` names the UUID of each GPU by device id. One thread does all that blocks.

    A GPU that `takes_jobs` no more gets no new one; the one that it has is left to its owner. `job_left` is
    told of each that a job has left, before it is offered again, and the `learner` what jobs say of their
    progress.
    """

    def __init__(
        self,
        config: LocalQueueConfig,
        visible: Mapping[str, str],
        *,
        learner: Learner | None = None,
        takes_jobs: Callable[[str], bool] = lambda gpu: True,
        job_left: Callable[[str], None] = lambda gpu: None,
    ) -> None:
        self._config = config
        self._visible = dict(visible)
        self._takes_jobs = takes_jobs
        self._thread = Outside(1)
        self._held_open: sqlite3.Connection | None = None
        each_bytes, sum_bytes = round(config.max_log_mb * MEGABYTE), round(config.max_logs_mb * MEGABYTE)
        logs = Logs(config.directory / "logs", each_bytes, sum_bytes)
        self._runner = Runner(config.directory, self._visible, config.grace_s, logs, job_left)
        self._learner = (
            KeptLearner(learner, config.curves_file, self._thread) if learner is not None else None
        )

    @property
    def id(self) -> str:
        return self._config.id

    async def read(self) -> QueueReading:
        """What is not over: all that runs, and the first `max_jobs` that wait."""
        return await self._seen(self._runner.noted)

    async def look(self) -> QueueReading:
        """The same of jobs that are left to themselves: none is ended, and none that is over cleared away."""
        return await self._seen(self._runner.as_it_is)

    async def _seen(self, status: Status) -> QueueReading:
        reading, working = await self._within(READ_DEADLINE_S, lambda: self._read(status))
        if self._learner is not None:
            self._learner.saw(working, asyncio.get_running_loop().time())
        return reading

    async def apply(self, command: JobCommand) -> Outcome:
        try:
            return await self._within(command.deadline_s, lambda: self._runner.apply(command))
        except JobRefusedError as error:
            return Refused(str(error))
        except DriverError as error:
            return Failed(str(error))

    async def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._held_open is not None:
            self._held_open.close()

    async def _within(self, deadline_s: float, call: Callable[[], T]) -> T:
        """Do `call` in the thread. One that is late or cancelled goes on there, and the next waits for it."""
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except TimeoutError:
            raise QueueError(f"{self._config.directory}: no answer within {deadline_s} s") from None
        except OSError as error:
            raise QueueError(f"{self._config.directory}: {error}") from error

    def _read(self, status_of: Status) -> tuple[QueueReading, tuple[Working, ...]]:
        with opened(self._config.directory) as store:
            self._held_open = self._held_open or held_open(self._config.directory)
            records = store.not_over(self._config.max_jobs)
            found = [(record, status) for record in records for status in status_of(store, record)]
        self._runner.bound_logs([status.job.id for _, status in found if status.gpus])
        gpus = tuple(gpu for gpu in sorted(self._visible) if self._takes_jobs(gpu))
        working = tuple(
            Working(
                job=record.id,
                kind=record.request.kind,
                gpus=status.gpus,
                units=progress(self._runner.progress_file(record.id)),
            )
            for record, status in found
            if status.state is JobState.RUNNING
        )
        return QueueReading(queue=self.id, jobs=tuple(status for _, status in found), gpus=gpus), working
