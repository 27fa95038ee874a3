"""The whole daemon as a process: how it starts, what it says to the service manager, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from controller import assembly, daemon
from controller.cli.replay import Request, replay
from controller.config import ConfigError, fleet, load
from controller.daemon import StartError
from controller.domain.power import Power
from controller.run.journal.journal import WRITE_DEADLINE_S, Journal
from controller.run.journal.schema import NOT_CLOSED
from controller.run.journal.seals import Row
from controller.run.recording.recording import CLOSE_DEADLINE_S
from drivers.pricefile import Look, PriceFile
from drivers.pricetables import PriceFileConfig
from drivers.registry import Fleet, Polled
from tests.run.journalrows import rows_of
from tests.virtualtime import in_virtual_time

pytestmark = pytest.mark.socket

WAIT_S = 30.0
POOL = (os.cpu_count() or 1) + 4
"""So many threads asyncio has where nobody says otherwise."""


def site_file(directory: Path, extra: str = "", *, port: int = 0, journal: Path | None = None) -> Path:
    path = directory / "site.toml"
    path.write_text(
        f"""
name = "empty"
nodes = [{{ id = "site", limit_kw = 10 }}]
journal = {{ path = "{journal or directory / "state" / "journal.db"}" }}
api = {{ port = {port} }}
log = {{ format = "json" }}
{extra}
""",
        encoding="utf-8",
    )
    return path


@dataclass(slots=True)
class Running:
    process: subprocess.Popen[str]
    manager: socket.socket

    def told(self, wanted: bytes) -> bytes:
        """The first message to the service manager that begins so; others are passed over."""
        while not (message := self.manager.recv(4096)).startswith(wanted):
            pass
        return message

    def logged(self, event: str) -> dict[str, object]:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            entry: dict[str, object] = json.loads(line)
            if entry["event"] == event:
                return entry
        raise AssertionError(f"no {event} before the end")

    def logged_all(self, *events: str) -> None:
        """Wait until each was logged, in whatever order."""
        missing = set(events)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            missing.discard(json.loads(line)["event"])
            if not missing:
                return
        raise AssertionError(f"no {missing} before the end")

    def ended(self, with_signal: int) -> tuple[int, list[str]]:
        """How the process ended, and what it logged until then."""
        self.process.send_signal(with_signal)
        _, rest = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, [json.loads(line)["event"] for line in rest.splitlines()]


@contextmanager
def running(site: Path, *options: str) -> Iterator[Running]:
    with (
        tempfile.TemporaryDirectory(prefix="ws-") as short,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(f"{short}/notify")
        manager.settimeout(WAIT_S)
        process = subprocess.Popen(
            [sys.executable, "-m", "controller", "run", "--config", str(site), *options],
            env=os.environ | {"NOTIFY_SOCKET": f"{short}/notify"},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield Running(process, manager)
        finally:
            process.kill()
            process.communicate(timeout=WAIT_S)


def asked(port: object, path: str) -> tuple[int, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT_S) as answer:
        return answer.status, answer.read().decode()


# -- a whole life ------------------------------------------------------------------------------------------


def test_a_site_without_machines_starts_is_alive_and_ends_when_told_to(tmp_path: Path) -> None:
    with running(site_file(tmp_path)) as controller:
        started = controller.logged("started")
        ready = controller.told(b"READY=1")
        fed = [controller.told(b"WATCHDOG=1") for _ in range(2)]
        health, metrics = asked(started["api_port"], "/healthz"), asked(started["api_port"], "/metrics")
        status = json.loads(asked(started["api_port"], "/status")[1])
        code, logged = controller.ended(signal.SIGTERM)
        stopping = controller.told(b"STOPPING=1")

    assert (ready, stopping) == (b"READY=1", b"STOPPING=1")
    assert fed[0].endswith(b"\nSTATUS=meter stale, cap 10.0 kW (rating), 0 alarms")
    assert health == (200, "ok\n")
    assert "wattshift_ticks_total" in metrics[1]
    assert (status["site"], status["ready"], status["devices"]) == ("empty", True, [])
    assert (code, [what for what in logged if what != "journal_sealed"]) == (0, ["stopping"])
    assert (tmp_path / "state" / "journal.db").exists()
    assert replay(Request(path=tmp_path / "state" / "journal.db")).differing == 0


@pytest.mark.parametrize(
    ("mode", "options"), [("observe", ()), ("control", ("--observe",))], ids=["by the file", "by the option"]
)
def test_a_site_that_is_only_observed_is_said_to_be_so_in_the_log_the_status_and_the_metrics(
    tmp_path: Path, mode: str, options: tuple[str, ...]
) -> None:
    site = site_file(tmp_path, f'controller = {{ mode = "{mode}" }}')
    with running(site, *options) as controller:
        started = controller.logged("started")
        alarm = controller.logged("alarm")
        fed = controller.told(b"WATCHDOG=1")
        status = json.loads(asked(started["api_port"], "/status")[1])
        metrics = asked(started["api_port"], "/metrics")[1]
        controller.ended(signal.SIGTERM)

    assert (started["mode"], alarm["kind"]) == ("observe", "observed")
    assert b"STATUS=only observed: " in fed
    assert (status["mode"], [alarm["kind"] for alarm in status["alarms"]]) == ("observe", ["observed"])
    assert 'wattshift_mode{mode="observe"} 1.0' in metrics


def test_prices_come_from_their_file_and_a_silent_broker_does_not_hold_up_anything(tmp_path: Path) -> None:
    today = datetime.now(UTC).strftime("%Y-%m-%dT00:00:00Z")
    (tmp_path / "dam.csv").write_text(f"time,value\n{today},-12.5\n", encoding="utf-8")
    sources = f"""
[[price_files]]
id = "dam"
price = "energy"
path = "{tmp_path}/dam.csv"
unit = "USD/MWh"
stale_after_s = 100000

[[price_brokers]]
id = "market"
host = "127.0.0.1"
port = 1
topics = [{{ id = "pool", price = "hash", topic = "pool", stale_after_s = 60 }}]
"""

    with running(site_file(tmp_path, sources)) as controller:
        started = controller.logged("started")
        controller.logged_all("price_source", "price_source_failing")
        status = json.loads(asked(started["api_port"], "/status")[1])
        code, _ = controller.ended(signal.SIGTERM)

    prices = {price["price"]: (price["value"], price["source"]) for price in status["prices"]}
    assert (prices["energy"], prices["hash"]) == ((-0.0125, "dam"), (0.05, "constant"))
    assert list(status["price_troubles"]) == ["pool"]
    assert code == 0


async def test_a_share_that_hangs_under_many_files_takes_no_thread_from_those_who_ask(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    hang, hanging = threading.Event(), threading.Semaphore(0)

    def look(config: PriceFileConfig, last: Look) -> Look:
        hanging.release()
        hang.wait(WAIT_S)
        return last

    def file(at: int) -> tuple[PriceFile, Polled]:
        config = PriceFileConfig.model_validate(
            {"id": f"f{at}", "price": "energy", "path": "/x.csv", "unit": "USD/MWh", "stale_after_s": 1000}
        )
        return PriceFile(config, look=look), Polled(every_s=1.0, deadline_s=10.0)

    floor = Fleet(drivers=(), sensors=(), queues=(), prices=tuple(map(file, range(32))))
    life = asyncio.create_task(daemon.serve(load(site_file(tmp_path, port=port)), floor=floor))
    try:
        async with asyncio.timeout(WAIT_S / 2), aiohttp.ClientSession() as session:
            for _ in range(POOL):
                while not hanging.acquire(blocking=False):  # noqa: ASYNC110 a thread sets no event
                    await asyncio.sleep(0.01)
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert answer.status == 200
    finally:
        hang.set()
        life.cancel()
        await asyncio.wait([life])


def test_an_interrupt_from_the_keyboard_ends_it_like_the_service_manager(tmp_path: Path) -> None:
    with running(site_file(tmp_path)) as controller:
        controller.told(b"WATCHDOG=1")
        code, logged = controller.ended(signal.SIGINT)

    assert code == 0
    assert logged[-1] == "stopping"


def test_a_share_that_hangs_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "peaks.csv")
    peaks = f"""
[triggers]
timezone = "UTC"
peaks = {{ calendar = "{tmp_path}/peaks.csv", probability = 0.5, limit_kw = 5 }}
"""
    with running(site_file(tmp_path, peaks)) as controller:
        refused = controller.logged("peak_calendar_refused")
        controller.told(b"WATCHDOG=1")
        code, logged = controller.ended(signal.SIGTERM)

    assert "no answer within" in str(refused["why"])
    assert (code, logged[-1]) == (0, "stopping")


def test_a_journal_that_cannot_be_written_at_the_end_does_not_spoil_the_end(tmp_path: Path) -> None:
    with running(site_file(tmp_path)) as controller:
        controller.told(b"WATCHDOG=1")
        with closing(sqlite3.connect(tmp_path / "state" / "journal.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            controller.told(b"WATCHDOG=1")
            code, logged = controller.ended(signal.SIGTERM)

    assert code == 0
    after = logged[logged.index("stopping") :]
    assert after[-1] == "journal_not_written"
    assert set(after) <= {"stopping", "handover_not_written", "journal_not_written"}


@in_virtual_time
async def test_notes_for_the_next_process_that_hang_leave_the_journal_its_time_at_the_end() -> None:
    class Hanging:
        begun = False

        async def close(self) -> None:
            self.begun = True
            await asyncio.Event().wait()

    first, second = Hanging(), Hanging()
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    with capture_logs() as logs:
        await daemon.note_last(first, second)

    assert (first.begun, loop.time() - began_s) == (True, daemon.NOTES_WITHIN_S)
    assert [log["event"] for log in logs] == ["notes_not_written"]


def test_the_end_of_a_hung_disk_comes_before_the_service_manager_makes_one() -> None:
    unit = (Path(__file__).parents[2] / "deploy/systemd/wattshift.service").read_text()
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)s$", unit, re.MULTILINE)

    assert float(stop_s) > daemon.NOTES_WITHIN_S + WRITE_DEADLINE_S + CLOSE_DEADLINE_S


async def test_the_journal_says_that_this_was_the_end_before_a_recording_may_take_its_time(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "journal.db", 1.0, lambda: 1000.0)
    await journal.open()
    said = "SELECT what FROM bookkeeping ORDER BY id DESC LIMIT 1"

    class Hanging:
        def __init__(self) -> None:
            self.found: list[Row] = []

        async def close(self) -> None:
            self.found = rows_of(tmp_path / "journal.db", said)
            raise TimeoutError

    recording = Hanging()
    with pytest.raises(TimeoutError):
        await daemon.put_away(journal, recording)

    assert recording.found == [("stopped",)]


def test_decisions_are_not_recorded_where_nobody_wants_it(tmp_path: Path) -> None:
    site = site_file(tmp_path)
    site.write_text(site.read_text().replace('journal.db" }', 'journal.db", record = false }'))

    with running(site) as controller:
        controller.told(b"WATCHDOG=1")
        controller.ended(signal.SIGTERM)

    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [
        "journal.db",
        "journal.db.lock",
    ]


def test_the_queues_directory_is_made_at_the_start(tmp_path: Path) -> None:
    queue = tmp_path / "state" / "queue"
    site = site_file(tmp_path, f'[[queues]]\nid = "local"\ndirectory = "{queue}"')

    with running(site) as controller:
        controller.told(b"WATCHDOG=1")
        made = queue.is_dir()
        code, logged = controller.ended(signal.SIGTERM)

    assert made
    assert (code, "silent" in logged) == (0, False)


# -- starts that fail --------------------------------------------------------------------------------------


def refused(site: Path) -> str:
    with pytest.raises(StartError) as caught:
        daemon.run(load(site))
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    return said


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        said = refused(site_file(tmp_path, port=port))

    assert f"127.0.0.1 port {port}" in said
    assert "in use" in said


def test_a_second_controller_by_mistake_does_not_say_that_the_journal_of_the_first_was_closed(
    tmp_path: Path,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site = site_file(tmp_path, port=port)
    command = [sys.executable, "-m", "controller", "run", "--config", str(site)]
    with running(site) as first:
        first.told(b"WATCHDOG=1")
        second = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        first.process.kill()
        first.process.wait()
    with running(site) as third:
        third.told(b"WATCHDOG=1")

    with closing(sqlite3.connect(tmp_path / "state" / "journal.db")) as db:
        starts = db.execute("SELECT detail FROM bookkeeping WHERE what = 'started' ORDER BY id").fetchall()
    assert "API on" in second.stderr
    assert starts[-1] == (NOT_CLOSED,)


def test_a_second_controller_of_one_site_with_another_port_commands_nothing_and_names_the_first(
    tmp_path: Path,
) -> None:
    (tmp_path / "by-another-name").symlink_to(tmp_path / "state")
    by_another_name = tmp_path / "by-another-name" / "journal.db"
    with running(site_file(tmp_path)) as first:
        first.told(b"WATCHDOG=1")

        said = refused(site_file(tmp_path, journal=by_another_name))

    assert said.startswith(f"{by_another_name}: another controller")
    assert f"(pid {first.process.pid})" in said


def test_what_a_killed_controller_left_of_its_lock_locks_nobody_out(tmp_path: Path) -> None:
    site = site_file(tmp_path)
    with running(site) as first:
        first.told(b"WATCHDOG=1")
        first.process.kill()
        first.process.wait()
    left = (tmp_path / "state" / "journal.db.lock").read_text()

    with running(site) as second:
        second.told(b"WATCHDOG=1")

    assert left == f"{first.process.pid}\n"


def test_a_journal_that_is_none_is_named(tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    journal.write_bytes(b"no database" * 1000)

    said = refused(site_file(tmp_path, journal=journal))

    assert said.startswith(f"{journal}: ")


def test_a_journal_in_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    said = refused(site_file(tmp_path, journal=Path("/proc/wattshift/journal.db")))

    assert said.startswith("/proc/wattshift/journal.db: ")


def test_a_queues_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    extra = '[[queues]]\nid = "local"\ndirectory = "/proc/wattshift/queue"'

    said = refused(site_file(tmp_path, extra))

    assert said.startswith("queue 'local': ")
    assert "/proc/wattshift" in said


GRID = '[grid]\nhost = "127.0.0.1"\nven = "plant"\nclient_id = "ctl"\n'


def test_grid_events_that_cannot_be_read_back_are_a_failed_start_not_a_forgotten_event(
    tmp_path: Path,
) -> None:
    journal = tmp_path / "journal.db"
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute("CREATE TABLE grid (key TEXT PRIMARY KEY)")

    said = refused(site_file(tmp_path, GRID, journal=journal))

    assert said.startswith(f"{journal}: ")


def test_a_certificate_that_is_not_there_is_a_mistake_in_the_site_file(tmp_path: Path) -> None:
    site = site_file(tmp_path, GRID + f'tls = true\ntls_ca = "{tmp_path}/ca.pem"')

    with pytest.raises(ConfigError, match=r"^grid: .*ca\.pem"):
        daemon.run(load(site))


@pytest.mark.parametrize(("port", "code", "says"), [(-1, 78, "api.port: "), (0, 1, "/proc/no/x.db: ")])
def test_a_start_that_fails_is_one_line_and_tells_the_manager_whether_to_try_again(
    tmp_path: Path, port: int, code: int, says: str
) -> None:
    site = site_file(tmp_path, port=port, journal=Path("/proc/no/x.db"))

    done = subprocess.run(
        [sys.executable, "-m", "controller", "run", "--config", str(site)],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )

    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


SLOW = "[policy]\ntick_s = 10\nmeter_stale_after_s = 30"


def test_a_pace_at_which_the_watchdog_would_end_it_again_and_again_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    with running(site_file(tmp_path, SLOW)) as controller:
        _, said = controller.process.communicate(timeout=WAIT_S)

    assert controller.process.returncode == 78
    assert said.splitlines() == [
        "policy.tick_s 10: the service manager ends a controller of which no tick finishes within 10 s: "
        "WatchdogSec of the unit is to be above three times tick_s"
    ]


def test_a_pace_that_leaves_the_watchdog_little_room_is_doubted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "29000000")
    with running(site_file(tmp_path, SLOW)) as controller:
        controller.told(b"WATCHDOG=1")
        code, logged = controller.ended(signal.SIGTERM)

    assert (code, logged[:2]) == (0, ["site_file_doubtful", "started"])


# -- what a sane limit is ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "nameplate_w"), [("limit_kw = 10, ", 10_000), ("", 2 * 3675 + 1_000 + 500)]
)
def test_without_a_rating_the_most_the_site_can_draw_is_all_that_is_on_it(
    tmp_path: Path, limit: str, nameplate_w: int
) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        f"""
name = "plant"
nodes = [{{ id = "site", {limit} fixed_kw = 1 }}, {{ id = "pdu", parent = "site", fixed_kw = 0.5 }}]
[[miners]]
id = "a"
family = "luxos"
hosts = ["127.0.0.2-3"]
node = "pdu"
rated_w = 3500
rated_ths = 200
""",
        encoding="utf-8",
    )
    settings = load(site)
    specs = [driver.spec for driver, _ in fleet(settings).drivers]

    assert assembly.nameplate(settings.site(), specs) == Power(nameplate_w)


def test_a_baseline_is_computed_for_those_only_whose_dialect_has_a_word_for_it(tmp_path: Path) -> None:
    who = 'host = "127.0.0.1"\nven = "empty"\nbaseline = "meter-before"'
    operators = f"""
[[operators]]
id = "iso"
client_id = "a"
{who}
[[operators]]
id = "stream"
client_id = "b"
dialect = "base-point"
topic_in = "site/base"
{who}
"""

    assert set(assembly.baselines_told(load(site_file(tmp_path, operators)))) == {"iso"}


def test_a_person_curtails_the_running_site_from_the_command_line(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ws-") as short:
        site = site_file(tmp_path, f'control = {{ socket = "{short}/control.sock" }}')
        with running(site) as daemon:
            daemon.told(b"READY=1")
            port = daemon.logged("started")["api_port"]

            done = curtailed(site, "--kw", "4", "--for", "2h")
            for _ in range(3):
                daemon.told(b"WATCHDOG=1")
            cap = json.loads(asked(port, "/status")[1])
            listed = curtailed(site)
            over = curtailed(site, "--end")

        assert "held to 4 kW" in done
        assert "own:manual" in json.dumps(cap)
        assert "own:manual" in listed
        assert "ended: manual" in over


def test_several_operators_are_each_told_of_and_none_keeps_the_site_from_starting(tmp_path: Path) -> None:
    operators = """
[[operators]]
id = "iso"
host = "127.0.0.1"
port = 1
ven = "empty"
client_id = "a"
[[operators]]
id = "dispatch"
dialect = "zero-hundred"
host = "127.0.0.1"
port = 1
ven = "empty"
client_id = "b"
topic_in = "target"
off_kw = 5
"""
    with running(site_file(tmp_path, operators)) as daemon:
        daemon.told(b"READY=1")
        port = daemon.logged("started")["api_port"]
        daemon.told(b"WATCHDOG=1")
        metrics = asked(port, "/metrics")[1]

    assert 'wattshift_operator_up{operator="iso"} 0.0' in metrics
    assert 'wattshift_operator_up{operator="dispatch"} 1.0' in metrics  # it has its time to be heard
    assert 'wattshift_link_up{link="grid"} 0.0' in metrics


def curtailed(site: Path, *options: str) -> str:
    command = [sys.executable, "-m", "controller", "curtail", "--config", str(site), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=WAIT_S).stdout
