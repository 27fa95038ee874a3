"""How long a job that lacks GPUs may be overtaken by cheaper ones: how long jobs run nobody knows, so what
comes free is kept for it in turns, each twice as long as the one before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from controller.decide.jobs import Placement
from controller.domain.jobs import JobState, QueueReading

OVERTAKEN_S = 1800.0
"""So long whoever fits goes first. Then what comes free is kept for the job, for as long; and so on."""


def waiting(
    since_s: Mapping[str, float], queues: Iterable[QueueReading], tried: Iterable[Placement], now_s: float
) -> dict[str, float]:
    """Since when each job waits for GPUs. Of one that was `tried` on some it is not GPUs that it lacks."""
    had = {placement.id for placement in tried}
    waits = (
        Placement(queue=queue.queue, status=status, gpus=()).id
        for queue in queues
        for status in queue.jobs
        if status.state is JobState.QUEUED
    )
    return {name: since_s.get(name, now_s) for name in waits if name not in had}


def due(since_s: Mapping[str, float], now_s: float) -> frozenset[str]:
    """Those of the jobs that wait `since_s` for which GPUs are kept now."""
    return frozenset(name for name, at_s in since_s.items() if _is_due(now_s - at_s))


def _is_due(waited_s: float) -> bool:
    turns = math.floor(math.log2(max(0.0, waited_s) / (2 * OVERTAKEN_S) + 1))
    turn_s = math.ldexp(OVERTAKEN_S, turns)
    return waited_s - 2 * (turn_s - OVERTAKEN_S) >= turn_s
