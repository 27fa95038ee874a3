"""What an audit of a journal finds: values. Of what is wrong the first are told and all are counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from controller.run.journal.seals import Anchor

FAULTS_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is not as it was sealed. The window is that of the seal; None where there is none."""

    what: str
    table: str
    seal: int | None = None
    first_utc_s: float | None = None
    last_utc_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Rows that were never written, by the journal's own word."""

    utc_s: float
    table: str
    rows: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A journal before this one that was damaged and put aside, by this one's own word."""

    utc_s: float
    file: str
    why: str


@dataclass(slots=True, kw_only=True)
class Audit:
    """What was found. `faults` are the first of `fault_count`; `rows` counts what was verified, by table,
    `left_out` the rows under these seals that are gone by retention, and `pruned` says up to which id.
    `archived` files hold older days, and `unclosed` starts followed a controller that had not closed it."""

    path: Path
    seals: int = 0
    first: Anchor | None = None
    last: Anchor | None = None
    first_utc_s: float | None = None
    last_utc_s: float | None = None
    rows: dict[str, int] = field(default_factory=dict)
    pruned: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    replaced: list[Replaced] = field(default_factory=list)
    archived: int = 0
    unclosed: int = 0
    is_excerpt: bool = False
    unmoved: tuple[str, ...] = ()
    confirmed: list[Anchor] = field(default_factory=list)
    beyond: list[Anchor] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0

    @property
    def is_verified(self) -> bool:
        return not self.fault_count

    def note(self, fault: Fault) -> None:
        self.fault_count += 1
        if len(self.faults) < FAULTS_TOLD:
            self.faults.append(fault)
