"""The command line as an operator meets it: what it prints, what it complains about, and its exit codes."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from controller.__main__ import app
from controller.cli import terminal
from controller.cli.terminal import EXIT_CONFIG, folded
from controller.decide.plan import Alarm
from controller.decide.words import AlarmKind, Reason, Truth
from controller.domain.devices import Acknowledged, OperatingPoint
from controller.domain.jobs import JobAction, JobCommand
from controller.domain.power import Limit, Power
from controller.run.api import Api
from controller.run.board import Board
from controller.run.journal.journal import Journal
from tests.run import boards

EXAMPLE = Path(__file__).parents[1] / "configs" / "site.example.toml"
SITE = """
name = "plant"
nodes = [{ id = "site", limit_kw = 10 }]
[[queues]]
id = "local"
directory = "DIRECTORY"
[[gpu_hosts]]
id = "gpu-a"
node = "site"
uuids = ["GPU-1", "GPU-2"]
min_w = 200
default_w = 700
max_w = 700
"""


@pytest.fixture(autouse=True)
def _a_bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal.out, "width", 200)  # a console asks the environment once, when it is made
    for name in ("CREDENTIALS_DIRECTORY", "WATTSHIFT_CONFIG", "WATTSHIFT_URL"):
        monkeypatch.delenv(name, raising=False)


def wattshift(*arguments: str | Path) -> Result:
    """What the command did; an exception other than an exit is a failure of the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def complaint(result: Result, code: int = 1) -> str:
    """The one line that a failed command says, on stderr."""
    assert (result.exit_code, result.stdout) == (code, "")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize(("command", "says"), [("report", "settlement.time_zone"), ("merit", "`api`")])
def test_help_names_the_tables_of_the_site_file(command: str, says: str) -> None:
    """In square brackets the library takes a name for markup, and leaves it out."""
    shown = re.sub(r"\x1b\[[0-9;]*m", "", wattshift(command, "--help").stdout)

    assert says in shown


GOOD = "start,end,probability\n2026-07-01T16:00:00-05:00,2026-07-01T17:00:00-05:00,0.4\n"

# -- check -------------------------------------------------------------------------------------------------


def test_check_prints_what_it_understood() -> None:
    result = wattshift("check", EXAMPLE)

    assert (result.exit_code, result.stderr) == (1, ""), "the certificates of the example are on no host"
    assert "site, limit 1300.0 kW, fixed 13.0 kW, meter main-meter" in result.stdout
    assert "pdu-1, limit 138.6 kW (80 % of 250 A at 400 V, phases 3), 40 devices" in result.stdout
    assert re.search(r"row-a +40 +25 +3500 +pdu-1 +no", result.stdout)
    rtm_then_dam = r"ercot-rtm \(up to 900 s old\), ercot-dam \(up to 3900 s old\)"
    assert re.search(rf"energy +{rtm_then_dam} +0\.045 +USD/kWh", result.stdout)
    assert re.search(r"gpu_hour any +- +1 +USD/GPU/h", result.stdout)
    assert "grid operator: mqtt.grid.example:8883 as container-7" in result.stdout


def test_check_says_which_mode_the_site_is_in() -> None:
    assert "container-7: commanded (controller.mode control)" in wattshift("check", EXAMPLE).stdout


def test_check_says_of_a_site_without_a_meter_what_its_draw_is_taken_from(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('name = "plant"\nnodes = [{ id = "site", limit_kw = 10 }]\n')

    told = wattshift("check", site).stdout

    assert "site, limit 10.0 kW, no meter: its draw is what its devices say" in told


def test_check_says_what_is_switched_off_or_to_be_and_how_fast_load_may_change(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("""name = "plant"
nodes = [
    { id = "site", limit_kw = 10, ramp_up_kw_per_s = 2.5, ramp_down_kw_per_s = 4 },
    { id = "phase-2", parent = "site", service = "isolated" },
    { id = "row", parent = "site", service = "draining" },
]
""")

    told = " ".join(wattshift("check", site).stdout.split())

    assert "up by 2500 W/s at most, down by 4000 W/s at most" in told
    assert "phase-2, ISOLATED: without voltage, what is silent there counts nothing, no limit" in told
    assert "row, DRAINING: all below it is brought to its lowest, no limit" in told


def test_check_shows_what_is_printed_on_a_breaker_and_a_transformer_beside_the_limit(tmp_path: Path) -> None:
    """The drawing of the plant has amps and volts, and no watts."""
    site = tmp_path / "site.toml"
    site.write_text("""name = "plant"
nodes = [
    { id = "site", limit_kw = 90, transformer = { kva = 1500 } },
    { id = "l1", parent = "site", breaker = { amps = 32, volts = 230, phases = 1 } },
    { id = "p", parent = "site", breaker = { amps = 9, volts = 400, phases = 3 } },
]
""")

    told = " ".join(wattshift("check", site).stdout.split())

    assert "site, limit 90.0 kW (transformer 1500 kVA), no meter" in told
    assert "l1, limit 5888 W (80 % of 32 A at 230 V, phases 1)" in told
    assert "p, limit 4988 W (80 % of 9 A at 400 V, phases 3)" in told


def test_check_doubts_a_limit_in_another_unit_and_refuses_nothing_for_it(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    simulated = EXAMPLE.parent / "simulated" / "site.toml"
    site.write_text(simulated.read_text().replace("limit_kw = 44", "limit_kw = 44_000", 1))

    result = wattshift("check", site)

    assert result.exit_code == 0
    assert "DOUBTFUL: nodes.0.limit_kw 44000 of 'site' is 44000.0 kW" in result.stdout


def test_check_names_a_password_in_a_file_that_everybody_may_read_and_does_not_show_it(
    tmp_path: Path,
) -> None:
    site = tmp_path / "site.toml"
    grid = "host = 'mqtt.example', ven = 'v', client_id = 'c', username = 'v', password = 'hunter2'"
    site.write_text(f"name = 'plant'\nnodes = [{{ id = 'site' }}]\ngrid = {{ {grid} }}", encoding="utf-8")
    site.chmod(0o644)

    told = wattshift("check", site).stdout

    assert f"DOUBTFUL: grid.password in {site}, which everybody on this host may read: chmod 640" in told
    assert "hunter2" not in told
    site.chmod(0o640)
    assert "DOUBTFUL" not in wattshift("check", site).stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("start,end\n", "line 1: the header start,end,probability is needed"),
        (GOOD, ""),
    ],
)
def test_check_names_a_calendar_of_peaks_by_which_nothing_would_be_curtailed(
    tmp_path: Path, content: str | None, says: str
) -> None:
    site, calendar = tmp_path / "site.toml", tmp_path / "peaks.csv"
    peaks = f"triggers = {{ peaks = {{ calendar = '{calendar}', probability = 0.3, limit_kw = 60 }} }}"
    site.write_text(f"name = 'plant'\nnodes = [{{ id = 'site' }}]\n{peaks}", encoding="utf-8")
    if content is not None:
        calendar.write_text(content)

    result = wattshift("check", site)

    doubts = [line for line in result.stdout.splitlines() if "DOUBTFUL: triggers.peaks.calendar: " in line]
    assert [says in line and str(calendar) in line for line in doubts] == ([True] if says else [])
    assert result.exit_code == 0


@pytest.mark.parametrize("command", ["check", "audit"])
def test_a_site_file_may_be_named_by_an_option_as_everywhere_else(tmp_path: Path, command: str) -> None:
    result = wattshift(command, "--config", tmp_path / "none.toml")

    assert result.stderr == f"{tmp_path / 'none.toml'}: No such file or directory\n"


def test_check_names_the_keys_of_an_operator_that_are_not_on_this_host(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    grid = "host = 'mqtt.example', ven = 'v', client_id = 'c', tls = true, tls_ca = '/no/ca.pem'"
    signed = "signed_by = { k = '/no/k.pem' }, signing_key = '/no/own.pem', signing_key_id = 'own'"
    site.write_text(
        f"name = 'plant'\nnodes = [{{ id = 'site' }}]\ngrid = {{ {grid}, {signed} }}", encoding="utf-8"
    )

    result = wattshift("check", site)

    assert (result.exit_code, result.stderr) == (1, ""), "`check && restart` would end a controller that runs"
    refusals = [line for line in result.stdout.splitlines() if "WOULD NOT START on this host" in line]
    assert [line.partition("host: ")[2].partition(":")[0] for line in refusals] == [
        "tls_ca=/no/ca.pem tls_cert=None",
        "signing_key=/no/own.pem",
        "signed_by.k=/no/k.pem",
    ]


def test_check_refuses_a_wrong_file_with_one_line_per_mistake(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("name = ''\nnodes = [{ id = 'site', limit_kw = -1 }]", encoding="utf-8")

    result = wattshift("check", site)

    assert (result.exit_code, result.stdout) == (EXIT_CONFIG, "")
    assert [line.partition(" (got")[0].rpartition("toml: ")[2] for line in result.stderr.splitlines()] == [
        "name: String should have at least 1 character",
        "nodes.0.limit_kw: Input should be greater than or equal to 0",
    ]


def test_check_refuses_what_only_shows_when_the_devices_are_made(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        """
name = "plant"
nodes = [{ id = "site" }]
[[miners]]
id = "a"
family = "antminer"
hosts = ["10.0.0.1"]
node = "site"
rated_w = 3
rated_ths = 1
sleep_w = 0
""",
        encoding="utf-8",
    )

    said = complaint(wattshift("check", site), EXIT_CONFIG)

    assert "device a-000: operating points must ascend" in said


@pytest.mark.parametrize("command", ["check", "run --config", "job list --config"])
def test_a_site_file_that_is_not_there_is_named(tmp_path: Path, command: str) -> None:
    missing = tmp_path / "no.toml"

    assert str(missing) in complaint(wattshift(*command.split(), missing), EXIT_CONFIG)


# -- status and why ----------------------------------------------------------------------------------------


@contextmanager
def api(board: Board) -> Iterator[str]:
    """The URL of an API that answers from another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    serving = Api(board=board, host="127.0.0.1", port=0, metrics=lambda _: b"")
    port = asyncio.run_coroutine_threadsafe(serving.start(), loop).result(5)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(serving.stop(), loop).result(5)
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@pytest.mark.socket
def test_status_shows_the_site_at_a_glance() -> None:
    with api(boards.busy_board()) as url:
        result = wattshift("status", "--url", url)

    assert (result.exit_code, result.stderr) == (0, "")
    assert "plant  cap 60.00 kW (event)  grid link up" in result.stdout
    assert re.search(r"grid-connection +52\.00 kW +60\.00 kW +40\.00 kW +45\.00 kW", result.stdout)
    assert re.search(r"asic +limited +grid-connection +1", result.stdout)
    assert "event dr-7: COMPLIANT, least possible 9.00 kW" in result.stdout
    ahead = r"event dr-8, from 2027-01-1\d .*: INFEASIBLE as things are, asks for 5.00 kW, possible 9.00 kW"
    assert re.search(ahead, result.stdout.replace("\n", " "))
    assert "1 announced event can be met as things are, the first from 2027-01-1" in result.stdout
    assert "job local/a: running on dgx-0" in result.stdout
    assert "job local/b: queued on no GPU" in result.stdout
    assert "ALARM device_silent s19-2: silent for 90 s" in result.stdout
    assert re.search(r"energy +0\.041 +USD/kWh +dam +1200 s +rtm is 1201 s old, at most 900 s", result.stdout)
    assert "a set-point is in force: it is drawn whatever energy costs" in result.stdout
    assert re.search(r"gpu_hour H100 +2\.4 +USD/GPU/h +constant +-", result.stdout)
    assert "price source rtm: market (10.0.0.7:1883): no connection" in result.stdout


def large_board() -> Board:
    """A site of sixty breakers, of which one is nearly full and one cannot be kept."""
    breakers = [boards.node(f"brk-{at}", limit=Limit(Power(60_000))) for at in range(58)]
    full = boards.node("full", limit=Limit(Power(46_000)))
    lost = boards.node("lost", limit=Limit(Power(60_000)), feasible=False)
    holds = boards.node("pdu-1", limit=Limit(Power(60_000)))
    top = boards.node("grid-connection", limit=Limit(Power(60_000)), metered_w=52_000)
    held = boards.device("s19-1", limited_by="pdu-1", reason=Reason.LIMITED)
    return boards.board(boards.tick(held, nodes=(top, *breakers, holds, full, lost)))


@pytest.mark.socket
def test_of_a_large_site_status_shows_the_nodes_that_have_something_to_tell() -> None:
    with api(large_board()) as url:
        told, whole = (
            wattshift("status", "--url", url).stdout,
            wattshift("status", "--all", "--url", url).stdout,
        )

    assert re.findall(r"^ (grid-connection|brk-\d+|pdu-1|full|lost) ", told, re.M) == [
        "grid-connection",
        "pdu-1",
        "full",
        "lost",
    ]
    assert "58 more nodes, without a meter and with room to spare: --all shows them" in told
    assert len(re.findall(r"^ brk-", whole, re.M)) == 58
    assert "more nodes" not in whole


@pytest.mark.socket
def test_where_many_machines_fell_silent_status_still_fits_a_screen_and_says_how_many_more() -> None:
    silent = [Alarm(kind=AlarmKind.DEVICE_SILENT, subject=f"s19-{at}", detail="") for at in range(30)]
    meter = Alarm(kind=AlarmKind.METER_STALE, subject="main", detail="no fresh reading")

    with api(boards.board(boards.tick(alarms=(meter, *silent)))) as url:
        told, whole = (
            wattshift("status", "--url", url).stdout,
            wattshift("status", "--all", "--url", url).stdout,
        )

    assert re.findall(r"^ALARM (\w+)", told, re.M) == ["meter_stale", *["device_silent"] * 10]
    assert "20 more alarms device_silent: --all shows them" in told
    assert len(re.findall(r"^ALARM device_silent", whole, re.M)) == 30
    assert "more alarms" not in whole


def test_names_that_count_on_are_told_as_one() -> None:
    gpus = [f"gpu-{host}-gpu{at}" for host in range(2) for at in range(8)]

    assert folded(gpus) == "gpu-0-gpu0-7, gpu-1-gpu0-7"
    assert folded(["a-1", "a-3", "a-4", "b", "c-09", "c-010"]) == "a-1, a-3-4, b, c-09, c-010"
    assert folded([]) == ""


@pytest.mark.socket
def test_status_tells_of_no_other_price_of_energy_where_no_event_makes_one() -> None:
    with api(boards.board(boards.tick(prices_now=boards.PRICES_NOW))) as url:
        result = wattshift("status", "--url", url)

    assert "a kWh counts for" not in result.stdout


@pytest.mark.socket
def test_status_shows_names_as_they_are_and_understands_nothing_in_them() -> None:
    nodes = (
        boards.node("[/x] [red]:smile:", limit=Limit(Power(0)), metered_w=0),
        boards.node("pdu-1", feasible=False),
    )

    with api(boards.board(boards.tick(nodes=nodes))) as url:
        result = wattshift("status", "--url", url)

    assert "[/x] [red]:smile:" in result.stdout


@pytest.mark.socket
def test_why_shows_the_device_its_reason_and_the_way_up() -> None:
    with api(boards.busy_board()) as url:
        result = wattshift("why", "s19-1", "--url", url)

    assert (result.exit_code, result.stderr) == (0, "")
    assert "s19-1: limited by grid-connection" in result.stdout
    assert re.search(r"draws +3000 W \(2\.0 s ago\)", result.stdout)
    assert result.stdout.index("pdu-1") < result.stdout.rindex("grid-connection")
    assert "site cap 60.00 kW (event)" in result.stdout


def ranked_board() -> Board:
    """A miner that sleeps, one that runs, and a silent one."""
    points = (
        OperatingPoint(name="sleep", power=Power(30), rate=0.0),
        OperatingPoint(name="full", power=Power(3250), rate=100.0),
    )

    def at(name: str, point: OperatingPoint, reason: Reason, truth: Truth) -> boards.Device:
        made = boards.device(name, reason=reason, truth=truth, limited_by="grid-connection")
        spec = replace(made.spec, points=points)
        return replace(made, spec=spec, grant=replace(made.grant, point=point, power=point.power))

    return boards.board(
        boards.tick(
            at("sleeper", points[0], Reason.LIMITED, Truth.CONFIRMED),
            at("runner", points[1], Reason.FULL, Truth.CONFIRMED),
            at("silent", points[1], Reason.STALE, Truth.STALE),
        )
    )


@pytest.mark.socket
def test_merit_shows_who_is_shed_first_what_it_earns_and_what_leaving_it_costs() -> None:
    with api(ranked_board()) as url:
        result = wattshift("merit", "--api", url)

    assert (result.exit_code, result.stderr) == (0, "")
    assert "first shed first; energy 0.05 USD/kWh, hashing 0.05 USD/TH/s/day" in result.stdout
    # 100 TH/s earn 0.2083 USD/h; 3.25 kW cost 0.1625; going to sleep gives 3.22 kW back,
    # and loses a restart, 120 s of that output, in the 900 s for which it must be worth it.
    assert re.search(
        r" 1 runner +pdu-1 +full +3250 +3000 +0\.0458 +- +0\.0233 +0\.0069 +restart +full", result.stdout
    )
    assert re.search(r" - silent +pdu-1 +full +3250", result.stdout)
    assert re.search(
        r" - sleeper +pdu-1 +sleep +30 +3000 +-0\.0015 +0\.0147 +- +0\.0000 +limited", result.stdout
    )
    order = [result.stdout.index(name) for name in ("runner", "silent", "sleeper")]
    assert order == sorted(order)


@pytest.mark.socket
def test_merit_cuts_nothing_short_where_there_is_no_screen_or_a_narrow_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(terminal.out, "width", 80)
    with api(ranked_board()) as url:
        said = wattshift("merit", "--api", url).stdout

    assert "\N{HORIZONTAL ELLIPSIS}" not in said
    assert re.search(r" 1 runner +pdu-1 .* restart +full", said)


@pytest.mark.socket
def test_status_and_why_cut_no_name_short_on_a_narrow_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal.out, "width", 80)
    name = "transformer-west-1-feeder-2-pdu-12-phase-3"
    named = boards.node(name, limit=Limit(Power(60_000)), metered_w=52_000)
    with api(boards.board(boards.tick(boards.device("s19-1"), nodes=(named,)))) as url:
        said = wattshift("status", "--api", url).stdout

    assert name in said
    assert "\N{HORIZONTAL ELLIPSIS}" not in said


@pytest.mark.socket
def test_merit_may_be_had_for_programs() -> None:
    with api(ranked_board()) as url:
        as_json = wattshift("merit", "--url", url, "--json")
        as_csv = wattshift("merit", "--url", url, "--csv")
        both = wattshift("merit", "--url", url, "--csv", "--json")

    rows = list(csv.DictReader(as_csv.stdout.splitlines()))
    told = json.loads(as_json.stdout)["devices"]
    assert (
        [row["device"] for row in rows] == [row["device"] for row in told] == ["runner", "silent", "sleeper"]
    )
    assert [row["position"] for row in rows] == ["1", "", ""]
    assert list(rows[0]) == list(told[0])
    assert "one of them" in complaint(both)


@pytest.mark.socket
@pytest.mark.parametrize("command", ["status", "merit"])
def test_a_question_finds_the_api_of_a_site_file(tmp_path: Path, command: str) -> None:
    site = tmp_path / "site.toml"
    with api(ranked_board()) as url:
        port = url.rpartition(":")[2]
        site.write_text(
            f"name = 'x'\nnodes = [{{ id = 'site' }}]\napi = {{ host = '0.0.0.0', port = {port} }}"
        )
        found = wattshift(command, "--config", site)
    site.write_text("name = 'x'\nnodes = [{ id = 'site' }]\napi = { port = 0 }")

    assert (found.exit_code, found.stderr) == (0, "")
    assert "api.port 0 is the kernel's choice" in complaint(wattshift(command, "--config", site))


@pytest.mark.socket
@pytest.mark.parametrize("name", ["nobody", "a b/c?d#e", "ß\N{SNOWMAN}"])
def test_why_of_a_device_that_is_not_there_says_so(name: str) -> None:
    with api(boards.busy_board()) as url:
        said = complaint(wattshift("why", name, "--url", url))

    assert "404" in said
    assert "no device" in said


@pytest.mark.socket
def test_before_the_first_tick_status_says_so() -> None:
    with api(boards.board()) as url:
        said = complaint(wattshift("status", "--url", url))

    assert "503" in said
    assert "no tick has finished yet" in said


@pytest.mark.socket
@pytest.mark.parametrize("command", ["status", "why asic-000"])
def test_a_controller_that_does_not_answer_is_one_line(command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        url = f"http://127.0.0.1:{closing.getsockname()[1]}"

    said = complaint(wattshift(*command.split(), "--url", url))

    assert url in said
    assert "refused" in said


def _bytes(answer: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(answer)


@pytest.mark.socket
@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<html/>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\n\xff\xfe",
    ],
)
def test_something_else_that_answers_is_one_line(answer: bytes) -> None:
    with stranger(_bytes(answer)) as url:
        said = complaint(wattshift("status", "--url", url))

    assert url in said


@pytest.mark.socket
@pytest.mark.parametrize("command", ["status", "why s19-2", "merit", "merit --csv"])
@pytest.mark.parametrize("answer", ['{"status":"ok"}', "[]", '{"site":1,"cap":3,"devices":[3]}'])
def test_an_answer_of_another_version_or_of_something_else_is_one_line(command: str, answer: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n"
    with stranger(_bytes(f"{head}{answer}".encode())) as url:
        said = complaint(wattshift(*command.split(), "--url", url))

    assert said.startswith(url)
    assert "this version does not understand the answer" in said


@contextmanager
def stranger(answers: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something that is no controller, and answers one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                answers(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


@pytest.mark.parametrize("url", ["not a url", "127.0.0.1:9480", "ftp://127.0.0.1", "http://[::1"])
def test_a_url_that_is_none_is_one_line(url: str) -> None:
    assert url in complaint(wattshift("status", "--url", url))


@pytest.mark.socket
def test_a_proxy_in_the_environment_is_not_asked_for_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    with api(boards.busy_board()) as url:
        assert wattshift("status", "--url", url).exit_code == 0


# -- jobs --------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    queue = tmp_path / "queue"
    queue.mkdir()
    path.write_text(SITE.replace("DIRECTORY", str(queue)), encoding="utf-8")
    return path


def submitted(site: Path, *arguments: str) -> str:
    result = wattshift("job", "submit", "--config", site, *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout.strip()


def test_a_job_is_submitted_listed_and_cancelled(site: Path) -> None:
    job = submitted(site, "--gpus", "2", "--value", "2.5", "--", "python", "train.py", "--epochs", "3")

    listed = wattshift("job", "list", "--config", site)
    cancelled = wattshift("job", "cancel", job, "--config", site)
    after = wattshift("job", "list", "--config", site)

    assert re.search(rf"{job} +queued +2 +2\.5 +waits for watts +python train\.py --epochs 3", listed.stdout)
    assert (cancelled.exit_code, cancelled.stderr) == (0, "")
    assert re.search(rf"{job} +failed +2 +2\.5 +cancelled +python", after.stdout)


@pytest.mark.parametrize("value", ["1000.5", "1e7", "inf", "nan", "-1"])
def test_a_price_that_no_gpu_hour_ever_had_is_refused_before_it_outranks_protected_jobs(
    site: Path, value: str
) -> None:
    result = wattshift("job", "submit", "--config", site, "--value", value, "--", "true")

    assert result.exit_code != 0
    assert wattshift("job", "list", "--config", site).stdout.count("queued") == 0


def test_a_job_without_a_price_is_listed_with_the_sites(site: Path) -> None:
    job = submitted(site, "--", "true")

    assert re.search(
        rf"{job} +queued +1 +site +waits for watts +true", wattshift("job", "list", "--config", site).stdout
    )


def test_a_job_that_waits_says_for_what_and_one_that_failed_where_its_output_is(site: Path) -> None:
    waits = submitted(site, "--gpus", "2", "--", "true")
    cancelled = submitted(site, "--", "true")
    wattshift("job", "cancel", cancelled, "--config", site)

    listed = wattshift("job", "list", "--config", site).stdout

    assert re.search(rf"{waits} +queued +2 +site +waits for watts +true", listed)
    assert f"what they printed: {site.parent / 'queue' / 'logs'}" in listed


def test_a_jobs_arguments_are_shown_as_they_are(site: Path) -> None:
    submitted(site, "--", "echo", "[/x]", "[red]", ":smile:")

    assert "echo [/x] [red] :smile:" in wattshift("job", "list", "--config", site).stdout


def test_a_jobs_arguments_give_no_orders_to_the_terminal_of_whoever_lists_them(site: Path) -> None:
    submitted(site, "--", "echo", "one\x1b[2J\x1b]0;owned\x07", "two\x9b31m\rthree", "\u00fcber\ttab\nline")

    listed = wattshift("job", "list", "--config", site).stdout

    assert {char for char in listed if not char.isprintable()} == {"\n"}
    assert "echo one[2J]0;owned two31mthree \u00fcber" in listed


def test_a_jobs_owner_reads_who_suspended_it_and_why(site: Path) -> None:
    suspend = JobCommand(queue="local", job="job-1", action=JobAction.SUSPEND, why="limited site event dr-7")

    path = site.parent / "journal.db"
    site.write_text(f'{site.read_text()}[journal]\npath = "{path}"\n')

    async def told() -> None:
        journal = Journal(path, 400.0, time.time)
        await journal.open()
        journal.planned(replace(boards.tick().plan, job_commands=(suspend,)))
        journal.job_answered(suspend, Acknowledged())
        journal.job_answered(replace(suspend, job="job-2"), Acknowledged())
        await journal.close()

    asyncio.run(told())

    said = wattshift("job", "history", "job-1", "--config", site).stdout
    assert re.search(
        r"Z +suspend +commanded +limited site event dr-7 *\n.*Z +suspend +acknowledged *\n$", said
    )
    assert "nothing was told to local/job-3" in complaint(
        wattshift("job", "history", "job-3", "--config", site)
    )


@pytest.mark.parametrize("arguments", ["cancel job-4711", "cancel nonsense"])
def test_a_job_that_is_not_there_is_one_line(site: Path, arguments: str) -> None:
    said = complaint(wattshift("job", *arguments.split(), "--config", site))

    assert arguments.split()[1] in said


def test_a_job_that_is_over_cannot_be_cancelled_again(site: Path) -> None:
    job = submitted(site, "--", "true")
    wattshift("job", "cancel", job, "--config", site)

    assert f"{job} is over" in complaint(wattshift("job", "cancel", job, "--config", site))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--on-shortage", "panic"], "on_shortage: "),
        (["--env", "NO_VALUE"], "NO_VALUE"),
        (["--env", "=x"], "env"),
        (["--env", "1ST=x"], "env"),
        (["--env", "CUDA_VISIBLE_DEVICES=0"], "CUDA_VISIBLE_DEVICES"),
        (["--gpus", "3"], "--gpus 3: "),
        (["--queue", "other"], "no queue 'other'; it has local"),
    ],
)
def test_a_job_that_cannot_be_meant_is_refused_in_one_line(site: Path, options: list[str], says: str) -> None:
    result = wattshift("job", "submit", "--config", site, *options, "--", "true")

    assert says in complaint(result)
    assert "job-" not in wattshift("job", "list", "--config", site).stdout


@pytest.mark.parametrize("command", ["submit -- true", "list", "cancel job-1"])
def test_a_queue_whose_directory_is_not_there_is_one_line(site: Path, command: str) -> None:
    (site.parent / "queue").rmdir()
    name, *arguments = command.split()

    said = complaint(wattshift("job", name, "--config", site, *arguments))

    assert str(site.parent / "queue") in said


def test_a_site_without_a_queue_says_so(site: Path) -> None:
    site.write_text("name = 'plant'\nnodes = [{ id = 'site' }]", encoding="utf-8")

    assert f"{site} names no queue" in complaint(wattshift("job", "list", "--config", site))


def test_the_environment_of_a_job_is_passed_on(site: Path) -> None:
    submitted(site, "--env", "A=1", "--env", "B=x=y", "--env", "C=", "--", "true")

    with closing(sqlite3.connect(site.parent / "queue" / "queue.db")) as db:
        ((request,),) = db.execute("SELECT request FROM jobs")
    assert json.loads(request)["env"] == {"A": "1", "B": "x=y", "C": ""}


# -- GPUs --------------------------------------------------------------------------------------------------


def test_a_host_without_nvml_is_one_line(tmp_path: Path) -> None:
    said = complaint(wattshift("gpus", "--library", str(tmp_path / "libnvidia-ml.so.1")))

    assert "libnvidia-ml.so.1" in said


# -- simulate ----------------------------------------------------------------------------------------------


def test_simulates_help_says_how_to_begin_and_how_to_set_faults() -> None:
    result = wattshift("simulate", "--help")

    assert result.exit_code == 0
    assert "--site SITE" in result.stdout
    assert "POST /faults" in result.stdout
    assert '"fault": "lies_about_stop"' in result.stdout


def test_simulate_takes_a_plant_or_a_site_and_not_both(tmp_path: Path) -> None:
    result = wattshift("simulate", "plant.toml", "--site", "site.toml")

    assert result.exit_code == 2
    assert "not allowed with argument" in result.stderr
