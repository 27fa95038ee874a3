"""What the running controller knows about itself: the last tick and its counters.

The loop writes it; metrics, the HTTP API and reports read it. No logic lives here and none reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from controller.decide.inputs import Inputs
from controller.decide.plan import NodeState, Plan
from controller.decide.snapshot import State
from controller.decide.value import Valuation
from controller.domain.gpus import GpuDetail
from controller.domain.grid import Link
from controller.domain.power import ZERO, Power
from controller.domain.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStats:
    """Counted since the process began. `operator_behind_s` is our clock minus the operator's, `untold` the
    targets and reports for which there was no room."""

    connected: bool
    connects: int
    received: int
    refused: int
    overflowed: int
    acks_sent: int
    telemetry_sent: int
    telemetry_dropped: int
    store_failures: int
    operator_behind_s: float
    enforcements: int = 0
    oversized: int = 0
    untold: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system: what is free for us, and how large it is."""

    free_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStats:
    """Rows of evidence that could not be kept since the process began, those that wait now, how many damaged
    journals lie beside, and whether the last attempt to write failed; the same of the archive; and the disk
    that it is on, where that is known."""

    lost_rows: int = 0
    waiting_rows: int = 0
    put_aside: int = 0
    is_failing: bool = False
    is_archive_failing: bool = False
    disk: Disk | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One finished pass, and what it valued points by. `late_s` is how far it began behind its time, `took_s`
    how long it needed."""

    inputs: Inputs
    valuation: Valuation
    state: State
    plan: Plan
    utc_s: float
    late_s: float
    took_s: float


class Operator(Protocol):
    """The link to one grid operator, as it is told of."""

    name: str

    @property
    def state(self) -> Link: ...

    @property
    def stats(self) -> LinkStats: ...


@dataclass(slots=True, kw_only=True)
class Board:
    """`commands` counts by outcome (acknowledged, refused, failed), `reads` by result (ok, failed).

    `details` gives what GPUs last told beyond their readings, by device id. The core never sees it.
    `price_troubles` says what is wrong with each source of prices that cannot be used now.
    """

    site: Site
    version: str
    started_utc_s: float
    last: Tick | None = None
    ticks: int = 0
    late_ticks: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    job_commands: Counter[str] = field(default_factory=Counter)
    price_troubles: dict[str, str] = field(default_factory=dict)
    details: Callable[[], Mapping[str, GpuDetail]] = dict
    operators: tuple[Operator, ...] = ()
    journal: Callable[[], JournalStats] = JournalStats

    def fixed(self) -> Mapping[str, Power]:
        """What each node carries besides devices, by the site file; nothing where there is no voltage."""
        isolated = self.site.isolated()
        return {node.id: ZERO if node.id in isolated else node.fixed for node in self.site.nodes}

    def nodes(self, plan: Plan) -> Iterator[NodeState]:
        """The nodes of a plan for whoever looks on: unexplained is what neither a device nor the site file's
        fixed load accounts for."""
        fixed = self.fixed()
        for node in plan.nodes:
            known = min(node.unexplained, fixed.get(node.node, ZERO))
            yield replace(node, unexplained=node.unexplained - known)

    def finished(self, tick: Tick) -> None:
        self.last = tick
        self.ticks += 1
        self.late_ticks += tick.late_s > self.site.policy.tick_s
