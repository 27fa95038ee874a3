"""What a process hands to the next one, by the clock on the wall: who rests or dwells, who was started, since
when who stands for money, what the silent drew, and what meters show that no machine claims.

In doubt a machine rests, and a limit is kept with more to spare: what is from the future, for a clock was set
back, counts as of now. Nothing rests for longer by that than it does when it begins to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from controller.decide.beyond import MOST_SHARE, Beyond
from controller.decide.device import DeviceState
from controller.decide.doubt import GIVEN_UP_S, HOUR_S, IDLE_REST_S
from controller.decide.metering import NodeMemory
from controller.decide.snapshot import State
from controller.domain.power import ZERO, Limit, Power
from controller.domain.site import Site

BELIEVED_S = 86_400.0
"""For so long what machines hide counts as what they hid: who wonders learns it anew in minutes."""
LONGEST_DWELL_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What `meter` showed beyond claims, as `Beyond` has it, when it was last seen: beside `declared_w` of
    fixed load that the site file had at the node and below it, and what the next `metered` nodes below it
    showed themselves. (None: nobody knows which.)"""

    meter: str
    fixed_w: float
    share: float
    most_w: int
    seen_utc_s: float
    declared_w: int | None = None
    metered: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """By device: when it was given up, until when one without work rests, since when it stands for money, its
    starts of the last hour where they may become too many, when it was changed whose dwell is not over (None:
    nobody knows of whom it is), and what it drew at most, in W, when it was heard last, if it is silent; by
    node its line. Wall time, in whole seconds, which do not waver with clocks."""

    changed_utc_s: Mapping[str, float] | None = None
    started_utc_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    given_up_utc_s: Mapping[str, float] = field(default_factory=dict)
    rests_utc_s: Mapping[str, float] = field(default_factory=dict)
    stands_utc_s: Mapping[str, float] = field(default_factory=dict)
    silent_w: Mapping[str, int] = field(default_factory=dict)
    lines: Mapping[str, Line] = field(default_factory=dict)


def handed_on(site: Site, state: State, now_s: float, utc_s: float) -> Handed:
    wall_s = utc_s - now_s
    given_up = {
        name: it.given_up_s for name, it in state.devices.items() if now_s - it.given_up_s < GIVEN_UP_S
    }
    rests = {name: it.rests_s for name, it in state.devices.items() if it.rests_s > now_s}
    declared_w, metered = _declared_w(site), _metered_below(site)
    return Handed(
        changed_utc_s={name: math.ceil(at_s + wall_s) for name, at_s in _dwelling(state, now_s).items()},
        started_utc_s={
            name: tuple(round(at_s + wall_s) for at_s in lately)
            for name, lately in _started(state, now_s).items()
        },
        given_up_utc_s={name: round(at_s + wall_s) for name, at_s in given_up.items()},
        rests_utc_s={name: round(at_s + wall_s) for name, at_s in rests.items()},
        stands_utc_s={name: round(at_s + wall_s) for name, at_s in _stands(state).items()},
        silent_w=_silent_w(state),
        lines={
            node.id: Line(
                meter=node.meter,
                fixed_w=round(known.beyond.fixed_w, 1),
                share=round(known.beyond.share, 5),
                most_w=known.beyond.most_w,
                seen_utc_s=known.at_s + wall_s,
                declared_w=declared_w[node.id],
                metered=metered[node.id],
            )
            for node in site.nodes
            if node.meter is not None and (known := state.nodes.get(node.id, NodeMemory())).at_s > -math.inf
        },
    )


def taken_up(handed: Handed, site: Site, now_s: float, utc_s: float) -> State:
    """The state with which a process begins that was handed this."""
    wall_s = utc_s - now_s

    def was_s(at_utc_s: float) -> float:
        return min(at_utc_s - wall_s, now_s)

    given_up = {name: was_s(at_s) for name, at_s in handed.given_up_utc_s.items()}
    rests = {name: min(at_s - wall_s, now_s + IDLE_REST_S) for name, at_s in handed.rests_utc_s.items()}
    given_up = {name: at_s for name, at_s in given_up.items() if now_s - at_s < GIVEN_UP_S}
    rests = {name: at_s for name, at_s in rests.items() if at_s > now_s}
    unchanged_s = -math.inf if handed.changed_utc_s is None else now_s - LONGEST_DWELL_S
    changed = {name: was_s(at_s) for name, at_s in (handed.changed_utc_s or {}).items()}
    started = {name: tuple(map(was_s, lately)) for name, lately in handed.started_utc_s.items()}
    silent = {name: Power(watts) for name, watts in handed.silent_w.items() if watts > 0}
    declared_w, metered = _declared_w(site), _metered_below(site)
    return State(
        unchanged_s=unchanged_s,
        devices={
            name: DeviceState(
                since_s=changed.get(name, unchanged_s),
                started_s=started.get(name, ()),
                given_up_s=given_up.get(name, -math.inf),
                rests_s=rests.get(name, -math.inf),
                last=silent.get(name, ZERO),
            )
            for name in sorted(
                given_up.keys() | rests.keys() | changed.keys() | started.keys() | silent.keys()
            )
        },
        nodes={
            node.id: NodeMemory(
                beyond=Beyond(
                    _unnamed_w(line, declared_w[node.id], metered[node.id]), line.share, line.most_w
                )
            )
            for node in site.nodes
            if (line := handed.lines.get(node.id)) is not None
            and line.meter == node.meter
            and utc_s - line.seen_utc_s <= BELIEVED_S
            and _is_plausible(line, node.limit.power.watts if isinstance(node.limit, Limit) else math.inf)
        },
        stands_s={name: was_s(at_s) for name, at_s in handed.stands_utc_s.items()},
    )


def _dwelling(state: State, now_s: float) -> dict[str, float]:
    """When each device was changed whose dwell is not over."""
    if state.mirror is None:
        return {}
    fleet, since_s = state.mirror.fleet, state.mirror.columns.since_s
    rows = np.flatnonzero(now_s - since_s < fleet.dwell_s).tolist()
    return {fleet.specs[row].id: float(since_s[row]) for row in rows}


def _started(state: State, now_s: float) -> dict[str, list[float]]:
    """The starts of the last hour of those that had half as many as they may have: after an event thousands
    were started once."""
    if state.mirror is None:
        return {}
    found: dict[str, list[float]] = {}
    for row in np.flatnonzero(now_s - state.mirror.columns.started_s < HOUR_S).tolist():
        spec = state.mirror.fleet.specs[row]
        lately = [at_s for at_s in state.devices[spec.id].started_s if now_s - at_s < HOUR_S]
        if 2 * len(lately) >= spec.starts_per_hour:
            found[spec.id] = lately
    return found


def _silent_w(state: State) -> dict[str, int]:
    """What the silent drew at most when they were heard last, by this process or one before it: a restart
    makes none of them draw more, and meters go on showing it."""
    if state.mirror is None:
        return {}
    fleet, known = state.mirror.fleet, state.mirror.columns
    rows = np.flatnonzero(~known.seen & ~fleet.isolated & (known.last_w > 0)).tolist()
    return {fleet.specs[row].id: int(known.last_w[row]) for row in rows}


def _stands(state: State) -> dict[str, float]:
    """Since when each device stands that was stopped for money, or is kept from starting for it."""
    if state.verdicts is None or state.mirror is None:
        return {}
    said = state.verdicts
    rows = np.flatnonzero(~said.may_run & ~said.running).tolist()
    return {state.mirror.fleet.specs[row].id: float(said.since_s[row]) for row in rows}


def _unnamed_w(line: Line, declared_w: int, metered: tuple[str, ...]) -> float:
    """What of a line's fixed part the site file has not named since. Where more is measured below, that may
    be all of it: a meter shows at once what is there without claims. What rises with claims no file names."""
    if line.declared_w is None or line.metered is None:
        return line.fixed_w
    if not set(metered) <= set(line.metered):
        return 0.0
    return max(0.0, line.fixed_w - max(0, declared_w - line.declared_w))


def _declared_w(site: Site) -> dict[str, int]:
    """The fixed load at each node and below it, in the site file."""
    found = {node.id: node.fixed.watts for node in site.nodes}
    for node in reversed(site.nodes):
        if node.parent is not None:
            found[node.parent] += found[node.id]
    return found


def _metered_below(site: Site) -> dict[str, tuple[str, ...]]:
    """The next nodes below each node that have a meter."""
    found: dict[str, tuple[str, ...]] = {node.id: () for node in site.nodes}
    for node in reversed(site.nodes):
        if node.parent is not None:
            here = (node.id,) if node.meter is not None else found[node.id]
            found[node.parent] = (*here, *found[node.parent])
    return found


def _is_plausible(line: Line, limit_w: float) -> bool:
    """A comparison with what is no number is false."""
    return abs(line.share) <= MOST_SHARE and 0 <= line.fixed_w <= limit_w and line.most_w >= 0
