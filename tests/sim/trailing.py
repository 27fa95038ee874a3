"""Whether a set-point that moves is followed: by the minute the site draws what it was asked to."""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean

from simulators.plant import Plant
from tests.sim.recovery import LOOK_EVERY_S
from tests.sim.verdict import Verdict

BEGINS_S = 300.0
"""A set-point is reached so late: miners start, and are started again where an order was lost."""
MINUTES_S = 120.0
SHARE, STEP_W = 0.05, 6000.0
"""Miners follow in steps, and late: by so much of the contract, or a machine or two, the means may differ."""
JUMP = 2.0
"""A set-point that moves by so many times that from one look to the next is a new one."""


class Trailing:
    """`look` must be called every `LOOK_EVERY_S`. `excused` is a look at which something else than the
    set-point may hold the site, or nobody is in charge; after it, and after a jump of the set-point, the site
    has its time anew."""

    def __init__(self, plant: Plant, root: str, contract_w: float, verdict: Verdict) -> None:
        self._plant = plant
        self._root = root
        self._off_w = SHARE * contract_w + STEP_W
        self._verdict = verdict
        self._least_w, self._most_w, self._drawn_w = (
            deque[float](maxlen=round(MINUTES_S / LOOK_EVERY_S)) for _ in range(3)
        )
        self._since_s = math.inf
        self._target_w = math.inf

    def look(self, target_w: float, least_w: float, most_w: float, *, excused: bool) -> None:
        """`least_w` and `most_w` are the least and the most that the site surely can draw."""
        now_s = self._plant.now_s
        jumps = abs(target_w - self._target_w) > JUMP * self._off_w
        self._target_w = target_w
        if excused or target_w == math.inf or jumps:
            self._since_s = math.inf
            for lately in (self._least_w, self._most_w, self._drawn_w):
                lately.clear()
            return
        self._since_s = min(self._since_s, now_s)
        self._least_w.append(min(target_w, most_w))
        self._most_w.append(max(target_w, least_w))
        self._drawn_w.append(self._plant.site_power_w)
        if now_s - self._since_s < BEGINS_S or len(self._drawn_w) < (self._drawn_w.maxlen or 0):
            return
        drawn_w = fmean(self._drawn_w)
        off_w = max(fmean(self._least_w) - drawn_w, drawn_w - fmean(self._most_w)) - self._off_w
        if off_w > 0:
            self._verdict.note(now_s, "trail", self._root, off_w, dt_s=LOOK_EVERY_S)
