"""The paced loop in virtual time: its pace, its alarms, what feeds the watchdog, what ends the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.decide.inputs import Inputs, PriceNow
from controller.decide.invariants import BrokenInvariantError
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.words import AlarmKind, CapReason, Reason
from controller.domain.devices import DeviceSpec, Outcome, SetPoint
from controller.domain.grid import EventInterval, GridEvent, LimitSignal, Link
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.domain.prices import Price
from controller.domain.site import Node, Policy, Prices, Site
from controller.run.board import Board
from controller.run.clock import Clock
from controller.run.journal.journal import Journal
from controller.run.loop import LEAST_GAP_S, NOT_PLANNED, SETTLES_S, Islanded, Loop, headline
from controller.run.notify import Notifier
from controller.run.prices import PriceSide
from controller.run.recording.recording import NotRecorded, Recorder
from drivers.base import DriverError, JobQueue
from tests.run import boards
from tests.run.fleet import SLEEP, UTC_S, Floor, Meter, Miner, Pdu, miner, spec
from tests.run.journalrows import rows_of
from tests.virtualtime import START_S, VirtualLoop, in_virtual_time, now_s


@dataclass(frozen=True, slots=True)
class Manager(Notifier):
    """A service manager that remembers when it was told of a finished tick."""

    fed_at: list[float] = field(default_factory=list)

    def tick(self, status: str) -> None:
        self.fed_at.append(now_s())


@dataclass(slots=True)
class Operator:
    """A grid operator's side. `costs_s` is how long the process is busy with telling it of a plan."""

    states: Mapping[str, Link] = field(default_factory=lambda: {"": Link.UP})
    events: tuple[GridEvent, ...] = ()
    costs_s: float = 0.0
    settling: bool = False
    told: list[tuple[Inputs, Plan]] = field(default_factory=list)

    def planned(self, inputs: Inputs, plan: Plan) -> None:
        self.told.append((inputs, plan))
        block(self.costs_s)


def block(for_s: float) -> None:
    """The whole process is busy for so long: nothing else runs, and time passes."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.now_s += for_s


class Shell:
    """A loop and everything around it."""

    def __init__(
        self,
        directory: Path,
        *,
        fleet: Sequence[Miner] = (),
        meters: Sequence[Meter] = (),
        operator: Operator | None = None,
        limit: Bound = NO_LIMIT,
        policy: Policy | None = None,
        recorder: Recorder | None = None,
        prices: PriceSide | None = None,
        queues: Sequence[JobQueue] = (),
        state: State | None = None,
    ) -> None:
        meter = meters[0].id if meters else None
        site = Site(
            name="plant",
            nodes=(Node(id="site", limit=limit, meter=meter),),
            policy=policy or Policy(margin=0.0, start_grace_s=5.0),
        )
        time = asyncio.get_running_loop().time  # the journal asks from its own thread
        clock = Clock(utc=lambda: UTC_S - START_S + time())
        self.wake = asyncio.Event()
        self.board = Board(site=site, version="1.2.3", started_utc_s=UTC_S)
        self.manager = Manager()
        self.file = directory / "journal.db"
        self.journal = Journal(self.file, 1.0, clock.utc_s)
        self.floor = Floor(*fleet, sensors=meters, queues=queues)
        self.loop = Loop(
            site=site,
            clock=clock,
            machines=self.floor.machines,
            grid=operator if operator is not None else Islanded(),
            journal=self.journal,
            recorder=recorder or NotRecorded(),
            board=self.board,
            notifier=self.manager,
            wake=self.wake,
            prices=prices,
            state=state,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.floor.machines.run()), group.create_task(self.loop.run())]
            yield
            for task in tasks:
                task.cancel()

    @property
    def ticks_at(self) -> list[float]:
        return self.manager.fed_at

    @property
    def plan(self) -> Plan:
        assert self.board.last is not None
        return self.board.last.plan


# -- pace ----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_ticks_come_once_a_period_and_the_first_at_once(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    async with shell.running():
        await asyncio.sleep(5.5)

    assert shell.ticks_at == [0, 1, 2, 3, 4, 5]
    assert shell.board.ticks == 6
    assert shell.board.late_ticks == 0


@in_virtual_time
async def test_after_a_stall_one_tick_comes_at_once_and_then_the_old_pace(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    with capture_logs() as logs:
        async with shell.running():
            await asyncio.sleep(2.5)
            block(5.3)
            await asyncio.sleep(3.5)

    assert shell.ticks_at == [0, 1, 2, 7.8, 8.8, 9.8, 10.8]
    assert shell.board.late_ticks == 1
    assert [(entry["event"], entry["late_s"]) for entry in logs] == [("tick_late", 4.8)]


@in_virtual_time
async def test_a_tick_a_little_late_keeps_the_phase_and_is_not_counted(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    async with shell.running():
        await asyncio.sleep(2.5)
        block(0.8)
        await asyncio.sleep(3)

    assert shell.ticks_at == [0, 1, 2, 3.3, 4, 5, 6]
    assert shell.board.late_ticks == 0


@in_virtual_time
async def test_ticks_that_take_too_long_are_counted_as_late_and_logged_once(tmp_path: Path) -> None:
    operator = Operator(costs_s=2.5)
    shell = Shell(tmp_path, operator=operator)

    with capture_logs() as logs:
        async with shell.running():
            await asyncio.sleep(30)
            operator.costs_s = 0.0
            counted = shell.board.late_ticks
            await asyncio.sleep(10)

    assert [b - a for a, b in pairwise(shell.ticks_at[:10])] == pytest.approx([2.5] * 9)
    assert counted == shell.board.ticks - 10 - 1, "all but the first, and those after the trouble"
    assert [entry["event"] for entry in logs] == ["tick_late"]
    assert [round(b - a, 3) for a, b in pairwise(shell.ticks_at[-8:])] == [1.0] * 7


@in_virtual_time
async def test_ticks_that_are_late_now_and_then_do_not_fill_the_log(tmp_path: Path) -> None:
    operator = Operator(costs_s=1.5)
    shell = Shell(tmp_path, operator=operator)

    with capture_logs() as logs:
        async with shell.running():
            await asyncio.sleep(300)
            operator.costs_s = 0.0
            await asyncio.sleep(300)
            operator.costs_s = 5.0
            await asyncio.sleep(30)

    assert [entry["event"] for entry in logs] == ["tick_late", "tick_late"]


@in_virtual_time
async def test_a_wake_is_acted_on_at_once_and_the_next_tick_follows_a_period_later(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    async with shell.running():
        await asyncio.sleep(2.4)
        shell.wake.set()
        shell.wake.set()
        await asyncio.sleep(2.5)

    assert shell.ticks_at == [0, 1, 2, 2.4, 3.4, 4.4]
    assert shell.board.late_ticks == 0


@in_virtual_time
async def test_a_wake_during_a_stall_is_answered_by_the_one_late_tick_that_follows(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    async with shell.running():
        await asyncio.sleep(2.5)
        shell.wake.set()
        block(5.3)
        await asyncio.sleep(2.5)

    assert shell.ticks_at == [0, 1, 2, 7.8, 8.8, 9.8]
    assert shell.board.late_ticks == 1


@in_virtual_time
async def test_a_wake_right_after_a_tick_is_acted_on_at_once_and_one_right_after_that_soon(
    tmp_path: Path,
) -> None:
    shell = Shell(tmp_path)

    async with shell.running():
        await asyncio.sleep(1.01)
        assert shell.ticks_at == [0, 1], "the second tick is over"
        shell.wake.set()
        await asyncio.sleep(0.01)
        shell.wake.set()
        await asyncio.sleep(0.5)

    assert shell.ticks_at == [0, 1, 1.01, 1.01 + LEAST_GAP_S]


async def run_into_a_limit(shell: Shell, operator: Operator) -> None:
    """The site runs as it likes until, between two ticks, a limit comes for which a machine must sleep."""
    async with shell.running():
        await asyncio.sleep(9.5)
        operator.events = (limit_to(Power(1_000), from_s=0.0),)
        shell.wake.set()
        await asyncio.sleep(0.1)


@in_virtual_time
async def test_commands_are_on_their_way_before_anybody_is_told_of_the_plan(tmp_path: Path) -> None:
    machine = miner()
    begun: list[list[str]] = []

    class Told(Operator):
        def planned(self, inputs: Inputs, plan: Plan) -> None:
            begun.append(list(machine.began))

    operator = Told(states={})
    await run_into_a_limit(Shell(tmp_path, fleet=[machine], operator=operator), operator)

    assert begun[-1] == [SLEEP.name]


@in_virtual_time
async def test_what_lowers_is_at_the_machines_before_the_rest_is_decided(tmp_path: Path) -> None:
    machine = miner()
    begun: list[list[str]] = []

    class Decided(NotRecorded):
        def decided(self, plan: Plan) -> None:
            begun.append(list(machine.began))

    operator = Operator(states={})
    shell = Shell(tmp_path, fleet=[machine], operator=operator, recorder=Decided())
    await run_into_a_limit(shell, operator)

    assert begun[-1] == [SLEEP.name]


@in_virtual_time
async def test_a_tick_that_sent_nothing_is_left_for_a_message_that_comes_meanwhile(tmp_path: Path) -> None:
    machine = miner()
    operator = Operator(states={})
    told: list[str] = []

    class Watching(NotRecorded):
        def deciding(self, before: State, inputs: Inputs) -> None:
            told.append("deciding")
            if len(told) > 20 and not operator.events:
                operator.events = (limit_to(Power(1_000), from_s=0.0),)
                asyncio.get_running_loop().call_soon(shell.wake.set)

        def decided(self, plan: Plan) -> None:
            told.append("decided")

        def left(self) -> None:
            told.append("left")

    shell = Shell(tmp_path, fleet=[machine], operator=operator, recorder=Watching())

    async with shell.running():
        await asyncio.sleep(12.5)

    assert told.count("left") == 1
    at = told.index("left")
    assert told[at - 1 : at + 3] == ["deciding", "left", "deciding", "decided"]
    assert told.count("decided") == shell.board.ticks == len(shell.ticks_at)
    assert shell.ticks_at == sorted(set(shell.ticks_at)), "the tick that follows stands for both"
    assert machine.began == [SLEEP.name]


@in_virtual_time
async def test_an_ordinary_tick_waits_a_moment_for_a_message_that_is_being_made_durable(
    tmp_path: Path,
) -> None:
    operator = Operator()
    shell = Shell(tmp_path, operator=operator)

    async with shell.running():
        await asyncio.sleep(0.99)
        operator.settling = True
        await asyncio.sleep(0.02)
        operator.settling = False
        shell.wake.set()
        await asyncio.sleep(1)

    assert shell.ticks_at == [0, 1.01, 2]


@in_virtual_time
async def test_a_message_that_does_not_become_durable_holds_up_no_tick_for_long(tmp_path: Path) -> None:
    shell = Shell(tmp_path, operator=Operator(settling=True))

    async with shell.running():
        await asyncio.sleep(10)

    assert shell.board.ticks == 10
    assert all(at_s % 1 <= 2 * SETTLES_S + 0.001 for at_s in shell.ticks_at)


@pytest.mark.parametrize("takes_s", [0.0, 2 * LEAST_GAP_S])
@in_virtual_time
async def test_a_tick_that_a_message_began_is_never_left(tmp_path: Path, takes_s: float) -> None:
    class Restless(NotRecorded):
        lefts = 0

        def deciding(self, before: State, inputs: Inputs) -> None:
            block(takes_s)
            asyncio.get_running_loop().call_soon(shell.wake.set)

        def left(self) -> None:
            self.lefts += 1

    recorder = Restless()
    shell = Shell(tmp_path, recorder=recorder)

    async with shell.running():
        await asyncio.sleep(10)

    assert shell.board.ticks >= 10 / (LEAST_GAP_S + takes_s) - 1
    assert recorder.lefts <= 10


@in_virtual_time
async def test_a_flood_of_messages_is_answered_by_a_few_ticks(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    async with shell.running():
        for _ in range(1000):
            shell.wake.set()
            await asyncio.sleep(0.01)

    assert shell.ticks_at[-1] > 9.0
    assert len(shell.ticks_at) <= 10 / LEAST_GAP_S + 1


# -- what feeds the watchdog, and what ends the process ------------------------------------------------------


@in_virtual_time
async def test_the_watchdog_starves_while_the_process_is_stuck(tmp_path: Path) -> None:
    shell = Shell(tmp_path)

    async with shell.running():
        await asyncio.sleep(3.5)
        block(60.0)
        await asyncio.sleep(0.5)

    assert max(b - a for a, b in pairwise(shell.manager.fed_at)) > 60.0
    assert len(shell.manager.fed_at) == shell.board.ticks


class Restless(DeviceSpec):
    """A device whose ceiling is lower each time one looks: no plan for it can be right."""

    _asked = 0

    @property
    def ceiling(self) -> Power:
        type(self)._asked += 1
        return Power(9100 - self._asked)

    @ceiling.setter
    def ceiling(self, _: Power) -> None:
        """The base sets it once."""


def test_a_plan_that_breaks_an_invariant_is_not_sent_and_ends_the_process(tmp_path: Path) -> None:
    fair = spec("asic-0")
    restless = Restless(id="asic-0", kind=fair.kind, node="site", points=fair.points, ceiling=fair.ceiling)
    machine = Miner(restless)
    shells: list[Shell] = []

    @in_virtual_time
    async def play() -> None:
        shells.append(Shell(tmp_path, fleet=[machine]))
        async with shells[0].running():
            await asyncio.sleep(10)

    with pytest.raises(ExceptionGroup) as caught:
        play()

    assert caught.group_contains(BrokenInvariantError, match="I3: asic-0")
    assert shells[0].manager.fed_at == []
    assert shells[0].board.last is None
    assert machine.applied == []
    assert machine.closed


class Journaled(Shell):
    """A shell whose journal can be read afterwards."""

    def told(self) -> list[tuple[object, ...]]:
        return list(rows_of(self.file, "SELECT device, point, kind, detail FROM commands ORDER BY id"))


def test_what_was_sent_ahead_of_a_plan_that_fails_is_noted_and_the_process_ends(tmp_path: Path) -> None:
    machine, shells = miner(), list[Journaled]()

    class Failing(NotRecorded):
        def decided(self, plan: Plan) -> None:
            if plan.commands:
                raise ArithmeticError("the rest of it")

    @in_virtual_time
    async def play() -> None:
        operator = Operator(states={})
        shells.append(Journaled(tmp_path, fleet=[machine], operator=operator, recorder=Failing()))
        await shells[0].journal.open()
        try:
            async with shells[0].running():
                await asyncio.sleep(9.5)
                operator.events = (limit_to(Power(1_000), from_s=0.0),)
                await asyncio.sleep(10)
        finally:
            await shells[0].journal.close()

    with pytest.raises(ExceptionGroup) as caught:
        play()

    assert caught.group_contains(ArithmeticError, match="the rest of it")
    assert machine.began == [SLEEP.name]
    assert shells[0].told() == [("asic-0", SLEEP.name, "commanded", NOT_PLANNED)]


@in_virtual_time
async def test_a_decision_of_which_something_was_sent_is_made_to_its_end_when_the_process_has_to_stop(
    tmp_path: Path,
) -> None:
    decided: list[Plan] = []
    tasks: list[asyncio.Task[None]] = []

    class Stopping(Miner):
        async def apply(self, command: SetPoint) -> Outcome:
            tasks[0].cancel()
            return await super().apply(command)

    class Remembering(NotRecorded):
        def decided(self, plan: Plan) -> None:
            decided.append(plan)

    machine, operator = Stopping(spec("asic-0")), Operator(states={})
    shell = Journaled(tmp_path, fleet=[machine], operator=operator, recorder=Remembering())
    await shell.journal.open()

    async with asyncio.TaskGroup() as group:
        driving = group.create_task(shell.floor.machines.run())
        tasks.append(group.create_task(shell.loop.run()))
        await asyncio.sleep(9.5)
        operator.events = (limit_to(Power(1_000), from_s=0.0),)
        await asyncio.sleep(1)
        driving.cancel()
    await shell.journal.close()

    assert tasks[0].cancelled()
    assert [command.device for command in decided[-1].commands] == ["asic-0"]
    assert len(decided) == shell.board.ticks + 1
    assert ("asic-0", SLEEP.name, "commanded", NOT_PLANNED) in shell.told()


# -- what is noted -------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_alarm_is_logged_and_journaled_when_it_comes_and_when_it_goes(tmp_path: Path) -> None:
    fleet = [miner()]
    meter = Meter("main", miners=fleet)
    shell = Shell(tmp_path, fleet=fleet, meters=[meter])
    await shell.journal.open()

    with capture_logs() as logs:
        async with shell.running():
            await asyncio.sleep(10)
            meter.hangs = True
            await asyncio.sleep(60)
            meter.hangs = False
            await asyncio.sleep(10)
    await shell.journal.close()

    noted = [(entry["event"], entry["kind"], entry["subject"]) for entry in logs if "kind" in entry]
    assert noted == [("alarm", "meter_stale", "main"), ("alarm_over", "meter_stale", "main")]
    rows = rows_of(shell.file, "SELECT kind, subject, raised FROM alarms ORDER BY id")
    assert list(rows) == [("meter_stale", "main", 1), ("meter_stale", "main", 0)]


@in_virtual_time
async def test_every_plan_is_journaled_and_told_to_the_grid_operator(tmp_path: Path) -> None:
    operator = Operator()
    fleet = [miner("asic-0"), miner("asic-1", at=SLEEP)]
    meter = Meter("main", miners=fleet)
    shell = Shell(tmp_path, fleet=fleet, meters=[meter], operator=operator, limit=Limit(Power(7000)))
    await shell.journal.open()

    async with shell.running():
        await asyncio.sleep(20)
    await shell.journal.close()

    assert len(operator.told) == shell.board.ticks
    assert operator.told[-1][1] is shell.plan
    assert operator.told[-1][0].link is Link.UP
    samples = list(rows_of(shell.file, "SELECT node, metered_w, limit_w FROM samples"))
    assert len(samples) == shell.board.ticks
    assert samples[-1] == ("site", 6000, 7000)
    commands = list(rows_of(shell.file, "SELECT device, point, watts, kind FROM commands"))
    assert commands == [("asic-1", "full", 3000, "commanded")]


@in_virtual_time
async def test_an_event_reaches_the_machines_before_the_next_tick_is_due(tmp_path: Path) -> None:
    operator = Operator()
    fleet = [miner("asic-0"), miner("asic-1")]
    meter = Meter("main", miners=fleet)
    policy = Policy(tick_s=10.0, margin=0.0, meter_stale_after_s=30.0, event_lead_s=0.0)
    shell = Shell(tmp_path, fleet=fleet, meters=[meter], operator=operator, policy=policy)

    async with shell.running():
        await asyncio.sleep(25)
        operator.events = (limit_to(Power(100), from_s=25.0),)
        shell.wake.set()
        await asyncio.sleep(1)
        cap_reason, powers = shell.plan.cap_reason, [one.at for one in fleet]

    assert cap_reason is CapReason.EVENT
    assert powers == [SLEEP, SLEEP]


@in_virtual_time
async def test_a_liars_watts_are_taken_from_the_others(tmp_path: Path) -> None:
    operator = Operator()
    worst = spec("liar")
    weak = tuple(replace(point, rate=point.rate * 0.8) for point in worst.points)
    liar = Miner(replace(worst, points=weak), at=weak[-1], lies=True)
    honest = [miner("honest-0"), miner("honest-1")]
    meter = Meter("main", miners=[liar, *honest])
    shell = Shell(
        tmp_path, fleet=[liar, *honest], meters=[meter], operator=operator, policy=Policy(event_lead_s=0.0)
    )

    async with shell.running():
        await asyncio.sleep(20)
        operator.events = (limit_to(Power(7000), from_s=20.0),)
        shell.wake.set()
        await asyncio.sleep(90)
        alarms = {(alarm.kind, alarm.subject) for alarm in shell.plan.alarms}
        reasons = {grant.device: grant.reason for grant in shell.plan.grants}

    assert liar.applied, "it was told and said yes"
    assert liar.at == weak[-1], "and did nothing"
    assert meter.draw_w <= 7000
    assert (AlarmKind.DEVICE_LYING, "liar") in alarms
    assert reasons["liar"] is Reason.LYING


@in_virtual_time
async def test_a_pdu_that_does_not_answer_is_an_alarm_until_it_does(tmp_path: Path) -> None:
    pdu = Pdu("pdu-a1")
    shell = Shell(tmp_path, meters=[Meter("main"), pdu])

    async with shell.running():
        await asyncio.sleep(10)
        pdu.trouble = DriverError("no answer within 3 s")
        await asyncio.sleep(29)
        early = shell.plan.alarms
        await asyncio.sleep(3)
        late = shell.plan.alarms
        pdu.trouble = None
        await asyncio.sleep(3)

    assert (early, shell.plan.alarms) == ((), ())
    assert [(alarm.kind, alarm.subject) for alarm in late] == [(AlarmKind.PDU_SILENT, "pdu-a1")]
    assert late[0].detail == "does not answer: none of its outlets can be switched, or read"


def test_the_headline_says_draw_cap_and_alarms_on_one_line() -> None:
    busy = boards.busy_board().last
    assert busy is not None

    assert headline(busy.plan) == "52.0 kW, cap 60.0 kW (event), 2 alarms"


def test_the_headline_does_not_invent_a_draw_or_a_cap() -> None:
    bare = boards.tick(nodes=(boards.node("grid-connection"),))

    assert headline(bare.plan) == "meter stale, cap none (none), 0 alarms"


def limit_to(power: Power, *, from_s: float) -> GridEvent:
    interval = EventInterval(
        start_utc_s=UTC_S + from_s, end_utc_s=UTC_S + from_s + 3600, signals=(LimitSignal(power),)
    )
    return GridEvent(id="event-1", version_utc_s=UTC_S, source="operator", intervals=(interval,))


# -- prices --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Market:
    """Prices in the hand of the test."""

    prices: tuple[PriceNow, ...]

    def now(self) -> tuple[PriceNow, ...]:
        return self.prices


@in_virtual_time
async def test_a_tick_is_valued_with_the_prices_in_force_and_a_stale_one_is_an_alarm(tmp_path: Path) -> None:
    market = Market((boards.price(Price.ENERGY, -0.02, source="rtm", age_s=5.0),))
    shell = Shell(tmp_path, prices=market)

    async with shell.running():
        await asyncio.sleep(0.5)
        fresh = shell.board.last
        market.prices = (boards.price(Price.ENERGY, 0.05, passed=("rtm is 901 s old, at most 900 s",)),)
        await asyncio.sleep(1.0)
        stale = shell.board.last

    assert fresh is not None
    assert stale is not None
    assert (fresh.inputs.prices.usd_per_kwh, fresh.plan.alarms) == (-0.02, ())
    assert fresh.inputs.prices.usd_per_ths_day == Prices().usd_per_ths_day
    assert stale.inputs.prices.usd_per_kwh == 0.05
    assert [(alarm.kind, alarm.subject) for alarm in stale.plan.alarms] == [(AlarmKind.PRICE_STALE, "energy")]
