"""What stands between an observed site and its drivers: whatever the driver, it is read and never told."""

from __future__ import annotations

import asyncio
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from controller.config import Settings, fleet
from controller.domain.devices import DeviceSpec, Outcome, Reading, SetPoint
from controller.domain.jobs import JobAction, JobCommand
from controller.run.clock import Clock
from controller.run.devices import Machines
from controller.run.devicetask import Polling
from drivers.base import Detailed, Driver
from drivers.observed import OnlyObservedError, observed

EXAMPLE = Path(__file__).parents[2] / "configs" / "site.example.toml"


async def test_no_device_of_a_site_file_with_all_of_them_can_be_told_anything() -> None:
    floor = observed(fleet(Settings(**tomllib.loads(EXAMPLE.read_text()))))

    assert len({spec_of.spec.kind for spec_of, _ in floor.drivers}) == 2
    for driver, _ in floor.drivers:
        with pytest.raises(OnlyObservedError, match=driver.spec.id):
            await driver.apply(SetPoint(device=driver.spec.id, point=driver.spec.floor))


async def test_no_job_of_its_queue_can_be_told_anything() -> None:
    floor = observed(fleet(Settings(**tomllib.loads(EXAMPLE.read_text()))))

    (queue,) = floor.queues
    for action in JobAction:
        with pytest.raises(OnlyObservedError, match="job-1"):
            await queue.apply(JobCommand(queue=queue.id, job="job-1", action=action))


class AtAnOutlet:
    """A driver whose spec depends on the time of the loop, as that of a machine at an outlet does."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def spec(self) -> DeviceSpec:
        asyncio.get_running_loop()
        return self._driver.spec

    async def read(self) -> Reading:
        return await self._driver.read()

    async def apply(self, command: SetPoint) -> Outcome:
        return await self._driver.apply(command)

    async def close(self) -> None:
        await self._driver.close()


async def test_what_gpus_tell_beyond_their_readings_can_be_asked_for_from_any_thread() -> None:
    plain = fleet(Settings(**tomllib.loads(EXAMPLE.read_text())))
    floor = observed(
        replace(plain, drivers=tuple((AtAnOutlet(one), polled) for one, polled in plain.drivers))
    )
    machines = Machines(
        drivers=[(driver, Polling()) for driver, _ in floor.drivers],
        sensors=(),
        queues=(),
        clock=Clock(),
        reads=Counter(),
        answered=lambda command, outcome: None,
        job_answered=lambda command, outcome: None,
        job_confirmed=lambda command, why: None,
    )

    assert await asyncio.to_thread(machines.details) == {}


def test_what_a_gpu_tells_beyond_its_reading_is_told_still() -> None:
    settings = Settings(**tomllib.loads(EXAMPLE.read_text()))
    plain, watched = fleet(settings), observed(fleet(settings))

    known = [isinstance(driver, Detailed) for driver, _ in plain.drivers]
    assert any(known)
    assert all(isinstance(driver, Detailed) for driver, _ in watched.drivers)
