"""Who switched an outlet off last, and whether it does what it is told. Nothing here waits or is switched.

An outlet was switched off from here only where nobody else can have done it: to give power back to one that a
person switched off may hurt somebody. In doubt it stays off until a person comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from controller.domain.devices import Acknowledged, Failed, Outcome, Refused
from drivers.outletstate import OutletState, Relay

ACTS_S = 30.0
"""An outlet that said yes, and is seen as before so long afterwards, does not do what it is told."""
UNSEEN_S = 600.0
"""Of an outlet that was not seen for so long nobody knows who switched it last: a person may have switched it
on and off again, or have put another PDU in its place."""
FIRST_VAIN_S, LAST_VAIN_S = 60.0, 900.0
"""An outlet that was told in vain counts as none for so long, then for twice as long, up to the last."""

NOT_HERE = "was not switched off from here"

log = structlog.get_logger()


class Cuts(Protocol):
    """Which outlets were switched off from here, beyond the life of a process. To forget is the safe side."""

    def unseen_s(self, outlet: str, device: str) -> float | None:
        """How long ago this device's outlet was last seen off by our doing; None where it was not."""

    def keep(self, outlet: str, device: str) -> None:
        """It was seen off by our doing just now: written down within a second or so."""

    def drop(self, outlet: str) -> None:
        """It is not off by our doing: written down within a second or so."""

    async def forget(self, outlet: str) -> None:
        """The same, durable on return; `DriverError` if it cannot be written down."""


class NoCuts:
    """Nothing outlives the process."""

    def unseen_s(self, outlet: str, device: str) -> float | None:
        return None

    def keep(self, outlet: str, device: str) -> None:
        return None

    def drop(self, outlet: str) -> None:
        return None

    async def forget(self, outlet: str) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """An order to switch off whose effect was not seen yet: since when, and whether it was on just before."""

    sent_s: float
    was_on: bool
    said_yes: bool = False


class Switching:
    """Told of each order, and of each state of the outlet, it says whether the outlet is `ours`: off, seen on
    just before it was told to be, and not out of sight for `UNSEEN_S` since; where no answer came, seen off
    within `ACTS_S`, for then a person is sent there. Times are the loop's."""

    def __init__(self, device: str, outlet: str, cuts: Cuts) -> None:
        self.ours = False
        self.why_not = NOT_HERE
        self._device = device
        self._outlet = outlet
        self._cuts = cuts
        self._relay: Relay | None = None
        self._seen_s = -math.inf
        self._cut: Cut | None = None
        self._given_back_s = -math.inf
        self._ignores = False
        self._vain, self._rests_until_s = 0, -math.inf
        self._unanswered_s, self._heard = math.inf, False
        self._said: tuple[Relay, str] | None = None

    def obeys(self, now_s: Callable[[], float]) -> bool:
        """Whether it is worth telling: not soon after it was told in vain, unless it only did not answer, and
        was heard since. No clock is asked before it was ever told."""
        return self._vain == 0 or now_s() >= self._rests_until_s

    def told(self, to: Relay, outcome: Outcome, *, was_on: bool, sent_s: float, now_s: float) -> None:
        """An order was sent at `sent_s`; `was_on` says that the outlet was seen on just before."""
        self._tell(to, outcome)
        if to is Relay.ON:
            self._cut, self._given_back_s = None, now_s
            return
        if not isinstance(outcome, Acknowledged):
            self._in_vain(now_s)
        if isinstance(outcome, Failed) and not self._heard:  # else it answers, and only no orders
            self._unanswered_s = now_s
        if isinstance(outcome, Refused):
            return
        # Whoever saw it say yes and stay on may switch it off by hand, whatever else it is told meanwhile.
        was_on = was_on and not self._ignores
        if self._cut is None or (was_on and not self._cut.was_on):
            self._cut = Cut(sent_s=sent_s, was_on=was_on)
        if isinstance(outcome, Acknowledged):
            self._cut = replace(self._cut, said_yes=True)

    def seen(self, outlet: OutletState) -> None:
        at_s = outlet.asked_s
        if outlet.relay is Relay.UNKNOWN or at_s < self._seen_s:
            return
        if at_s == self._seen_s and outlet.relay is self._relay:
            return  # it was asked once, and what it said is looked at many times
        if self._relay is None:
            self._recall(at_s)
        if at_s > self._unanswered_s:  # it is there again
            self._unanswered_s, self._rests_until_s, self._heard = math.inf, -math.inf, True
        if self._relay is not None and at_s - self._seen_s > UNSEEN_S:
            self._cut = None
            if self.ours:
                self.ours, self._relay = False, None
                self.why_not = f"was not seen for {at_s - self._seen_s:.0f} s: who switched it is not known"
        before, self._relay, self._seen_s = self._relay, outlet.relay, at_s
        if outlet.relay is Relay.OFF:
            self._seen_off(before, at_s)
        else:
            self._seen_on(before, at_s)

    def _recall(self, at_s: float) -> None:
        unseen_s = self._cuts.unseen_s(self._outlet, self._device)
        if unseen_s is not None:
            self.ours, self._relay, self._seen_s = True, Relay.OFF, at_s - unseen_s

    def _seen_off(self, before: Relay | None, at_s: float) -> None:
        cut, self._cut = self._cut, None
        if cut is not None and at_s >= cut.sent_s and before is not Relay.OFF:
            self.ours = cut.was_on and (cut.said_yes or at_s - cut.sent_s <= ACTS_S)
            self._vain, self._rests_until_s, self._heard = 0, -math.inf, False
        if not self.ours:
            self._cuts.drop(self._outlet)
            if before is not Relay.OFF:
                log.warning("outlet_left_off", device=self._device, outlet=self._outlet, why=self.why_not)
        elif at_s - self._given_back_s > ACTS_S:
            self._cuts.keep(self._outlet, self._device)

    def _seen_on(self, before: Relay | None, at_s: float) -> None:
        if before is Relay.OFF:
            self._ignores, self._said = False, None
            log.info("outlet_on_again", device=self._device, outlet=self._outlet)
        self.ours, self.why_not = False, NOT_HERE
        self._cuts.drop(self._outlet)
        if self._cut is None or at_s - self._cut.sent_s <= ACTS_S:
            return
        if self._cut.said_yes:
            if not self._ignores:
                log.warning("outlet_does_not_switch", device=self._device, outlet=self._outlet)
            self._ignores = True
            self._in_vain(at_s)
        self._cut = None

    def _in_vain(self, now_s: float) -> None:
        self._rests_until_s = now_s + min(LAST_VAIN_S, FIRST_VAIN_S * 2.0**self._vain)
        self._vain = min(self._vain + 1, 10)

    def _tell(self, to: Relay, outcome: Outcome) -> None:
        """Once, until the outlet or what it says to an order is another."""
        said = to, type(outcome).__name__
        if said != self._said:
            log.warning(
                "outlet_switched",
                device=self._device,
                outlet=self._outlet,
                to=to.value,
                outcome=repr(outcome),
            )
        self._said = said
