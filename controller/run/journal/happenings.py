"""What a change of a ledger means to the history of its events: a row for each thing that happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.domain.grid import EventStatus, GridEvent, TargetSignal
from controller.domain.power import Power
from controller.grid.entries import FINAL, Ack, Entry, Ledger, Shortfall, version_of
from controller.grid.keeping import Verdict
from controller.grid.results import Accepted, Cancelled
from controller.grid.stored import to_text

AMENDED = "AMENDED"
"""The same version came again with another content, which counts now. Its sender is told nothing new."""
DRAWN_BEFORE = "DRAWN_BEFORE"
"""What the event's relative set-points are relative to was frozen. Its sender is told nothing of it."""

OBSERVED = "OBSERVED"
"""Where the site is only observed: a version that its sender was refused, and somebody else may follow."""
OBSERVED_OVER = "OBSERVED_OVER"
"""The same is withdrawn, or replaced by what asks for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened to an event. `text` is an entry of the ledger with what became known just now:
    the whole version, what can be had instead of what it asks for, or what it is relative to. The end of what
    did not hold `settles` nothing."""

    utc_s: float
    event: str
    version_utc_s: float | None
    status: str
    why: str = ""
    text: str = ""
    operator: str = ""
    settles: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedPoint:
    """A set-point of a stream, of which there may be 40,000 a day: what it says and nothing else."""

    utc_s: float
    event: str
    version_utc_s: float
    start_utc_s: float
    end_utc_s: float
    watts: int
    operator: str = ""


def happenings(before: Ledger, after: Ledger, verdict: Verdict, now_utc_s: float) -> tuple[Happening, ...]:
    """In the order in which things happened: what was told, and what changed without a word."""
    fresh = _fresh(before, after, verdict)
    found: list[Happening] = []
    for ack in verdict.acks:
        entry = fresh.get(ack.event)
        text = ""
        if entry is not None and entry.content is not None and ack.version_utc_s == version_of(entry.content):
            text = _text(fresh.pop(ack.event))
        elif ack.possible is not None:
            text = _shortfall(ack, ack.possible)
        found.append(
            Happening(
                utc_s=ack.at_utc_s,
                event=ack.event,
                version_utc_s=ack.version_utc_s,
                status=ack.status.value,
                why=" ".join((*ack.why, *(f"ignored: {name}" for name in ack.ignored))),
                text=text,
                settles=bool(text) or not _is_idle(ack, before.entries.get(ack.event)),
            )
        )
    for event, entry in sorted(fresh.items()):
        assert entry.content is not None
        version_utc_s = version_of(entry.content)
        found.append(
            Happening(
                utc_s=now_utc_s, event=event, version_utc_s=version_utc_s, status=AMENDED, text=_text(entry)
            )
        )
    return (*found, *_frozen(before, after, verdict, now_utc_s))


def streamed(
    before: Ledger, after: Ledger, verdict: Verdict, now_utc_s: float
) -> tuple[Happening | StreamedPoint, ...]:
    """The same of a stream: its set-points, and of what it was told only what it did not get."""
    points = [
        point
        for event, entry in sorted(_fresh(before, after, verdict).items())
        if isinstance(entry.content, Accepted)
        for point in _points(event, entry.content, now_utc_s)
    ]
    refused = [
        happening
        for happening in happenings(before, after, verdict, now_utc_s)
        if happening.status in (EventStatus.REJECTED, EventStatus.INFEASIBLE)
    ]
    return (*points, *refused)


def watched(
    before: Mapping[str, GridEvent], after: Mapping[str, GridEvent], now_utc_s: float
) -> Iterator[Happening]:
    """What changed of the events that a site which is only observed would follow. That one is over when it
    was to be needs no word."""
    for event in sorted(before.keys() | after.keys()):
        was, now = before.get(event), after.get(event)
        if now is not None and now != was:
            text = to_text(Entry(id=event, content=Accepted(event=now, stamp="")))
            yield Happening(
                utc_s=now_utc_s, event=event, version_utc_s=now.version_utc_s, status=OBSERVED, text=text
            )
        elif now is None and was is not None and was.end_utc_s > now_utc_s:
            yield Happening(
                utc_s=now_utc_s, event=event, version_utc_s=was.version_utc_s, status=OBSERVED_OVER
            )


def _frozen(before: Ledger, after: Ledger, verdict: Verdict, now_utc_s: float) -> Iterator[Happening]:
    """Each word of the loop on what the site drew before it began to follow an event."""
    for event in sorted(verdict.touched):
        entry, known = after.entries[event], before.entries.get(event)
        drawn = entry.drawn_before
        if drawn is None or entry.content is None or (known is not None and known.drawn_before == drawn):
            continue
        yield Happening(
            utc_s=now_utc_s,
            event=event,
            version_utc_s=version_of(entry.content),
            status=DRAWN_BEFORE,
            text=to_text(Entry(id=event, drawn_before=drawn)),
        )


def _is_idle(ack: Ack, known: Entry | None) -> bool:
    """Whether it is the end of what was over, or never held."""
    if ack.status is not EventStatus.CANCELLED:
        return False
    return known is None or isinstance(known.content, Cancelled | None) or not FINAL.isdisjoint(known.told)


def _fresh(before: Ledger, after: Ledger, verdict: Verdict) -> dict[str, Entry]:
    """The entries whose newest version is another than before."""
    touched = {event: after.entries[event] for event in verdict.touched}
    return {
        event: entry
        for event, entry in touched.items()
        if entry.content is not None
        and (event not in before.entries or before.entries[event].content != entry.content)
    }


def _text(entry: Entry) -> str:
    return to_text(Entry(id=entry.id, content=entry.content)) if isinstance(entry.content, Accepted) else ""


def _shortfall(ack: Ack, possible: Power) -> str:
    return to_text(Entry(id=ack.event, shortfall=Shortfall(possible=possible, told_utc_s=ack.at_utc_s)))


def _points(event: str, content: Accepted, now_utc_s: float) -> Iterator[StreamedPoint]:
    for interval in content.event.intervals:
        for signal in interval.signals:
            if isinstance(signal, TargetSignal):
                yield StreamedPoint(
                    utc_s=now_utc_s,
                    event=event,
                    version_utc_s=content.event.version_utc_s,
                    start_utc_s=interval.start_utc_s,
                    end_utc_s=interval.end_utc_s,
                    watts=signal.power.watts,
                )
