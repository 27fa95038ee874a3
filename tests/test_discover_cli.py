"""`wattshift discover` against a simulated site: what it prints, what it writes, and what it leaves alone."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from controller.__main__ import app
from controller.cli.discover import INTERRUPTED, ports_of
from controller.cli.wholefile import write_atomically
from drivers.asic.config import MinerGroupConfig
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.simulators.plants import HOME, MODELS, config, miners

DEADLINE_S = 30.0
FAMILIES = ("luxos", "whatsminer", "antminer")
RANGE = f"{HOME}.1-5"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


PORTS = {port: free_port() for port in (80, 443, 4028, 4433)}
PORT_MAP = [word for pair in PORTS.items() for word in ("--port-map", "{}={}".format(*pair))]


@asynccontextmanager
async def site(**faults: str) -> AsyncIterator[SimulatedSite]:
    """One miner of each family at HOME.1 to HOME.3, with one fault each where named."""
    groups = [
        miners(family, at=at, faults=[{"index": 0, "fault": faults[family]}] if family in faults else [])
        for at, family in enumerate(FAMILIES, start=1)
    ]
    served = SimulatedSite(Plant(config(ports=PORTS, miners=groups)))
    async with asyncio.timeout(DEADLINE_S), served.serving():
        yield served


async def discover(*words: str) -> Result:
    command = ["discover", RANGE, "--timeout", "2", *PORT_MAP, *words]
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, command))


@pytest.mark.socket
async def test_it_prints_what_it_found_and_groups_that_a_site_file_takes() -> None:
    async with site():
        result = await discover()

    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line.startswith(f" {HOME}")}
    for at, family in enumerate(FAMILIES, start=1):
        assert MODELS[family] in rows[f"{HOME}.{at}"]
        assert f" {family} " in rows[f"{HOME}.{at}"]
    assert "5 addresses: 3 miners, 0 not identified, 2 connection refused" in result.stdout
    _, _, tables = result.stdout.partition("For the site file:\n")
    groups = {group["family"]: group for group in tomllib.loads(tables)["miners"]}
    luxos = MinerGroupConfig.model_validate(groups["luxos"] | {"node": "pdu-1"})
    assert luxos.addresses() == (f"{HOME}.1",)
    assert "rated_w" not in groups["antminer"]


@pytest.mark.socket
async def test_what_could_not_be_identified_is_listed_with_the_reason() -> None:
    async with site(luxos="garbage", antminer="wrong_password"):
        result = await discover()

    lines = [line.strip() for line in result.stdout.splitlines()]
    assert any(line.startswith(f"{HOME}.1  port 4028: no sense in its answers") for line in lines)
    assert any(line.startswith(f"{HOME}.3") and "password is not accepted" in line for line in lines)


@pytest.mark.socket
async def test_where_there_is_no_terminal_progress_is_a_few_plain_lines() -> None:
    async with site():
        result = await discover()

    assert result.stderr.splitlines() == [
        *(f"probing addresses: {done} of 5" for done in range(1, 6)),
        *(f"asking who they are: {done} of 3" for done in range(1, 4)),
    ]


@pytest.mark.socket
async def test_an_inventory_is_written_and_then_only_updated(tmp_path: Path) -> None:
    file = tmp_path / "inventory.toml"
    async with site() as served:
        first = await discover("--out", str(file))
        mine = file.read_text().replace('node = ""', 'node = "pdu-1"  # mine', 1)
        file.write_text(mine)
        file.chmod(0o604)
        refused = await discover("--out", str(file))
        untouched = file.read_text()
        served.plant.set_fault("whatsminer-000", "dead")
        await served.exchange()
        second = await discover("--out", str(file), "--update")

    assert (first.exit_code, refused.exit_code, second.exit_code) == (0, 1, 0)
    assert (untouched, "--update" in refused.stderr) == (mine, True)
    assert file.read_text() == mine.replace(
        'firmware = "Whatsminer 20240511.11.REL"\n', 'firmware = "Whatsminer 20240511.11.REL"\ngone = true\n'
    )
    assert file.stat().st_mode & 0o777 == 0o604
    assert f"{HOME}.2  gone" in second.stdout
    assert 'node = "pdu-1"' in second.stdout.partition("For the site file:")[2]
    assert [path.name for path in tmp_path.iterdir()] == ["inventory.toml"]


@pytest.mark.socket
async def test_a_file_with_logins_opens_machines_with_passwords_of_their_own(tmp_path: Path) -> None:
    logins = tmp_path / "logins.toml"
    logins.write_text('[antminer]\npassword = "root-changed"\n')
    async with site(antminer="wrong_password"):
        result = await discover("--logins", str(logins))

    assert result.exit_code == 0, result.output
    assert "password is not accepted" not in result.stdout


def _hear_interrupts() -> None:
    """Whoever starts the tests in the background may have told them to ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.socket
async def test_ctrl_c_ends_a_scan_at_once_and_leaves_the_inventory_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "inventory.toml"
    file.write_text("# mine\n")
    words = ["discover", f"{HOME}.1", "--out", str(file), "--update", "--timeout", "60", *PORT_MAP]
    async with site(luxos="hangs"):
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "controller",
            *words,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_hear_interrupts,
        )
        assert child.stderr is not None
        probed = await child.stderr.readline()
        child.send_signal(signal.SIGINT)
        said = await child.stderr.read()
        status = await child.wait()

    assert (probed, status) == (b"probing addresses: 1 of 1\n", INTERRUPTED)
    assert said == b"interrupted: nothing was written\n"
    assert file.read_text() == "# mine\n"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["10.0.0.0/8"], "10.0.0.0/8"),
        (["hall-1"], "hall-1"),
        (["127.0.0.1", "--port-map", "80"], "PORT=STAND-IN"),
        (["127.0.0.1", "--update"], "--out"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_before_anything_is_scanned(
    words: list[str], named: str
) -> None:
    result = CliRunner().invoke(app, ["discover", *words])

    assert (result.exit_code, result.stdout) == (1, "")
    assert named in result.stderr


def test_an_inventory_that_cannot_be_read_is_refused_before_anything_is_scanned(tmp_path: Path) -> None:
    file = tmp_path / "inventory.toml"
    file.write_text("[[machines]]\naddress = 7\n")

    result = CliRunner().invoke(app, ["discover", "127.0.0.1", "--out", str(file), "--update"])

    assert (result.exit_code, result.stdout) == (1, "")
    assert "machines.0.address" in result.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[luxus]\npassword = "secret"\n', "luxus"),
        ('[antminer]\npasword = "secret"\n', "antminer.pasword"),
        ('[antminer]\npassword = ["secret"]\n', "antminer.password"),
        ("[antminer\n", "logins.toml"),
    ],
)
def test_logins_that_make_no_sense_are_refused_by_name_and_kept_secret(
    tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / "logins.toml").write_text(text)

    result = CliRunner().invoke(app, ["discover", "127.0.0.1", "--logins", str(tmp_path / "logins.toml")])

    assert (result.exit_code, result.stdout) == (1, "")
    assert named in result.stderr
    assert "secret" not in result.stderr


def test_ports_are_led_to_their_stand_ins() -> None:
    assert ports_of(["80=18080", "4028=14028"]) == {80: 18080, 4028: 14028}


@pytest.mark.parametrize("text", ["80", "80=", "=80", "a=b", "80=0", "80=65536", "80=-1", "80=80=80"])
def test_a_port_map_that_names_no_two_ports_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="PORT=STAND-IN"):
        ports_of([text])


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "inventory.toml"
    file.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, "new" * 100_000 + "\ud800")

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_to_an_inventory_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("old")
    (tmp_path / "link.toml").symlink_to("real.toml")

    write_atomically(tmp_path / "link.toml", "new")

    assert (tmp_path / "link.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text() == "new"
