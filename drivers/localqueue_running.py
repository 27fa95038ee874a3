"""What is done to the processes of a queue's jobs, and what is written down of it. All of it blocks.

Nothing about a job is remembered here but what could not be written down.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import assert_never

import structlog

from controller.domain.devices import Acknowledged, Failed, Outcome, Refused
from controller.domain.jobs import JobAction, JobCommand, JobState, JobStatus
from drivers.localqueue_jobs import Ending, JobRecord, verdict
from drivers.localqueue_logs import Logs
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
from drivers.localqueue_store import Store, opened

SWITCH_DEADLINE_S = 1.0
SWITCH_POLL_S = 0.002
INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ")
"""All that a job has of the daemon's environment: the rest may hold secrets."""

log = structlog.get_logger()


class Runner:
    """The jobs of the queue in `directory`. `visible` names the UUID of each GPU by device id; `grace_s` is
    what a job that asks for no other time gets between SIGTERM and SIGKILL; `job_left` is told of each GPU
    that a job has left. For one thread."""

    def __init__(
        self,
        directory: Path,
        visible: Mapping[str, str],
        grace_s: float,
        logs: Logs,
        job_left: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._visible = visible
        self._grace_s = grace_s
        self._logs = logs
        self._job_left = job_left
        self._not_written: set[str] = set()
        self._kill_at_s: dict[str, float] = {}
        """Of runs that were told to end, until that is written down."""

    def noted(self, store: Store, record: JobRecord) -> tuple[JobStatus, ...]:
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

    def bound_logs(self, running: Collection[str]) -> None:
        self._logs.bound(running, _boot_s())

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

    def as_it_is(self, _: Store, record: JobRecord) -> tuple[JobStatus, ...]:
        """The job as it is now; nothing if its process has ended."""
        if record.state is not JobState.RUNNING or record.process is None:
            return (JobStatus(job=record.job, state=JobState.QUEUED),)
        life = look(record.process)
        return () if life is Life.GONE else (_living(record, life),)

    def _press(self, store: Store, record: JobRecord, process: ProcessId) -> None:
        """Tell a job that is to end to do so, and kill it when its grace is over."""
        if record.ending is None:
            return
        run, kill_at_s = record.run or "", record.kill_at_s
        with suppress(ProcessLookupError):  # gone meanwhile: the next read settles it
            if kill_at_s is None and run not in self._kill_at_s:
                asked_s = record.request.grace_s
                signal_all(process, self.progress_file(record.id), SIGCONT)
                signal_group(process, SIGTERM)
                self._kill_at_s[run] = _boot_s() + (self._grace_s if asked_s is None else asked_s)
            elif _boot_s() >= (self._kill_at_s[run] if kill_at_s is None else kill_at_s):
                signal_all(process, self.progress_file(record.id), SIGKILL)
            if kill_at_s is None:
                store.kill_at(record, self._kill_at_s[run])

    def _settle(self, store: Store, record: JobRecord, process: ProcessId) -> JobState:
        bury(process)
        signal_strays(process, self.progress_file(record.id), SIGKILL)
        exit_record = self._exit_record(record.run or "")
        end = verdict(record.ending, read_exit(exit_record), boot=record.boot, boot_now=boot_id())
        if end.state is JobState.QUEUED and record.ending is Ending.REQUEUE:
            end = replace(end, why=record.why)
        store.settle(record, end)
        for gpu in record.held:
            self._job_left(gpu)
        self._kill_at_s.pop(record.run or "", None)
        exit_record.unlink(missing_ok=True)
        if end.state is not JobState.QUEUED:
            self.progress_file(record.id).unlink(missing_ok=True)
        for job in store.forget():
            self._logs.of(job).unlink(missing_ok=True)
        return end.state

    def apply(self, command: JobCommand) -> Outcome:
        with opened(self._directory) as store:
            record = store.find(command.job)
            match command.action:
                case JobAction.START:
                    return self._start(store, record, command.gpus)
                case JobAction.SUSPEND:
                    return self._suspend(store, record, command.why)
                case JobAction.RESUME:
                    outcome = _switch(record, self.progress_file(record.id), SIGCONT, Life.RUNNING)
                    _keep_why(store, record, "", outcome)
                    return outcome
                case JobAction.REQUEUE:
                    return self._requeue(store, record, command.why)
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
        log_file, exit_record = self._logs.of(record.id), self._exit_record(run)
        log_file.parent.mkdir(exist_ok=True)
        exit_record.parent.mkdir(exist_ok=True)
        self.progress_file(record.id).parent.mkdir(exist_ok=True)
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

    def _suspend(self, store: Store, record: JobRecord, why: str) -> Outcome:
        """First the job stands, then it is written down why: no limit waits for a disk."""
        outcome = _switch(record, self.progress_file(record.id), SIGSTOP, Life.STOPPED)
        _keep_why(store, record, f"suspended: {why}" if why else "", outcome)
        return outcome

    def _requeue(self, store: Store, record: JobRecord, why: str) -> Outcome:
        """A job whose end cannot be written down would count as one that failed: it is stopped instead."""
        if record.process is None:
            return Refused(f"{record.id} is {record.state}")
        if record.ending is not None:
            return Acknowledged()
        try:
            store.begin_ending(record, Ending.REQUEUE, f"requeued: {why}" if why else "")
        except sqlite3.OperationalError as error:
            stopped = _switch(record, self.progress_file(record.id), SIGSTOP, Life.STOPPED)
            is_stopped = "stopped instead" if isinstance(stopped, Acknowledged) else "not stopped either"
            return Failed(f"{record.id}: its end cannot be written down ({error}), {is_stopped}")
        self._press(store, record.model_copy(update={"ending": Ending.REQUEUE}), record.process)
        return Acknowledged()

    def _environment(self, record: JobRecord, gpus: tuple[str, ...]) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        devices = ",".join(self._visible[gpu] for gpu in gpus)
        given = {"CUDA_VISIBLE_DEVICES": devices, PROGRESS: str(self.progress_file(record.id))}
        return inherited | record.request.env | given

    def progress_file(self, job: str) -> Path:
        return (self._directory / "progress" / job).absolute()

    def _exit_record(self, run: str) -> Path:
        return self._directory / "runs" / f"{run}.exit"


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


def _keep_why(store: Store, record: JobRecord, why: str, outcome: Outcome) -> None:
    """For who asks the queue. The journal has it as well, so a disk that takes nothing is no trouble here."""
    if isinstance(outcome, Acknowledged) and why != record.why:
        with suppress(sqlite3.Error):
            store.keep_why(record, why)


def _boot_s() -> float:
    """Seconds since boot: a deadline kept in the file holds across a restart of the daemon."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
