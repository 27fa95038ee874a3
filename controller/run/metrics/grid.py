"""Metrics of the links to grid operators: who is there, and what went to and fro."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import Metric

from controller.domain.eventnames import FIRST
from controller.domain.grid import Link
from controller.run.board import LinkStats, Operator
from controller.run.metrics.families import counter, gauge, keyed

COUNTERS: Mapping[str, tuple[str, Callable[[LinkStats], int]]] = {
    "connects": ("Connections to the broker that came up", lambda stats: stats.connects),
    "messages": ("Messages that arrived", lambda stats: stats.received),
    "messages_refused": ("Messages that could not be used", lambda stats: stats.refused),
    "messages_overflowed": ("Messages dropped because too many waited", lambda stats: stats.overflowed),
    "acknowledgements": ("Acknowledgements that the broker took", lambda stats: stats.acks_sent),
    "telemetry": ("Reports and signs of life that the broker took", lambda stats: stats.telemetry_sent),
    "telemetry_dropped": ("Reports dropped because too many waited", lambda stats: stats.telemetry_dropped),
    "messages_oversized": (
        "Messages of ours too large for any broker, not sent",
        lambda stats: stats.oversized,
    ),
    "enforcements": ("Times others moved our machines after a breach", lambda stats: stats.enforcements),
    "store_failures": ("Writes of events that the journal refused", lambda stats: stats.store_failures),
}


def operator_metrics(operators: Iterable[Operator]) -> Iterator[Metric]:
    named = [(operator.name or FIRST, operator) for operator in operators]
    up = {name: operator.state is Link.UP for name, operator in named}
    behind_s = {name: operator.stats.operator_behind_s for name, operator in named}
    yield gauge("operator_up", "1 while what it wants is known", keyed(up), "operator")
    untold = {name: operator.stats.untold for name, operator in named}
    says = "Targets in its last status, and reports, for which there was no room"
    yield gauge("operator_untold", says, keyed(untold), "operator")
    says = "Our clock minus the operator's"
    yield gauge("operator_clock_behind_seconds", says, keyed(behind_s), "operator")
    for word, (says, count) in COUNTERS.items():
        counts = {name: count(operator.stats) for name, operator in named}
        yield counter(f"operator_{word}", says, keyed(counts), "operator")
