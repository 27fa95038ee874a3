"""What a local GPU job is: as it was asked for, as it is kept, and as it is shown.

A kept row that does not add up is never half understood: it is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Json, field_validator, model_validator

from controller.domain.jobs import FlexTier, Job, JobState, OnShortage, PricedBy
from controller.domain.prices import MARKETS, Price
from drivers.localqueue_process import Exit, NoCode, ProcessId
from drivers.localqueue_progress import VARIABLE as PROGRESS

CHARACTERS_MAX = 100_000

Word = Annotated[str, Field(max_length=30_000, pattern=r"^[^\x00]*$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class JobRequest(BaseModel):
    """What a submitter asks for. Without `usd_per_gpu_hour` the job is worth what the site says its GPUs are.

    `grace_s` is the time the job needs to save its work after SIGTERM. Jobs of one `kind` lose alike to a
    power cap: what one of them shows by its progress holds for the others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    argv: tuple[Word, ...] = Field(min_length=1, max_length=1_000)
    gpus: int = Field(ge=1, le=1_024)
    usd_per_gpu_hour: float | None = Field(default=None, ge=0)
    cwd: Path
    flex: FlexTier = FlexTier.MODERATE
    on_shortage: OnShortage = OnShortage.REQUEUE
    env: dict[Name, Word] = Field(default_factory=dict, max_length=1_000)
    grace_s: float | None = Field(default=None, ge=0, le=86_400)
    kind: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "job"

    @field_validator("argv")
    @classmethod
    def _names_a_program(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if not argv[0]:
            raise ValueError("must name a program")
        return argv

    @field_validator("cwd")
    @classmethod
    def _is_absolute(cls, cwd: Path) -> Path:
        if not cwd.is_absolute():
            raise ValueError(f"{cwd} is not an absolute path")
        return cwd

    @field_validator("env")
    @classmethod
    def _leaves_ours_alone(cls, env: dict[str, str]) -> dict[str, str]:
        for name in ("CUDA_VISIBLE_DEVICES", PROGRESS):
            if name in env:
                raise ValueError(f"{name} is set by the queue")
        return env

    @model_validator(mode="after")
    def _can_be_passed_on(self) -> JobRequest:
        if sum(map(len, (*self.argv, *self.env, *self.env.values()))) > CHARACTERS_MAX:
            raise ValueError(f"argv and env together have more than {CHARACTERS_MAX} characters")
        return self


class Ending(StrEnum):
    """Why a running job is being ended, and so what becomes of it."""

    REQUEUE = "requeue"
    CANCEL = "cancel"


class JobRecord(BaseModel):
    """A kept job. From `run` to `kill_at_s` it speaks of the run under way.

    `state` is never SUSPENDED: whether a running job is stopped, the operating system knows best.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seq: int
    request: Json[JobRequest]
    state: JobState
    run: str | None
    boot: str | None
    pid: Annotated[int, Field(gt=1)] | None
    start_ticks: int | None
    held: Json[tuple[str, ...]]
    ending: Ending | None
    kill_at_s: float | None
    exit_code: int | None
    why: str
    submitted_utc_s: int
    over_utc_s: int | None

    @model_validator(mode="after")
    def _runs_somewhere(self) -> JobRecord:
        if self.state is JobState.RUNNING and not (self.run and self.held and self.process):
            raise ValueError("running, but without a process or without GPUs")
        return self

    @property
    def id(self) -> str:
        return job_id(self.seq)

    @property
    def process(self) -> ProcessId | None:
        if self.boot is None or self.pid is None or self.start_ticks is None:
            return None
        return ProcessId(boot=self.boot, pid=self.pid, start_ticks=self.start_ticks)

    @property
    def job(self) -> Job:
        asked = self.request
        # Above it a price would outweigh what keeps a protected job of another owner where it is.
        usd = asked.usd_per_gpu_hour and min(asked.usd_per_gpu_hour, MARKETS[Price.GPU_HOUR].most)
        return Job(
            id=self.id,
            gpus=asked.gpus,
            usd_per_gpu_hour=0.0 if usd is None else usd,
            priced_by=PricedBy.SITE if usd is None else PricedBy.OWNER,
            flex=asked.flex,
            on_shortage=asked.on_shortage,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job as a submitter sees it. `held` are the device ids it runs on, `why` says how it failed, or
    why it stands or waits again though it ran."""

    id: str
    state: JobState
    argv: tuple[str, ...]
    gpus: int
    usd_per_gpu_hour: float | None
    held: tuple[str, ...]
    exit_code: int | None
    why: str
    submitted_utc_s: int
    over_utc_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a job becomes once its process is gone: QUEUED, DONE or FAILED."""

    state: JobState
    exit_code: int | None = None
    why: str = ""


def job_id(seq: int) -> str:
    return f"job-{seq}"


def verdict(ending: Ending | None, code: Exit, *, boot: str | None, boot_now: str) -> Verdict:
    """A job that was told to leave has left, whatever its code: it saved its work, or ran out of time."""
    known = code if isinstance(code, int) else None
    match ending, code:
        case Ending.CANCEL, _:
            return Verdict(state=JobState.FAILED, exit_code=known, why="cancelled")
        case (Ending.REQUEUE, _) | (None, NoCode.UNSTARTED):
            return Verdict(state=JobState.QUEUED)
        case None, NoCode.UNKNOWN if boot != boot_now:
            return Verdict(state=JobState.QUEUED)  # the machine went down under it
        case None, NoCode.UNKNOWN:
            why = "no exit code: it was killed from outside, or the disk was full"
            return Verdict(state=JobState.FAILED, why=why)
        case None, 0:
            return Verdict(state=JobState.DONE, exit_code=0)
        case _:
            return Verdict(state=JobState.FAILED, exit_code=known, why=f"exit code {known}")
