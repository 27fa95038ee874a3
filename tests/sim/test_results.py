"""A run that was cut short goes on with what it kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.played import Result
from tests.sim.results import Results


def test_a_result_that_was_not_written_to_its_end_is_played_again(tmp_path: Path) -> None:
    path = tmp_path / "soak.jsonl"
    kept = Results(path, {"minutes": 120.0, "devices": 100})
    first = Result(seed=1, on=("kills",), breaches=["cap at site"], excuses_s={"node: claims": 2.5})
    kept.append(first)
    with path.open("a") as file:
        file.write('{"minutes": 120.0, "dev')

    kept.mend()
    kept.append(Result(seed=2, on=()))

    assert kept.read() == [first, Result(seed=2, on=())]


def test_results_of_another_kind_are_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "soak.jsonl"
    Results(path, {"minutes": 120.0, "faults": ["hangs"]}).append(Result(seed=1, on=()))

    with pytest.raises(ValueError, match=r"soak.jsonl:1: a result of .*hangs"):
        Results(path, {"minutes": 120.0, "faults": None}).read()
