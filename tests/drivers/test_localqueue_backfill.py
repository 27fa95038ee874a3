"""The core and the local queue together: who runs beside a dearer job that cannot."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controller.domain.jobs import JobCommand, JobState, QueueReading
from drivers.localqueue import JobRequest, LocalQueue, LocalQueueConfig, build, list_jobs, submit
from tests.decide.builders import gpu, site
from tests.decide.world import Queue, World, asleep

PATIENCE_S = 30.0
GPUS = {"gpu0": "GPU-aaaa", "gpu1": "GPU-bbbb"}


class Told(Queue):
    """What a plan tells it is kept, and carried out between ticks."""

    last = QueueReading(queue="local", jobs=(), gpus=tuple(GPUS))

    @property
    def reading(self) -> QueueReading:
        return self.last

    def carry_out(self, command: JobCommand) -> None:
        return None

    @property
    def busy(self) -> frozenset[str]:
        running = (status for status in self.last.jobs if status.state is JobState.RUNNING)
        return frozenset(gpu for status in running for gpu in status.gpus)


async def until_over(world: World, queue: LocalQueue, directory: Path, jobs: int) -> str:
    """Tick until so many jobs are over; what they wrote."""
    told = world.queues["local"]
    assert isinstance(told, Told)
    async with asyncio.timeout(PATIENCE_S):
        while sum(view.state is JobState.DONE for view in list_jobs(directory)) < jobs:
            told.last = await queue.read()
            for command in world.tick().job_commands:
                await queue.apply(command)
            await asyncio.sleep(0.01)
    return (directory / "ran").read_text()


async def test_a_job_runs_beside_a_dearer_one_that_waits_for_a_gpu_that_refuses(tmp_path: Path) -> None:
    queue = build(LocalQueueConfig.model_validate({"id": "local", "directory": tmp_path}), GPUS)
    world = World(site(), [asleep(gpu(name)) for name in GPUS], queues=[Told("local", tuple(GPUS))])
    world.machines["gpu1"].refuses = True
    asked = {"argv": ("/bin/sh", "-c", "echo $CUDA_VISIBLE_DEVICES >>ran"), "cwd": tmp_path}
    for gpus, usd in ((2, 9.0), (1, 1.0)):
        submit(tmp_path, JobRequest.model_validate(asked | {"gpus": gpus, "usd_per_gpu_hour": usd}))

    beside = await until_over(world, queue, tmp_path, 1)
    world.machines["gpu1"].refuses = False
    then = await until_over(world, queue, tmp_path, 2)

    assert beside == "GPU-aaaa\n"
    assert then == "GPU-aaaa\nGPU-aaaa,GPU-bbbb\n"
