"""The examples of the OpenADR 3.1 user guide, where a copy of them is at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from controller.domain.grid import PriceSignal, TargetSignal
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


@pytest.mark.parametrize("path", files(), ids=lambda path: path.stem)
def test_no_example_surprises_the_codec(path: Path) -> None:
    result = result_of(path)

    is_event = path.name[3:8] == "event" and "minimal" not in path.name
    assert isinstance(result, Accepted) is is_event


def test_a_price_without_units_is_refused_even_if_the_guide_prints_it() -> None:
    result = named("create_minimal_event")

    assert isinstance(result, Rejected)
    assert result.reason is Reason.NO_UNITS


def test_packed_prices_come_out_one_by_one() -> None:
    result = named("multi_valued")

    assert isinstance(result, Accepted)
    assert [piece.signals for piece in result.event.intervals] == [
        (PriceSignal(0.17),),
        (PriceSignal(0.03),),
        (PriceSignal(0.11),),
    ]


def test_a_load_control_event_is_a_target_of_zero() -> None:
    result = named("load_control_event")

    assert isinstance(result, Accepted)
    assert result.event.intervals[0].signals == (TargetSignal(ZERO),)


def test_what_the_site_does_not_know_is_named() -> None:
    result = named("alert_event")

    assert isinstance(result, Accepted)
    assert result.ignored == ("ALERT_GRID_EMERGENCY",)
