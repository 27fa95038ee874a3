"""What an OpenADR event asks to be told: report descriptors as requests this site can meet, or as names."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

from controller.domain.grid import EventInterval, ReportCycle, ReportRequest, Right
from controller.grid.results import Contract
from controller.grid.signals import REPORT_PERIOD, report_period_s
from controller.grid.strictjson import MessageError
from controller.grid.wire import IntervalWire, ReportDescriptorWire, read

LEAST_PERIOD_S = 1.0
UNITS = {"USAGE": "KWH"}
"""The unit of each report payload that has one; all others of power are in KW."""
MAX_REQUESTS = 32
MOST_TOLD = 120
MAX_REPORTED = 32
"""More intervals than this are not told in one report: signed as well, a message is 64 kB at most."""

_BY_NATURE_AHEAD = frozenset(
    {"LOAD_SHED_DELTA_AVAILABLE", "UP_REGULATION_AVAILABLE", "DOWN_REGULATION_AVAILABLE", "SETPOINT"}
)
_OF_A_NODE = frozenset({"DEMAND", "USAGE", "DATA_QUALITY"})
_READINGS = {
    "DEMAND": ("MEAN", "AVERAGE"),
    "USAGE": ("SUMMED",),
    "BASELINE": ("ESTIMATED",),
    **dict.fromkeys(_BY_NATURE_AHEAD - {"SETPOINT"}, ("FORECAST",)),
}
"""How the values of a payload are come by, where that has a word; the first is what reports say."""
_OWN_NUMBERS = "OPEN_INTERVALS"


def readable(descriptors: Sequence[object]) -> tuple[tuple[ReportDescriptorWire, ...], tuple[str, ...]]:
    """The descriptors that can be read, and what is wrong with the others. A request for a report is no
    command: a bad one must not cost the command that it comes with."""
    found: list[ReportDescriptorWire] = []
    unread: list[str] = []
    for index, descriptor in enumerate(descriptors):
        try:
            found.append(read(ReportDescriptorWire, descriptor))
        except MessageError as refusal:
            unread.append(f"reportDescriptors.{index}.{refusal.detail}"[:MOST_TOLD])
    return tuple(found), tuple(unread[:MAX_REQUESTS])


def requests_of(
    descriptors: Sequence[ReportDescriptorWire],
    written: Sequence[IntervalWire],
    intervals: Sequence[EventInterval],
    contract: Contract,
) -> tuple[tuple[ReportRequest, ...], tuple[str, ...]]:
    """The requests, and what was asked for and is not reported here, with the reason where it is not plain.

    The period is `X_REPORT_PERIOD` where an interval carries one, and then it goes on for as long as the
    event. Else `frequency` 0 leaves it to the site, and everything else counts in the event's intervals.
    """
    requests: dict[Hashable, ReportRequest] = {}
    unmet: list[str] = []
    for descriptor in descriptors:
        payload = descriptor.payload_type
        why = _why_not(descriptor, intervals, contract)
        if why is not None:
            unmet.append(f"report {payload}{why}")
            continue
        request, cut = _timed(descriptor, written, intervals, contract)
        places, unknown = _places(descriptor, contract)
        for note in (*cut, *unknown, *_as_read(descriptor)):
            unmet.append(f"report {payload}{note}")
        for place in places:
            key = (payload, place, request.cycle)
            known = requests.get(key)
            if known is None and len(requests) >= MAX_REQUESTS:
                unmet.append(f"report {payload}: more than {MAX_REQUESTS} of them")
            elif known is None or request.every_s < known.every_s:
                alone = descriptor.aggregate or bool(place)
                requests[key] = replace(request, node=place, alone=alone)
    found = sorted(requests.values(), key=lambda one: (one.payload, one.node, one.every_s, repr(one.cycle)))
    return tuple(found), tuple(sorted(set(unmet)))


def _why_not(
    descriptor: ReportDescriptorWire, intervals: Sequence[EventInterval], contract: Contract
) -> str | None:
    payload, units = descriptor.payload_type, descriptor.units
    if payload not in contract.reported:
        return ""
    if Right.READ not in contract.rights:
        return ": no right to read"
    if not descriptor.historical and payload not in _BY_NATURE_AHEAD:
        return " as a forecast"
    if units is not None and units != UNITS.get(payload, "KW"):
        return f" in {units[:16]}"
    if descriptor.start_interval >= len(intervals):
        return f" from interval {descriptor.start_interval} of {len(intervals)}"
    return None


def _as_read(descriptor: ReportDescriptorWire) -> Iterator[str]:
    """A value that is come by in another way than was asked is told all the same, and that it is."""
    ours, asked = _READINGS.get(descriptor.payload_type, ()), descriptor.reading_type
    if ours and asked is not None and asked not in ours:
        yield f" as {asked[:16]}: as {ours[0]}"


def _places(descriptor: ReportDescriptorWire, contract: Contract) -> tuple[list[str], list[str]]:
    """The nodes that a report is to be about (empty: the site), and what cannot be reported of them. Nodes
    that lie below one another have no sum, so several are told one by one."""
    targets = descriptor.targets or []
    site = {contract.ven, *contract.names}
    places = [""] if not targets or not site.isdisjoint(targets) else []
    nodes = [target for target in targets if target in contract.nodes and target not in site]
    unknown = [target for target in targets if target not in contract.nodes and target not in site]
    notes = [f" of {target[:32]}" for target in unknown]
    if nodes and descriptor.payload_type not in _OF_A_NODE:
        notes += [f" of {node[:32]}" for node in nodes]
        nodes = []
    if descriptor.aggregate and len(nodes) + len(places) > 1:
        notes.append(": several places in one sum")
    return list(dict.fromkeys([*places, *nodes])), notes


def _timed(
    descriptor: ReportDescriptorWire,
    written: Sequence[IntervalWire],
    intervals: Sequence[EventInterval],
    contract: Contract,
) -> tuple[ReportRequest, list[str]]:
    """When the reports of one descriptor are made, and what of it cannot be met."""
    labelled = descriptor.report_intervals != _OWN_NUMBERS
    payload = descriptor.payload_type
    if any(said.type == REPORT_PERIOD for interval in written for said in interval.payloads):
        every_s = max(report_period_s(written, math.inf), LEAST_PERIOD_S)
        return ReportRequest(payload=payload, every_s=every_s, labelled=labelled), []
    cycle = _cycle(descriptor, len(intervals))
    # An end that never comes would be a report that never comes.
    if descriptor.frequency == 0 or math.isinf(intervals[cycle.first].end_utc_s):
        return ReportRequest(payload=payload, every_s=contract.report_every_s, labelled=labelled), []
    times = math.inf if descriptor.repeat == -1 else max(descriptor.repeat, 1)
    asked = len(intervals) if cycle.count == 0 else cycle.count
    notes = [f": the last {MAX_REPORTED} intervals of each"] if asked > MAX_REPORTED else []
    return ReportRequest(payload=payload, times=times, labelled=labelled, cycle=cycle), notes


def _cycle(descriptor: ReportDescriptorWire, intervals: int) -> ReportCycle:
    """`startInterval` is the interval at whose end the first report is made, -1 the last one. With a
    frequency and no start, the first is made when as many intervals are over."""
    count = max(descriptor.num_intervals, 0)
    every = descriptor.frequency if descriptor.frequency > 0 else count or intervals
    first = descriptor.start_interval
    if first < 0:
        first = every - 1 if descriptor.frequency > 0 else intervals - 1
    return ReportCycle(first=min(first, intervals - 1), every=every, count=count)
