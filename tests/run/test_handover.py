"""What a process hands to the next one by its journal."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.decide.beyond import Beyond
from controller.decide.device import DeviceState
from controller.decide.doubt import GIVEN_UP_S
from controller.decide.metering import NodeMemory
from controller.decide.snapshot import State
from controller.decide.value import Valuation
from controller.run.board import Board, Tick
from controller.run.clock import Clock
from controller.run.handover import KEY, LINES, LINES_EVERY_S, MACHINES, WRITE_EVERY_S, Handover
from controller.run.journal.store import CommandStore, Record, StoreError
from simulators.plant import Plant
from simulators.ports import remap
from simulators.serve import SimulatedSite
from tests.decide.builders import miner, site
from tests.decide.world import World, awake
from tests.drivers.asic_fakes import free_port
from tests.run.disks import Disk
from tests.run.successor import first_rows, left
from tests.simulators.plants import HOME, config, miners
from tests.virtualtime import START_S, in_virtual_time

UTC_S = 1_790_000_000.0
METERED = site(limit_w=35_000, meter="mains")


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Process:
    """One life of a controller: its board, and what it hands over. `wrong_s` is how wrong its clock is."""

    def __init__(self, wrong_s: float = 0.0) -> None:
        self.clock = Clock(utc=lambda: UTC_S + now_s() + wrong_s)
        self.board = Board(site=METERED, version="1", started_utc_s=UTC_S)
        self.handover = Handover(self.board, self.clock)

    async def begun(self, store: CommandStore) -> State:
        await self.handover.restore(store)
        return self.handover.state()

    def decided(self, *, given_up_s: float, share: float = 0.05, ready: bool = True) -> None:
        """A tick after which a machine was given up then, and a meter shows more than is claimed."""
        world = World(METERED, [awake(miner())])
        plan = replace(world.run(1), ready=ready)
        state = State(
            devices={"m": DeviceState(given_up_s=given_up_s)},
            nodes={"site": NodeMemory(beyond=Beyond(100.0, share, 30_000), at_s=now_s())},
        )
        tick = Tick(
            inputs=replace(world.inputs(), now_s=now_s()),
            valuation=Valuation(prices=METERED.prices, usd_per_kwh=0.1, horizon_s=900.0, shed_s=900.0),
            state=state,
            plan=plan,
            utc_s=self.clock.utc_s(),
            late_s=0.0,
            took_s=0.0,
        )
        self.board.finished(tick)

    async def written_behind(self, for_s: float) -> None:
        """Lives for so long, and is killed."""
        life = asyncio.create_task(self.handover.run())
        await asyncio.sleep(for_s)
        life.cancel()
        await asyncio.wait([life])


@in_virtual_time
async def test_the_next_process_begins_with_what_this_one_knew() -> None:
    disk, first, second = Disk(), Process(), Process()
    assert await first.begun(disk) == State()
    first.decided(given_up_s=now_s() - 100.0)
    await first.handover.close()
    await asyncio.sleep(50.0)

    state = await second.begun(disk)

    assert now_s() - state.devices["m"].given_up_s == pytest.approx(150.0, abs=1)
    assert state.nodes["site"].beyond == Beyond(100.0, 0.05, 30_000)


@in_virtual_time
async def test_a_process_that_is_killed_hands_on_what_it_knew_some_seconds_ago() -> None:
    disk, first = Disk(), Process()
    await first.begun(disk)
    first.decided(given_up_s=now_s())
    await first.written_behind(WRITE_EVERY_S + 1.0)

    assert "m" in (await Process().begun(disk)).devices


@in_virtual_time
async def test_a_machine_that_was_told_something_after_the_last_note_before_a_kill_dwells() -> None:
    disk, first = Disk(), Process()
    await first.begun(disk)
    first.decided(given_up_s=float("-inf"))
    await first.written_behind(WRITE_EVERY_S + 1.0)
    told_s = now_s()
    disk.told["m"] = first.clock.utc_s()
    await asyncio.sleep(20.0)

    state = await Process().begun(disk)

    assert state.devices["m"].since_s == pytest.approx(told_s)


@in_virtual_time
async def test_what_machines_were_told_before_the_last_note_is_in_the_note_or_over() -> None:
    disk, first = Disk(), Process()
    await first.begun(disk)
    disk.told["m"] = first.clock.utc_s()
    await asyncio.sleep(20.0)
    first.decided(given_up_s=float("-inf"))
    await first.handover.close()

    assert "m" not in (await Process().begun(disk)).devices


@in_virtual_time
async def test_a_clock_that_was_set_back_lets_a_machine_rest_for_its_whole_time_and_no_longer() -> None:
    disk, first = Disk(), Process(wrong_s=7_200.0)
    await first.begun(disk)
    first.decided(given_up_s=now_s() - GIVEN_UP_S + 10.0)
    await first.handover.close()

    state = await Process().begun(disk)

    assert state.devices["m"].given_up_s == now_s()
    assert state.nodes["site"].beyond.share == 0.05


@in_virtual_time
async def test_a_process_that_has_not_heard_all_yet_leaves_the_note_of_the_one_before_it() -> None:
    disk, first, second = Disk(), Process(), Process()
    await first.begun(disk)
    first.decided(given_up_s=now_s())
    await first.handover.close()
    await second.begun(disk)
    second.decided(given_up_s=float("-inf"), ready=False)
    await second.handover.close()

    assert "m" in (await Process().begun(disk)).devices


@in_virtual_time
async def test_what_does_not_change_is_not_written_again_and_meters_once_a_minute() -> None:
    disk, first = Disk(), Process()
    await first.begun(disk)
    life = asyncio.create_task(first.handover.run())
    for second in range(600):
        first.decided(given_up_s=START_S, share=0.02 + second / 100_000)
        await asyncio.sleep(1.0)
    life.cancel()

    assert 600 / LINES_EVERY_S - 2 <= disk.writes <= 600 / LINES_EVERY_S + 2


@in_virtual_time
@pytest.mark.parametrize(
    "text", ["", "{", '{"given_up_utc_s": {"m": "soon"}}', '{"lines": {"site": {}}}', "[]"]
)
async def test_a_note_that_cannot_be_read_is_as_good_as_none(text: str) -> None:
    disk = Disk()
    for key in (MACHINES, LINES):
        disk.rows[key] = Record(key=key, version_utc_s=UTC_S, status="handed", text=text)

    with capture_logs() as logs:
        state = await Process().begun(disk)

    assert state == State()
    assert {one["event"] for one in logs} == {"handover_not_loaded"}


@in_virtual_time
async def test_a_journal_that_cannot_be_read_or_is_another_one_hands_nothing_on() -> None:
    class Unreadable(Disk):
        async def load(self) -> tuple[Record, ...]:
            raise StoreError("disk I/O error")

    other = Disk()
    other.rows["event/a"] = Record(key="event/a", version_utc_s=UTC_S, status="", text="{}")

    assert await Process().begun(Unreadable()) == await Process().begun(other) == State()
    assert KEY.startswith("/")


@in_virtual_time
async def test_a_disk_that_takes_nothing_for_an_hour_is_one_line_and_nothing_waits_for_it() -> None:
    disk, first = Disk(), Process()
    disk.trouble = "no space left on device"
    await first.begun(disk)
    first.decided(given_up_s=now_s())

    with capture_logs() as logs:
        await first.written_behind(3_600.0)
        disk.trouble = ""
        await first.handover.close()

    assert [one["event"] for one in logs] == ["handover_not_written"]
    assert "site" in (await Process().begun(disk)).nodes


# The whole daemon, over a real journal and simulated machines


PORTS = {80: free_port(), 4028: free_port()}


async def commanded(directory: Path) -> set[str]:
    """The machines that a daemon starts first, of two that sleep: one was given up a minute ago."""
    given_up = f'{{"given_up_utc_s": {{"row-000": {Clock().utc_s() - 60.0}}}}}'
    await left(directory, Record(key=MACHINES, version_utc_s=0.0, status="handed", text=given_up))
    row = miners(first_address=f"{HOME}.84", count=2)
    site = SimulatedSite(Plant(config(ports=PORTS, miners=[row])))
    for machine in site.plant.miners.values():
        machine.sleep()
    async with site.serving(), asyncio.timeout(60):
        await site.advance(120.0)
        told = await first_rows(directory, site, "SELECT device FROM commands WHERE kind = 'commanded'")
    return {str(row[0]) for row in told}


@pytest.mark.socket
def test_a_daemon_starts_no_machine_that_the_one_before_it_gave_up_a_minute_ago(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=remap(PORTS)) as runner:
        assert runner.run(commanded(tmp_path)) == {"row-001"}
