"""DSX Flex: commands in, feed states and breaches out."""

from __future__ import annotations

import itertools
import json
import math
import uuid
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.grid import GridEvent, LimitSignal
from controller.domain.power import Power
from controller.grid import ledger as ledgers
from controller.grid.dialects import Letter
from controller.grid.dsx import Agreement, Feed, parse_load_targets
from controller.grid.dsxbreach import BreachRule
from controller.grid.dsxenforcement import Enforcement
from controller.grid.dsxlink import DsxFlex
from controller.grid.dsxstatus import MAX_FEEDS
from controller.grid.entries import Ledger
from controller.grid.isotime import instant, stamp
from controller.grid.keeping import Effect, Verdict
from controller.grid.ledger import MAX_LIVE
from controller.grid.loadtargets import LoadTargets, receive_targets
from controller.grid.results import MAX_PAYLOAD_BYTES, Reason, Rejected
from controller.grid.signatures import Signer, Trust, opened
from controller.grid.site import Place, SiteReport
from tests.grid.keys import EC_KEY, KEY_ID, OTHER_KEY, RSA_KEY, jws
from tests.grid.published import complaints
from tests.grid.publisheddsx import BREACH_MESSAGE, STATUS_MESSAGE

NOW_S = instant("now", "2026-11-23T17:00:00Z")
CORRELATION = "0b0f8d3a-1c55-4d0e-8f2e-5b8a1f3f9a10"
FEEDS = (
    Feed(tag="main-a", node="row-a", minimum=Power.kw(1), maximum=Power.kw(20_000), default=Power.kw(20_000)),
    Feed(tag="main-b", node="row-b", minimum=Power.kw(1), maximum=Power.kw(20_000), default=Power.kw(20_000)),
)
AGREED = Agreement(
    isv="acme-energy",
    agent="site-1",
    feeds=FEEDS,
    nameplate=Power.kw(40_000),
    max_age_s=3600,
    ramp_deadline_s=30,
)
TRUSTED = replace(AGREED, trust=Trust(keys={KEY_ID: EC_KEY.public_key()}, max_age_s=3600))


def at(seconds: float) -> str:
    return stamp(NOW_S + seconds)


def target(
    mw: float | None = 12.0, start_s: float | None = None, end_s: float | None = None, **changes: Any
) -> dict[str, Any]:
    interval = {} if start_s is None else {"start_time": at(start_s)}
    interval |= {} if end_s is None else {"end_time": at(end_s)}
    constraint = None if mw is None else {"value": mw, "unit": "megawatt"}
    return {"interval": interval, "feed_tags": ["main-a"], "load_constraint": constraint, **changes}


def command(
    *targets: dict[str, Any], sent_s: float = 0.0, data: Any = None, id_: str | None = None, **changes: Any
) -> bytes:
    envelope = {
        "specversion": "1.0.2",
        "id": id_ or str(uuid.uuid5(uuid.NAMESPACE_OID, f"{targets} {sent_s}")),
        "source": "//grid/v1/isv/acme-energy",
        "type": "grid.loadtarget.set.v1",
        "time": at(sent_s),
        "datacontenttype": "application/json",
        "subject": "loadtarget",
        "correlationid": CORRELATION,
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "data": {"targets": list(targets)} if data is None else data,
    }
    return json.dumps(
        {key: value for key, value in (envelope | changes).items() if value is not ...}
    ).encode()


def parsed(payload: bytes, *, now_s: float = 0.0, agreement: Agreement = AGREED) -> LoadTargets | Rejected:
    return parse_load_targets(payload, agreement=agreement, now_utc_s=NOW_S + now_s)


def understood(payload: bytes, **options: Any) -> LoadTargets:
    result = parsed(payload, **options)
    assert isinstance(result, LoadTargets), result
    return result


def refused(payload: bytes, **options: Any) -> Reason:
    result = parsed(payload, **options)
    assert isinstance(result, Rejected), result
    return result.reason


def after(*commands: bytes, now_s: float = 0.0, start: Ledger | None = None) -> Ledger:
    book = start or Ledger()
    for raw in commands:
        message = understood(raw, now_s=max(now_s, 0.0))
        book, _ = receive_targets(book, message, NOW_S + now_s)
    return book


def in_force(book: Ledger, now_s: float = 0.0) -> list[tuple[float, float, float]]:
    """Start, end (seconds from the beginning) and megawatts of everything that holds or will."""
    return sorted(
        (piece.start_utc_s - NOW_S, piece.end_utc_s - NOW_S, signal.power.in_kw / 1000)
        for event in ledgers.events(book, NOW_S + now_s)
        for piece in event.intervals
        for signal in piece.signals
        if isinstance(signal, LimitSignal)
    )


# --- reading


def test_the_example_of_the_schema_is_understood() -> None:
    message = understood(command(target(12.0, 600, 4200, strategy={"best_effort": True})))

    [found] = message.targets
    assert (found.feed, found.node, found.best_effort) == ("main-a", "row-a", True)
    assert (found.start_utc_s - NOW_S, found.end_utc_s - NOW_S) == (600, 4200)
    assert message.correlation == CORRELATION


def test_a_day_of_quarter_hours_is_one_command() -> None:
    day = [target(8.0, 900 * at, 900 * (at + 1)) for at in range(96)]

    assert len(in_force(after(command(*day)))) == 96


@pytest.mark.parametrize("mw", [8.0, None])
def test_a_command_of_more_targets_than_may_be_in_force_is_refused_counted_for_each_feed(
    mw: float | None,
) -> None:
    """A few targets for all of 32 feeds are thousands, and each is held against all that is known."""
    feeds = tuple(replace(FEEDS[0], tag=f"feed-{at}", node=f"row-{at}") for at in range(32))
    agreement = replace(AGREED, feeds=feeds)
    most = [target(mw, 900 * at, feed_tags=[]) for at in range(MAX_LIVE // 32)]

    assert len(understood(command(*most), agreement=agreement).targets) == MAX_LIVE
    more = target(mw, feed_tags=["feed-0"])
    assert refused(command(*most, more), agreement=agreement) is Reason.TOO_MANY_EVENTS


@pytest.mark.parametrize("tags", [[], None])
def test_without_feed_tags_all_feeds_are_meant(tags: list[str] | None) -> None:
    message = understood(command(target(feed_tags=tags)))

    assert [found.feed for found in message.targets] == ["main-a", "main-b"]


@pytest.mark.parametrize(
    ("unit", "value", "watts"), [("watt", 1500.7, 1500), ("kilowatt", 1.5, 1500), ("megawatt", 0, 0)]
)
def test_power_is_read_in_each_unit_and_rounded_down(unit: str, value: float, watts: int) -> None:
    message = understood(command(target(load_constraint={"value": value, "unit": unit})))

    [(book, _)] = [receive_targets(Ledger(), message, NOW_S)]
    assert [mw * 1e6 for *_, mw in in_force(book)] == [watts]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (command(target(), source="//grid/v1/isv/other"), Reason.NOT_AUTHORIZED),
        (command(target(), type="grid.powerstate.status.v1"), Reason.UNSUPPORTED),
        (command(target(), specversion="2.0"), Reason.UNSUPPORTED),
        (command(target(), time="yesterday"), Reason.BAD_TIME),
        (command(target(), sent_s=-3601), Reason.STALE),
        (command(target(), sent_s=6), Reason.FROM_THE_FUTURE),
        (command(target(), id=...), Reason.BAD_SHAPE),
        (command(), Reason.BAD_SHAPE),
        (command(target(feed_tags=["main-z"])), Reason.NOT_ADDRESSED),
        (command(target(start_s=10, end_s=10)), Reason.BAD_INTERVALS),
        (command(target(-1)), Reason.BAD_VALUE),
        (command(target(40.001)), Reason.ABOVE_NAMEPLATE),
        (command(target(load_constraint={"value": 10**400, "unit": "watt"})), Reason.ABOVE_NAMEPLATE),
        (command(target(load_constraint={"value": 5, "unit": "KW"})), Reason.BAD_SHAPE),
        (command(target(load_constraint={"value": True, "unit": "watt"})), Reason.BAD_SHAPE),
        (command(target(load_constraint="12 MW")), Reason.BAD_SHAPE),
        (command({"interval": {}}), Reason.BAD_SHAPE),
        (command(data="a.b.c"), Reason.BAD_SIGNATURE),
        (b"{}", Reason.BAD_SHAPE),
        (b"[" * 1000, Reason.TOO_DEEP),
    ],
)
def test_what_cannot_be_meant_is_refused(payload: bytes, reason: Reason) -> None:
    assert refused(payload) is reason


def test_signed_data_is_opened_and_unsigned_data_is_refused_where_keys_are_agreed() -> None:
    data = {"targets": [target()]}

    message = understood(command(data=jws(data, iat=NOW_S)), agreement=TRUSTED)

    assert len(message.targets) == 1
    assert refused(command(data=data), agreement=TRUSTED) is Reason.BAD_SIGNATURE


# --- what is signed and put into another envelope


def taken(*commands: tuple[bytes, float], agreement: Agreement = TRUSTED) -> Ledger:
    """The ledger after commands at seconds from the beginning; one that is refused changes nothing."""
    book = Ledger()
    for raw, now_s in commands:
        message = parsed(raw, now_s=now_s, agreement=agreement)
        if isinstance(message, LoadTargets):
            book, _ = receive_targets(book, message, NOW_S + now_s)
    return book


def test_signed_data_in_a_new_envelope_is_a_repetition() -> None:
    lifted = jws({"targets": [target(None)]}, iat=NOW_S + 1)
    held = command(data=jws({"targets": [target(8.0)]}, iat=NOW_S + 2), sent_s=2)
    replays = [(command(data=lifted, sent_s=at_s, id_=str(uuid.uuid4())), at_s) for at_s in (3.0, 30.0, 60.0)]

    book = taken((command(data=lifted, sent_s=1), 1.0), (held, 2.0), *replays)

    assert in_force(book, 60) == [(2, math.inf, 8.0)]


def test_signed_data_in_an_envelope_of_another_time_is_refused() -> None:
    data = jws({"targets": [target()]}, iat=NOW_S)

    assert refused(command(data=data, sent_s=61), now_s=61, agreement=TRUSTED) is Reason.STALE
    assert refused(command(data=data, sent_s=4000), now_s=4000, agreement=TRUSTED) is Reason.STALE


def test_two_commands_that_say_the_same_are_two_when_they_were_signed_at_two_times() -> None:
    first, second = (jws({"targets": [target(8.0)]}, iat=NOW_S + at_s) for at_s in (0, 20))
    freed = jws({"targets": [target(None)]}, iat=NOW_S + 10)

    book = taken(
        (command(data=first), 0.0),
        (command(data=freed, sent_s=10), 10.0),
        (command(data=second, sent_s=20), 20.0),
    )

    assert in_force(book, 20) == [(20, math.inf, 8.0)]


def test_a_signature_without_a_time_counts_for_targets_that_say_when_they_begin_and_once() -> None:
    def undated(start_s: float | None) -> str:
        return jws({"targets": [target(8.0, start_s, None if start_s is None else start_s + 600)]})

    assert refused(command(data=undated(None)), agreement=TRUSTED) is Reason.BAD_SIGNATURE
    assert refused(command(data=undated(-3601)), agreement=TRUSTED) is Reason.STALE
    assert refused(command(data=undated(7 * 86_400)), agreement=TRUSTED) is Reason.STALE
    freed = jws({"targets": [target(None, 60)]})
    again = command(data=undated(60), sent_s=9, id_=str(uuid.uuid4()))
    book = taken((command(data=undated(60)), 0.0), (command(data=freed, sent_s=5), 5.0), (again, 9.0))
    assert in_force(book, 70) == []


def test_a_site_may_take_signatures_without_a_time_as_they_come() -> None:
    agreed = replace(TRUSTED, dated=False)

    assert understood(command(data=jws({"targets": [target()]})), agreement=agreed).targets


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 90)), max_size=8))
def test_whatever_a_broker_repeats_in_new_envelopes_changes_nothing(replays: list[tuple[int, float]]) -> None:
    said = [target(8.0), target(5.0, 20, 200), target(None), target(9.0, 0, 500)]
    signed = [jws({"targets": [one]}, iat=NOW_S + at) for at, one in enumerate(said)]
    honest = [(command(data=data, sent_s=at), float(at)) for at, data in enumerate(signed)]
    false = [
        (command(data=signed[which], sent_s=4 + after_s, id_=str(uuid.uuid4())), 4 + after_s)
        for which, after_s in sorted(replays, key=lambda one: one[1])
    ]

    assert in_force(taken(*honest, *false), 95) == in_force(taken(*honest), 95)


# --- enforcement


def enforcement(data: Any = None, **changes: Any) -> bytes:
    done = {
        "breach_id": CORRELATION,
        "feed_tag": "main-a",
        "action": "applied",
        "code": "partial",
        "results": [
            {
                "resource_id": "n1",
                "resource_type": "node",
                "requested_action": "power_cap",
                "code": "applied",
            },
            {"resource_id": "n2", "resource_type": "node", "requested_action": "power_cap", "code": "failed"},
        ],
        "timestamp": at(0),
        "diag_msg": "n2 does not answer",
    } | changes
    return command(
        data=done if data is None else data,
        type="grid.powerbreach.enforcement.v1",
        source="//grid/v1/infra/racks",
        subject="powerbreach",
    )


INFRA = replace(AGREED, infra="racks")


def heard(payload: bytes, dialect: DsxFlex | None = None, agreement: Agreement = INFRA) -> list[object]:
    line = dialect or DsxFlex(agreement, period_s=10, rule=BreachRule())
    topic = line.subscriptions[-1]
    return [found.result for found in line.read(topic, payload, retained=False, now_utc_s=NOW_S + 1)]


def test_an_enforcement_is_told_once_with_what_was_not_reached() -> None:
    dialect = DsxFlex(INFRA, period_s=10, rule=BreachRule())

    [found] = heard(enforcement(), dialect)

    assert dialect.subscriptions[-1] == "grid/v1/infra/racks/powerbreach/enforcement"
    assert found == Enforcement(
        breach=CORRELATION,
        feed="main-a",
        action="applied",
        code="partial",
        at_utc_s=NOW_S,
        applied=1,
        failed=("n2",),
        detail="n2 does not answer",
    )
    assert heard(enforcement(), dialect) == []
    assert len(heard(enforcement(action="reverted"), dialect)) == 1


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (enforcement(feed_tag="main-z"), Reason.NOT_ADDRESSED),
        (enforcement(breach_id="7"), Reason.BAD_SHAPE),
        (enforcement(action="undone"), Reason.BAD_SHAPE),
        (enforcement(timestamp=at(-4000)), Reason.STALE),
        (enforcement(timestamp=at(60)), Reason.FROM_THE_FUTURE),
        (enforcement(timestamp="today"), Reason.BAD_TIME),
        (command(target()), Reason.UNSUPPORTED),
        (enforcement(data="a.b.c"), Reason.BAD_SIGNATURE),
    ],
)
def test_an_enforcement_that_cannot_be_meant_is_refused(payload: bytes, reason: Reason) -> None:
    [found] = heard(payload)

    assert isinstance(found, Rejected)
    assert found.reason is reason


def test_an_enforcement_is_signed_with_a_key_of_its_sender_where_one_is_agreed() -> None:
    agreed = replace(INFRA, infra_trust=Trust(keys={"infra": OTHER_KEY.public_key()}, max_age_s=3600))
    content = json.loads(enforcement())["data"]

    [found] = heard(enforcement(data=jws(content, key=OTHER_KEY, key_id="infra")), agreement=agreed)
    [unsigned] = heard(enforcement(), agreement=agreed)

    assert isinstance(found, Enforcement)
    assert isinstance(unsigned, Rejected)


def test_without_an_agent_of_the_infrastructure_nobody_is_listened_to() -> None:
    assert len(DsxFlex(AGREED, period_s=10, rule=BreachRule()).subscriptions) == 1


# --- replacing and removing


def test_a_target_without_end_holds_until_it_is_replaced() -> None:
    book = after(command(target(12.0)), command(target(8.0), sent_s=5), now_s=5)

    assert in_force(book, 5) == [(5, math.inf, 8.0)]


def test_the_replaced_target_holds_until_its_successor_begins() -> None:
    book = after(command(target(12.0)), command(target(8.0, start_s=100), sent_s=5), now_s=5)

    assert in_force(book, 5) == [(0, 100, 12.0), (100, math.inf, 8.0)]


def test_targets_with_an_end_stand_side_by_side() -> None:
    book = after(command(target(12.0, 0, 600)), command(target(8.0, 100, 300), sent_s=5), now_s=5)

    assert in_force(book, 5) == [(0, 600, 12.0), (100, 300, 8.0)]


def test_removing_ends_what_holds_and_leaves_what_is_scheduled() -> None:
    book = after(
        command(target(12.0, 0, 600)),
        command(target(8.0, 900, 1200), sent_s=1),
        command(target(None), sent_s=5),
        now_s=5,
    )

    assert in_force(book, 5) == [(900, 1200, 8.0)]


def test_removing_later_shortens_what_holds_now() -> None:
    book = after(command(target(12.0)), command(target(None, start_s=50), sent_s=5), now_s=5)

    assert in_force(book, 5) == [(0, 50, 12.0)]


def test_one_feed_does_not_touch_the_other() -> None:
    book = after(command(target(12.0)), command(target(None, feed_tags=["main-b"]), sent_s=5), now_s=5)

    assert in_force(book, 5) == [(0, math.inf, 12.0)]


def test_the_same_command_again_changes_nothing() -> None:
    first, removal = command(target(12.0)), command(target(None), sent_s=5)
    once = after(first, removal, now_s=5)

    again, verdict = receive_targets(once, understood(first, now_s=9), NOW_S + 9)
    again, removed = receive_targets(again, understood(removal, now_s=9), NOW_S + 9)

    assert again == once
    assert not verdict.acks
    assert not removed.acks


@pytest.mark.parametrize(
    "older", [target(12.0), target(12.0, 0, 600), target(12.0, 90), target(12.0, 90, 600)]
)
@pytest.mark.parametrize(
    "newer", [*(target(mw, *when) for mw in (8.0, None) for when in ((), (30,), (30, 60), (95,), (700,)))]
)
def test_a_command_that_was_overtaken_counts_as_if_it_had_come_in_time(
    older: dict[str, Any], newer: dict[str, Any]
) -> None:
    ordered = after(command(older), command(newer, sent_s=5), now_s=6)
    overtaken = after(command(newer, sent_s=5), command(older), now_s=6)

    assert in_force(overtaken, 6) == in_force(ordered, 6)


WHEN = ((), (0, 600), (30,), (30, 60), (90, 600), (95,))


def test_commands_of_one_feed_come_to_the_same_in_whatever_order_they_arrive() -> None:
    asked = [*(target(8.0, *when) for when in WHEN), target(None), target(None, 30), target(None, 95)]
    different = []
    for one, two, three in itertools.product(asked, repeat=3):
        sent = [command(data, sent_s=float(at)) for at, data in enumerate((one, two, three))]
        ordered = in_force(after(*sent, now_s=6), 6)
        different += [
            order
            for order in itertools.permutations(range(3))
            if in_force(after(*(sent[at] for at in order), now_s=6), 6) != ordered
        ]

    assert len(different) == 0


def test_a_target_without_end_gives_way_to_the_first_that_begins_after_it_of_those_sent_later() -> None:
    first, last = command(target(12.0)), command(target(5.0, 100), sent_s=1)
    between = command(target(8.0, 50), sent_s=2)

    assert in_force(after(first, last, between, now_s=6), 6) == [
        (0, 50, 12.0),
        (50, math.inf, 8.0),
        (100, math.inf, 5.0),
    ]


def test_a_command_for_which_there_is_no_room_ends_nothing() -> None:
    crowd = [command(target(9.0, 10 + at, 86_400), sent_s=at / 1000) for at in range(MAX_LIVE - 1)]
    book = after(*crowd, command(target(3.0, 0), sent_s=2), now_s=3)

    full, verdict = receive_targets(book, understood(command(target(8.0, 50), sent_s=4), now_s=4), NOW_S + 4)

    assert verdict == Verdict(effect=Effect.FULL)
    assert full == book


def test_a_target_that_is_over_is_never_executed() -> None:
    book = after(command(target(12.0, 0, 600)), now_s=601)

    assert in_force(book, 601) == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from([None, 5.0, 8.0, 12.0]),
        st.sampled_from([None, 0.0, 30.0, 90.0]),
        st.sampled_from([None, 120.0, 600.0]),
        st.sampled_from([["main-a"], ["main-b"], []]),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(STEPS, st.data())
def test_repetitions_at_any_later_moment_change_nothing(steps: list[Any], data: st.DataObject) -> None:
    commands = [
        command(target(mw, start_s, end_s, feed_tags=tags), sent_s=float(at))
        for at, (mw, start_s, end_s, tags) in enumerate(steps)
    ]
    repeated: list[bytes] = []
    for at, one in enumerate(commands):
        repeated += [one, *data.draw(st.lists(st.sampled_from(commands[: at + 1]), max_size=3))]

    once, again = after(*commands, now_s=10), after(*repeated, now_s=10)

    assert in_force(again, 10) == in_force(once, 10)


@settings(max_examples=80, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_whatever_the_order_of_arrival_the_order_of_sending_counts(steps: list[Any], chance: Random) -> None:
    commands = [
        command(target(mw, start_s, end_s, feed_tags=tags), sent_s=float(at))
        for at, (mw, start_s, end_s, tags) in enumerate(steps)
    ]
    arrived = chance.sample(commands, len(commands))

    assert in_force(after(*arrived, now_s=10), 10) == in_force(after(*commands, now_s=10), 10)


# --- telling


class Told:
    """A dialect, with the messages of each tick as an agent on the other side reads them: each of them is
    one of the published schema."""

    def __init__(self, signer: Signer | None = None, rule: BreachRule | None = None) -> None:
        self.dialect = DsxFlex(AGREED, period_s=10, rule=rule or BreachRule(), signer=signer)
        self.book = Ledger()

    def command(self, payload: bytes, now_s: float) -> None:
        message = understood(payload, now_s=now_s)
        self.book, _ = receive_targets(self.book, message, NOW_S + now_s)

    def tick(
        self, now_s: float, demand_mw: float, granted_mw: float | None = None, *, seal: str = ""
    ) -> list[Letter]:
        granted = demand_mw if granted_mw is None else granted_mw
        places = (
            Place(node="row-a", demand=Power.kw(demand_mw * 1000), granted=Power.kw(granted * 1000)),
            Place(node="row-b", demand=Power.kw(500), granted=Power.kw(500)),
        )
        report = SiteReport(now_utc_s=NOW_S + now_s, demand=Power.kw(20_000), places=places, seal=seal)
        events: tuple[GridEvent, ...] = ledgers.events(self.book, NOW_S + now_s)
        letters = list(self.dialect.observed(events, report))
        for letter in letters:
            validator = STATUS_MESSAGE if letter.topic.endswith("powerstate/status") else BREACH_MESSAGE
            assert complaints(validator, json.loads(letter.payload)) == []
        return letters

    def changes(self, now_s: float, demand_mw: float, granted_mw: float | None = None) -> list[str]:
        letters = self.tick(now_s, demand_mw, granted_mw)
        return [feed(letter)["event"] for letter in letters if letter.topic.endswith("status")]

    def breaches(self, now_s: float, demand_mw: float) -> list[dict[str, Any]]:
        letters = self.tick(now_s, demand_mw)
        return [json.loads(letter.payload)["data"] for letter in letters if letter.topic.endswith("breach")]


def feed(letter: Letter, tag: str = "main-a") -> dict[str, Any]:
    state: dict[str, Any] = json.loads(letter.payload)["data"]["feeds"][tag]
    return state


def test_a_life_of_a_target_is_told_step_by_step() -> None:
    told = Told()

    seen = [told.changes(0, 18.0)]
    told.command(command(target(12.0, 2, 8)), 1)
    seen += [told.changes(1, 18.0), told.changes(2, 18.0, 12.0), told.changes(3, 15.0, 12.0)]
    seen += [told.changes(4, 11.9, 12.0), told.changes(8, 12.0, 18.0), told.changes(9, 17.5, 18.0)]
    seen += [told.changes(18.9, 18.0), told.changes(19, 18.0)]

    assert seen == [
        ["periodic"],
        ["target_set"],
        ["start_ramp_down"],
        [],
        ["end_ramp_down"],
        ["start_ramp_up"],
        ["end_ramp_up"],
        [],
        ["periodic"],
    ]


def test_a_status_that_tells_no_change_gives_way_to_the_next_one() -> None:
    told = Told()

    letters = told.tick(0, 18.0)
    told.command(command(target(12.0)), 1)
    letters += told.tick(1, 18.0, 12.0)

    assert [(feed(letter)["event"], letter.fades) for letter in letters] == [
        ("periodic", True),
        ("target_set", False),
        ("start_ramp_down", False),
    ]


def test_the_status_tells_targets_load_and_compliance() -> None:
    told = Told()
    told.command(command(target(12.0), target(9.0, 100, 200)), 0)

    letters = told.tick(0, 18.0, 12.0)

    state = feed(letters[-1])
    assert [(item["active"], item["load_constraint"]["value"]) for item in state["targets"]] == [
        (True, 12_000.0),
        (False, 9_000.0),
    ]
    assert {item["correlation_id"] for item in state["targets"]} == {CORRELATION}
    assert (state["in_flight"], state["compliant"], state["calculated_load"]["value"]) == (
        True,
        True,
        12_000.0,
    )
    assert feed(letters[-1], "main-b")["targets"] == []


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59-06:00"])
def test_a_target_until_the_end_of_all_years_is_told_back(end: str) -> None:
    told = Told()
    told.command(command(target(12.0) | {"interval": {"end_time": end}}), 0)

    [item] = feed(told.tick(0, 18.0, 12.0)[-1])["targets"]

    assert item["interval"]["end_time"].startswith("9999-12-31T23:59:59.")


def test_messages_are_cloud_events_with_the_fields_of_the_schema() -> None:
    [letter] = Told().tick(0, 18.0)

    envelope = json.loads(letter.payload)
    assert (letter.topic, letter.qos) == ("grid/v1/dsx-flex-agent/site-1/powerstate/status", 1)
    assert uuid.UUID(envelope["id"]).version == 4
    assert envelope["source"] == "//grid/v1/dsx-flex-agent/site-1"
    assert {"specversion", "type", "time", "datacontenttype", "subject", "traceparent"} <= set(envelope)


def test_the_status_names_the_newest_seal_of_the_journal_beside_what_the_schema_knows() -> None:
    [with_it], [without] = Told().tick(0, 18.0, seal="7:abc"), Told().tick(0, 18.0)

    sealed, bare = json.loads(with_it.payload), json.loads(without.payload)
    assert sealed.pop("seal") == "7:abc"
    assert sealed == bare


def test_what_we_tell_is_signed_where_we_have_a_key() -> None:
    [letter] = Told(signer=Signer(key=EC_KEY, key_id=KEY_ID)).tick(0, 18.0)

    trust = Trust(keys={KEY_ID: EC_KEY.public_key()}, max_age_s=600)
    content = json.loads(opened(json.loads(letter.payload)["data"], trust, now_utc_s=NOW_S))
    assert set(content) == {"snapshot_time", "feeds"}


def a_day_ahead(told: Told, quarters: int = 96) -> None:
    """Targets for every quarter of an hour, on both feeds."""
    for first in range(0, quarters, 48):
        some = range(first, min(first + 48, quarters))
        pieces = [target(8.123, 900 * at, 900 * (at + 1), feed_tags=None) for at in some]
        told.command(command(*pieces, sent_s=first / 1000), 0.1)


def content_of(letter: Letter) -> dict[str, Any]:
    trust = Trust(keys={KEY_ID: EC_KEY.public_key()}, max_age_s=600)
    content: dict[str, Any] = json.loads(opened(json.loads(letter.payload)["data"], trust, now_utc_s=NOW_S))
    return content


@pytest.mark.parametrize("signer", [None, Signer(key=EC_KEY, key_id=KEY_ID)])
def test_a_status_fits_into_a_message_however_many_targets_there_are(signer: Signer | None) -> None:
    told = Told(signer=signer)
    a_day_ahead(told, 400)

    letters = told.tick(1, 18.0, 8.0, seal=f"123456789:{'a' * 64}")

    assert letters
    assert all(len(letter.payload) <= MAX_PAYLOAD_BYTES for letter in letters)


def test_of_more_targets_than_a_message_holds_those_of_each_feed_that_come_first_are_told() -> None:
    told = Told(signer=Signer(key=EC_KEY, key_id=KEY_ID))
    a_day_ahead(told)
    told.command(command(target(3.0, 0, 86_400), sent_s=1), 1)

    letter = told.tick(1, 18.0, 8.0)[-1]

    feeds = content_of(letter)["feeds"]
    told_of = {tag: [item["interval"]["start_time"] for item in feeds[tag]["targets"]] for tag in feeds}
    [binds, *_] = feeds["main-a"]["targets"]
    assert (binds["load_constraint"]["value"], binds["active"]) == (3_000.0, True)
    assert told_of["main-b"] == [at(900 * index) for index in range(len(told_of["main-b"]))]
    assert abs(len(told_of["main-a"]) - len(told_of["main-b"])) <= 1
    assert letter.untold == 193 - len(told_of["main-a"]) - len(told_of["main-b"]) > 0


def test_as_many_feeds_as_a_site_may_have_are_told_with_what_binds_each() -> None:
    most = {"minimum": Power(9_999_999_999), "maximum": Power(9_999_999_999), "default": Power(9_999_999_999)}
    feeds = tuple(Feed(tag=f"{at:064}", node=f"n{at}", **most) for at in range(MAX_FEEDS))
    agreed = replace(AGREED, feeds=feeds, nameplate=Power(9_999_999_999))
    tags = [feed.tag for feed in feeds]
    signer = Signer(key=RSA_KEY, key_id="k" * 128)
    dialect = DsxFlex(agreed, period_s=10, rule=BreachRule(), signer=signer)
    places = tuple(
        Place(node=feed.node, demand=Power(9_999_999_999), granted=Power(9_999_999_999)) for feed in feeds
    )
    message = understood(command(target(9999.123456, feed_tags=tags)), agreement=agreed)
    book, _ = receive_targets(Ledger(), message, NOW_S)

    report = SiteReport(now_utc_s=NOW_S, demand=Power(1), places=places)
    letters = dialect.observed(ledgers.events(book, NOW_S), report)

    assert {len(letter.payload) <= MAX_PAYLOAD_BYTES for letter in letters} == {True}
    assert {letter.untold for letter in letters} == {0}


def test_a_breach_lives_from_active_to_resolved_under_one_id() -> None:
    told = Told(rule=BreachRule(hold_s=2, escalate_after_s=20, actions=("SHUTDOWN_NODES",)))
    told.command(command(target(12.0)), 0)

    quiet = [told.breaches(now_s, 13.0) for now_s in (0, 10, 30)]  # within the ramp deadline
    begun = [told.breaches(now_s, 13.0) for now_s in (31, 32, 33)]
    later = [told.breaches(now_s, 13.0) for now_s in (34, 53, 54)]
    over = [told.breaches(now_s, 12.0) for now_s in (55, 56)]

    assert quiet == [[], [], []]
    assert begun[:2] == [[], []]
    [active] = begun[2]
    [escalated] = later[1]
    [resolved] = over[0]
    assert (later[0], later[2], over[1]) == ([], [], [])
    assert [item["status"] for item in (active, escalated, resolved)] == ["active", "escalated", "resolved"]
    assert len({item["breach"]["breach_id"] for item in (active, escalated, resolved)}) == 1
    assert (active["severity"], active["infrastructure_actions"]) == ("warning", ["SHUTDOWN_NODES"])
    assert (resolved["infrastructure_actions"], resolved["breach"]["resolved_at"]) == ([], at(55))


def test_more_than_a_fifth_above_its_target_is_critical_and_escalates_at_once() -> None:
    told = Told()
    told.command(command(target(10.0)), 0)

    seen = [told.breaches(now_s, 12.5) for now_s in (0, 31, 32, 33, 34)]

    statuses = [[(item["status"], item["severity"]) for item in found] for found in seen]
    assert statuses == [[], [], [], [("active", "critical")], [("escalated", "critical")]]


def test_a_target_that_is_removed_resolves_its_breach() -> None:
    told = Told()
    told.command(command(target(10.0)), 0)
    for now_s in (0, 31, 33):
        told.breaches(now_s, 10.5)

    told.command(command(target(None), sent_s=40), 40)
    [resolved] = told.breaches(40, 10.5)

    assert resolved["status"] == "resolved"
