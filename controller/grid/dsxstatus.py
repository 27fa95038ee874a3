"""The feeds of a site as a DSX status tells them: each with what binds it, and with as many of the targets to
come as a message holds.

The status is also our heartbeat: a broker that refuses one for its size takes us for dead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import chain, zip_longest
from typing import Any

MAX_FEEDS = 32
"""So many fit into a message with a target each, signed as well."""
MAX_CONTENT_BYTES = 46_000
"""Of what is told. Signed it is a third longer, and has its envelope around it."""

Target = Mapping[str, Any]


def told(
    states: Mapping[str, Mapping[str, Any]], targets: Mapping[str, Iterable[Target]]
) -> tuple[dict[str, Any], int]:
    """`states` of feeds, each with its `targets`, which come in the order in which they matter; and how many
    of those there was no room for. Every feed gets its first before any gets its next."""
    feeds: dict[str, Any] = {tag: {**state, "targets": []} for tag, state in states.items()}
    room = MAX_CONTENT_BYTES - _length(feeds)
    in_turn = zip_longest(*([(tag, one) for one in found] for tag, found in targets.items()))
    untold = 0
    for tag, target in filter(None, chain.from_iterable(in_turn)):
        room -= _length(target) + 1
        if room < 0:
            untold += 1
        else:
            feeds[tag]["targets"].append(target)
    return feeds, untold


def _length(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":")))
