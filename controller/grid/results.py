"""What a codec made of a message: a value for every outcome, so that nothing a sender writes can raise.

A codec turns bytes into one of these; it never decides whether an event is obeyed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.domain.grid import ALL_RIGHTS, Alert, GridEvent, Right
from controller.domain.power import Power

MAX_PAYLOAD_BYTES = 64 * 1024
MAX_INTERVALS = 4096
MAX_AHEAD_S = 5.0
"""How far ahead of our clock a sender's stamp may lie before we take it for an error."""


REPORTABLE = frozenset(
    {
        "DEMAND",
        "USAGE",
        "SETPOINT",
        "OPERATING_STATE",
        "LOAD_SHED_DELTA_AVAILABLE",
        "UP_REGULATION_AVAILABLE",
        "DOWN_REGULATION_AVAILABLE",
        "DATA_QUALITY",
    }
)
"""The report payloads of OpenADR that every site can fill. BASELINE is one only where a baseline is kept."""


class Reason(StrEnum):
    """Why a message was refused. The strings are a contract: senders and dashboards read them."""

    TOO_LARGE = "TOO_LARGE"
    NOT_JSON = "NOT_JSON"
    TOO_DEEP = "TOO_DEEP"
    DUPLICATE_KEY = "DUPLICATE_KEY"
    BAD_SHAPE = "BAD_SHAPE"
    UNSUPPORTED = "UNSUPPORTED"
    NOT_ADDRESSED = "NOT_ADDRESSED"
    NOT_AGREED = "NOT_AGREED"
    NOT_AUTHORIZED = "NOT_AUTHORIZED"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    STALE = "STALE"
    BAD_TIME = "BAD_TIME"
    FROM_THE_FUTURE = "FROM_THE_FUTURE"
    BAD_DURATION = "BAD_DURATION"
    BAD_INTERVALS = "BAD_INTERVALS"
    TOO_MANY_INTERVALS = "TOO_MANY_INTERVALS"
    TOO_MANY_EVENTS = "TOO_MANY_EVENTS"
    NO_UNITS = "NO_UNITS"
    BAD_UNITS = "BAD_UNITS"
    BAD_VALUE = "BAD_VALUE"
    ABOVE_NAMEPLATE = "ABOVE_NAMEPLATE"
    OBSERVED = "OBSERVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a site and its operator agreed on before the first message.

    `names` are further targets that mean this site, beside `ven`; `nodes` are the places in its electrical
    tree that an event may be aimed at. `report_every_s` holds where an event asks for telemetry and names no
    period; `ramp_deadline_s` is by program, for limits that carry no deadline.

    The limits that stand for a word instead of a power: `levels` for SIMPLE, `offsets` for
    CONTROL_LEVEL_OFFSET, `instructions` for DISPATCH_INSTRUCTION, `alerts` for an alert. What is not in its
    table was not agreed. `follows_relative`: set-points relative to what the site drew before are followed.
    `reported` are the report payloads that the site has values for.
    """

    ven: str
    nameplate: Power
    names: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    rights: frozenset[Right] = ALL_RIGHTS
    follows_relative: bool = True
    report_every_s: float = 60.0
    reported: frozenset[str] = REPORTABLE
    ramp_deadline_s: Mapping[str, float] = field(default_factory=dict)
    levels: Mapping[int, Power] = field(default_factory=dict)
    offsets: Mapping[int, Power] = field(default_factory=dict)
    instructions: Mapping[str, Power] = field(default_factory=dict)
    alerts: Mapping[Alert, Power] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A version of an event that can be obeyed. `stamp` is its version as the sender wrote it; `ignored`
    names what the message asked for and this site does not know."""

    event: GridEvent
    stamp: str
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The version of an event that ends it. One that removes others has when it does."""

    id: str
    version_utc_s: float
    stamp: str
    removes_at_utc_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A message refused whole. `id`, `version_utc_s` and `stamp` are None where they could not be read;
    a version from the future is not believed, so there `stamp` stands alone."""

    reason: Reason
    detail: str
    id: str | None = None
    version_utc_s: float | None = None
    stamp: str | None = None


MessageResult = Accepted | Cancelled | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Every event the operator knows for this site, as of one instant of the operator's clock.

    `ids` also names the events that were listed and refused: they are not missing.
    """

    as_of_utc_s: float
    seq: int
    ids: frozenset[str]
    results: tuple[MessageResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The operator is alive; `utc_s` is its own clock."""

    seq: int
    utc_s: float
