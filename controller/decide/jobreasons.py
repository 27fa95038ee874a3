"""Why a job is told what it is told, in the words of devices' reasons: its owner asks, and its GPUs are idle
by then.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from controller.decide.choose import Chosen
from controller.decide.feeding import least
from controller.decide.jobs import Placement
from controller.decide.limits import Limits
from controller.decide.plan import Grants
from controller.decide.snapshot import Snapshot
from controller.decide.words import Reason
from controller.domain.jobs import JobCommand, JobState

ROOT = 0


def reasoned(
    orders: tuple[JobCommand, ...], seen: Snapshot, chosen: Chosen, limits: Limits, grants: Grants
) -> tuple[JobCommand, ...]:
    """The same commands with their reasons: of who begins that of its first GPU that is not kept by another
    of them, of who is set aside what it lacks there."""
    if not orders:  # as at nearly every step
        return ()
    aside = {(job.queue, job.status.job.id): job for job in chosen.aside}
    kept = {(job.queue, job.status.job.id): job for job in chosen.kept}
    return tuple(
        replace(
            order,
            why=_lacking(aside[key], seen, chosen, limits) if key in aside else _having(kept[key], grants),
        )
        for order in orders
        for key in ((order.queue, order.job),)
    )


def _having(job: Placement, grants: Grants) -> str:
    whys = [grants.why(gpu) for gpu in job.gpus]
    return next((why for why in whys if why != Reason.PACED), whys[0])


def _lacking(job: Placement, seen: Snapshot, chosen: Chosen, limits: Limits) -> str:
    """What keeps a job from its least watts: that its GPUs are to be switched off, or are not heard where it
    should go on, their heat, the node that lacks most of them and, where that is the whole site, what limits
    it. Else others earn more with them."""
    fleet, tree = seen.fleet, seen.tree
    needs_w: Counter[int] = Counter()
    for gpu in sorted(fleet.row.keys() & set(job.gpus)):
        row = fleet.row[gpu]
        if fleet.draining[row] or fleet.isolated[row]:
            return Reason.DRAINING
        if job.status.state is JobState.SUSPENDED and not seen.columns.seen[row]:
            return Reason.STALE
        least_w = least(seen, gpu, job.status.job).watts
        if chosen.may.most_w[row] < least_w:
            return Reason.THERMAL
        needs_w.update(dict.fromkeys(tree.paths[fleet.node[row]], least_w - int(fleet.floor_w[row])))
    lacks_w = {node: watts - int(chosen.allocation.room_w[node]) for node, watts in needs_w.items()}
    node = max(sorted(lacks_w), key=lambda node: lacks_w[node], default=ROOT)
    if lacks_w.get(node, 0) <= 0:
        return Reason.UNPROFITABLE
    cause = f"{limits.cap_reason} {limits.cap_event}" if node == ROOT else ""
    return f"{Reason.LIMITED} {tree.ids[node]} {cause}".strip()
