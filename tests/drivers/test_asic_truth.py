"""From a machine in trouble to what the controller holds to be true of it: every family and backend, through
its driver and the decision core, judged beside the plant."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from controller.decide import telling, truth
from controller.decide.device import DeviceState
from controller.decide.inputs import Inputs, Sample
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.decide.words import Truth
from controller.domain.devices import Acknowledged, DeviceKind, DeviceSpec, Outcome, Reading
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.domain.site import Node, Policy
from controller.domain.site import Site as SiteSpec
from drivers.asic import whatsminer
from drivers.asic.driver import AsicDriver
from drivers.asic.whatsminer import Whatsminer
from drivers.base import DriverError
from tests.drivers.asic_fakes import plate
from tests.drivers.asic_site import (
    QUICK_S,
    WITH_PASSWORD,
    Family,
    Site,
    each_controllable,
    each_family,
    on_site,
)

pytestmark = pytest.mark.socket

TICK_S = 5.0
NOTHING_MAY_RUN = Limit(Power(100))
BOUNDED_S = 60.0
"""Plant time in which every state must have been found: a lie has to settle, silence to grow stale."""

PASSWORD_KNOWN_TO_ORDERS = {name: f for name, f in WITH_PASSWORD.items() if name not in ("luxos", "avalon")}
"""LuxOS and Avalon ask for none."""


@dataclass(slots=True)
class Watch:
    """One device under the core: read, decided on and told, once a tick of plant time."""

    site: Site
    driver: AsicDriver
    limit: Bound = NO_LIMIT
    now_s: float = 1000.0
    state: State = field(default_factory=State)
    reading: Sample[Reading] | None = None
    outcome: Sample[Outcome] | None = None

    async def until(self, wanted: Truth) -> Plan:
        plan = await self.tick()
        for _ in range(round(BOUNDED_S / TICK_S)):
            if plan.grants[0].truth is wanted:
                return plan
            plan = await self.tick()
        pytest.fail(f"{plan.grants[0].truth} and not {wanted} after {BOUNDED_S} s")

    async def tick(self) -> Plan:
        await self.site.after(TICK_S)
        self.now_s += TICK_S
        with suppress(DriverError):
            self.reading = Sample(self.now_s, await self.driver.read())
        device = self.driver.spec.id
        inputs = Inputs(
            now_s=self.now_s,
            utc_s=self.now_s,
            specs=(self.driver.spec,),
            readings={} if self.reading is None else {device: self.reading},
            outcomes={} if self.outcome is None else {device: self.outcome},
        )
        nodes = (Node(id="site", limit=self.limit),)
        policy = Policy(start_grace_s=0.0)
        self.state, plan = step(SiteSpec(name="one", nodes=nodes, policy=policy), self.state, inputs)
        for command in plan.commands:
            self.outcome = Sample(self.now_s, await self.driver.apply(command))
        return plan


@each_controllable
@on_site
async def test_a_machine_that_obeys_is_confirmed(site: Site, family: Family) -> None:
    watch = Watch(site, site.driver(family))
    await watch.until(Truth.CONFIRMED)
    watch.limit = NOTHING_MAY_RUN
    await watch.tick()

    plan = await watch.until(Truth.CONFIRMED)

    assert plan.grants[0].worst < Power(100)
    assert site.truth(family).watts < 100


@each_controllable
@on_site
async def test_a_machine_that_says_yes_and_goes_on_is_lying(site: Site, family: Family) -> None:
    watch = Watch(site, site.driver(family))
    await watch.until(Truth.CONFIRMED)
    await site.fault(family, "lies_about_stop")
    watch.limit = NOTHING_MAY_RUN

    plan = await watch.until(Truth.LYING)

    assert plan.grants[0].worst.watts >= site.truth(family).watts > 3000


@each_controllable
@on_site
async def test_a_machine_that_says_no_is_never_counted_as_lowered(site: Site, family: Family) -> None:
    """Where the driver cannot tell a refusal from a lie, the command goes on without an answer."""
    watch = Watch(site, site.driver(family))
    await watch.until(Truth.CONFIRMED)
    await site.fault(family, "refuses")
    watch.limit = NOTHING_MAY_RUN

    plan = await watch.until(Truth.REFUSED if family.says_why else Truth.COMMANDED)

    assert plan.grants[0].worst.watts >= site.truth(family).watts > 3000


@pytest.mark.parametrize("family", PASSWORD_KNOWN_TO_ORDERS.values(), ids=PASSWORD_KNOWN_TO_ORDERS)
@on_site
async def test_a_machine_whose_password_was_changed_is_never_counted_as_lowered(
    site: Site, family: Family
) -> None:
    watch = Watch(site, site.driver(family))
    await watch.until(Truth.CONFIRMED)
    await site.fault(family, "wrong_password")
    watch.limit = NOTHING_MAY_RUN

    for _ in range(4):
        plan = await watch.tick()
        told = plan.grants[0]
        if site.truth(family).watts < 100:
            return  # a login from before still held
        assert told.worst.watts >= site.truth(family).watts
        assert told.truth is not Truth.CONFIRMED or told.point.power > Power(3000)


@each_family
@pytest.mark.parametrize("trouble", ["dead", "hangs", "half_reply"])
@on_site
async def test_a_machine_that_falls_silent_is_stale_and_then_comes_back(
    site: Site, family: Family, trouble: str
) -> None:
    watch = Watch(site, site.driver(family, exchange_s=QUICK_S, boots_s=0))
    await watch.until(Truth.CONFIRMED)
    await site.fault(family, trouble)

    plan = await watch.until(Truth.STALE)
    await site.fault(family, trouble, False)
    await watch.until(Truth.CONFIRMED)

    assert plan.grants[0].worst == watch.driver.spec.ceiling


@each_family
@pytest.mark.parametrize("trouble", ["dead", "hangs", "half_reply"])
@on_site
async def test_a_machine_that_never_answered_is_unreachable_at_its_ceiling(
    site: Site, family: Family, trouble: str
) -> None:
    watch = Watch(site, site.driver(family, exchange_s=QUICK_S))
    await site.fault(family, trouble)

    plan = await watch.tick()

    assert plan.grants[0].truth is Truth.UNREACHABLE
    assert plan.grants[0].worst == watch.driver.spec.ceiling


# -- a limit that is claimed, and no watts ---------------------------------------------------------------


def test_a_limit_that_shows_in_no_watts_and_no_hash_is_not_proof_that_it_was_obeyed() -> None:
    """One reading after its yes, its 900 W would be given to others, which it still draws."""
    spec = DeviceSpec(
        id="hall-000",
        kind=DeviceKind.ASIC,
        node="site",
        points=Whatsminer.default_points(plate()),
        ceiling=Power(3150),
    )
    at_full, lowered = (
        whatsminer.sample(
            {"mineroff": "false"}, {"Power": -1, "Power Limit": limit_w, "HS RT": 99e6}, plate()
        ).reading
        for limit_w in (3000, 2100)
    )
    state = truth.observe(spec, DeviceState(), Sample(0.0, at_full), None, 0.0)
    state = telling.commanded(spec, state, spec.points[1], 10.0)

    state = truth.observe(spec, state, Sample(12.0, lowered), Sample(11.0, Acknowledged()), 12.0)

    assert state.truth is not Truth.CONFIRMED
    assert state.worst >= Power(2971)
