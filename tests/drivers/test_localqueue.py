"""The local job queue with real processes: what the operating system did is what counts."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from controller.domain.devices import Acknowledged, Failed, Outcome, Refused
from controller.domain.jobs import (
    FlexTier,
    Job,
    JobAction,
    JobCommand,
    JobState,
    JobStatus,
    OnShortage,
    PricedBy,
)
from drivers.base import DriverError
from drivers.gpu_learning import Learner, Working
from drivers.localqueue import (
    JobRequest,
    JobView,
    LocalQueue,
    LocalQueueConfig,
    QueueError,
    build,
    cancel,
    list_jobs,
    submit,
)
from drivers.localqueue_jobs import Ending, Verdict, verdict
from drivers.localqueue_process import Life, NoCode, ProcessId, bury, look, read_exit, signal_group
from drivers.localqueue_store import DATABASE, opened

VISIBLE = {"gpu0": "GPU-aaaa", "gpu1": "GPU-bbbb"}
PATIENCE_S = 10.0
FOREVER = "while :; do sleep 0.01; done"
COUNT = "while :; do echo x >>count; sleep 0.01; done"
CHECKPOINTS = f"trap 'echo saved >>saved; exit 0' TERM; echo up >>up; {FOREVER}"
DEAF = f"trap '' TERM; echo up >>up; {FOREVER}"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A queue directory; whatever still runs from it when the test is over is killed."""
    yield tmp_path
    with suppress(DriverError), opened(tmp_path) as store:
        for record in store.not_over(1_000):
            if record.process is not None:
                with suppress(ProcessLookupError):
                    signal_group(record.process, signal.SIGKILL)
                bury(record.process)


def queue_of(directory: Path, **config: Any) -> LocalQueue:
    return build(LocalQueueConfig.model_validate({"id": "local", "directory": directory} | config), VISIBLE)


def request(directory: Path, script: str = "exit 0", **changes: Any) -> JobRequest:
    base = {"argv": ("/bin/sh", "-c", script), "gpus": 1, "usd_per_gpu_hour": 2.0, "cwd": directory}
    return JobRequest.model_validate(base | changes)


def order(job: str, action: JobAction, *gpus: str, deadline_s: float = 5.0) -> JobCommand:
    return JobCommand(queue="local", job=job, action=action, gpus=gpus, deadline_s=deadline_s)


async def start(queue: LocalQueue, directory: Path, script: str, *gpus: str, **changes: Any) -> str:
    job = submit(directory, request(directory, script, gpus=len(gpus), **changes))
    assert await queue.apply(order(job, JobAction.START, *gpus)) == Acknowledged()
    return job


async def status(queue: LocalQueue, job: str) -> JobStatus | None:
    return next((found for found in (await queue.read()).jobs if found.job.id == job), None)


async def until(queue: LocalQueue, directory: Path, job: str, state: JobState) -> JobView:
    """Read, as the daemon does, until the job is in `state`."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await queue.read()
            for view in list_jobs(directory):
                if view.id == job and view.state is state:
                    return view
            await asyncio.sleep(0.01)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 another process sets no event
            await asyncio.sleep(0.005)


async def content(path: Path) -> str:
    """What a job wrote there, as soon as it has."""
    await eventually(lambda: path.exists() and path.stat().st_size > 0)
    return read(path)


def read(path: Path) -> str:
    return path.read_text()


def runs(pid: int) -> bool:
    try:
        return ") Z " not in read(Path(f"/proc/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return False


def process_of(directory: Path, job: str) -> ProcessId:
    with opened(directory) as store:
        process = store.find(job).process
    assert process is not None
    return process


def gated(directory: Path) -> Path:
    """Where a job waits at `gate` until somebody writes there."""
    os.mkfifo(directory / "gate")
    return directory


@contextmanager
def tampered(directory: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(directory / DATABASE, isolation_level=None)) as db:
        yield db


# One job from submission to its end


async def test_a_submitted_job_waits_and_says_what_it_is_worth(directory: Path) -> None:
    queue = queue_of(directory)
    job = submit(directory, request(directory, gpus=2, flex=1, on_shortage="suspend"))

    reading = await queue.read()

    asked = Job(
        id=job,
        gpus=2,
        usd_per_gpu_hour=2.0,
        flex=FlexTier.SLIGHT,
        on_shortage=OnShortage.SUSPEND,
    )
    assert reading.queue == "local"
    assert reading.jobs == (JobStatus(job=asked, state=JobState.QUEUED),)
    assert reading.gpus == ("gpu0", "gpu1")


async def test_a_job_without_a_price_leaves_it_to_the_site(directory: Path) -> None:
    submit(directory, request(directory, usd_per_gpu_hour=None))
    submit(directory, request(directory, usd_per_gpu_hour=0.0))

    free, worthless = (status.job for status in (await queue_of(directory).read()).jobs)

    assert (free.usd_per_gpu_hour, free.priced_by) == (0.0, PricedBy.SITE)
    assert (worthless.usd_per_gpu_hour, worthless.priced_by) == (0.0, PricedBy.OWNER)
    assert [job.usd_per_gpu_hour for job in list_jobs(directory)] == [None, 0.0]


async def test_no_price_of_a_job_is_beyond_what_an_hour_of_a_gpu_ever_cost(directory: Path) -> None:
    submit(directory, request(directory, usd_per_gpu_hour=1e7))

    [status] = (await queue_of(directory).read()).jobs

    assert status.job.usd_per_gpu_hour == 1_000.0


@pytest.mark.socket
async def test_a_started_job_sees_its_gpus_and_ends_as_done(directory: Path) -> None:
    queue = queue_of(directory)

    job = await start(
        queue, directory, 'echo "$CUDA_VISIBLE_DEVICES in $PWD as $ROLE"', "gpu1", "gpu0", env={"ROLE": "x"}
    )
    view = await until(queue, directory, job, JobState.DONE)

    assert view.exit_code == 0
    assert (directory / "logs" / f"{job}.log").read_text() == f"GPU-bbbb,GPU-aaaa in {directory} as x\n"
    assert (await queue.read()).jobs == ()
    assert list((directory / "runs").iterdir()) == []


@pytest.mark.socket
async def test_a_job_gets_nothing_of_the_daemons_environment_that_may_be_secret(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTSHIFT_BROKER_PASSWORD", "hunter2")
    queue = queue_of(directory)

    job = await start(queue, directory, "env", "gpu0")
    await until(queue, directory, job, JobState.DONE)

    log = (directory / "logs" / f"{job}.log").read_text()
    assert "PATH=" in log
    assert "hunter2" not in log


@pytest.mark.socket
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"argv": ("/bin/sh", "-c", "exit 7")}, 7),
        ({"argv": ("/bin/sh", "-c", "kill -KILL $$")}, 137),
        ({"argv": ("no-such-program",)}, 127),
        ({"cwd": Path("/no/such/place")}, 2),
    ],
    ids=["its own code", "killed", "no program", "no directory"],
)
async def test_a_job_that_fails_is_failed_with_its_code(
    directory: Path, changes: dict[str, Any], code: int
) -> None:
    queue = queue_of(directory)

    job = await start(queue, directory, "", "gpu0", **changes)
    view = await until(queue, directory, job, JobState.FAILED)

    assert (view.exit_code, view.why) == (code, f"exit code {code}")


@pytest.mark.socket
async def test_what_a_job_leaves_behind_is_ended_with_it(directory: Path) -> None:
    queue = queue_of(directory)

    job = await start(queue, directory, f"({FOREVER}) & echo $! >left", "gpu0")
    await until(queue, directory, job, JobState.DONE)

    left = int((directory / "left").read_text())
    await eventually(lambda: not runs(left))


@pytest.mark.socket
async def test_a_job_whose_leader_is_killed_is_failed_and_nothing_of_it_goes_on(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, f"echo $$ >inner; {FOREVER}", "gpu0")
    inner = int(await content(directory / "inner"))

    os.kill(process_of(directory, job).pid, signal.SIGKILL)
    view = await until(queue, directory, job, JobState.FAILED)

    assert view.why == "no exit code: it was killed from outside, or the disk was full"
    await eventually(lambda: not runs(inner))


# Suspend, resume, requeue, cancel


@pytest.mark.socket
async def test_a_suspended_job_makes_no_progress_until_it_is_resumed(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, COUNT, "gpu0")
    count = directory / "count"
    await content(count)

    suspended = await queue.apply(order(job, JobAction.SUSPEND))
    while_suspended = await status(queue, job)
    await asyncio.sleep(0.05)  # a `sleep 0.01` under way when the signal came is over
    before = count.stat().st_size
    await asyncio.sleep(0.2)
    after = count.stat().st_size
    resumed = await queue.apply(order(job, JobAction.RESUME))
    await eventually(lambda: count.stat().st_size > after)

    assert suspended == resumed == Acknowledged()
    assert while_suspended is not None
    assert (while_suspended.state, while_suspended.gpus) == (JobState.SUSPENDED, ("gpu0",))
    assert before == after
    again = await status(queue, job)
    assert again is not None
    assert again.state is JobState.RUNNING


@pytest.mark.socket
async def test_a_requeued_job_saves_its_work_waits_in_its_old_place_and_starts_again(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, CHECKPOINTS, "gpu0")
    later = submit(directory, request(directory))
    await content(directory / "up")

    outcome = await queue.apply(order(job, JobAction.REQUEUE))
    await until(queue, directory, job, JobState.QUEUED)
    waiting = [found.job.id for found in (await queue.read()).jobs]
    started = await queue.apply(order(job, JobAction.START, "gpu1"))

    assert outcome == started == Acknowledged()
    assert (directory / "saved").read_text() == "saved\n"
    assert waiting == [job, later]
    again = await status(queue, job)
    assert again is not None
    assert (again.state, again.gpus) == (JobState.RUNNING, ("gpu1",))


@pytest.mark.socket
async def test_a_job_that_stands_or_waits_again_says_why_until_it_goes_on(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, FOREVER, "gpu0")

    async def said(action: JobAction, *gpus: str) -> str:
        why = "limited site event dr-7"
        assert await queue.apply(replace(order(job, action, *gpus), why=why)) == Acknowledged()
        if action is JobAction.REQUEUE:
            await until(queue, directory, job, JobState.QUEUED)
        (view,) = list_jobs(directory)
        return view.why

    assert await said(JobAction.SUSPEND) == "suspended: limited site event dr-7"
    assert await said(JobAction.RESUME) == ""
    assert await said(JobAction.REQUEUE) == "requeued: limited site event dr-7"
    assert await said(JobAction.START, "gpu1") == ""


@pytest.mark.socket
async def test_of_a_job_that_somebody_else_stopped_it_is_said_that_nobody_knows_why(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, FOREVER, "gpu0")

    signal_group(process_of(directory, job), signal.SIGSTOP)

    view = await until(queue, directory, job, JobState.SUSPENDED)
    assert view.why == "stopped, and no word was kept of who did it"


@pytest.mark.socket
async def test_a_job_that_prints_without_end_fills_no_disk(directory: Path) -> None:
    queue = queue_of(directory, max_log_mb=0.1)
    job = await start(queue, directory, "echo begin; while :; do echo more and more and more; done", "gpu0")
    log_file = directory / "logs" / f"{job}.log"

    async with asyncio.timeout(PATIENCE_S):
        while b"bytes are left out here]" not in log_file.read_bytes():
            await queue.read()
            await asyncio.sleep(0.01)

    assert log_file.read_bytes().startswith(b"begin\n")


@pytest.mark.socket
async def test_a_job_holds_its_gpus_until_it_is_really_gone(directory: Path) -> None:
    queue = queue_of(directory, grace_s=60)
    job = await start(queue, directory, DEAF, "gpu0")
    other = submit(directory, request(directory))
    await content(directory / "up")

    await queue.apply(order(job, JobAction.REQUEUE))
    taken = await queue.apply(order(other, JobAction.START, "gpu0"))
    resumed = await queue.apply(order(job, JobAction.RESUME))

    held = await status(queue, job)
    assert held is not None
    assert (held.state, held.gpus) == (JobState.RUNNING, ("gpu0",))
    assert taken == Refused(f"{other}: gpu0 held by {job}")
    assert resumed == Refused(f"{job} is being ended")


@pytest.mark.socket
@pytest.mark.parametrize("changes", [{}, {"grace_s": 0.1}], ids=["the queue's grace", "its own grace"])
async def test_a_job_deaf_to_sigterm_is_killed_when_its_grace_is_over(
    directory: Path, changes: dict[str, Any]
) -> None:
    queue = queue_of(directory, grace_s=60 if changes else 0.1)
    job = await start(queue, directory, DEAF, "gpu0", **changes)
    await content(directory / "up")
    process = process_of(directory, job)

    outcome = await queue.apply(order(job, JobAction.REQUEUE))
    alive = look(process)
    await until(queue, directory, job, JobState.QUEUED)

    assert outcome == Acknowledged()
    assert alive is Life.RUNNING
    assert look(process) is Life.GONE


@pytest.mark.socket
async def test_a_suspended_job_can_save_its_work_when_it_is_requeued(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, CHECKPOINTS, "gpu0")
    await content(directory / "up")
    await queue.apply(order(job, JobAction.SUSPEND))

    outcome = await queue.apply(order(job, JobAction.REQUEUE))
    await until(queue, directory, job, JobState.QUEUED)

    assert outcome == Acknowledged()
    assert (directory / "saved").read_text() == "saved\n"


# Workers in sessions of their own, as torchrun starts them


OF_THEIR_OWN = "setsid sleep 30 & echo $! >left; echo up >>up"


def state_of(pid: int) -> str:
    """The letter of its state; empty when it is gone."""
    try:
        return read(Path(f"/proc/{pid}/stat")).rpartition(") ")[2][:1]
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.socket
async def test_a_worker_in_a_session_of_its_own_is_suspended_and_resumed_with_its_job(
    directory: Path,
) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, f"{OF_THEIR_OWN}; wait", "gpu0")
    await content(directory / "up")
    left = int(read(directory / "left"))

    await queue.apply(order(job, JobAction.SUSPEND))
    await eventually(lambda: state_of(left) == "T")
    await queue.apply(order(job, JobAction.RESUME))
    await eventually(lambda: state_of(left) == "S")

    await queue.apply(order(job, JobAction.REQUEUE))
    await until(queue, directory, job, JobState.QUEUED)


@pytest.mark.socket
async def test_a_worker_in_a_session_of_its_own_is_killed_with_its_job(directory: Path) -> None:
    queue = queue_of(directory, grace_s=0.1)
    job = await start(queue, directory, f"{OF_THEIR_OWN}; {DEAF}", "gpu0")
    await content(directory / "up")
    left = int(read(directory / "left"))

    await queue.apply(order(job, JobAction.REQUEUE))
    await until(queue, directory, job, JobState.QUEUED)

    await eventually(lambda: not runs(left))


@pytest.mark.socket
async def test_a_worker_in_a_session_of_its_own_does_not_outlive_its_job(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, OF_THEIR_OWN, "gpu0")

    await until(queue, directory, job, JobState.DONE)

    await eventually(lambda: not runs(int(read(directory / "left"))))


@pytest.mark.socket
async def test_a_worker_in_a_session_of_its_own_is_told_to_end_by_its_launcher_alone(directory: Path) -> None:
    """Who is told twice takes it for impatience."""
    queue = queue_of(directory)
    worker = "trap 'echo told >>told' TERM; echo up >>up; while :; do sleep 0.01; [ -e done ] && exit; done"
    launcher = f"trap 'kill -TERM $!; echo x >done; wait $!; exit 0' TERM; setsid sh -c \"{worker}\" & wait"
    job = await start(queue, directory, launcher, "gpu0")
    await content(directory / "up")

    await queue.apply(order(job, JobAction.REQUEUE))
    await until(queue, directory, job, JobState.QUEUED)

    assert read(directory / "told") == "told\n"


@pytest.mark.socket
async def test_a_job_that_is_only_looked_at_runs_on_though_it_was_to_end(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, CHECKPOINTS, "gpu0")
    await content(directory / "up")
    cancel(directory, job)

    looked = [await queue.look() for _ in range(3)]

    assert {reading.jobs[0].state for reading in looked} == {JobState.RUNNING}
    assert looked[-1].jobs[0].gpus == ("gpu0",)
    assert not (directory / "saved").exists()
    assert await until(queue, directory, job, JobState.FAILED)
    assert (directory / "saved").exists()


@pytest.mark.socket
async def test_a_job_that_ended_is_not_shown_to_who_only_looks_and_is_settled_by_the_next_read(
    directory: Path,
) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, "exit 3", "gpu0")
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if not (await queue.look()).jobs:
                break
            await asyncio.sleep(0.01)

    assert [view.state for view in list_jobs(directory)] == [JobState.RUNNING]
    assert (await until(queue, directory, job, JobState.FAILED)).exit_code == 3


@pytest.mark.socket
async def test_a_cancelled_job_is_ended_at_the_next_read_and_never_queued_again(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, f"echo up >up; {FOREVER}", "gpu0")
    await content(directory / "up")

    now = cancel(directory, job)
    requeued = await queue.apply(order(job, JobAction.REQUEUE))
    view = await until(queue, directory, job, JobState.FAILED)

    assert now is JobState.RUNNING
    assert requeued == Acknowledged()
    assert (view.why, view.exit_code) == ("cancelled", 128 + signal.SIGTERM)


@pytest.mark.socket
async def test_a_cancellation_that_crosses_a_requeue_stands(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, FOREVER, "gpu0")
    with opened(directory) as store:
        seen_before = store.find(job)

    cancel(directory, job)
    with opened(directory) as store:
        store.begin_ending(seen_before, Ending.REQUEUE)
    view = await until(queue, directory, job, JobState.FAILED)

    assert view.why == "cancelled"


async def test_a_waiting_job_that_is_cancelled_is_over_at_once(directory: Path) -> None:
    job = submit(directory, request(directory))

    now = cancel(directory, job)

    assert now is JobState.FAILED
    assert [(view.id, view.why) for view in list_jobs(directory)] == [(job, "cancelled")]
    with pytest.raises(QueueError, match=f"{job} is over: failed"):
        cancel(directory, job)
    with pytest.raises(QueueError, match="no job job-77"):
        cancel(directory, "job-77")


# Refusals


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (order("job-1", JobAction.RESUME), "job-1 is queued"),
        (order("job-1", JobAction.SUSPEND), "job-1 is queued"),
        (order("job-1", JobAction.REQUEUE), "job-1 is queued"),
        (order("job-1", JobAction.START, "gpu0", "gpu1"), "job-1 needs 1 GPUs, given gpu0, gpu1"),
        (order("job-1", JobAction.START), "job-1 needs 1 GPUs, given none"),
        (order("job-1", JobAction.START, "gpu9"), "job-1: gpu9 not of this queue"),
        (order("job-2", JobAction.START, "gpu0"), "no job job-2"),
    ],
)
async def test_an_order_that_does_not_fit_the_job_is_refused(
    directory: Path, command: JobCommand, why: str
) -> None:
    queue = queue_of(directory)
    submit(directory, request(directory))

    outcome = await queue.apply(command)

    assert isinstance(outcome, Refused)
    assert outcome.why.endswith(why)


@pytest.mark.socket
async def test_no_gpu_is_held_twice(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, FOREVER, "gpu0")
    other = submit(directory, request(directory, f"echo ran >ran; {FOREVER}", gpus=2))

    outcome = await queue.apply(order(other, JobAction.START, "gpu1", "gpu0"))

    assert outcome == Refused(f"{other}: gpu0 held by {job}")
    found = await status(queue, other)
    assert found is not None
    assert (found.state, found.gpus) == (JobState.QUEUED, ())
    assert not (directory / "ran").exists()


@pytest.mark.socket
async def test_a_start_that_is_asked_again_starts_nothing_more(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, FOREVER, "gpu0")
    process = process_of(directory, job)

    same = await queue.apply(order(job, JobAction.START, "gpu0"))
    elsewhere = await queue.apply(order(job, JobAction.START, "gpu1"))

    assert same == Acknowledged()
    assert elsewhere == Refused(f"{job} is running")
    assert process_of(directory, job) == process


@pytest.mark.socket
async def test_what_the_operating_system_forbids_is_failed_and_the_job_still_waits(directory: Path) -> None:
    queue = queue_of(directory)
    job = submit(directory, request(directory))
    (directory / "logs").write_text("not a directory")

    outcome = await queue.apply(order(job, JobAction.START, "gpu0"))

    assert isinstance(outcome, Failed)
    assert "logs" in outcome.why
    found = await status(queue, job)
    assert found is not None
    assert found.state is JobState.QUEUED


@pytest.mark.socket
async def test_a_job_that_has_just_ended_is_neither_suspended_nor_resumed(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, "exit 0", "gpu0")
    await eventually(lambda: look(process_of(directory, job)) is Life.GONE)

    outcomes: list[Outcome] = [
        await queue.apply(order(job, action)) for action in (JobAction.SUSPEND, JobAction.RESUME)
    ]

    assert outcomes == [Refused(f"{job}: its process has ended")] * 2
    await until(queue, directory, job, JobState.DONE)


# The daemon goes and comes back

DAEMON = """
import asyncio, os, sys
from pathlib import Path
from controller.domain.jobs import JobAction, JobCommand
from drivers.localqueue import LocalQueueConfig, build

async def main():
    queue = build(LocalQueueConfig(id="local", directory=Path(sys.argv[1])), {"gpu0": "GPU-aaaa"})
    print(await queue.apply(JobCommand(queue="local", job="job-1", action=JobAction.START, gpus=("gpu0",))))
    sys.stdout.flush()
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""
DIES_AT_THE_GATE = """
import os, sys
from pathlib import Path
from drivers.localqueue_process import spawned

at = Path(sys.argv[1])
job = ["/bin/sh", "-c", "echo ran >ran"]
with spawned(job, cwd=at, env={}, exit_record=at / "exit", log_file=at / "log"):
    os.kill(os.getpid(), 9)
"""


async def as_another_process(program: str, directory: Path) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(directory)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    async with asyncio.timeout(PATIENCE_S):
        output, _ = await process.communicate()
    return output


@pytest.mark.socket
@pytest.mark.parametrize(("code", "state"), [(0, JobState.DONE), (7, JobState.FAILED)])
async def test_a_restarted_daemon_finds_its_running_job_and_later_its_exit_code(
    directory: Path, code: int, state: JobState
) -> None:
    job = submit(directory, request(directory, f"until [ -e end ]; do sleep 0.01; done; exit {code}"))
    said = await as_another_process(DAEMON, directory)
    queue = queue_of(directory)

    found = await status(queue, job)
    suspended = await queue.apply(order(job, JobAction.SUSPEND))
    restarted = await status(queue_of(directory), job)
    await queue.apply(order(job, JobAction.RESUME))
    (directory / "end").touch()
    view = await until(queue, directory, job, state)

    assert b"Acknowledged" in said
    assert found is not None
    assert (found.state, found.gpus) == (JobState.RUNNING, ("gpu0",))
    assert suspended == Acknowledged()
    assert restarted is not None
    assert restarted.state is JobState.SUSPENDED
    assert view.exit_code == code


@pytest.mark.socket
async def test_a_job_that_ended_while_the_daemon_was_away_ended_with_its_code(directory: Path) -> None:
    job = submit(directory, request(directory, "exit 5"))
    await as_another_process(DAEMON, directory)
    await eventually(lambda: look(process_of(directory, job)) is Life.GONE)

    view = await until(queue_of(directory), directory, job, JobState.FAILED)

    assert view.exit_code == 5


@pytest.mark.socket
async def test_what_a_job_leaves_behind_is_ended_while_the_daemon_is_away(directory: Path) -> None:
    submit(directory, request(directory, f"({FOREVER}) & echo $! >left"))

    await as_another_process(DAEMON, directory)
    left = int(await content(directory / "left"))

    await eventually(lambda: not runs(left))


@pytest.mark.socket
async def test_a_job_whose_leader_is_killed_after_a_restart_leaves_nothing_on_its_gpus(
    directory: Path,
) -> None:
    """Its leader is no child of the new daemon, so it is reaped by somebody else, and the group goes on."""
    job = submit(directory, request(directory, f"echo $$ >inner; {FOREVER}"))
    await as_another_process(DAEMON, directory)
    inner = int(await content(directory / "inner"))

    os.kill(process_of(directory, job).pid, signal.SIGKILL)
    await until(queue_of(directory), directory, job, JobState.FAILED)

    await eventually(lambda: not runs(inner))


@pytest.mark.socket
async def test_a_daemon_that_dies_before_it_noted_a_job_starts_nothing(directory: Path) -> None:
    await as_another_process(DIES_AT_THE_GATE, directory)

    await eventually(lambda: read_exit(directory / "exit") is NoCode.UNSTARTED)

    assert not (directory / "ran").exists()


@pytest.mark.socket
async def test_the_grace_of_a_job_goes_on_across_a_restart(directory: Path) -> None:
    queue = queue_of(directory, grace_s=0.2)
    job = await start(queue, directory, DEAF, "gpu0")
    await content(directory / "up")
    await queue.apply(order(job, JobAction.REQUEUE))
    await queue.close()

    view = await until(queue_of(directory, grace_s=60), directory, job, JobState.QUEUED)

    assert view.held == ()


@pytest.mark.socket
async def test_closing_the_queue_leaves_its_jobs_running(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, FOREVER, "gpu0")

    await queue.close()

    assert look(process_of(directory, job)) is Life.RUNNING


@pytest.mark.socket
async def test_a_start_that_came_too_late_is_seen_by_the_next_read(directory: Path) -> None:
    queue = queue_of(directory)
    job = submit(directory, request(directory, FOREVER))

    with tampered(directory) as db:
        db.execute("BEGIN IMMEDIATE")
        outcome = await queue.apply(order(job, JobAction.START, "gpu0", deadline_s=0.1))
        db.execute("ROLLBACK")
    found = await status(queue, job)

    assert isinstance(outcome, Failed)
    assert "no answer within 0.1 s" in outcome.why
    assert found is not None
    assert found.state is JobState.RUNNING


# Somebody else's process


@pytest.mark.socket
@pytest.mark.parametrize("action", [JobAction.SUSPEND, JobAction.RESUME, JobAction.REQUEUE])
@pytest.mark.parametrize("stranger", ["start_ticks = start_ticks - 1", "boot = 'another'"])
async def test_a_process_that_only_has_the_number_is_never_signalled(
    directory: Path, action: JobAction, stranger: str
) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, CHECKPOINTS, "gpu0")
    await content(directory / "up")
    process = process_of(directory, job)
    with tampered(directory) as db:
        db.execute(f"UPDATE jobs SET {stranger}")  # noqa: S608 the parameters of this test

    await queue.apply(order(job, action))
    reading = await queue.read()

    assert look(process) is Life.RUNNING
    assert not (directory / "saved").exists()
    assert all(found.state is JobState.QUEUED for found in reading.jobs)
    signal_group(process, signal.SIGKILL)
    await eventually(lambda: look(process) is Life.GONE)
    bury(process)


# The file


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"

    with pytest.raises(DriverError, match=f"{nowhere} does not exist"):
        await queue_of(nowhere).read()
    with pytest.raises(QueueError, match=f"{nowhere} does not exist"):
        submit(nowhere, request(tmp_path))
    outcome = await queue_of(nowhere).apply(order("job-1", JobAction.RESUME))

    assert isinstance(outcome, Failed)


async def test_a_file_that_is_no_database_is_named(directory: Path) -> None:
    (directory / DATABASE).write_bytes(b"something else entirely" * 100)

    with pytest.raises(DriverError, match=f"{directory / DATABASE}: file is not a database"):
        await queue_of(directory).read()


async def test_a_file_whose_schema_is_no_text_any_more_is_named(directory: Path) -> None:
    submit(directory, request(directory))
    with tampered(directory) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path = directory / DATABASE
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE jobs", b"CR\xffATE TABLE jobs"))

    with pytest.raises(DriverError, match=f"{path}: 'utf-8' codec can't decode byte 0xff"):
        await queue_of(directory).read()


async def test_a_file_of_another_version_is_left_alone(directory: Path) -> None:
    submit(directory, request(directory))
    with tampered(directory) as db:
        db.execute("PRAGMA user_version = 9")

    with pytest.raises(DriverError, match="version 9, this program knows 1"):
        await queue_of(directory).read()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("request = '{'", "job-1: request: Invalid JSON"),
        ("request = '{}'", r"job-1: request\.argv: Field required"),
        ("state = 'running'", "job-1: row: .*without a process"),
        (
            "state = 'running', run = 'r', boot = 'b', start_ticks = 1, held = '[\"gpu0\"]', pid = 1",
            "job-1: pid",
        ),
        ("state = 'queued', held = 'gpu0'", "job-1: held: Invalid JSON"),
    ],
)
async def test_a_damaged_row_names_its_job(directory: Path, damage: str, complaint: str) -> None:
    submit(directory, request(directory))
    with tampered(directory) as db:
        db.execute(f"UPDATE jobs SET {damage}")  # noqa: S608 the parameters of this test

    with pytest.raises(DriverError, match=complaint):
        await queue_of(directory).read()


@pytest.mark.socket
async def test_a_long_queue_is_read_in_part_but_everything_that_runs(directory: Path) -> None:
    queue = queue_of(directory, max_jobs=2)
    waiting = [submit(directory, request(directory)) for _ in range(3)]
    running = await start(queue, directory, FOREVER, "gpu0")

    reading = await queue.read()

    assert [found.job.id for found in reading.jobs] == [*waiting[:2], running]


async def test_old_jobs_are_forgotten_but_none_that_waits(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(directory, request(directory))
    over = [submit(directory, request(directory)) for _ in range(4)]
    for job in over:
        cancel(directory, job)
    monkeypatch.setattr("drivers.localqueue_store.FINISHED_JOBS_KEPT", 1)

    with opened(directory) as store:
        forgotten = store.forget()

    assert sorted(forgotten) == over[:3]
    assert [view.id for view in list_jobs(directory)] == [first, over[3]]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"argv": ()}, "argv"),
        ({"argv": ("",)}, "must name a program"),
        ({"argv": ("a\0b",)}, "argv"),
        ({"gpus": 0}, "gpus"),
        ({"usd_per_gpu_hour": float("nan")}, "usd_per_gpu_hour"),
        ({"cwd": "here"}, "not an absolute path"),
        ({"env": {"CUDA_VISIBLE_DEVICES": "0"}}, "set by the queue"),
        ({"env": {"A=B": "0"}}, "env"),
        ({"nice": 3}, "nice"),
    ],
)
def test_a_request_that_cannot_be_met_is_rejected_by_name(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        request(tmp_path, **changes)


@pytest.mark.parametrize(
    ("ending", "code", "boot", "becomes"),
    [
        (None, 0, "now", Verdict(state=JobState.DONE, exit_code=0)),
        (None, 0, "before", Verdict(state=JobState.DONE, exit_code=0)),
        (None, 3, "now", Verdict(state=JobState.FAILED, exit_code=3, why="exit code 3")),
        (None, NoCode.UNSTARTED, "now", Verdict(state=JobState.QUEUED)),
        (None, NoCode.UNKNOWN, "before", Verdict(state=JobState.QUEUED)),
        (
            None,
            NoCode.UNKNOWN,
            "now",
            Verdict(
                state=JobState.FAILED, why="no exit code: it was killed from outside, or the disk was full"
            ),
        ),
        (Ending.REQUEUE, 0, "now", Verdict(state=JobState.QUEUED)),
        (Ending.REQUEUE, NoCode.UNKNOWN, "now", Verdict(state=JobState.QUEUED)),
        (Ending.CANCEL, NoCode.UNKNOWN, "before", Verdict(state=JobState.FAILED, why="cancelled")),
    ],
)
def test_how_a_job_ended_decides_what_it_becomes(
    ending: Ending | None, code: int | NoCode, boot: str, becomes: Verdict
) -> None:
    assert verdict(ending, code, boot=boot, boot_now="now") == becomes


# Progress


async def test_a_running_job_tells_its_progress_and_kind_and_a_stopped_one_does_not_count(
    directory: Path,
) -> None:
    heard: list[list[Working]] = []

    class Listening(Learner):
        def saw(self, jobs: Iterable[Working], now_s: float) -> None:
            heard.append(list(jobs))

    queue = build(LocalQueueConfig(id="local", directory=directory), VISIBLE, learner=Listening())
    job = await start(queue, directory, f"echo 41.5 >$WATTSHIFT_PROGRESS; {FOREVER}", "gpu1", kind="llama")
    await eventually(
        lambda: bool((directory / "progress" / job).exists() and read(directory / "progress" / job))
    )

    await queue.read()
    await queue.apply(order(job, JobAction.SUSPEND))
    await queue.read()
    cancel(directory, job)
    await until(queue, directory, job, JobState.FAILED)

    assert heard[0] == [Working(job=job, kind="llama", gpus=("gpu1",), units=41.5)]
    assert heard[1] == []
    assert not (directory / "progress" / job).exists()


async def test_what_was_learned_is_kept_in_the_queues_directory(directory: Path) -> None:
    learner = Learner()
    learner.load('{"points":[{"model":"H100","kind":"k","run":"job-1","cap":0.5,"units_per_s":2.0}]}')
    learner.news = True
    queue = build(LocalQueueConfig(id="local", directory=directory), VISIBLE, learner=learner)

    await queue.read()
    await queue.read()  # after what the first has left to be written
    kept = Learner()
    kept.load((directory / "curves.json").read_text())

    assert kept.dump() == learner.dump()


async def test_what_was_learned_and_cannot_be_kept_costs_no_reading_and_is_kept_later(
    directory: Path,
) -> None:
    learner = Learner()
    learner.load('{"points":[{"model":"H100","kind":"k","run":"job-1","cap":0.5,"units_per_s":2.0}]}')
    learner.news = True
    queue = build(LocalQueueConfig(id="local", directory=directory), VISIBLE, learner=learner)
    (directory / "curves.json.new").mkdir()
    job = submit(directory, request(directory))

    with capture_logs() as logs:
        readings = [await queue.read() for _ in range(3)]

    assert [[found.job.id for found in reading.jobs] for reading in readings] == [[job]] * 3
    assert [(line["event"], line["log_level"]) for line in logs] == [("curves_not_kept", "warning")]
    assert learner.news


# -- a disk that is full -------------------------------------------------------------------------------


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process grows or changes meanwhile: to SQLite that is a disk without a free block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_neither_hides_the_jobs_nor_keeps_them_from_being_stopped(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, COUNT, "gpu0")
    await queue.read()

    with full_disk():
        assert await queue.apply(order(job, JobAction.SUSPEND)) == Acknowledged()
        found = await status(queue, job)

    assert found is not None
    assert found.state is JobState.SUSPENDED


@pytest.mark.socket
async def test_a_job_that_cannot_be_requeued_as_the_disk_is_full_is_stopped_and_goes_on_later(
    directory: Path,
) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, COUNT, "gpu0")
    await queue.read()

    with full_disk():
        outcome = await queue.apply(order(job, JobAction.REQUEUE))
        found = await status(queue, job)

    assert isinstance(outcome, Failed)
    assert "stopped instead" in outcome.why
    assert found is not None
    assert found.state is JobState.SUSPENDED
    assert await queue.apply(order(job, JobAction.RESUME)) == Acknowledged()


@pytest.mark.socket
async def test_a_job_is_told_once_to_end_and_killed_in_time_though_its_grace_cannot_be_written_down(
    directory: Path,
) -> None:
    queue = queue_of(directory, grace_s=0.3)
    deaf = f"trap 'echo told >>told' TERM; echo up >>up; {FOREVER}"
    job = await start(queue, directory, deaf, "gpu0")
    await content(directory / "up")
    await queue.read()
    process = process_of(directory, job)
    cancel(directory, job)

    with full_disk(), capture_logs() as logs:
        await queue.read()
        await eventually((directory / "told").exists)
        for _ in range(5):
            await queue.read()
            await asyncio.sleep(0.1)

    await eventually(lambda: look(process) is Life.GONE)
    assert read(directory / "told") == "told\n"
    assert [line["event"] for line in logs] == ["not_written_down"]


async def test_an_exit_code_is_written_where_its_room_was_taken_before_the_job_began(directory: Path) -> None:
    queue = queue_of(directory)
    job = await start(queue, directory, "read -r _ <gate; exit 3", "gpu0", cwd=gated(directory))
    (record,) = (directory / "runs").iterdir()
    before = record.stat()

    (directory / "gate").write_text("go\n")
    await eventually(lambda: look(process_of(directory, job)) is Life.GONE)
    after = record.stat()

    assert before.st_size > 0
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size), "a full disk has no more room"
    assert (await until(queue, directory, job, JobState.FAILED)).why == "exit code 3"
    assert list((directory / "runs").iterdir()) == []


async def test_a_job_that_was_not_let_go_leaves_no_record_of_an_exit(directory: Path) -> None:
    queue = queue_of(directory)
    await start(queue, directory, FOREVER, "gpu0")
    second = submit(directory, request(directory))

    outcome = await queue.apply(order(second, JobAction.START, "gpu0"))

    assert isinstance(outcome, Refused)
    assert len(list((directory / "runs").iterdir())) == 1, "that of the first"


async def test_a_job_whose_end_cannot_be_written_down_hides_no_other(directory: Path) -> None:
    queue = queue_of(directory)
    ended = await start(queue, directory, "until [ -e go ]; do sleep 0.01; done", "gpu0")
    runs_on = await start(queue, directory, FOREVER, "gpu1")
    await queue.read()
    process = process_of(directory, ended)
    (directory / "go").touch()
    await eventually(lambda: look(process) is Life.GONE)

    with full_disk(), capture_logs() as logs:
        readings = [await queue.read() for _ in range(2)]

    assert [[found.job.id for found in reading.jobs] for reading in readings] == [[ended, runs_on]] * 2
    assert [(line["event"], line["subject"]) for line in logs] == [("not_written_down", ended)]
    assert await status(queue, ended) is None


async def test_a_gpu_that_takes_no_jobs_is_not_offered(directory: Path) -> None:
    queue = build(
        LocalQueueConfig(id="local", directory=directory), VISIBLE, takes_jobs=lambda gpu: gpu != "gpu0"
    )

    assert (await queue.read()).gpus == ("gpu1",)


def test_a_job_may_not_choose_where_it_reports(directory: Path) -> None:
    with pytest.raises(ValidationError, match="WATTSHIFT_PROGRESS is set by the queue"):
        request(directory, env={"WATTSHIFT_PROGRESS": "/etc/passwd"})
