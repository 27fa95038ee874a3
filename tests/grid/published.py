"""What OpenADR 3.1 publishes of its objects, as a JSON schema of our own wording: an independent validator
holds what we send, and what our tests draw, against it.

Restated from the standard's schema and its enumerations of payloads, reading types and units. Where theirs
lets unknown fields pass this one does not: a misspelt field is an error of ours.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]

INSTANT = r"^\d{4}-\d\d-\d\d([Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d))?$"
"""RFC 3339, and the bare date by which the standard says "now"."""
DURATION = r"^-?P(?=[0-9T])(\d+Y)?(\d+M)?(\d+D|\d+W)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$"
UNITS = (
    *("KWH", "GHG", "VOLTS", "AMPS", "CELSIUS", "FAHRENHEIT", "PERCENT", "KW", "KVAH", "KVARH", "KVA"),
    *("KVAR", "THERMS"),
)
READINGS = ("DIRECT_READ", "ESTIMATED", "SUMMED", "MEAN", "PEAK", "FORECAST", "AVERAGE", "NORMAL", "ERROR")
STATES = (
    *("NORMAL", "ERROR", "IDLE_NORMAL", "RUNNING_NORMAL", "RUNNING_CURTAILED", "RUNNING_HEIGHTENED"),
    *("IDLE_CURTAILED", "SGD_ERROR_CONDITION", "IDLE_HEIGHTENED", "IDLE_OPTED_OUT", "RUNNING_OPTED_OUT"),
)


def _object(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [{"type": "null"}, schema]}


def _one(item: Schema) -> Schema:
    """The values of a payload that has one."""
    return {"type": "array", "items": item, "minItems": 1, "maxItems": 1}


NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 128}
ID: Schema = {**NAME, "pattern": r"^[a-zA-Z0-9_-]*$"}
NUMBER: Schema = {"type": "number"}
AMOUNT: Schema = {"type": "number", "minimum": 0}
TIME: Schema = {"type": "string", "pattern": INSTANT}
LENGTH: Schema = {"type": "string", "pattern": DURATION}
INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
POINT = _object({"x": NUMBER, "y": NUMBER})
VALUE: Schema = {"anyOf": [{"type": ["number", "integer", "string", "boolean"]}, POINT]}

NUMBERS = (
    *("READING", "DELTA_USAGE", "BASELINE", "UP_REGULATION_AVAILABLE", "DOWN_REGULATION_AVAILABLE"),
    *("REGULATION_SETPOINT", "STORAGE_USABLE_CAPACITY", "STORAGE_MAX_DISCHARGE_POWER"),
    *("STORAGE_MAX_CHARGE_POWER", "USAGE_FORECAST", "STORAGE_DISPATCH_FORECAST"),
    *("LOAD_SHED_DELTA_AVAILABLE", "GENERATION_DELTA_AVAILABLE", "IMPORT_RESERVATION_CAPACITY"),
    *("IMPORT_RESERVATION_FEE", "EXPORT_RESERVATION_CAPACITY", "EXPORT_RESERVATION_FEE"),
)
REPORT_VALUES: tuple[tuple[tuple[str, ...], Schema], ...] = (
    (("USAGE", "DEMAND"), _one(AMOUNT)),
    (NUMBERS, _one(NUMBER)),
    (("SETPOINT",), _one({"anyOf": [NUMBER, NAME, {"type": "boolean"}, POINT]})),
    (("OPERATING_STATE",), _one({"enum": list(STATES)})),
    (("DATA_QUALITY",), _one({"enum": ["OK", "MISSING", "ESTIMATED", "BAD"]})),
    (("SIMPLE_LEVEL",), _one({"type": "integer", "minimum": 0, "maximum": 3})),
    (("STORAGE_CHARGE_LEVEL",), _one({"type": "number", "minimum": 0, "maximum": 1})),
)
"""By types of payload. All other types are private, and then begin with `X_` here."""

PERIOD = _object({}, start=TIME, duration=LENGTH, randomizeStart=LENGTH)
VALUES = _object({"type": NAME, "values": _list(VALUE)})
REPORTED: Schema = {
    **VALUES,
    "allOf": [
        {
            "if": {"properties": {"type": {"enum": list(names)}}},
            "then": {"properties": {"values": values}},
        }
        for names, values in REPORT_VALUES
    ],
    "anyOf": [
        {"properties": {"type": {"enum": [name for names, _ in REPORT_VALUES for name in names]}}},
        {"properties": {"type": {"pattern": "^X_"}}},
    ],
}


def _interval(payload: Schema) -> Schema:
    return _object({"id": INT32, "payloads": _list(payload)}, intervalPeriod=PERIOD)


METADATA: dict[str, Schema] = {"id": ID, "createdDateTime": TIME, "modificationDateTime": TIME}
REPORT = _object(
    {
        "objectType": {"const": "REPORT"},
        **METADATA,
        "clientID": ID,
        "eventID": ID,
        "clientName": NAME,
        "resources": _list(
            _object({"resourceName": NAME, "intervals": _list(_interval(REPORTED))}, intervalPeriod=PERIOD)
        ),
    },
    reportName={"type": "string"},
    payloadDescriptors=_list(
        _object(
            {"objectType": {"const": "REPORT_PAYLOAD_DESCRIPTOR"}, "payloadType": NAME},
            readingType={"enum": list(READINGS)},
            units={"enum": list(UNITS)},
            accuracy=NUMBER,
            confidence={"type": "integer", "minimum": 0, "maximum": 100},
        )
    ),
)
EVENT = _object(
    {"objectType": {"const": "EVENT"}, **METADATA, "programID": ID},
    eventName=_or_null({"type": "string"}),
    priority=_or_null({"type": "integer", "minimum": 0}),
    duration=LENGTH,
    targets=_or_null(_list(NAME)),
    reportDescriptors=_or_null(
        _list(
            _object(
                {"payloadType": NAME},
                readingType={"type": "string"},
                units={"type": "string"},
                targets=_or_null(_list(NAME)),
                aggregate={"type": "boolean"},
                startInterval=INT32,
                numIntervals=INT32,
                historical={"type": "boolean"},
                frequency=INT32,
                repeat=INT32,
                reportIntervals={"type": "string"},
            )
        )
    ),
    payloadDescriptors=_or_null(
        _list(
            _object(
                {"objectType": {"const": "EVENT_PAYLOAD_DESCRIPTOR"}, "payloadType": NAME},
                units=_or_null({"type": "string"}),
                currency=_or_null({"type": "string"}),
            )
        )
    ),
    intervalPeriod=PERIOD,
    intervals=_list(_interval(VALUES)),
)


def _notification(content: Schema) -> Schema:
    return _object(
        {
            "objectType": {"enum": ["PROGRAM", "EVENT", "REPORT", "SUBSCRIPTION", "VEN", "RESOURCE"]},
            "operation": {"enum": ["CREATE", "READ", "UPDATE", "DELETE"]},
            "object": content,
        },
        targets=_or_null(_list(NAME)),
    )


REPORT_OBJECT = Draft202012Validator(REPORT)
EVENT_OBJECT = Draft202012Validator(EVENT)
REPORT_NOTIFICATION = Draft202012Validator(_notification(REPORT))


def complaints(validator: Draft202012Validator, content: object) -> list[str]:
    """What the validator has against `content`, each with the place."""
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(content)]


def undeclared(report: dict[str, Any]) -> set[str]:
    """The numbers of a report that no descriptor gives a unit to."""
    declared = {one["payloadType"] for one in report["payloadDescriptors"] if "units" in one}
    told = {
        payload["type"]
        for resource in report["resources"]
        for interval in resource["intervals"]
        for payload in interval["payloads"]
        if any(type(value) in (int, float) for value in payload["values"])
    }
    return told - declared
