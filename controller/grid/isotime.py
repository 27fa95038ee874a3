"""RFC 3339 instants and ISO 8601 durations, as OpenADR 3.1 uses them; nothing here knows what time it is.

Stricter than the standard library: an instant needs an offset, a duration needs a fixed length.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from controller.grid.results import Reason
from controller.grid.strictjson import MessageError, shown

OPEN_END_YEARS = 100
"""A duration of this many years or more has no end: `P9999Y` is how the standard writes it."""

_DAY_S = 86_400.0
_OPEN_END_S = OPEN_END_YEARS * 365 * _DAY_S
_LAST_UTC_S = 253_402_300_799.999
"""The end of the year 9999, the last that is written. By its offset, or rounded, a stamp may lie beyond."""

_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_SENTINEL = re.compile(r"0001-01-01(?:[Tt]00:00:00(?:\.0{1,9})?(?:[Zz]|[+-]00:00)?)?", re.ASCII)
_DURATION = re.compile(
    r"(-)?P(?=.)(?:(\d{1,9})Y)?(?:(\d{1,9})M)?(?:(?:(\d{1,9})D)?|(?:(\d{1,9})W)?)"
    r"(?:T(?=.)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Now:
    """The year 0001: at once, or right after the interval before."""


NOW = Now()


def instant(key: str, text: str) -> float:
    """Unix seconds of an RFC 3339 timestamp that carries an offset and is not before 1970."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise MessageError(Reason.BAD_TIME, f"{key}: {shown(text)} is no RFC 3339 time with an offset")
    date, clock, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    except ValueError as error:
        raise MessageError(Reason.BAD_TIME, f"{key}: {shown(text)}: {error}") from None
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    if seconds < 0:
        raise MessageError(Reason.BAD_TIME, f"{key}: {shown(text)} lies before 1970")
    return seconds + (float(f"0.{fraction}") if fraction else 0.0)


def start(key: str, text: str) -> float | Now:
    """An instant, or the sentinel that means now."""
    return NOW if _SENTINEL.fullmatch(text) else instant(key, text)


def signed_duration_s(key: str, text: str) -> float:
    """Seconds of an ISO 8601 duration; infinite from a hundred years on."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise MessageError(Reason.BAD_DURATION, f"{key}: {shown(text)} is no ISO 8601 duration")
    sign, *parts = match.groups()
    years, months, days, weeks, hours, minutes, seconds = (float(part or 0) for part in parts)
    if years >= OPEN_END_YEARS:
        length_s = math.inf
    elif years or months:
        raise MessageError(
            Reason.BAD_DURATION, f"{key}: {shown(text)}: years and months have no fixed length"
        )
    else:
        length_s = weeks * 7 * _DAY_S + days * _DAY_S + hours * 3600 + minutes * 60 + seconds
        length_s = math.inf if length_s >= _OPEN_END_S else length_s
    return -length_s if sign else length_s


def duration_s(key: str, text: str) -> float:
    length_s = signed_duration_s(key, text)
    if length_s < 0:
        raise MessageError(Reason.BAD_DURATION, f"{key}: {shown(text)} is negative")
    return length_s


def stamp(utc_s: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(min(round(utc_s, 3), _LAST_UTC_S), tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def duration(length_s: float) -> str:
    """An ISO 8601 duration in seconds, to the millisecond."""
    return f"PT{length_s:.3f}".rstrip("0").rstrip(".") + "S"
