"""What a relative set-point is relative to: what the site drew in the minute before it followed the event.

Frozen once per event and kept for as long as the event goes on, whatever its intervals, versions and gaps:
what is asked for again and again must not add up. A site that is steered does not show what it would draw by
itself, so nothing is learned while a set-point is in force and for some minutes after it, and an event that
follows on another one is relative to the last minute before both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from controller.domain.grid import PAUSE_S, GridEvent
from controller.domain.power import Power

HISTORY_S = 60.0
"""The draw is averaged over so long."""
RECOVERY_S = 180.0
"""A site that was steered starts its machines again for so long before it shows what it draws by itself."""
LEAST_S = 10.0
"""A controller that knows less than this of the site waits before it freezes anything."""
APART_S = 0.9
"""A loop that is woken often does not weigh its wakings."""


class Drawn(NamedTuple):
    """The site's draw at one moment of the monotonic clock; not `metered`, it is what devices claim."""

    at_s: float
    watts: int
    metered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """`lately` is the last minute in which no set-point steered the site, `frozen` its mean by event;
    `steered_s` is when one last did. `handed` is that mean by the word of an earlier process, which knew the
    site before it was steered."""

    lately: tuple[Drawn, ...] = ()
    steered_s: float = float("-inf")
    frozen: Mapping[str, Power] = field(default_factory=dict)
    handed: Power | None = None

    def told(self, events: Iterable[GridEvent]) -> tuple[GridEvent, ...]:
        """`events` with what they are relative to, as far as it is known."""
        return tuple(
            replace(event, drawn_before=self.frozen[event.id]) if event.id in self.frozen else event
            for event in events
        )


def begun(before: Before, events: Iterable[GridEvent], utc_s: float, now_s: float) -> Before:
    """Freeze for each event that asks for a set-point for the first time, and forget what is over. What is
    absolute needs no ground, but what follows it after a restart may.

    What an earlier process froze comes with the event and is believed.
    """
    frozen: dict[str, Power] = {}
    handed = before.handed
    for event in sorted(events, key=lambda event: (event.steers_from_utc_s, event.id)):
        if not event.steers_from_utc_s <= utc_s + PAUSE_S or utc_s >= event.end_utc_s:
            continue
        found = before.frozen.get(event.id, event.drawn_before)
        if handed is None and not before.lately:
            handed = found
        if found is None and event.steers_from_utc_s <= utc_s:
            found = _mean(before, now_s)
        if found is not None:
            frozen[event.id] = found
    if frozen == before.frozen and handed == before.handed:
        return before
    return replace(before, frozen=frozen, handed=handed)


def drawn(before: Before, now: Drawn) -> Before:
    """One more moment at which no set-point was in force."""
    soon = before.lately and now.at_s - before.lately[-1].at_s < APART_S
    if soon or now.at_s - before.steered_s < RECOVERY_S:
        return before
    kept = tuple(past for past in before.lately if now.at_s - past.at_s < HISTORY_S)
    return replace(before, lately=(*kept, now))


def steered(before: Before, now_s: float) -> Before:
    """A set-point is in force: what the site draws now is its doing."""
    return replace(before, steered_s=now_s)


def _mean(before: Before, now_s: float) -> Power | None:
    """None as long as too little is known. What a meter showed counts before what devices claimed."""
    lately = before.lately
    if not lately or now_s - lately[0].at_s < LEAST_S:
        return before.handed if now_s - before.steered_s < RECOVERY_S + LEAST_S else None
    metered = [past.watts for past in lately if past.metered]
    watts = metered or [past.watts for past in lately]
    return Power(round(sum(watts) / len(watts)))
