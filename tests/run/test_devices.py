"""The edge to the machines: polls, commands and deadlines under machines that misbehave, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.domain.devices import Acknowledged, Failed, Outcome, Refused
from controller.domain.gpus import GpuDetail, GpuHealth, GpuIdentity
from controller.domain.jobs import Job, JobAction, JobCommand, JobState, JobStatus
from controller.domain.power import Power
from controller.run.devices import AT_ONCE, Machines
from controller.run.devicetask import SPREAD_S
from controller.run.turns import (
    BACKOFF_MAX_S,
    COMMANDS_AT_ONCE,
    READS_AT_ONCE,
    SLOW_AT_ONCE,
    Turns,
    backoff_s,
)
from drivers.base import DriverError, OtherMachineError
from drivers.cancellation import StrayCancelError
from tests.run.fleet import FULL, LOW, SLEEP, Floor, Jobs, Meter, Miner, Pdu, miner, spec, told
from tests.virtualtime import START_S, in_virtual_time, now_s


class DriverBugError(Exception):
    """What no driver should ever raise."""


# -- polls ---------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_reading_is_stamped_when_it_arrives_not_when_it_was_asked_for() -> None:
    slow = miner(takes_s=3.0)
    floor = Floor(slow)

    async with floor.open() as machines:
        await asyncio.sleep(3.5)

    sample = machines.heard.readings["asic-0"]
    assert sample.at_s == pytest.approx(START_S + 3.0)
    assert sample.value.draw == FULL.power
    assert floor.reads == {"ok": 1}


@in_virtual_time
async def test_polls_keep_their_period_however_long_an_answer_takes() -> None:
    slow = miner(takes_s=2.0)

    async with Floor(slow, every_s=5.0).open():
        await asyncio.sleep(21)

    assert slow.reads_at == pytest.approx([0, 5, 10, 15, 20])


@in_virtual_time
async def test_first_polls_are_spread_so_that_they_never_come_in_a_burst() -> None:
    fleet = [miner(f"asic-{at}") for at in range(10)]

    async with Floor(*fleet).open():
        await asyncio.sleep(SPREAD_S + 5.0)

    assert [one.reads_at[0] for one in fleet] == pytest.approx([SPREAD_S * at / 10 for at in range(10)])
    assert [one.reads_at[1] for one in fleet] == pytest.approx([5.0, *(0.5 * at for at in range(1, 10))])


@in_virtual_time
async def test_a_machine_that_hangs_is_given_up_at_the_deadline_and_asked_again() -> None:
    hanging = miner(hangs=True)
    floor = Floor(hanging, deadline_s=2.0)

    async with floor.open() as machines:
        await asyncio.sleep(11)

    assert hanging.reads_at == pytest.approx([0, 5, 10])
    assert machines.heard.readings == {}
    assert floor.reads == {"failed": 2}


@in_virtual_time
async def test_a_timeout_raised_by_a_driver_itself_counts_as_silence() -> None:
    timing_out = miner(trouble=TimeoutError("its own"))
    floor = Floor(timing_out)

    async with floor.open() as machines:
        await asyncio.sleep(6)
        timing_out.trouble = None
        await asyncio.sleep(5)

    assert floor.reads == {"failed": 2, "ok": 1}
    assert set(machines.heard.readings) == {"asic-0"}


@in_virtual_time
async def test_silence_and_return_are_logged_once_each() -> None:
    flaky = miner(trouble=DriverError("no route"))

    with capture_logs() as logs:
        async with Floor(flaky).open():
            await asyncio.sleep(60)
            flaky.trouble = DriverError("another reason")
            await asyncio.sleep(60)
            flaky.trouble = None
            await asyncio.sleep(60)

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("silent", "warning"),
        ("answers_again", "info"),
    ]
    assert logs[0]["subject"] == "asic-0"
    assert "no route" in logs[0]["why"]


@in_virtual_time
async def test_another_machine_at_an_address_is_told_once_also_where_it_was_silent_before() -> None:
    exchanged = miner(trouble=DriverError("refused"))

    with capture_logs() as logs:
        async with Floor(exchanged).open():
            await asyncio.sleep(10)
            exchanged.trouble = OtherMachineError("10.0.0.1 is configured as LUXMiner, but is VNish")
            await asyncio.sleep(200)
            exchanged.trouble = None
            await asyncio.sleep(60)

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("silent", "warning"),
        ("another_machine", "error"),
        ("answers_again", "info"),
    ]
    assert "but is VNish" in logs[1]["why"]


@in_virtual_time
async def test_hundreds_of_hanging_machines_do_not_make_the_others_stale() -> None:
    dead = [miner(f"dead-{at:03d}", hangs=True) for at in range(5 * READS_AT_ONCE)]
    alive = [miner(f"asic-{at}") for at in range(20)]
    floor = Floor(*dead, *alive)

    async with floor.open() as machines:
        await asyncio.sleep(60)
        ages_s = []
        for _ in range(60):
            await asyncio.sleep(1)
            now = asyncio.get_running_loop().time()
            ages_s.append(max(now - machines.heard.readings[one.spec.id].at_s for one in alive))

    assert max(ages_s) < 6.0


@in_virtual_time
async def test_a_thousand_machines_that_fall_silent_at_once_make_no_other_stale() -> None:
    behind_a_switch = [miner(f"dead-{at:04d}") for at in range(1_000)]
    others = [miner(f"asic-{at:04d}") for at in range(1_000)]

    async with Floor(*behind_a_switch, *others).open():
        await asyncio.sleep(30)
        for one in behind_a_switch:
            one.hangs = True
        await asyncio.sleep(60)
    gaps_s = [after - before for one in others for before, after in pairwise(one.reads_at[4:])]

    assert max(gaps_s) < others[0].spec.stale_after_s


@in_virtual_time
async def test_a_machine_that_returns_among_hundreds_that_hang_is_heard_again() -> None:
    dead = [miner(f"dead-{at:03d}", hangs=True) for at in range(5 * READS_AT_ONCE)]

    async with Floor(*dead).open() as machines:
        await asyncio.sleep(120)
        dead[-1].hangs = False
        await asyncio.sleep(60)

    assert set(machines.heard.readings) == {dead[-1].spec.id}


@in_virtual_time
async def test_no_more_machines_are_read_at_once_than_allowed() -> None:
    at_work: set[str] = set()
    most = 0

    class Counted(Miner):
        async def _work(self, for_s: float) -> None:
            nonlocal most
            at_work.add(self.spec.id)
            most = max(most, len(at_work))
            try:
                await super()._work(for_s)
            finally:
                at_work.discard(self.spec.id)

    count = SLOW_AT_ONCE + 3 * READS_AT_ONCE
    fleet = [Counted(miner(f"asic-{at:03d}").spec, takes_s=4.0) for at in range(count)]

    async with Floor(*fleet).open():
        await asyncio.sleep(60)

    assert most == 2 * READS_AT_ONCE + SLOW_AT_ONCE, (
        "turns of those that answer and of the silent, and no turn"
    )


@in_virtual_time
async def test_at_the_start_hundreds_that_hang_delay_the_others_first_readings_by_seconds_only() -> None:
    fleet = [miner(f"asic-{at:04d}", hangs=at % 10 < 3) for at in range(1000)]
    alive = {one.spec.id for one in fleet if not one.hangs}

    async with Floor(*fleet).open() as machines:
        await asyncio.sleep(SPREAD_S + 6.0)
        heard = set(machines.heard.readings)

    assert heard == alive


@in_virtual_time
async def test_a_machine_that_stays_silent_is_asked_ever_less_often_until_it_answers() -> None:
    hanging = miner(hangs=True)

    async with Floor(hanging, every_s=5.0, deadline_s=2.0).open():
        await asyncio.sleep(300)
        hanging.hangs = False
        asked = len(hanging.reads_at)
        await asyncio.sleep(BACKOFF_MAX_S + 20.0)

    gaps = [b - a for a, b in pairwise(hanging.reads_at[:asked])]
    assert gaps[:2] == pytest.approx([5.0, 5.0])
    assert all(earlier <= later * 1.3 for earlier, later in pairwise(gaps))
    assert 20.0 < gaps[-1] <= BACKOFF_MAX_S
    back = [b - a for a, b in pairwise(hanging.reads_at[asked:])]
    assert back[0] <= 5.0, "until its own turn"
    assert back[1:] == pytest.approx([5.0] * (len(back) - 1))


@in_virtual_time
async def test_a_silent_machine_in_the_way_of_a_limit_is_asked_at_once_and_in_its_own_period() -> None:
    hanging, away = miner("in-the-way", hangs=True), miner("away", hangs=True)

    async with Floor(hanging, away, every_s=5.0, deadline_s=2.0).open() as machines:
        await asyncio.sleep(300.3)
        machines.press(frozenset({"in-the-way"}))
        pressed_s, asked, others = now_s(), len(hanging.reads_at), len(away.reads_at)
        await asyncio.sleep(21)
        machines.press(frozenset())
        eased_s, eased = now_s(), len(hanging.reads_at)
        await asyncio.sleep(60)

    while_pressed = hanging.reads_at[asked:eased]
    assert while_pressed[0] - pressed_s <= 2.0  # a poll that is under way comes to its deadline first
    assert [b - a for a, b in pairwise(while_pressed)] == pytest.approx([5.0] * (len(while_pressed) - 1))
    assert len(while_pressed) >= 4
    assert len(away.reads_at) - others <= 6
    first_s, second_s = [at for at in hanging.reads_at[eased:] if at > eased_s][:2]
    assert second_s - first_s > 20.0


def test_silent_machines_come_back_at_different_moments_and_at_the_same_in_every_replay() -> None:
    rests = [backoff_s(f"asic-{at}", 9, 5.0) for at in range(100)]

    assert rests == [backoff_s(f"asic-{at}", 9, 5.0) for at in range(100)]
    assert len({round(rest, 1) for rest in rests}) > 30
    assert BACKOFF_MAX_S * 0.8 <= min(rests) <= max(rests) <= BACKOFF_MAX_S


@in_virtual_time
async def test_a_slow_machine_that_had_to_give_up_its_turn_is_not_called_silent() -> None:
    hanging = [miner(f"dead-{at:03d}", hangs=True) for at in range(3 * READS_AT_ONCE)]
    slow = miner("slow", takes_s=3.0)

    with capture_logs() as logs:
        async with Floor(*hanging, slow).open() as machines:
            await asyncio.sleep(40)

    assert "slow" in machines.heard.readings
    assert "slow" not in {entry["subject"] for entry in logs}


@in_virtual_time
async def test_a_turn_that_is_given_to_one_who_leaves_is_given_on() -> None:
    turns = Turns(1)
    await turns.take()
    leaving, staying = asyncio.create_task(turns.take()), asyncio.create_task(turns.take())
    await asyncio.sleep(0)
    turns.give()
    leaving.cancel()
    await asyncio.sleep(0.1)

    assert leaving.cancelled()
    assert staying.done()
    assert not turns.take_now()
    turns.give()
    assert turns.take_now()


# -- commands ------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_command_cuts_a_poll_short_and_goes_out_at_once() -> None:
    slow = miner(takes_s=4.0)
    floor = Floor(slow)

    async with floor.open() as machines:
        await asyncio.sleep(1)
        machines.post([told("asic-0", SLEEP)])
        await asyncio.sleep(1)

    assert slow.applied == [(1.1, "sleep")]
    assert slow.cancelled >= 1
    assert slow.most_busy == 1
    assert floor.reads == {}, "a poll that we cut short is not the machine's failure"


@in_virtual_time
async def test_a_command_ends_the_rest_between_two_polls() -> None:
    quiet = miner()
    floor = Floor(quiet, every_s=60.0)

    async with floor.open() as machines:
        await asyncio.sleep(20)
        machines.post([told("asic-0", LOW)])
        await asyncio.sleep(1)

    assert quiet.applied == [(20.1, "low")]
    ((at_s, command, outcome),) = floor.answers
    assert (at_s, command.point, outcome) == (20.1, LOW, Acknowledged())
    assert machines.heard.outcomes["asic-0"].at_s == pytest.approx(START_S + 20.1)


@in_virtual_time
async def test_a_command_does_not_wait_for_a_turn_to_be_read() -> None:
    slow = [miner(f"slow-{at:03d}", takes_s=4.9) for at in range(SLOW_AT_ONCE + 3 * READS_AT_ONCE)]
    waiting = miner("waiting")

    async with Floor(*slow, waiting).open() as machines:
        await asyncio.sleep(SPREAD_S + 0.2)
        assert waiting.reads_at == [], "it should wait for its turn now"
        machines.post([told("waiting", SLEEP)])
        await asyncio.sleep(0.5)

    assert waiting.applied == [(SPREAD_S + 0.3, "sleep")]


@in_virtual_time
async def test_the_newest_of_several_posted_commands_wins() -> None:
    slow = miner(takes_s=4.0)

    async with Floor(slow).open() as machines:
        await asyncio.sleep(1)
        for point in (FULL, LOW, SLEEP, LOW):
            machines.post([told("asic-0", point)])
        await asyncio.sleep(5)

    assert [point for _, point in slow.applied] == ["low"]


@in_virtual_time
async def test_a_command_that_comes_while_another_is_applied_follows_it() -> None:
    slow = miner(applies_s=3.0)
    floor = Floor(slow)

    async with floor.open() as machines:
        await asyncio.sleep(1)
        machines.post([told("asic-0", FULL)])
        await asyncio.sleep(1)
        machines.post([told("asic-0", LOW)])
        machines.post([told("asic-0", SLEEP)])
        await asyncio.sleep(8)

    assert [point for _, point in slow.applied] == ["full", "sleep"]
    assert [command.point.name for _, command, _ in floor.answers] == ["full", "sleep"]
    assert slow.most_busy == 1


@in_virtual_time
async def test_the_answer_to_a_command_that_was_replaced_meanwhile_is_no_answer_to_the_newer() -> None:
    slow = miner(applies_s=3.0, outcome=Refused("busy"))
    floor = Floor(slow)

    async with floor.open() as machines:
        await asyncio.sleep(1)
        machines.post([told("asic-0", LOW)])
        await asyncio.sleep(1)
        machines.post([told("asic-0", SLEEP)])
        await asyncio.sleep(2.5)
        early = dict(machines.heard.outcomes)
        slow.outcome = Acknowledged()
        await asyncio.sleep(3)

    assert early == {}
    assert machines.heard.outcomes["asic-0"].value == Acknowledged()
    assert [outcome for _, _, outcome in floor.answers] == [Refused("busy"), Acknowledged()]


@in_virtual_time
async def test_a_second_command_while_a_poll_is_being_let_go_replaces_the_first() -> None:
    reluctant = miner(takes_s=4.0, cleanup_s=2.0)

    async with Floor(reluctant).open() as machines:
        await asyncio.sleep(1)
        machines.post([told("asic-0", LOW)])
        await asyncio.sleep(1)
        machines.post([told("asic-0", SLEEP)])
        await asyncio.sleep(3)

    assert [point for _, point in reluctant.applied] == ["sleep"]


@in_virtual_time
async def test_a_command_that_comes_after_a_poll_ran_into_its_deadline_is_not_lost() -> None:
    hanging = miner(hangs=True, cleanup_s=1.0)

    async with Floor(hanging, deadline_s=5.0).open() as machines:
        await asyncio.sleep(5.5)
        hanging.hangs = False
        machines.post([told("asic-0", SLEEP)])
        await asyncio.sleep(2)

    assert [point for _, point in hanging.applied] == ["sleep"]


@in_virtual_time
async def test_a_command_at_the_very_moment_of_a_polls_deadline_is_not_lost() -> None:
    fleet = [miner(f"asic-{at}", hangs=True) for at in range(5)]

    async def post_at(machines: Machines, one: Miner, at_s: float) -> None:
        await asyncio.sleep(at_s)
        one.hangs = False
        machines.post([told(one.spec.id, SLEEP)])

    async with Floor(*fleet, deadline_s=5.0).open() as machines, asyncio.TaskGroup() as group:
        for at, one in enumerate(fleet):
            group.create_task(post_at(machines, one, SPREAD_S * at / 5 + 5.0))
        await asyncio.sleep(9)

    assert [[point for _, point in one.applied] for one in fleet] == [["sleep"]] * 5


@in_virtual_time
async def test_a_machine_that_hangs_on_a_command_is_given_up_at_the_commands_deadline() -> None:
    hanging = miner()
    floor = Floor(hanging)

    async with floor.open() as machines:
        await asyncio.sleep(1)
        hanging.hangs = True
        machines.post([told("asic-0", SLEEP, deadline_s=3.0)])
        await asyncio.sleep(4)

    ((at_s, _, outcome),) = floor.answers
    assert at_s == pytest.approx(4.0)
    assert outcome == Failed("TimeoutError()")
    assert machines.heard.outcomes["asic-0"].value == outcome


@in_virtual_time
async def test_a_driver_error_on_a_command_is_a_failure_that_says_why() -> None:
    refusing = miner(trouble=DriverError("reset by peer"))
    floor = Floor(refusing)

    async with floor.open() as machines:
        machines.post([told("asic-0")])
        await asyncio.sleep(1)

    ((_, _, outcome),) = floor.answers
    assert outcome == Failed("DriverError('reset by peer')")


@in_virtual_time
async def test_what_a_machine_answers_is_passed_on_as_it_is() -> None:
    refusing = miner(outcome=Refused("locked by its owner"))
    floor = Floor(refusing)

    async with floor.open() as machines:
        machines.post([told("asic-0")])
        await asyncio.sleep(1)

    assert machines.heard.outcomes["asic-0"].value == Refused("locked by its owner")
    assert [outcome for _, _, outcome in floor.answers] == [Refused("locked by its owner")]


@in_virtual_time
async def test_a_machine_that_does_not_show_what_it_was_told_is_read_quickly_until_its_time_is_over() -> None:
    liar = miner(takes_s=0.0, applies_s=0.0, lies=True)

    async with Floor(liar, every_s=5.0).open() as machines:
        await asyncio.sleep(1)
        machines.post([told("asic-0", LOW)])
        await asyncio.sleep(30)

    after = [at_s for at_s in liar.reads_at if at_s > 1]
    settling = [at_s for at_s in after if at_s <= 1 + liar.spec.settle_down_s]
    assert settling == pytest.approx([1.5 + at for at in range(10)])
    assert [at_s for at_s in after if at_s > 12] == pytest.approx([15, 20, 25, 30])


@in_virtual_time
async def test_a_machine_that_shows_what_it_was_told_is_read_in_its_own_turn_again() -> None:
    obedient = miner(takes_s=0.0, applies_s=0.0)

    async with Floor(obedient, every_s=5.0).open() as machines:
        await asyncio.sleep(1)
        machines.post([told("asic-0", LOW)])
        await asyncio.sleep(16)

    assert obedient.reads_at == pytest.approx([0, 1.5, 5, 10, 15])


@in_virtual_time
async def test_a_machine_whose_watts_are_still_falling_has_not_shown_what_it_was_told() -> None:
    slow = miner(takes_s=0.0, applies_s=0.0)
    slow.still_w = 900

    async with Floor(slow, every_s=5.0).open() as machines:
        await asyncio.sleep(1)
        machines.post([told("asic-0", LOW)])
        await asyncio.sleep(3)
        slow.still_w = 0
        await asyncio.sleep(13)

    assert slow.reads_at == pytest.approx([0, 1.5, 2.5, 3.5, 4.5, 5, 10, 15])


@in_virtual_time
async def test_an_acknowledgement_without_effect_changes_no_reading() -> None:
    liar = miner(lies=True)

    async with Floor(liar).open() as machines:
        machines.post([told("asic-0", SLEEP)])
        await asyncio.sleep(3)

    assert machines.heard.outcomes["asic-0"].value == Acknowledged()
    assert machines.heard.readings["asic-0"].value.draw == FULL.power


@in_virtual_time
async def test_hundreds_of_machines_known_to_hang_do_not_delay_the_others_commands() -> None:
    dead = [miner(f"dead-{at:03d}", hangs=True) for at in range(3 * COMMANDS_AT_ONCE)]
    alive = [miner(f"asic-{at}") for at in range(20)]

    async with Floor(*dead, *alive).open() as machines:
        await asyncio.sleep(60)
        machines.post([told(one.spec.id, SLEEP) for one in dead])
        await asyncio.sleep(0.5)
        machines.post([told(one.spec.id, SLEEP) for one in alive])
        await asyncio.sleep(0.5)

    assert [[point for _, point in one.applied] for one in alive] == [["sleep"]] * len(alive)


@in_virtual_time
async def test_a_machine_that_returns_is_heard_while_a_thousand_that_hang_are_told_to_stop() -> None:
    dead = [miner(f"dead-{at:04d}", hangs=True) for at in range(1000)]

    async with Floor(*dead).open() as machines:
        await asyncio.sleep(120)
        machines.post([told(one.spec.id, SLEEP) for one in dead])
        dead[-1].hangs = False
        await asyncio.sleep(60)

    assert set(machines.heard.readings) == {dead[-1].spec.id}


@in_virtual_time
async def test_slots_for_reads_and_commands_come_back_however_a_poll_ended() -> None:
    fleet = [miner(f"asic-{at:03d}", takes_s=4.0) for at in range(2 * READS_AT_ONCE)]

    async with Floor(*fleet).open() as machines:
        for _ in range(20):
            await asyncio.sleep(0.7)
            machines.post([told(one.spec.id, LOW) for one in fleet[::2]])
            await asyncio.sleep(0.05)
            machines.post([told(one.spec.id, SLEEP) for one in fleet])
        await asyncio.sleep(20)
        for one in fleet:
            one.takes_s = 0.1
        await asyncio.sleep(10)
        since_s = now_s()
        await asyncio.sleep(6)

    assert all(one.reads_at[-1] > since_s for one in fleet)
    assert all(one.at == SLEEP for one in fleet)
    assert all(one.most_busy == 1 for one in fleet)


# -- meters and queues ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_meters_and_zones_are_stamped_on_arrival_under_their_own_names() -> None:
    meter = Meter("main", miners=[miner(), miner()], zone="hall")

    async with Floor(sensors=[meter]).open() as machines:
        await asyncio.sleep(5.5)

    assert machines.heard.meters["main"].at_s == pytest.approx(START_S + 5.01)
    assert machines.heard.meters["main"].value.power == Power(6000)
    assert machines.heard.zones["hall"].value.inlet_c == 25.0


@in_virtual_time
async def test_a_meter_that_hangs_is_silent_alone_and_logged_once() -> None:
    hanging, fine = Meter("hanging", hangs=True), Meter("fine")
    floor = Floor(sensors=[hanging, fine])

    with capture_logs() as logs:
        async with floor.open() as machines:
            await asyncio.sleep(30)
            hanging.hangs = False
            await asyncio.sleep(5)

    assert [(entry["event"], entry["subject"]) for entry in logs] == [
        ("silent", "hanging"),
        ("answers_again", "hanging"),
    ]
    assert set(machines.heard.meters) == {"fine", "hanging"}
    assert floor.reads["failed"] >= 25, "it is asked again and again"


@in_virtual_time
async def test_a_pdu_is_silent_once_it_has_not_answered_for_its_time_from_the_start_on() -> None:
    never, falls, meter = Pdu("never", hangs=True), Pdu("falls"), Meter("meter", hangs=True)

    async with Floor(sensors=[never, falls, meter]).open() as machines:
        await asyncio.sleep(29)
        assert list(machines.silent_pdus) == []
        await asyncio.sleep(2)
        assert list(machines.silent_pdus) == ["never"]
        never.hangs, falls.hangs = False, True
        await asyncio.sleep(32)
        assert list(machines.silent_pdus) == ["falls"]


@in_virtual_time
async def test_job_commands_reach_their_queue_in_order_and_none_is_lost() -> None:
    queue = Jobs("local")
    floor = Floor(queues=[queue])
    commands = [JobCommand(queue="local", job=f"job-{at}", action=JobAction.START) for at in range(50)]

    async with floor.open() as machines:
        assert list(machines.silent_queues) == ["local"]
        machines.post_jobs(commands[:20])
        await asyncio.sleep(0.1)
        machines.post_jobs(commands[20:])
        await asyncio.sleep(5)

    assert queue.told == commands
    assert floor.job_answers == [(command, Acknowledged()) for command in commands]
    assert set(machines.heard.queues) == {"local"}
    assert not machines.silent_queues


@in_virtual_time
async def test_a_command_to_a_job_is_confirmed_once_by_what_its_queue_shows_and_not_by_its_answer() -> None:
    waiting = JobStatus(job=Job(id="job-1", gpus=1, usd_per_gpu_hour=1.0), state=JobState.QUEUED)
    queue = Jobs("local", jobs=(waiting,))
    floor = Floor(queues=[queue])
    first, short = (
        JobCommand(queue="local", job=job, action=JobAction.START, gpus=("g0",)) for job in ("job-1", "job-2")
    )

    async with floor.open() as machines:
        machines.post_jobs([first, short])
        await asyncio.sleep(5)
        assert (len(floor.job_answers), floor.job_confirmed) == (2, [])
        queue.jobs = (replace(waiting, state=JobState.RUNNING, gpus=("g0",)),)
        await asyncio.sleep(5)

    assert floor.job_confirmed == [(first, "")], "the other one is over, and shows nothing"


@in_virtual_time
async def test_a_job_that_stands_when_the_controller_begins_is_noted_once() -> None:
    work = Job(id="job-1", gpus=1, usd_per_gpu_hour=1.0)
    standing = JobStatus(job=work, state=JobState.SUSPENDED, gpus=("g0",))
    floor = Floor(queues=[Jobs("local", jobs=(standing,))])

    async with floor.open():
        await asyncio.sleep(5)

    suspend = JobCommand(queue="local", job="job-1", action=JobAction.SUSPEND)
    assert floor.job_confirmed == [(suspend, "found so when the controller began")]


@in_virtual_time
async def test_what_is_done_to_a_job_is_in_the_log_and_so_is_what_could_not_be_done() -> None:
    """Whoever asks why a job stood still has no other place to look at."""
    queue = Jobs("local")
    floor = Floor(queues=[queue])

    with capture_logs() as logs:
        async with floor.open() as machines:
            machines.post_jobs([JobCommand(queue="local", job="job-1", action=JobAction.SUSPEND)])
            await asyncio.sleep(5)
            queue.trouble = DriverError("the disk is full")
            machines.post_jobs([JobCommand(queue="local", job="job-2", action=JobAction.REQUEUE)])
            await asyncio.sleep(5)
            machines.post_jobs([JobCommand(queue="local", job="job-2", action=JobAction.REQUEUE)])
            await asyncio.sleep(5)

    told = [entry for entry in logs if entry["event"].startswith("job")]
    assert [(entry["event"], entry["subject"], entry["action"], entry["log_level"]) for entry in told] == [
        ("job", "local/job-1", "suspend", "info"),
        ("job_not_told", "local/job-2", "requeue", "warning"),
    ]
    assert "the disk is full" in told[1]["why"]


@in_virtual_time
async def test_of_the_commands_that_wait_for_one_job_the_newest_counts() -> None:
    queue = Jobs("local", hangs=True)
    floor = Floor(queues=[queue])
    suspend, resume, requeue, other = (
        JobCommand(queue="local", job=job, action=action)
        for job, action in (
            ("job-1", JobAction.SUSPEND),
            ("job-1", JobAction.RESUME),
            ("job-1", JobAction.REQUEUE),
            ("job-2", JobAction.START),
        )
    )

    async with floor.open() as machines:
        await asyncio.sleep(1)
        for command in (suspend, other, resume, requeue):
            machines.post_jobs([command])
        queue.hangs = False
        await asyncio.sleep(10)

    assert queue.told == [other, requeue]


@in_virtual_time
async def test_a_queue_that_hangs_or_fails_answers_with_a_failure_and_is_asked_again() -> None:
    queue = Jobs("local", hangs=True)
    floor = Floor(queues=[queue])
    command = JobCommand(queue="local", job="job-1", action=JobAction.START, deadline_s=3.0)

    with capture_logs() as logs:
        async with floor.open() as machines:
            machines.post_jobs([command])
            await asyncio.sleep(4)
            queue.hangs, queue.trouble = False, DriverError("disk full")
            machines.post_jobs([command])
            await asyncio.sleep(30)
            queue.trouble = None
            await asyncio.sleep(10)

    assert floor.job_answers == [
        (command, Failed("TimeoutError()")),
        (command, Failed("DriverError('disk full')")),
    ]
    troubles = [entry["event"] for entry in logs if not entry["event"].startswith("job")]
    assert troubles == ["silent", "answers_again"]
    assert set(machines.heard.queues) == {"local"}


@in_virtual_time
async def test_a_queue_that_failed_for_longer_than_a_restart_takes_is_silent_until_it_answers() -> None:
    queue, seen = Jobs("local"), []

    async with Floor(queues=[queue]).open() as machines:
        await asyncio.sleep(2)
        queue.trouble = DriverError("slurmctld is down")
        for wait_s in (29, 4):
            await asyncio.sleep(wait_s)
            seen.append(list(machines.silent_queues))
        queue.trouble = None
        await asyncio.sleep(1)
        seen.append(list(machines.silent_queues))

    assert seen == [[], ["local"], []]


# -- bugs and the end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["read", "apply", "meter", "queue"])
@pytest.mark.parametrize(
    ("raised", "seen"),
    [(DriverBugError(), DriverBugError), (asyncio.CancelledError("by a library"), StrayCancelError)],
    ids=["a bug", "a cancellation that nobody asked for"],
)
def test_what_a_driver_must_not_raise_ends_everything_and_closes_everything(
    where: str, raised: BaseException, seen: type[Exception]
) -> None:
    buggy, healthy, hanging = miner("buggy"), miner("healthy"), miner("hanging", hangs=True)
    meter, queue = Meter("main"), Jobs("local")

    @in_virtual_time
    async def play() -> None:
        async with Floor(buggy, healthy, hanging, sensors=[meter], queues=[queue]).open() as machines:
            await asyncio.sleep(10)
            if where == "meter":
                meter.trouble = raised
            elif where == "queue":
                queue.trouble = raised
            else:
                buggy.trouble = raised
            if where == "apply":
                machines.post([told("buggy")])
            await asyncio.sleep(10)

    with pytest.raises(ExceptionGroup) as caught:
        play()

    assert caught.group_contains(seen)
    assert all(one.closed for one in (buggy, healthy, hanging, meter, queue))


@in_virtual_time
async def test_at_the_end_everything_is_closed_whatever_was_under_way() -> None:
    reading, applying = miner("reading", takes_s=100.0), miner("applying", applies_s=100.0)
    resting, reluctant = miner("resting"), miner("reluctant", takes_s=100.0, cleanup_s=1.0)
    fleet, queue = (reading, applying, resting, reluctant), Jobs("local", hangs=True)

    async with Floor(*fleet, queues=[queue], deadline_s=200.0).open() as machines:
        await asyncio.sleep(3)
        machines.post([told("applying", deadline_s=200.0)])
        await asyncio.sleep(1)

    assert all(one.closed for one in fleet)
    assert queue.closed
    assert all(one.busy == 0 for one in fleet)


class Forgetful:
    """What `asyncio.wait_for` makes of a driver in Python 3.11: a cancellation that comes together with the
    answer is lost."""

    def __init__(self) -> None:
        self.id = "forgetful"
        self.spec = spec(self.id)

    async def read(self) -> Any:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        raise DriverError("connection lost")

    async def apply(self, command: object) -> Outcome:
        await self.read()
        return Acknowledged()

    async def look(self) -> Any:
        return await self.read()

    async def close(self) -> None:
        return None


@pytest.mark.parametrize("part", ["device", "command", "meter", "queue"])
@in_virtual_time
async def test_a_driver_that_loses_its_cancellation_does_not_keep_the_process_from_ending(part: str) -> None:
    one = Forgetful()
    floor = Floor(
        *([one] if part in ("device", "command") else []),
        sensors=[one] if part == "meter" else [],
        queues=[one] if part == "queue" else [],
        deadline_s=200.0,
    )

    async with floor.open() as machines:
        await asyncio.sleep(1)
        if part == "command":
            machines.post([told("forgetful", deadline_s=200.0)])
            await asyncio.sleep(1)

    assert now_s() < 10


@in_virtual_time
async def test_drivers_that_will_not_close_hold_up_neither_the_others_nor_the_end() -> None:
    stuck = [miner(f"stuck-{at}", hangs_on_close=True) for at in range(50)]
    failing = miner("failing", close_trouble=DriverError("already gone"))
    fine = miner("fine")

    with capture_logs() as logs:
        async with Floor(*stuck, failing, fine).open():
            await asyncio.sleep(3)
            ended_s = now_s()

    assert fine.closed
    assert now_s() - ended_s < 3.0
    assert {entry["subject"] for entry in logs} == {one.spec.id for one in (*stuck, failing)}


# -- what else drivers know ----------------------------------------------------------------------------------


@in_virtual_time
async def test_details_are_those_of_drivers_that_have_some_and_none_before_their_first_read() -> None:
    known = GpuDetail(identity=GpuIdentity(uuid="GPU-1"), health=GpuHealth.LOST)

    @dataclass(slots=True)
    class Board(Miner):
        detail: GpuDetail | None = None

    board, fresh = Board(spec("dgx-0"), detail=known), Board(spec("dgx-1"))

    async with Floor(board, fresh, miner("asic-0")).open() as machines:
        told = machines.details()

    assert told == {"dgx-0": known}


# -- many commands at once -----------------------------------------------------------------------------------


@in_virtual_time
async def test_the_first_of_many_commands_begin_before_all_are_handed_over_and_none_is_left() -> None:
    fleet = [miner(f"asic-{at:03}") for at in range(3 * AT_ONCE)]

    async with Floor(*fleet).open() as machines:
        await asyncio.sleep(SPREAD_S + 1.0)
        machines.post([told(one.spec.id, LOW) for one in fleet])
        await asyncio.sleep(0)
        begun_first = [one.spec.id for one in fleet if one.began]
        await asyncio.sleep(5.0)

    assert begun_first == [one.spec.id for one in fleet[:AT_ONCE]]
    assert all(one.began == [LOW.name] for one in fleet)


@in_virtual_time
async def test_a_newer_command_takes_the_place_of_one_not_handed_over_and_goes_first() -> None:
    fleet = [miner(f"asic-{at:03}") for at in range(2 * AT_ONCE)]
    last = fleet[-1]

    async with Floor(*fleet).open() as machines:
        await asyncio.sleep(SPREAD_S + 1.01)  # between two polls
        machines.post([told(one.spec.id, LOW) for one in fleet])
        machines.post([told(last.spec.id)])
        await asyncio.sleep(5.0)

    others = [one.applied[0][0] for one in fleet[AT_ONCE:-1]]
    assert last.began == [SLEEP.name]
    assert last.applied[0][0] <= min(others)


# -- the first commands of a plan ----------------------------------------------------------------------------


@in_virtual_time
async def test_the_first_commands_of_a_plan_do_not_wait_behind_those_that_older_plans_have_left() -> None:
    crowd = [miner(f"asic-{at:03d}", applies_s=5.0) for at in range(2 * COMMANDS_AT_ONCE)]
    late = crowd[-1]

    async with Floor(*crowd).open() as machines:
        await asyncio.sleep(SPREAD_S + 1.0)
        machines.post([told(one.spec.id, LOW) for one in crowd])
        await asyncio.sleep(1.0)
        assert not late.began, "the first half keeps all turns for five seconds"
        machines.post_first([told(late.spec.id, SLEEP)])
        await asyncio.sleep(0.1)

    assert late.began == [SLEEP.name]


@in_virtual_time
async def test_after_the_first_commands_what_older_plans_left_waits_for_the_rest_of_the_plan() -> None:
    crowd = [miner(f"asic-{at:03d}", applies_s=0.0) for at in range(3 * AT_ONCE)]

    async with Floor(*crowd).open() as machines:
        await asyncio.sleep(SPREAD_S + 1.0)
        machines.post([told(one.spec.id, LOW) for one in crowd])
        machines.post_first([told("asic-000", SLEEP)])
        await asyncio.sleep(0.3)
        waiting = [one for one in crowd if not one.began]
        machines.post([told("asic-299", SLEEP)])
        await asyncio.sleep(0.3)

    assert len(waiting) == 2 * AT_ONCE
    assert crowd[0].began[-1] == SLEEP.name
    assert crowd[-1].began == [SLEEP.name], "what was left for it was replaced"
    assert all(one.began == [LOW.name] for one in crowd[AT_ONCE:-1])


@in_virtual_time
async def test_an_answer_to_what_a_device_was_told_before_is_none_to_what_it_is_told_now() -> None:
    slow = miner(applies_s=2.0)

    async with Floor(slow).open() as machines:
        machines.post([told("asic-0", LOW)])
        await asyncio.sleep(3.0)
        heard = dict(machines.heard.outcomes)
        machines.post([told("asic-0", SLEEP)])
        at_once = dict(machines.heard.outcomes)
        await asyncio.sleep(1.0)
        machines.post_first([told("asic-0", FULL)])
        await asyncio.sleep(2.0)
        before_its_own = dict(machines.heard.outcomes)

    assert list(heard) == ["asic-0"]
    assert (at_once, before_its_own) == ({}, {})
