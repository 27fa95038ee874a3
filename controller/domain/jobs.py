"""GPU jobs, as the site controller needs to know them: what they are worth and what may be done to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class FlexTier(IntEnum):
    """How much throughput a running job may lose to a power cap: 0, 10, 25 or 50 % (arXiv 2507.00909)."""

    RIGID = 0
    SLIGHT = 1
    MODERATE = 2
    BROAD = 3

    @property
    def allowed_loss(self) -> float:
        return (0.0, 0.10, 0.25, 0.50)[self]


class OnShortage(StrEnum):
    """What may be done to a job when even its lowest cap does not fit."""

    SUSPEND = "suspend"
    REQUEUE = "requeue"
    PROTECT = "protect"


class PricedBy(StrEnum):
    """Who says what a job's GPU hour is worth: its owner, or the site by the model of the GPU."""

    OWNER = "owner"
    SITE = "site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    id: str
    gpus: int
    usd_per_gpu_hour: float
    priced_by: PricedBy = PricedBy.OWNER
    flex: FlexTier = FlexTier.MODERATE
    on_shortage: OnShortage = OnShortage.REQUEUE


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUSPENDED = "suspended"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """`gpus` are the device ids the job holds: empty unless it is running or suspended."""

    job: Job
    state: JobState
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReading:
    """Every job of one queue that is not over, in order of submission; `gpus` are those it may use."""

    queue: str
    jobs: tuple[JobStatus, ...]
    gpus: tuple[str, ...] = ()


class JobAction(StrEnum):
    START = "start"
    SUSPEND = "suspend"
    RESUME = "resume"
    REQUEUE = "requeue"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCommand:
    """Do `action` to `job`; `gpus` are the device ids to start it on. `why` is for people: commands that
    differ in nothing else are the same."""

    queue: str
    job: str
    action: JobAction
    gpus: tuple[str, ...] = ()
    deadline_s: float = 10.0
    why: str = field(default="", compare=False)
