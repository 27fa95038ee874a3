"""Whatsminer API v2 seen by a raw socket: tokens, ciphers and refusals."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from simulators.faces.md5crypt import md5crypt
from simulators.physics.miner import MinerState
from tests.simulators.wires import ask, raw, served

pytestmark = pytest.mark.socket


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
