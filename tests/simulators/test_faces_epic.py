"""ePIC as pyasic and a raw client meet it: the password in the body, the tuner and its targets."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from simulators.faces.epic import EpicApi, EpicDashboard
from simulators.faces.http import HttpRequest
from simulators.physics.miner import Miner, MinerState
from simulators.serve import SimulatedSite
from tests.simulators.plants import RATED_THS, RATED_W, Table, miners, only_miner, plant
from tests.simulators.test_faces_pyasic import MIN_SET, with_pyasic
from tests.simulators.wires import PORTS, raw, served

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside pyasic, at import
    import pyasic


class Client:
    """One client of one machine, who knows its password."""

    def __init__(self, **keys: Any) -> None:
        self.site = plant(miners=[miners("epic", **keys)])
        self.miner = only_miner(self.site)
        self._api = EpicApi(self.miner, lambda: self.site.now_s)

    def get(self, path: str) -> Any:
        answer = self._api.serve(HttpRequest(method="GET", target=f"/{path}", headers={}, body=b""))
        return json.loads(answer.body)

    def post(self, path: str, body: object) -> Table:
        request = HttpRequest(method="POST", target=f"/{path}", headers={}, body=json.dumps(body).encode())
        answer: Table = json.loads(self._api.serve(request).body)
        return answer

    def tell(self, path: str, param: object) -> Table:
        return self.post(path, {"param": param, "password": "letmein"})

    def tune(self, algorithm: str, target: object) -> bool:
        return bool(self.tell("perpetualtune/algo", {"algo": algorithm, "target": target})["result"])

    def state(self) -> tuple[str, str | None]:
        status = self.get("summary")["Status"]
        return status["Operating State"], status["Last Command"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"param": "Stop", "password": "not it"}, "BadPassword"),
        ({"param": "Stop"}, "BadPassword"),
        ({"password": "letmein"}, "MissingParam"),
        ({"param": "Pause", "password": "letmein"}, "MissingParam"),
        (["Stop", "letmein"], "MissingParam"),
    ],
)
def test_an_order_without_its_password_or_its_parameter_is_refused(body: object, error: str) -> None:
    client = Client()

    assert client.post("miner", body) == {"result": False, "error": error}
    assert client.miner.state is MinerState.HASHING


def test_a_stopped_machine_idles_and_one_that_lost_its_work_idles_as_well_but_was_told_to_run() -> None:
    stopped, workless = Client(), Client()
    stopped.tell("miner", "Stop")
    workless.tell("miner", "Autostart")
    workless.miner.faults.pool_loss = True

    assert stopped.state() == ("Idling", "stop")
    assert workless.state() == ("Idling", "autostart")


def test_a_target_in_watts_is_followed_and_one_out_of_range_is_refused() -> None:
    client = Client()
    lists = client.get("capabilities")["PerpetualTune"][0]

    taken, refused = client.tune("PowerTune", 2100), [client.tune("PowerTune", w) for w in (1499, 3001, "2")]
    client.site.advance(15.0)
    tuning = client.get("perpetualtune")

    assert (lists["algorithm"], lists["min"], lists["max"]) == ("PowerTune", 1500, 3000)
    assert (taken, refused) == (True, [False] * 3)
    assert client.miner.watts == pytest.approx(2100, rel=0.001)
    assert (tuning["Current Algorithm"], tuning["Algorithms"]["PowerTune"]["Target"]) == ("PowerTune", 2100)


def test_older_firmware_takes_terahashes_only() -> None:
    client = Client(power_tune=False)

    taken, refused = client.tune("ChipTune", 90), client.tune("PowerTune", 2100)
    client.site.advance(60.0)

    assert (taken, refused) == (True, False)
    assert client.miner.rate == pytest.approx(90, rel=0.001)
    assert client.get("perpetualtune")["Algorithms"]["ChipTune"]["Target"] == 90


def test_a_tuner_that_is_switched_off_lists_no_algorithm_and_a_target_switches_it_on() -> None:
    client = Client()
    client.tell("perpetualtune", False)
    off = client.get("summary")["PerpetualTune"], client.get("perpetualtune")["Enable"]
    client.tune("PowerTune", 2000)

    assert off == ({"Running": False, "Algorithm": {}}, False)
    assert client.get("perpetualtune")["Enable"]


def test_a_busy_machine_says_that_its_last_order_is_pending_and_one_that_lies_agrees() -> None:
    busy, lies = Client(), Client()
    busy.miner.faults.refuses = True
    lies.miner.faults.lies_about_limit = True

    refusal, taken = busy.tell("miner", "Stop"), lies.tune("PowerTune", 2100)
    lies.site.advance(15.0)

    assert "LastCmdStillPending" in refusal["error"]
    assert taken
    assert lies.miner.watts == RATED_W


def test_no_chip_is_hotter_than_the_hottest_and_a_stopped_machine_tells_none() -> None:
    client = Client()
    hot = max(sensor for board in client.get("temps/chip") for sensor in board["Data"])
    client.tell("miner", "Stop")

    assert hot == pytest.approx(client.miner.temperature_c, abs=0.1)
    assert [board["Data"] for board in client.get("temps/chip")] == [[]] * 3


def test_every_request_to_its_page_gets_its_page() -> None:
    answer = EpicDashboard().serve(HttpRequest(method="GET", target="/x", headers={}, body=b""))

    assert (answer.status, answer.content_type) == (200, "text/html")
    assert b"Miner Web Dashboard" in answer.body


@pytest.mark.socket
async def test_what_is_no_http_is_answered_at_once() -> None:
    async with served("epic"):
        answer = await raw(b'{"command":"version"}', PORTS[4028])

    assert answer.startswith(b"HTTP/1.1 400 ")


# -- pyasic ----------------------------------------------------------------------------------------------


@pytest.mark.socket
def test_pyasic_identifies_it_and_reads_what_it_asks_for() -> None:
    async def scenario(client: Any, _site: SimulatedSite, _truth: Miner) -> None:
        data = await client.get_data()

        assert (type(client).__name__, client.model) == ("ePICS19Pro", "S19 Pro (ePIC)")
        assert float(data.hashrate) == float(data.expected_hashrate) == pytest.approx(RATED_THS, rel=0.001)
        assert (data.wattage, data.is_mining, data.fw_ver) == (RATED_W, True, "1.38.3")
        assert [(board.missing, board.chips) for board in data.hashboards] == [(False, 114)] * 3
        assert data.config.mining_mode.hashrate == RATED_THS
        assert [pool.url.host for pool in data.pools] == ["pool.example"]

    with_pyasic("epic", scenario)


@pytest.mark.socket
def test_pyasics_stop_and_resume_work_and_say_that_they_did_not() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        stopped = await client.stop_mining()
        await site.advance(20.0)
        asleep_w, asleep = truth.watts, await client.get_data(include=MIN_SET)
        resumed = await client.resume_mining()
        await site.advance(60.0)

        assert (stopped, resumed) == (False, False)
        assert (asleep_w, asleep.wattage, asleep.is_mining) == (25, 25, False)
        assert truth.watts == RATED_W

    with_pyasic("epic", scenario)


@pytest.mark.socket
def test_pyasic_can_neither_read_one_tuned_to_watts_nor_the_configuration_of_one_that_is_not_tuned() -> None:
    async def scenario(client: Any, _site: SimulatedSite, _truth: Miner) -> None:
        await client.web.set_ptune_algo({"algo": "PowerTune", "target": 2100})
        with pytest.raises(pyasic.APIError):
            await client.get_data(include=MIN_SET)
        await client.web.set_ptune_enable(False)
        with pytest.raises(RecursionError):
            await client.get_config()

    with_pyasic("epic", scenario)
