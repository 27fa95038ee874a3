"""What stands between an observed site and its drivers: whatever the driver, it is read and never told."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from controller.config import Settings, fleet
from controller.domain.devices import SetPoint
from controller.domain.jobs import JobAction, JobCommand
from drivers.base import Detailed
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


def test_what_a_gpu_tells_beyond_its_reading_is_told_still() -> None:
    settings = Settings(**tomllib.loads(EXAMPLE.read_text()))
    plain, watched = fleet(settings), observed(fleet(settings))

    known = [isinstance(driver, Detailed) for driver, _ in plain.drivers]
    assert any(known)
    assert all(isinstance(driver, Detailed) for driver, _ in watched.drivers)
