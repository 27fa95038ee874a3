"""What a site file may call a host."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Host = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9:][A-Za-z0-9:_-]{0,62}(\.[A-Za-z0-9:_-]{1,63})*\.?$", max_length=253)
]
"""A name or an address. To look up one with an empty part is an error of its own, which would end us."""
