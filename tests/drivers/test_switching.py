"""Who switched an outlet off, across lives of the process, and what becomes of one that does not obey."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from controller.domain.devices import Acknowledged, Failed, Refused
from controller.domain.power import ZERO
from drivers.base import DriverError
from drivers.outlet import OutletDriver
from drivers.outletstate import Relay
from drivers.switching import UNSEEN_S
from tests.drivers.outlet_fakes import CUT, FULL, METERED, SLEEP, Machine, Plug, plugged, to
from tests.virtualtime import in_virtual_time, now_s


class Diary:
    """What outlives a process. One that is `full` takes nothing; what waited is lost with a process."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[str, float]] = {}
        self.full = False

    def unseen_s(self, outlet: str, device: str) -> float | None:
        kept, at_s = self.seen.get(outlet, ("", 0.0))
        return now_s() - at_s if kept == device else None

    def keep(self, outlet: str, device: str) -> None:
        if not self.full:
            self.seen[outlet] = device, now_s()

    def drop(self, outlet: str) -> None:
        if not self.full:
            self.seen.pop(outlet, None)

    async def forget(self, outlet: str) -> None:
        if self.full:
            raise DriverError("no space left on device")
        self.drop(outlet)


class Floor:
    """A machine at an outlet, and the driver of one process after the other."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.plug = Plug(self.machine, METERED)
        self.diary = Diary()
        self.driver = self.restarted()

    def restarted(self) -> OutletDriver:
        self.driver = OutletDriver(self.machine, self.plug, 5.0, self.diary)
        return self.driver

    async def cut(self) -> None:
        await self.driver.read()
        assert await self.driver.apply(CUT) == Acknowledged()
        await self.driver.read()

    async def is_given_back(self) -> bool:
        await self.driver.read()
        said = await self.driver.apply(to(FULL))
        assert isinstance(said, Acknowledged | Refused)
        return self.machine.powered


# Across a restart


@in_virtual_time
async def test_a_machine_that_was_cut_before_a_restart_is_given_its_power_back() -> None:
    floor = Floor()
    await floor.cut()
    await asyncio.sleep(5.0)

    floor.restarted()

    assert await floor.is_given_back()


@in_virtual_time
async def test_an_outlet_that_a_person_switched_off_stays_off_after_a_restart() -> None:
    floor = Floor()
    await floor.driver.read()
    floor.plug.switch_by_hand(Relay.OFF)
    await floor.driver.read()

    floor.restarted()

    assert not await floor.is_given_back()


@in_virtual_time
async def test_a_cut_that_was_not_seen_before_the_process_was_killed_is_nobodys() -> None:
    """Between the order to the PDU and its note: it stays off until a person comes."""
    floor = Floor()
    await floor.driver.read()
    await floor.driver.apply(CUT)

    floor.restarted()

    assert not await floor.is_given_back()


@in_virtual_time
async def test_power_is_given_back_only_once_it_is_forgotten_that_it_was_cut() -> None:
    """A person may switch it off after that, and before the process is killed."""
    floor = Floor()
    await floor.cut()

    await floor.driver.apply(to(FULL))
    floor.plug.switch_by_hand(Relay.OFF)
    floor.restarted()

    assert not await floor.is_given_back()


@in_virtual_time
async def test_power_stays_off_while_it_cannot_be_written_down_that_it_is_given_back() -> None:
    floor = Floor()
    await floor.cut()
    floor.diary.full = True

    said = await floor.driver.apply(to(FULL))
    off = not floor.machine.powered
    floor.diary.full = False

    assert isinstance(said, Failed)
    assert "no space left" in said.why
    assert off
    assert await floor.is_given_back()


@in_virtual_time
async def test_an_order_to_give_power_back_that_failed_does_not_leave_the_machine_to_a_person() -> None:
    floor = Floor()
    await floor.cut()
    floor.plug.fails = True
    await floor.driver.apply(to(FULL))
    floor.plug.fails = False
    await asyncio.sleep(31.0)
    await floor.driver.read()

    floor.restarted()

    assert await floor.is_given_back()


@in_virtual_time
@pytest.mark.parametrize(("down_s", "ours"), [(UNSEEN_S - 1, True), (UNSEEN_S + 1, False)])
async def test_nobody_knows_who_switched_an_outlet_that_was_out_of_sight_for_long(
    down_s: float, ours: bool
) -> None:
    """A person may have switched it on and off again, or have put in another PDU."""
    floor = Floor()
    await floor.cut()

    await asyncio.sleep(down_s)
    floor.restarted()

    assert await floor.is_given_back() is ours


@in_virtual_time
@pytest.mark.parametrize(("silent_s", "ours"), [(UNSEEN_S - 30, True), (UNSEEN_S + 1, False)])
async def test_a_pdu_that_was_silent_for_long_may_be_another_one(silent_s: float, ours: bool) -> None:
    floor = Floor()
    await floor.cut()
    floor.plug.answers = False
    await asyncio.sleep(silent_s)
    floor.plug.answers = True

    with capture_logs() as logs:
        given_back = await floor.is_given_back()

    assert given_back is ours
    assert (
        any(one["event"] == "outlet_left_off" and "not seen for 601 s" in one["why"] for one in logs) != ours
    )


@in_virtual_time
async def test_an_outlet_that_is_on_after_a_restart_is_cut_by_nobody() -> None:
    floor = Floor()
    await floor.cut()
    floor.plug.switch_by_hand(Relay.ON)
    floor.restarted()
    await floor.driver.read()

    floor.plug.switch_by_hand(Relay.OFF)

    assert not await floor.is_given_back()
    floor.restarted()
    assert not await floor.is_given_back()


@in_virtual_time
async def test_another_device_at_the_same_outlet_was_not_cut() -> None:
    floor = Floor()
    await floor.cut()
    floor.diary.seen = {"pdu:4": ("another", now_s())}

    floor.restarted()

    assert not await floor.is_given_back()


# By whom


@in_virtual_time
async def test_a_person_that_switches_on_and_off_again_takes_over() -> None:
    floor = Floor()
    await floor.cut()
    floor.plug.switch_by_hand(Relay.ON)
    await floor.driver.read()
    floor.plug.switch_by_hand(Relay.OFF)

    assert not await floor.is_given_back()


@in_virtual_time
async def test_an_outlet_that_ignored_its_order_was_switched_off_by_a_person() -> None:
    """The runbook sends one to the outlets of machines that do not obey."""
    floor = Floor()
    floor.plug.works = False
    await floor.driver.read()
    await floor.driver.apply(CUT)
    await asyncio.sleep(31.0)
    await floor.driver.read()
    await floor.driver.apply(CUT)

    floor.plug.switch_by_hand(Relay.OFF)
    floor.plug.works = True

    assert not await floor.is_given_back()


@in_virtual_time
async def test_what_a_dead_pdu_was_told_was_done_by_the_person_who_came() -> None:
    floor = Floor()
    await floor.driver.read()
    floor.plug.fails = True
    await floor.driver.apply(CUT)
    floor.plug.answers = False
    await asyncio.sleep(300.0)
    floor.plug.switch_by_hand(Relay.OFF)
    floor.plug.answers, floor.plug.fails = True, False

    assert not await floor.is_given_back()


@in_virtual_time
async def test_an_order_whose_answer_was_lost_was_done_by_nobody_else() -> None:
    floor = Floor()
    await floor.driver.read()
    floor.plug.loses_answers = True
    said = await floor.driver.apply(CUT)
    floor.plug.loses_answers = False

    assert isinstance(said, Failed)
    assert await floor.is_given_back()


@in_virtual_time
async def test_an_order_that_was_refused_switched_nothing_off() -> None:
    floor = Floor()
    floor.plug.refuses = True
    await floor.driver.read()
    await floor.driver.apply(CUT)
    floor.plug.refuses = False

    floor.plug.switch_by_hand(Relay.OFF)

    assert not await floor.is_given_back()


@in_virtual_time
async def test_an_outlet_that_was_not_seen_on_before_its_order_may_have_been_off() -> None:
    floor = Floor()
    floor.plug.answers = False
    await floor.driver.apply(CUT)
    floor.plug.switch_by_hand(Relay.OFF)
    floor.plug.answers = True

    assert not await floor.is_given_back()


@in_virtual_time
async def test_an_outlet_whose_state_is_old_is_looked_at_before_it_is_cut() -> None:
    floor = Floor()
    await floor.driver.read()
    floor.plug.switch_by_hand(Relay.OFF)
    floor.plug.forgotten = True

    said = await floor.driver.apply(CUT)
    floor.plug.forgotten = False

    assert (said, floor.plug.orders) == (Acknowledged(), [])
    assert not await floor.is_given_back()


@in_virtual_time
async def test_an_outlet_that_is_left_off_is_told_once_and_once_when_it_is_on() -> None:
    driver, plug, _ = plugged()
    plug.switch_by_hand(Relay.OFF)

    with capture_logs() as logs:
        for _ in range(10):
            await driver.read()
            await asyncio.sleep(5.0)
        plug.switch_by_hand(Relay.ON)
        await driver.read()

    assert [one["event"] for one in logs] == ["outlet_left_off", "outlet_on_again"]
    assert logs[0]["why"] == "was not switched off from here"


# One that does not obey


async def _cuts_for(seconds: float, driver: OutletDriver) -> list[float]:
    """When a core that wants it cut orders that, as often as it does, and looks at it meanwhile."""
    ordered_s, until_s = [], now_s() + seconds
    began_s = now_s()
    while now_s() < until_s:
        if driver.spec.has_outlet:
            ordered_s.append(now_s() - began_s)
            await driver.apply(CUT)
        for _ in range(4):
            await driver.read()
            await asyncio.sleep(5.0)
    return ordered_s


@in_virtual_time
async def test_a_dead_pdu_is_not_told_for_ever_at_the_same_rate() -> None:
    driver, plug, _ = plugged()
    await driver.read()
    plug.answers = False

    with capture_logs() as logs:
        ordered_s = await _cuts_for(3_600.0, driver)

    assert len(ordered_s) <= 8
    assert [one["event"] for one in logs] == ["outlet_switched"]


@in_virtual_time
async def test_a_pdu_that_answers_polls_and_no_orders_is_told_ever_less_often() -> None:
    driver, plug, _ = plugged()
    await driver.read()
    plug.fails = True

    ordered_s = await _cuts_for(3_600.0, driver)

    assert len(ordered_s) <= 9


@in_virtual_time
async def test_a_pdu_that_is_heard_again_is_told_at_once() -> None:
    driver, plug, machine = plugged()
    await driver.read()
    plug.answers = False
    await _cuts_for(1_000.0, driver)

    plug.answers = True
    await driver.read()

    assert driver.spec.has_outlet
    assert await driver.apply(CUT) == Acknowledged()
    assert not machine.powered


@in_virtual_time
async def test_a_pdu_that_answers_and_refuses_is_told_ever_less_often() -> None:
    driver, plug, _ = plugged()
    plug.refuses = True

    with capture_logs() as logs:
        ordered_s = await _cuts_for(3_600.0, driver)

    assert len(ordered_s) <= 8
    assert [one["event"] for one in logs] == ["outlet_switched"]


@in_virtual_time
async def test_an_outlet_that_says_yes_and_stays_on_is_told_ever_less_often() -> None:
    driver, plug, _ = plugged()
    plug.works = False

    with capture_logs() as logs:
        ordered_s = await _cuts_for(3_600.0, driver)

    assert len(ordered_s) <= 20
    assert [one["event"] for one in logs] == ["outlet_switched", "outlet_does_not_switch"]


@in_virtual_time
async def test_a_dead_pdu_does_not_make_its_machine_silent() -> None:
    """It takes the time of a whole request, and a slow machine needs most of a read's."""
    driver, plug, machine = plugged()
    await driver.read()
    plug.hangs = plug.forgotten = plug.fails = True
    machine.takes_s = 2.5
    await driver.apply(CUT)

    async with asyncio.timeout(5.0):
        reading = await driver.read()

    assert reading.draw == machine.says.draw


@in_virtual_time
async def test_a_machine_at_an_outlet_that_does_not_obey_is_told_by_words() -> None:
    driver, plug, machine = plugged()
    plug.refuses = True
    await driver.read()
    await driver.apply(CUT)

    assert not driver.spec.has_outlet
    assert await driver.apply(to(SLEEP)) == Acknowledged()
    assert machine.told == ["sleep"]
    assert (await driver.read()).draw > ZERO
