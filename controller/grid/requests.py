"""What an OpenADR event asks to be told: report descriptors as requests this site can meet, or as names."""

from __future__ import annotations

import math
from collections.abc import Sequence

from controller.domain.grid import EventInterval, ReportRequest, Right
from controller.grid.results import Contract
from controller.grid.signals import REPORT_PERIOD, report_period_s
from controller.grid.wire import IntervalWire, ReportDescriptorWire

LEAST_PERIOD_S = 1.0
UNITS = {"USAGE": "KWH"}
"""The unit of each report payload that has one; all others of power are in KW."""

_BY_NATURE_AHEAD = frozenset(
    {"LOAD_SHED_DELTA_AVAILABLE", "UP_REGULATION_AVAILABLE", "DOWN_REGULATION_AVAILABLE", "SETPOINT"}
)
_OWN_NUMBERS = "OPEN_INTERVALS"


def requests_of(
    descriptors: Sequence[ReportDescriptorWire],
    written: Sequence[IntervalWire],
    intervals: Sequence[EventInterval],
    contract: Contract,
) -> tuple[tuple[ReportRequest, ...], tuple[str, ...]]:
    """The requests, and what was asked for and is not reported here, with the reason where it is not plain.

    The period is `X_REPORT_PERIOD` where an interval carries one, and then it goes on for as long as the
    event. Else `frequency` n > 0 means every n intervals, 0 leaves it to the site, and -1 is one report of
    the whole event.
    """
    requests: dict[str, ReportRequest] = {}
    unmet: list[str] = []
    for descriptor in descriptors:
        payload = descriptor.payload_type
        why = _why_not(descriptor, contract)
        if why is not None:
            unmet.append(f"report {payload}{why}")
            continue
        request = _request(descriptor, written, intervals, contract)
        known = requests.get(payload)
        if known is None or request.every_s < known.every_s:
            requests[payload] = request
    return tuple(requests[payload] for payload in sorted(requests)), tuple(sorted(set(unmet)))


def _why_not(descriptor: ReportDescriptorWire, contract: Contract) -> str | None:
    payload, units = descriptor.payload_type, descriptor.units
    if payload not in contract.reported:
        return ""
    if Right.READ not in contract.rights:
        return ": no right to read"
    if not descriptor.historical and payload not in _BY_NATURE_AHEAD:
        return " as a forecast"
    if units is not None and units != UNITS.get(payload, "KW"):
        return f" in {units[:16]}"
    return None


def _request(
    descriptor: ReportDescriptorWire,
    written: Sequence[IntervalWire],
    intervals: Sequence[EventInterval],
    contract: Contract,
) -> ReportRequest:
    times = math.inf if descriptor.repeat == -1 else max(descriptor.repeat, 1)
    if any(payload.type == REPORT_PERIOD for interval in written for payload in interval.payloads):
        every_s, times = report_period_s(written, math.inf), math.inf
    elif descriptor.frequency > 0:
        every_s = descriptor.frequency * (intervals[0].end_utc_s - intervals[0].start_utc_s)
    elif descriptor.frequency == 0:
        every_s = contract.report_every_s
    else:
        every_s = intervals[-1].end_utc_s - intervals[0].start_utc_s
    if math.isinf(every_s):  # an end that never comes would be a report that never comes
        every_s, times = contract.report_every_s, math.inf
    if descriptor.frequency == 0:
        times = math.inf
    return ReportRequest(
        payload=descriptor.payload_type,
        every_s=max(every_s, LEAST_PERIOD_S),
        times=times,
        labelled=descriptor.report_intervals != _OWN_NUMBERS,
    )
