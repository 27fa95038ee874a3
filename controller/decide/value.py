"""What a point is worth: its output per hour, less its energy, less the cost of going there.

The shedding ladder is in these numbers, not in code: idle machines and the worst joules per terahash are
worth least per watt and go first; a running job is worth more, and a protected one is left last.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint
from controller.domain.jobs import Job, JobState, OnShortage
from controller.domain.site import Prices

RETUNE_S = {DeviceKind.ASIC: 20.0, DeviceKind.GPU: 2.0}
"""Output lost when a device that is already working goes to another point."""
PROTECTED = 1e6
"""USD per hour: more than any site earns, so a protected job is left only where nothing else helps."""
DWELLING = 1e3
"""USD per hour: a device changed a moment ago is left alone unless a limit leaves no other way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The job a GPU is bound to, and whether it is running there now."""

    job: Job
    state: JobState


def floor_index(spec: DeviceSpec, job: Job) -> int:
    """The lowest point at which the job keeps the throughput its flex tier demands."""
    least = spec.points[-1].rate * (1 - job.flex.allowed_loss)
    return next(at for at, point in enumerate(spec.points) if point.rate >= least - 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Valuation:
    """How points are valued in one plan: prices, and the time over which a change must pay for itself."""

    prices: Prices
    usd_per_kwh: float
    horizon_s: float

    def output(self, spec: DeviceSpec, point: OperatingPoint, work: Work | None) -> float:
        """USD per hour of what a device produces at `point`."""
        match spec.kind:
            case DeviceKind.ASIC:
                return point.rate * self.prices.usd_per_ths_day / 24
            case DeviceKind.GPU:
                return point.rate * work.job.usd_per_gpu_hour if work is not None else 0.0

    def worth(
        self, spec: DeviceSpec, point: OperatingPoint, now: OperatingPoint | None, work: Work | None
    ) -> float:
        """USD per hour of being at `point`, coming from `now`."""
        return self.earned(spec, point, work) - self._change(spec, point, now, work)

    def earned(self, spec: DeviceSpec, point: OperatingPoint, work: Work | None) -> float:
        """USD per hour of what a device produces at `point`, less its energy."""
        return self.output(spec, point, work) - point.power.in_kw * self.usd_per_kwh

    def _change(
        self, spec: DeviceSpec, point: OperatingPoint, now: OperatingPoint | None, work: Work | None
    ) -> float:
        """Output lost in a start or a retune, which must be earned back within the horizon."""
        if now is None or point.name == now.name:
            return 0.0
        lost_s = spec.restart_s if now == spec.floor else RETUNE_S[spec.kind]
        return self.output(spec, point, work) * lost_s / self.horizon_s


def candidates(
    spec: DeviceSpec, now: OperatingPoint, work: Work | None, valuation: Valuation, *, dwelling: bool
) -> list[tuple[OperatingPoint, float]]:
    """The points a device may be given and their worth, before thermal bounds.

    A GPU whose job cannot have its least throughput goes to its lowest point, and the job is set aside.
    """
    points = list(spec.points)
    if spec.kind is DeviceKind.GPU:
        points = points[:1] if work is None else _job_points(spec, work.job)
    worths = []
    for point in points:
        worth = valuation.worth(spec, point, now, work)
        if work is not None and point != spec.floor and work.state is JobState.RUNNING:
            worth += _leaving(work.job)
        if dwelling and point.name == now.name:
            worth += DWELLING
        worths.append((point, worth))
    return [(point, worth) for point, worth in worths if not dwelling or point.power <= now.power]


def _job_points(spec: DeviceSpec, job: Job) -> list[OperatingPoint]:
    least = floor_index(spec, job)
    return [spec.floor, *spec.points[max(1, least) :]]


def _leaving(job: Job) -> float:
    """What setting a running job aside costs, as a premium on keeping it."""
    match job.on_shortage:
        case OnShortage.PROTECT:
            return PROTECTED
        case OnShortage.SUSPEND:
            return 0.1 * job.usd_per_gpu_hour
        case OnShortage.REQUEUE:
            return 0.5 * job.usd_per_gpu_hour
