"""Broken, truncated, repeated and twisted messages: none may raise, none may become an event it is not."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest

from controller.domain.grid import (
    AlertSignal,
    CapacitySignal,
    CarbonSignal,
    GridEvent,
    LimitSignal,
    PriceSignal,
    RelativeTargetSignal,
    TargetSignal,
)
from controller.domain.power import Power
from controller.grid.openadr import parse_heartbeat, parse_notification, parse_snapshot
from controller.grid.results import MAX_INTERVALS, Accepted, Cancelled, Rejected
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

SEEDS = 4000
TARGET_KW = {"payloadType": "DISPATCH_SETPOINT", "units": "KW"}
KW_PER_UNIT = {"KW": 1.0, "MW": 1000.0, "W": 0.001}

VALID = (
    notice(event()),
    notice(event(duration="PT3H", intervals=[interval(limit(5)), interval(limit(7), duration="PT20M")])),
    notice(event(payloadDescriptors=[TARGET_KW], intervals=[interval(payload("DISPATCH_SETPOINT", 9))])),
    notice(event(payloadDescriptors=[PRICE_USD], intervals=[interval(price(0.1, -0.2, 0.3))])),
    notice(event(payloadDescriptors=[LIMIT_KW, PRICE_USD], intervals=[interval(limit(1), price(0.1))])),
    notice(event(), "DELETE"),
    notice(event(intervalPeriod={"start": "0001-01-01", "duration": "PT0S"}), "UPDATE"),
    snapshot(event(), event(id="dr-8")),
    b'{"seq":1,"utc":"2026-11-23T17:00:00Z"}',
)
TWISTED: tuple[Any, ...] = (
    *(None, True, "", "x", 0, -1, 1, 0.5, -0.0, 1e308, -1e308, 10**30, 2**63, [], {}, [[]]),
    *("P9999Y", "-PT1H", "PT0S", "P1M", "0001-01-01", "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00Z"),
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


@pytest.mark.parametrize("batch", range(8))
def test_no_bytes_make_the_codec_raise_or_invent(batch: int) -> None:
    outcomes = set()
    for seed in range(batch * SEEDS // 8, (batch + 1) * SEEDS // 8):
        rng = random.Random(seed)
        raw = twisted(rng, rng.choice(VALID))

        notified = parse_notification(raw, contract=CONTRACT, now_utc_s=NOW_S)
        listed = parse_snapshot(raw, contract=CONTRACT, now_utc_s=NOW_S)
        parse_heartbeat(raw, now_utc_s=NOW_S)

        outcomes.add(type(notified))
        if isinstance(notified, Accepted):
            check(notified.event, json.loads(raw)["object"], seed)
        if not isinstance(listed, Rejected):
            contents = {content["id"]: content for content in json.loads(raw)["events"]}
            for result in listed.results:
                if isinstance(result, Accepted):
                    check(result.event, contents[result.event.id], seed)
    assert outcomes == {Accepted, Cancelled, Rejected}  # the changes are neither too mild nor too wild


def check(grid_event: GridEvent, content: dict[str, Any], seed: int) -> None:
    """Everything in the event is in the message, in the unit the message declares."""
    why = f"seed {seed}: {content} became {grid_event}"
    units = {item["payloadType"]: item.get("units", "") for item in content.get("payloadDescriptors") or []}
    said: dict[str, set[Any]] = {}
    for item in content.get("intervals") or []:
        for one in item["payloads"]:
            said.setdefault(one["type"], set()).update(
                value for value in one["values"] if isinstance(value, int | float)
            )

    assert grid_event.id == content["id"], why
    assert 0 < len(grid_event.intervals) <= MAX_INTERVALS, why
    end_utc_s = -math.inf
    for piece in grid_event.intervals:
        assert end_utc_s <= piece.start_utc_s < piece.end_utc_s, why
        end_utc_s = piece.end_utc_s
        for signal in piece.signals:
            match signal:
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
