"""Whether the grid operator is there: heartbeats, and after a silence a snapshot that is younger than it.

A pure state machine. `now_s` is any clock that only goes forward; `utc` times are the operator's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from controller.domain.grid import Link
from controller.grid.results import Heartbeat, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """`link` starts LOST. It is UP from the first snapshot stamped after `floor_utc_s`, as long as no two
    heartbeats are more than `timeout_s` apart. `began_utc_s` is the floor of the first, by our clock."""

    timeout_s: float
    began_utc_s: float
    floor_utc_s: float = -math.inf
    link: Link = Link.LOST
    beat: Heartbeat | None = None
    newest_seq: int = -1
    newest_utc_s: float = -math.inf
    beat_at_s: float = -math.inf
    snapshot_utc_s: float = -math.inf
    snapshot_at_s: float = -math.inf


def is_news(liveness: Liveness, beat: Heartbeat) -> bool:
    """Whether it was made after all that were heard: by its number, or by its clock where the operator counts
    anew. What was recorded before and is played again proves nothing."""
    return beat.seq > liveness.newest_seq or beat.utc_s > liveness.newest_utc_s


def heard(liveness: Liveness, beat: Heartbeat, now_s: float) -> Liveness:
    """A heartbeat came."""
    if not is_news(liveness, beat):
        return liveness
    liveness = _judged(liveness, now_s)
    if not _beats(liveness, now_s) and now_s - liveness.snapshot_at_s > liveness.timeout_s:
        # The silence goes on past what that snapshot knew.
        liveness = replace(liveness, floor_utc_s=max(liveness.floor_utc_s, liveness.snapshot_utc_s))
    return _judged(
        replace(
            liveness,
            beat=beat,
            newest_seq=max(liveness.newest_seq, beat.seq),
            newest_utc_s=max(liveness.newest_utc_s, beat.utc_s),
            beat_at_s=now_s,
        ),
        now_s,
    )


def listed(liveness: Liveness, snapshot: Snapshot, now_s: float) -> Liveness:
    """A snapshot was taken in whole."""
    liveness = _judged(liveness, now_s)
    if snapshot.as_of_utc_s > liveness.snapshot_utc_s:
        liveness = replace(liveness, snapshot_utc_s=snapshot.as_of_utc_s, snapshot_at_s=now_s)
    return _judged(liveness, now_s)


def at(liveness: Liveness, now_s: float, began_utc_s: float = math.inf) -> Liveness:
    """Time passed. Our clock may have been ahead at the start, and says `began_utc_s` now."""
    if began_utc_s < liveness.began_utc_s:
        liveness = replace(liveness, began_utc_s=began_utc_s)
    return _judged(liveness, now_s)


def _judged(liveness: Liveness, now_s: float) -> Liveness:
    match liveness.link, _beats(liveness, now_s):
        case Link.UP, False:
            beat_utc_s = liveness.beat.utc_s if liveness.beat else -math.inf
            floor_utc_s = max(beat_utc_s, liveness.snapshot_utc_s)
            return replace(liveness, link=Link.LOST, floor_utc_s=floor_utc_s)
        case Link.LOST, True if liveness.snapshot_utc_s > max(liveness.floor_utc_s, liveness.began_utc_s):
            return replace(liveness, link=Link.UP)
        case _:
            return liveness


def _beats(liveness: Liveness, now_s: float) -> bool:
    return now_s - liveness.beat_at_s <= liveness.timeout_s
