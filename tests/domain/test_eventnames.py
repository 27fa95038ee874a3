"""No name of an event can be taken for another operator's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.eventnames import named, operator_in, parted

OPERATORS = st.sampled_from(["", "dc", "own", "grid-2"])
EVENTS = st.text("dcgri:/-1", min_size=1, max_size=12)


@given(OPERATORS, EVENTS)
def test_a_name_says_whose_the_event_is_and_how_its_operator_calls_it(operator: str, event: str) -> None:
    assert parted(named(operator, event)) == (operator, event)


@pytest.mark.parametrize(
    ("operator", "event", "name"),
    [
        ("", "dr-7", "dr-7"),
        ("dsx", "dc:a/0-1", "dsx:dc:a/0-1"),
        ("", "dc:a/0-1", "grid:dc:a/0-1"),
        ("dc", "a/0-1", "dc:a/0-1"),
    ],
)
def test_only_an_id_with_a_colon_is_called_by_the_word_for_the_first_operator(
    operator: str, event: str, name: str
) -> None:
    assert named(operator, event) == name
    assert operator_in(name) == operator
