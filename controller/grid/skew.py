"""How far the site's clock is from the operator's, by its heartbeats: events end by the clock that set them.

A pure fold. Of late heartbeats the quickest counts, for the way takes time and never gives any back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.domain.grid import GridEvent
from controller.grid.results import MAX_AHEAD_S

LATELY = 8
"""So many heartbeats are looked at, and at least `FEWEST`."""
FEWEST = 3
STEP_S = 0.5
"""A smaller difference, or change of it, is none: events stay where they are."""
WORTH_TELLING_S = 1.0
WHOLE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """`ahead_s` is what the site's clock shows beyond the operator's, as far as events are moved by it: never
    more than a stamp may lie ahead, so that a wild clock moves little."""

    lately_s: tuple[float, ...] = ()
    ahead_s: float = 0.0
    whole: int = 0
    """So many of the latest heartbeats in a row had a stamp in whole seconds."""

    @property
    def late_s(self) -> float:
        """How much later than by the site's clock an event may be over."""
        return max(self.ahead_s, 0.0)


NO_SKEW = Skew()


def heard(skew: Skew, behind_s: float, *, is_whole: bool = False) -> Skew:
    """One more heartbeat, which was `behind_s` old by the site's clock when it came. From a stamp that
    `is_whole` up to a second may be cut off: where an operator sends no others, a second says nothing."""
    lately_s = (*skew.lately_s, behind_s)[-LATELY:]
    whole = min(skew.whole + 1, LATELY) if is_whole else 0
    if len(lately_s) < FEWEST:
        return replace(skew, lately_s=lately_s, whole=whole)
    least_s = min(lately_s)
    if whole >= len(lately_s):
        least_s = max(least_s - WHOLE_S, min(least_s, 0.0))
    ahead_s = min(max(least_s, -MAX_AHEAD_S), MAX_AHEAD_S)
    if abs(ahead_s) < STEP_S:
        ahead_s = 0.0
    if 0.0 < abs(ahead_s - skew.ahead_s) < STEP_S:
        ahead_s = skew.ahead_s
    return Skew(lately_s=lately_s, ahead_s=ahead_s, whole=whole)


def moved(event: GridEvent, skew: Skew) -> GridEvent:
    """`event` in the time of the site's clock. It neither begins later for that nor ends sooner: what looks
    like a clock may be a slow way."""
    by_s = skew.ahead_s
    if not by_s:
        return event
    last = len(event.intervals) - 1
    pieces = tuple(
        replace(
            piece,
            start_utc_s=piece.start_utc_s + (by_s if at else min(by_s, 0.0)),
            end_utc_s=piece.end_utc_s + (by_s if at < last else max(by_s, 0.0)),
        )
        for at, piece in enumerate(event.intervals)
    )
    return replace(event, intervals=pieces)
