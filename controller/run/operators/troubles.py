"""What cannot be used of the messages of one operator: told when it begins, and when it has been over for a
while; not in between, also where one sender is broken beside others that are not.
"""

from __future__ import annotations

from typing import Any

from controller.grid.results import Reason, Rejected

OVER_S = 600.0
"""So long nothing of a kind may have been refused for it to be readable again."""


class Troubles:
    def __init__(self, log: Any) -> None:
        self._log = log
        self._last_s: dict[str, dict[Reason, float]] = {}

    def refused(self, kind: str, rejected: Rejected, now_s: float) -> None:
        reasons = self._last_s.setdefault(kind, {})
        if rejected.reason not in reasons:
            self._log.warning("grid_unreadable", kind=kind, why=rejected.reason.value, detail=rejected.detail)
        reasons[rejected.reason] = now_s

    def readable(self, kind: str, now_s: float) -> None:
        """One of that kind could be used."""
        reasons = self._last_s.get(kind)
        if reasons and now_s - max(reasons.values()) >= OVER_S:
            del self._last_s[kind]
            self._log.info("grid_readable_again", kind=kind)
