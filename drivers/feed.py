"""Whether an outlet feeds the machine that it is configured for: cords are plugged in wrongly.

It never says that a machine which answers draws nothing.
"""

from __future__ import annotations

import asyncio
import math

import structlog

from controller.domain.devices import DeviceSpec, Quality, Reading
from controller.domain.power import Power
from drivers.outletstate import OutletState

STAYS_S = 5.0
"""A machine that answered for so long while its outlet was off has another feed: its silence is silence."""

CARRIES_NONE = 0.5
"""An outlet with no more than this share of what its machine draws asleep carries nothing of it."""
CARRIES_PART = 1.5
"""Nor all of it, where a machine that hashes measures more than so many times that."""
APART_W, APART_S = 100, 30.0
"""So many watts apart for so long is worth a warning: a PDU tells little as nothing, and tells it late."""

log = structlog.get_logger()


class Feed:
    """Whether an outlet feeds the machine that it is configured for, as far as that shows.

    `elsewhere` says that the machine answers while its outlet is off. Changes are told once each.
    """

    def __init__(self, device: str, outlet: str) -> None:
        self._device = device
        self._outlet = outlet
        self._first_s: float | None = None
        self._last_s = -math.inf
        self._apart_s: float | None = None
        self._warned = False

    @property
    def elsewhere(self) -> bool:
        return self._first_s is not None

    def answered_unfed(self, reading: Reading | None, outlet: OutletState, now_s: float) -> None:
        self._first_s = now_s if self._first_s is None else self._first_s
        self._last_s = now_s
        self._warn(reading, outlet)

    def stays_elsewhere(self) -> bool:
        """After it missed an answer while its outlet is off: whether that says nothing of its power. It was
        off indeed where it was heard for a moment only."""
        if self._first_s is not None and self._last_s - self._first_s >= STAYS_S:
            return True
        if self.elsewhere:
            self.switched_on()
            self._clear()
        return False

    def switched_on(self) -> None:
        self._first_s = None

    def shows(self, spec: DeviceSpec, reading: Reading, outlet: OutletState, carried: Power) -> None:
        """What a machine says whose outlet is on. Asleep it draws too little to show anything."""
        apart = has_other_feed(spec, reading, carried)
        if not apart or reading.draw.watts - carried.watts < APART_W:
            self._apart_s = None
            if not apart and reading.rate > 0:
                self._clear()
            return
        if self._apart_s is None:
            self._apart_s = asyncio.get_running_loop().time()
        if outlet.asked_s - self._apart_s >= APART_S:
            self._warn(reading, outlet)

    def _warn(self, reading: Reading | None, outlet: OutletState) -> None:
        if not self._warned:
            log.warning(
                "outlet_does_not_feed",
                device=self._device,
                outlet=self._outlet,
                relay=outlet.relay.value,
                outlet_w=None if outlet.power is None else outlet.power.watts,
                device_w=None if reading is None else reading.draw.watts,
            )
        self._warned = True

    def _clear(self) -> None:
        if self._warned:
            log.info("outlet_feeds", device=self._device, outlet=self._outlet)
        self._warned = False


def has_other_feed(spec: DeviceSpec, reading: Reading, carried: Power) -> bool:
    """Whether a machine that answers draws more than what its outlet carries: all of it, or a part."""
    asleep_w = spec.floor.power.watts if spec.floor.rate == 0 else 0
    if carried.watts <= CARRIES_NONE * asleep_w:
        return True
    measures = reading.quality is Quality.MEASURED and reading.rate > 0
    return measures and reading.draw.watts > CARRIES_PART * carried.watts
