"""What is done to jobs: none runs with less than its tier was promised, but for heat, none is given up where
limits can be kept without, none in a way that its owner did not allow.

What the controller may doubt counts here at its worst, as it does there: a job that has room beside all that
is given up for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable

from controller.domain.devices import DeviceKind
from controller.domain.jobs import Job, JobAction, JobState, JobStatus, OnShortage
from simulators.physics.gpu import Gpu
from tests.sim.case import Case
from tests.sim.floor import DERATE_C, ZONE_DERATE_C

STARVED_S = 60.0
"""So long a job may run with less than its tier: it is told to stop, and told again if that was lost."""
LESS = 0.02
DOUBTED_S = 300.0
"""What a machine or a meter was thought to carry while it could not be trusted is forgotten slowly."""
SURE, SURE_W = 0.95, 100.0
"""Of a limit so much is left by the margins that are kept of it."""
TAKEN_OVER_S = 60.0
"""So long after a new process took the site over, what it does to jobs is its taking over."""
WARM_C = 4.0


class Work:
    """`allowed_w` is what a node is limited to now or soon, beside what it is rated for."""

    def __init__(self, case: Case, allowed_w: Callable[[str], float]) -> None:
        self._case = case
        self._plant = case.plant
        self._possible = case.possible
        self._doubts = case.doubts
        self._verdict = case.verdict
        self._allowed_w = allowed_w
        self._specs = case.specs
        self._ways = case.ways
        self._rated_w = case.usable.limits_w
        self.is_closed: Callable[[str], bool] = lambda _: False
        """Whether a node is out of service."""
        self._warm_s: dict[str, float] = {}
        self._starves_s: dict[str, float] = {}
        self._away_s = 0.0

    def look(
        self,
        jobs: Iterable[JobStatus],
        *,
        is_away: bool,
        is_held: bool = False,
        unheard: Collection[str] = (),
    ) -> None:
        """Every few seconds. `unheard` are jobs about which the queue cannot be told; while the network is
        suspect every raise `is_held`, and a job that runs on with less is better off than one given up."""
        now_s = self._plant.now_s
        self._away_s = now_s if is_away else self._away_s
        self._warm_s |= {name: now_s for name, gpu in self._plant.gpus.items() if self._is_warm(gpu)}
        starving = [] if is_held else [status.job.id for status in jobs if self._starves(status)]
        self._starves_s = {
            job: self._starves_s.get(job, now_s) for job in starving if not is_away and job not in unheard
        }
        for job, since_s in self._starves_s.items():
            if now_s - since_s > STARVED_S:
                self._verdict.note(now_s, "starved", job)

    def carried_out(self, action: JobAction, status: JobStatus, jobs: Collection[JobStatus]) -> None:
        """A job is told something while it is still at `status`."""
        job, now_s = status.job, self._plant.now_s
        if status.state is not JobState.RUNNING or action not in (JobAction.SUSPEND, JobAction.REQUEUE):
            return
        if any(self.is_closed(self._specs[gpu].node) for gpu in status.gpus):
            return
        if action is JobAction.REQUEUE and job.on_shortage is not OnShortage.REQUEUE:
            self._verdict.note(now_s, "requeued", job.id)
        if now_s - self._away_s <= TAKEN_OVER_S and self._was_well(status, jobs):
            self._verdict.note(now_s, "dropped", job.id)
        if (
            now_s - self._away_s > DOUBTED_S
            and not self.were_warm(status.gpus)
            and self._has_room(status, jobs)
        ):
            self._verdict.note(now_s, "needless", job.id)

    def _was_well(self, status: JobStatus, jobs: Iterable[JobStatus]) -> bool:
        """Whether a new process had only to leave a job as it found it: with that every place above it is
        within its limits, no machine is or was amiss, and no dearer job waits."""
        usd = status.job.usd_per_gpu_hour
        waits = (one.job for one in jobs if one.state is not JobState.RUNNING)
        if self.were_warm(status.gpus) or any(job.usd_per_gpu_hour > usd for job in waits):
            return False
        ways = {node for gpu in status.gpus for node in self._ways[self._specs[gpu].node]}
        if any(map(self._is_doubted, ways)) or any(map(self._doubts.is_stale, self._specs)):
            return False
        if any(self._possible.held_by(name, DOUBTED_S) for name in self._specs):
            return False
        return all(
            self._plant.nodes[node].power_w <= min(self._rated_w[node], self._allowed_w(node))
            for node in ways
        )

    def spared_w(self, jobs: Iterable[JobStatus], node: str) -> float:
        """What the jobs that run at a place need above the lowest of their GPUs."""
        return sum(
            self._least_w(gpu, status.job) - self._specs[gpu].floor.power.watts
            for status in jobs
            if status.state is JobState.RUNNING
            for gpu in status.gpus
            if node in self._ways[self._specs[gpu].node]
        )

    def were_warm(self, gpus: Iterable[str]) -> bool:
        """Whether heat may have forbidden any of them what its work needs, now or a moment ago."""
        now_s = self._plant.now_s
        return any(now_s - self._warm_s.get(gpu, -math.inf) <= DOUBTED_S for gpu in gpus)

    def _starves(self, status: JobStatus) -> bool:
        gpus = [self._plant.gpus[gpu] for gpu in status.gpus]
        if status.state is not JobState.RUNNING or any(map(self._cannot_help, gpus)):
            return False
        if any(map(self._is_warm, gpus)):  # then it runs on as fast as that allows
            return False
        return min(gpu.rate for gpu in gpus) < 1 - status.job.flex.allowed_loss - LESS

    def _cannot_help(self, gpu: Gpu) -> bool:
        """One that once lied shows a limit that it does not obey, until it is told the next one. Boards whose
        watts stand still seem not to come down, and are paid for by those beside them."""
        lies = gpu.limit_w != gpu.cap_w
        beside = (other for other in self._plant.gpus.values() if other.node == gpu.node)
        misread = any(self._doubts.misreports(other.id) for other in beside)
        return gpu.throttled or not gpu.powered or lies or misread or bool(self._possible.held_by(gpu.id))

    def _has_room(self, status: JobStatus, jobs: Collection[JobStatus]) -> bool:
        """Whether its least fits beside that of other jobs: of the protected ones if it is one, of all others
        if it is not, and then beside all that dearer ones can use, which wait, on any GPU, or run."""
        protected = status.job.on_shortage is OnShortage.PROTECT
        least_w: dict[str, float] = {}
        for other in jobs:
            grows = not protected and other.job.usd_per_gpu_hour > status.job.usd_per_gpu_hour
            if other.state is JobState.RUNNING and not grows:
                for gpu in other.gpus:
                    if other.job.on_shortage is OnShortage.PROTECT or not protected:
                        least_w[gpu] = self._least_w(gpu, other.job)
        highest = 0 if protected else -1
        most_w = {
            name: least_w.get(
                name, float(spec.points[highest if spec.kind is DeviceKind.GPU else 0].power.watts)
            )
            for name, spec in self._specs.items()
        }
        most_w |= {name: self._case.worst_w(name) for name in self._specs if self._is_doubted(name)}
        ways = {node for gpu in status.gpus for node in self._ways[self._specs[gpu].node]}
        return all(self._fits(node, most_w) for node in ways)

    def _fits(self, node: str, most_w: dict[str, float]) -> bool:
        if any(self._is_doubted(at.id) for at in self._possible.nodes_below(node)):
            return False
        limit_w = min(self._rated_w[node], self._allowed_w(node))
        machines_w = sum(most_w[machine.id] for machine in self._possible.machines_below[node])
        return self._case.most_load_w(node) + machines_w <= SURE * limit_w - SURE_W

    def _least_w(self, gpu: str, job: Job) -> float:
        points = self._specs[gpu].points
        least = points[-1].rate * (1 - job.flex.allowed_loss) - 1e-9
        return next(float(point.power.watts) for point in points if point.rate >= least)

    def _is_doubted(self, name: str) -> bool:
        return self._doubts.within(name, DOUBTED_S)

    def _is_warm(self, gpu: Gpu) -> bool:
        """Whether heat, or cooling that is not proven, may have forbidden it what its work needs."""
        if gpu.temperature_c >= DERATE_C - WARM_C:
            return True
        zone = gpu.zone
        inlet_c = -math.inf if zone is None else self._plant.zones[zone].inlet_c
        return zone is not None and (inlet_c >= ZONE_DERATE_C - WARM_C or not self._possible.is_cooled(zone))
