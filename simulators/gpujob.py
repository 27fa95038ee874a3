"""A stand-in for a training job on simulated GPUs: asks for watts, works as fast as they allow, checkpoints.

It must behave as a job would: no word to the controller, and nothing kept but its checkpoint file.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from simulators.nvml.layout import STATE_VARIABLE, Word
from simulators.nvml.state import NvmlGpu, NvmlState, StateError

PERIOD_S = 0.1
LONGEST_STEP_S = 0.5  # a longer one means that the process was stopped: no work was done meanwhile
EXIT_NO_GPU = 2
PROGRESS_VARIABLE = "WATTSHIFT_PROGRESS"
EXIT_TERMINATED = 128 + signal.SIGTERM


class NoGpuError(Exception):
    """The GPUs that the job was given cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    work_s: float
    demand_w: float
    checkpoint: Path | None
    checkpoint_every_s: float
    progress: Path | None


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    try:
        gpus = _visible_gpus(os.environ)
        _refuse_held(gpus)
    except NoGpuError as error:
        print(f"gpujob: {error}", file=sys.stderr)
        return EXIT_NO_GPU
    terminated: list[int] = []

    def on_term(signum: int, _frame: FrameType | None) -> None:
        terminated.append(signum)

    signal.signal(signal.SIGTERM, on_term)
    try:
        return _work(gpus, options, terminated)
    finally:
        _release(gpus)


def _options(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="gpujob", description=__doc__)
    parser.add_argument("--seconds-of-work", type=float, required=True, help="at full throughput")
    parser.add_argument("--demand-w", type=float, required=True, help="watts per GPU without any cap")
    parser.add_argument("--checkpoint", type=Path, help="file to save progress in, and to resume from")
    parser.add_argument("--checkpoint-every-s", type=float, default=10.0)
    given = parser.parse_args(arguments)
    return Options(
        work_s=given.seconds_of_work,
        demand_w=given.demand_w,
        checkpoint=given.checkpoint,
        checkpoint_every_s=given.checkpoint_every_s,
        progress=Path(told) if (told := os.environ.get(PROGRESS_VARIABLE)) else None,
    )


def _visible_gpus(environment: os._Environ[str]) -> list[NvmlGpu]:
    """The GPUs of CUDA_VISIBLE_DEVICES, by UUID or by index, in a state file that answers."""
    path, visible = environment.get(STATE_VARIABLE), environment.get("CUDA_VISIBLE_DEVICES")
    if not path:
        raise NoGpuError(f"{STATE_VARIABLE} is not set: there are no simulated GPUs here")
    if not visible:
        raise NoGpuError("CUDA_VISIBLE_DEVICES names no GPU")
    try:
        state = NvmlState.open(Path(path))
    except (OSError, StateError) as error:
        raise NoGpuError(str(error)) from error
    known = {gpu.uuid: gpu for gpu in state.gpus} | {str(gpu[Word.INDEX]): gpu for gpu in state.gpus}
    names = [name.strip() for name in visible.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise NoGpuError(f"CUDA_VISIBLE_DEVICES names {', '.join(unknown)}: not on this host")
    return [known[name] for name in names]


def _refuse_held(gpus: list[NvmlGpu]) -> None:
    for gpu in gpus:
        if gpu.holder is not None or gpu[Word.JOB_LINGERS]:
            raise NoGpuError(f"{gpu.uuid} is in use by process {gpu[Word.JOB_PID]}")


def _release(gpus: list[NvmlGpu]) -> None:
    for gpu in gpus:
        gpu[Word.JOB_DEMAND_MW] = gpu[Word.JOB_PID] = 0


def _work(gpus: list[NvmlGpu], options: Options, terminated: list[int]) -> int:
    done_s = _resume(options.checkpoint)
    at = saved_at = time.monotonic()
    while done_s < options.work_s and not terminated:
        _beat(gpus, options.demand_w)
        time.sleep(PERIOD_S)
        before, at = at, time.monotonic()
        if at - before <= LONGEST_STEP_S:
            done_s += (at - before) * _throughput(gpus)
        _report(options.progress, done_s)
        if at - saved_at >= options.checkpoint_every_s:
            _save(options.checkpoint, done_s)
            saved_at = at
    _save(options.checkpoint, done_s)
    return 0 if done_s >= options.work_s else EXIT_TERMINATED


def _beat(gpus: list[NvmlGpu], demand_w: float) -> None:
    for gpu in gpus:
        gpu[Word.JOB_PID] = os.getpid()
        gpu[Word.JOB_DEMAND_MW] = round(demand_w * 1000)
        gpu[Word.JOB_BEAT_NS] = time.monotonic_ns()


def _throughput(gpus: list[NvmlGpu]) -> float:
    """A synchronous job goes at the pace of its slowest GPU, and stands still when one is lost."""
    return min(0 if gpu[Word.ERROR_CODE] else gpu[Word.JOB_THROUGHPUT_PPM] for gpu in gpus) / 1e6


def _report(progress: Path | None, done_s: float) -> None:
    """How far it is, for whoever started it: a number that rises."""
    if progress is not None:
        progress.write_text(f"{done_s:.3f}\n")


def _resume(checkpoint: Path | None) -> float:
    if checkpoint is None or not checkpoint.exists():
        return 0.0
    return float(json.loads(checkpoint.read_text())["done_s"])


def _save(checkpoint: Path | None, done_s: float) -> None:
    """Whole or not at all: a job killed while saving still has its last checkpoint."""
    if checkpoint is None:
        return
    unfinished = checkpoint.with_name(checkpoint.name + ".new")
    unfinished.write_text(json.dumps({"done_s": done_s}))
    unfinished.replace(checkpoint)


if __name__ == "__main__":
    sys.exit(main())
