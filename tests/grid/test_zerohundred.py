"""The 0/100 target: edges, staleness, and what silence means."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from controller.domain.grid import LimitSignal
from controller.domain.power import Power
from controller.grid import ledger as ledgers
from controller.grid.entries import Ledger
from controller.grid.results import Reason, Rejected
from controller.grid.signatures import Trust
from controller.grid.stored import from_text, to_text
from controller.grid.zerohundred import FIRST, SECOND, OffRule, ZeroHundred
from tests.grid.keys import EC_KEY, KEY_ID, jws

BEGAN_S = 1_795_453_200
TOPIC = "maestro/target"
RULE = OffRule(off=Power.kw(60), stale_s=240, ramp_deadline_s=60)


class Site:
    """A site that keeps what it hears, and can be restarted."""

    def __init__(self, trust: Trust | None = None) -> None:
        self.trust = trust
        self.book = Ledger()
        self.start(0)

    def start(self, now_s: float) -> None:
        self.dialect = ZeroHundred(TOPIC, RULE, began_utc_s=BEGAN_S + now_s, trust=self.trust)
        self.dialect.restored(self.book, BEGAN_S + now_s)

    def restart(self, now_s: float) -> None:
        texts = {name: to_text(entry) for name, entry in self.book.entries.items()}
        self.book = Ledger(entries={name: from_text(text) for name, text in texts.items()})  # type: ignore[misc]  # entries only
        self.start(now_s)

    def hear(self, target: Any, stamp_s: float, now_s: float | None = None) -> Reason | None:
        """Hear `target`, stamped `stamp_s`; why it is refused, or None."""
        payload = json.dumps({"target": target, "timestamp": int(BEGAN_S + stamp_s)}).encode()
        return self.hear_raw(payload, stamp_s if now_s is None else now_s)

    def hear_raw(self, payload: bytes, now_s: float) -> Reason | None:
        now_utc_s = BEGAN_S + now_s
        for heard in self.dialect.read(TOPIC, payload, retained=False, now_utc_s=now_utc_s):
            if isinstance(heard.result, Rejected):
                return heard.result.reason
            self.book, _ = ledgers.receive(self.book, heard.result, now_utc_s)  # type: ignore[arg-type]  # no other
        return None

    def wait(self, now_s: float) -> None:
        for heard in self.dialect.passed(BEGAN_S + now_s):
            self.book, _ = ledgers.receive(self.book, heard.result, BEGAN_S + now_s)  # type: ignore[arg-type]  # no other

    def is_off(self, now_s: float) -> bool:
        found = ledgers.events(self.book, BEGAN_S + now_s)
        for event in found:
            [interval] = event.intervals
            assert interval.signals == (LimitSignal(Power.kw(60)),)
            assert interval.start_utc_s <= BEGAN_S + now_s
            assert interval.end_utc_s == math.inf
        return bool(found)


def test_0_limits_and_100_frees() -> None:
    site = Site()

    site.hear(0, 10)
    off = site.is_off(10)
    site.hear(100, 40)

    assert off
    assert not site.is_off(40)


def test_the_first_100_does_nothing() -> None:
    site = Site()

    site.hear(100, 1)

    assert site.book == Ledger()


def test_a_change_right_after_a_change_waits_for_the_next_repetition() -> None:
    site = Site()
    site.hear(0, 10)

    site.hear(100, 14)
    at_once = site.is_off(14)
    site.hear(100, 44)

    assert at_once
    assert not site.is_off(44)


def test_0_acts_at_once_whatever_came_before() -> None:
    site = Site()
    site.hear(0, 10)
    site.hear(100, 20)

    site.hear(0, 21)

    assert site.is_off(21)


def test_in_one_second_the_later_message_counts() -> None:
    site = Site()
    site.hear(0, 10)
    site.hear(100, 20)

    site.hear(0, 20, now_s=20.4)

    assert site.is_off(20.4)


def test_a_100_that_was_heard_before_a_0_of_the_same_second_does_not_free_when_it_comes_again() -> None:
    site = Site()
    site.hear(100, 10)
    site.hear(0, 10)

    site.hear(100, 10, now_s=20)
    again = site.is_off(20)
    site.hear(100, 40)

    assert (again, site.is_off(40)) == (True, False)


def test_the_same_target_again_is_no_sign_of_life() -> None:
    site = Site()
    site.hear(100, 10)
    for now_s in range(20, 250, 10):
        site.hear(100, 10, now_s=now_s)
    site.wait(251)

    assert site.is_off(251)


@pytest.mark.parametrize("heard_before", [True, False])
def test_silence_is_0(heard_before: bool) -> None:
    site = Site()
    if heard_before:
        site.hear(100, 5)

    site.wait(239)
    before = site.is_off(239)
    site.wait(245)

    assert not before
    assert site.is_off(245)


def test_only_a_fresh_100_ends_silence() -> None:
    site = Site()
    site.hear(100, 5)
    site.wait(300)

    old = site.hear(100, 40, now_s=300)
    after_old = site.is_off(300)
    site.hear(100, 306)

    assert old is Reason.STALE
    assert after_old
    assert not site.is_off(306)


def test_a_100_ends_silence_also_if_nothing_was_ever_heard() -> None:
    site = Site()
    site.wait(241)

    site.hear(100, 250)

    assert not site.is_off(250)


def test_what_is_older_than_what_was_heard_is_no_sign_of_life() -> None:
    site = Site()
    site.hear(100, 100)

    reason = site.hear(100, 90, now_s=200)
    site.wait(345)

    assert reason is Reason.STALE
    assert site.is_off(345)


def test_repetitions_change_nothing() -> None:
    site = Site()
    site.hear(0, 10)
    before = site.book

    for second in range(11, 200, 30):
        site.hear(0, second)
        site.hear(0, second)

    assert site.book == before


@pytest.mark.parametrize("silent", [False, True])
def test_0_outlives_the_process(silent: bool) -> None:
    site = Site()
    if silent:
        site.hear(100, 1)
        site.wait(250)
    else:
        site.hear(0, 250)

    site.restart(260)
    after = site.is_off(260)
    site.hear(100, 270)

    assert after
    assert not site.is_off(270)


def test_after_a_restart_silence_counts_anew_and_then_is_0() -> None:
    site = Site()
    site.hear(0, 1)
    site.hear(100, 20)

    site.restart(100)
    site.wait(339)
    before = site.is_off(339)
    site.wait(341)

    assert not before
    assert site.is_off(341)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.NOT_JSON),
        (b"0", Reason.BAD_SHAPE),
        (b'{"target":0}', Reason.BAD_SHAPE),
        (b'{"target":50,"timestamp":1795453210}', Reason.BAD_VALUE),
        (b'{"target":0.0,"timestamp":1795453210}', Reason.BAD_SHAPE),
        (b'{"target":false,"timestamp":1795453210}', Reason.BAD_SHAPE),
        (b'{"target":"0","timestamp":1795453210}', Reason.BAD_SHAPE),
        (b'{"target":0,"timestamp":1795453210.5}', Reason.BAD_SHAPE),
        (b'{"target":0,"timestamp":0}', Reason.STALE),
        (b'{"target":0,"timestamp":-1}', Reason.STALE),
        (b'{"target":0,"timestamp":1795539611}', Reason.FROM_THE_FUTURE),
        (b'{"target":0,"timestamp":' + b"9" * 400 + b"}", Reason.BAD_SHAPE),
        (b'{"target":0,"target":100,"timestamp":1795453210}', Reason.DUPLICATE_KEY),
        (b" " * 1025, Reason.TOO_LARGE),
    ],
)
def test_anything_else_is_refused_and_is_no_sign_of_life(payload: bytes, reason: Reason) -> None:
    site = Site()

    assert site.hear_raw(payload, 10) is reason
    site.wait(240)
    assert site.is_off(240)


def test_with_a_key_agreed_only_a_signed_target_counts() -> None:
    site = Site(Trust(keys={KEY_ID: EC_KEY.public_key()}, max_age_s=600, reader="site-1"))
    target = {"target": 0, "timestamp": BEGAN_S + 10}

    plain = site.hear(0, 10)
    after_plain = site.is_off(10)
    site.hear_raw(jws(target, aud="site-1", iat=BEGAN_S + 10).encode(), 10)

    assert plain is Reason.BAD_SIGNATURE
    assert not after_plain
    assert site.is_off(10)


# --- a publisher whose clock is ahead


def test_a_publisher_with_a_clock_that_is_ahead_is_obeyed_and_alive() -> None:
    site = Site()

    for now_s in range(0, 600, 30):
        assert site.hear(0 if now_s >= 300 else 100, now_s + 7_200, now_s) is None
        site.wait(now_s + 29)

    assert site.is_off(600)


def test_a_clock_that_was_put_right_does_not_make_honest_stamps_old() -> None:
    site = Site()
    site.hear(0, 10 + 7_200, 10)

    assert site.hear(100, 40, 40) is None
    assert not site.is_off(40)


def test_the_same_stamp_ahead_of_us_is_no_sign_of_life_again() -> None:
    site = Site()
    site.hear(100, 7_200, 0)

    again = [site.hear(100, stamp_s, now_s) for stamp_s, now_s in ((7_200, 100), (7_190, 200))]
    site.wait(240)

    assert again == [Reason.STALE, Reason.STALE]
    assert site.is_off(240)


# --- our own clock is set back


def test_after_our_clock_was_set_back_a_0_is_heard_at_once() -> None:
    site = Site()
    site.hear(0, 4_900)
    site.hear(100, 5_000)

    refused = site.hear(0, 5_030, now_s=1_430)

    assert refused is None
    assert site.is_off(1_430)


def test_after_our_clock_was_set_back_silence_is_0_as_soon_as_ever() -> None:
    site = Site()
    site.hear(100, 5_000)

    site.wait(1_400)
    before = site.is_off(1_400)
    site.wait(1_400 + 240)

    assert not before
    assert site.is_off(1_400 + 240)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_0_goes_on_though_our_clock_was_set_back_behind_it(restarts: bool) -> None:
    site = Site()
    site.hear(0, 5_000)

    if restarts:
        site.restart(1_400)
    site.wait(1_400)
    after = site.is_off(1_400)
    site.hear(100, 5_030, now_s=1_430)

    assert after
    assert not site.is_off(1_430)


# --- two brokers


def told(site: Site, *messages: tuple[float, int, int]) -> list[tuple[float, bool]]:
    """When the target changed, of messages (second, broker, target)."""
    found: list[tuple[float, bool]] = []
    for now_s, broker, target in messages:
        payload = json.dumps({"target": target, "timestamp": int(BEGAN_S + now_s)}).encode()
        for heard in site.dialect.read_by(broker, TOPIC, payload, BEGAN_S + now_s):
            assert not isinstance(heard.result, Rejected)
            site.book, _ = ledgers.receive(site.book, heard.result, BEGAN_S + now_s)  # type: ignore[arg-type]  # no other
            found.append((now_s, site.is_off(now_s)))
    return found


def test_the_first_of_two_brokers_counts_while_it_is_heard() -> None:
    assert told(Site(), (10, FIRST, 100), (12, SECOND, 0), (40, FIRST, 0), (42, SECOND, 100)) == [(40, True)]


def test_the_second_counts_when_the_first_was_silent_for_longer_than_a_minute() -> None:
    site = Site()

    changes = told(site, (10, FIRST, 100), (70, SECOND, 0), (71, SECOND, 0), (100, FIRST, 100))

    assert changes == [(71, True), (100, False)]


def test_the_second_counts_where_the_first_was_never_heard() -> None:
    assert told(Site(), (10, SECOND, 0)) == [(10, True)]


def test_a_second_broker_that_is_heard_keeps_silence_away_once_the_first_is_gone() -> None:
    site = Site()
    told(site, (10, FIRST, 100), *((float(now_s), SECOND, 100) for now_s in range(20, 600, 30)))

    site.wait(600)

    assert not site.is_off(600)


def test_what_is_too_old_by_the_first_broker_does_not_hold_the_second_back() -> None:
    site = Site()
    old = json.dumps({"target": 100, "timestamp": int(BEGAN_S)}).encode()

    [refused] = site.dialect.read_by(FIRST, TOPIC, old, BEGAN_S + 300)

    assert isinstance(refused.result, Rejected)
    assert told(site, (301, SECOND, 0)) == [(301, True)]


def test_what_the_first_broker_had_kept_back_does_not_hold_the_second_back() -> None:
    site = Site()
    told(site, (10, FIRST, 100), (75, SECOND, 100))
    kept = json.dumps({"target": 100, "timestamp": int(BEGAN_S + 40)}).encode()

    [refused] = site.dialect.read_by(FIRST, TOPIC, kept, BEGAN_S + 80)

    assert isinstance(refused.result, Rejected)
    assert told(site, (81, SECOND, 0)) == [(81, True)]
