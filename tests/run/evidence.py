"""Journals of a few minutes, made in a moment: rows as a day at a site leaves them, and a clock to turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controller.run.journal.file import JournalFile
from controller.run.journal.happenings import Happening, StreamedPoint
from controller.run.journal.retention import Keep
from controller.run.journal.schema import microseconds
from controller.run.journal.waiting import Waiting
from tests.run.fleet import UTC_S

FOREVER = Keep(history=10_000.0, usage=10_000.0, events=10_000.0)


@dataclass
class Site:
    """A journal and whoever writes it. `second` is one second of a site: what comes, comes at its time."""

    path: Path
    utc_s: float = UTC_S
    keep: Keep = FOREVER
    waiting: Waiting = field(default_factory=lambda: Waiting(100_000))

    @contextmanager
    def running(self) -> Iterator[JournalFile]:
        file = self.started()
        try:
            yield file
        finally:
            file.finish()

    def started(self) -> JournalFile:
        file = JournalFile(
            self.path, keep=self.keep, utc=lambda: self.utc_s, waiting=self.waiting, busy_s=0.05
        )
        file.open()
        return file

    def killed(self, file: JournalFile) -> None:
        """What waited is gone, and nobody said goodbye."""
        file._connection().close()
        self.waiting = Waiting(100_000)

    def second(self, file: JournalFile, *, metered_w: int = 4000) -> None:
        now_us = microseconds(self.utc_s)
        second = int(self.utc_s)
        self.waiting.add("samples", (now_us, "site", metered_w, 9000, 5000, 6000))
        if second % 60 == 0:
            self.waiting.add("usage", (now_us - 60_000_000, "site", metered_w, metered_w * 60, 60_000, None))
        if second % 7 == 0:
            self.waiting.add(
                "commands", (now_us, f"asic-{second % 5}", "süß", 2000, "commanded", 'full \\ "x"\n')
            )
        if second % 30 == 0:
            self.waiting.add("alarms", (now_us, "cooling", "hall", int(second % 60 == 0), "not proven"))
        file.flush()
        self.utc_s += 1.0

    def next_days(self, file: JournalFile, count: int = 1) -> None:
        """Let days pass as a clock does, in steps, and retention have its turns."""
        until_s = self.utc_s + count * 86_400
        while self.utc_s < until_s:
            self.utc_s = min(until_s, self.utc_s + 3000)
            file.flush()

    def event(self, file: JournalFile, event: str, status: str = "RECEIVED", text: str = "") -> None:
        happening = Happening(
            utc_s=self.utc_s, event=event, version_utc_s=self.utc_s - 1, status=status, text=text
        )
        file.record((), (), (happening,))

    def point(self, file: JournalFile, watts: int) -> None:
        point = StreamedPoint(
            utc_s=self.utc_s,
            event="base-point",
            version_utc_s=self.utc_s,
            start_utc_s=self.utc_s,
            end_utc_s=self.utc_s + 10,
            watts=watts,
        )
        file.record((), (), (point,))


def made(path: Path, seconds: int = 150, *, events_every: int = 40) -> Site:
    """A journal of some seconds, with everything in it, closed in order."""
    site = Site(path)
    with site.running() as file:
        for second in range(seconds):
            if second % events_every == 0:
                site.event(file, f"event-{second}", text='{"=":"Entry"}')
                site.point(file, 1000 + second)
            site.second(file)
    return site
