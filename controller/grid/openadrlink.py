"""OpenADR 3.1 over MQTT as a dialect: its topics, its reports, its heartbeats in both directions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from controller.domain.grid import GridEvent, Right
from controller.grid import cycles, telemetry
from controller.grid.dialects import Heard, Letter
from controller.grid.entries import Ack, Ledger
from controller.grid.openadr import parse_heartbeat, parse_notification, parse_snapshot
from controller.grid.reports import (
    Report,
    Sender,
    ack_report,
    heartbeat_message,
    status_message,
    telemetry_report,
)
from controller.grid.results import Contract, Rejected
from controller.grid.signatures import Signer, Trust, opened, signed
from controller.grid.site import SiteReport
from controller.grid.strictjson import MessageError

EVENT_WORDS = ("create", "update", "delete")
EVERYBODY = "all"
"""The reader that a signed heartbeat names: it is for every site at once."""


MAX_REPORTS = 512
"""So many reports may be on their way at a time: each tick adds to all of them."""


class OpenAdr:
    """Our heartbeat goes out with a tick of the loop, so that a controller that hangs falls silent."""

    beats = True

    def __init__(
        self,
        sender: Sender,
        contract: Contract,
        *,
        heartbeat_s: float,
        trust: Trust | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._sender = sender
        self._contract = contract
        self._heartbeat_s = heartbeat_s
        self._trust = trust
        self._signer = signer
        self._windows = telemetry.NO_WINDOWS
        self._courses = cycles.NO_COURSES
        self._beat_utc_s = float("-inf")
        self._beats = 0

    @property
    def subscriptions(self) -> tuple[str, ...]:
        events = f"events/vens/{self._contract.ven}"
        return (*(f"{events}/{word}" for word in (*EVENT_WORDS, "snapshot")), "heartbeat/vtn")

    def restored(self, ledger: Ledger, now_utc_s: float) -> None:
        return None

    def read(self, topic: str, payload: bytes, *, retained: bool, now_utc_s: float) -> tuple[Heard, ...]:
        contract = self._contract
        match topic.split("/"):
            case ["heartbeat", "vtn"] if not retained:  # a retained one was true once, not now
                content = self._opened(payload, EVERYBODY, now_utc_s)
                if isinstance(content, Rejected):
                    return (Heard(kind="heartbeat", result=content),)
                return (Heard(kind="heartbeat", result=parse_heartbeat(content, now_utc_s=now_utc_s)),)
            case ["events", "vens", contract.ven, "snapshot"]:
                content = self._opened(payload, contract.ven, now_utc_s)
                if isinstance(content, Rejected):
                    return (Heard(kind="snapshot", result=content),)
                snapshot = parse_snapshot(content, contract=contract, now_utc_s=now_utc_s)
                return (Heard(kind="snapshot", result=snapshot),)
            case ["events", "vens", contract.ven, word] if word in EVENT_WORDS:
                content = self._opened(payload, contract.ven, now_utc_s)
                if isinstance(content, Rejected):
                    return (Heard(kind="event", result=content),)
                event = parse_notification(content, contract=contract, now_utc_s=now_utc_s)
                return (Heard(kind="event", result=event),)
            case _:
                return ()

    def passed(self, now_utc_s: float) -> tuple[Heard, ...]:
        return ()

    def is_alive(self, now_utc_s: float, connected: bool) -> bool:
        return connected

    def acknowledgement(self, ack: Ack, now_utc_s: float) -> Letter:
        tells_site = Right.READ in self._contract.rights
        return self._report(ack_report(self._sender, ack, tells_site=tells_site), now_utc_s)

    def observed(self, events: Sequence[GridEvent], report: SiteReport) -> tuple[Letter, ...]:
        letters: list[Letter] = []
        reported_on, untold = _within_reach(events, report.now_utc_s)
        if report.now_utc_s - self._beat_utc_s >= self._heartbeat_s or report.now_utc_s < self._beat_utc_s:
            self._beat_utc_s = report.now_utc_s
            self._beats += 1
            beat = heartbeat_message(seq=self._beats, at_utc_s=report.now_utc_s, seal=report.seal)
            topic = f"heartbeat/vens/{self._contract.ven}"
            letters.append(Letter(topic=topic, payload=beat, qos=0, untold=untold))
        if Right.READ in self._contract.rights:
            self._windows, averages = telemetry.observe(self._windows, reported_on, report)
            self._courses, counted = cycles.observe(self._courses, reported_on, report)
            letters += [
                self._report(telemetry_report(self._sender, *periods), report.now_utc_s)
                for periods in (*((average,) for average in averages), *counted)
            ]
        return tuple(letters)

    def standing(self, *, online: bool, birth: int, at_utc_s: float) -> Letter:
        status = status_message(online=online, birth=birth, at_utc_s=at_utc_s)
        return Letter(topic=f"vens/{self._contract.ven}/status", payload=status, retain=True)

    def _opened(self, payload: bytes, reader: str, now_utc_s: float) -> bytes | Rejected:
        if self._trust is None:
            return payload
        trust = Trust(keys=self._trust.keys, max_age_s=self._trust.max_age_s, reader=reader)
        try:
            return opened(payload, trust, now_utc_s=now_utc_s)
        except MessageError as refusal:
            return Rejected(reason=refusal.reason, detail=refusal.detail)

    def _report(self, report: Report, now_utc_s: float) -> Letter:
        payload = report.payload
        if self._signer is not None:
            payload = signed(payload, self._signer, now_utc_s=now_utc_s).encode("ascii")
        return Letter(topic=f"reports/vens/{self._contract.ven}/create", payload=payload)


def _within_reach(events: Sequence[GridEvent], now_utc_s: float) -> tuple[list[GridEvent], int]:
    """The events that are reported on, those that began first before others, and how many reports that leaves
    out."""
    asking = [event for event in events if event.reports and event.start_utc_s <= now_utc_s]
    asking.sort(key=lambda event: (event.start_utc_s, event.id))
    running = list(accumulate(len(event.reports) for event in asking))
    within = bisect_right(running, MAX_REPORTS)
    return asking[:within], running[-1] - running[within - 1] if within < len(asking) else 0
