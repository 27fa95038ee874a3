"""Which points of one sensor are silent, told where that changes."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

log = structlog.get_logger()


class SilentPoints:
    """Of the sensor `subject`. Hours of silence are one warning, and the return one line."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._faults: Mapping[str, str] = {}

    def now(self, faults: Mapping[str, str]) -> None:
        """`faults` says why of each point that could not be read this time."""
        for name in faults.keys() - self._faults.keys():
            log.warning("point_silent", subject=self._subject, point=name, why=faults[name])
        for name in self._faults.keys() - faults.keys():
            log.info("point_answers_again", subject=self._subject, point=name)
        self._faults = faults
