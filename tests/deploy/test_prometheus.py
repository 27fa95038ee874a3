"""The alerts: accepted by Prometheus, fired when they should be, about metrics that exist, and explained."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from controller.decide.words import AlarmKind, Reason, Truth
from controller.run.board import Board
from controller.run.clock import Clock
from controller.run.metrics.site import BoardCollector, Detail, render
from tests.run.boards import busy_board
from tests.run.test_gpumetrics import BUSY, of

FOLDER = Path(__file__).parent


@pytest.fixture
def promtool(require_tool: Callable[[str], str]) -> Callable[..., None]:
    program = require_tool("promtool")

    def run(*arguments: str | Path) -> None:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def alerts(deploy: Path) -> str:
    return (deploy / "prometheus" / "alerts.yml").read_text()


@pytest.fixture(scope="module")
def runbook(deploy: Path) -> str:
    return (deploy / "RUNBOOK.md").read_text()


def alert_names(alerts: str) -> list[str]:
    return re.findall(r"^ +- alert: (\w+)$", alerts, re.MULTILINE)


def test_prometheus_accepts_the_scrape_example_and_the_rules_beside_it(
    deploy: Path, promtool: Callable[..., None]
) -> None:
    promtool("check", "config", deploy / "prometheus" / "prometheus.yml")


def test_alerts_fire_when_they_should_and_stay_silent_when_not(promtool: Callable[..., None]) -> None:
    promtool("test", "rules", FOLDER / "alerts_test.yml")


@pytest.mark.parametrize("board", [busy_board(), of(BUSY)], ids=["a site", "a GPU"])
def test_promtool_accepts_every_metric_and_label_that_the_controller_serves(
    require_tool: Callable[[str], str], board: Board
) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Filled(board))
    done = subprocess.run(
        [require_tool("promtool"), "check", "metrics"],
        input=generate_latest(registry),
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr.decode()) == (0, "")


class Filled(Collector):
    """Each family with one series at least: of a name that has none no label is seen."""

    def __init__(self, board: Board) -> None:
        self._of_board = BoardCollector(board, Clock(), Detail.DEVICES)

    def collect(self) -> Iterator[Metric]:
        for family in self._of_board.collect():
            if not family.samples:
                assert isinstance(family, GaugeMetricFamily | CounterMetricFamily)
                family.add_metric(["x" for _ in family._labelnames], 1)
            yield family


def test_every_alert_has_its_unit_test(alerts: str) -> None:
    tested = set(re.findall(r"alertname: (\w+)", (FOLDER / "alerts_test.yml").read_text()))

    assert set(alert_names(alerts)) == tested


def test_every_alert_has_a_severity_a_summary_and_its_own_section_in_the_runbook(
    alerts: str, runbook: str
) -> None:
    rules = re.split(r"^ +- alert: ", alerts, flags=re.MULTILINE)[1:]

    for rule in rules:
        name = rule.split(maxsplit=1)[0]
        assert re.search(r"^ +severity: (page|ticket|none)$", rule, re.MULTILINE), name
        assert re.search(r"^ +summary: \S", rule, re.MULTILINE), name
        assert f"runbook: RUNBOOK.md#{name.lower()}\n" in rule, name
        assert f"\n### {name}\n" in runbook, name


def test_the_runbook_explains_no_alert_that_does_not_exist(alerts: str, runbook: str) -> None:
    assert set(re.findall(r"^### (Wattshift\w+)$", runbook, re.MULTILINE)) == set(alert_names(alerts))


def test_the_runbook_says_what_every_kind_of_alarm_means(runbook: str) -> None:
    assert [kind for kind in AlarmKind if f"`{kind}`" not in runbook] == []


SHOWN_BY = {
    AlarmKind.DEVICE_SILENT: 'reason=~"stale|unreachable"',
    AlarmKind.LINK_LOST: "wattshift_link_up",
    AlarmKind.COOLING: "wattshift_zone_cooling_proven",
    AlarmKind.PRICE_STALE: "wattshift_price_stale",
}
"""What an alert watches in the place of an alarm of that kind."""


def test_whatever_the_controller_alarms_of_somebody_is_told_of(alerts: str) -> None:
    shown = {kind: SHOWN_BY.get(kind, f'kind="{kind}"') for kind in AlarmKind}

    assert [kind.value for kind, by in shown.items() if by not in alerts] == []


@pytest.mark.parametrize("words", [Reason, Truth])
def test_the_runbook_says_what_status_and_why_say_of_a_machine(runbook: str, words: type[StrEnum]) -> None:
    [said] = re.findall(r"^## What status says$(.*?)^## ", runbook, re.MULTILINE | re.DOTALL)

    assert [word for word in words if f"`{word}`" not in said] == []


def test_every_metric_of_the_alerts_is_one_that_the_controller_exports(alerts: str) -> None:
    exported = set(re.findall(r"^# TYPE (\w+) ", render(busy_board()).decode(), re.MULTILINE))
    expressions = " ".join(re.findall(r"expr: (.*?)\n +(?:for|labels):", alerts, re.DOTALL))
    asked = set(re.findall(r"\b(?:wattshift|process)_\w+", expressions))

    assert asked
    assert asked - exported == set()
