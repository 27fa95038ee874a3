"""The parts of a running controller, each made of its tables of the site file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from controller.config import ConfigError, Settings
from controller.domain.devices import DeviceSpec, Outcome, SetPoint
from controller.domain.jobs import JobCommand
from controller.domain.power import Limit, Power, total
from controller.domain.site import Mode, Site
from controller.grid.dialects import DialectName
from controller.run.board import Board
from controller.run.clock import Clock
from controller.run.devices import Machines, outcome_name
from controller.run.devicetask import Polling
from controller.run.journal.journal import Journal
from controller.run.journal.store import NotKept
from controller.run.loop import GridSide, Islanded
from controller.run.operators.control import Control
from controller.run.operators.gridconfig import GridConfig, OperatorConfig
from controller.run.operators.gridlink import GridLink
from controller.run.operators.gridsession import GridSession
from controller.run.operators.gridside import LinkedGrid
from controller.run.operators.ownrules import OwnRules
from controller.run.operators.triggerconfig import TriggersTable
from controller.run.prices import PriceBook
from controller.run.recording.recording import Recording, recording_path
from controller.run.settling.baselines import Agreement
from controller.run.settling.livebaseline import LiveBaselines
from drivers import registry
from drivers.registry import Fleet


def journal_of(settings: Settings, clock: Clock) -> Journal:
    return Journal(
        settings.journal.path,
        settings.journal.keep_days,
        clock.utc_s,
        usage_keep_days=settings.journal.usage_keep_days,
        events_keep_days=settings.journal.events_keep_days,
        archive=settings.journal.archive,
        reading_holds_s=settings.policy.meter_stale_after_s,
    )


def recording_of(settings: Settings, board: Board) -> Recording:
    return Recording(
        recording_path(settings.journal.path),
        site=board.site,
        program=board.version,
        keep_days=settings.journal.record_keep_days,
        max_mb=settings.journal.record_max_mb,
    )


def grid_side(
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
        holds_s=settings.policy.meter_stale_after_s,
        observes=settings.controller.mode is Mode.OBSERVE,
    )


def operator_links(
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


def own_rules(settings: Settings, clock: Clock, journal: Journal, wake: asyncio.Event) -> OwnRules | None:
    """The site's own rules and people, where it has any. What trips in a site that is only observed is shown,
    and was no event."""
    if settings.control is None and settings.triggers is None:
        return None
    table = settings.triggers or TriggersTable()
    store = NotKept() if settings.controller.mode is Mode.OBSERVE else journal
    return OwnRules(table, store, utc=clock.utc_s, wake=wake.set)


def live_baselines(settings: Settings, clock: Clock) -> LiveBaselines | None:
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


def control_socket(
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


def machines_of(floor: Fleet, clock: Clock, board: Board, journal: Journal) -> Machines:
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


def price_book(settings: Settings, floor: Fleet, clock: Clock, board: Board) -> PriceBook:
    return PriceBook(
        ladders=settings.ladders(),
        sources=[(source, _polling(polled)) for source, polled in floor.prices],
        clock=clock,
        troubles=board.price_troubles,
    )


def _polling(polled: registry.Polled) -> Polling:
    return Polling(every_s=polled.every_s, deadline_s=polled.deadline_s)
