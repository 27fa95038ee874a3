"""The energy counter of a GPU made one that only rises: through reloads of its driver, and through nonsense.

NVML counts millijoules since the driver was loaded. Pure: the caller gives the time.
"""

from __future__ import annotations

WRAP_MJ = 1 << 32
"""Where a counter of 32 bits begins anew; NVML's has 64 and never does."""
NEAR_WRAP = 0.1
"""A counter that fell from the last tenth of 32 bits into the first one has wrapped."""
SLACK = 2.0
"""More than this many times what the board can draw in the time is no energy."""
SLACK_J = 1000.0


class EnergyCounter:
    """`add` what the board says; `joules` is what it used since it was first asked, at least."""

    def __init__(self, most_w: float) -> None:
        self._most_w = most_w
        self._last_mj: float | None = None
        self._at_s = 0.0
        self._joules = 0.0

    @property
    def joules(self) -> float | None:
        """None until the board told its counter."""
        return None if self._last_mj is None else self._joules

    def add(self, told_mj: float, now_s: float) -> None:
        """A jump upward beyond what the board can draw counts as nothing: the counter goes on from there.

        A fall is a driver that was loaded again, and has counted from zero since: what came between the
        last look and that is lost.
        """
        if self._last_mj is not None:
            passed_mj = told_mj - self._last_mj
            if passed_mj < 0:
                passed_mj = told_mj + WRAP_MJ - self._last_mj if self._wrapped(told_mj) else told_mj
            if passed_mj / 1000 <= SLACK * self._most_w * (now_s - self._at_s) + SLACK_J:
                self._joules += passed_mj / 1000
        self._last_mj, self._at_s = told_mj, now_s

    def _wrapped(self, told_mj: float) -> bool:
        assert self._last_mj is not None
        return (1 - NEAR_WRAP) * WRAP_MJ < self._last_mj < WRAP_MJ and told_mj < NEAR_WRAP * WRAP_MJ
