"""Meeting a set-point: miners take the slow part, GPUs the rest. A soft aim: no hard limit is touched here.

The law is feed-forward on what every machine that is on its way is expected to draw, plus an integral on what
the meter shows beyond that. When the site is short and the set-point keeps moving, a few more machines are
started than are needed, as a start takes minutes; what is too much when they arrive is trimmed by stopping
others, which takes seconds. Nothing is stopped that changed a moment ago: a set-point is not a limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from controller.decide import arrival
from controller.decide.arrays import Flags, Floats
from controller.decide.columns import counted_w
from controller.decide.freedom import Freedom, may_stay
from controller.decide.inputs import Sample
from controller.decide.limits import Follow, Limits
from controller.decide.snapshot import Snapshot
from controller.decide.stuck import Still
from controller.decide.swing import SHORT_SHARE, Course, Swing, swing_now
from controller.decide.value import reckoned_w, shown_bias
from controller.domain.devices import MeterReading
from controller.domain.jobs import QueueReading

AHEAD_S = 4.0
"""A miner that is told to stop now is mostly stopped then."""
METER_LATE_S = 2.0
GAIN, AT_ONCE_S = 0.05, 5.0
"""Share of a meter reading's difference from the model that is believed for each second since the last one,
and for how many seconds at most."""
OFF_SHARE = 0.1
"""The meter corrects the model by no more than this share of the set-point, and by what the silent are taken
to draw, for they may be without voltage, or may draw beyond that: they may have been starting. It may also
take off what GPUs measure less than they count for: to their work a limit is no demand."""
OVER_SHARE, COARSE_SHARE = 0.001, 0.005
"""So little too much, miners are left alone, as where it is short: the meter's noise is about as much. And up
to the second where they can only give more than twice that."""
SWING_SHARE = 0.25
"""... and as long as GPUs are within this share of their way from the middle to an end."""
SOON_S, OVER_START, OVER_MOST = 14.0, 8.0, 0.1
"""While the set-point keeps moving, what is short should be there within the first: of a start that takes two
minutes, little shows in the seconds that count. So the more is started the longer that takes, up to the
second times what is short, and the third of the set-point.
"""
MOVES, MOVING_S = 3.0, 60.0
"""A set-point that changed so often within about that time keeps moving."""
KEPT_S = 10.0
"""The model is remembered for as long as a meter reading may be late."""


def set_course(
    before: Follow,
    seen: Snapshot,
    limits: Limits,
    may: Freedom,
    queues: Iterable[QueueReading],
    meter: Sample[MeterReading] | None,
    now_s: float,
) -> Course:
    """Aim at the set-point of `limits`. What was learned of the site ends with the set-point, and what the
    meter taught once it shows what cannot be."""
    if not limits.follows:
        nobody = Swing(gpus=may.pinned, least_w=may.most_w, most_w=may.most_w, together=None)
        kept = Follow(starts=before.starts, retunes=before.retunes)
        return Course(limits=limits, follow=kept, may=may, swing=nobody)
    swing = swing_now(seen, limits, may, queues)
    other_w = float(seen.other_w[0])
    root = seen.memory.get(seen.tree.ids[0])
    if root is not None and root.doubted:
        before, meter = replace(before, off_w=0.0), None
    known = arrival.learned(before, seen, may, now_s)
    drawn_w = arrival.drawn_w(seen, may, known, now_s)
    known = _given_back(known, seen, drawn_w)
    hidden_w = float((seen.columns.worst_w - drawn_w)[~seen.columns.seen].sum())
    doubted_w = _gone_w(known, seen, drawn_w), hidden_w
    follow = _watched(known, limits.goal_w, other_w + float(drawn_w.sum()), doubted_w, meter, now_s)
    wanted_w = limits.goal_w - follow.off_w - other_w - swing.middle_w
    slow = ~swing.gpus
    soon_w = float(arrival.drawn_w(seen, may, follow, now_s + AHEAD_S, landed=True)[slow].sum())
    settled_w = float(arrival.settled_w(seen, may)[slow].sum())
    may = replace(may, pinned=swing.gpus)
    lack = Lack(soon_w=wanted_w - soon_w, settled_w=wanted_w - settled_w, slack_w=SWING_SHARE * swing.half_w)
    change_w, may = _change(seen, limits, may, follow, lack)
    limits, may = _aimed(seen, limits, may, swing, change_w)
    return Course(limits=limits, follow=follow, may=may, swing=swing, change_w=change_w)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """What miners will soon lack (negative: have too much), and what they would if everything had arrived;
    `slack_w` of that GPUs see to.
    """

    soon_w: float
    settled_w: float
    slack_w: float


def _change(
    seen: Snapshot, limits: Limits, may: Freedom, follow: Follow, lack: Lack
) -> tuple[float, Freedom]:
    """What miners should be asked for, beyond what they were asked for, and who may be asked.

    While the set-point keeps moving, machines that hash fill in for those that are starting, where that is
    quick; for what they cannot, more is started than is short.
    """
    moving, goal_w = _moving(follow), limits.goal_w
    change_w = 0.0
    if lack.soon_w > max(SHORT_SHARE * goal_w, lack.slack_w):
        quick_w = _quick_w(seen, may, follow) if moving else 0.0
        over_start = min(OVER_START, max(0.0, arrival.start_s(seen, follow) / SOON_S - 1))
        beyond_w = moving * over_start * max(0.0, lack.soon_w - quick_w)
        change_w = max(0.0, lack.settled_w + min(beyond_w, OVER_MOST * goal_w))
        if change_w < min(lack.soon_w, quick_w):
            change_w, may = min(lack.soon_w, quick_w), replace(may, rests=may.rests | _asleep(seen))
    elif lack.soon_w < -max(_borne_w(seen, may, goal_w), lack.slack_w):
        change_w = lack.soon_w
    return change_w, _one_way(seen, limits, may, change_w) if moving else may


def _borne_w(seen: Snapshot, may: Freedom, goal_w: int) -> float:
    """So much too much is left alone: where machines have few points, the least that one can give would leave
    more missing, another would be started for that, and so on for ever."""
    fleet, known = seen.fleet, seen.columns
    free = ~fleet.gpu & may.obeys & ~may.dwells & (known.at > 0)
    below_w = fleet.power_w[(fleet.start[:-1] + known.at - 1)[free]]
    least_w = int((known.now_w[free] - below_w).min(initial=goal_w))
    return max(OVER_SHARE * goal_w, min(COARSE_SHARE * goal_w, least_w / 2))


def _quick_w(seen: Snapshot, may: Freedom, follow: Follow) -> float:
    """What machines that hash can draw more within seconds; nothing where that takes them longer."""
    if arrival.retune_s(seen, follow) > SOON_S:
        return 0.0
    free = ~seen.fleet.gpu & may.obeys & ~may.dwells & ~may.barred & ~_asleep(seen)
    free &= seen.columns.stuck_w == 0
    most_w = np.minimum(may.most_w, seen.fleet.top_w)
    return float(np.maximum(0, most_w - seen.columns.now_w)[free].sum())


def _asleep(seen: Snapshot) -> Flags:
    return np.asarray(seen.columns.now_w == seen.fleet.floor_w)


def _moving(follow: Follow) -> float:
    """0 for a set-point that stands, 1 for one that keeps moving; a single step is not that."""
    return min(1.0, max(0.0, follow.moves - 1) / MOVES)


def _one_way(seen: Snapshot, limits: Limits, may: Freedom, change_w: float) -> Freedom:
    """Nobody is lowered to raise another, and nobody raised while the site has too much: what goes down is
    gone at once, what goes up comes late, and meanwhile the set-point is not met. What earns more can wait
    until the set-point stands.
    """
    now_w = np.maximum(seen.columns.now_w, 0)
    miners = ~seen.fleet.gpu & may.obeys
    most_w = may.most_w if change_w > 0 else np.where(miners, np.minimum(may.most_w, now_w), may.most_w)
    kept = may_stay(seen, limits, may) if change_w >= 0 else may.kept
    return replace(may, most_w=most_w, kept=kept)


def _aimed(
    seen: Snapshot, limits: Limits, may: Freedom, swing: Swing, change_w: float
) -> tuple[Limits, Freedom]:
    """Plan with what is asked for now and the change. Who changed a moment ago is left alone, and who is
    still starting as well, as long as others can be stopped. Jobs that run keep their least, be a place above
    them over its limit or not: that limit may take it, a set-point may not.
    """
    fleet, known = seen.fleet, seen.columns
    shown = shown_bias(fleet, known)
    here_w = np.maximum(known.here_w, counted_w(np.maximum(known.now_w, 0), shown))
    counts_w = np.where(may.obeys, here_w, known.worst_w)
    needed_w = reckoned_w(np.maximum(fleet.floor_w, swing.least_w), known.now_w, known.bias, shown)
    lowest_w = np.where(may.obeys, np.minimum(counts_w, needed_w), counts_w)
    aim_w = int(seen.beside_w[0] + counts_w.sum()) + math.floor(change_w)
    arriving = ~fleet.gpu & known.in_flight & (known.draw_w < counts_w)

    def left_w(kept: Flags) -> int:
        return int(seen.beside_w[0] + np.where(kept | may.pinned | may.kept, counts_w, lowest_w).sum())

    kept = may.dwells | arriving
    if left_w(kept) > aim_w:
        kept = may.dwells
    return limits.aimed_at(max(aim_w, left_w(kept))), replace(may, dwells=kept)


def _given_back(before: Follow, seen: Snapshot, drawn_w: Floats) -> Follow:
    """`before`, with the silent of now. What the meter took off for those that are heard again is explained
    by what they say: it is given back, as far as it was taken, or others would be raised for it once more.
    """
    row, known = seen.fleet.row, seen.columns
    silent = [(seen.fleet.specs[at].id, float(drawn_w[at])) for at in np.flatnonzero(~known.seen).tolist()]
    heard = [(row[name], watts) for name, watts in before.silent if name in row and known.seen[row[name]]]
    less_w = sum(watts - float(drawn_w[at]) for at, watts in heard)
    given_w = min(max(less_w, min(0.0, -before.off_w)), max(0.0, -before.off_w))
    return replace(
        before,
        off_w=before.off_w + given_w,
        modelled=tuple((at_s, watts - given_w) for at_s, watts in before.modelled),
        silent=tuple(silent),
    )


def _gone_w(known: Follow, seen: Snapshot, drawn_w: Floats) -> float:
    """What of the model may not be drawn at all: by the silent, and by GPUs whose work does not want it."""
    at = seen.columns
    less_w = (drawn_w - at.draw_w)[seen.fleet.gpu & at.seen & at.measured]
    return sum(watts for _, watts in known.silent) + float(np.maximum(0, less_w).sum())


def _watched(
    before: Follow,
    goal_w: int,
    modelled_w: float,
    doubted_w: tuple[float, float],
    meter: Sample[MeterReading] | None,
    now_s: float,
) -> Follow:
    """What is remembered now: the model of late, what the meter shows beyond it, how often the goal moved.
    There may be drawn less than is modelled, and more, by `doubted_w`."""
    elapsed_s = max(0.0, now_s - before.at_s)
    moves = before.moves * math.exp(-elapsed_s / MOVING_S) + (before.goal_w not in (None, goal_w))
    lately = (*(past for past in before.modelled if now_s - past[0] <= KEPT_S), (now_s, modelled_w))
    known = replace(before, at_s=now_s, goal_w=goal_w, modelled=lately, moves=moves)
    if meter is None or meter.at_s <= before.meter_s:
        return known
    return _taught(known, goal_w, doubted_w, meter)


def _taught(
    before: Follow, goal_w: int, doubted_w: tuple[float, float], meter: Sample[MeterReading]
) -> Follow:
    """With one more reading of the meter. One that stands still to the watt where the model does not is
    frozen: it teaches nothing, and what it taught since it last moved is forgotten."""
    lasted_s = 1.0 if before.meter_s == -math.inf else min(meter.at_s - before.meter_s, AT_ONCE_S)
    then_s = np.array([past[0] for past in before.modelled])
    then_w = float(np.interp(meter.at_s - METER_LATE_S, then_s, [past[1] for past in before.modelled]))
    metered_w = meter.value.power.watts
    still = Still(metered_w, meter.at_s, before.off_w, least_w=then_w, most_w=then_w).on(before.still)
    if still.outrun:
        known = before.still is not None and before.still.outrun
        off_w = before.off_w if known else still.off_w
    else:
        off_w = before.off_w + (1 - (1 - GAIN) ** lasted_s) * (metered_w - then_w - before.off_w)
        gone_w, hidden_w = doubted_w
        if before.meter_s == -math.inf:  # what is missing as the set-point begins, was not drawn before
            off_w = min(off_w, max(-gone_w, metered_w - then_w))
        off_w = min(max(off_w, -OFF_SHARE * goal_w - gone_w), OFF_SHARE * goal_w + max(0.0, hidden_w))
    return replace(before, off_w=off_w, meter_s=meter.at_s, still=still)
