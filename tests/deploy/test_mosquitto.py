"""The broker as it is deployed: who gets in, who may say and hear what, and what survives."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import pytest

from controller.run.operators.gridconfig import GridConfig, tls_context

pytestmark = pytest.mark.socket

START_DEADLINE_S = 10.0
HEARD_DEADLINE_S = 5.0
SILENCE_S = 0.5
"""How long a test listens before it believes that nothing comes."""

CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00"
CONNACK = b"\x20\x02\x00\x00"
WELCOME = "welcome"
CLOSED = "closed"

OPERATOR, RETAIL, ISV, RACKS = "grid-operator", "retail-operator", "acme-energy", "rack-manager"
SITE = "site-tx1"
CREATE = f"events/vens/{SITE}/create"
SNAPSHOT = f"events/vens/{SITE}/snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """One directory of certs.sh."""

    script: Path
    directory: Path

    def make(self, *arguments: str) -> None:
        done = subprocess.run(
            [self.script, self.directory, *arguments], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr

    def tls(self, identity: str | None, *, trusting: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=trusting or self.directory / "ca.crt")
        if identity is not None:
            context.load_cert_chain(self.directory / f"{identity}.crt", self.directory / f"{identity}.key")
        return context


@dataclass(slots=True, kw_only=True)
class Broker:
    program: str
    config: Path
    port: int
    authority: Authority
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, "-c", self.config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline_s = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline_s:
            assert self.process.poll() is None, "mosquitto ended at once: it refused its configuration"
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        pytest.fail("mosquitto does not listen")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=10)
            self.process = None

    def client(self, identity: str, **settings: object) -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            self.port,
            protocol=aiomqtt.ProtocolVersion.V311,
            tls_context=self.authority.tls(identity),
            timeout=5,
            **settings,  # type: ignore[arg-type]  # forwarded as they are
        )


@pytest.fixture(scope="module")
def authority(
    deploy: Path, require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Authority:
    require_tool("openssl")
    made = Authority(
        script=deploy / "mosquitto" / "certs.sh", directory=tmp_path_factory.mktemp("authority") / "pki"
    )
    made.make("ca")
    made.make("broker", "localhost", "127.0.0.1")
    for name in (OPERATOR, RETAIL, ISV, RACKS, SITE, "site-tx2", "site-stolen"):
        made.make("client", name)
    return made


@pytest.fixture
def broker(
    deploy: Path,
    require_tool: Callable[[str], str],
    authority: Authority,
    tmp_path: Path,
    free_port: int,
) -> Iterator[Broker]:
    """The deployed configuration with its port and paths exchanged, and nothing else."""
    text = (deploy / "mosquitto" / "wattshift.conf").read_text()
    for deployed, here in (
        ("listener 8883\n", f"listener {free_port} 127.0.0.1\n"),
        ("/etc/mosquitto/certs/", f"{authority.directory}/"),
        ("/etc/mosquitto/wattshift.acl", str(deploy / "mosquitto" / "wattshift.acl")),
        ("/var/lib/mosquitto/", f"{tmp_path}/"),
    ):
        assert deployed in text
        text = text.replace(deployed, here)
    if os.geteuid() == 0:
        text += "user root\n"  # it would give up root and then could not read our files
    config = tmp_path / "mosquitto.conf"
    config.write_text(text)
    running = Broker(program=require_tool("mosquitto"), config=config, port=free_port, authority=authority)
    running.start()
    try:
        yield running
    finally:
        running.stop()


async def heard(client: aiomqtt.Client, count: int) -> list[tuple[str, bytes]]:
    """The next `count` messages; fails when they do not come."""
    got: list[tuple[str, bytes]] = []
    async with asyncio.timeout(HEARD_DEADLINE_S):
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            got.append((message.topic.value, message.payload))
            if len(got) == count:
                return got
    raise AssertionError("the connection ended")


async def test_a_site_hears_the_operator_and_the_operator_hears_the_site(broker: Broker) -> None:
    report = f"reports/vens/{SITE}/create"

    async with broker.client(OPERATOR) as operator, broker.client(SITE) as site:
        await operator.subscribe("reports/vens/+/create", qos=1)
        await site.subscribe([(CREATE, 1), ("heartbeat/vtn", 1)])
        await operator.publish(CREATE, b"shed", qos=1)
        await operator.publish("heartbeat/vtn", b"alive")
        await site.publish(report, b"shedding", qos=1)

        assert await heard(site, 2) == [(CREATE, b"shed"), ("heartbeat/vtn", b"alive")]
        assert await heard(operator, 1) == [(report, b"shedding")]


async def test_a_site_hears_nothing_that_is_meant_for_another_site(broker: Broker) -> None:
    async with broker.client(OPERATOR) as operator, broker.client(SITE) as site:
        await site.subscribe([("events/vens/+/create", 1), ("#", 1)])
        await operator.publish("events/vens/site-tx2/create", b"for the other", qos=1)
        await operator.publish(CREATE, b"for us", qos=1)

        first = await heard(site, 1)

    assert first == [(CREATE, b"for us")]


@pytest.mark.parametrize(
    ("speaker", "topic", "listener"),
    [
        (OPERATOR, "heartbeat/vtn", SITE),
        (SITE, f"heartbeat/vens/{SITE}", OPERATOR),
        (RETAIL, f"retail/events/vens/{SITE}/create", SITE),
        (SITE, f"retail/reports/vens/{SITE}/create", RETAIL),
        (ISV, "grid/v1/isv/acme-energy/loadtarget/set", SITE),
        (SITE, f"grid/v1/dsx-flex-agent/{SITE}/powerstate/status", ISV),
        (SITE, f"grid/v1/dsx-flex-agent/{SITE}/powerbreach", ISV),
        (SITE, f"grid/v1/dsx-flex-agent/{SITE}/powerbreach", RACKS),
        (RACKS, f"grid/v1/infra/{RACKS}/powerbreach/enforcement", SITE),
    ],
)
async def test_everybody_can_say_its_part(broker: Broker, speaker: str, topic: str, listener: str) -> None:
    async with broker.client(speaker) as mouth, broker.client(listener) as ears:
        await ears.subscribe(topic, qos=1)
        await mouth.publish(topic, b"said", qos=1)

        assert await heard(ears, 1) == [(topic, b"said")]


@pytest.mark.parametrize(
    ("speaker", "topic"),
    [
        (RETAIL, CREATE),
        (ISV, CREATE),
        ("site-tx2", f"heartbeat/vens/{SITE}"),
        ("site-tx2", CREATE),
        (SITE, CREATE),
        ("site-tx2", f"reports/vens/{SITE}/create"),
        ("site-tx2", f"vens/{SITE}/status"),
        (SITE, "heartbeat/vtn"),
        (OPERATOR, f"vens/{SITE}/status"),
    ],
)
async def test_nobody_can_speak_in_the_name_of_another(broker: Broker, speaker: str, topic: str) -> None:
    listener = OPERATOR if topic.startswith(("reports", "vens", "heartbeat/vens")) else SITE
    marker = (f"reports/vens/{SITE}/create", SITE) if listener == OPERATOR else (CREATE, OPERATOR)

    async with (
        broker.client(listener) as ears,
        broker.client(speaker) as liar,
        broker.client(marker[1]) as true,
    ):
        await ears.subscribe([(topic, 1), (marker[0], 1)])
        await liar.publish(topic, b"forged", qos=1)
        await true.publish(marker[0], b"genuine", qos=1)

        first = await heard(ears, 1)

    assert first == [(marker[0], b"genuine")]


async def test_the_name_in_the_certificate_counts_and_not_the_name_that_is_claimed(broker: Broker) -> None:
    async with (
        broker.client(SITE) as ears,
        broker.client("site-tx2", username=OPERATOR, password="guessed") as liar,
        broker.client(OPERATOR) as operator,
    ):
        await ears.subscribe(CREATE, qos=1)
        await liar.publish(CREATE, b"forged", qos=1)
        await operator.publish(CREATE, b"genuine", qos=1)

        first = await heard(ears, 1)

    assert first == [(CREATE, b"genuine")]


def test_the_tls_settings_of_a_site_file_open_the_door(broker: Broker, authority: Authority) -> None:
    files = authority.directory
    config = GridConfig(
        host="127.0.0.1",
        port=broker.port,
        ven=SITE,
        client_id="site-tx1-ctl",
        tls=True,
        tls_ca=files / "ca.crt",
        tls_cert=files / f"{SITE}.crt",
        tls_key=files / f"{SITE}.key",
    )

    assert knock(broker.port, tls_context(config)) == WELCOME


def test_a_client_without_a_certificate_is_refused(broker: Broker, authority: Authority) -> None:
    assert knock(broker.port, authority.tls(None)) == "SSLV3_ALERT_HANDSHAKE_FAILURE"


def test_a_certificate_of_another_authority_is_refused(
    broker: Broker, authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority(script=authority.script, directory=tmp_path / "foreign")
    foreign.make("ca")
    foreign.make("client", SITE)

    answer = knock(broker.port, foreign.tls(SITE, trusting=authority.directory / "ca.crt"))

    assert answer == "TLSV1_ALERT_UNKNOWN_CA"


def test_the_certificate_of_the_broker_itself_is_none_for_a_client(
    broker: Broker, authority: Authority
) -> None:
    assert knock(broker.port, authority.tls("broker")) == "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"


def test_a_revoked_certificate_is_refused_after_a_reload_and_the_others_are_not(
    broker: Broker, authority: Authority
) -> None:
    assert knock(broker.port, authority.tls("site-stolen")) == WELCOME
    assert broker.process is not None

    authority.make("revoke", "site-stolen")
    broker.process.send_signal(signal.SIGHUP)
    # The broker reads its files a moment after the signal.
    deadline_s = time.monotonic() + HEARD_DEADLINE_S
    while (answer := knock(broker.port, authority.tls("site-stolen"))) == WELCOME:
        assert time.monotonic() < deadline_s, "still welcome"
        time.sleep(0.05)

    assert answer == "SSLV3_ALERT_CERTIFICATE_REVOKED"
    assert knock(broker.port, authority.tls(SITE)) == WELCOME


def test_a_connection_without_tls_is_closed(broker: Broker) -> None:
    assert knock(broker.port, None) == CLOSED


async def test_a_site_that_was_away_gets_every_command_also_over_a_restart_of_the_broker(
    broker: Broker,
) -> None:
    count = 1500  # the default of the broker keeps 1,000 and drops the newest
    async with broker.client(SITE, identifier="ctl", clean_session=False) as site:
        await site.subscribe(CREATE, qos=1)
    async with broker.client(OPERATOR) as operator:
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(operator.publish(CREATE, str(number), qos=1, timeout=20))
        await operator.publish(SNAPSHOT, b"all there is", qos=1, retain=True)

    broker.stop()
    broker.start()
    async with broker.client(SITE, identifier="ctl", clean_session=False) as site:
        missed = await heard(site, count)
        await site.subscribe(SNAPSHOT, qos=1)
        retained = await heard(site, 1)

    assert {payload for _, payload in missed} == {str(number).encode() for number in range(count)}
    assert retained == [(SNAPSHOT, b"all there is")]


async def test_a_message_that_no_contract_allows_does_not_pass(broker: Broker) -> None:
    async with broker.client(SITE) as site, broker.client(OPERATOR) as operator:
        await site.subscribe(CREATE, qos=1)
        await operator.publish(CREATE, bytes(65_536), qos=1)
        largest = await heard(site, 1)
        with suppress(aiomqtt.MqttError):
            await operator.publish(CREATE, bytes(65_537), qos=1)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SILENCE_S):
                await anext(aiter(site.messages))

    assert len(largest[0][1]) == 65_536


def knock(port: int, tls: ssl.SSLContext | None) -> str:
    """Try to connect as an MQTT client: `WELCOME`, the reason in the broker's TLS alert, or `closed`."""
    if tls is not None:
        # In 1.3 a client learns of its refusal only after the handshake, and may find the line cut instead.
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", port), timeout=HEARD_DEADLINE_S) as plain:
        try:
            line = plain if tls is None else tls.wrap_socket(plain, server_hostname="127.0.0.1")
            with line:
                line.sendall(CONNECT)
                answer = line.recv(4)
        except ssl.SSLError as error:
            return error.reason
        except ConnectionError:
            return CLOSED
    return WELCOME if answer == CONNACK else CLOSED if not answer else repr(answer)
