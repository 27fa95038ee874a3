"""What a spec, a site and an event may look like, and what they say of themselves."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from controller.domain.devices import OperatingPoint
from controller.domain.grid import GridEvent
from controller.domain.jobs import FlexTier
from controller.domain.power import Power
from controller.domain.site import Node, Site
from tests.decide.builders import FULL, LOW, SLEEP, event, interval, miner


@pytest.mark.parametrize("points", [(), (LOW, SLEEP), (LOW, LOW), (LOW, replace(LOW, name="twin"))])
def test_operating_points_ascend_in_power(points: tuple[OperatingPoint, ...]) -> None:
    with pytest.raises(ValueError, match="device m: operating points must ascend"):
        miner(points=points)


def test_no_point_lies_above_the_ceiling() -> None:
    with pytest.raises(ValueError, match="device m: point 3500 W lies above the ceiling 3499 W"):
        miner(ceiling=Power(3_499))


def test_the_first_point_is_the_floor() -> None:
    assert miner(points=(LOW, FULL)).floor == LOW


def test_what_crosses_a_boundary_does_not_change() -> None:
    spec = miner()

    with pytest.raises(FrozenInstanceError):
        spec.node = "elsewhere"  # type: ignore[misc]  # what must not work


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ((Node(id="a"), Node(id="a", parent="a")), "node a: declared twice"),
        ((Node(id="a", parent="b"),), "node a: exactly the first node has no parent"),
        ((Node(id="a"), Node(id="b")), "node b: exactly the first node has no parent"),
        (
            (Node(id="a"), Node(id="b", parent="c"), Node(id="c", parent="a")),
            "node b: parent 'c' is not declared",
        ),
    ],
)
def test_a_site_is_one_tree_with_parents_first(nodes: tuple[Node, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Site(name="s", nodes=nodes)


def test_the_first_node_is_the_root() -> None:
    assert Site(name="s", nodes=(Node(id="a"), Node(id="b", parent="a"))).root.id == "a"


def test_an_event_lasts_from_its_first_interval_to_its_last() -> None:
    steps = replace(event(), intervals=(interval(0.0, 10.0), interval(20.0, 30.0)))

    assert steps.end_utc_s - steps.start_utc_s == 30.0


def test_a_cancelled_event_lasts_no_time() -> None:
    cancelled: GridEvent = replace(event(), intervals=())

    assert (cancelled.start_utc_s, cancelled.end_utc_s) == (0.0, 0.0)


def test_a_more_flexible_job_may_lose_more_and_a_rigid_one_nothing() -> None:
    assert [tier.allowed_loss for tier in FlexTier] == [0.0, 0.10, 0.25, 0.50]


def test_a_point_whose_rate_is_known_better_by_now_is_the_same_and_one_of_other_watts_is_not() -> None:
    point = OperatingPoint(name="low", power=Power(2_400), rate=150.0)

    assert point.is_at(replace(point, rate=151.0))
    assert not point.is_at(replace(point, power=Power(2_390)))
    assert not point.is_at(replace(point, name="eco"))
    assert not point.is_at(None)
