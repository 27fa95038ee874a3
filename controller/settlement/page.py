"""The report for people: one page that prints on a sheet of A4, with the plot, and needs nothing but itself.

Everything in it that came from outside is escaped by the template engine, without an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from controller.settlement import plot
from controller.settlement.evidence import Evidence
from controller.settlement.figures import figures_of, kw_of, local, number
from controller.settlement.metering import Span
from controller.settlement.performance import Compliance

MOST_ROWS = 13
"""Of intervals on the page: those that did not comply come first. All are in the CSV and the JSON."""
MOST_NOTES = 3

_TEMPLATES = Environment(
    loader=PackageLoader("controller.settlement", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def template(name: str) -> Template:
    return _TEMPLATES.get_template(name)


def as_html(evidence: Evidence) -> str:
    shown = fitting(evidence.intervals)
    return template("event.html.j2").render(
        evidence=evidence,
        course=evidence.course,
        figures=figures_of(evidence),
        plot=plot.plot_of(evidence),
        frame=plot,
        rows=[(item, local(item.span.start_utc_s, evidence.zone, "%H:%M:%S")) for item in shown],
        left_out=len(evidence.intervals) - len(shown),
        notes=evidence.notes[:MOST_NOTES],
        more_notes=len(evidence.notes) - MOST_NOTES,
        made=local(evidence.made_utc_s, evidence.zone),
        number=number,
        kw_of=kw_of,
    )


class _Interval(Protocol):
    @property
    def span(self) -> Span: ...

    @property
    def compliance(self) -> Compliance: ...


Shown = TypeVar("Shown", bound=_Interval)


def fitting(intervals: Sequence[Shown], then: Callable[[Shown], float] = lambda _: 0.0) -> tuple[Shown, ...]:
    """All if they fit, else those that need an explanation and the first of the others, the least by `then`
    first; in order of time."""
    worst = {Compliance.NOT_COMPLIANT: 0, Compliance.UNKNOWN: 1}
    ranked = sorted(intervals, key=lambda item: (worst.get(item.compliance, 2), then(item), item.span))
    return tuple(sorted(ranked[:MOST_ROWS], key=lambda item: item.span))
