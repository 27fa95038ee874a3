"""A queue of GPU jobs whose processes are numbers: what runs draws its watts and gets its work done.

It outlives the controllers, as the processes of a real queue do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from controller.domain.devices import Acknowledged, Outcome, Refused
from controller.domain.jobs import Job, JobAction, JobCommand, JobState, JobStatus, QueueReading
from simulators.nvml.layout import Word
from simulators.nvml.state import NvmlGpu

DEMAND_W = 650
ON_GPU = frozenset({JobState.RUNNING, JobState.SUSPENDED})


@dataclass(slots=True)
class Running:
    """One job, from its submission to its end; `left_s` is its work at full power."""

    job: Job
    left_s: float
    state: JobState = JobState.QUEUED
    gpus: tuple[str, ...] = ()


class GpuJobs:
    """`boards` are the simulated GPUs by the name that the controller has for them."""

    def __init__(self, boards: dict[str, NvmlGpu]) -> None:
        self.id = "gpu"
        self.jobs: dict[str, Running] = {}
        self._boards = boards

    def submit(self, job: Job, work_s: float) -> None:
        self.jobs[job.id] = Running(job, work_s)

    def work(self, now_s: float, for_s: float) -> None:
        """Let the running jobs draw, and do `for_s` of their work."""
        drawing = {gpu for one in self.jobs.values() if one.state is JobState.RUNNING for gpu in one.gpus}
        for name, board in self._boards.items():
            board[Word.JOB_PID] = os.getpid() if name in drawing else 0
            board[Word.JOB_DEMAND_MW] = DEMAND_W * 1000 if name in drawing else 0
            board[Word.JOB_BEAT_NS] = int(now_s * 1e9)
        for one in self.jobs.values():
            if one.state is JobState.RUNNING:
                slowest = min(self._boards[gpu][Word.JOB_THROUGHPUT_PPM] for gpu in one.gpus)
                one.left_s -= for_s * slowest / 1e6
                if one.left_s <= 0:
                    one.state, one.gpus = JobState.DONE, ()

    def lose(self, gpu: str) -> None:
        """It has no power: what ran there is gone, and waits to begin where it was saved."""
        for one in self.jobs.values():
            if gpu in one.gpus:
                one.state, one.gpus = JobState.QUEUED, ()

    async def read(self) -> QueueReading:
        waiting = (one for one in self.jobs.values() if one.state is not JobState.DONE)
        jobs = tuple(JobStatus(job=one.job, state=one.state, gpus=one.gpus) for one in waiting)
        return QueueReading(queue=self.id, jobs=jobs, gpus=tuple(self._boards))

    async def look(self) -> QueueReading:
        return await self.read()

    async def apply(self, command: JobCommand) -> Outcome:
        one = self.jobs[command.job]
        taken = {gpu for other in self.jobs.values() if other.state in ON_GPU for gpu in other.gpus}
        match command.action, one.state:
            case JobAction.START, JobState.QUEUED if not taken & set(command.gpus):
                one.state, one.gpus = JobState.RUNNING, command.gpus
            case JobAction.SUSPEND, JobState.RUNNING:
                one.state = JobState.SUSPENDED
            case JobAction.RESUME, JobState.SUSPENDED:
                one.state = JobState.RUNNING
            case JobAction.REQUEUE, JobState.RUNNING | JobState.SUSPENDED:
                one.state, one.gpus = JobState.QUEUED, ()
            case _:
                return Refused(f"{command.action} of a job that is {one.state}")
        return Acknowledged()

    async def close(self) -> None:
        return None
