"""Messages broken at random, on every topic of every dialect, and an oracle for what may come of them.

The oracle reads the raw message itself: whatever a dialect accepts must stand there, in the unit it declares.
"""

from __future__ import annotations

import base64
import json
import math
import random
from collections import Counter
from dataclasses import replace
from typing import Any

from controller.domain.grid import (
    ALL_RIGHTS,
    Alert,
    AlertSignal,
    CapacitySignal,
    CarbonSignal,
    GridEvent,
    LimitSignal,
    PriceSignal,
    RelativeTargetSignal,
    TargetSignal,
)
from controller.domain.power import NO_LIMIT, ZERO, Limit, Power
from controller.grid import ledger as ledgers
from controller.grid.basepoint import BasePoints, StreamRule
from controller.grid.dialects import Dialect, Heard
from controller.grid.dsx import Agreement, Feed
from controller.grid.dsxbreach import BreachRule
from controller.grid.dsxlink import DsxFlex
from controller.grid.entries import Ledger
from controller.grid.keeping import MAX_ENTRIES
from controller.grid.loadtargets import LoadTargets, receive_targets
from controller.grid.openadrlink import OpenAdr
from controller.grid.reports import Sender
from controller.grid.results import MAX_INTERVALS, Accepted, Cancelled, Rejected, Snapshot
from controller.grid.signatures import Trust
from controller.grid.zerohundred import OffRule, ZeroHundred
from tests.grid.keys import EC_KEY, KEY_ID, jws
from tests.grid.messages import (
    CONTRACT,
    LIMIT_KW,
    NOW_S,
    PRICE_USD,
    event,
    interval,
    limit,
    notice,
    payload,
    price,
    snapshot,
)

RELATIVE_KW = {"payloadType": "DISPATCH_SETPOINT_RELATIVE", "units": "KW"}
CAPACITY_KW = {"payloadType": "IMPORT_CAPACITY_SUBSCRIPTION", "units": "KW"}
GHG = {"payloadType": "GHG", "units": "GHG"}
TARGET_KW = {"payloadType": "DISPATCH_SETPOINT", "units": "KW"}
KW_PER_UNIT = {"KW": 1.0, "MW": 1000.0, "W": 0.001}

FUZZED = replace(
    CONTRACT,
    nodes=frozenset({"row-a"}),
    follows_relative=True,
    levels={1: Power.kw(901), 3: Power.kw(101)},
    instructions={"SHED": Power.kw(401)},
    alerts={Alert.GRID_EMERGENCY: Power.kw(301)},
)
AGREED_WORDS: dict[tuple[str, Any], Power] = {
    ("SIMPLE", 1): Power.kw(901),
    ("SIMPLE", 3): Power.kw(101),
    ("DISPATCH_INSTRUCTION", "SHED"): Power.kw(401),
}

OPENADR = (
    notice(event()),
    notice(event(duration="PT3H", intervals=[interval(limit(5)), interval(limit(7), duration="PT20M")])),
    notice(event(payloadDescriptors=[TARGET_KW], intervals=[interval(payload("DISPATCH_SETPOINT", 9))])),
    notice(event(payloadDescriptors=[PRICE_USD], intervals=[interval(price(0.1, -0.2, 0.3))])),
    notice(event(payloadDescriptors=[LIMIT_KW, PRICE_USD], intervals=[interval(limit(1), price(0.1))])),
    notice(event(intervals=[interval(payload("SIMPLE", 3))])),
    notice(event(intervals=[interval(payload("DISPATCH_INSTRUCTION", "SHED"))], targets=["row-a"])),
    notice(event(intervals=[interval(payload("ALERT_GRID_EMERGENCY", "now"))])),
    notice(
        event(
            payloadDescriptors=[RELATIVE_KW, CAPACITY_KW, GHG],
            intervals=[
                interval(
                    payload("DISPATCH_SETPOINT_RELATIVE", -5),
                    payload("IMPORT_CAPACITY_SUBSCRIPTION", 70_000),
                    payload("GHG", 300, 400),
                )
            ],
            reportDescriptors=[{"payloadType": "USAGE", "frequency": 1, "repeat": -1}],
        )
    ),
    notice(
        event(
            intervals=[interval(limit(at), duration="PT10S") for at in (5, 6, 7)],
            reportDescriptors=[
                {
                    "payloadType": "DEMAND",
                    "readingType": "MEAN",
                    "startInterval": 1,
                    "numIntervals": 2,
                    "frequency": 1,
                    "repeat": 3,
                    "historical": True,
                    "targets": ["row-a", "site-tx1"],
                    "aggregate": False,
                }
            ],
        )
    ),
    notice(event(), "DELETE"),
    notice(event(intervalPeriod={"start": "0001-01-01", "duration": "PT0S"}), "UPDATE"),
    snapshot(event(), event(id="dr-8")),
    b'{"seq":1,"utc":"2026-11-23T17:00:00Z"}',
)
DSX_TARGET: dict[str, Any] = {
    "interval": {"start_time": "2026-11-23T17:10:00Z", "end_time": "2026-11-23T18:10:00Z"},
    "feed_tags": ["main-a"],
    "load_constraint": {"value": 12.5, "unit": "megawatt"},
    "strategy": {"best_effort": True},
}
DSX_CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"feed_tags": []},
    {"interval": {}},
    {"load_constraint": None},
)
DSX = tuple(
    json.dumps(
        {
            "specversion": "1.0.2",
            "id": f"6f9d4c0e-7d0b-4a3c-9a55-0d2f6c1be00{number}",
            "source": "//grid/v1/isv/acme-energy",
            "type": "grid.loadtarget.set.v1",
            "time": "2026-11-23T17:00:00Z",
            "datacontenttype": "application/json",
            "subject": "loadtarget",
            "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
            "data": {"targets": [DSX_TARGET | changes]},
        }
    ).encode()
    for number, changes in enumerate(DSX_CHANGES)
)
ENFORCEMENT = json.dumps(
    {
        "specversion": "1.0.2",
        "id": "6f9d4c0e-7d0b-4a3c-9a55-0d2f6c1be009",
        "source": "//grid/v1/infra/racks",
        "type": "grid.powerbreach.enforcement.v1",
        "time": "2026-11-23T17:00:00Z",
        "data": {
            "breach_id": "0b0f8d3a-1c55-4d0e-8f2e-5b8a1f3f9a10",
            "feed_tag": "main-a",
            "action": "applied",
            "code": "partial",
            "results": [{"resource_id": "n1", "resource_type": "node", "code": "failed", "message": "no"}],
            "timestamp": "2026-11-23T17:00:00Z",
        },
    }
).encode()
ZERO_HUNDRED = tuple(json.dumps({"target": target, "timestamp": int(NOW_S)}).encode() for target in (0, 100))
BASE_POINT = tuple(
    json.dumps({"setpoint": value, "units": unit, "time": "2026-11-23T17:00:00Z"}).encode()
    for value, unit in ((31_500.0, "KW"), (31, "MW"), (0, "W"))
)
SIGNED = tuple(
    jws(raw, aud=CONTRACT.ven, iat=NOW_S).encode() for raw in (notice(event()), notice(event(), "DELETE"))
)

TWISTED: tuple[Any, ...] = (
    *(None, True, "", "x", 0, -1, 1, 0.5, -0.0, 1e308, -1e308, 10**30, 2**63, [], {}, [[]]),
    *("P9999Y", "-PT1H", "PT0S", "P1M", "0001-01-01", "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z"),
    *("kilowatt", "megawatt", "SIMPLE", "SHED", "row-a", "main-b", 100, 2, int(NOW_S) - 1),
    *("KW", "MW", "W", "PRICE", "IMPORT_CAPACITY_LIMIT", "dr-9", "\x00", "\u202e", "x" * 200),
)


def twisted(rng: random.Random, raw: bytes) -> bytes:
    """One to three changes, to the bytes or to the values."""
    for _ in range(rng.randint(1, 3)):
        raw = rng.choice((_flipped, _cut, _doubled, _replaced, _replaced, _replaced, _dropped))(rng, raw)
    return raw


def _flipped(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) or 1)
    return raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]


def _cut(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def _doubled(rng: random.Random, raw: bytes) -> bytes:
    start = rng.randrange(len(raw) + 1)
    piece = raw[start : start + rng.randrange(60)]
    return raw[:start] + piece * rng.randint(2, 4) + raw[start + len(piece) :]


def _replaced(rng: random.Random, raw: bytes) -> bytes:
    return _changed(rng, raw, lambda holder, key: holder.__setitem__(key, rng.choice(TWISTED)))


def _dropped(rng: random.Random, raw: bytes) -> bytes:
    return _changed(rng, raw, lambda holder, key: holder.__delitem__(key))


def _changed(rng: random.Random, raw: bytes, change: Any) -> bytes:
    try:
        content = json.loads(raw)
        places = list(_places(content))
        if places:
            change(*rng.choice(places))
        return json.dumps(content).encode()
    except (ValueError, RecursionError):
        return raw


def _places(content: Any) -> Any:
    """Every container with each key or index in it."""
    keys: Any = (
        content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    )
    for key in keys:
        yield content, key
        yield from _places(content[key])


def check(grid_event: GridEvent, content: dict[str, Any], where: str) -> None:
    """Everything in the event is in the message, in the unit the message declares."""
    why = f"{where}: {content} became {grid_event}"
    units = {item["payloadType"]: item.get("units", "") for item in content.get("payloadDescriptors") or []}
    said: dict[str, set[Any]] = {}
    words: dict[str, list[Any]] = {}
    for item in content.get("intervals") or []:
        for one in item["payloads"]:
            numbers = (value for value in one["values"] if isinstance(value, int | float))
            said.setdefault(one["type"], set()).update(numbers)
            words.setdefault(one["type"], []).extend(one["values"])

    agreed = {
        power for (type_, word), power in AGREED_WORDS.items() if type_ in said and word in words[type_]
    } | ({Power.kw(301)} if "ALERT_GRID_EMERGENCY" in said else set())
    assert grid_event.id == content["id"], why
    assert grid_event.node in ("", *(content.get("targets") or ())), why
    assert 0 < len(grid_event.intervals) <= MAX_INTERVALS, why
    end_utc_s = -math.inf
    for piece in grid_event.intervals:
        assert end_utc_s <= piece.start_utc_s < piece.end_utc_s, why
        end_utc_s = piece.end_utc_s
        for signal in piece.signals:
            match signal:
                case LimitSignal(power) if power in agreed:
                    pass
                case LimitSignal(power):
                    _check_power(power, said["IMPORT_CAPACITY_LIMIT"], units["IMPORT_CAPACITY_LIMIT"], why)
                case TargetSignal(power):
                    _check_power(power, said["DISPATCH_SETPOINT"], units["DISPATCH_SETPOINT"], why)
                case RelativeTargetSignal(power):
                    unit = units["DISPATCH_SETPOINT_RELATIVE"]
                    _check_power(
                        power, said["DISPATCH_SETPOINT_RELATIVE"], unit, why, -CONTRACT.nameplate.watts
                    )
                case PriceSignal(usd_per_kwh):
                    per_kwh = {"KWH": 1, "MWH": 1000}[units["PRICE"]]
                    assert any(math.isclose(usd_per_kwh * per_kwh, value) for value in said["PRICE"]), why
                case CarbonSignal(grams_per_kwh):
                    assert grams_per_kwh in said["GHG"], why
                case AlertSignal(alert, _):
                    assert alert in said, why
                case CapacitySignal(capacity, power):
                    _check_power(power, said[capacity], units[capacity], why, most_w=10**18)


def _check_power(
    power: Power,
    said: set[Any],
    unit: str,
    why: str,
    least_w: int = 0,
    most_w: int = CONTRACT.nameplate.watts,
) -> None:
    assert least_w <= power.watts <= most_w, why
    assert any(abs(value * KW_PER_UNIT[unit] * 1000 - power.watts) <= 1 for value in said), why


class _Fresh(ZeroHundred):
    """A dispatcher's line that has heard nothing yet, each time anew: one 0 would answer for all later."""

    def __init__(self, rule: OffRule) -> None:
        super().__init__("target", rule, began_utc_s=NOW_S)

    def read(self, topic: str, payload: bytes, *, retained: bool, now_utc_s: float) -> tuple[Heard, ...]:
        fresh = ZeroHundred("target", self._rule, began_utc_s=NOW_S)
        return fresh.read(topic, payload, retained=retained, now_utc_s=now_utc_s)


class Fuzz:
    """Every dialect with a ledger behind it, as a site has them, fed with twisted messages."""

    def __init__(self) -> None:
        sender = Sender(client_id="ctl", ven=CONTRACT.ven)
        plain = OpenAdr(sender, FUZZED, heartbeat_s=1)
        trust = Trust(keys={KEY_ID: EC_KEY.public_key()}, max_age_s=600)
        dsx = Agreement(
            isv="acme-energy",
            agent="site",
            feeds=tuple(
                Feed(tag=tag, node="row-a", minimum=ZERO, maximum=Power.kw(20_000), default=Power.kw(20_000))
                for tag in ("main-a", "main-b")
            ),
            nameplate=CONTRACT.nameplate,
            max_age_s=3600,
            ramp_deadline_s=60,
            infra="racks",
        )
        off = OffRule(off=Power.kw(60), stale_s=240, ramp_deadline_s=60)
        stream = StreamRule(
            nameplate=CONTRACT.nameplate,
            valid_s=600,
            silent=NO_LIMIT,
            ramp_deadline_s=60,
            priority=5,
            rights=ALL_RIGHTS,
        )
        events = f"events/vens/{CONTRACT.ven}"
        self._lines: tuple[tuple[Dialect, tuple[str, ...], tuple[bytes, ...]], ...] = (
            (plain, (f"{events}/create", f"{events}/snapshot", "heartbeat/vtn"), OPENADR),
            (OpenAdr(sender, FUZZED, heartbeat_s=1, trust=trust), (f"{events}/create",), SIGNED),
            (
                DsxFlex(dsx, period_s=10, rule=BreachRule()),
                ("grid/v1/isv/acme-energy/loadtarget/set", "grid/v1/infra/racks/powerbreach/enforcement"),
                (*DSX, ENFORCEMENT),
            ),
            (_Fresh(off), ("target",), ZERO_HUNDRED),
            (BasePoints("base", stream), ("base",), BASE_POINT),
        )
        self.ledgers = [Ledger() for _ in self._lines]
        self.outcomes: Counter[str] = Counter()

    def one(self, seed: int) -> None:
        """One message on every topic of one dialect; `AssertionError` names the seed."""
        rng = random.Random(seed)
        at = rng.choices(range(len(self._lines)), (6, 1, 2, 1, 1))[0]
        dialect, topics, valid = self._lines[at]
        raw = twisted(rng, rng.choice(valid))
        for topic in topics:
            for heard in dialect.read(topic, raw, retained=False, now_utc_s=NOW_S):
                result = heard.result
                self.outcomes[f"{heard.kind} {type(result).__name__}"] += 1
                _judge(result, raw, valid, f"seed {seed}")
                self.ledgers[at] = _received(self.ledgers[at], result)
        assert len(self.ledgers[at].entries) <= MAX_ENTRIES, f"seed {seed}"


def _received(book: Ledger, result: object) -> Ledger:
    match result:
        case Accepted() | Cancelled() | Rejected():
            return ledgers.receive(book, result, NOW_S)[0]
        case Snapshot():
            return ledgers.receive_snapshot(book, result, NOW_S)[0]
        case LoadTargets():
            return receive_targets(book, result, NOW_S)[0]
        case _:
            return book


def _judge(result: object, raw: bytes, valid: tuple[bytes, ...], why: str) -> None:
    """Whether `raw` says what was made of it."""
    match result:
        case Accepted(event=found) if found.source == "openadr":
            content = _opened(raw, valid, why)
            check(found, content["object"], why)
        case Snapshot(results=results):
            contents = {content["id"]: content for content in json.loads(raw)["events"]}
            for one in results:
                if isinstance(one, Accepted):
                    check(one.event, contents[one.event.id], why)
        case Accepted(event=found) if found.source == "zero-hundred":
            content = json.loads(raw)
            assert type(content["target"]) is int, why
            assert content["target"] == 0, why
        case Accepted(event=found):
            content = json.loads(raw)
            [signal] = found.intervals[0].signals
            assert isinstance(signal, TargetSignal), why
            _check_power(signal.power, {content["setpoint"]}, content["units"], why)
        case LoadTargets(targets=targets):
            said = [target["load_constraint"] for target in json.loads(raw)["data"]["targets"]]
            watts = {"watt": 1, "kilowatt": 1000, "megawatt": 1_000_000}
            limits = [unit["value"] * watts[unit["unit"]] for unit in said if unit is not None]
            for target in targets:
                if isinstance(target.constraint, Limit):
                    power = target.constraint.power
                    assert ZERO <= power <= CONTRACT.nameplate, why
                    assert any(abs(limit - power.watts) <= 1 for limit in limits), why
                else:
                    assert None in said, why
        case _:
            pass


def _opened(raw: bytes, valid: tuple[bytes, ...], why: str) -> Any:
    """The content of a message; of a signed one, it must be one that was truly signed."""
    if raw.startswith(b"{"):
        return json.loads(raw)
    signed = raw.split(b".")
    assert any(signed[:2] == token.split(b".")[:2] for token in valid), why
    return json.loads(base64.urlsafe_b64decode(signed[1] + b"=="))
