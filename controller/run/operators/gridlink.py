"""The grid operator's line into the daemon: events in, acknowledgements and telemetry out.

It joins the connection, the codec and the ledger. It never commands a device: it wakes the loop, which
reads `events` and `state` and decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import structlog

from controller.domain.eventnames import named
from controller.domain.grid import GridEvent, Link
from controller.domain.power import Power
from controller.grid import advancing, ledger, observing
from controller.grid import skew as skews
from controller.grid.dialects import DialectName, Heard
from controller.grid.dsxenforcement import Enforcement
from controller.grid.keeping import Effect, Verdict
from controller.grid.loadtargets import LoadTargets, receive_targets
from controller.grid.observing import Said
from controller.grid.results import Accepted, Cancelled, Heartbeat, Reason, Rejected, Snapshot
from controller.grid.site import UNMEASURED, Measured, SiteReport
from controller.grid.zerohundred import FIRST, ZeroHundred
from controller.run.board import LinkStats
from controller.run.clock import elapsed_s
from controller.run.journal.store import EventStore
from controller.run.operators.births import first_birth
from controller.run.operators.gridbook import GridBook, Pending
from controller.run.operators.gridconfig import GridConfig
from controller.run.operators.gridsession import GridSession, Publish
from controller.run.operators.gridspeech import dialect_of
from controller.run.operators.hearing import Hearing
from controller.run.operators.shelf import Shelf
from controller.run.operators.speaking import Speaking
from controller.run.operators.troubles import Troubles
from controller.run.operators.watching import Watched
from controller.run.operators.words import changes, of_operator
from drivers.cancellation import until_told

WATCH_PERIOD_S = 0.5
COUNTED = ("received", "refused", "enforcements")


class GridLink:
    """`await restore()` before the first tick, `run()` as a task of the daemon, `observe()` on every tick."""

    def __init__(
        self,
        config: GridConfig,
        store: EventStore,
        *,
        nameplate: Power,
        utc: Callable[[], float],
        wake: Callable[[], None],
        session: type[GridSession] = GridSession,
        nodes: Iterable[str] = (),
        observes: bool = False,
    ) -> None:
        self.name = config.name
        self.rights = config.rights
        self._config = config
        self._store = store
        self._utc = utc
        self._wake = wake
        self._dialect = dialect_of(config, nameplate=nameplate, nodes=nodes, utc_s=utc(), observes=observes)
        self._log = structlog.get_logger("grid").bind(ven=config.ven, **self._named())
        shelf = Shelf(store, self.name)
        quiet = config.dialect is DialectName.BASE_POINT
        self._book = GridBook(
            shelf,
            utc=self._book_utc,
            measured=self._measured,
            settled=self._settled,
            quiet=quiet,
            operator=self.name,
        )
        self._watched = Watched.by(self._book, of_stream=quiet) if observes else None
        backlog = config.telemetry_backlog
        self._speaking = Speaking(self._dialect, self._book, backlog=backlog, utc=utc, log=self._log)
        self._sessions = tuple(
            session(
                broker,
                subscriptions=self._dialect.subscriptions,
                standing=self._dialect.standing,
                read=partial(self._arrived, at),
                write=self._speaking.write_all if at == FIRST else _only_listen,
                utc=utc,
            )
            for at, broker in enumerate(config.brokers())
        )
        self._in_force: tuple[GridEvent, ...] = ()
        self._hearing = Hearing(
            beats=self._dialect.beats,
            timeout_s=config.heartbeat_timeout_s,
            began_utc_s=utc() - config.snapshot_max_age_s,
            wake=wake,
            log=self._log,
        )
        self._site: SiteReport | None = None
        self._counts = dict.fromkeys(COUNTED, 0)
        self._restored = False
        self._troubles = Troubles(self._log)
        self._not_followed: set[str] = set()

    @property
    def state(self) -> Link:
        return self._hearing.link

    @property
    def settling(self) -> bool:
        return self._book.settling

    @property
    def events(self) -> tuple[GridEvent, ...]:
        """The events in force or to come: accepted, durable, not cancelled, not over; where the site is only
        observed, those that would be. They have the names that the site has for them, and times of our own
        clock, as far as it is known how it differs from the operator's."""
        held = self._own_events() if self._watched is None else self._watched.events(self._book_utc())
        return tuple(self._marked(skews.moved(event, self._hearing.skew)) for event in held)

    @property
    def _is_connected(self) -> bool:
        return any(session.connected for session in self._sessions)

    @property
    def stats(self) -> LinkStats:
        return LinkStats(
            connected=self._is_connected,
            connects=sum(session.connects for session in self._sessions),
            received=self._counts["received"],
            refused=self._counts["refused"],
            overflowed=self._book.overflowed,
            acks_sent=self._speaking.acks,
            telemetry_sent=self._speaking.letters,
            telemetry_dropped=self._speaking.dropped,
            oversized=self._speaking.oversized,
            untold=self._speaking.untold,
            store_failures=self._book.store_failures,
            operator_behind_s=self._hearing.behind_s,
            enforcements=self._counts["enforcements"],
        )

    async def restore(self) -> None:
        """Take up what the store holds: what was accepted before a crash still holds after it."""
        if not self._restored:
            await self._book.restore()
            if self._dialect.standing(online=False, birth=0, at_utc_s=self._utc()) is not None:
                birth = await first_birth(self._store, self.name, self._utc())
                for session in self._sessions:
                    session.begin_at(birth)
            self._restored = True
            self._dialect.restored(self._book.ledger, self._utc())
            if self._watched is not None:
                self._watched.begin(self._book.ledger, self._book_utc())
                self._book.put("withdraw", Pending(change=observing.withdrawn))
            self._in_force = self._own_events()
            self._log.info("grid_restored", in_force=len(self._in_force))

    async def run(self) -> None:
        """Hold the link. Ends only by cancellation, or by `StoreError` if nothing can be restored."""
        await self.restore()
        async with asyncio.TaskGroup() as group:
            for session in self._sessions:
                group.create_task(until_told(session.run))
            group.create_task(until_told(self._book.run))
            group.create_task(until_told(self._watch))

    def observe(self, report: SiteReport) -> None:
        """The loop's word on this tick. Never blocks: whatever has to be told is queued."""
        self._site = report = of_operator(report, self.name)
        held = self._book.ledger
        told = replace(report, foreseen=tuple(advancing.as_told(held, report.foreseen)))
        for letter in self._dialect.observed(self._own_events(), told):
            self._speaking.post(letter, connected=self._is_connected)
        for key, pending in changes(held, report):
            self._book.put(key, pending)

    def _arrived(self, broker: int, topic: str, payload: bytes, retained: bool) -> None:
        """One message from a broker, on any topic and of any content."""
        self._counts["received"] += 1
        name = topic.removeprefix(self._config.prefix)
        now_utc_s = self._utc()
        if isinstance(self._dialect, ZeroHundred):
            found = self._dialect.read_by(broker, name, payload, now_utc_s)
        else:
            found = self._dialect.read(name, payload, retained=retained, now_utc_s=now_utc_s)
        for heard in found:
            self._take(heard, now_utc_s)

    def _take(self, heard: Heard, now_utc_s: float) -> None:
        if self._watched is None:
            self._put(heard.kind, heard.result, now_utc_s)
            return
        before = self.events
        self._watched.hear(heard.result, now_utc_s)
        if self.events != before:
            self._wake()
        is_stream = self._config.dialect is DialectName.BASE_POINT
        for said in observing.declined(heard.result, is_stream=is_stream):
            self._put(heard.kind, said, now_utc_s)

    def _put(self, kind: str, result: Said, now_utc_s: float) -> None:
        if isinstance(result, Rejected):
            self._refused(kind, result)
            if result.id is not None:
                self._book.put(result, Pending(change=partial(ledger.receive, result=result)))
            return
        self._troubles.readable(kind, elapsed_s())
        match result:
            case Accepted() | Cancelled():
                self._book.put(result, Pending(change=partial(ledger.receive, result=result)))
            case Snapshot():
                change = partial(ledger.receive_snapshot, snapshot=result)
                self._book.put(result, Pending(change=change, then=partial(self._hearing.listed, result)))
            case LoadTargets():
                self._book.put(result, Pending(change=partial(receive_targets, message=result)))
            case Enforcement():
                self._enforced(result)
            case Heartbeat():
                self._hearing.beat(result, now_utc_s)

    def _enforced(self, done: Enforcement) -> None:
        """Somebody else moved our machines: people have to know, and why."""
        self._counts["enforcements"] += 1
        log = self._log.warning if done.code == "success" else self._log.error
        log(
            "grid_enforcement",
            breach=done.breach,
            feed=done.feed,
            action=done.action,
            code=done.code,
            applied=done.applied,
            failed=" ".join(done.failed),
            detail=done.detail,
        )

    def _book_utc(self) -> float:
        """What is over, and was told so, is so by the operator's clock where ours is ahead."""
        return self._utc() - self._hearing.skew.late_s

    def _own_events(self) -> tuple[GridEvent, ...]:
        """Those that were accepted, and are told of. A site that is only observed does nothing for any."""
        held = ledger.events(self._book.ledger, self._book_utc())
        return held if self._watched is None else tuple(event for event in held if not event.asks)

    def _marked(self, event: GridEvent) -> GridEvent:
        name = named(self.name, event.id)
        if self.name:
            return replace(event, id=name, source=self.name, operator=self.name)
        return event if name == event.id else replace(event, id=name)

    def _named(self) -> dict[str, str]:
        return {"operator": self.name} if self.name else {}

    def _settled(self, verdict: Verdict) -> None:
        """The ledger moved: wake the loop if that changes what holds."""
        self._counts["refused"] += verdict.effect is Effect.FULL
        if verdict.acks:
            self._speaking.look()
        before, self._in_force = self._in_force, self._own_events()
        if self._in_force != before:
            self._wake()

    def _measured(self) -> Measured:
        return UNMEASURED if self._site is None else self._site.measured

    async def _watch(self) -> None:
        """Notice silence, and close what is over."""
        while True:
            now_utc_s = self._utc()
            for heard in self._dialect.passed(now_utc_s):
                self._take(heard, now_utc_s)
            self._hearing.passes(now_utc_s - self._config.snapshot_max_age_s)
            if not self._dialect.beats:
                is_alive = partial(self._dialect.is_alive, now_utc_s)
                self._hearing.look(is_alive, is_connected=self._is_connected)
            self._book.put("settle", Pending(change=ledger.settle))
            await asyncio.sleep(WATCH_PERIOD_S)

    def _refused(self, kind: str, rejected: Rejected) -> None:
        """Count every message that cannot be used. One that names its event is logged with that event. What
        is not followed could have been used."""
        if rejected.reason is Reason.OBSERVED:
            if rejected.id is None and kind not in self._not_followed:
                self._not_followed.add(kind)
                self._log.info("grid_not_followed", kind=kind, detail=rejected.detail)
            return
        self._counts["refused"] += 1
        if rejected.id is None:
            self._troubles.refused(kind, rejected, elapsed_s())


async def _only_listen(publish: Publish) -> None:
    """Everything is said on the first connection."""
    await asyncio.Event().wait()
