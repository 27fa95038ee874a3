"""A GPU is given on to the next job once its driver has let go of the last one, and not before."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.domain.devices import Acknowledged
from controller.domain.gpus import GpuHealth
from controller.domain.jobs import JobAction, JobCommand, JobState
from drivers.gpu import GpuDriver, GpuHostConfig
from drivers.gpu_host import GpuHost
from drivers.gpu_processes import LETS_GO_WITHIN_S
from drivers.localqueue import JobRequest, submit
from drivers.localqueue_store import opened
from drivers.registry import DeviceTables
from drivers.registry import build as build_fleet
from simulators.nvml.build import library
from simulators.nvml.layout import STATE_VARIABLE, Word
from simulators.nvml.state import H100, NvmlGpu, NvmlState

UUID = "GPU-11111111-0000-4000-8000-000000000001"
HOST = {
    "id": "host",
    "node": "rack",
    "uuids": [UUID],
    "min_w": 200,
    "max_w": 700,
    "default_w": 700,
}
PATIENCE_S = 20.0


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NvmlGpu:
    state = NvmlState.create(tmp_path / "nvml", {UUID: H100})
    monkeypatch.setenv(STATE_VARIABLE, str(state.path))
    return state.gpu(UUID)


class Watch:
    """A clock in the test's hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def driver(board: NvmlGpu, watch: Watch) -> AsyncIterator[GpuDriver]:
    config = GpuHostConfig.model_validate(HOST | {"library": str(library())})
    driver = GpuDriver(GpuHost(library=config.library), UUID, "host-gpu0", config, clock=watch)
    yield driver
    await driver.close()


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process of a job, which nobody has reaped while the test runs."""
    process = subprocess.Popen(["/bin/sleep", "600"])
    yield process
    process.kill()
    process.wait()


async def test_a_gpu_that_a_job_left_is_looked_at_before_it_takes_the_next(driver: GpuDriver) -> None:
    await driver.read()
    before = driver.takes_jobs

    driver.job_left()
    unseen = driver.takes_jobs
    await driver.read()

    assert (before, unseen, driver.takes_jobs) == (True, False, True)


async def test_a_gpu_takes_no_job_while_a_killed_process_is_still_on_it(
    board: NvmlGpu, driver: GpuDriver, worker: subprocess.Popen[bytes]
) -> None:
    board[Word.JOB_PID] = worker.pid
    await driver.read()
    worker.kill()
    driver.job_left()

    during = [(await driver.read(), driver.takes_jobs)[1] for _ in range(7)]
    board[Word.JOB_PID] = 0
    await driver.read()

    assert during == [False] * 7
    assert driver.takes_jobs


async def test_a_process_that_is_gone_from_the_host_holds_its_gpu_as_long_as_the_driver_lists_it(
    board: NvmlGpu, driver: GpuDriver, worker: subprocess.Popen[bytes]
) -> None:
    board[Word.JOB_PID] = worker.pid
    await driver.read()
    board[Word.JOB_LINGERS] = 1
    worker.kill()
    worker.wait()
    driver.job_left()

    await driver.read()
    during = driver.takes_jobs
    board[Word.JOB_PID] = board[Word.JOB_LINGERS] = 0
    await driver.read()

    assert (during, driver.takes_jobs) == (False, True)


async def test_what_a_process_before_this_one_left_on_a_gpu_is_found_at_the_first_look(
    board: NvmlGpu, driver: GpuDriver, worker: subprocess.Popen[bytes]
) -> None:
    worker.kill()
    board[Word.JOB_PID] = worker.pid

    await driver.read()

    assert not driver.takes_jobs


async def test_somebody_elses_process_keeps_no_gpu_from_the_next_job(
    board: NvmlGpu, driver: GpuDriver
) -> None:
    board[Word.FOREIGN_PID] = os.getppid()
    await driver.read()

    driver.job_left()
    await driver.read()

    assert driver.takes_jobs


async def test_a_gpu_that_is_not_let_go_in_time_needs_a_reset_and_says_who_is_on_it(
    board: NvmlGpu, driver: GpuDriver, watch: Watch, worker: subprocess.Popen[bytes]
) -> None:
    board[Word.JOB_PID] = worker.pid
    worker.kill()
    await driver.read()
    watch.now_s += LETS_GO_WITHIN_S + 1

    with capture_logs() as logs:
        await driver.read()
        stuck = driver.detail
        board[Word.JOB_PID] = 0
        await driver.read()

    assert stuck is not None
    assert stuck.health is GpuHealth.NEEDS_RESET
    assert str(worker.pid) in stuck.why[0]
    assert [(log["event"], log["health"]) for log in logs] == [
        ("gpu_health", "needs_reset"),
        ("gpu_health", "ok"),
    ]
    assert driver.takes_jobs


async def test_a_reading_that_was_under_way_as_the_job_left_says_nothing_of_what_it_left(
    board: NvmlGpu, driver: GpuDriver
) -> None:
    await driver.read()
    board[Word.LATENCY_US] = 20_000
    under_way = asyncio.create_task(driver.read())
    await asyncio.sleep(0)

    driver.job_left()
    await under_way

    assert not driver.takes_jobs


async def test_the_queue_gives_a_gpu_on_when_its_driver_has_let_it_go(tmp_path: Path, board: NvmlGpu) -> None:
    queue_at = tmp_path / "queue"
    queue_at.mkdir()
    fleet = build_fleet(
        DeviceTables.model_validate(
            {
                "gpu_hosts": [HOST | {"library": str(library())}],
                "queues": [{"id": "local", "directory": queue_at}],
            }
        )
    )
    ((driver, _),), (queue,) = fleet.drivers, fleet.queues
    job = submit(queue_at, JobRequest(argv=("/bin/sleep", "600"), gpus=1, cwd=tmp_path, grace_s=0))

    async def until_gpus(wanted: tuple[str, ...]) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while (await queue.read()).gpus != wanted:
            assert time.monotonic() < until_s, "waited in vain"
            await asyncio.sleep(0.01)

    try:
        start = JobCommand(queue="local", job=job, action=JobAction.START, gpus=("host-gpu0",))
        assert await queue.apply(start) == Acknowledged()
        with opened(queue_at) as store:
            process = store.find(job).process
        assert process is not None
        board[Word.JOB_PID] = process.pid
        await driver.read()
        board[Word.JOB_LINGERS] = 1
        await queue.apply(JobCommand(queue="local", job=job, action=JobAction.REQUEUE))
        await until_gpus(())
        (waiting,) = (await queue.read()).jobs
        await driver.read()
        await until_gpus(())
        board[Word.JOB_PID] = board[Word.JOB_LINGERS] = 0
        await driver.read()
        await until_gpus(("host-gpu0",))
    finally:
        await queue.close()
        await driver.close()

    assert waiting.state is JobState.QUEUED
