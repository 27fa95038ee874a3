"""Which outlets were switched off from here: kept in the journal for the next process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.run.clock import Clock
from controller.run.journal.store import EventStore, Record, StoreError
from controller.run.keptcuts import KEY, KeptCuts
from drivers.base import DriverError
from simulators.plant import Plant
from simulators.ports import remap
from simulators.serve import SimulatedSite
from tests.drivers.asic_fakes import free_port
from tests.run.disks import Disk
from tests.run.successor import first_rows, left
from tests.simulators.plants import HOME, config, miners
from tests.virtualtime import in_virtual_time, now_s

UTC_S = 1_790_000_000.0


class Wall:
    """The clock on the wall: the loop's time, and what somebody set it wrong by."""

    wrong_s = 0.0

    def __call__(self) -> float:
        return UTC_S + now_s() + self.wrong_s


async def started(store: EventStore, wall: Wall | None = None) -> KeptCuts:
    cuts = KeptCuts(wall or Wall())
    await cuts.restore(store)
    return cuts


async def written_behind(cuts: KeptCuts, for_s: float) -> None:
    """Lives for so long, and is killed."""
    life = asyncio.create_task(cuts.run())
    await asyncio.sleep(for_s)
    life.cancel()
    await asyncio.wait([life])


@in_virtual_time
async def test_an_outlet_that_was_kept_is_known_to_the_next_process_with_its_age() -> None:
    disk = Disk()
    cuts = await started(disk)
    cuts.keep("pdu:4", "m")
    await written_behind(cuts, 2.0)
    await asyncio.sleep(100.0)

    after = await started(disk)

    assert after.unseen_s("pdu:4", "m") == 102.0
    assert after.unseen_s("pdu:5", "m") is None
    assert after.unseen_s("pdu:4", "another") is None


@in_virtual_time
async def test_what_was_not_written_before_a_kill_is_forgotten() -> None:
    disk = Disk()
    cuts = await started(disk)
    cuts.keep("pdu:4", "m")

    assert (await started(disk)).unseen_s("pdu:4", "m") is None


@in_virtual_time
async def test_a_process_that_ends_in_order_writes_what_is_left() -> None:
    disk = Disk()
    cuts = await started(disk)
    cuts.keep("pdu:4", "m")
    await cuts.close()

    assert (await started(disk)).unseen_s("pdu:4", "m") == 0.0


@in_virtual_time
async def test_an_outlet_that_is_seen_off_for_an_hour_is_written_down_now_and_then() -> None:
    disk = Disk()
    cuts = await started(disk)
    life = asyncio.create_task(cuts.run())

    for _ in range(720):
        cuts.keep("pdu:4", "m")
        await asyncio.sleep(5.0)
    life.cancel()

    unseen_s = (await started(disk)).unseen_s("pdu:4", "m")
    assert disk.writes <= 61
    assert unseen_s is not None
    assert unseen_s <= 70.0


@in_virtual_time
async def test_what_is_dropped_is_gone_a_moment_later() -> None:
    disk = Disk()
    cuts = await started(disk)
    cuts.keep("pdu:4", "m")
    await cuts.close()
    cuts = await started(disk)
    cuts.drop("pdu:4")
    await written_behind(cuts, 2.0)

    assert not disk.rows


@in_virtual_time
async def test_what_is_forgotten_is_durable_on_return_or_an_error() -> None:
    disk = Disk()
    cuts = await started(disk)
    cuts.keep("pdu:4", "m")
    await cuts.close()
    disk.trouble = "no space left on device"

    with pytest.raises(DriverError, match="no space left"):
        await cuts.forget("pdu:4")
    kept = set(disk.rows)
    disk.trouble = ""
    await cuts.forget("pdu:4")

    assert kept == {"/outlet/pdu:4"}
    assert not disk.rows


@in_virtual_time
async def test_a_note_from_the_future_was_made_by_another_clock() -> None:
    disk, wall = Disk(), Wall()
    cuts = await started(disk, wall)
    wall.wrong_s = 3_600.0
    cuts.keep("pdu:4", "m")
    await cuts.close()
    wall.wrong_s = 0.0

    assert (await started(disk, wall)).unseen_s("pdu:4", "m") is None


@in_virtual_time
async def test_a_store_that_cannot_be_read_is_as_good_as_an_empty_one() -> None:
    class Unreadable(Disk):
        async def load(self) -> tuple[Record, ...]:
            raise StoreError("disk I/O error")

    with capture_logs() as logs:
        cuts = await started(Unreadable())

    assert cuts.unseen_s("pdu:4", "m") is None
    assert [one["event"] for one in logs] == ["cuts_not_loaded"]


@in_virtual_time
async def test_a_disk_that_takes_nothing_for_an_hour_is_one_line_of_the_log() -> None:
    disk = Disk()
    disk.trouble = "no space left on device"
    cuts = await started(disk)
    cuts.keep("pdu:4", "m")

    with capture_logs() as logs:
        await written_behind(cuts, 3_600.0)

    assert [one["event"] for one in logs] == ["cuts_not_written"]


async def test_other_records_of_the_journal_are_nothing_to_it_nor_its_own_to_operators() -> None:
    disk = Disk()
    for key in ("snapshot", "event/a", "iso/event/outlet", "outlet/event/b"):
        disk.rows[key] = Record(key=key, version_utc_s=0.0, status="", text="m")
    cuts = KeptCuts(lambda: 0.0)

    await cuts.restore(disk)

    assert [cuts.unseen_s(name, "m") for name in ("a", "event/a", "event/b", "event/outlet")] == [None] * 4
    assert KEY.startswith("/")


# The whole daemon, over a real journal, a simulated machine and its PDU


PORTS = {80: free_port(), 4028: free_port()}


def switched(host: str, port: int) -> str:
    """The tables of the site file that name a PDU, and the machine at its seventh outlet."""
    return f"""
[[pdus]]
id = "pdu"
host = "{host}"
port = {port}
model = "raritan-px"
username = "site"
auth_password = "simulated"
privacy_password = "simulated"
outlet_max_w = 4_000
[[outlets]]
device = "row-000"
pdu = "pdu"
outlet = 7
"""


async def first_word(directory: Path, asked: str, *noted: Record) -> tuple[str, bool]:
    """What a daemon that finds an outlet off, and that in its journal, notes first of what is `asked`, and
    whether the machine has its power then."""
    await left(directory, *noted)
    pdu = {"id": "pdu", "model": "raritan-px", "outlets": {7: "luxos-000"}}
    row = miners(first_address=f"{HOME}.78")
    site = SimulatedSite(Plant(config(ports=PORTS, miners=[row], pdus=[pdu])))
    site.plant.switch_outlet("pdu", 7, closed=False)
    async with site.serving(), asyncio.timeout(60):
        await site.advance(1.0)
        rows = await first_rows(directory, site, asked, switched(*site.pdus[0].address), then_s=1.0)
    return str(rows[0][0]), site.plant.machines["luxos-000"].fed


ANSWERED = "SELECT kind FROM commands WHERE kind != 'commanded'"
ALARMED = "SELECT kind FROM alarms WHERE subject = 'row-000' AND kind = 'outlet_off'"


@pytest.mark.socket
@pytest.mark.parametrize(
    ("by_us", "asked", "said"),
    [(True, ANSWERED, ("acknowledged", True)), (False, ALARMED, ("outlet_off", False))],
    ids=["us", "a person"],
)
def test_a_daemon_gives_power_back_that_the_one_before_it_took(
    tmp_path: Path, by_us: bool, asked: str, said: tuple[str, bool]
) -> None:
    """What a person switched off it tells a person, and no machine."""
    seen = Record(key="/outlet/pdu:7", version_utc_s=Clock().utc_s() - 60.0, status="cut", text="row-000")

    with asyncio.Runner(loop_factory=remap(PORTS)) as runner:
        assert runner.run(first_word(tmp_path, asked, *[seen] * by_us)) == said
