"""What a job queue was told and has not shown yet: an acknowledgement is not a job that stands still."""

from __future__ import annotations

from collections.abc import Iterator

from controller.domain.jobs import JobAction, JobCommand, JobState, QueueReading

SHOWS = {
    JobAction.START: JobState.RUNNING,
    JobAction.SUSPEND: JobState.SUSPENDED,
    JobAction.RESUME: JobState.RUNNING,
    JobAction.REQUEUE: JobState.QUEUED,
}


class Unshown:
    """Of one queue: the newest command that each job acknowledged."""

    def __init__(self) -> None:
        self._open: dict[str, JobCommand] = {}
        self._is_known = False

    def acknowledged(self, command: JobCommand) -> None:
        self._open[command.job] = command

    def found(self, reading: QueueReading) -> Iterator[JobCommand]:
        """Of the first reading the jobs that stand already, as if they had been told: a controller that was
        killed may have told them, and had no time to write it down."""
        if not self._is_known:
            self._is_known = True
            for status in reading.jobs:
                if status.state is JobState.SUSPENDED:
                    yield JobCommand(queue=reading.queue, job=status.job.id, action=JobAction.SUSPEND)

    def shown(self, reading: QueueReading) -> Iterator[JobCommand]:
        """Those that the jobs show now, once each. A job that is over shows nothing any more."""
        states = {status.job.id: status.state for status in reading.jobs}
        for job, command in list(self._open.items()):
            if job not in states or states[job] is SHOWS[command.action]:
                del self._open[job]
                if job in states:
                    yield command
