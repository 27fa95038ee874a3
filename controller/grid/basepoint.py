"""A stream of base points: a set-point every few seconds or minutes, of which the newest counts.

Each is good for a stated time and no longer, so that silence ends it: then the site is free, or falls to the
limit that was agreed for silence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from controller.domain.grid import EventInterval, EventStatus, GridEvent, LimitSignal, Right, TargetSignal
from controller.domain.power import Bound, Limit, Power
from controller.grid.dialects import Heard, Letter
from controller.grid.entries import Ack, Ledger
from controller.grid.isotime import instant, stamp
from controller.grid.results import MAX_AHEAD_S, Accepted, Reason, Rejected
from controller.grid.signatures import Trust, opened
from controller.grid.site import DataQuality, SiteReport
from controller.grid.strictjson import MessageError, decode, shown
from controller.grid.wire import Wire, read

SOURCE = "base-point"
EVENT_ID = "base-point"
STREAM_PRIORITY = 5
"""Of its set-points beside those of others, unless the site file says another one."""

_KW_PER_UNIT = {"KW": 1.0, "MW": 1000.0, "W": 0.001}
_ABSURD_POWER = 1e12


class _BasePointWire(Wire):
    setpoint: float | int
    units: Literal["KW", "MW", "W"]
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRule:
    """A base point holds until `valid_s` after its own time, which counts as now where it lies ahead of our
    clock; after that `silent` limits the site."""

    nameplate: Power
    valid_s: float
    silent: Bound
    ramp_deadline_s: float
    priority: int
    rights: frozenset[Right]


class BasePoints:
    """Payload: `{"setpoint": 31500.0, "units": "KW", "time": "2026-11-23T18:05:00Z"}`."""

    beats = False

    def __init__(self, topic: str, rule: StreamRule, *, trust: Trust | None = None) -> None:
        self._topic = topic
        self._rule = rule
        self._trust = trust
        self._until_utc_s = -math.inf
        self._told_utc_s = -math.inf
        self._told_state: tuple[EventStatus, Power | None] | None = None

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return (self._topic,)

    def restored(self, ledger: Ledger, now_utc_s: float) -> None:
        entry = ledger.entries.get(EVENT_ID)
        if entry is not None and isinstance(entry.content, Accepted):
            self._until_utc_s = entry.content.event.intervals[0].end_utc_s

    def read(self, topic: str, payload: bytes, *, retained: bool, now_utc_s: float) -> tuple[Heard, ...]:
        if topic != self._topic:
            return ()
        try:
            content = payload if self._trust is None else opened(payload, self._trust, now_utc_s=now_utc_s)
            event = self._event(read(_BasePointWire, decode(content)), now_utc_s)
        except MessageError as refusal:
            return (Heard(kind="base point", result=Rejected(reason=refusal.reason, detail=refusal.detail)),)
        self._until_utc_s = max(self._until_utc_s, event.intervals[0].end_utc_s)
        return (Heard(kind="base point", result=Accepted(event=event, stamp=stamp(event.version_utc_s))),)

    def passed(self, now_utc_s: float) -> tuple[Heard, ...]:
        return ()

    def is_alive(self, now_utc_s: float, connected: bool) -> bool:
        """By a clock that was set back nothing that comes is believed: then nobody is heard."""
        return 0 < self._until_utc_s - now_utc_s <= self._rule.valid_s + MAX_AHEAD_S

    def acknowledgement(self, ack: Ack, now_utc_s: float) -> None:
        """The status that goes out with the ticks names the base point that is being followed."""
        return

    def observed(self, events: Sequence[GridEvent], report: SiteReport) -> tuple[Letter, ...]:
        """One status for each base point that is followed and each change of how it stands, and at least one
        for each time of validity."""
        own = [event for event in events if event.id == EVENT_ID]
        followed = max((event.version_utc_s for event in own), default=-math.inf)
        stands = next((one for one in report.progress if one.event == EVENT_ID), None)
        state = None if stands is None else (stands.status, stands.possible)
        is_told = followed <= self._told_utc_s and state == self._told_state
        if Right.READ not in self._rule.rights or (
            is_told and 0 <= report.now_utc_s - self._told_utc_s < self._rule.valid_s
        ):
            return ()
        self._told_utc_s, self._told_state = report.now_utc_s, state
        status = {
            "time": stamp(report.now_utc_s),
            "following": None if math.isinf(followed) else stamp(followed),
            "demand": None if report.quality is DataQuality.MISSING else report.demand.in_kw,
            "setpoint": report.setpoint.power.in_kw if isinstance(report.setpoint, Limit) else None,
            "state": None if stands is None else stands.status.value,
            "possible": None if stands is None or stands.possible is None else stands.possible.in_kw,
            "units": "KW",
            "quality": report.quality.value,
        }
        if report.seal:
            status["seal"] = report.seal
        return (Letter(topic=f"{self._topic}/status", payload=json.dumps(status).encode("ascii"), qos=0),)

    def standing(self, *, online: bool, birth: int, at_utc_s: float) -> None:
        return

    def _event(self, wire: _BasePointWire, now_utc_s: float) -> GridEvent:
        made_utc_s = instant("time", wire.time)
        if made_utc_s > now_utc_s + MAX_AHEAD_S:
            ahead_s = made_utc_s - now_utc_s
            raise MessageError(Reason.FROM_THE_FUTURE, f"time: {ahead_s:.1f} s ahead of us")
        if made_utc_s + self._rule.valid_s <= now_utc_s:
            raise MessageError(Reason.STALE, f"time: {now_utc_s - made_utc_s:.1f} s old")
        until_utc_s = made_utc_s + self._rule.valid_s
        # It takes the place of the one before as it comes: begun later, it would leave nothing in force.
        wanted = EventInterval(
            start_utc_s=min(made_utc_s, now_utc_s),
            end_utc_s=until_utc_s,
            signals=(TargetSignal(self._power(wire)),),
        )
        silence: tuple[EventInterval, ...] = ()
        if isinstance(self._rule.silent, Limit):
            signals = (LimitSignal(self._rule.silent.power),)
            silence = (EventInterval(start_utc_s=until_utc_s, end_utc_s=math.inf, signals=signals),)
        return GridEvent(
            id=EVENT_ID,
            version_utc_s=made_utc_s,
            source=SOURCE,
            intervals=(wanted, *silence),
            priority=self._rule.priority,
            ramp_deadline_s=self._rule.ramp_deadline_s,
        )

    def _power(self, wire: _BasePointWire) -> Power:
        if wire.setpoint < 0:
            raise MessageError(Reason.BAD_VALUE, f"setpoint: {shown(wire.setpoint)} is negative")
        is_sane = wire.setpoint < _ABSURD_POWER
        power = Power.kw(wire.setpoint * _KW_PER_UNIT[wire.units]) if is_sane else None
        if power is None or power > self._rule.nameplate:
            raise MessageError(
                Reason.ABOVE_NAMEPLATE,
                f"setpoint: {shown(wire.setpoint)} {wire.units}, the site has {self._rule.nameplate}",
            )
        return power
