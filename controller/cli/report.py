"""`wattshift report`: the evidence of one event, as people and programs want it, from the journal alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, RenderableType

from controller.cli.reportquestion import (
    Format,
    ReportError,
    Wish,
    config_of,
    journal_of,
    question_of,
    refuse_stream,
    stream_question_of,
)
from controller.cli.reporttable import listing, stream_tables, tables
from controller.cli.terminal import show
from controller.cli.wholefile import write_atomically
from controller.domain.eventnames import parted
from controller.grid.reports import Sender
from controller.run.journal import history as reading
from controller.run.journal.audit import AuditError, audit
from controller.run.journal.finding import Audit as Checked
from controller.run.journal.history import HistoryError
from controller.run.settling.baselines import OWN
from controller.run.settling.gathering import gather, known_events
from controller.run.settling.streams import gather_stream
from controller.settlement.course import Course, CourseError
from controller.settlement.evidence import NOT_CHECKED, Audit, Evidence
from controller.settlement.openadr import as_openadr
from controller.settlement.page import as_html
from controller.settlement.performance import PerformanceError
from controller.settlement.records import as_csv, as_json
from controller.settlement.streamevidence import StreamEvidence
from controller.settlement.streampage import stream_html
from controller.settlement.streamrecords import stream_csv, stream_json

OPENADR_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def run(wish: Wish, console: Console) -> None:
    """Print the report, or write it to a file whole or not at all. Without an event, list those known; with a
    span of time, settle the set-points in it."""
    try:
        with reading.opened(journal_of(wish)) as history:
            if wish.event is None:
                show(listing(known_events(history), history.streams()))
                return
            evidence: Evidence | StreamEvidence
            if wish.since is None:
                refuse_stream(wish, history)
                evidence = gather(history, question_of(wish, history), _audited(wish))
            else:
                evidence = gather_stream(history, stream_question_of(wish, history), _audited(wish))
    except (AuditError, CourseError, HistoryError, PerformanceError) as error:
        raise ReportError(str(error)) from error
    if wish.format is Format.TABLE and wish.out is None:
        for part in _tables(evidence):
            show(part)
        return
    text = _text(wish, evidence) if isinstance(evidence, Evidence) else _stream_text(wish, evidence)
    if wish.out is None:
        console.file.write(text)
    else:
        _write(wish.out, text)


def _text(wish: Wish, evidence: Evidence) -> str:
    match wish.format:
        case Format.CSV:
            return as_csv(evidence)
        case Format.JSON:
            return as_json(evidence)
        case Format.HTML:
            return as_html(evidence)
        case Format.OPENADR:
            return as_openadr(evidence, _sender(wish, evidence.course))
        case Format.TABLE:
            return _printed(evidence)


def _stream_text(wish: Wish, evidence: StreamEvidence) -> str:
    match wish.format:
        case Format.CSV:
            return stream_csv(evidence)
        case Format.JSON:
            return stream_json(evidence)
        case Format.HTML:
            return stream_html(evidence)
        case Format.OPENADR:
            raise ReportError("--format openadr: a span of time is no event; table, csv, json or html")
        case Format.TABLE:
            return _printed(evidence)


def _tables(evidence: Evidence | StreamEvidence) -> Iterator[RenderableType]:
    return tables(evidence) if isinstance(evidence, Evidence) else stream_tables(evidence)


def _printed(evidence: Evidence | StreamEvidence) -> str:
    console = Console(markup=False, emoji=False, highlight=False, width=160, color_system=None)
    with console.capture() as captured:
        for part in _tables(evidence):
            console.print(part)
    return captured.get()


def _sender(wish: Wish, course: Course) -> Sender:
    if course.operator == OWN:
        raise ReportError("--format openadr: an event of the site's own has no operator to be told")
    config = config_of(wish.settings, course.operator)
    if config is None:
        raise ReportError("--format openadr needs the site file: it names the site at its operator")
    _, event = parted(course.event)
    if OPENADR_ID.fullmatch(event) is None:
        raise ReportError(f"--format openadr: {event} is no id that an event of OpenADR can have")
    return Sender(client_id=config.client_id, ven=config.ven)


def _audited(wish: Wish) -> Audit:
    """The whole chain, which takes a while; else nothing is said of it."""
    if not wish.verify:
        return NOT_CHECKED
    found = audit(journal_of(wish))
    verdict = "verified" if found.is_verified else "broken"
    detail = _covered(found) if found.is_verified else f"{found.fault_count} faults: see wattshift audit"
    return Audit(verdict=verdict, head="" if found.last is None else str(found.last), detail=detail)


def _covered(found: Checked) -> str:
    """A file that calls itself an excerpt verifies without the rows that it says it leaves out."""
    left_out = found.left_out.items() if found.is_excerpt else ()
    parts = [f"{found.seals} seals{' of an excerpt' if found.is_excerpt else ''}"]
    parts += [f"{rows} rows of {name} left out" for name, rows in sorted(left_out)]
    return ", ".join(parts)


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise ReportError(f"--out {path}: {error}") from error
