"""VNish as pyasic and raw clients meet it: the token, the presets, the temperatures that pyasic swaps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulators.faces.http import HttpRequest
from simulators.faces.vnish import TOKEN_LIFE_S, VnishApi
from simulators.physics.miner import Miner, MinerState
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.simulators.plants import RATED_THS, RATED_W, Table, miners, only_miner, plant
from tests.simulators.test_faces_pyasic import MIN_SET, with_pyasic


class Client:
    """One client of one machine, unlocked."""

    def __init__(self, **keys: Any) -> None:
        self.site: Plant = plant(miners=[miners("vnish", **keys)])
        self.miner = only_miner(self.site)
        self._api = VnishApi(self.miner, lambda: self.site.now_s)
        self.token = ""
        self.unlock()

    def unlock(self, password: str = "admin") -> int:
        status, body = self.ask("POST", "unlock", {"pw": password})
        self.token = body.get("token", "")
        return status

    def ask(self, method: str, path: str, body: object = None, *, bearer: bool = True) -> tuple[int, Table]:
        headers = {"authorization": f"Bearer {self.token}" if bearer else self.token}
        posted = b"" if body is None else json.dumps(body).encode()
        request = HttpRequest(method=method, target=f"/api/v1/{path}", headers=headers, body=posted)
        answer = self._api.serve(request)
        return answer.status, json.loads(answer.body or b"{}")

    def choose(self, preset: str) -> Table:
        return self.ask("POST", "settings", {"miner": {"overclock": {"preset": preset}}})[1]

    @property
    def preset(self) -> str:
        return str(self.ask("GET", "settings")[1]["miner"]["overclock"]["preset"])


def test_a_token_may_be_sent_bare_or_as_a_bearers() -> None:
    client = Client()

    assert client.ask("GET", "summary", bearer=True)[0] == 200
    assert client.ask("GET", "summary", bearer=False)[0] == 200


def test_a_token_runs_out_with_time_and_with_a_reboot() -> None:
    old, rebooted = Client(), Client()

    old.site.advance(TOKEN_LIFE_S - 1)
    still = old.ask("GET", "summary")[0]
    old.site.advance(TOKEN_LIFE_S)
    rebooted.miner.reboot(0.0)

    assert still == 200
    assert old.ask("GET", "summary")[0] == 401
    assert rebooted.ask("POST", "mining/stop", {})[0] == 401


def test_another_password_unlocks_nothing() -> None:
    client = Client(password="hall-7")

    assert client.ask("GET", "summary")[0] == 401
    assert client.unlock("hall-7") == 200
    client.miner.faults.wrong_password = True
    assert client.unlock("hall-7") == 403


def test_a_tuned_preset_is_taken_and_an_untuned_one_is_not_but_both_are_answered_alike() -> None:
    client = Client()

    answers = [client.choose("2100"), client.choose("1000"), client.choose("no such")]
    client.site.advance(15.0)

    assert answers == [{"restart_required": False, "reboot_required": False}] * 3
    assert client.preset == "2100"
    assert client.miner.watts == pytest.approx(2100, rel=0.001)


def test_settings_that_are_not_sent_stay_as_they_were() -> None:
    client = Client()

    client.choose("2100")

    overclock = client.ask("GET", "settings")[1]["miner"]["overclock"]
    assert overclock["globals"] == {"volt": 1380, "freq": 645}
    assert overclock["preset_switcher"]["enabled"] is False


def test_a_machine_that_stands_cannot_be_stopped_again_and_one_that_hashes_not_started() -> None:
    client = Client()

    started = client.ask("POST", "mining/start", {})
    stopped = client.ask("POST", "mining/stop", {})
    again = client.ask("POST", "mining/stop", {})

    assert stopped == (200, {})
    assert started[0] == again[0] == 500
    assert "failed-to-activate" in started[1]["err"]
    assert "failed-to-activate" in again[1]["err"]


def test_a_stopped_machine_says_so_and_hashes_again_after_a_reboot() -> None:
    client = Client()
    client.ask("POST", "mining/stop", {})
    client.site.advance(20.0)

    stopped = client.ask("GET", "summary")[1]["miner"]
    client.miner.reboot(client.site.now_s)
    client.site.advance(120.0)

    assert stopped["miner_status"]["miner_state"] == "stopped"
    assert (stopped["power_consumption"], stopped["hr_realtime"]) == (25, 0)
    assert client.miner.state is MinerState.HASHING


def test_a_machine_that_refuses_names_an_error_and_one_that_lies_does_not() -> None:
    refuses, lies = Client(), Client()
    refuses.miner.faults.refuses = True
    lies.miner.faults.lies_about_stop = True

    refused = refuses.ask("POST", "mining/stop", {})
    lied = lies.ask("POST", "mining/stop", {})
    lies.site.advance(20.0)

    assert refused[0] == 500
    assert refused[1]["err"]
    assert lied == (200, {})
    assert lies.ask("GET", "summary")[1]["miner"]["miner_status"]["miner_state"] == "stopped"
    assert lies.miner.watts == RATED_W


# -- pyasic ----------------------------------------------------------------------------------------------


@pytest.mark.socket
def test_pyasic_reads_everything_but_swaps_chips_and_boards() -> None:
    async def scenario(client: Any, _site: SimulatedSite, truth: Miner) -> None:
        data = await client.get_data(exclude=["config"])

        assert float(data.hashrate) == pytest.approx(RATED_THS, rel=0.001)
        assert (data.wattage, data.wattage_limit) == (RATED_W, RATED_W)
        assert [board.missing for board in data.hashboards] == [False] * 3
        assert {board.temp for board in data.hashboards} == {round(truth.temperature_c)}
        assert all(board.chip_temp < board.temp - 10 for board in data.hashboards)
        assert [fan.speed for fan in data.fans] == [4800] * 4
        own, fee = (pool.url for pool in data.pools)
        assert (own.host, fee) == ("pool.example", None), "the developers' pool is listed, without an address"
        assert data.fw_ver == "1.2.6"
        assert data.is_mining
        assert data.errors == []

    with_pyasic("vnish", scenario)


@pytest.mark.socket
def test_pyasic_stops_and_wakes_it() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        await client.stop_mining()
        await site.advance(20.0)
        asleep_w, asleep = truth.watts, await client.get_data(include=MIN_SET)

        await client.resume_mining()
        await site.advance(90.0)

        assert asleep_w == pytest.approx(25, abs=1)
        assert (asleep.is_mining, asleep.wattage, float(asleep.hashrate)) == (False, 25, 0.0)
        assert (truth.watts, truth.rate) == (RATED_W, RATED_THS)

    with_pyasic("vnish", scenario)


@pytest.mark.socket
def test_pyasic_sends_no_command_again_after_its_token_ran_out() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        await client.get_data(include=MIN_SET)
        await site.advance(TOKEN_LIFE_S + 1)

        with pytest.raises(Exception, match="Failed to send command"):
            await client.stop_mining()
        assert truth.watts == RATED_W
        await client.stop_mining()
        assert truth.state is MinerState.ASLEEP

    with_pyasic("vnish", scenario)


@pytest.mark.socket
def test_pyasic_says_that_it_cannot_limit_it_and_sends_nothing() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        assert not await client.set_power_limit(2100)
        await site.advance(15.0)

        assert truth.watts == RATED_W

    with_pyasic("vnish", scenario)
