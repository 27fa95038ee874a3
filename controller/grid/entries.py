"""What the ledger holds: for each event its newest version, what was refused, and what was told of it.

Values and questions about them; only `ledger` makes new ones.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from controller.domain.grid import EventStatus
from controller.domain.power import Power
from controller.grid.results import Accepted, Cancelled, Rejected
from controller.grid.site import UNMEASURED, Measured

FINAL = frozenset({EventStatus.COMPLETED, EventStatus.CANCELLED, EventStatus.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """What the sender of an event must be told, once. The same statement always has the same `id`; a version
    that is cancelled by a snapshot, listed again and cancelled once more is told three things. `possible` is
    what the site can come to instead of what it cannot."""

    event: str
    status: EventStatus
    at_utc_s: float
    version_utc_s: float | None
    stamp: str | None
    measured: Measured = UNMEASURED
    possible: Power | None = None
    why: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, EventStatus, float, float | None, str | None]:
        """The same for the same statement, and quicker than its `id`."""
        return self.event, self.status, self.at_utc_s, self.version_utc_s, self.stamp

    @property
    def id(self) -> str:
        version = self.stamp if self.version_utc_s is None else f"{self.version_utc_s:.6f}"
        statement = f"{self.event}\n{version}\n{self.status}\n{self.at_utc_s:.6f}"
        digest = hashlib.sha256(statement.encode()).hexdigest()
        return f"ack-{self.event[:80]}-{self.status.lower()}-{digest[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """The sender was told at `told_utc_s` that no more than `possible` can be had of what it asks for."""

    possible: Power
    told_utc_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A load target as it was commanded, whatever newer commands have made of it since."""

    start_utc_s: float
    end_utc_s: float
    version_utc_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event id: the newest version that counts, a newer one that was refused, and a refused message
    whose version could not be read or believed.

    `told` is what the sender was told of the newest version, last word last, which came at `told_utc_s`;
    `unsent` the acks not known to have arrived.
    `shortfall` is what it was told cannot be had, as long as that stands. `drawn_before` is what the site
    drew before it began to follow the event, whatever its version. `asked` is kept of load targets.
    """

    id: str
    content: Accepted | Cancelled | None = None
    refused: Rejected | None = None
    unversioned: Rejected | None = None
    told: tuple[EventStatus, ...] = ()
    told_utc_s: float = 0.0
    unsent: tuple[Ack, ...] = ()
    keep_until_utc_s: float = 0.0
    shortfall: Shortfall | None = None
    drawn_before: Power | None = None
    asked: Asked | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The newest snapshot: what was not in it, and is older than it, is cancelled. What was made in the very
    moment of it may have been made after it: the next one says.

    Snapshots are ordered by the operator's clock, then by `seq`: an operator that starts counting again
    is heard all the same.
    """

    as_of_utc_s: float
    seq: int
    ids: frozenset[str]

    @property
    def order(self) -> tuple[float, int, tuple[str, ...]]:
        return self.as_of_utc_s, self.seq, tuple(sorted(self.ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """`evidence_left` says how many more rows of evidence there are for new versions, beside what is kept for
    those that were accepted. It is asked for each change, and kept nowhere."""

    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    mark: Mark | None = None
    evidence_left: float = field(default=math.inf, compare=False)


def left_out(entry: Entry, mark: Mark | None) -> bool:
    return (
        mark is not None
        and entry.content is not None
        and entry.id not in mark.ids
        and version_of(entry.content) < mark.as_of_utc_s
    )


def lives(entry: Entry, mark: Mark | None, now_utc_s: float) -> bool:
    content = entry.content
    return isinstance(content, Accepted) and content.event.end_utc_s > now_utc_s and not left_out(entry, mark)


def id_of(content: Accepted | Cancelled) -> str:
    return content.event.id if isinstance(content, Accepted) else content.id


def version_of(content: Accepted | Cancelled) -> float:
    return content.event.version_utc_s if isinstance(content, Accepted) else content.version_utc_s


def rank(content: Accepted | Cancelled) -> tuple[bool, int, str]:
    reports = len(content.event.reports) if isinstance(content, Accepted) else 0
    return isinstance(content, Cancelled), reports, repr(content)


def refusal_rank(refused: Rejected) -> tuple[float, str, str]:
    return refused.version_utc_s or 0.0, refused.stamp or "", refused.reason
