"""DSX Flex as a dialect: every change of a feed is a status message, a breach has a life of its own.

The status is also the heartbeat, so it is sent with ticks of the loop and falls silent with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from controller.domain.grid import GridEvent
from controller.domain.power import Limit
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
from controller.grid.dsxbreach import BreachRule, Held, breach_data, watched
from controller.grid.dsxenforcement import Enforcement, parse_enforcement
from controller.grid.dsxfeed import Change, FeedNow, active_target, in_order, least_of, moved, target_data
from controller.grid.entries import Ack, Ledger
from controller.grid.isotime import stamp
from controller.grid.loadtargets import feed_of
from controller.grid.signatures import Signer
from controller.grid.site import Place, SiteReport


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
            after, changes[feed.tag] = moved(before, own, place, now_utc_s, least_of(own, report.foreseen))
            active = active_target(own, now_utc_s)
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
            feed.tag: [target_data(event, now_utc_s) for event in in_order(events, feed, now_utc_s)]
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
        least = feed.maximum if self._observes else min(max(feed.minimum, now.least), feed.maximum)
        state: dict[str, Any] = {
            "metadata": {
                "power_minimum": power_unit(least),
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


def _at(changes: list[Change], turn: int) -> Change:
    return changes[turn] if turn < len(changes) else Change.PERIODIC
