"""The grid operator's line into the daemon: events in, acknowledgements and telemetry out.

It joins the connection, the codec and the ledger. It never commands a device: it wakes the loop, which
reads `events` and `state` and decides.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from controller.domain.grid import GridEvent, Link
from controller.domain.power import Power
from controller.grid import ledger, liveness, telemetry
from controller.grid.entries import Ack
from controller.grid.ledger import Verdict
from controller.grid.liveness import Liveness
from controller.grid.openadr import parse_heartbeat, parse_notification, parse_snapshot
from controller.grid.reports import Report, Sender, ack_report, telemetry_report
from controller.grid.results import Contract, Heartbeat, Rejected, Snapshot
from controller.grid.site import UNMEASURED, Measured, SiteReport
from controller.run.gridbook import EventStore, GridBook, Pending, unsent_but
from controller.run.gridsession import GridConfig, GridSession, Publish

WATCH_PERIOD_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStats:
    """Counted since the process began. `operator_behind_s` is our clock minus the operator's."""

    connected: bool
    connects: int
    received: int
    refused: int
    overflowed: int
    acks_sent: int
    telemetry_sent: int
    telemetry_dropped: int
    store_failures: int
    operator_behind_s: float


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
    ) -> None:
        self._config = config
        self._utc = utc
        self._wake = wake
        self._sender = Sender(client_id=config.client_id, ven=config.ven)
        self._contract = Contract(
            ven=config.ven,
            nameplate=nameplate,
            names=frozenset(config.names),
            report_every_s=config.report_period_s,
            ramp_deadline_s=config.ramp_deadline_s,
        )
        self._session = session(config, read=self._arrived, write=self._write_all, utc=utc)
        self._book = GridBook(store, utc=utc, measured=self._measured, settled=self._settled)
        self._in_force: tuple[GridEvent, ...] = ()
        floor_utc_s = utc() - config.snapshot_max_age_s
        self._liveness = Liveness(timeout_s=config.heartbeat_timeout_s, floor_utc_s=floor_utc_s)
        self._behind_s = 0.0
        self._site: SiteReport | None = None
        self._windows = telemetry.NO_WINDOWS
        self._telemetry: deque[Report] = deque(maxlen=config.telemetry_backlog)
        self._has_mail = asyncio.Event()
        self._published: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._counts = dict.fromkeys(("received", "refused", "acks", "telemetry", "dropped"), 0)
        self._restored = False
        self._log = structlog.get_logger("grid").bind(ven=config.ven)

    @property
    def state(self) -> Link:
        return self._liveness.link

    @property
    def events(self) -> tuple[GridEvent, ...]:
        """The events in force or to come: accepted, durable, not cancelled, not over."""
        return ledger.events(self._book.ledger, self._utc())

    @property
    def stats(self) -> LinkStats:
        return LinkStats(
            connected=self._session.connected,
            connects=self._session.connects,
            received=self._counts["received"],
            refused=self._counts["refused"],
            overflowed=self._book.overflowed,
            acks_sent=self._counts["acks"],
            telemetry_sent=self._counts["telemetry"],
            telemetry_dropped=self._counts["dropped"],
            store_failures=self._book.store_failures,
            operator_behind_s=self._behind_s,
        )

    async def restore(self) -> None:
        """Take up what the store holds: what was accepted before a crash still holds after it."""
        if not self._restored:
            await self._book.restore()
            self._restored = True
            self._in_force = self.events
            self._log.info("grid_restored", in_force=len(self._in_force))

    async def run(self) -> None:
        """Hold the link. Ends only by cancellation, or by `StoreError` if nothing can be restored."""
        await self.restore()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._session.run())
            group.create_task(self._book.run())
            group.create_task(self._watch())

    def observe(self, report: SiteReport) -> None:
        """The loop's word on this tick. Never blocks: whatever has to be told is queued."""
        self._site = report
        self._windows, averages = telemetry.observe(self._windows, self.events, report)
        for average in averages:
            self._counts["dropped"] += len(self._telemetry) == self._telemetry.maxlen
            self._telemetry.append(telemetry_report(self._sender, average))
            self._has_mail.set()
        for progress in report.progress:
            entry = self._book.ledger.entries.get(progress.event)
            if entry is not None and progress.status not in entry.told:
                change = partial(ledger.advance, progress=progress)
                self._book.put(progress, Pending(change=change))

    def _arrived(self, topic: str, payload: bytes, retained: bool) -> None:
        """One message from the broker, on any topic and of any content."""
        self._counts["received"] += 1
        ours = ["events", "vens", self._config.ven]
        match topic.removeprefix(self._config.prefix).split("/"):
            case ["heartbeat", "vtn"] if not retained:  # a retained one was true once, not now
                self._heartbeat(payload)
            case [*where, "snapshot"] if where == ours:
                self._snapshot(payload)
            case [*where, "create" | "update" | "delete"] if where == ours:
                self._notification(payload)

    def _notification(self, payload: bytes) -> None:
        result = parse_notification(payload, contract=self._contract, now_utc_s=self._utc())
        if isinstance(result, Rejected):
            self._refused("event", result)
            if result.id is None:
                return
        else:
            self._readable("event")
        self._book.put(result, Pending(change=partial(ledger.receive, result=result)))

    def _snapshot(self, payload: bytes) -> None:
        match parse_snapshot(payload, contract=self._contract, now_utc_s=self._utc()):
            case Rejected() as rejected:
                self._refused("snapshot", rejected)
            case Snapshot() as snapshot:
                self._readable("snapshot")
                change = partial(ledger.receive_snapshot, snapshot=snapshot)
                self._book.put(snapshot, Pending(change=change, then=partial(self._listed, snapshot)))

    def _heartbeat(self, payload: bytes) -> None:
        now_utc_s = self._utc()
        match parse_heartbeat(payload, now_utc_s=now_utc_s):
            case Rejected() as rejected:
                self._refused("heartbeat", rejected)
            case Heartbeat() as beat:
                self._readable("heartbeat")
                self._behind_s = now_utc_s - beat.utc_s
                self._judged(liveness.heard(self._liveness, beat, _elapsed_s()))

    def _listed(self, snapshot: Snapshot) -> None:
        self._judged(liveness.listed(self._liveness, snapshot, _elapsed_s()))

    def _judged(self, now: Liveness) -> None:
        before, self._liveness = self._liveness, now
        if now.link is not before.link:
            log = self._log.warning if now.link is Link.LOST else self._log.info
            log("grid_link", state=now.link.value)
            self._wake()

    def _settled(self, verdict: Verdict) -> None:
        """The ledger moved: wake the loop if that changes what holds."""
        if verdict.acks:
            self._has_mail.set()
        before, self._in_force = self._in_force, self.events
        if self._in_force != before:
            self._wake()

    def _measured(self) -> Measured:
        return UNMEASURED if self._site is None else self._site.measured

    async def _write_all(self, publish: Publish) -> None:
        """Send what there is to say, acknowledgements first, for as long as this connection lasts."""
        topic = self._config.topic(f"reports/vens/{self._config.ven}/create")
        while True:
            self._has_mail.clear()
            ack = unsent_but(self._book.ledger, self._published)
            if ack is not None:
                await publish(topic, ack_report(self._sender, ack).payload)
                self._counts["acks"] += 1
                self._published.add(ack.id)
                pending = Pending(change=partial(ledger.confirm, ack=ack), then=partial(self._confirmed, ack))
                self._book.put(("confirm", ack.id), pending)
            elif self._telemetry:
                report = self._telemetry[0]
                await publish(topic, report.payload)
                self._counts["telemetry"] += 1
                if self._telemetry and self._telemetry[0] is report:
                    self._telemetry.popleft()
            else:
                await self._has_mail.wait()

    def _confirmed(self, ack: Ack) -> None:
        self._published.discard(ack.id)
        self._has_mail.set()

    async def _watch(self) -> None:
        """Notice silence, and close what is over."""
        while True:
            self._judged(liveness.at(self._liveness, _elapsed_s()))
            self._book.put("settle", Pending(change=ledger.settle))
            await asyncio.sleep(WATCH_PERIOD_S)

    def _refused(self, kind: str, rejected: Rejected) -> None:
        """Count every message that cannot be used, log the first of its sort. One that names its event is
        logged with that event."""
        self._counts["refused"] += 1
        if rejected.id is None and self._troubles.get(kind) != rejected.reason:
            self._troubles[kind] = rejected.reason
            self._log.warning("grid_unreadable", kind=kind, why=rejected.reason.value, detail=rejected.detail)

    def _readable(self, kind: str) -> None:
        if self._troubles.pop(kind, None) is not None:
            self._log.info("grid_readable_again", kind=kind)


def _elapsed_s() -> float:
    return asyncio.get_running_loop().time()
