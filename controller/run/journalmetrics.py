"""Metrics of the journal: whether evidence is kept."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from controller.run.board import JournalStats

PREFIX = "wattshift_journal_"


def journal_metrics(stats: JournalStats) -> Iterator[Metric]:
    yield CounterMetricFamily(
        PREFIX + "rows_lost", "Rows of evidence that will never be written", value=stats.lost_rows
    )
    yield GaugeMetricFamily(PREFIX + "rows_waiting", "Rows that wait to be written", value=stats.waiting_rows)
    yield GaugeMetricFamily(
        PREFIX + "failing", "1 while the journal cannot be written", value=int(stats.is_failing)
    )
    yield GaugeMetricFamily(
        PREFIX + "archive_failing",
        "1 while finished days cannot be archived",
        value=int(stats.is_archive_failing),
    )
