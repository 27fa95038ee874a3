"""Ratings, events and margins -> how many watts each node may carry now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.decide.plan import CapReason
from controller.decide.timeline import GridNow
from controller.domain.power import NO_LIMIT, Bound, Limit, Power, tightest
from controller.domain.site import Site

UNLIMITED_W = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`bound` is what each node goes by, `usable` what is planned with: the bound less the margin.

    `cap` is the root's bound; `due` is what the root must not pass at this moment, before an event begins.
    """

    cap: Bound
    due: Bound
    cap_reason: CapReason
    cap_event: str
    bound: Mapping[str, Bound]
    usable: Mapping[str, Bound]

    def room_w(self, load: Mapping[str, Power]) -> dict[str, int]:
        """What each node has left when it carries `load`; negative when that is too much already."""
        return {
            node: usable.power.watts - load[node].watts if isinstance(usable, Limit) else UNLIMITED_W
            for node, usable in self.usable.items()
        }


def limits_now(site: Site, grid: GridNow) -> Limits:
    root = site.root
    cap = tightest(root.limit, grid.cap)
    by_grid = isinstance(grid.cap, Limit) and cap == grid.cap
    bound = {node.id: node.limit for node in site.nodes} | {root.id: cap}
    usable = {name: _less_margin(limit, site.policy.margin) for name, limit in bound.items()}
    if by_grid and grid.cap_reason is CapReason.TARGET:
        # A set-point is to be met, not to be kept away from; limits above it keep their margin.
        limit = tightest(root.limit, grid.limit)
        usable[root.id] = tightest(cap, _less_margin(limit, site.policy.margin))
    rated = CapReason.RATING if isinstance(cap, Limit) else CapReason.NONE
    return Limits(
        cap=cap,
        due=tightest(root.limit, grid.due),
        cap_reason=grid.cap_reason if by_grid else rated,
        cap_event=grid.cap_event if by_grid else "",
        bound=bound,
        usable=usable,
    )


def _less_margin(limit: Bound, margin: float) -> Bound:
    return Limit(limit.power.scaled(1 - margin)) if isinstance(limit, Limit) else NO_LIMIT
