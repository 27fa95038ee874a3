"""Braiins OS+ as pyasic and a raw gRPC client meet it: tokens, targets, and connections that go wrong."""

from __future__ import annotations

import asyncio
import socket
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.exceptions import StreamTerminatedError

from simulators.faces.braiins import LOGIN, TOKEN_LIFE_S
from simulators.faces.connection import MAX_CONNECTIONS
from simulators.physics.miner import Miner, MinerState
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.simulators.plants import HOME, RATED_THS, RATED_W, config, miners
from tests.simulators.test_faces_pyasic import MIN_SET, with_pyasic

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside pyasic, at import
    from pyasic.web.braiins_os.proto.braiins.bos import v1

pytestmark = pytest.mark.socket

ADDRESS = f"{HOME}.1"
DEADLINE_S = 10.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


class Client:
    """One connection to the simulated machine, and one login at a time."""

    def __init__(self, port: int) -> None:
        self._channel = Channel(ADDRESS, port)
        self.token = "none"

    async def login(self, password: str = "root") -> Any:
        request = v1.LoginRequest(username="root", password=password)
        unary = Cardinality.UNARY_UNARY
        async with self._channel.request(LOGIN, unary, v1.LoginRequest, v1.LoginResponse) as stream:
            await stream.send_message(request, end=True)
            reply = await stream.recv_message()
        assert stream.initial_metadata is not None
        self.token = str(stream.initial_metadata["authorization"])
        return reply

    async def stats(self) -> Any:
        stub = v1.MinerServiceStub(self._channel)
        return await stub.get_miner_stats(v1.GetMinerStatsRequest(), metadata={"authorization": self.token})

    async def set_target(self, watts: int, save_action: Any = v1.SaveAction.SAVE_AND_FORCE_APPLY) -> Any:
        request = v1.SetPowerTargetRequest(save_action=save_action, power_target=v1.Power(watt=watts))
        stub = v1.PerformanceServiceStub(self._channel)
        return await stub.set_power_target(request, metadata={"authorization": self.token})

    async def pause(self) -> Any:
        stub = v1.ActionsServiceStub(self._channel)
        return await stub.pause_mining(v1.PauseMiningRequest(), metadata={"authorization": self.token})

    def close(self) -> None:
        self._channel.close()


@asynccontextmanager
async def serving(**keys: Any) -> AsyncIterator[tuple[SimulatedSite, Miner, int]]:
    ports = {4028: free_port(), 50_051: free_port()}
    site = SimulatedSite(Plant(config(ports=ports, miners=[miners("braiins", **keys)])))
    async with asyncio.timeout(DEADLINE_S), site.serving():
        yield site, next(iter(site.plant.miners.values())), ports[50_051]


@asynccontextmanager
async def met(**keys: Any) -> AsyncIterator[tuple[SimulatedSite, Miner, Client]]:
    async with serving(**keys) as (site, truth, port):
        client = Client(port)
        try:
            yield site, truth, client
        finally:
            client.close()


def status_of(error: pytest.ExceptionInfo[GRPCError]) -> Status:
    return error.value.status


async def until_hung_up(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        while await reader.read(4096):
            pass


# -- tokens ----------------------------------------------------------------------------------------------


async def test_the_token_comes_before_the_reply_and_in_it_and_opens_everything() -> None:
    async with met() as (_, _, client):
        with pytest.raises(GRPCError) as without:
            await client.stats()
        reply = await client.login()

        assert status_of(without) is Status.UNAUTHENTICATED
        assert reply.token == client.token
        assert (await client.stats()).power_stats.approximated_consumption.watt == RATED_W


async def test_who_does_not_know_the_password_gets_no_token() -> None:
    async with met(password="hall-7") as (site, _, client):
        with pytest.raises(GRPCError) as factory:
            await client.login()
        await client.login("hall-7")
        site.plant.set_fault("braiins-000", "wrong_password")
        with pytest.raises(GRPCError) as changed:
            await client.login("hall-7")

        assert status_of(factory) is status_of(changed) is Status.UNAUTHENTICATED


async def test_a_token_lapses_when_it_is_not_used_and_with_a_reboot() -> None:
    async with met() as (site, truth, client):
        await client.login()
        for _ in range(2):
            await site.advance(TOKEN_LIFE_S - 1)
            await client.stats()
        await site.advance(TOKEN_LIFE_S)
        with pytest.raises(GRPCError) as lapsed:
            await client.stats()
        await client.login()
        truth.reboot(site.plant.now_s)
        with pytest.raises(GRPCError) as rebooted:
            await client.stats()

        assert status_of(lapsed) is status_of(rebooted) is Status.UNAUTHENTICATED


# -- orders ----------------------------------------------------------------------------------------------


async def test_a_target_out_of_range_is_refused_with_the_range() -> None:
    async with met() as (site, truth, client):
        await client.login()
        with pytest.raises(GRPCError, match=r"\[Some\(1500\), Some\(3000\)\]") as refused:
            await client.set_target(1499)
        taken = await client.set_target(1500)
        await site.advance(15.0)

        assert status_of(refused) is Status.INVALID_ARGUMENT
        assert taken.power_target.watt == 1500
        assert truth.watts == pytest.approx(1500, rel=0.001)


async def test_a_target_that_is_only_saved_changes_nothing_yet() -> None:
    async with met() as (site, truth, client):
        await client.login()
        await client.set_target(1500, v1.SaveAction.SAVE)
        await site.advance(15.0)

        assert truth.watts == RATED_W


async def test_a_machine_that_is_not_ready_refuses_and_one_that_lies_agrees() -> None:
    async with met() as (site, truth, client):
        await client.login()
        site.plant.set_fault("braiins-000", "refuses")
        with pytest.raises(GRPCError) as refused:
            await client.pause()
        site.plant.set_fault("braiins-000", "refuses", False)
        site.plant.set_fault("braiins-000", "lies_about_stop")
        await client.pause()
        await site.advance(15.0)

        assert status_of(refused) is Status.FAILED_PRECONDITION
        assert truth.watts == RATED_W


# -- connections -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["half_reply", "garbage"])
async def test_an_answer_that_goes_wrong_ends_its_connection(fault: str) -> None:
    async with met() as (site, _, client):
        await client.login()
        site.plant.set_fault("braiins-000", fault)
        with pytest.raises(StreamTerminatedError):
            await client.stats()
        site.plant.set_fault("braiins-000", fault, False)

        assert (await client.stats()).power_stats.approximated_consumption.watt == RATED_W


async def test_a_hanging_machine_takes_a_call_and_never_answers() -> None:
    async with met() as (site, _, client):
        await client.login()
        site.plant.set_fault("braiins-000", "hangs")

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.stats()


async def test_a_slow_machine_answers_late_and_in_order() -> None:
    async with met() as (site, _, client):
        await client.login()
        site.plant.set_fault("braiins-000", "slow_s", 0.2)
        asked_s = asyncio.get_running_loop().time()

        await client.stats()

        assert asyncio.get_running_loop().time() - asked_s >= 0.19


async def test_a_dying_machine_drops_its_connections_and_refuses_new_ones() -> None:
    async with met() as (site, _, client):
        await client.login()
        site.plant.set_fault("braiins-000", "dead")
        await site.exchange()

        with pytest.raises((ConnectionRefusedError, StreamTerminatedError)):
            await client.stats()
        with pytest.raises(ConnectionRefusedError):
            await client.stats()


async def test_a_machine_takes_only_so_many_grpc_connections_at_a_time() -> None:
    async with serving() as (_, _, port):
        held = [await asyncio.open_connection(ADDRESS, port) for _ in range(MAX_CONNECTIONS)]
        for reader, _ in held:
            await reader.read(1)
        reader, writer = await asyncio.open_connection(ADDRESS, port)
        await until_hung_up(reader)
        for _, other in (*held, (reader, writer)):
            other.close()


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4000, b'{"command":"version"}'])
async def test_what_is_no_http_2_is_hung_up_on(nonsense: bytes) -> None:
    async with serving() as (_, _, port):
        reader, writer = await asyncio.open_connection(ADDRESS, port)
        writer.write(nonsense)

        await until_hung_up(reader)
        writer.close()


# -- pyasic ----------------------------------------------------------------------------------------------


def test_pyasic_identifies_it_and_reads_everything_it_asks_for() -> None:
    async def scenario(client: Any, _site: SimulatedSite, truth: Miner) -> None:
        data = await client.get_data()

        assert (type(client).__name__, client.model) == ("BOSMinerS19Pro", "S19 Pro (BOS+)")
        assert "BOSer" in {base.__name__ for base in type(client).__mro__}
        assert float(data.hashrate) == float(data.expected_hashrate) == pytest.approx(RATED_THS, rel=0.001)
        assert (data.wattage, data.wattage_limit, data.is_mining) == (RATED_W, RATED_W, True)
        assert [board.missing for board in data.hashboards] == [False] * 3
        assert max(board.chip_temp for board in data.hashboards) == int(truth.temperature_c)
        assert (data.fw_ver, data.errors, data.config.mining_mode.power) == ("26.03", [], RATED_W)
        assert all(fan.speed for fan in data.fans)
        assert [pool.url.host for pool in data.pools] == ["pool.example"]

    with_pyasic("braiins", scenario)


def test_pyasic_limits_stops_and_wakes_it() -> None:
    async def scenario(client: Any, site: SimulatedSite, truth: Miner) -> None:
        assert await client.set_power_limit(2100)
        assert not await client.set_power_limit(9000)
        await site.advance(15.0)
        limited_w = truth.watts
        assert await client.stop_mining()
        await site.advance(20.0)
        asleep = await client.get_data(include=MIN_SET)
        assert await client.resume_mining()
        await site.advance(1.0)
        warming_up = await client.get_data(include=MIN_SET)
        await site.advance(60.0)

        assert limited_w == pytest.approx(2100, rel=0.001)
        assert (asleep.is_mining, asleep.wattage, asleep.wattage_limit) == (False, 25, 2100)
        assert (warming_up.wattage, truth.state) == (None, MinerState.HASHING)

    with_pyasic("braiins", scenario)


def test_pyasic_lets_the_error_of_a_wrong_password_escape_from_stop() -> None:
    async def scenario(client: Any, _site: SimulatedSite, truth: Miner) -> None:
        client.web.pwd = "not it"

        with pytest.raises(GRPCError) as error:
            await client.stop_mining()

        assert status_of(error) is Status.UNAUTHENTICATED
        assert truth.watts == RATED_W

    with_pyasic("braiins", scenario)
