"""Auradine as pyasic and raw clients meet it: the token, the power target, what sleep shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulators.faces.auradine import TOKEN_LIFE_S, AuradineApi
from simulators.faces.http import HttpRequest
from simulators.physics.miner import Miner, MinerState
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.simulators.plants import RATED_THS, RATED_W, Table, miners, only_miner, plant
from tests.simulators.test_faces_pyasic import MIN_SET, with_pyasic


class Client:
    """One client of one machine, logged in."""

    def __init__(self, **keys: Any) -> None:
        self.site: Plant = plant(miners=[miners("auradine", **keys)])
        self.miner = only_miner(self.site)
        self._api = AuradineApi(self.miner, lambda: self.site.now_s)
        self.token = ""
        self.login()

    def login(self, user: str = "admin", password: str = "admin") -> Table:
        answer = self.ask("token", user=user, password=password)
        self.token = answer["Token"][0]["Token"] if "Token" in answer else ""
        return answer

    def ask(self, command: str, **values: object) -> Table:
        body = json.dumps({"command": command, **values}).encode() if values else b""
        method = "POST" if values else "GET"
        request = HttpRequest(method=method, target=f"/{command}", headers={"token": self.token}, body=body)
        answer: Table = json.loads(self._api.serve(request).body)
        return answer

    def verdict(self, command: str, **values: object) -> str:
        return str(self.ask(command, **values)["STATUS"][0]["STATUS"])


def test_a_token_runs_out_with_time_and_with_a_reboot() -> None:
    old, rebooted = Client(), Client()

    old.site.advance(TOKEN_LIFE_S - 1)
    still = old.verdict("psu")
    old.site.advance(TOKEN_LIFE_S)
    rebooted.miner.reboot(0.0)

    assert still == "S"
    assert old.verdict("psu") == rebooted.verdict("mode", sleep="on") == "E"


@pytest.mark.parametrize("login", [{"user": "root"}, {"password": "x"}])
def test_who_does_not_know_user_and_password_gets_no_token(login: dict[str, str]) -> None:
    client = Client()

    assert client.login(**login)["STATUS"][0]["STATUS"] == "E"
    assert client.verdict("mode") == "E"


def test_a_power_target_is_followed_and_one_out_of_range_is_refused() -> None:
    client = Client()

    taken = client.verdict("mode", mode="custom", tune="power", power=2100)
    refused = [
        client.verdict("mode", mode="custom", tune="power", power=power) for power in (9000, 0, "2000")
    ]
    client.site.advance(15.0)

    assert (taken, refused) == ("S", ["E", "E", "E"])
    assert client.miner.watts == pytest.approx(2100, rel=0.001)
    assert client.ask("mode")["Mode"][0]["Power"] == 2100


def test_a_sleeping_machine_shows_standby_watts_and_no_chips_and_keeps_its_target_and_its_sleep() -> None:
    client = Client()
    client.ask("mode", mode="custom", tune="power", power=2100)
    client.ask("mode", sleep="on")
    client.site.advance(20.0)

    mode, psu = client.ask("mode")["Mode"][0], client.ask("psu")["PSU"][0]
    chips = [board["ChipTemp"] for board in client.ask("temperature")["Temperature"]]
    client.miner.reboot(client.site.now_s)
    client.site.advance(60.0)

    assert (mode["Sleep"], mode["Power"], psu["PowerIn"]) == ("on", 2100, "25.00W")
    assert chips == [None] * 4
    assert client.miner.state is MinerState.ASLEEP


def test_a_machine_that_refuses_says_so_and_one_that_lies_does_not() -> None:
    refuses, lies = Client(), Client()
    refuses.miner.faults.refuses = True
    lies.miner.faults.lies_about_limit = True

    verdicts = [client.verdict("mode", mode="custom", tune="power", power=2100) for client in (refuses, lies)]
    lies.site.advance(15.0)

    assert verdicts == ["E", "S"]
    assert lies.ask("mode")["Mode"][0]["Power"] == 2100
    assert lies.miner.watts == RATED_W


# -- pyasic ----------------------------------------------------------------------------------------------


@pytest.mark.socket
def test_pyasic_reads_everything_that_it_knows_of() -> None:
    async def scenario(client: Any, _site: SimulatedSite, truth: Miner) -> None:
        data = await client.get_data(exclude=["config"])

        assert float(data.hashrate) == pytest.approx(RATED_THS, rel=0.001)
        assert (data.wattage, data.wattage_limit) == (RATED_W, RATED_W)
        assert [board.missing for board in data.hashboards] == [False] * 3
        assert all(0 < board.temp < truth.temperature_c for board in data.hashboards)
        assert [fan.speed for fan in data.fans] == [4800] * 4
        assert data.fw_ver == "2026-03.02"
        assert data.uptime is not None
        assert data.is_mining

    with_pyasic("auradine", scenario)


@pytest.mark.socket
def test_pyasic_limits_it_and_puts_it_to_sleep_and_wakes_it() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        assert await client.set_power_limit(2100)
        assert await client.stop_mining()
        await site.advance(20.0)
        asleep_w, asleep = truth.watts, await client.get_data(include=MIN_SET)

        assert await client.resume_mining()
        await site.advance(90.0)

        assert asleep_w == pytest.approx(25, abs=1)
        assert (asleep.is_mining, asleep.wattage, asleep.wattage_limit) == (False, 25, 2100)
        assert truth.watts == pytest.approx(2100, rel=0.001)

    with_pyasic("auradine", scenario)


@pytest.mark.socket
def test_pyasic_sends_no_command_again_after_its_token_ran_out() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        await client.get_data(include=MIN_SET)
        await site.advance(TOKEN_LIFE_S + 1)

        assert not await client.stop_mining()
        assert truth.watts == RATED_W
        assert await client.stop_mining()
        assert truth.state is MinerState.ASLEEP

    with_pyasic("auradine", scenario)


@pytest.mark.socket
@pytest.mark.filterwarnings("ignore::UserWarning")  # pyasic: could not authenticate
def test_a_dead_one_looks_to_pyasic_like_a_mining_one() -> None:
    async def scenario(client: Any, site: SimulatedSite, _truth: Miner) -> None:
        site.plant.set_fault("auradine-000", "dead")
        await site.exchange()

        data = await client.get_data(include=MIN_SET)

        assert (data.is_mining, data.wattage) == (True, None)

    with_pyasic("auradine", scenario)
