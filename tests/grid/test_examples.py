"""The examples of the OpenADR 3.1 user guide, where a copy of them is at hand."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.domain.grid import Alert, AlertSignal, PriceSignal, Signal, TargetSignal
from controller.domain.power import ZERO
from controller.grid.openadr import parse_notification
from controller.grid.results import Accepted, Cancelled, Contract, Reason, Rejected
from tests.grid.messages import CONTRACT, NOW_S, VERSION

FOLDER = Path(
    os.environ.get("WATTSHIFT_OPENADR_EXAMPLES")
    or Path(__file__).parents[3] / "shared" / "data" / "openadr3_examples"
)
EVERYBODY = frozenset({"VEN-99", "ven_0999", "resource_0999"})

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no examples in {FOLDER}; set WATTSHIFT_OPENADR_EXAMPLES"
)


def files() -> list[Path]:
    return sorted(FOLDER.glob("*.json")) if FOLDER.is_dir() else []


def result_of(path: Path) -> Accepted | Cancelled | Rejected:
    """The guide prints bodies of requests: what a server adds to one before it notifies is added here."""
    body = json.loads(path.read_text(encoding="utf-8"))
    added = {"id": "example", "modificationDateTime": VERSION}
    content: dict[str, Any] = {key: value for key, value in body.items() if key != "objectType"} | added
    envelope = {"objectType": "EVENT", "operation": "CREATE", "object": content}
    contract = Contract(ven=CONTRACT.ven, nameplate=CONTRACT.nameplate, names=EVERYBODY)
    return parse_notification(json.dumps(envelope).encode(), contract=contract, now_utc_s=NOW_S)


def named(part: str) -> Accepted | Cancelled | Rejected:
    [path] = [path for path in files() if part in path.name]
    return result_of(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the site answers to one example: a reason for a refusal, or the signals and what is left out."""

    refused: Reason | None = None
    signals: tuple[Signal, ...] = ()
    ignored: tuple[str, ...] = ()


ANSWERS = {
    # A price that could be per kWh or per MWh is not guessed.
    "03_event_7_2_3_create_minimal_event": Answer(refused=Reason.NO_UNITS),
    "07_event_7_3_1_create_event_with_multi_valued_payload": Answer(
        signals=(PriceSignal(0.17), PriceSignal(0.03), PriceSignal(0.11))
    ),
    # Emissions command nothing: without a unit they are left out, and the price stands.
    "09_event_7_6_1_create_event_with_payload_descriptor": Answer(
        signals=(PriceSignal(0.17),), ignored=("GHG",)
    ),
    # Told to people and counted; no limit was agreed for the alert, and the sender hears that.
    "13_event_8_1_1_create_alert_event": Answer(
        signals=(AlertSignal(Alert.GRID_EMERGENCY, "The grid is currently under emergency conditions"),),
        ignored=("ALERT_GRID_EMERGENCY",),
    ),
    "21_event_8_5_1_create_load_control_event": Answer(signals=(TargetSignal(ZERO),)),
    # The standard leaves its meaning to the program: neither obeyed nor silently dropped.
    "29_event_8_9_3_2_create_setpoint_event": Answer(refused=Reason.NOT_AGREED),
    # The guide's names are none of the enumeration, which says IMPORT_CAPACITY_SUBSCRIPTION.
    "33_event_8_10_2_1_create_capacity_subscription_event": Answer(ignored=("CAPACITY_SUBSCRIPTION",)),
    "37_event_8_10_2_5_create_capacity_available_event": Answer(
        ignored=("CAPACITY_AVAILABLE", "CAPACITY_AVAILABLE_FEE", "report CAPACITY_RESERVATION")
    ),
    # A command in words that nobody agreed on.
    "39_event_8_12_2_updated_dispatch_instructions": Answer(refused=Reason.NOT_AGREED),
    # Events without any time: nothing follows from them.
    "43_other_8_13_4_bl_creates_event_with_targets": Answer(refused=Reason.BAD_INTERVALS),
    "45_other_8_13_6_bl_creates_event_with_resource_targets": Answer(refused=Reason.BAD_INTERVALS),
}
"""The right answer to every example that is an event, or the reason for another one."""


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_every_example_gets_its_answer(path: Path) -> None:
    result = result_of(path)

    answer = ANSWERS.get(path.stem)
    if answer is None:  # a program, a report, a resource: none of them is an event
        assert isinstance(result, Rejected)
    elif isinstance(result, Accepted):
        found = tuple(signal for piece in result.event.intervals for signal in piece.signals)
        assert Answer(signals=found, ignored=result.ignored) == answer
    else:
        assert isinstance(result, Rejected)
        assert result.reason is answer.refused


@pytest.mark.parametrize(
    "path", [path for path in files() if path.stem[3:9] == "report"], ids=lambda p: p.stem
)
def test_reports_of_the_guide_are_no_commands(path: Path) -> None:
    envelope = {"objectType": "REPORT", "operation": "CREATE", "object": json.loads(path.read_text())}

    result = parse_notification(json.dumps(envelope).encode(), contract=CONTRACT, now_utc_s=NOW_S)

    assert isinstance(result, Rejected)
    assert result.reason is Reason.UNSUPPORTED


def test_packed_prices_come_out_one_by_one() -> None:
    result = named("multi_valued")

    assert isinstance(result, Accepted)
    assert [piece.signals for piece in result.event.intervals] == [
        (PriceSignal(0.17),),
        (PriceSignal(0.03),),
        (PriceSignal(0.11),),
    ]
