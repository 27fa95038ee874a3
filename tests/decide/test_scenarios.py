"""Each transcript is what the core does today, line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.decide.transcript import play

SCENARIOS = sorted(Path(__file__).with_name("scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_goes_as_it_is_written(path: Path, request: pytest.FixtureRequest) -> None:
    written = path.read_text()

    played = play(written)

    if request.config.getoption("--rewrite", default=False):
        path.write_text(played)
    else:
        assert played.splitlines() == written.splitlines()


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 5


def test_an_answer_that_is_not_what_happens_shows() -> None:
    script = SCENARIOS[0].read_text()
    last = script.splitlines()[-1]

    assert play(script.replace(last, "  something else")) != script.replace(last, "  something else")
