"""The site's own rules and people as one more operator: events that nobody sent, durable like all others.

It never commands a device: it makes events, and the loop reads them. They hold at once, also where they
cannot be stored: a full disk must not keep a site from following a low frequency, or a person's word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from controller.decide.inputs import Inputs
from controller.domain.eventnames import named, parted
from controller.domain.grid import GridEvent, PriceSignal
from controller.grid import advancing, ledger, triggers
from controller.grid.keeping import Verdict
from controller.grid.site import UNMEASURED, Measured, SiteReport
from controller.grid.triggers import Cut, PeakHour, Standing, Threshold
from controller.run.journal.store import EventStore, StoreError
from controller.run.operators.gridbook import Change, GridBook, Pending
from controller.run.operators.peakcalendar import CalendarError, PeakCalendar
from controller.run.operators.shelf import Shelf
from controller.run.operators.triggerconfig import TriggersTable
from drivers.cancellation import until_told

NAME = "own"
STORED_WITHIN_S = 4.0
CALENDAR_PERIOD_S = 30.0
CALENDAR_TIMEOUT_S = 5.0
SETTLE_PERIOD_S = 1.0


class OwnRules:
    """`await restore()` before the first tick, `run()` as a task of the daemon, `planned()` on every tick."""

    def __init__(
        self,
        table: TriggersTable,
        store: EventStore,
        *,
        utc: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._utc = utc
        self._wake = wake
        self._schedules = table.schedule_rules()
        self._prices = table.price_rules()
        self._frequencies = table.frequency_rules()
        self._peaks = table.peak_rule()
        self._calendar = PeakCalendar(table.peaks.calendar) if table.peaks is not None else None
        self._reading: asyncio.Future[tuple[PeakHour, ...]] | None = None
        self._hours: tuple[PeakHour, ...] = ()
        self._standings: dict[tuple[str, str], Standing] = {}
        self._measured_now: Measured = UNMEASURED
        self._book = GridBook(
            Shelf(store, NAME),
            utc=utc,
            measured=self._measured,
            settled=self._settled,
            at_once=True,
            operator=NAME,
        )
        self._in_force: tuple[GridEvent, ...] = ()
        self._restored = False
        self._log = structlog.get_logger("own")

    @property
    def events(self) -> tuple[GridEvent, ...]:
        return tuple(replace(event, id=named(NAME, event.id), is_own=True) for event in self._own_events())

    @property
    def people(self) -> tuple[GridEvent, ...]:
        """Those that people asked for: one for each place."""
        return tuple(event for event in self.events if event.source == triggers.Source.MANUAL)

    async def restore(self) -> None:
        """Take up what the store holds; what had tripped before a restart has tripped after it."""
        if self._restored:
            return
        await self._book.restore()
        now_utc_s = self._utc()
        for rule in self._thresholds():
            held = triggers.remembered(self._book.ledger, [rule], now_utc_s)
            if rule.id in held:
                self._standings[rule.source, rule.id] = held[rule.id]
        if self._calendar is not None:
            await self._read_calendar(self._calendar)
        self._in_force = self._own_events()
        self._restored = True

    async def run(self) -> None:
        """Keep the events durable. Ends only by cancellation."""
        await self.restore()
        async with asyncio.TaskGroup() as group:
            group.create_task(until_told(self._book.run))
            group.create_task(until_told(self._settle))
            if self._calendar is not None:
                group.create_task(until_told(self._watch_calendar, self._calendar))

    def planned(self, inputs: Inputs, report: SiteReport) -> None:
        """One tick: look at price, frequency and calendar, and bring the events in line with the rules."""
        self._measured_now = report.measured
        now_utc_s = inputs.utc_s
        wanted = self._wanted(inputs, now_utc_s)
        if triggers.differences(self._book.ledger, wanted, now_utc_s):
            self._book.put("rules", Pending(change=partial(triggers.follow_rules, wanted=wanted)))
        for progress in report.progress:
            operator, event = parted(progress.event)
            if operator == NAME:
                own = replace(progress, event=event)
                entry = self._book.ledger.entries.get(own.event)
                if entry is not None and advancing.is_news(entry, own, now_utc_s):
                    self._book.put(
                        (own.event, own.status), Pending(change=partial(advancing.advance, progress=own))
                    )

    async def curtail(self, cut: Cut, end_utc_s: float, who: str) -> None:
        """Curtail from now on. Returns when it is durable; after `StoreError` a restart may forget it."""
        self._log.info("own_curtail", limit_w=cut.limit.watts, node=cut.node, until=end_utc_s, who=who)
        await self._stored(
            f"curtail {cut.node}", partial(triggers.curtail, cut=cut, end_utc_s=end_utc_s, who=who)
        )

    async def end(self, who: str) -> tuple[str, ...]:
        """End what people asked for; the events that ended."""
        ended = triggers.manual(self._book.ledger, self._utc())
        self._log.info("own_curtail_ended", who=who, events=len(ended))
        await self._stored("end", triggers.end_curtailment)
        return ended

    async def _stored(self, key: str, change: Change) -> None:
        """Make `change` durable. One that waits under the same key gives way to it, and is not confirmed."""
        durable = asyncio.Event()
        self._book.put(key, Pending(change=change, then=durable.set))
        try:
            async with asyncio.timeout(STORED_WITHIN_S):
                await durable.wait()
        except TimeoutError:
            raise StoreError("the journal cannot be written: it holds, but not through a restart") from None

    def _wanted(self, inputs: Inputs, now_utc_s: float) -> tuple[GridEvent, ...]:
        wanted = [event for rule in self._schedules for event in triggers.schedule_events(rule, now_utc_s)]
        if self._peaks is not None:
            wanted += triggers.peak_events(self._peaks, self._hours, now_utc_s)
        price = price_now(inputs)
        for rule in self._prices:
            wanted += self._judge(rule, price, now_utc_s)
        for rule, table in self._frequencies:
            sample = inputs.meters.get(table.meter)
            fresh = sample is not None and inputs.now_s - sample.at_s <= table.stale_s
            value = sample.value.frequency_hz if sample is not None and fresh else None
            wanted += self._judge(rule, value, now_utc_s)
        return tuple(wanted)

    def _judge(self, rule: Threshold, value: float | None, now_utc_s: float) -> tuple[GridEvent, ...]:
        key = rule.source, rule.id
        before = self._standings.get(key, Standing())
        after = triggers.judged(rule, before, value, now_utc_s)
        self._standings[key] = after
        if (before.tripped_utc_s is None) != (after.tripped_utc_s is None):
            word = "own_rule_cleared" if after.tripped_utc_s is None else "own_rule_tripped"
            self._log.info(word, rule=f"{rule.source}/{rule.id}", value=value)
        return triggers.threshold_event(rule, after)

    async def _settle(self) -> None:
        while True:
            self._book.put("settle", Pending(change=ledger.settle))
            await asyncio.sleep(SETTLE_PERIOD_S)

    async def _watch_calendar(self, calendar: PeakCalendar) -> None:
        while True:
            await asyncio.sleep(CALENDAR_PERIOD_S)
            await self._read_calendar(calendar)

    async def _read_calendar(self, calendar: PeakCalendar) -> None:
        """A file that cannot be used leaves the last good one in force. A disk that does not answer is waited
        for in one thread only."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().run_in_executor(None, calendar.read)
        done, _ = await asyncio.wait([self._reading], timeout=CALENDAR_TIMEOUT_S)
        try:
            if not done:
                raise CalendarError(f"{calendar.path}: no answer within {CALENDAR_TIMEOUT_S:g} s")
            read, self._reading = self._reading, None
            self._hours = read.result()
        except CalendarError as error:
            if str(error) != calendar.trouble:
                calendar.trouble = str(error)
                self._log.error("peak_calendar_refused", why=str(error), kept=len(self._hours))
        else:
            if calendar.trouble:
                self._log.info("peak_calendar_back", hours=len(self._hours))
            calendar.trouble = ""

    def _thresholds(self) -> tuple[Threshold, ...]:
        return (*self._prices, *(rule for rule, _ in self._frequencies))

    def _own_events(self) -> tuple[GridEvent, ...]:
        return ledger.events(self._book.ledger, self._utc())

    def _measured(self) -> Measured:
        return self._measured_now

    def _settled(self, verdict: Verdict) -> None:
        before, self._in_force = self._in_force, self._own_events()
        if self._in_force != before:
            self._wake()


def price_now(inputs: Inputs) -> float:
    """The price in force: of operators the lowest priority number, then the newest; else the site file's."""
    prices = [
        (event.priority, -event.version_utc_s, event.id, signal.usd_per_kwh)
        for event in inputs.events
        for piece in event.intervals
        if piece.start_utc_s <= inputs.utc_s < piece.end_utc_s
        for signal in piece.signals
        if isinstance(signal, PriceSignal)
    ]
    return min(prices)[3] if prices else inputs.prices.usd_per_kwh
