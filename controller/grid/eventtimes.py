"""Every time that an OpenADR event states, read once: periods, life, cancellation and the random start."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from controller.domain.grid import EventInterval
from controller.grid.intervals import Period
from controller.grid.isotime import Now, duration_s, signed_duration_s, start
from controller.grid.results import Reason
from controller.grid.strictjson import MessageError
from controller.grid.wire import EventWire, PeriodWire

MAX_DELAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """What an event says of time; `most_delay_s` is the widest random shift of its start."""

    event: Period
    intervals: tuple[Period, ...]
    life_s: float | None
    most_delay_s: float
    ignored: tuple[str, ...]

    @property
    def cancels(self) -> bool:
        """Sentinel start and a stated length of zero, with nothing in the list that says otherwise."""
        first, *_ = (*self.intervals, Period())
        start = first.start if self.event.start is None else self.event.start
        own = [period.duration_s for period in self.intervals] or [None]
        lengths = [self.event.duration_s if length is None else length for length in own]
        stated = self.life_s == 0.0 or all(length == 0.0 for length in lengths)
        return isinstance(start, Now) and stated and not any(lengths)


def times_of(wire: EventWire) -> Times:
    own = [interval.interval_period or PeriodWire() for interval in wire.intervals or []]
    base = wire.interval_period or PeriodWire()
    shifts_s = [_shift_s(period) for period in (base, *own)]
    shift_s = next((shift_s for shift_s in reversed(shifts_s[:2]) if shift_s is not None), 0.0)
    return Times(
        event=_period("intervalPeriod", base),
        intervals=tuple(_period(f"intervals.{index}", period) for index, period in enumerate(own)),
        life_s=None if wire.duration is None else duration_s("duration", wire.duration),
        most_delay_s=shift_s,
        ignored=("randomizeStart of a later interval",) if any(shifts_s[2:]) else (),
    )


def _period(key: str, wire: PeriodWire) -> Period:
    return Period(
        start=None if wire.start is None else start(f"{key}.start", wire.start),
        duration_s=None if wire.duration is None else duration_s(f"{key}.duration", wire.duration),
    )


def _shift_s(wire: PeriodWire) -> float | None:
    if wire.randomize_start is None:
        return None
    shift_s = abs(signed_duration_s("randomizeStart", wire.randomize_start))
    if shift_s > MAX_DELAY_S:
        raise MessageError(Reason.BAD_DURATION, f"randomizeStart: {shift_s:g} s, at most {MAX_DELAY_S:g}")
    return shift_s


def delayed(piece: EventInterval, delay_s: float) -> EventInterval:
    if not delay_s:
        return piece
    return replace(piece, start_utc_s=piece.start_utc_s + delay_s, end_utc_s=piece.end_utc_s + delay_s)


def fraction(ven: str, event_id: str) -> float:
    """A number in 0..1 that belongs to this site and event: the same after a restart, another elsewhere."""
    digest = hashlib.sha256(f"{ven}\n{event_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)
