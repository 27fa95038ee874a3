"""GPU jobs as plain processes of this machine, in a queue that outlives the daemon.

Nothing about a job is remembered here: every call reads the queue's file and asks the operating system about
each process, so a restarted daemon carries on where the last one stopped. Jobs are never ended by `close`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import TypeVar, assert_never

import structlog
from pydantic import BaseModel, ConfigDict, Field

from controller.domain.devices import Acknowledged, Failed, Outcome, Refused
from controller.domain.jobs import JobAction, JobCommand, JobState, JobStatus, QueueReading
from drivers.base import DriverError
from drivers.gpu_learning import Learner, Working
from drivers.localqueue_curves import KeptLearner
from drivers.localqueue_jobs import Ending, JobRecord, JobRequest, JobView, verdict
from drivers.localqueue_process import (
    Life,
    ProcessId,
    boot_id,
    bury,
    look,
    read_exit,
    signal_all,
    signal_group,
    signal_strays,
    spawned,
)
from drivers.localqueue_progress import VARIABLE as PROGRESS
from drivers.localqueue_progress import progress
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
SWITCH_DEADLINE_S = 1.0
SWITCH_POLL_S = 0.002
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ")
"""All that a job has of the daemon's environment: the rest may hold secrets."""

T = TypeVar("T")
Status = Callable[[Store, JobRecord], tuple[JobStatus, ...]]
"""The job as it is now; nothing if it is over."""

log = structlog.get_logger()


class LocalQueueConfig(BaseModel):
    """`grace_s` is what a job that asks for no other time gets between SIGTERM and SIGKILL.

    Jobs run as the daemon's user: whoever may write to `directory` may do whatever that user may.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: str = Field(min_length=1)
    directory: Path
    grace_s: float = Field(default=30.0, ge=0, le=86_400)
    max_jobs: int = Field(default=1_000, ge=1, le=10_000)

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
) -> LocalQueue:
    return LocalQueue(config, visible, learner=learner, takes_jobs=takes_jobs)


class LocalQueue:
    """A `JobQueue`. `visible` names the UUID of each GPU by device id. One thread does all that blocks.

    A GPU that `takes_jobs` no more gets no new one; the one that it has is left to its owner. The `learner`
    is told what jobs say of their progress.
    """

    def __init__(
        self,
        config: LocalQueueConfig,
        visible: Mapping[str, str],
        *,
        learner: Learner | None = None,
        takes_jobs: Callable[[str], bool] = lambda gpu: True,
    ) -> None:
        self._config = config
        self._visible = dict(visible)
        self._takes_jobs = takes_jobs
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"queue-{config.id}")
        self._held_open: sqlite3.Connection | None = None
        self._not_written: set[str] = set()
        self._learner = (
            KeptLearner(learner, config.curves_file, self._thread) if learner is not None else None
        )

    @property
    def id(self) -> str:
        return self._config.id

    async def read(self) -> QueueReading:
        """What is not over: all that runs, and the first `max_jobs` that wait."""
        return await self._seen(self._noted)

    async def look(self) -> QueueReading:
        """The same of jobs that are left to themselves: none is ended, and none that is over cleared away."""
        return await self._seen(self._as_it_is)

    async def _seen(self, status: Status) -> QueueReading:
        reading, working = await self._within(READ_DEADLINE_S, lambda: self._read(status))
        if self._learner is not None:
            self._learner.saw(working, asyncio.get_running_loop().time())
        return reading

    async def apply(self, command: JobCommand) -> Outcome:
        try:
            return await self._within(command.deadline_s, lambda: self._apply(command))
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
        gpus = tuple(gpu for gpu in sorted(self._visible) if self._takes_jobs(gpu))
        working = tuple(
            Working(
                job=record.id,
                kind=record.request.kind,
                gpus=status.gpus,
                units=progress(self._progress_file(record.id)),
            )
            for record, status in found
            if status.state is JobState.RUNNING
        )
        return QueueReading(queue=self.id, jobs=tuple(status for _, status in found), gpus=gpus), working

    def _noted(self, store: Store, record: JobRecord) -> tuple[JobStatus, ...]:
        """The job as it is now. Where its end cannot be written down, it holds its GPUs until it can."""
        try:
            found = self._status(store, record)
        except (sqlite3.OperationalError, OSError) as error:
            if record.id not in self._not_written:
                log.warning("not_written_down", subject=record.id, why=str(error))
                self._not_written.add(record.id)
            return (JobStatus(job=record.job, state=record.state, gpus=record.held),)
        self._not_written.discard(record.id)
        return found

    def _status(self, store: Store, record: JobRecord) -> tuple[JobStatus, ...]:
        """The job as it is now, after whatever is due was done; nothing if it is over."""
        process = record.process
        if record.state is JobState.RUNNING and process is not None:
            life = look(process)
            if life is not Life.GONE:
                self._press(store, record, process)
                return (_living(record, life),)
            if self._settle(store, record, process) is not JobState.QUEUED:
                return ()
        return (JobStatus(job=record.job, state=JobState.QUEUED),)

    def _as_it_is(self, _: Store, record: JobRecord) -> tuple[JobStatus, ...]:
        """The job as it is now; nothing if its process has ended."""
        if record.state is not JobState.RUNNING or record.process is None:
            return (JobStatus(job=record.job, state=JobState.QUEUED),)
        life = look(record.process)
        return () if life is Life.GONE else (_living(record, life),)

    def _press(self, store: Store, record: JobRecord, process: ProcessId) -> None:
        """Tell a job that is to end to do so, and kill it when its grace is over."""
        if record.ending is None:
            return
        with suppress(ProcessLookupError):  # gone meanwhile: the next read settles it
            if record.kill_at_s is None:
                asked_s = record.request.grace_s
                signal_all(process, self._progress_file(record.id), SIGCONT)
                signal_group(process, SIGTERM)
                store.kill_at(record, _boot_s() + (self._config.grace_s if asked_s is None else asked_s))
            elif _boot_s() >= record.kill_at_s:
                signal_all(process, self._progress_file(record.id), SIGKILL)

    def _settle(self, store: Store, record: JobRecord, process: ProcessId) -> JobState:
        bury(process)
        signal_strays(process, self._progress_file(record.id), SIGKILL)
        exit_record = self._exit_record(record.run or "")
        end = verdict(record.ending, read_exit(exit_record), boot=record.boot, boot_now=boot_id())
        store.settle(record, end)
        exit_record.unlink(missing_ok=True)
        if end.state is not JobState.QUEUED:
            self._progress_file(record.id).unlink(missing_ok=True)
        for job in store.forget():
            self._log_file(job).unlink(missing_ok=True)
        return end.state

    def _apply(self, command: JobCommand) -> Outcome:
        with opened(self._config.directory) as store:
            record = store.find(command.job)
            match command.action:
                case JobAction.START:
                    return self._start(store, record, command.gpus)
                case JobAction.SUSPEND:
                    return _switch(record, self._progress_file(record.id), SIGSTOP, Life.STOPPED)
                case JobAction.RESUME:
                    return _switch(record, self._progress_file(record.id), SIGCONT, Life.RUNNING)
                case JobAction.REQUEUE:
                    return self._requeue(store, record)
                case _:
                    assert_never(command.action)

    def _start(self, store: Store, record: JobRecord, gpus: tuple[str, ...]) -> Outcome:
        if record.state is JobState.RUNNING and record.held == gpus and record.ending is None:
            return Acknowledged()  # asked again: the answer got lost
        if record.state is not JobState.QUEUED:
            return Refused(f"{record.id} is {record.state}")
        if len(set(gpus)) != len(gpus) or len(gpus) != record.request.gpus:
            return Refused(f"{record.id} needs {record.request.gpus} GPUs, given {', '.join(gpus) or 'none'}")
        if unknown := sorted(set(gpus) - self._visible.keys()):
            return Refused(f"{record.id}: {', '.join(unknown)} not of this queue")
        run = f"{record.id}-{secrets.token_hex(4)}"
        log_file, exit_record = self._log_file(record.id), self._exit_record(run)
        log_file.parent.mkdir(exist_ok=True)
        exit_record.parent.mkdir(exist_ok=True)
        self._progress_file(record.id).parent.mkdir(exist_ok=True)
        process_waiting = spawned(
            record.request.argv,
            cwd=record.request.cwd,
            env=self._environment(record, gpus),
            exit_record=exit_record,
            log_file=log_file,
        )
        with process_waiting as process, store.transaction():  # committed first, then let go
            store.claim(record, run, process, gpus)
        return Acknowledged()

    def _requeue(self, store: Store, record: JobRecord) -> Outcome:
        if record.process is None:
            return Refused(f"{record.id} is {record.state}")
        if record.ending is None:
            store.begin_ending(record, Ending.REQUEUE)
            self._press(store, record.model_copy(update={"ending": Ending.REQUEUE}), record.process)
        return Acknowledged()

    def _environment(self, record: JobRecord, gpus: tuple[str, ...]) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        devices = ",".join(self._visible[gpu] for gpu in gpus)
        given = {"CUDA_VISIBLE_DEVICES": devices, PROGRESS: str(self._progress_file(record.id))}
        return inherited | record.request.env | given

    def _log_file(self, job: str) -> Path:
        return self._config.directory / "logs" / f"{job}.log"

    def _progress_file(self, job: str) -> Path:
        return (self._config.directory / "progress" / job).absolute()

    def _exit_record(self, run: str) -> Path:
        return self._config.directory / "runs" / f"{run}.exit"


def _living(record: JobRecord, life: Life) -> JobStatus:
    state = JobState.SUSPENDED if life is Life.STOPPED else JobState.RUNNING
    return JobStatus(job=record.job, state=state, gpus=record.held)


def _switch(record: JobRecord, mark: Path, number: Signals, wanted: Life) -> Outcome:
    """Stop or continue a running job, and see that it did; one that already is as asked stays so."""
    if record.process is None or record.ending is not None:
        return Refused(f"{record.id} is {record.state if record.process is None else 'being ended'}")
    until_s = _boot_s() + SWITCH_DEADLINE_S
    with suppress(ProcessLookupError):
        signal_all(record.process, mark, number)
    while (life := look(record.process)) is not wanted:
        if life is Life.GONE:
            return Refused(f"{record.id}: its process has ended")
        if _boot_s() >= until_s:
            return Failed(f"{record.id}: not {wanted.value} {SWITCH_DEADLINE_S} s after {number.name}")
        time.sleep(SWITCH_POLL_S)
    return Acknowledged()


def _boot_s() -> float:
    """Seconds since boot: a deadline kept in the file holds across a restart of the daemon."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
