"""What a switched outlet is, whatever kind of PDU it belongs to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from controller.domain.devices import Outcome
from controller.domain.power import Power


class Relay(StrEnum):
    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletState:
    """What is known of an outlet now. `power` is None where it is not metered; at `asked_s` of the loop's
    time it was asked, which is before it answered."""

    relay: Relay
    power: Power | None = None
    asked_s: float = field(default=-math.inf, compare=False)


class Outlet(Protocol):
    @property
    def name(self) -> str: ...

    def known(self) -> OutletState:
        """What was last heard of it, if that is fresh; else `Relay.UNKNOWN`."""

    async def look(self) -> OutletState:
        """Ask it now; `DriverError` if it does not answer."""

    async def switch(self, to: Relay) -> Outcome: ...
