"""Whether jobs that could run for minutes are left waiting, or suspended, while faults last."""

from __future__ import annotations

from collections.abc import Collection

from simulators.plant import Plant
from tests.sim.recovery import LOOK_EVERY_S
from tests.sim.verdict import Verdict

WAITS_S = 360.0
"""GPUs that were in doubt are trusted again, raised one after the other, and a job is started."""


class Left:
    """`look` must be called every `LOOK_EVERY_S`. `excused` is a look at which operators ask for anything,
    something is amiss with any GPU, or nobody is in charge; after it jobs have their time anew."""

    def __init__(self, plant: Plant, verdict: Verdict) -> None:
        self._plant = plant
        self._verdict = verdict
        self._since_s: dict[str, float] = {}

    def look(self, could_run: Collection[str], *, excused: bool) -> None:
        """`could_run` are the jobs that do not, although GPUs with room for them are free."""
        now_s = self._plant.now_s
        self._since_s = {job: self._since_s.get(job, now_s) for job in sorted(could_run) if not excused}
        for job, since_s in self._since_s.items():
            if now_s - since_s > WAITS_S:
                self._verdict.note(now_s, "left", job, dt_s=LOOK_EVERY_S)
