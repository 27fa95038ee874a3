"""The stand-in job, run as the process it is against a state file that the test plays the plant for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulators.gpujob import EXIT_NO_GPU, EXIT_TERMINATED
from simulators.nvml.layout import STATE_VARIABLE, Word
from simulators.nvml.state import H100, NvmlState

FIRST, SECOND = "GPU-11111111-0000-4000-8000-000000000001", "GPU-22222222-0000-4000-8000-000000000002"
PATIENCE_S = 20.0

pytestmark = pytest.mark.socket
"""Not for sockets but for real time: these tests wait, bounded, for another process."""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def state(tmp_path: Path) -> NvmlState:
    state = NvmlState.create(tmp_path / "nvml", {FIRST: H100, SECOND: H100})
    for gpu in state.gpus:
        gpu[Word.JOB_THROUGHPUT_PPM] = 1_000_000
    return state


@pytest.fixture
def start(state: NvmlState) -> Iterator[Start]:
    """Starts jobs on given GPUs; none outlives the test."""
    jobs: list[subprocess.Popen[str]] = []

    def start(visible: str, *arguments: str) -> subprocess.Popen[str]:
        environment = os.environ | {STATE_VARIABLE: str(state.path), "CUDA_VISIBLE_DEVICES": visible}
        command = [sys.executable, "-m", "simulators.gpujob", "--demand-w", "650", *arguments]
        jobs.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()
        job.communicate()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_job_ends_well_when_its_work_is_done(state: NvmlState, start: Start) -> None:
    job = start(FIRST, "--seconds-of-work", "0.3")

    assert job.wait(PATIENCE_S) == 0
    assert state.gpu(FIRST)[Word.JOB_PID] == 0
    assert state.gpu(FIRST)[Word.JOB_DEMAND_MW] == 0


def test_a_running_job_asks_for_its_watts_on_its_gpus_only(state: NvmlState, start: Start) -> None:
    job = start(SECOND, "--seconds-of-work", "60")

    until(lambda: state.gpu(SECOND)[Word.JOB_BEAT_NS] > 0)

    assert state.gpu(SECOND)[Word.JOB_DEMAND_MW] == 650_000
    assert state.gpu(SECOND)[Word.JOB_PID] == job.pid
    assert state.gpu(FIRST)[Word.JOB_PID] == 0


def test_a_job_whose_slowest_gpu_stands_still_gets_nowhere(
    state: NvmlState, start: Start, tmp_path: Path
) -> None:
    state.gpu(SECOND)[Word.JOB_THROUGHPUT_PPM] = 0
    checkpoint = tmp_path / "checkpoint"

    start(
        f"{FIRST},{SECOND}", "--seconds-of-work", "60",
        "--checkpoint", str(checkpoint), "--checkpoint-every-s", "0.3",
    )  # fmt: skip
    until(checkpoint.exists)

    assert json.loads(checkpoint.read_text()) == {"done_s": 0.0}


def test_a_terminated_job_saves_its_progress_and_resumes_from_it(
    state: NvmlState, start: Start, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    first = start(FIRST, "--seconds-of-work", "60", "--checkpoint", str(checkpoint))
    until(lambda: state.gpu(FIRST)[Word.JOB_BEAT_NS] > 0)
    time.sleep(0.3)

    first.send_signal(signal.SIGTERM)
    code = first.wait(PATIENCE_S)
    done_s = json.loads(checkpoint.read_text())["done_s"]
    second = start(FIRST, "--seconds-of-work", str(done_s), "--checkpoint", str(checkpoint))

    assert code == EXIT_TERMINATED
    assert done_s > 0
    assert second.wait(PATIENCE_S) == 0
    assert json.loads(checkpoint.read_text())["done_s"] == done_s


def test_a_stopped_job_keeps_its_gpu_but_its_beat_ends(state: NvmlState, start: Start) -> None:
    job = start(FIRST, "--seconds-of-work", "60")
    until(lambda: state.gpu(FIRST)[Word.JOB_BEAT_NS] > 0)

    job.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, job.pid, os.WSTOPPED)
    beat_ns = state.gpu(FIRST)[Word.JOB_BEAT_NS]
    time.sleep(0.3)

    assert state.gpu(FIRST)[Word.JOB_BEAT_NS] == beat_ns
    assert state.gpu(FIRST).holder == job.pid


def test_a_job_takes_its_gpu_by_index_as_slurm_names_it(state: NvmlState, start: Start) -> None:
    job = start("1", "--seconds-of-work", "60")

    until(lambda: state.gpu(SECOND)[Word.JOB_PID] == job.pid)


@pytest.mark.parametrize("visible", ["", "GPU-nowhere", "7"])
def test_a_job_without_a_gpu_that_exists_fails_and_says_so(start: Start, visible: str) -> None:
    job = start(visible, "--seconds-of-work", "1")

    _, said = job.communicate(timeout=PATIENCE_S)

    assert job.returncode == EXIT_NO_GPU
    assert "CUDA_VISIBLE_DEVICES" in said


def test_a_second_job_is_refused_a_gpu_that_is_held(state: NvmlState, start: Start) -> None:
    first = start(FIRST, "--seconds-of-work", "60")
    until(lambda: state.gpu(FIRST).holder == first.pid)

    second = start(f"{SECOND},{FIRST}", "--seconds-of-work", "1")
    _, said = second.communicate(timeout=PATIENCE_S)

    assert second.returncode == EXIT_NO_GPU
    assert f"in use by process {first.pid}" in said
    assert state.gpu(SECOND)[Word.JOB_PID] == 0


def test_a_killed_job_leaves_its_gpu_even_before_it_is_reaped(state: NvmlState, start: Start) -> None:
    first = start(FIRST, "--seconds-of-work", "60")
    until(lambda: state.gpu(FIRST).holder == first.pid)

    first.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    second = start(FIRST, "--seconds-of-work", "0.2")

    assert second.wait(PATIENCE_S) == 0


def test_a_job_is_refused_a_gpu_that_its_driver_has_not_let_go(state: NvmlState, start: Start) -> None:
    state.gpu(FIRST)[Word.JOB_PID], state.gpu(FIRST)[Word.JOB_LINGERS] = 2**22 + 1, 1

    job = start(FIRST, "--seconds-of-work", "1")

    assert job.wait(PATIENCE_S) == EXIT_NO_GPU
