"""The file of likely peak hours: who forecasts them writes it, and it is read again when it has changed."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from controller.grid.isotime import instant
from controller.grid.strictjson import MessageError
from controller.grid.triggers import PeakHour

MAX_BYTES = 1024 * 1024
MAX_HOURS = 2000
LONGEST_S = 86_400.0
HEADER = ["start", "end", "probability"]


class CalendarError(Exception):
    """The file cannot be used; the message names the line and what stands there."""


class PeakCalendar:
    """`trouble` is what was last wrong with it, for whoever logs it once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        self._seen: tuple[int, int] | None = None
        self._hours: tuple[PeakHour, ...] = ()

    def read(self) -> tuple[PeakHour, ...]:
        """Every hour of the file. Blocks; `CalendarError` if any line of it cannot be meant."""
        try:
            status = self.path.stat()
            if status.st_size > MAX_BYTES:
                raise CalendarError(f"{self.path}: {status.st_size} bytes, at most {MAX_BYTES}")
            seen = status.st_mtime_ns, status.st_size
            if seen != self._seen:
                text = self.path.read_text(encoding="utf-8")
                self._hours = parse(text)
                self._seen = seen
        except (OSError, UnicodeDecodeError) as error:
            raise CalendarError(f"{self.path}: {error}") from None
        except (ValueError, csv.Error) as error:
            raise CalendarError(f"{self.path}: {error}") from None
        return self._hours


def parse(text: str) -> tuple[PeakHour, ...]:
    """Lines of `start,end,probability` under that header; times are RFC 3339 with an offset. `ValueError`
    names the line."""
    rows = list(csv.reader(text.splitlines()))
    if not rows or [cell.strip() for cell in rows[0]] != HEADER:
        raise ValueError(f"line 1: the header {','.join(HEADER)} is needed")
    if len(rows) > MAX_HOURS + 1:
        raise ValueError(f"{len(rows) - 1} hours, at most {MAX_HOURS}")
    return tuple(_hour(number, row) for number, row in enumerate(rows[1:], 2) if any(row))


def _hour(number: int, row: list[str]) -> PeakHour:
    if len(row) != len(HEADER):
        raise ValueError(f"line {number}: {len(row)} values, {len(HEADER)} are needed")
    begins, ends, likely = (cell.strip() for cell in row)
    try:
        start_utc_s, end_utc_s = instant("start", begins), instant("end", ends)
        probability = float(likely)
    except (MessageError, ValueError) as error:
        raise ValueError(f"line {number}: {error}") from None
    if not math.isfinite(probability) or not 0 <= probability <= 1:
        raise ValueError(f"line {number}: probability {likely!r} is not within 0..1")
    if not 0 < end_utc_s - start_utc_s <= LONGEST_S:
        raise ValueError(f"line {number}: {begins} to {ends} is no window of up to a day")
    return PeakHour(start_utc_s=start_utc_s, end_utc_s=end_utc_s, probability=probability)
