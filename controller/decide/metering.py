"""What the meter of one node teaches of load that nobody accounts for, and whether it is to be believed.

A meter is trusted, claims divide it. What it shows beyond the worst case of everything below it is certain to
be unexplained and counts at once; what it shows beyond the claimed draws is learned slowly, and only so far
as what is changing below cannot explain it. It is learned twice: in watts, as they are now, and as `Beyond`,
for the claims that may come.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from controller.decide.beyond import NOTHING, Beyond
from controller.decide.inputs import Sample
from controller.decide.outclaimed import Outclaimed
from controller.decide.stuck import COARSE_W, METER_LAG_S, Standing
from controller.decide.sums import Below
from controller.domain.devices import MeterReading

MEMORY_S = 15.0
"""So long what was seen is remembered: a device is read at least this often, and a meter may be late."""
METER_ERROR = 0.005
"""A meter may be wrong by this share: following that would have machines going up and down with noise."""
LEAST_SHARE = 0.5
"""A meter that shows less than this share of what devices below it claim for sure does not measure them."""
KNOWN = 0.75
"""With so much of all that may be drawn it is known what is claimed: a machine or two may be without work."""
UNEXPLAINED_TAU_S = 30.0
"""Time constant with which unexplained load is learned, and unlearned."""


class Claims(NamedTuple):
    """Of what is below a meter, `beside_w` is no machine's claim; `fixed_w` is the node's own fixed load, and
    `top_w` the most that machines can claim."""

    beside_w: int
    fixed_w: int
    top_w: int


class Shows(NamedTuple):
    """What a meter leaves room for: `least_w` are unexplained if `busy_w` is drawn below it, and no more than
    `most_w` if that is `claimed_w`."""

    least_w: float
    most_w: float
    claimed_w: int
    busy_w: int

    def learned_w(self, watts: float, elapsed_s: float) -> float:
        """What was unexplained, moved to where there is room for it."""
        gain = 1 - math.exp(-elapsed_s / UNEXPLAINED_TAU_S)
        return watts + gain * (min(max(watts, self.least_w), self.most_w) - watts)

    def taught(self, beyond: Beyond, learned_w: float, claims: Claims, elapsed_s: float) -> Beyond:
        """What is unexplained at other claims, beside the fixed load, so that it holds for all that may be
        drawn now. Where that is known it is what was `learned_w`."""
        busy_w, claimed_w = self.busy_w - claims.beside_w, max(0, self.claimed_w - claims.beside_w)
        beyond = beyond._replace(most_w=max(beyond.most_w, claimed_w))
        more_w = self.least_w - claims.fixed_w - beyond.at(busy_w)
        if more_w > 0:
            return beyond.taught(more_w, busy_w, claims.top_w, elapsed_s)
        known = claimed_w >= KNOWN * busy_w
        at_w, most_w = (busy_w, max(learned_w, self.least_w)) if known else (claimed_w, self.most_w)
        less_w = beyond.at(at_w) - max(0.0, most_w - claims.fixed_w)
        return beyond.taught(-max(0.0, less_w), at_w, claims.top_w, elapsed_s)


class Learned(NamedTuple):
    """What is unexplained at a node, as `NodeMemory` has it."""

    unexplained_w: float = 0.0
    beyond: Beyond = NOTHING


UNKNOWN = Learned()
BELIEVED = Outclaimed()


class Seen(NamedTuple):
    """The sums below a node at one moment, its meter's watts where they were new, and what had been learned
    before that."""

    at_s: float
    below: Below
    metered_w: int | None
    learned: Learned = UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMemory:
    """Unexplained watts of a node, the time of the last meter reading they were learned from, and what was
    seen of late; `beyond` is what they are at other claims. The meter is `doubted` while it shows what cannot
    be, for `doubted_s` by now, and `outclaimed` where it shows too little. `moved_w` and `moved` are what was
    unexplained when it last showed something new, `standing` what it shows since then. `above` is what the
    nearest meter above had learned when this one was heard last.
    """

    unexplained_w: float = 0.0
    beyond: Beyond = NOTHING
    moved_w: float = 0.0
    moved: Beyond = NOTHING
    at_s: float = float("-inf")
    recent: tuple[Seen, ...] = ()
    standing: Standing | None = None
    doubted: bool = False
    doubted_s: float = 0.0
    outclaimed: Outclaimed = BELIEVED
    above: Learned = UNKNOWN

    @property
    def last_w(self) -> int:
        """What its meter showed last; nothing, where it was never heard."""
        return 0 if self.standing is None else self.standing.metered_w

    @property
    def learned(self) -> Learned:
        return Learned(self.unexplained_w, self.beyond)

    @property
    def contradicts(self) -> bool:
        """Whether it is doubted for so long that all below it were read since: a job that ends shows at the
        meter first."""
        return self.doubted_s > MEMORY_S


def shown_w(recent: Iterable[Seen]) -> list[int]:
    """What a meter showed, the newest last."""
    return [seen.metered_w for seen in recent if seen.metered_w is not None]


def lately(known: NodeMemory, now_s: float, never_w: int) -> list[Seen]:
    """What was seen of late, less what devices counted for in it and never drew: where the meter shows it all
    the same, it is certain that somebody does."""
    recent = [seen for seen in known.recent if now_s - seen.at_s <= MEMORY_S]
    if never_w == 0:
        return recent
    return [seen._replace(below=seen.below._replace(worst_w=seen.below.worst_w - never_w)) for seen in recent]


def watched(
    known: NodeMemory,
    recent: tuple[Seen, ...],
    sample: Sample[MeterReading] | None,
    shown: Sequence[int],
    claims: Claims,
    above: Learned,
    *,
    stuck: bool,
) -> NodeMemory:
    """With what was seen of late, the newest last, what the meter has `shown` then, and what the one `above`
    had learned. One that is `stuck` taught nothing since it last moved; nor did one that moves again after
    it stood still for long, as far as it does not go on to show that. One that shows too little while no
    device claims anything shows that there is no voltage: what is no device's is off, too, and comes back
    with it."""
    if sample is None:
        return replace(known, recent=recent)
    metered_w = shown[-1]
    elapsed_s = min(sample.at_s - known.at_s, UNEXPLAINED_TAU_S)
    claimed_w = min([seen.below.settled_w - seen.below.guessed_w for seen in recent])
    busy_w = max([seen.below.busy_w for seen in recent])
    begun = Standing(metered_w=metered_w, since_s=sample.at_s, claimed_w=claimed_w, most_w=busy_w)
    standing = begun.on(known.standing)._replace(stuck=stuck)
    below, too_little = recent[-1].below, metered_w < LEAST_SHARE * claimed_w
    outclaimed = known.outclaimed
    if not too_little:
        drawn_w = min([seen.below.surely_w for seen in recent])
        outclaimed = outclaimed.on(metered_w, drawn_w, claims.top_w, elapsed_s)
    dark = too_little and below.settled_w == below.other_w
    # A meter that shows too much is believed, unless other meters say otherwise: so may the watts of a liar.
    doubted = stuck or (too_little and not dark) or standing.slept(claimed_w, sample.at_s)
    doubted = doubted or outclaimed.convicted or metered_w < 0
    learned = Learned(known.moved_w, known.moved) if stuck else known.learned
    if not doubted and not dark and not outclaimed.now:
        if known.standing is not None and known.standing.woke(metered_w, sample.at_s):
            learned = _awake(learned, metered_w * (1 + METER_ERROR) - claimed_w)
        shows = _shows(shown, standing.claimed_w, busy_w)
        learned = _taught(learned, shows, _certain_w(recent, sample), claims, elapsed_s)
    moved = learned if standing.since_s == sample.at_s else Learned(known.moved_w, known.moved)
    return NodeMemory(
        unexplained_w=learned.unexplained_w,
        beyond=learned.beyond,
        moved_w=moved.unexplained_w,
        moved=moved.beyond,
        at_s=sample.at_s,
        recent=recent,
        standing=standing,
        doubted=doubted,
        doubted_s=known.doubted_s + sample.at_s - known.at_s if doubted and known.doubted else 0.0,
        outclaimed=outclaimed,
        above=above,
    )


def _awake(before: Learned, most_w: float) -> Learned:
    """What was learned, once the meter moves again and leaves room for `most_w` of it."""
    less_w = before.unexplained_w - max(0.0, most_w)
    if less_w <= COARSE_W:
        return before
    fixed_w = max(0.0, before.beyond.fixed_w - less_w)
    return Learned(before.unexplained_w - less_w, before.beyond._replace(fixed_w=fixed_w))


def _taught(before: Learned, shows: Shows, certain_w: float, claims: Claims, elapsed_s: float) -> Learned:
    learned_w = max(shows.learned_w(before.unexplained_w, elapsed_s), certain_w)
    return Learned(learned_w, shows.taught(before.beyond, learned_w, claims, elapsed_s))


def _certain_w(recent: Sequence[Seen], sample: Sample[MeterReading]) -> float:
    """What the meter shows beyond the worst that was below it since it can have been drawn."""
    now_w = sample.value.power.watts
    beyond_w = now_w - max([seen.below.worst_w for seen in recent if sample.at_s - seen.at_s <= METER_LAG_S])
    return beyond_w if beyond_w > now_w * METER_ERROR else 0.0


def _shows(shown: Sequence[int], claimed_w: int, busy_w: int) -> Shows:
    """What the meter, and all that was below it of late, leave room for.

    A device may start to draw, or stop, between two of its readings: only what lasts is learned. `claimed_w`
    is the least that was claimed, and not guessed, since the meter last moved: claims that rise while it
    stands still explain nothing of what it shows. `busy_w` is the most that was drawn of late.
    """
    return Shows(
        least_w=min(shown) * (1 - METER_ERROR) - busy_w,
        most_w=max(0.0, max(shown) * (1 + METER_ERROR) - claimed_w),
        claimed_w=claimed_w,
        busy_w=busy_w,
    )
