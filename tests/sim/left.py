"""Whether jobs that could run for minutes are left waiting, or suspended, while faults last: also behind
dearer ones, unless those waited for so long that GPUs may be kept for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from controller.decide.overtaking import OVERTAKEN_S
from controller.domain.jobs import JobState, JobStatus
from simulators.plant import Plant
from tests.sim.recovery import LOOK_EVERY_S
from tests.sim.verdict import Verdict

WAITS_S = 360.0
"""GPUs that were in doubt are trusted again, raised one after the other, and a job is started."""


class Left:
    """`look` must be called every `LOOK_EVERY_S`. `excused` is a look at which operators ask for anything,
    something is amiss with any GPU, or nobody is in charge; after it jobs have their time anew."""

    def __init__(self, plant: Plant, verdict: Verdict) -> None:
        self._plant = plant
        self._verdict = verdict
        self._since_s: dict[str, float] = {}
        self._waits_s: dict[str, float] = {}
        """Since when each job that does not run waits, for whatever."""

    def look(self, jobs: Collection[JobStatus], could_run: Collection[str], *, excused: bool) -> None:
        """`could_run` are those of the `jobs` that do not, although GPUs with room for them are free."""
        now_s = self._plant.now_s
        waits = (status.job.id for status in jobs if status.state is not JobState.RUNNING)
        self._waits_s = {job: self._waits_s.get(job, now_s) for job in waits}
        left = sorted(self.owed(jobs, could_run))
        self._since_s = {job: self._since_s.get(job, now_s) for job in left if not excused}
        for job, since_s in self._since_s.items():
            if now_s - since_s > WAITS_S:
                self._verdict.note(now_s, "left", job, dt_s=LOOK_EVERY_S)

    def owed(self, jobs: Iterable[JobStatus], could_run: Collection[str]) -> set[str]:
        """Those of `could_run` for which no GPUs have to be kept free of dearer ones, as last looked at."""
        now_s = self._plant.now_s
        waits = {
            status.job.id: status.job.usd_per_gpu_hour for status in jobs if status.job.id in self._waits_s
        }
        long = (usd for job, usd in waits.items() if now_s - self._waits_s[job] > OVERTAKEN_S)
        kept_usd = max(long, default=0.0)
        return {job for job in could_run if waits.get(job, 0.0) >= kept_usd}
