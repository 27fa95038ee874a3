"""What reading a GPU costs beside the bare NVML calls that it needs, and what fitting a curve costs.

On the simulated library: this is the processor time of Python, and says nothing of a real driver's.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median

import pynvml

from drivers.gpu_curve import Measured, Workload, at, fitted, known
from drivers.gpu_nvml import Session
from drivers.gpu_sample import take_sample
from simulators.nvml.build import library
from simulators.nvml.layout import STATE_VARIABLE
from simulators.nvml.state import H100, NvmlState

GPUS = [f"GPU-{index}" for index in range(8)]
ROUNDS, READS = 7, 200
RUNS, CAPS, EACH = 16, 15, 9


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = NvmlState.create(Path(folder) / "nvml", dict.fromkeys(GPUS, H100))
        os.environ[STATE_VARIABLE] = str(state.path)
        session = Session(str(library()))
        handles = [session.on_board(uuid, lambda board: board._handle) for uuid in GPUS]
        whole = _us(lambda: [session.on_board(uuid, take_sample) for uuid in GPUS])
        bare = _us(lambda: _bare(handles))
        session.end()
    print(
        f"read of one GPU: {whole:.1f} us of processor, {whole / bare:.2f} x the bare calls ({bare:.1f} us)"
    )
    measured, prior = _measured(), known("H100", Workload.LLM_TRAINING)
    took = _us(lambda: fitted(measured, prior), calls=1, reads=1)
    print(f"fit of {len(measured)} measurements: {took / 1000:.1f} ms")


def _bare(handles: list[object]) -> None:
    """What each read needs, by the binding alone."""
    for handle in handles:
        pynvml.nvmlDeviceGetFieldValues(handle, (186, 185, 83, 82, 192))
        pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)
        pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU)
        pynvml.nvmlDeviceGetMarginTemperature(handle)
        pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)


def _us(call: Callable[[], object], *, calls: int = len(GPUS), reads: int = READS) -> float:
    """Microseconds of processor time for one of `calls`: the median of several rounds."""
    took: list[float] = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(reads):
            call()
        took.append((time.process_time() - began_s) / reads / calls * 1e6)
    return median(took)


def _measured() -> list[Measured]:
    true, random = known("V100", Workload.TRAINING), Random(1)
    caps = [0.3 + 0.05 * step for step in range(CAPS)]
    return [
        Measured(f"job-{run}", cap, at(true, cap) * random.gauss(1, 0.02))
        for run in range(RUNS)
        for cap in caps
        for _ in range(EACH)
    ]


if __name__ == "__main__":
    main()
