"""A site whose clock and meter are in the test's hand, and the journal that the real classes wrote of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from controller.decide.plan import Alarm
from controller.decide.words import AlarmKind, Reason
from controller.domain.devices import Acknowledged, SetPoint
from controller.domain.grid import (
    EventInterval,
    EventStatus,
    GridEvent,
    LimitSignal,
    RelativeTargetSignal,
    TargetSignal,
)
from controller.domain.jobs import JobCommand
from controller.domain.power import Limit, Power
from controller.grid import advancing, ledger, observing
from controller.grid.entries import Ledger
from controller.grid.isotime import stamp
from controller.grid.results import Accepted, Cancelled, MessageResult
from controller.grid.site import UNMEASURED, Foreseen, Progress
from controller.run.journal.journal import Journal
from controller.run.operators.gridbook import Change, GridBook, Pending
from controller.run.operators.shelf import Shelf
from controller.run.operators.watching import Watched
from tests.decide.builders import nodes_of
from tests.run import boards

CHICAGO = ZoneInfo("America/Chicago")
DAY = date(2026, 11, 18)
LIMIT_KW = 60.0
EVENT_S = 300


def utc_s(day: date, hour: int, minute: int = 0) -> float:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=CHICAGO).timestamp()


START_UTC_S = utc_s(DAY, 16)


@dataclass
class Site:
    """A site whose clock and meter are in the test's hand, with a journal of its own."""

    path: Path
    now_utc_s: float = field(default_factory=lambda: utc_s(DAY - timedelta(days=30), 0))

    def __post_init__(self) -> None:
        self.journal = Journal(self.path, 400.0, lambda: self.now_utc_s)

    def draws(
        self, kw: Iterable[float | None], step_s: float = 1.0, *, below_kw: float | None = None
    ) -> None:
        """Ticks of the controller, each with what the meter shows, and that of a row below it."""
        quiet = boards.tick().plan
        for watts in kw:
            node = boards.node(
                "site", limit=Limit(Power(200_000)), metered_w=None if watts is None else round(watts * 1000)
            )
            row = [] if below_kw is None else [boards.node("row-a", metered_w=round(below_kw * 1000))]
            plan = replace(quiet, now_s=self.now_utc_s, nodes=nodes_of(node, *row))
            self.journal.planned(plan)
            self.now_utc_s += step_s

    def tells_jobs(self, *commands: JobCommand) -> None:
        """A tick that tells job queues something, and measures nothing."""
        node = boards.node("site", metered_w=None)
        plan = replace(boards.tick().plan, now_s=self.now_utc_s, nodes=nodes_of(node), job_commands=commands)
        self.journal.planned(plan)

    async def hears(self, *results: MessageResult, operator: str = "") -> None:
        """Messages of an operator, through a ledger whose store is the journal."""
        await self._changes(operator, *(partial(ledger.receive, result=result) for result in results))

    async def takes_back(self) -> None:
        """From now on the site is only observed."""
        await self._changes("", observing.withdrawn)

    async def follows(self, progress: Progress, operator: str = "") -> None:
        """The loop's word on an event, as the link has it kept."""
        keep = partial(advancing.keep_drawn, progress=progress)
        await self._changes(operator, keep, partial(advancing.advance, progress=progress))

    async def foresees(self, event: str, possible_kw: float, version_utc_s: float = 1.0) -> None:
        """The loop's word on an event that has not begun and asks for `LIMIT_KW`."""
        asked, possible = Power.kw(LIMIT_KW), Power.kw(possible_kw)
        word = Foreseen(
            event=event,
            version_utc_s=version_utc_s,
            status=EventStatus.INFEASIBLE if possible > asked else EventStatus.RECEIVED,
            asked=asked,
            possible=possible,
        )
        await self._changes("", partial(advancing.foresee, foreseen=word))

    async def streams(self, *points: Accepted, operator: str = "") -> None:
        """Set-points of a stream."""
        changes = (partial(ledger.receive, result=point) for point in points)
        await self._changes(operator, *changes, quiet=True)

    async def restarts(self) -> None:
        """The controller is stopped in order, and begins anew."""
        await self.journal.close()
        self.journal = Journal(self.path, 400.0, lambda: self.now_utc_s)
        await self.journal.open()

    async def observes(self, *results: MessageResult, operator: str = "") -> None:
        """Messages, a second apart, to a site that is only observed, and whose process began just now."""
        settled = asyncio.Event()
        book = self._book(operator, settled)
        watched = Watched.by(book, of_stream=False)
        watched.begin(Ledger(), self.now_utc_s)
        task = asyncio.create_task(book.run())
        for result in results:
            settled.clear()
            watched.hear(result, self.now_utc_s)
            await asyncio.wait_for(settled.wait(), 5)
            self.now_utc_s += 1.0
        task.cancel()
        await asyncio.wait([task])

    def _book(self, operator: str, settled: asyncio.Event, *, quiet: bool = False) -> GridBook:
        return GridBook(
            Shelf(self.journal, operator),
            utc=lambda: self.now_utc_s,
            measured=lambda: UNMEASURED,
            settled=lambda _: settled.set(),
            quiet=quiet,
        )

    async def _changes(self, operator: str, *changes: Change, quiet: bool = False) -> None:
        settled = asyncio.Event()
        book = self._book(operator, settled, quiet=quiet)
        await book.restore()
        task = asyncio.create_task(book.run())
        for turn, change in enumerate(changes):
            settled.clear()
            book.put(turn, Pending(change=change))
            await asyncio.wait_for(settled.wait(), 5)
        task.cancel()
        await asyncio.wait([task])

    def commands(self, watts: int = 2000) -> None:
        """One command that follows from the limit, and its answer."""
        device = boards.device("s19-1", reason=Reason.LIMITED, limited_by="pdu-1")
        told = SetPoint(device="s19-1", point=replace(device.grant.point, power=Power(watts)))
        plan = replace(boards.tick(device).plan, now_s=self.now_utc_s, commands=(told,), nodes=nodes_of())
        self.journal.planned(plan)
        self.journal.answered(told, Acknowledged())


def accepted(
    event_id: str,
    *,
    start_utc_s: float = START_UTC_S,
    kw: float = LIMIT_KW,
    version_utc_s: float = 1.0,
    node: str = "",
) -> Accepted:
    interval = EventInterval(
        start_utc_s=start_utc_s, end_utc_s=start_utc_s + EVENT_S, signals=(LimitSignal(Power.kw(kw)),)
    )
    event = GridEvent(
        id=event_id,
        version_utc_s=version_utc_s,
        source="utility",
        intervals=(interval,),
        ramp_deadline_s=10,
        node=node,
    )
    return Accepted(event=event, stamp=stamp(version_utc_s))


def relative(
    event_id: str, *, change_kw: float, version_utc_s: float = 1.0, priority: int = 1_000_000
) -> Accepted:
    """The same times as `accepted`, for a set-point relative to what was drawn before."""
    content = accepted(event_id, version_utc_s=version_utc_s)
    interval = replace(content.event.intervals[0], signals=(RelativeTargetSignal(Power.kw(change_kw)),))
    return replace(content, event=replace(content.event, intervals=(interval,), priority=priority))


def set_point(event_id: str, kw: float, start_utc_s: float, *, version_utc_s: float) -> Accepted:
    """A standing event whose next version replaces it: good for twice as long as it is meant to hold."""
    interval = EventInterval(
        start_utc_s=start_utc_s, end_utc_s=start_utc_s + 600, signals=(TargetSignal(Power.kw(kw)),)
    )
    event = GridEvent(
        id=event_id,
        version_utc_s=version_utc_s,
        source="utility",
        intervals=(interval,),
        ramp_deadline_s=40,
        priority=3,
    )
    return Accepted(event=event, stamp=stamp(version_utc_s))


def base_point(kw: float, start_utc_s: float, valid_s: float = 10.0) -> Accepted:
    interval = EventInterval(
        start_utc_s=start_utc_s, end_utc_s=start_utc_s + valid_s, signals=(TargetSignal(Power.kw(kw)),)
    )
    event = GridEvent(
        id="base-point", version_utc_s=start_utc_s, source="base-point", intervals=(interval,), priority=5
    )
    return Accepted(event=event, stamp=stamp(start_utc_s))


async def lived(path: Path) -> None:
    """Two weeks in which the site drew 100 kW in the quarter of an hour of the event, 10 kW more every
    weekday further back; then the event. It was known ten minutes before, and obeyed within four seconds."""
    site = Site(path)
    await site.journal.open()
    weekdays = [DAY - timedelta(days=n) for n in range(14, 0, -1) if (DAY - timedelta(days=n)).weekday() < 5]
    for place, day in enumerate(weekdays):
        site.now_utc_s = utc_s(day, 16)
        site.draws([100.0 + 10 * (len(weekdays) - 1 - place)] * 181, step_s=5.0)
    site.now_utc_s = START_UTC_S - 600
    await site.hears(accepted("dr-7"))
    await site.hears(accepted("dr-7", kw=99), accepted("dr-8", kw=99), accepted("dr-9"), operator="dsx")
    await site.hears(accepted("dr-9"), operator="iso")
    site.draws([120.0] * 598)
    site.commands()
    site.draws([120.0] * 2)
    site.draws([max(120.0 - 20 * n, 50.0) for n in range(120)])
    site.draws([None] * 60)
    site.journal.alarm(Alarm(kind=AlarmKind.DEVICE_LYING, subject="s19-9", detail=""), raised=True)
    site.draws([50.0] * 120)
    site.draws([min(50.0 + 10 * n, 120.0) for n in range(60)])
    await site.hears(Cancelled(id="dr-7", version_utc_s=2.0, stamp=stamp(2.0)), operator="dsx")
    await site.journal.close()
