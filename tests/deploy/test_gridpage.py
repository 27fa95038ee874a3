"""The page for grid operators: what it shows of the wire is what the site takes and says."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.domain.grid import LimitSignal
from controller.domain.power import Power
from controller.grid.isotime import instant
from controller.grid.openadr import parse_notification
from controller.grid.reports import Sender, ack_report
from controller.grid.results import Accepted, Contract
from controller.grid.signatures import Trust, opened, public_key
from tests.grid.test_reports import ACK

SITE = Contract(ven="container-7", nameplate=Power.kw(1300))


@pytest.fixture
def shown(deploy: Path) -> list[dict[str, Any]]:
    """The messages that the page shows whole."""
    page = (deploy / "GRID.md").read_text(encoding="utf-8")
    return [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]


def test_the_first_event_of_the_page_is_taken_and_is_a_limit_of_an_hour(shown: list[dict[str, Any]]) -> None:
    now_s = instant("now", "2026-11-28T13:51:00Z")

    taken = parse_notification(json.dumps(shown[0]).encode(), contract=SITE, now_utc_s=now_s)

    assert isinstance(taken, Accepted), taken
    [piece] = taken.event.intervals
    assert piece.signals == (LimitSignal(Power.kw(600)),)
    assert (piece.start_utc_s - now_s, piece.end_utc_s - piece.start_utc_s) == (540, 3600)
    assert taken.event.id == "dr-7"


def test_the_answer_that_the_page_shows_has_the_shape_of_ours(shown: list[dict[str, Any]]) -> None:
    told = json.loads(ack_report(Sender(client_id="c", ven="container-7"), ACK).payload)

    assert missing(shown[1], told) == []


def test_a_message_signed_as_the_page_shows_is_opened(
    deploy: Path, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    require_tool("openssl")
    page = (deploy / "GRID.md").read_text(encoding="utf-8")
    [program] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    [making] = re.findall(r"^(openssl genpkey.*?)^```", page, re.MULTILINE | re.DOTALL)
    subprocess.run(["sh", "-e", "-c", making], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    public = public_key((tmp_path / "utility-2026.pub.pem").read_bytes())
    trust = Trust(keys={"utility-2026": public}, max_age_s=600, reader="container-7")
    names: dict[str, Any] = {}
    exec(program, names)

    token = names["signed"](b'{"kw": 5}', (tmp_path / "utility-2026.key").read_bytes())

    assert opened(token, trust, now_utc_s=time.time()) == b'{"kw": 5}'


def missing(shown: Any, told: Any, at: str = "") -> list[str]:
    """Where what is shown has a key or a type that what is told has not."""
    match shown, told:
        case dict(), dict():
            return [
                place
                for key in shown
                for place in (
                    missing(shown[key], told[key], f"{at}.{key}") if key in told else [f"{at}.{key}"]
                )
            ]
        case list(), list():
            if {type(one) for one in shown} == {dict} and all("type" in one for one in shown):
                return sorted({one["type"] for one in shown} ^ {one["type"] for one in told})
            return [
                place for one, other in zip(shown, told, strict=True) for place in missing(one, other, at)
            ]
        case _:
            return [] if type(shown) is type(told) else [at]
