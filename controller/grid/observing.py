"""What operators ask of a site that is only observed: refused, and looked at all the same.

Nothing may be acknowledged that will not be done. So the ledger hears a refusal of whatever asks for
anything, and a shadow of it, kept in memory and told to nobody, holds what the site would do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from controller.domain.grid import GridEvent
from controller.domain.power import Limit
from controller.grid import ledger as ledgers
from controller.grid.dsxenforcement import Enforcement
from controller.grid.entries import Ledger, lives
from controller.grid.keeping import Effect, Verdict, combined, with_entry
from controller.grid.ledger import receive, receive_snapshot
from controller.grid.loadtargets import LoadTargets, event_id_of, receive_targets
from controller.grid.results import Accepted, Cancelled, Heartbeat, MessageResult, Reason, Rejected, Snapshot
from controller.grid.site import UNMEASURED, Measured

Said = MessageResult | Snapshot | Heartbeat | LoadTargets | Enforcement
DETAIL = "the site is only observed: nothing that is asked of it is done"


def declined(said: Said, *, is_stream: bool = False) -> Iterator[Said]:
    """What the ledger is to hear of it. The set-points of a stream, which come every few seconds, are not
    refused one by one."""
    match said:
        case Accepted() if said.event.asks:
            yield _refusal(None if is_stream else said.event.id, said.event.version_utc_s, said.stamp)
        case Snapshot():
            results = (one for result in said.results for one in declined(result))
            yield replace(said, results=tuple(one for one in results if isinstance(one, MessageResult)))
        case LoadTargets():
            for index, target in enumerate(said.targets):
                if isinstance(target.constraint, Limit):
                    yield _refusal(event_id_of(said, index, target), said.version_utc_s, said.stamp)
        case _:
            yield said


def withdrawn(ledger: Ledger, now_utc_s: float, measured: Measured = UNMEASURED) -> tuple[Ledger, Verdict]:
    """Take back what was accepted while the site was commanded: its sender is told that it is refused."""
    verdict = Verdict(effect=Effect.STATUS)
    for entry in tuple(ledger.entries.values()):
        content = entry.content
        if isinstance(content, Accepted) and content.event.asks and lives(entry, ledger.mark, now_utc_s):
            bare = replace(entry, content=None, refused=None, told=(), shortfall=None, drawn_before=None)
            refusal = _refusal(entry.id, content.event.version_utc_s, content.stamp)
            ledger, part = receive(with_entry(ledger, bare), refusal, now_utc_s, measured)
            if entry.refused is not None:  # of a newer version, and told before
                ledger = with_entry(ledger, replace(ledger.entries[entry.id], refused=entry.refused))
            verdict = combined(verdict, part)
    return ledger, verdict


def _refusal(event: str | None, version_utc_s: float, stamp: str) -> Rejected:
    return Rejected(reason=Reason.OBSERVED, detail=DETAIL, id=event, version_utc_s=version_utc_s, stamp=stamp)


class Shadow:
    """The ledger as it would be, had everything been accepted. What it would tell is told to nobody."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    def begin(self, known: Ledger) -> None:
        """Go on from what was accepted before."""
        self._ledger = known

    def hear(self, said: Said, now_utc_s: float) -> None:
        match said:
            case Accepted() | Cancelled() | Rejected():
                self._ledger, _ = receive(self._ledger, said, now_utc_s)
            case Snapshot():
                self._ledger, _ = receive_snapshot(self._ledger, said, now_utc_s)
            case LoadTargets():
                self._ledger, _ = receive_targets(self._ledger, said, now_utc_s)
            case Heartbeat() | Enforcement():
                return
        self._ledger, _ = ledgers.settle(self._ledger, now_utc_s)

    def events(self, now_utc_s: float) -> tuple[GridEvent, ...]:
        """The events that would be in force, or come."""
        return ledgers.events(self._ledger, now_utc_s)
