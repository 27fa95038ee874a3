"""Stock Antminer: what its answers mean, and that its configuration survives us."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from controller.domain.devices import Quality
from controller.domain.power import NO_LIMIT, Limit, Power
from drivers.asic import antminer
from drivers.asic.adapter import RefusedError
from drivers.asic.antminer import Antminer
from drivers.asic.antminer_conf import LastGood, mode_of, with_mode
from drivers.asic.trouble import as_driver_error
from drivers.base import DriverError
from tests.drivers.asic_fakes import (
    HUNG_S,
    Json,
    WebServer,
    plate,
    point,
    remapped,
)

POOLS = [
    {"url": "stratum+tcp://pool.example:3333", "user": "hall.1", "pass": "x"},
    {"url": "", "user": "", "pass": ""},
]
CONF: Json = {
    "pools": POOLS,
    "api-listen": True,
    "bitmain-fan-ctrl": False,
    "bitmain-fan-pwm": "100",
    "bitmain-freq-level": "90",
    "bitmain-work-mode": "0",
    "vendor-secret": {"kept": [1, 2]},
}


def stats(*rates_ghs: float) -> Json:
    chain = [
        {"index": at, "rate_real": rate, "temp_chip": [50 + at, 0, 55 + at, 52]}
        for at, rate in enumerate(rates_ghs)
    ]
    return {"STATUS": {"STATUS": "S"}, "STATS": [{"chain": chain}]}


def ant(mode: object, reply: Json, **facts: Any) -> Any:
    return antminer.sample(CONF | {"bitmain-work-mode": mode}, reply, plate(**facts)).reading


def test_antminer_draw_is_always_an_estimate() -> None:
    assert ant("0", stats(50_000, 50_000)).quality is Quality.ESTIMATED
    assert ant("1", stats()).quality is Quality.ESTIMATED


@pytest.mark.parametrize(
    ("mode", "rates", "draw_w"),
    [
        ("0", (50_000, 50_000), 3000),
        ("0", (25_000, 25_000), 1513),
        ("0", (0, 0), 3000),
        ("3", (0, 0), 2550),
        ("1", (0, 0), 25),
        ("1", (), 25),
        ("1", (100, 0), 28),
        ("2", (0, 0), 3000),
    ],
)
def test_antminer_is_at_rest_only_when_told_to_sleep_and_without_hash(
    mode: str, rates: tuple[float, ...], draw_w: int
) -> None:
    assert ant(mode, stats(*rates)).draw == Power(draw_w)


def test_antminer_in_low_mode_is_estimated_by_the_efficiency_of_that_mode() -> None:
    points = (point("sleep", 25), point("low", 2000, 75.0), point("normal", 3000, 100.0))

    assert ant(3, stats(75_000), points=points).draw == Power(2000)


@pytest.mark.parametrize(("rate_ghs", "draw_w"), [(82_000, 2185), (90_000, 2703), (100_000, 3000)])
def test_antminer_that_hashes_more_than_its_mode_can_is_estimated_by_its_full_power(
    rate_ghs: int, draw_w: int
) -> None:
    points = (point("sleep", 25), point("low", 2000, 75.0), point("normal", 3000, 100.0))

    assert ant(3, stats(rate_ghs), points=points).draw == Power(draw_w)


def test_antminer_asleep_may_have_no_record_at_all() -> None:
    reading = ant("1", {"STATUS": {"STATUS": "S"}, "STATS": []})

    assert (reading.draw, reading.rate, reading.hottest_c) == (Power(25), 0.0, None)


def test_antminer_setting_is_its_mode_and_nothing_where_the_mode_is_no_point() -> None:
    points = (point("sleep", 25), point("normal", 3000, 100.0))

    assert ant("0", stats(1), points=points).setting == Limit(Power(3000))
    assert ant("1", stats(1), points=points).setting == Limit(Power(25))
    assert ant("3", stats(1), points=points).setting == NO_LIMIT


def test_antminer_hottest_chip_is_the_hottest_of_all_boards() -> None:
    assert ant("0", stats(1, 1, 1)).hottest_c == 57


def test_antminer_hottest_board_is_told_apart_from_its_chips() -> None:
    said = stats(1, 1, 1)
    for at, chain in enumerate(said["STATS"][0]["chain"]):
        chain["temp_pcb"] = [40 + at, 44 + at]

    assert (ant("0", said).board_c, ant("0", stats(1, 1, 1)).hottest_c) == (46, 57)


@pytest.mark.parametrize("lost", ["pools", "bitmain-work-mode"])
def test_antminer_configuration_without_pools_or_mode_is_no_reading(lost: str) -> None:
    conf = {key: value for key, value in CONF.items() if key != lost}

    with pytest.raises(DriverError):
        antminer.sample(conf, stats(1), plate())


def test_a_rewrite_keeps_every_key_and_value_that_was_read() -> None:
    before = copy.deepcopy(CONF)

    changed = with_mode(CONF, 1)

    assert {key: changed[key] for key in CONF if key != "bitmain-work-mode"} == {
        key: value for key, value in before.items() if key != "bitmain-work-mode"
    }
    assert before == CONF


@pytest.mark.parametrize(
    ("read", "written"),
    [
        ({"bitmain-work-mode": "0"}, {"bitmain-work-mode": "3", "miner-mode": 3}),
        ({"bitmain-work-mode": 0}, {"bitmain-work-mode": 3, "miner-mode": 3}),
        ({"miner-mode": "0"}, {"bitmain-work-mode": 3, "miner-mode": "3"}),
        ({"bitmain-work-mode": "0", "miner-mode": 0}, {"bitmain-work-mode": "3", "miner-mode": 3}),
    ],
)
def test_a_rewrite_sets_both_mode_keys_each_as_the_kind_it_was_read(read: Json, written: Json) -> None:
    changed = with_mode({"pools": POOLS} | read, 3)

    assert {key: changed[key] for key in written} == written


def test_a_rewrite_gives_the_frequency_level_back_under_the_name_that_is_taken() -> None:
    assert with_mode(CONF, 1)["freq-level"] == "90"
    assert with_mode(CONF | {"freq-level": "80"}, 1)["freq-level"] == "80"


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"pools": POOLS},
        {"bitmain-work-mode": "0"},
        {"bitmain-work-mode": "0", "pools": []},
        {"bitmain-work-mode": "0", "pools": [{"url": "", "user": "", "pass": ""}] * 3},
        {"bitmain-work-mode": "0", "pools": None},
        {"bitmain-work-mode": "", "pools": POOLS},
        {"bitmain-work-mode": "0", "pools": ["stratum"]},
    ],
)
def test_a_configuration_that_cannot_be_believed_is_never_rewritten(broken: Json) -> None:
    with pytest.raises(RefusedError, match="not written"):
        with_mode(broken, 1)


def test_the_mode_is_read_by_the_key_that_firmware_reads_it_by() -> None:
    assert mode_of({"bitmain-work-mode": "1", "miner-mode": 0}) == 1
    assert mode_of({"miner-mode": 3}) == 3


# -- on its own pages ----------------------------------------------------------------------------------

NORMAL, LOW, SLEEP = point("normal", 3000), point("low", 2550), point("sleep", 25)


async def met(**facts: Any) -> Antminer:
    adapter = Antminer(plate(**facts))
    await adapter.hello()
    return adapter


@pytest.mark.parametrize(
    "conf",
    [
        {},
        [],
        None,
        "garbage",
        {"bitmain-work-mode": "0"},
        {"bitmain-work-mode": "0", "pools": []},
        {"bitmain-work-mode": "0", "pools": [{"url": "", "user": "", "pass": ""}] * 3},
        {"pools": [{"url": "stratum+tcp://pool.example:3333"}]},
    ],
)
@pytest.mark.socket
@remapped
async def test_antminer_that_gives_no_believable_configuration_is_never_written_to(conf: Any) -> None:
    async with WebServer().serving() as server:
        adapter = await met()
        server.conf = conf

        with pytest.raises(DriverError), as_driver_error():
            await adapter.change(SLEEP)

    assert server.posted == []


@pytest.mark.socket
@remapped
async def test_antminer_whose_page_fails_is_never_written_to() -> None:
    async with WebServer().serving() as server:
        adapter = await met()
        server.status = 500

        with pytest.raises(DriverError, match="500"):
            await adapter.change(SLEEP)

    assert server.posted == []


@pytest.mark.socket
@remapped
async def test_antminer_gets_everything_back_that_it_gave() -> None:
    async with WebServer(**{"bitmain-fan-pwm": "80", "vendor": {"a": [1]}}).serving() as server:
        before = dict(server.conf)

        await (await met()).change(SLEEP)

    written = {"bitmain-work-mode": "1", "miner-mode": 1, "freq-level": "100"}
    assert server.posted == [before | written]


@pytest.mark.socket
@remapped
async def test_antminer_goes_back_to_the_full_power_mode_that_it_had() -> None:
    async with WebServer(**{"bitmain-work-mode": "2"}).serving() as server:
        adapter = await met()
        await adapter.read()
        await adapter.change(SLEEP)
        await adapter.read()

        await adapter.change(NORMAL)

    assert [posted["bitmain-work-mode"] for posted in server.posted] == ["1", "2"]


@pytest.mark.socket
@remapped
async def test_antminer_of_unknown_past_goes_to_the_plain_full_power_mode() -> None:
    async with WebServer(**{"bitmain-work-mode": "1"}).serving() as server:
        await (await met()).change(NORMAL)

    assert server.posted[0]["bitmain-work-mode"] == "0"


@pytest.mark.socket
@remapped
async def test_antminer_configuration_outlives_the_daemon_for_our_eyes_only(tmp_path: Path) -> None:
    async with WebServer(**{"bitmain-work-mode": "2"}).serving() as server:
        before = dict(server.conf)
        await (await met(state_dir=tmp_path)).change(SLEEP)

        await (await met(state_dir=tmp_path)).change(NORMAL)

    kept = tmp_path / "antminer-020000000003.json"
    assert [posted["bitmain-work-mode"] for posted in server.posted] == ["1", "2"]
    assert json.loads(kept.read_text()) == before
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert files_in(tmp_path) == [kept]


class Stuck(LastGood):
    """A disk that answers nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__(Path("/nowhere"))
        self.free = threading.Event()
        self.asked = 0

    def keep(self, mac: str, conf: Json) -> None:
        self.asked += 1
        self.free.wait(HUNG_S)

    def load(self, mac: str) -> Json | None:
        self.free.wait(HUNG_S)
        return None


@pytest.mark.socket
@remapped
async def test_a_disk_that_hangs_holds_up_no_order_for_long_and_gets_no_second_one(tmp_path: Path) -> None:
    async with WebServer().serving() as server:
        adapter = await met(state_dir=tmp_path)
        adapter._last_good = stuck = Stuck()
        async with asyncio.timeout(HUNG_S / 2):
            await adapter.change(LOW)
            await adapter.change(SLEEP)
            await adapter.change(NORMAL)
        stuck.free.set()

    assert [posted["bitmain-work-mode"] for posted in server.posted] == ["3", "1", "0"]
    assert stuck.asked == 1


@pytest.mark.socket
@remapped
async def test_a_disk_that_hangs_takes_no_thread_from_who_connects_to_a_broker(tmp_path: Path) -> None:
    """Hundreds are put to sleep at once, and those threads are few."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    stuck = Stuck()
    async with WebServer().serving():
        adapter = await met(state_dir=tmp_path)
        adapter._last_good = stuck
        await adapter.change(SLEEP)
        try:
            async with asyncio.timeout(HUNG_S / 4):
                await asyncio.to_thread(str)
        finally:
            stuck.free.set()

    assert stuck.asked == 1


@pytest.mark.socket
@remapped
async def test_a_configuration_that_is_kept_already_is_not_written_again(tmp_path: Path) -> None:
    async with WebServer(**{"miner-mode": 0, "freq-level": "100"}).serving():
        adapter = await met(state_dir=tmp_path)
        await adapter.change(SLEEP)
        (kept,) = files_in(tmp_path)
        first = kept.stat().st_ino
        await adapter.change(NORMAL)

        await adapter.change(SLEEP)

    assert kept.stat().st_ino == first


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"bitmain-work-mode": "x"}', "\xff"])
@pytest.mark.socket
@remapped
async def test_a_kept_configuration_that_cannot_be_read_keeps_no_machine_asleep(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "antminer-020000000003.json").write_text(text, encoding="latin-1")
    async with WebServer(**{"bitmain-work-mode": "1"}).serving() as server:
        await (await met(state_dir=tmp_path)).change(NORMAL)

    assert server.conf["bitmain-work-mode"] == "0"


def files_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


@pytest.mark.socket
@remapped
async def test_a_disk_that_takes_no_configuration_does_not_stop_a_curtailment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("a file where a directory should be")
    async with WebServer().serving() as server:
        adapter = await met(state_dir=in_the_way)

        with caplog.at_level(logging.WARNING):
            await adapter.change(SLEEP)

    assert server.conf["bitmain-work-mode"] == "1"
    assert "hall-000" in caplog.text


@pytest.mark.socket
@remapped
async def test_antminer_that_answers_with_an_error_has_refused() -> None:
    async with WebServer().serving() as server:
        server.reply = {"stats": "error", "code": "M002", "msg": "Set miner conf failed"}

        with pytest.raises(RefusedError, match="Set miner conf failed"):
            await (await met()).change(SLEEP)


@pytest.mark.socket
@remapped
async def test_antminer_that_says_yes_and_keeps_its_mode_is_not_believed() -> None:
    async with WebServer().serving() as server:
        server.takes = lambda posted: posted | {"bitmain-work-mode": "0"}

        with pytest.raises(DriverError, match="was told bitmain-work-mode 1"):
            await (await met()).change(SLEEP)


@pytest.mark.socket
@remapped
async def test_antminer_that_loses_its_pools_in_a_write_is_told() -> None:
    async with WebServer().serving() as server:
        server.takes = lambda posted: posted | {"pools": []}

        with pytest.raises(DriverError, match="pools"):
            await (await met()).change(SLEEP)


@pytest.mark.socket
@remapped
async def test_antminer_that_became_another_machine_is_not_written_to() -> None:
    async with WebServer().serving() as server:
        adapter = await met()
        adapter._mac = "02:00:00:00:00:99"

        with pytest.raises(DriverError, match="02:00:00:00:00:99"):
            await adapter.change(SLEEP)

    assert server.posted == []


@pytest.mark.socket
@remapped
async def test_antminer_that_is_slow_to_answer_a_write_is_believed_by_its_configuration() -> None:
    async with WebServer().serving() as server:
        server.answers_posts.clear()
        adapter = await met(exchange_s=0.1)

        await adapter.change(SLEEP)

        assert server.conf["bitmain-work-mode"] == "1"
        assert server.hung_up == 0
        adapter.close()


@pytest.mark.socket
@remapped
async def test_antminer_that_answers_nothing_while_it_is_written_to_is_told_once_and_not_hung_up_on() -> None:
    async with WebServer().serving() as server:
        server.one_at_a_time = True
        server.answers_posts.clear()
        adapter = await met(exchange_s=0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await adapter.change(SLEEP)
        server.one_at_a_time = False

        await adapter.change(SLEEP)

        assert (len(server.posted), server.hung_up) == (1, 0)
        server.answers_posts.set()
        await server.answered.wait()
        await adapter.read()
        assert adapter._write is None


@pytest.mark.socket
@remapped
async def test_antminer_that_is_still_being_written_to_takes_an_order_to_another_mode() -> None:
    async with WebServer().serving() as server:
        server.answers_posts.clear()
        adapter = await met(exchange_s=0.1)
        await adapter.change(SLEEP)

        await adapter.change(LOW)

        assert [posted["bitmain-work-mode"] for posted in server.posted] == ["1", "3"]
        adapter.close()


def test_a_disk_that_hangs_under_configurations_does_not_keep_the_process_from_ending() -> None:
    hangs = (
        "import threading; from drivers.asic import antminer; antminer.DISK.submit(threading.Event().wait)"
    )

    ended = subprocess.run([sys.executable, "-c", hangs], timeout=60, check=False)

    assert ended.returncode == 0
