"""A machine behind a switched outlet: what it is taken to draw, and when it has power."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from controller.decide import telling, truth
from controller.decide.device import DeviceState
from controller.decide.inputs import Sample
from controller.decide.words import Truth
from controller.domain.devices import (
    Acknowledged,
    Failed,
    Quality,
    Reading,
    Refused,
    SetPoint,
)
from controller.domain.power import NO_LIMIT, ZERO, Limit, Power
from drivers import registry
from drivers.base import DriverError
from drivers.outlet import OutletDriver
from drivers.outletstate import Relay
from simulators.plant import Plant
from simulators.ports import remap
from simulators.serve import SimulatedSite
from tests.drivers.asic_fakes import free_port
from tests.drivers.outlet_fakes import (
    CUT,
    ECO,
    FULL,
    METERED,
    SLEEP,
    SPEC,
    Plugged,
    plugged,
    to,
)
from tests.simulators.plants import HOME, config, miners
from tests.virtualtime import in_virtual_time, now_s

DARK = Reading(device="m", draw=ZERO, quality=Quality.MEASURED, setting=Limit(SLEEP.power))


async def test_the_outlets_watts_take_the_place_of_the_machines_claim() -> None:
    driver, _, _ = plugged()

    reading = await driver.read()

    assert (reading.draw, reading.quality, reading.rate) == (Power(3_010), Quality.MEASURED, 105.0)
    assert reading.setting == NO_LIMIT


@pytest.mark.parametrize("known", [True, False], ids=["not metered", "not known"])
async def test_without_the_outlets_watts_the_claim_stands(known: bool) -> None:
    driver, plug, _ = plugged(power=None)
    plug.answers = known

    reading = await driver.read()

    assert (reading.draw, reading.quality) == (Power(2_900), Quality.ESTIMATED)


@pytest.mark.parametrize("quality", Quality)
@pytest.mark.parametrize(("carried_w", "counts_w"), [(25, 2_900), (3_010, 3_010)])
async def test_watts_of_before_the_newest_order_count_only_where_the_machine_claims_less(
    carried_w: int, counts_w: int, quality: Quality
) -> None:
    """It may have been woken since, or not have come down yet."""
    driver, plug, machine = plugged(power=Power(carried_w))
    machine.says = replace(machine.says, quality=quality)
    plug.polled_s = asyncio.get_running_loop().time()
    await asyncio.sleep(0.001)
    await driver.apply(to(FULL))

    before = await driver.read()
    plug.polled_s, plug.power = asyncio.get_running_loop().time(), Power(2_380)
    after = await driver.read()

    assert (before.draw, before.quality) == (Power(counts_w), quality)
    assert (after.draw, after.quality) == (Power(2_380), Quality.MEASURED)


async def test_an_order_that_had_to_be_given_up_may_be_carried_out_all_the_same() -> None:
    driver, plug, machine = plugged(power=Power(25))
    machine.hangs = True
    plug.polled_s = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await driver.apply(to(FULL))
    machine.hangs = False

    assert (await driver.read()).draw == Power(2_900)


async def test_a_silent_machine_with_power_stays_silent() -> None:
    """Its outlet shows what it draws now, not what it may draw the next moment."""
    driver, _, machine = plugged()
    machine.reachable = False

    with pytest.raises(DriverError):
        await driver.read()


async def test_orders_reach_the_machine_while_it_has_power() -> None:
    driver, plug, machine = plugged()

    assert await driver.apply(to(ECO)) == Acknowledged()
    assert (machine.told, plug.orders) == (["eco"], [])


async def test_a_machine_that_was_cut_off_is_seen_at_its_floor_without_a_watt() -> None:
    driver, _, _ = plugged()

    assert await driver.apply(CUT) == Acknowledged()
    assert await driver.read() == DARK


async def test_without_meters_a_machine_that_was_cut_off_is_estimated_to_draw_nothing() -> None:
    driver, _, _ = plugged(power=None)

    await driver.apply(CUT)

    assert await driver.read() == replace(DARK, quality=Quality.ESTIMATED)


async def test_what_a_welded_relay_lets_through_is_seen() -> None:
    driver, plug, machine = plugged()
    plug.works, plug.welded = False, True
    await driver.apply(CUT)

    said = await driver.read()
    machine.reachable = False

    assert said == replace(machine.says, draw=Power(3_010), quality=Quality.MEASURED)
    assert await driver.read() == replace(DARK, draw=Power(3_010))


async def test_a_machine_without_power_can_be_given_all_or_nothing() -> None:
    driver, _, _ = plugged()
    before = driver.spec
    await driver.apply(CUT)

    assert before == replace(SPEC, has_outlet=True)
    assert driver.spec == replace(SPEC, points=(SLEEP, FULL), has_outlet=True)


async def test_a_cut_machine_is_at_its_floor_without_being_asked() -> None:
    driver, plug, machine = plugged()
    await driver.apply(CUT)

    assert await driver.apply(to(SLEEP)) == Acknowledged()
    assert (machine.told, plug.orders) == ([], [Relay.OFF])


async def test_a_raise_gives_a_machine_that_was_cut_off_its_power_back() -> None:
    driver, plug, machine = plugged()
    await driver.apply(CUT)

    outcome = await driver.apply(to(FULL))
    reading = await driver.read()

    assert outcome == Acknowledged()
    assert plug.orders == [Relay.OFF, Relay.ON]
    assert reading.draw == Power(3_010)
    assert (driver.spec, machine.told) == (replace(SPEC, has_outlet=True), [])


async def test_an_outlet_switched_off_by_hand_is_never_switched_on() -> None:
    driver, plug, _ = plugged()
    plug.switch_by_hand(Relay.OFF)

    outcome = await driver.apply(to(FULL))

    assert isinstance(outcome, Refused)
    assert "by hand" in outcome.why
    assert plug.orders == []


async def test_a_machine_whose_outlet_only_a_person_may_switch_on_offers_nothing_above_its_floor() -> None:
    driver, plug, _ = plugged()
    plug.switch_by_hand(Relay.OFF)
    await driver.read()

    off = driver.spec
    plug.switch_by_hand(Relay.ON)
    await driver.read()

    assert (off.points, off.left_off) == ((SLEEP,), "was not switched off from here")
    assert driver.spec == replace(SPEC, has_outlet=True)


async def test_nor_is_one_that_was_cut_given_back_and_then_switched_off_by_hand() -> None:
    driver, plug, _ = plugged()
    await driver.apply(CUT)
    await driver.apply(to(FULL))
    await driver.read()
    plug.switch_by_hand(Relay.OFF)

    assert isinstance(await driver.apply(to(FULL)), Refused)


async def test_nor_is_one_switched_off_by_hand_before_it_was_to_be_cut() -> None:
    driver, plug, _ = plugged()
    plug.switch_by_hand(Relay.OFF)

    assert await driver.apply(CUT) == Acknowledged()
    assert isinstance(await driver.apply(to(FULL)), Refused)


async def test_a_relay_that_takes_its_time_is_switched_on_again_without_complaint() -> None:
    driver, plug, _ = plugged()
    await driver.apply(CUT)
    plug.works = False

    outcomes = [await driver.apply(to(FULL)) for _ in range(2)]

    assert outcomes == [Acknowledged(), Acknowledged()]
    assert await driver.read() == DARK


async def test_a_relay_seen_on_just_after_the_cut_was_cut_from_here_all_the_same() -> None:
    driver, plug, machine = plugged()
    plug.works = False
    await driver.apply(CUT)
    await driver.read()
    machine.powered, plug.works = False, True

    assert await driver.apply(to(FULL)) == Acknowledged()


async def test_a_cut_without_an_answer_may_have_been_done_and_can_be_taken_back() -> None:
    driver, plug, machine = plugged()
    await driver.read()
    plug.fails = True
    outcome = await driver.apply(CUT)
    machine.powered, plug.fails = False, False

    assert isinstance(outcome, Failed)
    assert await driver.apply(to(FULL)) == Acknowledged()
    assert machine.powered


async def test_an_outlet_is_asked_itself_only_after_it_was_switched() -> None:
    driver, plug, _ = plugged()
    await driver.read()
    before = plug.looks
    await driver.apply(CUT)
    await driver.read()

    assert (before, plug.looks) == (0, 1)


async def test_a_pdu_that_falls_silent_leaves_the_machine_to_itself() -> None:
    driver, plug, machine = plugged()
    await driver.apply(CUT)
    plug.answers = False

    with pytest.raises(DriverError, match="no route to host"):
        await driver.read()
    assert isinstance(await driver.apply(to(FULL)), Failed)
    assert machine.told == ["full"]


async def test_closing_closes_the_machine() -> None:
    driver, _, machine = plugged()

    await driver.close()

    assert machine.closed


# An outlet that does not feed its machine, or not alone


def miswired(carried: Power | None = ZERO, quality: Quality = Quality.ESTIMATED) -> Plugged:
    driver, plug, machine = plugged(carried)
    plug.miswired = True
    machine.says = replace(machine.says, quality=quality, setting=Limit(FULL.power))
    return driver, plug, machine


@pytest.mark.parametrize("quality", Quality)
@pytest.mark.parametrize("carried_w", [0, 12])
async def test_a_machine_that_answers_is_never_measured_to_draw_nothing(
    carried_w: int, quality: Quality
) -> None:
    driver, _, machine = miswired(Power(carried_w), quality)

    assert await driver.read() == machine.says


async def test_one_of_two_cords_does_not_carry_what_a_machine_measures_that_hashes() -> None:
    """An estimate proves nothing against an outlet: nor do watts of a machine that stands."""
    half = Power(1_450)
    driver, _, measures = miswired(half, Quality.MEASURED)
    other, _, _ = miswired(half)
    third, _, stands = miswired(half, Quality.MEASURED)
    stands.says = replace(stands.says, rate=0.0)

    assert await driver.read() == measures.says
    for fed in (other, third):
        said = await fed.read()
        assert (said.draw, said.quality) == (half, Quality.MEASURED)


@in_virtual_time
async def test_an_outlet_that_feeds_another_machine_is_told_once_and_once_when_it_was_mended() -> None:
    """Not before it was so for half a minute: an outlet's watts are older than the machine's."""
    driver, plug, machine = miswired()

    with capture_logs() as logs:
        await _read_for(29.0, driver)
        early = list(logs)
        await _read_for(100.0, driver)
        warned = list(logs)
        machine.says = replace(machine.says, draw=Power(25), rate=0.0)
        await driver.read()
        asleep = list(logs)
        machine.says, plug.power = replace(machine.says, draw=Power(2_900), rate=105.0), METERED
        await driver.read()

    assert early == []
    assert warned == asleep == [WARNED | {"relay": "on"}]
    assert [one["event"] for one in logs[1:]] == ["outlet_feeds"]


async def _read_for(seconds: float, driver: OutletDriver) -> None:
    until_s = now_s() + seconds
    while now_s() <= until_s:
        await driver.read()
        await asyncio.sleep(5.0)


WARNED = {
    "event": "outlet_does_not_feed",
    "log_level": "warning",
    "device": "m",
    "outlet": "pdu:4",
    "outlet_w": 0,
    "device_w": 2_900,
}


async def test_a_sleeping_machine_whose_outlet_is_too_coarse_to_show_it_is_nothing_to_warn_of() -> None:
    driver, _, machine = miswired()
    machine.says = replace(machine.says, draw=Power(25), rate=0.0)

    with capture_logs() as logs:
        said = await driver.read()

    assert (said, logs) == (machine.says, [])


@pytest.mark.parametrize("carried", [ZERO, None], ids=["metered", "not metered"])
async def test_a_machine_that_goes_on_without_its_outlet_counts_as_what_it_says(
    carried: Power | None,
) -> None:
    driver, plug, machine = miswired(carried)

    with capture_logs() as logs:
        assert await driver.apply(CUT) == Acknowledged()
        said = [await driver.read() for _ in range(3)]

    assert plug.orders == [Relay.OFF]
    assert said == [machine.says] * 3
    assert [one["event"] for one in logs] == ["outlet_switched", "outlet_does_not_feed"]
    assert logs[1] == WARNED | {"relay": "off", "outlet_w": None if carried is None else 0}


async def test_a_machine_that_refuses_to_be_read_without_its_outlet_is_silent_and_not_off() -> None:
    driver, _, machine = miswired()
    machine.refuses = True
    await driver.apply(CUT)

    with capture_logs() as logs, pytest.raises(DriverError, match="password"):
        await driver.read()

    assert logs == [WARNED | {"relay": "off", "device_w": None}]


async def test_a_machine_that_goes_on_without_its_outlet_is_told_by_words_and_has_no_outlet() -> None:
    """What else its outlet feeds stays off: to switch it on is for a person to decide."""
    driver, plug, machine = miswired()
    await driver.apply(CUT)
    await driver.read()

    outcomes = [await driver.apply(to(point)) for point in (SLEEP, FULL)]

    assert driver.spec == SPEC
    assert (outcomes, machine.told) == ([Acknowledged(), Acknowledged()], ["sleep", "full"])
    assert isinstance(await driver.apply(CUT), Refused)
    assert plug.orders == [Relay.OFF]


async def test_a_machine_that_was_cut_in_vain_is_a_liar_and_counts_as_before() -> None:
    driver, _, _ = miswired()
    spec = replace(driver.spec, settle_down_s=10.0)
    state = truth.observe(spec, DeviceState(), Sample(0.0, await driver.read()), None, 0.0)
    state = telling.cut(spec, state, 1.0)
    answer = Sample(1.5, await driver.apply(CUT))

    for at_s in (2.0, 7.0, 12.0):
        state = truth.observe(spec, state, Sample(at_s, await driver.read()), answer, at_s)

        assert state.worst >= Power(2_900)
        assert state.truth is not Truth.CONFIRMED

    assert state.truth is Truth.LYING


@in_virtual_time
async def test_the_silence_of_a_machine_that_another_outlet_feeds_is_silence() -> None:
    driver, plug, machine = miswired()
    plug.switch_by_hand(Relay.OFF)
    machine.powered = True
    await driver.read()
    await asyncio.sleep(5.0)
    await driver.read()
    machine.reachable = False

    with pytest.raises(DriverError, match="does not feed it"):
        await driver.read()
    plug.is_on = machine.reachable = True
    await driver.read()

    assert driver.spec.has_outlet


async def test_a_machine_that_was_heard_for_the_moment_that_its_relay_took_is_off_afterwards() -> None:
    driver, plug, machine = plugged()
    await driver.apply(CUT)
    machine.powered, plug.welded = True, True
    await driver.read()
    machine.powered, plug.welded = False, False

    assert await driver.read() == DARK
    assert driver.spec == replace(SPEC, points=(SLEEP, FULL), has_outlet=True)


@in_virtual_time
async def test_a_machine_without_power_is_asked_ever_less_often() -> None:
    driver, _, machine = plugged()
    await driver.apply(CUT)
    asked_s: list[float] = []

    for _ in range(120):
        before = machine.asked
        assert await driver.read() == DARK
        if machine.asked > before:
            asked_s.append(now_s())
        await asyncio.sleep(1.0)

    assert asked_s == [0, 5, 15, 35, 65, 95]


@in_virtual_time
async def test_a_machine_without_power_does_not_hold_up_what_its_outlet_says() -> None:
    driver, _, machine = plugged()
    await driver.apply(CUT)
    machine.hangs = True

    assert await driver.read() == DARK
    assert now_s() < 5.0


# A whole one: unmodified LuxOS driver, simulated machine and PDU, real sockets


PORTS = {80: free_port(), 4028: free_port()}


def remapped(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def whole() -> None:
            async with asyncio.timeout(30):
                await test()

        with asyncio.Runner(loop_factory=remap(PORTS)) as runner:
            runner.run(whole())

    run.__name__ = test.__name__
    return run


def _tables(site: SimulatedSite) -> registry.DeviceTables:
    (machine,), (pdu,) = site.plant.miners.values(), site.pdus
    miner = {"id": "row", "family": "luxos", "hosts": [machine.address], "node": "n"}
    strip = {"id": "pdu", "host": pdu.address[0], "port": pdu.address[1], "model": "raritan-px"}
    login = {"username": "site", "auth_password": "simulated", "privacy_password": "simulated"}
    return registry.DeviceTables.model_validate(
        {
            "miners": [miner | {"rated_w": 3_000, "rated_ths": 120, "min_w": 1_500}],
            "pdus": [strip | login | {"outlet_max_w": 4_000}],
            "outlets": [{"device": "row-000", "pdu": "pdu", "outlet": 7}],
        }
    )


def _site() -> SimulatedSite:
    liar = miners(first_address=f"{HOME}.77", faults=[{"index": 0, "fault": "lies_about_stop"}])
    pdu = {"id": "pdu", "model": "raritan-px", "outlets": {7: "luxos-000"}}
    return SimulatedSite(Plant(config(ports=PORTS, miners=[liar], pdus=[pdu])))


@pytest.mark.socket
@remapped
async def test_a_liar_loses_its_power_and_gets_it_back() -> None:
    site = _site()
    async with site.serving():
        fleet = registry.build(_tables(site))
        ((driver, _),), ((sensor, _),) = fleet.drivers, fleet.sensors
        assert isinstance(driver, OutletDriver)
        await sensor.read()

        said = await driver.apply(SetPoint(device="row-000", point=driver.spec.floor))
        await site.advance(30.0)
        lied_w = (await driver.read()).draw
        await driver.apply(CUT)
        await site.advance(1.0)
        dark, points, true_w = await driver.read(), driver.spec.points, site.plant.site_power_w
        again = await driver.apply(SetPoint(device="row-000", point=points[-1]))
        await site.advance(1.0)
        with pytest.raises(DriverError):
            await driver.read()
        await site.advance(200.0)
        await sensor.read()
        back = await driver.read()
        await driver.close()
        await sensor.close()

    assert (said, again) == (Acknowledged(), Acknowledged())
    assert (lied_w, dark.draw, true_w) == (Power(3_000), ZERO, 0.0)
    assert [point.power for point in points] == [Power(25), Power(3_000)]
    assert back.draw == Power(3_000)
    assert back.rate == pytest.approx(120, rel=0.05)
