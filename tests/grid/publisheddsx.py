"""What NVIDIA publishes of the two messages that a DSX Flex agent sends (version 1.7.0), as a JSON schema of
our own wording: an independent validator holds what we send against it.

Restated from its AsyncAPI document. Where theirs lets unknown fields of `data` pass this one does not; of the
envelope they are extension attributes of CloudEvents, which have lower-case names and values that are text.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]

UUID: Schema = {
    "type": "string",
    "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
}
TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
SIGNED: Schema = {"type": "string", "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"}
TRACE = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"


def _object(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


POWER = _object(
    {"value": {"type": "number", "minimum": 0}, "unit": {"enum": ["watt", "kilowatt", "megawatt"]}}
)
TARGET = _object(
    {
        "active": {"type": "boolean"},
        "load_constraint": POWER,
        "interval": _object({}, start_time=TIME, end_time=TIME),
        "strategy": _object({}, best_effort={"type": "boolean"}),
        "correlation_id": UUID,
    }
)
FEED = _object(
    {
        "metadata": _object({"power_minimum": POWER, "power_maximum": POWER, "default_constraint": POWER}),
        "targets": {"type": "array", "items": TARGET},
        "calculated_load": POWER,
        "in_flight": {"type": "boolean"},
        "event": {
            "enum": [
                *("target_set", "start_ramp_down", "end_ramp_down", "start_ramp_up", "end_ramp_up"),
                "periodic",
            ]
        },
        "compliant": {"type": "boolean"},
    },
    power_event_start_time=TIME,
)
STATUS = _object({"snapshot_time": TIME, "feeds": {"type": "object", "additionalProperties": FEED}})
HINT = _object(
    {
        "resource_id": {"type": "string"},
        "resource_type": {"enum": ["node", "gpu", "chassis"]},
        "action": {"enum": ["power_cap", "throttle", "suspend"]},
        "priority": {"type": "integer", "minimum": 1},
    },
    target_power=POWER,
)
BREACH = _object(
    {
        "feed_tag": {"type": "string"},
        "status": {"enum": ["active", "escalated", "resolved"]},
        "severity": {"enum": ["warning", "critical"]},
        "breach": _object({"breach_id": UUID, "detected_at": TIME}, resolved_at=TIME),
        "target": _object({"correlation_id": UUID, "load_constraint": POWER}),
        "measured_load": POWER,
        "infrastructure_actions": {
            "type": "array",
            "items": {"enum": ["SHUTDOWN_NODES", "SHUTDOWN_RACKS", "CUT_DATA_FEEDS", "TRIP_BREAKERS"]},
        },
    },
    shed_hints={"type": "array", "items": HINT},
)


def _envelope(type_: str, subject: str, data: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {
            "specversion": {"const": "1.0.2"},
            "id": UUID,
            "source": {"type": "string", "pattern": "^//grid/v1/(isv|dsx-flex-agent|infra)/[^/]+$"},
            "type": {"const": type_},
            "time": TIME,
            "datacontenttype": {"const": "application/json"},
            "subject": {"const": subject},
            "correlationid": UUID,
            "traceparent": {"type": "string", "pattern": TRACE},
            "tracestate": {"type": "string"},
            "data": {"anyOf": [SIGNED, data]},
        },
        "required": [
            *("specversion", "id", "source", "type", "time", "datacontenttype", "subject", "traceparent"),
            "data",
        ],
        "patternProperties": {"^(?!data$)[a-z0-9]{1,20}$": {"type": "string", "minLength": 1}},
        "additionalProperties": False,
    }


STATUS_MESSAGE = Draft202012Validator(_envelope("grid.powerstate.status.v1", "powerstate", STATUS))
BREACH_MESSAGE = Draft202012Validator(_envelope("grid.powerbreach.alert.v1", "powerbreach", BREACH))
