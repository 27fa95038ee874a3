"""What a site's sensors publish over MQTT, each value where a site file says it is in its topic's message."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from simulators.faces.registers import told
from simulators.plant import Plant
from simulators.signals import TopicConfig


class Topics:
    """`due` gives the messages whose time has come, by the plant's clock, stamped with the real time."""

    def __init__(self, topics: Sequence[TopicConfig], utc: Callable[[], float]) -> None:
        self._utc = utc
        self._by_topic: defaultdict[str, list[TopicConfig]] = defaultdict(list)
        for topic in topics:
            self._by_topic[topic.topic].append(topic)
        self._due_s = dict.fromkeys(self._by_topic, 0.0)

    def due(self, plant: Plant) -> dict[str, bytes]:
        messages: dict[str, bytes] = {}
        for topic, parts in self._by_topic.items():
            if plant.now_s >= self._due_s[topic]:
                self._due_s[topic] = plant.now_s + min(part.period_s for part in parts)
                messages[topic] = _message(plant, parts, self._utc())
        return messages


def _message(plant: Plant, parts: Sequence[TopicConfig], utc_s: float) -> bytes:
    """A dead meter's value is null, and of a quality that is not the good one."""
    message: Any = {}
    for part in parts:
        value = told(plant, part)
        number = None if value is None else value * part.sign / part.scale + part.offset
        if part.value == "":
            message = number
            continue
        _put(message, part.value, number)
        if part.timestamp is not None:
            _put(message, part.timestamp, _stamp(part, utc_s))
        if part.quality is not None:
            _put(message, part.quality, part.good if value is not None else _bad(part.good))
        if part.unit is not None:
            _put(message, part.unit, part.unit_is)
    return json.dumps(message).encode()


def _put(message: dict[str, Any], keys: str, value: object) -> None:
    *outer, last = keys.split(".")
    for key in outer:
        message = message.setdefault(key, {})
    message[last] = value


def _stamp(part: TopicConfig, utc_s: float) -> float | int | str:
    match part.timestamp_in:
        case "ms":
            return round(utc_s * 1000)
        case "s":
            return utc_s
        case "iso":
            return datetime.fromtimestamp(utc_s, UTC).isoformat()


def _bad(good: int | str) -> int | str:
    return good - 1 if isinstance(good, int) else f"not {good}"
