"""The grid table of the configuration, and the TLS files it names."""

from __future__ import annotations

import asyncio
import gc
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from controller.domain.power import Power
from controller.run.operators.gridconfig import GridConfig, OperatorConfig, tls_context
from controller.run.operators.gridlink import GridLink
from drivers.mqttconnection import CALL_TIMEOUT_S
from simulators.broker import broker, mosquitto_binary
from tests.run.disks import Disk

FEED: dict[str, Any] = {"tag": "main-a", "maximum_kw": 100}
MINIMAL: dict[str, Any] = {"host": "broker.example", "ven": "site-tx1", "client_id": "ctl"}


def test_host_site_and_client_are_all_that_is_needed() -> None:
    config = GridConfig(**MINIMAL)

    assert (config.port, config.heartbeat_timeout_s, config.tls) == (1883, 15.0, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hots": "x"},
        {"host": ""},
        {"host": "a b"},
        {"host": ".broker"},
        {"host": "mqtt..example"},
        {"host": f"{'m' * 64}.example"},
        {"port": 0},
        {"port": 70_000},
        {"ven": "a/b"},
        {"ven": "+"},
        {"ven": ""},
        {"client_id": "#"},
        {"prefix": "site"},
        {"prefix": "a/+/"},
        {"keepalive_s": 1},
        {"heartbeat_timeout_s": 0},
        {"report_period_s": 0.5},
        {"ramp_deadline_s": {"ercot-ers10": -1}},
        {"password": "x"},
        {"tls_ca": "ca.pem"},
        {"tls": True, "tls_cert": "client.pem"},
        {"rights": ["command"]},
        {"second_host": "other.example"},
        {"infra_signed_by": {"racks": "key.pem"}},
        {"levels_kw": {0: 5}},
        {"levels_kw": {4: 5}},
        {"levels_kw": {1: -5}},
        {"offsets_kw": {11: 5}},
        {"alerts_kw": {"ALERT_HUNGER": 5}},
        {"signing_key": "site.pem"},
        {"signature_max_age_s": 0},
        {"username": "ctl", "password": "x", "password_file": "y"},
        {"dialect": "smoke-signals"},
        {"dialect": "dsx-flex"},
        {"dialect": "dsx-flex", "isv": "acme", "feeds": []},
        {"dialect": "dsx-flex", "isv": "acme", "feeds": [FEED, FEED]},
        {"dialect": "dsx-flex", "isv": "acme", "feeds": [FEED | {"minimum_kw": 101}]},
        {"dialect": "dsx-flex", "isv": "acme", "feeds": [FEED | {"minimum_kw": 10, "default_kw": 0}]},
        {"dialect": "dsx-flex", "isv": "acme", "feeds": [FEED], "rights": ["read"]},
        {"dialect": "dsx-flex", "isv": "acme", "feeds": [FEED], "breach_actions": ["PANIC"]},
        {"dialect": "zero-hundred", "topic_in": "maestro/target"},
        {"dialect": "zero-hundred", "topic_in": "maestro/#", "off_kw": 5},
        {"dialect": "zero-hundred", "topic_in": "maestro/target", "off_kw": 5, "rights": ["price"]},
        {"dialect": "base-point"},
        {"dialect": "base-point", "topic_in": "a", "rights": ["limit"]},
        {"dialect": "base-point", "topic_in": "a", "rights": ["target"], "silent_kw": 5},
    ],
)
def test_a_setting_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GridConfig(**MINIMAL | wrong)


@pytest.mark.parametrize(
    "switched",
    [
        {"link_lost_limit_kw": False},
        {"firm_service_level_kw": False},
        {"levels_kw": {2: False}},
        {"dialect": "dsx-flex", "isv": "acme", "feeds": [FEED | {"default_kw": False}]},
        {"dialect": "zero-hundred", "topic_in": "maestro/target", "off_kw": False},
        {"dialect": "base-point", "topic_in": "a", "silent_kw": False},
    ],
)
def test_a_limit_that_was_meant_to_be_switched_off_is_no_limit_of_zero(switched: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="0 means 0 kW, and so would false"):
        GridConfig(**MINIMAL | switched)


@pytest.mark.parametrize(
    "host", ["broker", "mqtt.example.com.", "10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "::1"]
)
def test_a_broker_has_a_name_or_an_address(host: str) -> None:
    assert GridConfig(**MINIMAL | {"host": host}).host == host


def test_the_password_is_in_no_text() -> None:
    config = GridConfig(**MINIMAL, username="ctl", password="hunter2")

    assert "hunter2" not in repr(config) + str(config) + config.model_dump_json()


@pytest.mark.parametrize("name", ["", "Grid", "own", "grid", "event", "snapshot", "a b", "a/b", "a:b"])
def test_an_operator_needs_a_name_that_the_journal_does_not_use(name: str) -> None:
    with pytest.raises(ValidationError):
        OperatorConfig(**MINIMAL, id=name)


def test_a_password_file_is_read_anew_and_named_when_it_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "password"
    config = GridConfig(**MINIMAL, username="ctl", password_file=path)
    with pytest.raises(ValueError, match="password"):
        config.secret()

    path.write_text("hunter2\n")

    assert config.secret() == "hunter2"


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    config = GridConfig(**MINIMAL, tls=True, tls_ca=tmp_path / "absent.pem")

    with pytest.raises(ValueError, match=r"absent\.pem"):
        tls_context(config)


@pytest.mark.filterwarnings(  # paho leaves a socket whose handshake failed to the garbage collector
    r"ignore:Exception ignored in. <ssl\.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.slow
@pytest.mark.socket
@pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_both_sides_prove_who_they_are(tmp_path: Path) -> None:
    await asyncio.to_thread(_certificates, tmp_path)
    settings = {
        "cafile": f"{tmp_path}/ca.pem",
        "certfile": f"{tmp_path}/server.pem",
        "keyfile": f"{tmp_path}/server.key",
        "require_certificate": "true",
    }

    with capture_logs() as logs:
        links = await _three_links(tmp_path, settings)
    gc.collect()  # here, where the sockets that paho leaves are expected

    assert [link.stats.connects for link in links] == [1, 0, 0]
    lost = [log["why"] for log in logs if log["event"] == "grid_broker_lost"]
    assert len(lost) == 2
    assert any("failed to receive on socket" in why for why in lost)  # the library's own words
    assert any("certificate verify failed" in why for why in lost)


async def _three_links(tmp_path: Path, settings: dict[str, str]) -> list[GridLink]:
    """One that proves itself and knows the authority, one that does not prove itself, one that trusts
    other authorities. They run until the first is connected and the others have failed."""
    async with broker(settings=settings) as bus, asyncio.TaskGroup() as group:
        known = {"host": "localhost", "port": bus.port, "tls": True, "tls_ca": tmp_path / "ca.pem"}
        proof = {"tls_cert": tmp_path / "client.pem", "tls_key": tmp_path / "client.key"}
        links = [
            _link(MINIMAL | known | proof | {"client_id": "a"}),
            _link(MINIMAL | known | {"client_id": "b"}),
            _link(MINIMAL | known | proof | {"client_id": "c", "tls_ca": None}),
        ]
        tasks = [group.create_task(link.run()) for link in links]
        async with asyncio.timeout(10):
            while not links[0].stats.connected:  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(0.01)
        await asyncio.sleep(CALL_TIMEOUT_S + 1)
        for task in tasks:
            task.cancel()
    return links


def _link(settings: dict[str, Any]) -> GridLink:
    config = GridConfig(**settings)
    return GridLink(config, Disk(), nameplate=Power.kw(1), utc=time.time, wake=lambda: None)


def _certificates(folder: Path) -> None:
    """An authority of our own, and a server and a client that it vouches for."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, cwd=folder, capture_output=True, timeout=30)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    may_sign = ("-subj", "/CN=ca", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", *may_sign)
    extensions = "subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    (folder / "extensions.txt").write_text(extensions, encoding="ascii")
    for name, subject in (("server", "/CN=localhost"), ("client", "/CN=ctl")):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions.txt")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", "2", *signed)


@pytest.mark.parametrize(
    ("host", "second", "order"),
    [
        ("10.20.0.9", "10.20.0.10", ["10.20.0.9", "10.20.0.10"]),
        ("10.20.0.10", "10.20.0.9", ["10.20.0.9", "10.20.0.10"]),
        ("b.example", "a.example", ["a.example", "b.example"]),
        ("a.example", "10.20.0.9", ["10.20.0.9", "a.example"]),
    ],
)
def test_of_two_brokers_the_lower_address_comes_first(host: str, second: str, order: list[str]) -> None:
    zero_hundred = {"dialect": "zero-hundred", "topic_in": "maestro/target", "off_kw": 60}
    config = GridConfig(**MINIMAL | zero_hundred | {"host": host, "second_host": second, "second_port": 1884})

    brokers = config.brokers()

    assert [broker.host for broker in brokers] == order
    assert {broker.host: broker.port for broker in brokers} == {host: 1883, second: 1884}


def test_the_second_of_two_brokers_is_another_one() -> None:
    zero_hundred = {"dialect": "zero-hundred", "topic_in": "maestro/target", "off_kw": 60}

    with pytest.raises(ValidationError, match="second_host"):
        GridConfig(**MINIMAL | zero_hundred | {"second_host": MINIMAL["host"]})
