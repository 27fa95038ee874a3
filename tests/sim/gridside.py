"""The site's end of the link to the operator: what was heard, the wall clock it is read by, whether the link
is up. It outlives the controller's process, as its ledger on disk does."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from controller.decide.plan import Standing
from controller.decide.relative import LEAST_S, RECOVERY_S
from controller.domain.grid import GridEvent, LimitSignal, Link
from controller.domain.power import Limit, Power
from controller.domain.site import Site
from controller.grid.entries import Ledger
from controller.grid.results import MessageResult, Snapshot
from tests.sim import operator
from tests.sim.clockwork import Clockwork
from tests.sim.operator import FIRST, UTC_S, Asked, Message, asked
from tests.sim.unused import Demand

HEARTBEAT_S = 15.0
"""The operator is lost so long after it was last heard."""
ASKED_AGAIN_S = 3.0
"""How soon a snapshot is asked for again while the link is not up."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Known:
    ledgers: tuple[Ledger, ...]
    offset_s: float
    events: tuple[GridEvent, ...]


_NOTHING = _Known((), 0.0, ())


class Line:
    """The link to one operator: what was heard on it, and what the broker keeps while it is silent."""

    def __init__(self, messages: Collection[Message]) -> None:
        self.link = Link.LOST
        self.ledger = Ledger()
        self.heard: list[MessageResult | Snapshot] = []
        self.heard_s = 0.0
        self.deaf = 0
        self.missed: list[MessageResult | Snapshot] = []
        self.sequence = 0
        self._messages = messages

    def snapshot(self, now_s: float) -> Snapshot:
        self.sequence += 1
        return operator.snapshot(self._messages, now_s, self.sequence)

    def ends_the_same(self, rnd: random.Random, utc_s: float) -> bool:
        once = operator.events(self.ledger, utc_s)
        for _ in range(3):
            again = Ledger()
            for heard in rnd.sample(self.heard * 2, 2 * len(self.heard)):
                again = operator.received(again, heard, utc_s)
            if operator.events(again, utc_s) != once:
                return False
        return True


class GridSide:
    """`woken` is called when something was heard that may change what is to be done; `messages` are those of
    each operator, by name."""

    def __init__(
        self,
        site: Site,
        messages: Mapping[str, Collection[Message]],
        clock: Clockwork,
        woken: Callable[[], None],
        say: Say,
    ) -> None:
        self.offset_s = 0.0
        """By how much the site's wall clock is wrong."""
        self._lines = {name: Line(theirs) for name, theirs in messages.items()}
        self._site = site
        self._clock = clock
        self._woken = woken
        self._say = say
        self._known = _NOTHING
        self._asked: tuple[_Known, float, Asked] = _NOTHING, -math.inf, Asked()
        self._drawn_w: deque[float] = deque(maxlen=120)
        self._steered_s = -math.inf
        self._truly_before: dict[str, Power] = {}
        self._drawn_before: dict[str, Power] = {}
        self._started_s = 0.0
        self._contracts = site.policy.link_lost
        self._common = {*messages} - {contract.operator for contract in self._contracts}
        """Whose silence leaves the site the policy's common limit."""

    @property
    def utc_s(self) -> float:
        """The site's own wall clock."""
        return UTC_S + self._clock.now_s + self.offset_s

    @property
    def events(self) -> tuple[GridEvent, ...]:
        """Those that the controller is told of: in force or to come."""
        return tuple(
            replace(event, drawn_before=self._drawn_before.get(event.id), operator=name)
            for name, line in self._lines.items()
            for event in operator.events(line.ledger, self.utc_s)
        )

    @property
    def links(self) -> dict[str, Link]:
        return {name: line.link for name, line in self._lines.items()}

    def remember(self, standings: Iterable[Standing]) -> None:
        """What relative set-points are relative to outlives the process."""
        for one in standings:
            if one.drawn_before is not None and one.event not in self._drawn_before:
                self._drawn_before[one.event] = one.drawn_before
                self._known = _NOTHING

    @property
    def asked(self) -> Asked:
        """What they ask now. Over ones ask nothing; a wall clock set back brings some of them back."""
        if (
            self._known is _NOTHING
            or any(
                known is not line.ledger
                for known, line in zip(self._known.ledgers, self._lines.values(), strict=True)
            )
            or self._known.offset_s != self.offset_s
        ):
            ledgers = tuple(line.ledger for line in self._lines.values())
            self._known = _Known(ledgers, self.offset_s, self._grounded())
        known, at_utc_s, found = self._asked
        if known is not self._known or at_utc_s != self.utc_s:
            found = asked(self._known.events, self.utc_s)
            self._asked = self._known, self.utc_s, found
        return self._in_silence(found)

    def _in_silence(self, asked_now: Asked) -> Asked:
        """Beside that, what the contracts of operators that are not heard limit places within the site to."""
        at_nodes = dict(asked_now.at_nodes)
        for contract in self._contracts:
            if contract.node and self._is_missed(contract.operator, contract.node):
                at_nodes[contract.node] = min(contract.limit.watts, at_nodes.get(contract.node, math.inf))
        return replace(asked_now, at_nodes=at_nodes) if len(self._contracts) else asked_now

    def note_draw(self, watts: float) -> None:
        """Twice a second, what the site truly draws: relative set-points are relative to a minute of that.
        While it is steered, and for some time after, nobody knows what it would draw by itself."""
        if self.asked.target_w < math.inf:
            self._steered_s = self._clock.now_s
        elif self._clock.now_s - self._steered_s >= RECOVERY_S:
            self._drawn_w.append(watts)
        is_known = len(self._drawn_w) >= 2 * LEAST_S
        for event in self._known.events if is_known else ():
            if event.drawn_before is None and event.steers_from_utc_s <= self.utc_s:
                self._truly_before[event.id] = Power(round(fmean(self._drawn_w)))
                self._known = _NOTHING

    def _grounded(self) -> tuple[GridEvent, ...]:
        """Events as they are asked, also of a controller that never says what it takes them to mean."""
        return tuple(
            event
            if event.drawn_before is not None
            else replace(event, drawn_before=self._truly_before.get(event.id))
            for event in self.events
        )

    def limit_w(self) -> float:
        """What the site may draw by contract, events and a lost link, at this moment of its own clock.

        Accepted events go on by their schedule when the link is lost; the contract's default holds without. A
        new process has its grace to hear of them.
        """
        ask = self.asked
        contract, lost = self._site.root.limit, self._site.policy.link_lost_limit
        limit_w = min(ask.limit_w, contract.power.watts if isinstance(contract, Limit) else float("inf"))
        if isinstance(lost, Limit) and any(map(self._is_missed, self._common)):
            limit_w = min(limit_w, lost.power.watts)
        for one in self._contracts:
            if not one.node and self._is_missed(one.operator):
                limit_w = min(limit_w, one.limit.watts)
        return limit_w

    def _is_missed(self, name: str, node: str = "") -> bool:
        """Whether an operator is not heard, after the time to hear it first, and nothing that it asked for of
        a place goes on there."""
        had_time = self._clock.now_s - self._started_s >= self._site.policy.start_grace_s
        if not had_time or self._lines[name].link is not Link.LOST:
            return False
        theirs = [event for event in self._known.events if event.operator == name]
        ask = asked(theirs, self.utc_s)
        return not (node in ask.at_nodes or node in ask.efforts if node else ask.is_there)

    def soonest_w(self, node: str = "") -> float:
        """The lowest limit of now, and of all events that are known: a place goes down for those in time."""
        limits = (
            signal.power.watts
            for event in self.events
            if event.node == node and not event.best_effort
            for interval in event.intervals
            for signal in interval.signals
            if isinstance(signal, LimitSignal)
        )
        now_w = self.asked.at_nodes.get(node, math.inf) if node else self.limit_w()
        return min([now_w, *limits])

    def demand(self, within_s: float) -> Demand:
        """The lowest of what may be drawn now, and of what is known to come in so long."""
        ask, utc_s = self.asked, self.utc_s
        limit_w, target_w = self.limit_w(), ask.target_w
        at_w = dict(ask.efforts)
        edges = {
            interval.start_utc_s
            for event in self._known.events
            for interval in event.intervals
            if utc_s < interval.start_utc_s <= utc_s + within_s
        }
        for one in (ask, *(asked(self._known.events, edge) for edge in sorted(edges))):
            limit_w, target_w = min(limit_w, one.limit_w), min(target_w, one.target_w)
            for node, watts in (*one.at_nodes.items(), *one.efforts.items()):
                at_w[node] = min(watts, at_w.get(node, math.inf))
        limit_w = min(limit_w, at_w.pop("", math.inf))
        return Demand(limit_w=limit_w, target_w=target_w, at_w=at_w)

    def start(self, after_s: float) -> None:
        """A new process: nothing counts before a fresh snapshot, and what was drawn is forgotten."""
        for line in self._lines.values():
            line.link = Link.LOST
        self._drawn_w.clear()
        self._started_s = self._clock.now_s
        self._clock.after(after_s, self._hear_snapshots)

    def keep_hearing(self) -> None:
        """Snapshots, for as long as the world lasts."""
        self._hear_snapshots()
        up = all(line.link is Link.UP for line in self._lines.values())
        wait_s = operator.SNAPSHOT_EVERY_S if up else ASKED_AGAIN_S
        self._clock.after(wait_s, self.keep_hearing)

    def deafen(self, by: int, name: str = FIRST) -> None:
        """An operator's broker falls silent, or comes back and delivers what it kept."""
        line = self._lines[name]
        line.deaf += by
        self._say(f"broker {name} silent" if line.deaf else f"broker {name} back")
        if not line.deaf:
            missed, line.missed = line.missed, []
            for heard in missed:
                self.hear(heard, name)

    def hear(self, heard: MessageResult | Snapshot, name: str = FIRST) -> None:
        line = self._lines[name]
        if line.deaf:
            if not isinstance(heard, Snapshot):
                line.missed.append(heard)
            return
        line.heard.append(heard)
        line.ledger = operator.received(line.ledger, heard, self.utc_s)
        if isinstance(heard, Snapshot):
            if line.link is not Link.UP:
                self._say(f"link {name} up")
            line.link = Link.UP
        else:
            self._say(f"heard {heard}")
        self._woken()

    def note_link(self) -> None:
        for name, line in self._lines.items():
            if not line.deaf:
                line.heard_s = self._clock.now_s
            elif line.link is Link.UP and self._clock.now_s - line.heard_s > HEARTBEAT_S:
                self._say(f"link {name} lost")
                line.link = Link.LOST

    def ends_the_same_in_any_order(self, rnd: random.Random) -> bool:
        """P5: all that was heard, heard again in other orders and twice, leaves the same events."""
        return all(line.ends_the_same(rnd, self.utc_s) for line in self._lines.values())

    def _hear_snapshots(self) -> None:
        for name, line in self._lines.items():
            self.hear(line.snapshot(self._clock.now_s), name)
