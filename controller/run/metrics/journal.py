"""Metrics of the journal: whether evidence is kept."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from controller.run.board import JournalStats
from controller.run.metrics.families import counter, gauge, plain


def journal_metrics(stats: JournalStats) -> Iterator[Metric]:
    lost = [((), stats.lost_rows)]
    yield counter("journal_rows_lost", "Rows of evidence that will never be written", lost)
    yield plain("journal_rows_waiting", "Rows that wait to be written", stats.waiting_rows)
    says = "Damaged journals that were put aside, and lie beside this one"
    yield plain("journal_put_aside", says, stats.put_aside)
    yield plain("journal_failing", "1 while the journal cannot be written", stats.is_failing)
    says = "1 while finished days cannot be archived"
    yield plain("journal_archive_failing", says, stats.is_archive_failing)
    free = [] if stats.disk is None else [((), stats.disk.free_bytes)]
    size = [] if stats.disk is None else [((), stats.disk.size_bytes)]
    yield gauge("journal_disk_free_bytes", "Free where the journal is; absent where it cannot be told", free)
    yield gauge("journal_disk_size_bytes", "The file system that the journal is on", size)
