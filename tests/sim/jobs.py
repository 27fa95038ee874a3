"""The job queue of the simulated site: jobs that come, run on GPUs of the plant as fast as their limits let
them, and are over when their work is done."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from controller.domain.jobs import JobAction, JobCommand, JobState, JobStatus, QueueReading
from simulators.plant import Plant
from tests.sim.clockwork import Clockwork
from tests.sim.swarm import JobArrival

LOOK_EVERY_S = 1.0


@dataclass(slots=True)
class _Running:
    """`left_s` is in seconds of full throughput."""

    arrival: JobArrival
    status: JobStatus
    left_s: float


class Queue:
    """A local queue as the daemon sees it. A command takes a moment, and may be lost on its way."""

    def __init__(self, seed: int, name: str, gpus: tuple[str, ...], plant: Plant, clock: Clockwork) -> None:
        self.name = name
        self.gpus = gpus
        self.lost_commands = 0.0
        self.finished = 0
        self.lost_s: dict[str, float] = {}
        """When an order about each job was last lost."""
        self.obeyed: Callable[[JobAction, JobStatus, list[JobStatus]], None] = lambda *_: None
        """Called with what a job is told, and all jobs, before that is done."""
        self._random = random.Random(f"{seed}/queue")
        self._plant = plant
        self._clock = clock
        self._jobs: dict[str, _Running] = {}
        self._looked_s = 0.0

    def start(self) -> None:
        self._clock.after(LOOK_EVERY_S, self._look)

    def submit(self, arrival: JobArrival) -> None:
        status = JobStatus(job=arrival.job, state=JobState.QUEUED)
        self._jobs[arrival.job.id] = _Running(arrival=arrival, status=status, left_s=arrival.work_s)

    def tell(self, command: JobCommand) -> None:
        if self._random.random() >= self.lost_commands:
            self._clock.after(self._random.uniform(0.2, 1.0), lambda: self._carry_out(command))
        else:
            self.lost_s[command.job] = self._clock.now_s

    @property
    def reading(self) -> QueueReading:
        return QueueReading(queue=self.name, jobs=tuple(self.statuses), gpus=self.gpus)

    @property
    def statuses(self) -> list[JobStatus]:
        return [job.status for job in self._jobs.values()]

    def could_run(
        self, feeds: Callable[[str], int], doubted: Callable[[str], bool] = lambda _: False
    ) -> list[str]:
        """The jobs that do not run although there are free GPUs for them. `feeds` says how many busy GPUs a
        node has the watts for; one that is `doubted` may take as much, and works for nobody."""
        held = {gpu for job in self._jobs.values() for gpu in job.status.gpus}
        idle = [gpu for gpu in self.gpus if gpu not in held and doubted(gpu)]
        room = {node: feeds(node) for node in {self._plant.gpus[gpu].node for gpu in self.gpus}}
        for job in self._jobs.values():
            if job.status.state is JobState.RUNNING:
                for gpu in job.status.gpus:
                    room[self._plant.gpus[gpu].node] -= 1
        for gpu in idle:
            room[self._plant.gpus[gpu].node] -= 1
        free = self._at({gpu for gpu in self.gpus if self._plant.gpus[gpu].powered} - held - {*idle})
        places = sum(min(count, max(0, room[node])) for node, count in free.items())
        found = []
        for name, job in self._jobs.items():
            wants = self._at(job.status.gpus)
            resumes = job.status.state is JobState.SUSPENDED
            resumes = resumes and all(room[node] >= count for node, count in wants.items())
            if resumes or (job.status.state is JobState.QUEUED and places >= job.arrival.job.gpus):
                found.append(name)
        return found

    def _at(self, gpus: Iterable[str]) -> Counter[str]:
        return Counter(self._plant.gpus[gpu].node for gpu in gpus)

    def _carry_out(self, command: JobCommand) -> None:
        job = self._jobs.get(command.job)
        if job is None:
            return
        self.obeyed(command.action, job.status, self.statuses)
        state = job.status.state
        match command.action:
            case JobAction.START if state is JobState.QUEUED and self._are_free(command.gpus):
                job.status = replace(job.status, state=JobState.RUNNING, gpus=command.gpus)
                self._work(job, job.arrival.demand_w)
            case JobAction.RESUME if state is JobState.SUSPENDED:
                job.status = replace(job.status, state=JobState.RUNNING)
                self._work(job, job.arrival.demand_w)
            case JobAction.SUSPEND if state is JobState.RUNNING:
                job.status = replace(job.status, state=JobState.SUSPENDED)
                self._work(job, 0.0)
            case JobAction.REQUEUE if job.status.gpus:
                self._work(job, 0.0)
                job.status = replace(job.status, state=JobState.QUEUED, gpus=())
            case _:
                pass

    def _are_free(self, gpus: tuple[str, ...]) -> bool:
        taken = {gpu for job in self._jobs.values() for gpu in job.status.gpus}
        return taken.isdisjoint(gpus)

    def _work(self, job: _Running, demand_w: float) -> None:
        for gpu in job.status.gpus:
            self._plant.gpus[gpu].work(demand_w)

    def _look(self) -> None:
        """Book what was done since the last look. A job goes as fast as the slowest of its GPUs; one whose
        GPU lost its power has failed, and is gone."""
        span_s = self._clock.now_s - self._looked_s
        self._looked_s = self._clock.now_s
        for name, job in list(self._jobs.items()):
            if job.status.state is not JobState.RUNNING:
                continue
            job.left_s -= span_s * min(self._plant.gpus[gpu].rate for gpu in job.status.gpus)
            if job.left_s <= 0 or not all(self._plant.gpus[gpu].powered for gpu in job.status.gpus):
                self.finished += job.left_s <= 0
                self._work(job, 0.0)
                del self._jobs[name]
        self._clock.after(LOOK_EVERY_S, self._look)
