"""Which jobs must leave their GPUs: those that are to be switched off, or that nobody hears any more."""

from __future__ import annotations

from collections.abc import Sequence

from controller.decide.commands import Lowered
from controller.decide.jobs import Placement
from controller.decide.snapshot import Snapshot
from controller.domain.jobs import JobState
from controller.domain.site import Policy

LOST_S = 600.0
"""A GPU that was not heard for so long has lost what it held: its host has rebooted by then, or does not."""


class Gone:
    """Who leaves for good, by the GPUs of now. `up_s` is how long this process has listened to them."""

    def __init__(self, seen: Snapshot, policy: Policy, *, now_s: float, up_s: float) -> None:
        self._seen = seen
        self._now_s = now_s
        self._tells_lost = up_s >= LOST_S and not seen.network_suspect(policy.network_fault_share)

    def leaves(self, placement: Placement) -> bool:
        """Whether a job will not go on where it is. One that runs does as long as its queue says so."""
        fleet, known = self._seen.fleet, self._seen.columns
        rows = [fleet.row[gpu] for gpu in placement.gpus if gpu in fleet.row]
        gone = fleet.draining[rows] | fleet.isolated[rows]
        if self._tells_lost and placement.status.state is JobState.SUSPENDED:
            gone |= ~known.seen[rows] & (self._now_s - known.heard_s[rows] >= LOST_S)
        return bool(gone.any())


def falling(aside: Sequence[Placement], seen: Snapshot, lowered: Lowered) -> list[Placement]:
    """The jobs whose watts may fall now: one runs on until no GPU of it waits for a ramp."""
    waiting = {seen.fleet.specs[row].id for row in lowered.waiting}
    return [job for job in aside if waiting.isdisjoint(job.gpus)]
