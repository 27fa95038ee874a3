"""Files of dated prices: what is believed of them, in which zone, and what stays in force when they break."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from controller.domain.prices import NO_SERIES, PriceReading, Quote, Series
from drivers.base import DriverError
from drivers.pricefile import Look, PriceFile, look_at
from drivers.priceseries import MAX_BYTES, parse
from drivers.pricetables import PriceFileConfig

DATA = Path(os.environ.get("WATTSHIFT_DATA") or Path(__file__).parents[3] / "shared" / "data")
ERCOT = DATA / "ercot_hb_south_15min_2024-06-01_2025-03-27.csv"
AT_S = 1_795_453_200.0
CSV = b"time,value\n2026-11-23T17:00:00Z,45.2\n2026-11-23T18:00:00+00:00,-70.24\n"


def config(path: Path | str = "dam.csv", **changes: Any) -> PriceFileConfig:
    table = {"id": "dam", "price": "energy", "unit": "USD/MWh", "path": path, "stale_after_s": 3600}
    return PriceFileConfig.model_validate(table | changes)


def utc_s(written: str) -> float:
    return datetime.fromisoformat(written).timestamp()


def hours(*written: str) -> bytes:
    return ("time,value\n" + "".join(f"{time},{at}\n" for at, time in enumerate(written))).encode()


# -- what is believed --------------------------------------------------------------------------------------


def test_each_value_is_in_force_from_its_time_in_the_first_unit() -> None:
    assert parse(config(), CSV) == Series((AT_S, AT_S + 3600), (45.2 / 1000, -70.24 / 1000))


def test_columns_may_have_other_names_and_there_may_be_more_of_them() -> None:
    content = b"\xef\xbb\xbfwhen,dam,rtm\r\n2026-11-23T17:00Z, 45.2 ,9\r\n"

    series = parse(config(time_column="when", value_column="dam"), content)

    assert series == Series((AT_S,), (45.2 / 1000,))


@pytest.mark.parametrize("blank", [" ", "\t", "\xa0", "\x1c", "\x1f"])
def test_blanks_around_a_number_are_none_of_it(blank: str) -> None:
    """The last two are blanks to Python, but not to its numbers."""
    content = f"time,value\n2026-11-23T17:00:00Z,{blank}45{blank}\n".encode()

    assert parse(config("dam.csv"), content).values == (0.045,)


@pytest.mark.parametrize("unit", ["USD/MWh", None])
def test_json_may_declare_its_unit_itself(unit: str | None) -> None:
    values = [{"time": "2026-11-23T17:00:00Z", "value": 45, "note": "peak"}]
    content = json.dumps({"unit": "USD/MWh", "values": values}).encode()

    assert parse(config("dam.json", unit=unit), content).values == (0.045,)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"time,value\n", "holds no value"),
        (b"", "has no column 'time' and no column 'value'"),
        (b"time,price\n2026-11-23T17:00:00Z,1\n", "has no column 'value'"),
        (b"time,value\n2026-11-23T17:00:00Z\n", "line 2 has not as many fields as the head"),
        (b"time,value\n2026-11-23T17:00:00Z,1,2\n", "line 2 has not as many fields"),
        (b"time,value\n2026-11-23T17:00:00Z,nan\n", "line 2: value 'nan' is not a number"),
        (b"time,value\n2026-11-23T17:00:00Z,inf\n", "line 2: value 'inf' is not a number"),
        (b"time,value\n2026-11-23T17:00:00Z,1_000\n", "value '1_000' is not a number"),
        (b"time,value\n2026-11-23T17:00:00Z,\xd9\xa1\n", "is not a number"),
        (b"time,value\n2026-11-23T17:00:00Z,1e400\n", "is not a number|is outside"),
        (b"time,value\n2026-11-23T17:00:00Z,1e300\n", r"line 2: energy 1e\+300 USD/MWh is outside"),
        (b"time,value\n2026-11-23T17:00:00Z,99999\n", "energy 99999 USD/MWh is outside -25..25 USD/kWh"),
        (b"time,value\nyesterday,1\n", "line 2: time 'yesterday' is not ISO 8601"),
        (b"time,value\n1795453200,1\n", "is not ISO 8601|is not within"),
        (b"time,value\n2026-11-23T17:00:00,1\n", "has no offset, and the site file names no time_zone"),
        (b"time,value\n1815-06-18T17:00:00Z,1\n", r"is not within 1970\.\.2199"),
        (hours("2026-11-23T17:00:00Z", "2026-11-23T17:00:00Z"), "line 3: time .* does not come after"),
        (hours("2026-11-23T17:00:00Z", "2026-11-23T16:00:00Z"), "line 3: time .* does not come after"),
        (b'time,value\n"2026-11-23T17:00:00Z,1\n', "not CSV"),
        (b"time,value\n\xff\xfe,1\n", "not UTF-8"),
        (b"x" * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
    ],
)
def test_a_file_with_one_bad_value_is_refused_whole_and_the_place_is_named(content: bytes, why: str) -> None:
    with pytest.raises(DriverError, match=why):
        parse(config(), content)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "is not an object with a list `values`"),
        ('{"values": {}}', "is not an object with a list `values`"),
        ('{"values": [], "currency": "EUR"}', "unknown key 'currency'"),
        ('{"values": [], "values": []}', "not JSON: a key appears twice"),
        ('{"values": []}', "holds no value"),
        ('{"values": [1]}', r"values\.0 is not an object"),
        ('{"values": [{"time": 5, "value": 1}]}', r"values\.0\.time 5 is not a text"),
        ('{"values": [{"time": "2026-11-23T17:00Z"}]}', r"values\.0\.value None is not a number"),
        ('{"values": [{"time": "2026-11-23T17:00Z", "value": true}]}', "value True is not a number"),
        ('{"values": [{"time": "2026-11-23T17:00Z", "value": "1"}]}', "value '1' is not a number"),
        ('{"values": [{"time": "2026-11-23T17:00Z", "value": NaN}]}', "NaN is not a number"),
        ('{"values": [{"time": "2026-11-23T17:00Z", "value": 1e999}]}', "energy inf USD/MWh is outside"),
        ('{"values": [{"time": "2026-11-23T17:00Z", "value": 1' + "0" * 400 + "}]}", "beyond all numbers"),
        ('{"unit": 5, "values": []}', "unit 5 is not a text"),
        ('{"unit": "USD/kWh", "values": []}', "says its unit is 'USD/kWh', the site file says 'USD/MWh'"),
    ],
)
def test_json_that_is_not_what_it_should_be_is_refused_whole(text: str, why: str) -> None:
    with pytest.raises(DriverError, match=why):
        parse(config("dam.json"), text.encode())


def test_a_unit_that_nobody_declares_is_refused() -> None:
    with pytest.raises(DriverError, match="its unit is declared neither"):
        parse(config(unit=None), CSV)


# -- time zones --------------------------------------------------------------------------------------------


def test_a_time_without_an_offset_counts_in_the_zone_of_the_site_file() -> None:
    series = parse(config(time_zone="America/Chicago"), hours("2026-07-01 12:00", "2026-12-01 12:00"))

    assert series.from_utc_s == (utc_s("2026-07-01T17:00Z"), utc_s("2026-12-01T18:00Z"))


def test_the_hour_that_is_repeated_in_autumn_is_read_in_the_order_in_which_it_stands() -> None:
    written = ["00:45", "01:00", "01:30", "01:00", "01:30", "02:00"]

    series = parse(config(time_zone="America/Chicago"), hours(*(f"2026-11-01 {time}" for time in written)))

    steps = [later - sooner for sooner, later in zip(series.from_utc_s, series.from_utc_s[1:], strict=False)]
    assert steps == [900, 1800, 1800, 1800, 1800]


def test_an_hour_that_does_not_exist_in_spring_is_refused() -> None:
    with pytest.raises(DriverError, match=r"'2026-03-08 02:30' does not exist in America/Chicago"):
        parse(config(time_zone="America/Chicago"), hours("2026-03-08 02:30"))


def test_an_offset_in_the_file_wins_over_the_zone() -> None:
    series = parse(config(time_zone="America/Chicago"), hours("2026-07-01T12:00:00+02:00"))

    assert series.from_utc_s == (utc_s("2026-07-01T10:00Z"),)


@pytest.mark.skipif(not ERCOT.is_file(), reason=f"no prices in {ERCOT.parent}; set WATTSHIFT_DATA")
def test_ten_months_of_a_real_market_are_read_negative_prices_and_spikes_included() -> None:
    table = config(
        ERCOT, time_column="interval_start_local", value_column="rtm_usd_mwh", time_zone="Etc/GMT+6"
    )

    series = parse(table, ERCOT.read_bytes())

    assert len(series.values) == 28_800
    assert (min(series.values), max(series.values)) == (-70.24 / 1000, 4857.82 / 1000)
    assert sum(value < 0 for value in series.values) == 815
    assert series.at(utc_s("2024-08-20T19:31:00-06:00")) == Quote(
        value=4857.82 / 1000, from_utc_s=utc_s("2024-08-20T19:30:00-06:00")
    )


# -- the table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"unit": "EUR/MWh"}, "unit 'EUR/MWh' of energy is not USD/kWh or USD/MWh"),
        ({"price": "hash"}, "unit 'USD/MWh' of hash is not"),
        ({"price": "gold"}, "price"),
        ({"price": "gpu_hour", "unit": "USD/GPU/h"}, "needs a model"),
        ({"model": "H100"}, "gpu_hour, and no other price, needs a model"),
        ({"id": "constant"}, "'constant' is what the values of"),
        ({"id": "a b"}, "id"),
        ({"path": "dam.xls"}, "neither .csv nor .json"),
        ({"time_zone": "Texas"}, "'Texas' is no time zone"),
        ({"time_zone": "America"}, "'America' is no time zone"),
        ({"time_zone": "../etc/passwd"}, "is no time zone"),
        ({"stale_after_s": 0}, "stale_after_s"),
        ({"stale_after": 5}, "stale_after"),
    ],
)
def test_a_table_that_does_not_add_up_is_rejected(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        config(**changes)


# -- a file that changes -----------------------------------------------------------------------------------


def write(path: Path, content: bytes) -> None:
    beside = path.with_name("new")
    beside.write_bytes(content)
    beside.replace(path)


async def read(source: PriceFile) -> PriceReading:
    (reading,) = await source.read()
    return reading


def test_a_file_is_read_again_when_it_changes_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "dam.csv"
    write(path, CSV)

    first = look_at(config(path), Look())
    again = look_at(config(path), first)
    write(path, CSV.replace(b"45.2", b"50"))
    changed = look_at(config(path), first)

    assert again is first
    assert (first.trouble, first.series.values[0], changed.series.values[0]) == ("", 45.2 / 1000, 0.05)


async def test_a_file_that_breaks_leaves_the_last_good_series_in_force_until_it_is_mended(
    tmp_path: Path,
) -> None:
    path = tmp_path / "dam.csv"
    write(path, CSV)
    source = PriceFile(config(path))
    good = await read(source)

    write(path, b"time,value\n2026-11-23T17:00:00Z,n/a\n")
    broken = [await read(source), await read(source)]
    path.unlink()
    gone = await read(source)
    write(path, CSV)
    mended = await read(source)

    assert [one.series for one in (*broken, gone)] == [good.series] * 3
    assert broken[0].trouble == f"{path}: line 2: value 'n/a' is not a number"
    assert broken[1] == broken[0]
    assert gone.trouble == f"{path}: No such file or directory"
    assert mended == good


async def test_a_file_that_is_not_there_yet_is_a_trouble_and_no_price(tmp_path: Path) -> None:
    reading = await read(PriceFile(config(tmp_path / "dam.csv")))

    assert (reading.series, reading.trouble) == (NO_SERIES, f"{tmp_path}/dam.csv: No such file or directory")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
async def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "dam.csv"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)

    async with asyncio.timeout(5):
        reading = await read(PriceFile(config(path)))

    assert reading.trouble


def test_a_file_that_is_being_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "dam.csv"
    path.write_bytes(CSV)

    def read_while_it_grows(_: int) -> bytes:
        with path.open("ab") as file:
            file.write(b"2026-11-23T19:00:00Z,1\n")
        return CSV

    hasty = look_at(config(path), Look(), read_while_it_grows)
    whole = look_at(config(path), hasty)

    assert hasty == Look(trouble=f"{path}: changed while it was read")
    assert (whole.trouble, len(whole.series.values)) == ("", 3)


async def test_a_disk_that_does_not_answer_costs_one_thread_and_keeps_the_last_good() -> None:
    answers = threading.Event()
    looks: list[Look] = []

    def look(_: PriceFileConfig, last: Look) -> Look:
        looks.append(last)
        if last.series != NO_SERIES:
            answers.wait(10)
            return Look(series=NO_SERIES, trouble="mended")
        return Look(series=Series((0.0,), (1.0,)))

    source = PriceFile(config(), look=look, timeout_s=0.01)
    good = await read(source)
    hangs = [await read(source), await read(source)]
    answers.set()
    while (after := await read(source)).trouble != "mended":
        pass

    assert [(one.series, one.trouble) for one in hangs] == [
        (good.series, "dam.csv: no answer within 0.01 s")
    ] * 2
    assert (len(looks), after.series) == (2, NO_SERIES)
