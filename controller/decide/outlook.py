"""Whether events that have not begun can be met, by what is known now.

It promises nothing and changes no plan. What holds a site back today may be over by then: who does not obey
counts only once that has lasted, the longer the more distant the start is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from operator import itemgetter

import numpy as np

from controller.decide.arrays import Flags, Ints
from controller.decide.columns import counted_w
from controller.decide.limits import usable
from controller.decide.plan import Outlook
from controller.decide.standing import (
    Means,
    brought_w,
    comes_to_w,
    is_met,
    no_more_than_shown,
    shown_lowest_w,
)
from controller.domain.grid import EventStatus, GridEvent, LimitSignal, TargetSignal
from controller.domain.power import Power

LASTS_S = (300.0, 60.0, 0.0)
"""Trouble that has lasted for so long counts for events that are as distant or more: what boots is back
sooner than the first, and in the last minute all counts as it is. So long before its start a set-point finds
the jobs that run now."""


def outlooks(announced: Iterable[GridEvent], utc_s: float, means: Means) -> Iterator[Outlook]:
    """Of every event that will ask for a limit or a set-point. What a relative one will be relative to is not
    known before it begins. No ramp is in the way of a limit: what it leaves of one falls at once."""
    then: dict[float, _Then] = {}
    for event in announced:
        place = means.after.tree.index[event.node] if event.node else 0
        limit, targets = _asked(event)
        if place:
            targets = ()  # a set-point is the whole site's
        if limit is None and not targets:
            continue
        left_s = event.start_utc_s - utc_s
        lasts_s = next(least_s for least_s in LASTS_S if left_s >= least_s)
        if lasts_s not in then:
            then[lasts_s] = _Then(means, lasts_s)
        yield _outlook(event, place, limit, targets, then[lasts_s])


class _Then:
    """What the site can come to when who has not obeyed for less than `lasts_s` obeys again."""

    def __init__(self, means: Means, lasts_s: float) -> None:
        self._means = means
        self._finds_jobs = lasts_s < LASTS_S[0]
        known = means.after.columns
        since_s = np.where(known.seen, known.asked_s, known.heard_s)
        self._obeys: Flags = means.may.obeys | (means.now_s - since_s < lasts_s)

    @cached_property
    def lowest_w(self) -> Ints:
        """The least of each node."""
        after, may = self._means.after, self._means.may
        if (self._obeys == may.obeys).all():
            return self._means.lowest_w
        # What the silent count too much is known of all of them together only.
        everybody = np.ones_like(self._obeys)
        floors_w = np.minimum(shown_lowest_w(after, everybody), after.columns.worst_w)
        least_w = after.carried_w(floors_w) + after.spared_w
        found: Ints = np.maximum(least_w, after.carried_w(shown_lowest_w(after, self._obeys)))
        return found

    @cached_property
    def working_w(self) -> Ints:
        """The same with all jobs that run at what they need."""
        after = self._means.after
        found: Ints = np.maximum(self.lowest_w, after.carried_w(comes_to_w(self._means, self._obeys)))
        return found

    @cached_property
    def most_w(self) -> int:
        """The most of the whole site, within what its places are rated for."""
        after = self._means.after
        fleet, known, ground = after.fleet, after.columns, after.ground
        top_w = np.where(fleet.draining | fleet.isolated, fleet.floor_w, fleet.top_w)
        device_w = np.where(self._obeys, counted_w(top_w, known.bias), known.draw_w)
        return brought_w(after, device_w, usable(ground.rated_w, ground.site.policy.margin))

    def nearest(self, target: Power) -> Power:
        """The draw of the site nearest to a set-point: for one no job is set aside."""
        least = self.least(0, spares_work=self._finds_jobs)
        return least if target <= least else min(target, max(least, Power(self.most_w)))

    def least(self, place: int, *, spares_work: bool = False) -> Power:
        """What a place draws now it can draw then."""
        reckoned_w = self.working_w if spares_work else self.lowest_w
        return no_more_than_shown(self._means.after, place, reckoned_w)


def _asked(event: GridEvent) -> tuple[Power | None, tuple[Power, ...]]:
    """The lowest limit of all intervals, and the lowest and the highest set-point."""
    limits_w: list[int] = []
    targets_w: list[int] = []
    for piece in event.intervals:  # there may be thousands
        for signal in piece.signals:
            if isinstance(signal, LimitSignal):
                limits_w.append(signal.power.watts)
            elif isinstance(signal, TargetSignal):
                targets_w.append(signal.power.watts)
    targets = (Power(min(targets_w)), Power(max(targets_w))) if targets_w else ()
    return Power(min(limits_w)) if limits_w else None, targets


def _outlook(
    event: GridEvent, place: int, limit: Power | None, targets: tuple[Power, ...], then: _Then
) -> Outlook:
    """What is missed by the most, if anything is."""
    found: list[tuple[int, Power, Power]] = []
    if limit is not None:
        missed_w = max(0, then.least(place).watts - limit.watts)
        found.append((missed_w, limit, then.least(place, spares_work=event.best_effort)))
    for target in targets:
        nearest = then.nearest(target)
        missed_w = 0 if is_met(nearest, target) else abs(nearest.watts - target.watts)
        found.append((missed_w, target, nearest))
    missed_w, asked, possible = max(found, key=itemgetter(0))
    return Outlook(
        event=event.id,
        version_utc_s=event.version_utc_s,
        start_utc_s=event.start_utc_s,
        status=EventStatus.INFEASIBLE if missed_w else EventStatus.RECEIVED,
        asked=asked,
        possible=possible,
    )
