"""What is known of every device as arrays: the `DeviceState` of each, mirrored row by row of the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.device import DeviceState
from controller.decide.doubt import may_start_s, without_work
from controller.decide.fleet import Fleet
from controller.decide.words import TRUTHS, Truth
from controller.domain.devices import Quality

CODE = {truth: code for code, truth in enumerate(TRUTHS)}
SEEN = np.array([truth not in (Truth.STALE, Truth.UNREACHABLE) for truth in TRUTHS])
IN_FLIGHT = np.array([truth in (Truth.COMMANDED, Truth.ACKNOWLEDGED, Truth.REFUSED) for truth in TRUTHS])
DISOBEYS = np.array([truth in (Truth.LYING, Truth.REFUSED) for truth in TRUTHS])
ON_ITS_WAY = np.array([truth in (Truth.CONFIRMED, Truth.ACKNOWLEDGED) for truth in TRUTHS])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """`at` is the index of a device's point (-1: none that it has), `now_w` that point's power (-1: none).

    A `steady` device, saying once more the very same, is as it was, whatever the time.
    """

    at: Ints
    now_w: Ints
    truth: NDArray[np.int8]
    worst_w: Ints
    last_w: Ints
    draw_w: Ints
    measured: Flags
    heard_s: Floats
    since_s: Floats
    asked_s: Floats
    sent_s: Floats
    failures: Ints
    began_w: Ints
    started_s: Floats
    may_start_s: Floats
    given_up_s: Floats
    bias: Floats
    stuck_w: Ints
    demand_w: Floats
    derate: Floats
    warned: Flags
    idle: Flags
    steady: Flags

    @property
    def seen(self) -> Flags:
        return SEEN[self.truth]

    @property
    def in_flight(self) -> Flags:
        return IN_FLIGHT[self.truth]

    @property
    def here_w(self) -> Ints:
        """What the point of each device is reckoned to draw on it."""
        reckoned_w = counted_w(np.maximum(self.now_w, 0), self.bias)
        return no_less_than_stuck(reckoned_w, self.stuck_w, self.at > 0)

    @property
    def disobeys(self) -> Flags:
        """Who lied or refused, and has not made up for it."""
        return DISOBEYS[self.truth]

    def present_w(self, obeys: Flags) -> Ints:
        """What each device counts for where it is: who does not obey, at its worst."""
        found: Ints = np.where(obeys, self.here_w, self.worst_w)
        return found

    def copy(self) -> Columns:
        return Columns(**{name: getattr(self, name).copy() for name in NAMES})

    def put(self, fleet: Fleet, states: Mapping[str, DeviceState]) -> None:
        """Mirror the states of these devices; only into a copy that no plan was made of yet."""
        rows = [fleet.row[name] for name in states]
        known = tuple(states.values())
        self.at[rows] = [fleet.index_of(row, it.point) for row, it in zip(rows, known, strict=True)]
        self.now_w[rows] = [-1 if it.point is None else it.point.power.watts for it in known]
        self.truth[rows] = [CODE[it.truth] for it in known]
        self.worst_w[rows] = [it.worst.watts for it in known]
        self.last_w[rows] = [it.last.watts for it in known]
        self.draw_w[rows] = [it.draw.watts for it in known]
        self.measured[rows] = [it.quality is Quality.MEASURED for it in known]
        self.heard_s[rows] = [it.at_s for it in known]
        self.since_s[rows] = [it.since_s for it in known]
        self.asked_s[rows] = [it.asked_s for it in known]
        self.sent_s[rows] = [it.sent_s for it in known]
        self.failures[rows] = [it.failures for it in known]
        self.began_w[rows] = [it.began.watts for it in known]
        self.started_s[rows] = [it.started_s[-1] if it.started_s else -np.inf for it in known]
        starts = zip(rows, known, strict=True)
        self.may_start_s[rows] = [may_start_s(fleet.specs[row], it) for row, it in starts]
        self.given_up_s[rows] = [it.given_up_s for it in known]
        self.bias[rows] = [it.bias for it in known]
        self.stuck_w[rows] = [0 if it.stuck is None else it.stuck.draw.watts for it in known]
        self.demand_w[rows] = [it.demand_w for it in known]
        self.derate[rows] = [it.derate for it in known]
        self.warned[rows] = [it.warned for it in known]
        self.idle[rows] = [without_work(it) for it in known]
        self.steady[rows] = False


NAMES = tuple(field.name for field in fields(Columns))


def empty(rows: int) -> Columns:
    return Columns(
        at=np.full(rows, -1, dtype=np.int64),
        now_w=np.full(rows, -1, dtype=np.int64),
        truth=np.full(rows, CODE[Truth.UNREACHABLE], dtype=np.int8),
        worst_w=np.zeros(rows, dtype=np.int64),
        last_w=np.zeros(rows, dtype=np.int64),
        draw_w=np.zeros(rows, dtype=np.int64),
        measured=np.zeros(rows, dtype=np.bool_),
        heard_s=np.full(rows, -np.inf),
        since_s=np.full(rows, -np.inf),
        asked_s=np.full(rows, -np.inf),
        sent_s=np.full(rows, -np.inf),
        failures=np.zeros(rows, dtype=np.int64),
        began_w=np.zeros(rows, dtype=np.int64),
        started_s=np.full(rows, -np.inf),
        may_start_s=np.full(rows, -np.inf),
        given_up_s=np.full(rows, -np.inf),
        bias=np.ones(rows),
        stuck_w=np.zeros(rows, dtype=np.int64),
        demand_w=np.full(rows, np.inf),
        derate=np.zeros(rows),
        warned=np.zeros(rows, dtype=np.bool_),
        idle=np.zeros(rows, dtype=np.bool_),
        steady=np.zeros(rows, dtype=np.bool_),
    )


def no_less_than_stuck(watts: Ints, stuck_w: Ints, above_floor: Flags) -> Ints:
    """What devices count for: who went on at more than it was told, so at each point above its lowest."""
    return np.maximum(watts, np.where(above_floor, stuck_w, 0))


def counted_w(power_w: Ints, bias: Floats) -> Ints:
    """What points are reckoned to draw on devices of that bias: `DeviceState.reckoned` for many."""
    return np.ceil(power_w * bias).astype(np.int64)


def never_drew_w(fleet: Fleet, was: Columns, now: Columns) -> Ints:
    """What each miner counted for until now and never drew, if it may be believed: where it was told to be it
    says as little as it said when it was told."""
    shown_w = np.maximum(was.draw_w, now.began_w)
    found = ~fleet.gpu & was.seen & (now.truth == CODE[Truth.CONFIRMED]) & (shown_w <= now.worst_w)
    return np.where(found, np.maximum(0, was.worst_w - now.worst_w), 0)


def overdue(fleet: Fleet, known: Columns, now_s: float) -> Flags:
    """Who said yes to drawing less and has had the time to show it, as `truth.observe` reckons that."""
    lowering = counted_w(np.maximum(known.now_w, 0), known.bias) < known.worst_w
    heard = known.heard_s > known.sent_s + fleet.settle_down_s / 2
    acknowledged = known.truth == CODE[Truth.ACKNOWLEDGED]
    found: Flags = acknowledged & lowering & heard & (now_s > known.sent_s + fleet.settle_down_s)
    return found
