"""The OpenADR 3.1 objects as they lie on the wire: the fields this site reads, and nothing else.

Strict in type, tolerant in what may be missing: what an absent field means is decided where it is used.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from controller.grid.results import MAX_INTERVALS, Reason
from controller.grid.strictjson import MessageError, shown

MAX_LISTED = 1024
"""So many events one snapshot may have: more than may be in force or to come."""

Id = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
Word = Annotated[str, Field(min_length=1, max_length=128)]


class Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, alias_generator=to_camel)


class PeriodWire(Wire):
    start: str | None = None
    duration: str | None = None
    randomize_start: str | None = None


class PayloadWire(Wire):
    type: Word
    values: Annotated[list[Any], Field(max_length=MAX_INTERVALS)]


class IntervalWire(Wire):
    id: Any = None
    interval_period: PeriodWire | None = None
    payloads: list[PayloadWire]


class DescriptorWire(Wire):
    payload_type: Word
    units: Word | None = None
    currency: Word | None = None


class ReportDescriptorWire(Wire):
    payload_type: Word
    units: Word | None = None
    frequency: Annotated[int, Field(ge=-1, lt=2**31)] = -1
    repeat: Annotated[int, Field(ge=-1, lt=2**31)] = 1
    start_interval: Annotated[int, Field(ge=-1, lt=2**31)] = -1
    num_intervals: Annotated[int, Field(ge=-1, lt=2**31)] = -1
    historical: bool = True
    reading_type: Word | None = None
    targets: list[Word] | None = None
    aggregate: bool = False
    report_intervals: Word = "INTERVALS"


class EventHeadWire(Wire):
    """What is needed to know which version of which event a message is about, and for whom."""

    object_type: str | None = None
    id: Id
    modification_date_time: str
    targets: list[Word] | None = None


class EventWire(EventHeadWire):
    program_id: str | None = Field(default=None, alias="programID")
    event_name: str | None = None
    priority: Annotated[int, Field(ge=0)] | None = None
    duration: str | None = None
    interval_period: PeriodWire | None = None
    payload_descriptors: list[DescriptorWire] | None = None
    report_descriptors: list[Any] | None = None
    intervals: list[IntervalWire] | None = None


class NotificationWire(Wire):
    object_type: str
    operation: str
    targets: list[Word] | None = None
    object: dict[str, Any]


class SnapshotWire(Wire):
    as_of: str
    seq: Annotated[int, Field(ge=0, lt=2**63)]
    ven: str
    events: Annotated[list[dict[str, Any]], Field(max_length=MAX_LISTED)]


class HeartbeatWire(Wire):
    seq: Annotated[int, Field(ge=0, lt=2**63)]
    utc: str


WireT = TypeVar("WireT", bound=Wire)


def read(model: type[WireT], value: object) -> WireT:
    """`value` as `model`, or a refusal that names the first bad key and what stood there."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "message"
        wanted = first["msg"].partition(" or instance of")[0]
        message = f"{shown(key)[1:-1]}: {wanted}, got {shown(first['input'])}"
        raise MessageError(Reason.BAD_SHAPE, message[:240]) from None
