"""Whether a world's site kept its limits, from the plant's truth and from what can have been obeyed."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from simulators.physics.electrical import Node
from simulators.physics.faults import MeterFaults
from simulators.physics.miner import Miner
from simulators.plant import Plant
from tests.sim.daemon.memory import Network
from tests.sim.daemon.operator import Broker, Operator

UTC_S = 1_800_000_000.0
SITE_W = 29_000.0
NODES_W = {"pdu-a": 16_000.0, "pdu-b": 16_000.0}
"""The limits in site.toml."""
SETTLED_S = 90.0
"""The plant begins above its limits, with nobody in charge: from here on it is ours."""
RESPONSE_S = 10.0
"""From an event's start to full compliance, as a contract would grant it."""
HEARTBEAT_TIMEOUT_S = 16.0
LINK_LOST_W = 20_000.0
"""The contract's limit for a site that hears nothing and has no event to go by."""
LEAD_S, SETTLES_S = 25.0, 15.0
"""How long before its start an event may be acted on, and how long its end may take to be acted on."""
METERS_HOST = "127.0.0.1"
SLOW_S = 0.5
"""A machine whose every answer takes longer than this is not counted on: a change takes several."""
RESTART_S = 30.0
"""What a controller that was killed is given to know its site again."""
RIGHT_S = 2.0
"""A clock further off than this shows another time than the operator's: what it says is not over, or not yet
begun, the site cannot know otherwise."""
NOTICED_S = 15.0
"""What a liar takes is first believed to be on its way down; once found out, others come down for it."""
LEARNED_S = 75.0
"""Load that no machine claims is learned from the readings of a quarter of a minute, and slowly."""
ROOM_W = 12_000.0
"""A site's own load, what is kept for two machines that may be silent, and one that starts."""
HEARD_WITHIN_S = 30.0
"""An operator's snapshot comes every few seconds, and one or two may be lost."""


@dataclass(frozen=True, slots=True)
class Fault:
    """At `at_s`, `what` happens to `subject`: a knob of the plant, of the network, or of this world."""

    at_s: float
    what: str
    subject: str
    value: bool | float


@dataclass(frozen=True, slots=True)
class Event:
    """An instruction of the operator, told at `at_s`; `cancel_s` after that it is taken back."""

    at_s: float
    name: str
    kw: float
    in_s: float
    for_s: float
    cancel_s: float = float("inf")

    def holds(self, now_s: float, from_s: float) -> bool:
        return from_s <= now_s < self.end_s

    @property
    def end_s(self) -> float:
        return min(self.at_s + self.in_s + self.for_s, self.at_s + self.cancel_s)

    def concerns(self, now_s: float) -> bool:
        """Whether a controller may be acting on it, early or late."""
        return self.at_s + self.in_s - LEAD_S <= now_s <= self.end_s + SETTLES_S


@dataclass(slots=True)
class Verdict:
    """From the plant alone: when which limit was passed and by how much, and the shares of the cap used."""

    breaches: list[tuple[float, str, float]] = field(default_factory=list)
    used: list[float] = field(default_factory=list)


class Seen(Protocol):
    """What the judge asks of a world."""

    @property
    def now_s(self) -> float: ...

    @property
    def is_alive(self) -> bool: ...

    events: list[Event]
    operator: Operator
    broker: Broker
    jumped_s: float
    down_until_s: float


class Judge:
    """`look` after every step. `verdict` is what came of it."""

    def __init__(self, plant: Plant, network: Network) -> None:
        self.verdict = Verdict()
        self._plant = plant
        self._network = network
        self._impossible_until_s: dict[str, float] = {}
        self._connected_w: dict[str, float] = {}
        self._heard_s = 0.0
        self._met: set[str] = set()
        self._lately_w: dict[str, deque[tuple[float, float]]] = {}
        self._obeyed_s: dict[str, float] = {}
        self._told_w: dict[str, float] = {}
        self._unreachable_s: dict[str, float] = {}
        self._lied_s: dict[str, float] = {}
        self._jumped_s = 0.0
        self._stepped_s = self._deaf_s = -math.inf

    def look(self, world: Seen) -> None:
        now_s, watts = world.now_s, self._plant.site_power_w
        if world.operator.is_beating and world.broker.is_up:
            self._heard_s = now_s
        self._look_at_clock(world)
        if now_s < SETTLED_S:
            return
        cap_w = self._cap_w(world)
        self._note_liars(now_s)
        self._note_foreign(now_s)
        self._judge(now_s, "site", cap_w, watts)
        for node, limit_w in NODES_W.items():
            self._judge(now_s, node, limit_w, self._known_w(node))
        self.verdict.used.append((watts - self._foreign_w("site")) / cap_w)

    def leaves_free(self, world: Seen) -> bool:
        """Whether no event, load or meter keeps a machine from starting, and nothing heats it."""
        meters = all(meter.faults == MeterFaults() for meter in self._plant.meters.values())
        weather = self._network.over(METERS_HOST)
        caps = [SITE_W, *(one.kw * 1000 for one in world.events if one.concerns(world.now_s))]
        is_quiet = meters and not (weather.dark or weather.slow_s or self._plant.zones)
        return is_quiet and not self._foreign_w("site") and min(caps) >= ROOM_W

    def _judge(self, now_s: float, node: str, limit_w: float, watts: float) -> None:
        """`watts` are what it carries, as far as that can be known."""
        if self._lowest_w(node) > limit_w:
            self._impossible_until_s[node] = max(self._impossible_until_s.get(node, 0.0), now_s + RESPONSE_S)
        if watts - self._unforeseen_w(node) > limit_w and now_s > self._impossible_until_s.get(node, 0.0):
            self._breach(now_s, node, watts - limit_w)

    def _note_foreign(self, now_s: float) -> None:
        """Load that somebody connects must be seen first, and told from machines that change just now; until
        then their watts are spent twice."""
        for node in ("site", *NODES_W):
            foreign_w = self._foreign_w(node)
            if foreign_w > self._connected_w.get(node, 0.0):
                self._impossible_until_s[node] = now_s + LEARNED_S
            self._connected_w[node] = foreign_w

    def _foreign_w(self, node: str) -> float:
        return sum(one.faults.foreign_w for one in self._below(node) if one.live)

    def _below(self, node: str) -> list[Node]:
        """It, and all below it."""
        return [*self._plant.nodes.values()] if node == "site" else [self._plant.nodes[node]]

    def told(self, name: str, watts: float) -> None:
        """A controller is about to tell a machine to draw so much at most."""
        self._told_w[name] = watts

    def _known_w(self, node: str) -> float:
        """What a node carries, as far as it can be known: without a meter that works, by honest claims."""
        true_w = self._plant.node_power_w(node)
        meter = next((one for one in self._plant.meters.values() if one.node.id == node), None)
        faults = MeterFaults(dead=True) if meter is None else meter.faults
        if faults == MeterFaults() and not self._network.over(METERS_HOST).dark:
            return true_w
        miners = (miner for miner in self._plant.miners.values() if miner.node == node)
        claimed_w = true_w + sum(miner.watts / miner.bias - miner.watts for miner in miners)
        return min(true_w, claimed_w - self._foreign_w(node))

    def _note_liars(self, now_s: float) -> None:
        """What each machine that lies, or did until a moment ago, drew of late; and who obeys by now."""
        for miner in self._plant.miners.values():
            if self.obeys(miner):
                self._obeyed_s[miner.id] = now_s
            if miner.faults.lies_about_stop or miner.faults.lies_about_limit:
                self._lied_s[miner.id] = now_s
            if now_s - self._lied_s.get(miner.id, -math.inf) > NOTICED_S:
                self._lately_w.pop(miner.id, None)
                continue
            lately_w = self._lately_w.setdefault(miner.id, deque())
            lately_w.append((now_s, miner.watts))
            while lately_w[0][0] < now_s - NOTICED_S:
                lately_w.popleft()

    def _unforeseen_w(self, node: str) -> float:
        """What machines below a node draw against what can be expected of them: liars that boot may say that
        they sleep, and start; and an order to one that went dark in that moment is waited for."""
        watts, now_s = 0.0, self._plant.now_s
        for name, miner in self._plant.miners.items():
            if node not in ("site", miner.node):
                continue
            if (lately_w := self._lately_w.get(name)) is not None:
                watts += lately_w[-1][1] - min(drawn_w for _, drawn_w in lately_w)
            elif not self.obeys(miner) and now_s - self._obeyed_s.get(name, -math.inf) <= NOTICED_S:
                watts += max(0.0, miner.watts - self._told_w.get(name, math.inf))
        return watts

    def _breach(self, now_s: float, node: str, over_w: float) -> None:
        self.verdict.breaches.append((round(now_s, 1), node, round(over_w)))

    def _look_at_clock(self, world: Seen) -> None:
        """When the site's clock last stepped, and when it could last not hear of an event and take it."""
        now_s = world.now_s
        if abs(world.jumped_s - self._jumped_s) > RIGHT_S:
            self._stepped_s = now_s
        self._jumped_s = world.jumped_s
        can_hear = world.operator.is_beating and world.broker.is_up and world.is_alive
        if not can_hear or abs(world.jumped_s) > RIGHT_S:
            self._deaf_s = now_s

    def _cap_w(self, world: Seen) -> float:
        """What must hold now."""
        # A controller whose clock is ahead lets go of an event by so much too early.
        now_s = world.now_s + max(0.0, world.jumped_s)
        caps = [SITE_W]
        for event in world.events:
            if self._obeyed_from_s(world, event) <= world.now_s and now_s < event.end_s:
                caps.append(event.kw * 1000)
            if event.holds(now_s, event.at_s + event.in_s) and self._plant.site_power_w <= event.kw * 1000:
                self._met.add(event.name)
        silent_s = max(self._heard_s + HEARTBEAT_TIMEOUT_S, world.down_until_s + RESTART_S)
        if world.now_s > silent_s + RESPONSE_S and not any(e.concerns(world.now_s) for e in world.events):
            caps.append(LINK_LOST_W)
        return min(caps)

    def _obeyed_from_s(self, world: Seen, event: Event) -> float:
        """When it can have been obeyed: heard, begun, and by a controller that had the time to know its site.
        What was met before a controller was killed is expected of the plant as it then stands, unless that
        changes: machines boot."""
        ack = world.operator.acked(event.name, "RECEIVED")
        heard_s = max(event.at_s, self._deaf_s) + HEARD_WITHIN_S if ack is None else ack.arrived_utc_s - UTC_S
        booted_s = max(self._unreachable_s.values(), default=-math.inf)
        stands = event.name in self._met and booted_s < world.down_until_s
        known_s = 0.0 if stands else world.down_until_s + RESTART_S
        begins_s = event.at_s + event.in_s + max(0.0, -RIGHT_S - world.jumped_s)
        return max(begins_s, heard_s, known_s, self._stepped_s) + RESPONSE_S

    def _lowest_w(self, node: str) -> float:
        """What a node draws when all that obey are off, and the others go on as they are."""
        below = self._below(node)
        machines = [one for one in self._plant.machines.values() if self._plant.nodes[one.node] in below]
        miners = [one for one in machines if isinstance(one, Miner)]
        away = {miner.id for miner in miners if not self._can_have_obeyed(miner)}
        away_w = sum(miner.watts for miner in miners if miner.id in away)
        resting_w = sum(miner.group.standby_w for miner in miners if miner.id not in away)
        gpus_w = sum(one.watts for one in machines if not isinstance(one, Miner))
        loads_w = sum(one.load_w for one in below) + self._foreign_w(node)
        return 1.01 * (away_w + resting_w + gpus_w + loads_w)  # no site can use the margin of its limits

    def _can_have_obeyed(self, miner: Miner) -> bool:
        """One that has only just booted must be found first, and told."""
        if not miner.reachable:
            self._unreachable_s[miner.id] = self._plant.now_s
        since_s = self._plant.now_s - self._unreachable_s.get(miner.id, -math.inf)
        return self.obeys(miner) and since_s > RESPONSE_S

    def obeys(self, miner: Miner) -> bool:
        """Whether an order sent now would get there and be carried out within the time there is."""
        faults, weather = miner.faults, self._network.over(miner.address)
        broken = (faults.hangs, faults.half_reply, faults.garbage, faults.refuses, faults.session_stolen)
        lies = (faults.lies_about_stop, faults.lies_about_limit)
        is_slow = faults.slow_s > SLOW_S or weather.slow_s > SLOW_S
        return miner.reachable and not (any(broken) or any(lies) or weather.dark or is_slow)
