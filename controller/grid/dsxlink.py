"""DSX Flex as a dialect: every change of a feed is a status message, a breach has a life of its own.

The status is also the heartbeat, so it is sent with ticks of the loop and falls silent with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from controller.domain.grid import GridEvent, LimitSignal
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.grid import dsxstatus
from controller.grid.dialects import Heard, Letter
from controller.grid.dsx import (
    BREACH,
    STATUS,
    Agreement,
    Feed,
    event_message,
    parse_load_targets,
    power_unit,
)
from controller.grid.dsxbreach import NO_BREACH, Breach, BreachRule, Held, breach_data, watched
from controller.grid.dsxenforcement import Enforcement, parse_enforcement
from controller.grid.entries import Ack, Ledger
from controller.grid.isotime import stamp
from controller.grid.loadtargets import feed_of
from controller.grid.signatures import Signer
from controller.grid.site import Place, SiteReport

SETTLED_SHARE = 0.05
"""A feed whose load is this close to what it may draw has finished its ramp upwards."""


class Change(StrEnum):
    """What a status message was sent for, in the words of DSX Flex."""

    TARGET_SET = "target_set"
    START_RAMP_DOWN = "start_ramp_down"
    END_RAMP_DOWN = "end_ramp_down"
    START_RAMP_UP = "start_ramp_up"
    END_RAMP_UP = "end_ramp_up"
    PERIODIC = "periodic"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedNow:
    """A feed between two ticks: its targets by version, what binds it and since when, where it is going, and
    whether what it will come to, or is at, is within its target."""

    versions: frozenset[tuple[str, float]] = frozenset()
    constraint: Bound = NO_LIMIT
    since_utc_s: float = 0.0
    ramp: Change | None = None
    compliant: bool = True
    breach: Breach = NO_BREACH


class DsxFlex:
    """Of a site that only `observes`, no feed can be brought below what it may draw at most."""

    beats = False

    def __init__(
        self,
        agreement: Agreement,
        *,
        period_s: float,
        rule: BreachRule,
        signer: Signer | None = None,
        observes: bool = False,
    ) -> None:
        self._observes = observes
        self._agreement = agreement
        self._period_s = period_s
        self._rule = rule
        self._signer = signer
        self._feeds: dict[str, FeedNow] = {feed.tag: FeedNow() for feed in agreement.feeds}
        self._told_utc_s = float("-inf")
        self._enforcements: deque[Enforcement] = deque(maxlen=64)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        commands = f"grid/v1/isv/{self._agreement.isv}/loadtarget/set"
        infra = self._agreement.infra
        return (commands, f"grid/v1/infra/{infra}/powerbreach/enforcement") if infra else (commands,)

    def restored(self, ledger: Ledger, now_utc_s: float) -> None:
        return None

    def read(self, topic: str, payload: bytes, *, retained: bool, now_utc_s: float) -> tuple[Heard, ...]:
        if topic not in self.subscriptions:
            return ()
        if topic != self.subscriptions[0]:
            return self._enforced(payload, now_utc_s)
        result = parse_load_targets(payload, agreement=self._agreement, now_utc_s=now_utc_s)
        return (Heard(kind="load target", result=result),)

    def _enforced(self, payload: bytes, now_utc_s: float) -> tuple[Heard, ...]:
        """It is information, once each: what machines draw then, their readings and the meter show."""
        result = parse_enforcement(payload, agreement=self._agreement, now_utc_s=now_utc_s)
        if isinstance(result, Enforcement):
            if result in self._enforcements:
                return ()
            self._enforcements.append(result)
        return (Heard(kind="enforcement", result=result),)

    def passed(self, now_utc_s: float) -> tuple[Heard, ...]:
        return ()

    def is_alive(self, now_utc_s: float, connected: bool) -> bool:
        """The contract has no heartbeat of the operator: the broker's answer is all there is."""
        return connected

    def acknowledgement(self, ack: Ack, now_utc_s: float) -> None:
        """Commands are fire and forget: the next status is the answer."""
        return

    def observed(self, events: Sequence[GridEvent], report: SiteReport) -> tuple[Letter, ...]:
        """The status messages of this tick, one for each change of a feed, and what became of breaches."""
        now_utc_s = report.now_utc_s
        changes: dict[str, list[Change]] = {}
        breaches: list[Letter] = []
        for feed in self._agreement.feeds:
            own = [event for event in events if feed_of(event.id) == feed.tag]
            place = place_of(feed, report)
            before = self._feeds[feed.tag]
            after, changes[feed.tag] = _moved(before, own, place, now_utc_s)
            active = _active(own, now_utc_s)
            held = Held(
                feed=feed.tag,
                constraint=after.constraint,
                correlation=active.name if active is not None else "",
                load=place.demand,
                now_utc_s=now_utc_s,
                ramped_s=now_utc_s - after.since_utc_s - self._agreement.ramp_deadline_s,
            )
            breach, status = watched(after.breach, held, self._rule)
            self._feeds[feed.tag] = replace(after, breach=breach)
            if status is not None:
                data = breach_data(breach, status, place.demand, now_utc_s, self._rule)
                breaches.append(self._letter(BREACH, data, now_utc_s, breach.correlation, qos=2))
        return (*self._statuses(changes, events, report), *breaches)

    def standing(self, *, online: bool, birth: int, at_utc_s: float) -> None:
        """There is none: silence of the status says it."""
        return

    def _statuses(
        self, changes: dict[str, list[Change]], events: Sequence[GridEvent], report: SiteReport
    ) -> list[Letter]:
        now_utc_s = report.now_utc_s
        rounds = max((len(found) for found in changes.values()), default=0)
        if not rounds and 0 <= now_utc_s - self._told_utc_s < self._period_s:
            return []
        self._told_utc_s = now_utc_s
        letters = []
        targets = {
            feed.tag: [_target(event, now_utc_s) for event in _in_order(events, feed, now_utc_s)]
            for feed in self._agreement.feeds
        }
        for turn in range(max(rounds, 1)):
            states = {
                feed.tag: self._state(feed, _at(changes[feed.tag], turn), report)
                for feed in self._agreement.feeds
            }
            feeds, untold = dsxstatus.told(states, targets)
            data = {"snapshot_time": stamp(now_utc_s), "feeds": feeds}
            letter = self._letter(STATUS, data, now_utc_s, None, qos=1, seal=report.seal)
            letters.append(replace(letter, fades=not rounds, untold=untold))
        return letters

    def _state(self, feed: Feed, change: Change, report: SiteReport) -> dict[str, Any]:
        now, place = self._feeds[feed.tag], place_of(feed, report)
        bound = now.constraint
        state: dict[str, Any] = {
            "metadata": {
                "power_minimum": power_unit(feed.maximum if self._observes else feed.minimum),
                "power_maximum": power_unit(feed.maximum),
                "default_constraint": power_unit(feed.default),
            },
            "calculated_load": power_unit(place.granted),
            "in_flight": now.ramp is not None,
            "event": change.value,
            "compliant": now.compliant,
        }
        if isinstance(bound, Limit):
            state["power_event_start_time"] = stamp(now.since_utc_s)
        return state

    def _letter(
        self,
        type_: str,
        data: dict[str, Any],
        now_utc_s: float,
        correlation: str | None,
        *,
        qos: int,
        seal: str = "",
    ) -> Letter:
        agent = self._agreement.agent
        topic = f"grid/v1/dsx-flex-agent/{agent}/"
        payload = event_message(
            type_,
            data,
            agent=agent,
            at_utc_s=now_utc_s,
            correlation=correlation,
            signer=self._signer,
            seal=seal,
        )
        word = "powerstate/status" if type_ == STATUS else "powerbreach"
        return Letter(topic=topic + word, payload=payload, qos=qos)


def place_of(feed: Feed, report: SiteReport) -> Place:
    """Where the feed is in the report; a node that is not there is told as drawing all that it may."""
    if not feed.node:
        granted = report.demand if report.granted is None else report.granted
        return Place(node="", demand=report.demand, granted=granted)
    for place in report.places:
        if place.node == feed.node:
            return place
    return Place(node=feed.node, demand=feed.maximum, granted=feed.maximum)


def _moved(
    before: FeedNow, own: Sequence[GridEvent], place: Place, now_utc_s: float
) -> tuple[FeedNow, list[Change]]:
    """The feed after this tick, and what happened to it, in order."""
    changes: list[Change] = []
    versions = frozenset((event.id, event.version_utc_s) for event in own)
    if versions - before.versions:
        changes.append(Change.TARGET_SET)
    active = _active(own, now_utc_s)
    constraint: Bound = NO_LIMIT if active is None else Limit(_limit_at(active, now_utc_s))
    compliant = _is_within(min(place.granted, place.demand), constraint)
    after = replace(before, versions=versions, constraint=constraint, compliant=compliant)
    if constraint != before.constraint:
        ramp = Change.START_RAMP_DOWN if _is_tighter(constraint, before.constraint) else Change.START_RAMP_UP
        after = replace(after, ramp=ramp, since_utc_s=now_utc_s)
        changes.append(ramp)
    if after.ramp is Change.START_RAMP_DOWN and _is_within(place.demand, constraint):
        after = replace(after, ramp=None)
        changes.append(Change.END_RAMP_DOWN)
    elif after.ramp is Change.START_RAMP_UP and place.demand.watts >= place.granted.watts * (
        1 - SETTLED_SHARE
    ):
        after = replace(after, ramp=None)
        changes.append(Change.END_RAMP_UP)
    if not changes and compliant is not before.compliant:
        changes.append(Change.PERIODIC)  # no word for it, and not to wait for the next heartbeat
    return after, changes


def _active(own: Sequence[GridEvent], now_utc_s: float) -> GridEvent | None:
    """The target that binds now: the lowest of those in force."""
    found = [event for event in own if event.start_utc_s <= now_utc_s < event.end_utc_s]
    return min(found, key=lambda event: (_limit_at(event, now_utc_s).watts, event.id), default=None)


def _in_order(events: Sequence[GridEvent], feed: Feed, now_utc_s: float) -> list[GridEvent]:
    """The targets of a feed: what binds it now, then what begins first."""
    own = [event for event in events if feed_of(event.id) == feed.tag]
    active = _active(own, now_utc_s)
    return sorted(own, key=lambda event: (event is not active, event.start_utc_s, event.end_utc_s, event.id))


def _limit_at(event: GridEvent, now_utc_s: float) -> Power:
    return min(
        signal.power
        for piece in event.intervals
        if piece.end_utc_s > now_utc_s or piece is event.intervals[-1]
        for signal in piece.signals
        if isinstance(signal, LimitSignal)
    )


def _is_tighter(bound: Bound, than: Bound) -> bool:
    match bound, than:
        case Limit(power), Limit(other):
            return power < other
        case Limit(), _:
            return True
        case _:
            return False


def _is_within(demand: Power, bound: Bound) -> bool:
    return not isinstance(bound, Limit) or demand <= bound.power


def _target(event: GridEvent, now_utc_s: float) -> dict[str, Any]:
    interval = {"start_time": stamp(event.start_utc_s)}
    if event.end_utc_s != float("inf"):
        interval["end_time"] = stamp(event.end_utc_s)
    return {
        "active": event.start_utc_s <= now_utc_s < event.end_utc_s,
        "load_constraint": power_unit(_limit_at(event, now_utc_s)),
        "interval": interval,
        "strategy": {"best_effort": event.best_effort},
        "correlation_id": event.name,
    }


def _at(changes: list[Change], turn: int) -> Change:
    return changes[turn] if turn < len(changes) else Change.PERIODIC
