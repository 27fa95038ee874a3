"""Puts the running controller together: settings in, one group of tasks out, until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Protocol

import structlog

from controller.config import ConfigError, Settings, fleet
from controller.domain.devices import DeviceSpec, Outcome, SetPoint
from controller.domain.jobs import JobCommand
from controller.domain.power import Limit, Power, total
from controller.domain.site import Mode, Site
from controller.grid.dialects import DialectName
from controller.plausibility import doubts
from controller.run.api import Api, ApiError
from controller.run.board import Board
from controller.run.clock import Clock
from controller.run.devices import Machines, outcome_name
from controller.run.devicetask import Polling
from controller.run.garbage import Garbage, leave_it
from controller.run.journal.journal import Journal, JournalError
from controller.run.journal.store import NotKept, StoreError
from controller.run.keptcuts import KeptCuts
from controller.run.loop import GridSide, Islanded, Loop
from controller.run.metrics.site import render
from controller.run.notify import Notifier
from controller.run.operators.control import Control, ControlError
from controller.run.operators.gridconfig import GridConfig, OperatorConfig
from controller.run.operators.gridlink import GridLink
from controller.run.operators.gridsession import GridSession
from controller.run.operators.gridside import LinkedGrid
from controller.run.operators.ownrules import OwnRules
from controller.run.operators.triggerconfig import TriggersTable
from controller.run.prices import PriceBook
from controller.run.privilege import keep_from_children
from controller.run.recording.recording import NotRecorded, Recording, recording_path
from controller.run.settling.baselines import Agreement
from controller.run.settling.livebaseline import LiveBaselines
from controller.run.sitelock import LockedError, site_lock
from drivers import registry
from drivers.observed import observed
from drivers.registry import Fleet

log = structlog.get_logger()


OUTSIDE_THREADS = 64
"""For what blocks and belongs to nobody: looking up names, connecting to brokers, files, what is told over
HTTP. asyncio has six on a small machine, and a share that hangs under six files had all of them."""


class Closing(Protocol):
    """What writes behind, and at the end what is left."""

    async def close(self) -> None: ...


class StartError(Exception):
    """Something outside keeps the controller from starting; the message names it. Another try may help."""


class _StopRequestedError(Exception):
    """SIGTERM or SIGINT: ends the task group in order."""


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises what went wrong otherwise, so that the service manager restarts."""
    keep_from_children()
    try:
        with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
            runner.run(serve(settings, tidy=Garbage().after_tick))
    except (JournalError, StoreError, ApiError, ControlError, LockedError) as error:
        raise StartError(str(error)) from error


async def serve(
    settings: Settings,
    *,
    clock: Clock | None = None,
    floor: Fleet | None = None,
    session: type[GridSession] = GridSession,
    tidy: Callable[[], None] = leave_it,
) -> None:
    """Run until a signal. A simulation has a clock and a line to the operator of its own, and may look over
    the machines that it hands in. `tidy` is called after every tick."""
    _make_queue_directories(settings)
    threads = ThreadPoolExecutor(OUTSIDE_THREADS, thread_name_prefix="outside")
    asyncio.get_running_loop().set_default_executor(threads)
    clock = clock or Clock()
    board = Board(site=settings.site(), version=version("wattshift"), started_utc_s=clock.utc_s())
    api = Api(
        board=board,
        host=settings.api.host,
        port=settings.api.port,
        metrics=lambda: render(board, dcgm=settings.api.dcgm_names),
    )
    port = await api.start()
    try:
        with site_lock(settings.journal.path):  # a second controller by mistake has told and written nothing
            cuts = KeptCuts(clock.utc_s)
            floor = floor or fleet(settings, cuts)
            if settings.controller.mode is Mode.OBSERVE:
                floor = observed(floor)
            await _operate(settings, board, clock, floor, cuts, session, tidy, port)
    finally:
        await api.stop()


async def _operate(
    settings: Settings,
    board: Board,
    clock: Clock,
    floor: Fleet,
    cuts: KeptCuts,
    session: type[GridSession],
    tidy: Callable[[], None],
    api_port: int,
) -> None:
    """The life of a controller whose face to the outside is there already."""
    notifier = Notifier.from_environment()
    journal = Journal(
        settings.journal.path,
        settings.journal.keep_days,
        clock.utc_s,
        usage_keep_days=settings.journal.usage_keep_days,
        events_keep_days=settings.journal.events_keep_days,
        archive=settings.journal.archive,
        reading_holds_s=settings.policy.meter_stale_after_s,
    )
    await journal.open()
    recording = _recording(settings, board) if settings.journal.record else None
    try:
        wake = asyncio.Event()
        machines = _machines(floor, clock, board, journal)
        board.details = machines.details
        prices = PriceBook(
            ladders=settings.ladders(),
            sources=[(source, _polling(polled)) for source, polled in floor.prices],
            clock=clock,
            troubles=board.price_troubles,
        )
        links = _links(
            settings, clock, journal, board.site, nameplate(board.site, machines.specs), wake, session
        )
        board.operators = tuple(links)
        board.journal = lambda: journal.stats
        own = _own(settings, clock, journal, wake)
        for link in links:
            await link.restore()
        if own is not None:
            await own.restore()
        await cuts.restore(NotKept() if board.site.policy.observes else journal)
        baselines = _baselines(settings, clock)
        control = _control(settings, own, board.site, machines, clock)
        loop = Loop(
            site=board.site,
            clock=clock,
            machines=machines,
            grid=_grid(settings, links, own, journal, baselines),
            journal=journal,
            recorder=recording or NotRecorded(),
            board=board,
            notifier=notifier,
            wake=wake,
            prices=prices,
            tidy=tidy,
        )
        if control is not None:
            await control.start()
        for doubt in doubts(settings, machines.specs):
            log.warning("site_file_doubtful", doubt=doubt)
        mode = board.site.policy.mode
        log.info(
            "started", site=settings.name, devices=len(machines.specs), api_port=api_port, mode=mode.value
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_until_signal())
                group.create_task(journal.run())
                if recording is not None:
                    group.create_task(recording.run())
                group.create_task(machines.run())
                group.create_task(cuts.run())
                group.create_task(prices.run())
                group.create_task(loop.run())
                for link in links:
                    group.create_task(link.run())
                if own is not None:
                    group.create_task(own.run())
                if baselines is not None:
                    group.create_task(baselines.run())
                notifier.ready()
        except* _StopRequestedError:
            log.info("stopping", site=settings.name)
        finally:
            notifier.stopping()
            if control is not None:
                await control.stop()
    finally:
        try:
            await cuts.close()
        finally:
            await put_away(journal, recording)


async def put_away(journal: Closing, recording: Closing | None) -> None:
    """Evidence first: whoever waits for our end may not wait for a recording that takes its time, and one
    that cannot be closed must not take the journal's last entries with it."""
    try:
        await journal.close()
    finally:
        if recording is not None:
            await recording.close()


def _recording(settings: Settings, board: Board) -> Recording:
    return Recording(
        recording_path(settings.journal.path),
        site=board.site,
        program=board.version,
        keep_days=settings.journal.record_keep_days,
        max_mb=settings.journal.record_max_mb,
    )


def _make_queue_directories(settings: Settings) -> None:
    """A submitter may come before the first job: whoever asks finds the queue, and it is the daemon's."""
    for queue in settings.queues:
        try:
            queue.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"queue {queue.id!r}: {error}") from error


def _grid(
    settings: Settings,
    links: list[GridLink],
    own: OwnRules | None,
    journal: Journal,
    baselines: LiveBaselines | None,
) -> GridSide:
    if not links and own is None:
        return Islanded()
    return LinkedGrid(
        *links,
        own=own,
        anchor=lambda: journal.anchor,
        baselines=baselines,
        link_changed=lambda operator, lost: journal.operator_link(operator, lost=lost),
        start_grace_s=settings.policy.start_grace_s,
        observes=settings.controller.mode is Mode.OBSERVE,
    )


def _links(
    settings: Settings,
    clock: Clock,
    journal: Journal,
    site: Site,
    most: Power,
    wake: asyncio.Event,
    session: type[GridSession],
) -> list[GridLink]:
    """One link for each operator; `[grid]` is the first."""
    tables: list[GridConfig] = [settings.grid] if settings.grid is not None else []
    nodes = [node.id for node in site.nodes[1:]]
    links = []
    for table in (*tables, *settings.operators):
        name = f"operator {table.id}" if isinstance(table, OperatorConfig) else "grid"
        try:
            link = GridLink(
                table,
                journal,
                nameplate=most,
                utc=clock.utc_s,
                wake=wake.set,
                nodes=nodes,
                session=session,
                observes=site.policy.observes,
            )
        except ValueError as error:  # a certificate or a key that cannot be used
            raise ConfigError(f"{name}: {error}") from error
        links.append(link)
    return links


def _own(settings: Settings, clock: Clock, journal: Journal, wake: asyncio.Event) -> OwnRules | None:
    """The site's own rules and people, where it has any. What trips in a site that is only observed is shown,
    and was no event."""
    if settings.control is None and settings.triggers is None:
        return None
    table = settings.triggers or TriggersTable()
    store = NotKept() if settings.controller.mode is Mode.OBSERVE else journal
    return OwnRules(table, store, utc=clock.utc_s, wake=wake.set)


def _baselines(settings: Settings, clock: Clock) -> LiveBaselines | None:
    agreements = baselines_told(settings)
    return LiveBaselines(settings.journal.path, agreements, clock.utc_s) if agreements else None


def baselines_told(settings: Settings) -> Mapping[str, Agreement]:
    """How the baseline is made for each operator whose contract names one, and whose dialect has a word for
    it: a stream of set-points would ask for one with every set-point."""
    table = settings.settlement
    tables = {"": settings.grid, **{operator.id: operator for operator in settings.operators}}
    return {
        name: Agreement(
            method=table.methods()[operator.baseline],
            calendar=table.calendar(table.baseline_interval_s),
            node=settings.nodes[0].id,
            meter_holds_s=settings.policy.meter_stale_after_s,
        )
        for name, operator in tables.items()
        if operator is not None and operator.baseline is not None and operator.dialect is DialectName.OPENADR
    }


def _control(
    settings: Settings, own: OwnRules | None, site: Site, machines: Machines, clock: Clock
) -> Control | None:
    if settings.control is None or own is None:
        return None
    most = nameplate(site, machines.specs)
    nodes = [node.id for node in site.nodes[1:]]
    return Control(
        settings.control.socket,
        own,
        nodes=nodes,
        most=most,
        utc=clock.utc_s,
        observes=site.policy.observes,
    )


def nameplate(site: Site, specs: Iterable[DeviceSpec]) -> Power:
    """The most a sane limit can name: the site's rating, or without one what all that is on it can draw."""
    if isinstance(site.root.limit, Limit):
        return site.root.limit.power
    return total(spec.ceiling for spec in specs) + total(node.fixed for node in site.nodes)


def _machines(floor: Fleet, clock: Clock, board: Board, journal: Journal) -> Machines:
    def answered(command: SetPoint, outcome: Outcome) -> None:
        board.commands[outcome_name(outcome)] += 1
        journal.answered(command, outcome)

    def job_answered(command: JobCommand, outcome: Outcome) -> None:
        board.job_commands[outcome_name(outcome)] += 1
        journal.job_answered(command, outcome)

    return Machines(
        drivers=[(driver, _polling(polled)) for driver, polled in floor.drivers],
        sensors=[(sensor, _polling(polled)) for sensor, polled in floor.sensors],
        queues=floor.queues,
        clock=clock,
        reads=board.reads,
        answered=answered,
        job_answered=job_answered,
        job_confirmed=journal.job_confirmed,
    )


def _polling(polled: registry.Polled) -> Polling:
    return Polling(every_s=polled.every_s, deadline_s=polled.deadline_s)


async def _until_signal() -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
    raise _StopRequestedError


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop]:
    if not settings.simulation.ports:
        return asyncio.new_event_loop
    from simulators.ports import remap  # a simulated site only

    return remap(settings.simulation.ports)
