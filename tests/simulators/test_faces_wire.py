"""The miners' faces seen by raw sockets: framing, sessions, ciphers, digests, and answers that go wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from simulators.faces.connection import MAX_CONNECTIONS
from simulators.faces.http import HttpRequest, digest_proves
from simulators.faces.md5crypt import md5crypt
from simulators.physics.miner import Miner, MinerState
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.simulators.plants import HOME, RATED_W, config, miners

pytestmark = pytest.mark.socket

ADDRESS = f"{HOME}.1"
DEADLINE_S = 5.0
PORTS = {80: 18_280, 4028: 14_228}


@asynccontextmanager
async def served(family: str, **keys: Any) -> AsyncIterator[tuple[SimulatedSite, Miner]]:
    site = SimulatedSite(Plant(config(ports=PORTS, miners=[miners(family, **keys)])))
    async with asyncio.timeout(DEADLINE_S), site.serving():
        yield site, next(iter(site.plant.miners.values()))


async def raw(request: bytes, port: int = PORTS[4028], *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(ADDRESS, port)
    try:
        for piece in (request, *pieces):
            writer.write(piece)
            await asyncio.sleep(0.01 if pieces else 0)
        return await reader.read()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(command: str, parameter: str | None = None) -> dict[str, Any]:
    request = {"command": command} | ({} if parameter is None else {"parameter": parameter})
    answer: dict[str, Any] = json.loads((await raw(json.dumps(request).encode())).rstrip(b"\0"))
    return answer


def code_of(answer: dict[str, Any]) -> tuple[str, int]:
    return answer["STATUS"][0]["STATUS"], answer["STATUS"][0]["Code"]


async def logon() -> str:
    return str((await ask("logon"))["SESSION"][0]["SessionID"])


# -- framing --------------------------------------------------------------------------------------------


async def test_joined_commands_answer_each_in_a_list_of_its_own() -> None:
    async with served("luxos"):
        answer = await ask("power+config+nonsense")

    assert answer["power"][0]["POWER"][0]["Watts"] == RATED_W
    assert answer["config"][0]["CONFIG"][0]["CurtailMode"] == "None"
    assert code_of(answer["nonsense"][0]) == ("E", 14)


async def test_a_request_may_come_in_pieces() -> None:
    async with served("luxos"):
        answer = await raw(b'{"command":', PORTS[4028], b'"power', b'"}')

    assert b'"Watts":3000' in answer


async def test_what_is_no_json_is_refused() -> None:
    async with served("luxos"):
        answer = await raw(b"GET / HTTP/1.1\r\n\r\n")

    assert json.loads(answer.rstrip(b"\0"))["STATUS"][0]["Code"] == 23


async def test_an_endless_request_is_cut_off() -> None:
    async with served("luxos"):
        try:
            answer = await raw(b'{"command":"' + b"x" * 100_000)
        except ConnectionError:
            answer = b""

    assert answer == b""


async def test_nesting_without_end_is_refused_like_any_other_nonsense() -> None:
    async with served("luxos"):
        answer = await raw(b"[" * 60_000)

    assert json.loads(answer.rstrip(b"\0"))["STATUS"][0]["Code"] == 23


@pytest.mark.parametrize(("family", "last"), [("luxos", b"}\0"), ("whatsminer", b"}"), ("antminer", b"}\0")])
async def test_only_the_cgminer_kin_end_their_answer_with_a_nul(family: str, last: bytes) -> None:
    async with served(family):
        answer = await raw(b'{"command":"summary"}')

    assert answer.endswith(last)


async def test_a_stock_antminer_takes_one_command_at_a_time() -> None:
    async with served("antminer"):
        assert code_of(await ask("version+summary")) == ("E", 14)
        assert code_of(await ask("version")) == ("S", 22)


# -- answers that go wrong ------------------------------------------------------------------------------


async def test_a_dead_miner_refuses_connections_and_a_revived_one_takes_them() -> None:
    async with served("luxos") as (site, _):
        site.plant.set_fault("luxos-000", "dead")
        await site.exchange()
        with pytest.raises(ConnectionRefusedError):
            await ask("power")

        site.plant.set_fault("luxos-000", "dead", False)
        await site.exchange()
        assert code_of(await ask("power")) == ("S", 314)


async def test_a_hanging_miner_takes_the_question_and_never_answers() -> None:
    async with served("luxos") as (site, _):
        site.plant.set_fault("luxos-000", "hangs")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await ask("power")


async def test_half_a_reply_ends_in_the_middle() -> None:
    async with served("luxos") as (site, _):
        whole = await raw(b'{"command":"power"}')
        site.plant.set_fault("luxos-000", "half_reply")

        assert await raw(b'{"command":"power"}') == whole[: len(whole) // 2]


async def test_garbage_is_no_json() -> None:
    async with served("whatsminer") as (site, _):
        site.plant.set_fault("whatsminer-000", "garbage")

        with pytest.raises(ValueError, match=r"."):
            await ask("summary")


async def test_a_slow_miner_answers_late() -> None:
    async with served("luxos") as (site, _):
        site.plant.set_fault("luxos-000", "slow_s", 0.4)
        asked_s = asyncio.get_running_loop().time()

        assert code_of(await ask("power")) == ("S", 314)
        assert asyncio.get_running_loop().time() - asked_s >= 0.39


async def test_a_miner_that_never_closes_leaves_its_answer_open() -> None:
    async with served("luxos") as (site, _):
        site.plant.set_fault("luxos-000", "never_closes")
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[4028])
        writer.write(b'{"command":"power"}')

        answer = await reader.readuntil(b"\0")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read()
        writer.close()
        await writer.wait_closed()

        assert b"Watts" in answer


async def test_a_miner_takes_only_so_many_connections_at_a_time() -> None:
    async with served("luxos"):
        held = [await asyncio.open_connection(ADDRESS, PORTS[4028]) for _ in range(MAX_CONNECTIONS)]
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[4028])
        one_too_many = await reader.read()
        held[0][1].close()
        await held[0][1].wait_closed()
        await asyncio.sleep(0.05)
        after_one_left = await ask("power")
        for _, other in (*held[1:], (reader, writer)):
            other.close()
            await other.wait_closed()

    assert one_too_many == b""
    assert code_of(after_one_left) == ("S", 314)


async def test_a_dying_miner_drops_the_connections_it_has() -> None:
    async with served("luxos") as (site, _):
        site.plant.set_fault("luxos-000", "hangs")
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[4028])
        writer.write(b'{"command":"power"}')
        await asyncio.sleep(0.05)
        site.plant.set_fault("luxos-000", "dead")
        await site.exchange()

        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


# -- LuxOS ----------------------------------------------------------------------------------------------


async def test_one_session_at_a_time_until_it_logs_off() -> None:
    async with served("luxos"):
        session = await logon()

        assert code_of(await ask("logon")) == ("E", 402)
        assert (await ask("session"))["SESSION"][0]["SessionID"] == session
        assert code_of(await ask("logoff", session))[0] == "S"
        assert await logon() != session


async def test_use_keeps_a_session_alive_and_sixty_idle_seconds_end_it() -> None:
    async with served("luxos") as (site, _):
        session = await logon()
        await site.advance(50.0)
        assert code_of(await ask("atmset", f"{session},enabled=false"))[0] == "S"
        await site.advance(50.0)
        assert code_of(await ask("atmset", f"{session},enabled=true"))[0] == "S"
        await site.advance(60.0)

        assert code_of(await ask("curtail", f"{session},sleep")) == ("E", 402)


async def test_a_stolen_session_refuses_log_on_and_orders() -> None:
    async with served("luxos") as (site, miner):
        session = await logon()
        site.plant.set_fault("luxos-000", "session_stolen")

        assert code_of(await ask("logon")) == ("E", 402)
        assert code_of(await ask("curtail", f"{session},sleep")) == ("E", 402)
        assert not miner.said_asleep


@pytest.mark.parametrize("parameter", ["", "sleep", "wrong,sleep", ",sleep"])
async def test_luxos_takes_no_order_without_its_session(parameter: str) -> None:
    async with served("luxos") as (_, miner):
        assert code_of(await ask("curtail", parameter)) == ("E", 402)
        assert not miner.said_asleep


async def test_a_sleeping_luxos_miner_says_so_in_config_power_and_boards() -> None:
    async with served("luxos") as (site, _):
        assert (await ask("curtail", f"{await logon()},sleep"))["CURTAIL"] == [{"Mode": "Sleep"}]
        await site.advance(20.0)

        told = (await ask("config"))["CONFIG"][0]
        assert (told["CurtailMode"], told["SystemStatus"], told["IsPowerSupplyOn"]) == (
            "Sleep",
            "Sleep",
            False,
        )
        assert (await ask("power"))["POWER"] == [{"Watts": 25, "PSU": True}]
        assert (await ask("stats"))["STATS"][1]["chain_rate1"] == "0.00"


async def test_a_reboot_ends_the_session() -> None:
    async with served("luxos", reboot_s=5) as (site, miner):
        session = await logon()
        await ask("rebootdevice", session)
        await site.advance(10.0)

        assert code_of(await ask("curtail", f"{session},sleep")) == ("E", 402)
        assert miner.state is MinerState.STARTING


async def test_luxos_refuses_an_unknown_profile_and_a_miner_that_refuses_refuses_all() -> None:
    async with served("luxos") as (site, miner):
        session = await logon()
        assert code_of(await ask("profileset", f"{session},1GHz")) == ("E", 404)
        site.plant.set_fault("luxos-000", "refuses")

        assert code_of(await ask("profileset", f"{session},325MHz")) == ("E", 403)
        assert miner.said_point == "650MHz"


async def test_an_unsafe_wake_up_of_luxos_takes_three_seconds() -> None:
    async with served("luxos", wake_s=60) as (site, miner):
        session = await logon()
        await ask("curtail", f"{session},sleep")
        await site.advance(20.0)
        await ask("curtail", f"{session},wakeup,mode=unsafe")
        await site.advance(3.5)

        assert miner.watts == RATED_W


# -- Whatsminer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "salt", "text"),
    [  # as `openssl passwd -1 -salt SALT PASSWORD` has them
        ("admin", "BQ5hoXV9", "RxmaDUO33TS7O26yeMHZ81"),
        ("", "a", "8CfZSfErbeskipdhZHtvu."),
        ("a password longer than sixteen bytes", "saltAAAA", "WAveK56U8bOxLAzVspffa0"),
    ],
)
def test_md5crypt_agrees_with_openssl(password: str, salt: str, text: str) -> None:
    assert md5crypt(password, salt) == text


class Token:
    """The client's half of the Whatsminer cipher, from the API document."""

    def __init__(self, given: dict[str, str], password: str) -> None:
        secret = md5crypt(password, given["salt"])
        self.sign = md5crypt(secret + given["time"], given["newsalt"])
        self._cipher = Cipher(AES(hashlib.sha256(secret.encode()).digest()), ECB())

    async def order(self, **order: str) -> dict[str, Any]:
        text = json.dumps({**order, "token": self.sign}).encode()
        encryptor = self._cipher.encryptor()
        sealed = base64.b64encode(encryptor.update(text + b"\0" * (-len(text) % 16))).decode()
        answer: dict[str, Any] = json.loads(await raw(json.dumps({"enc": 1, "data": sealed}).encode()))
        if "enc" not in answer:
            return answer
        plain = self._cipher.decryptor().update(base64.b64decode(answer["enc"]))
        opened: dict[str, Any] = json.loads(plain.rstrip(b"\0"))
        return opened


async def token(password: str = "admin") -> Token:
    return Token((await ask("get_token"))["Msg"], password)


@pytest.mark.parametrize("key", ["cmd", "command"])
async def test_an_encrypted_order_is_obeyed_under_either_name(key: str) -> None:
    async with served("whatsminer") as (_, miner):
        answer = await (await token()).order(**{key: "power_off", "respbefore": "true"})

        assert (answer["STATUS"], answer["Code"], answer["Msg"]) == ("S", 131, "API command OK")
        assert miner.state is MinerState.ASLEEP


async def test_an_order_in_clear_text_is_not_obeyed() -> None:
    async with served("whatsminer") as (_, miner):
        assert (await ask("power_off"))["STATUS"] == "E"
        assert miner.state is MinerState.HASHING


async def test_a_wrong_password_cannot_be_read_by_the_miner() -> None:
    async with served("whatsminer") as (site, miner):
        wrong = await (await token("guess")).order(cmd="power_off")
        site.plant.set_fault("whatsminer-000", "wrong_password")
        changed = await (await token()).order(cmd="power_off")

        assert (wrong["STATUS"], wrong["Code"], changed["Code"]) == ("E", 137, 137)
        assert miner.state is MinerState.HASHING


async def test_a_token_dies_after_half_an_hour() -> None:
    async with served("whatsminer") as (site, _):
        old = await token()
        await site.advance(1800.0)

        assert (await old.order(cmd="power_off"))["Code"] == 135


async def test_too_many_tokens_are_refused_until_old_ones_die() -> None:
    async with served("whatsminer") as (site, _):
        for second in range(32):
            await site.advance(1.0)
            assert (await ask("get_token"))["Code"] == 134, second

        refused = await ask("get_token")
        await site.advance(1800.0)
        assert (refused["STATUS"], refused["Msg"]) == ("E", "over max connect")
        assert (await ask("get_token"))["Code"] == 134


async def test_a_closed_api_refuses_orders_in_clear_text() -> None:
    async with served("whatsminer") as (site, _):
        site.plant.set_fault("whatsminer-000", "refuses")

        answer = await (await token()).order(cmd="power_off")

        assert (answer["STATUS"], answer["Msg"]) == ("E", "can't access write cmd")


async def test_a_stopped_whatsminer_may_have_no_process_to_ask() -> None:
    async with served("whatsminer", process_down_when_stopped=True) as (_, miner):
        miner.sleep()

        assert (await ask("summary"))["Msg"] == "btminer process is down"
        assert (await ask("status"))["Msg"]["mineroff"] == "true"


# -- stock Antminer -------------------------------------------------------------------------------------


async def web(target: str, body: bytes | None = None, *, password: str = "root") -> tuple[int, bytes]:
    """One digest exchange on one kept connection."""
    reader, writer = await asyncio.open_connection(ADDRESS, PORTS[80])
    try:
        status, headers, answer = await _exchange(reader, writer, target, body, "")
        if status == 401:
            nonce = headers["www-authenticate"].partition('nonce="')[2].partition('"')[0]
            proof = _digest("GET" if body is None else "POST", target, nonce, password)
            status, _, answer = await _exchange(reader, writer, target, body, f"Authorization: {proof}\r\n")
        return status, answer
    finally:
        writer.close()
        await writer.wait_closed()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, body: bytes | None, more: str
) -> tuple[int, dict[str, str], bytes]:
    method = "GET" if body is None else "POST"
    head = f"{method} {target} HTTP/1.1\r\nHost: miner\r\nContent-Length: {len(body or b'')}\r\n{more}\r\n"
    writer.write(head.encode() + (body or b""))
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])
    }
    return int(lines[0].split(" ")[1]), headers, await reader.readexactly(int(headers["content-length"]))


def _digest(method: str, target: str, nonce: str, password: str) -> str:
    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    realm = "antMiner Configuration"
    proof = md5(f"{md5(f'root:{realm}:{password}')}:{nonce}:00000001:abc:auth:{md5(f'{method}:{target}')}")
    return (
        f'Digest username="root", realm="{realm}", nonce="{nonce}", uri="{target}", '
        f'qop=auth, nc=00000001, cnonce="abc", response="{proof}"'
    )


async def test_a_stock_antminer_tells_nothing_without_its_password() -> None:
    async with served("antminer"):
        assert (await web("/cgi-bin/get_miner_conf.cgi", password="guess"))[0] == 401
        assert (await web("/cgi-bin/get_miner_conf.cgi"))[0] == 200
        assert (await web("/kaonsu/v1/brief"))[0] == 404


@pytest.mark.parametrize(
    ("mode_key", "posted", "asleep"),
    [
        ("both", {"miner-mode": 1}, True),
        ("both", {"bitmain-work-mode": "1"}, True),
        ("miner-mode", {"bitmain-work-mode": "1"}, False),
        ("bitmain-work-mode", {"miner-mode": 1}, False),
        ("bitmain-work-mode", {"miner-mode": 1, "bitmain-work-mode": 1}, True),
    ],
)
async def test_the_mode_is_taken_from_the_key_that_the_firmware_knows(
    mode_key: str, posted: dict[str, Any], asleep: bool
) -> None:
    async with served("antminer", mode_key=mode_key) as (_, miner):
        conf = json.loads((await web("/cgi-bin/get_miner_conf.cgi"))[1])
        rest = {key: value for key, value in conf.items() if key != "bitmain-work-mode"}

        answer = json.loads((await web("/cgi-bin/set_miner_conf.cgi", json.dumps(rest | posted).encode()))[1])

        assert answer["code"] == "M000"
        assert (miner.state is MinerState.ASLEEP) is asleep
        told = json.loads((await web("/cgi-bin/get_miner_conf.cgi"))[1])
        assert (told["bitmain-work-mode"], "miner-mode" in told) == ("1" if asleep else "0", False)


async def test_keys_left_out_of_a_rewrite_are_back_at_their_factory_value() -> None:
    async with served("antminer"):
        before = json.loads((await web("/cgi-bin/get_miner_conf.cgi"))[1])
        await web("/cgi-bin/set_miner_conf.cgi", json.dumps({"pools": before["pools"]}).encode())

        after = json.loads((await web("/cgi-bin/get_miner_conf.cgi"))[1])

    assert after["pools"] == before["pools"]
    assert "api-listen" in before
    assert "api-listen" not in after


async def test_a_web_request_may_come_in_pieces_and_nonsense_is_a_bad_request() -> None:
    async with served("antminer"):
        reader, writer = await asyncio.open_connection(ADDRESS, PORTS[80])

        for piece in (b"POST / HT", b"TP/1.1\r\nContent-Length: 4\r\n\r\nab", b"cd", b"nonsense\r\n\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.02)
        answers = (await reader.read()).split(b"HTTP/1.1 ")[1:]
        writer.close()
        await writer.wait_closed()

    assert [answer[:3] for answer in answers] == [b"401", b"400"]


async def test_a_refusing_antminer_keeps_its_configuration() -> None:
    async with served("antminer") as (site, miner):
        site.plant.set_fault("antminer-000", "refuses")

        answer = json.loads((await web("/cgi-bin/set_miner_conf.cgi", b'{"miner-mode": 1}'))[1])

        assert answer["stats"] == "error"
        assert miner.state is MinerState.HASHING


async def test_no_answer_of_a_stock_antminer_tells_its_watts() -> None:
    async with served("antminer"):
        pages = [(await web(f"/cgi-bin/{name}.cgi"))[1] for name in ("stats", "summary", "get_system_info")]
        reads = [json.dumps(await ask(command)).encode() for command in ("stats", "summary", "version")]

    assert not [text for text in (*pages, *reads) if b"watt" in text.lower() or b"power" in text.lower()]


def test_a_digest_for_another_page_proves_nothing() -> None:
    proof = _digest("GET", "/one", "n", "root")
    realm = "antMiner Configuration"

    def proves(target: str, nonce: str) -> bool:
        request = HttpRequest(method="GET", target=target, headers={"authorization": proof}, body=b"")
        return digest_proves(request, user="root", password="root", realm=realm, nonce=nonce)

    assert proves("/one", "n")
    assert not proves("/two", "n")
    assert not proves("/one", "m")
