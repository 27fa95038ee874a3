"""The site file: what it means when it is right, and one clear line for everything that can be wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller.config import ConfigError, Settings, load
from controller.domain.power import NO_LIMIT, ZERO, Limit, Power
from controller.domain.site import LinkLost, Thresholds
from drivers.registry import build

EXAMPLE = Path(__file__).parents[1] / "configs" / "site.example.toml"

SITE = """
name = "plant"
nodes = [
    { id = "site", limit_kw = 100, fixed_kw = 5, meter = "main" },
    { id = "pdu", parent = "site", limit_kw = 50 },
    { id = "row", parent = "pdu", fixed_kw = 2 },
]
zones = [{ id = "hall", derate_c = 35, trip_c = 45 }]

[policy]
tick_s = 1.0

[grid]
host = "mqtt.grid.example"
ven = "plant"
client_id = "plant-1"
username = "plant"

[[modbus]]
id = "board"
host = "10.0.0.9"
points = [
    { kind = "power", meter = "main", address = 0, type = "float32", max_w = 200000 },
    { kind = "zone", zone = "hall", address = 4, type = "int16" },
]

[[miners]]
id = "row-a"
family = "luxos"
hosts = ["10.0.1.1-3"]
node = "row"
zone = "hall"
rated_w = 3500
rated_ths = 200

[[gpu_hosts]]
id = "gpu-a"
node = "site"
uuids = ["GPU-0001"]
min_w = 200
default_w = 700
max_w = 700

[[queues]]
id = "local"
directory = "/var/lib/wattshift/queue"
"""

OPERATOR = """
[[operators]]
id = "iso"
host = "mqtt.grid.example"
ven = "plant"
client_id = "b"
"""

TRIGGER = """
[[triggers.frequencies]]
id = "under"
meter = "main"
below_hz = 59.85
restore_above_hz = 59.95
limit_kw = 5
"""

MORE_MINERS = """
[[miners]]
id = "row-b"
family = "luxos"
hosts = ["10.0.1.9"]
node = "row"
rated_w = 3500
rated_ths = 200
"""

MORE_GPUS = """
[[gpu_hosts]]
id = "gpu-b"
node = "site"
uuids = ["GPU-0002"]
min_w = 200
default_w = 700
max_w = 700
"""

PDU = """
[[pdus]]
id = "strip"
host = "10.0.2.1"
model = "apc-rpdu2"
version = "2c"
community = "c"
outlet_max_w = 4000
meter = "strip"
max_w = 20000
poll_s = 1
timeout_s = 1
"""

MORE_MODBUS = """
[[modbus]]
id = "board-2"
host = "10.0.0.10"
points = [{ kind = "power", meter = "second", address = 0, type = "float32", max_w = 200000 }]
"""


@pytest.fixture(autouse=True)
def _a_bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def site_file(directory: Path, text: str = SITE) -> Path:
    path = directory / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def loaded(directory: Path, text: str = SITE) -> Settings:
    return load(site_file(directory, text))


def complaint(directory: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(directory, text)
    return str(caught.value)


def changed(old: str, new: str, text: str = SITE) -> str:
    assert old in text
    return text.replace(old, new, 1)


# -- a file that is right ----------------------------------------------------------------------------------


def test_a_site_file_becomes_the_site_it_describes(tmp_path: Path) -> None:
    site = loaded(tmp_path).site()

    assert [node.id for node in site.nodes] == ["site", "pdu", "row"]
    assert site.root.limit == Limit(Power(100_000))
    assert site.root.fixed == Power(5_000)
    assert site.root.meter == "main"
    assert (site.nodes[2].limit, site.nodes[1].fixed) == (NO_LIMIT, ZERO)
    assert site.policy.margin == 0.01


def test_the_example_loads_with_every_table_there_is() -> None:
    settings = load(EXAMPLE)

    missing = {name for name in Settings.model_fields if not getattr(settings, name)} - {"simulation"}
    assert missing == set()
    assert len(build(settings).drivers) == 42


def test_prices_come_from_their_sources_in_the_preferred_order_and_at_last_from_the_constant() -> None:
    ladders = {str(ladder.key): ladder for ladder in load(EXAMPLE).ladders()}

    assert {
        name: ([rung.source for rung in ladder.rungs], ladder.constant) for name, ladder in ladders.items()
    } == {
        "energy": (["ercot-rtm", "ercot-dam"], 0.045),
        "gpu_hour H100": (["h100-market"], 2.4),
        "gpu_hour any": ([], 1.0),
        "hash": (["pool"], 0.05),
        "reduction": ([], 0.0),
    }
    assert [rung.stale_after_s for rung in ladders["energy"].rungs] == [900, 3900]


def test_a_model_that_only_a_source_prices_falls_back_to_the_constant_of_any(tmp_path: Path) -> None:
    text = changed('uuids = ["GPU-', 'model = "A2"\nuuids = ["GPU-') + priced(
        "a2", price="gpu_hour", model="A2"
    )

    ladders = {str(ladder.key): ladder for ladder in loaded(tmp_path, text).ladders()}

    assert ladders["gpu_hour A2"].constant == ladders["gpu_hour any"].constant == 1.0


def priced(name: str, **table: object) -> str:
    lines = {"price": "energy", "path": f"{name}.csv", "stale_after_s": 60} | table
    keys = "".join(f"{key} = {value!r}\n" for key, value in lines.items())
    return f"\n[[price_files]]\nid = {name!r}\n{keys}"


def test_each_operator_may_have_a_limit_of_its_own_for_a_lost_link_and_each_feed_one(tmp_path: Path) -> None:
    feeds = (
        '{ tag = "a", node = "row", maximum_kw = 9, link_lost_limit_kw = 4 }, { tag = "b", maximum_kw = 9 }'
    )
    dsx = OPERATOR.replace("iso", "dsx").replace('"b"', '"c"') + 'dialect = "dsx-flex"\nisv = "acme"\n'
    operators = OPERATOR + "link_lost_limit_kw = 7\n" + dsx + f"feeds = [{feeds}]\n"

    settings = loaded(tmp_path, SITE.replace("[[modbus]]", operators + "[[modbus]]"))

    assert settings.site().policy.link_lost == (
        LinkLost(operator="iso", limit=Power.kw(7)),
        LinkLost(operator="dsx", limit=Power.kw(4), node="row"),
    )


def test_the_policy_of_profit_is_the_sites(tmp_path: Path) -> None:
    site = loaded(tmp_path, SITE + "\n[profit]\nstop_below_usd_per_kwh = -0.01\nleast_off_s = 60\n").site()

    assert site.policy.profit == Thresholds(
        stop_below=-0.01, start_above=0.005, least_on_s=900, least_off_s=60
    )


@pytest.mark.parametrize(
    ("added", "says"),
    [
        (priced("a") + priced("a"), "price source 'a' is declared 2 times"),
        (priced("a") + priced("b"), "prices.prefer does not say when 'b' comes: energy has several sources"),
        (priced("a", price="gpu_hour", model="B200"), "price source 'a': no GPU host has the model 'B200'"),
        ("\n[prices]\nprefer = ['x']\n", "prices.prefer: 'x' is no price source"),
        ("\n[prices]\nprefer = ['a', 'a']\n" + priced("a"), "prices.prefer names 'a' 2 times"),
        ("\n[prices]\nenergy_usd_per_kwh = 45\n", "prices.energy_usd_per_kwh: .*less than or equal to 25"),
        ("\n[prices]\nhash_usd_per_ths_day = nan\n", "prices.hash_usd_per_ths_day: .*finite number"),
        ("\n[prices]\ngpu_hour_usd = { H100 = -1 }\n", "prices.gpu_hour_usd.H100: .*greater than or equal"),
        ("\n[profit]\nstop_below_usd_per_kwh = 1\n", "stop_below_usd_per_kwh 1.0 lies above"),
        (priced("a", unit="EUR/MWh"), "price_files.0: a: unit 'EUR/MWh' of energy is not"),
    ],
)
def test_prices_that_do_not_add_up_are_refused(tmp_path: Path, added: str, says: str) -> None:
    assert re.search(says, complaint(tmp_path, SITE + added))


def test_a_limit_of_zero_is_zero_and_an_absent_one_is_none(tmp_path: Path) -> None:
    text = changed("limit_kw = 100, fixed_kw = 5,", "limit_kw = 0,")
    text = changed(", limit_kw = 50", "", changed(", fixed_kw = 2", "", text))

    site = loaded(tmp_path, text).site()

    assert site.root.limit == Limit(ZERO)
    assert site.nodes[1].limit == NO_LIMIT


@pytest.mark.parametrize(("fixed_kw", "watts"), [("16.1", 16_100), ("0.0004", 1), ("25", 25_000)])
def test_a_fixed_load_is_rounded_up_but_not_by_the_noise_of_a_float(
    tmp_path: Path, fixed_kw: str, watts: int
) -> None:
    site = loaded(tmp_path, changed("fixed_kw = 5", f"fixed_kw = {fixed_kw}")).site()

    assert site.root.fixed == Power(watts)


# -- a file that is wrong ----------------------------------------------------------------------------------

BASELINE = """
[[settlement.baselines]]
id = "ours"
pick = "middle"
take = 8
of = 10
"""

WRONG = {
    "unknown table": ("name =", "nam = 1\nname =", "nam: ", "no such key"),
    "unknown nested key": ("tick_s = 1.0", "tick = 1.0", "policy.tick: ", "no such key"),
    "unknown key of a node": ("fixed_kw = 5", "fixed_w = 5", "nodes.0.fixed_w: ", "no such key"),
    "unknown key of a point": (
        "max_w =",
        "max_kw = 1, max_w =",
        "modbus.0.points.0.power.max_kw: ",
        "no such key",
    ),
    "a parameter of the library": ("name =", '_env_file = "/x"\nname =', "_env_file: ", "no such key"),
    "no name": ('name = "plant"', "", "name: ", "is needed"),
    "empty name": ('"plant"', '""', "name: ", "(got '')"),
    "name that is a number": ('"plant"', "5", "name: ", "(got 5)"),
    "nodes that are a table": (
        SITE[: SITE.index("zones")],
        'name = "x"\nnodes = { a = 1 }\n',
        "nodes: ",
        "a list is needed",
    ),
    "no nodes": (SITE[: SITE.index("zones")], 'name = "x"\nnodes = []\n', "nodes: ", "at least 1 item"),
    "api on no host": ("[policy]", 'api = { host = "" }\n[policy]', "api.host: ", "(got '')"),
    "limit that is a word": ("limit_kw = 100", 'limit_kw = "much"', "nodes.0.limit_kw: ", "(got 'much')"),
    "limit that is false": ("limit_kw = 100", "limit_kw = false", "nodes.0.limit_kw: ", "0 kW"),
    "limit that is a date": ("limit_kw = 100", "limit_kw = 2026-01-01", "nodes.0.limit_kw: ", "number"),
    "negative limit": ("limit_kw = 100", "limit_kw = -1", "nodes.0.limit_kw: ", "(got -1)"),
    "limit that is no number": ("limit_kw = 100", "limit_kw = nan", "nodes.0.limit_kw: ", "(got nan)"),
    "infinite limit": ("limit_kw = 100", "limit_kw = inf", "nodes.0.limit_kw: ", "(got inf)"),
    "limit beyond anything": ("limit_kw = 100", "limit_kw = 1e300", "nodes.0.limit_kw: ", "(got 1e+300)"),
    "infinite breaker": (
        "limit_kw = 50",
        "breaker = { amps = inf, volts = 400, phases = 3 }",
        "nodes.1.breaker.amps: ",
        "(got inf)",
    ),
    "breaker of nobody knows how many phases": (
        "limit_kw = 50",
        "breaker = { amps = 32, volts = 230 }",
        "nodes.1.breaker.phases: ",
        "is needed",
    ),
    "two PDUs at one address": (
        "[policy]",
        PDU.replace("strip", "other") + PDU + "[policy]",
        "pdu address 10.0.2.1:161",
        "is declared 2 times: other, strip",
    ),
    "journal of no name": ("[policy]", '[journal]\npath = ""\n[policy]', "journal: path ", "no file"),
    "hour of a schedule in the words of another country": (
        "[policy]",
        '[[triggers.schedules]]\nid = "e"\nstart = "4pm"\nend = "20:00"\nlimit_kw = 50\n[policy]',
        "triggers.schedules.0.start: ",
        "a time such as 16:00 is needed (got '4pm')",
    ),
    "parent that is misspelt": (
        'parent = "pdu"',
        'parent = "pdv"',
        "nodes.2.parent 'pdv'",
        "did you mean 'pdu'?",
    ),
    "negative fixed load": ("fixed_kw = 5", "fixed_kw = -5", "nodes.0.fixed_kw: ", "(got -5)"),
    "infinite fixed load": ("fixed_kw = 5", "fixed_kw = inf", "nodes.0.fixed_kw: ", "(got inf)"),
    "fixed load above the limit": ("fixed_kw = 5", "fixed_kw = 99", "nodes.0: limit 100.0 kW", "101.0 kW"),
    "fixed load below above the limit": ("limit_kw = 50", "limit_kw = 1", "nodes.1: limit 1000 W", "2000 W"),
    "two nodes of one name": ('id = "row"', 'id = "pdu"', "nodes.2.id 'pdu'", "declared twice"),
    "two roots": ('"row", parent = "pdu"', '"row"', "nodes.2.parent: 'row'", "only the first node"),
    "parent that is not there": ('parent = "pdu"', 'parent = "pud"', "nodes.2.parent 'pud'", "not declared"),
    "parent of itself": ('parent = "pdu"', 'parent = "row"', "nodes.2.parent 'row'", "not declared"),
    "meter that is not there": (
        'meter = "main" }',
        'meter = "mian" }',
        "nodes.0.meter 'mian'",
        "not declared",
    ),
    "meter on two nodes": ("limit_kw = 50", 'limit_kw = 50, meter = "main"', "meter 'main'", "2 nodes"),
    "meter told of twice": (
        "[[miners]]",
        changed('"second"', '"main"', MORE_MODBUS) + "[[miners]]",
        "meter main",
        "declared 2 times",
    ),
    "endpoint declared twice": (
        "[[miners]]",
        changed("board-2", "board", MORE_MODBUS) + "[[miners]]",
        "modbus endpoint 'board'",
        "declared 2 times",
    ),
    "meter read too seldom": (
        "10.0.0.9",
        '10.0.0.9"\npoll_s = 3\nstale_after_s = 9\n#"',
        "poll_s 3",
        "3 polls",
    ),
    "zone declared twice": (
        "trip_c = 45 }",
        'trip_c = 45 }, { id = "hall", derate_c = 1, trip_c = 2 }',
        "zones: 'hall'",
        "2 times",
    ),
    "zone without a sensor": (
        "trip_c = 45 }",
        'trip_c = 45 }, { id = "attic", derate_c = 1, trip_c = 2 }',
        "'attic'",
        "no sensor",
    ),
    "coolant without a sensor": (
        "trip_c = 45 }",
        "trip_c = 45, coolant_derate_c = 40, coolant_trip_c = 50 }",
        "zones: 'hall'",
        "no sensor of its coolant",
    ),
    "zone upside down": ("derate_c = 35", "derate_c = 45", "zones.0: derate_c 45.0", "below trip_c 45.0"),
    "zone that is no number": ("derate_c = 35", "derate_c = nan", "zones.0.derate_c: ", "(got nan)"),
    "sensor of no zone": (
        'type = "int16" },',
        'type = "int16" }, { kind = "zone", zone = "hell", address = 8, type = "int16" },',
        "modbus.0: zone 'hell'",
        "not declared",
    ),
    "miners in no zone": ('zone = "hall"\n', 'zone = "hell"\n', "miners.0.zone 'hell'", "not declared"),
    "miners on no node": ('node = "row"', 'node = "raw"', "miners.0.node 'raw'", "not declared"),
    "GPUs on no node": ('node = "site"', 'node = "sight"', "gpu_hosts.0.node 'sight'", "not declared"),
    "address twice in a group": ('"10.0.1.1-3"', '"10.0.1.1-3", "10.0.1.2"', "miners.0.hosts: ", "10.0.1.2"),
    "address in two groups": (
        "[[gpu_hosts]]",
        changed("10.0.1.9", "10.0.1.3", MORE_MINERS) + "[[gpu_hosts]]",
        "miner address 10.0.1.3",
        "2 times",
    ),
    "groups of one name": (
        "[[gpu_hosts]]",
        changed("row-b", "gpu-a", MORE_MINERS) + "[[gpu_hosts]]",
        "device group 'gpu-a'",
        "2 times",
    ),
    "GPU twice in a host": ('"GPU-0001"', '"GPU-0001", "GPU-0001"', "gpu_hosts.0: uuids", "twice"),
    "GPU in two hosts": (
        "[[queues]]",
        changed("0002", "0001", MORE_GPUS) + "[[queues]]",
        "GPU-0001",
        "2 times",
    ),
    "two NVML libraries": (
        "[[queues]]",
        changed('"gpu-b"', '"gpu-b"\nlibrary = "/opt/nvml.so"', MORE_GPUS) + "[[queues]]",
        "gpu_hosts: library",
        "'/opt/nvml.so'",
    ),
    "two queues": (
        "[[queues]]",
        '[[queues]]\nid = "b"\ndirectory = "/x"\n[[queues]]',
        "queues: ",
        "at most 1",
    ),
    "slow tick": ("tick_s = 1.0", "tick_s = 61", "policy.tick_s: ", "(got 61)"),
    "tick that is no number": ("tick_s = 1.0", "tick_s = nan", "policy.tick_s: ", "(got nan)"),
    "infinite ramp": ("fixed_kw = 5", "ramp_up_kw_per_s = inf", "nodes.0.ramp_up_kw_per_s: ", "(got inf)"),
    "ramp of zero": ("fixed_kw = 5", "ramp_up_kw_per_s = 0", "nodes.0.ramp_up_kw_per_s: ", "(got 0)"),
    "infinite limit for a lost link": (
        "tick_s = 1.0",
        "link_lost_limit_kw = inf",
        "policy.link_lost_limit_kw: ",
        "inf",
    ),
    "endless grace": ("tick_s = 1.0", "start_grace_s = inf", "policy.start_grace_s: ", "(got inf)"),
    "meter stale within 3 ticks": (
        "tick_s = 1.0",
        "tick_s = 2",
        "policy: meter_stale_after_s 5.0",
        "3 ticks",
    ),
    "device stale within 3 ticks": (
        "tick_s = 1.0",
        "tick_s = 4\nmeter_stale_after_s = 20",
        "gpu_hosts.0.stale_after_s 10.0",
        "3 ticks of 4.0 s",
    ),
    "certificate without key": (
        '"plant-1"',
        '"plant-1"\ntls = true\ntls_cert = "/x"',
        "grid: tls_cert",
        "tls_key",
    ),
    "port of no kind": ('"plant-1"', '"plant-1"\nport = 70000', "grid.port: ", "(got 70000)"),
    "journal kept for no time": (
        "[policy]",
        "[journal]\nkeep_days = 0\n[policy]",
        "journal.keep_days: ",
        "(got 0)",
    ),
    "events forgotten before the energy of their days": (
        "[policy]",
        "[journal]\nevents_keep_days = 30\n[policy]",
        "journal: ",
        "events_keep_days 30 is less than usage_keep_days 400",
    ),
    "journal kept for ever": (
        "[policy]",
        "[journal]\nkeep_days = nan\n[policy]",
        "journal.keep_days: ",
        "nan",
    ),
    "two operators of one name": (
        "[[modbus]]",
        OPERATOR + OPERATOR.replace('client_id = "b"', 'client_id = "c"') + "[[modbus]]",
        "operators: ",
        "'iso' is declared 2 times",
    ),
    "two operators that throw each other out": (
        "[[modbus]]",
        OPERATOR.replace('client_id = "b"', 'client_id = "plant-1"') + "[[modbus]]",
        "client_id ",
        "'plant-1' is used 2 times at mqtt.grid.example:1883",
    ),
    "two operators that throw each other out by a second broker": (
        "[[modbus]]",
        OPERATOR.replace('"iso"', '"dispatcher"')
        + 'dialect = "zero-hundred"\ntopic_in = "t"\noff_kw = 1\nsecond_host = "MQTT.second.example"\n'
        + OPERATOR.replace("mqtt.grid.example", "mqtt.second.example")
        + "[[modbus]]",
        "client_id ",
        "'b' is used 2 times at mqtt.second.example:1883",
    ),
    "feed of no node": (
        "[[modbus]]",
        OPERATOR
        + 'dialect = "dsx-flex"\nisv = "acme"\nfeeds = [{ tag = "a", node = "site", maximum_kw = 9 }]\n'
        + "[[modbus]]",
        "operators.0.feeds: ",
        "node 'site' of feed 'a' is none below the site",
    ),
    "contract of no node": (
        "[[modbus]]",
        OPERATOR + 'link_lost_limit_kw = 5\nlink_lost_node = "roof"\n[[modbus]]',
        "operators.0.link_lost_node ",
        "'roof' is no node below the site",
    ),
    "place of no contract": (
        "[[modbus]]",
        OPERATOR + 'link_lost_node = "row"\n[[modbus]]',
        "operators.0: ",
        "link_lost_node needs link_lost_limit_kw",
    ),
    "contract of one that nobody misses": (
        "[[modbus]]",
        OPERATOR + 'rights = ["price"]\nlink_lost_limit_kw = 5\n[[modbus]]',
        "operators.0: ",
        "link_lost_limit_kw: an operator that may neither limit nor steer is not missed",
    ),
    "trigger of no node": (
        "[[modbus]]",
        TRIGGER.replace("limit_kw = 5", 'limit_kw = 5\nnode = "roof"') + "[[modbus]]",
        "triggers: ",
        "node 'roof' is none below the site",
    ),
    "trigger of no meter": (
        "[[modbus]]",
        TRIGGER.replace('"main"', '"roof"') + "[[modbus]]",
        "triggers.frequencies.0.meter ",
        "'roof' is not declared",
    ),
    "trigger that never clears": (
        "[[modbus]]",
        TRIGGER.replace("59.95", "59.8") + "[[modbus]]",
        "triggers.frequencies.0: ",
        "restore_above_hz lies below below_hz",
    ),
    "schedule in no time zone": (
        "[[modbus]]",
        '[triggers]\ntimezone = "Mars/Olympus"\n[[modbus]]',
        "triggers.timezone: ",
        "no time zone of that name",
    ),
    "baseline of no such name": (
        'host = "mqtt.grid.example"',
        'host = "mqtt.grid.example"\nbaseline = "best-guess"',
        "grid.baseline 'best-guess' is none of 10-of-10, ",
        "middle-8-of-10",
    ),
    "baseline of days that are nobody's": (
        'host = "mqtt.grid.example"',
        'host = "mqtt.grid.example"\nbaseline = "10-of-10"',
        "grid.baseline '10-of-10' compares days: ",
        "settlement.time_zone says whose",
    ),
    "minute before an event in which the site goes down": (
        "tick_s = 1.0\n\n[grid]",
        'tick_s = 1.0\nevent_lead_s = 90\n\n[grid]\nbaseline = "meter-before"',
        "grid.baseline 'meter-before' ends 60 s before an event, ",
        "goes down 90 s before it: settlement.meter_before_gap_s says what the contract does",
    ),
    "settlement in no time zone": (
        "[[modbus]]",
        '[settlement]\ntime_zone = "Mars/Olympus"\n[[modbus]]',
        "settlement.time_zone: ",
        "a time zone such as",
    ),
    "settlement in intervals that leave a rest of the day": (
        "[[modbus]]",
        "[settlement]\ninterval_s = 7\n[[modbus]]",
        "settlement.interval_s: ",
        "a whole number of them (got 7)",
    ),
    "baseline of more days than there are": (
        "[[modbus]]",
        BASELINE.replace("take = 8", "take = 12") + "[[modbus]]",
        "settlement.baselines.0: ",
        "take 12 of 10",
    ),
    "baseline without a middle": (
        "[[modbus]]",
        BASELINE.replace("take = 8", "take = 7") + "[[modbus]]",
        "settlement.baselines.0: ",
        "take 7 of 10 leaves no middle",
    ),
    "baseline that has the name of a known one": (
        "[[modbus]]",
        BASELINE.replace("ours", "10-of-10") + "[[modbus]]",
        "settlement.baselines.0: ",
        "the name is taken",
    ),
    "log level of no kind": ("[policy]", '[log]\nlevel = "loud"\n[policy]', "log.level: ", "(got 'loud')"),
    "log format of no kind": ("[policy]", '[log]\nformat = "xml"\n[policy]', "log.format: ", "(got 'xml')"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_value_is_one_line_that_names_key_and_value(tmp_path: Path, wrong: str) -> None:
    old, new, key, says = WRONG[wrong]

    complains = complaint(tmp_path, changed(old, new))

    about = [line for line in complains.splitlines() if key in line]
    assert len(about) == 1, complains
    assert about[0].startswith(f"{tmp_path / 'site.toml'}: ")
    assert says in about[0]
    assert "Value error" not in complains
    assert len(complains.splitlines()) == 1, complains


@pytest.mark.parametrize(
    ("old", "new", "meant"),
    [
        ("name =", "nam = 1\nname =", "nam: there is no such key: did you mean name?"),
        ("fixed_kw = 5", "fixed_w = 5", "did you mean fixed_kw? (in 'site')"),
        ('parent = "pdu"', 'parnet = "pdu"', "did you mean parent? (in 'row')"),
        ("max_w =", "maxw = 1, max_w =", "did you mean max_w? (in "),
        ("[[miners]]", "[[miner]]", "miner: there is no such key: did you mean miners?"),
        (
            "limit_kw = 50",
            "breaker = { kva = 5, amps = 9, volts = 400, phases = 3 }",
            "there are amps, continuous_percent,",
        ),
    ],
)
def test_a_key_that_there_is_not_is_told_with_the_one_it_may_have_been(
    tmp_path: Path, old: str, new: str, meant: str
) -> None:
    complains = complaint(tmp_path, changed(old, new))

    assert meant in complains


def test_machines_that_are_in_two_groups_are_told_with_both(tmp_path: Path) -> None:
    again = SITE[SITE.index("[[miners]]") :].split("[[", 2)[1]
    twice = SITE + "\n[[" + again.replace('id = "', 'id = "more-', 1)

    complains = complaint(tmp_path, twice)

    assert "is declared 2 times: " in complains
    assert ", more-" in complains


def test_a_node_may_be_rated_above_what_is_over_it(tmp_path: Path) -> None:
    larger = changed("limit_kw = 50", "breaker = { amps = 400, volts = 400, phases = 3 }")

    site = loaded(tmp_path, larger).site()

    assert site.nodes[0].limit == Limit(Power.kw(100))
    assert site.nodes[1].limit == Limit(Power(221_702))


def test_each_of_several_mistakes_has_its_own_line(tmp_path: Path) -> None:
    text = changed('node = "row"', 'node = "raw"', changed('zone = "hall"\n', 'zone = "hell"\n'))

    complains = complaint(tmp_path, changed('meter = "main" }', 'meter = "mian" }', text))

    assert [line.partition("toml: ")[2] for line in complains.splitlines()] == [
        "miners.0.node 'raw' is not declared: did you mean 'row'? (in 'row-a')",
        "miners.0.zone 'hell' is not declared: did you mean 'hall'? (in 'row-a')",
        "nodes.0.meter 'mian' of 'site' is not declared: did you mean 'main'?",
    ]


def test_a_name_with_a_blank_too_many_is_shown_beside_the_one_that_was_looked_for(tmp_path: Path) -> None:
    complains = complaint(tmp_path, changed('{ id = "row"', '{ id = "row\\t"'))

    assert "miners.0.node 'row' is not declared: did you mean 'row\\t'? (in 'row-a')" in complains


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "limit_kw = 100",
            "limit_kw = 100,5",
            "limit_kw: decimals stand after a point, and not after a comma",
        ),
        ("rated_ths = 200", "rated_ths = 198,5", "rated_ths: decimals stand after a point"),
        ('ven = "plant"', 'ven = "plant', "ven: Illegal character"),
        ('ven = "plant"', "ven = \u201cplant\u201d", "ven: Invalid value"),
        ("tick_s = 1.0", "tick_s = 1.0\ntick_s = 2.0", "tick_s: Cannot overwrite a value"),
    ],
)
def test_a_line_that_is_no_toml_is_told_with_its_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    complains = complaint(tmp_path, changed(old, new))

    line = 1 + changed(old, new).partition(new.partition("\n")[2] or new)[0].count("\n")
    assert f"site.toml: not TOML: {says}" in complains
    assert f"(at line {line}, column " in complains


def test_a_line_that_is_no_toml_is_told_without_its_value_which_may_be_a_password(tmp_path: Path) -> None:
    complains = complaint(tmp_path, changed('username = "plant"', "password = hunter2"))

    assert "not TOML: password: Invalid value" in complains
    assert "hunter2" not in complains


def test_a_file_in_another_encoding_is_told_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(SITE.replace("tick_s = 1.0", "tick_s = 1.0  # K\xfchlung").encode("latin-1"))

    with pytest.raises(ConfigError, match=r"not saved as UTF-8: .* \(at line 11\)"):
        load(path)


def test_nodes_that_are_each_others_parents_are_refused_and_do_not_hang_the_check(tmp_path: Path) -> None:
    nodes = """
    { id = "site" }, { id = "a", parent = "b" }, { id = "b", parent = "a" },
    { id = "c", parent = "b", limit_kw = 1 },
    """

    complains = complaint(tmp_path, f"name = 'plant'\nnodes = [{nodes}]")

    assert "nodes.1.parent 'b' is not declared before 'a'" in complains


def test_a_tree_of_thousands_of_nodes_is_checked_in_one_pass(tmp_path: Path) -> None:
    nodes = ['{ id = "site", limit_kw = 9000 }']
    nodes += [f'{{ id = "n{at}", parent = "site", limit_kw = 5, fixed_kw = 1 }}' for at in range(5_000)]

    site = loaded(tmp_path, f"name = 'plant'\nnodes = [{', '.join(nodes)}]").site()

    assert len(site.nodes) == 5_001


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name = 'plant'\nname = 'again'", "not TOML"),
        (b"this is no TOML", "not TOML"),
        (b"name = '\xff'", "not saved as UTF-8"),
        (b"", "name: is needed"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)


def test_a_file_as_windows_editors_save_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SITE.replace("\n", "\r\n").encode())

    assert load(path).name == "plant"


def test_what_is_wrong_in_a_list_names_the_entry_for_places_count_from_zero(tmp_path: Path) -> None:
    wrong = changed("limit_kw = 50", "limit_kw = -50", changed("fixed_kw = 2", "fixed_w = 2"))

    lines = complaint(tmp_path, wrong)

    assert [line.partition("toml: ")[2] for line in lines.splitlines()] == [
        "nodes.1.limit_kw: Input should be greater than or equal to 0 (got -50) (in 'pdu')",
        "nodes.2.fixed_w: there is no such key: did you mean fixed_kw? (in 'row')",
    ]


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path / name)) as caught:
        load(tmp_path / name)

    assert len(str(caught.value).splitlines()) == 1


# -- environment and secrets -------------------------------------------------------------------------------


def test_the_environment_that_the_example_speaks_of_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    ((name, value),) = re.findall(r"\((WATTSHIFT_\w+)=(\w+)\)", example)
    monkeypatch.setenv(name, value)

    assert load(EXAMPLE).log.level == value


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTSHIFT_POLICY__TICK_S", "1.5")
    monkeypatch.setenv("WATTSHIFT_GRID__HOST", "10.9.8.7")
    monkeypatch.setenv("WATTSHIFT_CONFIG", "/not/ours/to/read")

    settings = loaded(tmp_path)

    assert settings.policy.tick_s == 1.5
    assert settings.policy.retry_s == 20.0
    assert settings.grid is not None
    assert (settings.grid.host, settings.grid.ven) == ("10.9.8.7", "plant")


def test_the_secrets_directory_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATTSHIFT_GRID__PASSWORD", "from the environment")
    secrets = secret_files(tmp_path, monkeypatch, grid__password=b"from the directory\n")

    settings = loaded(tmp_path)

    assert secrets.is_dir()
    assert settings.grid is not None
    assert settings.grid.password is not None
    assert settings.grid.password.get_secret_value() == "from the directory"
    assert settings.grid.username == "plant"


def test_a_secrets_directory_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "gone"))

    complains = complaint(tmp_path, SITE)

    assert "gone" in complains
    assert len(complains.splitlines()) == 1


def test_other_files_in_the_secrets_directory_are_none_of_our_business(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_files(tmp_path, monkeypatch, **{"grid-tls.key": b"-----BEGIN", "nodes_note": b"x"})

    assert loaded(tmp_path).name == "plant"


@pytest.mark.parametrize("variable", ["WATTSHIFT_NODES", "WATTSHIFT_GRID", "WATTSHIFT_MINERS"])
def test_a_table_in_the_environment_that_cannot_be_read_is_named_without_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "password=hunter2")

    complains = complaint(tmp_path, SITE)

    assert variable.removeprefix("WATTSHIFT_").lower() in complains
    assert "hunter2" not in complains
    assert len(complains.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "why", "meant"),
    [
        ("WATTSHIFT_CONTROLER__TICK_S", "no table 'controler'", "WATTSHIFT_POLICY__TICK_S"),
        ("WATTSHIFT_POLICY__TICKS", "no key 'ticks'", "WATTSHIFT_POLICY__TICK_S"),
        ("WATTSHIFT_POLICY_TICK_S", "no such table or key", "WATTSHIFT_POLICY__TICK_S"),
        ("WATTSHIFT_LOGS__LEVEL", "no table 'logs'", "WATTSHIFT_LOG__LEVEL"),
        ("wattshift_grid__hots", "no key 'hots'", "WATTSHIFT_GRID__HOST"),
        ("WATTSHIFT_PRICE", "no such table or key", "WATTSHIFT_PRICES"),
    ],
)
def test_a_variable_that_is_meant_for_a_table_and_misses_it_is_refused_with_what_it_may_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, why: str, meant: str
) -> None:
    monkeypatch.setenv(variable, "hunter2")

    complains = complaint(tmp_path, SITE)

    assert complains.startswith(f"environment: {variable}: there is {why}: did you mean {meant}?")
    assert "hunter2" not in complains


@pytest.mark.parametrize(
    "variable",
    [
        "WATTSHIFT_CONFIG",
        "WATTSHIFT_URL",
        "WATTSHIFT_NVML_STATE",
        "WATTSHIFT_PROGRESS",
        "WATTSHIFT_SERVICE_HOST",
        "WATTSHIFT_PORT",
        "WATTSHIFT_PORT_9480_TCP_ADDR",
        "OTHER__TICK_S",
    ],
)
def test_a_variable_that_is_meant_for_something_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "tcp://10.0.0.1:9480")

    assert loaded(tmp_path).name == "plant"


def test_a_wrong_value_in_the_environment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTSHIFT_POLICY__TICK_S", "often")

    complains = complaint(tmp_path, SITE)

    assert "policy.tick_s: " in complains
    assert "(got 'often')" in complains


def test_a_secret_that_is_no_text_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = secret_files(tmp_path, monkeypatch, grid__password=b"\xff\xfe")

    complains = complaint(tmp_path, SITE)

    assert str(secrets) in complains
    assert len(complains.splitlines()) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"plant-1"\n', '"plant-1"\npassword = 4711\n'),
        ('"plant-1"\n', '"plant-1"\npassword = ["hunter2", "4711"]\n'),
        ('"plant-1"\n', '"plant-1"\npassword = { hunter2 = 4711 }\n'),
        ('"plant-1"\n', '"plant-1"\npasswort = "hunter2"\n'),
        ('username = "plant"', 'password = "hunter2"'),
        ("[grid]", '[[grid]]\npassword = "hunter2"'),
        ("rated_w = 3500", 'password = "hunter2"\nrated_w = 1'),
        ("rated_w = 3500", "password = 4711\nrated_w = 3500"),
        ("[[miners]]", '[miners]\npassword = "hunter2"'),
        ("[policy]", '[policy]\npassword = "hunter2"'),
        (SITE[SITE.index("[grid]") : SITE.index("[[modbus]]")], 'password = "hunter2"\n'),
    ],
)
def test_no_complaint_shows_a_password(tmp_path: Path, old: str, new: str) -> None:
    complains = complaint(tmp_path, changed(old, new))

    assert "hunter2" not in complains
    assert "4711" not in complains


def test_settings_do_not_show_their_passwords(tmp_path: Path) -> None:
    text = changed('"plant-1"\n', '"plant-1"\npassword = "hunter2"\n')

    settings = loaded(tmp_path, changed("rated_w = 3500", 'password = "hunter2"\nrated_w = 3500', text))

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings)
    assert "hunter2" not in str(settings.model_dump())


def secret_files(directory: Path, monkeypatch: pytest.MonkeyPatch, **files: bytes) -> Path:
    secrets = directory / "credentials"
    secrets.mkdir()
    for name, content in files.items():
        (secrets / name).write_bytes(content)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secrets))
    return secrets


# -- whether it commands ------------------------------------------------------------------------------------


def test_a_site_is_commanded_unless_its_file_says_that_it_is_only_observed(tmp_path: Path) -> None:
    plain = loaded(tmp_path, SITE)
    seen = loaded(tmp_path, SITE + '\n[controller]\nmode = "observe"\n')

    assert not plain.site().policy.observes
    assert seen.site().policy.observes
    assert plain.only_observed().site() == seen.site()


def test_a_mode_that_there_is_not_is_refused_by_key_and_value(tmp_path: Path) -> None:
    said = complaint(tmp_path, SITE + '\n[controller]\nmode = "off"\n')

    assert "controller.mode: Input should be 'control' or 'observe' (got 'off')" in said
