"""What a dialect of the grid contract is: bytes of a topic become values, values become letters.

A dialect may keep what it has heard, and reads no clock: whoever calls it says what time it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from controller.domain.grid import GridEvent
from controller.grid.dsxenforcement import Enforcement
from controller.grid.entries import Ack, Ledger
from controller.grid.loadtargets import LoadTargets
from controller.grid.results import Heartbeat, MessageResult, Snapshot
from controller.grid.site import SiteReport


class DialectName(StrEnum):
    """The word for it in a site file."""

    OPENADR = "openadr"
    DSX_FLEX = "dsx-flex"
    ZERO_HUNDRED = "zero-hundred"
    BASE_POINT = "base-point"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One thing that a message said; `kind` is the word for its sort in logs."""

    kind: str
    result: MessageResult | Snapshot | Heartbeat | LoadTargets | Enforcement


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message to publish, under a topic without the site's prefix. One that `fades` says nothing that the
    next one on its topic does not say: it need not be kept for longer. `untold` counts what would belong into
    it and found no room."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    fades: bool = False
    untold: int = 0


class Dialect(Protocol):
    """Where it `beats`, the operator is alive while heartbeats and snapshots come; else `is_alive` says."""

    beats: bool

    @property
    def subscriptions(self) -> tuple[str, ...]: ...

    def restored(self, ledger: Ledger, now_utc_s: float) -> None:
        """What had been heard before the process began."""

    def read(self, topic: str, payload: bytes, *, retained: bool, now_utc_s: float) -> tuple[Heard, ...]:
        """One message. It never raises, whatever the bytes."""

    def passed(self, now_utc_s: float) -> tuple[Heard, ...]:
        """What follows from silence."""

    def is_alive(self, now_utc_s: float, connected: bool) -> bool:
        """Whether the operator is there, as far as this dialect can tell."""

    def acknowledgement(self, ack: Ack, now_utc_s: float) -> Letter | None:
        """The word to the sender on one version of an event; None where the dialect has none. The time is
        that of a signature and changes nothing that is said."""

    def observed(self, events: Sequence[GridEvent], report: SiteReport) -> tuple[Letter, ...]:
        """What the site has to tell after one tick."""

    def standing(self, *, online: bool, birth: int, at_utc_s: float) -> Letter | None:
        """The word on whether the site is connected, which is also the last will."""
