"""`wattshift audit`: is the journal as it was written, and what does it cover?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from controller.cli.replay import moment
from controller.config import ConfigError, load
from controller.grid.isotime import stamp
from controller.run.journal.audit import AuditError, audit
from controller.run.journal.excerpt import Excerpt, ExcerptError, export
from controller.run.journal.finding import Audit, Fault
from controller.run.journal.retention import SEALS
from controller.run.journal.seals import Anchor
from controller.run.recording.recording import RecordingError

EXIT_VERIFIED = 0
EXIT_BROKEN = 1
EXIT_UNREADABLE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to verify: `journal`, or else the one of `site_file`. `cut` is FROM, TO and the FILE to make."""

    site_file: Path
    journal: Path | None
    anchors: Sequence[str]
    as_json: bool
    cut: tuple[str, str, Path] | None


def run(request: Request, out: Console, err: Console) -> int:
    """Verify, print, and cut out what was asked for; the exit code."""
    try:
        anchors = [Anchor.of(text) for text in request.anchors]
        path = request.journal or load(request.site_file).journal.path
        found = audit(path, anchors)
    except (ConfigError, AuditError, ValueError) as error:
        err.print(str(error), style="red", soft_wrap=True)
        return EXIT_UNREADABLE
    told = as_json(found)
    if not request.as_json:
        for line in lines(found):
            out.print(line, soft_wrap=True)
    code = EXIT_VERIFIED if found.is_verified else EXIT_BROKEN
    if request.cut is not None:  # what was sealed before a fault is as good as ever
        try:
            cut = _cut(path, request.cut)
        except (ExcerptError, RecordingError) as error:
            err.print(str(error), style="red", soft_wrap=True)
            code = code or EXIT_UNREADABLE
        else:
            told["written"] = {"file": str(cut.path), "sha256": cut.sha256}
            if not request.as_json:
                seals = f"seals {cut.first_seal} to {cut.last_seal}"
                out.print(f"written   {cut.path}: {seals}, SHA-256 {cut.sha256}", soft_wrap=True)
    if request.as_json:
        out.print(json.dumps(told), soft_wrap=True)
    return code


def _cut(path: Path, wanted: tuple[str, str, Path]) -> Excerpt:
    begin, end, file = wanted
    return export(path, moment(begin, -math.inf), moment(end, math.inf), file)


def lines(found: Audit) -> Iterator[str]:
    """The finding as a person reads it; the verdict last."""
    yield f"journal   {found.path}{' (an excerpt)' if found.is_excerpt else ''}"
    for one in found.replaced:
        yield f"begun     {_at(one.utc_s)}, for the one before was damaged ({one.why}): it lies in {one.file}"
    if found.first is not None and found.last is not None:
        yield f"covers    {_window(found)}"
        yield f"seals     {found.seals}, {found.first.seq} to {found.last.seq}"
    yield f"rows      {', '.join(f'{name} {count}' for name, count in found.rows.items())}"
    for name, through in sorted(() if found.is_excerpt else found.pruned.items()):
        yield f"dropped   {'seals' if name == SEALS else f'rows of {name}'} up to {through}, by retention"
    for name, count in sorted(found.left_out.items() if found.is_excerpt else ()):
        yield f"left out  {count} rows of {name} that these seals cover: gone before, as the file says"
    if found.archived:
        yield f"archived  {found.archived} files, with their SHA-256 in the table bookkeeping"
    for name in found.unmoved:
        yield f"unsealed  rows of {name} from an older version wait to be taken over"
    for loss in found.losses:
        yield f"lost      {loss.rows} rows of {loss.table}, said {_at(loss.utc_s)}: {loss.detail}"
    if found.unclosed:
        yield f"starts    {found.unclosed} after a controller that did not close its journal: see EVIDENCE.md"
    yield from (f"anchor    {anchor.seq} is confirmed" for anchor in found.confirmed)
    yield from (f"anchor    {anchor.seq} says nothing: that seal is not here" for anchor in found.beyond)
    yield from (f"FAULT     {_told(fault)}" for fault in found.faults)
    if found.fault_count > len(found.faults):
        yield f"FAULT     and {found.fault_count - len(found.faults)} more"
    if found.is_verified:
        yield f"VERIFIED  up to seal {found.last or 'none'}"
    else:
        yield f"BROKEN    first: {_told(found.faults[0])}"


def as_json(found: Audit) -> dict[str, object]:
    return {
        "journal": str(found.path),
        "verified": found.is_verified,
        "excerpt": found.is_excerpt,
        "first_utc_s": found.first_utc_s,
        "last_utc_s": found.last_utc_s,
        "seals": found.seals,
        "first_seal": None if found.first is None else str(found.first),
        "last_seal": None if found.last is None else str(found.last),
        "rows": found.rows,
        "pruned_up_to": found.pruned,
        "left_out": found.left_out,
        "waiting_of_older_version": list(found.unmoved),
        "lost": [
            {"utc_s": loss.utc_s, "table": loss.table, "rows": loss.rows, "detail": loss.detail}
            for loss in found.losses
        ],
        "replaced": [
            {"utc_s": one.utc_s, "put_aside_as": one.file, "why": one.why} for one in found.replaced
        ],
        "archived_files": found.archived,
        "starts_after_unclosed": found.unclosed,
        "anchors_confirmed": [str(anchor) for anchor in found.confirmed],
        "anchors_beyond": [str(anchor) for anchor in found.beyond],
        "fault_count": found.fault_count,
        "faults": [
            {
                "what": fault.what,
                "table": fault.table,
                "seal": fault.seal,
                "first_utc_s": fault.first_utc_s,
                "last_utc_s": fault.last_utc_s,
            }
            for fault in found.faults
        ],
    }


def _window(found: Audit) -> str:
    assert found.first_utc_s is not None
    assert found.last_utc_s is not None
    return f"{_at(found.first_utc_s)} to {_at(found.last_utc_s)}"


def _told(fault: Fault) -> str:
    if fault.first_utc_s is None or fault.last_utc_s is None:
        return f"{fault.table}: {fault.what}"
    return f"{fault.table}, {_at(fault.first_utc_s)} to {_at(fault.last_utc_s)}: {fault.what}"


def _at(utc_s: float) -> str:
    """A time that somebody may have forged."""
    try:
        return stamp(utc_s)
    except (ValueError, OverflowError, OSError):
        return f"{utc_s:g} s"
