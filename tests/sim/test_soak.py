"""A seed that fails prints what plays it again, and fails then as well."""

from __future__ import annotations

from math import inf

import pytest

from tests.sim.daemon.soak import again
from tests.sim.played import Result
from tests.sim.soak import failures, parsed, verdict

LATE = Result(seed=503, on=("hangs",), recovered=False, recovery_s=660.0, amiss="used 1 W of 2 W")


def test_a_seed_that_was_safe_and_not_well_in_time_says_so_when_it_is_played_again() -> None:
    assert verdict(LATE) == ["seed 503: hangs", "  not well 660 s after the faults: used 1 W of 2 W"]


@pytest.mark.parametrize(
    "terms",
    [
        ["--minutes", "20", "--devices", "60", "--careless"],
        ["--exactly", "hangs", "kills"],
        ["--only", "hangs"],
        ["--only"],
    ],
)
def test_a_seed_is_played_again_on_the_terms_on_which_it_failed(terms: list[str]) -> None:
    asked = parsed(["--seed", "503", *terms])

    command = failures(LATE, asked)[-1].split()

    assert vars(parsed(command[3:])) == {**vars(asked), "trace": True}


@pytest.mark.parametrize(("until_s", "more"), [(inf, []), (130.0, ["--until", "130"])])
def test_a_world_of_the_whole_daemon_is_played_again_for_as_long_as_it_was(
    until_s: float, more: list[str]
) -> None:
    assert again(7, until_s, ["clock_steps"]).split()[3:] == [
        *["--first", "7", "--seeds", "1", *more],
        *["--always", "clock_steps"],
    ]
