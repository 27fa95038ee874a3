"""What operators ask of a site that is only observed: what it would follow, and the journal's word on that.

Somebody else may follow it, so that days with it show nothing of what the site draws by itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from controller.domain.grid import GridEvent
from controller.grid.entries import Ledger
from controller.grid.keeping import Effect, Verdict
from controller.grid.observing import Said, Shadow
from controller.grid.site import Measured
from controller.run.journal.happenings import watched
from controller.run.operators.gridbook import GridBook, Noted, Pending


@dataclass(slots=True, kw_only=True)
class Watched:
    """`of_stream`: nothing is written down of set-points that come every few seconds."""

    book: GridBook
    of_stream: bool
    shadow: Shadow
    held: dict[str, GridEvent]

    @classmethod
    def by(cls, book: GridBook, *, of_stream: bool) -> Watched:
        return cls(book=book, of_stream=of_stream, shadow=Shadow(), held={})

    def begin(self, known: Ledger, now_utc_s: float) -> None:
        """Go on from what was accepted before."""
        self.shadow.begin(known)
        self._note("begin", now_utc_s)

    def hear(self, said: Said, now_utc_s: float) -> None:
        self.shadow.hear(said, now_utc_s)
        self._note(said, now_utc_s)

    def events(self, now_utc_s: float) -> tuple[GridEvent, ...]:
        """The events that would be in force, or come."""
        return self.shadow.events(now_utc_s)

    def _note(self, about: Hashable, now_utc_s: float) -> None:
        held = {event.id: event for event in self.events(now_utc_s) if event.asks}
        happened = tuple(watched(self.held, held, now_utc_s))
        self.held = held
        if happened and not self.of_stream:
            self.book.put(Noted(about=about), Pending(change=_unchanged, history=happened))


def _unchanged(ledger: Ledger, *, now_utc_s: float, measured: Measured) -> tuple[Ledger, Verdict]:
    return ledger, Verdict(effect=Effect.STATUS)
