"""What `wattshift check` doubts: limits and meters in another unit than their key; and what it does not."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from controller.config import Settings, fleet
from controller.plausibility import doubts

EXAMPLE = Path(__file__).parents[1] / "configs" / "site.example.toml"
MINERS = {
    "id": "row",
    "family": "luxos",
    "hosts": ["10.0.1.1-40"],
    "node": "pdu",
    "rated_w": 3500,
    "rated_ths": 200,
}
"""147 kW at most, 1 kW asleep."""


def doubted(*nodes: dict[str, Any], miners: dict[str, Any] | None = None, **tables: Any) -> list[str]:
    rows = [MINERS | (miners or {})] if any(node["id"] == "pdu" for node in nodes) else []
    settings = Settings(name="plant", nodes=nodes, miners=rows, **tables)
    return list(doubts(settings, [driver.spec for driver, _ in fleet(settings).drivers]))


def site(**keys: Any) -> dict[str, Any]:
    return {"id": "site", "limit_kw": 200, "fixed_kw": 10} | keys


def pdu(**keys: Any) -> dict[str, Any]:
    return {"id": "pdu", "parent": "site", "limit_kw": 150} | keys


def meter(max_w: float, **keys: Any) -> list[dict[str, Any]]:
    point = {"kind": "power", "meter": "main", "address": 0, "type": "float32", "max_w": max_w} | keys
    return [{"id": "board", "host": "10.0.0.9", "points": [point]}]


def test_a_site_in_which_all_goes_together_is_not_doubted() -> None:
    assert doubted(site(), pdu()) == []
    settings = Settings(**tomllib.loads(EXAMPLE.read_text()))
    assert list(doubts(settings, [driver.spec for driver, _ in fleet(settings).drivers])) == []


def test_a_limit_typed_in_watts_is_named_with_its_value_and_what_could_draw_it() -> None:
    [said] = doubted(site(limit_kw=200_000), pdu())

    assert said.startswith("nodes.0.limit_kw 200000 of 'site' is 200000.0 kW, 1274 times the 157.0 kW")


def test_the_same_at_a_node_is_named_there() -> None:
    [high, also] = doubted(site(limit_kw=200_000), pdu(limit_kw=150_000))

    assert high.startswith("nodes.0.limit_kw 200000 of 'site'")
    assert also.startswith("nodes.1.limit_kw 150000 of 'pdu' is 150000.0 kW, 1020 times the 147.0 kW")


@pytest.mark.parametrize(
    ("rating", "named"),
    [
        ({"breaker": {"amps": 250_000, "volts": 400, "phases": 3}}, "nodes.1.breaker 250000 A at 400 V"),
        ({"transformer": {"kva": 160_000}}, "nodes.1.transformer 160000 kVA"),
    ],
)
def test_a_plate_read_in_another_unit_is_doubted_by_what_stands_on_it(rating: Any, named: str) -> None:
    [said] = doubted(site(limit_kw=None), pdu(limit_kw=None, **rating))

    assert said.startswith(f"{named} of 'pdu' is ")


def test_two_ratings_of_one_node_that_are_worlds_apart_are_held_against_each_other() -> None:
    breaker = {"amps": 250, "volts": 0.4, "phases": 3}
    [apart, low] = doubted(site(), pdu(breaker=breaker))

    assert apart.startswith(
        "nodes.1.breaker 250 A at 0.4 V of 'pdu' is 138 W, and nodes.1.limit_kw 150 is 150.0 kW"
    )
    assert low.startswith(
        "nodes.1.breaker 250 A at 0.4 V of 'pdu' is 138 W, and all below it at their lowest"
    )


def test_a_limit_that_cannot_carry_what_is_below_it_at_rest_is_doubted() -> None:
    [said] = doubted(site(limit_kw=10.5), pdu(limit_kw=None))

    assert said == (
        "nodes.0.limit_kw 10.5 of 'site' is 10.5 kW, and all below it at their lowest draw 11.0 kW:"
        " it cannot be kept"
    )


def test_a_limit_of_which_nearly_all_machines_would_stand_still_is_doubted() -> None:
    [said] = doubted(site(), pdu(limit_kw=5))

    assert said.startswith(
        "nodes.1.limit_kw 5 of 'pdu' is 5000 W, and all below it can draw 147.0 kW, 29 times"
    )


def test_a_transformer_that_waits_for_the_rest_of_its_machines_is_not_doubted_before_twenty_times() -> None:
    assert doubted(site(limit_kw=3_000), pdu()) == []


def test_a_feeder_with_nothing_on_it_yet_is_not_doubted() -> None:
    spare = {"id": "spare", "parent": "site", "limit_kw": 200}

    assert doubted(site(), pdu(), spare) == []


def test_machines_that_together_draw_more_than_their_breaker_are_everyday_and_not_doubted() -> None:
    assert doubted(site(limit_kw=60), pdu(limit_kw=40)) == []


def test_a_limit_for_a_lost_link_above_the_sites_own_is_doubted() -> None:
    [said] = doubted(site(), pdu(), policy={"link_lost_limit_kw": 120_000})

    assert said == "policy.link_lost_limit_kw 120000 is above the 200.0 kW of 'site': it limits nothing"


def test_a_limit_of_a_contract_in_megawatts_is_doubted_wherever_it_stands() -> None:
    operator: dict[str, Any] = {
        "id": "d",
        "host": "10.0.0.7",
        "ven": "v",
        "client_id": "c",
        "dialect": "zero-hundred",
    }
    operator |= {"rights": ["limit"], "topic_in": "t", "off_kw": 0.06, "link_lost_limit_kw": 0.01}
    grid = {"host": "10.0.0.8", "ven": "v", "client_id": "c", "alerts_kw": {"ALERT_GRID_EMERGENCY": 0.3}}
    evening = {"id": "evening", "start": "16:00", "end": "20:00", "limit_kw": 0.6, "node": "pdu"}

    found = doubted(
        site(),
        pdu(),
        policy={"link_lost_limit_kw": 0.8},
        grid=grid,
        operators=[operator],
        triggers={"schedules": [evening]},
    )

    rest = "and all at 'site' and below it at their lowest draw 11.0 kW: it cannot be kept"
    assert found == [
        f"policy.link_lost_limit_kw 0.8 is 800 W, {rest}",
        f"grid.alerts_kw.ALERT_GRID_EMERGENCY 0.3 is 300 W, {rest}",
        f"operators.0.link_lost_limit_kw 0.01 is 10 W, {rest}",
        f"operators.0.off_kw 0.06 is 60 W, {rest}",
        "triggers.schedules.0.limit_kw 0.6 is 600 W, and all at 'pdu' and below it at their lowest draw"
        " 1000 W: it cannot be kept",
    ]


def test_a_limit_of_zero_means_as_little_as_there_is_and_is_not_doubted() -> None:
    assert doubted(site(), pdu(), policy={"link_lost_limit_kw": 0}) == []


def test_a_limit_of_a_rule_in_watts_is_doubted() -> None:
    evening = {"id": "evening", "start": "16:00", "end": "20:00", "limit_kw": 60_000}

    [said] = doubted(site(), pdu(), triggers={"schedules": [evening]})

    assert said == "triggers.schedules.0.limit_kw 60000 is above the 200.0 kW of 'site': it limits nothing"


@pytest.mark.parametrize(("rated_ths", "told"), [(0.2, "17500 J/TH"), (200_000, "0.0175 J/TH")])
def test_a_hash_rate_in_another_unit_is_doubted_by_what_it_would_cost(rated_ths: float, told: str) -> None:
    [said] = doubted(site(), pdu(), miners={"rated_ths": rated_ths})

    assert said == (
        f"miners.0: rated_w 3500 for rated_ths {rated_ths:g} of 'row' is {told}:"
        " is one of them in another unit?"
    )
    assert doubted(site(), pdu(), miners={"rated_ths": rated_ths, "family": "generic"}) == []


def test_temperatures_in_fahrenheit_are_doubted() -> None:
    hall = {"id": "hall", "derate_c": 100, "trip_c": 118, "coolant_derate_c": 113, "coolant_trip_c": 131}
    point = {"kind": "zone", "zone": "hall", "address": 0, "type": "int16"}
    point |= {"coolant": {"address": 1, "type": "int16"}}
    board = [{"id": "board", "host": "10.0.0.9", "points": [point]}]

    found = doubted(
        site(), pdu(), zones=[hall], modbus=board, miners={"board_derate_c": 131, "board_trip_c": 140}
    )

    assert found == [
        "zones.0.trip_c 118 of 'hall' protects nothing: in Fahrenheit?",
        "zones.0.coolant_trip_c 131 of 'hall' protects nothing: in Fahrenheit?",
        "miners.0.board_trip_c 140 of 'row' protects nothing: in Fahrenheit?",
    ]


def test_the_volts_between_lines_where_those_to_neutral_belong_are_doubted() -> None:
    one_phase = pdu(limit_kw=None, breaker={"amps": 250, "volts": 400, "phases": 1})

    [said] = doubted(site(), one_phase)

    assert said == (
        "nodes.1.breaker 250 A at 400 V of 'pdu' has one phase, whose volts are those to neutral:"
        " between two lines phases is 2"
    )


def test_ports_of_a_simulated_site_are_doubted_beside_machines_that_are_none() -> None:
    [said] = doubted(site(), pdu(), simulation={"ports": {80: 18080}})

    assert said == (
        "simulation.ports leads away from 80, and 10.0.1.1 is no simulated machine (in 'row'):"
        " the controller would knock at the wrong door"
    )
    simulated = {"hosts": ["127.64.0.1-40"]}
    assert doubted(site(), pdu(), miners=simulated, simulation={"ports": {80: 18080}}) == []


@pytest.mark.parametrize(
    ("tick_s", "lead_s", "late_s"),
    [(1, 0, None), (5, 5, None), (10, 20, None), (5, 2, 3), (10, 0, 10), (0.5, 0, None)],
)
def test_ticks_that_are_rarer_than_the_time_before_an_event_are_doubted(
    tick_s: float, lead_s: float, late_s: float | None
) -> None:
    policy = {"tick_s": tick_s, "event_lead_s": lead_s, "meter_stale_after_s": 60}

    said = doubted(site(), pdu(), miners={"stale_after_s": 60}, policy=policy)

    late = f"policy.tick_s {tick_s} is more than event_lead_s {lead_s}: events begin up to {late_s} s late"
    assert said == ([] if late_s is None else [late])


def test_a_miner_at_the_address_of_a_meter_a_strip_or_a_broker_is_doubted() -> None:
    meters = [
        {"id": "b", "host": "10.0.1.9", "points": [{"meter": "m", "topic": "t", "unit": "W", "max_w": 1}]}
    ]
    strip = STRIP | {"host": "10.0.1.3", "outlet_max_w": 4_000}

    found = doubted(
        site(meter="m"), pdu(), mqtt_meters=meters, pdus=[strip], outlets=[at(1)], modbus=meter_at("10.0.1.7")
    )

    assert [said for said in found if "10.0.1." in said] == [
        "modbus.0.host 10.0.1.7 is also that of a miner (in 'row')",
        "mqtt_meters.0.host 10.0.1.9 is also that of a miner (in 'row')",
        "pdus.0.host 10.0.1.3 is also that of a miner (in 'row')",
    ]


def meter_at(host: str) -> list[dict[str, Any]]:
    return [meter(200_000)[0] | {"host": host}]


def test_a_meter_that_would_be_taken_for_faulty_at_full_load_is_doubted() -> None:
    [said] = doubted(site(meter="main"), pdu(), modbus=meter(200))

    assert said.startswith(
        "modbus.0: max_w 200 of meter 'main' is less than the 157.0 kW that 'site' may draw"
    )
    assert doubted(site(meter="main"), pdu(), modbus=meter(200_000)) == []


def test_a_meter_that_may_show_generation_as_nothing_is_doubted() -> None:
    [said] = doubted(site(meter="main"), pdu(), modbus=meter(200_000, max_export_w=50_000))

    assert said.startswith("modbus.0: max_export_w 50000 of meter 'main' reads as 0 W: power that is fed in")
    assert doubted(site(meter="main"), pdu(), modbus=meter(200_000, max_export_w=2_000)) == []


def test_a_breaker_below_a_smaller_one_is_doubted_once_for_all_that_hang_on_it() -> None:
    feeder = pdu(id="feeder", limit_kw=None, breaker={"amps": 69, "volts": 400, "phases": 3})
    rows = [
        pdu(id=name, parent="feeder", limit_kw=None, breaker={"amps": 160, "volts": 400, "phases": 3})
        for name in ("pdu", "spare")
    ]

    [said] = doubted(site(), feeder, *rows)

    assert said.startswith(
        "nodes.2.breaker 160 A at 400 V of 'pdu' is 88.7 kW, and nodes.1.breaker 69 A at 400 V"
    )


def test_a_transformer_behind_a_smaller_contract_is_not_doubted() -> None:
    assert doubted(site(), pdu(limit_kw=None, transformer={"kva": 1000})) == []


FEEDER = {"amps": 250, "volts": 208, "phases": 3}


def between_lines(name: str, over: str = "feeder", **keys: Any) -> dict[str, Any]:
    breaker = {"amps": 100, "volts": 208, "phases": 1} | keys
    return pdu(id=name, parent=over, limit_kw=None, breaker=breaker)


def test_a_feed_whose_lines_may_carry_unequal_loads_is_doubted_once() -> None:
    feeder = pdu(id="feeder", limit_kw=None, breaker=FEEDER)

    [said] = doubted(site(), feeder, between_lines("pdu"), between_lines("other"), miners={"rated_w": 3400})

    assert said == (
        "nodes.2.breaker 100 A at 208 V of 'pdu' hangs between two lines of 'feeder' (nodes.1.breaker 250 A"
        " at 208 V): one line may carry too much while all three together do not. A node with phases = 2 over"
        " all that hangs between the same two lines bounds it"
    )


def test_loads_below_a_pair_of_lines_or_between_a_line_and_neutral_are_not_doubted() -> None:
    feeder = pdu(id="feeder", limit_kw=None, breaker=FEEDER)
    pair = between_lines("pair", amps=250, phases=2)
    neutral = between_lines("pdu", volts=120)

    assert doubted(site(), feeder, pair, between_lines("pdu", "pair")) == []
    assert doubted(site(), feeder, neutral) == []


def test_a_breaker_that_carries_not_one_of_its_machines_is_doubted() -> None:
    [said] = doubted(
        site(),
        pdu(limit_kw=None, breaker={"amps": 16, "volts": 230, "phases": 1}),
        miners={"hosts": ["10.0.1.1-7"]},
    )

    assert said == (
        "nodes.1.breaker 16 A at 230 V of 'pdu' is 2944 W, less than the 3500 W of 'row-000' alone:"
        " in another unit?"
    )


def test_a_meter_that_no_node_names_is_doubted() -> None:
    [said] = doubted(site(), pdu(), modbus=meter(200_000))

    assert said == "modbus.0: meter 'main' is named by no node: what it shows is not used"


def test_the_meter_of_a_frequency_is_used() -> None:
    point = meter(200_000)[0]["points"][0] | {"frequency": {"address": 2, "type": "float32"}}
    rule = {"id": "under", "meter": "main", "below_hz": 59.8, "restore_above_hz": 59.9, "limit_kw": 50}

    said = doubted(
        site(),
        pdu(),
        modbus=[{"id": "board", "host": "10.0.0.9", "points": [point]}],
        triggers={"frequencies": [rule]},
    )

    assert said == []


def test_hours_of_a_schedule_whose_clock_is_not_said_are_doubted_where_the_site_has_another() -> None:
    schedule = {"id": "evening", "start": "16:00", "end": "20:00", "days": ["mon"], "limit_kw": 100}
    own = {"settlement": {"time_zone": "America/Chicago"}}

    [said] = doubted(site(), pdu(), triggers={"schedules": [schedule]}, **own)

    assert said == (
        "triggers.timezone is not said, so 16:00 of schedule 'evening' is UTC,"
        " and settlement.time_zone is America/Chicago"
    )
    assert doubted(site(), pdu(), triggers={"schedules": [schedule], "timezone": "UTC"}, **own) == []
    assert doubted(site(), pdu(), triggers={"schedules": [schedule]}) == []


# Outlets


STRIP = {
    "id": "strip",
    "host": "10.0.2.1",
    "model": "apc-rpdu2",
    "version": "2c",
    "community": "c",
    "poll_s": 1,
    "timeout_s": 1,
}


def _of_outlets(*nodes: dict[str, Any], **tables: Any) -> list[str]:
    return [said for said in doubted(*nodes, **tables) if said.startswith(("outlets", "pdus"))]


def at(number: int, **keys: Any) -> dict[str, Any]:
    return {"device": f"row-{number - 1:03d}", "pdu": "strip", "outlet": number} | keys


def test_a_strip_whose_meter_is_that_of_what_its_machines_hang_at_is_not_doubted() -> None:
    nodes = (site(), pdu(meter="whole"))
    strip = STRIP | {"outlet_max_w": 4_000, "meter": "whole", "max_w": 160_000}

    assert not _of_outlets(*nodes, pdus=[strip], outlets=[at(1), at(2)])


def test_a_machine_that_stands_elsewhere_than_the_meter_of_its_strip_or_outlet_is_named() -> None:
    nodes = (site(), pdu(), {"id": "other", "parent": "site", "meter": "whole"})
    more = ({"id": "lone", "parent": "site", "meter": "one"},)
    strip = STRIP | {"outlet_max_w": 4_000, "meter": "whole", "max_w": 160_000}

    [of_the_strip, of_the_outlet] = _of_outlets(*nodes, *more, pdus=[strip], outlets=[at(7, meter="one")])

    by_address = [at(7, meter="one", device="10.0.1.7")]
    assert _of_outlets(*nodes, *more, pdus=[strip], outlets=by_address) == [of_the_strip, of_the_outlet]
    where = "outlets.0: 'row-006' stands at 'pdu', and "
    assert of_the_strip == f"{where}meter 'whole' of pdu 'strip' is that of 'other', which does not feed it"
    assert of_the_outlet == f"{where}meter 'one' of outlet 7 is that of 'lone', which does not feed it"


@pytest.mark.parametrize(("keys", "doubts"), [({}, 1), ({"metered": False}, 0)])
def test_a_machine_that_may_draw_more_than_its_outlet_is_believed_to_carry_is_named(
    keys: dict[str, Any], doubts: int
) -> None:
    """Kilowatts in the place of watts; and watts that would be a fault when they matter."""
    found = doubted(site(), pdu(), pdus=[STRIP | {"outlet_max_w": 4} | keys], outlets=[at(1), at(2)])

    assert len(found) == doubts
    for said in found:
        assert said.startswith("pdus.0: outlet_max_w 4 is less than the 3675 W that 'row-000' may draw")
