"""The 0/100 target of mining dispatchers: 0 is curtail, 100 is full, and silence is curtail too.

A publisher repeats its target every 30 s or so. What is older than what was heard before, or too old by the
clock, says nothing and is no sign of life; of one second each target counts once. A stamp ahead of the clock
counts as now, and once. Some publish through two brokers: then the first counts as long as it is heard, and
the second only where the first was silent for longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from controller.domain.grid import EventInterval, GridEvent, LimitSignal
from controller.domain.power import Power
from controller.grid.dialects import Heard, Letter
from controller.grid.entries import Ack, Ledger, version_of
from controller.grid.results import MAX_AHEAD_S, Accepted, Cancelled, Reason, Rejected
from controller.grid.signatures import Trust, opened
from controller.grid.site import SiteReport
from controller.grid.strictjson import MessageError, decode, shown
from controller.grid.wire import Wire, read

SOURCE = "zero-hundred"
EVENT_ID = "target"
SILENCE = "silence"
"""The name of an event that nobody sent."""
OFF, ON = 0, 100
MAX_BYTES = 1024
MAX_SIGNED_BYTES = 4096
EDGE_S = 5.0
"""After a change the other target is not believed for so long: the next repetition is."""
STEP_S = 0.001
DAY_S = 86_400.0
FIRST, SECOND = 0, 1
FIRST_WINS_S = 60.0
"""The first of two brokers counts unless it was last heard by so much earlier than the second."""


class _TargetWire(Wire):
    target: int
    timestamp: Annotated[int, Field(lt=2**53)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffRule:
    """0 means `off` at the site meter, reached within `ramp_deadline_s`; silence of `stale_s` means 0."""

    off: Power
    stale_s: float
    ramp_deadline_s: float


class ZeroHundred:
    beats = False

    def __init__(self, topic: str, rule: OffRule, *, began_utc_s: float, trust: Trust | None = None) -> None:
        self._topic = topic
        self._rule = rule
        self._trust = trust
        self._is_off: bool | None = None
        self._stamp_utc_s = 0
        self._told_then: frozenset[int] = frozenset()
        self._ahead_utc_s = 0
        self._version_utc_s = 0.0
        self._heard_utc_s = began_utc_s
        self._has_heard = False
        self._edge_utc_s = -math.inf
        self._heard_by = [-math.inf, -math.inf]

    @property
    def subscriptions(self) -> tuple[str, ...]:
        return (self._topic,)

    def restored(self, ledger: Ledger, now_utc_s: float) -> None:
        """Go on from the last edge; whether anybody is there, the next message says."""
        entry = ledger.entries.get(EVENT_ID)
        self._heard_utc_s = now_utc_s
        if entry is not None and entry.content is not None:
            self._is_off = isinstance(entry.content, Accepted)
            if isinstance(entry.content, Accepted):
                self._edge_utc_s = entry.content.event.start_utc_s
            self._version_utc_s = version_of(entry.content)
            self._stamp_utc_s = int(self._version_utc_s)

    def read(self, topic: str, payload: bytes, *, retained: bool, now_utc_s: float) -> tuple[Heard, ...]:
        return self.read_by(FIRST, topic, payload, now_utc_s)

    def read_by(self, broker: int, topic: str, payload: bytes, now_utc_s: float) -> tuple[Heard, ...]:
        """One message that came by the first broker or the second. It never raises."""
        if topic != self._topic:
            return ()
        self._set_back_to(now_utc_s)
        try:
            wire = self._opened(payload, now_utc_s)
            self._check_time(wire, now_utc_s)
            if broker == SECOND and now_utc_s - self._heard_by[FIRST] <= FIRST_WINS_S:
                return ()
            found = self._heard(wire, now_utc_s)
            self._heard_by[broker] = now_utc_s  # what a broker had kept back is older, and no sign of life
            return found
        except MessageError as refusal:
            return (Heard(kind="target", result=Rejected(reason=refusal.reason, detail=refusal.detail)),)

    def passed(self, now_utc_s: float) -> tuple[Heard, ...]:
        """Silence for too long is OFF, unless it is OFF already. What is OFF stays so when our clock is set
        back behind its begin."""
        self._set_back_to(now_utc_s)
        is_alive = self.is_alive(now_utc_s, connected=True)
        if now_utc_s >= self._edge_utc_s if self._is_off else is_alive:
            return ()
        if self._version_utc_s:
            version_utc_s = self._version_utc_s + STEP_S
        else:
            version_utc_s = (
                now_utc_s - self._rule.stale_s
            )  # older than any message that may still be believed
        return (self._turned_off(version_utc_s, now_utc_s, "" if is_alive else SILENCE),)

    def is_alive(self, now_utc_s: float, connected: bool) -> bool:
        return now_utc_s - self._heard_utc_s < self._rule.stale_s

    def acknowledgement(self, ack: Ack, now_utc_s: float) -> None:
        """The dialect has no answer."""
        return

    def observed(self, events: Sequence[GridEvent], report: SiteReport) -> tuple[Letter, ...]:
        return ()

    def standing(self, *, online: bool, birth: int, at_utc_s: float) -> None:
        return

    def _set_back_to(self, now_utc_s: float) -> None:
        """Nothing was heard later than now, also where our clock went back: else what comes would be old
        until it has caught up, and silence would be none."""
        self._heard_utc_s = min(self._heard_utc_s, now_utc_s)
        self._stamp_utc_s = min(self._stamp_utc_s, int(now_utc_s))
        self._heard_by = [min(at_utc_s, now_utc_s) for at_utc_s in self._heard_by]

    def _opened(self, payload: bytes, now_utc_s: float) -> _TargetWire:
        most = MAX_BYTES if self._trust is None else MAX_SIGNED_BYTES
        if len(payload) > most:
            raise MessageError(Reason.TOO_LARGE, f"{len(payload)} bytes, at most {most}")
        content = payload if self._trust is None else opened(payload, self._trust, now_utc_s=now_utc_s)
        wire = read(_TargetWire, decode(content))
        if wire.target not in (OFF, ON):
            raise MessageError(Reason.BAD_VALUE, f"target: {shown(wire.target)} is neither {OFF} nor {ON}")
        return wire

    def _check_time(self, wire: _TargetWire, now_utc_s: float) -> None:
        if wire.timestamp > now_utc_s + DAY_S:
            ahead_s = wire.timestamp - now_utc_s
            raise MessageError(Reason.FROM_THE_FUTURE, f"timestamp: {ahead_s:.0f} s ahead of us")
        if now_utc_s - wire.timestamp >= self._rule.stale_s:
            raise MessageError(Reason.STALE, f"timestamp: {now_utc_s - wire.timestamp:.0f} s old")

    def _heard(self, wire: _TargetWire, now_utc_s: float) -> tuple[Heard, ...]:
        stamp_utc_s = min(wire.timestamp, int(now_utc_s))
        if stamp_utc_s < self._stamp_utc_s:
            raise MessageError(Reason.STALE, "timestamp: older than one that was heard before")
        if wire.timestamp > now_utc_s + MAX_AHEAD_S:
            if wire.timestamp <= self._ahead_utc_s:
                raise MessageError(Reason.STALE, "timestamp: ahead of us, and no newer than one before")
            self._ahead_utc_s = wire.timestamp
        told_then = self._told_then if stamp_utc_s == self._stamp_utc_s else frozenset()
        if wire.target in told_then:
            return ()
        self._stamp_utc_s, self._told_then = stamp_utc_s, told_then | {wire.target}
        self._heard_utc_s = now_utc_s
        is_off = wire.target == OFF
        if is_off == self._is_off or (self._is_off is None and not is_off):
            self._is_off = is_off
            return ()
        if not is_off and 0 <= now_utc_s - self._edge_utc_s < EDGE_S:
            return ()
        version_utc_s = max(float(stamp_utc_s), self._version_utc_s + STEP_S)
        if is_off:
            return (self._turned_off(version_utc_s, now_utc_s, ""),)
        self._is_off, self._version_utc_s, self._edge_utc_s = False, version_utc_s, now_utc_s
        return (
            Heard(
                kind="target",
                result=Cancelled(id=EVENT_ID, version_utc_s=version_utc_s, stamp=str(wire.timestamp)),
            ),
        )

    def _turned_off(self, version_utc_s: float, now_utc_s: float, name: str) -> Heard:
        self._is_off, self._version_utc_s, self._edge_utc_s = True, version_utc_s, now_utc_s
        start_utc_s = min(version_utc_s, now_utc_s)
        interval = EventInterval(
            start_utc_s=start_utc_s, end_utc_s=math.inf, signals=(LimitSignal(self._rule.off),)
        )
        event = GridEvent(
            id=EVENT_ID,
            version_utc_s=version_utc_s,
            source=SOURCE,
            intervals=(interval,),
            ramp_deadline_s=self._rule.ramp_deadline_s,
            name=name,
        )
        return Heard(kind="target", result=Accepted(event=event, stamp=f"{version_utc_s:.3f}"))
