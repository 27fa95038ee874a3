"""The stream of base points: the newest counts, and only for its time."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.grid import ALL_RIGHTS, LimitSignal, Right, TargetSignal
from controller.domain.power import NO_LIMIT, Limit, Power
from controller.grid import ledger as ledgers
from controller.grid.basepoint import BasePoints, StreamRule
from controller.grid.dialects import Letter
from controller.grid.entries import Ledger
from controller.grid.isotime import instant, stamp
from controller.grid.results import Accepted, Reason, Rejected
from controller.grid.site import SiteReport

NOW_S = instant("now", "2026-11-23T17:00:00Z")
TOPIC = "site/basepoint"
RULE = StreamRule(
    nameplate=Power.kw(60_000),
    valid_s=20,
    silent=NO_LIMIT,
    ramp_deadline_s=60,
    priority=5,
    rights=ALL_RIGHTS,
)


def message(kw: Any = 31_500.0, at_s: float = 0.0, units: str = "KW", **changes: Any) -> bytes:
    return json.dumps({"setpoint": kw, "units": units, "time": stamp(NOW_S + at_s), **changes}).encode()


class Site:
    def __init__(self, rule: StreamRule = RULE) -> None:
        self.dialect = BasePoints(TOPIC, rule)
        self.book = Ledger()

    def hear(self, payload: bytes, now_s: float) -> Reason | None:
        [heard] = self.dialect.read(TOPIC, payload, retained=False, now_utc_s=NOW_S + now_s)
        if isinstance(heard.result, Rejected):
            return heard.result.reason
        assert isinstance(heard.result, Accepted)
        self.book, _ = ledgers.receive(self.book, heard.result, NOW_S + now_s)
        return None

    def asks(self, now_s: float) -> list[object]:
        """The signals in force."""
        return [
            signal
            for event in ledgers.events(self.book, NOW_S + now_s)
            for piece in event.intervals
            if piece.start_utc_s <= NOW_S + now_s < piece.end_utc_s
            for signal in piece.signals
        ]


def test_the_newest_wins_in_whatever_order_they_come() -> None:
    site = Site()

    site.hear(message(30_000, at_s=0), 0)
    site.hear(message(20_000, at_s=4), 4)
    site.hear(message(25_000, at_s=2), 4)

    assert site.asks(5) == [TargetSignal(Power.kw(20_000))]


def test_silence_ends_it() -> None:
    site = Site()
    site.hear(message(30_000), 0)

    assert site.asks(19.9) == [TargetSignal(Power.kw(30_000))]
    assert site.asks(20) == []
    assert site.dialect.is_alive(NOW_S + 19.9, connected=True)
    assert not site.dialect.is_alive(NOW_S + 20, connected=True)


def test_a_stream_is_not_alive_by_a_clock_that_was_set_back_behind_its_last_base_point() -> None:
    site = Site()
    site.hear(message(30_000, at_s=3_600), 3_600)

    assert site.dialect.is_alive(NOW_S + 3_599, connected=True)
    assert not site.dialect.is_alive(NOW_S, connected=True)


def test_a_base_point_of_a_clock_ahead_of_ours_counts_at_once_and_leaves_no_gap_to_the_one_before() -> None:
    site = Site()
    site.hear(message(30_000, at_s=0), 0)
    site.hear(message(20_000, at_s=7), 4)

    assert site.asks(4) == [TargetSignal(Power.kw(20_000))]
    assert site.asks(26.9) == [TargetSignal(Power.kw(20_000))]
    assert site.asks(27) == []


def test_silence_falls_to_its_limit_until_the_stream_is_back() -> None:
    site = Site(replace(RULE, silent=Limit(Power.kw(800))))
    site.hear(message(30_000), 0)

    silent = [site.asks(20), site.asks(10**7)]
    site.hear(message(31_000, at_s=100), 100)

    assert silent == [[LimitSignal(Power.kw(800))]] * 2
    assert site.asks(100) == [TargetSignal(Power.kw(31_000))]


@pytest.mark.parametrize(("kw", "units", "watts"), [(1.5, "MW", 1_500_000), (900, "W", 900), (0, "KW", 0)])
def test_units_are_read(kw: float, units: str, watts: int) -> None:
    site = Site()

    site.hear(message(kw, units=units), 0)

    assert site.asks(0) == [TargetSignal(Power(watts))]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (message(units="HP"), Reason.BAD_SHAPE),
        (message("30"), Reason.BAD_SHAPE),
        (message(None), Reason.BAD_SHAPE),
        (message(True), Reason.BAD_SHAPE),
        (message(-1), Reason.BAD_VALUE),
        (message(60_001), Reason.ABOVE_NAMEPLATE),
        (message(10**400), Reason.ABOVE_NAMEPLATE),
        (message(at_s=6), Reason.FROM_THE_FUTURE),
        (message(at_s=-20), Reason.STALE),
        (message(time="12:00"), Reason.BAD_TIME),
        (b'{"setpoint":1e999,"units":"KW","time":"2026-11-23T17:00:00Z"}', Reason.BAD_VALUE),
        (b"31500", Reason.BAD_SHAPE),
        (b"", Reason.NOT_JSON),
    ],
)
def test_what_cannot_be_meant_is_refused_and_the_last_good_one_stands(payload: bytes, reason: Reason) -> None:
    site = Site()
    site.hear(message(30_000, at_s=-1), 0)

    assert site.hear(payload, 0) is reason
    assert site.asks(1) == [TargetSignal(Power.kw(30_000))]


def test_the_operator_hears_once_what_is_followed() -> None:
    site = Site()
    site.hear(message(30_000), 0)
    told: list[Letter] = []

    for now_s in (0, 1, 2):
        report = SiteReport(
            now_utc_s=NOW_S + now_s, demand=Power.kw(29_990), setpoint=Limit(Power.kw(30_000))
        )
        told += site.dialect.observed(ledgers.events(site.book, NOW_S + now_s), report)

    [letter] = told
    assert letter.topic == f"{TOPIC}/status"
    status = json.loads(letter.payload)
    assert (status["following"], status["demand"], status["setpoint"]) == (stamp(NOW_S), 29_990.0, 30_000.0)


def test_the_status_names_the_newest_seal_of_the_journal() -> None:
    site = Site()
    site.hear(message(30_000), 0)
    report = SiteReport(now_utc_s=NOW_S, demand=Power.kw(29_990), seal="7:abc")

    [letter] = site.dialect.observed(ledgers.events(site.book, NOW_S), report)

    assert json.loads(letter.payload)["seal"] == "7:abc"


def test_without_the_right_to_read_nothing_is_told() -> None:
    site = Site(replace(RULE, rights=frozenset({Right.TARGET})))
    site.hear(message(30_000), 0)

    report = SiteReport(now_utc_s=NOW_S, demand=Power.kw(29_990))

    assert site.dialect.observed(ledgers.events(site.book, NOW_S), report) == ()


def test_a_stream_for_years_leaves_one_entry() -> None:
    site = Site()

    for second in range(0, 2000, 2):
        site.hear(message(30_000 + second, at_s=second), second)

    assert len(site.book.entries) == 1
    assert len(next(iter(site.book.entries.values())).unsent) <= 16
    assert math.isfinite(ledgers.events(site.book, NOW_S + 1999)[0].end_utc_s)
