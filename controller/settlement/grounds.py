"""What a relative set-point is relative to: what the site drew before its event, as it was frozen then, or
the set-points of others that were in force below it.

By the contract's order: the lowest priority number counts, then the newest version, then the id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from controller.domain.grid import GridEvent
from controller.domain.power import ZERO, Power
from controller.settlement.metering import Span

Rank = tuple[int, float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPoint:
    """A set-point while it was in force: a `target`, or a `change` of what is below it, or of `drawn_before`
    where nothing is."""

    span: Span
    rank: Rank
    target: Power | None = None
    change: Power | None = None
    drawn_before: Power | None = None


def rank_of(event: GridEvent, event_id: str) -> Rank:
    """Ascending: who comes first counts first. `event_id` is the id with its operator's name."""
    return event.priority, -event.version_utc_s, event_id


def grounds(
    span: Span, rank: Rank, drawn_before: Power | None, others: Iterable[SetPoint]
) -> Iterator[tuple[Span, Power | None]]:
    """What a change of draw ranked `rank` is relative to in the course of `span`; None is not known."""
    held: tuple[Span, Power | None] | None = None
    for piece, below in _pieces(span, [other for other in others if other.rank > rank]):
        ground = _stacked(below, drawn_before)
        if held is not None and held[1] == ground:
            held = (Span(held[0].start_utc_s, piece.end_utc_s), ground)
            continue
        if held is not None:
            yield held
        held = (piece, ground)
    if held is not None:
        yield held


def _pieces(span: Span, others: Iterable[SetPoint]) -> Iterator[tuple[Span, list[SetPoint]]]:
    """`span` cut where one of `others` begins or ends, with those that are in force in each piece."""
    ahead = sorted((other for other in others if other.span.overlaps(span)), key=lambda other: other.span)
    edges = {span.start_utc_s, span.end_utc_s}
    edges.update(edge for other in ahead for edge in (other.span.start_utc_s, other.span.end_utc_s))
    inside = sorted(edge for edge in edges if span.start_utc_s <= edge <= span.end_utc_s)
    holding: list[SetPoint] = []
    at = 0
    for start_utc_s, end_utc_s in pairwise(inside):
        while at < len(ahead) and ahead[at].span.start_utc_s <= start_utc_s:
            holding.append(ahead[at])
            at += 1
        holding = [other for other in holding if other.span.end_utc_s > start_utc_s]
        yield Span(start_utc_s, end_utc_s), holding


def _stacked(below: Iterable[SetPoint], drawn_before: Power | None) -> Power | None:
    """The lowest first, each on top of what is below it. A change of nothing known asks for nothing."""
    held: Power | None = None
    for other in sorted(below, key=lambda other: other.rank, reverse=True):
        if other.target is not None:
            held = other.target
        elif other.change is not None:
            ground = held if held is not None else other.drawn_before
            held = held if ground is None else max(ground + other.change, ZERO)
    return held if held is not None else drawn_before
