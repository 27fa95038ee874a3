"""What the site calls an event or a stream: its operator's name, a colon, and the operator's own id of it.

The first operator has no name, and its ids stand alone. Only one with a colon in it is called by `grid` as
well, which no operator can be named: else it could be taken for another operator's.
"""

from __future__ import annotations

FIRST = "grid"
"""What the operator without a name, that of `[grid]`, is called where a name is needed."""


def named(operator: str, event: str) -> str:
    """The name at this site; no two events have the same. There is no colon in an operator's own."""
    if operator:
        return f"{operator}:{event}"
    return f"{FIRST}:{event}" if ":" in event else event


def parted(name: str) -> tuple[str, str]:
    """The operator, which is empty for the first, and its own id of the event."""
    operator, colon, event = name.partition(":")
    if not colon:
        return "", name
    return "" if operator == FIRST else operator, event


def operator_in(name: str) -> str:
    return parted(name)[0]
