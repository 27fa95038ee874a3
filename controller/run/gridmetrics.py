"""Metrics of the links to grid operators: who is there, and what went to and fro."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from controller.domain.grid import Link
from controller.run.board import LinkStats, Operator

PREFIX = "wattshift_operator_"
FIRST = "grid"
"""What the operator of the `[grid]` table is called: it has no name of its own."""

COUNTERS: Mapping[str, tuple[str, Callable[[LinkStats], int]]] = {
    "connects": ("Connections to the broker that came up", lambda stats: stats.connects),
    "messages": ("Messages that arrived", lambda stats: stats.received),
    "messages_refused": ("Messages that could not be used", lambda stats: stats.refused),
    "messages_overflowed": ("Messages dropped because too many waited", lambda stats: stats.overflowed),
    "acknowledgements": ("Acknowledgements that the broker took", lambda stats: stats.acks_sent),
    "telemetry": ("Reports and signs of life that the broker took", lambda stats: stats.telemetry_sent),
    "telemetry_dropped": ("Reports dropped because too many waited", lambda stats: stats.telemetry_dropped),
    "enforcements": ("Times others moved our machines after a breach", lambda stats: stats.enforcements),
    "store_failures": ("Writes of events that the journal refused", lambda stats: stats.store_failures),
}


def operator_metrics(operators: Iterable[Operator]) -> Iterator[Metric]:
    named = [(operator.name or FIRST, operator) for operator in operators]
    up = GaugeMetricFamily(PREFIX + "up", "1 while what it wants is known", labels=("operator",))
    behind = GaugeMetricFamily(
        PREFIX + "clock_behind_seconds", "Our clock minus the operator's", labels=("operator",)
    )
    for name, operator in named:
        up.add_metric((name,), operator.state is Link.UP)
        behind.add_metric((name,), operator.stats.operator_behind_s)
    yield up
    yield behind
    for word, (says, count) in COUNTERS.items():
        counter = CounterMetricFamily(PREFIX + word, says, labels=("operator",))
        for name, operator in named:
            counter.add_metric((name,), count(operator.stats))
        yield counter
