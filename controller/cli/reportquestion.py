"""What `wattshift report` is asked for: its options, the site file and the journal become a question."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from controller.cli.curtail import CurtailError, seconds_of
from controller.config import Settings
from controller.domain.eventnames import FIRST, named, operator_in, parted
from controller.domain.grid import GridEvent
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.domain.site import Policy
from controller.grid.isotime import stamp
from controller.run.journal.history import History
from controller.run.operators.gridconfig import GridConfig
from controller.run.settling.baselines import OWN, Agreement
from controller.run.settling.gathering import Question, known_events
from controller.run.settling.streams import StreamQuestion
from controller.settlement.metering import Span
from controller.settlement.methods import FirmServiceLevel, MeterBefore, Method
from controller.settlementtable import DAY_S, SettlementTable

MOST_KW = 10_000_000.0


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
    """The options of the command as they were given: a site file, a journal, or both. `since` to `until` is
    the span of a stream."""

    event: str | None
    settings: Settings | None
    journal: Path | None
    operator: str | None = None
    version: str | None = None
    part: int | None = None
    baseline: str | None = None
    interval: str | None = None
    node: str | None = None
    time_zone: str | None = None
    verify: bool = False
    format: Format = Format.TABLE
    out: Path | None = None
    since: str | None = None
    until: str | None = None
    base_kw: float | None = None


def question_of(wish: Wish, history: History) -> Question:
    """`ReportError` names the option that cannot be meant."""
    event = _full_id(wish, history)
    table, config = _table(wish), config_of(wish.settings, operator_in(event))
    interval_s = _interval_s(wish.interval, table.interval_s)
    policy = _policy(wish)
    return Question(
        event=event,
        agreement=Agreement(
            method=_method(wish.baseline, table, config),
            calendar=table.calendar(table.baseline_interval_s),
            node=_node(wish, history),
            meter_holds_s=policy.meter_stale_after_s,
        ),
        terms=table.terms(interval_s, None if config is None else config.firm_service_level_kw),
        calendar=table.calendar(interval_s),
        now_utc_s=time.time(),
        version_utc_s=_version(wish.version, (row.version for row in history.event(event))),
        part=wish.part,
        site=_site(wish),
        zone_name=table.zone.key,
        program=version("wattshift"),
        lead_s=policy.event_lead_s,
        stream_priorities=_priorities(wish.settings),
    )


def stream_question_of(wish: Wish, history: History) -> StreamQuestion:
    """`ReportError` names the option that cannot be meant."""
    assert wish.since is not None
    for option, value in (("--part", wish.part), ("--version", wish.version)):
        if value is not None:
            raise ReportError(f"{option} {value}: with --from the span says what is settled")
    table = _table(wish)
    stream = _full_id(wish, history)
    config = config_of(wish.settings, operator_in(stream))
    interval_s = _interval_s(wish.interval, table.interval_s)
    now_utc_s = time.time()
    since_utc_s = _instant("--from", wish.since, table.zone)
    until_utc_s = now_utc_s if wish.until is None else _instant("--to", wish.until, table.zone)
    if not since_utc_s < min(until_utc_s, now_utc_s):
        raise ReportError(f"--from {wish.since}: it must lie before --to, and before now")
    if wish.base_kw is not None and not 0 <= wish.base_kw <= MOST_KW:
        raise ReportError(f"--base {wish.base_kw:g}: kilowatts are needed")
    return StreamQuestion(
        stream=stream,
        span=Span(since_utc_s, until_utc_s),
        node=_node(wish, history),
        meter_holds_s=_policy(wish).meter_stale_after_s,
        terms=table.terms(interval_s, None),
        calendar=table.calendar(interval_s),
        deadline_s=0.0 if config is None else config.target_deadline_s,
        base=None if wish.base_kw is None else Power.kw(wish.base_kw),
        silent=_silent(config),
        now_utc_s=now_utc_s,
        site=_site(wish),
        zone_name=table.zone.key,
        program=version("wattshift"),
        stream_priorities=_priorities(wish.settings),
    )


def _silent(config: GridConfig | None) -> Bound:
    if config is None or config.silent_kw is None:
        return NO_LIMIT
    return Limit(Power.kw(config.silent_kw))


def refuse_stream(wish: Wish, history: History) -> None:
    """A stream has no end to be settled at."""
    stream = _full_id(wish, history)
    if any(row.id == stream for row in history.streams()):
        raise ReportError(f"{stream} is a stream of set-points: --from is needed, and --to if not until now")


def _table(wish: Wish) -> SettlementTable:
    table = wish.settings.settlement if wish.settings is not None else SettlementTable()
    if wish.time_zone is None:
        return table
    try:
        return SettlementTable(**{**table.model_dump(), "time_zone": wish.time_zone})
    except ValueError:
        raise ReportError(f"--time-zone {wish.time_zone}: no such time zone") from None


def _policy(wish: Wish) -> Policy:
    return wish.settings.policy.policy() if wish.settings is not None else Policy()


def _node(wish: Wish, history: History) -> str:
    if wish.node:
        return wish.node
    return wish.settings.nodes[0].id if wish.settings is not None else _only_node(history)


def _site(wish: Wish) -> str:
    return wish.settings.name if wish.settings is not None else journal_of(wish).stem


def _priorities(settings: Settings | None) -> dict[str, int]:
    """Those of base points, by operator."""
    if settings is None:
        return {}
    first = {} if settings.grid is None else {"": settings.grid.priority}
    return first | {table.id: table.priority for table in settings.operators}


def journal_of(wish: Wish) -> Path:
    if wish.journal is not None:
        return wish.journal
    if wish.settings is None:
        raise ReportError("a site file or --journal is needed")
    return wish.settings.journal.path


def _full_id(wish: Wish, history: History) -> str:
    """The event as plans and metrics name it. An id that only one operator used needs no operator's name."""
    assert wish.event is not None
    if wish.operator is not None:
        operator = "" if wish.operator == FIRST else wish.operator
        full = named(operator, wish.event)
        is_full = parted(wish.event) != ("", wish.event) and operator_in(wish.event) == operator
        return wish.event if is_full and not _is_known(full, history) else full
    if _is_known(wish.event, history):
        return wish.event
    alike = sorted(_named_alike(wish.event, history))
    if len(alike) > 1:
        raise ReportError(f"{wish.event}: of several operators; say one of {', '.join(alike)}")
    return alike[0] if alike else wish.event


def _is_known(name: str, history: History) -> bool:
    return bool(history.event(name)) or any(row.id == name for row in history.streams())


def _named_alike(event: str, history: History) -> set[str]:
    """What is called so by whoever it is of."""
    names = {known.id for known in known_events(history)} | {row.id for row in history.streams()}
    return {name for name in names if parted(name)[1] == event}


def config_of(settings: Settings | None, operator: str) -> GridConfig | None:
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


def _version(text: str | None, accepted: Iterable[GridEvent | None]) -> float | None:
    """Of those accepted the one that is written so, for a stamp is of whole milliseconds."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ReportError(f"--version {text}: a time such as 2026-11-28T14:05:00Z is needed") from None
    utc_s = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    known = {version.version_utc_s for version in accepted if version is not None}
    return next((one for one in sorted(known) if stamp(one) == stamp(utc_s)), utc_s)


def _instant(option: str, text: str, zone: tzinfo) -> float:
    """A time without an offset is the site's."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ReportError(f"{option} {text}: a time such as 2026-11-28T14:00 is needed") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).timestamp()


def _only_node(history: History) -> str:
    """Without a site file: the only metered node there is."""
    nodes = history.nodes()
    if len(nodes) == 1:
        return nodes[0]
    raise ReportError(f"--node is needed without a site file: one of {', '.join(nodes) or 'none is metered'}")
