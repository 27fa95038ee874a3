"""`wattshift report`: the evidence of one event, as people and programs want it, from the journal alone."""

from __future__ import annotations

import math
import os
import re
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from controller.config import Settings
from controller.curtail import CurtailError, seconds_of
from controller.domain.power import Power
from controller.domain.site import Policy
from controller.grid.reports import Sender
from controller.reporttable import listing, tables
from controller.run import history as reading
from controller.run.audit import AuditError, audit
from controller.run.baselines import OWN, Agreement
from controller.run.gathering import Question, gather, known_events
from controller.run.gridconfig import GridConfig
from controller.run.history import EventRow, History, HistoryError
from controller.settlement.course import CourseError
from controller.settlement.evidence import NOT_CHECKED, Audit, Evidence
from controller.settlement.methods import FirmServiceLevel, MeterBefore, Method
from controller.settlement.openadr import as_openadr
from controller.settlement.page import as_html
from controller.settlement.performance import PerformanceError
from controller.settlement.records import as_csv, as_json
from controller.settlementtable import DAY_S, SettlementTable

OPENADR_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    OPENADR = "openadr"
    HTML = "html"


class ReportError(Exception):
    """The report cannot be made; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The options of the command as they were given: a site file, a journal, or both."""

    event: str | None
    settings: Settings | None
    journal: Path | None
    operator: str | None = None
    version: str | None = None
    baseline: str | None = None
    interval: str | None = None
    node: str | None = None
    time_zone: str | None = None
    verify: bool = False
    format: Format = Format.TABLE
    out: Path | None = None


def run(wish: Wish, console: Console) -> None:
    """Print the report, or write it to a file whole or not at all. Without an event, list those known."""
    try:
        with reading.opened(_journal(wish)) as history:
            if wish.event is None:
                console.print(listing(known_events(history)))
                return
            evidence = gather(history, question_of(wish, history), _audited(wish))
    except (AuditError, CourseError, HistoryError, PerformanceError) as error:
        raise ReportError(str(error)) from error
    if wish.format is Format.TABLE and wish.out is None:
        for part in tables(evidence):
            console.print(part)
        return
    text = _text(wish, evidence)
    if wish.out is None:
        console.file.write(text)
    else:
        _write(wish.out, text)


def question_of(wish: Wish, history: History) -> Question:
    """`ReportError` names the option that cannot be meant."""
    event = _full_id(wish, history)
    operator = event.rpartition(":")[0]
    settings = wish.settings
    table = settings.settlement if settings is not None else SettlementTable()
    if wish.time_zone is not None:
        try:
            table = SettlementTable(**{**table.model_dump(), "time_zone": wish.time_zone})
        except ValueError:
            raise ReportError(f"--time-zone {wish.time_zone}: no such time zone") from None
    config = _config_of(settings, operator)
    interval_s = _interval_s(wish.interval, table.interval_s)
    policy = settings.policy.policy() if settings is not None else Policy()
    node = wish.node or (settings.nodes[0].id if settings is not None else _only_node(history))
    return Question(
        event=event,
        agreement=Agreement(
            method=_method(wish.baseline, table, config),
            calendar=table.calendar(table.baseline_interval_s),
            node=node,
            meter_holds_s=policy.meter_stale_after_s,
        ),
        terms=table.terms(interval_s, None if config is None else config.firm_service_level_kw),
        calendar=table.calendar(interval_s),
        now_utc_s=time.time(),
        version_utc_s=_version(wish.version),
        site=settings.name if settings is not None else _journal(wish).stem,
        zone_name=table.zone.key,
        program=version("wattshift"),
        lead_s=policy.event_lead_s,
        stream_priorities={} if settings is None else _priorities(settings),
    )


def _priorities(settings: Settings) -> dict[str, int]:
    tables = {table.id: table for table in settings.operators} | (
        {"": settings.grid} if settings.grid is not None else {}
    )
    return {name: table.priority for name, table in tables.items()}


def _text(wish: Wish, evidence: Evidence) -> str:
    match wish.format:
        case Format.CSV:
            return as_csv(evidence)
        case Format.JSON:
            return as_json(evidence)
        case Format.HTML:
            return as_html(evidence)
        case Format.OPENADR:
            return as_openadr(evidence, _sender(wish, evidence.course.operator))
        case Format.TABLE:
            console = Console(markup=False, emoji=False, highlight=False, width=160, color_system=None)
            with console.capture() as captured:
                for part in tables(evidence):
                    console.print(part)
            return captured.get()


def _sender(wish: Wish, operator: str) -> Sender:
    if operator == OWN:
        raise ReportError("--format openadr: an event of the site's own has no operator to be told")
    config = _config_of(wish.settings, operator)
    if config is None:
        raise ReportError("--format openadr needs the site file: it names the site at its operator")
    assert wish.event is not None
    if OPENADR_ID.fullmatch(wish.event.rpartition(":")[2]) is None:
        raise ReportError(f"--format openadr: {wish.event} is no id that an event of OpenADR can have")
    return Sender(client_id=config.client_id, ven=config.ven)


def _audited(wish: Wish) -> Audit:
    """The whole chain, which takes a while; else nothing is said of it."""
    if not wish.verify:
        return NOT_CHECKED
    found = audit(_journal(wish))
    verdict = "verified" if found.is_verified else "broken"
    detail = (
        f"{found.seals} seals" if found.is_verified else f"{found.fault_count} faults: see wattshift audit"
    )
    return Audit(verdict=verdict, head="" if found.last is None else str(found.last), detail=detail)


def _journal(wish: Wish) -> Path:
    if wish.journal is not None:
        return wish.journal
    if wish.settings is None:
        raise ReportError("a site file or --journal is needed")
    return wish.settings.journal.path


def _full_id(wish: Wish, history: History) -> str:
    """The event as plans and metrics name it. An id that only one operator used needs no operator's name."""
    assert wish.event is not None
    if wish.operator is not None:
        prefix = "" if wish.operator in ("", "grid") else f"{wish.operator}:"
        return wish.event if prefix and wish.event.startswith(prefix) else f"{prefix}{wish.event}"
    if history.event(wish.event):
        return wish.event
    named = sorted(_named_alike(wish.event, history))
    if len(named) > 1:
        raise ReportError(f"{wish.event}: of several operators; say one of {', '.join(named)}")
    return named[0] if named else wish.event


def _named_alike(event: str, history: History) -> set[str]:
    rows: list[EventRow] = [row for row, _ in known_events(history) if row.event == event]
    return {row.id for row in rows}


def _config_of(settings: Settings | None, operator: str) -> GridConfig | None:
    if settings is None or operator == OWN:
        return None
    if not operator:
        return settings.grid
    return next((table for table in settings.operators if table.id == operator), None)


def _method(name: str | None, table: SettlementTable, config: GridConfig | None) -> Method:
    """The one that is asked for, else the contract's, else the one that needs no history."""
    methods = table.methods()
    level_kw = None if config is None else config.firm_service_level_kw
    if level_kw is not None:
        level = FirmServiceLevel(level=Power.kw(level_kw))
        methods[level.name] = level
    wanted = name or (None if config is None else config.baseline) or MeterBefore().name
    if wanted not in methods:
        raise ReportError(f"--baseline {wanted}: one of {', '.join(sorted(methods))}")
    return methods[wanted]


def _interval_s(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        seconds = seconds_of(text)
    except CurtailError:
        seconds = math.nan
    if not seconds >= 1 or seconds != int(seconds) or DAY_S % int(seconds):
        raise ReportError(
            f"--interval {text}: whole seconds that divide a day are needed, such as 60s, 5m or 1h"
        )
    return int(seconds)


def _version(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ReportError(f"--version {text}: a time such as 2026-11-28T14:05:00Z is needed") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _only_node(history: History) -> str:
    """Without a site file: the only metered node there is."""
    nodes = history.nodes()
    if len(nodes) == 1:
        return nodes[0]
    raise ReportError(f"--node is needed without a site file: one of {', '.join(nodes) or 'none is metered'}")


def _write(path: Path, text: str) -> None:
    """Beside it first, so that whoever reads the file sees all of it or none."""
    handle = -1
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(name).chmod(0o640)
        Path(name).replace(path)
    except OSError as error:
        raise ReportError(f"--out {path}: {error}") from error
