"""The site's own reasons to curtail: schedules, prices, likely peak hours, the grid's frequency.

Pure: rules and what is known now give the events that are wanted now. The ledger is then made to hold those,
so that an event of our own lives, overlaps and ends like any operator's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from controller.domain.grid import EventInterval, GridEvent, LimitSignal
from controller.domain.power import Power
from controller.grid.entries import Ledger, lives
from controller.grid.isotime import stamp
from controller.grid.keeping import Effect, Verdict, combined
from controller.grid.ledger import events, receive
from controller.grid.results import Accepted, Cancelled
from controller.grid.site import UNMEASURED, Measured

DAY_S = 86_400.0
AHEAD_S = DAY_S
"""How long before its start a window is announced."""


class Source(StrEnum):
    """What made an event of our own; part of its id."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    PRICE = "price"
    PEAK = "peak"
    FREQUENCY = "frequency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Draw no more than `limit` at `node`; empty is the whole site."""

    limit: Power
    node: str = ""
    ramp_deadline_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Every week on `days` (Monday is 0) from `start` to `end`, local time; `end` may be past midnight."""

    id: str
    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo
    cut: Cut


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakHour:
    """A window in which the system's peak is expected with `probability`."""

    start_utc_s: float
    end_utc_s: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakRule:
    """Curtail in the windows that are at least so likely."""

    probability: float
    cut: Cut


class Side(StrEnum):
    """On which side of its threshold a value trips."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Trips when a value has been beyond `trip` for `for_s`; clears when it has been back beyond `restore`
    for `restore_for_s`, and not before `hold_s` have passed."""

    id: str
    source: Source
    side: Side
    trip: float
    restore: float
    for_s: float
    restore_for_s: float
    hold_s: float
    cut: Cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a threshold stands: tripped since, and since when the value speaks for a change. Unix seconds."""

    tripped_utc_s: float | None = None
    turning_utc_s: float | None = None


def judged(rule: Threshold, before: Standing, value: float | None, now_utc_s: float) -> Standing:
    """One look later. An unknown value changes nothing: it neither trips nor clears. What tripped later than
    now did so before our clock was set back."""
    if before.tripped_utc_s is not None:
        before = replace(before, tripped_utc_s=min(before.tripped_utc_s, now_utc_s))
    if value is None:
        return replace(before, turning_utc_s=None)
    is_tripped = before.tripped_utc_s is not None
    turns = _is_back(rule, value) if is_tripped else _is_beyond(rule, value)
    if not turns:
        return replace(before, turning_utc_s=None)
    since_utc_s = now_utc_s if before.turning_utc_s is None else min(before.turning_utc_s, now_utc_s)
    before = replace(before, turning_utc_s=since_utc_s)
    if before.tripped_utc_s is None:
        return Standing(tripped_utc_s=now_utc_s) if now_utc_s - since_utc_s >= rule.for_s else before
    held = now_utc_s - before.tripped_utc_s >= rule.hold_s
    return Standing() if held and now_utc_s - since_utc_s >= rule.restore_for_s else before


def threshold_event(rule: Threshold, standing: Standing) -> tuple[GridEvent, ...]:
    """The event of a threshold that has tripped: without an end, until it clears."""
    if standing.tripped_utc_s is None:
        return ()
    window = (standing.tripped_utc_s, math.inf)
    return (_event(f"{rule.source}/{rule.id}", rule.source, window, rule.cut),)


def schedule_events(rule: Schedule, now_utc_s: float) -> tuple[GridEvent, ...]:
    """The windows of a schedule that hold now or begin within a day."""
    today = datetime.fromtimestamp(now_utc_s, tz=rule.zone).date()
    found = []
    for offset in (-1, 0, 1, 2):
        day = today + timedelta(days=offset)
        if day.weekday() not in rule.days:
            continue
        window = _window(rule, day)
        if window[0] < window[1] and window[1] > now_utc_s and window[0] <= now_utc_s + AHEAD_S:
            name = f"{Source.SCHEDULE}/{rule.id}/{day.isoformat()}"
            found.append(_event(name, Source.SCHEDULE, window, rule.cut))
    return tuple(found)


def peak_events(rule: PeakRule, hours: Iterable[PeakHour], now_utc_s: float) -> tuple[GridEvent, ...]:
    return tuple(
        _event(
            f"{Source.PEAK}/{stamp(hour.start_utc_s)}",
            Source.PEAK,
            (hour.start_utc_s, hour.end_utc_s),
            rule.cut,
        )
        for hour in sorted(hours, key=lambda hour: (hour.start_utc_s, hour.end_utc_s))
        if hour.probability >= rule.probability
        and hour.end_utc_s > now_utc_s
        and hour.start_utc_s <= now_utc_s + AHEAD_S
    )


def curtail(
    ledger: Ledger,
    now_utc_s: float,
    measured: Measured = UNMEASURED,
    *,
    cut: Cut,
    end_utc_s: float,
    who: str,
) -> tuple[Ledger, Verdict]:
    """The site's own people say so. One event for each node: a new one takes the place of the last."""
    name = f"{Source.MANUAL}/{cut.node}" if cut.node else Source.MANUAL.value
    version_utc_s = _after(ledger, name, now_utc_s)
    event = _event(name, Source.MANUAL, (now_utc_s, end_utc_s), cut)
    event = replace(event, version_utc_s=version_utc_s, name=who[:128])
    return receive(ledger, Accepted(event=event, stamp=stamp(version_utc_s)), now_utc_s, measured)


def end_curtailment(
    ledger: Ledger, now_utc_s: float, measured: Measured = UNMEASURED
) -> tuple[Ledger, Verdict]:
    """The end of everything that people asked for."""
    return _receive_all(
        ledger,
        [_cancelled(ledger, name, now_utc_s) for name in manual(ledger, now_utc_s)],
        now_utc_s,
        measured,
    )


def manual(ledger: Ledger, now_utc_s: float) -> tuple[str, ...]:
    """The events in force that people asked for."""
    return tuple(event.id for event in events(ledger, now_utc_s) if event.source == Source.MANUAL)


def follow_rules(
    ledger: Ledger, now_utc_s: float, measured: Measured = UNMEASURED, *, wanted: Sequence[GridEvent]
) -> tuple[Ledger, Verdict]:
    """Make the ledger hold the events in `wanted` and no other that a rule once made. People's own events
    are left alone, but go on where our clock was set back."""
    return _receive_all(ledger, differences(ledger, wanted, now_utc_s), now_utc_s, measured)


def differences(ledger: Ledger, wanted: Sequence[GridEvent], now_utc_s: float) -> list[Accepted | Cancelled]:
    by_id = {event.id: event for event in wanted}
    results: list[Accepted | Cancelled] = []
    for name, event in sorted(by_id.items()):
        entry = ledger.entries.get(name)
        content = entry.content if entry is not None else None
        known = content.event if isinstance(content, Accepted) else None
        if known is None or replace(known, version_utc_s=0.0) != event:
            version_utc_s = _after(ledger, name, now_utc_s)
            event = replace(event, version_utc_s=version_utc_s)
            results.append(Accepted(event=event, stamp=stamp(version_utc_s)))
    for event in events(ledger, now_utc_s):
        if event.source == Source.MANUAL:
            results += _begun(ledger, event, now_utc_s)
        elif event.id not in by_id:
            results.append(_cancelled(ledger, event.id, now_utc_s))
    return results


def _begun(ledger: Ledger, event: GridEvent, now_utc_s: float) -> list[Accepted]:
    """What people asked for held from that moment: one that begins later than now does so by a clock that
    was set back since."""
    if event.start_utc_s <= now_utc_s:
        return []
    version_utc_s = _after(ledger, event.id, now_utc_s)
    pieces = tuple(replace(piece, start_utc_s=now_utc_s) for piece in event.intervals)
    event = replace(event, version_utc_s=version_utc_s, intervals=pieces)
    return [Accepted(event=event, stamp=stamp(version_utc_s))]


def _receive_all(
    ledger: Ledger, results: Sequence[Accepted | Cancelled], now_utc_s: float, measured: Measured
) -> tuple[Ledger, Verdict]:
    verdict = Verdict(effect=Effect.STATUS)
    for result in results:
        ledger, part = receive(ledger, result, now_utc_s, measured)
        verdict = combined(verdict, part)
    return ledger, verdict


def _cancelled(ledger: Ledger, name: str, now_utc_s: float) -> Cancelled:
    version_utc_s = _after(ledger, name, now_utc_s)
    return Cancelled(id=name, version_utc_s=version_utc_s, stamp=stamp(version_utc_s))


def remembered(ledger: Ledger, rules: Iterable[Threshold], now_utc_s: float) -> Mapping[str, Standing]:
    """Where the thresholds stood when the last process ended: what had tripped has tripped still."""
    standings = {}
    for rule in rules:
        entry = ledger.entries.get(f"{rule.source}/{rule.id}")
        if entry is not None and isinstance(entry.content, Accepted) and lives(entry, ledger.mark, now_utc_s):
            standings[rule.id] = Standing(tripped_utc_s=entry.content.event.start_utc_s)
    return standings


def _after(ledger: Ledger, name: str, now_utc_s: float) -> float:
    """A version for now that is newer than the last, also after the clock was set back."""
    entry = ledger.entries.get(name)
    match entry.content if entry is not None else None:
        case Accepted(event=event):
            return max(now_utc_s, event.version_utc_s + 0.001)
        case Cancelled(version_utc_s=version_utc_s):
            return max(now_utc_s, version_utc_s + 0.001)
        case _:
            return now_utc_s


def _event(name: str, source: Source, window: tuple[float, float], cut: Cut) -> GridEvent:
    interval = EventInterval(start_utc_s=window[0], end_utc_s=window[1], signals=(LimitSignal(cut.limit),))
    return GridEvent(
        id=name,
        version_utc_s=0.0,
        source=source.value,
        intervals=(interval,),
        ramp_deadline_s=cut.ramp_deadline_s,
        node=cut.node,
    )


def _window(rule: Schedule, day: date) -> tuple[float, float]:
    """A day's window in Unix seconds, by the wall clock: an hour longer or shorter when that is changed."""
    last = day if rule.end > rule.start else day + timedelta(days=1)
    begins = datetime.combine(day, rule.start, tzinfo=rule.zone).astimezone(UTC)
    ends = datetime.combine(last, rule.end, tzinfo=rule.zone).astimezone(UTC)
    return begins.timestamp(), ends.timestamp()


def _is_beyond(rule: Threshold, value: float) -> bool:
    return value > rule.trip if rule.side is Side.ABOVE else value < rule.trip


def _is_back(rule: Threshold, value: float) -> bool:
    return value < rule.restore if rule.side is Side.ABOVE else value > rule.restore
