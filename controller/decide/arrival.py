"""What devices that are on their way will draw in the next seconds, and how long changes take on this site.

Also who comes back without being told is on its way: its breaker was closed, or it booted after a hang.
How long they may take at most is configured; how long they do take is learned from what is measured. A draw
that is only estimated from a setting shows a change before it has happened, and is not believed then.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.freedom import Freedom
from controller.decide.learning import AT_LIMIT
from controller.decide.limits import Follow
from controller.decide.mirror import idle_gpus
from controller.decide.snapshot import Snapshot

FALL_SHARE = 0.1
"""Time constant of a stop, as a share of the time in which it must show."""
QUIET_SHARE = 1 / 7
"""A raise shows nothing for the first share of its time, and ramps from there on."""
LATE_SHARE = 1.5
"""A machine that takes longer than its like by this much is where it is, and not on its way any more."""
LEAST_S = 0.1
GAIN = 0.05
"""Share of a reading's difference from what was learned that is believed."""
BEGUN = 0.15
"""Less of a raise than this says only that it takes longer than it took until now."""
NEAR_SHARE = 0.03
"""So near to its watts a machine is there: by so much it may differ from what it is reckoned to draw."""


def settled_w(seen: Snapshot, may: Freedom) -> Floats:
    """What each device will draw once it is where it was told to be; who does not obey, what it draws, as a
    GPU that nothing runs on does at its lowest limit."""
    known, found = seen.columns, told_w(seen, may).astype(np.float64)
    below = may.obeys & (known.at == 0) & (known.draw_w < AT_LIMIT * known.here_w)
    rows = idle_gpus(seen.fleet, seen.readings, below & known.seen & known.measured)
    found[rows] = known.draw_w[rows]
    return found


def told_w(seen: Snapshot, may: Freedom) -> Ints:
    """What each device counts for where it was told to be; who does not obey, what it draws."""
    found: Ints = np.where(may.obeys, seen.columns.here_w, seen.columns.draw_w)
    return found


def drawn_w(seen: Snapshot, may: Freedom, follow: Follow, at_s: float, *, landed: bool = False) -> Floats:
    """What each device is expected to draw at a time; `landed` takes every stop to be over."""
    fleet, known = seen.fleet, seen.columns
    end_w, rise_s = settled_w(seen, may), _rise_s(seen, follow)
    since_s = np.maximum(known.asked_s, at_s - 1e6)
    late_s = np.where(known.measured, LATE_SHARE * rise_s, fleet.settle_up_s)
    window_s = np.where(end_w > known.began_w, late_s, fleet.settle_down_s)
    moving = at_s - since_s < window_s
    heard = known.measured & (known.heard_s > since_s)
    from_w = np.where(known.measured | ~moving, known.draw_w, known.began_w).astype(np.float64)
    from_s = np.where(heard, known.heard_s, since_s)
    after_s = np.maximum(0.0, at_s - from_s)
    left = 0.0 if landed else np.exp(-after_s / np.maximum(FALL_SHARE * fleet.settle_down_s, LEAST_S))
    falling_w = end_w + (from_w - end_w) * left
    quiet_s = QUIET_SHARE * rise_s
    ramp_w_per_s = np.maximum(0.0, end_w - known.began_w) / np.maximum(rise_s - quiet_s, LEAST_S)
    climbed_w = ramp_w_per_s * np.maximum(0.0, at_s - np.maximum(from_s, since_s + quiet_s))
    shown_w_per_s = np.where(heard, known.draw_w - known.began_w, 0) / np.maximum(from_s - since_s, LEAST_S)
    rising_w = np.minimum(end_w, from_w + np.maximum(climbed_w, shown_w_per_s * after_s))
    moving_w = np.where(moving, np.where(end_w < from_w, falling_w, rising_w), from_w)
    return np.where(fleet.gpu, end_w, moving_w)


def learned(before: Follow, seen: Snapshot, may: Freedom, now_s: float) -> Follow:
    """`before`, with what new readings of machines on their way up say of how long that takes."""
    fleet, known = seen.fleet, seen.columns
    end_w = settled_w(seen, may)
    way_w = end_w - known.began_w
    since_s = np.maximum(known.since_s, now_s - 1e6)
    new = known.measured & (known.heard_s > np.maximum(before.at_s, since_s)) & ~fleet.gpu & may.obeys
    new &= ~_came_back(seen)
    new &= (way_w > NEAR_SHARE * end_w) & (now_s - since_s < LATE_SHARE * fleet.settle_up_s)
    rows = np.flatnonzero(new)
    if not len(rows):
        return before
    took_s = known.heard_s[rows] - since_s[rows]
    done = (known.draw_w[rows] - known.began_w[rows]) / way_w[rows]
    thought_s = _rise_s(seen, before)[rows]
    shown_s = np.where(done < BEGUN, np.maximum(thought_s, took_s), took_s / np.clip(done, BEGUN, 1.0))
    there = 1 - done < NEAR_SHARE * end_w[rows] / way_w[rows]
    shown_s = np.where(there, np.minimum(thought_s, took_s), shown_s)
    tells = shown_s != thought_s
    share = np.minimum(1.0, shown_s / fleet.settle_up_s[rows])
    starts = _starts(seen, before)[rows]

    def nearer(was: float, which: Flags) -> float:
        """A share of watts says as much of it as its watts are of a whole machine's."""
        weight = (way_w[rows] / fleet.top_w[rows])[which & tells]
        if not weight.sum():
            return was
        gain = 1 - (1 - GAIN) ** weight.sum()
        return float(was + gain * (np.average(share[which & tells], weights=weight) - was))

    return replace(before, starts=nearer(before.starts, starts), retunes=nearer(before.retunes, ~starts))


def start_s(seen: Snapshot, follow: Follow) -> float:
    """How long a start of a miner takes here."""
    return follow.starts * _usual_s(seen)


def retune_s(seen: Snapshot, follow: Follow) -> float:
    """How long a raise of a miner that hashes takes here."""
    return follow.retunes * _usual_s(seen)


def _usual_s(seen: Snapshot) -> float:
    miners = ~seen.fleet.gpu
    return float(seen.fleet.settle_up_s[miners].mean()) if miners.any() else 0.0


def _rise_s(seen: Snapshot, follow: Follow) -> Floats:
    """How long each device's raise takes, from its command to its last watt."""
    share = np.where(_starts(seen, follow), follow.starts, follow.retunes)
    return np.maximum(share * seen.fleet.settle_up_s, LEAST_S)


def _starts(seen: Snapshot, follow: Follow) -> Flags:
    """Whose last raise was a start, or came before a start was over; and who boots."""
    under_way_s = LATE_SHARE * follow.starts * seen.fleet.settle_up_s
    return (seen.columns.started_s > seen.columns.since_s - under_way_s) | _came_back(seen)


def _came_back(seen: Snapshot) -> Flags:
    """Who has yet to show what it was told before it was last silent, or did not show any more."""
    found: Flags = seen.columns.asked_s > seen.columns.since_s
    return found
