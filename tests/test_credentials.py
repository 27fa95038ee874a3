"""Secrets from the service's directory: which place they come to, and that they are never seen again."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.__main__ import app
from controller.cli.terminal import EXIT_CONFIG
from controller.config import CREDENTIALS_DIRECTORY, ConfigError, Settings, fleet, load
from drivers.asic.config import Login
from tests.run.test_daemon import asked, running

SECRET = "hunter2-hunter2"
SITE = """
name = "plant"
nodes = [{ id = "site", limit_kw = 100 }]

[families.whatsminer]
username = "of the family"

[[miners]]
id = "row-a"
family = "whatsminer"
hosts = ["10.0.1.1-3"]
node = "site"
rated_w = 3500
rated_ths = 200

[[miners]]
id = "row-b"
family = "whatsminer"
hosts = ["10.0.2.1"]
node = "site"
rated_w = 3500
rated_ths = 200
password = "in the file"

[[pdus]]
id = "a1"
host = "10.0.3.1"
model = "apc-rpdu2"
version = "2c"
community = "in the file"
outlet_max_w = 4000
poll_s = 1
timeout_s = 0.8
stale_after_s = 5
meter = "pdu"
max_w = 40000

[[mqtt_meters]]
id = "hall"
host = "10.0.4.1"
username = "meters"
points = [{ meter = "fans", topic = "fans", unit = "W", max_w = 30000 }]
"""

MARKET_AND_OPERATOR = """
[[price_brokers]]
id = "market"
host = "10.0.5.1"
username = "plant"
topics = [{ id = "rtm", price = "energy", topic = "rtm", unit = "USD/MWh", stale_after_s = 900 }]

[[operators]]
id = "iso"
host = "10.0.6.1"
ven = "plant"
client_id = "plant"
username = "plant"
"""


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "credentials"
    directory.mkdir()
    monkeypatch.setenv(CREDENTIALS_DIRECTORY, str(directory))
    return directory


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(SITE, encoding="utf-8")
    return path


def passwords(settings: Settings) -> dict[str, str | None]:
    """What each machine is logged in to with."""
    found: dict[str, str | None] = {}
    for group in settings.miners:
        family = settings.families.get(group.family, Login())
        for device, address in zip(group.device_names(), group.addresses(), strict=True):
            password = group.login_of(device, address, family).password
            found[device] = None if password is None else password.get_secret_value()
    return found


def complaint(site: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(site)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)
    return str(caught.value)


# -- where they come to ------------------------------------------------------------------------------------


def test_of_family_group_and_machine_the_closest_login_wins(secrets: Path, site: Path) -> None:
    (secrets / "families__whatsminer__password").write_text("family\n")
    by_family = passwords(load(site))
    (secrets / "miners__row-a__password").write_text("group")
    by_group = passwords(load(site))
    (secrets / "miners__row-a__10.0.1.2__password").write_text("machine")
    (secrets / "miners__row-a__row-a-002__password").write_text("machine by name")
    by_machine = passwords(load(site))

    assert by_family == dict.fromkeys(("row-a-000", "row-a-001", "row-a-002"), "family") | {
        "row-b-000": "in the file"
    }
    assert set(by_group.values()) == {"group", "in the file"}
    assert by_machine == {
        "row-a-000": "group",
        "row-a-001": "machine",
        "row-a-002": "machine by name",
        "row-b-000": "in the file",
    }


def test_a_user_name_stays_where_only_the_password_is_closer(secrets: Path, site: Path) -> None:
    (secrets / "miners__row-a__10.0.1.2__password").write_text("machine")

    settings = load(site)

    login = settings.miners[0].login_of("row-a-001", "10.0.1.2", settings.families["whatsminer"])
    assert login.username == "of the family"


def test_what_a_machine_is_logged_in_to_with_reaches_its_driver(secrets: Path, site: Path) -> None:
    (secrets / "families__whatsminer__password").write_text("family")
    (secrets / "miners__row-a__10.0.1.2__password").write_text("machine")

    drivers = {driver.spec.id: driver for driver, _ in fleet(load(site)).drivers}

    adapters = {name: vars(driver)["_adapter"] for name, driver in drivers.items()}
    assert [vars(adapters[name])["_password"] for name in ("row-a-000", "row-a-001", "row-b-000")] == [
        "family",
        "machine",
        "in the file",
    ]


def test_other_lists_of_tables_are_met_by_the_id_of_their_entry(secrets: Path, site: Path) -> None:
    (secrets / "pdus__a1__community").write_text("of the pdu")
    (secrets / "mqtt_meters__hall__password").write_text("of the broker")

    settings = load(site)

    (pdu,), (broker,) = settings.pdus, settings.mqtt_meters
    assert pdu.community is not None
    assert broker.password is not None
    assert pdu.community.get_secret_value() == "of the pdu"
    assert broker.password.get_secret_value() == "of the broker"


def test_a_broker_of_prices_and_an_operator_need_no_password_in_the_site_file(
    secrets: Path, site: Path
) -> None:
    (secrets / "price_brokers__market__password").write_text("of the market")
    (secrets / "operators__iso__password").write_text("of the operator")
    site.write_text(SITE + MARKET_AND_OPERATOR)

    settings = load(site)

    (market,), (operator,) = settings.price_brokers, settings.operators
    assert market.password is not None
    assert operator.password is not None
    assert market.password.get_secret_value() == "of the market"
    assert operator.password.get_secret_value() == "of the operator"


def test_credentials_win_over_a_table_in_the_environment(
    secrets: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTSHIFT_FAMILIES", '{"whatsminer": {"password": "environment"}}')
    (secrets / "families__whatsminer__password").write_text("directory")

    assert passwords(load(site))["row-a-000"] == "directory"


# -- names that fit nowhere --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gird__password", "no table 'gird'"),
        ("grid__password", "there is no [grid] in the site file"),
        ("operators__iso__password", "there is no [[operators]] with the id 'iso'"),
        ("miners__row-z__password", "no [[miners]] with the id 'row-z'"),
        ("miners__row-a__rated_w", "wanted miners__ID__password"),
        ("miners__password", "wanted miners__ID__password"),
        ("miners__row-a__10.0.1.2__rack__password", "wanted miners__ID__password"),
        (
            "miners__row-a__10.9.9.9__password",
            "logins: 10.9.9.9: no machine of 'row-a' (see also miners__row-a",
        ),
        ("families__toaster__password", "wanted families__FAMILY__password"),
        ("families__whatsminer__secret", "wanted families__FAMILY__password"),
        ("pdus__a1__password", "wanted pdus__ID__auth_password"),
        ("pdus__b9__community", "no [[pdus]] with the id 'b9'"),
        ("mqtt_meters__hall__port", "wanted mqtt_meters__ID__password"),
        ("miners____password", "a part of the name is empty"),
        ("name__password", "names no place"),
        ("policy__tick_s__password", "names no place"),
    ],
)
def test_a_file_that_fits_no_place_is_refused_by_its_name(
    secrets: Path, site: Path, name: str, says: str
) -> None:
    (secrets / name).write_text(SECRET)
    if "policy" in name:
        site.write_text(SITE + "[policy]\ntick_s = 1.0\n")

    said = complaint(site)

    assert says in said
    assert name in said or "10.9.9.9" in name
    assert len(said.splitlines()) == 1


# -- never seen again --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("pdus__a1__auth_password", "hunter2"),  # too short, and none of version 2c
        ("pdus__a1__username", "hunter2-hunter2" * 9),
        ("grid__password", "hunter2"),
        ("policy__tick_s", "hunter2"),
    ],
)
def test_no_complaint_shows_what_was_in_a_file(secrets: Path, site: Path, name: str, broken: str) -> None:
    (secrets / name).write_text(broken)

    with pytest.raises(ConfigError) as caught:
        load(site)

    shown = f"{caught.value} {caught.value.__cause__} {caught.value.__cause__!r}"
    assert "hunter2" not in shown


def test_settings_drivers_and_check_do_not_show_them(secrets: Path, site: Path) -> None:
    for name in (
        "families__whatsminer__password",
        "miners__row-a__10.0.1.2__password",
        "pdus__a1__community",
    ):
        (secrets / name).write_text(SECRET)

    settings = load(site)
    result = CliRunner().invoke(app, ["check", str(site)])

    everything = fleet(settings)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {everything!r}"
    assert result.exit_code == 0
    assert SECRET not in result.output


def test_a_failing_check_does_not_show_them(secrets: Path, site: Path) -> None:
    (secrets / "miners__row-z__password").write_text(SECRET)

    result = CliRunner().invoke(app, ["check", str(site)])

    assert result.exit_code == EXIT_CONFIG
    assert "miners__row-z__password" in result.output
    assert SECRET not in result.output


@pytest.mark.socket
def test_logs_journal_metrics_and_status_do_not_show_them(secrets: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    journal = tmp_path / "journal.db"
    tables = SITE.replace("10.0.", "127.0.")  # where nobody answers
    head = f"""
journal = {{ path = "{journal}" }}
api = {{ port = 0 }}
log = {{ format = "json", level = "debug" }}
"""
    site.write_text(head + tables, encoding="utf-8")
    for name in ("families__whatsminer__password", "pdus__a1__community", "mqtt_meters__hall__password"):
        (secrets / name).write_text(SECRET)

    with running(site) as controller:
        started = controller.logged("started")
        silent = controller.logged("silent")
        pages = [asked(started["api_port"], page)[1] for page in ("/metrics", "/status")]
        controller.process.send_signal(signal.SIGTERM)
        _, rest = controller.process.communicate(timeout=30)

    with closing(sqlite3.connect(journal)) as db:
        kept = "\n".join(db.iterdump())
    assert SECRET not in f"{started} {silent} {pages} {rest} {kept}"
