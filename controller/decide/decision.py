"""What a pass came to, before it is told."""

from __future__ import annotations

from dataclasses import dataclass

from controller.decide.arrays import Flags, Ints
from controller.decide.choose import Chosen
from controller.decide.commands import Orders
from controller.decide.limits import Limits
from controller.decide.snapshot import Snapshot
from controller.decide.swing import Swing
from controller.decide.timeline import GridNow
from controller.domain.jobs import JobCommand


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`after` is the site as it is once the orders are given; `raised` are the rows of
    those whose worst case grows by them. Those `timed` are as they are, for money, only until their least
    time is over. The controller has been deciding for `up_s`.
    """

    grid: GridNow
    limits: Limits
    after: Snapshot
    chosen: Chosen
    swing: Swing
    orders: Orders
    raised: Ints
    timed: Flags
    job_commands: tuple[JobCommand, ...]
    ready: bool
    up_s: float

    @property
    def has_just_begun(self) -> bool:
        """Whether what was never heard may still be heard for the first time, as a meter that publishes now
        and then: it counts as silent, and is nobody's trouble yet."""
        return self.up_s < self.after.ground.site.policy.start_grace_s
