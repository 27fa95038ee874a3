"""From the bytes of a file to a series of dated prices: all of it is believed, or nothing.

A time without an offset counts in the zone that the site file names. The hour that a zone repeats in autumn
is read in the order in which it stands; one that it skips in spring does not exist.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from controller.domain.prices import Series, in_base_unit
from drivers.base import DriverError
from drivers.pricetables import PriceFileConfig

MAX_BYTES = 16 * 1024 * 1024
MAX_VALUES = 500_000
SHOWN_CHARS = 40
YEARS = range(1970, 2200)

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)

Row = tuple[str, str, float]
"""Where it stands, its time as written, its value."""


def parse(config: PriceFileConfig, content: bytes) -> Series:
    """The series in a file; `DriverError` names the line and the value that cannot be used."""
    if len(content) > MAX_BYTES:
        raise DriverError(f"more than {MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DriverError(f"not UTF-8: {error}") from None
    if config.path.suffix == ".json":
        unit, rows = _from_json(config, text)
    else:
        unit, rows = None, _from_csv(config, text)
    return _series(config, declared_unit(config.unit, unit), rows)


def declared_unit(config: str | None, told: str | None) -> str:
    """The one unit of a value: as the site file has it, or as it came with the value, and never two."""
    unit = told if config is None else config
    if unit is None:
        raise DriverError("its unit is declared neither in the site file nor beside its values")
    if told is not None and told != unit:
        raise DriverError(f"says its unit is {told!r:.{SHOWN_CHARS}}, the site file says {unit!r}")
    return unit


def _series(config: PriceFileConfig, unit: str, rows: Iterator[Row]) -> Series:
    zone = None if config.time_zone is None else ZoneInfo(config.time_zone)
    times: list[float] = []
    values: list[float] = []
    for where, written, number in rows:
        if len(times) == MAX_VALUES:
            raise DriverError(f"more than {MAX_VALUES} values")
        try:
            values.append(in_base_unit(config.price, number, unit))
            utc_s = _utc_s(written, zone, times[-1] if times else float("-inf"))
        except ValueError as error:
            raise DriverError(f"{where}: {error}") from None
        if times and utc_s <= times[-1]:
            raise DriverError(f"{where}: time {written!r} does not come after the one before")
        times.append(utc_s)
    if not times:
        raise DriverError("holds no value")
    return Series(tuple(times), tuple(values))


def _utc_s(written: str, zone: ZoneInfo | None, before_s: float) -> float:
    """Unix seconds of an ISO 8601 time; `ValueError` says why it is none."""
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"time {written!r:.{SHOWN_CHARS}} is not ISO 8601") from None
    if at.year not in YEARS:
        raise ValueError(f"time {written!r} is not within {YEARS.start}..{YEARS.stop - 1}")
    if at.tzinfo is not None:
        return at.timestamp()
    if zone is None:
        raise ValueError(f"time {written!r} has no offset, and the site file names no time_zone")
    first = at.replace(tzinfo=zone)
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != at:
        raise ValueError(f"time {written!r} does not exist in {zone.key}")
    if first.timestamp() > before_s:
        return first.timestamp()
    return first.replace(fold=1).timestamp()


def _from_csv(config: PriceFileConfig, text: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = {config.time_column, config.value_column} - set(reader.fieldnames or ())
        if missing:
            raise DriverError(f"has no column {' and no column '.join(map(repr, sorted(missing)))}")
        for row in reader:
            where = f"line {reader.line_num}"
            written, number = row[config.time_column], row[config.value_column]
            if written is None or number is None or None in row:
                raise DriverError(f"{where} has not as many fields as the head")
            if not _NUMBER.fullmatch(number.strip()):
                raise DriverError(f"{where}: {config.value_column} {number!r:.{SHOWN_CHARS}} is not a number")
            yield where, written.strip(), float(number.strip())
    except csv.Error as error:
        raise DriverError(f"line {reader.line_num}: not CSV: {error}") from None


def _from_json(config: PriceFileConfig, text: str) -> tuple[str | None, Iterator[Row]]:
    """`{"unit": ..., "values": [{"time": ..., "value": ...}, ...]}`, where `unit` may be left out."""
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DriverError(f"not JSON: {error!s:.80}") from None
    if not isinstance(document, dict) or not isinstance(document.get("values"), list):
        raise DriverError("is not an object with a list `values`")
    if unknown := document.keys() - {"unit", "values"}:
        raise DriverError(f"has the unknown key {min(unknown)!r:.{SHOWN_CHARS}}")
    unit = document.get("unit")
    if unit is not None and not isinstance(unit, str):
        raise DriverError(f"unit {unit!r:.{SHOWN_CHARS}} is not a text")
    return unit, _json_rows(config, document["values"])


def _json_rows(config: PriceFileConfig, values: list[Any]) -> Iterator[Row]:
    for at, entry in enumerate(values):
        where = f"values.{at}"
        if not isinstance(entry, dict):
            raise DriverError(f"{where} is not an object")
        written, number = entry.get(config.time_column), entry.get(config.value_column)
        if not isinstance(written, str):
            raise DriverError(f"{where}.{config.time_column} {written!r:.{SHOWN_CHARS}} is not a text")
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise DriverError(f"{where}.{config.value_column} {number!r:.{SHOWN_CHARS}} is not a number")
        try:
            yield where, written, float(number)
        except OverflowError:
            raise DriverError(f"{where}.{config.value_column} is beyond all numbers") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice in one object")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
