"""Whether a grid operator is heard, and how far its clock is from ours."""

from __future__ import annotations

import math
from collections.abc import Callable

import structlog

from controller.domain.grid import Link
from controller.grid import liveness
from controller.grid import skew as skews
from controller.grid.liveness import Liveness
from controller.grid.results import Heartbeat, Snapshot
from controller.run.clock import elapsed_s


class Hearing:
    """Of an operator that `beats`, its heartbeats and snapshots say it; of any other, its connection. `wake`
    is called when either is found to have changed."""

    def __init__(
        self,
        *,
        beats: bool,
        timeout_s: float,
        began_utc_s: float,
        wake: Callable[[], None],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._beats = beats
        self._timeout_s = timeout_s
        self._wake = wake
        self._log = log
        self._liveness = Liveness(timeout_s=timeout_s, began_utc_s=began_utc_s)
        self._connection = Link.LOST
        self._alive_until_s = -math.inf
        self.behind_s = 0.0
        """Our clock minus the operator's, by its last heartbeat."""
        self.skew = skews.NO_SKEW

    @property
    def link(self) -> Link:
        return self._liveness.link if self._beats else self._connection

    def beat(self, beat: Heartbeat, now_utc_s: float) -> None:
        if liveness.is_news(self._liveness, beat):
            self._timed(now_utc_s - beat.utc_s, is_whole=beat.utc_s.is_integer())
        self._judged(liveness.heard(self._liveness, beat, elapsed_s()))

    def listed(self, snapshot: Snapshot) -> None:
        """A snapshot was taken in whole."""
        self._judged(liveness.listed(self._liveness, snapshot, elapsed_s()))

    def passes(self, began_utc_s: float) -> None:
        """Time does. `began_utc_s` is the floor of the first snapshot, as our clock has it now."""
        self._judged(liveness.at(self._liveness, elapsed_s(), began_utc_s))

    def look(self, is_alive: Callable[[bool], bool], *, is_connected: bool) -> None:
        """The state of a link whose dialect has no heartbeat: a connection that broke may come back within
        the time that a heartbeat would have."""
        if is_connected:
            self._alive_until_s = elapsed_s() + self._timeout_s
        before = self._connection
        self._connection = Link.UP if is_alive(elapsed_s() < self._alive_until_s) else Link.LOST
        self._tell(before, self._connection)

    def _timed(self, behind_s: float, *, is_whole: bool) -> None:
        self.behind_s = behind_s
        before, self.skew = self.skew, skews.heard(self.skew, behind_s, is_whole=is_whole)
        if self.skew.ahead_s != before.ahead_s:
            far = abs(self.skew.ahead_s) >= skews.WORTH_TELLING_S
            log = self._log.warning if far else self._log.info
            log("grid_clock", ours_ahead_s=round(self.skew.ahead_s, 3))
            self._wake()

    def _judged(self, now: Liveness) -> None:
        before, self._liveness = self._liveness, now
        self._tell(before.link, now.link)

    def _tell(self, before: Link, now: Link) -> None:
        if now is not before:
            log = self._log.warning if now is Link.LOST else self._log.info
            log("grid_link", state=now.value)
            self._wake()
