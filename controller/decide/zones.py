"""What is remembered of a cooling zone, and made of what its sensors say: one reading may be wrong, and a
proof of its cooling that comes and goes is none."""

from __future__ import annotations

import math
from typing import NamedTuple

from controller.decide.inputs import Sample
from controller.decide.thermal import cooling_proven, zone_derate
from controller.domain.devices import ZoneReading
from controller.domain.site import Zone

ALONE_S = 10.0
"""A reading that no other follows is believed after so long, however hot it is."""
PROVEN_S = 10.0
"""A proof that was lost counts once it stands for so long: fans spin up, pumps fill their pipes."""


class ZoneState(NamedTuple):
    """`share` is what its heat takes of the range of its machines, `heard` the last reading; at `lost_s` its
    cooling was last not proven, once it was heard at all."""

    share: float = 0.0
    heard: Sample[ZoneReading] | None = None
    lost_s: float = -math.inf

    def is_cooled(self, now_s: float) -> bool:
        return self.heard is not None and now_s - self.lost_s >= PROVEN_S


def zone_now(zone: Zone, sample: Sample[ZoneReading] | None, before: ZoneState, now_s: float) -> ZoneState:
    if sample is None:
        return before
    return ZoneState(
        share=_share(zone, sample, before, now_s),
        heard=sample,
        lost_s=before.lost_s if cooling_proven(sample, now_s) else now_s,
    )


def _share(zone: Zone, sample: Sample[ZoneReading], before: ZoneState, now_s: float) -> float:
    """Heat comes with the second reading that tells of it, but for the first of all."""
    share, last = zone_derate(zone, sample, before.share, now_s), before.heard
    if share <= before.share or last is None or now_s - sample.at_s >= ALONE_S:
        return share
    if last is sample:
        return before.share
    return min(share, max(before.share, zone_derate(zone, last, before.share, last.at_s)))
