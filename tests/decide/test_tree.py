"""Sums over the electrical tree are exact, and every way up leads to the root."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controller.decide.tree import BOUNDLESS_W, Tree, sum_up, tree_of
from controller.domain.site import Node, Site
from tests.decide.strategies import bounded


def tree(**parents: str) -> Tree:
    """Below a site: each node by name, and its parent."""
    nodes = (Node(id="site"), *(Node(id=name, parent=parent) for name, parent in parents.items()))
    return tree_of(Site(name="s", nodes=nodes))


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    names = ["site"]
    parents: dict[str, str] = {}
    for at in range(draw(st.integers(0, 12))):
        parents[f"n{at}"] = draw(st.sampled_from(names))
        names.append(f"n{at}")
    return tree(**parents)


def test_each_way_up_begins_at_the_node_and_ends_at_the_root() -> None:
    made = tree(pdu="site", breaker="pdu", fan="site")

    assert made.ids == ("site", "pdu", "breaker", "fan")
    assert made.index["breaker"] == 2
    assert made.parent.tolist() == [-1, 0, 1, 0]
    assert made.way.tolist() == [[0, 4, 4], [1, 0, 4], [2, 1, 0], [3, 0, 4]]
    assert made.at_depth.tolist() == [[0, 0, 0, 0], [4, 1, 1, 3], [4, 4, 2, 4]]


def test_a_site_without_nodes_below_it_is_a_tree() -> None:
    made = tree()

    assert sum_up(made, np.array([7])).tolist() == [7]
    assert made.way.tolist() == [[0]]


def test_sums_reach_every_node_above() -> None:
    made = tree(pdu="site", breaker="pdu", fan="site")

    assert sum_up(made, np.array([1, 10, 100, 1_000])).tolist() == [1_111, 110, 100, 1_000]


def test_what_is_below_a_node_at_any_depth_is_under_it_and_what_is_above_or_beside_it_is_not() -> None:
    made = tree(pdu="site", breaker="pdu", fan="site")

    under = made.under(np.array([False, True, False, False]), np.arange(4))

    assert under.tolist() == [False, True, True, False]


def test_sums_are_exact_where_floats_are_not() -> None:
    made = tree(pdu="site")

    assert sum_up(made, np.array([1, 2**60])).tolist() == [2**60 + 1, 2**60]


def test_the_padding_has_room_for_anything() -> None:
    made = tree(pdu="site")

    assert made.padded(np.array([5, -3]))[made.none] == BOUNDLESS_W
    assert made.padded(np.array([5, -3]))[made.way].tolist() == [[5, BOUNDLESS_W], [-3, 5]]


@bounded(100)
@given(trees(), st.integers(0, 2**32))
def test_a_sum_is_that_of_the_nodes_whose_way_leads_through(made: Tree, seed: int) -> None:
    draw = random.Random(seed)
    own = np.array([draw.randrange(-(2**50), 2**50) for _ in made.ids])

    sums = sum_up(made, own)

    for node in range(len(made.ids)):
        under = [below for below, way in enumerate(made.way.tolist()) if node in way]
        assert sums[node] == sum(int(own[below]) for below in under)
        assert sorted(made.below(node).tolist()) == under
