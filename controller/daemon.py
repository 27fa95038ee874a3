"""Puts the running controller together: settings in, one group of tasks out, until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Protocol

import structlog

from controller.assembly import (
    control_socket,
    grid_side,
    journal_of,
    live_baselines,
    machines_of,
    nameplate,
    operator_links,
    own_rules,
    price_book,
    recording_of,
)
from controller.config import ConfigError, Settings, fleet
from controller.domain.devices import DeviceSpec
from controller.domain.site import Mode
from controller.plausibility import doubts
from controller.run.api import Api, ApiError
from controller.run.board import Board
from controller.run.clock import Clock
from controller.run.garbage import Garbage, leave_it
from controller.run.handover import Handover
from controller.run.journal.journal import JournalError
from controller.run.journal.store import NotKept, StoreError
from controller.run.keptcuts import KeptCuts
from controller.run.loop import Loop
from controller.run.metrics.site import render
from controller.run.notify import Notifier
from controller.run.operators.control import ControlError
from controller.run.operators.gridsession import GridSession
from controller.run.privilege import keep_from_children
from controller.run.recording.recording import NotRecorded
from controller.run.sitelock import LockedError, site_lock
from drivers.cancellation import until_told
from drivers.observed import observed
from drivers.outside import Outside
from drivers.registry import Fleet

log = structlog.get_logger()

NOTES_WITHIN_S = 5.0
LEAST_TICKS = 3
"""So many are to have room in the time of the watchdog: a late one is no stuck loop."""


class Running(Protocol):
    """What has a life of its own, as long as the controller's."""

    async def run(self) -> None: ...


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
    asyncio.get_running_loop().set_default_executor(Outside())
    clock = clock or Clock()
    board = Board(site=settings.site(), version=version("wattshift"), started_utc_s=clock.utc_s())
    api = Api(
        board=board,
        host=settings.api.host,
        port=settings.api.port,
        metrics=lambda detail: render(board, detail=detail, dcgm=settings.api.dcgm_names),
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
    if notifier.watchdog_s <= settings.policy.tick_s:
        raise ConfigError(_too_slow(settings, notifier))
    journal = journal_of(settings, clock)
    await journal.open()
    handover = Handover(board, clock)
    recording = recording_of(settings, board) if settings.journal.record else None
    try:
        wake = asyncio.Event()
        machines = machines_of(floor, clock, board, journal)
        most = nameplate(board.site, machines.specs)
        prices = price_book(settings, floor, clock, board)
        links = operator_links(settings, clock, journal, board.site, most, wake, session)
        own = own_rules(settings, clock, journal, wake)
        board.details, board.operators = machines.details, tuple(links)
        board.journal = lambda: journal.stats
        for operator in (*links, own):
            if operator is not None:
                await operator.restore()
        kept = NotKept() if board.site.policy.observes else journal
        await cuts.restore(kept)
        await handover.restore(kept)
        baselines = live_baselines(settings, clock)
        control = control_socket(settings, own, board.site, machines, clock)
        loop = Loop(
            site=board.site,
            clock=clock,
            machines=machines,
            grid=grid_side(settings, links, own, journal, baselines),
            journal=journal,
            recorder=recording or NotRecorded(),
            board=board,
            notifier=notifier,
            wake=wake,
            prices=prices,
            tidy=tidy,
            state=handover.state(),
        )
        if control is not None:
            await control.start()
        _say_started(settings, board, machines.specs, notifier, api_port)
        parts = (journal, recording, machines, cuts, handover, prices, loop, *links, own, baselines)
        try:
            await _live([part for part in parts if part is not None], notifier, settings.name)
        finally:
            notifier.stopping()
            if control is not None:
                await control.stop()
    finally:
        try:
            await note_last(cuts, handover)
        finally:
            await put_away(journal, recording)


def _say_started(
    settings: Settings, board: Board, specs: Sequence[DeviceSpec], notifier: Notifier, api_port: int
) -> None:
    for doubt in doubts(settings, specs):
        log.warning("site_file_doubtful", doubt=doubt)
    if notifier.watchdog_s < LEAST_TICKS * settings.policy.tick_s:
        log.warning("site_file_doubtful", doubt=_too_slow(settings, notifier))
    mode = board.site.policy.mode.value
    log.info("started", site=settings.name, devices=len(specs), api_port=api_port, mode=mode)


def _too_slow(settings: Settings, notifier: Notifier) -> str:
    """A finished tick feeds the watchdog, and nothing else does."""
    return (
        f"policy.tick_s {settings.policy.tick_s:g}: the service manager ends a controller of which no tick "
        f"finishes within {notifier.watchdog_s:g} s: WatchdogSec of the unit is to be above three times "
        "tick_s"
    )


async def _live(parts: Iterable[Running], notifier: Notifier, site: str) -> None:
    """Until a signal ends them all, or one fails and takes the others with it."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_until_signal())
            for part in parts:
                group.create_task(until_told(part.run))
            notifier.ready()
    except* _StopRequestedError:
        log.info("stopping", site=site)


async def note_last(*notes: Closing) -> None:
    """What the next process is to know, as far as the disk takes it in time: the journal's own end has a
    deadline after this one, and the service manager waits for both."""
    try:
        async with asyncio.timeout(NOTES_WITHIN_S):
            for note in notes:
                await note.close()
    except TimeoutError:
        log.warning("notes_not_written", why=f"no answer within {NOTES_WITHIN_S:g} s")


async def put_away(journal: Closing, recording: Closing | None) -> None:
    """Evidence first: whoever waits for our end may not wait for a recording that takes its time, and one
    that cannot be closed must not take the journal's last entries with it."""
    try:
        await journal.close()
    finally:
        if recording is not None:
            await recording.close()


def _make_queue_directories(settings: Settings) -> None:
    """A submitter may come before the first job: whoever asks finds the queue, and it is the daemon's."""
    for queue in settings.queues:
        try:
            queue.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"queue {queue.id!r}: {error}") from error


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
