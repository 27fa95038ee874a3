"""What the tables of a plant file have in common: no unknown keys, and the kinds of their values."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LOOPBACK = IPv4Network("127.0.0.0/8")

Watts = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Celsius = Annotated[float, Field(gt=-60, lt=150)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
Unit = Annotated[int, Field(ge=1, le=247)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
