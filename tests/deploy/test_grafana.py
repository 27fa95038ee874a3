"""The dashboard: every query is PromQL, speaks of metrics that exist, and has an answer on a busy site."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from controller.run.metrics.site import render
from tests.run.boards import busy_board

Json = dict[str, Any]

START_DEADLINE_S = 15.0
ANSWER_DEADLINE_S = 15.0
COLUMNS = 24


@pytest.fixture(scope="module")
def dashboard(deploy: Path) -> Json:
    loaded: Json = json.loads((deploy / "grafana" / "wattshift.json").read_text())
    return loaded


def panels(dashboard: Json) -> list[Json]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: Json, instance: str = "127.0.0.1:9480") -> dict[str, str]:
    """Every query by panel and letter, with the dashboard's variables filled in as Grafana would."""
    values = {"$instance": instance, "$root": "grid-connection", "$node": ".*", "$__rate_interval": "20s"}
    found: dict[str, str] = {}
    for panel in panels(dashboard):
        for target in panel["targets"]:
            expr = target["expr"]
            for variable, value in values.items():
                expr = expr.replace(variable, value)
            found[f"{panel['title']} {target['refId']}"] = expr
    return found


def variables(dashboard: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def test_every_query_is_promql(dashboard: Json, require_tool: Callable[[str], str], tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": expr} for number, expr in enumerate(queries(dashboard).values())
    ]
    file = tmp_path / "queries.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    done = subprocess.run(
        [require_tool("promtool"), "check", "rules", file],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert not [expr for expr in queries(dashboard).values() if "$" in expr]


def test_every_query_asks_one_controller_only(dashboard: Json) -> None:
    for name, expr in queries(dashboard).items():
        selectors = re.findall(r"\b(?:wattshift|process)_\w+(\{[^}]*\})?", expr)
        assert selectors, name
        assert all('instance="127.0.0.1:9480"' in selector for selector in selectors), name


def test_every_metric_of_the_dashboard_is_one_that_the_controller_exports(dashboard: Json) -> None:
    exported = set(re.findall(r"^# TYPE (\w+) ", render(busy_board()).decode(), re.MULTILINE))
    asked = set(re.findall(r"\b(?:wattshift|process)_\w+", json.dumps(dashboard)))

    assert asked - exported == set()


def test_every_panel_and_variable_takes_its_data_from_the_data_source_that_was_chosen(
    dashboard: Json,
) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}

    assert variables(dashboard)["datasource"]["query"] == "prometheus"
    assert all(panel["datasource"] == chosen for panel in panels(dashboard))
    assert all(target["datasource"] == chosen for panel in panels(dashboard) for target in panel["targets"])
    assert all(
        variable["datasource"] == chosen
        for variable in variables(dashboard).values()
        if variable["type"] == "query"
    )


def test_every_variable_of_a_query_is_declared(dashboard: Json) -> None:
    used = {
        name
        for panel in panels(dashboard)
        for target in panel["targets"]
        for name in re.findall(r"\$(\w+)", target["expr"])
    }

    assert used <= {*variables(dashboard), "__rate_interval"}


def test_panels_do_not_overlap_and_are_told_apart(dashboard: Json) -> None:
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    ids = [panel["id"] for panel in dashboard["panels"]]

    assert len(set(ids)) == len(ids)
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    assert not [(one, other) for one, other in combinations(places, 2) if _overlap(one, other)]


@pytest.mark.socket
def test_every_query_has_an_answer_on_a_busy_site(
    dashboard: Json, require_tool: Callable[[str], str], tmp_path: Path, free_port: int
) -> None:
    program = require_tool("prometheus")
    with page(render(busy_board())) as target, prometheus(program, target, tmp_path, free_port) as url:
        unanswered = queries(dashboard, instance=target)
        deadline_s = time.monotonic() + ANSWER_DEADLINE_S

        while unanswered and time.monotonic() < deadline_s:
            time.sleep(0.5)
            unanswered = {name: expr for name, expr in unanswered.items() if not ask(url, expr)}

    assert unanswered == {}


@contextmanager
def page(body: bytes) -> Iterator[str]:
    """Serves `body` as /metrics on loopback; yields host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(timeout=5)


@contextmanager
def prometheus(program: str, target: str, directory: Path, port: int) -> Iterator[str]:
    """A Prometheus on loopback that scrapes `target` twice a second; yields its URL once it is ready."""
    config = directory / "prometheus.yml"
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "500ms", "scrape_timeout": "400ms"},
                "scrape_configs": [{"job_name": "wattshift", "static_configs": [{"targets": [target]}]}],
            }
        )
    )
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + START_DEADLINE_S
        while not _ready(url):
            assert process.poll() is None, "prometheus ended at once"
            assert time.monotonic() < deadline_s, "prometheus does not get ready"
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def ask(url: str, expr: str) -> list[Json]:
    """The series that answer `expr` now."""
    query = urllib.parse.urlencode({"query": expr})
    with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=5) as answer:
        result: list[Json] = json.load(answer)["data"]["result"]
    return result


def _ready(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/-/ready", timeout=1).close()
    except urllib.error.HTTPError as starting:
        starting.close()
        return False
    except urllib.error.URLError:
        return False
    return True


def _overlap(one: Json, other: Json) -> bool:
    across: bool = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
    down: bool = one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
    return across and down
