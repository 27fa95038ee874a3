"""What is told of a subject that falls silent, answers again, or is another machine: changes, once each."""

from __future__ import annotations

import structlog

from drivers.base import OtherMachineError

log = structlog.get_logger()


class Voice:
    """Logs the change from answering to silent and back, once each, and that another machine answers."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._stranger = ""
        self.is_silent = False

    def silent(self, error: Exception) -> None:
        why = repr(error)
        if isinstance(error, OtherMachineError):
            # Told also of a machine that was silent before, as one is while it is exchanged.
            if why != self._stranger:
                log.error("another_machine", subject=self._subject, why=why)
            self._stranger = why
        elif not self.is_silent:
            log.warning("silent", subject=self._subject, why=why)
        self.is_silent = True

    def heard(self) -> None:
        if self.is_silent:
            log.info("answers_again", subject=self._subject)
        self.is_silent = False
        self._stranger = ""
