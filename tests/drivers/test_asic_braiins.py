"""Braiins OS+: what its replies mean, how its tokens are treated, and the one connection that is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.server import Server
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from controller.domain.devices import Quality
from controller.domain.power import NO_LIMIT, Limit, Power
from drivers.asic import braiins
from drivers.asic.adapter import RefusedError
from drivers.asic.braiins import Braiins, Poll
from drivers.asic.build import build
from drivers.asic.config import MinerGroupConfig
from drivers.asic.grpc import GrpcClient
from drivers.asic.library import bos
from drivers.asic.protobuf import Field
from drivers.asic.trouble import as_driver_error
from drivers.asic.wire import MAX_REPLY_BYTES
from drivers.base import DriverError
from simulators.config import PlantConfig
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.drivers.asic_fakes import HOST, PORTS, Json, plate, point, remapped

MAC = "94:e3:6d:00:00:01"
NORMAL, PAUSED = bos.MinerStatus.NORMAL, bos.MinerStatus.PAUSED


def stats(*, watts: int = 2950, rate_ghs: float = 98_500.0, now_ghs: float = 1.0) -> Any:
    return bos.GetMinerStatsResponse(
        miner_stats=bos.WorkSolverStats(
            real_hashrate=bos.RealHashrate(
                last_5_s=bos.GigaHashrate(now_ghs), last_1_m=bos.GigaHashrate(gigahash_per_second=rate_ghs)
            )
        ),
        power_stats=bos.MinerPowerStats(approximated_consumption=bos.Power(watt=watts)),
    )


def boards(*chips_c: float) -> Any:
    sensors = [bos.TemperatureSensor(temperature=bos.Temperature(degree_c=chip_c)) for chip_c in chips_c]
    return bos.GetHashboardsResponse(
        hashboards=[
            bos.Hashboard(id=str(index), highest_chip_temp=sensor, board_temp=bos.Temperature(degree_c=95.0))
            for index, sensor in enumerate(sensors)
        ]
    )


def tuned_to(watts: int) -> Any:
    target = bos.PowerTargetMode(power_target=bos.Power(watt=watts))
    return bos.PerformanceMode(tuner_mode=bos.TunerPerformanceMode(power_target=target))


def details(status: Any = NORMAL, mac: str = MAC) -> Any:
    return bos.GetMinerDetailsResponse(hostname="hall", mac_address=mac, status=status)


def read(**parts: Any) -> Any:
    replies = {"details": details(), "stats": stats(), "boards": boards(71.5), "mode": tuned_to(3000)} | parts
    return braiins.sample(Poll(**{name: bytes(reply) for name, reply in replies.items()}), plate())


# -- what the replies mean -------------------------------------------------------------------------------


def test_braiins_watts_are_an_estimate_and_its_hottest_chip_is_the_hottest_of_all_boards() -> None:
    taken = read(boards=boards(71.5, 0.0, 78.25))

    assert (taken.reading.draw, taken.reading.quality) == (Power(2950), Quality.ESTIMATED)
    assert taken.reading.setting == Limit(Power(3000))
    assert taken.reading.rate == pytest.approx(98.5)
    assert taken.reading.hottest_c == 78.25
    assert taken.mac == MAC.upper()


def test_braiins_that_estimates_no_watts_while_it_starts_may_draw_all_that_its_target_allows() -> None:
    targeted = read(stats=stats(watts=0, rate_ghs=0)).reading
    free = read(stats=stats(watts=0, rate_ghs=0), mode=bos.PerformanceMode()).reading

    assert targeted.draw == Power(3000)
    assert free.draw == Power(3150)


def test_braiins_that_estimates_no_watts_and_hashes_more_than_its_target_allows_draws_what_that_takes() -> (
    None
):
    liar = read(stats=stats(watts=0, now_ghs=99_000.0), mode=tuned_to(2100)).reading
    came_down = read(stats=stats(watts=0, rate_ghs=99_000.0, now_ghs=76_000.0), mode=tuned_to(2100)).reading

    assert (liar.draw, came_down.draw) == (Power(2971), Power(2100))


def test_braiins_that_is_paused_is_at_rest_unless_it_hashes_all_the_same() -> None:
    at_rest = read(details=details(PAUSED), stats=stats(watts=0, rate_ghs=0)).reading
    hashing = read(details=details(PAUSED), stats=stats(watts=0)).reading

    assert (at_rest.draw, at_rest.setting) == (Power(25), Limit(Power(25)))
    assert (hashing.draw, hashing.setting) == (Power(3000), Limit(Power(25)))


@pytest.mark.parametrize(
    "mode",
    [
        bos.PerformanceMode(manual_mode=bos.ManualPerformanceMode()),
        bos.PerformanceMode(
            tuner_mode=bos.TunerPerformanceMode(
                hashrate_target=bos.HashrateTargetMode(hashrate_target=bos.TeraHashrate(90.0))
            )
        ),
        bos.PerformanceMode(),
    ],
)
def test_braiins_that_is_not_tuned_to_watts_has_no_limit(mode: Any) -> None:
    assert read(mode=mode).reading.setting == NO_LIMIT


@pytest.mark.parametrize(
    ("reply", "names"), [(details(status=0), "24.03"), (details(mac=""), "MAC"), (b"", "status")]
)
def test_braiins_that_does_not_tell_who_and_how_it_is_gives_no_reading(reply: Any, names: str) -> None:
    with pytest.raises(DriverError, match=names):
        read(details=reply)


def test_braiins_offers_the_points_within_the_range_that_it_names() -> None:
    def range_of(least_w: int, most_w: int) -> bytes:
        limits = bos.PowerConstraints(min=bos.Power(watt=least_w), max=bos.Power(watt=most_w))
        return bytes(bos.GetConstraintsResponse(tuner_constraints=bos.TunerConstraints(power_target=limits)))

    points = (point("sleep", 25), point("a", 1699), point("b", 1700), point("c", 2900), point("d", 2901))
    offered = braiins.points_within(range_of(1700, 2900), plate(points=points))

    assert offered is not None
    assert [point.name for point in offered] == ["sleep", "b", "c"]
    assert braiins.points_within(b"", plate(points=points)) is None
    with pytest.raises(DriverError, match="6000"):
        braiins.points_within(range_of(4000, 6000), plate())


def test_a_field_that_occurs_again_replaces_what_came_before_it() -> None:
    assert braiins.WATTS.number(bytes(stats(watts=1)) + bytes(stats(watts=2))) == 2


def test_a_text_that_is_cut_short_is_no_text() -> None:
    login = bytes(bos.LoginResponse(token="abcdef"))

    assert braiins.TOKEN.text(login) == "abcdef"
    with pytest.raises(ValueError, match="announced"):
        braiins.TOKEN.text(login[:-1])


@given(st.binary(max_size=80), st.integers(0, 80), st.integers(0, 200))
def test_bytes_that_are_no_message_are_a_value_or_an_error_and_nothing_else(
    noise: bytes, keep: int, at: int
) -> None:
    whole = bytes(boards(71.5, 78.25))
    broken = whole[: min(at, len(whole))] + noise + whole[min(at + keep, len(whole)) :]

    for field in (braiins.CHIP_C, braiins.WATTS, Field(bos.GetHashboardsResponse, "hashboards.id")):
        try:
            with as_driver_error():
                field.numbers(broken)
                field.text(broken)
        except DriverError:
            pass


# -- a machine that plays by a script --------------------------------------------------------------------


class BosServer:
    """Takes one token at a time. `says` has the reply to each method, or the error that it gives instead."""

    def __init__(self, **says: Any) -> None:
        self.says: dict[str, Any] = {
            "GetMinerDetails": details(),
            "GetMinerStats": stats(),
            "GetHashboards": boards(71.5),
            "GetActivePerformanceMode": tuned_to(3000),
            "GetConstraints": bos.GetConstraintsResponse(),
            "SetPowerTarget": lambda asked: bos.SetPowerTargetResponse(power_target=asked.power_target),
            "PauseMining": bos.PauseMiningResponse(),
            "ResumeMining": bos.ResumeMiningResponse(),
        } | says
        self.token = ""
        self.heard: list[str] = []
        self.connections: list[asyncio.Transport] = []
        self.keeps_waiting = asyncio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[BosServer]:
        server = _Counting([self], self.connections)
        await server.start(HOST, PORTS[50_051])
        try:
            yield self
        finally:
            server.close()
            self.drop()
            await server.wait_closed()

    def drop(self) -> None:
        for connection in self.connections:
            connection.abort()

    def __mapping__(self) -> dict[str, Handler]:
        handlers = {}
        for service in (
            bos.AuthenticationServiceBase,
            bos.MinerServiceBase,
            bos.PerformanceServiceBase,
            bos.ActionsServiceBase,
            bos.ConfigurationServiceBase,
        ):
            for path, handler in service().__mapping__().items():
                name = path.rpartition("/")[2]
                func = self._login if name == "Login" else self._answering(name)
                handlers[path] = Handler(
                    func, Cardinality.UNARY_UNARY, handler.request_type, handler.reply_type
                )
        return handlers

    async def _login(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.heard.append("Login")
        if request.password != "root":
            raise GRPCError(Status.UNAUTHENTICATED, "Bad credentials")
        self.token = f"token-{self.heard.count('Login')}"
        await stream.send_initial_metadata(metadata={"authorization": self.token})
        await stream.send_message(bos.LoginResponse())

    def _answering(self, name: str) -> Callable[[Any], Any]:
        async def answer(stream: Any) -> None:
            request = await stream.recv_message()
            self.heard.append(name)
            if stream.metadata.get("authorization") != self.token:
                raise GRPCError(Status.UNAUTHENTICATED, "Missing or invalid authentication token")
            said = self.says[name]
            if said is None:
                self.keeps_waiting.set()
                await asyncio.Event().wait()
            if isinstance(said, GRPCError):
                raise said
            if isinstance(said, bytes):
                await stream.send_initial_metadata()
                await stream._stream.send_data(said, end_stream=True)
                return
            await stream.send_message(said(request) if callable(said) else said)

        return answer


class _Counting(Server):
    def __init__(self, handlers: list[Any], connections: list[asyncio.Transport]) -> None:
        super().__init__(handlers)
        self._connections = connections

    def _protocol_factory(self) -> Any:
        protocol = super()._protocol_factory()
        begin = protocol.connection_made

        def connection_made(transport: Any) -> None:
            self._connections.append(transport)
            begin(transport)

        protocol.connection_made = connection_made  # type: ignore[method-assign]  # one of it, not the class
        return protocol


@asynccontextmanager
async def talking(
    exchange_s: float = 2.0, password: str | None = None, **says: Any
) -> AsyncIterator[tuple[BosServer, Braiins]]:
    secret = None if password is None else SecretStr(password)
    adapter = Braiins(plate(exchange_s=exchange_s, password=secret))
    async with BosServer(**says).serving() as server:
        try:
            yield server, adapter
        finally:
            adapter.close()


@pytest.mark.socket
@remapped
async def test_braiins_is_read_over_one_connection_and_with_one_login() -> None:
    async with talking() as (server, adapter):
        for _ in range(3):
            await adapter.read()

        assert len(server.connections) == 1
        assert server.heard.count("Login") == 1
        assert server.heard.count("GetMinerStats") == 3


@pytest.mark.socket
@remapped
async def test_braiins_that_forgot_our_token_gets_a_new_login_and_then_the_order() -> None:
    async with talking() as (server, adapter):
        await adapter.read()
        server.token = "of a boot since then"
        server.heard.clear()

        await adapter.change(point("sleep", 25))

        assert server.heard == ["PauseMining", "Login", "PauseMining"]


@pytest.mark.socket
@remapped
async def test_braiins_with_another_password_is_told_nothing_and_names_the_user() -> None:
    async with talking(password="not-this-one") as (server, adapter):
        with pytest.raises(RefusedError, match="user 'root' or its password"):
            await adapter.change(point("sleep", 25))

        assert server.heard == ["Login"]


@pytest.mark.socket
@remapped
async def test_braiins_that_is_paused_gets_its_target_before_it_is_resumed() -> None:
    async with talking(GetMinerDetails=details(PAUSED)) as (server, adapter):
        await adapter.change(point("eco"))

        assert [call for call in server.heard if not call.startswith("Get")] == [
            "Login",
            "SetPowerTarget",
            "ResumeMining",
        ]


@pytest.mark.socket
@remapped
async def test_braiins_that_mines_is_not_resumed() -> None:
    async with talking() as (server, adapter):
        await adapter.change(point("eco"))

        assert "ResumeMining" not in server.heard


@pytest.mark.parametrize("status", [Status.INVALID_ARGUMENT, Status.OUT_OF_RANGE])
@pytest.mark.socket
@remapped
async def test_braiins_that_refuses_a_target_is_not_woken(status: Status) -> None:
    """Out of range is INVALID_ARGUMENT in firmware 23.12 and OUT_OF_RANGE in 25.11."""
    refusal = GRPCError(status, "power target [900W] is not in allowed range [Some(1700), Some(6500)]")
    async with talking(GetMinerDetails=details(PAUSED), SetPowerTarget=refusal) as (server, adapter):
        with pytest.raises(RefusedError, match="1700"):
            await adapter.change(point("low", 900))

        assert "ResumeMining" not in server.heard


@pytest.mark.socket
@remapped
async def test_braiins_that_takes_another_target_than_it_was_told_has_not_taken_ours() -> None:
    clamped = bos.SetPowerTargetResponse(power_target=bos.Power(watt=1700))
    async with talking(SetPowerTarget=clamped) as (_, adapter):
        with pytest.raises(DriverError, match="asked for 900 W, took 1700"):
            await adapter.change(point("low", 900))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.FAILED_PRECONDITION, RefusedError),
        (Status.UNIMPLEMENTED, RefusedError),
        (Status.UNAVAILABLE, DriverError),
        (Status.INTERNAL, DriverError),
    ],
)
@pytest.mark.socket
@remapped
async def test_only_an_error_that_means_no_is_a_refusal(status: Status, kind: type[DriverError]) -> None:
    async with talking(PauseMining=GRPCError(status, "so it is")) as (_, adapter):
        with pytest.raises(DriverError, match="so it is") as error:
            await adapter.change(point("sleep", 25))

        assert type(error.value) is kind


# -- the kept connection ---------------------------------------------------------------------------------


@pytest.mark.socket
@remapped
async def test_a_connection_that_the_machine_dropped_is_made_anew_by_the_next_call() -> None:
    async with talking() as (server, adapter):
        await adapter.read()
        server.drop()
        await asyncio.sleep(0.01)

        assert (await adapter.read()).reading.draw == Power(2950)
        assert len(server.connections) == 2


@pytest.mark.socket
@remapped
async def test_a_connection_lost_in_the_middle_of_a_call_is_an_error_and_then_made_anew() -> None:
    async with talking(GetHashboards=None) as (server, adapter):
        reading = asyncio.ensure_future(adapter.read())
        await server.keeps_waiting.wait()
        server.drop()

        with pytest.raises(DriverError, match="GetHashboards"):
            await reading
        server.says["GetHashboards"] = boards(70.0)

        assert (await adapter.read()).reading.hottest_c == 70.0


@pytest.mark.socket
@remapped
async def test_a_call_that_is_cancelled_while_its_connection_is_lost_stays_cancelled() -> None:
    async with talking(GetHashboards=None) as (server, adapter):
        reading = asyncio.ensure_future(adapter.read())
        await server.keeps_waiting.wait()
        adapter.close()

        reading.cancel()
        await asyncio.wait([reading])

        assert reading.cancelled()


@pytest.mark.socket
@remapped
async def test_a_lost_connection_leaves_no_wish_to_cancel_in_the_task_that_called() -> None:
    """grpclib cancels the task that waits for it, and never takes that back."""
    async with talking(GetHashboards=None) as (server, adapter):
        dropping = asyncio.ensure_future(server.keeps_waiting.wait())
        dropping.add_done_callback(lambda _: server.drop())

        with pytest.raises(DriverError):
            await adapter.read()

        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


@pytest.mark.socket
@remapped
async def test_a_call_without_an_answer_ends_and_takes_its_connection_with_it() -> None:
    async with talking(exchange_s=0.1, GetMinerStats=None) as (server, adapter):
        with pytest.raises(TimeoutError):
            await adapter.read()
        server.says["GetMinerStats"] = stats()

        await adapter.read()

        assert len(server.connections) == 2


@pytest.mark.socket
@remapped
async def test_a_connection_is_replaced_before_what_is_remembered_of_it_grows_large() -> None:
    """h2 remembers every stream that is over, up to 65,536 of them."""
    async with BosServer().serving() as server:
        client = GrpcClient(HOST, braiins.PORT, deadline_s=2.0, max_calls=2)
        for _ in range(5):
            await client.call(braiins.path(braiins.LOGIN), bos.LoginRequest(username="root", password="root"))
        client.close()

        assert len(server.connections) == 3
        assert server.heard == ["Login"] * 5


@pytest.mark.socket
@remapped
async def test_a_reply_shorter_than_it_said_is_an_error_and_ends_its_connection() -> None:
    async with talking(GetMinerStats=b"\0\0\0\0\x10short") as (server, adapter):
        with pytest.raises(DriverError, match="GetMinerStats"):
            await adapter.read()
        server.says["GetMinerStats"] = stats()

        await adapter.read()

        assert len(server.connections) == 2


@pytest.mark.socket
@remapped
async def test_an_endless_grpc_reply_is_cut_off() -> None:
    endless = bos.GetHashboardsResponse(hashboards=[bos.Hashboard(id="x" * (MAX_REPLY_BYTES + 1))])
    async with talking(GetHashboards=endless) as (_, adapter):
        with pytest.raises(DriverError, match="GetHashboards"):
            await adapter.read()


# -- beside the simulated machine ------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["Antminer S19 Pro", "Antminer S99 of next year"])
@pytest.mark.filterwarnings("ignore:Partially supported miner:UserWarning")  # what pyasic makes of the latter
@pytest.mark.socket
@remapped
async def test_braiins_of_a_model_that_pyasic_does_not_know_is_driven_like_any_other(model: str) -> None:
    rating: Json = {"rated_w": 3000, "rated_ths": 100, "node": "site"}
    group = rating | {"name": "b", "family": "braiins", "model": model, "first_address": HOST, "bias": 0}
    plant = Plant(
        PlantConfig.model_validate(
            {"ports": PORTS, "modbus_port": 0, "nodes": [{"id": "site"}], "miners": [group]}
        )
    )
    (driver,) = build(
        MinerGroupConfig.model_validate(rating | {"id": "b", "family": "braiins", "hosts": [HOST]})
    )
    async with SimulatedSite(plant).serving():
        try:
            reading = await driver.read()
        finally:
            await driver.close()

    assert reading.draw == Power(3000)
