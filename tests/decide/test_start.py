"""The first seconds: what is not known yet must not be taken for lost."""

from __future__ import annotations

import pytest

from controller.decide.timeline import link_since
from controller.domain.grid import Link
from controller.domain.site import Policy

POLICY = Policy(start_grace_s=20.0)


def test_a_link_that_had_no_time_to_be_heard_is_not_lost() -> None:
    assert link_since(Link.LOST, 19.9, POLICY) is Link.UP


def test_a_link_that_is_silent_past_the_grace_is_lost() -> None:
    assert link_since(Link.LOST, 20.0, POLICY) is Link.LOST


@pytest.mark.parametrize("link", [Link.NONE, Link.UP])
@pytest.mark.parametrize("up_s", [0.0, 100.0])
def test_a_link_that_is_not_lost_stays_as_it_is(link: Link, up_s: float) -> None:
    assert link_since(link, up_s, POLICY) is link
