"""What metrics are made of: a family is a name, what it says, and values by their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

PREFIX = "wattshift_"

T = TypeVar("T")
Samples = Iterable[tuple[tuple[str, ...], float]]
Columns = tuple[tuple[str, str, Callable[[T], float | None]], ...]
"""Metrics of the same things: a name, what it says, and its value for one of them (None: no series)."""


def counted(counts: Counter[str], known: tuple[str, ...]) -> Samples:
    """Every known word from the start, so that a rate exists before its first event."""
    now = dict(counts)
    return keyed(dict.fromkeys(known, 0) | now)


def keyed(values: Mapping[str, float]) -> Samples:
    """By one label."""
    return (((key,), value) for key, value in values.items())


def plain(name: str, says: str, now: float) -> Metric:
    """A gauge without labels."""
    return gauge(name, says, [((), now)])


def gauge(name: str, says: str, samples: Samples, *labels: str) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, says, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def counter(name: str, says: str, samples: Samples, *labels: str) -> Metric:
    family = CounterMetricFamily(PREFIX + name, says, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def table(subject: str, columns: Columns[T], things: Iterable[tuple[str, T]]) -> Iterator[Metric]:
    things = tuple(things)
    for name, says, value_of in columns:
        known = (((key,), value) for key, thing in things if (value := value_of(thing)) is not None)
        yield gauge(f"{subject}_{name}", says, known, subject)
