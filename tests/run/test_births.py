"""Numbers of connections: beyond all before, whatever the clock and the disk do."""

from __future__ import annotations

from dataclasses import replace

from structlog.testing import capture_logs

from controller.run.operators.births import RESERVED, first_birth
from tests.run.disks import Disk
from tests.run.fleet import UTC_S
from tests.virtualtime import in_virtual_time


async def test_each_process_and_each_operator_has_numbers_of_its_own() -> None:
    disk = Disk()

    first = await first_birth(disk, "", UTC_S)
    set_back = await first_birth(disk, "", UTC_S - 86_400)
    other = await first_birth(disk, "iso", UTC_S - 86_400)

    assert first == round(UTC_S * 1000)
    assert set_back == first + RESERVED
    assert other == round((UTC_S - 86_400) * 1000)


async def test_a_number_that_cannot_be_read_back_is_left_to_the_clock() -> None:
    disk = Disk()
    await first_birth(disk, "", UTC_S)
    (key,) = disk.rows
    disk.rows[key] = replace(disk.rows[key], text="?")

    assert await first_birth(disk, "", UTC_S) == round(UTC_S * 1000)


@in_virtual_time
async def test_a_disk_that_hangs_keeps_no_site_from_being_taken_over() -> None:
    disk = Disk()
    disk.open.clear()

    with capture_logs() as logs:
        assert await first_birth(disk, "", UTC_S) == round(UTC_S * 1000)

    assert [line["event"] for line in logs] == ["grid_birth_not_kept"]
