"""The HTTP face: what it answers, in which shape, and that nothing it says breaks a strict reader of JSON."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf, nan
from threading import Semaphore
from typing import Any

import aiohttp
import pytest

from controller.cli.sitetables import status_tables, why_tables
from controller.cli.terminal import wide
from controller.decide.inputs import Sample
from controller.decide.words import Reason, Truth
from controller.domain.devices import DeviceSpec, Outcome, Refused
from controller.domain.power import Limit, Power
from controller.domain.site import Mode, Policy
from controller.run import api as apis
from controller.run.api import Api, ApiError
from controller.run.board import Board, Tick
from controller.run.doorkeeper import Doorkeeper
from controller.run.metrics.site import Detail
from tests.run import boards

pytestmark = pytest.mark.socket


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


class Client:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def text(self, path: str, method: str = "GET") -> tuple[int, str]:
        async with self._session.request(method, self.url + path) as answer:
            return answer.status, await answer.text()

    async def json(self, path: str) -> tuple[int, Any]:
        status, text = await self.text(path)
        return status, json.loads(text, parse_constant=refuse)


@asynccontextmanager
async def serving(
    board: Board, metrics: Callable[[Detail], bytes] = lambda _: b"wattshift_up 1\n"
) -> AsyncIterator[Client]:
    api = Api(board=board, host="127.0.0.1", port=0, metrics=metrics)
    port = await api.start()
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield Client(session, f"http://127.0.0.1:{port}")
    finally:
        await api.stop()


NODES = (
    boards.node("grid-connection", limit=Limit(Power(60_000)), metered_w=52_000),
    boards.node("pdu-1"),
)


@pytest.mark.parametrize("path", ["/status", "/why/s19-1", "/merit"])
async def test_before_the_first_tick_there_is_nothing_to_tell(path: str) -> None:
    async with serving(boards.board()) as client:
        status, answer = await client.json(path)

    assert (status, answer) == (503, {"error": "no tick has finished yet"})


async def test_health_is_ok_once_the_site_was_taken_over_and_not_before() -> None:
    board = boards.board()

    async with serving(board) as client:
        answers = [await client.text("/healthz")]
        board.finished(boards.tick(nodes=NODES, ready=False))
        answers.append(await client.text("/healthz"))
        board.finished(boards.tick(nodes=NODES))
        answers.append(await client.text("/healthz"))

    assert answers == [(503, "starting\n"), (503, "starting\n"), (200, "ok\n")]


async def test_however_many_ask_one_answer_is_written_at_a_time() -> None:
    busy, most = Semaphore(1), 0

    def metrics(_: Detail) -> bytes:
        nonlocal most
        others = 0 if busy.acquire(blocking=False) else 1
        most = max(most, 1 + others)
        time.sleep(0.02)
        if not others:
            busy.release()
        return b""

    async with serving(boards.board(), metrics) as client:
        answers = await asyncio.gather(*(client.text("/metrics") for _ in range(6)))

    assert ([status for status, _ in answers], most) == ([200] * 6, 1)


async def test_metrics_are_there_from_the_start() -> None:
    async with serving(boards.board()) as client:
        assert await client.text("/metrics") == (200, "wattshift_up 1\n")


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("", (200, "devices")),
        ("?detail=devices", (200, "devices")),
        ("?detail=site", (200, "site")),
        ("?detail=", (400, "detail: one of site, devices\n")),
        ("?detail=%1B[2J", (400, "detail: one of site, devices\n")),
    ],
)
async def test_whoever_scrapes_says_whether_devices_are_told_one_by_one(
    query: str, answer: tuple[int, str]
) -> None:
    async with serving(boards.board(), lambda detail: detail.value.encode()) as client:
        assert await client.text(f"/metrics{query}") == answer


@pytest.mark.parametrize("path", ["/why/nobody", "/why/a%20b%2Fc", "/why/%F0%9F%90%BF"])
async def test_a_device_that_is_not_there_is_404(path: str) -> None:
    async with serving(boards.busy_board()) as client:
        status, answer = await client.json(path)

    assert status == 404
    assert answer["error"].startswith("no device ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/why/", 404),
        ("POST", "/status", 405),
        ("POST", "/merit", 405),
        ("DELETE", "/why/s19-1", 405),
    ],
)
async def test_there_is_nothing_to_write_and_nothing_else_to_read(
    method: str, path: str, status: int
) -> None:
    async with serving(boards.busy_board()) as client:
        assert (await client.text(path, method))[0] == status


async def test_the_shape_of_the_status_is_stable() -> None:
    async with serving(boards.busy_board()) as client:
        code, status = await client.json("/status")

    assert code == 200
    assert shape(status) == {
        "site": str,
        "version": str,
        "ready": bool,
        "mode": str,
        "utc_s": float,
        "link": str,
        "cap": {"watts": int, "reason": str, "event": str},
        "value_usd_per_hour": float,
        "usd_per_kwh": float,
        "gap": float,
        "nodes": [NODE_SHAPE],
        "devices": [DEVICE_SHAPE],
        "prices": [
            {
                "price": str,
                "model": str,
                "value": float,
                "unit": str,
                "source": str,
                "age_s": float,
                "passed": [str],
            }
        ],
        "price_troubles": {"rtm": str},
        "jobs": [{"queue": str, "job": str, "state": str, "gpus": [str], "usd_per_gpu_hour": float}],
        "events": [{"event": str, "status": str, "least_w": int, "possible_w": int}],
        "announced": [{"event": str, "start_utc_s": float, "status": str, "asked_w": int, "possible_w": int}],
        "alarms": [{"kind": str, "subject": str, "detail": str}],
        "ticks": {"count": int, "late": int, "took_s": float},
        "commands": dict.fromkeys(("sent", "acknowledged", "failed", "confirmed", "lied", "reasserted"), int),
    }
    assert len(status["devices"]) == 4
    assert [node["node"] for node in status["nodes"]] == ["grid-connection", "pdu-1"]


async def test_the_status_of_an_observed_site_says_so_and_what_would_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    board = boards.board()
    board.site = replace(board.site, policy=Policy(mode=Mode.OBSERVE))
    moved = boards.device("s19-1", reason=Reason.OBSERVED)
    board.finished(boards.tick(moved, nodes=NODES))
    async with serving(board) as client:
        _, status = await client.json("/status")
        _, why = await client.json("/why/s19-1")

    for part in (*status_tables(status), *why_tables(why)):
        wide.print(part)
    shown = " ".join(capsys.readouterr().out.split())
    assert (status["mode"], why["mode"]) == ("observe", "observe")
    assert "ONLY OBSERVED: nothing is commanded" in shown
    assert "node metered limit would be worst case" in shown
    assert "asic full full 1" in shown
    assert "is at full (confirmed)" in shown
    assert "told to be at" not in shown


async def test_the_shape_of_the_reasons_is_stable() -> None:
    async with serving(boards.busy_board()) as client:
        code, why = await client.json("/why/s19-1")

    assert code == 200
    assert shape(why) == DEVICE_SHAPE | {
        "mode": str,
        "points": [{"name": str, "watts": int, "rate": float}],
        "age_s": float,
        "hottest_c": float,
        "derate": float,
        "lies": int,
        "reasserts": int,
        "answered": type(None),
        "above": [NODE_SHAPE],
        "cap": {"watts": int, "reason": str, "event": str},
    }
    assert [node["node"] for node in why["above"]] == ["pdu-1", "grid-connection"]


async def test_what_a_device_answered_to_its_newest_command_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Why a machine stays dark whose outlet somebody switched off, for one."""
    busy = boards.busy_board()
    tick = busy.last
    assert tick is not None
    said: Outcome = Refused("its outlet is off: switch it on by hand")
    left_off = Sample(boards.NOW_S - 12.0, said)
    inputs = replace(tick.inputs, outcomes={"s19-1": left_off})
    busy.finished(replace(tick, inputs=inputs))

    async with serving(busy) as client:
        _, why = await client.json("/why/s19-1")

    for part in why_tables(why):
        wide.print(part)
    shown = " ".join(capsys.readouterr().out.split())
    expected = {"outcome": "refused", "why": "its outlet is off: switch it on by hand", "age_s": 12.0}
    assert why["answered"] == expected
    assert "answered refused: its outlet is off: switch it on by hand (12.0 s ago)" in shown


async def test_the_shape_of_the_merit_order_is_stable() -> None:
    async with serving(boards.busy_board()) as client:
        code, merit = await client.json("/merit")

    assert code == 200
    assert merit["usd_per_kwh"] == pytest.approx(-0.0001)  # a set-point is in force
    assert shape(merit) == {
        "utc_s": float,
        "usd_per_kwh": float,
        "usd_per_ths_day": float,
        "devices": [
            {
                "position": type(None),
                "device": str,
                "kind": str,
                "node": str,
                "point": str,
                "grant_w": int,
                "draw_w": int,
                "usd_per_hour": float,
                "next_usd_per_kwh": type(None),
                "shed_usd_per_kwh": type(None),
                "leaving_usd": float,
                "leaving": str,
                "reason": str,
                "limited_by": str,
            }
        ],
    }
    assert sorted(row["device"] for row in merit["devices"]) == ["dgx-0", "m50-1", "s19-1", "s19-2"]


NODE_SHAPE = {
    "node": str,
    "limit_w": int,
    "metered_w": int,
    "granted_w": int,
    "wanted_w": int,
    "worst_w": int,
    "unexplained_w": int,
    "feasible": bool,
}
DEVICE_SHAPE = {
    "device": str,
    "kind": str,
    "node": str,
    "point": str,
    "wanted": str,
    "grant_w": int,
    "worst_w": int,
    "draw_w": int,
    "reason": str,
    "limited_by": str,
    "truth": str,
}


def shape(value: Any) -> Any:
    """The types of a JSON document; of a list, those of its first member."""
    match value:
        case dict():
            return {key: shape(inner) for key, inner in value.items()}
        case list():
            return [shape(inner) for inner in value[:1]]
        case _:
            return type(value)


async def test_a_device_that_never_answered_has_no_age_and_no_temperature() -> None:
    unheard = boards.device("s19-1", truth=Truth.UNREACHABLE, reason=Reason.UNREACHABLE, age_s=inf)
    tick = boards.tick(unheard, nodes=NODES)
    tick = replace(tick, inputs=replace(tick.inputs, readings={}))

    async with serving(boards.board(tick)) as client:
        code, why = await client.json("/why/s19-1")

    assert code == 200
    assert (why["age_s"], why["hottest_c"], why["truth"]) == (None, None, "unreachable")


async def test_a_device_that_fell_silent_tells_how_old_its_last_word_is() -> None:
    silent = boards.device("s19-1", truth=Truth.STALE, reason=Reason.STALE, age_s=612.345, hottest_c=71.5)

    async with serving(boards.board(boards.tick(silent, nodes=NODES))) as client:
        _, why = await client.json("/why/s19-1")

    assert (why["age_s"], why["hottest_c"], why["reason"]) == (612.35, 71.5, "stale")


@pytest.mark.parametrize("absurd", [nan, inf, -inf])
async def test_a_number_that_is_none_is_null_and_never_breaks_the_answer(absurd: float) -> None:
    strange = boards.device("s19-1", hottest_c=absurd, rate=absurd)
    tick = boards.tick(strange, nodes=NODES)
    tick = replace(tick, plan=replace(tick.plan, value_per_hour=absurd, gap=absurd))

    async with serving(boards.board(tick)) as client:
        status = await client.json("/status")
        why = await client.json("/why/s19-1")

    assert (status[0], status[1]["value_usd_per_hour"], status[1]["gap"]) == (200, None, None)
    assert (why[0], why[1]["hottest_c"], why[1]["points"][0]["rate"]) == (200, None, None)


async def test_absent_limits_meters_and_caps_are_null_and_zero_is_zero() -> None:
    nodes = (boards.node("grid-connection"), boards.node("pdu-1", limit=Limit(Power(0)), metered_w=0))

    async with serving(boards.board(boards.tick(nodes=nodes))) as client:
        _, status = await client.json("/status")

    assert status["cap"] == {"watts": None, "reason": "none", "event": ""}
    assert [(node["limit_w"], node["metered_w"]) for node in status["nodes"]] == [(None, None), (0, 0)]


class CountedSpecs(tuple[DeviceSpec, ...]):
    """Knows how often it was walked through."""

    walks = 0

    def __iter__(self) -> Iterator[DeviceSpec]:
        type(self).walks += 1
        return super().__iter__()


async def test_the_status_of_many_devices_does_not_walk_through_all_of_them_for_each() -> None:
    tick: Tick = boards.tick(*(boards.device(f"asic-{at}") for at in range(200)), nodes=NODES)
    tick = replace(tick, inputs=replace(tick.inputs, specs=CountedSpecs(tick.inputs.specs)))

    async with serving(boards.board(tick)) as client:
        _, status = await client.json("/status")

    assert len(status["devices"]) == 200
    assert CountedSpecs.walks < 5


async def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        api = Api(board=boards.board(), host="127.0.0.1", port=port, metrics=lambda _: b"")

        with pytest.raises(ApiError, match=rf"127\.0\.0\.1.*{port}.*in use") as caught:
            await api.start()

    assert len(str(caught.value).splitlines()) == 1


async def test_an_address_that_is_not_ours_is_named() -> None:
    api = Api(board=boards.board(), host="192.0.2.1", port=0, metrics=lambda _: b"")

    with pytest.raises(ApiError, match=r"192\.0\.2\.1"):
        await api.start()


# -- visitors that say nothing -------------------------------------------------------------------------------


class Counted(asyncio.Protocol):
    """A server that answers each piece of what it hears with one byte."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"!")


LONG = b"!" * 16_000_000
"""More than any two sockets hold."""


class Talkative(Counted):
    """One that answers each piece with more than fits into a socket."""

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(LONG)


@asynccontextmanager
async def guarded(
    serve: type[Counted] = Counted, *, most: int = 10, patience_s: float = 60.0, answer_s: float = 60.0
) -> AsyncIterator[int]:
    door = Doorkeeper(serve, most=most, patience_s=patience_s, answer_s=answer_s)
    server = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


async def is_hung_up(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 5) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("said", [b"", b"GET /status HTTP/1.1\r\nHost: a\r\nX: "])
async def test_a_visitor_that_does_not_come_to_an_end_is_hung_up_on(said: bytes) -> None:
    async with guarded(patience_s=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if said:
            writer.write(said)
            assert await reader.read(1) == b"!"

        assert await is_hung_up(reader)
        writer.close()


async def test_a_visitor_that_said_what_it_wants_may_stay_however_it_was_cut_into_pieces() -> None:
    async with guarded(patience_s=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in (b"GET / HTTP/1.1\r", b"\n", b"\r", b"\n"):
            writer.write(piece)
            assert await reader.read(1) == b"!"
        await asyncio.sleep(0.4)

        writer.write(b"more")
        assert await reader.read(1) == b"!"
        writer.close()


async def test_no_more_visitors_are_let_in_than_there_is_room_for_and_the_next_ones_when_some_left() -> None:
    async with guarded(most=2) as port:
        first = await asyncio.open_connection("127.0.0.1", port)
        second = await asyncio.open_connection("127.0.0.1", port)
        for _, writer in (first, second):
            writer.write(b"x")
        assert [await reader.read(1) for reader, _ in (first, second)] == [b"!", b"!"]

        third = await asyncio.open_connection("127.0.0.1", port)
        assert await is_hung_up(third[0])

        first[1].close()
        await first[1].wait_closed()
        await asyncio.sleep(0.05)
        fourth = await asyncio.open_connection("127.0.0.1", port)
        fourth[1].write(b"x")
        assert await fourth[0].read(1) == b"!"
        for _, writer in (second, third, fourth):
            writer.close()


async def test_a_visitor_that_does_not_read_its_answer_gives_up_its_place() -> None:
    async with guarded(Talkative, most=1, answer_s=0.2) as port:
        first, writing = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writing.write(b"x")
        assert await first.read(1) == b"!"

        async def come_in() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"x")
                return await reader.read(1)
            except ConnectionError:
                return b""
            finally:
                writer.transport.abort()

        async with asyncio.timeout(5):
            while await come_in() != b"!":
                pass
        writing.transport.abort()


async def test_a_visitor_that_reads_a_long_answer_has_all_of_it() -> None:
    async with guarded(Talkative) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x")

        assert await reader.readexactly(len(LONG)) == LONG
        writer.write(b"x")
        assert await reader.readexactly(len(LONG)) == LONG
        writer.close()


async def test_a_visitor_that_was_answered_and_asks_nothing_more_gives_up_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(apis, "IDLE_S", 0.1)
    async with serving(boards.board(boards.tick())) as client:
        host, port = client.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")

        async with asyncio.timeout(10):
            told = await reader.read()
        writer.close()

    assert told.endswith(b"ok\n")


async def test_the_api_answers_others_while_somebody_only_holds_the_line() -> None:
    async with serving(boards.board(boards.tick())) as client:
        host, port = client.url.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
        for _, writer in held:
            writer.write(b"GET /status HTT")

        assert (await client.text("/healthz"))[0] == 200
        for _, writer in held:
            writer.close()
