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
        suspended = placement.status.state is JobState.SUSPENDED
        return any(self._closed(gpu) or (suspended and self._lost(gpu)) for gpu in placement.gpus)

    def _closed(self, gpu: str) -> bool:
        fleet = self._seen.fleet
        row = fleet.row.get(gpu)
        return row is not None and bool(fleet.draining[row] | fleet.isolated[row])

    def _lost(self, gpu: str) -> bool:
        row, known = self._seen.fleet.row.get(gpu), self._seen.columns
        if row is None or not self._tells_lost:
            return False
        return not known.seen[row] and self._now_s - float(known.heard_s[row]) >= LOST_S


def falling(aside: Sequence[Placement], seen: Snapshot, lowered: Lowered) -> list[Placement]:
    """The jobs whose watts may fall now: one runs on until no GPU of it waits for a ramp."""
    waiting = {seen.fleet.specs[row].id for row in lowered.waiting}
    return [job for job in aside if waiting.isdisjoint(job.gpus)]
