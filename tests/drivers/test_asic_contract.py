"""Every ASIC family against the same assertions, over real sockets on loopback.

The machines are the simulated plant's, so what they really did is judged by the plant, not by what they say.
"""

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest

from controller.domain.devices import (
    Acknowledged,
    Failed,
    OperatingPoint,
    Quality,
    Refused,
    SetPoint,
)
from controller.domain.power import Limit, Power
from drivers.base import DriverError, OtherMachineError
from drivers.observed import ObservedDriver
from tests.drivers.asic_site import (
    BACKENDS,
    BY_RS,
    DESCRIPTORS,
    FAMILIES,
    MET_ASLEEP,
    NATIVE,
    ONLY_4433,
    QUICK_S,
    RS,
    WITH_PASSWORD,
    Family,
    Site,
    each_controllable,
    each_family,
    each_process_down,
    heard_again,
    on_site,
    order,
    top,
)

pytestmark = pytest.mark.socket

BARE = ("luxos", "avalon")
"""They ask for no password."""


# -- reading --------------------------------------------------------------------------------------------


@each_family
@on_site
async def test_reads_what_the_machine_says_of_itself(site: Site, family: Family) -> None:
    driver = site.driver(family)

    reading = await driver.read()

    truth = site.truth(family)
    assert reading.device == f"{family.name}-000"
    assert reading.quality is family.quality
    assert reading.draw.watts == pytest.approx(truth.watts, rel=0.01)
    assert reading.rate == pytest.approx(truth.rate_ths, rel=0.01)
    assert reading.hottest_c == (pytest.approx(truth.chip_c, abs=1) if family.tells_heat else None)
    assert reading.setting == Limit(top(driver).power)


@each_family
@on_site
async def test_a_machine_that_is_only_read_is_told_nothing(site: Site, family: Family) -> None:
    """Not when it is met, nor when its answers fail and it is met anew, nor when it is let go."""
    driver = ObservedDriver(site.driver(family, exchange_s=QUICK_S))
    machine = site.plant.miners[family.device]
    before = machine.orders

    await driver.read()
    await site.fault(family, "dead")
    for _ in range(3):
        with pytest.raises(DriverError):
            await driver.read()
    await site.fault(family, "dead", False)
    await driver.read()
    await driver.close()

    assert machine.orders == before


@each_controllable
@on_site
async def test_an_order_is_counted_by_the_simulated_machine_that_takes_it(site: Site, family: Family) -> None:
    driver = site.driver(family)
    await driver.read()
    before = site.plant.miners[family.device].orders

    await driver.apply(SetPoint(device=driver.spec.id, point=driver.spec.floor))

    assert site.plant.miners[family.device].orders > before


@each_family
@on_site
async def test_the_spec_is_usable_before_first_contact_and_never_wider_after_it(
    site: Site, family: Family
) -> None:
    driver = site.driver(family)
    before = driver.spec

    await driver.read()

    assert before.floor.name == driver.spec.floor.name == ("on" if family.watched else "sleep")
    assert before.ceiling == driver.spec.ceiling == Power(3413)
    assert top(driver).power <= before.points[-1].power


@each_family
@on_site
async def test_a_machine_that_never_closes_the_connection_is_still_read(site: Site, family: Family) -> None:
    driver = site.driver(family, exchange_s=QUICK_S if family.needs_the_end else 3.0)
    await driver.read()
    await site.fault(family, "never_closes")

    if family.needs_the_end:
        with pytest.raises(DriverError):
            await driver.read()
    else:
        assert (await driver.read()).rate > 0


@each_family
@pytest.mark.parametrize("trouble", ["dead", "hangs", "half_reply", "garbage"])
@on_site
async def test_a_machine_in_trouble_is_an_error_and_never_a_reading(
    site: Site, family: Family, trouble: str
) -> None:
    driver = site.driver(family, exchange_s=QUICK_S)
    floor = driver.spec.floor
    await site.fault(family, trouble)

    with pytest.raises(DriverError):
        await driver.read()
    outcome = await driver.apply(SetPoint(device=driver.spec.id, point=floor))

    assert isinstance(outcome, Failed)
    assert site.truth(family).watts > 3000


@each_family
@pytest.mark.parametrize("trouble", ["dead", "hangs", "half_reply", "garbage"])
@on_site
async def test_a_known_machine_in_trouble_is_an_error_and_comes_back_by_itself(
    site: Site, family: Family, trouble: str
) -> None:
    driver = site.driver(family, exchange_s=QUICK_S)
    await driver.read()
    await site.fault(family, trouble)

    for _ in range(3):
        with pytest.raises(DriverError):
            await driver.read()
    await site.fault(family, trouble, False)

    await heard_again(driver)
    assert (await driver.read()).draw.watts > 3000


# -- changing -------------------------------------------------------------------------------------------


@each_controllable
@on_site
async def test_lands_at_every_point_that_it_offers(site: Site, family: Family) -> None:
    driver = site.driver(family)
    await driver.read()

    for wanted in (*driver.spec.points, *reversed(driver.spec.points)):
        outcome = await order(driver, wanted.name)
        await site.after(60)
        reading = await driver.read()

        assert outcome == Acknowledged()
        assert reading.setting == Limit(wanted.power)
        assert reading.draw.watts == pytest.approx(wanted.power.watts, rel=0.03)
        assert site.truth(family).watts == pytest.approx(wanted.power.watts, rel=0.03)


@each_controllable
@on_site
async def test_the_first_thing_asked_of_a_stranger_may_be_to_sleep(site: Site, family: Family) -> None:
    driver = site.driver(family)

    outcome = await driver.apply(SetPoint(device=driver.spec.id, point=driver.spec.floor))

    await site.after(60)
    assert outcome == Acknowledged()
    assert site.truth(family).watts < 50


@on_site
async def test_a_machine_that_is_only_watched_refuses_every_command_and_says_why(site: Site) -> None:
    family = FAMILIES["axeos"]
    driver = site.driver(family)
    await driver.read()
    sleep = OperatingPoint(name="sleep", power=Power(25), rate=0)

    (only,) = driver.spec.points
    outcomes = [await driver.apply(SetPoint(device=driver.spec.id, point=wanted)) for wanted in (only, sleep)]

    assert only.power == driver.spec.ceiling
    assert outcomes == [
        Refused("BitAxe: pyasic has no stop for it"),
        Refused("no operating point sleep of 25 W; there are on"),
    ]
    assert site.truth(family).watts > 3000


@each_family
@on_site
async def test_a_point_that_the_machine_does_not_have_is_refused(site: Site, family: Family) -> None:
    driver = site.driver(family)
    strange = OperatingPoint(name="overclocked", power=Power(3400), rate=115)

    outcome = await driver.apply(SetPoint(device=driver.spec.id, point=strange))

    assert isinstance(outcome, Refused)
    assert "overclocked" in outcome.why
    assert (await driver.read()).setting == Limit(top(driver).power)


@each_controllable
@on_site
async def test_a_refusal_is_told_as_one_and_changes_nothing(site: Site, family: Family) -> None:
    driver = site.driver(family)
    await site.fault(family, "refuses")

    outcome = await order(driver, "sleep")

    await site.after(30)
    assert isinstance(outcome, Refused if family.says_why else Failed)
    assert site.truth(family).watts > 3000


@each_controllable
@on_site
async def test_a_machine_that_lies_is_read_as_what_it_still_does(site: Site, family: Family) -> None:
    driver = site.driver(family)
    await site.fault(family, "lies_about_stop")

    await order(driver, "sleep")

    await site.after(60)
    reading = await driver.read()
    assert reading.setting == Limit(driver.spec.floor.power)
    assert reading.draw.watts > 3000


@each_process_down
@on_site
async def test_a_whatsminer_whose_process_is_down_is_at_rest_but_nobody_measured_it(
    site: Site, family: Family
) -> None:
    driver = site.driver(family)

    outcome = await order(driver, "sleep")

    await site.after(30)
    reading = await driver.read()
    assert outcome == Acknowledged()
    assert reading.setting == Limit(driver.spec.floor.power)
    assert (reading.draw, reading.quality) == (driver.spec.floor.power, Quality.ESTIMATED)
    assert (reading.rate, reading.hottest_c) == (0.0, None)


@pytest.mark.parametrize("family", MET_ASLEEP.values(), ids=MET_ASLEEP)
@on_site
async def test_a_whatsminer_that_was_stopped_by_another_life_of_ours_can_be_woken(
    site: Site, family: Family
) -> None:
    await order(site.driver(family), "sleep")
    await site.after(30)

    driver = site.driver(family)
    outcome = await order(driver, top(driver).name)

    await site.after(60)
    assert outcome == Acknowledged()
    assert site.truth(family).watts > 3000


@pytest.mark.parametrize("name", [name for name in FAMILIES if "whatsminer" in name])
@on_site
async def test_a_limit_that_was_accepted_and_ignored_is_not_acknowledged(site: Site, name: str) -> None:
    """A Whatsminer says yes to a limit that is out of its range, and stays where it was."""
    points = (
        {"name": "too low", "power_w": 900, "rate_ths": 20},
        {"name": "full", "power_w": 3250, "rate_ths": 110},
    )
    driver = site.driver(FAMILIES[name], points=points)

    outcome = await order(driver, "too low")

    assert isinstance(outcome, Failed)
    assert "3250 W" in outcome.why


@each_controllable
@on_site
async def test_a_rebooted_machine_takes_orders_again(site: Site, family: Family) -> None:
    driver = site.driver(family)
    await driver.read()
    await order(driver, driver.spec.points[1].name)
    await site.fault(family, "reboot_now")
    await site.after(60)
    await heard_again(driver)

    outcome = await order(driver, "sleep")

    await site.after(30)
    assert outcome == Acknowledged()
    assert site.truth(family).watts < 50


@each_controllable
@on_site
async def test_a_second_order_works_after_a_long_silence(site: Site, family: Family) -> None:
    """LuxOS drops a login after 60 s: a client that kept it could stop a machine but never wake it."""
    driver = site.driver(family)
    await order(driver, "sleep")
    await site.after(3600)

    outcome = await order(driver, top(driver).name)

    await site.after(120)
    assert outcome == Acknowledged()
    assert site.truth(family).watts > 3000


# -- identity -------------------------------------------------------------------------------------------


OTHERS = [
    (wanted, there)
    for wanted, there in permutations(NATIVE, 2)
    if FAMILIES[wanted].driver != FAMILIES[there].driver
]


@pytest.mark.parametrize(("wanted", "there"), OTHERS)
@on_site
async def test_a_machine_of_another_family_is_an_error_that_names_both(
    site: Site, wanted: str, there: str
) -> None:
    driver = site.driver(FAMILIES[wanted], hosts=(FAMILIES[there].address,))

    known = FAMILIES[there].recognised
    with pytest.raises(OtherMachineError if known else DriverError) as error:
        await driver.read()

    assert not known or BACKENDS[FAMILIES[wanted].driver] in str(error.value)
    assert not known or BACKENDS[there] in str(error.value)


@pytest.mark.parametrize("wanted", BY_RS)
@pytest.mark.parametrize("there", ["luxos", "whatsminer", "whatsminer-v3", "auradine"])
@on_site
async def test_a_machine_of_another_family_is_an_error_to_the_second_backend_too(
    site: Site, wanted: str, there: str
) -> None:
    driver = site.driver(FAMILIES[wanted], hosts=(FAMILIES[there].address,))

    if FAMILIES[wanted].name == there:
        assert (await driver.read()).draw.watts > 3000
        return
    with pytest.raises(OtherMachineError, match=f"configured as {FAMILIES[wanted].name}, but is "):
        await driver.read()
    outcome = await driver.apply(SetPoint(device=driver.spec.id, point=driver.spec.floor))

    assert isinstance(outcome, Failed)
    assert site.truth(FAMILIES[there]).watts > 3000


@on_site
async def test_a_whatsminer_with_nothing_but_4433_open_is_met_and_takes_orders(site: Site) -> None:
    driver = site.driver(ONLY_4433)

    outcome = await order(driver, "sleep")

    await site.after(30)
    assert outcome == Acknowledged()
    assert site.truth(ONLY_4433).watts < 50


@each_family
@on_site
async def test_another_machine_at_the_address_is_an_error_once_and_then_the_new_machine(
    site: Site, family: Family
) -> None:
    driver = site.driver(family)
    await driver.read()
    miner = site.plant.miners[family.device]
    before, miner.serial = miner.serial, "abcdefabcdef"

    await site.fault(family, "dead")
    for _ in range(3):
        with pytest.raises(DriverError):
            await driver.read()
    await site.fault(family, "dead", False)
    with pytest.raises(OtherMachineError) as error:
        await driver.read()

    assert "02:AB:CD:EF:AB:CD" in str(error.value)
    assert before[:2].upper() in str(error.value)
    assert (await driver.read()).draw.watts > 3000


# -- passwords and logins -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["antminer", "vnish", "auradine", "braiins"])
@on_site
async def test_a_machine_with_another_password_is_an_error(site: Site, name: str) -> None:
    driver = site.driver(FAMILIES[name], password="not-this-one")

    with pytest.raises(DriverError, match="password"):
        await driver.read()


@on_site
async def test_the_second_backend_reads_nothing_of_an_auradine_with_another_password(site: Site) -> None:
    driver = site.driver(FAMILIES[f"auradine by {RS}"], password="not-this-one")

    with pytest.raises(DriverError, match="no MAC address"):
        await driver.read()


@pytest.mark.parametrize("name", ["whatsminer", "whatsminer-v3", "epic", *(n for n in BY_RS if "what" in n)])
@on_site
async def test_a_machine_that_wants_its_password_for_orders_only_is_read_but_refuses(
    site: Site, name: str
) -> None:
    driver = site.driver(FAMILIES[name], password="not-this-one")

    outcome = await order(driver, "sleep")

    assert isinstance(outcome, Refused if FAMILIES[name].says_why else Failed)
    assert site.truth(FAMILIES[name]).watts > 3000


@pytest.mark.parametrize("family", WITH_PASSWORD.values(), ids=WITH_PASSWORD)
@on_site
async def test_the_configured_password_is_used(site: Site, family: Family) -> None:
    site.plant.miners[family.device].group.__dict__["password"] = "hall-7"
    driver = site.driver(family, password="hall-7")

    assert await order(driver, "sleep") == Acknowledged()


@pytest.mark.parametrize("fault", ["refuses", "garbage"])
@pytest.mark.parametrize("family", WITH_PASSWORD.values(), ids=WITH_PASSWORD)
@on_site
async def test_no_trouble_shows_the_password(site: Site, family: Family, fault: str) -> None:
    site.plant.miners[family.device].group.__dict__["password"] = "hall-7"
    driver = site.driver(family, password="hall-7")
    await driver.read()
    await site.fault(family, fault)

    try:
        said = repr(await driver.apply(SetPoint(device=driver.spec.id, point=driver.spec.floor)))
    except DriverError as error:
        said = repr(error)

    assert "hall-7" not in said


ASKS_FOR_IT = {name: it for name, it in WITH_PASSWORD.items() if name in NATIVE and name not in BARE}


@pytest.mark.parametrize("family", ASKS_FOR_IT.values(), ids=ASKS_FOR_IT)
@on_site
async def test_a_machine_with_another_password_refuses(site: Site, family: Family) -> None:
    driver = site.driver(family, password="not-this-one")

    outcome = await driver.apply(SetPoint(device=driver.spec.id, point=driver.spec.floor))

    assert isinstance(outcome, Refused)
    assert site.truth(family).watts > 3000


@on_site
async def test_a_luxos_machine_that_someone_else_is_logged_in_to_refuses(site: Site) -> None:
    family = FAMILIES["luxos"]
    driver = site.driver(family)
    await site.fault(family, "session_stolen")

    stolen = await order(driver, "sleep")
    await site.fault(family, "session_stolen", False)
    free = await order(driver, "sleep")

    assert isinstance(stolen, Refused)
    assert free == Acknowledged()


@on_site
async def test_luxos_is_left_without_our_login(site: Site) -> None:
    driver = site.driver(FAMILIES["luxos"])

    for name in ("sleep", "325MHz", "650MHz"):
        assert await order(driver, name) == Acknowledged()


# -- sockets --------------------------------------------------------------------------------------------


CALLS = [(family, call) for call in ("read", "apply") for family in NATIVE.values()]
"""The sockets of pyasic-rs are its own threads'; they end by themselves within 5 s."""


@pytest.mark.parametrize(("family", "call"), [(f, c) for f, c in CALLS if c == "read" or not f.watched])
@on_site
async def test_a_cancelled_call_leaves_no_open_socket(site: Site, family: Family, call: str) -> None:
    driver = site.driver(family, exchange_s=5.0)
    await driver.read()
    await driver.close()
    sleep = SetPoint(device=driver.spec.id, point=driver.spec.floor)
    open_before = await open_descriptors()
    await site.fault(family, "hangs")

    task = asyncio.ensure_future(driver.read() if call == "read" else driver.apply(sleep))
    while count_descriptors() <= open_before:  # noqa: ASYNC110 - the kernel sets no event
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert await open_descriptors() == open_before


@pytest.mark.parametrize("family", NATIVE.values(), ids=NATIVE)
@on_site
async def test_a_cancelled_first_contact_leaves_no_open_socket(site: Site, family: Family) -> None:
    driver = site.driver(family)
    open_before = await open_descriptors()
    await site.fault(family, "slow_s", 0.03)

    task = asyncio.ensure_future(driver.read())
    await asyncio.sleep(0.08)
    task.cancel()
    await asyncio.wait([task])

    assert await open_descriptors() == open_before


async def open_descriptors() -> int:
    """How many this process has open, once both ends of what was closed have noticed."""
    before = -1
    for _ in range(20):
        await asyncio.sleep(0.005)
        now = count_descriptors()
        if now == before:
            return now
        before = now
    return before


def count_descriptors() -> int:
    return sum(1 for _ in DESCRIPTORS.iterdir())
